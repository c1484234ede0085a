package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha1" // what the old signature is made of
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// The requests here are signed by hand: what no SDK sends must be refused though
// its signature is computed as if it were fine.

const crafted = "20260901T120000Z"

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func keyFor(secret credential.Secret, service string) []byte {
	key := []byte("AWS4" + secret.Reveal())
	for _, part := range []string{"20260901", "us-east-1", service, "aws4_request"} {
		key = hmacOf(key, part)
	}
	return key
}

func hmacOf(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// craft signs a request with the header lines given as signed, and a hash of the
// body. The time comes in X-Amz-Date, signed as the last one, unless the request
// has a Date.
func craft(r *http.Request, service, bodyHash string, signed ...string) *http.Request {
	if r.Header.Get("Date") == "" {
		r.Header.Set("X-Amz-Date", crafted)
		signed = append(slices.Clone(signed), "x-amz-date:"+crafted)
	}
	var names []string
	for _, line := range signed {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	list := strings.Join(names, ";")
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n" + strings.Join(signed,
		"\n") + "\n\n" + list + "\n" + bodyHash
	scope := "20260901/us-east-1/" + service + "/aws4_request"
	signature := hmacOf(keyFor(secret, service), "AWS4-HMAC-SHA256\n"+crafted+"\n"+scope+"\n"+hash(canonical))
	r.Header.Set("Authorization",
		"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/"+scope+", SignedHeaders="+list+", Signature="+
			hex.EncodeToString(signature))
	return r
}

func get(t *testing.T, target string, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func expectCode(t *testing.T, name string, err error, code string) {
	t.Helper()
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: refused: %v", name, err)
	case code != "" && (err == nil || !strings.HasPrefix(err.Error(), code+":")):
		t.Errorf("%s: %v, want %s", name, err, code)
	}
}

// TestCraftedHeaders: which headers are signed must be said in one way only, and
// each of them must be there.
func TestCraftedHeaders(t *testing.T) {
	t.Parallel()
	const host = "host:example.com"
	nothing := hash("")
	suffixed := craft(get(t, "/"), "sts", nothing, host)
	suffixed.Header.Set("Authorization", suffixed.Header.Get("Authorization")+"zz")
	cut := craft(get(t, "/"), "sts", nothing, host)
	cut.Header.Set("Authorization", cut.Header.Get("Authorization")[:len(cut.Header.Get("Authorization"))-2])
	for _, row := range []struct {
		name    string
		request *http.Request
		code    string
	}{
		{"in order", craft(get(t, "/", "X-A", "1"), "sts", nothing, host, "x-a:1"), ""},
		{"out of order", craft(get(t, "/", "X-A", "1"), "sts", nothing, "x-a:1", host), "SignatureDoesNotMatch"},
		{"twice", craft(get(t, "/"), "sts", nothing, host, host), "SignatureDoesNotMatch"},
		{"in capitals", craft(get(t, "/", "X-A", "1"), "sts", nothing, host, "X-A:1"), "SignatureDoesNotMatch"},
		{"in capitals, and first", craft(get(t, "/", "A", "1"), "sts", nothing, "A:1", host), "SignatureDoesNotMatch"},
		{"signed and not there", craft(get(t, "/"), "sts", nothing, host, "x-a:"), "SignatureDoesNotMatch"},
		{"of no length", craft(get(t, "/"), "sts", nothing, "content-length:0", host), ""},
		{"blanks in a value", craft(get(t, "/", "X-A", "  a   b "), "sts", nothing, host, "x-a:a b"), ""},
		{"the time in Date", craft(get(t, "/", "Date", "Tue, 01 Sep 2026 12:00:00 GMT"), "sts", nothing, host), ""},
		{"junk in Date", craft(get(t, "/", "Date", "today"), "sts", nothing, host), "IncompleteSignature"},
		{"two bytes more of signature", suffixed, "SignatureDoesNotMatch"},
		{"a byte less of signature", cut, "SignatureDoesNotMatch"},
	} {
		expectCode(t, row.name, verify(row.request, "", now), row.code)
	}
}

// TestS3Bodies: S3 wants a header that says the body's hash, unless the URL was
// presigned; a claimed hash must be the body's. The header itself need not be
// signed, since the signature covers what it says.
func TestS3Bodies(t *testing.T) {
	t.Parallel()
	const host = "host:example.com"
	claimed := hash("content")
	for _, row := range []struct {
		name, body, code string
		request          *http.Request
	}{
		{"nothing claimed", "content", "InvalidRequest", craft(get(t, "/"), "s3", claimed, host)},
		{"nothing claimed, another body", "changed", "InvalidRequest", craft(get(t, "/"), "s3", claimed, host)},
		{
			name:    "nothing claimed, and signed as unsigned",
			body:    "content",
			code:    "InvalidRequest",
			request: craft(get(t, "/"), "s3", "UNSIGNED-PAYLOAD", host),
		},
		{
			"claimed in a header that is not signed", "content", "",
			craft(get(t, "/", "X-Amz-Content-Sha256", claimed), "s3", claimed, host),
		},
		{
			"claimed in a header that is not signed, another body", "changed", "XAmzContentSHA256Mismatch",
			craft(get(t, "/", "X-Amz-Content-Sha256", claimed), "s3", claimed, host),
		},
		{
			"another hash in a header that is not signed", "changed", "SignatureDoesNotMatch",
			craft(get(t, "/", "X-Amz-Content-Sha256", hash("changed")), "s3", claimed, host),
		},
		{
			"the signer's hash and another one", "changed", "SignatureDoesNotMatch",
			func() *http.Request {
				r := craft(get(t, "/"), "s3", claimed, host)
				r.Header["X-Amz-Content-Sha256"] = []string{claimed, hash("changed")}
				return r
			}(),
		},
		{
			"claimed", "content", "",
			craft(get(t, "/", "X-Amz-Content-Sha256", claimed), "s3", claimed, host, "x-amz-content-sha256:"+claimed),
		},
		{
			"claimed, another body", "changed", "XAmzContentSHA256Mismatch",
			craft(get(t, "/", "X-Amz-Content-Sha256", claimed), "s3", claimed, host, "x-amz-content-sha256:"+claimed),
		},
	} {
		parsed, err := sigv4.Parse(row.request)
		if err != nil {
			t.Fatal(err)
		}
		expectCode(t, row.name, parsed.Verify(row.request, []byte(row.body), secret, "s3", now), row.code)
	}
}

// TestClockOfS3: a request that is early or late is told so in S3's own words; at
// the edge of the window it still counts.
func TestClockOfS3(t *testing.T) {
	t.Parallel()
	for off, codes := range map[time.Duration][2]string{
		0:                     {"", ""},
		sigv4.Window:          {"", ""},
		-sigv4.Window:         {"", ""},
		sigv4.Window + 1e9:    {"RequestTimeTooSkewed", "SignatureDoesNotMatch"},
		-(sigv4.Window + 1e9): {"RequestTimeTooSkewed", "SignatureDoesNotMatch"},
	} {
		for i, service := range []string{"s3", "sts"} {
			request := craft(get(t, "/", "X-Amz-Content-Sha256", hash("")), service, hash(""), "host:example.com")
			parsed, err := sigv4.Parse(request)
			if err != nil {
				t.Fatal(err)
			}
			expectCode(t, service+" off by "+off.String(), parsed.Verify(request, nil, secret, service,
				now.Add(off)), codes[i])
		}
	}
}

// TestParametersOfPresignedURLs stand there once, with a value.
func TestParametersOfPresignedURLs(t *testing.T) {
	t.Parallel()
	good := presigned(t, now, creds).URL.RawQuery
	with := func(query string) *http.Request {
		r := presigned(t, now, creds)
		r.URL.RawQuery = query
		return r
	}
	expectCode(t, "as the SDK makes it", verify(with(good), "", now), "")
	for _, name := range []string{
		"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature",
	} {
		twice := good + "&" + name + "=x"
		expectCode(t, name+" twice", verify(with(twice), "", now), "IncompleteSignature")
		values, _ := url.ParseQuery(good)
		values.Set(name, "")
		expectCode(t, name+" empty", verify(with(values.Encode()), "", now), "IncompleteSignature")
	}
	values, _ := url.ParseQuery(good)
	values["X-Amz-Security-Token"] = []string{"a", "b"}
	expectCode(t, "two session tokens", verify(with(values.Encode()), "", now), "IncompleteSignature")
	values.Set("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256")
	expectCode(t, "another algorithm", verify(with(values.Encode()), "", now), "IncompleteSignature")
	expectCode(t, "a query that cannot be read", verify(with("a=%zz"), "", now), "IncompleteSignature")
}

// TestAuthorizationHeaderOnce: what stands in it twice might count as either.
func TestAuthorizationHeaderOnce(t *testing.T) {
	t.Parallel()
	twice := signed(t, now, creds, "sts")
	twice.Header.Set("Authorization", twice.Header.Get("Authorization")+", Signature=00")
	expectCode(t, "two signatures", verify(twice, body, now), "IncompleteSignature")
	tokens := signed(t, now, creds, "sts")
	tokens.Header["X-Amz-Security-Token"] = []string{"a", "b"}
	expectCode(t, "two session tokens", verify(tokens, body, now), "IncompleteSignature")
	region := signed(t, now, creds, "sts")
	region.Header.Set("Authorization", strings.Replace(region.Header.Get("Authorization"), "us-east-1", "", 1))
	expectCode(t, "no region", verify(region, body, now), "SignatureDoesNotMatch")
}

// TestChunkLines: sizes are at most eight digits, and what they promise must
// follow.
func TestChunkLines(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, body, length, code string }{
		{"one chunk", "3\r\nabc\r\n0\r\n\r\n", "3", ""},
		{"no chunk", "0\r\n\r\n", "0", ""},
		{"a size of eight digits", "00000003\r\nabc\r\n0\r\n\r\n", "3", ""},
		{"a size of nine digits", "000000003\r\nabc\r\n0\r\n\r\n", "3", "IncompleteBody"},
		{"a size that is not a number", "zz\r\nabc\r\n0\r\n\r\n", "3", "IncompleteBody"},
		{"more data than the size", "3\r\nabcd\r\n0\r\n\r\n", "3", "IncompleteBody"},
		{"no line end after the data", "3\r\nabc0\r\n\r\n", "3", "IncompleteBody"},
		{"less data than the size", "5\r\nabc", "5", "IncompleteBody"},
		{"the last line end is cut off", "3\r\nabc", "3", "IncompleteBody"},
		{"no last chunk", "3\r\nabc\r\n", "3", "IncompleteBody"},
		{"nothing", "", "0", "IncompleteBody"},
	} {
		r := chunked(t, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "")
		r.Header.Set("X-Amz-Decoded-Content-Length", row.length)
		var nobody *sigv4.Signed
		_, _, err := nobody.Chunks(r, []byte(row.body), credential.Secret{})
		expectCode(t, row.name, err, row.code)
	}
}

