//go:build !unix

package tokencache

import "io/fs"

// hasModes is false where permission bits say nothing: there the user's own folder is
// private by its access list.
const hasModes = false

func isOwn(fs.FileInfo) bool { return true }
