package localaws_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkGetCallerIdentity is one signed call over loopback, signing not
// counted: the same signed request again and again.
func BenchmarkGetCallerIdentity(b *testing.B) {
	w := newWorld(b)
	body := url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}.Encode()
	signed := w.request(http.MethodPost, "", body)
	w.sign(signed, w.admin, "sts", body, w.clock())
	benchmarkCall(b, signed, body)
}

// BenchmarkAssumeRoleWithWebIdentity verifies an RS256 token and a trust policy.
func BenchmarkAssumeRoleWithWebIdentity(b *testing.B) {
	w := newWorld(b)
	w.caching = "max-age=3600"
	body := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {roleR}, "RoleSessionName": {"s1"}, "WebIdentityToken": {w.token(w.key, nil)},
	}.Encode()
	benchmarkCall(b, w.request(http.MethodPost, "", body), body)
}

func benchmarkCall(b *testing.B, r *http.Request, body string) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			again := r.Clone(b.Context())
			again.Body = io.NopCloser(strings.NewReader(body))
			response, err := client.Do(again)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				b.Errorf("status %d", response.StatusCode)
				return
			}
		}
	})
}
