package sigv4_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/sigv4"
)

var (
	now    = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	secret = credential.NewSecret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	creds  = aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: secret.Reveal()}
)

const body = "Action=GetCallerIdentity&Version=2011-06-15"

// signed is a request as the SDK signs it, received by a server.
func signed(t testing.TB, at time.Time, creds aws.Credentials, service string) *http.Request {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:4566/?b=2%20x&a=1&a=0&e=",
		strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	request.Header.Set("X-K8s-Aws-Id", "  two   blanks ")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, request, hex.EncodeToString(sum[:]), service, "us-east-1",
		at); err != nil {
		t.Fatal(err)
	}
	return request
}

func presigned(t testing.TB, at time.Time, creds aws.Credentials) *http.Request {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://localhost:4566/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	request.Header.Set("X-K8s-Aws-Id", "cluster")
	empty := sha256.Sum256(nil)
	uri, headers, err := v4.NewSigner().PresignHTTP(t.Context(), creds, request, hex.EncodeToString(empty[:]), "sts",
		"us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	received := httptest.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil)
	for name, values := range headers {
		if name != "Host" {
			received.Header[name] = values
		}
	}
	return received
}

func verify(r *http.Request, body string, at time.Time) error {
	parsed, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return parsed.Verify(r, []byte(body), secret, "sts", at)
}

func TestWhatTheSDKSignsIsAccepted(t *testing.T) {
	t.Parallel()
	temporary := creds
	temporary.SessionToken = "token/with+special=="
	for name, c := range map[string]aws.Credentials{"long-term": creds, "temporary": temporary} {
		if err := verify(signed(t, now, c, "sts"), body, now); err != nil {
			t.Errorf("%s header: %v", name, err)
		}
		if err := verify(presigned(t, now, c), "", now); err != nil {
			t.Errorf("%s presigned: %v", name, err)
		}
		if err := verify(presigned(t, now, c), "", now.Add(14*time.Minute)); err != nil {
			t.Errorf("%s presigned, 14 min old: %v", name, err)
		}
		parsed, err := sigv4.Parse(signed(t, now, c, "sts"))
		if err != nil || parsed.SessionToken.Reveal() != c.SessionToken || parsed.AccessKeyID != "AKIAEXAMPLE" ||
			parsed.Region != "us-east-1" {
			t.Errorf("%s: parsed %+v, %v", name, parsed, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	wrongKey := creds
	wrongKey.SecretAccessKey += "x"
	edit := func(r *http.Request, old, with string) *http.Request {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, with, 1))
		return r
	}
	for _, row := range []struct {
		name          string
		request       *http.Request
		body          string
		at            time.Time
		code, message string
	}{
		{
			name:    "unsigned",
			request: httptest.NewRequestWithContext(t.Context(), "POST", "/", nil),
			at:      now,
			code:    "MissingAuthenticationToken",
			message: "Request is missing",
		},
		{
			name:    "wrong secret",
			request: signed(t, now, wrongKey, "sts"),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request signature we calculated",
		},
		{
			name:    "wrong secret presigned",
			request: presigned(t, now, wrongKey),
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request signature we calculated",
		},
		{
			name:    "body changed",
			request: signed(t, now, creds, "sts"),
			body:    body + "&x=y",
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request signature we calculated",
		},
		{
			name:    "body added to a presigned GET",
			request: presigned(t, now, creds),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request signature we calculated",
		},
		{
			name:    "query changed",
			request: func() *http.Request { r := signed(t, now, creds, "sts"); r.URL.RawQuery += "&z=1"; return r }(),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request",
		},
		{
			name:    "host changed",
			request: func() *http.Request { r := signed(t, now, creds, "sts"); r.Host = "evil"; return r }(),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request",
		},
		{
			name: "signed header changed",
			request: func() *http.Request {
				r := presigned(t, now, creds)
				r.Header.Set("X-K8s-Aws-Id", "other")
				return r
			}(),
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request",
		},
		{
			name:    "signed header gone",
			request: func() *http.Request { r := presigned(t, now, creds); r.Header.Del("X-K8s-Aws-Id"); return r }(),
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "The request",
		},
		{"claimed body hash", func() *http.Request {
			r := signed(t, now, creds, "sts")
			r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64))
			return r
		}(), body, now, "SignatureDoesNotMatch", "The request"},
		{
			name:    "old",
			request: signed(t, now, creds, "sts"),
			body:    body,
			at:      now.Add(16 * time.Minute),
			code:    "SignatureDoesNotMatch",
			message: "Signature expired: 20260901T120000Z is now earlier than 20260901T120100Z (20260901T121600Z - " +
				"15 min.)",
		},
		{
			name:    "ahead",
			request: signed(t, now, creds, "sts"),
			body:    body,
			at:      now.Add(-16 * time.Minute),
			code:    "SignatureDoesNotMatch",
			message: "Signature not yet current: ",
		},
		{
			name:    "another service",
			request: signed(t, now, creds, "s3"),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "Credential should be scoped to correct service: 'sts'.",
		},
		{
			name:    "terminator",
			request: edit(signed(t, now, creds, "sts"), "aws4_request", "aws5_request"),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "Credential should be scoped with a valid terminator",
		},
		{
			name:    "scope date",
			request: edit(signed(t, now, creds, "sts"), "20260901", "20260902"),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "Date in Credential scope does not match",
		},
		{
			name:    "host not signed",
			request: edit(signed(t, now, creds, "sts"), "host;", ""),
			body:    body,
			at:      now,
			code:    "SignatureDoesNotMatch",
			message: "'Host' or ':authority' must be a 'SignedHeader'",
		},
		{"session token not signed", func() *http.Request {
			r := signed(t, now, creds, "sts")
			r.Header.Set("X-Amz-Security-Token", "added")
			return r
		}(), body, now, "SignatureDoesNotMatch", "'X-Amz-Security-Token' must be"},
		{
			name:    "no signature",
			request: edit(signed(t, now, creds, "sts"), "Signature=", "Sig="),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Authorization header requires 'Signature' parameter.",
		},
		{
			name:    "no headers",
			request: edit(signed(t, now, creds, "sts"), "SignedHeaders=", "X="),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Authorization header requires 'SignedHeaders' parameter.",
		},
		{
			name:    "scope of four parts",
			request: edit(signed(t, now, creds, "sts"), "/sts/", "/"),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Credential must have exactly 5",
		},
		{
			name:    "no date",
			request: func() *http.Request { r := signed(t, now, creds, "sts"); r.Header.Del("X-Amz-Date"); return r }(),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Authorization header requires existence",
		},
		{
			name: "bad date",
			request: func() *http.Request {
				r := signed(t, now, creds, "sts")
				r.Header.Set("X-Amz-Date", "today")
				return r
			}(),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Date must be in ISO-8601",
		},
		{
			name: "two authorizations",
			request: func() *http.Request {
				r := signed(t, now, creds, "sts")
				r.Header.Add("Authorization", "x")
				return r
			}(),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "There must be one",
		},
		{
			name:    "other algorithm",
			request: edit(signed(t, now, creds, "sts"), "AWS4-HMAC-SHA256", "AWS3"),
			body:    body,
			at:      now,
			code:    "IncompleteSignature",
			message: "Unsupported",
		},
		{
			name:    "presigned without signature",
			request: httptest.NewRequestWithContext(t.Context(), "GET", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256", nil),
			at:      now,
			code:    "IncompleteSignature",
			message: "AWS query-string parameters must include 'X-Amz-Credential'.",
		},
	} {
		err := verify(row.request, row.body, row.at)
		refused, ok := errors.AsType[*sigv4.Error](err)
		if !ok || refused.Code != row.code || !strings.HasPrefix(refused.Message, row.message) {
			t.Errorf("%s: %v, want %s: %s", row.name, err, row.code, row.message)
		}
	}
}

// TestS3: its paths are encoded once, and its bodies may be unsigned, if that
// itself is signed. No other service has either.
func TestS3(t *testing.T) {
	t.Parallel()
	put := func(service, hash string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost:4566/b/a%20b+c%2Fd/%C3%A9",
			strings.NewReader("content"))
		r.Header.Set("X-Amz-Content-Sha256", hash)
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hash, service, "us-east-1", now,
			func(o *v4.SignerOptions) {
				o.DisableURIPathEscaping = service == "s3"
			}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	sum := sha256.Sum256([]byte("content"))
	whole := hex.EncodeToString(sum[:])
	for _, row := range []struct {
		name, service, hash, body string
		accepted                  bool
	}{
		{"whole body", "s3", whole, "content", true},
		{"whole body, another", "s3", whole, "changed", false},
		{"unsigned", "s3", "UNSIGNED-PAYLOAD", "anything", true},
		{"chunks", "s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "anything", true},
		{"another service, path encoded twice", "eks", whole, "content", true},
		{"another service, unsigned", "eks", "UNSIGNED-PAYLOAD", "content", false},
	} {
		r := put(row.service, row.hash)
		parsed, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Verify(r, []byte(row.body), secret, row.service, now); (err == nil) != row.accepted {
			t.Errorf("%s: %v, want accepted %v", row.name, err, row.accepted)
		}
	}
	unsigned := put("s3", whole)
	unsigned.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	parsed, _ := sigv4.Parse(unsigned)
	if err := parsed.Verify(unsigned, []byte("changed"), secret, "s3", now); err == nil {
		t.Error("a body is unsigned although its hash was signed")
	}
}

func FuzzParse(f *testing.F) {
	good := signed(f, now, creds, "sts")
	f.Add(good.Header.Get("Authorization"), good.URL.RawQuery, now.Format("20060102T150405Z"))
	f.Add("", presigned(f, now, creds).URL.RawQuery, "")
	f.Fuzz(func(t *testing.T, authorization, query, date string) {
		r := &http.Request{
			Method: "POST",
			Host:   "h",
			URL:    &url.URL{Path: "/", RawQuery: query},
			Header: http.Header{"X-Amz-Date": {date}},
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if err := verify(r, "never signed", now); err == nil {
			t.Errorf("accepted: %q %q", authorization, query)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r := signed(b, now, creds, "sts")
	b.ReportAllocs()
	for b.Loop() {
		if err := verify(r, body, now); err != nil {
			b.Fatal(err)
		}
	}
}
