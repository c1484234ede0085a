// Package permissions answers which RBAC rules that a server needs it does not have.
//
// It does not know what for: each server says so itself.
package permissions

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Part is something that a server may be told to do, and that needs permissions.
type Part string

// Always is what a server does whatever it is told.
const Always Part = "always"

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

// Needed marks those that the parts which a server has need.
func Needed(all []Permission, parts map[Part]bool) []Permission {
	for i := range all {
		all[i].Needed = all[i].For == Always || parts[all[i].For]
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
