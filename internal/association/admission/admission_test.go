package admission_test

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
)

const (
	reader = "arn:aws:iam::111122223333:role/reader"
	writer = "arn:aws:iam::111122223333:role/writer"
	far    = "arn:aws:iam::444455556666:role/data"
)

type kind = v1alpha1.PodIdentityAssociation

func good() *kind {
	return &kind{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: "cart", RoleARN: reader},
	}
}

func pattern(text string) func(*kind) {
	return func(a *kind) { a.Name, a.Spec.ServiceAccountName, a.Spec.AllowPatterns = "carts", text, true }
}

func target(arn string) func(*kind)  { return func(a *kind) { a.Spec.TargetRoleARN = arn } }
func role(arn string) func(*kind)    { return func(a *kind) { a.Spec.RoleARN = arn } }
func policy(text string) func(*kind) { return func(a *kind) { a.Spec.SessionPolicy = text } }
func labelled(a *kind)               { a.Labels = map[string]string{"team": "red"} }
func paused(a *kind)                 { a.Spec.Paused = true }
func withoutFinalizers(a *kind)      { a.Finalizers = nil }
func unbound(a *kind)                { a.Spec.AllowUnboundTokens = true }
func both(edits ...func(*kind)) func(*kind) {
	return func(a *kind) {
		for _, edit := range edits {
			edit(a)
		}
	}
}

// to is a grant of roles to accounts of a namespace.
func to(namespace, accounts string, roles ...string) grant.Grant {
	return grant.Grant{
		Name: "g",
		Spec: v1alpha1.RoleGrantSpec{
			Subjects: []v1alpha1.GrantSubject{{Namespace: namespace, ServiceAccount: accounts}},
			Roles:    roles,
		},
	}
}

var nothing = func(*kind) {}

