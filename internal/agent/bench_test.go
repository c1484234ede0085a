package agent_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
)

func unlimited(c *agent.Config) {
	c.Limits.PodRate, c.Limits.PodBurst, c.Limits.TotalRate = 1e9, 1e9, 1e9
	c.Log = slog.New(slog.DiscardHandler)
}

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header                { return w.header }
func (nowhere) Write(p []byte) (int, error)          { return len(p), nil }
func (nowhere) WriteString(text string) (int, error) { return len(text), nil }
func (nowhere) WriteHeader(int)                      {}

func asking(raw string) *http.Request {
	const url = "http://169.254.170.23/v1/credentials"
	request := httptest.NewRequest(http.MethodGet, url, nil) //nolint:noctx // there is no client
	request.Header.Set("Authorization", raw)
	return request
}

// BenchmarkHit is the cost of a cached answer, without a network.
func BenchmarkHit(b *testing.B) {
	r := newRig(b, &fakeUpstream{}, unlimited)
	raw := cart(time.Now()).mint(b)
	request, w := asking(raw), nowhere{http.Header{}}
	r.ServeHTTP(w, request)
	b.ReportAllocs()
	for b.Loop() {
		r.ServeHTTP(w, request)
	}
}

// BenchmarkStorm is 64 pods' worth of one token at once, with one call.
func BenchmarkStorm(b *testing.B) {
	r := newRig(b, &fakeUpstream{}, unlimited)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		one := cart(time.Now())
		one.uid = fmt.Sprint("u", i)
		raw := one.mint(b)
		for _, got := range together(r, 64, func(int) string { return raw }) {
			if got.Code != http.StatusOK {
				b.Fatal(got.Body)
			}
		}
	}
}

// BenchmarkGarbage is a refused guess of an address that has guessed too much.
func BenchmarkGarbage(b *testing.B) {
	r := newRig(b, &fakeUpstream{}, unlimited)
	request, w := asking("a.b.c"), nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		r.ServeHTTP(w, request)
	}
}

// BenchmarkServed compares a cached answer with a bare handler that writes the
// same bytes, both over TCP with one connection per CPU.
func BenchmarkServed(b *testing.B) {
	r := newRig(b, &fakeUpstream{}, unlimited)
	raw := cart(time.Now()).mint(b)
	body := r.get(raw).Body.Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	for name, handler := range map[string]http.Handler{"agent": r, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
			go func() { _ = server.Serve(agent.LimitConnections(listener)) }()
			defer server.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				request, err := http.NewRequestWithContext(
					b.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/v1/credentials", nil,
				)
				if err != nil {
					b.Error(err)
					return
				}
				request.Header.Set("Authorization", raw)
				for pb.Next() {
					response, err := client.Do(request)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := io.Copy(
						io.Discard, response.Body,
					); err != nil || response.StatusCode != http.StatusOK {
						b.Error(response.Status, err)
					}
					_ = response.Body.Close()
				}
			})
		})
	}
}
