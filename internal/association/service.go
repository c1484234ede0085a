package association

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
)

// defaultLimit is EKS's quota of associations of a cluster (spec podidentity
// §13.2).
const defaultLimit = 5000

// attempts at a change while others are faster.
const attempts = 5

// Service are the operations of the EKS API over a store (spec podidentity §13):
// a second view of the same objects. It knows neither HTTP nor who asks.
//
// What a request itself caused is a fault with a *Refusal in its chain; other
// faults come from the store. What is returned belongs to the caller.
type Service struct {
	Store Store
	// Limit is how many associations there may be; 5,000 if zero. Creations at the
	// same time may pass it by their number.
	Limit int
	Now   func() time.Time
	// Known finds an object by id without reading all. It may be late, and nil.
	Known func() *Set
	// Permit is asked with what Create and Update are about to write, when it is
	// known to be valid: RoleGrants are ours for iam:PassRole (spec podidentity
	// §13.4). Its error ends the operation. Nil permits.
	Permit func(ctx context.Context, a *v1alpha1.PodIdentityAssociation) error
}

// CreateInput are the members of CreatePodIdentityAssociation.
type CreateInput struct {
	Namespace, ServiceAccount, RoleARN string
	TargetRoleARN, Policy              string
	DisableSessionTags                 bool
	Tags                               map[string]string
	// Token is the clientRequestToken; empty for none.
	Token string `json:"-"`
}

// UpdateInput are the members of UpdatePodIdentityAssociation: nil leaves as it
// is, an empty string removes a target role or policy.
type UpdateInput struct {
	ID                             string
	RoleARN, TargetRoleARN, Policy *string
	DisableSessionTags             *bool
	// Token is the clientRequestToken; empty for none.
	Token string `json:"-"`
}

// ListInput are the members of ListPodIdentityAssociations.
type ListInput struct {
	// Namespace and ServiceAccount filter if they are not empty, the latter only
	// with the former.
	Namespace, ServiceAccount string
	// MaxResults is 1 to 100; nil means 100.
	MaxResults *int
	NextToken  string
}

// Create makes an association. A repetition with the same token and parameters
// within 24 hours returns the one that is there.
func (s *Service) Create(ctx context.Context, in CreateInput) (*v1alpha1.PodIdentityAssociation, error) {
	wanted := in.object()
	if err := Validate(wanted, true); err != nil {
		return nil, err
	}
	if err := s.permit(ctx, wanted); err != nil {
		return nil, err
	}
	request, err := newAsked(in.Token, in)
	if err != nil {
		return nil, err
	}
	if in.Token != "" {
		wanted.Annotations = map[string]string{CreateRequest: request.token + " " + request.parameters}
	}
	all, err := s.Store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	if earlier, err := s.repeated(all, wanted, &in, request); earlier != nil || err != nil {
		return earlier, err
	}
	if limit := s.limit(); len(all) >= limit {
		return nil, refuse(fault.Conflict, ErrLimit, "The cluster has reached the limit of %d associations.", limit)
	}
	created, err := s.Store.Create(ctx, wanted)
	if fault.KindOf(err) != fault.Conflict {
		return created, err
	}
	// Somebody was faster; perhaps this same request, sent twice.
	there, getErr := s.Store.Get(ctx, wanted.Namespace, wanted.Name)
	if fault.KindOf(getErr) == fault.NotFound {
		return nil, err // and gone again; the client may try once more
	}
	if getErr != nil {
		return nil, getErr
	}
	earlier, err := s.repeated([]v1alpha1.PodIdentityAssociation{*there}, wanted, &in, request)
	if earlier == nil && err == nil {
		return nil, inUse(there)
	}
	return earlier, err
}

