package cli

import (
	"errors"
	"strconv"
)

// ExitError carries a program's exit code through the command table. It is no
// failure of ours, so nothing is printed for it.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return "the program exited with code " + strconv.Itoa(e.Code) }

func AsExit(err error) (*ExitError, bool) { return errors.AsType[*ExitError](err) }
