package integration_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

const (
	viewPolicy   = "access-policy:AmazonEKSViewPolicy"
	editPolicy   = "access-policy:AmazonEKSEditPolicy"
	adminPolicy  = "access-policy:AmazonEKSAdminPolicy"
	secretPolicy = "access-policy:AmazonEKSSecretReaderPolicy"
)

// accessWorld is a cluster with the controller, which has the permissions of its guides
// and no others, and local AWS as its IAM.
type accessWorld struct {
	*cluster.Cluster

	t        *testing.T
	objects  dynamic.Interface
	accounts *account.Set
	env      []string
	file     string // kubeconfig of the controller
	metrics  string
	running  *program
}

func newAccessWorld(t *testing.T) *accessWorld {
	t.Helper()
	w := &accessWorld{Cluster: cluster.Start(t, cluster.Options{}), t: t}
	var err error
	w.objects, err = dynamic.NewForConfig(w.Config)
	w.must(err)
	installCRDs(t, w.objects)
	for _, name := range []string{"rolecall-system", "prod", "dev-1"} {
		w.namespace(name)
	}
	for namespace, name := range map[string]string{"default": "default", "rolecall-system": "rolecall-controller"} {
		_, err := w.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{})
		w.must(err)
	}
	applyGuide(t, w.Cluster, "issuer.md", "rbac")
	applyGuide(t, w.Cluster, "access-entries.md", "rbac")
	w.accounts, err = account.NewSet(account.NewMemory(), []string{"111122223333"}, time.Now())
	w.must(err)
	admin, err := w.accounts.Default().AdminKey()
	w.must(err)
	aws := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: w.accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(aws.Close)
	w.env = []string{
		"AWS_ENDPOINT_URL=" + aws.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + admin.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + admin.SecretKey.Reveal(),
	}
	w.file = kubeconfigOf(t, w.Cluster, "rolecall-controller")
	return w
}

// start runs the controller, in place of the one that runs.
func (w *accessWorld) start(flags ...string) {
	w.t.Helper()
	if w.running != nil {
		if code := w.running.stop(w.t); code != 0 {
			w.t.Errorf("exit code %d", code)
		}
	}
	w.metrics = freeport.Address(w.t)
	w.running = startProgram(w.t, w.env, append([]string{
		"serve", "controller", "--kubeconfig", w.file, "--metrics-listen", w.metrics, "--access-entries",
		"--access-principals-every", "200ms",
	}, flags...)...)
}

