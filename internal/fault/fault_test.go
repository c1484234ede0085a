package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
)

func TestErrorKeepsKindHintsAndCause(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.NotFound, "no such role %q", "r").Hint("list them")
	outer := fault.New(fault.Invalid, "read file: %w", inner).Hint("look again")
	err := fmt.Errorf("start: %w", outer)

	if got, want := err.Error(), `start: read file: no such role "r"`; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if got := fault.KindOf(err); got != fault.Invalid {
		t.Errorf("KindOf = %v, want the outermost kind %v", got, fault.Invalid)
	}
	if diff := cmp.Diff([]string{"look again", "list them"}, fault.HintsOf(err)); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
	if !errors.Is(fault.New(fault.Unavailable, "open: %w", fs.ErrNotExist), fs.ErrNotExist) {
		t.Error("the cause is not wrapped")
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"plain error", errors.New("x"), 1},
		{"usage", fault.New(fault.Usage, "x"), 2},
		{"wrapped usage", fmt.Errorf("y: %w", fault.New(fault.Usage, "x")), 2},
		{"denied", fault.New(fault.Denied, "x"), 1},
	} {
		if got := fault.ExitCode(row.err); got != row.want {
			t.Errorf("%s: ExitCode = %d, want %d", row.name, got, row.want)
		}
	}
}
