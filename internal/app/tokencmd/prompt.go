package tokencmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

const (
	// promptTimeout is how long a person may look for a device.
	promptTimeout = time.Minute
	// codeDigits is how long codes are.
	codeDigits = 6
	maxLine    = 256
)

// errLeft is that a person does not type a code.
var errLeft = errors.New("interrupted at the question for a code")

// prompt asks for codes of MFA devices, where somebody is there to be asked.
type prompt struct {
	sys    cli.System
	mayAsk bool
	again  string // the command line for a shell
}

// code asks once, for a minute at most.
func (p *prompt) code(ctx context.Context, device string) (string, error) {
	if !p.mayAsk {
		return "", fault.New(fault.Denied,
			"a code of the MFA device %s is needed, and nobody can be asked for it here", device).
			Hint("run once in a shell: %s", p.again)
	}
	fmt.Fprintf(p.sys.Stderr, "MFA code of %s: ", device)
	ctx, cancel := context.WithTimeout(ctx, promptTimeout)
	defer cancel()
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() { // which ends with the process, if nobody types
		text, err := readLine(p.sys.Stdin)
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.sys.Stderr)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fault.New(fault.Denied, "no code of the MFA device %s within %s", device, promptTimeout).
				Hint("run once in a shell: %s", p.again)
		}
		return "", fault.New(fault.Denied, "%w", errLeft)
	case got := <-read:
		if got.err != nil {
			return "", fault.New(fault.Denied, "read the code of the MFA device %s: %w", device, got.err).
				Hint("run once in a shell: %s", p.again)
		}
		code := strings.TrimSpace(got.text)
		if len(code) != codeDigits || strings.Trim(code, "0123456789") != "" {
			return "", fault.New(fault.Invalid, "that is no code: want %d digits", codeDigits).Hint("%s", p.again)
		}
		return code, nil
	}
}

// readLine reads no further than the line's end: what follows is somebody else's.
func readLine(from io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxLine {
		n, err := from.Read(one)
		if n > 0 {
			if one[0] == '\n' {
				return string(line), nil
			}
			line = append(line, one[0])
		}
		if err != nil {
			return "", err
		}
	}
	return "", errors.New("the line is too long")
}
