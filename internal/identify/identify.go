// Package identify answers whose a presigned GetCallerIdentity token is, for servers
// that are shown one with every request: an authenticator of people and pipelines,
// a broker of nodes.
//
// STS alone knows the answer. It is asked once at a time about a token, and only
// about tokens that could be good; what it said counts for some minutes, never longer
// than the token does; and a client without credentials can cause few questions. Each
// region's STS has a gate of its own: one that throttles or is slow holds up nobody else.
// Package callerid says how tokens and answers read, package awsapi how STS is asked.
// It does not know what an identity may do, in whose words a refusal is told, or
// HTTP.
package identify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/limit"
)

// Result is what became of a token.
type Result string

// The results. All but Known, Verified and Stale are refusals.
const (
	Known    Result = "known"    // STS said so before, of yes and no alike
	Verified Result = "verified" // STS says so now
	Stale    Result = "stale"    // STS said so of this token before, and throttles now
	// Malformed: no question to STS is worth it.
	Malformed Result = "malformed"
	// Limited: its access key is asked about too often, or STS is asked too much at
	// a time.
	Limited     Result = "limited"
	Refused     Result = "refused"     // STS says no
	Throttled   Result = "throttled"   // STS is asked too often
	Unavailable Result = "unavailable" // STS cannot be asked
)

// Error is why a token has no identity. It holds no token.
type Error struct {
	// Result is what the token came to; never Known, Verified or Stale.
	Result Result
	Err    error
}

// Error is the cause's text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Config is what an Identifier is made of. All but Limits is needed.
type Config struct {
	// Policy says which tokens are worth a question to STS.
	Policy callerid.Policy
	// Ask asks STS, as awsapi.Callers does. Errors are those of callerid.ReadAnswer.
	Ask func(context.Context, *callerid.Presigned) (*callerid.Identity, error)
	// Observe is told what became of each token, for metrics.
	Observe func(Result)
	Now     func() time.Time
	// Limits are DefaultLimits if nil.
	Limits *Limits
}

// Limits bound what is asked and what is kept.
type Limits struct {
	// GoodFor is how long STS's word counts: revoked credentials stop counting that
	// soon, and a client that asks all the time costs one question in that time.
	GoodFor time.Duration
	// BadFor is how long STS's no counts, AgainFor how long nobody is told more than that
	// STS could not be asked: both spare STS the tries of clients that ask again at once.
	BadFor, AgainFor time.Duration
	// Stale lets a yes count for as long as its token lives while STS throttles. A no ends
	// that, and limits of ours do not begin it: anybody can reach those.
	Stale bool
	// AskRate and AskBurst are questions a second about one's credentials from one address,
	// and at once.
	AskRate  float64
	AskBurst int
	// Asking are the questions to one host of STS at a time; Waiting is how many more may
	// wait for one to end.
	Asking, Waiting int
	// Accepted is how many are known, and as many refused.
	Accepted int
}

// DefaultLimits are for clients of which each has a new token every 13 minutes.
func DefaultLimits() Limits {
	return Limits{
		GoodFor: 5 * time.Minute, BadFor: time.Second, AgainFor: time.Second,
		AskRate: 1, AskBurst: 5, Asking: 64, Accepted: 20000,
	}
}

// Identifier knows whose tokens are. It is safe for concurrent use.
type Identifier struct {
	Config
	limits  Limits
	flights singleflight.Group
	gates   gates
	asked   *limit.Rates[string]
	// Refusals have a place of their own, so that no number of them pushes out who is
	// known.
	accepted *limit.Cache[key, accepted]
	refused  *limit.Cache[key, *Error]
}

// key stands for a token: the token itself is never kept.
type key [sha256.Size]byte

// accepted is a yes of STS. It is fresh for a time and may be kept for longer.
type accepted struct {
	who   *callerid.Identity
	fresh time.Time
}

// maxAskers bounds the access keys that are remembered for AskRate.
const maxAskers = 20000

