package flags

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/boltfile"
)

// Salvage adds --salvage to a command that keeps databases in a folder.
func Salvage(cmd *cobra.Command, salvage *bool) {
	cmd.Flags().BoolVar(salvage, "salvage", false,
		"replace damaged files of --data by what can be read of them first; the damaged ones are kept beside them")
}

// SalvageFiles does it, and says what became of each file.
func SalvageFiles(out io.Writer, paths ...string) error {
	for _, path := range paths {
		got, err := boltfile.Salvage(path)
		switch {
		case err != nil:
			return err
		case got.Kept == "":
			continue
		}
		fmt.Fprintf(out, "%s: %d records saved, the file from before is %s\n", path, got.Pairs, got.Kept)
		if len(got.Damaged) > 0 {
			fmt.Fprintf(out, "%s: some of %s are lost\n", path, strings.Join(got.Damaged, ", "))
		}
		if !got.All {
			fmt.Fprintf(out, "%s: there may be kinds of records that nothing is left of\n", path)
		}
	}
	return nil
}
