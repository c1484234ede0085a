package serve

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/permissions"
	"github.com/rolecall/rolecall/internal/webhook"
)

// duties are what these flags ask of the webhook.
func (c *webhookConfig) duties() *webhook.Duties {
	registers := c.registers()
	return &webhook.Duties{
		Parts: map[permissions.Part]bool{
			webhook.PartEvents:       c.events,
			webhook.PartAssociations: c.watchAssociations,
			webhook.PartGrants:       c.enforceGrants || c.validateWrites,
			webhook.PartConfigMap:    c.watchConfigMap,
			webhook.PartPlane:        c.plane.Given(),
			webhook.PartAuthority:    c.ownAuthority,
			webhook.PartRegistration: registers,
			webhook.PartValidation:   registers && c.validateWrites,
		},
		Namespace:      c.certificates.Namespace,
		PlaneNamespace: planeNamespace,
		Secret:         c.certificates.Secret,
		Registration:   c.registration,
	}
}

// flagOf is the flag that makes a part needed, or the flags, with or between them.
func flagOf(part permissions.Part) string {
	return map[permissions.Part]string{
		permissions.Always:       "always",
		webhook.PartEvents:       "--events",
		webhook.PartAssociations: "--watch-associations",
		webhook.PartGrants:       "--enforce-role-grants or --validate-associations",
		webhook.PartConfigMap:    "--watch-config-map",
		webhook.PartPlane:        "--plane",
		webhook.PartAuthority:    "--in-cluster",
		webhook.PartRegistration: "--webhook-config",
		webhook.PartValidation:   "--validate-associations",
	}[part]
}

// permissionsAgain is how long a permission that is missing takes to be looked
// for again, and an API server that does not answer.
const permissionsAgain = 15 * time.Second

// checkPermissions says which permissions are missing, until none is: what needs
// them tries again by itself, and says less clearly what is wrong.
func (c *webhookConfig) checkPermissions(client kubernetes.Interface, log *slog.Logger) func(context.Context) error {
	return checkPermissions("webhook", c.duties().Permissions(), flagOf, client, log)
}

// checkPermissions is that of any server. neededBy names what makes a part needed.
func checkPermissions(
	server string, all []permissions.Permission, neededBy func(permissions.Part) string, client kubernetes.Interface,
	log *slog.Logger,
) func(context.Context) error {
	return func(ctx context.Context) error {
		said := map[string]bool{}
		for ; ctx.Err() == nil; wait(ctx, permissionsAgain) {
			missing, err := permissions.Missing(ctx, client, all)
			if err != nil {
				log.Debug("permissions not looked at", "error", err)
			}
			for _, p := range missing {
				if rule := p.Rule(); !said[rule] {
					said[rule] = true
					attributes := []any{"verbs", p.Verbs, "resource", p.Resource, "group", p.Group}
					if p.URL != "" {
						attributes = []any{"verbs", p.Verbs, "url", p.URL}
					}
					log.Error("permission missing", append(attributes, "needed", neededBy(p.For),
						"hints", []string{"add this rule to the " + server + "'s " + p.Where() + ": " + rule})...)
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

// Of the broker and the controller a part is named by what makes it needed.
func neededBy(part permissions.Part) string { return string(part) }

// permissions are what these flags ask of the broker; docs/guide/broker.md has them as RBAC.
func (c *brokerConfig) permissions() []permissions.Permission {
	rolecall := v1alpha1.GroupVersion.Group
	watched, own := []string{"get", "list", "watch"}, c.certificates.Namespace
	return permissions.Needed([]permissions.Permission{
		{Resource: "pods", Verbs: watched, For: "--verify"},
		{Resource: "pods", Verbs: []string{"get"}, For: "--verify tokenreview"},
		{Resource: "serviceaccounts", Verbs: watched, For: "--verify"},
		{Resource: "nodes", Verbs: watched, For: "--agent-auth aws-token"},
		{
			Group: "authentication.k8s.io", Resource: "tokenreviews", Verbs: []string{"create"},
			For: "--verify or --agent-auth",
		},
		{Group: rolecall, Resource: "podidentityassociations", Verbs: watched, For: permissions.Always},
		{Group: rolecall, Resource: "rolegrants", Verbs: watched, For: permissions.Always},
		{Group: rolecall, Resource: "podidentityassociations/status", Verbs: []string{"update"}, For: permissions.Always},
		{Group: "events.k8s.io", Resource: "events", Verbs: []string{"create", "patch", "update"}, For: "--events"},
		{URL: "/.well-known/openid-configuration", Verbs: []string{"get"}, For: "--keys apiserver"},
		{URL: "/openid/v1/jwks", Verbs: []string{"get"}, For: "--keys apiserver"},
		{
			Group: rolecall, Resource: "podidentityassociations", Verbs: []string{"create", "update", "delete"},
			For: "--eks-api",
		},
		{
			Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verbs: []string{"create"},
			For: "--eks-api",
		},
		{Resource: "secrets", Namespace: own, Verbs: []string{"create"}, For: "--tls-secret"},
		{
			Resource: "secrets", Name: c.certificates.Secret, Namespace: own,
			Verbs: []string{"get", "list", "watch", "update"}, For: "--tls-secret",
		},
	}, map[permissions.Part]bool{
		"--verify":                 c.verify != string(workload.TokenReview),
		"--verify tokenreview":     c.verify == string(workload.TokenReview),
		"--agent-auth aws-token":   c.agentAuth == string(broker.AWSToken),
		"--verify or --agent-auth": c.verify != string(workload.JWKS),
		"--events":                 c.events,
		"--keys apiserver":         c.verify != string(workload.TokenReview) && c.keys == follow.KeysAPIServer,
		"--eks-api":                c.eksAPI,
		"--tls-secret":             c.certificates.CertFile == "",
	})
}

// permissions are what these flags ask of the controller; docs/guide/issuer.md has them as RBAC,
// and what single Issuers ask for beside them, which their conditions say.
func (c *controllerConfig) permissions(named bool) []permissions.Permission {
	rolecall, lease := v1alpha1.GroupVersion.Group, "rolecall-controller"
	watched := []string{"list", "watch"}
	return permissions.Needed(slices.Concat([]permissions.Permission{
		{Group: rolecall, Resource: "issuers", Verbs: watched, For: permissions.Always},
		{Group: rolecall, Resource: "issuers/status", Verbs: []string{"patch"}, For: permissions.Always},
		{Group: rolecall, Resource: "podidentityassociations", Verbs: watched, For: "--cluster-name"},
		{Group: rolecall, Resource: "podidentityassociations/status", Verbs: []string{"patch"}, For: "--cluster-name"},
		{Group: rolecall, Resource: "rolegrants", Verbs: watched, For: "--cluster-name"},
		{Group: "events.k8s.io", Resource: "events", Verbs: []string{"create", "patch"}, For: permissions.Always},
		{
			Group: "coordination.k8s.io", Resource: "leases", Namespace: c.namespace, Verbs: []string{"create"},
			For: "--leader-election-namespace",
		},
		{
			Group: "coordination.k8s.io", Resource: "leases", Name: lease, Namespace: c.namespace,
			Verbs: []string{"get", "update"}, For: "--leader-election-namespace",
		},
	}, c.access.permissions(), c.groups.permissions()), map[permissions.Part]bool{
		"--cluster-name": named, "--leader-election-namespace": !c.noElection, "--access-entries": c.access.on,
		"--group-mappings": c.groups.on,
	})
}
