package issuer

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Conditions of an Issuer.
const (
	conditionReady     = "Ready"
	conditionPublished = "Published"
	conditionVerified  = "Verified"
	conditionProviders = "ProvidersInStep"
)

// setCondition is true without err.
func setCondition(object *v1alpha1.Issuer, kind, reason string, err error) {
	condition := metav1.Condition{
		Type:               kind,
		Status:             metav1.ConditionTrue,
		Reason:             reason,
		ObservedGeneration: object.Generation,
	}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "Failed", short(err.Error())
	}
	meta.SetStatusCondition(&object.Status.Conditions, condition)
}

// short keeps a message within what a condition and an Event may hold.
func short(text string) string {
	const longest = 900
	if len(text) > longest {
		return text[:longest] + "…"
	}
	return text
}
