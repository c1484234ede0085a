package httpserve_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/test/pipes"
)

// TestConnectionsOfOneCaller: what a caller opens beyond the bound is closed at once, and
// what is open already stays. A server without a bound has none.
func TestConnectionsOfOneCaller(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name       string
		limits     httpserve.Limits
		open, want int
	}{
		{"for API servers", httpserve.CalledByAPIServers(), 1100, 1024},
		{"for anybody", httpserve.ReadByAnybody(), 300, 256},
		{"in all", httpserve.Limits{Connections: 2, ConnectionsOfOneCaller: 3}, 4, 2},
		{"without a bound", httpserve.Limits{}, 1100, 1100},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := httpserve.Server{
				Name: "test", Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Limits: row.limits,
			}
			listener := pipes.NewListener()
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(t.Context(), listener) }()
			t.Cleanup(func() {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
			open := row.open
			for range row.open {
				client := listener.Connect()
				t.Cleanup(func() { _ = client.Close() })
				go func() {
					_, _ = io.Copy(io.Discard, client)
					open--
				}()
				synctest.Wait()
			}
			if open != row.want {
				t.Errorf("%s: %d connections are open, want %d", row.name, open, row.want)
			}
		})
	}
}