// TestAccessEntries: entries become RBAC that Kubernetes goes by, and nothing else does.
func TestAccessEntries(t *testing.T) {
	t.Parallel()
	w := newAccessWorld(t)
	first := w.role("dev")
	w.start()
	const dev = "arn:aws:iam::111122223333:role/dev"
	const group = "access-entry:f98916774becaf5d" // of dev, by sha256sum
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"dev"},"spec":{"principal":{"arn":`+
		`"arn:aws:iam::111122223333:role/dev"},"accessPolicies":[{"policy":"AmazonEKSViewPolicy","scope":"cluster"},`+
		`{"policy":"AmazonEKSEditPolicy","namespaces":["dev-*","later"]}]}}`)
	w.until("dev", "Bound", "True", "group "+group+" has AmazonEKSViewPolicy in the cluster, AmazonEKSEditPolicy in namespace dev-1")
	got := w.until("dev", "Ready", "True", dev+" enters by it, as long as IAM's id of it is "+first)
	if got.Status.UserID != first || got.Status.Principal != dev || got.Status.ObservedGeneration != 1 {
		t.Errorf("status %+v", got.Status)
	}

	w.can(group, true, "list", "pods", "prod")
	w.can(group, true, "list", "pods", "")
	w.can(group, true, "create", "deployments.apps", "dev-1")
	w.can(group, false, "create", "deployments.apps", "prod")
	w.can(group, false, "get", "secrets", "prod")
	w.can("access-entry:0123456789abcdef", false, "list", "pods", "prod")

	// Namespaces that come and go.
	w.namespace("dev-2")
	w.until("dev", "Bound", "True", "in 2 namespaces (dev-1, dev-2)")
	w.can(group, true, "create", "deployments.apps", "dev-2")
	w.must(w.Client.CoreV1().Namespaces().Delete(t.Context(), "dev-2", metav1.DeleteOptions{}))
	w.gone("a binding in a namespace that goes", func() error {
		_, err := w.Client.RbacV1().RoleBindings("dev-2").Get(t.Context(), editPolicy, metav1.GetOptions{})
		return err
	})

	w.definition()
	w.fixes(group)
	w.leavesForeign()
	w.shadows(group, dev)
	w.replaces(group, first)
	w.editsScopes(group)
	w.reports()

	// Nothing is left of ours, and all of others.
	before := w.foreign()
	for _, kind := range []string{"accessentries", "identitymappings"} {
		w.must(w.objects.Resource(rolecallResource(kind)).DeleteCollection(
			t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	}
	poll(t, func() bool { return len(w.ours()) == 0 }, func() { t.Fatalf("left: %q", w.ours()) })
	if after := w.foreign(); !slices.Equal(before, after) {
		t.Errorf("of others: got %q, want %q", after, before)
	}
	if code := w.running.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if log := w.running.log.String(); strings.Contains(log, "permission missing") ||
		strings.Contains(log, "is forbidden") {
		t.Error(log)
	}
}

// definition: what the kind refuses, so that a grant is never another than its author
// means.
func (w *accessWorld) definition() {
	w.t.Helper()
	const role, user = `"arn":"arn:aws:iam::111122223333:role/n"`, `"arn":"arn:aws:iam::111122223333:user/n"`
	const view = `"accessPolicies":[{"policy":"AmazonEKSViewPolicy",`
	for _, row := range []struct{ name, principal, spec, refused string }{
		{"cluster", role, view + `"scope":"cluster"}]`, ""},
		{"namespaces", role, view + `"namespaces":["a","b-*"]}]`, ""},
		{"namespaces, said twice", role, view + `"scope":"namespace","namespaces":["a"]}]`, ""},
		{"no scope", role, `"accessPolicies":[{"policy":"AmazonEKSViewPolicy"}]`, "say where the policy counts"},
		{"no namespaces", role, view + `"namespaces":[]}]`, "namespaces"},
		{"no namespaces of a namespace scope", role, view + `"scope":"namespace"}]`, "say where the policy counts"},
		{"two scopes", role, view + `"scope":"cluster","namespaces":["a"]}]`, "say where the policy counts"},
		{"a misspelt key", role, view + `"namespace":["a"]}]`, "say where the policy counts"}, // which is dropped
		{"a type for a scope", role, view + `"scope":"EC2_LINUX"}]`, `supported values: "cluster", "namespace"`},
		{"a star alone", role, view + `"namespaces":["*"]}]`, "namespaces[0]"},
		{"a star inside", role, view + `"namespaces":["a-*-b"]}]`, "namespaces[0]"},
		{"no policy", role, `"accessPolicies":[{"scope":"cluster"}]`, "accessPolicies[0].policy: Required"},
		{"a policy twice", role, view + `"scope":"cluster"},{"policy":"AmazonEKSViewPolicy","namespaces":["a"]}]`, "Duplicate"},
		{"a policy of EKS's own", role, `"accessPolicies":[{"policy":"AmazonEKSHybridPolicy","scope":"cluster"}]`, "policy"},
		{"a policy's ARN", role, `"accessPolicies":[{"policy":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",` +
			`"scope":"cluster"}]`, "policy"},
		{"a node", role, `"type":"EC2_LINUX"`, ""},
		{"a node that says nothing at length", role, `"type":"EC2_LINUX","kubernetesGroups":[],"accessPolicies":[]`, ""},
		{"a node with a policy", role, `"type":"EC2_LINUX",` + view + `"scope":"cluster"}]`, "only entries of type STANDARD"},
		{"a node with groups", role, `"type":"HYBRID_LINUX","kubernetesGroups":["a"]`, "node types are fixed"},
		{"a node with a name", role, `"type":"FARGATE_LINUX","username":"a"`, "node types are fixed"},
		{"a node that is a user", user, `"type":"EC2_LINUX"`, "principal of a node type is a role"},
		{"masters", role, `"kubernetesGroups":["system:masters"]`, "cannot start with system:"},
		{
			"a service-linked role", `"arn":"arn:aws:iam::111122223333:role/aws-service-role/a.amazonaws.com/b"`,
			`"kubernetesGroups":["a"]`, "a service-linked role cannot have an access entry",
		},
		{"an account", `"account":"111122223333"`, `"kubernetesGroups":["a"]`, "a role, a user or a permission set"},
		{"a permission set", `"permissionSet":"View","account":"111122223333"`, view + `"scope":"cluster"}]`, ""},
	} {
		object := &unstructured.Unstructured{}
		w.must(object.UnmarshalJSON([]byte(`{"apiVersion":"rolecall.io/v1alpha1","kind":"AccessEntry","metadata":{"name":"row"},` +
			`"spec":{"principal":{` + row.principal + `},` + row.spec + `}}`)))
		_, err := w.objects.Resource(rolecallResource("accessentries")).Create(w.t.Context(), object, metav1.CreateOptions{
			DryRun: []string{metav1.DryRunAll},
		})
		if (err != nil) != (row.refused != "") || err != nil && !strings.Contains(err.Error(), row.refused) {
			w.t.Errorf("%s: %v, want %q", row.name, err, row.refused)
		}
	}
}

