package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/awsapi"
)

// ChangeSource is a broker that says when associations change; EKS does not.
type ChangeSource interface {
	// Changes waits for changes since the cursor, about a minute at most; as of
	// awsapi.EKSAuth.
	Changes(ctx context.Context, node, cursor string) (changes []awsapi.AssociationChange, next string, err error)
}

const (
	firstChangesPause = time.Second
	maxChangesPause   = 2 * time.Minute
	// changesRate bounds a broker that answers at once: polls a second, after a
	// few that may come together.
	changesRate, changesBurst = 1, 5
)

// changesLoop acts on changes of associations as they are made. While it does
// not receive them, sessions age as they do on EKS.
func (a *Agent) changesLoop(ctx context.Context) {
	pace := rate.NewLimiter(changesRate, changesBurst)
	cursor, failures := "", 0
	for pace.Wait(ctx) == nil {
		changes, next, err := a.config.Changes.Changes(ctx, a.config.Node, cursor)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failures > 0 {
				a.config.Log.Info("changes of associations are received again")
			}
			cursor, failures = next, 0
			a.changed(changes)
			continue
		}
		if failures == 0 {
			a.config.Log.Warn(
				"changes of associations are not received; sessions stay until they are renewed", "error", err,
			)
		}
		refused, answered := errors.AsType[*awsapi.Error](err)
		if answered && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusGone) {
			cursor = "" // another broker, or one that has forgotten
		}
		pause := changesPause(failures, a.config.Rand())
		if answered {
			pause = max(pause, refused.RetryAfter)
		}
		failures++
		if !sleep(ctx, pause) {
			return
		}
	}
}

// changesPause is random, so that the agents of a cluster do not come back to a
// broker together. u is random in [0, 1).
func changesPause(failures int, u float64) time.Duration {
	most := min(firstChangesPause<<min(failures, 10), maxChangesPause)
	return most/2 + time.Duration(u*float64(most/2))
}

func (a *Agent) changed(changes []awsapi.AssociationChange) {
	if len(changes) == 0 {
		return
	}
	dropped, stale := a.cache.changed(changes, a.config.Now())
	for range dropped {
		a.metrics.evicted("association")
	}
	a.config.Log.Info("associations changed", "associations", len(changes), "dropped", dropped, "renewed", stale)
}
