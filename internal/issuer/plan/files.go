package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Names of the files that API servers get their keys from, in a folder or in a Secret.
const (
	Signing  = "sa.key"   // signs
	Accepted = "sa.pub"   // public halves of all keys that API servers accept
	Next     = "next.key" // the new key until it signs
	Old      = "old.key"  // the old key until it is destroyed; in a folder only
	// OldPublic is the public half of a key that API servers drop: it stays published
	// until the last one has.
	OldPublic = "old.pub"
)

// Files are those that are there, by their names.
type Files map[string][]byte

// KeyFiles returns the names of all files with keys, those of the newest first.
func KeyFiles() []string { return []string{Next, Signing, Accepted, Old, OldPublic} }

// ErrMissing is why a file that is not there cannot be read.
var ErrMissing = errors.New("there is no such file")

// Unreadable is a file that does not hold what it must.
type Unreadable struct {
	Name string
	Err  error
}

// Error names the file.
func (u *Unreadable) Error() string { return u.Name + ": " + u.Err.Error() }

// Unwrap returns the cause, ErrMissing of a file that is missing.
func (u *Unreadable) Unwrap() error { return u.Err }

// keys returns the public keys of one file, and why others of it cannot be used.
func (f Files) keys(name string) ([]token.PublicKey, error) {
	text, found := f[name]
	if !found {
		return nil, &Unreadable{name, ErrMissing}
	}
	keys, err := document.Keys(text)
	if err != nil {
		return keys, &Unreadable{name, err}
	}
	return keys, nil
}

// Accepts returns the keys that the files tell API servers to accept.
func (f Files) Accepts() ([]token.PublicKey, error) { return f.keys(Accepted) }

// Known returns the public keys of all files that can be read, those of the newest first,
// and why others cannot.
func (f Files) Known() ([]token.PublicKey, error) {
	var known []token.PublicKey
	var wrong []error
	for _, name := range KeyFiles() {
		if _, found := f[name]; !found {
			continue
		}
		keys, err := f.keys(name)
		if err != nil {
			wrong = append(wrong, err)
		}
		joined, err := document.Union(known, keys)
		if err != nil {
			wrong = append(wrong, &Unreadable{name, err})
			continue
		}
		known = joined
	}
	return known, errors.Join(wrong...)
}

// NextKey returns the public half of the key that is to come.
func (f Files) NextKey() (token.PublicKey, error) { return publicOf(f[Next]) }

// Stored reports whether the new key of a rotation lies where the API servers will read
// it.
func (f Files) Stored(state rotation.State) bool {
	next, err := f.NextKey()
	return err == nil && next.ID == state.NewKID
}

func publicOf(private []byte) (token.PublicKey, error) {
	key, err := token.ParsePrivateKey(private)
	if err != nil {
		return token.PublicKey{}, err
	}
	return token.NewPublicKey(key.Public())
}

// For are the files that the nodes of the control plane need when a phase begins, in
// which API servers must be rolled or must find a key that is new.
func For(phase rotation.Phase) []string {
	switch phase {
	case rotation.KeyCreated:
		return []string{Next}
	case rotation.Verifying, rotation.Retiring:
		return []string{Accepted}
	case rotation.Signing:
		return []string{Signing, Accepted}
	default: // nothing changes for the API servers
		return nil
	}
}

// Change is a file to be written, or to be removed.
type Change struct {
	Name   string
	Text   []byte
	Remove bool
}

// Enter returns what changes in a folder when a phase begins, in the order in which it
// must be done. Done twice it does no harm.
func Enter(next rotation.State, before Files) ([]Change, error) {
	accepted, err := before.Accepts()
	if err != nil {
		return nil, err
	}
	switch next.Phase {
	case rotation.Verifying, rotation.Signing:
		coming, err := before.keys(Next)
		if err != nil {
			return nil, err
		}
		changes, err := accepting(append(coming, without(accepted, next.NewKID)...))
		if err == nil && next.Phase == rotation.Signing {
			changes = append(changes, before.switched()...)
		}
		return changes, err
	case rotation.Retiring:
		changes, err := retired(accepted, next.OldKID)
		if err != nil {
			return nil, err
		}
		left, err := accepting(without(accepted, next.OldKID))
		return append(changes, left...), err
	case rotation.Stable:
		return removed(Old, OldPublic, Next), nil
	default: // nothing changes for the API servers
		return nil, nil
	}
}

