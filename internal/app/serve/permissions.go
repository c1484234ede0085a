package serve

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/webhook"
)

// duties are what these flags ask of the webhook.
func (c *webhookConfig) duties() *webhook.Duties {
	registers := c.registers()
	return &webhook.Duties{
		Parts: map[webhook.Part]bool{
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
func flagOf(part webhook.Part) string {
	return map[webhook.Part]string{
		webhook.PartAlways:       "always",
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
	return func(ctx context.Context) error {
		said := map[string]bool{}
		for ; ctx.Err() == nil; wait(ctx, permissionsAgain) {
			missing, err := c.duties().Missing(ctx, client)
			if err != nil {
				log.Debug("permissions not looked at", "error", err)
			}
			for _, p := range missing {
				if rule := p.Rule(); !said[rule] {
					said[rule] = true
					log.Error("permission missing", "verbs", p.Verbs, "resource", p.Resource, "group", p.Group,
						"needed", flagOf(p.For),
						"hints", []string{"add this rule to the webhook's " + p.Where() + ": " + rule})
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
