package apiserverflags_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/apiserverflags"
)

var update = flag.Bool("update", false, "write the golden files")

var example = apiserverflags.Issuer{
	URL: "https://keys.s3.eu-west-1.amazonaws.com/c1", Present: "https://old.example/c1",
	JWKSURI: "https://keys.s3.eu-west-1.amazonaws.com/c1/openid/v1/jwks", Cluster: "c1", Bucket: "keys", Prefix: "c1",
}

// TestGolden: each distribution's settings, as users get them.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range apiserverflags.Names() {
		for _, own := range []bool{false, true} {
			issuer := example
			issuer.OwnKeys = own
			settings, err := apiserverflags.For(name, issuer)
			if err != nil {
				t.Fatal(err)
			}
			var parsed any
			if err := yaml.UnmarshalStrict([]byte(settings.Text), &parsed); err != nil {
				t.Errorf("%s is not YAML: %v\n%s", name, err, settings.Text)
			}
			new, old := strings.Index(settings.Text, issuer.URL), strings.Index(settings.Text, issuer.Present)
			if new < 0 || old < 0 || new > old {
				t.Errorf("%s: want the new issuer and then the present one\n%s", name, settings.Text)
			}
			got := settings.Text + "---\n" + strings.Join(settings.Steps, "\n") + "\n"
			file := filepath.Join("testdata", string(name)+map[bool]string{true: "-own-keys"}[own]+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   apiserverflags.Name
		change func(*apiserverflags.Issuer)
		want   string
	}{
		{"openshift", func(*apiserverflags.Issuer) {}, "want one of kubeadm, capi"},
		{apiserverflags.Talos, func(i *apiserverflags.Issuer) { i.Present = "" }, "present issuer is not known"},
		{apiserverflags.KOps, func(i *apiserverflags.Issuer) { i.Present = "" }, "present issuer is not known"},
		{apiserverflags.Kubeadm, func(i *apiserverflags.Issuer) { i.URL = "https://h.example/\"}\nevil: {" }, "is not a URL"},
		{apiserverflags.Kubeadm, func(i *apiserverflags.Issuer) { i.Cluster = "a: b" }, "is not a name"},
	} {
		issuer := example
		row.change(&issuer)
		if _, err := apiserverflags.For(row.name, issuer); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	issuer := example
	issuer.Present = ""
	settings, err := apiserverflags.For(apiserverflags.Kubeadm, issuer)
	if err != nil || !strings.Contains(settings.Text, "https://kubernetes.default.svc.cluster.local") {
		t.Errorf("kubeadm's own default is not kept: %v\n%s", err, settings.Text)
	}
}