// fixes: what somebody has changed of ours is put right.
func (w *accessWorld) fixes(group string) {
	w.t.Helper()
	ctx, rbac := w.t.Context(), w.Client.RbacV1()
	w.must(rbac.ClusterRoleBindings().Delete(ctx, viewPolicy, metav1.DeleteOptions{}))
	w.eventually("a binding that was deleted is back", func() bool { return w.allowed(group, "list", "pods", "prod") })
	w.must(rbac.ClusterRoles().Delete(ctx, viewPolicy, metav1.DeleteOptions{}))
	w.eventually("a role that was deleted is back", func() bool { return w.allowed(group, "list", "pods", "prod") })

	_, err := rbac.RoleBindings("dev-1").Patch(ctx, editPolicy, types.JSONPatchType, []byte(
		`[{"op":"add","path":"/subjects/-","value":{"kind":"User","name":"mallory","apiGroup":"rbac.authorization.k8s.io"}}]`,
	), metav1.PatchOptions{})
	w.must(err)
	w.eventually("a subject that was added is out", func() bool {
		b, err := rbac.RoleBindings("dev-1").Get(ctx, editPolicy, metav1.GetOptions{})
		w.must(err)
		return len(b.Subjects) == 1 && b.Subjects[0].Name == group
	})
	_, err = rbac.ClusterRoles().Patch(ctx, viewPolicy, types.JSONPatchType, []byte(
		`[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]`,
	), metav1.PatchOptions{})
	w.must(err)
	w.eventually("a rule that was added is out", func() bool { return !w.allowed(group, "get", "secrets", "prod") })

	// Who takes the label off makes it theirs: nothing is bound to it then.
	label := func(value string) {
		_, err := rbac.ClusterRoles().Patch(ctx, viewPolicy, types.MergePatchType, []byte(
			`{"metadata":{"labels":{"app.kubernetes.io/managed-by":`+value+`}}}`), metav1.PatchOptions{})
		w.must(err)
	}
	label("null")
	w.until("dev", "Bound", "False", "ClusterRole "+viewPolicy+" is not one of Rolecall's")
	w.can(group, false, "list", "pods", "prod")
	w.can(group, true, "create", "deployments.apps", "dev-1")
	label(`"rolecall"`)
	w.until("dev", "Bound", "True", "AmazonEKSViewPolicy in the cluster")
	w.can(group, true, "list", "pods", "prod")

	// Another role, in our name: it cannot be changed, so the binding is made again.
	w.must(rbac.RoleBindings("dev-1").Delete(ctx, editPolicy, metav1.DeleteOptions{}))
	_, err = rbac.RoleBindings("dev-1").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name: editPolicy, Labels: map[string]string{"app.kubernetes.io/managed-by": "rolecall"},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) { // the controller may have been faster
		w.t.Fatal(err)
	}
	w.eventually("a binding to another role is made again", func() bool {
		b, err := rbac.RoleBindings("dev-1").Get(ctx, editPolicy, metav1.GetOptions{})
		return err == nil && b.RoleRef.Name == editPolicy && len(b.Subjects) == 1
	})
	w.can(group, false, "delete", "roles.rbac.authorization.k8s.io", "dev-1")
}

