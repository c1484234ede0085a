package app_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rolecall/rolecall/internal/app"
)

// broken is standard output that takes nothing.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// TestUnprinted: an answer that could not be printed is an error of every command.
func TestUnprinted(t *testing.T) {
	t.Parallel()
	var commands [][]string
	var walk func(path ...string)
	walk = func(path ...string) {
		var help bytes.Buffer
		sys := app.NewSystem()
		sys.Stdout, sys.Stderr = &help, io.Discard
		command := slices.Concat(path, []string{"--help"})
		if app.Run(t.Context(), sys, command) != 0 {
			return // no command, but an example or another name
		}
		commands = append(commands, command)
		_, list, _ := strings.Cut(help.String(), " COMMAND\n")
		for line := range strings.Lines(list) {
			word, found := strings.CutPrefix(line, "  ")
			if fields := strings.Fields(word); found && word[0] >= 'a' && len(fields) > 1 && fields[0] != "rolecall" {
				walk(slices.Concat(path, fields[:1])...)
			}
		}
	}
	walk()
	if len(commands) < 30 {
		t.Fatalf("%d commands only: %v", len(commands), commands)
	}
	commands = append(
		commands, []string{"version"}, []string{"version", "-o", "json"}, []string{"--version"}, []string{"completion", "bash"},
		[]string{"__complete", "run", "--via", ""},
		[]string{
			"can", "--principal", "arn:aws:iam::111122223333:role/app", "--action", "s3:ListAllMyBuckets",
			"--policy", "AmazonS3ReadOnlyAccess",
		},
		[]string{
			"explain", "-o", "json", "--principal", "arn:aws:iam::111122223333:role/app", "--action", "s3:PutObject",
			"--resource", "arn:aws:s3:::b/k", "--policy", "AmazonS3ReadOnlyAccess",
		},
	)
	for _, command := range commands {
		var stderr bytes.Buffer
		sys := app.NewSystem()
		sys.Stdout, sys.Stderr = broken{syscall.ENOSPC}, &stderr
		code := app.Run(t.Context(), sys, command)
		if code != 1 || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%v: code %d, %q", command, code, stderr.String())
		}
		stderr.Reset()
		sys.Stdout = broken{syscall.EPIPE}
		if code := app.Run(t.Context(), sys, command); code != 141 {
			t.Errorf("%v, nobody reads: code %d, %q", command, code, stderr.String())
		}
	}
}
