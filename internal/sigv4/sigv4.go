// Package sigv4 verifies that an HTTP request was signed with an AWS secret
// key: Signature Version 4 in the Authorization header, in a presigned URL or
// chunk by chunk, and for S3 the URLs presigned with Version 2.
//
// It knows neither keys, accounts nor operations, and it does not sign.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	// s3 is the one service whose signatures have rules of their own.
	s3              = "s3"
	unsignedPayload = "UNSIGNED-PAYLOAD"
	timeFormat      = "20060102T150405Z"
	// Window is how far the request's clock may be off (spec issuer-and-sts
	// §12.3). It also limits presigned URLs, whatever X-Amz-Expires says, except
	// those of S3.
	Window = 15 * time.Minute
	// maxExpires is the longest life of a presigned URL of S3.
	maxExpires = 7 * 24 * time.Hour
	// contentSHA256 is the header that says the body's hash.
	contentSHA256 = "X-Amz-Content-Sha256"
	noMatch       = "The request signature we calculated does not match the signature you provided. Check your AWS " +
		"Secret Access Key and signing method. Consult the service documentation for details."
)

// Error is a refusal in AWS's words, with its code and HTTP status (spec
// issuer-and-sts §12.4).
type Error struct {
	Status        int
	Code, Message string
	// HeadersNotSigned lists the headers that had to be signed, as S3 does;
	// empty in refusals of other services.
	HeadersNotSigned string
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refused(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

func mismatch(format string, args ...any) *Error {
	return refused(http.StatusForbidden, "SignatureDoesNotMatch", fmt.Sprintf(format, args...))
}

func incomplete(format string, args ...any) *Error {
	return refused(http.StatusBadRequest, "IncompleteSignature", fmt.Sprintf(format, args...))
}

// Signed is the signature of a request, taken apart but not verified.
type Signed struct {
	AccessKeyID  string
	Date         string // YYYYMMDD of the credential scope
	Region       string
	Service      string
	SessionToken credential.Secret // zero if there is none
	Presigned    bool
	Legacy       bool // Signature Version 2
	// HostBucket is the bucket that the host name says, empty if it says none: to be
	// set before a request is verified, since Version 2 signs the bucket, but
	// not the host name.
	HostBucket    string
	terminator    string
	signedHeaders []string
	signature     string
	time          string // as sent
}

// Parse finds the signature in the Authorization header or, if there is none,
// in the query. A request without one is MissingAuthenticationToken.
func Parse(r *http.Request) (*Signed, error) {
	if authorization := r.Header.Values("Authorization"); len(authorization) > 0 {
		if len(authorization) > 1 {
			return nil, incomplete("There must be one Authorization header only.")
		}
		return parseHeader(r, authorization[0])
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, incomplete("The query string cannot be parsed.")
	}
	if query.Has("X-Amz-Algorithm") {
		return parseQuery(query)
	}
	if isLegacy(query) {
		return parseLegacy(query)
	}
	return nil, refused(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
}

func parseHeader(r *http.Request, text string) (*Signed, error) {
	rest, found := strings.CutPrefix(text, algorithm+" ")
	if !found {
		return nil, incomplete("Unsupported AWS 'algorithm': want %s.", algorithm)
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; twice {
			return nil, incomplete("Authorization header has '%s' twice.", name)
		}
		parts[name] = value
	}
	for _, name := range []string{"Credential", "Signature", "SignedHeaders"} {
		if parts[name] == "" {
			return nil, incomplete("Authorization header requires '%s' parameter.", name)
		}
	}
	s := &Signed{signature: parts["Signature"], signedHeaders: strings.Split(parts["SignedHeaders"], ";")}
	if dates := r.Header.Values("X-Amz-Date"); len(dates) > 1 {
		return nil, incomplete("There must be one X-Amz-Date header only.")
	}
	if s.time = r.Header.Get("X-Amz-Date"); s.time == "" {
		if date := r.Header.Get("Date"); date != "" {
			parsed, err := http.ParseTime(date)
			if err != nil {
				return nil, incomplete("Date must be in ISO-8601 'basic format'. Got '%s'.", date)
			}
			s.time = parsed.UTC().Format(timeFormat)
		}
	}
	if s.time == "" {
		return nil, incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	// Only the one value that is signed may count.
	if tokens := r.Header.Values("X-Amz-Security-Token"); len(tokens) == 1 {
		s.SessionToken = credential.NewSecret(tokens[0])
	} else if len(tokens) > 1 {
		return nil, incomplete("There must be one X-Amz-Security-Token header only.")
	}
	return s, s.scope(parts["Credential"])
}

func parseQuery(query url.Values) (*Signed, error) {
	for _, name := range []string{
		"X-Amz-Algorithm",
		"X-Amz-Credential",
		"X-Amz-Date",
		"X-Amz-SignedHeaders",
		"X-Amz-Signature",
	} {
		if len(query[name]) != 1 || query.Get(name) == "" {
			return nil, incomplete(
				"AWS query-string parameters must include '%s'. Re-examine the query-string parameters.",
				name,
			)
		}
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s'.", query.Get("X-Amz-Algorithm"))
	}
	s := &Signed{
		Presigned: true, time: query.Get("X-Amz-Date"), signature: query.Get("X-Amz-Signature"),
		signedHeaders: strings.Split(query.Get("X-Amz-SignedHeaders"), ";"),
	}
	if tokens := query["X-Amz-Security-Token"]; len(tokens) == 1 {
		s.SessionToken = credential.NewSecret(tokens[0])
	} else if len(tokens) > 1 {
		return nil, incomplete("There must be one X-Amz-Security-Token parameter only.")
	}
	return s, s.scope(query.Get("X-Amz-Credential"))
}

func (s *Signed) scope(text string) error {
	parts := strings.Split(text, "/")
	if len(parts) != 5 {
		return incomplete(
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'",
			text,
		)
	}
	s.AccessKeyID, s.Date, s.Region, s.Service, s.terminator = parts[0], parts[1], parts[2], parts[3], parts[4]
	return nil
}

// Verify checks scope, clock and signature of the request whose body is body,
// with the secret key of s.AccessKeyID. service is the one that the request is
// for.
func (s *Signed) Verify(r *http.Request, body []byte, secret credential.Secret, service string, now time.Time) error {
	if err := s.VerifyHead(r, secret, service, now); err != nil {
		return err
	}
	return s.VerifyBody(r, body, secret)
}

// VerifyHead is the part of Verify that needs no body: all of it but the
// signature of a request that does not say its body's hash. A request counts
// only when VerifyBody has accepted it, too.
func (s *Signed) VerifyHead(r *http.Request, secret credential.Secret, service string, now time.Time) error {
	if s.Legacy && service == s3 {
		return s.verifyLegacy(r, secret, now)
	}
	at, err := time.Parse(timeFormat, s.time)
	switch {
	case err != nil:
		return incomplete("Date must be in ISO-8601 'basic format'. Got '%s'.", s.time)
	case s.terminator != terminator:
		return mismatch("Credential should be scoped with a valid terminator: '%s'.", terminator)
	case s.Service != service:
		return mismatch("Credential should be scoped to correct service: '%s'.", service)
	case s.Region == "":
		return mismatch("Credential should be scoped to a valid region.")
	case s.Date != s.time[:8]:
		return mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	if err := s.verifyTime(r, at, now); err != nil {
		return err
	}
	if err := s.verifyCovered(r); err != nil {
		return err
	}
	hash, known, err := s.claimedHash(r)
	if err != nil || !known {
		return err
	}
	return s.verifySignature(r, hash, secret)
}

// VerifyBody is the rest of Verify, for a request that VerifyHead has accepted.
// Signatures of chunks are verified by Chunks.
func (s *Signed) VerifyBody(r *http.Request, body []byte, secret credential.Secret) error {
	if s.Legacy && s.Service == s3 {
		return nil // which covers no body
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	claimed, known, err := s.claimedHash(r)
	switch {
	case err != nil:
		return err
	case !known:
		return s.verifySignature(r, hash, secret)
	case len(claimed) != len(hash) || claimed == hash: // the one of another length says that there is none
		return nil
	case s.Service == s3:
		return refused(
			http.StatusBadRequest, "XAmzContentSHA256Mismatch",
			"The provided 'x-amz-content-sha256' header does not match what was computed.",
		)
	}
	return mismatch(noMatch)
}

func expired() error { return refused(http.StatusForbidden, "AccessDenied", "Request has expired") }

// verifyTime checks the clock. S3 has its own wording, and presigned URLs that
// live as long as they say.
func (s *Signed) verifyTime(r *http.Request, at, now time.Time) error {
	early, late := at.After(now.Add(Window)), at.Before(now.Add(-Window))
	switch {
	case s.Service == s3 && s.Presigned:
		seconds, err := strconv.Atoi(r.URL.Query().Get("X-Amz-Expires"))
		life := time.Duration(seconds) * time.Second
		switch {
		case err != nil || seconds < 0:
			return refused(
				http.StatusBadRequest, "AuthorizationQueryParametersError", "X-Amz-Expires should be a number",
			)
		case seconds > int(maxExpires/time.Second):
			return refused(
				http.StatusBadRequest, "AuthorizationQueryParametersError",
				"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less "+
					"than 604800 seconds",
			)
		case early:
			return refused(http.StatusForbidden, "AccessDenied", "Request is not valid yet")
		case now.After(at.Add(life)):
			return expired()
		}
		return nil
	case s.Service == s3 && (early || late):
		return refused(
			http.StatusForbidden, "RequestTimeTooSkewed",
			"The difference between the request time and the current time is too large.",
		)
	case late:
		return mismatch(
			"Signature expired: %s is now earlier than %s (%s - 15 min.)",
			s.time,
			now.Add(-Window).UTC().Format(timeFormat),
			now.UTC().Format(timeFormat),
		)
	case early:
		return mismatch(
			"Signature not yet current: %s is still later than %s (%s + 15 min.)",
			s.time,
			now.Add(Window).UTC().Format(timeFormat),
			now.UTC().Format(timeFormat),
		)
	}
	return nil
}

// verifySignature compares the signature with the one of the request whose body
// has this hash.
func (s *Signed) verifySignature(r *http.Request, hash string, secret credential.Secret) error {
	want, err := hex.DecodeString(s.signature)
	if err != nil || len(want) != sha256.Size {
		return mismatch(noMatch)
	}
	canonical, ok := s.canonicalRequest(r, hash)
	if !ok {
		return mismatch(noMatch)
	}
	digest := sha256.Sum256([]byte(canonical))
	toSign := algorithm + "\n" + s.time + "\n" + s.scopeText() + "\n" + hex.EncodeToString(digest[:])
	if subtle.ConstantTimeCompare(mac(s.key(secret), toSign), want) != 1 {
		return mismatch(noMatch)
	}
	return nil
}

func (s *Signed) scopeText() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// key is the secret key derived for the scope.
func (s *Signed) key(secret credential.Secret) []byte {
	key := mac([]byte("AWS4"+secret.Reveal()), s.Date)
	for _, part := range []string{s.Region, s.Service, terminator} {
		key = mac(key, part)
	}
	return key
}

// claimedHash is the last line of the canonical request as the headers say it;
// known is false if they do not. Only S3 accepts a body that is not signed as a
// whole: unsigned, or signed chunk by chunk.
func (s *Signed) claimedHash(r *http.Request) (hash string, known bool, err error) {
	claimed := r.Header.Get(contentSHA256)
	if len(r.Header.Values(contentSHA256)) > 1 {
		return "", false, mismatch(noMatch)
	}
	switch {
	case claimed == "" && s.Service == s3 && s.Presigned:
		return unsignedPayload, true, nil
	case claimed == "" && s.Service == s3:
		return "", false, refused(
			http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256",
		)
	case claimed == "":
		return "", false, nil
	case len(claimed) == hex.EncodedLen(sha256.Size):
		return claimed, true, nil
	case s.Service == s3 && s.Presigned && claimed == unsignedPayload: // as if the header were not there
		return claimed, true, nil
	case s.Service == s3 && (claimed == unsignedPayload || strings.HasPrefix(claimed, streaming)):
		if slices.Contains(s.signedHeaders, strings.ToLower(contentSHA256)) {
			return claimed, true, nil
		}
	}
	return "", false, mismatch(noMatch)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalRequest is spec issuer-and-sts §12.2. ok is false if a header that
// is listed as signed is missing.
func (s *Signed) canonicalRequest(r *http.Request, bodyHash string) (string, bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", false
	}
	if s.Presigned {
		query.Del("X-Amz-Signature")
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if s.Service != s3 { // S3 signs the path as sent, other services encode it again
		path = encode(path, true)
	}
	var out strings.Builder
	out.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(query) + "\n")
	for i, name := range s.signedHeaders {
		if name != strings.ToLower(name) || (i > 0 && name <= s.signedHeaders[i-1]) {
			return "", false
		}
		value, found := headerValue(r, name)
		if !found {
			return "", false
		}
		out.WriteString(name + ":" + value + "\n")
	}
	out.WriteString("\n" + strings.Join(s.signedHeaders, ";") + "\n" + bodyHash)
	return out.String(), true
}

func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, true
	case "content-length":
		return fmt.Sprint(r.ContentLength), r.ContentLength >= 0
	}
	values := r.Header.Values(name)
	trimmed := make([]string, len(values))
	for i, value := range values {
		trimmed[i] = strings.Join(strings.Fields(value), " ")
	}
	return strings.Join(trimmed, ","), len(values) > 0
}

func canonicalQuery(query url.Values) string {
	pairs := make([][2]string, 0, len(query))
	for name, values := range query {
		for _, value := range values {
			pairs = append(pairs, [2]string{encode(name, false), encode(value, false)})
		}
	}
	sort.Slice(pairs, func(i, j int) bool {
		if pairs[i][0] != pairs[j][0] {
			return pairs[i][0] < pairs[j][0]
		}
		return pairs[i][1] < pairs[j][1]
	})
	joined := make([]string, len(pairs))
	for i, pair := range pairs {
		joined[i] = pair[0] + "=" + pair[1]
	}
	return strings.Join(joined, "&")
}

// encode is AWS's percent-encoding: everything but unreserved characters, and
// slashes if they are kept.
func encode(text string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case 'A' <= c && c <= 'Z',
			'a' <= c && c <= 'z',
			'0' <= c && c <= '9',
			strings.IndexByte("-._~", c) >= 0,
			keepSlash && c == '/':
			out.WriteByte(c)
		default:
			out.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return out.String()
}
