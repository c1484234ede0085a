// Package cli is what every command of the program is given and answers with: the process
// it may touch, how it prints, refuses arguments, and ends with an exit code.
//
// It knows no command and no flag of the product.
package cli

import (
	"io"
	"os"
	"time"
)

// System is everything of the process that commands may touch, so that a test
// can stand in for it.
type System struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string
	Now            func() time.Time
	// Executable returns the path of this program, for starting it again.
	Executable func() (string, error)
}

// NewSystem returns the real process.
func NewSystem() System {
	return System{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ, Now: time.Now, Executable: os.Executable,
	}
}