// TestTrailers: all of them are read and signed, also behind an empty line.
func TestTrailers(t *testing.T) {
	t.Parallel()
	const seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	for _, row := range []struct{ name, announced, trailer, canonical, code string }{
		{"two", "x-a,x-b", "x-a:1\r\nx-b:2\r\n", "x-a:1\nx-b:2\n", ""},
		{"two, one of them signed", "x-a,x-b", "x-a:1\r\nx-b:2\r\n", "x-b:2\n", "SignatureDoesNotMatch"},
		{"one behind an empty line", "x-a,x-b", "x-a:1\r\n\r\nx-b:2\r\n", "x-a:1\nx-b:2\n", ""},
		{
			name:      "one behind an empty line that is not signed",
			announced: "x-a,x-b",
			trailer:   "x-a:1\r\n\r\nx-b:2\r\n",
			canonical: "x-a:1\n",
			code:      "SignatureDoesNotMatch",
		},
		{"not announced", "x-a", "x-a:1\r\nx-b:2\r\n", "x-a:1\nx-b:2\n", "MalformedTrailerError"},
		{"twice", "x-a", "x-a:1\r\nx-a:1\r\n", "x-a:1\nx-a:1\n", "MalformedTrailerError"},
		{"without a value", "x-a", "x-a\r\n", "x-a:\n", "MalformedTrailerError"},
	} {
		r := get(t, "/", "X-Amz-Date", crafted, "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
			"X-Amz-Decoded-Content-Length", "0", "X-Amz-Trailer", row.announced,
			"Authorization", "AWS4-HMAC-SHA256 Credential=A/20260901/us-east-1/s3/aws4_request,SignedHeaders=host,"+
				"Signature="+seed)
		parsed, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		sign := func(kind, previous string, hashes ...string) string {
			lines := append([]string{
				"AWS4-HMAC-SHA256-" + kind,
				crafted,
				"20260901/us-east-1/s3/aws4_request",
				previous,
			}, hashes...)
			return hex.EncodeToString(hmacOf(keyFor(secret, "s3"), strings.Join(lines, "\n")))
		}
		last := sign("PAYLOAD", seed, hash(""), hash(""))
		text := "0;chunk-signature=" + last + "\r\n" + row.trailer + "x-amz-trailer-signature:" + sign("TRAILER", last,
			hash(row.canonical)) + "\r\n\r\n"
		_, _, err = parsed.Chunks(r, []byte(text), secret)
		expectCode(t, row.name, err, row.code)
	}
}

