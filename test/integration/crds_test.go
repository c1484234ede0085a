package integration_test

import (
	"context"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/crds"
	"github.com/rolecall/rolecall/test/cluster"
)

// TestCRDs installs the definitions in a real API server, which checks their
// schemas and CEL rules, and then objects against them.
func TestCRDs(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	for _, row := range []struct{ name, resource, object, refused string }{
		{
			"grant",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: a}, spec: {subjects: [{namespace: "team-*"}], roles: ` +
				`["arn:aws:iam::*:role/team/*"]}}`,
			"",
		},
		{
			"grant without roles",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: a}], roles: []}}`,
			"spec.roles",
		},
		{
			"grant of no ARN",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: a}], roles: [admin]}}`,
			"spec.roles[0]",
		},
		{
			"grant of one role",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: one}, spec: {subjects: [{namespace: a}],
				roles: ["arn:aws:iam::111122223333:role/a"]}}`,
			"",
		},
		{
			"grant of a path without a name",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: a}],
				roles: ["arn:aws:iam::111122223333:role/a/"]}}`,
			"spec.roles[0]",
		},
		{
			"issuer in a region that AWS cannot have",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example/b",
				publish: {s3: {bucket: keys, region: eu-wst-1}}}}`,
			"spec.publish.s3.region",
		},
		{
			"grant for no namespace",
			"rolegrants",
			`{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: "A b"}], roles: ["*"]}}`,
			"spec.subjects[0].namespace",
		},
		{
			"issuer",
			"issuers",
			`{kind: Issuer, metadata: {name: a}, spec: {url: "https://h.example/a", publish: {s3: {bucket: keys, ` +
				`region: eu-west-1}}, rotation: {every: 720h, secret: {namespace: a, name: b}}}}`,
			"",
		},
		{
			"issuer with P-256",
			"issuers",
			`{kind: Issuer, metadata: {name: p}, spec: {url: "https://h.example/p", publish: {s3: {bucket: keys, ` +
				`region: eu-west-1}}, rotation: {every: 720h, keyKind: P-256, secret: {namespace: a, name: ` +
				`b}}}}`,
			"",
		},
		{
			"issuer with a kind of key that STS cannot verify",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example/b", publish: {s3: {bucket: keys, ` +
				`region: eu-west-1}}, rotation: {every: 720h, keyKind: Ed25519, secret: {namespace: a, ` +
				`name: b}}}}`,
			"want RSA or P-256",
		},
		{
			"issuer over http",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "http://h.example", publish: {configMap: {namespace: ` +
				`a, name: b}}}}`,
			"spec.url",
		},
		{
			"issuer with a slash",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example/", publish: {configMap: ` +
				`{namespace: a, name: b}}}}`,
			"spec.url",
		},
		{
			"issuer to nowhere",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example", publish: {}}}`,
			"exactly one of s3, configMap and directory",
		},
		{
			"issuer to two places",
			"issuers",
			`{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example", publish: {configMap: {namespace: ` +
				`a, name: b}, s3: {bucket: keys, region: eu-west-1}}}}`,
			"exactly one of s3, configMap and directory",
		},
	} {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(row.object), &object.Object); err != nil {
			t.Fatal(err)
		}
		object.SetAPIVersion("rolecall.io/v1alpha1")
		_, err := client.Resource(rolecallResource(row.resource)).Create(t.Context(), object, metav1.CreateOptions{})
		if (err != nil) != (row.refused != "") || (err != nil && !strings.Contains(err.Error(), row.refused)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.refused)
		}
	}
	changed := []byte(`{"spec":{"url":"https://h.example/b"}}`)
	if _, err := client.Resource(rolecallResource("issuers")).Patch(
		t.Context(), "a", "application/merge-patch+json", changed, metav1.PatchOptions{},
	); err == nil ||
		!strings.Contains(err.Error(), "cannot be changed") {
		t.Errorf("another URL: %v", err)
	}
	associationRows(t, client)
}

