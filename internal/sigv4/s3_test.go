package sigv4_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// The keys and requests of the examples in AWS's manual of S3.
var (
	manual   = credential.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	manualAt = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
)

const (
	firstSeed  = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	secondSeed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
)

func chunked(t testing.TB, form, seed string) *http.Request {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut,
		"http://s3.amazonaws.com/examplebucket/chunkObject.txt", nil)
	r.Header.Set("Authorization",
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,"+
			"Signature="+seed)
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("X-Amz-Content-Sha256", form)
	r.Header.Set("X-Amz-Decoded-Content-Length", "66560")
	r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
	return r
}

func manualBody(signatures ...string) string {
	return "10000;chunk-signature=" + signatures[0] + "\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=" + signatures[1] + "\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=" + signatures[2] + "\r\n"
}

func TestChunks(t *testing.T) {
	t.Parallel()
	const (
		plain    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
		trailing = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
		unsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		crc      = "x-amz-checksum-crc32c:sOO8/Q==\r\n"
	)
	first := manualBody(
		"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
		"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
	) + "\r\n"
	second := manualBody(
		"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
		"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
	)
	signed := crc + "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	bare := "10000\r\n" + strings.Repeat("a",
		65536) + "\r\n400\r\n" + strings.Repeat("a", 1024) + "\r\n0\r\n" + crc + "\r\n"
	for _, row := range []struct{ name, form, seed, body, code string }{
		{"signed", plain, firstSeed, first, ""},
		{"signed with trailer", trailing, secondSeed, second + signed, ""},
		{"unsigned with trailer", unsigned, secondSeed, bare, ""},
		{"another seed", plain, secondSeed, first, "SignatureDoesNotMatch"},
		{"data changed", plain, firstSeed, strings.Replace(first, "aaa", "aab", 1), "SignatureDoesNotMatch"},
		{"a chunk left out", plain, firstSeed, first[:len(first)-300], "IncompleteBody"},
		{
			name: "trailer changed",
			form: trailing,
			seed: secondSeed,
			body: second + strings.Replace(signed, "sOO8", "sOO9", 1),
			code: "SignatureDoesNotMatch",
		},
		{"trailer not signed", trailing, secondSeed, second + crc + "\r\n", "SignatureDoesNotMatch"},
		{"trailer added", plain, firstSeed, strings.TrimSuffix(first, "\r\n") + crc, "SignatureDoesNotMatch"},
		{"not announced", unsigned, secondSeed, strings.Replace(bare, "crc32c:", "crc32:", 1), "MalformedTrailerError"},
		{"shorter than said", unsigned, secondSeed, "0\r\n\r\n", "IncompleteBody"},
		{"no such form", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", firstSeed, first, "InvalidRequest"},
	} {
		r := chunked(t, row.form, row.seed)
		s, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		content, trailer, err := s.Chunks(r, []byte(row.body), manual)
		if row.code != "" {
			if err == nil || !strings.HasPrefix(err.Error(), row.code+":") {
				t.Errorf("%s: %v, want %s", row.name, err, row.code)
			}
			continue
		}
		if err != nil || !bytes.Equal(content, bytes.Repeat([]byte("a"), 66560)) ||
			(row.form != plain && trailer.Get("X-Amz-Checksum-Crc32c") != "sOO8/Q==") {
			t.Errorf("%s: %d bytes, %v, %v", row.name, len(content), trailer, err)
		}
	}
	var nobody *sigv4.Signed
	if _, _, err := nobody.Chunks(chunked(t, unsigned, ""), []byte(bare), credential.Secret{}); err != nil {
		t.Errorf("without any signature: %v", err)
	}
	if _, _, err := nobody.Chunks(chunked(t, plain, ""), []byte(first), credential.Secret{}); err == nil {
		t.Error("signed chunks of nobody are accepted")
	}
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	const query = "?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
	for _, row := range []struct {
		name, url, service string
		at                 int64
		code               string
	}{
		{"virtual host", "http://johnsmith.s3.amazonaws.com/photos/puppy.jpg" + query, "s3", 1175139610, ""},
		{
			name:    "the path of another bucket's host",
			url:     "http://other.s3.amazonaws.com/johnsmith/photos/puppy.jpg" + query,
			service: "s3",
			at:      1175139610,
			code:    "SignatureDoesNotMatch",
		},
		{"path", "http://127.0.0.1/johnsmith/photos/puppy.jpg" + query, "s3", 1175139610, ""},
		{"late", "http://127.0.0.1/johnsmith/photos/puppy.jpg" + query, "s3", 1175139621, "AccessDenied"},
		{
			name:    "another path",
			url:     "http://127.0.0.1/johnsmith/photos/kitten.jpg" + query,
			service: "s3",
			at:      1175139610,
			code:    "SignatureDoesNotMatch",
		},
		{
			name:    "a subresource added",
			url:     "http://127.0.0.1/johnsmith/photos/puppy.jpg" + query + "&acl",
			service: "s3",
			at:      1175139610,
			code:    "SignatureDoesNotMatch",
		},
		{
			name:    "another service",
			url:     "http://127.0.0.1/johnsmith/photos/puppy.jpg" + query,
			service: "iam",
			at:      1175139610,
			code:    "IncompleteSignature",
		},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, row.url, nil)
		s, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		s.HostBucket, _, _ = strings.Cut(r.Host, ".s3.")
		if s.HostBucket == r.Host {
			s.HostBucket = ""
		}
		err = s.Verify(r, nil, manual, row.service, time.Unix(row.at, 0))
		if (row.code == "") != (err == nil) || (err != nil && !strings.HasPrefix(err.Error(), row.code+":")) {
			t.Errorf("%s: %v, want %q", row.name, err, row.code)
		}
	}
}

// TestPresignedS3: such URLs live as long as they say, up to a week.
func TestPresignedS3(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		expires, code string
		after         time.Duration
	}{
		{"86400", "", 23 * time.Hour},
		{"86400", "AccessDenied", 25 * time.Hour},
		{"60", "AccessDenied", 2 * time.Minute},
		{"60", "AccessDenied", -time.Hour},
		{"604801", "AuthorizationQueryParametersError", 0},
		{"soon", "AuthorizationQueryParametersError", 0},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet,
			"http://localhost:4566/b/k?X-Amz-Expires="+row.expires, nil)
		uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{
			AccessKeyID:     "AKIA",
			SecretAccessKey: manual.Reveal(),
		}, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", manualAt,
			func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil)
		s, err := sigv4.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Verify(r, nil, manual, "s3", manualAt.Add(row.after))
		if (row.code == "") != (err == nil) || (err != nil && !strings.HasPrefix(err.Error(), row.code+":")) {
			t.Errorf("%s after %s: %v, want %q", row.expires, row.after, err, row.code)
		}
	}
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32c:x\r\n\r\n"), "3")
	f.Add([]byte("fffffffff\r\n"), "0")
	f.Fuzz(func(t *testing.T, body []byte, length string) {
		r := chunked(t, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "")
		r.Header.Set("X-Amz-Decoded-Content-Length", length)
		var nobody *sigv4.Signed
		content, _, err := nobody.Chunks(r, body, credential.Secret{})
		if err == nil && len(content) >= len(body) {
			t.Errorf("%d bytes of content in %d of body", len(content), len(body))
		}
	})
}