// legacySignature is an old one, of a GET until the thousandth second.
func legacySignature(toSign string) string {
	h := hmac.New(sha1.New, []byte(secret.Reveal()))
	h.Write([]byte("GET\n\n\n1000\n" + toSign))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// TestLegacyText: of an old signature are covered the subresources with their
// values, in order, and headers and parameters that begin with x-amz-.
func TestLegacyText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, query, toSign, code string }{
		{"nothing more", "", "/b/k", ""},
		{"a parameter that is not covered", "&x=1", "/b/k", ""},
		{"a subresource", "&acl", "/b/k?acl", ""},
		{"subresources with values", "&versionId=7&partNumber=2&acl", "/b/k?acl&partNumber=2&versionId=7", ""},
		{"another value", "&versionId=7", "/b/k?versionId=8", "SignatureDoesNotMatch"},
		{"an x-amz- parameter", "&x-amz-security-token=t", "x-amz-security-token:t\n/b/k", ""},
		{"an x-amz- parameter that is not signed", "&x-amz-security-token=t", "/b/k", "SignatureDoesNotMatch"},
	} {
		signature := url.QueryEscape(legacySignature(row.toSign))
		r := get(t, "/b/k?AWSAccessKeyId=A&Expires=1000&Signature="+signature+row.query)
		parsed, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		expectCode(t, row.name, parsed.Verify(r, nil, secret, "s3", time.Unix(1000, 0)), row.code)
		expectCode(t, row.name+", a second late", parsed.Verify(r, nil, secret, "s3", time.Unix(1001, 0)),
			"AccessDenied")
	}
}

