package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/credential"
)

const (
	renewTick    = time.Second
	renewWorkers = 4
	// refreshWait is how long a request waits for a renewal while it could be
	// answered with what there is.
	refreshWait = 300 * time.Millisecond

	firstPostpone    = 5 * time.Second
	maxPostpone      = 2 * time.Minute
	throttlePostpone = 30 * time.Second
	// deniedPostpone: edits of policies are seen late, so the first refusal of a
	// role is not believed.
	deniedPostpone = 15 * time.Second
)

// renewLoop begins renewals as they come due. It looks every second rather than
// sleeping until the next, so that a clock that jumps is noticed.
func (a *Agent) renewLoop(ctx context.Context) {
	ticker := time.NewTicker(renewTick)
	defer ticker.Stop()
	workers := make(chan struct{}, renewWorkers)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := a.config.Now()
		a.forgetGone(now)
		picked := a.cache.due(now, a.pace.allow(now, cap(workers)-len(workers)), a.running)
		for _, e := range picked {
			workers <- struct{}{} // there is room: allow was asked for no more
			if !a.work.begin() {
				return
			}
			go func() {
				defer a.work.end()
				defer func() { <-workers }()
				a.renew(ctx, e)
			}()
		}
	}
}

// forgetGone drops what pods had that are gone.
func (a *Agent) forgetGone(now time.Time) {
	if a.config.Pods == nil {
		return
	}
	pods := a.config.Pods
	for range a.cache.forgetPods(func(uid string, restored bool) bool {
		// A pod that ended while there was no agent is never seen to end.
		return pods.gone(uid, now) || (restored && pods.absent(uid))
	}) {
		a.metrics.evicted("pod")
	}
}

func (a *Agent) running(podUID string) bool {
	return podUID != "" && a.config.Pods != nil && a.config.Pods.running(podUID)
}

// refresh renews an entry for a request that met it near its end, and waits a
// moment for it. It returns the session to serve.
func (a *Agent) refresh(ctx context.Context, f found, now time.Time) (*session, string) {
	if a.draining.Load() || now.Before(f.retryAt) || !a.work.begin() {
		return f.session, sourceCache
	}
	if !a.cache.claim(f.entry) {
		a.work.end()
		return f.session, sourceCache
	}
	done := make(chan *session, 1)
	detached := context.WithoutCancel(ctx)
	go func() {
		defer a.work.end()
		done <- a.renew(detached, f.entry)
	}()
	timer := time.NewTimer(refreshWait)
	defer timer.Stop()
	select {
	case made := <-done:
		if made != nil {
			return made, sourceRefresh
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return f.session, sourceCache
}

// renew asks for a new session of a claimed entry; nil if there is none.
func (a *Agent) renew(ctx context.Context, e *entry) *session {
	began := a.cache.begin(e)
	start := a.config.Now()
	if lag := start.Sub(began.due); lag > 0 {
		a.metrics.lag.Observe(lag.Seconds())
	}
	made, requestID, err := a.renewOnce(ctx, began.token)
	if err == nil {
		a.cache.finish(e, made)
		a.metrics.renewed("ok", "")
		a.logCall("credentials renewed", e.id, made, requestID, a.config.Now().Sub(start))
		return made
	}
	a.renewFailed(ctx, began, err)
	return nil
}

func (a *Agent) renewOnce(ctx context.Context, token credential.Secret) (*session, string, error) {
	leave, err := a.gate.enter(ctx, "")
	if err != nil {
		return nil, "", err
	}
	defer leave()
	made, answer, err := a.call(ctx, token)
	if err != nil {
		return nil, "", err
	}
	return made, answer.RequestID, nil
}

// renewFailed keeps or drops the entry (spec podidentity §6.4).
func (a *Agent) renewFailed(ctx context.Context, began renewal, err error) {
	e := began.entry
	refused := refuseUpstream(err)
	now := a.config.Now()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		a.cache.postpone(e, now, false) // stopping
		return
	}
	log := a.identityLog(e.id).With(
		keyCode, refused.code, "status", refused.status, keyUpstreamRequestID, refused.requestID, "error", refused.text,
	)
	if refused.cause != "" {
		log = log.With("cause", refused.cause)
	}
	if refused.advice != "" {
		log = log.With("hint", refused.advice)
	}
	switch {
	case refused.code == "ExpiredTokenException" && refused.status == 400:
		// Our stored token is old. The pod's next request brings a new one.
		a.cache.postpone(e, began.session.expires, false)
	case refused.code == "AccessDeniedException" && refused.class == final && !began.denied:
		a.cache.postpone(e, now.Add(deniedPostpone), true)
	case refused.class == final:
		a.cache.drop(began)
		a.remember(began.print, refused, now)
		a.metrics.evicted("refused")
		a.metrics.renewed("NonRecoverable", refused.code)
		log.Warn("credentials are no longer renewed, and forgotten")
		return
	default:
		if refused.class == throttled {
			a.pace.slow(now)
		}
		a.cache.postpone(e, now.Add(postponeFor(refused, began.failures, a.config.Rand())), began.denied)
	}
	a.metrics.renewed("Recoverable", refused.code)
	log.Warn("credentials not renewed, the old ones are kept")
}

// postponeFor is the time to the next try: full jitter, so that the pods of many
// nodes do not come back together after an outage.
func postponeFor(refused *refusal, failures int, u float64) time.Duration {
	most := min(firstPostpone<<min(failures, 10), maxPostpone)
	pause := max(time.Duration(u*float64(most)), time.Second)
	if refused.class == throttled {
		pause = throttlePostpone + pause
	}
	return max(pause, refused.retryAfter)
}

// pace is the rate of renewals. Throttling halves it for a minute, then it
// recovers by a tenth every ten seconds.
type pace struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	full    rate.Limit
	slowed  time.Time // when it was halved; zero at full rate
}

func newPace(perSecond float64) *pace {
	return &pace{limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))), full: rate.Limit(perSecond)}
}

func (p *pace) slow(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limiter.SetLimitAt(now, max(p.limiter.Limit()/2, p.full/16))
	p.slowed = now
}

// allow says how many renewals may begin, and counts them as begun: what is not
// used is given back by the bucket within the second.
func (p *pace) allow(now time.Time, most int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.slowed.IsZero() && now.Sub(p.slowed) >= time.Minute {
		limit := p.limiter.Limit() + p.full/10
		p.slowed = p.slowed.Add(10 * time.Second)
		if limit >= p.full {
			limit, p.slowed = p.full, time.Time{}
		}
		p.limiter.SetLimitAt(now, limit)
	}
	allowed := 0
	for allowed < most && p.limiter.AllowN(now, 1) {
		allowed++
	}
	return allowed
}
