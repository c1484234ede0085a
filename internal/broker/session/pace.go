package session

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/broker/refusal"
)

// Pace bounds the calls of STS a second: each throttling halves it, and it comes
// back by a twentieth of the whole each second (spec podidentity §19.8).
type Pace struct {
	highest float64
	now     func() time.Time
	limiter *rate.Limiter

	mu      sync.Mutex
	current float64
	at      time.Time // when current was right
	halved  time.Time
}

const (
	recovery = 0.05
	lowest   = 1.0 // calls a second
	// oneWave is how long answers to calls from before a halving may come in;
	// they say nothing new.
	oneWave = time.Second
)

// NewPace allows so many calls a second, and at once.
func NewPace(perSecond float64, burst int, now func() time.Time) *Pace {
	return &Pace{
		highest: perSecond,
		now:     now,
		limiter: rate.NewLimiter(rate.Limit(perSecond), burst),
		current: perSecond,
		at:      now(),
	}
}

// longestTurn is how long a turn is waited for at most: what is asked for beyond that
// is refused, not kept.
const longestTurn = 2 * time.Second

// Wait waits for a turn, if there is one within two seconds and the first half of the
// time that ctx leaves; otherwise it refuses at once. The other half is for the call:
// while more is asked for than may be called, each turn would otherwise come at the
// very end of ctx, and its call be given up.
func (p *Pace) Wait(ctx context.Context) error {
	p.recover()
	turn := longestTurn
	if deadline, ok := ctx.Deadline(); ok {
		turn = min(turn, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	if err := p.limiter.Wait(ctx); err != nil {
		return refuseTurn().Because(err)
	}
	return nil
}

// turn is Wait, but for a call beside one that runs: that one has a turn at once or none.
func (p *Pace) turn(ctx context.Context, beside bool) error {
	if !beside {
		return p.Wait(ctx)
	}
	p.recover()
	if !p.limiter.Allow() {
		return refuseTurn()
	}
	return nil
}

func refuseTurn() *refusal.Error {
	return refusal.New(refusal.Throttled, "The broker already calls STS as often as it may.")
}

// Throttled says that STS did.
func (p *Pace) Throttled() {
	p.recover()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.halved) < oneWave {
		return
	}
	p.halved = now
	p.set(now, math.Max(math.Min(lowest, p.highest), p.current/2))
}

// Rate is how many calls a second are allowed now.
func (p *Pace) Rate() float64 {
	p.recover()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

func (p *Pace) recover() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.current < p.highest && now.After(p.at) {
		p.set(now, math.Min(p.highest, p.current+p.highest*recovery*now.Sub(p.at).Seconds()))
	}
}

func (p *Pace) set(now time.Time, perSecond float64) {
	p.current, p.at = perSecond, now
	p.limiter.SetLimitAt(now, rate.Limit(perSecond))
}
