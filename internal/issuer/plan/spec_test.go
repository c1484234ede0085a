package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
)

// TestProbeOf: every cluster has the account that is asked for if none is named, and STS's
// own audience is the default.
func TestProbeOf(t *testing.T) {
	t.Parallel()
	named := v1alpha1.IssuerSpec{
		Probe:     v1alpha1.Probe{ServiceAccount: v1alpha1.ObjectName{Namespace: "kube-system", Name: "canary"}},
		Providers: []v1alpha1.IAMProvider{{}, {ClientIDs: []string{"first", "second"}}},
	}
	for _, row := range []struct {
		name string
		spec v1alpha1.IssuerSpec
		want plan.Probe
	}{
		{"nothing named", v1alpha1.IssuerSpec{}, plan.Probe{"default", "default", "sts.amazonaws.com"}},
		{"all named", named, plan.Probe{"kube-system", "canary", "first"}},
	} {
		if diff := cmp.Diff(row.want, plan.ProbeOf(&row.spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	if diff := cmp.Diff([]string{"first", "second"}, plan.Audiences(&named)); diff != "" {
		t.Errorf("audiences (-want +got):\n%s", diff)
	}
}

// TestParameters: a spec may wait shorter or longer than the default, but never shorter
// than the longest token of a pod lives.
func TestParameters(t *testing.T) {
	t.Parallel()
	rotating := func(cacheFor, drainFor time.Duration) v1alpha1.IssuerSpec {
		return v1alpha1.IssuerSpec{Rotation: &v1alpha1.Rotation{
			CacheFor: metav1.Duration{Duration: cacheFor},
			DrainFor: metav1.Duration{Duration: drainFor},
		}}
	}
	canary := rotating(time.Hour, 0)
	canary.Probe.RoleARN = "arn:aws:iam::111122223333:role/canary"
	usual := rotation.Defaults()
	for _, row := range []struct {
		name    string
		spec    v1alpha1.IssuerSpec
		longest time.Duration
		want    rotation.Parameters
	}{
		{
			"no rotation in the spec",
			v1alpha1.IssuerSpec{},
			0,
			rotation.Parameters{CacheFor: usual.CacheFor, DrainFor: usual.DrainFor, WithoutCanary: true},
		},
		{
			"both named",
			rotating(time.Minute, time.Hour), 0,
			rotation.Parameters{CacheFor: time.Minute, DrainFor: time.Hour, WithoutCanary: true},
		},
		{
			"a pod's token lives longer",
			rotating(time.Minute, time.Hour), 3 * time.Hour,
			rotation.Parameters{CacheFor: time.Minute, DrainFor: 3 * time.Hour, WithoutCanary: true},
		},
		{
			"a role to try",
			canary, 0,
			rotation.Parameters{CacheFor: time.Hour, DrainFor: usual.DrainFor},
		},
	} {
		if diff := cmp.Diff(row.want, plan.Parameters(&row.spec, row.longest)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
}

// TestOptions: the keys lie where the spec says, where kube-apiserver has them if it does
// not.
func TestOptions(t *testing.T) {
	t.Parallel()
	spec := v1alpha1.IssuerSpec{Publish: v1alpha1.PublishTarget{
		JWKSPath:      "keys.json",
		MaxAgeSeconds: 60,
		EmptyKIDs:     true,
	}}
	want := document.Options{JWKSPath: "keys.json", MaxAge: 60, EmptyIDs: true}
	if diff := cmp.Diff(want, plan.Options(&spec)); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if path := plan.JWKSPath(&spec); path != "keys.json" {
		t.Errorf("keys at %q", path)
	}
	if path := plan.JWKSPath(&v1alpha1.IssuerSpec{}); path != "openid/v1/jwks" {
		t.Errorf("keys by default at %q", path)
	}
}
