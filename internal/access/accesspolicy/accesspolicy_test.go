package accesspolicy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
	"github.com/rolecall/rolecall/test/flagpage"
)

// TestPublished: each policy allows just what the rows of EKS's page do, transcribed
// apart from the code.
func TestPublished(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/published.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		row := strings.Fields(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(row) != 5 {
			t.Fatalf("row %q", line)
		}
		list := func(cell string) []string {
			if cell == "-" {
				return nil
			}
			return strings.Split(cell, ",")
		}
		group := strings.TrimPrefix(row[1], "-")
		expand(want, row[0], accesspolicy.Rule{
			APIGroups: []string{group}, Resources: list(row[2]), URLs: list(row[3]), Verbs: list(row[4]),
		})
	}
	got := map[string]bool{}
	for _, p := range accesspolicy.Policies() {
		for _, rule := range p.Rules {
			if (len(rule.URLs) > 0) == (len(rule.Resources) > 0) || len(rule.Verbs) == 0 {
				t.Errorf("%s: rule %+v is of nothing, or of two kinds", p.Name, rule)
			}
			expand(got, string(p.Name), rule)
		}
		if p.Source == "" || p.Date == "" || p.About == "" {
			t.Errorf("%s says not where it is from", p.Name)
		}
	}
	for permission := range want {
		if !got[permission] {
			t.Errorf("published, and not given: %s", permission)
		}
	}
	for permission := range got {
		if !want[permission] {
			t.Errorf("given, and not published: %s", permission)
		}
	}
	if len(want) != 937 { // else a row was lost, or read as something else
		t.Errorf("%d permissions were read", len(want))
	}
}

func expand(into map[string]bool, policy string, rule accesspolicy.Rule) {
	for _, verb := range rule.Verbs {
		for _, url := range rule.URLs {
			into[fmt.Sprintf("%s %s url %s", policy, verb, url)] = true
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				into[fmt.Sprintf("%s %s %s in %q", policy, verb, resource, group)] = true
			}
		}
	}
}

// TestNames: the policies are those that the kind lets in, sorted.
func TestNames(t *testing.T) {
	t.Parallel()
	definition, err := os.ReadFile("../../../api/crds/rolecall.io_accessentries.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := accesspolicy.Names()
	if !slices.IsSorted(names) || len(names) != strings.Count(string(definition), "- AmazonEKS") {
		t.Errorf("got %q", names)
	}
	for _, name := range names {
		if !strings.Contains(string(definition), "- "+name+"\n") {
			t.Errorf("%s is not let in by the kind", name)
		}
	}
}

// TestRoleOf: only the flavor that says so leads to Kubernetes' own roles.
func TestRoleOf(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		policy v1alpha1.AccessPolicyName
		flavor accesspolicy.Flavor
		want   string
		own    bool
	}{
		{"AmazonEKSViewPolicy", accesspolicy.EKS, "access-policy:AmazonEKSViewPolicy", true},
		{"AmazonEKSViewPolicy", accesspolicy.Builtin, "view", false},
		{"AmazonEKSEditPolicy", accesspolicy.Builtin, "edit", false},
		{"AmazonEKSAdminPolicy", accesspolicy.Builtin, "admin", false},
		{"AmazonEKSClusterAdminPolicy", accesspolicy.Builtin, "cluster-admin", false},
		{"AmazonEKSAdminViewPolicy", accesspolicy.Builtin, "access-policy:AmazonEKSAdminViewPolicy", true},
		{"AmazonEKSSecretReaderPolicy", accesspolicy.Builtin, "access-policy:AmazonEKSSecretReaderPolicy", true},
	} {
		if got, own := accesspolicy.RoleOf(row.policy, row.flavor); got != row.want || own != row.own {
			t.Errorf("%s, %s: got %s, %t", row.policy, row.flavor, got, own)
		}
	}
}

// TestOf: where a scope counts, and where in doubt: nowhere.
func TestOf(t *testing.T) {
	t.Parallel()
	there := accesspolicy.NewNamespaces([]string{"prod", "dev-2", "dev-1", "dev", "default", "dev-1"})
	for _, row := range []struct {
		scope      v1alpha1.AccessScope
		namespaces []string
		want, idle string
	}{
		{v1alpha1.ClusterScope, nil, "*", ""},
		{"", []string{"dev-*"}, "dev-1 dev-2", ""},
		{v1alpha1.NamespaceScope, []string{"dev-*"}, "dev-1 dev-2", ""},
		{"", []string{"dev*"}, "dev dev-1 dev-2", ""},
		{"", []string{"dev"}, "dev", ""},
		{"", []string{"dev-*", "dev-1", "prod"}, "dev-1 dev-2 prod", ""},
		{"", []string{"de"}, "", "de"},
		{"", []string{"zz*", "prod"}, "prod", "zz*"},
		{"", []string{"dev-3"}, "", "dev-3"},
		// What the kind does not let in.
		{"", nil, "", ""},
		{v1alpha1.NamespaceScope, nil, "", ""},
		{v1alpha1.ClusterScope, []string{"dev"}, "", "dev"},
		{"Cluster", nil, "", ""},
		{"", []string{"*"}, "", "*"},
		{"", []string{""}, "", ""},
		{"", []string{"*-1"}, "", "*-1"},
		{"", []string{"d*-*"}, "", "d*-*"},
		{"", []string{"dev-?"}, "", "dev-?"},
	} {
		places, idle := there.Of(&v1alpha1.AccessPolicy{
			Policy: "AmazonEKSViewPolicy", Scope: row.scope, Namespaces: row.namespaces,
		})
		var got []string
		for _, place := range places {
			if place.Namespace == "" {
				place.Namespace = "*"
			}
			got = append(got, place.Namespace)
		}
		if strings.Join(got, " ") != row.want || strings.Join(idle, " ") != row.idle {
			t.Errorf("%q %q: got %q, idle %q, want %q, %q", row.scope, row.namespaces, got, idle, row.want, row.idle)
		}
	}
	if places, _ := there.Of(&v1alpha1.AccessPolicy{Policy: "AmazonEKSHybridPolicy", Scope: "cluster"}); places != nil {
		t.Errorf("a policy that nobody can have: %v", places)
	}
}

