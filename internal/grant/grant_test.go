package grant_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/grant"
)

const role = "arn:aws:iam::111122223333:role/team/a"

func one(namespace, account string, roles ...string) grant.Grant {
	return grant.Grant{Name: "g", Spec: v1alpha1.RoleGrantSpec{
		Subjects: []v1alpha1.GrantSubject{{Namespace: namespace, ServiceAccount: account}}, Roles: roles,
	}}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name                 string
		grants               []grant.Grant
		namespace, sa, takes string // n, s and role if empty
		want                 bool
		reason               string
	}{
		{name: "no grant", want: true, reason: "no RoleGrant"},
		{name: "no grant, junk", takes: "junk", want: true},
		{
			name:   "a grant that could not be read",
			grants: []grant.Grant{{Name: "g"}},
			reason: "no RoleGrant lets n/s use " + role,
		},
		{name: "exact", grants: []grant.Grant{one("n", "s", role)}, want: true, reason: `RoleGrant "g" allows it`},
		{name: "another namespace", grants: []grant.Grant{one("n2", "s", role)}},
		{name: "longer namespace", grants: []grant.Grant{one("n", "s", role)}, namespace: "nn"},
		{name: "another account", grants: []grant.Grant{one("n", "t", role)}},
		{name: "all accounts", grants: []grant.Grant{one("n", "", role)}, want: true},
		{name: "all accounts, written", grants: []grant.Grant{one("n", "*", role)}, want: true},
		{name: "patterns", grants: []grant.Grant{one("n*", "?", "arn:aws:iam::*:role/team/*")}, want: true},
		{name: "longer role", grants: []grant.Grant{one("n", "s", role)}, takes: role + "b"},
		{
			name:   "a role with the pattern inside",
			grants: []grant.Grant{one("n", "s", "arn:aws:iam::*:role/team/*")},
			takes:  "arn:aws:iam::999999999999:role/evil:role/team/a",
			reason: "is not a role ARN",
		},
		{
			name:   "another partition's ARN does not match",
			grants: []grant.Grant{one("n", "s", "arn:aws:iam::*:role/team/*")},
			takes:  "arn:aws-cn:iam::111122223333:role/team/a",
		},
		{name: "everything", grants: []grant.Grant{one("*", "*", "*")}, want: true},
		{name: "everything but junk", grants: []grant.Grant{one("*", "*", "*")}, takes: "junk"},
		{
			name:   "a path without a name",
			grants: []grant.Grant{one("*", "*", "*")},
			takes:  "arn:aws:iam::111122223333:role/a/",
		},
		{name: "a new line at the end", grants: []grant.Grant{one("*", "*", "*")}, takes: role + "\n"},
		{name: "nobody", grants: []grant.Grant{one("*", "*", "*")}, sa: "-"},
		{
			name:   "subject and role of different grants",
			grants: []grant.Grant{one("n", "s", "arn:aws:iam::111122223333:role/x"), one("m", "s", role)},
		},
		{name: "case counts", grants: []grant.Grant{one("n", "s", strings.ToUpper(role))}},
	} {
		namespace, sa, takes := "n", "s", role
		if row.namespace != "" {
			namespace = row.namespace
		}
		if row.sa != "" {
			sa = strings.Trim(row.sa, "-")
		}
		if row.takes != "" {
			takes = row.takes
		}
		got := grant.NewSet(row.grants).Allows(namespace, sa, takes)
		if got.Allowed != row.want || !strings.Contains(got.Reason, row.reason) {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

// TestRequired: where grants are required, none at all allows nothing; with one, both kinds
// of sets decide alike.
func TestRequired(t *testing.T) {
	t.Parallel()
	uses := []grant.Use{
		{Namespace: "n", ServiceAccount: "s", Role: role},
		{Namespace: "n", ServiceAccount: "s*", Role: role},
		{Namespace: "n", ServiceAccount: "s", Role: role, Mode: v1alpha1.BrokerRole, ExternalID: "x", Free: true},
	}
	for _, grants := range [][]grant.Grant{
		nil, {}, {one("n", "s", role)}, {one("m", "s", role)}, {{Name: "unread"}}, {one("*", "*", "*")},
	} {
		all, required := grant.NewSet(grants), grant.NewRequired(grants)
		for _, use := range uses {
			allowed, got := all.Decide(&use), required.Decide(&use)
			if want := allowed.Allowed && len(grants) > 0; got.Allowed != want || len(grants) > 0 && got != allowed {
				t.Errorf("%d grants, %+v: %+v, without the requirement %+v", len(grants), use, got, allowed)
			}
		}
		if required.Len() != len(grants) || required.AllowAll() || all.AllowAll() != (len(grants) == 0) {
			t.Errorf("%d grants: %d, all allowed %t and %t", len(grants), required.Len(), required.AllowAll(), all.AllowAll())
		}
	}
	got := grant.NewRequired(nil).Allows("n", "s", role)
	if got.Allowed || got.Reason != "no RoleGrant lets n/s use "+role+": the cluster has none, and they are required" {
		t.Errorf("%+v", got)
	}
	if grant.NewRequired(nil).AllowsPattern("n", "*", role).Allowed {
		t.Error("a pattern is allowed")
	}
}

// TestAllowsPattern: only a grant for at least as many accounts allows a pattern.
func TestAllowsPattern(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		pattern, granted string
		want             bool
	}{
		{"cart-*", "", true},
		{"cart-*", "*", true},
		{"cart-*", "cart-*", true},
		{"cart-*", "cart*", true},
		{"cart-*", "c?rt*", true},
		{"cart-*", "c*-*", true},
		{"cart-*", "cart*?", true},
		{"*", "*", true},
		{"*", "**", true},
		{"cart-*", "cart", false},
		{"cart-*", "cart-a", false},
		{"cart-*", "cart-?", false}, // a question mark is not a star
		{"cart-*", "cart-?*", false},
		{"cart-*", "cart-a*", false},
		{"cart-*", "*a", false},
		{"cart-*", "car?-", false},
		{"*", "?", false},
		{"*", "a*", false},
	} {
		grants := grant.NewSet([]grant.Grant{one("n", row.granted, role)})
		if got := grants.AllowsPattern("n", row.pattern,
			role); got.Allowed != row.want || !row.want &&
			got.Reason != "no RoleGrant lets all of n/"+row.pattern+" use "+role {
			t.Errorf("%s, granted %q: %+v", row.pattern, row.granted, got)
		}
		if got := grants.AllowsPattern("m", row.pattern, role); got.Allowed {
			t.Errorf("%s in another namespace: %+v", row.pattern, got)
		}
		if got := grants.AllowsPattern("n", row.pattern, role+"x"); got.Allowed {
			t.Errorf("%s, another role: %+v", row.pattern, got)
		}
	}
	halves := grant.NewSet([]grant.Grant{one("n", "a*", role), one("n", "*", role+"x")})
	if got := halves.AllowsPattern("n", "*", role); got.Allowed {
		t.Errorf("accounts and role of different grants: %+v", got)
	}
	if got := grant.NewSet(nil).AllowsPattern("n", "*", role); !got.Allowed {
		t.Errorf("no grant: %+v", got)
	}
}

// FuzzAllows: a yes needs a subject and a role of one grant that match as whole
// texts, decided here by regular expressions.
func FuzzAllows(f *testing.F) {
	f.Add("n*", "s", "arn:aws:iam::*:role/team/*", "n1", "s", role)
	f.Add("*", "", "*", "n", "s", role)
	f.Add("?", "a*b", "arn:aws:iam::111122223333:role/??", "n", "ab", "arn:aws:iam::111122223333:role/xy")
	f.Fuzz(func(t *testing.T, namespaces, accounts, roles, namespace, account, takes string) {
		for _, text := range []string{namespaces, accounts, roles, namespace, account, takes} {
			if strings.Count(text, "*") > 6 || strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 }) {
				t.Skip("names of Kubernetes and AWS are ASCII")
			}
		}
		got := grant.NewSet([]grant.Grant{one(namespaces, accounts, roles)}).Allows(namespace, account, takes)
		if accounts == "" {
			accounts = "*"
		}
		want := namespace != "" && account != "" && matches(namespaces, namespace) && matches(accounts, account) &&
			matches(roles, takes) &&
			regexp.MustCompile(
				`\Aarn:aws[a-z0-9-]*:iam::[0-9]{12}:role/([A-Za-z0-9_.@+=,-]+/)*[A-Za-z0-9_.@+=,-]{1,64}\z`,
			).MatchString(takes) &&
			len(takes) <= 2048 && strings.LastIndex(takes, "/")-strings.Index(takes, "/") < 512
		if got.Allowed != want {
			t.Errorf("%q %q %q: %q %q %q: %+v, want %t", namespaces, accounts, roles, namespace, account, takes, got,
				want)
		}
	})
}

