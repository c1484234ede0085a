package callerid

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Policy says which tokens a server accepts.
type Policy struct {
	// Partition is the server's. Hosts and identities of others are refused.
	Partition string
	// Regions are accepted although the partition has no regions of these names:
	// those that the server is configured with.
	Regions []string
	// MaxBytes is the longest token; 16,384 if zero.
	MaxBytes int
	// Skew is how far ahead a token's clock may be; 15 minutes if zero.
	Skew time.Duration
	// AnyRegion accepts hosts of regions that nobody knows, as aws-iam-authenticator does:
	// those of other partitions and of buckets never.
	AnyRegion bool
	// StrictScope wants the scope of the credential to be that of the host: STS refuses
	// others anyway.
	StrictScope bool
}

// TooLong reports whether a text is longer than any token.
func (p Policy) TooLong(token credential.Secret) bool {
	return len(token.Reveal()) > cmp.Or(p.MaxBytes, defaultMaxBytes)
}

const (
	// unprefixed is the longest text without the prefix that is parsed: the limit
	// that servers had before STS's session tokens grew.
	unprefixed      = 4096
	defaultMaxBytes = 16 << 10
	defaultSkew     = 15 * time.Minute
	dateFormat      = "20060102T150405Z"
	// maxExpires is in seconds: how long STS accepts a token.
	maxExpires = 900
)

// Parse makes all checks of a token that need no network, in the order of spec
// authenticator §3 (1 to 18). Errors are fault.Invalid and contain neither the URL
// nor what was signed.
func Parse(token credential.Secret, policy Policy, now time.Time) (*Presigned, error) {
	text, err := decode(token.Reveal(), cmp.Or(policy.MaxBytes, defaultMaxBytes))
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return nil, malformed("%s", reason(err))
	}
	switch {
	case parsed.Scheme != "https":
		return nil, unexpectedScheme(parsed.Scheme, text)
	case parsed.User != nil, parsed.Opaque != "", strings.Contains(text, "#"):
		return nil, malformed("unexpected user, fragment or opaque part in pre-signed URL")
	case strings.Contains(parsed.Host, ":"), strings.HasSuffix(parsed.Host, "."):
		return nil, malformed(
			"unexpected hostname %s in pre-signed URL: want no port and no dot at the end",
			quoted(parsed.Host),
		)
	}
	region, err := policy.regionOf(parsed.Host)
	if err != nil {
		return nil, err
	}
	if parsed.Path != "/" || parsed.RawPath != "" {
		return nil, malformed("unexpected path in pre-signed URL")
	}
	p := &Presigned{
		Host:      parsed.Host,
		Region:    region,
		Query:     credential.NewSecret(parsed.RawQuery),
		partition: policy.Partition,
	}
	return p, p.readQuery(parsed.RawQuery, policy, now)
}

func unexpectedScheme(scheme, text string) error {
	refused := malformed("unexpected scheme %s in pre-signed URL", quoted(scheme))
	if strings.HasPrefix(lower(text), "https%3a") {
		return refused.Hint("the URL was percent-encoded once more before it was put into the token: encode it with base64 only")
	}
	if scheme == "http" {
		return refused.Hint("AWS_ENDPOINT_URL is set where the token was made, and aws eks get-token signs for that endpoint: " +
			"unset it there, or use rolecall token, which signs for AWS's own host")
	}
	return refused
}

func decode(token string, most int) (string, error) {
	encoded, isOurs := strings.CutPrefix(token, Prefix)
	switch {
	case len(token) > most, !isOurs && len(token) > unprefixed:
		return "", malformed("token is too large: %d bytes, of at most %d", len(token), tooLarge(isOurs, most))
	case !isOurs:
		return "", malformed("token is missing expected %q prefix", Prefix)
	case strings.IndexByte(encoded, '\n') >= 0, strings.IndexByte(encoded, '\r') >= 0: // which the decoder skips
		return "", malformed("illegal base64 data: a line break")
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		refused := malformed("%s", err) // it gives the position, not the text
		if strings.HasSuffix(encoded, "=") {
			return "", refused.Hint("it ends with padding: tokens are base64url without =")
		}
		return "", refused
	}
	return string(text), nil
}

func tooLarge(isOurs bool, most int) int {
	if isOurs {
		return most
	}
	return min(most, unprefixed)
}

// reason is what is wrong with a URL, without the URL.
func reason(err error) string {
	if parse, ok := errors.AsType[*url.Error](err); ok {
		err = parse.Err
	}
	for _, known := range []string{"missing protocol " +
		"scheme", "invalid control " +
		"character", "invalid URL escape", "invalid port", "invalid userinfo", "invalid character"} {
		if strings.Contains(err.Error(), known) {
			return known + " in pre-signed URL"
		}
	}
	return "pre-signed URL cannot be parsed"
}

// The parameters, by their names in lower case.
const (
	action = iota
	version
	algorithm
	keyAndScope
	date
	expires
	sessionToken
	signature
	signedHeaders
)

var names = [...]string{
	action:        "action",
	version:       "version",
	algorithm:     "x-amz-algorithm",
	keyAndScope:   "x-amz-credential",
	date:          "x-amz-date",
	expires:       "x-amz-expires",
	sessionToken:  "x-amz-security-token",
	signature:     "x-amz-signature",
	signedHeaders: "x-amz-signedheaders",
}

// maxParameters is far above the nine that exist: a query that takes longer to
// parse is wrong anyway.
const maxParameters = 64

