package app

import (
	"errors"
	"strconv"
)

// exitError carries a program's exit code through the command table. It is no
// failure of ours, so nothing is printed for it.
type exitError struct{ code int }

func (e *exitError) Error() string { return "the program exited with code " + strconv.Itoa(e.code) }

func asExit(err error) (*exitError, bool) { return errors.AsType[*exitError](err) }
