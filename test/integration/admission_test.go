package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

const adminARN = "arn:aws:iam::" + accountID + ":role/admin"

// admission is spec podidentity rows H21 and A17 for all who write to the
// API server: kubectl, the command, the EKS API.
func (w *brokerWorld) admission(client *eks.Client) {
	t, ctx := w.t, w.t.Context()
	w.must(w.c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "eks"},
	}, metav1.CreateOptions{}))
	balancer := newBalancer(t)
	hook := startReplica(t, w.c, balancer.address(), "--validate-associations")
	balancer.set(hook.address)
	w.until("the API server asks", func() bool { return apierrors.IsInvalid(w.try("probe", `, sessionPolicy: "{"`)) })
	first := w.bundle()

	// Not waited for: if a grant is applied together with what it is for, both
	// are let in.
	w.grant("carts", `[{namespace: shop}]`, cartARN)
	w.associate("admitted", "")
	w.holds("admitted")
	said := &warnings{}
	config := rest.CopyConfig(w.c.Config)
	config.WarningHandler = said
	w.stays(client, config, said)
	w.grant("carts", `[{namespace: shop}]`, cartARN)

	w.command(1, "no RoleGrant lets shop/by-command use "+adminARN, "create", "by-command", "--role-arn", adminARN)
	w.command(0, "association a-", "create", "by-command", "--role-arn", cartARN)
	w.must(client.CreatePodIdentityAssociation(ctx, create("shop", "by-api")))
	_, err := client.CreatePodIdentityAssociation(
		ctx,
		create("shop", "refused", func(i *eks.CreatePodIdentityAssociationInput) { i.RoleArn = aws.String(adminARN) }),
	)
	refused(t, "over the EKS API", err, "AccessDeniedException", 403, "no RoleGrant lets shop/refused use "+adminARN)
	w.foreign(client)
	t.Run("kubectl", func(t *testing.T) { w.t = t; w.kubectl() })
	w.t = t

	// Authorities and certificates are replaced under all this.
	w.until("rotated", func() bool {
		if err := w.try("probe", `, sessionPolicy: "{"`); !apierrors.IsInvalid(err) {
			t.Fatalf("while certificates are rotated: %v", err)
		}
		now := w.bundle()
		return now != first && strings.Count(now, "BEGIN") == 1
	})
	hook.stop(t)
	if log := hook.stderr.String(); !strings.Contains(log, `"result":"NotGranted"`) ||
		!strings.Contains(log, `"result":"AllowedWithWarnings"`) {
		t.Errorf("log: %s", log)
	}
}

