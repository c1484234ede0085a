package plane

import (
	"path/filepath"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// Databases are the files of a data folder that a plane opens as databases.
func Databases(dir string) []string { return []string{account.File(dir), associationsFile(dir)} }

func associationsFile(dir string) string { return filepath.Join(dir, "associations.db") }
