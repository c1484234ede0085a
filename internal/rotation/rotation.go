// Package rotation decides how the signing key of a service-account issuer is
// replaced without a single failed request: which step comes next, what must be
// true before it, and which orders of steps are unsafe (spec issuer-and-sts
// §7).
//
// It is given facts and takes no action: it reads no clock, API server or
// bucket, and never sees a private key.
package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Phase is how far a rotation has come. Each phase names what has been decided;
// its gate says when the next one may be entered.
type Phase string

// The phases, in their order.
const (
	Stable     Phase = "Stable"     // no rotation: what the API servers serve is published
	KeyCreated Phase = "KeyCreated" // the new key exists, nothing uses it
	Published  Phase = "Published"  // both keys are published, caches fill
	Verifying  Phase = "Verifying"  // the API servers learn to accept the new key, one by one
	Signing    Phase = "Signing"    // the API servers start to sign with the new key, one by one
	Draining   Phase = "Draining"   // all sign with the new key, tokens of the old one run out
	Retiring   Phase = "Retiring"   // the API servers drop the old key, one by one
)

// Phases returns all phases in their order.
func Phases() []Phase {
	return []Phase{Stable, KeyCreated, Published, Verifying, Signing, Draining, Retiring}
}

// Limits that no parameter changes.
const (
	// MaxKeys leaves room for the second key below AWS's limit of 100 of one
	// type.
	MaxKeys = 98
	// MaxSkew is how far the API servers' clocks may be from ours.
	MaxSkew = time.Minute
	// Canaries is how many rounds of exchanges at STS, with a token of each API
	// server, must succeed in a row before draining starts.
	Canaries = 3
)

// Parameters are how long to wait.
type Parameters struct {
	// CacheFor is the longest time that anybody may use cached keys.
	CacheFor time.Duration
	// DrainFor is how long tokens of the old key may live after the last API
	// server has stopped signing with it.
	DrainFor time.Duration
	// WithoutCanary opens the gate of Signing without exchanges at STS, for
	// issuers whose operator has no role to try.
	WithoutCanary bool
}

// Defaults are the spec's: two hours for caches, a day and ten minutes for
// tokens.
func Defaults() Parameters {
	return Parameters{CacheFor: 2 * time.Hour, DrainFor: 24*time.Hour + 10*time.Minute}
}

// State is all that must be kept between two looks. The zero value is not a
// valid state; see New.
type State struct {
	Phase Phase `json:"phase"`
	// Since is when the phase was entered; zero where no rotation has been recorded.
	Since time.Time `json:"since,omitzero"`
	// OldKID and NewKID are empty while Stable.
	OldKID string `json:"oldKID,omitempty"`
	NewKID string `json:"newKID,omitempty"`
	// Emergency says that the old key has leaked: nothing waits for caches or
	// for tokens.
	Emergency bool `json:"emergency,omitempty"`
	// Leaked are kids that are published only while an API server signs with
	// them: old keys of emergencies.
	Leaked []string `json:"leaked,omitempty"`
	// SeenAt is when both keys were first read back as anybody reads them; caches
	// may lack the new key for CacheFor from then on.
	SeenAt time.Time `json:"seenAt,omitzero"`
	// SwitchedAt is when all API servers were first seen to sign with the new
	// key; tokens of the old one live on for DrainFor from then on.
	SwitchedAt time.Time `json:"switchedAt,omitzero"`
	// History holds the steps taken, oldest first, with what allowed each one.
	History []Step `json:"history,omitempty"`
}

// Step is one entry of the history.
type Step struct {
	To       Phase     `json:"to"`
	At       time.Time `json:"at"`
	Evidence string    `json:"evidence"`
}

// New returns the state before any rotation.
func New(now time.Time) State { return State{Phase: Stable, Since: now} }

// Server is one API server as just observed.
type Server struct {
	Name string
	// Serves are the kids of its own key set: what it accepts.
	Serves []string
	// Signs is the kid of a token it has just signed; empty if it was not asked.
	Signs string
	// Skew is its clock minus ours.
	Skew time.Duration
	// Err says why it could not be read; the other fields are empty then.
	Err error
}

// Facts are what was observed, all at about Now.
type Facts struct {
	Now time.Time
	// Servers are all API servers of the cluster.
	Servers []Server
	// Published are the kids that anybody reads at the issuer's URL now; PublishedErr
	// says why they could not be read.
	Published    []string
	PublishedErr error
	// Stored says that the new key is where the API servers will read it.
	Stored bool
	// Exchanges counts the rounds in which STS has accepted a token of the new key
	// from each API server; ExchangeErr is why it refused one just now.
	Exchanges   int
	ExchangeErr error
}

// ErrUnsafe is wrapped by every refusal to take a step.
var ErrUnsafe = errors.New("the step is not safe")

// Unsafe says why a step was refused.
type Unsafe struct {
	Phase   Phase
	Reasons []string
	// NotBefore is when the gate opens if it only waits for time to pass.
	NotBefore time.Time
}

