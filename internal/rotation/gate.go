package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Gate is what separates a phase from the next.
type Gate struct {
	Phase Phase `json:"phase"`
	Next  Phase `json:"next"`
	// Open says that Next may be entered now.
	Open bool `json:"open"`
	// Waiting says what is missing, one sentence each; empty if Open.
	Waiting []string `json:"waiting,omitempty"`
	// NotBefore is when the gate opens by itself; zero if time alone does not
	// open it.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Dangers are orders of steps that break tokens now or soon, whatever the
	// gate says: one sentence each, with what to do.
	Dangers []string `json:"dangers,omitempty"`
	// Evidence says why an open gate is open.
	Evidence string `json:"evidence,omitempty"`
	// Do tells people what to do in this phase.
	Do string `json:"do"`
}

// Look notes what was seen for the first time and returns the gate. The
// returned state has the same phase.
func Look(state State, parameters Parameters, facts Facts) (State, Gate) {
	state = state.note(facts)
	gate := Gate{Phase: state.Phase, Next: state.after(), Dangers: dangers(state, facts), Do: state.task()}
	waiting, notBefore, evidence := state.gate(parameters, facts)
	gate.Waiting = slices.Concat(waiting, gate.Dangers)
	switch {
	case len(gate.Waiting) == 0 && notBefore.After(facts.Now):
		gate.NotBefore = notBefore
		gate.Waiting = []string{fmt.Sprintf("wait until %s", notBefore.UTC().Format(time.RFC3339))}
	case len(gate.Waiting) == 0:
		gate.Open, gate.Evidence = true, evidence
	}
	return state, gate
}

// Advance enters the next phase if the gate is open; otherwise it returns the
// state as Look does, and an *Unsafe.
func Advance(state State, parameters Parameters, facts Facts) (State, error) {
	state, gate := Look(state, parameters, facts)
	if !gate.Open {
		return state, &Unsafe{Phase: gate.Phase, Reasons: gate.Waiting, NotBefore: gate.NotBefore}
	}
	next := state.enter(gate.Next, facts.Now, gate.Evidence)
	if gate.Next == Stable {
		ended := State{Phase: Stable, Since: facts.Now, Leaked: state.Leaked, History: next.History}
		if state.Emergency && !slices.Contains(ended.Leaked, state.OldKID) {
			ended.Leaked = append(slices.Clone(ended.Leaked), state.OldKID)
		}
		return ended, nil
	}
	return next, nil
}

// MayAbort reports whether a rotation can be given up in the phase, provided that no
// API server signs with the new key.
func (p Phase) MayAbort() bool { return slices.Contains([]Phase{KeyCreated, Published, Verifying}, p) }

// Abort gives the rotation up. It is allowed until Signing: from then on tokens
// of the new key may be anywhere, and the only safe way is forward.
func Abort(state State, facts Facts) (State, error) {
	if !state.Phase.MayAbort() {
		reason := "there is no rotation to abort"
		if state.Phase != Stable {
			reason = "API servers may sign with the new key already: finish this rotation, then rotate again"
		}
		return state, &Unsafe{Phase: state.Phase, Reasons: []string{reason}}
	}
	reasons := unreadable(Facts{Servers: facts.Servers})
	for _, server := range facts.Servers {
		if server.Signs == state.NewKID {
			reasons = append(reasons, fmt.Sprintf("API server %s signs with the new key %s", server.Name, state.NewKID))
		}
	}
	if len(reasons) > 0 {
		return state, &Unsafe{Phase: state.Phase, Reasons: reasons}
	}
	ended := state.enter(Stable, facts.Now, "given up: no API server signs with "+state.NewKID)
	return State{Phase: Stable, Since: facts.Now, Leaked: state.Leaked, History: ended.History}, nil
}

