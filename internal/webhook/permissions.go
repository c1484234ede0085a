package webhook

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/agreement"
)

// Part is something that a webhook may be told to do, and that needs permissions.
type Part string

// The parts, and what every webhook needs.
const (
	PartAlways       Part = ""
	PartEvents       Part = "events"
	PartAssociations Part = "associations"
	PartGrants       Part = "grants"
	PartConfigMap    Part = "config map"
	PartPlane        Part = "plane"
	PartAuthority    Part = "authority"
	PartRegistration Part = "registration"
	PartValidation   Part = "validation"
)

// Duties are what a webhook does, and with which objects.
type Duties struct {
	Parts map[Part]bool
	// Namespace has the webhook's ConfigMap and Secret, PlaneNamespace the object that
	// roles agree in.
	Namespace, PlaneNamespace string
	// Secret keeps the certificates, Registration is both webhook configurations' name.
	Secret, Registration string
}

// Permission is one RBAC rule that a server needs for a part.
type Permission struct {
	Group, Resource string
	// URL is of what is no resource; then only the verbs count beside it.
	URL string
	// Name is the one object; empty for all.
	Name string
	// Namespace is the one namespace; empty for all, and for what has none.
	Namespace string
	Verbs     []string
	For       Part
	Needed    bool
}

// Permissions are all that any part needs. The list of them is the only one:
// docs/reference/webhook-flags.md shows it, a test grants no more than that, and a webhook
// that lacks some says which.
func (d *Duties) Permissions() []Permission {
	const rolecall, registration = "rolecall.io", "admissionregistration.k8s.io"
	all := []Permission{
		{Resource: "serviceaccounts", Verbs: []string{"get", "list", "watch"}},
		{Group: "events.k8s.io", Resource: "events", Verbs: []string{"create", "patch"}, For: PartEvents},
		{
			Group:    rolecall,
			Resource: "podidentityassociations",
			Verbs:    []string{"get", "list", "watch"},
			For:      PartAssociations,
		},
		{Group: rolecall, Resource: "rolegrants", Verbs: []string{"list", "watch"}, For: PartGrants},
		{
			Resource:  "configmaps",
			Name:      ConfigMapName,
			Namespace: d.Namespace,
			Verbs:     []string{"list", "watch"},
			For:       PartConfigMap,
		},
		{Resource: "configmaps", Namespace: d.PlaneNamespace, Verbs: []string{"create"}, For: PartPlane},
		{
			Resource:  "configmaps",
			Name:      agreement.Name,
			Namespace: d.PlaneNamespace,
			Verbs:     []string{"get", "update"},
			For:       PartPlane,
		},
		{Resource: "secrets", Namespace: d.Namespace, Verbs: []string{"create"}, For: PartAuthority},
		{
			Resource:  "secrets",
			Name:      d.Secret,
			Namespace: d.Namespace,
			Verbs:     []string{"get", "list", "watch", "update"},
			For:       PartAuthority,
		},
		{
			Group:    registration,
			Resource: "mutatingwebhookconfigurations",
			Verbs:    []string{"create"},
			For:      PartRegistration,
		},
		{
			Group:    registration,
			Resource: "mutatingwebhookconfigurations",
			Name:     d.Registration,
			Verbs:    []string{"get", "list", "watch", "update"},
			For:      PartRegistration,
		},
		{
			Group:    registration,
			Resource: "validatingwebhookconfigurations",
			Verbs:    []string{"create"},
			For:      PartValidation,
		},
		{
			Group:    registration,
			Resource: "validatingwebhookconfigurations",
			Name:     d.Registration,
			Verbs:    []string{"get", "list", "watch", "update"},
			For:      PartValidation,
		},
	}
	for i := range all {
		all[i].Needed = all[i].For == PartAlways || d.Parts[all[i].For]
	}
	return all
}

// Where says in which kind of role the rule belongs.
func (p *Permission) Where() string {
	if p.Namespace == "" {
		return "ClusterRole"
	}
	return "Role in namespace " + p.Namespace
}

// Rule is the permission as RBAC's.
func (p *Permission) Rule() string {
	if p.URL != "" {
		return fmt.Sprintf("{nonResourceURLs: [%s], verbs: [%s]}", p.URL, strings.Join(p.Verbs, ", "))
	}
	rule := fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]", p.Group, p.Resource,
		strings.Join(p.Verbs, ", "))
	if p.Name != "" {
		rule += ", resourceNames: [" + p.Name + "]"
	}
	return rule + "}"
}

// Missing are those that are needed and that the API server does not allow, with the verbs
// that are missing.
func (d *Duties) Missing(ctx context.Context, client kubernetes.Interface) ([]Permission, error) {
	return Missing(ctx, client, d.Permissions())
}

// Missing is that of any server.
func Missing(ctx context.Context, client kubernetes.Interface, all []Permission) ([]Permission, error) {
	var missing []Permission
	for _, p := range all {
		if !p.Needed {
			continue
		}
		verbs := p.Verbs
		p.Verbs = nil
		for _, verb := range verbs {
			review := &authorizationv1.SelfSubjectAccessReview{}
			// A part of a resource is a field of its own.
			resource, subresource, _ := strings.Cut(p.Resource, "/")
			review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
				Group:       p.Group,
				Resource:    resource,
				Subresource: subresource,
				Name:        p.Name,
				Namespace:   p.Namespace,
				Verb:        verb,
			}
			if p.URL != "" {
				review.Spec.ResourceAttributes = nil
				review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: p.URL, Verb: verb}
			}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review,
				metav1.CreateOptions{})
			if err != nil {
				return missing, err
			}
			if !answer.Status.Allowed {
				p.Verbs = append(p.Verbs, verb)
			}
		}
		if len(p.Verbs) > 0 {
			missing = append(missing, p)
		}
	}
	return missing, nil
}
