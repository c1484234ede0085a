package manifest_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/manifest"
)

func TestAssociations(t *testing.T) {
	t.Parallel()
	const good = `# a comment
apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
---
apiVersion: rolecall.io/v1alpha1
kind: PodIdentityAssociation
metadata: {name: a}
spec: {serviceAccountName: a, roleARN: "arn:aws:iam::111122223333:role/r"}
---
apiVersion: v1
kind: List
items:
- apiVersion: rolecall.io/v1alpha1
  kind: PodIdentityAssociation
  metadata: {name: b, namespace: n}
  spec: {serviceAccountName: b, roleARN: "arn:aws:iam::111122223333:role/s", durationSeconds: 900}
- {apiVersion: example.com/v1, kind: PodIdentityAssociation, metadata: {name: another}}
`
	found, err := manifest.Associations([]manifest.Source{{Name: "f.yaml", Text: []byte(good)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Namespace != "default" || found[0].Spec.ServiceAccountName != "a" ||
		found[1].Namespace != "n" ||
		found[1].Spec.DurationSeconds != 900 ||
		found[0].Place != "f.yaml:6" ||
		found[1].Place != "f.yaml:14" {
		t.Errorf("found %+v", found)
	}
	bad := strings.Replace(good, "durationSeconds", "duration", 1)
	if _, err := manifest.Associations([]manifest.Source{{
		Name: "f.yaml",
		Text: []byte(bad),
	}}); err == nil || !strings.Contains(err.Error(), "f.yaml:14:") || !strings.Contains(err.Error(), "duration") {
		t.Errorf("an unknown field: %v", err)
	}
}
