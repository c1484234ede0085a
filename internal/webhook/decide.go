package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/glob"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/obs"
)

// Fallback says what becomes of pods whose AWS SDKs would find no credentials of
// the pod's own, and so take the node's.
type Fallback struct {
	// Action is for pods that are meant to have an identity and would not get
	// it, or not in all containers; and for those of Namespaces.
	Action Action
	// Namespaces are patterns of namespaces in which every pod must have an
	// identity. Mirror pods cannot have one and are not touched, nor are pods
	// with the skip label.
	Namespaces []string
}

// Action is what becomes of a pod.
type Action string

// The actions, by their words on the command line.
const (
	Allow Action = "allow"
	Warn  Action = "warn"
	Deny  Action = "deny"
)

// Refusal is a pod that was not given what its author meant, or not let in.
type Refusal struct {
	Name    inject.Name
	Pod     string
	Kind    RefusalKind
	Message string
}

// RefusalKind names a refusal in metrics and Events.
type RefusalKind string

// The kinds of refusals.
const (
	RoleNotGranted  RefusalKind = "RoleNotGranted"  // RoleGrants do not allow the role
	IdentityBlocked RefusalKind = "IdentityBlocked" // something in the pod is in the way
	IdentityMissing RefusalKind = "IdentityMissing" // the namespace wants an identity and there is none
)

// decide answers a review. An error means that the pod's identity could not be found out,
// so that the webhook's failurePolicy decides rather than a silent yes.
func (h *Handler) decide(ctx context.Context, v *review) (answer, error) {
	switch {
	case !v.hasRequest:
		return deny("bad content"), nil
	case v.other:
		return allow(), nil
	case len(v.object) == 0:
		return deny("unexpected end of JSON input"), nil
	case v.object[0] != '{':
		return deny("decode pod: want an object"), nil
	case v.noPod != "":
		return deny(v.noPod), nil
	case v.head.Skip:
		return none(skipped), nil
	}
	name := inject.Name{Namespace: v.namespace, ServiceAccount: v.head.ServiceAccount}
	if name.ServiceAccount == "" { // a mirror pod, which must stay as it is (spec webhook §4)
		h.metrics.missing.Inc()
		return none(mirror), nil
	}
	known, err := h.know(ctx, name)
	if err != nil {
		h.config.Log.Error("pod not decided about", obs.KeyNamespace, name.Namespace,
			obs.KeyServiceAccount, name.ServiceAccount, "error", err)
		return answer{}, err
	}
	if !known.PodIdentity && known.Missing() {
		h.metrics.missing.Inc()
		h.config.Log.Warn("pod not mutated", obs.KeyNamespace, name.Namespace,
			obs.KeyServiceAccount, name.ServiceAccount, obs.KeyReason, noAccount)
		known.warnings = append(known.warnings, inject.Unread(v.object, nil, h.config.Settings)...)
		return known.warn(h.without(v, name, noAccount, noAccountAudit)), nil
	}
	h.metrics.used.Set(1)
	if !known.HasIdentity() {
		known.warnings = append(known.warnings, inject.Unread(v.object, known.Account, h.config.Settings)...)
		return known.warn(h.without(v, name, noRole, noRoleAudit)), nil
	}
	a, err := h.identified(ctx, v, name, &known)
	return known.warn(a), err
}

// Why a pod is left as it is. The annotations are shared by all such answers.
const (
	noAccount = "there is no such service account"
	noRole    = "the service account has no role"
)

var (
	skipped        = audit("the pod has the label " + inject.SkipLabel)
	mirror         = audit("the pod names no service account")
	noAccountAudit = audit(noAccount)
	noRoleAudit    = audit(noRole)
)

func audit(reason string) []annotation {
	return []annotation{{"identity", "none"}, {"reason", reason}}
}

func none(audit []annotation) answer { return answer{allowed: true, audit: audit} }

