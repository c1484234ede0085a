package sigv4_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/sigv4"
)

// own are headers of AWS that say what a request does.
var own = []string{
	"X-Amz-Acl", "X-Amz-Bypass-Governance-Retention", "X-Amz-Checksum-Crc32", "X-Amz-Copy-Source",
	"X-Amz-Copy-Source-Range", "X-Amz-Date", "X-Amz-Decoded-Content-Length", "X-Amz-Expected-Bucket-Owner",
	"X-Amz-Grant-Full-Control", "X-Amz-Meta-", "X-Amz-Meta-A", "X-Amz-Metadata-Directive", "X-Amz-Object-Ownership",
	"X-Amz-Rename-Source", "X-Amz-Request-Payer", "X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Security-Token",
	"X-Amz-Server-Side-Encryption", "X-Amz-Storage-Class", "X-Amz-Tagging", "X-Amz-Target", "X-Amz-Trailer",
	"X-Amz-User-Agent", "X-Amz-Website-Redirect-Location", "X-Amz-Ü",
}

// neutral are headers that clients and proxies add on the way.
var neutral = []string{
	"Accept", "Cache-Control", "Content-Type", "Expect", "If-Match", "Range", "Referer", "User-Agent",
	"X-Amzn-Trace-Id", "X-Forwarded-For", "X_amz_copy_source", "Amz-Sdk-Request", "X-Amzn-Target",
}

// signer makes requests as the SDK signs them, in one of its two ways.
func sdkSigned(t *testing.T, service string, inQuery bool, header http.Header) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost:4566/b/k?X-Amz-Expires=60", nil)
	for name, values := range header {
		r.Header[name] = slices.Clone(values)
	}
	unhoisted := func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping, o.DisableHeaderHoisting = service == "s3", true
	}
	empty := hash("")
	if !inQuery {
		if service == "s3" {
			r.Header.Set("X-Amz-Content-Sha256", empty)
		}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, empty, service, "us-east-1", now, unhoisted); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if service == "s3" {
		empty = "UNSIGNED-PAYLOAD"
	}
	uri, headers, err := v4.NewSigner().PresignHTTP(t.Context(), creds, r, empty, service, "us-east-1", now, unhoisted)
	if err != nil {
		t.Fatal(err)
	}
	received := httptest.NewRequestWithContext(t.Context(), http.MethodPut, uri, nil)
	for name, values := range headers {
		if !strings.EqualFold(name, "Host") {
			received.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
		}
	}
	return received
}

// counts verifies a request, as the two steps that a server takes.
func counts(r *http.Request, service string) (*sigv4.Signed, error) {
	s, err := sigv4.Parse(r)
	if err != nil {
		return nil, err
	}
	if err := s.VerifyHead(r, secret, service, now); err != nil {
		return nil, err
	}
	return s, s.VerifyBody(r, nil, secret)
}

func some(random *rand.Rand, names []string, most int) []string {
	var chosen []string
	for range random.IntN(most + 1) {
		chosen = append(chosen, names[random.IntN(len(names))])
	}
	return chosen
}

// TestUnsignedHeaders: over generated sets of headers, what is signed counts;
// with one header of AWS's more, which nobody signed, the request does not.
func TestUnsignedHeaders(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6, 6))
	for range 3000 {
		service := []string{"s3", "sts", "ssm"}[random.IntN(3)]
		inQuery := random.IntN(2) == 0
		header := http.Header{}
		for _, name := range slices.Concat(some(random, own, 4), some(random, neutral, 3)) {
			if !slices.Contains([]string{"X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Ü"}, name) {
				header[name] = append(header[name], "v"+name)
			}
		}
		r := sdkSigned(t, service, inQuery, header)
		for _, name := range some(random, neutral, 2) {
			if _, there := r.Header[name]; !there {
				r.Header.Set(name, "added")
			}
		}
		signed, err := counts(r, service)
		if err != nil {
			t.Fatalf("%s %v: %v is refused: %v", service, inQuery, header, err)
		}
		for name, values := range header {
			if strings.HasPrefix(name, "X-Amz-") && signed.Header(r).Get(name) != strings.Join(values, ",") {
				t.Fatalf("%s counts as %q, %q was signed", name, signed.Header(r).Get(name), values)
			}
		}
		added := own[random.IntN(len(own))]
		if _, there := r.Header[added]; there {
			continue
		}
		r.Header[added] = []string{"added"}
		_, err = counts(r, service)
		refused, ok := errors.AsType[*sigv4.Error](err)
		switch {
		case !ok:
			t.Fatalf("%s %v: an unsigned %s counts: %v", service, inQuery, added, err)
		case added == "X-Amz-Date" && !inQuery: // the time that was signed is another
		case service == "s3" && (refused.Code != "AccessDenied" || refused.Status != http.StatusForbidden ||
			refused.HeadersNotSigned != strings.ToLower(added)):
			t.Fatalf("an unsigned %s: %v, %q", added, refused, refused.HeadersNotSigned)
		case service != "s3" && (refused.Code != "SignatureDoesNotMatch" ||
			!strings.Contains(strings.ToLower(refused.Message), "'"+strings.ToLower(added)+"'")):
			t.Fatalf("an unsigned %s: %v", added, refused)
		}
	}
}

