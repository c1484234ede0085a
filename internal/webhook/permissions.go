package webhook

import (
	"github.com/rolecall/rolecall/internal/agreement"
	"github.com/rolecall/rolecall/internal/permissions"
)

// The parts of what a webhook may be told to do.
const (
	PartEvents       permissions.Part = "events"
	PartAssociations permissions.Part = "associations"
	PartGrants       permissions.Part = "grants"
	PartConfigMap    permissions.Part = "config map"
	PartPlane        permissions.Part = "plane"
	PartAuthority    permissions.Part = "authority"
	PartRegistration permissions.Part = "registration"
	PartValidation   permissions.Part = "validation"
)

// Duties are what a webhook does, and with which objects.
type Duties struct {
	Parts map[permissions.Part]bool
	// Namespace has the webhook's ConfigMap and Secret, PlaneNamespace the object that
	// roles agree in.
	Namespace, PlaneNamespace string
	// Secret keeps the certificates, Registration is both webhook configurations' name.
	Secret, Registration string
}

// Permissions are all that any part needs. The list of them is the only one:
// docs/reference/webhook-flags.md shows it, a test grants no more than that, and a webhook
// that lacks some says which.
func (d *Duties) Permissions() []permissions.Permission {
	const rolecall, registration = "rolecall.io", "admissionregistration.k8s.io"
	return permissions.Needed([]permissions.Permission{
		{Resource: "serviceaccounts", Verbs: []string{"get", "list", "watch"}, For: permissions.Always},
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
	}, d.Parts)
}