// readQuery is checks 9 to 18.
func (p *Presigned) readQuery(raw string, policy Policy, now time.Time) error {
	values, err := parameters(raw)
	if err != nil {
		return err
	}
	is := func(name int, want string) bool { return values[name].count == 0 || values[name].text == want }
	switch {
	case values[action].text != "GetCallerIdentity":
		return malformed("unexpected action parameter in pre-signed URL")
	case !hasHeader(values[signedHeaders].text, ClusterHeader):
		return malformed("client did not sign the %s header in the pre-signed URL", ClusterHeader)
	case !isSeconds(values[expires].text):
		return malformed("invalid X-Amz-Expires parameter in pre-signed URL: want 0 to %d", maxExpires)
	case values[date].text == "":
		return malformed("X-Amz-Date parameter must be present in pre-signed URL")
	}
	p.Date, err = time.Parse(dateFormat, values[date].text)
	switch {
	case err != nil, len(values[date].text) != len(dateFormat):
		return malformed("error parsing X-Amz-Date parameter: want the form %s", dateFormat)
	case now.After(p.Expires()):
		return malformed("%w", &TimeError{now.Sub(p.Date)}).
			Hint("a token that was stored is used again: let the client make one for each use, as an exec plugin does")
	case p.Date.After(now.Add(cmp.Or(policy.Skew, defaultSkew))):
		return malformed("%w", &TimeError{now.Sub(p.Date)}).Hint("set the clock where the token is made, or the server's")
	case !is(version, "2011-06-15"):
		return malformed("unexpected version parameter in pre-signed URL")
	case !is(algorithm, "AWS4-HMAC-SHA256"):
		return malformed("unexpected X-Amz-Algorithm parameter in pre-signed URL")
	}
	var scope string
	p.AccessKeyID, scope, _ = strings.Cut(values[keyAndScope].text, "/")
	if policy.StrictScope && scope != p.scope() {
		return malformed("unexpected scope in X-Amz-Credential: want %s", p.scope())
	}
	if len(p.AccessKeyID) > maxAccessKeyID {
		p.AccessKeyID = p.AccessKeyID[:maxAccessKeyID]
	}
	p.session = sha256.Sum256([]byte(values[sessionToken].text))
	return nil
}

// scope is the one that STS accepts.
func (p *Presigned) scope() string {
	region := p.Region
	if region == globalRegion {
		region = "us-east-1"
	}
	return p.Date.Format("20060102") + "/" + region + "/sts/aws4_request"
}

// TimeError is that a token was signed too long ago, or too far in the future.
type TimeError struct {
	// Age is how long ago; less than zero in the future.
	Age time.Duration
}

// Error says when it was signed and what the limit is.
func (e *TimeError) Error() string {
	if e.Age < 0 {
		return fmt.Sprintf("X-Amz-Date parameter is in the future: signed %s ahead of the server's clock", span(-e.Age))
	}
	return fmt.Sprintf("X-Amz-Date parameter is expired: signed %s ago, which may be 15 min", span(e.Age))
}

// span is a duration for people: 4 h 9 min.
func span(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d days", d/day)
	}
}

// maxAccessKeyID is IAM's own limit.
const maxAccessKeyID = 128

type value struct {
	text  string
	count int
}

// parameters is checks 9 to 12.
func parameters(raw string) (*[len(names)]value, error) {
	type parameter struct{ key, folded, text string }
	var all []parameter
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		key, text, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || !isPlain(pair) {
			return nil, malformed("malformed query parameter")
		}
		if text, err = url.QueryUnescape(text); err != nil {
			return nil, malformed("malformed query parameter")
		}
		if len(all) == maxParameters {
			return nil, malformed("non-whitelisted query parameter: there are more than %d parameters", maxParameters)
		}
		all = append(all, parameter{name, lower(name), text})
	}
	for i := range all {
		for j := range i {
			if all[i].folded == all[j].folded && all[i].key != all[j].key {
				return nil, malformed("duplicate query parameter found: %s", keyName(all[i].key))
			}
		}
	}
	var values [len(names)]value
	for _, one := range all {
		at := indexOf(one.folded)
		switch {
		case at < 0:
			return nil, malformed("non-whitelisted query parameter %s", keyName(one.key))
		case values[at].count > 0:
			return nil, malformed("query parameter with multiple values not supported: %s", keyName(one.key))
		}
		values[at] = value{one.text, 1}
	}
	return &values, nil
}

// keyName repeats the name of a parameter if it cannot be a value by mistake.
func keyName(text string) string {
	if len(text) > maxKeyName {
		return fmt.Sprintf("with a name of %d bytes", len(text))
	}
	return quoted(text)
}

// maxKeyName is less than a signature has.
const maxKeyName = 32

func indexOf(folded string) int {
	for i, name := range names {
		if name == folded {
			return i
		}
	}
	return -1
}

// isPlain reports whether a string needs no escaping in a request line and has no
// separator that only some servers know.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f || text[i] == ';' {
			return false
		}
	}
	return true
}

func hasHeader(list, name string) bool {
	for one := range strings.SplitSeq(list, ";") {
		if lower(one) == name {
			return true
		}
	}
	return false
}

// lower folds ASCII only: to Unicode the Kelvin sign is a k.
func lower(text string) string {
	for i := range len(text) {
		if 'A' <= text[i] && text[i] <= 'Z' {
			folded := []byte(text)
			for j := i; j < len(folded); j++ {
				if 'A' <= folded[j] && folded[j] <= 'Z' {
					folded[j] += 'a' - 'A'
				}
			}
			return string(folded)
		}
	}
	return text
}

// isSeconds accepts one to three digits up to maxExpires.
func isSeconds(text string) bool {
	if text == "" || len(text) > 3 {
		return false
	}
	seconds := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
		seconds = 10*seconds + int(text[i]-'0')
	}
	return seconds <= maxExpires
}
