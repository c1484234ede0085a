package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/rolecall/rolecall/internal/app/program"
)

const startTimeout = 60 * time.Second

// start runs a program until the cluster stops.
func (c *Cluster) start(ctx context.Context, path string, args ...string) (*program.Process, error) {
	// The test's context ends before its cleanups, which stop the program.
	p, err := program.Start(ctx, program.Command{Path: path, Args: args})
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return p, err
}

// check fails once any process has ended. Without it the answer of another
// test's etcd, on a port ours did not get, would pass for ours.
func (c *Cluster) check() error {
	for _, p := range c.processes {
		if err := p.Check(); err != nil {
			return err
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
