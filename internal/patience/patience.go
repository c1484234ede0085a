// Package patience asks a service that may have become slow: how long an answer is
// waited for follows from what the service has lately taken, and a call that takes longer
// is not given up but gets another beside it; the first answer counts.
//
// It does not know what is asked, nor which errors are worth another call.
package patience

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// Least is how long a call is alone at a service that answers fast.
	Least = 2 * time.Second
	// Most is that of the service that is known to be slowest.
	Most = 15 * time.Second
	// factor is how far above what is usual a call must be to seem lost.
	factor = 3
	// lately is how long it is remembered what a service took, and for how many
	// answers.
	lately  = 5 * time.Minute
	answers = 200
	usual   = 0.99
)

// Patience is what one service has lately taken to answer. The zero value knows of
// nothing. It is safe for concurrent use.
type Patience struct {
	mu   sync.Mutex
	took [answers]sample
	next int
	// waiting is how long the calls have waited already that took longer than was
	// usual. It counts while they run: a call that is lost says nothing of the service.
	waiting map[*lone]time.Duration
}

type sample struct {
	at   time.Time
	took time.Duration
}

// lone is a call that took longer than was usual when it was looked at.
type lone struct{ _ byte }

// Limit is how long a call is alone now: three times the 99th percentile of what
// answers took, and of how long the calls that run have waited.
func (p *Patience) Limit(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var recent []time.Duration
	for _, one := range p.took {
		if !one.at.IsZero() && now.Sub(one.at) < lately {
			recent = append(recent, one.took)
		}
	}
	var longest time.Duration
	if len(recent) > 0 {
		slices.Sort(recent)
		longest = recent[int(math.Ceil(usual*float64(len(recent))))-1]
	}
	for _, waited := range p.waiting {
		longest = max(longest, waited)
	}
	return max(Least, min(Most, factor*longest))
}

// Took notes how long an answer took.
func (p *Patience) Took(now time.Time, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[p.next] = sample{now, took}
	p.next = (p.next + 1) % answers
}

func (p *Patience) waits(call *lone, waited time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[*lone]time.Duration{}
	}
	p.waiting[call] = waited
}

func (p *Patience) ended(call *lone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, call)
}

// Call is one thing to ask for. All fields but Turn are needed.
type Call[T any] struct {
	// Turn waits until a call may be made; its error is final. Beside a call that runs it
	// must not wait, and its error means only that there is no other one now.
	Turn func(ctx context.Context, beside bool) error
	// Try makes one call.
	Try func(context.Context) (T, error)
	// Again says whether an error is worth another call, and after which pause. attempt
	// counts the calls that were begun.
	Again func(err error, attempt int) (pause time.Duration, again bool)
	// Attempts is how many calls there are at most.
	Attempts int
	Now      func() time.Time
}

// Ask calls until there is an answer, an error that is not worth another call, no
// attempt left, or the end of ctx. Calls that still run then are cancelled.
func Ask[T any](ctx context.Context, p *Patience, c Call[T]) (T, error) {
	var none T
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &asking[T]{Call: c, patience: p, ended: make(chan answer[T]), timer: time.NewTimer(Most)}
	defer a.timer.Stop()
	defer a.forget()
	a.begin(within)
	for {
		select {
		case one := <-a.ended:
			if done := a.end(one); done {
				return one.got, one.err
			}
		case <-a.timer.C:
			a.due(within)
		case <-ctx.Done():
			return none, a.give(ctx)
		}
	}
}

type answer[T any] struct {
	got  T
	err  error
	took time.Duration
	// beside another call it was to be made, and noTurn: it was not made.
	beside, noTurn bool
}

// asking is one Ask. Only Ask's own goroutine uses it.
type asking[T any] struct {
	Call[T]
	patience *Patience
	ended    chan answer[T]
	// timer is for the next look at calls that run, or for the next call.
	timer          *time.Timer
	begun, running int
	// armed is how long the timer was set for, and waited how long the last call has run.
	armed, waited time.Duration
	since         time.Time // when the last call began
	slow          []*lone
	last          error
}

func (a *asking[T]) begin(ctx context.Context) {
	beside := a.running > 0
	a.begun++
	a.running++
	a.waited, a.since = 0, a.Now()
	a.arm(a.patience.Limit(a.Now()))
	go func() {
		select {
		case a.ended <- a.once(ctx, beside):
		case <-ctx.Done():
		}
	}()
}

func (a *asking[T]) once(ctx context.Context, beside bool) answer[T] {
	if a.Turn != nil {
		if err := a.Turn(ctx, beside); err != nil {
			return answer[T]{err: err, beside: beside, noTurn: true}
		}
	}
	start := a.Now()
	got, err := a.Try(ctx)
	return answer[T]{got: got, err: err, took: a.Now().Sub(start)}
}

func (a *asking[T]) arm(d time.Duration) {
	a.armed = d
	a.timer.Reset(d)
}

// end takes in a call that ended, and reports whether it decides.
func (a *asking[T]) end(one answer[T]) (done bool) {
	a.running--
	if one.noTurn {
		if !one.beside {
			return true
		}
		a.begun--
		if a.running == 0 {
			a.arm(0) // what it was to be beside of has failed meanwhile
		}
		return false
	}
	pause, again := time.Duration(0), false
	if one.err != nil {
		pause, again = a.Again(one.err, a.begun)
		a.last = one.err
	}
	if !again {
		a.patience.Took(a.Now(), one.took)
		return true
	}
	if a.running > 0 {
		return false // the other one goes on
	}
	if a.begun >= a.Attempts {
		return true
	}
	a.arm(pause)
	return false
}

// due is when the timer has run out: another call is made if none runs, or if what
// runs takes too long by what is known now.
func (a *asking[T]) due(ctx context.Context) {
	if a.running == 0 {
		a.begin(ctx)
		return
	}
	a.waited += a.armed
	if limit := a.patience.Limit(a.Now()); a.waited < limit {
		a.arm(limit - a.waited)
		return
	}
	call := &lone{}
	a.slow = append(a.slow, call)
	a.patience.waits(call, a.waited)
	if a.begun < a.Attempts {
		a.begin(ctx)
	}
}

// give is the end of ctx: nobody answered in all that time.
func (a *asking[T]) give(ctx context.Context) error {
	if a.running > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.patience.Took(a.Now(), a.Now().Sub(a.since))
	}
	if a.last != nil {
		return a.last
	}
	return ctx.Err()
}

func (a *asking[T]) forget() {
	for _, call := range a.slow {
		a.patience.ended(call)
	}
}
