//go:build unix

package webhook_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/webhook"
	"github.com/rolecall/rolecall/test/webhookload"
)

func TestMain(m *testing.M) {
	webhookload.Main()
	os.Exit(m.Run())
}

// BenchmarkTLS has a process of its own post reviews over TLS at 2,000 a second,
// every tenth of an annotated account, to the server and the logger of the command,
// and reports the percentiles that the client sees and the processor time of the
// server. It is no test: they are the machine's as much as ours; of the times the
// lowest of some runs counts.
func BenchmarkTLS(b *testing.B) {
	text, err := os.ReadFile("testdata/review.json")
	if err != nil {
		b.Fatal(err)
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	log, err := obs.NewLogger(nowhere, "json", "info")
	if err != nil {
		b.Fatal(err)
	}
	handler, err := webhook.New(webhook.Config{
		Settings:        inject.Defaults(),
		ServiceAccounts: accounts,
		Metrics:         prometheus.NewRegistry(),
		Log:             log,
		Now:             time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	url, authority := serveTLS(b, handler)
	load := webhookload.Load{URL: url + "/mutate", CA: authority, Rate: 2000}
	review := func(account string) string {
		return strings.ReplaceAll(string(text), `"SERVICEACCOUNT"`, `"`+account+`"`)
	}
	load.Bodies = append(slices.Repeat([]string{review("plain")}, 9), review("s"))
	for _, protocol := range []string{"HTTP1", "HTTP2"} {
		b.Run(protocol, func(b *testing.B) {
			load.Count, load.HTTP2 = b.N, protocol == "HTTP2"
			before := processorTime(b)
			result, err := webhookload.Run(b.Context(), load)
			if err != nil {
				b.Fatal(err)
			}
			cost := (processorTime(b) - before) / time.Duration(b.N+webhookload.Warm)
			b.ReportMetric(0, "ns/op") // the schedule's
			for unit, value := range map[string]time.Duration{
				"p50-µs":        result.P50,
				"p99-µs":        result.P99,
				"p99.9-µs":      result.P999,
				"max-µs":        result.Max,
				"cpu-µs/review": cost,
			} {
				b.ReportMetric(float64(value.Nanoseconds())/1000, unit)
			}
			b.ReportMetric(result.PerSecond, "reviews/s")
		})
	}
}

// serveTLS serves as the command does, until the benchmark ends.
func serveTLS(b *testing.B, handler http.Handler) (url string, ca []byte) {
	b.Helper()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	pair, err := authority.Serving(time.Now(), time.Hour, "127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	log, err := obs.NewLogger(os.Stderr, "text", "error")
	if err != nil {
		b.Fatal(err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := httpserve.Server{
		Name:    "webhook",
		Handler: handler,
		TLS:     &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}},
		Log:     log,
		Limits:  httpserve.CalledByAPIServers(),
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return "https://" + listener.Addr().String(), authority.PEM()
}

// processorTime is what this process has used, in user and system mode.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
