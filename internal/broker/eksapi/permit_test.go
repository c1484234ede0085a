package eksapi_test

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/eksapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
)

// TestPermit: a role is refused by what the API server has, not by what was
// known a moment ago; and let in by either.
func TestPermit(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/cart"
	to := func(namespace string) *grant.Set {
		return grant.NewSet(
			[]grant.Grant{{
				Name: namespace,
				Spec: v1alpha1.RoleGrantSpec{
					Subjects: []v1alpha1.GrantSubject{{Namespace: namespace}},
					Roles:    []string{"*"},
				},
			}},
		)
	}
	for _, row := range []struct {
		name          string
		known, newest *grant.Set // known nil: not read yet
		newestErr     error
		want          fault.Kind // 0: let in
		isAsked       bool
	}{
		{name: "not read yet", want: fault.Unavailable},
		{name: "no grants", known: grant.NewSet(nil)},
		{name: "granted", known: to("shop")},
		{name: "granted just now", known: to("other"), newest: to("shop"), isAsked: true},
		{name: "the only grant is gone", known: to("other"), newest: grant.NewSet(nil), isAsked: true},
		{name: "to others", known: to("other"), newest: to("other"), isAsked: true, want: fault.Denied},
		{
			name:      "the API server is away",
			known:     to("other"),
			newestErr: errors.New("away"),
			isAsked:   true,
			want:      fault.Denied,
		},
	} {
		asked := false
		var followed follow.Source[*grant.Set] = follow.NewValue(grant.NewSet(nil))
		if row.known != nil {
			followed = follow.Fixed[*grant.Set]{Content: row.known}
		}
		permit := eksapi.Permit(association.Bounds{Default: v1alpha1.Federated}, followed, func(ctx context.Context) (*grant.Set, error) {
			asked = true
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("%s: asked for as long as it takes", row.name)
			}
			return row.newest, row.newestErr
		})
		err := permit(t.Context(), &v1alpha1.PodIdentityAssociation{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}, Spec: v1alpha1.PodIdentityAssociationSpec{
				ServiceAccountName: "cart",
				RoleARN:            role,
			},
		})
		if (err != nil) != (row.want != 0) || err != nil && fault.KindOf(err) != row.want || asked != row.isAsked {
			t.Errorf("%s: %v (kind %d), asked again %t", row.name, err, fault.KindOf(err), asked)
		}
	}
}
