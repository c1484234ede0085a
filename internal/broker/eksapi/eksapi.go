// Package eksapi serves the operations of the EKS API on associations, so that the
// AWS CLI and Terraform work with them where there is no EKS (spec podidentity §13).
//
// The cluster's RBAC says who may do what, as for the objects themselves; package
// association says what an operation does to an association.
package eksapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
)

// API serves the operations to those whom the cluster's RBAC lets do the same with
// the objects.
type API struct {
	*door.Door
	Service *association.Service
	Users   *Users

	requests *prometheus.CounterVec // by operation and code
}

// New makes the API behind a door, the broker's.
func New(d *door.Door, service *association.Service, users *Users) *API {
	e := &API{Door: d, Service: service, Users: users, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rolecall_broker_eks_requests_total",
		Help: "Requests of the EKS API, by operation and code; ok if it was done.",
	}, []string{"operation", "code"})}
	d.Metrics.MustRegister(e.requests)
	return e
}

// deadline is for operations that read all associations of a large cluster.
const deadline = 15 * time.Second

// request is one by somebody known.
type request = door.Request[*User]

// operation is one of the API's.
type operation struct {
	name string
	// changes have an audit record when they are done; refusals always have.
	changes bool
	// tags have error codes of their own.
	tags bool
	do   func(e *API, ctx context.Context, q *request) (any, error)
}

// Routes adds the API's paths.
func (e *API) Routes(mux *http.ServeMux) {
	const associations = "/clusters/{name}/pod-identity-associations"
	for pattern, op := range map[string]operation{
		"POST " + associations: {
			name:    "CreatePodIdentityAssociation",
			changes: true,
			do:      (*API).create,
		},
		"GET " + associations:                      {name: "ListPodIdentityAssociations", do: (*API).list},
		"GET " + associations + "/{associationId}": {name: "DescribePodIdentityAssociation", do: (*API).describe},
		"POST " + associations + "/{associationId}": {
			name:    "UpdatePodIdentityAssociation",
			changes: true,
			do:      (*API).update,
		},
		"DELETE " + associations + "/{associationId}": {
			name:    "DeletePodIdentityAssociation",
			changes: true,
			do:      (*API).delete,
		},
		"POST /tags/{resourceArn}": {name: "TagResource", changes: true, tags: true, do: (*API).tag},
		"DELETE /tags/{resourceArn}": {
			name:    "UntagResource",
			changes: true,
			tags:    true,
			do:      (*API).untag,
		},
		"GET /tags/{resourceArn}": {name: "ListTagsForResource", tags: true, do: (*API).listTags},
	} {
		mux.HandleFunc(pattern, e.handler(op))
	}
}

// handler lets an operation's callers in as all others.
func (e *API) handler(op operation) http.HandlerFunc {
	recorded := door.Refusals
	if op.changes {
		recorded = door.Everything
	}
	return door.Handler(e.Door, door.Operation[*User]{
		Name: op.name, Deadline: deadline, BadBody: refusal.InvalidRequest, Recorded: recorded, Decision: "done",
		Authenticate: e.Users.authenticate,
		Note: func(record *door.Record, user *User) {
			if user != nil {
				record.Caller = user.Name
			}
		},
		Do: func(ctx context.Context, q *request) (any, error) {
			if name := q.HTTP.PathValue("name"); name != "" && name != e.Cluster.Name {
				return nil, refusal.New(refusal.NotFound, "No cluster found for name: %s.", name)
			}
			return op.do(e, ctx, q)
		},
		Refusal: func(err error) *refusal.Error { return refused(err, op, e.Cluster.Name) },
		Ended: func(q *request, refused *refusal.Error) {
			code := "ok"
			if refused != nil {
				code = string(refused.Code)
			}
			e.requests.WithLabelValues(op.name, code).Inc()
			if refused != nil && refused.HTTPStatus() >= http.StatusInternalServerError {
				e.Log.Error("EKS API failed", "requestID", q.Record.RequestID, "operation", op.name, "error", refused)
			}
		},
	})
}

// may asks the cluster's RBAC.
func (e *API) may(ctx context.Context, q *request, verb, namespace, name string) error {
	return e.Users.may(ctx, q.Who, verb, namespace, name)
}

// found is an association that the caller may do something with.
func (e *API) found(ctx context.Context, q *request, verb, id string) (*v1alpha1.PodIdentityAssociation, error) {
	one, err := e.Service.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	q.Record.Of(e.Cluster, one, one.Spec.Mode)
	q.Record.Namespace, q.Record.ServiceAccount = one.Namespace, one.Spec.ServiceAccountName
	return one, e.may(ctx, q, verb, one.Namespace, one.Name)
}

type createBody struct {
	Namespace      string            `json:"namespace"`
	ServiceAccount string            `json:"serviceAccount"`
	RoleARN        string            `json:"roleArn"`
	TargetRoleARN  *string           `json:"targetRoleArn"`
	DisableTags    *bool             `json:"disableSessionTags"`
	Policy         *string           `json:"policy"`
	Tags           map[string]string `json:"tags"`
	Token          string            `json:"clientRequestToken"`
}