// without answers for a pod that has no identity.
func (h *Handler) without(v *review, name inject.Name, reason string, audit []annotation) answer {
	a := none(audit)
	required := func(pattern string) bool { return glob.Match(pattern, name.Namespace) }
	if h.config.Fallback.Action == Allow || !slices.ContainsFunc(h.config.Fallback.Namespaces, required) {
		return a
	}
	remedy := "annotate it with " + h.config.Settings.Prefix + "/role-arn"
	if h.config.Associations != nil {
		remedy += ", or create a PodIdentityAssociation of its name"
	}
	h.refuse(&a, v, Refusal{
		name,
		v.head.Name,
		IdentityMissing,
		fmt.Sprintf("pods of namespace %s must have an AWS identity: %s (service account %s); %s",
			name.Namespace, reason, name, remedy),
	})
	return a
}

// identified answers for a pod that is meant to have an identity.
func (h *Handler) identified(ctx context.Context, v *review, name inject.Name, known *known) (answer, error) {
	account := inject.Choose(known.Known, &h.config.Settings)
	if h.config.Grants != nil {
		grants, err := follow.Sure(ctx, h.config.Grants, 0, "")
		if err != nil {
			return answer{}, fmt.Errorf("RoleGrants: %w: %w", errStill, err)
		}
		for _, role := range known.roles(&account) {
			if d := grants.Allows(name.Namespace, name.ServiceAccount, role); !d.Allowed {
				a := none([]annotation{{"identity", "refused"}, {"role", role}, {"reason", d.Reason}})
				a.warnings = []string{d.Reason + "; the pod gets no role"}
				h.refuse(&a, v, Refusal{name, v.head.Name, RoleNotGranted, d.Reason})
				return a, nil
			}
		}
	}
	if account.Malformed {
		h.metrics.malformed.Inc()
	}
	result, err := inject.Pod(v.object, account, h.config.Settings)
	if err != nil {
		return deny(err.Error()), nil
	}
	a := h.mutated(name, v, known.audit(&account), result)
	if result.Missed != "" && a.allowed {
		h.refuse(&a, v, Refusal{
			name,
			v.head.Name,
			IdentityBlocked,
			"the pod would not get its AWS identity: " + result.Missed,
		})
	}
	return a, nil
}

// mutated turns a result into an answer. The identity is for the audit log.
func (h *Handler) mutated(name inject.Name, v *review, identity []annotation, result *inject.Result) answer {
	a := none(audit(result.Reason))
	a.warnings = result.Warnings
	if len(result.Patch) == 0 {
		h.config.Log.Info("pod not mutated", obs.KeyNamespace, name.Namespace,
			obs.KeyServiceAccount, name.ServiceAccount, obs.KeyReason, result.Reason)
		return a
	}
	patch, err := json.Marshal(result.Patch)
	if err != nil {
		return deny("the patch could not be encoded")
	}
	a.patch = patch
	a.audit[0].value = string(result.Method)
	if result.Given == 0 {
		a.audit[0].value = "none"
	} else {
		a.audit = append(a.audit, identity...)
	}
	if result.Own != "" {
		a.audit = append(a.audit, annotation{"own", result.Own})
	}
	h.metrics.mutated.WithLabelValues(string(result.Method)).Inc()
	h.config.Log.Info("pod mutated", obs.KeyNamespace, name.Namespace, obs.KeyServiceAccount, name.ServiceAccount,
		"pod", v.head.Name, obs.KeyReason, result.Reason, "operations", len(result.Patch))
	return a
}

// refuse does to the answer what Fallback says, and tells of it.
func (h *Handler) refuse(a *answer, v *review, refusal Refusal) {
	switch h.config.Fallback.Action {
	case Deny:
		*a = answer{message: refusal.Message, code: http.StatusForbidden, warnings: a.warnings, audit: a.audit}
	case Warn:
		a.warnings = append(slices.Clip(a.warnings), refusal.Message+"; AWS SDKs in it may use the node's role")
	case Allow:
	}
	h.metrics.refused.WithLabelValues(string(refusal.Kind)).Inc()
	h.config.Log.Warn("pod refused its identity", obs.KeyNamespace, refusal.Name.Namespace,
		obs.KeyServiceAccount, refusal.Name.ServiceAccount,
		"pod", refusal.Pod, "kind", string(refusal.Kind), obs.KeyReason, refusal.Message, "admitted", a.allowed)
	if h.config.Refused != nil && !v.dryRun {
		h.config.Refused(refusal)
	}
}
