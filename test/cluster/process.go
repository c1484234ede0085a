package cluster

import (
	"context"
	"errors"
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

// untilOK waits until the answer is 200.
func (c *Cluster) untilOK(ctx context.Context, name, url string, client *http.Client) error {
	if client == nil {
		client = http.DefaultClient
	}
	return c.until(ctx, name, program.Answers(url, client))
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
	return program.Until(ctx, name, ready, c.processes...)
}