func (in *CreateInput) object() *v1alpha1.PodIdentityAssociation {
	a := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: in.Namespace, Name: in.ServiceAccount},
		Spec: v1alpha1.PodIdentityAssociationSpec{
			ServiceAccountName: in.ServiceAccount,
			RoleARN:            in.RoleARN,
			TargetRoleARN:      in.TargetRoleARN,
			DisableSessionTags: in.DisableSessionTags,
			SessionPolicy:      in.Policy,
			Tags:               maps.Clone(in.Tags),
		},
	}
	Default(a)
	return a
}

// repeated finds what the same request has made already, or why it cannot be
// made. Only the account's own object is returned: annotations can be copied.
func (s *Service) repeated(
	all []v1alpha1.PodIdentityAssociation, wanted *v1alpha1.PodIdentityAssociation, in *CreateInput, request asked,
) (*v1alpha1.PodIdentityAssociation, error) {
	var taken *v1alpha1.PodIdentityAssociation
	for i := range all {
		a := &all[i]
		own := a.Namespace == wanted.Namespace && a.Name == wanted.Name
		token, parameters, _ := strings.Cut(a.Annotations[CreateRequest], " ")
		if in.Token != "" && token == request.token && s.Now().Sub(a.CreationTimestamp.Time) < tokenLife {
			switch {
			case parameters != request.parameters:
				return nil, tokenReused()
			case own:
				return a, nil
			}
		}
		if own {
			taken = a
		}
	}
	if taken != nil {
		return nil, inUse(taken)
	}
	return nil, nil
}

func tokenReused() error {
	return refuse(fault.Invalid, ErrTokenReused,
		"The clientRequestToken was used within 24 hours with other parameters.").
		Hint("use a new token for another request")
}

func inUse(a *v1alpha1.PodIdentityAssociation) error {
	refusal := refuse(fault.Conflict, ErrInUse, "Association already exists: %s", ID(a))
	if IsPattern(a) {
		return refusal.Hint("its name is taken by the association of pattern %s", a.Spec.ServiceAccountName)
	}
	return refusal
}

func (s *Service) limit() int {
	if s.Limit == 0 {
		return defaultLimit
	}
	return s.Limit
}

func (s *Service) permit(ctx context.Context, a *v1alpha1.PodIdentityAssociation) error {
	if s.Permit == nil {
		return nil
	}
	return s.Permit(ctx, a)
}

// Describe returns the association of an id.
func (s *Service) Describe(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error) {
	if !idForm.MatchString(id) {
		return nil, refuse(fault.NotFound, ErrNotFound, "No association found for ID: %.40q", id).
			Hint("an id is a- and 17 lower-case letters and digits")
	}
	if s.Known != nil {
		if known := s.Known().ByID(id); known != nil {
			a, err := s.Store.Get(ctx, known.Namespace, known.Name)
			if err == nil && ID(a) == id {
				return a, nil
			}
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
		}
	}
	all, err := s.Store.List(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range all {
		if ID(&all[i]) == id {
			return &all[i], nil
		}
	}
	return nil, notFound(id)
}

func notFound(id string) error {
	return refuse(fault.NotFound, ErrNotFound, "No association found for ID: %s", id).
		Hint("list them with `rolecall association list`")
}

// List returns a page of associations in the order of their ids, and the token of
// the next page, which is empty for the last.
func (s *Service) List(
	ctx context.Context, in ListInput,
) (items []v1alpha1.PodIdentityAssociation, next string, err error) {
	size := maxPage
	switch {
	case in.MaxResults != nil && (*in.MaxResults < 1 || *in.MaxResults > maxPage):
		return nil, "", invalid("maxResults", "%d: want 1 to 100", *in.MaxResults)
	case in.MaxResults != nil:
		size = *in.MaxResults
	}
	if in.ServiceAccount != "" && in.Namespace == "" {
		return nil, "", invalid("serviceAccount", "A serviceAccount filter needs a namespace.")
	}
	after, err := in.after()
	if err != nil {
		return nil, "", err
	}
	all, err := s.Store.List(ctx, in.Namespace)
	if err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(all, func(a v1alpha1.PodIdentityAssociation) bool {
		return in.ServiceAccount != "" && a.Spec.ServiceAccountName != in.ServiceAccount
	})
	items, next = page(all, after, size, &in)
	return items, next, nil
}

// Update changes what is given. A repetition with the same token and parameters
// within 24 hours changes nothing and returns the object as it is.
func (s *Service) Update(ctx context.Context, in UpdateInput) (*v1alpha1.PodIdentityAssociation, error) {
	request, err := newAsked(in.Token, in)
	if err != nil {
		return nil, err
	}
	return s.change(ctx, in.ID, func(a *v1alpha1.PodIdentityAssociation) (bool, error) {
		last := parseUpdate(a.Annotations[UpdateRequest])
		if in.Token != "" && last.token == request.token && s.Now().Sub(last.time) < tokenLife {
			if last.parameters != request.parameters {
				return false, tokenReused()
			}
			return false, nil
		}
		if !in.applyTo(a) {
			return false, refuse(fault.Invalid, ErrUnchanged, "The update changes nothing.")
		}
		if err := s.checkUpdate(ctx, &in, a); err != nil {
			return false, err
		}
		if in.Token == "" {
			request.token = "-" // no token's digest; the time is wanted all the same
		}
		made := update{request, s.Now().Truncate(time.Millisecond), a.Generation + 1}
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, UpdateRequest, made.String())
		return true, nil
	})
}

