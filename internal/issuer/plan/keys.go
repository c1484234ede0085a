package plan

import (
	"slices"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Keys returns the keys to publish, newest first. served are those that the API servers
// accept, known those of the files (see Known).
func Keys(state rotation.State, facts rotation.Facts, served, known []token.PublicKey) ([]token.PublicKey, error) {
	all, err := document.Union(served, known)
	if err != nil {
		return nil, err
	}
	return document.Pick(all, rotation.Wanted(state, facts))
}

// KeysUnasked returns the keys to publish when no API server could be asked: those that
// the API servers were told to accept, and those of the rotation.
func KeysUnasked(state rotation.State, accepted, known []token.PublicKey) ([]token.PublicKey, error) {
	if state.Phase == rotation.Stable {
		return accepted, nil
	}
	wanted := rotation.Wanted(state, rotation.Facts{})
	for _, kid := range document.IDs(accepted) {
		if !slices.Contains(wanted, kid) && kid != state.OldKID && kid != state.NewKID {
			wanted = append(wanted, kid)
		}
	}
	return document.Pick(known, wanted)
}

// Dropped returns the first kid that is published and would no longer be; empty if all
// stay. What is published and cannot be read serves nobody, and may go.
func Dropped(published []byte, keys []token.PublicKey) string {
	there, err := token.ReadJWKS(published)
	if err != nil {
		return ""
	}
	for _, kid := range document.IDs(there) {
		if !slices.Contains(document.IDs(keys), kid) {
			return kid
		}
	}
	return ""
}
