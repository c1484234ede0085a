package integration_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/crds"
	"github.com/rolecall/rolecall/test/cluster"
)

// TestCRDs installs the definitions in a real API server, which checks their
// schemas and CEL rules, and then holds objects against them.
func TestCRDs(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	for _, row := range []struct{ name, resource, object, refused string }{
		{"grant", "rolegrants", `{kind: RoleGrant, metadata: {name: a}, spec: {subjects: [{namespace: "team-*"}], roles: ["arn:aws:iam::*:role/team/*"]}}`, ""},
		{"grant without roles", "rolegrants", `{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: a}], roles: []}}`, "spec.roles"},
		{"grant of no ARN", "rolegrants", `{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: a}], roles: [admin]}}`, "spec.roles[0]"},
		{"grant for no namespace", "rolegrants", `{kind: RoleGrant, metadata: {name: b}, spec: {subjects: [{namespace: "A b"}], roles: ["*"]}}`, "spec.subjects[0].namespace"},
		{"issuer", "issuers", `{kind: Issuer, metadata: {name: a}, spec: {url: "https://h.example/a", publish: {s3: {bucket: keys, region: eu-west-1}}, rotation: {every: 720h, secret: {namespace: a, name: b}}}}`, ""},
		{"issuer over http", "issuers", `{kind: Issuer, metadata: {name: b}, spec: {url: "http://h.example", publish: {configMap: {namespace: a, name: b}}}}`, "spec.url"},
		{"issuer with a slash", "issuers", `{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example/", publish: {configMap: {namespace: a, name: b}}}}`, "spec.url"},
		{"issuer to nowhere", "issuers", `{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example", publish: {}}}`, "exactly one of s3, configMap and directory"},
		{"issuer to two places", "issuers", `{kind: Issuer, metadata: {name: b}, spec: {url: "https://h.example", publish: {configMap: {namespace: a, name: b}, s3: {bucket: keys, region: eu-west-1}}}}`, "exactly one of s3, configMap and directory"},
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
	if _, err := client.Resource(rolecallResource("issuers")).Patch(t.Context(), "a", "application/merge-patch+json", changed, metav1.PatchOptions{}); err == nil || !strings.Contains(err.Error(), "cannot be changed") {
		t.Errorf("another URL: %v", err)
	}
}

func rolecallResource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "rolecall.io", Version: "v1alpha1", Resource: name}
}

// installCRDs returns when the API server serves the kinds.
func installCRDs(t *testing.T, client dynamic.Interface) {
	t.Helper()
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	for _, file := range files {
		text, err := crds.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &definition.Object); err != nil {
			t.Fatal(err)
		}
		if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		resource := strings.TrimSuffix(strings.TrimPrefix(file, "rolecall.io_"), ".yaml")
		untilServed(t, client.Resource(rolecallResource(resource)))
	}
}

func untilServed(t *testing.T, resource dynamic.ResourceInterface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
