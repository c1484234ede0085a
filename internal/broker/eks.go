package broker

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/refusal"
)

// EKS serves the operations of the EKS API on associations (spec podidentity
// §13), for those whom the cluster's RBAC lets do the same with the objects.
type EKS struct {
	Cluster *association.Cluster
	Service *association.Service
	Users   *Users
	Audit   *Audit
	Log     *slog.Logger
	Now     func() time.Time

	metrics *metrics
	limits  *limits
}

// NewEKS shares limits and metrics with the broker it is served beside.
func (b *Broker) NewEKS(service *association.Service, users *Users) *EKS {
	return &EKS{Cluster: b.Cluster, Service: service, Users: users, Audit: b.Audit, Log: b.Log, Now: b.Now, metrics: b.metrics, limits: b.limits}
}

// eksDeadline is for operations that read all associations of a large cluster.
const eksDeadline = 15 * time.Second

// operation is one of the API's.
type operation struct {
	name string
	// changes have an audit record when they are done; refusals always have.
	changes bool
	// tags have error codes of their own.
	tags bool
	do   func(e *EKS, ctx context.Context, q *eksRequest) (any, error)
}

// eksRequest is one request, by somebody known.
type eksRequest struct {
	http   *http.Request
	body   []byte
	user   *User
	record *Record
}

// Routes adds the API's paths.
func (e *EKS) Routes(mux *http.ServeMux) {
	const associations = "/clusters/{name}/pod-identity-associations"
	for pattern, op := range map[string]operation{
		"POST " + associations:                        {name: "CreatePodIdentityAssociation", changes: true, do: (*EKS).create},
		"GET " + associations:                         {name: "ListPodIdentityAssociations", do: (*EKS).list},
		"GET " + associations + "/{associationId}":    {name: "DescribePodIdentityAssociation", do: (*EKS).describe},
		"POST " + associations + "/{associationId}":   {name: "UpdatePodIdentityAssociation", changes: true, do: (*EKS).update},
		"DELETE " + associations + "/{associationId}": {name: "DeletePodIdentityAssociation", changes: true, do: (*EKS).delete},
		"POST /tags/{resourceArn}":                    {name: "TagResource", changes: true, tags: true, do: (*EKS).tag},
		"DELETE /tags/{resourceArn}":                  {name: "UntagResource", changes: true, tags: true, do: (*EKS).untag},
		"GET /tags/{resourceArn}":                     {name: "ListTagsForResource", tags: true, do: (*EKS).listTags},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, op) })
	}
}

func (e *EKS) serve(w http.ResponseWriter, r *http.Request, op operation) {
	began := e.Now()
	record := &Record{Time: began.UTC(), Event: op.name, RequestID: uuid.NewString(), Cluster: e.Cluster.Name, Source: source(r)}
	ctx, cancel := context.WithTimeout(r.Context(), eksDeadline)
	defer cancel()
	answer, err := e.answer(ctx, w, r, op, record)
	record.Milliseconds = float64(e.Now().Sub(began).Microseconds()) / 1000
	if err != nil {
		refused := eksRefusal(err, op, e.Cluster.Name)
		record.Decision, record.Code, record.Reason = "refused", string(refused.Code), refused.Message
		e.metrics.eks.WithLabelValues(op.name, record.Code).Inc()
		e.Audit.write(record)
		if refused.HTTPStatus() >= http.StatusInternalServerError {
			e.Log.Error("EKS API failed", "requestID", record.RequestID, "operation", op.name, "error", err)
		}
		refusal.Write(w, record.RequestID, refused)
		return
	}
	e.metrics.eks.WithLabelValues(op.name, "ok").Inc()
	if op.changes {
		record.Decision = "done"
		e.Audit.write(record)
	}
	writeJSON(w, record.RequestID, answer)
}