// TestCompile holds what is compiled, of made-up entries and namespaces, to what each
// entry asks for, looked at one by one.
func TestCompile(t *testing.T) {
	t.Parallel()
	names := []string{"a", "a-1", "a-2", "ab", "b", "b-1", "c"}
	patterns := []string{"a", "a-*", "a*", "b-1", "b*", "zz", "c"}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		var grants []accesspolicy.Grant
		for i := range random.IntN(6) {
			g := accesspolicy.Grant{Group: access.PolicyGroup(fmt.Sprint(i))}
			for _, policy := range accesspolicy.Names() {
				switch random.IntN(4) {
				case 0:
					g.Policies = append(g.Policies, v1alpha1.AccessPolicy{
						Policy: v1alpha1.AccessPolicyName(policy), Scope: v1alpha1.ClusterScope,
					})
				case 1:
					g.Policies = append(g.Policies, v1alpha1.AccessPolicy{
						Policy:     v1alpha1.AccessPolicyName(policy),
						Namespaces: []string{patterns[random.IntN(len(patterns))], patterns[random.IntN(len(patterns))]},
					})
				}
			}
			grants = append(grants, g)
		}
		there := names[:random.IntN(len(names)+1)]
		wanted := accesspolicy.Compile(grants, accesspolicy.NewNamespaces(there))
		has := func(group string, policy v1alpha1.AccessPolicyName, namespace string) bool {
			groups := wanted[accesspolicy.Place{Policy: policy, Namespace: namespace}]
			if !slices.IsSorted(groups) {
				t.Errorf("seed %d: %q is not sorted", seed, groups)
			}
			return slices.Contains(groups, group)
		}
		total, counted := 0, 0
		for _, groups := range wanted {
			total += len(groups)
		}
		for _, g := range grants {
			for _, name := range accesspolicy.Names() {
				policy := v1alpha1.AccessPolicyName(name)
				for _, namespace := range append([]string{""}, there...) {
					want := false
					for _, p := range g.Policies {
						if p.Policy == policy {
							want = want || namespace == "" && p.Scope == v1alpha1.ClusterScope
							for _, pattern := range p.Namespaces {
								prefix, open := strings.CutSuffix(pattern, "*")
								want = want || namespace != "" &&
									(namespace == pattern || open && strings.HasPrefix(namespace, prefix))
							}
						}
					}
					if want {
						counted++
					}
					if got := has(g.Group, policy, namespace); got != want {
						t.Fatalf("seed %d: %s in %q: got %t, want %t, of %+v", seed, policy, namespace, got, want, g)
					}
				}
			}
		}
		if total != counted {
			t.Fatalf("seed %d: %d groups are bound, want %d", seed, total, counted)
		}
	}
}

// TestPage: the reference page shows the table as it is.
func TestPage(t *testing.T) {
	t.Parallel()
	flagpage.Check(t, "../../../docs/reference/access-policies.md", map[string]string{"policies": page()})
}

func page() string {
	var text strings.Builder
	code := func(names []string) string {
		var quoted []string
		for _, name := range names {
			if name == "" {
				name = "core"
			} else {
				name = "`" + name + "`"
			}
			quoted = append(quoted, name)
		}
		return strings.Join(quoted, ", ")
	}
	for _, p := range accesspolicy.Policies() {
		fmt.Fprintf(&text, "\n### %s\n\n%s%s.", p.Name, strings.ToUpper(p.About[:1]), p.About[1:])
		if role, own := accesspolicy.RoleOf(p.Name, accesspolicy.Builtin); !own {
			fmt.Fprintf(&text, " With `--access-policy-flavor builtin` it is Kubernetes' `%s`.", role)
		}
		fmt.Fprintf(&text, " Source: %s, as of %s.\n\n| API groups | resources or URLs | verbs |\n|---|---|---|\n", p.Source, p.Date)
		for _, rule := range p.Rules {
			things, groups := code(rule.Resources), code(rule.APIGroups)
			if len(rule.URLs) > 0 {
				things, groups = "URLs "+code(rule.URLs), "-"
			}
			fmt.Fprintf(&text, "| %s | %s | %s |\n", groups, things, code(rule.Verbs))
		}
	}
	return text.String() + "\n"
}
