package kubestore

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestClassifyAdmission: what admission refuses is the request's fault, in the
// words of the one who refused, and no missing permission of RBAC is suggested.
func TestClassifyAdmission(t *testing.T) {
	t.Parallel()
	const by = `admission webhook "associations.rolecall.io" denied the request: `
	details := func(field, message string) *metav1.StatusDetails {
		return &metav1.StatusDetails{
			Name:   "cart",
			Group:  "rolecall.io",
			Kind:   "PodIdentityAssociation",
			Causes: []metav1.StatusCause{{Field: field, Message: message}},
		}
	}
	for _, row := range []struct {
		name    string
		status  metav1.Status
		kind    fault.Kind
		text    string
		refusal bool
		hint    string
	}{
		{
			"not granted",
			metav1.Status{
				Code:    403,
				Reason:  metav1.StatusReasonForbidden,
				Message: by + "spec.roleARN: no RoleGrant lets shop/cart use it",
				Details: details("spec.roleARN", "no RoleGrant lets shop/cart use it"),
			},
			fault.Denied,
			"no RoleGrant lets shop/cart use it",
			false,
			"",
		},
		{
			"invalid",
			metav1.Status{
				Code:    422,
				Reason:  metav1.StatusReasonInvalid,
				Message: by + "spec.sessionPolicy: line 1",
				Details: details("spec.sessionPolicy", "line 1"),
			},
			fault.Invalid,
			"spec.sessionPolicy: line 1",
			true,
			"",
		},
		{
			"somebody else's, without a code",
			metav1.Status{Code: 400, Message: `admission webhook "others" denied the request: no`},
			fault.Invalid,
			"denied the request: no",
			true,
			"",
		},
		{
			"somebody else's",
			metav1.Status{Code: 403, Message: `admission webhook "others" denied the request: no`},
			fault.Denied,
			`"others" denied the request: no`,
			false,
			"",
		},
		{
			"a policy of the cluster",
			metav1.Status{
				Code:   403,
				Reason: metav1.StatusReasonForbidden,
				Message: `podidentityassociations.rolecall.io "cart" is forbidden: ValidatingAdmissionPolicy 'p' ` +
					`with binding 'p' denied request: no`,
			},
			fault.Denied,
			"denied request: no",
			false,
			"",
		},
		{
			"nobody answers",
			metav1.Status{
				Code:    500,
				Reason:  metav1.StatusReasonInternalError,
				Message: `Internal error occurred: failed calling webhook "associations.rolecall.io"`,
			},
			fault.Unavailable,
			"failed calling webhook",
			false,
			"",
		},
		{
			"RBAC",
			metav1.Status{
				Code:    403,
				Reason:  metav1.StatusReasonForbidden,
				Message: `podidentityassociations.rolecall.io is forbidden: User "u" cannot create`,
			},
			fault.Denied,
			`User "u" cannot create`,
			false,
			"kubectl auth can-i",
		},
	} {
		err := classify(&apierrors.StatusError{ErrStatus: row.status}, "shop", "cart")
		_, refused := errors.AsType[*association.Refusal](err)
		hints := strings.Join(fault.HintsOf(err), "\n")
		if fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) || refused != row.refusal ||
			(hints != "") != (row.hint != "") ||
			!strings.Contains(hints, row.hint) {
			t.Errorf("%s: kind %d, %v, hints %q", row.name, fault.KindOf(err), err, hints)
		}
	}
}
