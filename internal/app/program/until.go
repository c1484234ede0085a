package program

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// readyPause is how often it is asked whether something is ready.
const readyPause = 50 * time.Millisecond

// Until asks whether something is ready until it is, or ctx is done. That one of the
// programs has ended is an error even if the answer is yes: on a port that ours did not get
// it would be somebody else's.
func Until(ctx context.Context, what string, ready func(context.Context) error, programs ...*Process) error {
	ticker := time.NewTicker(readyPause)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		for _, p := range programs {
			if ended := p.Check(); ended != nil {
				return ended
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w", what, err)
		case <-ticker.C:
		}
	}
}

// Answers is ready when a URL is answered with 200.
func Answers(url string, client *http.Client) func(context.Context) error {
	return func(ctx context.Context) error {
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
	}
}