// New makes an Identifier that has asked nobody yet.
func New(config Config) *Identifier {
	limits := DefaultLimits()
	if config.Limits != nil {
		limits = *config.Limits
	}
	return &Identifier{
		Config:   config,
		limits:   limits,
		gates:    gates{asking: limits.Asking, waiting: limits.Waiting, of: map[string]*gate{}},
		asked:    limit.NewRates[string](limits.AskRate, limits.AskBurst, maxAskers),
		accepted: limit.NewCache[key, accepted](limits.Accepted),
		refused:  limit.NewCache[key, *Error](limits.Accepted),
	}
}

// Waiting is how many questions wait for STS.
func (i *Identifier) Waiting() int { return i.gates.waitingNow() }

// Identify says whose a token is. from is the address it came from: questions are
// limited by credentials and address, so that nobody elsewhere can use up what they have,
// nor anybody who does not hold them, if they are temporary. Every error is an *Error.
func (i *Identifier) Identify(ctx context.Context, raw credential.Secret, from string) (*callerid.Identity, error) {
	if i.Policy.TooLong(raw) {
		_, err := callerid.Parse(raw, i.Policy, i.Now())
		i.Observe(Malformed)
		return nil, &Error{Malformed, err}
	}
	print := key(sha256.Sum256([]byte(raw.Reveal())))
	if who, refused, known := i.known(print); known {
		i.Observe(Known)
		if refused != nil {
			return nil, refused
		}
		return who, nil
	}
	p, err := callerid.Parse(raw, i.Policy, i.Now()) // which needs no lock and no place
	if err != nil {
		i.Observe(Malformed)
		return nil, &Error{Malformed, err}
	}
	who, err := i.share(ctx, print, p, from)
	if refused, is := errors.AsType[*Error](err); is {
		if stale := i.stale(print, refused.Result); stale != nil {
			i.Observe(Stale)
			return stale, nil
		}
		i.Observe(refused.Result)
		return nil, refused
	}
	i.Observe(Verified)
	return who, nil
}

func (i *Identifier) known(print key) (who *callerid.Identity, refused *Error, known bool) {
	now := i.Now()
	if kept, found := i.accepted.Get(print, now); found && now.Before(kept.fresh) {
		return kept.who, nil, true
	}
	refused, known = i.refused.Get(print, now)
	return nil, refused, known
}

// stale is who a token was, if that counts while there is no other answer.
func (i *Identifier) stale(print key, result Result) *callerid.Identity {
	if !i.limits.Stale || result != Throttled {
		return nil
	}
	kept, found := i.accepted.Get(print, i.Now())
	if !found {
		return nil
	}
	return kept.who
}

// share makes one look into a token for all who show it at the same time. It goes on
// when the first of them leaves, but not for longer than that one had.
func (i *Identifier) share(
	ctx context.Context, print key, p *callerid.Presigned, from string,
) (*callerid.Identity, error) {
	result := i.flights.DoChan(string(print[:]), func() (any, error) {
		// Another flight may have ended between the look into what is known and now.
		if who, refused, known := i.known(print); known {
			if refused != nil {
				return nil, refused
			}
			return who, nil
		}
		flight := context.WithoutCancel(ctx)
		if deadline, has := ctx.Deadline(); has {
			var cancel context.CancelFunc
			flight, cancel = context.WithDeadline(flight, deadline)
			defer cancel()
		}
		return i.ask(flight, print, p, from)
	})
	select {
	case <-ctx.Done():
		return nil, &Error{Unavailable, fault.New(fault.Unavailable, "STS did not answer in time: %w", ctx.Err())}
	case shared := <-result:
		if shared.Err != nil {
			return nil, shared.Err
		}
		who, ok := shared.Val.(*callerid.Identity)
		if !ok {
			return nil, &Error{Unavailable, errors.New("a flight without an identity")}
		}
		return who, nil
	}
}

