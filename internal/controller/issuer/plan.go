package issuer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Conditions of an Issuer.
const (
	conditionReady     = "Ready"
	conditionPublished = "Published"
	conditionVerified  = "Verified"
	conditionProviders = "ProvidersInStep"
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
		state.Emergency = slices.Contains(state.Leaked, state.OldKID) || (slices.Contains(state.Leaked, state.NewKID) && !mayAbort(state.Phase))
	}
	return state
}

func timeOrZero(at *metav1.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.Time
}

func mayAbort(phase rotation.Phase) bool {
	return slices.Contains([]rotation.Phase{rotation.KeyCreated, rotation.Published, rotation.Verifying}, phase)
}

// setState writes it back, with what its gate waits for.
func setState(status *v1alpha1.IssuerStatus, state rotation.State, gate rotation.Gate, exchanges int) {
	r := &v1alpha1.RotationStatus{
		Phase: v1alpha1.Phase(state.Phase), Since: metav1.NewTime(state.Since), OldKID: state.OldKID, NewKID: state.NewKID,
		SeenAt: timeOrNil(state.SeenAt), SwitchedAt: timeOrNil(state.SwitchedAt), NextNotBefore: timeOrNil(gate.NotBefore), Exchanges: int32(exchanges), //nolint:gosec // at most three
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

// parametersOf are the spec's waiting times; longest is the life of the longest
// token that a pod has.
func parametersOf(spec *v1alpha1.IssuerSpec, longest time.Duration) rotation.Parameters {
	parameters := rotation.Defaults()
	parameters.WithoutCanary = spec.Probe.RoleARN == ""
	if spec.Rotation != nil {
		if spec.Rotation.CacheFor.Duration > 0 {
			parameters.CacheFor = spec.Rotation.CacheFor.Duration
		}
		if spec.Rotation.DrainFor.Duration > 0 {
			parameters.DrainFor = spec.Rotation.DrainFor.Duration
		}
	}
	parameters.DrainFor = max(parameters.DrainFor, longest)
	return parameters
}

// due reports whether the key that signs is old enough to be replaced, or has
// leaked.
func due(spec *v1alpha1.IssuerSpec, status *v1alpha1.IssuerStatus, state rotation.State, now time.Time) bool {
	if spec.Rotation == nil || state.Phase != rotation.Stable {
		return false
	}
	for _, key := range status.Keys {
		if key.Role == roleSigning {
			return slices.Contains(state.Leaked, key.KID) || !now.Before(key.FirstSeen.Add(spec.Rotation.Every.Duration))
		}
	}
	return false
}

// Roles of a key.
const (
	roleSigning   = "signing"
	roleVerifying = "verifying"
	rolePublished = "published"
)

// keyStatuses says what each published key is for, and since when it is known.
func keyStatuses(before []v1alpha1.KeyStatus, published []token.PublicKey, facts rotation.Facts) []v1alpha1.KeyStatus {
	statuses := make([]v1alpha1.KeyStatus, 0, len(published))
	for _, key := range published {
		status := v1alpha1.KeyStatus{KID: key.ID, Algorithm: key.Algorithm(), Role: rolePublished, FirstSeen: metav1.NewTime(facts.Now)}
		for _, server := range facts.Servers {
			switch {
			case server.Signs == key.ID:
				status.Role = roleSigning
			case slices.Contains(server.Serves, key.ID) && status.Role != roleSigning:
				status.Role = roleVerifying
			}
		}
		if at := slices.IndexFunc(before, func(k v1alpha1.KeyStatus) bool { return k.KID == key.ID }); at >= 0 {
			status.FirstSeen = before[at].FirstSeen
		}
		statuses = append(statuses, status)
	}
	return statuses
}

// Keys of the Secret of a rotation.
const (
	secretSigning  = "sa.key"
	secretAccepted = "sa.pub"
	secretNext     = "next.key"
	// secretOld is the public half of a key that API servers drop: it stays
	// published until the last one has.
	secretOld = "old.pub"
)

// secretFor returns what the Secret must hold in a phase: at every moment what an
// API server that restarts may safely take. It does not change what it is given.
func secretFor(state rotation.State, before map[string][]byte, served []token.PublicKey) (map[string][]byte, error) {
	after := map[string][]byte{}
	maps.Copy(after, before)
	accepted := slices.Clone(served)
	if next, found := before[secretNext]; found && (state.Phase == rotation.Verifying || state.Phase == rotation.Signing || state.Phase == rotation.Draining) {
		key, err := publicOf(next)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", secretNext, err)
		}
		if key.ID != state.NewKID {
			return nil, fmt.Errorf("%s is %s, not the key of this rotation, %s", secretNext, key.ID, state.NewKID)
		}
		if accepted, err = publication.Union([]token.PublicKey{key}, accepted); err != nil {
			return nil, err
		}
		if state.Phase != rotation.Verifying {
			after[secretSigning] = next
		}
	}
	// What has leaked is accepted only as long as this rotation needs it.
	accepted = slices.DeleteFunc(accepted, func(k token.PublicKey) bool {
		return slices.Contains(state.Leaked, k.ID) && k.ID != state.OldKID && k.ID != state.NewKID
	})
	if next, err := publicOf(after[secretNext]); state.Phase == rotation.Stable && err == nil && slices.Contains(state.Leaked, next.ID) {
		delete(after, secretNext)
	}
	if state.Phase != rotation.Retiring {
		delete(after, secretOld)
	} else {
		if old, err := publication.Pick(served, []string{state.OldKID}); err == nil {
			if after[secretOld], err = token.PublicPEM(old); err != nil {
				return nil, err
			}
		}
		accepted = slices.DeleteFunc(accepted, func(k token.PublicKey) bool { return k.ID == state.OldKID })
		delete(after, secretNext)
	}
	if len(accepted) > 0 {
		text, err := token.PublicPEM(accepted)
		if err != nil {
			return nil, err
		}
		after[secretAccepted] = text
	}
	return after, nil
}

// holdsLeaked reports whether a Secret would give an API server a key that has
// leaked, though no rotation needs it any more.
func holdsLeaked(data map[string][]byte, leaked []string) bool {
	handed := map[string][]byte{secretNext: data[secretNext], secretAccepted: data[secretAccepted]}
	return slices.ContainsFunc(knownKeys(handed), func(k token.PublicKey) bool { return slices.Contains(leaked, k.ID) })
}

// newKeyOf makes a key of the kind that an object asks for.
func newKeyOf(kind v1alpha1.KeyKind) (*token.Key, error) {
	of, err := token.KindOfObject(string(kind))
	if err != nil {
		return nil, err
	}
	return token.Generate(of)
}

// isKind tells a next key that waits from one of before the kind was changed.
func isKind(key token.PublicKey, kind v1alpha1.KeyKind) bool {
	of, err := token.KindOfObject(string(kind))
	return err == nil && key.Algorithm() == of.Algorithm()
}

func publicOf(private []byte) (token.PublicKey, error) {
	key, err := token.ParsePrivateKey(private)
	if err != nil {
		return token.PublicKey{}, err
	}
	return token.NewPublicKey(key.Public())
}

// knownKeys are the public keys of a Secret; what cannot be read is left to
// whoever needs it.
func knownKeys(data map[string][]byte) []token.PublicKey {
	var known []token.PublicKey
	for _, name := range []string{secretNext, secretSigning, secretAccepted, secretOld} {
		public, err := token.ParsePublicKeys(data[name])
		if err != nil {
			continue
		}
		for _, one := range public {
			key, err := token.NewPublicKey(one)
			isNew := !slices.ContainsFunc(known, func(k token.PublicKey) bool { return k.ID == key.ID })
			if err == nil && isNew {
				known = append(known, key)
			}
		}
	}
	return known
}

// setCondition is true without err.
func setCondition(object *v1alpha1.Issuer, kind, reason string, err error) {
	condition := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: object.Generation}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "Failed", short(err.Error())
	}
	meta.SetStatusCondition(&object.Status.Conditions, condition)
}

// short keeps a message within what a condition and an Event may hold.
func short(text string) string {
	const longest = 900
	if len(text) > longest {
		return text[:longest] + "…"
	}
	return text
}
