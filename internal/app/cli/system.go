// Package cli is what every command of the program is given and answers with: the process
// it may touch, how it prints, refuses arguments, and ends with an exit code.
//
// It knows no command and no flag of the product.
package cli

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// System is everything of the process that commands may touch, so that a test
// can stand in for it.
type System struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string
	Now            func() time.Time
	// Name is what people type to call the program: Name of this room, or "kubectl
	// rolecall" where kubectl starts it as a plugin. Empty is the former.
	Name string
	// File is the name by which the program was started; see Invoked.
	File string
	// Completes says that kubectl asks, by this file's name, what may follow what was typed.
	Completes bool
	// Executable returns the path of this program, for starting it again.
	Executable func() (string, error)
}

// NewSystem returns the real process.
func NewSystem() System {
	return System{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ, Now: time.Now, Executable: os.Executable,
		File: os.Args[0], Name: nameOf(os.Args[0]), Completes: base(os.Args[0]) == completer,
	}
}

// Name is the program's.
const Name = "rolecall"

// Kubectl finds its plugins by their file names, and what completes their arguments too:
// that is started with the words that were typed, the last one unfinished.
const (
	plugin    = "kubectl-" + Name
	completer = "kubectl_complete-" + Name
)

// nameOf is what people type for the file that was started.
func nameOf(file string) string {
	if name := base(file); name == plugin || name == completer {
		return "kubectl " + Name
	}
	return Name
}

func base(file string) string { return strings.TrimSuffix(filepath.Base(file), ".exe") }

// called finds the program's name where a command follows it, at the start of a word.
var called = lazyregexp.New("(^|[\\s\"'`(])(?:kubectl )?" + Name + "( +[a-z-])")

// AsCalled returns a text with the commands in it as people have to type them here.
func (s System) AsCalled(text string) string {
	if name := cmp.Or(s.Name, Name); name != Name {
		return called.ReplaceAllString(text, "${1}"+name+"${2}")
	}
	return text
}