// GiveUp returns what changes in a folder when a rotation is given up, before that is
// written down and after.
func GiveUp(state rotation.State, before Files) (first, last []Change, err error) {
	accepted, err := before.Accepts()
	if err != nil {
		return nil, nil, err
	}
	first, err = accepting(without(accepted, state.NewKID))
	return first, removed(Next), err
}

// switched lets the new key sign; the old one is kept until it is retired.
func (f Files) switched() []Change {
	var changes []Change
	if old, found := f[Signing]; found && string(old) != string(f[Next]) {
		changes = append(changes, Change{Name: Old, Text: old})
	}
	return append(changes, Change{Name: Signing, Text: f[Next]})
}

// accepting are the keys that API servers are to accept.
func accepting(keys []token.PublicKey) ([]Change, error) {
	text, err := token.PublicPEM(keys)
	if err != nil {
		return nil, err
	}
	return []Change{{Name: Accepted, Text: text}}, nil
}

// retired keeps the public half of a key that API servers drop, if it is known.
func retired(from []token.PublicKey, kid string) ([]Change, error) {
	old, err := document.Pick(from, []string{kid})
	if err != nil {
		return nil, nil //nolint:nilerr // it was kept before
	}
	text, err := token.PublicPEM(old)
	if err != nil {
		return nil, err
	}
	return []Change{{Name: OldPublic, Text: text}}, nil
}

func removed(names ...string) []Change {
	var changes []Change
	for _, name := range names {
		changes = append(changes, Change{Name: name, Remove: true})
	}
	return changes
}

func without(keys []token.PublicKey, kid string) []token.PublicKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k token.PublicKey) bool { return k.ID == kid })
}

// Secret returns what the Secret must hold in a phase: at every moment what an API server
// that restarts may safely take. served is what the API servers accept now. It does not
// change what it is given.
func Secret(state rotation.State, before Files, served []token.PublicKey) (Files, error) {
	after := Files{}
	maps.Copy(after, before)
	accepted := slices.Clone(served)
	coming := state.Phase == rotation.Verifying || state.Phase == rotation.Signing || state.Phase == rotation.Draining
	if next, found := before[Next]; found && coming {
		key, err := publicOf(next)
		if err != nil {
			return nil, &Unreadable{Next, err}
		}
		if key.ID != state.NewKID {
			return nil, fmt.Errorf("%s is %s, not the key of this rotation, %s", Next, key.ID, state.NewKID)
		}
		if accepted, err = document.Union([]token.PublicKey{key}, accepted); err != nil {
			return nil, err
		}
		if state.Phase != rotation.Verifying {
			after[Signing] = next
		}
	}
	// What has leaked is accepted only as long as this rotation needs it.
	accepted = slices.DeleteFunc(accepted, func(k token.PublicKey) bool {
		return slices.Contains(state.Leaked, k.ID) && k.ID != state.OldKID && k.ID != state.NewKID
	})
	next, err := after.NextKey()
	if state.Phase == rotation.Stable && err == nil && slices.Contains(state.Leaked, next.ID) {
		delete(after, Next)
	}
	if state.Phase != rotation.Retiring {
		delete(after, OldPublic)
	} else {
		changes, err := retired(served, state.OldKID)
		if err != nil {
			return nil, err
		}
		after.apply(changes)
		accepted = without(accepted, state.OldKID)
		delete(after, Next)
	}
	if len(accepted) > 0 {
		changes, err := accepting(accepted)
		if err != nil {
			return nil, err
		}
		after.apply(changes)
	}
	return after, nil
}

func (f Files) apply(changes []Change) {
	for _, change := range changes {
		f[change.Name] = change.Text
	}
}

// HoldsLeaked reports whether a Secret would give an API server a key that has leaked,
// though no rotation needs it any more.
func HoldsLeaked(secret Files, leaked []string) bool {
	handed := Files{}
	for _, name := range []string{Next, Accepted} {
		if text, found := secret[name]; found {
			handed[name] = text
		}
	}
	known, _ := handed.Known() // what cannot be read gives nobody a key
	return slices.ContainsFunc(known, func(k token.PublicKey) bool { return slices.Contains(leaked, k.ID) })
}
