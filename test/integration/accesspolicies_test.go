package integration_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
)

// permission is one verb on one resource of one API group.
type permission struct{ verb, group, resource string }

// publishedRows are the rows of EKS's page, by policy, expanded.
func publishedRows(t *testing.T) map[string]map[permission]bool {
	t.Helper()
	text, err := os.ReadFile("../../internal/access/accesspolicy/testdata/published.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[permission]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Fields(line)
		if strings.HasPrefix(line, "#") || cells[2] == "-" { // or of URLs
			continue
		}
		if rows[cells[0]] == nil {
			rows[cells[0]] = map[permission]bool{}
		}
		for verb := range strings.SplitSeq(cells[4], ",") {
			for resource := range strings.SplitSeq(cells[2], ",") {
				rows[cells[0]][permission{verb, strings.TrimPrefix(cells[1], "-"), resource}] = true
			}
		}
	}
	return rows
}

// permits is whether the rows of a policy have it.
func permits(rows map[permission]bool, p permission) bool {
	return rows[p] || rows[permission{p.verb, "*", "*"}] || rows[permission{"*", "*", "*"}]
}

// TestAccessPoliciesTellTheTruth: what Kubernetes itself makes of each policy, in the cluster
// and in a namespace, is what EKS publishes, and kubectl shows it.
func TestAccessPoliciesTellTheTruth(t *testing.T) {
	t.Parallel()
	w := newAccessWorld(t)
	w.start()
	rows := publishedRows(t)
	groups := map[string]map[string]string{"cluster": {}, "namespace": {}}
	for i, policy := range accesspolicy.Names() {
		for scope, text := range map[string]string{"cluster": `"scope":"cluster"`, "namespace": `"namespaces":["dev-*"]`} {
			name := fmt.Sprintf("%s-%d", scope, i)
			principal := "arn:aws:iam::111122223333:role/" + name
			groups[scope][policy] = access.PolicyGroup(principal)
			w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"`+name+`"},"spec":{"principal":{"arn":"`+
				principal+`"},"accessPolicies":[{"policy":"`+policy+`",`+text+`}]}}`)
		}
	}
	for i := range accesspolicy.Names() {
		w.until(fmt.Sprintf("cluster-%d", i), "Bound", "True", "in the cluster")
		w.until(fmt.Sprintf("namespace-%d", i), "Bound", "True", "in namespace dev-1")
	}
	w.reviews(rows, groups)
	w.lists(rows, groups)
	w.bindsRoles(groups["namespace"]["AmazonEKSAdminPolicy"])
	w.isBounded()
}

