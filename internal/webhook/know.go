package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/obs"
)

// known is what the sources say of a service account.
type known struct {
	inject.Known
	// association is nil for an account of the identities file only.
	association *v1alpha1.PodIdentityAssociation
	warnings    []string
}

// know asks the sources. Pod Identity does not wait for annotations, and an
// account that only the ConfigMap knows is one that is known (spec webhook §8.2,
// §10.3).
func (h *Handler) know(ctx context.Context, name inject.Name) (known, error) {
	var k known
	k.PodIdentity = h.config.Identities != nil && h.config.Identities.Current().Has(name)
	if h.config.Associations != nil {
		if err := h.associated(ctx, name, &k); err != nil {
			return k, err
		}
	}
	if k.PodIdentity {
		k.Jitter = rand.Int64N(inject.MaxJitter + 1)
	}
	if h.config.ConfigMap != nil {
		config, err := follow.Sure(ctx, h.config.ConfigMap, 0, "")
		k.Config, k.ConfigExact = config.Find(name)
		if err != nil {
			// What is not known to be there any more is not given; others have nothing to
			// do with it.
			if last, _ := h.config.ConfigMap.Current().Find(name); last != nil {
				return k, fmt.Errorf("the ConfigMap, which names the account: %w: %w", errStill, err)
			}
		}
	}
	var err error
	k.Account, err = h.config.ServiceAccounts.Lookup(ctx, name, !k.PodIdentity)
	if k.PodIdentity || k.Config != nil {
		err = nil
	}
	return k, err
}

// associated finds the account's association. If the API server does not say in
// time whether there is a new one, the pod goes on with what is known: it must
// not wait for long, and those of old associations are known.
func (h *Handler) associated(ctx context.Context, name inject.Name, k *known) error {
	if k.PodIdentity { // the file says so already
		k.association = h.config.Associations.Known(name)
		return nil
	}
	var err error
	switch k.association, err = h.config.Associations.Of(ctx, name); {
	case errors.Is(err, errStill):
		return err
	case err != nil:
		h.metrics.unread.Inc()
		h.config.Log.Warn("associations not read, those known before are used", obs.KeyNamespace, name.Namespace,
			obs.KeyServiceAccount, name.ServiceAccount, "error", err)
		k.warnings = append(k.warnings,
			"the API server did not say in time whether service account "+name.Namespace+"/"+name.ServiceAccount+
				" has a PodIdentityAssociation; one created a moment ago does not count for this pod")
	}
	k.PodIdentity = k.association != nil
	if k.PodIdentity && k.association.Spec.Paused {
		k.warnings = append(k.warnings, association.Paused(k.association))
	}
	return nil
}

// roles are all that the account's pods would get. Which role those of the
// identities file get, only the agent knows.
func (k *known) roles(account *inject.Account) []string {
	switch {
	case !account.Container:
		return []string{account.Role}
	case k.association == nil:
		return nil
	case k.association.Spec.TargetRoleARN == "":
		return []string{k.association.Spec.RoleARN}
	}
	return []string{k.association.Spec.RoleARN, k.association.Spec.TargetRoleARN}
}

// audit says whose identity the pod has.
func (k *known) audit(account *inject.Account) []annotation {
	switch {
	case !account.Container:
		return []annotation{{"role", account.Role}}
	case k.association == nil:
		return nil
	}
	return []annotation{
		{"role", k.association.Spec.RoleARN},
		{"association", k.association.Namespace + "/" + k.association.Name},
	}
}

// warn adds what is to be said of the identity to an answer.
func (k *known) warn(a answer) answer {
	if len(k.warnings) > 0 {
		a.warnings = append(slices.Clip(k.warnings), a.warnings...)
	}
	return a
}
