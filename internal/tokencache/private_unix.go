//go:build unix

package tokencache

import (
	"io/fs"
	"os"
	"syscall"
)

// hasModes says that permission bits keep others out.
const hasModes = true

func isOwn(info fs.FileInfo) bool {
	said, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(said.Uid) == os.Geteuid()
}
