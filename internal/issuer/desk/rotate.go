package desk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Waits replace the waiting times of issuer.yaml and of the pods' tokens; zero does not.
type Waits struct{ CacheFor, DrainFor time.Duration }

// Start is how a rotation is to begin, or to go on.
type Start struct {
	Waits Waits
	// Emergency says that the key which signs has leaked.
	Emergency bool
	// NewKey makes the key to come.
	NewKey func() (*token.Key, error)
}

// Step is a step of a rotation that was taken.
type Step struct {
	State rotation.State
	// Do is what is to be done now, for people, and Files are the paths of what the nodes
	// of the control plane need for it.
	Do    string
	Files []string
	// Sessions, after an emergency, are to be ended; nil if there are none.
	Sessions *Sessions
}

// Advance takes the next step of a rotation, with the folder's lock held: it publishes what
// the phase wants, looks, and goes on if that is safe. A refusal is a *rotation.Unsafe.
func (d *Desk) Advance(ctx context.Context, start Start) (*Step, error) {
	state, err := d.State()
	if err != nil {
		return nil, err
	}
	if state.Phase == rotation.Stable {
		return d.begin(ctx, state, start)
	}
	state.Emergency = state.Emergency || start.Emergency
	view := d.Look(ctx)
	// If anybody has overwritten the keys meanwhile, that is put right before
	// anything else is asked.
	if keys, err := d.wanted(state, view); err == nil {
		if documents, err := d.publish(ctx, keys, view); err != nil {
			return nil, err
		} else if inspect.CheckReadBack(documents, view.Discovery, view.JWKS) != nil {
			view = d.Look(ctx)
		}
	}
	parameters, facts, err := d.facts(ctx, state, view, start.Waits)
	if err != nil {
		return nil, err
	}
	next, err := rotation.Advance(state, parameters, facts)
	if err != nil { // what was seen for the first time is kept
		return nil, errors.Join(err, d.Folder.keep(next))
	}
	if err := d.enter(next); err != nil {
		return nil, err
	}
	if err := d.Folder.keep(next); err != nil {
		return nil, err
	}
	if err := d.publishFor(ctx, next, view); err != nil {
		return nil, err
	}
	step := d.step(next)
	switch {
	case next.Phase == rotation.Retiring && next.Emergency:
		step.Sessions = d.sessions(ctx, next.Since, parameters)
	case state.Phase == rotation.Retiring && state.Emergency:
		step.Sessions = d.sessions(ctx, state.Since, parameters)
	}
	return step, nil
}

// begin makes the new key and remembers it.
func (d *Desk) begin(ctx context.Context, state rotation.State, start Start) (*Step, error) {
	view := d.Look(ctx)
	if reasons := rotation.Check(state, view.Facts()); len(reasons) > 0 {
		return nil, &rotation.Unsafe{Phase: state.Phase, Reasons: reasons}
	}
	// sa.pub is completed with what the API servers accept, so that copying it
	// takes nothing away.
	keys, err := observe.Union(view.Asked)
	if err != nil {
		return nil, err
	}
	key, err := d.Folder.nextKey(start.NewKey)
	if err != nil {
		return nil, err
	}
	next, err := rotation.Start(state, view.Facts(), key.ID(), start.Emergency)
	if err != nil {
		return nil, err
	}
	if err := d.Folder.Accept(keys); err != nil {
		return nil, err
	}
	if err := d.Folder.keep(next); err != nil {
		return nil, err
	}
	return d.step(next), nil
}

// Abort gives a rotation up, with the folder's lock held. A refusal is a *rotation.Unsafe.
func (d *Desk) Abort(ctx context.Context) (*Step, error) {
	state, err := d.State()
	if err != nil {
		return nil, err
	}
	view := d.Look(ctx)
	next, err := rotation.Abort(state, view.Facts())
	if err != nil {
		return nil, err
	}
	files, err := d.Folder.files()
	if err != nil {
		return nil, err
	}
	first, last, err := plan.GiveUp(state, files)
	if err != nil {
		return nil, d.Folder.explain(err)
	}
	if err := d.Folder.change(first); err != nil {
		return nil, err
	}
	if err := errors.Join(d.Folder.keep(next), d.Folder.change(last)); err != nil {
		return nil, err
	}
	if err := d.publishFor(ctx, next, view); err != nil {
		return nil, err
	}
	return d.step(next), nil
}

// Status is how far a rotation is, and what was seen.
type Status struct {
	State rotation.State
	Gate  rotation.Gate
	Facts rotation.Facts
	Asked []observe.Asked
	// Unserved are the kids that are published and should not be (see rotation.Unserved).
	Unserved []string
}

