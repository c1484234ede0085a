// Package program runs other programs beside this one: parts of Kubernetes, and servers of
// our own that are processes in a cluster too. What they say last is kept, and they do not
// outlive this process.
//
// It does not know what they are, or how one sees that they are ready.
package program

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout = 10 * time.Second
	tailSize    = 8 << 10
)

// Command is a program to be started.
type Command struct {
	Path string
	Args []string
	// Env is its environment; this process's if nil.
	Env []string
	// Log is told what it prints, beside what is kept; nobody if nil.
	Log io.Writer
}

// Process is a program that was started.
type Process struct {
	// Name is the program's, without folder.
	Name    string
	command *exec.Cmd
	output  *tail
	ended   chan struct{}
}

// Start runs a program until Stop, whatever becomes of ctx; on Linux it also dies with
// this process.
func Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{Name: filepath.Base(c.Path), output: &tail{}, ended: make(chan struct{})}
	p.command = exec.CommandContext(context.WithoutCancel(ctx), c.Path, c.Args...)
	var output io.Writer = p.output
	if c.Log != nil {
		output = io.MultiWriter(p.output, c.Log)
	}
	p.command.Stdout, p.command.Stderr = output, output
	p.command.Env, p.command.SysProcAttr = c.Env, dieWithParent()
	started := make(chan error)
	go func() {
		// The death signal follows the thread that starts the program: it
		// must live on.
		runtime.LockOSThread()
		err := p.command.Start()
		started <- err
		if err == nil {
			_ = p.command.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return p, nil
}

// Stop asks the program to end, and makes it after ten seconds.
func (p *Process) Stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Check is an error, with what the program said last, once it has ended.
func (p *Process) Check() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended (%s) and said last:\n%s", p.Name, p.command.ProcessState, p.output)
	default:
		return nil
	}
}

// PID is the process's id; it may be another's once it has ended.
func (p *Process) PID() int { return p.command.Process.Pid }

// State says how the program ended; nil before that.
func (p *Process) State() *os.ProcessState {
	select {
	case <-p.ended:
		return p.command.ProcessState
	default:
		return nil
	}
}

// Output is what the program said last, 8 KiB of it.
func (p *Process) Output() string { return p.output.String() }

// tail keeps the end of a program's output.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write never fails.
func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if extra := len(o.text) - tailSize; extra > 0 {
		o.text = bytes.Clone(o.text[extra:])
	}
	return len(p), nil
}

// String returns what is kept.
func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
