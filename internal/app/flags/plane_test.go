package flags_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/planefile"
)

const document = `apiVersion: rolecall.io/v1alpha1
kind: Plane
cluster: {name: prod, region: eu-west-1}
tokens: {issuer: "https://tokens.example"}
sessions: {mode: PassThrough, issuer: "https://broker.example", podLabels: [team, tier]}
`

// role is a command with flags of each kind, as they are after it read its plane.
type role struct {
	plane           flags.Plane
	cluster, region string
	mode, issuer    string
	labels          []string
	effective       *planefile.Plane
}

func start(t *testing.T, arguments ...string) (*role, error) {
	t.Helper()
	r := &role{}
	cmd := &cobra.Command{
		Use:           "role",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.plane.Read(cmd); err != nil {
				return err
			}
			r.effective = r.plane.Effective(cmd)
			return nil
		},
	}
	r.plane.Add(cmd)
	f := cmd.Flags()
	f.StringVar(&r.cluster, "cluster-name", "", "")
	f.StringVar(&r.region, "region", "us-east-1", "")
	f.StringVar(&r.mode, "mode", "federated", "")
	f.StringVar(&r.issuer, "issuer", "", "")
	f.StringSliceVar(&r.labels, "pod-labels", nil, "")
	r.plane.Bind("cluster-name", planefile.ClusterName)
	r.plane.Bind("region", planefile.Region)
	r.plane.Bind("mode", planefile.Mode)
	r.plane.BindValue("issuer", planefile.SessionIssuer, (*planefile.Plane).ShownIssuer)
	r.plane.Bind("pod-labels", planefile.PodLabels)
	cmd.SetArgs(arguments)
	return r, cmd.ExecuteContext(t.Context())
}

// TestPlane: the file fills the flags that were not given, those that were override it, and
// what a role goes by is what its flags are in the end.
func TestPlane(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := start(t, "--plane", file, "--region", "eu-west-2")
	if err != nil {
		t.Fatal(err)
	}
	if r.cluster != "prod" || r.region != "eu-west-2" || r.mode != "PassThrough" ||
		r.issuer != "https://tokens.example" ||
		!slices.Equal(r.labels, []string{"team", "tier"}) {
		t.Errorf("got %+v", r)
	}
	for field, want := range map[planefile.Field]string{
		planefile.ClusterName: "prod", planefile.Region: "eu-west-2", planefile.Partition: "aws",
		planefile.Mode:        "PassThrough",
		planefile.TokenIssuer: "https://tokens.example", planefile.PodLabels: "team,tier",
	} {
		if got := r.effective.Get(field); got != want {
			t.Errorf("%s: goes by %q, want %q", field, got, want)
		}
	}
}

// TestPlaneWithoutFile: flags alone say what a role goes by, in the words of the file.
func TestPlaneWithoutFile(t *testing.T) {
	t.Parallel()
	r, err := start(
		t, "--cluster-name", "prod", "--mode", "broker-role", "--pod-labels", "a,b", "--issuer",
		"https://i.example",
	)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[planefile.Field]string{
		planefile.ClusterName: "prod", planefile.Region: "us-east-1", planefile.Mode: "BrokerRole",
		planefile.PodLabels:     "a,b",
		planefile.SessionIssuer: "https://i.example",
	} {
		if got := r.effective.Get(field); got != want {
			t.Errorf("%s: goes by %q, want %q", field, got, want)
		}
	}
	if r.plane.Given() {
		t.Error("no file was named")
	}
}

// TestPlaneRefuses: a file that is not there or not right ends the command with its reason.
func TestPlaneRefuses(t *testing.T) {
	t.Parallel()
	if _, err := start(
		t,
		"--plane",
		"missing.yaml",
	); fault.KindOf(err) != fault.Usage ||
		!strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
	file := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(file, []byte("kind: Pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, "--plane", file); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), file) {
		t.Errorf("another kind: %v", err)
	}
}

// TestPlaneOfAnotherPartition: another region brings its partition with it, even if the
// file says the one of its own region.
func TestPlaneOfAnotherPartition(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plane.yaml")
	const said = "apiVersion: rolecall.io/v1alpha1\nkind: Plane\ncluster: {region: eu-west-1, partition: aws}\n"
	if err := os.WriteFile(file, []byte(said), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := start(t, "--plane", file, "--region", "cn-north-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.effective.Get(planefile.Partition); got != "aws-cn" {
		t.Errorf("in cn-north-1 the partition is %q, want aws-cn", got)
	}
}
