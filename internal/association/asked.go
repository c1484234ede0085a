package association

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Annotations that the EKS API keeps on an object: of the requests that created
// it and updated it last. They survive an answer that was lost.
const (
	// CreateRequest is DIGEST-OF-TOKEN DIGEST-OF-PARAMETERS.
	CreateRequest = "rolecall.io/create-request"
	// UpdateRequest is the same, and TIME GENERATION: when the update was made, and
	// the generation it led to. The time counts as long as no other writer has
	// changed the spec.
	UpdateRequest = "rolecall.io/update-request"
)

// tokenLife is how long a client request token is remembered (spec podidentity
// §13.4).
const tokenLife = 24 * time.Hour

// asked is a request by its token and parameters.
type asked struct{ token, parameters string }

func newAsked(token string, parameters any) (asked, error) {
	text, err := json.Marshal(parameters) // keys of maps are sorted
	if err != nil {
		return asked{}, err
	}
	return asked{digest([]byte(token)), digest(text)}, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// update is what UpdateRequest says. The zero value means no update.
type update struct {
	asked
	time       time.Time
	generation int64
}

func (u *update) String() string {
	return fmt.Sprintf("%s %s %s %d", u.token, u.parameters, u.time.UTC().Format(time.RFC3339Nano), u.generation)
}

// parseUpdate reads what anybody with write access may have written: text of
// another form means no update.
func parseUpdate(text string) update {
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return update{}
	}
	at, err := time.Parse(time.RFC3339Nano, fields[2])
	if err != nil {
		return update{}
	}
	generation, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return update{}
	}
	return update{asked{fields[0], fields[1]}, at, generation}
}

// Modified is when the spec was last changed: by an update of the EKS API, to the
// millisecond; by anybody else as managedFields has it, to the second.
func Modified(a *v1alpha1.PodIdentityAssociation) time.Time {
	modified := a.CreationTimestamp.Time
	if last := parseUpdate(a.Annotations[UpdateRequest]); last.generation == a.Generation && last.time.After(modified) {
		return last.time
	}
	for i := range a.ManagedFields {
		entry := &a.ManagedFields[i]
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(modified) && ownsSpec(entry.FieldsV1) {
			modified = entry.Time.Time
		}
	}
	return modified
}

func ownsSpec(fields *metav1.FieldsV1) bool {
	var owned map[string]json.RawMessage
	return fields != nil && json.Unmarshal(fields.GetRawBytes(), &owned) == nil && owned["f:spec"] != nil
}

// usedEvery bounds how often a status is written because of use (spec podidentity
// §19.5), and contradictedEvery how often at least where it says that no session can be
// issued, so that it is looked at again.
const (
	usedEvery         = time.Hour
	contradictedEvery = time.Minute
)

// Touch notes a use at now, and reports whether the status changed and is to be
// written: at most once an hour, and never back. Where the status says that the
// association is not Ready, which the use contradicts, once a minute at first, and half
// as often each time that it stays so.
func Touch(status *v1alpha1.PodIdentityAssociationStatus, now time.Time) bool {
	if last := status.LastUsedTime; last != nil {
		wait := usedEvery
		if i := slices.IndexFunc(status.Conditions, func(c metav1.Condition) bool {
			return c.Type == "Ready" && c.Status == metav1.ConditionFalse
		}); i >= 0 {
			wait = min(max(last.Sub(status.Conditions[i].LastTransitionTime.Time), contradictedEvery), usedEvery)
		}
		if now.Sub(last.Time) < wait {
			return false
		}
	}
	status.LastUsedTime = &metav1.Time{Time: now}
	return true
}