func matches(pattern, text string) bool {
	quoted := strings.NewReplacer(`\*`, `(?s:.*)`, `\?`, `(?s:.)`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`\A(?:` + quoted + `)\z`).MatchString(text)
}

// TestModesAndExternalIDs: a grant is for its modes and external ids only, and everything
// must be allowed by one grant.
func TestModesAndExternalIDs(t *testing.T) {
	t.Parallel()
	limited := func(modes []v1alpha1.AssociationMode, ids ...string) grant.Grant {
		g := one("n", "s", role)
		g.Spec.Modes, g.Spec.ExternalIDs = modes, ids
		return g
	}
	broker := []v1alpha1.AssociationMode{v1alpha1.BrokerRole}
	for _, row := range []struct {
		name   string
		grants []grant.Grant
		use    grant.Use
		want   bool
		reason string
	}{
		{name: "any mode", grants: []grant.Grant{limited(nil)}, use: grant.Use{Mode: v1alpha1.Federated}, want: true},
		{name: "its mode", grants: []grant.Grant{limited(broker)}, use: grant.Use{Mode: v1alpha1.BrokerRole}, want: true},
		{
			name: "another mode", grants: []grant.Grant{limited(broker)}, use: grant.Use{Mode: v1alpha1.Federated},
			reason: "in mode Federated",
		},
		{name: "no association's role", grants: []grant.Grant{limited(broker)}, want: true},
		{
			name: "the second grant is for the mode", grants: []grant.Grant{limited(broker), limited(nil)},
			use: grant.Use{Mode: v1alpha1.Federated}, want: true,
		},
		{
			name: "the second grant is for the account", grants: []grant.Grant{one("m", "s", role), limited(nil)}, want: true,
		},
		{
			name: "an external id, of any", grants: []grant.Grant{limited(nil)}, use: grant.Use{ExternalID: "x"},
			reason: "with this external id",
		},
		{
			name: "an external id that the operator leaves free", grants: []grant.Grant{limited(nil)},
			use: grant.Use{ExternalID: "x", Free: true}, want: true,
		},
		{
			name: "its external id", grants: []grant.Grant{limited(nil, "team-*")}, use: grant.Use{ExternalID: "team-a"},
			want: true,
		},
		{
			name: "another external id, though the operator leaves it free", grants: []grant.Grant{limited(nil, "team-*")},
			use: grant.Use{ExternalID: "x", Free: true}, reason: "with this external id",
		},
		{
			name: "mode and external id of two grants", grants: []grant.Grant{limited(broker), limited(nil, "x")},
			use: grant.Use{Mode: v1alpha1.BrokerRole, ExternalID: "x"}, want: true,
		},
		{
			name:   "the mode of one grant and the external id of another",
			grants: []grant.Grant{limited([]v1alpha1.AssociationMode{v1alpha1.Federated}, "x"), limited(broker)},
			use:    grant.Use{Mode: v1alpha1.BrokerRole, ExternalID: "x"}, reason: "with this external id",
		},
		{name: "no grant at all", use: grant.Use{ExternalID: "x"}, reason: "nor does the operator"},
		{name: "no grant at all, free", use: grant.Use{ExternalID: "x", Free: true}, want: true},
	} {
		use := row.use
		use.Namespace, use.ServiceAccount, use.Role = "n", "s", role
		got := grant.NewSet(row.grants).Decide(&use)
		if got.Allowed != row.want || !strings.Contains(got.Reason, row.reason) {
			t.Errorf("%s: %+v, want %t and %q", row.name, got, row.want, row.reason)
		}
		if wrong := "required"; strings.Contains(got.Reason, wrong) {
			t.Errorf("%s: %q says %q, though there are grants or none is needed", row.name, got.Reason, wrong)
		}
	}
}
