package eks

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func associationOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreatePodIdentityAssociation":   {Target: newAssociationTarget, Do: createAssociation},
		"DescribePodIdentityAssociation": {Target: associationTarget, Do: describeAssociation},
		"ListPodIdentityAssociations":    {Target: clusterTarget, Do: listAssociations},
		"UpdatePodIdentityAssociation":   {Target: associationTarget, Do: updateAssociation},
		"DeletePodIdentityAssociation":   {Target: associationTarget, Do: deleteAssociation},
	}
}

// PodPrincipal is the service that assumes roles for pods.
const PodPrincipal = "pods.eks.amazonaws.com"

const (
	maxAssociations = 5000 // of one cluster
	maxPolicy       = 2048 // characters of a session policy
)

type associationInput struct {
	Namespace      string            `json:"namespace"`
	ServiceAccount string            `json:"serviceAccount"`
	RoleARN        *string           `json:"roleArn"`
	TargetRoleARN  *string           `json:"targetRoleArn"`
	DisableTags    *bool             `json:"disableSessionTags"`
	Policy         *string           `json:"policy"`
	Tags           map[string]string `json:"tags"`
	Token          string            `json:"clientRequestToken"`
}

func newAssociationTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[associationInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target, err := clusterTarget(q)
	tagged(&target, input.Tags)
	return target, err
}

func associationTarget(q *service.Call) (service.Target, error) {
	name, id := q.Segments["name"], q.Segments["associationId"]
	target := service.Target{ARN: AssociationARN(q.Account, q.Region, name, id)}
	err := q.Account.View(func(state account.State) error {
		one, err := In(state, q.Region, name).Association(id)
		if err == nil {
			target.Tags = one.Tags
		}
		return unlessNotFound(err)
	})
	return target, err
}

