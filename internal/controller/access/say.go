package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// The conditions. Bound is of access entries only.
const (
	conditionReady    = "Ready"
	conditionBound    = "Bound"
	conditionShadowed = "Shadowed"
)

// The reasons why an object is not ready.
const (
	reasonInvalid       = "Invalid"
	reasonPrincipal     = "InvalidPrincipal"
	reasonReplaced      = "PrincipalReplaced"
	reasonAbsent        = "NoSuchPrincipal"
	reasonNoPermissions = "NoPermissions"
)

// notPinned stands before why the id of a principal is not known.
const notPinned = "; its id is not known, so one of the same name that is made later enters too: "

// verdict is what a condition says.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }

func no(reason, message string) verdict { return verdict{metav1.ConditionFalse, reason, message} }

// describe fills an object's status.
func (s *subject) describe(w *world, made *outcome) {
	found := map[string]verdict{conditionShadowed: s.shadowed()}
	if s.entry != nil {
		found[conditionBound] = w.bound(s, made)
	}
	found[conditionReady] = s.ready(found)
	s.status.Principal, s.status.UserID, s.status.ObservedGeneration = s.principal(), s.pinned, s.object.GetGeneration()
	for _, kind := range []string{conditionReady, conditionBound, conditionShadowed} {
		if v, has := found[kind]; has {
			meta.SetStatusCondition(&s.status.Conditions, metav1.Condition{
				Type: kind, Status: v.status, Reason: v.reason, Message: short(v.message),
				ObservedGeneration: s.object.GetGeneration(),
			})
		}
	}
}

// isNews reports whether the status is another than before.
func (s *subject) isNews() bool { return !equality.Semantic.DeepEqual(statusOf(s.before), s.status) }

// say writes an object's status.
func (r *Reconciler) say(ctx context.Context, s *subject) error {
	// Who writes a pin beside this controller must not be overwritten by what it knew before.
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	was, now := statusOf(s.before), s.status.DeepCopy() // the answer is read into the object
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, s.object, patch)); err != nil {
		return err
	}
	r.tell(s, was, now)
	return nil
}

func (s *subject) shadowed() verdict {
	switch {
	case s.winner == nil:
		return no("Preferred", "no other object of its principal is asked before it")
	case s.winner.kind() != s.kind():
		return yes("AccessEntry", s.winner.name()+" is about the same principal, and access entries are asked first")
	}
	return yes("Older", s.winner.name()+" is about the same principal, and is older")
}

// ready sums up.
func (s *subject) ready(found map[string]verdict) verdict {
	bound, hasBound := found[conditionBound]
	switch {
	case s.going():
		return no("Deleted", "it is being deleted")
	case s.flaw != nil:
		return s.flawed()
	case s.winner != nil:
		return no(conditionShadowed, found[conditionShadowed].message)
	case s.replaced != "" && strings.Contains(s.replaced, "hint: "):
		return no(reasonReplaced, s.replaced)
	case s.replaced != "":
		return no(reasonReplaced, s.replaced+"; nobody enters by it. hint: "+s.repin())
	case s.absent && s.pinned == "":
		return no(reasonAbsent, "IAM has no "+s.principal()+"; the first who is made under that name enters")
	case s.absent:
		return no(reasonAbsent, "IAM has no "+s.principal())
	case s.entry != nil && standard(s.entry) && len(s.entry.Spec.KubernetesGroups)+len(s.entry.Spec.AccessPolicies) == 0:
		return no(reasonNoPermissions, "it has neither kubernetesGroups nor accessPolicies, so who enters by it may do "+
			"nothing; if you wrote some, look for a misspelt key")
	case hasBound && bound.status == metav1.ConditionFalse && bound.reason != "NoNamespace":
		return no("NotBound", bound.message)
	}
	message := s.principal() + " enters by it"
	if s.pinned != "" {
		message += ", as long as IAM's id of it is " + s.pinned
	} else if s.unsure != "" && s.entry != nil {
		message += notPinned + s.unsure
	}
	return yes("Ready", message)
}

// flawed says why the authenticator refuses the object.
func (s *subject) flawed() verdict {
	reason, text := reasonInvalid, s.flaw.Error()
	if strings.HasPrefix(s.flaw.Field, "spec.principal") {
		reason = reasonPrincipal
	}
	if s.flaw.Hint != "" {
		text += "; hint: " + s.flaw.Hint
	}
	return no(reason, text)
}

// repin is how to let in the principal that has taken the place of another.
func (s *subject) repin() string {
	if s.entry == nil {
		return "change spec.userID if the new one is meant"
	}
	return "if the new one is meant, delete the entry and create it again, or run kubectl patch accessentry " +
		s.object.GetName() + ` --subresource status --type merge -p '{"status":{"userID":null}}'`
}