// Error joins the reasons.
func (u *Unsafe) Error() string {
	return fmt.Sprintf("%s: %s: %s", u.Phase, ErrUnsafe, strings.Join(u.Reasons, "; "))
}

// Unwrap returns ErrUnsafe.
func (u *Unsafe) Unwrap() error { return ErrUnsafe }

// Start begins a rotation from the key the API servers sign with to a new one
// that nothing uses yet. It is refused unless everything is in order (spec step
// 0).
func Start(state State, facts Facts, newKID string, emergency bool) (State, error) {
	if state.Phase != Stable {
		return state, &Unsafe{Phase: state.Phase, Reasons: []string{"a rotation to " + state.NewKID + " is under way"}}
	}
	old, reasons := precondition(state, facts, newKID)
	if len(reasons) > 0 {
		return state, &Unsafe{Phase: Stable, Reasons: reasons}
	}
	next := State{OldKID: old, NewKID: newKID, Emergency: emergency, Leaked: state.Leaked}
	return next.enter(KeyCreated, facts.Now, fmt.Sprintf("%d API servers sign with %s and serve what is published",
		len(facts.Servers), old)), nil
}

// Check says whether Start would be refused, without naming a key.
func Check(state State, facts Facts) []string {
	_, reasons := precondition(state, facts, "")
	return reasons
}

// precondition returns the one key that signs.
func precondition(state State, facts Facts, newKID string) (old string, reasons []string) {
	reasons = unreadable(facts)
	served := Served(facts)
	for _, server := range facts.Servers {
		switch {
		case server.Err != nil:
		case old == "":
			old = server.Signs
		case server.Signs != old:
			reasons = append(reasons,
				fmt.Sprintf("API server %s signs with %s, others with %s: finish or undo the last rotation first",
					server.Name, server.Signs, old))
		}
		if server.Skew.Abs() >= MaxSkew {
			reasons = append(reasons, fmt.Sprintf("the clock of API server %s is off by %s: want less than %s",
				server.Name, server.Skew, MaxSkew))
		}
	}
	wanted := Wanted(State{Phase: Stable, Leaked: state.Leaked}, facts)
	if missing := lacking(facts.Published, wanted); len(missing) > 0 && facts.PublishedErr == nil {
		reasons = append(reasons,
			"served by an API server but not published: key "+list(missing)+". Publish first")
	}
	if extra := lacking(served, facts.Published); len(extra) > 0 && len(served) > 0 && facts.PublishedErr == nil {
		reasons = append(reasons,
			"published, but no API server serves it: key "+list(extra)+". Finish the rotation that "+
				"published it, perhaps a controller's; if there is none, publish first, and find out who wrote it")
	}
	if len(facts.Published) > MaxKeys {
		reasons = append(reasons, fmt.Sprintf("%d keys are published: want at most %d", len(facts.Published), MaxKeys))
	}
	if slices.Contains(state.Leaked, newKID) {
		reasons = append(reasons, "the key "+newKID+" has leaked: a rotation needs another")
	}
	if newKID != "" && slices.Contains(served, newKID) {
		reasons = append(reasons,
			"the API servers know the key "+newKID+" already: a rotation needs one that nothing uses")
	}
	return old, reasons
}

// unreadable lists what could not be seen.
func unreadable(facts Facts) []string {
	var reasons []string
	if len(facts.Servers) == 0 {
		reasons = append(reasons, "no API server was checked")
	}
	if facts.PublishedErr != nil {
		reasons = append(reasons, "what is published cannot be read: "+facts.PublishedErr.Error())
	}
	for _, server := range facts.Servers {
		switch {
		case server.Err != nil:
			reasons = append(reasons, fmt.Sprintf("API server %s cannot be read: %v", server.Name, server.Err))
		case server.Signs == "":
			reasons = append(reasons, fmt.Sprintf("API server %s was not asked for a token", server.Name))
		}
	}
	return reasons
}

// Served returns the kids that any API server accepts, or signs with, sorted:
// the least that must be published.
func Served(facts Facts) []string {
	var kids []string
	for _, server := range facts.Servers {
		kids = append(kids, server.Serves...)
		if server.Signs != "" {
			kids = append(kids, server.Signs)
		}
	}
	slices.Sort(kids)
	return slices.Compact(kids)
}

// lacking returns what of want is not in have.
func lacking(have, want []string) []string {
	var missing []string
	for _, kid := range want {
		if !slices.Contains(have, kid) {
			missing = append(missing, kid)
		}
	}
	return missing
}

// list names kids in a sentence.
func list(kids []string) string {
	quoted := make([]string, len(kids))
	for i, kid := range kids {
		quoted[i] = strconv.Quote(kid)
	}
	return strings.Join(quoted, ", ")
}

// enter returns the state in another phase.
func (s State) enter(phase Phase, now time.Time, evidence string) State {
	s.Phase, s.Since = phase, now
	s.History = append(slices.Clone(s.History), Step{To: phase, At: now, Evidence: evidence})
	return s
}