// checkUpdate lets patterns, and policies beside tags, that came by another way
// stay.
func (s *Service) checkUpdate(ctx context.Context, in *UpdateInput, a *v1alpha1.PodIdentityAssociation) error {
	if err := Validate(a, false); err != nil {
		return err
	}
	if in.Policy != nil || in.DisableSessionTags != nil {
		if err := checkPolicyAlone(a); err != nil {
			return err
		}
	}
	return s.permit(ctx, a)
}

func (in *UpdateInput) applyTo(a *v1alpha1.PodIdentityAssociation) bool {
	spec := &a.Spec
	changed := set(&spec.RoleARN, in.RoleARN)
	changed = set(&spec.TargetRoleARN, in.TargetRoleARN) || changed
	changed = set(&spec.SessionPolicy, in.Policy) || changed
	if off := in.DisableSessionTags; off != nil && *off != (TaggingOf(spec) == v1alpha1.NoTags) {
		// The EKS API says it in one field.
		spec.DisableSessionTags, changed = *off, true
		if *off || spec.SessionTagging == v1alpha1.NoTags {
			spec.SessionTagging = ""
		}
	}
	if spec.TargetRoleARN == "" && spec.Mode != v1alpha1.BrokerRole {
		spec.ExternalID = "" // it would be sent to nobody
	}
	return changed
}

func set[T comparable](to, from *T) bool {
	if from == nil || *from == *to {
		return false
	}
	*to = *from
	return true
}

// change applies something to the newest object until nobody was faster.
// changed is false if there is nothing to write.
func (s *Service) change(
	ctx context.Context, id string, apply func(*v1alpha1.PodIdentityAssociation) (changed bool, err error),
) (*v1alpha1.PodIdentityAssociation, error) {
	var conflict error
	for range attempts {
		a, err := s.Describe(ctx, id)
		if err != nil {
			return nil, err
		}
		changed, err := apply(a)
		if err != nil || !changed {
			return a, err
		}
		written, err := s.Store.Update(ctx, a)
		switch fault.KindOf(err) {
		case fault.Conflict: // read again, apply again
			conflict = err
		case fault.NotFound:
			return nil, notFound(id)
		default:
			return written, err
		}
	}
	return nil, conflict
}

// Delete removes an association and returns what it was.
func (s *Service) Delete(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error) {
	a, err := s.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	err = s.Store.Delete(ctx, a.Namespace, a.Name, string(a.UID))
	switch kind := fault.KindOf(err); {
	case err == nil:
		return a, nil
	case kind == fault.NotFound || kind == fault.Conflict: // gone, or another one by now
		return nil, notFound(id)
	}
	return nil, err
}