// associationRows: bad names, patterns and sizes are refused by the API server
// itself, no matter who writes (spec podidentity §13.4, §19.5).
func associationRows(t *testing.T, client dynamic.Interface) {
	t.Helper()
	const role = "arn:aws:iam::111122223333:role/team/reader"
	objects := client.Resource(rolecallResource("podidentityassociations")).Namespace("default")
	many := func(n int) map[string]any {
		tags := map[string]any{}
		for i := range n {
			tags["k"+strconv.Itoa(i)] = "v"
		}
		return tags
	}
	for i, row := range []struct {
		name    string
		change  map[string]any // of the spec of a good one
		refused string
	}{
		{"good", nil, ""},
		{"account with dots", map[string]any{"serviceAccountName": "a.b-c.d"}, ""},
		{"two dots", map[string]any{"serviceAccountName": "a..b"}, "spec.serviceAccountName: Invalid"},
		{"hyphen at a dot", map[string]any{"serviceAccountName": "a.-b"}, "spec.serviceAccountName: Invalid"},
		{"no account", map[string]any{"serviceAccountName": ""}, "spec.serviceAccountName: Invalid"},
		{"account in upper case", map[string]any{"serviceAccountName": "Cart"}, "spec.serviceAccountName: Invalid"},
		{
			"line end after the account",
			map[string]any{"serviceAccountName": "cart\n"},
			"spec.serviceAccountName: Invalid",
		},
		{
			"long account",
			map[string]any{"serviceAccountName": strings.Repeat("a", 254)},
			"spec.serviceAccountName: Too long",
		},
		{
			"another name than the account's",
			map[string]any{"name": "other", "serviceAccountName": "cart"},
			"metadata.name must be spec.serviceAccountName",
		},
		{
			"another name, patterns allowed but not used",
			map[string]any{"name": "other", "serviceAccountName": "cart", "allowPatterns": true},
			"metadata.name must be spec.serviceAccountName",
		},
		{"pattern", map[string]any{"name": "carts", "serviceAccountName": "cart-*", "allowPatterns": true}, ""},
		{"pattern of all", map[string]any{"name": "all", "serviceAccountName": "*", "allowPatterns": true}, ""},
		{
			"pattern that is not allowed",
			map[string]any{"name": "p1", "serviceAccountName": "cart-*"},
			"patterns need allowPatterns",
		},
		{
			"star within",
			map[string]any{"name": "p2", "serviceAccountName": "a*b", "allowPatterns": true},
			"spec.serviceAccountName: Invalid",
		},
		{
			"two stars",
			map[string]any{"name": "p3", "serviceAccountName": "a**", "allowPatterns": true},
			"spec.serviceAccountName: Invalid",
		},
		{
			"pattern that no account can match",
			map[string]any{"name": "p4", "serviceAccountName": "-*", "allowPatterns": true},
			"spec.serviceAccountName: Invalid",
		},
		{"no role", map[string]any{"roleARN": nil}, "spec.roleARN"},
		{"role of no ARN", map[string]any{"roleARN": "reader"}, "spec.roleARN"},
		{"line end after the role", map[string]any{"roleARN": role + "\n"}, "spec.roleARN"},
		{"line before the role", map[string]any{"roleARN": "x\n" + role}, "spec.roleARN"},
		{"star in the role", map[string]any{"roleARN": "arn:aws:iam::111122223333:role/*"}, "spec.roleARN"},
		{"star in the account", map[string]any{"roleARN": "arn:aws:iam::*:role/reader"}, "spec.roleARN"},
		{"question mark in the role", map[string]any{"roleARN": role + "?"}, "spec.roleARN"},
		{
			"variable in the role",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/${aws:username}"},
			"spec.roleARN",
		},
		{"path without a name", map[string]any{"roleARN": "arn:aws:iam::111122223333:role/team/"}, "spec.roleARN"},
		{"empty step in the path", map[string]any{"roleARN": "arn:aws:iam::111122223333:role//reader"}, "spec.roleARN"},
		{
			"role of 64 letters",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/" + strings.Repeat("r", 64)},
			"",
		},
		{
			"role of 65 letters",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/" + strings.Repeat("r", 65)},
			"spec.roleARN",
		},
		{
			"digits of another script",
			map[string]any{"roleARN": "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/reader"},
			"spec.roleARN",
		},
		{"user", map[string]any{"roleARN": "arn:aws:iam::111122223333:user/reader"}, "spec.roleARN"},
		{"session", map[string]any{"roleARN": "arn:aws:sts::111122223333:assumed-role/reader/x"}, "spec.roleARN"},
		{
			"path of 512",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/" + strings.Repeat("p", 510) + "/r"},
			"",
		},
		{
			"path of 513",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/" + strings.Repeat("p", 511) + "/r"},
			"at most 512 characters",
		},
		{
			"long role",
			map[string]any{"roleARN": "arn:aws:iam::111122223333:role/" + strings.Repeat("p/", 1024) + "r"},
			"spec.roleARN",
		},
		{"role of China", map[string]any{"roleARN": "arn:aws-cn:iam::111122223333:role/reader"}, ""},
		{"target", map[string]any{"targetRoleARN": "arn:aws:iam::444455556666:role/writer"}, ""},
		{"target of no ARN", map[string]any{"targetRoleARN": "writer"}, "spec.targetRoleARN"},
		{"line end after the target", map[string]any{"targetRoleARN": role + "\n"}, "spec.targetRoleARN"},
		{
			"star in the target",
			map[string]any{"targetRoleARN": "arn:aws:iam::111122223333:role/a*"},
			"spec.targetRoleARN",
		},
		{"external id", map[string]any{"targetRoleARN": role, "externalID": "a/b:c=d,e.f@g-h_i+j"}, ""},
		{"external id for the broker", map[string]any{"mode": "BrokerRole", "externalID": "ab"}, ""},
		{"external id to nobody", map[string]any{"externalID": "ab"}, "externalID is sent only with sts:AssumeRole"},
		{"short external id", map[string]any{"targetRoleARN": role, "externalID": "a"}, "spec.externalID"},
		{
			"long external id",
			map[string]any{"targetRoleARN": role, "externalID": strings.Repeat("a", 1225)},
			"spec.externalID",
		},
		{"external id with a space", map[string]any{"targetRoleARN": role, "externalID": "a b"}, "spec.externalID"},
		{
			"line end after the external id",
			map[string]any{"targetRoleARN": role, "externalID": "ab\n"},
			"spec.externalID",
		},
		{
			"policy of 2,048",
			map[string]any{"disableSessionTags": true, "sessionPolicy": strings.Repeat("ä", 2048)},
			"",
		},
		{
			"policy of 2,049",
			map[string]any{"disableSessionTags": true, "sessionPolicy": strings.Repeat("a", 2049)},
			"spec.sessionPolicy",
		},
		{"empty policy", map[string]any{"sessionPolicy": ""}, "spec.sessionPolicy"},
		{"14 minutes", map[string]any{"durationSeconds": int64(899)}, "spec.durationSeconds"},
		{"12 hours", map[string]any{"durationSeconds": int64(43200)}, ""},
		{"more than 12 hours", map[string]any{"durationSeconds": int64(43201)}, "spec.durationSeconds"},
		{"50 tags", map[string]any{"tags": many(50)}, ""},
		{"51 tags", map[string]any{"tags": many(51)}, "spec.tags"},
		{"tag of AWS", map[string]any{"tags": map[string]any{"aws:x": "y"}}, "do not begin with aws:"},
		{"tag of AWS, folded", map[string]any{"tags": map[string]any{" aWſ:x": "y"}}, "do not begin with aws:"},
		{
			"reserved session tag, with blanks",
			map[string]any{"sessionTags": map[string]any{"kubernetes-namespace ": "y"}},
			"cannot be set",
		},
		{
			"reserved session tag, folded",
			map[string]any{"sessionTags": map[string]any{"kuberneteſ-Namespace": "y"}},
			"cannot be set",
		},
		{
			"reserved session tag, kelvin",
			map[string]any{"sessionTags": map[string]any{"e\u212as-cluster-arn": "y"}},
			"cannot be set",
		},
		{"a longer session tag", map[string]any{"sessionTags": map[string]any{"kubernetes-namespaces": "y"}}, ""},
		{"tag of AWS in capitals", map[string]any{"tags": map[string]any{"AWS:x": "y"}}, "do not begin with aws:"},
		{"tag without a key", map[string]any{"tags": map[string]any{"": "y"}}, "1 to 128 characters"},
		{"tag key of 128", map[string]any{"tags": map[string]any{strings.Repeat("ä", 128): "y"}}, ""},
		{
			"tag key of 129",
			map[string]any{"tags": map[string]any{strings.Repeat("k", 129): "y"}},
			"1 to 128 characters",
		},
		{
			"tag value of 257",
			map[string]any{"tags": map[string]any{"k": strings.Repeat("v", 257)}},
			"values at most 256",
		},
		{"empty tag value", map[string]any{"tags": map[string]any{"k": ""}}, ""},
		{"44 session tags", map[string]any{"sessionTags": many(44)}, ""},
		{"45 session tags", map[string]any{"sessionTags": many(45)}, "spec.sessionTags"},
		{
			"names of labels",
			map[string]any{
				"sessionName":    "${podLabel:example.com/team}-${podLabel:tier_1}",
				"sourceIdentity": "${podLabel:tier}",
			},
			"",
		},
		{"label without a key", map[string]any{"sessionName": "${podLabel:}"}, "sessionName"},
		{"label with a key that is not one", map[string]any{"sourceIdentity": "x${podLabel:-tier}"}, "sourceIdentity"},
		{
			"session tag with variables",
			map[string]any{
				"sessionTags": map[string]any{"Team": "${namespace}/${serviceAccount} ${podName}${podUid}@${node}"},
			},
			"",
		},
		{
			"one of the six",
			map[string]any{"sessionTags": map[string]any{"kubernetes-namespace": "other"}},
			"the six keys",
		},
		{
			"one of the six in capitals",
			map[string]any{"sessionTags": map[string]any{"EKS-Cluster-ARN": "other"}},
			"the six keys",
		},
		{"session tag of AWS", map[string]any{"sessionTags": map[string]any{"Aws:x": "y"}}, "do not begin with aws:"},
		{
			"session tags that are off",
			map[string]any{"disableSessionTags": true, "sessionTags": many(1)},
			"no meaning with disableSessionTags",
		},
		{
			"left out though off",
			map[string]any{"disableSessionTags": true, "omitTags": []any{"eks-cluster-arn"}},
			"no meaning with disableSessionTags",
		},
		{"left out", map[string]any{"omitTags": []any{"eks-cluster-arn", "kubernetes-pod-uid"}}, ""},
		{"left out twice", map[string]any{"omitTags": []any{"eks-cluster-arn", "eks-cluster-arn"}}, "spec.omitTags"},
		{"left out, but not one of the six", map[string]any{"omitTags": []any{"Team"}}, "spec.omitTags"},
		{"session name", map[string]any{"sessionName": "${namespace}.${serviceAccount}-${uuid}"}, ""},
		{"session name with an unknown variable", map[string]any{"sessionName": "${pod}"}, "spec.sessionName"},
		{"session name with half a variable", map[string]any{"sessionName": "${uuid"}, "spec.sessionName"},
		{"source identity", map[string]any{"sourceIdentity": "${namespace}-${serviceAccount}"}, ""},
		{"source identity of AWS", map[string]any{"sourceIdentity": "aws:x"}, "spec.sourceIdentity"},
		{"source identity with a space", map[string]any{"sourceIdentity": "a b"}, "spec.sourceIdentity"},
		{"source identity of one letter", map[string]any{"sourceIdentity": "a"}, "spec.sourceIdentity"},
		{"unknown mode", map[string]any{"mode": "federated"}, "spec.mode"},
		{"passed through", map[string]any{"mode": "PassThrough"}, ""},
		{
			"passed through with tags",
			map[string]any{"mode": "PassThrough", "sessionTags": many(1)},
			"neither session tags nor a source identity",
		},
		{
			"passed through without tags",
			map[string]any{"mode": "PassThrough", "omitTags": []any{"eks-cluster-arn"}},
			"neither session tags nor a source identity",
		},
		{
			"passed through with an identity",
			map[string]any{"mode": "PassThrough", "sourceIdentity": "me"},
			"neither session tags nor a source identity",
		},
		{"unknown way with large ones", map[string]any{"onOversize": "Ignore"}, "spec.onOversize"},
	} {
		account := "row-" + strconv.Itoa(i)
		spec := map[string]any{"serviceAccountName": account, "roleARN": role}
		for field, value := range row.change {
			if spec[field] = value; value == nil {
				delete(spec, field)
			}
		}
		name, named := spec["name"]
		if delete(spec, "name"); !named {
			name = account
		}
		if row.refused == "" && !named {
			name = spec["serviceAccountName"]
		}
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1",
			"kind":       "PodIdentityAssociation",
			"metadata":   map[string]any{"name": name},
			"spec":       spec,
		}}
		_, err := objects.Create(t.Context(), object, metav1.CreateOptions{})
		if (err != nil) != (row.refused != "") || (err != nil && !strings.Contains(err.Error(), row.refused)) {
			t.Errorf("association, %s: %v, want %q", row.name, err, row.refused)
		}
	}
	got, err := objects.Get(t.Context(), "row-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec, _, _ := unstructured.NestedMap(got.Object, "spec")
	if spec["durationSeconds"] != int64(21600) || spec["onOversize"] != "Fail" {
		t.Errorf("defaults: %v", spec)
	}
	if _, err := objects.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1",
		"kind":       "PodIdentityAssociation",
		"metadata":   map[string]any{"name": "row-0"},
		"spec":       map[string]any{"serviceAccountName": "row-0", "roleARN": role},
	}}, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a second association of an account: %v", err)
	}
	for _, row := range []struct{ name, patch, refused string }{
		{"another account", `{"spec":{"serviceAccountName":"row-1"}}`, "serviceAccountName cannot be changed"},
		{
			"made a pattern",
			`{"spec":{"serviceAccountName":"row-*","allowPatterns":true}}`,
			"serviceAccountName cannot be changed",
		},
		{"another role", `{"spec":{"roleARN":"` + role + `2"}}`, ""},
	} {
		_, err := objects.Patch(t.Context(), "row-0", types.MergePatchType, []byte(row.patch), metav1.PatchOptions{})
		if (err != nil) != (row.refused != "") || (err != nil && !strings.Contains(err.Error(), row.refused)) {
			t.Errorf("association, %s: %v, want %q", row.name, err, row.refused)
		}
	}
}

func rolecallResource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "rolecall.io", Version: "v1alpha1", Resource: name}
}

var definitionsResource = schema.GroupVersionResource{
	Group:    "apiextensions.k8s.io",
	Version:  "v1",
	Resource: "customresourcedefinitions",
}

// installCRDs returns when the API server serves the kinds.
func installCRDs(t testing.TB, client dynamic.Interface) {
	t.Helper()
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	for _, file := range files {
		installCRD(t, client, strings.TrimSuffix(strings.TrimPrefix(file, "rolecall.io_"), ".yaml"))
	}
}

// installCRD returns when the API server serves a kind.
func installCRD(t testing.TB, client dynamic.Interface, resource string) {
	t.Helper()
	text, err := crds.Files.ReadFile("rolecall.io_" + resource + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &definition.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resource(definitionsResource).Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatalf("%s: %v", resource, err)
	}
	untilServed(t, client.Resource(rolecallResource(resource)))
}

func untilServed(t testing.TB, resource dynamic.ResourceInterface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, err := resource.List(ctx, metav1.ListOptions{})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the kind is not served: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
