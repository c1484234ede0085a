package signer

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// maxLinks ends the walk through symbolic links that lead to each other.
const maxLinks = 40

// ownFolder refuses a folder in which, or above which, a user other than root and
// ours could put something else in the place of the socket. Each folder and each
// symbolic link on the way counts, until a folder that others cannot even enter.
// Above the socket's own folder the sticky bit, as on /tmp, protects what is ours; in
// it, it does not keep others from taking the name while nobody has it.
func ownFolder(dir string) error {
	at, left, links, shielded := "/", steps(dir), 0, false
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return fault.New(fault.Unavailable, "inspect the socket's folder: %w", err)
		}
		if err := oursAlone(at, info, len(left) == 0); err != nil && !shielded {
			return err
		}
		switch {
		case info.Mode().Type() == os.ModeSymlink:
			target, err := os.Readlink(at)
			if links++; err != nil || links > maxLinks {
				return fault.New(fault.Unavailable, "follow the symbolic link %s of the socket's folder: %w", at, err)
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(at), target)
			}
			at, left, shielded = "/", append(steps(target), left...), false
			continue
		case info.Mode().Perm()&0o011 == 0:
			shielded = true
		}
		if len(left) == 0 {
			return nil
		}
		at, left = filepath.Join(at, left[0]), left[1:]
	}
}

// steps are the names on the way from the root.
func steps(dir string) []string {
	return strings.FieldsFunc(filepath.Clean(dir), func(r rune) bool { return r == '/' })
}

func oursAlone(path string, info os.FileInfo, last bool) error {
	if owner, known := ownerOf(info); known && owner != 0 && owner != os.Geteuid() {
		return fault.New(fault.Denied, "%s, on the way to the socket, belongs to user %d, who could put another socket "+
			"in its place and sign tokens for the API server: want one of root or of this user", path, owner).
			Hint("sudo chown root %s, or choose another --socket", path)
	}
	mode := info.Mode()
	sticky := mode&os.ModeSticky != 0 && !last
	if mode.Type() == os.ModeSymlink || mode.Perm()&0o022 == 0 || sticky {
		return nil
	}
	return fault.New(fault.Denied, "%s, on the way to the socket, has mode %04o: anybody who may write there could put another "+
		"socket in its place and sign tokens for the API server", path, mode.Perm()).
		Hint("choose a --socket in a folder of its own, such as /run/rolecall/signer.sock; "+
			"or, if %s is for the signer alone: chmod go-w %s", path, path)
}
