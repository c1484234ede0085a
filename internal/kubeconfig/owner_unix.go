//go:build unix

package kubeconfig

import (
	"os"
	"syscall"
)

// owner is whose a file was. Under sudo the file of the one who called is changed, and
// stays theirs.
type owner struct {
	uid, gid int
	known    bool
}

func ownerOf(path string) owner {
	info, err := os.Stat(path)
	if err != nil {
		return owner{}
	}
	said, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}
	}
	return owner{int(said.Uid), int(said.Gid), true}
}

// give makes the file that owner's, if that may be done.
func (o owner) give(path string) {
	if o.known && (o.uid != os.Geteuid() || o.gid != os.Getegid()) {
		_ = os.Chown(path, o.uid, o.gid)
	}
}
