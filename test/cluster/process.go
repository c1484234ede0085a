package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
	tailSize     = 8 << 10
)

// process is one program of the control plane.
type process struct {
	name    string
	command *exec.Cmd
	output  *tail
	ended   chan struct{}
}

// start runs a program until stop; on Linux it also dies with this process.
func (c *Cluster) start(ctx context.Context, program string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(program), output: &tail{}, ended: make(chan struct{})}
	// The test's context ends before its cleanups, which stop the program.
	p.command = exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.SysProcAttr = dieWithParent()
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
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	c.processes = append(c.processes, p)
	return p, nil
}

func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// check fails once any process has ended. Without it the answer of another
// test's etcd, on a port ours did not get, would pass for ours.
func (c *Cluster) check() error {
	for _, p := range c.processes {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%s) and said last:\n%s", p.name, p.command.ProcessState, p.output)
		default:
		}
	}
	return nil
}

// untilOK asks until the answer is 200.
func (c *Cluster) untilOK(ctx context.Context, name, url string, client *http.Client) error {
	if client == nil {
		client = http.DefaultClient
	}
	return c.until(ctx, name, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
}

func (c *Cluster) untilFile(ctx context.Context, path string) error {
	return c.until(ctx, path, func(context.Context) error {
		info, err := os.Stat(path)
		if err == nil && info.Size() == 0 {
			return errors.New("empty")
		}
		return err
	})
}

// until is bounded in time only so that a broken start ends.
func (c *Cluster) until(ctx context.Context, name string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if ended := c.check(); ended != nil {
			return ended
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w", name, err)
		case <-ticker.C:
		}
	}
}

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