// try creates an association in a dry run.
func (w *brokerWorld) try(account, spec string) error {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	w.must(nil, yaml.Unmarshal([]byte(w.association(account, cartARN, spec)), &object.Object))
	_, err := w.associations().Create(w.t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func (w *brokerWorld) association(account, role, spec string) string {
	return `{apiVersion: rolecall.io/v1alpha1, kind: PodIdentityAssociation, metadata: ` +
		`{namespace: shop, name: ` + account + `}, ` +
		`spec: {serviceAccountName: ` + account + `, roleARN: "` + role + `"` + spec + `}}`
}

func (w *brokerWorld) grant(name, subjects, role string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	w.must(
		nil,
		yaml.Unmarshal(
			[]byte(
				`{apiVersion: rolecall.io/v1alpha1, kind: RoleGrant, metadata: {name: `+name+`}, `+
					`spec: {subjects: `+subjects+`, roles: ["`+role+`"]}}`,
			),
			&object.Object,
		),
	)
	w.must(w.objects.Resource(rolecallResource("rolegrants")).Create(w.t.Context(), object, metav1.CreateOptions{}))
}

// bundle is what API servers trust, which both configurations must come to say.
func (w *brokerWorld) bundle() (trusted string) {
	w.t.Helper()
	w.until("both configurations say the same", func() bool {
		api := w.c.Client.AdmissionregistrationV1()
		mutating, err := api.MutatingWebhookConfigurations().
			Get(w.t.Context(), "pod-identity-webhook", metav1.GetOptions{})
		w.must(nil, err)
		validating, err := api.ValidatingWebhookConfigurations().
			Get(w.t.Context(), "pod-identity-webhook", metav1.GetOptions{})
		w.must(nil, err)
		trusted = string(validating.Webhooks[0].ClientConfig.CABundle)
		return trusted != "" && trusted == string(mutating.Webhooks[0].ClientConfig.CABundle)
	})
	return trusted
}

// holds: what is refused is not stored, and the answer says which field it is.
func (w *brokerWorld) holds(admitted string) {
	w.t.Helper()
	for _, row := range []struct{ account, role, spec, field, words string }{
		{"admin", adminARN, "", "spec.roleARN", "no RoleGrant lets shop/admin use " + adminARN},
		{
			"target",
			cartARN,
			`, targetRoleARN: "` + adminARN + `"`,
			"spec.targetRoleARN",
			"no RoleGrant lets shop/target use " + adminARN,
		},
		{
			"narrow",
			cartARN,
			`, sessionPolicy: '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'`,
			"spec.sessionPolicy",
			"Maybe",
		},
		{"tagged", cartARN, `, sessionTags: {a: "b;c"}`, "spec.sessionTags", "STS accepts"},
		{
			"moded", cartARN, ", mode: BrokerRole, disableSessionTags: true, externalID: agreed", "spec.mode",
			"not a mode that associations may have here: want Federated",
		},
	} {
		object := &unstructured.Unstructured{}
		w.must(nil, yaml.Unmarshal([]byte(w.association(row.account, row.role, row.spec)), &object.Object))
		_, err := w.associations().Create(w.t.Context(), object, metav1.CreateOptions{})
		status, isStatus := errors.AsType[*apierrors.StatusError](err)
		if !isStatus || !strings.Contains(err.Error(), row.words) || len(status.ErrStatus.Details.Causes) != 1 ||
			status.ErrStatus.Details.Causes[0].Field != row.field {
			w.t.Errorf("%s: %+v", row.account, err)
		}
		if granted := strings.Contains(row.words, "RoleGrant") || row.field == "spec.mode"; apierrors.IsForbidden(err) != granted ||
			apierrors.IsInvalid(err) == granted {
			w.t.Errorf("%s: %v", row.account, err)
		}
		if _, err := w.associations().Get(w.t.Context(), row.account, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			w.t.Errorf("%s is stored: %v", row.account, err)
		}
	}
	if _, err := w.associations().Get(w.t.Context(), admitted, metav1.GetOptions{}); err != nil {
		w.t.Error(err)
	}
}

// stays: an association whose grant has gone can be labelled and paused, with a
// warning, and deleted; it cannot have another role.
func (w *brokerWorld) stays(api *eks.Client, config *rest.Config, said *warnings) {
	t, ctx := w.t, w.t.Context()
	w.grant("others", `[{namespace: other}]`, "*")
	w.must(nil, w.objects.Resource(rolecallResource("rolegrants")).Delete(ctx, "carts", metav1.DeleteOptions{}))
	w.until("the grant is gone", func() bool { return apierrors.IsForbidden(w.try("probe", "")) })
	client, err := dynamic.NewForConfig(config)
	w.must(nil, err)
	patch := func(text string) error {
		_, err := client.Resource(rolecallResource("podidentityassociations")).
			Namespace("shop").
			Patch(ctx, "admitted", types.MergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	for _, change := range []string{`{"metadata":{"labels":{"team":"red"}}}`, `{"spec":{"paused":true}}`} {
		if err := patch(change); err != nil || !said.have("no RoleGrant lets shop/admitted use "+cartARN) {
			t.Errorf("%s: %v, warned %q", change, err, said.all())
		}
		said.forget()
	}
	if err := patch(`{"spec":{"roleARN":"` + adminARN + `"}}`); !apierrors.IsForbidden(err) ||
		!strings.Contains(err.Error(), "use "+adminARN) {
		t.Errorf("another role: %v", err)
	}
	w.command(
		0, "Warning: no RoleGrant lets shop/admitted use "+cartARN, "update", "admitted", "--disable-session-tags",
	)
	list, err := api.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
		ClusterName:    aws.String("prod"),
		Namespace:      aws.String("shop"),
		ServiceAccount: aws.String("admitted"),
	})
	w.must(nil, err)
	w.must(api.TagResource(ctx, &eks.TagResourceInput{
		ResourceArn: list.Associations[0].AssociationArn,
		Tags:        map[string]string{"a": "1"},
	}))
	w.until(
		"the broker logs the warning",
		func() bool { return strings.Contains(w.log.String(), "no RoleGrant lets shop/admitted use "+cartARN) },
	)
	w.must(nil, w.associations().Delete(ctx, "admitted", metav1.DeleteOptions{}))
}

// command runs `association VERB` for one account.
func (w *brokerWorld) command(code int, text, verb, account string, args ...string) {
	w.t.Helper()
	var out bytes.Buffer
	args = append(
		[]string{"association", verb, "--kubeconfig", w.c.Kubeconfig, "-n", "shop", "--service-account-name", account},
		args...)
	got, err := runCommand(w.t.Context(), nil, &out, &out, args...)
	if err != nil || got != code || !strings.Contains(out.String(), text) || strings.Contains(out.String(), "can-i") {
		w.t.Errorf("%s: exit %d, %v, want %d and %q:\n%s", args, got, err, code, text, &out)
	}
}

// foreign: what other admission refuses has the codes of the EKS API, too.
func (w *brokerWorld) foreign(client *eks.Client) {
	t, ctx := w.t, w.t.Context()
	for reason, code := range map[string]string{
		"Forbidden": "AccessDeniedException",
		"Invalid":   "InvalidParameterException",
	} {
		name := "house-" + strings.ToLower(reason)
		for kind, spec := range map[string]string{
			"ValidatingAdmissionPolicy": `{matchConstraints: {resourceRules: [{apiGroups: [rolecall.io], ` +
				`apiVersions: [v1alpha1], operations: [CREATE], resources: [podidentityassociations]}]},
				validations: [{expression: "object.metadata.name != '` + name + `'", ` +
				`reason: ` + reason + `, message: not in this house}]}`,
			"ValidatingAdmissionPolicyBinding": `{policyName: ` + name + `, validationActions: [Deny]}`,
		} {
			object := &unstructured.Unstructured{}
			w.must(
				nil,
				yaml.Unmarshal(
					[]byte(
						`{apiVersion: admissionregistration.k8s.io/v1, kind: `+kind+`, `+
							`metadata: {name: `+name+`}, spec: `+spec+`}`,
					),
					&object.Object,
				),
			)
			resource := map[string]string{
				"ValidatingAdmissionPolicy":        "validatingadmissionpolicies",
				"ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
			}[kind]
			w.must(w.objects.Resource(schema.GroupVersionResource{
				Group:    "admissionregistration.k8s.io",
				Version:  "v1",
				Resource: resource,
			}).Create(ctx, object, metav1.CreateOptions{}))
		}
		w.until("the policy counts", func() bool { return w.try(name, "") != nil })
		_, err := client.CreatePodIdentityAssociation(ctx, create("shop", name))
		refused(t, reason, err, code, map[string]int{"Forbidden": 403, "Invalid": 400}[reason], "not in this house")
	}
}

// kubectl shows people the reason, the field and the warning.
func (w *brokerWorld) kubectl() {
	t := w.t
	dir := t.TempDir()
	count := 0
	apply := func(objects ...string) (out, problems string, failed bool) {
		count++
		file := filepath.Join(dir, fmt.Sprint(count)+".yaml")
		w.write(file, "---\n"+strings.Join(objects, "\n---\n")) // what begins with a brace kubectl takes for JSON
		return w.run(w.c.Kubectl, "--kubeconfig", w.c.Kubeconfig, "apply", "-f", file)
	}
	grant := `{apiVersion: rolecall.io/v1alpha1, kind: RoleGrant, metadata: {name: by-kubectl}, spec: {subjects: ` +
		`[{namespace: shop, serviceAccount: k-*}], roles: ["` + adminARN + `"]}}`
	for _, row := range []struct {
		objects []string
		failed  bool
		words   string // of what kubectl prints for people
	}{
		{
			[]string{w.association("k-admin", adminARN, "")},
			true,
			`admission webhook "associations.rolecall.io" denied the request: spec.roleARN: no RoleGrant lets ` +
				`shop/k-admin use ` + adminARN + "; let a RoleGrant allow it",
		},
		{
			[]string{w.association("k-admin", cartARN, ", mode: PassThrough")},
			true,
			`admission webhook "associations.rolecall.io" denied the request: spec.mode: "PassThrough" is not a mode that ` +
				`associations may have here: want Federated; leave spec.mode out, or let the operator add it to --allowed-modes`,
		},
		{[]string{w.association("k-narrow", cartARN, `, sessionPolicy: "{"`)}, true, "spec.sessionPolicy: line 1"},
		{[]string{grant, w.association("k-admin", adminARN, "")}, false, "k-admin created"},
		{
			[]string{`{apiVersion: rolecall.io/v1alpha1, kind: PodIdentityAssociation, metadata: ` +
				`{namespace: shop, ` +
				`name: k-some}, spec: {serviceAccountName: k-b*, allowPatterns: true, roleARN: "` + adminARN + `"}}`},
			false,
			"k-some created",
		},
		{
			[]string{`{apiVersion: rolecall.io/v1alpha1, kind: PodIdentityAssociation, metadata: ` +
				`{namespace: shop, ` +
				`name: k-all}, spec: {serviceAccountName: k*, allowPatterns: true, roleARN: "` + adminARN + `"}}`},
			true,
			"no RoleGrant lets all of shop/k* use",
		},
	} {
		out, problems, failed := apply(row.objects...)
		t.Logf("%s%s", out, problems)
		if failed != row.failed || !strings.Contains(out+problems, row.words) {
			t.Errorf("failed %t, want %t and %q:\n%s%s", failed, row.failed, row.words, out, problems)
		}
	}
	if out, problems, failed := w.run(
		w.c.Kubectl, "--kubeconfig", w.c.Kubeconfig, "get", "podidentityassociations", "-n", "shop", "-o", "name",
	); failed ||
		!strings.Contains(out, "/k-admin") ||
		strings.Contains(out, "/k-narrow") ||
		strings.Contains(out, "/k-all") {
		t.Errorf("stored: %s%s", out, problems)
	}
	w.must(
		nil,
		w.objects.Resource(rolecallResource("rolegrants")).Delete(t.Context(), "by-kubectl", metav1.DeleteOptions{}),
	)
	w.until("the grant is gone", func() bool {
		_, problems, failed := w.run(
			w.c.Kubectl, "--kubeconfig", w.c.Kubeconfig, "label", "pia", "-n", "shop", "k-admin", "team=red",
			"--overwrite",
		)
		return !failed && strings.Contains(problems, "Warning: no RoleGrant lets shop/k-admin use "+adminARN)
	})
}

// warnings keeps those that the API server sends.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeader takes one.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

func (w *warnings) have(text string) bool {
	return slices.ContainsFunc(w.all(), func(said string) bool { return strings.Contains(said, text) })
}

func (w *warnings) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = nil
}