// ask asks STS.
func (i *Identifier) ask(
	ctx context.Context, print key, p *callerid.Presigned, from string,
) (*callerid.Identity, error) {
	// Who knows no more of temporary credentials than their access key uses up a share of its own.
	if !i.asked.Allow(from+" "+p.Claims(), i.Now()) {
		return nil, &Error{Limited, fmt.Errorf("the access key %q asks too often", p.AccessKeyID)}
	}
	gate := i.gates.to(p.Host)
	leave, refused := gate.enter(ctx)
	if refused != nil {
		return nil, refused
	}
	who, err := i.Ask(ctx, p)
	now := i.Now()
	if err != nil {
		refused = &Error{resultOf(err), err}
	}
	leave(refused)
	if refused != nil {
		i.keepRefusal(ctx, print, refused, now)
		return nil, refused
	}
	end := p.Expires()
	fresh := now.Add(i.limits.GoodFor)
	if end.Before(fresh) {
		fresh = end
	}
	until := fresh
	if i.limits.Stale {
		until = end
	}
	i.accepted.Put(print, accepted{who, fresh}, until)
	return who, nil
}

func (i *Identifier) keepRefusal(ctx context.Context, print key, refused *Error, now time.Time) {
	keep := i.limits.AgainFor
	if refused.Result == Refused {
		i.accepted.Put(print, accepted{}, now) // what STS said before is over
		keep = i.limits.BadFor
	}
	if keep > 0 && ctx.Err() == nil { // otherwise there may just have been no time
		i.refused.Put(print, refused, now.Add(keep))
	}
}

func resultOf(err error) Result {
	switch fault.KindOf(err) { //nolint:exhaustive // the others say nothing about the token
	case fault.Denied, fault.Invalid:
		return Refused
	case fault.Throttled:
		return Throttled
	}
	return Unavailable
}

// gates are one for each host of STS.
type gates struct {
	asking, waiting int

	mu sync.Mutex
	of map[string]*gate
}

// maxGates is above the hosts of STS that there are; further ones share one.
const maxGates = 512

func (g *gates) to(host string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.of) >= maxGates && g.of[host] == nil {
		host = ""
	}
	one := g.of[host]
	if one == nil {
		one = &gate{
			places: limit.NewSlots(g.asking), queue: limit.NewSlots(g.waiting), probe: limit.NewSlots(1), host: host,
		}
		g.of[host] = one
	}
	return one
}

func (g *gates) waitingNow() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.of {
		n += len(one.queue)
	}
	return n
}

// gate lets so many questions to a host at a time; one at a time from when the host has
// throttled until it answers again.
type gate struct {
	places, queue, probe limit.Slots
	host                 string

	mu     sync.Mutex
	struck bool
}

// enter takes a place, waiting for one if there is room to wait. leave must be called with
// the refusal that came of the question, or nil.
func (g *gate) enter(ctx context.Context) (leave func(*Error), refused *Error) {
	switch {
	case g.isStruck():
		return g.tryOne()
	case g.places.Take():
		return g.leaving(g.places), nil
	case !g.queue.Take():
		return nil, &Error{Limited, errors.New("STS is already asked as often as it may be")}
	}
	defer g.queue.Free()
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Limited, errors.New("STS is asked about so many others that no place came free in time")}
	}
	if g.isStruck() {
		g.places.Free()
		return g.tryOne()
	}
	return g.leaving(g.places), nil
}

// tryOne is enter while the host throttles.
func (g *gate) tryOne() (leave func(*Error), refused *Error) {
	if !g.probe.Take() {
		return nil, &Error{Throttled, fault.New(fault.Throttled,
			"sts getCallerIdentity was throttled: %s throttles, and is asked one question at a time", g.host)}
	}
	return g.leaving(g.probe), nil
}

func (g *gate) leaving(places limit.Slots) func(*Error) {
	return func(refused *Error) {
		places.Free()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.struck = refused != nil && (refused.Result == Throttled || g.struck && refused.Result == Unavailable)
	}
}

func (g *gate) isStruck() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.struck
}
