package cli

import (
	"errors"
	"strconv"
)

// ExitError carries a program's exit code through the command table. It is no
// failure of ours, so nothing is printed for it.
type ExitError struct{ Code int }

// Error says which code it was.
func (e *ExitError) Error() string { return "the program exited with code " + strconv.Itoa(e.Code) }

// AsExit finds the exit code of a program in an error.
func AsExit(err error) (*ExitError, bool) { return errors.AsType[*ExitError](err) }
