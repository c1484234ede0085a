package cli

import (
	"errors"
	"strconv"
)

// ExitError carries a program's exit code through the command table.
type ExitError struct {
	Code int
	// Err is printed. Nil prints nothing: it is no failure of ours.
	Err error
}

// Error says which code it was, or why.
func (e *ExitError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return "the program exited with code " + strconv.Itoa(e.Code)
}

// Unwrap returns the reason.
func (e *ExitError) Unwrap() error { return e.Err }

// AsExit finds the exit code of a program in an error.
func AsExit(err error) (*ExitError, bool) { return errors.AsType[*ExitError](err) }
