package app

import (
	"encoding/json"
	"fmt"
	"io"
)

// printJSON writes a value for programs: indented, without escaping what HTML
// would need.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}
