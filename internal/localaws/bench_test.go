package localaws_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
		"Action":           {"AssumeRoleWithWebIdentity"},
		"Version":          {"2011-06-15"},
		"RoleArn":          {roleR},
		"RoleSessionName":  {"s1"},
		"WebIdentityToken": {w.token(w.key, nil)},
	}.Encode()
	benchmarkCall(b, w.request(http.MethodPost, "", body), body)
}

// benchmarkCall makes the same call on kept connections, and reports requests
// per second and how long half of them and nearly all of them took.
func benchmarkCall(b *testing.B, r *http.Request, body string) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var (
		mu    sync.Mutex
		taken []time.Duration
	)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		own := make([]time.Duration, 0, b.N)
		for pb.Next() {
			start := time.Now()
			if err := call(client, r.Clone(b.Context()), body); err != nil {
				b.Error(err)
				return
			}
			own = append(own, time.Since(start))
		}
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, own...)
	})
	b.StopTimer()
	if len(taken) == 0 {
		return
	}
	slices.Sort(taken)
	b.ReportMetric(float64(len(taken))/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(taken[len(taken)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(taken[len(taken)*99/100].Microseconds()), "p99-µs")
}

func call(client *http.Client, r *http.Request, body string) error {
	r.Body = io.NopCloser(strings.NewReader(body))
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}