func rules(grants *grant.Set) admission.Rules {
	return admission.Rules{Bounds: association.Bounds{Default: v1alpha1.Federated}, Grants: grants}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	readers, others := []grant.Grant{to("shop", "", reader)}, []grant.Grant{to("other", "*", "*")}
	for _, row := range []struct {
		name    string
		grants  []grant.Grant
		stored  func(*kind) // nil: it is created
		written func(*kind)
		refused string // what the field or the reason has
		denied  bool   // for want of a grant
		warned  string
	}{
		{name: "no grants", written: nothing},
		{name: "no grants, any pattern", written: pattern("*")},
		{name: "granted", grants: readers, written: nothing},
		{
			name:    "granted to others",
			grants:  others,
			written: nothing,
			refused: "no RoleGrant lets shop/cart use " + reader,
			denied:  true,
		},
		{
			name:    "another role",
			grants:  readers,
			written: role(writer),
			refused: "no RoleGrant lets shop/cart use " + writer,
			denied:  true,
		},
		{
			name:    "target not granted",
			grants:  readers,
			written: target(far),
			refused: "no RoleGrant lets shop/cart use " + far,
			denied:  true,
		},
		{
			name:    "both granted by two",
			grants:  []grant.Grant{to("shop", "cart", reader), to("sh*", "c*", far)},
			written: target(far),
		},
		{
			name:    "a grant that could not be read",
			grants:  []grant.Grant{{Name: "g"}},
			written: nothing,
			refused: "no RoleGrant",
			denied:  true,
		},
		{name: "paused is held too", grants: others, written: paused, refused: "no RoleGrant", denied: true},
		{name: "pattern, all granted", grants: readers, written: pattern("cart-*")},
		{
			name:    "pattern, the same granted",
			grants:  []grant.Grant{to("shop", "cart-*", reader)},
			written: pattern("cart-*"),
		},
		{
			name:    "pattern, one granted",
			grants:  []grant.Grant{to("shop", "cart-a", reader)},
			written: pattern("cart-*"),
			refused: "no RoleGrant lets all of shop/cart-* use",
			denied:  true,
		},
		{
			name:    "pattern, less granted",
			grants:  []grant.Grant{to("shop", "cart-a*", reader)},
			written: pattern("cart-*"),
			refused: "all of shop/cart-*",
			denied:  true,
		},
		{
			name:    "pattern, its text granted",
			grants:  []grant.Grant{to("shop", "cart-?", reader)},
			written: pattern("cart-*"),
			refused: "all of shop/cart-*",
			denied:  true,
		},
		{
			name:    "all accounts, some granted",
			grants:  []grant.Grant{to("shop", "c*", reader)},
			written: pattern("*"),
			refused: "all of shop/*",
			denied:  true,
		},
		{name: "bad policy", written: policy("{"), refused: "spec.sessionPolicy: "},
		{name: "bad policy and not granted", grants: others, written: policy("{"), refused: "spec.sessionPolicy: "},
		{
			name: "policy beside tags",
			written: policy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject",` +
				`"Resource":"arn:aws:s3:::` + strings.Repeat("x", 1800) + `"}]}`),
			refused: "packed size",
		},
		{
			name:    "tag that STS does not accept",
			written: func(a *kind) { a.Spec.SessionTags = map[string]string{"a": "b;c"} },
			refused: "spec.sessionTags: ",
		},
		{name: "no role", written: role("reader"), refused: "spec.roleARN: "},

		{name: "nothing changes", grants: readers, stored: nothing, written: nothing},
		{
			name:    "label, grant gone",
			grants:  others,
			stored:  nothing,
			written: labelled,
			warned:  "no RoleGrant lets shop/cart use " + reader + "; pods get no sessions",
		},
		{
			name:    "finalizer, grant gone",
			grants:  others,
			stored:  func(a *kind) { a.Finalizers = []string{"x/y"} },
			written: withoutFinalizers,
			warned:  "no RoleGrant",
		},
		{name: "pause, grant gone", grants: others, stored: nothing, written: paused, warned: "no RoleGrant"},
		{
			name:    "pattern's label, grant gone",
			grants:  []grant.Grant{to("shop", "cart-a", reader)},
			stored:  pattern("cart-*"),
			written: both(pattern("cart-*"), labelled),
			warned:  "all of shop/cart-*",
		},
		{name: "to a role that is granted", grants: readers, stored: role(writer), written: role(reader)},
		{
			name:    "to one that is not",
			grants:  readers,
			stored:  nothing,
			written: role(writer),
			refused: "use " + writer,
			denied:  true,
		},
		{
			name:    "from one that is not to another",
			grants:  others,
			stored:  nothing,
			written: role(writer),
			refused: "use " + writer,
			denied:  true,
		},
		{
			name:    "a target role, role not granted",
			grants:  []grant.Grant{to("shop", "*", far)},
			stored:  nothing,
			written: target(far),
			warned:  "use " + reader,
		},
		{
			name:    "a target role that is not granted",
			grants:  readers,
			stored:  nothing,
			written: target(far),
			refused: "use " + far,
			denied:  true,
		},
		{name: "away with a target role that is not granted", grants: readers, stored: target(far), written: nothing},
		{
			name:    "role and target role swapped",
			grants:  []grant.Grant{to("shop", "*", "x")},
			stored:  target(writer),
			written: both(role(writer), target(reader)),
			refused: "use " + writer,
			denied:  true,
		},
		{
			name:    "the role made target role",
			grants:  others,
			stored:  nothing,
			written: target(reader),
			refused: "use " + reader,
			denied:  true,
		},
		{
			name:    "other accounts",
			grants:  []grant.Grant{to("shop", "cart-a*", reader)},
			stored:  pattern("cart-a*"),
			written: pattern("cart-*"),
			refused: "all of shop/cart-*",
			denied:  true,
		},
		{name: "further change, grant gone", grants: others, stored: nothing, written: unbound, warned: "no RoleGrant"},

		{
			name:    "invalid, label",
			stored:  policy("{"),
			written: both(policy("{"), labelled),
			warned:  "until that is fixed",
		},
		{
			name:    "invalid, finalizer",
			stored:  both(policy("{"), func(a *kind) { a.Finalizers = []string{"x/y"} }),
			written: policy("{"),
			warned:  "spec.sessionPolicy: ",
		},
		{
			name:    "invalid, pause",
			stored:  policy("{"),
			written: both(policy("{"), paused),
			warned:  "spec.sessionPolicy: ",
		},
		{
			name:    "invalid, label, grant gone",
			grants:  others,
			stored:  policy("{"),
			written: both(policy("{"), labelled),
			warned:  "no RoleGrant",
		},
		{name: "invalid, another fault", stored: policy("{"), written: policy("["), refused: "spec.sessionPolicy: "},
		{
			name:    "invalid, something else too",
			stored:  policy("{"),
			written: both(policy("{"), unbound),
			refused: "spec.sessionPolicy: ",
		},
		{name: "invalid, fixed", stored: policy("{"), written: nothing},
		{name: "became invalid", stored: nothing, written: policy("{"), refused: "spec.sessionPolicy: "},
		{
			name:    "an empty map is none",
			stored:  policy("{"),
			written: both(policy("{"), func(a *kind) { a.Spec.SessionTags = map[string]string{} }),
			warned:  "spec.sessionPolicy: ",
		},
	} {
		var old *kind
		if row.stored != nil {
			old = good()
			row.stored(old)
		}
		a := good()
		row.written(a)
		warnings, err := rules(grant.NewSet(row.grants)).Decide(old, a)
		if (err != nil) != (row.refused != "") || err != nil && !strings.Contains(err.Error(), row.refused) {
			t.Errorf("%s: %v, want %q", row.name, err, row.refused)
		}
		said := strings.Join(warnings, "\n")
		if (said != "") != (row.warned != "") || !strings.Contains(said, row.warned) {
			t.Errorf("%s: warnings %q, want %q", row.name, warnings, row.warned)
		}
		checkFault(t, row.name, err, row.denied)
	}
}