// Wanted returns the kids to publish, newest first: never fewer than what any
// API server signs with or has signed with in this rotation.
func Wanted(state State, facts Facts) []string {
	var wanted []string
	add := func(kids ...string) {
		for _, kid := range kids {
			if kid != "" && !slices.Contains(wanted, kid) {
				wanted = append(wanted, kid)
			}
		}
	}
	switch state.Phase {
	case Stable: // what is served, see below
	case KeyCreated:
		add(state.OldKID)
	case Retiring:
		add(state.NewKID)
		if !state.Emergency {
			add(state.OldKID)
		}
	case Published, Verifying, Signing, Draining:
		add(state.NewKID, state.OldKID)
	}
	for _, kid := range Served(facts) {
		// A leaked key is withdrawn at once, and a key that nothing uses is
		// left out, even if an API server still lists it.
		leaked := state.leaked(kid)
		if !leaked && (state.Phase != KeyCreated || kid != state.NewKID) {
			add(kid)
		}
	}
	for _, server := range facts.Servers {
		add(server.Signs)
	}
	return wanted
}

// Named returns the kids that a rotation under way has published, or will publish.
func (s State) Named() []string {
	if s.Phase == Stable {
		return nil
	}
	named := Wanted(s, Facts{})
	if !slices.Contains(named, s.NewKID) {
		named = append(named, s.NewKID)
	}
	return named
}

// Unserved returns the kids that readers find although no API server serves them and no
// rotation names them, or that are known to have leaked: who wrote them there can mint
// tokens.
func Unserved(state State, facts Facts) []string {
	return lacking(append(Wanted(state, facts), state.Named()...), facts.Published)
}

// leaked reports whether a key must be withdrawn from where it is published,
// although an API server may still accept it. The old key of an emergency stays
// until the new one signs: until then all tokens are its own.
func (s State) leaked(kid string) bool {
	if s.Phase != Stable && kid == s.OldKID {
		return s.Emergency && s.Phase == Retiring
	}
	return slices.Contains(s.Leaked, kid)
}

// note records when something was first the case.
func (s State) note(facts Facts) State {
	both := facts.PublishedErr == nil && len(lacking(facts.Published, []string{s.NewKID, s.OldKID})) == 0
	if s.Phase == Published && s.SeenAt.IsZero() && both {
		s.SeenAt = facts.Now
	}
	// A key that meanwhile dropped out of the published set waits again: caches
	// may have fetched the smaller set.
	if s.Phase == Published && !s.SeenAt.IsZero() && facts.PublishedErr == nil && !both {
		s.SeenAt = time.Time{}
	}
	if (s.Phase == Signing || s.Phase == Draining) && len(unreadable(facts)) == 0 {
		all := !slices.ContainsFunc(facts.Servers, func(v Server) bool { return v.Signs != s.NewKID })
		switch {
		case all && s.SwitchedAt.IsZero():
			s.SwitchedAt = facts.Now
		case !all: // an API server signs with the old key again: its last token is recent again
			s.SwitchedAt = time.Time{}
		}
	}
	return s
}

// after returns the phase behind the gate.
func (s State) after() Phase {
	switch {
	case s.Phase == Stable:
		return KeyCreated
	case s.Phase == Retiring:
		return Stable
	case s.Emergency && s.Phase == Published:
		return Signing
	case s.Emergency && s.Phase == Signing, s.Emergency && s.Phase == Draining:
		return Retiring
	}
	return Phases()[slices.Index(Phases(), s.Phase)+1]
}

// gate returns what is missing, when time alone would open it, and why it is
// open.
func (s State) gate(parameters Parameters, facts Facts) (waiting []string, notBefore time.Time, evidence string) {
	switch s.Phase {
	case Stable:
		return []string{"nothing to do until the next rotation is started"}, notBefore, ""
	case KeyCreated:
		if !facts.Stored {
			return []string{"the new key is not stored where the API servers will read it"}, notBefore, ""
		}
		return nil, notBefore, "the new key " + s.NewKID + " is stored"
	case Published:
		return s.publishedGate(parameters, facts)
	case Verifying:
		if s.Emergency {
			return nil, notBefore, "accepting and signing are one roll in an emergency"
		}
		return s.everyServer(facts, "serves the new key",
			func(v Server) bool { return slices.Contains(v.Serves, s.NewKID) })
	case Signing:
		return s.signingGate(parameters, facts)
	case Draining:
		return s.drainingGate(parameters, facts)
	case Retiring:
		return s.retiringGate(facts)
	}
	return []string{"the phase is unknown"}, notBefore, ""
}

