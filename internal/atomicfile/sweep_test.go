package atomicfile_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/atomicfile"
)

// TestSweep: what was left behind of a file goes, and nothing of another.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := []string{
		".rolecall-123", ".rolecall-sa.key-123", ".rolecall-sa.key-1", ".rolecall-sa.key-old-1", ".rolecall-sa.key-",
		".rolecall-sa.key-x1", ".rolecall-sa.pub-1", "sa.key", "rolecall-sa.key-1",
	}
	for _, name := range all {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".rolecall-sa.key-9"), 0o700); err != nil {
		t.Fatal(err)
	}
	left := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			if !entry.IsDir() {
				names = append(names, entry.Name())
			}
		}
		return names
	}
	want := func(gone ...string) []string {
		kept := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(gone, name) })
		slices.Sort(kept)
		return kept
	}
	if err := atomicfile.Sweep(filepath.Join(dir, "sa.key")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(".rolecall-sa.key-123", ".rolecall-sa.key-1"), left()); diff != "" {
		t.Errorf("of a file (-want +got):\n%s", diff)
	}
	if err := atomicfile.SweepUnnamed(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(".rolecall-sa.key-123", ".rolecall-sa.key-1", ".rolecall-123"), left()); diff != "" {
		t.Errorf("without a name (-want +got):\n%s", diff)
	}
	if err := atomicfile.Sweep(filepath.Join(dir, "none", "file")); err != nil {
		t.Errorf("of a folder that is not there: %v", err)
	}
}