// TestWhatMustBeSigned are the headers that must be signed though they are not
// AWS's own, and those that need not be.
func TestWhatMustBeSigned(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, service, header, missing string
		signed                         http.Header
		code                           string
	}{
		{name: "content-md5", service: "s3", header: "Content-Md5", missing: "content-md5", code: "AccessDenied"},
		{name: "content-md5 of another service", service: "sts", header: "Content-Md5"},
		{name: "range", service: "s3", header: "Range"},
		{name: "if-range", service: "s3", header: "If-Range"},
		{
			name: "if-range beside a signed range", service: "s3", header: "If-Range", missing: "if-range",
			signed: http.Header{"Range": {"bytes=0-1"}}, code: "AccessDenied",
		},
		{name: "content type", service: "s3", header: "Content-Type"},
		{name: "in lower case", service: "s3", header: "x-amz-acl", missing: "x-amz-acl", code: "AccessDenied"},
		{name: "in capitals", service: "s3", header: "X-AMZ-ACL", missing: "x-amz-acl", code: "AccessDenied"},
		{name: "with underscores", service: "s3", header: "X_Amz_Acl"},
		{name: "target", service: "ssm", header: "X-Amz-Target", code: "SignatureDoesNotMatch"},
	} {
		for _, inQuery := range []bool{false, true} {
			r := sdkSigned(t, row.service, inQuery, row.signed)
			r.Header[row.header] = []string{"x"}
			_, err := counts(r, row.service)
			expectCode(t, row.name, err, row.code)
			if refused, ok := errors.AsType[*sigv4.Error](err); ok && refused.HeadersNotSigned != row.missing {
				t.Errorf("%s: names %q, want %q", row.name, refused.HeadersNotSigned, row.missing)
			}
		}
	}
	claimed := hash("")
	nobody := craft(get(t, "/", "X-Amz-Content-Sha256", claimed, "X-Amz-Acl", "private"), "s3", claimed)
	_, err := counts(nobody, "s3")
	if refused, ok := errors.AsType[*sigv4.Error](err); !ok || refused.HeadersNotSigned != "host, x-amz-acl" {
		t.Errorf("neither host nor list: %+v", refused)
	}
	presigned := sdkSigned(t, "s3", true, nil)
	presigned.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	_, err = counts(presigned, "s3")
	expectCode(t, "a presigned URL, and what it says of the body again", err, "")
	presigned.Header.Set("X-Amz-Content-Sha256", claimed)
	_, err = counts(presigned, "s3")
	expectCode(t, "a presigned URL, and another word of the body", err, "SignatureDoesNotMatch")
	twice := sdkSigned(t, "sts", false, nil)
	twice.Header.Add("X-Amz-Date", "20260901T000000Z")
	_, err = counts(twice, "sts")
	expectCode(t, "two times", err, "IncompleteSignature")
}

// TestSignedLines: a signature does not tell two lines of a header from one with
// a comma, so that the value which counts is the whole.
func TestSignedLines(t *testing.T) {
	t.Parallel()
	r := sdkSigned(t, "s3", false, http.Header{"X-Amz-Copy-Source": {"b/public,b/secret"}})
	r.Header["X-Amz-Copy-Source"] = []string{"b/public", "b/secret"}
	s, err := counts(r, "s3")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Header(r).Get("X-Amz-Copy-Source"); got != "b/public,b/secret" {
		t.Errorf("the source is %q", got)
	}
	if len(r.Header["X-Amz-Copy-Source"]) != 2 {
		t.Error("the request was changed")
	}
}

// TestLegacyHeaders: a parameter that stands for a header counts as one, and not
// beside the header itself.
func TestLegacyHeaders(t *testing.T) {
	t.Parallel()
	signed := func(toSign, query string) *http.Request {
		return get(t, "/b/k?AWSAccessKeyId=A&Expires=1000&Signature="+url.QueryEscape(legacySignature(toSign))+query)
	}
	check := func(name, code string, r *http.Request) *sigv4.Signed {
		s, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		expectCode(t, name, s.Verify(r, nil, secret, "s3", time.Unix(1000, 0)), code)
		return s
	}
	r := signed("x-amz-acl:private\n/b/k", "&x-amz-acl=private")
	if s := check("a parameter", "", r); s.Header(r).Get("X-Amz-Acl") != "private" {
		t.Errorf("the list counts as %q", s.Header(r).Get("X-Amz-Acl"))
	}
	r.Header.Set("X-Amz-Acl", "public-read")
	check("a parameter and a header", "SignatureDoesNotMatch", r)
	check("a parameter twice", "SignatureDoesNotMatch",
		signed("x-amz-acl:private\n/b/k", "&x-amz-acl=private&x-amz-acl=public-read"))
	r = signed("/b/k", "")
	r.Header.Set("X-Amz-Acl", "public-read")
	check("a header that is not signed", "SignatureDoesNotMatch", r)
	s := check("nothing more", "", signed("/b/k", ""))
	for name, covered := range map[string]bool{"acl": true, "x-amz-acl": true, "prefix": false, "encryption": false} {
		if s.Covers(name) != covered {
			t.Errorf("covers %s: %v", name, !covered)
		}
	}
}
