package webhook

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/inject"
)

// Registration returns the MutatingWebhookConfiguration of spec webhook §13.1,
// our form, for a client that says where the webhook is and whom to trust.
//
// Somebody who sets its failurePolicy to Fail must be able to start the webhook again when none
// runs (spec charts §6): it is not asked about static pods, nor about pods of the namespace
// that it runs in. That is not kube-system, where many pods have roles; empty leaves all
// namespaces in.
func Registration(
	client admissionregistrationv1.WebhookClientConfig, own string,
) *admissionregistrationv1.MutatingWebhookConfiguration {
	var namespaces *metav1.LabelSelector
	if own != "" && own != metav1.NamespaceSystem {
		namespaces = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{own}},
		}}
	}
	ignore := admissionregistrationv1.Ignore
	none := admissionregistrationv1.SideEffectClassNone
	ifNeeded := admissionregistrationv1.IfNeededReinvocationPolicy
	timeout := int32(10)
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{
			APIVersion: "admissionregistration.k8s.io/v1",
			Kind:       "MutatingWebhookConfiguration",
		},
		ObjectMeta: metav1.ObjectMeta{Name: "pod-identity-webhook"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:         "pod-identity-webhook.rolecall.io",
			ClientConfig: client,
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{
					APIGroups:   []string{""},
					APIVersions: []string{"v1"},
					Resources:   []string{"pods"},
				},
			}},
			ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: inject.SkipLabel, Operator: metav1.LabelSelectorOpDoesNotExist},
			}},
			NamespaceSelector: namespaces,
			MatchConditions: []admissionregistrationv1.MatchCondition{
				{
					Name:       "no-mirror-pods",
					Expression: "!('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))",
				},
				{Name: "with-service-account", Expression: "object.spec.?serviceAccountName.orValue('') != ''"},
			},
			FailurePolicy:           &ignore,
			SideEffects:             &none,
			ReinvocationPolicy:      &ifNeeded,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1", "v1beta1"},
		}},
	}
}

// WritesRegistration returns the ValidatingWebhookConfiguration of associations
// that are written. Without an answer nothing is written: pods lose nothing by
// that, and the writer is told.
func WritesRegistration(
	client admissionregistrationv1.WebhookClientConfig,
) *admissionregistrationv1.ValidatingWebhookConfiguration {
	closed := admissionregistrationv1.Fail
	none := admissionregistrationv1.SideEffectClassNone
	equivalent := admissionregistrationv1.Equivalent
	namespaced := admissionregistrationv1.NamespacedScope
	timeout := int32(5)
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{
			APIVersion: "admissionregistration.k8s.io/v1",
			Kind:       "ValidatingWebhookConfiguration",
		},
		ObjectMeta: metav1.ObjectMeta{Name: "pod-identity-webhook"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:         "associations.rolecall.io",
			ClientConfig: client,
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{
					admissionregistrationv1.Create, admissionregistrationv1.Update,
				},
				Rule: admissionregistrationv1.Rule{
					APIGroups:   []string{v1alpha1.GroupVersion.Group},
					APIVersions: []string{v1alpha1.GroupVersion.Version},
					Resources:   []string{"podidentityassociations"},
					Scope:       &namespaced,
				},
			}},
			FailurePolicy:           &closed,
			SideEffects:             &none,
			MatchPolicy:             &equivalent,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
}
