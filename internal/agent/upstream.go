package agent

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/patience"
)

// Upstream is EKS Auth, or a broker that speaks its protocol.
type Upstream interface {
	// AssumeRoleForPodIdentity makes one attempt; errors as of awsapi.EKSAuth.
	AssumeRoleForPodIdentity(ctx context.Context, cluster string, token credential.Secret) (*awsapi.PodSession, error)
	// Ready makes sure of the agent's own credentials.
	Ready(ctx context.Context) error
}

// Times of one call (spec podidentity §6.3).
const (
	callDeadline  = 15 * time.Second
	attempts      = 3
	firstPause    = 200 * time.Millisecond // at most, and at least a quarter of it
	throttlePause = 500 * time.Millisecond // at least
	ownDeadline   = 700 * time.Millisecond // for the agent's own credentials
)

// call asks the upstream for a session, up to three times: again if it fails, and once
// more beside a call that takes longer than is usual. It returns a *refusal as error.
func (a *Agent) call(ctx context.Context, token credential.Secret) (*session, *awsapi.PodSession, error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	answer, err := patience.Ask(ctx, &a.patience, patience.Call[*awsapi.PodSession]{
		Try: func(ctx context.Context) (*awsapi.PodSession, error) { return a.attempt(ctx, token) },
		Again: func(err error, attempt int) (time.Duration, bool) {
			refused := refuseUpstream(err)
			a.metrics.upstreamUp(refused)
			return retryPause(err, refused, attempt, a.config.Rand())
		},
		Attempts: attempts,
		Now:      a.config.Now,
	})
	if err != nil {
		return nil, nil, refuseUpstream(err)
	}
	made, err := a.check(answer)
	return made, answer, err
}

func (a *Agent) attempt(ctx context.Context, token credential.Secret) (*awsapi.PodSession, error) {
	own, cancel := context.WithTimeout(ctx, ownDeadline)
	err := a.config.Upstream.Ready(own)
	cancel()
	if err != nil {
		return nil, err
	}
	start := a.config.Now()
	answer, err := a.config.Upstream.AssumeRoleForPodIdentity(ctx, a.config.Cluster, token)
	if !errors.Is(err, context.Canceled) { // no longer needed: the call beside it was answered
		a.metrics.upstream(codeOf(err), a.config.Now().Sub(start))
	}
	return answer, err
}

// check refuses credentials that are at their end before they begin.
func (a *Agent) check(answer *awsapi.PodSession) (*session, error) {
	a.metrics.upstreamUp(nil)
	now := a.config.Now()
	if left := answer.Credentials.Expires.Sub(now); left <= a.config.MinServeTTL {
		return nil, refuseUnusable("fetched credentials are expired or will expire within the next " +
			strconv.FormatFloat(a.config.MinServeTTL.Seconds(), 'f', -1, 64) + " seconds")
	}
	made, err := newSession(answer, now)
	if err != nil {
		return nil, refuseUnusable("error getting credentials to cache: invalid response from server: not encodable")
	}
	if answer.AssociationID == "" {
		a.config.Log.Warn("upstream answers without an association", keyUpstreamRequestID, answer.RequestID)
	}
	return made, nil
}

// retryPause says whether to try again and when. u is random in [0, 1).
func retryPause(err error, refused *refusal, attempt int, u float64) (pause time.Duration, again bool) {
	switch {
	case errors.Is(err, awsapi.ErrNoCredentials), // they are looked for in the background
		errors.Is(err, awsapi.ErrUnusable): // the same again is likely
		return 0, false
	case refused.class == throttled:
		return max(refused.retryAfter, throttlePause+time.Duration(u*float64(firstPause))), true
	case refused.class == transient:
		most := firstPause << (attempt - 1)
		return max(refused.retryAfter, most/4+time.Duration(u*float64(most-most/4))), true
	}
	return 0, false
}

// codeOf is the value of the metrics' label.
func codeOf(err error) string {
	answer, answered := errors.AsType[*awsapi.Error](err)
	switch {
	case err == nil:
		return "OK"
	case answered:
		// Only codes the service is known to use: what a broken proxy invents
		// must not become a label.
		if _, known := classes[answer.Code]; known {
			return answer.Code
		}
		return "Status" + strconv.Itoa(answer.Status)
	case errors.Is(err, awsapi.ErrUnusable):
		return "Unusable"
	case errors.Is(err, awsapi.ErrNoCredentials):
		return "NoCredentials"
	}
	return "Unreachable"
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
