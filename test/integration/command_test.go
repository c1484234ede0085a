package integration_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// runCommand runs a command line in a process with more in its environment, until
// it ends or ctx does, which asks it to end; the process's end is waited for. A
// race that is found there is an exit code too.
func runCommand(ctx context.Context, environment []string, stdout, stderr io.Writer, args ...string) (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.Env = append(os.Environ(), programVariable+"=rolecall")
	command.Env = append(command.Env, environment...)
	command.Stdout, command.Stderr = stdout, stderr
	alive, err := command.StdinPipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = alive.Close() }()
	err = command.Start()
	if err != nil {
		return 0, err
	}
	if err = command.Wait(); ctx.Err() != nil && command.ProcessState.Exited() {
		return command.ProcessState.ExitCode(), nil
	}
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		err = nil
	}
	return command.ProcessState.ExitCode(), err
}