// Status looks, and changes nothing. Before a rotation the gate says whether one may start.
func (d *Desk) Status(ctx context.Context, waits Waits) (*Status, error) {
	state, err := d.State()
	if err != nil {
		return nil, err
	}
	view := d.Look(ctx)
	parameters, facts, err := d.facts(ctx, state, view, waits)
	if err != nil {
		return nil, err
	}
	state, gate := rotation.Look(state, parameters, facts)
	if state.Phase == rotation.Stable {
		gate.Waiting = rotation.Check(state, facts)
		gate.Open = len(gate.Waiting) == 0
	}
	status := &Status{State: state, Gate: gate, Facts: facts, Asked: view.Asked}
	if facts.PublishedErr == nil && !slices.ContainsFunc(view.Asked, func(a observe.Asked) bool { return a.Err != "" }) {
		status.Unserved = rotation.Unserved(state, facts)
		var served []token.PublicKey
		for _, asked := range view.Asked {
			served = append(served, asked.Keys...)
		}
		for _, kid := range document.Hidden(view.JWKS.Text, served) {
			if !slices.Contains(status.Unserved, kid) && !slices.Contains(state.Named(), kid) {
				status.Unserved = append(status.Unserved, kid)
			}
		}
	}
	return status, nil
}

// facts adds what only a rotation asks for.
func (d *Desk) facts(
	ctx context.Context, state rotation.State, view observe.View, waits Waits,
) (rotation.Parameters, rotation.Facts, error) {
	longest, err := d.Servers[0].LongestToken(ctx)
	if err != nil {
		return rotation.Parameters{}, rotation.Facts{}, err
	}
	parameters := plan.Parameters(&d.Issuer.Spec, longest)
	if waits.CacheFor > 0 {
		parameters.CacheFor = waits.CacheFor
	}
	if waits.DrainFor > 0 {
		parameters.DrainFor = waits.DrainFor
	}
	files, err := d.Folder.files()
	if err != nil {
		return parameters, rotation.Facts{}, err
	}
	facts := view.Facts()
	facts.Stored = files.Stored(state)
	if !parameters.WithoutCanary && state.Phase == rotation.Signing && !state.Emergency {
		facts.Exchanges, facts.ExchangeErr = d.exchange(ctx, state.NewKID, view)
	}
	return parameters, facts, nil
}

// exchange offers a token of each API server to STS, in as many rounds as a
// rotation asks for, each with tokens signed for it.
func (d *Desk) exchange(ctx context.Context, kid string, view observe.View) (rounds int, err error) {
	spec := &d.Issuer.Spec
	offer := func(signed credential.Secret) error { return accounts.Exchange(ctx, spec.Probe.RoleARN, signed) }
	for {
		accepted, err := view.Exchange(kid, offer)
		if err != nil || !accepted {
			return 0, err
		}
		if rounds++; rounds == rotation.Canaries {
			return rounds, nil
		}
		view.Asked = observe.AskAll(ctx, d.Servers, plan.ProbeOf(spec), d.Now)
	}
}

// enter makes the files what the API servers must have in a phase. It may be
// done twice.
func (d *Desk) enter(next rotation.State) error {
	files, err := d.Folder.files()
	if err != nil {
		return err
	}
	changes, err := plan.Enter(next, files)
	if err != nil {
		return d.Folder.explain(err)
	}
	return d.Folder.change(changes)
}

// publishFor publishes what a phase just entered wants.
func (d *Desk) publishFor(ctx context.Context, state rotation.State, view observe.View) error {
	keys, err := d.wanted(state, view)
	if err != nil {
		return err
	}
	_, err = d.publish(ctx, keys, view)
	return err
}

// step says what is to be done now, and with which files.
func (d *Desk) step(state rotation.State) *Step {
	_, gate := rotation.Look(state, rotation.Parameters{}, rotation.Facts{})
	step := &Step{State: state, Do: gate.Do}
	for _, name := range plan.For(state.Phase) {
		step.Files = append(step.Files, d.Folder.Path(name))
	}
	return step
}

// Sessions are what a leaked key may have taken and no key that is dropped ends.
type Sessions struct {
	// Commands end them, a role each; ROLE stands for those of accounts that cannot be
	// asked.
	Commands []string
	// Again is when to do it once more: until then STS may use cached keys. It is zero
	// when caches have run out.
	Again time.Time
	// Unlisted is why the roles of accounts are not known.
	Unlisted []error
}

// sessions asks which roles trust the issuer. retired is when the leaked key was taken from
// where it was published; until caches have run out STS may still accept it, so that later
// sessions must be ended too.
func (d *Desk) sessions(ctx context.Context, retired time.Time, parameters rotation.Parameters) *Sessions {
	over := retired.Add(parameters.CacheFor)
	until := d.Now()
	if until.After(over) {
		until = over
	}
	found := &Sessions{}
	roles := []string{"ROLE"}
	if len(d.Issuer.Spec.Providers) > 0 {
		roles = nil
	}
	for _, provider := range d.Issuer.Spec.Providers {
		trusting, err := accounts.Trusting(ctx, d.Issuer.Spec.URL, provider)
		if err != nil {
			found.Unlisted = append(found.Unlisted, err)
			trusting = []string{"ROLE"}
		}
		roles = append(roles, trusting...)
	}
	for _, role := range roles {
		found.Commands = append(found.Commands, plan.DenyOlderSessions(role, until))
	}
	if until.Before(over) {
		found.Again = over
	}
	return found
}
