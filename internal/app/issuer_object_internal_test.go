package app

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestSamePublication: the same URL, however it is written, or the same place.
func TestSamePublication(t *testing.T) {
	t.Parallel()
	spec := func(url string, publish v1alpha1.PublishTarget) *v1alpha1.IssuerSpec {
		return &v1alpha1.IssuerSpec{URL: url, Publish: publish}
	}
	bucket := func(name, prefix string) v1alpha1.PublishTarget {
		return v1alpha1.PublishTarget{S3: &v1alpha1.S3Target{Bucket: name, Region: "eu-west-1", Prefix: prefix}}
	}
	configMap := func(name string) v1alpha1.PublishTarget {
		return v1alpha1.PublishTarget{ConfigMap: &v1alpha1.ObjectName{Namespace: "a", Name: name}}
	}
	directory := v1alpha1.PublishTarget{Directory: &v1alpha1.Directory{Path: "/www"}}
	for name, row := range map[string]struct {
		a, b *v1alpha1.IssuerSpec
		want bool
	}{
		"the same URL, other places":  {spec("https://h.example/a", directory), spec("https://h.example:443/a", bucket("b", "")), true},
		"another URL, the same place": {spec("https://h.example/a", bucket("b", "p")), spec("https://s3.example/a", bucket("b", "p")), true},
		"another prefix":              {spec("https://h.example/a", bucket("b", "p")), spec("https://h.example/b", bucket("b", "q")), false},
		"another bucket":              {spec("https://h.example/a", bucket("b", "p")), spec("https://h.example/b", bucket("c", "p")), false},
		"the same ConfigMap":          {spec("https://h.example/a", configMap("x")), spec("https://h.example/b", configMap("x")), true},
		"another ConfigMap":           {spec("https://h.example/a", configMap("x")), spec("https://h.example/b", configMap("y")), false},
		"folders of two machines":     {spec("https://h.example/a", directory), spec("https://h.example/b", directory), false},
		"a slash more is another":     {spec("https://h.example/a", directory), spec("https://h.example/a/", directory), false},
	} {
		if got := samePublication(row.a, row.b); got != row.want || samePublication(row.b, row.a) != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestHeldByController(t *testing.T) {
	t.Parallel()
	object := &v1alpha1.Issuer{}
	object.Name = "c1"
	hints := func() string {
		err := heldByController(object, "my conf")
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("%v", err)
		}
		return strings.Join(fault.HintsOf(err), "\n")
	}
	if got := hints(); !strings.Contains(got, "kubectl edit issuers.rolecall.io c1") || !strings.Contains(got, "kubectl delete") {
		t.Error(got)
	}
	object.Spec.Rotation = &v1alpha1.Rotation{}
	object.Status.Keys = []v1alpha1.KeyStatus{{KID: "old", Role: "verifying"}, {KID: "k1", Role: "signing"}}
	if got := hints(); !strings.Contains(got, "--kubeconfig 'my conf' --issuer c1") || !strings.Contains(got, `'{"spec":{"rotation":{"leaked":["k1"]}}}'`) {
		t.Error(got)
	}
}