func (e *EKS) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, op operation, record *Record) (any, error) {
	from := source(r)
	if !e.limits.mayFail(from, e.Now()) {
		e.metrics.limited.WithLabelValues("source").Inc()
		return nil, refusal.New(refusal.Throttled, "Too many requests of this address were refused.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refusal.New(refusal.InvalidRequest, "The body is too large, or was cut off.").Because(err)
	}
	user, err := e.Users.authenticate(ctx, r, body)
	if err != nil {
		if refusal.Of(err).Code != refusal.Unavailable {
			e.limits.failed(from, e.Now())
		}
		return nil, err
	}
	record.Caller = user.Name
	if name := r.PathValue("name"); name != "" && name != e.Cluster.Name {
		return nil, refusal.New(refusal.NotFound, "No cluster found for name: %s.", name)
	}
	return op.do(e, ctx, &eksRequest{r, body, user, record})
}

// may asks the cluster's RBAC.
func (e *EKS) may(ctx context.Context, q *eksRequest, verb, namespace, name string) error {
	return e.Users.may(ctx, q.user, verb, namespace, name)
}

// found is an association that the caller may do something with.
func (e *EKS) found(ctx context.Context, q *eksRequest, verb, id string) (*v1alpha1.PodIdentityAssociation, error) {
	one, err := e.Service.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	q.record.of(e.Cluster, one, one.Spec.Mode)
	q.record.Namespace, q.record.ServiceAccount = one.Namespace, one.Spec.ServiceAccountName
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

func (e *EKS) create(ctx context.Context, q *eksRequest) (any, error) {
	input, err := decode[createBody](q)
	if err != nil {
		return nil, err
	}
	q.record.Namespace, q.record.ServiceAccount, q.record.Role, q.record.TargetRole = input.Namespace, input.ServiceAccount, input.RoleARN, value(input.TargetRoleARN)
	if err := e.may(ctx, q, "create", input.Namespace, ""); err != nil {
		return nil, err
	}
	made, err := e.Service.Create(ctx, association.CreateInput{
		Namespace: input.Namespace, ServiceAccount: input.ServiceAccount, RoleARN: input.RoleARN, TargetRoleARN: value(input.TargetRoleARN),
		Policy: value(input.Policy), DisableSessionTags: value(input.DisableTags), Tags: input.Tags, Token: input.Token,
	})
	return e.shown(made, q, err)
}

func (e *EKS) describe(ctx context.Context, q *eksRequest) (any, error) {
	one, err := e.found(ctx, q, "get", q.http.PathValue("associationId"))
	return e.shown(one, q, err)
}

type updateBody struct {
	RoleARN       *string `json:"roleArn"`
	TargetRoleARN *string `json:"targetRoleArn"`
	DisableTags   *bool   `json:"disableSessionTags"`
	Policy        *string `json:"policy"`
	Token         string  `json:"clientRequestToken"`
}

func (e *EKS) update(ctx context.Context, q *eksRequest) (any, error) {
	input, err := decode[updateBody](q)
	if err != nil {
		return nil, err
	}
	id := q.http.PathValue("associationId")
	if _, err := e.found(ctx, q, "update", id); err != nil {
		return nil, err
	}
	changed, err := e.Service.Update(ctx, association.UpdateInput{
		ID: id, RoleARN: input.RoleARN, TargetRoleARN: input.TargetRoleARN, Policy: input.Policy, DisableSessionTags: input.DisableTags, Token: input.Token,
	})
	return e.shown(changed, q, err)
}

func (e *EKS) delete(ctx context.Context, q *eksRequest) (any, error) {
	id := q.http.PathValue("associationId")
	if _, err := e.found(ctx, q, "delete", id); err != nil {
		return nil, err
	}
	gone, err := e.Service.Delete(ctx, id)
	return e.shown(gone, q, err)
}

func (e *EKS) list(ctx context.Context, q *eksRequest) (any, error) {
	asked := q.http.URL.Query()
	input := association.ListInput{Namespace: asked.Get("namespace"), ServiceAccount: asked.Get("serviceAccount"), NextToken: asked.Get("nextToken")}
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
func (e *EKS) id(resource string) (string, error) {
	prefix := e.Cluster.AssociationARN("")
	id, ok := strings.CutPrefix(resource, prefix)
	if !ok {
		return "", refusal.New(refusal.TagNotFound, "No association of this cluster has the ARN %.200q.", resource)
	}
	return id, nil
}

func (e *EKS) tag(ctx context.Context, q *eksRequest) (any, error) {
	input, err := decode[struct {
		Tags map[string]string `json:"tags"`
	}](q)
	if err != nil {
		return nil, err
	}
	return e.tagging(ctx, q, "update", func(id string) (any, error) { return struct{}{}, e.Service.Tag(ctx, id, input.Tags) })
}

func (e *EKS) untag(ctx context.Context, q *eksRequest) (any, error) {
	return e.tagging(ctx, q, "update", func(id string) (any, error) {
		return struct{}{}, e.Service.Untag(ctx, id, q.http.URL.Query()["tagKeys"])
	})
}

func (e *EKS) listTags(ctx context.Context, q *eksRequest) (any, error) {
	return e.tagging(ctx, q, "get", func(id string) (any, error) {
		tags, err := e.Service.Tags(ctx, id)
		return map[string]any{"tags": tags}, err
	})
}

func (e *EKS) tagging(ctx context.Context, q *eksRequest, verb string, do func(id string) (any, error)) (any, error) {
	id, err := e.id(q.http.PathValue("resourceArn"))
	if err != nil {
		return nil, err
	}
	if _, err := e.found(ctx, q, verb, id); err != nil {
		return nil, err
	}
	return do(id)
}

// decode reads a body; one that is empty has no members.
func decode[T any](q *eksRequest) (T, error) {
	var into T
	if len(q.body) == 0 {
		return into, nil
	}
	if err := json.Unmarshal(q.body, &into); err != nil {
		return into, refusal.New(refusal.InvalidParameter, "The body is no JSON of this operation.").Because(err)
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
