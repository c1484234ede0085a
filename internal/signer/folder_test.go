package signer_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/signer"
)

// TestFolderOfOthers: where another user could put a socket of their own in the place
// of the signer's, the signer does not listen, and touches nothing.
func TestFolderOfOthers(t *testing.T) {
	t.Parallel()
	const open, private, sticky = 0o755, 0o700, os.ModeSticky | 0o777
	for name, row := range map[string]struct {
		above, folder os.FileMode
		owner         int  // of the folder; as root only
		throughLink   bool // in a folder of the mode above
		denied        bool
	}{
		"ours":                            {above: open, folder: open},
		"everybody writes":                {above: open, folder: 0o777, denied: true},
		"a group writes":                  {above: open, folder: 0o775, denied: true},
		"sticky, so anybody may be first": {above: open, folder: sticky, denied: true},
		"above it everybody writes":       {above: 0o777, folder: private, denied: true},
		"above it a group writes":         {above: 0o770, folder: private, denied: true},
		"above it sticky":                 {above: sticky, folder: private},
		"nobody gets there":               {above: private, folder: 0o777},
		"a link of ours":                  {above: open, folder: open, throughLink: true},
		"a link that others replace":      {above: 0o777, folder: open, throughLink: true, denied: true},
		"through a link, everybody":       {above: open, folder: 0o777, throughLink: true, denied: true},
		"another user's":                  {above: open, folder: private, owner: 1234, denied: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.owner != 0 && os.Geteuid() != 0 {
				t.Skip("NOT TESTED: a folder of another user needs root")
			}
			top := t.TempDir()
			above, folder := filepath.Join(top, "above"), filepath.Join(top, "above", "folder")
			if row.throughLink {
				folder = filepath.Join(top, "folder")
			}
			named := folder
			for _, dir := range []string{top, above, folder} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if row.throughLink {
				named = filepath.Join(above, "link")
				if err := os.Symlink(folder, named); err != nil {
					t.Fatal(err)
				}
			}
			if row.owner != 0 {
				if err := os.Chown(folder, row.owner, -1); err != nil {
					t.Fatal(err)
				}
			}
			for dir, mode := range map[string]os.FileMode{top: open, above: row.above, folder: row.folder} {
				if err := os.Chmod(dir, mode); err != nil {
					t.Fatal(err)
				}
			}
			// The folder that t.TempDir is in can be entered by its owner only.
			if err := os.Chmod(filepath.Dir(top), open); err != nil {
				t.Fatal(err)
			}
			listener, err := signer.Listen(t.Context(), filepath.Join(named, "s"))
			if row.denied != (fault.KindOf(err) == fault.Denied) || row.denied != (err != nil) {
				t.Errorf("got %v, want denied: %v", err, row.denied)
			}
			if err == nil {
				_ = listener.Close()
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
				t.Errorf("left there: %q", left)
			}
		})
	}
}

// TestLinksThatEndNowhere: links that lead to each other are an error, and soon.
func TestLinksThatEndNowhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for from, to := range map[string]string{"a": "b", "b": "a"} {
		if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	var listener net.Listener
	listener, err := signer.Listen(t.Context(), filepath.Join(dir, "a", "s"))
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, %v, want an error", listener, err)
	}
}
