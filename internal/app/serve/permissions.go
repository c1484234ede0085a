package serve

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/agreement"
	"github.com/rolecall/rolecall/internal/webhook"
)

// permission is one RBAC rule that the webhook needs. The list of them is the
// only one: docs/reference/webhook-flags.md shows it, a test grants no more than
// that, and a webhook that lacks some says which.
type permission struct {
	group, resource string
	// name is the one object; empty for all. flag is the flag that says it.
	name, flag string
	// namespace is the one namespace; empty for all, and for what has none.
	namespace string
	verbs     []string
	// with is the flag that makes it needed, or the flags, with or between them;
	// empty if it always is.
	with   string
	needed bool
}

// permissions are all that any flags need, in the order of the page.
func (c *webhookConfig) permissions() []permission {
	registers := c.registers()
	const rolecall, registration = "rolecall.io", "admissionregistration.k8s.io"
	return []permission{
		{resource: "serviceaccounts", verbs: []string{"get", "list", "watch"}, needed: true},
		{
			group:    "events.k8s.io",
			resource: "events",
			verbs:    []string{"create", "patch"},
			with:     "--events",
			needed:   c.events,
		},
		{
			group:    rolecall,
			resource: "podidentityassociations",
			verbs:    []string{"list", "watch"},
			with:     "--watch-associations",
			needed:   c.watchAssociations,
		},
		{
			group:    rolecall,
			resource: "rolegrants",
			verbs:    []string{"list", "watch"},
			with:     "--enforce-role-grants or --validate-associations",
			needed:   c.enforceGrants || c.validateWrites,
		},
		{
			resource:  "configmaps",
			name:      webhook.ConfigMapName,
			namespace: c.certificates.Namespace,
			verbs:     []string{"list", "watch"},
			with:      "--watch-config-map",
			needed:    c.watchConfigMap,
		},
		{
			resource:  "configmaps",
			namespace: planeNamespace,
			verbs:     []string{"create"},
			with:      "--plane",
			needed:    c.plane.Given(),
		},
		{
			resource:  "configmaps",
			name:      agreement.Name,
			namespace: planeNamespace,
			verbs:     []string{"get", "update"},
			with:      "--plane",
			needed:    c.plane.Given(),
		},
		{
			resource:  "secrets",
			namespace: c.certificates.Namespace,
			verbs:     []string{"create"},
			with:      "--in-cluster",
			needed:    c.ownAuthority,
		},
		{
			resource:  "secrets",
			name:      c.certificates.Secret,
			flag:      "--tls-secret",
			namespace: c.certificates.Namespace,
			verbs:     []string{"get", "list", "watch", "update"},
			with:      "--in-cluster",
			needed:    c.ownAuthority,
		},
		{
			group:    registration,
			resource: "mutatingwebhookconfigurations",
			verbs:    []string{"create"},
			with:     "--webhook-config",
			needed:   registers,
		},
		{
			group:    registration,
			resource: "mutatingwebhookconfigurations",
			name:     c.registration,
			flag:     "--webhook-config",
			verbs:    []string{"get", "list", "watch", "update"},
			with:     "--webhook-config",
			needed:   registers,
		},
		{
			group:    registration,
			resource: "validatingwebhookconfigurations",
			verbs:    []string{"create"},
			with:     "--validate-associations",
			needed:   registers && c.validateWrites,
		},
		{
			group:    registration,
			resource: "validatingwebhookconfigurations",
			name:     c.registration,
			flag:     "--webhook-config",
			verbs:    []string{"get", "list", "watch", "update"},
			with:     "--validate-associations",
			needed:   registers && c.validateWrites,
		},
	}
}

// where says in which kind of role the rule belongs.
func (p *permission) where() string {
	if p.namespace == "" {
		return "ClusterRole"
	}
	return "Role in namespace " + p.namespace
}

// rule is the permission as RBAC's.
func (p *permission) rule() string {
	rule := fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]", p.group, p.resource,
		strings.Join(p.verbs, ", "))
	if p.name != "" {
		rule += ", resourceNames: [" + p.name + "]"
	}
	return rule + "}"
}

// permissionsAgain is how long a permission that is missing takes to be looked
// for again, and an API server that does not answer.
const permissionsAgain = 15 * time.Second

// checkPermissions says which permissions are missing, until none is: what needs
// them tries again by itself, and says less clearly what is wrong.
func (c *webhookConfig) checkPermissions(client kubernetes.Interface, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		said := map[string]bool{}
		for ; ctx.Err() == nil; wait(ctx, permissionsAgain) {
			missing, err := c.missingPermissions(ctx, client)
			if err != nil {
				log.Debug("permissions not looked at", "error", err)
			}
			for _, p := range missing {
				if rule := p.rule(); !said[rule] {
					said[rule] = true
					log.Error("permission missing", "verbs", p.verbs, "resource", p.resource, "group", p.group,
						"needed", cmp.Or(p.with, "always"),
						"hints", []string{"add this rule to the webhook's " + p.where() + ": " + rule})
				}
			}
			if err == nil && len(missing) == 0 {
				if len(said) > 0 {
					log.Info("no permission is missing now")
				}
				return nil
			}
		}
		return nil
	}
}

// missingPermissions are those that are needed and that the API server does not
// allow, with the verbs that are missing.
func (c *webhookConfig) missingPermissions(ctx context.Context, client kubernetes.Interface) ([]permission, error) {
	var missing []permission
	for _, p := range c.permissions() {
		if !p.needed {
			continue
		}
		verbs := p.verbs
		p.verbs = nil
		for _, verb := range verbs {
			review := &authorizationv1.SelfSubjectAccessReview{}
			review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
				Group:     p.group,
				Resource:  p.resource,
				Name:      p.name,
				Namespace: p.namespace,
				Verb:      verb,
			}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review,
				metav1.CreateOptions{})
			if err != nil {
				return missing, err
			}
			if !answer.Status.Allowed {
				p.verbs = append(p.verbs, verb)
			}
		}
		if len(p.verbs) > 0 {
			missing = append(missing, p)
		}
	}
	return missing, nil
}