// isBounded: a policy that is taken out of the controller's permissions is no longer
// given, whatever its flags say, and the entry says so and has what else it names.
func (w *accessWorld) isBounded() {
	w.t.Helper()
	const name = "access-policy:AmazonEKSClusterAdminPolicy"
	role, err := w.Client.RbacV1().ClusterRoles().Get(w.t.Context(), "rolecall-access", metav1.GetOptions{})
	w.must(err)
	for i := range role.Rules {
		role.Rules[i].ResourceNames = slices.DeleteFunc(role.Rules[i].ResourceNames, func(n string) bool { return n == name })
	}
	_, err = w.Client.RbacV1().ClusterRoles().Update(w.t.Context(), role, metav1.UpdateOptions{})
	w.must(err)
	const principal = "arn:aws:iam::111122223333:role/late"
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"late"},"spec":{"principal":{"arn":"`+principal+`"},`+
		`"accessPolicies":[{"policy":"AmazonEKSClusterAdminPolicy","namespaces":["prod"]},`+
		`{"policy":"AmazonEKSViewPolicy","namespaces":["prod"]}]}}`)
	got := w.until("late", "Bound", "False", "the API server does not let the controller")
	if c := meta.FindStatusCondition(got.Status.Conditions, "Bound"); c.Reason != "Forbidden" {
		w.t.Errorf("got %+v", c)
	}
	group := access.PolicyGroup(principal)
	w.can(group, true, "list", "pods", "prod")
	w.can(group, false, "delete", "roles.rbac.authorization.k8s.io", "prod")
}

// reviews asks the API server about all that is published and about much that is not.
func (w *accessWorld) reviews(rows map[string]map[permission]bool, groups map[string]map[string]string) {
	w.t.Helper()
	known := map[permission]bool{}
	verbs := map[string]bool{}
	resources := map[[2]string]bool{
		{"", "nodes"}: true, {"", "pods/eviction"}: true, {"", "serviceaccounts/token"}: true, {"", "namespaces/finalize"}: true,
		{"coordination.k8s.io", "leases"}: true, {"monitoring.coreos.com", "servicemonitors"}: true,
		{"rbac.authorization.k8s.io", "clusterroles"}: true, {"rbac.authorization.k8s.io", "clusterrolebindings"}: true,
		{"", "users"}: true, {"", "groups"}: true, {"rolecall.io", "accessentries"}: true,
	}
	for _, verb := range []string{"bind", "escalate", "use", "approve"} {
		verbs[verb] = true
	}
	for _, of := range rows {
		for p := range of {
			if p.resource != "*" {
				known[p] = true
				resources[[2]string{p.group, p.resource}] = true
				verbs[p.verb] = true
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	allVerbs := slices.Sorted(maps.Keys(verbs))
	for resource := range resources {
		for range 3 {
			known[permission{allVerbs[random.IntN(len(allVerbs))], resource[0], resource[1]}] = true
		}
	}
	config := rest.CopyConfig(w.Config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	w.must(err)
	var questions []func()
	ask := func(group, namespace string, p permission, want bool) {
		questions = append(questions, func() {
			resource, subresource, _ := strings.Cut(p.resource, "/")
			answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(w.t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{
					User: "somebody", Groups: []string{group},
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: namespace, Verb: p.verb, Group: p.group, Resource: resource, Subresource: subresource,
					},
				},
			}, metav1.CreateOptions{})
			if err != nil || answer.Status.Allowed != want {
				w.t.Errorf("%+v in %q as %s: got %+v, %v, want %t", p, namespace, group, answer.Status, err, want)
			}
		})
	}
	yes, no := 0, 0
	for policy, of := range rows {
		for p := range known {
			want := permits(of, p)
			if want {
				yes++
			} else if no++; random.IntN(4) > 0 {
				continue
			}
			ask(groups["cluster"][policy], "", p, want)
			ask(groups["namespace"][policy], "dev-1", p, want)
			if random.IntN(4) == 0 {
				ask(groups["cluster"][policy], "prod", p, want)
				ask(groups["namespace"][policy], "prod", p, false)
				ask(groups["namespace"][policy], "", p, false)
			}
		}
		for scope := range groups {
			questions = append(questions, func() {
				answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(w.t.Context(), &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{
						User: "somebody", Groups: []string{groups[scope][policy]},
						NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
					},
				}, metav1.CreateOptions{})
				want := policy == "AmazonEKSClusterAdminPolicy" && scope == "cluster"
				if err != nil || answer.Status.Allowed != want {
					w.t.Errorf("%s, %s: /metrics: got %+v, %v, want %t", policy, scope, answer, err, want)
				}
			})
		}
	}
	if yes < 900 || no < 900 {
		w.t.Errorf("only %d that are allowed and %d that are not", yes, no)
	}
	var asking sync.WaitGroup
	for part := range 8 {
		asking.Go(func() {
			for i := part; i < len(questions); i += 8 {
				questions[i]()
			}
		})
	}
	asking.Wait()
	w.t.Logf("asked %d questions", len(questions))
}

// lists: kubectl auth can-i --list, which asks for a SelfSubjectRulesReview, has just what is
// published.
func (w *accessWorld) lists(rows map[string]map[permission]bool, groups map[string]map[string]string) {
	w.t.Helper()
	rules := func(group, namespace string) map[permission]bool {
		answer, err := w.as(group).AuthorizationV1().SelfSubjectRulesReviews().Create(w.t.Context(),
			&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}},
			metav1.CreateOptions{})
		w.must(err)
		found := map[permission]bool{}
		for _, rule := range answer.Status.ResourceRules {
			for _, verb := range rule.Verbs {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						found[permission{verb, group, resource}] = true
					}
				}
			}
		}
		return found
	}
	everybody := rules("nobody-has-this", "dev-1")
	for policy, want := range rows {
		for _, row := range []struct {
			scope, namespace string
			want             map[permission]bool
		}{
			{"cluster", "prod", want}, {"namespace", "dev-1", want}, {"namespace", "prod", nil},
		} {
			got := rules(groups[row.scope][policy], row.namespace)
			for p := range everybody {
				if !row.want[p] {
					delete(got, p)
				}
			}
			if !maps.Equal(got, row.want) && len(got)+len(row.want) > 0 {
				w.t.Errorf("%s, %s, in %s: got %d rules, want %d", policy, row.scope, row.namespace, len(got), len(row.want))
			}
		}
	}
	var out bytes.Buffer
	command := exec.CommandContext(w.t.Context(), w.Kubectl, "--kubeconfig", w.Kubeconfig, "auth", "can-i", "--list",
		"-n", "dev-1", "--as", "somebody", "--as-group", groups["namespace"]["AmazonEKSEditPolicy"])
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil || !strings.Contains(out.String(), "deployments.apps/rollback") ||
		!strings.Contains(out.String(), "impersonate") {
		w.t.Errorf("%v\n%s", err, &out)
	}
}

// bindsRoles: who administers a namespace may bind there what holds nothing that they lack,
// by Kubernetes' own check, which knows the policy's rules as they are RBAC.
func (w *accessWorld) bindsRoles(group string) {
	w.t.Helper()
	w.aggregate("view", "system:aggregate-to-view")
	w.aggregate("edit", "system:aggregate-to-view", "system:aggregate-to-edit")
	w.aggregate("admin", "system:aggregate-to-view", "system:aggregate-to-edit", "system:aggregate-to-admin")
	n := 0
	binds := func(role string) bool {
		n++
		_, err := w.as(group).RbacV1().RoleBindings("dev-1").Create(w.t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("mine-%d", n)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "colleague"}},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsForbidden(err) {
			w.t.Fatal(err)
		}
		if err != nil {
			w.t.Logf("%s: %.300s", role, err)
		}
		return err == nil
	}
	check := func(flavor string, want map[string]bool) {
		w.t.Helper()
		for role, want := range want {
			if got := binds(role); got != want {
				w.t.Errorf("flavor %s: who has AmazonEKSAdminPolicy binds %s: got %t, want %t", flavor, role, got, want)
			}
		}
	}
	check("eks", map[string]bool{
		viewPolicy: true, editPolicy: true, adminPolicy: true, secretPolicy: true, "view": false, "edit": false,
		"admin": false, "access-policy:AmazonEKSClusterAdminPolicy": false, "cluster-admin": false,
		"access-policy:AmazonEKSAdminViewPolicy": false,
	})

	applyGuide(w.t, w.Cluster, "access-entries.md", "rbac builtin")
	w.start("--access-policy-flavor", "builtin")
	w.eventually("what the other flavor had made is gone", func() bool {
		return len(w.rbac(func(o metav1.Object) bool {
			return o.GetNamespace() == "" && o.GetName() == adminPolicy
		})) == 1 // the binding
	})
	w.eventually("Kubernetes' own role is bound", func() bool {
		b, err := w.Client.RbacV1().RoleBindings("dev-1").Get(w.t.Context(), adminPolicy, metav1.GetOptions{})
		return err == nil && b.RoleRef.Name == "admin"
	})
	w.can(group, true, "create", "leases.coordination.k8s.io", "dev-1")
	w.can(group, false, "create", "leases.coordination.k8s.io", "prod")
	check("builtin", map[string]bool{"view": true, "edit": true, "admin": true, "cluster-admin": false})
	w.start()
	w.eventually("and back", func() bool {
		b, err := w.Client.RbacV1().RoleBindings("dev-1").Get(w.t.Context(), adminPolicy, metav1.GetOptions{})
		return err == nil && b.RoleRef.Name == adminPolicy && w.allowed(group, "delete", "roles.rbac.authorization.k8s.io", "dev-1")
	})
}

// aggregate does what the controller of cluster roles does, which is not part of this cluster.
func (w *accessWorld) aggregate(role string, parts ...string) {
	w.t.Helper()
	roles := w.Client.RbacV1().ClusterRoles()
	whole, err := roles.Get(w.t.Context(), role, metav1.GetOptions{})
	w.must(err)
	whole.Rules = nil
	for _, part := range parts {
		one, err := roles.Get(w.t.Context(), part, metav1.GetOptions{})
		w.must(err)
		whole.Rules = append(whole.Rules, one.Rules...)
	}
	_, err = roles.Update(w.t.Context(), whole, metav1.UpdateOptions{})
	w.must(err)
}
