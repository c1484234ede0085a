package serve

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// serveUntilTold runs all parts until ctx is done or one of them fails. When ctx is
// done, leaving is called first, which makes the process not ready, and the parts
// go on for the delay: for those who have not heard of that yet.
func serveUntilTold(ctx context.Context, delay time.Duration, leaving func(), parts []func(context.Context) error) error {
	told := ctx
	group, ctx := errgroup.WithContext(context.WithoutCancel(ctx)) // the delay outlives what asked for it
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		select {
		case <-told.Done():
			leaving()
			wait(ctx, delay)
		case <-ctx.Done():
		}
		stop()
		return nil
	})
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

func wait(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