// leavesForeign: objects of our names that are somebody else's stay as they are, nothing
// is bound to them, and the entry says so.
func (w *accessWorld) leavesForeign() {
	w.t.Helper()
	ctx, rbac := w.t.Context(), w.Client.RbacV1()
	everything := []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}
	_, err := rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: secretPolicy}, Rules: everything,
	}, metav1.CreateOptions{})
	w.must(err)
	_, err = rbac.RoleBindings("prod").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: adminPolicy},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	w.must(err)
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"ops"},"spec":{"principal":{"arn":`+
		`"arn:aws:iam::111122223333:user/ops"},"accessPolicies":[{"policy":"AmazonEKSSecretReaderPolicy","scope":"cluster"},`+
		`{"policy":"AmazonEKSAdminPolicy","namespaces":["prod","dev-1"]}]}}`)
	got := w.until("ops", "Bound", "False", "ClusterRole "+secretPolicy+" is not one of Rolecall's")
	bound := meta.FindStatusCondition(got.Status.Conditions, "Bound")
	for _, text := range []string{"RoleBinding prod/" + adminPolicy + " is not one of Rolecall's", "AmazonEKSAdminPolicy in namespace dev-1"} {
		if bound.Reason != "Foreign" || !strings.Contains(bound.Message, text) {
			w.t.Errorf("got %s: %s, want %s", bound.Reason, bound.Message, text)
		}
	}
	_, group, _ := strings.Cut(bound.Message, "group ")
	group, _, _ = strings.Cut(group, " ")
	w.can(group, true, "delete", "roles.rbac.authorization.k8s.io", "dev-1")
	w.can(group, false, "get", "pods", "prod")
	w.can(group, false, "get", "secrets", "prod")
	w.can(group, false, "delete", "nodes", "")
	role, err := rbac.ClusterRoles().Get(ctx, secretPolicy, metav1.GetOptions{})
	w.must(err)
	binding, err := rbac.RoleBindings("prod").Get(ctx, adminPolicy, metav1.GetOptions{})
	w.must(err)
	if len(role.Labels)+len(role.ManagedFields) != 1 || role.Rules[0].Verbs[0] != "*" || len(binding.Subjects) != 0 ||
		len(binding.Labels) != 0 || binding.RoleRef.Name != "view" {
		w.t.Errorf("touched: %+v, %+v", role, binding)
	}
	// When nobody is in the way any more it is ours.
	w.must(rbac.RoleBindings("prod").Delete(ctx, adminPolicy, metav1.DeleteOptions{}))
	w.eventually("the place is taken when it is free", func() bool { return w.allowed(group, "get", "pods", "prod") })
	w.until("ops", "Bound", "False", "in 2 namespaces (dev-1, prod)")
}

// shadows: of two entries of one principal the older counts, and what the other names is
// not given; a mapping comes after both.
func (w *accessWorld) shadows(group, dev string) {
	w.t.Helper()
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"also-dev"},"spec":{"principal":{"arn":`+
		`"arn:aws:iam::111122223333:role/some/path/Dev"},"accessPolicies":[{"policy":"AmazonEKSClusterAdminPolicy",`+
		`"scope":"cluster"}]}}`)
	w.until("also-dev", "Shadowed", "True", "AccessEntry dev is about the same principal, and is older")
	w.until("also-dev", "Ready", "False", "older")
	w.until("also-dev", "Bound", "False", "nothing is bound")
	w.can(group, false, "delete", "nodes", "")
	w.create("identitymappings", `{"kind":"IdentityMapping","metadata":{"name":"dev"},"spec":{"principal":{"arn":"`+dev+
		`"},"username":"dev"}}`)
	w.create("identitymappings", `{"kind":"IdentityMapping","metadata":{"name":"root"},"spec":{"principal":{"account":`+
		`"111122223333"},"username":"{{AccountID}}"}}`)
	w.untilMapping("dev", "Shadowed", "True", "AccessEntry dev is about the same principal, and access entries are asked first")
	w.untilMapping("root", "Ready", "True", "")
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"nothing"},"spec":{"principal":{"arn":`+
		`"arn:aws:iam::111122223333:role/nothing"}}}`)
	w.role("nothing")
	w.until("nothing", "Ready", "False", "neither kubernetesGroups nor accessPolicies")
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"mars"},"spec":{"principal":{"arn":`+
		`"arn:aws-mars:iam::111122223333:role/dev"},"accessPolicies":[{"policy":"AmazonEKSClusterAdminPolicy","scope":`+
		`"cluster"}]}}`)
	invalid := w.until("mars", "Ready", "False", "")
	if c := meta.FindStatusCondition(invalid.Status.Conditions, "Ready"); c.Reason != "InvalidPrincipal" {
		w.t.Errorf("got %+v", c)
	}
	w.until("mars", "Bound", "False", "")
	w.must(w.objects.Resource(rolecallResource("accessentries")).Delete(w.t.Context(), "also-dev", metav1.DeleteOptions{}))
}