var (
	namespaceName      = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	serviceAccountName = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// CheckAssociation says what is wrong with an association by itself.
func CheckAssociation(one *Association) error {
	switch {
	case !namespaceName.MatchString(one.Namespace):
		return invalidParameter("The namespace %s is invalid", one.Namespace).
			Because("want a label of at most 63 lower-case letters, digits and hyphens; patterns are not supported")
	case len(one.ServiceAccount) > 253 || !serviceAccountName.MatchString(one.ServiceAccount):
		return invalidParameter("The service account %s is invalid", one.ServiceAccount).
			Because("want a name of at most 253 lower-case letters, digits, hyphens and dots; patterns are not supported")
	case one.TargetRoleARN != "" && !isRole(one.TargetRoleARN):
		return invalidParameter("Invalid target role ARN: %s", one.TargetRoleARN)
	case one.Policy == "":
		return nil
	case utf8.RuneCountInString(one.Policy) > maxPolicy:
		return invalidParameter("The policy is longer than %d characters.", maxPolicy)
	case !one.DisableTags:
		return invalidParameter("A policy can be set only if session tags are disabled.").
			Because("policy and tags together exceed what a session may carry; set disableSessionTags")
	}
	if _, err := policy.Parse(policy.Session, "policy", []byte(one.Policy)); err != nil {
		return invalidParameter("The policy is not valid.").Because("%s", err)
	}
	return nil
}

func isRole(text string) bool {
	_, err := account.ParseRole(text)
	return err == nil && len(text) <= 2048 && !strings.ContainsAny(text, "*?")
}

// ExternalID is what EKS passes when it assumes an association's target role.
func ExternalID(a *account.Account, c *Cluster, one *Association) string {
	return strings.Join([]string{c.Region, a.ID, c.Name, one.Namespace, one.ServiceAccount}, "/")
}

func createAssociation(q *service.Call) (any, error) {
	input, err := rest.Decode[associationInput](q)
	if err != nil {
		return nil, err
	}
	var v rest.Violations
	v.Present("namespace", input.Namespace != "")
	v.Present("serviceAccount", input.ServiceAccount != "")
	v.Present("roleArn", value(input.RoleARN) != "")
	if err := check(v); err != nil {
		return nil, err
	}
	one := &Association{
		ID:             NewAssociationID(),
		Namespace:      input.Namespace,
		ServiceAccount: input.ServiceAccount,
		RoleARN:        *input.RoleARN,
		TargetRoleARN:  value(input.TargetRoleARN),
		Policy:         value(input.Policy),
		DisableTags:    value(input.DisableTags),
		Created:        q.Time.UTC(),
		Modified:       q.Time.UTC(),
		Asked:          Asked{Token: input.Token, Digest: rest.Digest(q)},
	}
	if one.Tags, err = readTags(input.Tags); err != nil {
		return nil, err
	}
	if err := CheckAssociation(one); err != nil {
		return nil, err
	}
	if err := passRole(q, one.RoleARN, PodPrincipal); err != nil {
		return nil, err
	}
	return result(q, func(state account.State, cluster *Cluster, in InCluster) (*Association, error) {
		if earlier, err := in.AssociationAsked(input.Token); err == nil {
			again, err := retried(earlier.Asked, one.Asked, earlier.Created, q)
			if again || err != nil {
				return earlier, err
			}
		}
		if err := CheckPodRole(state, one.RoleARN); err != nil {
			return nil, err
		}
		earlier, err := in.AssociationOf(one.Namespace, one.ServiceAccount)
		if err == nil {
			return nil, inUse("Association already exists: %s", earlier.ID).With("clusterName", cluster.Name)
		}
		if err := unlessNotFound(err); err != nil {
			return nil, err
		}
		if in.Count() >= maxAssociations {
			return nil, wire.Errorf(
				http.StatusBadRequest, "ResourceLimitExceededException",
				"The cluster has reached the limit of %d associations.", maxAssociations,
			).With("clusterName", cluster.Name)
		}
		return one, in.PutAssociation(one)
	})
}

// result does something in the cluster and shows the association it was about.
func result(q *service.Call, do func(account.State, *Cluster, InCluster) (*Association, error)) (shown any, err error) {
	err = within(q, func(state account.State, cluster *Cluster, in InCluster) error {
		one, err := do(state, cluster, in)
		if err == nil {
			shown = map[string]any{"association": show(q.Account, cluster, one)}
		}
		return err
	})
	return shown, err
}

func show(a *account.Account, c *Cluster, one *Association) any {
	shown := map[string]any{
		"clusterName": c.Name, "namespace": one.Namespace, "serviceAccount": one.ServiceAccount, "roleArn": one.RoleARN,
		"associationArn":     AssociationARN(a, c.Region, c.Name, one.ID),
		"associationId":      one.ID,
		"tags":               tagMap(one.Tags),
		"createdAt":          wire.MilliTime(one.Created),
		"modifiedAt":         wire.MilliTime(one.Modified),
		"disableSessionTags": one.DisableTags,
	}
	if one.TargetRoleARN != "" {
		shown["targetRoleArn"], shown["externalId"] = one.TargetRoleARN, ExternalID(a, c, one)
	}
	if one.Policy != "" {
		shown["policy"] = one.Policy
	}
	return shown
}

func findAssociation(cluster *Cluster, in InCluster, id string) (*Association, error) {
	one, err := in.Association(id)
	if errors.Is(err, account.ErrNotFound) {
		return nil, notFound("No association found for ID: %s", id).With("clusterName", cluster.Name)
	}
	return one, err
}

func describeAssociation(q *service.Call) (shown any, err error) {
	err = view(q, func(cluster *Cluster, in InCluster) error {
		one, err := findAssociation(cluster, in, q.Segments["associationId"])
		if err == nil {
			shown = map[string]any{"association": show(q.Account, cluster, one)}
		}
		return err
	})
	return shown, err
}

type summary struct {
	Cluster        string `json:"clusterName"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	ARN            string `json:"associationArn"`
	ID             string `json:"associationId"`
}

func listAssociations(q *service.Call) (any, error) {
	asked := q.HTTP.URL.Query()
	namespace, serviceAccount := asked.Get("namespace"), asked.Get("serviceAccount")
	if serviceAccount != "" && namespace == "" {
		return nil, invalidParameter("A serviceAccount filter needs a namespace.").
			With("clusterName", q.Segments["name"])
	}
	list := []summary{}
	err := view(q, func(cluster *Cluster, in InCluster) error {
		all, err := in.Associations()
		for _, one := range all {
			if (namespace == "" || one.Namespace == namespace) &&
				(serviceAccount == "" || one.ServiceAccount == serviceAccount) {
				list = append(list, summary{
					Cluster:        cluster.Name,
					Namespace:      one.Namespace,
					ServiceAccount: one.ServiceAccount,
					ARN:            AssociationARN(q.Account, cluster.Region, cluster.Name, one.ID),
					ID:             one.ID,
				})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return page(q, "associations", list, func(s summary) string { return s.ID }, nil)
}

func updateAssociation(q *service.Call) (any, error) {
	input, err := rest.Decode[associationInput](q)
	if err != nil {
		return nil, err
	}
	if input.RoleARN != nil {
		if err := passRole(q, *input.RoleARN, PodPrincipal); err != nil {
			return nil, err
		}
	}
	now := Asked{Token: input.Token, Digest: rest.Digest(q)}
	return result(q, func(state account.State, cluster *Cluster, in InCluster) (*Association, error) {
		one, err := findAssociation(cluster, in, q.Segments["associationId"])
		if err != nil {
			return nil, err
		}
		if again, err := retried(one.Updated, now, one.Modified, q); again || err != nil {
			return one, err
		}
		if !input.applyTo(one) {
			return nil, invalidParameter("The update changes nothing.").With("clusterName", cluster.Name)
		}
		if input.RoleARN != nil {
			if err := CheckPodRole(state, one.RoleARN); err != nil {
				return nil, err
			}
		}
		if err := CheckAssociation(one); err != nil {
			return nil, err
		}
		one.Modified, one.Updated = q.Time.UTC(), now
		return one, in.PutAssociation(one)
	})
}

// applyTo changes what is given, and reports whether that changed anything. An
// empty text removes a target role or a policy.
func (i *associationInput) applyTo(one *Association) bool {
	changed := set(&one.RoleARN, i.RoleARN)
	changed = set(&one.TargetRoleARN, i.TargetRoleARN) || changed
	changed = set(&one.Policy, i.Policy) || changed
	return set(&one.DisableTags, i.DisableTags) || changed
}

func set[T comparable](to, from *T) bool {
	if from == nil || *from == *to {
		return false
	}
	*to = *from
	return true
}

func deleteAssociation(q *service.Call) (any, error) {
	return result(q, func(_ account.State, cluster *Cluster, in InCluster) (*Association, error) {
		one, err := findAssociation(cluster, in, q.Segments["associationId"])
		if err != nil {
			return nil, err
		}
		return one, in.deleteAssociation(one)
	})
}
