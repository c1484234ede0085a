// Package identify answers whose a presigned GetCallerIdentity token is, for servers
// that are shown one with every request: an authenticator of people and pipelines,
// a broker of nodes.
//
// STS alone knows the answer. It is asked once at a time about a token, and only
// about tokens that could be good; what it said counts for some minutes, never longer
// than the token does; and a client without credentials can cause few questions.
// Package callerid says how tokens and answers read, package awsapi how STS is asked.
// It does not know what an identity may do, in whose words a refusal is told, or
// HTTP.
package identify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/limit"
)

// Result is what became of a token.
type Result string

// The results. All but Known and Verified are refusals.
const (
	Known    Result = "known"    // STS said so before, of yes and no alike
	Verified Result = "verified" // STS says so now
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
	// Result is what the token came to; never Known or Verified.
	Result Result
	Err    error
}

// Error is the cause's text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Config is what an Identifier is made of. All is needed.
type Config struct {
	// Policy says which tokens are worth a question to STS.
	Policy callerid.Policy
	// Ask asks STS, as awsapi.Callers does. Errors are those of callerid.ReadAnswer.
	Ask func(context.Context, *callerid.Presigned) (*callerid.Identity, error)
	// Observe is told what became of each token, for metrics.
	Observe func(Result)
	Now     func() time.Time
}

// Identifier knows whose tokens are. It is safe for concurrent use.
type Identifier struct {
	Config
	flights singleflight.Group
	// asking bounds the questions to STS at a time, asked those of one access key.
	asking limit.Slots
	asked  *limit.Rates[string]
	// Refusals have a place of their own, so that no number of them pushes out who is
	// known.
	accepted *limit.Cache[key, *callerid.Identity]
	refused  *limit.Cache[key, *Error]
}

// key stands for a token: the token itself is never kept.
type key [sha256.Size]byte

const (
	// goodFor is how long STS's word counts: revoked credentials stop counting
	// that soon, and a client that asks all the time costs one question in that
	// time.
	goodFor = 5 * time.Minute
	// badFor spares STS the tries of clients that ask again at once.
	badFor      = time.Second
	maxAccepted = 20000
	maxRefused  = 20000
	maxAsking   = 64
	// Questions about one access key from one address: a client has a new token every
	// 13 minutes.
	askRate, askBurst, maxAskers = 1, 5, 20000
)

// New makes an Identifier that has asked nobody yet.
func New(config Config) *Identifier {
	return &Identifier{
		Config: config, asking: limit.NewSlots(maxAsking), asked: limit.NewRates[string](askRate, askBurst, maxAskers),
		accepted: limit.NewCache[key, *callerid.Identity](maxAccepted),
		refused:  limit.NewCache[key, *Error](maxRefused),
	}
}

// Identify says whose a token is. from is the address it came from: questions are
// limited by access key and address, so that nobody elsewhere can use up what an
// access key has. Every error is an *Error.
func (i *Identifier) Identify(ctx context.Context, raw credential.Secret, from string) (*callerid.Identity, error) {
	print := key(sha256.Sum256([]byte(raw.Reveal())))
	if who, refused, known := i.known(print); known {
		i.Observe(Known)
		if refused != nil {
			return nil, refused
		}
		return who, nil
	}
	who, err := i.share(ctx, print, raw, from)
	if refused, is := errors.AsType[*Error](err); is {
		i.Observe(refused.Result)
		return nil, refused
	}
	i.Observe(Verified)
	return who, nil
}

func (i *Identifier) known(print key) (who *callerid.Identity, refused *Error, known bool) {
	now := i.Now()
	if who, known = i.accepted.Get(print, now); known {
		return who, nil, true
	}
	refused, known = i.refused.Get(print, now)
	return nil, refused, known
}

// share makes one look into a token for all who show it at the same time. It goes on
// when the first of them leaves, but not for longer than that one had.
func (i *Identifier) share(
	ctx context.Context, print key, raw credential.Secret, from string,
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
		return i.ask(flight, print, raw, from)
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

// ask asks STS, after all that can be seen without.
func (i *Identifier) ask(
	ctx context.Context, print key, raw credential.Secret, from string,
) (*callerid.Identity, error) {
	now := i.Now()
	p, err := callerid.Parse(raw, i.Policy, now)
	if err != nil {
		return nil, &Error{Malformed, err}
	}
	if !i.asked.Allow(from+" "+p.AccessKeyID, now) {
		return nil, &Error{Limited, fmt.Errorf("the access key %q asks too often", p.AccessKeyID)}
	}
	if !i.asking.Take() {
		return nil, &Error{Limited, errors.New("STS is already asked as often as it may be")}
	}
	defer i.asking.Free()
	who, err := i.Ask(ctx, p)
	if err != nil {
		refused := &Error{resultOf(err), err}
		if ctx.Err() == nil { // else it may be only that there was no time
			i.refused.Put(print, refused, now.Add(badFor))
		}
		return nil, refused
	}
	until := now.Add(goodFor)
	if end := p.Expires(); end.Before(until) {
		until = end
	}
	i.accepted.Put(print, who, until)
	return who, nil
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