// replaces: a role that was deleted and made again is another principal, until somebody
// says that it is meant.
func (w *accessWorld) replaces(group, first string) {
	w.t.Helper()
	second := w.role("dev")
	w.until("dev", "Ready", "False", "IAM has it as "+second+", and this is about "+first)
	got := w.until("dev", "Bound", "False", "")
	if c := meta.FindStatusCondition(got.Status.Conditions, "Ready"); c.Reason != "PrincipalReplaced" ||
		!strings.Contains(c.Message, "kubectl patch accessentry dev --subresource status") || got.Status.UserID != first {
		w.t.Errorf("got %+v, %s", c, got.Status.UserID)
	}
	w.can(group, false, "list", "pods", "prod")
	aws := w.env // the next one does not forget, though it cannot ask IAM
	w.env = []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}
	w.start()
	w.namespace("dev-3") // seen by the one that runs now
	w.create("accessentries", `{"kind":"AccessEntry","metadata":{"name":"unknown"},"spec":{"principal":{"arn":`+
		`"arn:aws:iam::111122223333:role/unknown"},"kubernetesGroups":["g"]}}`)
	w.until("unknown", "Ready", "True", "its id is not known")
	w.until("dev", "Ready", "False", second)
	w.can(group, false, "list", "pods", "prod")
	w.env = aws
	w.start()
	_, err := w.objects.Resource(rolecallResource("accessentries")).Patch(w.t.Context(), "dev", types.MergePatchType,
		[]byte(`{"status":{"userID":null}}`), metav1.PatchOptions{}, "status")
	w.must(err)
	w.until("dev", "Ready", "True", second)
	w.until("dev", "Bound", "True", "in 2 namespaces (dev-1, dev-3)")
	w.can(group, true, "list", "pods", "prod")
}

