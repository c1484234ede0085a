package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// sink is a ResponseWriter that costs nothing itself.
type sink struct {
	header http.Header
	code   int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(code int)        { s.code = code }

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// BenchmarkReview is one review in process, with a review as an API server sends
// it for a pod of a Deployment (5 KiB).
func BenchmarkReview(b *testing.B) {
	text, err := os.ReadFile("testdata/review.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct{ name, account string }{{"unannotated", "plain"}, {"annotated", "s"}} {
		b.Run(row.name, func(b *testing.B) {
			handler := newHandler(b, accounts)
			review := []byte(strings.ReplaceAll(string(text), `"SERVICEACCOUNT"`, `"`+row.account+`"`))
			reader := body{bytes.NewReader(review)}
			request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/mutate", io.NopCloser(reader))
			if err != nil {
				b.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			request.Body = reader
			out := &sink{header: http.Header{}}
			b.SetBytes(int64(len(review)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(review)
				handler.ServeHTTP(out, request)
			}
			if out.code != 0 {
				b.Fatal(out.code)
			}
		})
	}
}
