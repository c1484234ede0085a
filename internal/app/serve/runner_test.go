package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestServeUntilTold: parts outlive the word to stop by the delay, a part that
// fails ends the others at once.
func TestServeUntilTold(t *testing.T) {
	t.Parallel()
	const delay = 5 * time.Second
	failure := errors.New("failed")
	for _, row := range []struct {
		name   string
		part   func(context.Context) error
		want   error
		lasts  time.Duration
		leaves bool
	}{
		{"told", func(ctx context.Context) error { <-ctx.Done(); return nil }, nil, time.Minute + delay, true},
		{"failed", func(context.Context) error { return failure }, failure, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began, left := time.Now(), false
				other := func(ctx context.Context) error { <-ctx.Done(); return nil }
				err := serveUntilTold(ctx, delay, func() { left = true },
					[]func(context.Context) error{row.part, other})
				if lasted := time.Since(began); !errors.Is(err, row.want) || lasted != row.lasts || left != row.leaves {
					t.Errorf("got %v after %s, told to leave %t", err, lasted, left)
				}
			})
		})
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	var failing error
	var remark string
	mux := http.NewServeMux()
	handleProbes(mux, func() string { return remark },
		func(context.Context) error { return nil }, func(context.Context) error { return failing })
	for _, row := range []struct {
		path   string
		err    error
		remark string
		code   int
		text   string
	}{
		{"/healthz", nil, "", http.StatusOK, "ok\n"},
		{"/readyz", nil, "", http.StatusOK, "ok\n"},
		{"/readyz", nil, "the watch of pods stands still", http.StatusOK, "ok\nthe watch of pods stands still\n"},
		{"/healthz", errors.New("not read yet"), "", http.StatusOK, "ok\n"},
		{"/readyz", errors.New("not read yet"), "", http.StatusServiceUnavailable, "not read yet\n"},
	} {
		failing, remark = row.err, row.remark
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, row.path, nil))
		if answer.Code != row.code || answer.Body.String() != row.text {
			t.Errorf("%s with %v: %d %q", row.path, row.err, answer.Code, answer.Body)
		}
	}
}

// runCommand runs a server's command as the program does, and returns the exit code.
func runCommand(t *testing.T, command func(cli.System) *cobra.Command, args string, stdout, stderr io.Writer) int {
	t.Helper()
	c := command(cli.System{Stdout: stdout, Stderr: stderr, Getenv: func(string) string { return "" }, Now: time.Now})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(strings.Fields(args))
	err := c.ExecuteContext(t.Context())
	if err != nil {
		cli.PrintError(cli.System{Stderr: stderr}, err)
	}
	return fault.ExitCode(err)
}
