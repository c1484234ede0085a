package eksapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/fault"
)

// summary is what a list shows (spec podidentity §13.2).
type summary struct {
	Cluster        string `json:"clusterName"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	ARN            string `json:"associationArn"`
	ID             string `json:"associationId"`
}

// full is the whole object of spec podidentity §13.2.
type full struct {
	summary
	RoleARN     string            `json:"roleArn"`
	Tags        map[string]string `json:"tags"`
	Created     epoch             `json:"createdAt"`
	Modified    epoch             `json:"modifiedAt"`
	DisableTags bool              `json:"disableSessionTags"`
	TargetRole  string            `json:"targetRoleArn,omitempty"`
	ExternalID  string            `json:"externalId,omitempty"`
	Policy      string            `json:"policy,omitempty"`
}

// epoch are seconds since 1970 with milliseconds.
type epoch float64

func epochOf(t time.Time) epoch { return epoch(float64(t.UnixMilli()) / 1000) }

func (e *API) summary(a *v1alpha1.PodIdentityAssociation) summary {
	id := association.ID(a)
	return summary{e.Cluster.Name, a.Namespace, a.Spec.ServiceAccountName, e.Cluster.AssociationARN(id), id}
}

func (e *API) shown(a *v1alpha1.PodIdentityAssociation, q *request, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	q.Record.Of(e.Cluster, a, a.Spec.Mode)
	one := full{
		summary: e.summary(a),
		RoleARN: a.Spec.RoleARN,
		Tags:    a.Spec.Tags,
		Created: epochOf(
			a.CreationTimestamp.Time,
		),
		Modified:    epochOf(association.Modified(a)),
		DisableTags: association.TaggingOf(&a.Spec) == v1alpha1.NoTags,
		TargetRole:  a.Spec.TargetRoleARN,
		Policy:      a.Spec.SessionPolicy,
	}
	if one.Tags == nil {
		one.Tags = map[string]string{}
	}
	if a.Spec.TargetRoleARN != "" {
		one.ExternalID = a.Spec.ExternalID
		if one.ExternalID == "" {
			one.ExternalID = e.Cluster.ExternalID(a.Namespace, a.Spec.ServiceAccountName)
		}
	}
	return map[string]full{"association": one}, nil
}

// refused is the table of spec podidentity §13.3.
func refused(err error, op operation, cluster string) *refusal.Error {
	refused, ok := errors.AsType[*refusal.Error](err)
	if !ok {
		refused = refusal.New(codeOf(err), "%s", messageOf(err)).Because(err)
		if refused.Code == refusal.AccessDenied {
			refused.Status = http.StatusForbidden
		}
	}
	if op.tags {
		switch refused.Code { //nolint:exhaustive // the others are the same everywhere
		case refusal.InvalidParameter, refusal.InvalidRequest:
			refused.Code = refusal.BadRequest
		case refusal.NotFound:
			refused.Code = refusal.TagNotFound
		}
		return refused
	}
	switch refused.Code { //nolint:exhaustive // the others are not about a cluster
	case refusal.InvalidParameter, refusal.InvalidRequest, refusal.NotFound, refusal.InUse, refusal.LimitExceeded,
		refusal.Server:
		return refused.With("clusterName", cluster)
	}
	return refused
}

func codeOf(err error) refusal.Code {
	for reason, code := range map[error]refusal.Code{
		association.ErrInUse: refusal.InUse, association.ErrLimit: refusal.LimitExceeded,
		association.ErrNotFound: refusal.NotFound,
		association.ErrInvalid:  refusal.InvalidParameter, association.ErrTokenReused: refusal.InvalidParameter,
		association.ErrUnchanged: refusal.InvalidParameter, association.ErrPageToken: refusal.InvalidParameter,
	} {
		if errors.Is(err, reason) {
			return code
		}
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Usage:
		return refusal.InvalidParameter
	case fault.NotFound:
		return refusal.NotFound
	case fault.Denied:
		return refusal.AccessDenied
	case fault.Conflict:
		return refusal.InvalidRequest // it changed meanwhile; the client may try again
	case fault.Throttled:
		return refusal.Throttled
	default:
		return refusal.Server
	}
}

// messageOf keeps what a store or its server says away from clients, unless it
// is about the request.
func messageOf(err error) string {
	if said, ok := errors.AsType[*association.Refusal](err); ok {
		return said.Error()
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Usage, fault.NotFound, fault.Denied, fault.Conflict:
		return err.Error()
	default:
		return "The associations of the cluster cannot be read or written."
	}
}