// TestLegacyParameters: each of the three must be there once, or it is no
// signature.
func TestLegacyParameters(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, query, code string }{
		{"all", "AWSAccessKeyId=A&Signature=x&Expires=1", ""},
		{"no key", "Signature=x&Expires=1", "MissingAuthenticationToken"},
		{"no signature", "AWSAccessKeyId=A&Expires=1", "MissingAuthenticationToken"},
		{"no end", "AWSAccessKeyId=A&Signature=x", "MissingAuthenticationToken"},
		{"two keys", "AWSAccessKeyId=A&AWSAccessKeyId=B&Signature=x&Expires=1", "MissingAuthenticationToken"},
		{
			name:  "two session tokens",
			query: "AWSAccessKeyId=A&Signature=x&Expires=1&x-amz-security-token=a&x-amz-security-token=b",
			code:  "IncompleteSignature",
		},
	} {
		_, err := sigv4.Parse(get(t, "/?"+row.query))
		expectCode(t, row.name, err, row.code)
	}
	for _, row := range []struct{ name, signature, expires, code string }{
		{"an expiry that is not a number", "x", "soon", "AccessDenied"},
		{"a signature that is no base64", "%21", "1000", "SignatureDoesNotMatch"},
	} {
		r := get(t, "/?AWSAccessKeyId=A&Signature="+row.signature+"&Expires="+row.expires)
		parsed, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		expectCode(t, row.name, parsed.Verify(r, nil, secret, "s3", time.Unix(1000, 0)), row.code)
	}
}

// TestLifeOfPresignedS3 is what X-Amz-Expires says, zero and a week included.
func TestLifeOfPresignedS3(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * 3600
	for _, row := range []struct {
		name    string
		expires int
		after   time.Duration
		code    string
	}{
		{"no time at all, at once", 0, 0, ""},
		{"no time at all, a second later", 0, time.Second, "AccessDenied"},
		{"less than no time", -1, 0, "AuthorizationQueryParametersError"},
		{"its last second", 60, time.Minute, ""},
		{"a second later", 60, time.Minute + time.Second, "AccessDenied"},
		{"a week", week, week * time.Second, ""},
		{"more than a week", week + 1, 0, "AuthorizationQueryParametersError"},
		{"early", 60, -sigv4.Window, ""},
		{"too early", 60, -sigv4.Window - time.Second, "AccessDenied"},
	} {
		query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" +
			"AKIAEXAMPLE%2F20260901%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=" + crafted +
			"&X-Amz-Expires=" + strconv.Itoa(row.expires) + "&X-Amz-SignedHeaders=host"
		canonical := "GET\n/b/k\n" + query + "\nhost:example.com\n\nhost\nUNSIGNED-PAYLOAD"
		signature := hmacOf(keyFor(secret, "s3"),
			"AWS4-HMAC-SHA256\n"+crafted+"\n20260901/us-east-1/s3/aws4_request\n"+hash(canonical))
		r := get(t, "/b/k?"+query+"&X-Amz-Signature="+hex.EncodeToString(signature))
		parsed, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		expectCode(t, row.name, parsed.Verify(r, nil, secret, "s3", now.Add(row.after)), row.code)
	}
}
