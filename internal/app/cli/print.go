package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// PrintJSON writes a value for programs: indented, without escaping what HTML
// would need.
func PrintJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// PrintError writes an error as one line, and its hints, to standard error.
func PrintError(sys System, err error) {
	message := strings.ReplaceAll(err.Error(), "\n", " ")
	fmt.Fprintf(sys.Stderr, "%s: %s\n", Name, sys.AsCalled(message))
	for _, hint := range fault.HintsOf(err) {
		fmt.Fprintf(sys.Stderr, "hint: %s\n", sys.AsCalled(hint))
	}
}