func (e *API) create(ctx context.Context, q *request) (any, error) {
	input, err := decode[createBody](q)
	if err != nil {
		return nil, err
	}
	q.Record.Namespace, q.Record.ServiceAccount = input.Namespace, input.ServiceAccount
	q.Record.Role, q.Record.TargetRole = input.RoleARN, value(input.TargetRoleARN)
	if err := e.may(ctx, q, "create", input.Namespace, ""); err != nil {
		return nil, err
	}
	made, err := e.Service.Create(ctx, association.CreateInput{
		Namespace:          input.Namespace,
		ServiceAccount:     input.ServiceAccount,
		RoleARN:            input.RoleARN,
		TargetRoleARN:      value(input.TargetRoleARN),
		Policy:             value(input.Policy),
		DisableSessionTags: value(input.DisableTags),
		Tags:               input.Tags,
		Token:              input.Token,
	})
	return e.shown(made, q, err)
}

func (e *API) describe(ctx context.Context, q *request) (any, error) {
	one, err := e.found(ctx, q, "get", q.HTTP.PathValue("associationId"))
	return e.shown(one, q, err)
}

type updateBody struct {
	RoleARN       *string `json:"roleArn"`
	TargetRoleARN *string `json:"targetRoleArn"`
	DisableTags   *bool   `json:"disableSessionTags"`
	Policy        *string `json:"policy"`
	Token         string  `json:"clientRequestToken"`
}

func (e *API) update(ctx context.Context, q *request) (any, error) {
	input, err := decode[updateBody](q)
	if err != nil {
		return nil, err
	}
	id := q.HTTP.PathValue("associationId")
	if _, err := e.found(ctx, q, "update", id); err != nil {
		return nil, err
	}
	changed, err := e.Service.Update(ctx, association.UpdateInput{
		ID:                 id,
		RoleARN:            input.RoleARN,
		TargetRoleARN:      input.TargetRoleARN,
		Policy:             input.Policy,
		DisableSessionTags: input.DisableTags,
		Token:              input.Token,
	})
	return e.shown(changed, q, err)
}

func (e *API) delete(ctx context.Context, q *request) (any, error) {
	id := q.HTTP.PathValue("associationId")
	if _, err := e.found(ctx, q, "delete", id); err != nil {
		return nil, err
	}
	gone, err := e.Service.Delete(ctx, id)
	return e.shown(gone, q, err)
}

func (e *API) list(ctx context.Context, q *request) (any, error) {
	asked := q.HTTP.URL.Query()
	input := association.ListInput{
		Namespace:      asked.Get("namespace"),
		ServiceAccount: asked.Get("serviceAccount"),
		NextToken:      asked.Get("nextToken"),
	}
	if text := asked.Get("maxResults"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			return nil, refusal.New(refusal.InvalidParameter, "maxResults: want a number of 1 to 100.")
		}
		input.MaxResults = &number
	}
	if err := e.may(ctx, q, "list", input.Namespace, ""); err != nil {
		return nil, err
	}
	items, next, err := e.Service.List(ctx, input)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Associations []summary `json:"associations"`
		Next         string    `json:"nextToken,omitempty"`
	}{[]summary{}, next}
	for i := range items {
		answer.Associations = append(answer.Associations, e.summary(&items[i]))
	}
	return answer, nil
}

// id reads the ARN of an association of this cluster.
func (e *API) id(resource string) (string, error) {
	prefix := e.Cluster.AssociationARN("")
	id, ok := strings.CutPrefix(resource, prefix)
	if !ok {
		return "", refusal.New(refusal.TagNotFound, "No association of this cluster has the ARN %.200q.", resource)
	}
	return id, nil
}

func (e *API) tag(ctx context.Context, q *request) (any, error) {
	input, err := decode[struct {
		Tags map[string]string `json:"tags"`
	}](q)
	if err != nil {
		return nil, err
	}
	return e.tagging(
		ctx, q, "update", func(id string) (any, error) { return struct{}{}, e.Service.Tag(ctx, id, input.Tags) },
	)
}

func (e *API) untag(ctx context.Context, q *request) (any, error) {
	return e.tagging(ctx, q, "update", func(id string) (any, error) {
		return struct{}{}, e.Service.Untag(ctx, id, q.HTTP.URL.Query()["tagKeys"])
	})
}

func (e *API) listTags(ctx context.Context, q *request) (any, error) {
	return e.tagging(ctx, q, "get", func(id string) (any, error) {
		tags, err := e.Service.Tags(ctx, id)
		return map[string]any{"tags": tags}, err
	})
}

func (e *API) tagging(ctx context.Context, q *request, verb string, do func(id string) (any, error)) (any, error) {
	id, err := e.id(q.HTTP.PathValue("resourceArn"))
	if err != nil {
		return nil, err
	}
	if _, err := e.found(ctx, q, verb, id); err != nil {
		return nil, err
	}
	return do(id)
}

// decode reads a body; one that is empty has no members.
func decode[T any](q *request) (T, error) {
	var into T
	if len(q.Body) == 0 {
		return into, nil
	}
	if err := json.Unmarshal(q.Body, &into); err != nil {
		return into, refusal.New(
			refusal.InvalidParameter, "The body is not valid JSON for this operation.",
		).Because(err)
	}
	return into, nil
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
