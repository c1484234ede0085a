package rotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Parse reads a state as encoding/json writes it. Unknown members are refused:
// an older program must not act on the state of a newer one.
func Parse(text []byte) (State, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var state State
	if err := decoder.Decode(&state); err != nil {
		return State{}, fmt.Errorf("parse rotation state: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("parse rotation state: more than one document")
	}
	if err := state.check(); err != nil {
		return State{}, fmt.Errorf("parse rotation state: %w", err)
	}
	return state, nil
}

func (s State) check() error {
	switch {
	case !slices.Contains(Phases(), s.Phase):
		return fmt.Errorf("phase %q is unknown", s.Phase)
	case s.Phase == Stable && (s.OldKID != "" || s.NewKID != "" || s.Emergency):
		return errors.New("phase Stable has no keys of a rotation")
	case s.Phase != Stable && (s.OldKID == "" || s.NewKID == "" || s.OldKID == s.NewKID):
		return fmt.Errorf("phase %s needs two different keys", s.Phase)
	}
	return nil
}