// editsScopes: an entry that is changed has just what it says then.
func (w *accessWorld) editsScopes(group string) {
	w.t.Helper()
	edit := func(policies string) {
		_, err := w.objects.Resource(rolecallResource("accessentries")).Patch(w.t.Context(), "dev", types.MergePatchType,
			[]byte(`{"spec":{"accessPolicies":`+policies+`}}`), metav1.PatchOptions{})
		w.must(err)
	}
	edit(`[{"policy":"AmazonEKSEditPolicy","namespaces":["prod"]},{"policy":"AmazonEKSViewPolicy","namespaces":["nowhere-*"]}]`)
	w.until("dev", "Bound", "True", "in namespace prod; AmazonEKSViewPolicy: no namespace is nowhere-* yet")
	w.can(group, true, "create", "deployments.apps", "prod")
	w.can(group, false, "create", "deployments.apps", "dev-1")
	w.can(group, false, "list", "pods", "dev-1")
	edit(`[{"policy":"AmazonEKSViewPolicy","namespaces":["nowhere-*"]}]`)
	w.until("dev", "Bound", "False", "has nothing until there is one")
	w.can(group, false, "list", "pods", "prod")

	// What the operator does not let be given is not, and what was given of it goes.
	edit(`[{"policy":"AmazonEKSClusterAdminPolicy","scope":"cluster"},{"policy":"AmazonEKSViewPolicy","scope":"cluster"}]`)
	w.until("dev", "Bound", "True", "AmazonEKSClusterAdminPolicy in the cluster")
	w.can(group, true, "delete", "nodes", "")
	w.start("--access-policies", "AmazonEKSViewPolicy,AmazonEKSEditPolicy")
	w.until("dev", "Bound", "False", "--access-policies lacks AmazonEKSClusterAdminPolicy; group "+group+
		" has AmazonEKSViewPolicy in the cluster")
	w.eventually("what may not be given is taken back", func() bool { return !w.allowed(group, "delete", "nodes", "") })
	w.can(group, true, "list", "pods", "prod")
	w.start()
	w.until("dev", "Bound", "True", "AmazonEKSClusterAdminPolicy in the cluster")
}

// reports: Events and metrics say it.
func (w *accessWorld) reports() {
	w.t.Helper()
	w.eventually("Events say it", func() bool {
		events, err := w.Client.EventsV1().Events(metav1.NamespaceAll).List(w.t.Context(), metav1.ListOptions{})
		w.must(err)
		said := ""
		for i := range events.Items {
			said += events.Items[i].Regarding.Kind + " " + events.Items[i].Regarding.Name + " " + events.Items[i].Reason + "\n"
		}
		return strings.Contains(said, "AccessEntry dev PrincipalReplaced") && strings.Contains(said, "AccessEntry ops Foreign") &&
			strings.Contains(said, "IdentityMapping dev AccessEntry")
	})
	w.eventually("metrics say it", func() bool {
		answer := call(w.t, http.DefaultClient, "GET", "http://"+w.metrics+"/metrics", "")
		return strings.Contains(answer, `rolecall_access_objects{condition="Ready",kind="IdentityMapping",status="False"} 1`) &&
			strings.Contains(answer, `rolecall_access_policy_bindings{state="missing"} 1`)
	})
}

