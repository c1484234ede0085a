// Package checkout finds the source tree that a test or a developer's command
// runs in. It knows nothing of what is in the tree, and the product does not
// import it: a built binary has no tree.
package checkout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Root is the folder of go.mod, looked for from the working directory upwards:
// go test sets that to the folder of the package. The place of a source file at
// compile time would do as well, but for builds with -trimpath.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s or above it", start)
		}
	}
}