// checkFault: those who answer can tell which field it is.
func checkFault(t *testing.T, name string, err error, denied bool) {
	t.Helper()
	if err == nil {
		return
	}
	want := fault.Invalid
	if denied {
		want = fault.Denied
	}
	refusal, isInvalid := errors.AsType[*association.Refusal](err)
	missing, isDenied := errors.AsType[*admission.NotGranted](err)
	switch {
	case fault.KindOf(err) != want, isInvalid == denied, isDenied != denied:
		t.Errorf("%s: kind %d of %v", name, fault.KindOf(err), err)
	case isInvalid && refusal.Field == "",
		isDenied && !strings.HasPrefix(missing.Field, "spec."),
		isDenied && len(fault.HintsOf(err)) == 0:
		t.Errorf("%s: no field or hint in %+v", name, err)
	}
}

// TestCheck: all roles are checked, no matter who stored them.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		grants []grant.Grant
		edit   func(*kind)
		field  string
	}{
		{"no grants", nil, target(far), ""},
		{"granted", []grant.Grant{to("shop", "*", "*")}, target(far), ""},
		{"role", []grant.Grant{to("shop", "*", far)}, target(far), "spec.roleARN"},
		{"target role", []grant.Grant{to("shop", "*", reader)}, target(far), "spec.targetRoleARN"},
		{"pattern by its text", []grant.Grant{to("shop", "cart-?", reader)}, pattern("cart-*"), "spec.roleARN"},
		{
			"star without allowPatterns",
			[]grant.Grant{to("shop", "cart-?", reader)},
			func(a *kind) { a.Spec.ServiceAccountName = "cart-*" },
			"spec.roleARN",
		},
	} {
		a := good()
		row.edit(a)
		err := rules(grant.NewSet(row.grants)).Check(a)
		missing, isDenied := errors.AsType[*admission.NotGranted](err)
		if isDenied != (row.field != "") || isDenied && missing.Field != row.field {
			t.Errorf("%s: %v", row.name, err)
		}
		checkFault(t, row.name, err, true)
	}
}

// TestInvalidUnderAnotherName: an invalid association is let in only for what it
// already was, not under another name with the same fault.
func TestInvalidUnderAnotherName(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*kind){
		"another name":      func(a *kind) { a.Name = "other" },
		"another namespace": func(a *kind) { a.Namespace = "other" },
	} {
		old, a := good(), good()
		policy("{")(old)
		policy("{")(a)
		edit(old)
		if warnings, err := rules(grant.NewSet(nil)).Decide(old, a); err == nil {
			t.Errorf("%s: let in with %q", name, warnings)
		}
	}
}
