package inject_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text        string
		mount, file bool
	}{
		{"/var/run/secrets/token", true, false},
		{"/", true, false},
		{"/var:run", false, false},
		{"token", false, true},
		{"a/token", false, true},
		{"a/..token", false, true},
		{"a:token", false, true},
		{"../token", false, false},
		{"..token", false, false},
		{"a/../token", false, false},
		{"a/..", false, false},
		{"", false, false},
	} {
		if got := inject.IsMountPath(row.text); got != row.mount {
			t.Errorf("%q as a mount path: got %t, want %t", row.text, got, row.mount)
		}
		if got := inject.IsVolumeFile(row.text); got != row.file {
			t.Errorf("%q as a volume's file: got %t, want %t", row.text, got, row.file)
		}
	}
}
