package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Interrupted is why a context of Interruptible has ended.
type Interrupted struct{ Signal syscall.Signal }

// Error names the signal.
func (i *Interrupted) Error() string { return "interrupted by signal " + i.Signal.String() }

// Interruptible returns a context that ends, with an *Interrupted as its cause, at
// the first signal which asks the process to end: an interrupt, a termination, or
// the end of its terminal, unless that is ignored (nohup). A second signal ends the
// process at once.
func Interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	wanted := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, wanted...)
	go func() {
		defer signal.Stop(signals)
		select {
		case got := <-signals:
			number, _ := got.(syscall.Signal)
			cancel(&Interrupted{number})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// InterruptOf is the signal that ended a context, as an error; nil if none did.
func InterruptOf(ctx context.Context) error {
	if interrupted, ok := errors.AsType[*Interrupted](context.Cause(ctx)); ok {
		return interrupted
	}
	return nil
}

// SurviveBrokenPipes makes writing to a pipe that nobody reads an error, also on
// standard output and error, where it would end the process: for commands that
// leave something behind then. Programs that they start are not affected.
func SurviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