// role makes a role of IAM, in place of one of that name, and returns its id.
func (w *accessWorld) role(name string) string {
	w.t.Helper()
	id := account.NewRoleID()
	w.must(w.accounts.Default().Update(func(state account.State) error {
		return state.PutRole(&account.Role{
			Name: name, Path: "/", ID: id, MaxSession: 3600, Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
				`"Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		})
	}))
	return id
}

func (w *accessWorld) namespace(name string) {
	w.t.Helper()
	_, err := w.Client.CoreV1().Namespaces().Create(w.t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, metav1.CreateOptions{})
	w.must(err)
}

func (w *accessWorld) create(resource, text string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	w.must(object.UnmarshalJSON([]byte(strings.Replace(text, "{", `{"apiVersion":"rolecall.io/v1alpha1",`, 1))))
	_, err := w.objects.Resource(rolecallResource(resource)).Create(w.t.Context(), object, metav1.CreateOptions{
		FieldValidation: metav1.FieldValidationStrict,
	})
	w.must(err)
}

func (w *accessWorld) until(name, kind, status, text string) *v1alpha1.AccessEntry {
	w.t.Helper()
	var got v1alpha1.AccessEntry
	w.untilSays("accessentries", name, kind, status, text, &got, &got.Status)
	return &got
}

func (w *accessWorld) untilMapping(name, kind, status, text string) {
	w.t.Helper()
	var got v1alpha1.IdentityMapping
	w.untilSays("identitymappings", name, kind, status, text, &got, &got.Status)
}

// untilSays waits for a condition that says a text, about the newest generation.
func (w *accessWorld) untilSays(
	resource, name, kind, status, text string, into runtime.Object, has *v1alpha1.AccessStatus,
) {
	w.t.Helper()
	poll(w.t, func() bool {
		found, err := w.objects.Resource(rolecallResource(resource)).Get(w.t.Context(), name, metav1.GetOptions{})
		w.must(err)
		*has = v1alpha1.AccessStatus{}
		w.must(runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, into))
		condition := meta.FindStatusCondition(has.Conditions, kind)
		return condition != nil && string(condition.Status) == status && strings.Contains(condition.Message, text) &&
			condition.ObservedGeneration == found.GetGeneration()
	}, func() {
		shown, _ := yaml.Marshal(has)
		w.t.Fatalf("%s %s: want %s %s with %q, got:\n%s\n%s", resource, name, kind, status, text, shown, w.running.log.String())
	})
}

// allowed asks kubectl, which impersonates.
func (w *accessWorld) allowed(group, verb, resource, namespace string) bool {
	w.t.Helper()
	arguments := []string{
		"--kubeconfig", w.Kubeconfig, "auth", "can-i", verb, resource, "--as", "somebody", "--as-group", group,
	}
	if namespace != "" {
		arguments = append(arguments, "-n", namespace)
	} else {
		arguments = append(arguments, "-A")
	}
	var out bytes.Buffer
	command := exec.CommandContext(w.t.Context(), w.Kubectl, arguments...)
	command.Stdout, command.Stderr = &out, &out
	command.Env = append(os.Environ(), "HOME="+w.t.TempDir())
	err := command.Run()
	answer := strings.TrimSpace(out.String())
	lines := strings.Split(answer, "\n") // warnings about resources without namespaces come first
	switch answer = lines[len(lines)-1]; {
	case answer == "yes" && err == nil:
		return true
	case strings.HasPrefix(answer, "no"):
		return false
	}
	w.t.Fatalf("kubectl %q: %v\n%s", arguments, err, &out)
	return false
}

func (w *accessWorld) can(group string, want bool, verb, resource, namespace string) {
	w.t.Helper()
	if got := w.allowed(group, verb, resource, namespace); got != want {
		w.t.Errorf("%s %s in %q as %s: got %t, want %t", verb, resource, namespace, group, got, want)
	}
}

func (w *accessWorld) eventually(what string, is func() bool) {
	w.t.Helper()
	poll(w.t, is, func() { w.t.Fatalf("%s: never\n%s", what, w.running.log.String()) })
}

func (w *accessWorld) gone(what string, look func() error) {
	w.t.Helper()
	w.eventually(what+" is gone", func() bool { return apierrors.IsNotFound(look()) })
}

// ours are all objects of RBAC with our label, and foreign those of our names without.
func (w *accessWorld) ours() []string {
	w.t.Helper()
	return w.rbac(func(o metav1.Object) bool { return o.GetLabels()["app.kubernetes.io/managed-by"] == "rolecall" })
}

func (w *accessWorld) foreign() []string {
	w.t.Helper()
	return w.rbac(func(o metav1.Object) bool {
		return strings.HasPrefix(o.GetName(), "access-policy:") && len(o.GetLabels()) == 0
	})
}

func (w *accessWorld) rbac(is func(metav1.Object) bool) (names []string) {
	w.t.Helper()
	for _, kind := range []string{"clusterroles", "clusterrolebindings", "rolebindings"} {
		list, err := w.objects.Resource(rbacv1.SchemeGroupVersion.WithResource(kind)).List(w.t.Context(), metav1.ListOptions{})
		w.must(err)
		for i := range list.Items {
			if is(&list.Items[i]) {
				names = append(names, kind+" "+list.Items[i].GetNamespace()+"/"+list.Items[i].GetName()+" "+
					list.Items[i].GetResourceVersion())
			}
		}
	}
	return names
}

// as is a client that is somebody in a group.
func (w *accessWorld) as(group string) kubernetes.Interface {
	w.t.Helper()
	config := rest.CopyConfig(w.Config)
	config.QPS = -1
	config.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{group, "system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	w.must(err)
	return client
}

func (w *accessWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
