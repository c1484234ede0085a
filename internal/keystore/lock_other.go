//go:build !unix

package keystore

import (
	"errors"
	"os"
)

// lockFile refuses: API servers, whose keys these are, run on Unix only.
func lockFile(*os.File) error { return errors.New("key stores can be changed on Unix only") }