// bound says which RBAC an entry has, or why not.
func (w *world) bound(s *subject, made *outcome) verdict {
	policies := s.entry.Spec.AccessPolicies
	switch {
	case len(policies) == 0:
		return yes("NoPolicies", "it has no access policies; its rights are those of its groups")
	case s.going():
		return no("Deleted", "it is being deleted")
	case s.flaw != nil:
		return s.flawed()
	case s.winner != nil:
		return no(conditionShadowed, "nothing is bound, since "+s.winner.name()+" counts instead")
	case s.replaced != "":
		return no(reasonReplaced, "nothing is bound for a principal that has taken the place of another")
	}
	var has, lacks, idle []string
	reason := ""
	hinder := func(why, text string) {
		if reason == "" {
			reason = why
		}
		if !slices.Contains(lacks, text) {
			lacks = append(lacks, text)
		}
	}
	for i := range policies {
		p := &policies[i]
		places, patterns := w.namespaces.Of(p)
		switch {
		case !w.allowed[p.Policy]:
			hinder("NotAllowed", fmt.Sprintf("the controller's --access-policies lacks %s", p.Policy))
			continue
		case len(places)+len(patterns) == 0:
			hinder("NoScope", fmt.Sprintf("%s says not where it counts: scope: cluster, or namespaces", p.Policy))
			continue
		}
		if len(patterns) > 0 {
			idle = append(idle, fmt.Sprintf("%s: no namespace is %s", p.Policy, strings.Join(patterns, " or ")))
		}
		var there []string
		for _, place := range places {
			if err := made.places[place]; err != nil {
				hinder(reasonOf(err), fmt.Sprintf("%s: %s", p.Policy, wordsOf(err)))
			} else {
				there = append(there, place.Namespace)
			}
		}
		if len(there) > 0 {
			has = append(has, string(p.Policy)+" "+inNamespaces(there))
		}
	}
	group := "group " + s.mapping.Policies
	text := strings.Join(slices.Concat(lacks, idle), "; ")
	switch {
	case len(lacks) > 0 && len(has) > 0:
		return no(reason, text+"; "+group+" has "+strings.Join(has, ", "))
	case len(lacks) > 0:
		return no(reason, text)
	case len(has) == 0:
		return no("NoNamespace", text+"; "+group+" has nothing until there is one")
	case len(idle) > 0:
		return yes("Bound", group+" has "+strings.Join(has, ", ")+"; "+text+" yet")
	}
	return yes("Bound", group+" has "+strings.Join(has, ", "))
}

func inNamespaces(names []string) string {
	const shown = 5
	if names[0] == "" {
		return "in the cluster"
	}
	text := strings.Join(names[:min(shown, len(names))], ", ")
	if len(names) > shown {
		text += ", …"
	}
	if len(names) == 1 {
		return "in namespace " + text
	}
	return fmt.Sprintf("in %d namespaces (%s)", len(names), text)
}

func reasonOf(err error) string {
	if _, theirs := err.(*foreign); theirs { //nolint:errorlint // it is not wrapped
		return "Foreign"
	}
	if apierrors.IsForbidden(err) {
		return "Forbidden"
	}
	return "NotMade"
}

func wordsOf(err error) string {
	if apierrors.IsForbidden(err) {
		return "the API server does not let the controller: " + err.Error()
	}
	return err.Error()
}

// tell makes an Event of what changed: of each condition, and of rights that an edit of the
// entry gave or took. That namespaces come and go is no Event of each entry.
func (r *Reconciler) tell(s *subject, before, now *v1alpha1.AccessStatus) {
	for _, condition := range now.Conditions {
		was := meta.FindStatusCondition(before.Conditions, condition.Type)
		isNews := was == nil && (condition.Type != conditionShadowed || condition.Status == metav1.ConditionTrue) ||
			was != nil && (was.Status != condition.Status || was.Reason != condition.Reason ||
				condition.Type == conditionBound && was.Message != condition.Message &&
					was.ObservedGeneration != condition.ObservedGeneration)
		if !isNews {
			continue
		}
		kind := corev1.EventTypeNormal
		if (condition.Status == metav1.ConditionFalse) != (condition.Type == conditionShadowed) {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(
			s.object, nil, kind, condition.Reason, condition.Type, "%s is %s: %s", condition.Type, condition.Status,
			condition.Message,
		)
		r.Log.Info(
			"access changed", "object", s.name(), "principal", s.principal(), "condition", condition.Type, "status",
			string(condition.Status), "reason", condition.Reason, "message", condition.Message,
		)
	}
}

// short keeps a message within what an Event may hold, and whole in UTF-8.
func short(text string) string {
	const longest = 900
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
