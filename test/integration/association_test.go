package integration_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/store/kubestore"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// associationWorld is a cluster with the controller, and local AWS as its IAM.
type associationWorld struct {
	*cluster.Cluster

	t       *testing.T
	objects dynamic.Interface
	store   *kubestore.Store
	iam     *awsapi.IAM
	env     []string // of commands
}

// TestAssociations: the command makes objects in a cluster, the controller says
// what keeps their pods from their role, and sees each of that change.
func TestAssociations(t *testing.T) {
	t.Parallel()
	w := &associationWorld{Cluster: cluster.Start(t, cluster.Options{}), t: t}
	w.startAWS()
	var err error
	if w.objects, err = dynamic.NewForConfig(w.Config); err != nil {
		t.Fatal(err)
	}
	if w.store, err = kubestore.New(w.Config); err != nil {
		t.Fatal(err)
	}
	installCRDs(t, w.objects)
	if _, err := w.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	metrics := w.startController()

	const cart = "arn:aws:iam::111122223333:role/cart"
	one := []string{"-n", "shop", "--service-account-name", "cart"}
	w.run(0, "association "+"a-", append([]string{"create", "--role-arn", cart, "--tags", "team=red"}, one...)...)
	w.run(1, "Association already exists: a-", append([]string{"create", "--role-arn", cart}, one...)...)
	w.run(
		1, "hint: kubectl create namespace nowhere", "create", "--role-arn", cart, "-n", "nowhere",
		"--service-account-name", "cart",
	)
	w.run(1, "spec.roleARN", "create", "--role-arn", "cart", "-n", "shop", "--service-account-name", "x")

	w.until("cart", "RoleExists", "False", "IAM has no role "+cart)
	w.until("cart", "Ready", "False", "IAM has no role")
	if _, err := w.iam.EnsureRole(t.Context(), "cart", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
		`"Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole",`+
		`"sts:TagSession"]}]}`, ""); err != nil {
		t.Fatal(err)
	}
	w.until("cart", "RoleExists", "True", cart)
	w.until("cart", "TrustAllows", "False", "rolecall trust generate")
	w.run(0, "TrustAllows   False", append([]string{"describe"}, one...)...)
	if err := w.iam.SetTrust(t.Context(), "cart", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
		`"Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.example.com/c1"},
		"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession"],`+
		`"Condition":{"StringEquals":{"oidc.example.com/c1:sub":"system:serviceaccount:shop:cart"}}}]}`); err != nil {
		t.Fatal(err)
	}
	got := w.until("cart", "Ready", "True", "")
	if id := association.ID(got); got.Status.AssociationID != id ||
		got.Status.AssociationARN != "arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/"+id ||
		got.Status.ExternalID != "" ||
		got.Status.ObservedGeneration != got.Generation {
		t.Errorf("status %+v", got.Status)
	}
	w.run(0, "True", append([]string{"get"}, one...)...)
	w.run(0, "serviceAccountName: cart", append([]string{"get", "-o", "yaml"}, one...)...)
	w.run(0, got.Status.AssociationID, "list", "-o", "wide")

	w.create("rolegrants", "", `{"kind":"RoleGrant","metadata":{"name":"others"},`+
		`"spec":{"subjects":[{"namespace":"other"}],"roles":["*"]}}`)
	w.until("cart", "Granted", "False", "no RoleGrant lets shop/cart use "+cart)
	w.until("cart", "Ready", "False", "no RoleGrant")
	w.until("cart", "RoleExists", "Unknown", "IAM is asked only")
	if err := w.objects.Resource(rolecallResource("rolegrants")).Delete(
		t.Context(), "others", metav1.DeleteOptions{},
	); err != nil {
		t.Fatal(err)
	}
	w.until("cart", "Ready", "True", "")

	w.run(
		0,
		"updated",
		append([]string{"update", "--target-role-arn", "arn:aws:iam::444455556666:role/writer"}, one...)...)
	targeted := w.until("cart", "TrustAllows", "Unknown", "444455556666")
	if targeted.Status.ExternalID != "eu-west-1/111122223333/prod/shop/cart" || targeted.Generation != 2 ||
		targeted.Status.ObservedGeneration != 2 {
		t.Errorf("with a target: generation %d, %+v", targeted.Generation, targeted.Status)
	}
	w.run(0, "updated", append([]string{"update", "--target-role-arn", ""}, one...)...)
	if cleared := w.until("cart", "Ready", "True", ""); cleared.Status.ExternalID != "" {
		t.Errorf("external id %q of no target", cleared.Status.ExternalID)
	}
	w.patterns(cart)
	w.run(0, "deleted", append([]string{"delete"}, one...)...)
	w.run(1, "shop/cart has no association", append([]string{"delete"}, one...)...)
	w.reports(metrics)
}

