package plan

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// StateOf reads a rotation's state from an Issuer. Whether it is an emergency is
// the spec's to say: the key that goes has leaked, or the one that comes, too late
// to turn back.
func StateOf(object *v1alpha1.Issuer, now time.Time) rotation.State {
	state := rotation.New(now)
	if r := object.Status.Rotation; r != nil && r.Phase != "" {
		state = rotation.State{
			Phase: rotation.Phase(r.Phase), Since: r.Since.Time, OldKID: r.OldKID, NewKID: r.NewKID,
			SeenAt: timeOrZero(r.SeenAt), SwitchedAt: timeOrZero(r.SwitchedAt),
		}
	}
	if object.Spec.Rotation != nil {
		state.Leaked = object.Spec.Rotation.Leaked
	}
	if state.Phase != rotation.Stable {
		state.Emergency = slices.Contains(state.Leaked, state.OldKID) ||
			(slices.Contains(state.Leaked, state.NewKID) && !state.Phase.MayAbort())
	}
	return state
}

func timeOrZero(at *metav1.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.Time
}

// SetState writes a rotation's state into an Issuer's status, with what its gate waits for
// and how many rounds of exchanges have succeeded.
func SetState(status *v1alpha1.IssuerStatus, state rotation.State, gate rotation.Gate, exchanges int) {
	r := &v1alpha1.RotationStatus{
		Phase:         v1alpha1.Phase(state.Phase),
		Since:         metav1.NewTime(state.Since),
		OldKID:        state.OldKID,
		NewKID:        state.NewKID,
		SeenAt:        timeOrNil(state.SeenAt),
		SwitchedAt:    timeOrNil(state.SwitchedAt),
		NextNotBefore: timeOrNil(gate.NotBefore),
		Exchanges:     int32(exchanges), //nolint:gosec // at most three
	}
	if last := len(state.History); last > 0 {
		r.Evidence = state.History[last-1].Evidence
	} else if status.Rotation != nil {
		r.Evidence = status.Rotation.Evidence
	}
	if len(gate.Waiting) > 0 && state.Phase != rotation.Stable {
		r.WaitingFor = gate.Waiting[0]
	}
	status.Rotation = r
}

func timeOrNil(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at}
}

// Due reports whether the key that signs is old enough to be replaced, or has
// leaked.
func Due(spec *v1alpha1.IssuerSpec, status *v1alpha1.IssuerStatus, state rotation.State, now time.Time) bool {
	if spec.Rotation == nil || state.Phase != rotation.Stable {
		return false
	}
	for _, key := range status.Keys {
		if key.Role == RoleSigning {
			return slices.Contains(state.Leaked, key.KID) ||
				!now.Before(key.FirstSeen.Add(spec.Rotation.Every.Duration))
		}
	}
	return false
}

// Roles of a key.
const (
	RoleSigning   = "signing"
	RoleVerifying = "verifying"
	RolePublished = "published"
)

// KeyStatuses says what each published key is for, and since when it is known.
func KeyStatuses(before []v1alpha1.KeyStatus, published []token.PublicKey, facts rotation.Facts) []v1alpha1.KeyStatus {
	statuses := make([]v1alpha1.KeyStatus, 0, len(published))
	for _, key := range published {
		status := v1alpha1.KeyStatus{
			KID:       key.ID,
			Algorithm: key.Algorithm(),
			Role:      RolePublished,
			FirstSeen: metav1.NewTime(facts.Now),
		}
		for _, server := range facts.Servers {
			switch {
			case server.Signs == key.ID:
				status.Role = RoleSigning
			case slices.Contains(server.Serves, key.ID) && status.Role != RoleSigning:
				status.Role = RoleVerifying
			}
		}
		if at := slices.IndexFunc(before, func(k v1alpha1.KeyStatus) bool { return k.KID == key.ID }); at >= 0 {
			status.FirstSeen = before[at].FirstSeen
		}
		statuses = append(statuses, status)
	}
	return statuses
}