func (s State) publishedGate(
	parameters Parameters, facts Facts,
) (waiting []string, notBefore time.Time, evidence string) {
	if facts.PublishedErr != nil {
		return []string{"what is published cannot be read: " + facts.PublishedErr.Error()}, notBefore, ""
	}
	if missing := lacking(facts.Published, []string{s.NewKID, s.OldKID}); len(missing) > 0 {
		return []string{"not published yet: key " + list(missing)}, notBefore, ""
	}
	evidence = "both keys were read back at " + s.SeenAt.UTC().Format(time.RFC3339)
	if s.Emergency {
		return nil, notBefore, evidence + "; caches are not waited for"
	}
	return nil, s.SeenAt.Add(parameters.CacheFor), evidence +
		fmt.Sprintf(", %s ago", facts.Now.Sub(s.SeenAt).Round(time.Second))
}

func (s State) signingGate(
	parameters Parameters, facts Facts,
) (waiting []string, notBefore time.Time, evidence string) {
	waiting, _, evidence = s.everyServer(facts, "signs with the new key",
		func(v Server) bool { return v.Signs == s.NewKID })
	if parameters.WithoutCanary || s.Emergency {
		return waiting, notBefore, evidence
	}
	if facts.ExchangeErr != nil {
		waiting = append(waiting, "STS refuses a token of the new key: "+facts.ExchangeErr.Error())
	} else if facts.Exchanges < Canaries {
		waiting = append(waiting,
			fmt.Sprintf("%d of %d rounds of exchanges at STS, with a token of each API server, have succeeded",
				facts.Exchanges, Canaries))
	}
	return waiting, notBefore, fmt.Sprintf("%s, and STS accepted a token of each, %d times", evidence, facts.Exchanges)
}

// retiringGate: the leaked key of an emergency must be gone for readers too, not
// only from where it was published.
func (s State) retiringGate(facts Facts) (waiting []string, notBefore time.Time, evidence string) {
	waiting, notBefore, evidence = s.everyServer(facts, "has dropped the old key",
		func(v Server) bool { return !slices.Contains(v.Serves, s.OldKID) })
	if s.Emergency && facts.PublishedErr == nil && slices.Contains(facts.Published, s.OldKID) {
		waiting = append(waiting,
			fmt.Sprintf("readers still find the leaked key %s: an old copy in a cache, or another publisher", s.OldKID))
	}
	return waiting, notBefore, evidence
}

func (s State) drainingGate(
	parameters Parameters, facts Facts,
) (waiting []string, notBefore time.Time, evidence string) {
	waiting, _, _ = s.everyServer(facts, "signs with the new key", func(v Server) bool { return v.Signs == s.NewKID })
	if len(waiting) > 0 {
		return waiting, notBefore, ""
	}
	if s.Emergency {
		return nil, notBefore, "the old key has leaked: its tokens are not waited for"
	}
	return nil, s.SwitchedAt.Add(parameters.DrainFor), "the last token of the old key was signed before " +
		s.SwitchedAt.UTC().Format(time.RFC3339)
}

// everyServer waits until something is the case on all API servers.
func (s State) everyServer(
	facts Facts, what string, is func(Server) bool,
) (waiting []string, notBefore time.Time, evidence string) {
	waiting = unreadable(facts)
	for _, server := range facts.Servers {
		if server.Err == nil && !is(server) {
			waiting = append(waiting, fmt.Sprintf("wait until API server %s %s", server.Name, what))
		}
	}
	return waiting, notBefore, fmt.Sprintf("each of %d API servers %s", len(facts.Servers), what)
}
