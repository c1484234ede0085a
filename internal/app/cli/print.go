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

// PrintError writes one line and its hints.
func PrintError(w io.Writer, err error) {
	fmt.Fprintf(w, "rolecall: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	for _, hint := range fault.HintsOf(err) {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}
