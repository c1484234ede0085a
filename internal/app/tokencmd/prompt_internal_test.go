package tokencmd

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestPromptEnds: a question ends after a minute, and at once when the process is to end,
// also while nobody types.
func TestPromptEnds(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		interrupt time.Duration
		took      time.Duration
		says      string
	}{
		"nobody types": {0, promptTimeout, "within 1m0s"},
		"interrupted":  {time.Second, time.Second, "interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nobody, types := io.Pipe()
				defer func() { _ = types.Close() }()
				var says strings.Builder
				p := &prompt{sys: cli.System{Stdin: nobody, Stderr: &says}, mayAsk: true, again: "rolecall token"}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if row.interrupt > 0 {
					time.AfterFunc(row.interrupt, func() { cancel(&cli.Interrupted{Signal: 2}) })
				}
				began := time.Now()
				code, err := p.code(ctx, "device")
				if took := time.Since(began); code != "" || took != row.took || !strings.Contains(err.Error(),
					row.says) ||
					fault.ExitCode(err) != 1 ||
					errors.Is(err, errLeft) != (row.interrupt > 0) {
					t.Errorf("after %s: %q %v", took, code, err)
				}
				if says.String() != "MFA code of device: \n" {
					t.Errorf("said %q", says.String())
				}
			})
		})
	}
}