// patterns: of two equal ones the older is preferred, and the other takes its
// place when it goes.
func (w *associationWorld) patterns(role string) {
	w.t.Helper()
	pattern := func(name string) {
		w.create(
			"podidentityassociations",
			"shop",
			`{"kind":"PodIdentityAssociation","metadata":{"name":"`+name+`"},`+
				`"spec":{"serviceAccountName":"p-*","allowPatterns":true,"roleARN":"`+role+`"}}`,
		)
	}
	pattern("a-first")
	w.until("a-first", "Shadowed", "False", "")
	pattern("b-second") // younger, or of the same second and later by name
	w.until("b-second", "Shadowed", "True", "a-first")
	w.until("b-second", "Ready", "False", "a-first")
	if err := w.store.Delete(w.t.Context(), "shop", "a-first", ""); err != nil {
		w.t.Fatal(err)
	}
	w.until("b-second", "Shadowed", "False", "")
}

// reports: what happened is in Events and metrics.
func (w *associationWorld) reports(metrics string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		events, err := w.Client.EventsV1().Events("shop").List(ctx, metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		said := ""
		for i := range events.Items {
			said += events.Items[i].Regarding.Name + " " + events.Items[i].Note + "\n"
		}
		if strings.Contains(said, "cart Ready is True") && strings.Contains(said, "cart Granted is False") &&
			strings.Contains(said, "b-second Shadowed is False") {
			break
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("Events:\n%s", said)
		case <-time.After(50 * time.Millisecond):
		}
	}
	answer := call(w.t, http.DefaultClient, "GET", "http://"+metrics+"/metrics", "")
	if want := `rolecall_associations{condition="Shadowed",status="False"} 1`; !strings.Contains(answer, want) {
		w.t.Errorf("no metric %s in:\n%s", want, answer)
	}
}

func (w *associationWorld) startAWS() {
	w.t.Helper()
	accounts, err := account.NewSet(account.NewMemory(), []string{"111122223333"}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := accounts.Default().AdminKey()
	if err != nil {
		w.t.Fatal(err)
	}
	aws := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	}))
	w.t.Cleanup(aws.Close)
	w.env = []string{
		"AWS_ENDPOINT_URL=" + aws.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + admin.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + admin.SecretKey.Reveal(), "AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	w.iam = awsapi.NewIAM(aws.URL, "eu-west-1", admin)
}

// startController returns where its metrics are.
func (w *associationWorld) startController() string {
	w.t.Helper()
	metrics := freeport.Address(w.t)
	startProgram(
		w.t, w.env, "serve", "controller", "--kubeconfig", w.Kubeconfig, "--metrics-listen", metrics,
		"--without-leader-election", "--cluster-name", "prod", "--cluster-account", "111122223333",
		"--cluster-region", "eu-west-1", "--issuer", "https://oidc.example.com/c1", "--associations-every",
		"1h", // what changes in IAM is seen sooner where something is missing
	)
	return metrics
}

// run is the association command, whose code and output are wanted.
func (w *associationWorld) run(code int, text string, args ...string) {
	w.t.Helper()
	var out bytes.Buffer
	args = append([]string{"association", args[0], "--kubeconfig", w.Kubeconfig}, args[1:]...)
	got, err := runCommand(w.t.Context(), w.env, &out, &out, args...)
	if err != nil || got != code || !strings.Contains(out.String(), text) {
		w.t.Errorf("%s: exit %d, %v, want %d and %q:\n%s", args, got, err, code, text, &out)
	}
}

func (w *associationWorld) create(resource, namespace, text string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(
		[]byte(strings.Replace(text, "{", `{"apiVersion":"rolecall.io/v1alpha1",`, 1)),
	); err != nil {
		w.t.Fatal(err)
	}
	var client dynamic.ResourceInterface = w.objects.Resource(rolecallResource(resource))
	if namespace != "" {
		client = w.objects.Resource(rolecallResource(resource)).Namespace(namespace)
	}
	if _, err := client.Create(w.t.Context(), object, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a condition that says a text, about the newest generation.
func (w *associationWorld) until(name, kind, status, text string) *v1alpha1.PodIdentityAssociation {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		got, err := w.store.Get(ctx, "shop", name)
		if err != nil {
			w.t.Fatal(err)
		}
		condition := meta.FindStatusCondition(got.Status.Conditions, kind)
		if condition != nil && string(condition.Status) == status && strings.Contains(condition.Message, text) &&
			condition.ObservedGeneration == got.Generation {
			return got
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: got %+v, want %s %s with %q", name, got.Status.Conditions, kind, status, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
