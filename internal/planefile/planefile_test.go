package planefile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/planefile"
)

const head = "apiVersion: rolecall.io/v1alpha1\nkind: Plane\n"

const whole = head + `# of the shop
cluster:
  name: prod
  region: eu-west-1
  account: 111122223333
tokens: {issuer: https://oidc.example.com/prod}
sessions:
  mode: BrokerRole
  brokerRoleARN: arn:aws:iam::111122223333:role/broker
  podLabels: [team, cost-center]
nodes:
  roles:
  - arn:aws:iam::111122223333:role/node
`

func TestParse(t *testing.T) {
	t.Parallel()
	plane, err := planefile.Parse("plane.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, info := range planefile.Fields() {
		if text := plane.Get(info.Field); text != "" {
			got[string(info.Field)] = text
		}
	}
	want := map[string]string{
		"cluster.name":           "prod",
		"cluster.region":         "eu-west-1",
		"cluster.account":        "111122223333",
		"tokens.issuer":          "https://oidc.example.com/prod",
		"sessions.mode":          "BrokerRole",
		"sessions.brokerRoleARN": "arn:aws:iam::111122223333:role/broker",
		"sessions.podLabels":     "team,cost-center",
		"nodes.roles":            "arn:aws:iam::111122223333:role/node",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if cluster := plane.Cluster(); cluster.ARN() != "arn:aws:eks:eu-west-1:111122223333:cluster/prod" {
		t.Errorf("the partition is that of the region: got %s", cluster.ARN())
	}
}

// TestParseRefuses: what is wrong is said with its line, its field and what would be right.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", "plane.yaml is empty"},
		{"two documents", whole + "---\n" + whole, "more than one document"},
		{"another kind", "apiVersion: v1\nkind: ConfigMap\n", `want rolecall.io/v1alpha1 and Plane`},
		{"a list", "- a\n", "plane.yaml:1: the document must be a mapping"},
		{"a section that is a string", head + "cluster: prod\n", "plane.yaml:3: cluster must be a mapping"},
		{"an unknown section", head + "clusters: {name: prod}\n", "plane.yaml:3: there is no field clusters"},
		{"an unknown field", head + "cluster:\n  nme: prod\n", "plane.yaml:4: there is no field cluster.nme"},
		{"a field in the wrong case", head + "cluster: {Name: prod}\n", "did you mean cluster.name?"},
		{
			"a field in the wrong section",
			head + "cluster: {issuer: https://a.example}\n",
			"did you mean tokens.issuer?",
		},
		{"a field twice", head + "cluster: {name: prod, name: test}\n", "cluster.name appears twice"},
		{"a cluster with a slash", head + "cluster: {name: a/b}\n", "cluster.name: \"a/b\""},
		{"a region of no form", head + "cluster: {region: '-'}\n", "is not a region"},
		{"eleven digits", head + "cluster: {account: 11112222333}\n", "want 12 digits"},
		{"not a partition", head + "cluster: {partition: aws-x}\n", "is not a partition"},
		{
			"a region of another partition",
			head + "cluster: {region: cn-north-1, partition: aws}\n",
			"region cn-north-1 is in aws-cn",
		},
		{"an issuer without TLS", head + "tokens: {issuer: http://a.example}\n", "must begin with https://"},
		{"an unknown mode", head + "sessions: {mode: federated}\n", "want Federated, BrokerRole, PassThrough, EKS"},
		{
			"a group as the broker",
			head + "sessions: {brokerRoleARN: 'arn:aws:iam::111122223333:group/a'}\n",
			"is not the ARN of a role or user",
		},
		{"an endpoint of no scheme", head + "sessions: {stsEndpoint: sts.example}\n", "want an http or https URL"},
		{"labels that are a string", head + "sessions: {podLabels: team}\n", "must be a list of strings"},
		{"an empty label", head + "sessions: {podLabels: ['']}\n", "must not be empty"},
		{
			"an instance profile",
			head + "nodes: {roles: ['arn:aws:iam::111122223333:instance-profile/node']}\n",
			"nodes.roles",
		},
		{"a mapping as a value", head + "cluster: {name: {a: b}}\n", "cluster.name must be a string"},
		{"no value", head + "cluster: {name: }\n", "cluster.name must be a string"},
		{"true as a name", head + "cluster:\n  name: true\n", "plane.yaml:4: cluster.name must be a string"},
		{"true, and what to do", head + "cluster: {name: true}\n", `put it in quotes: cluster.name: "true"`},
		{"a number as a name", head + "cluster: {name: 123}\n", "plane.yaml:3: cluster.name must be a string"},
		{"a number like 1e3 as a name", head + "cluster: {name: 1e3}\n", "cluster.name must be a string"},
		{"a day as a name", head + "cluster: {name: 2026-11-30}\n", "cluster.name must be a string"},
		{"a tag of no string", head + "cluster: {name: !!binary cHJvZA==}\n", "cluster.name must be a string"},
		{"true in a list", head + "sessions: {podLabels: [team, yes, true]}\n", "sessions.podLabels must be a string"},
		{"a number as an account", head + "cluster: {account: 1.11122223e11}\n", "cluster.account must be a string"},
		{"not YAML", head + "cluster: [\n", "plane.yaml:3: not valid YAML: did not find expected node content"},
		{"not YAML on the first line", "a: b: c\n", "plane.yaml:1: not valid YAML: mapping values"},
		{"an alias of nothing", head + "cluster: *prod\n", "plane.yaml:3: not valid YAML: unknown anchor"},
		{"a second document that is not YAML", whole + "---\na: b: c\n", "not valid YAML"},
		{"the line of a second document", head + "---\na: b\n", "plane.yaml:3: there is more than one document"},
		{
			"the line of a partition", head + "cluster:\n  region: cn-north-1\n  partition: aws\n",
			"plane.yaml:5: cluster.partition is aws",
		},
		{"too much", head + strings.Repeat("#", planefile.MaxBytes), "is larger than"},
	} {
		plane, err := planefile.Parse("plane.yaml", []byte(row.text))
		if plane != nil || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, %v, want an invalid document", row.name, plane, err)
			continue
		}
		if said := err.Error() + " " + strings.Join(fault.HintsOf(err), " "); !strings.Contains(said, row.want) {
			t.Errorf("%s: got %q, want %q in it", row.name, said, row.want)
		}
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Federated": "Federated", "federated": "Federated", "broker-role": "BrokerRole", "BrokerRole": "BrokerRole",
		"pass-through": "PassThrough", "EKS": "EKS", "eks": "EKS", "brokerRole": "", "": "",
	} {
		if mode, found := planefile.ParseMode(text); string(mode) != want || found != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", text, mode, found, want)
		}
	}
}

func TestShownIssuer(t *testing.T) {
	t.Parallel()
	var plane planefile.Plane
	plane.Set(planefile.TokenIssuer, "https://tokens.example")
	plane.Set(planefile.SessionIssuer, "https://broker.example")
	for mode, want := range map[string]string{
		"":            "https://broker.example",
		"Federated":   "https://broker.example",
		"PassThrough": "https://tokens.example",
	} {
		plane.Set(planefile.Mode, mode)
		if got := plane.ShownIssuer(); got != want {
			t.Errorf("mode %q: got %s, want %s", mode, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	ours, theirs := &planefile.Plane{}, &planefile.Plane{}
	ours.Set(planefile.Region, "eu-west-1")
	theirs.Set(planefile.Region, "eu-west-2")
	ours.Set(planefile.PodLabels, "a", "b")
	theirs.Set(planefile.PodLabels, "b", "a")
	ours.Set(planefile.Account, "111122223333") // the other does not say
	want := []planefile.Difference{{Field: planefile.Region, Ours: "eu-west-1", Theirs: "eu-west-2"}}
	if diff := cmp.Diff(want, planefile.Differences(ours, theirs)); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	if same := planefile.Differences(ours, ours); len(same) > 0 {
		t.Errorf("a plane differs from itself: %v", same)
	}
}

// FuzzParse: what is read is written so that it is read again, the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(head + "cluster: {name: '0x1', account: \"012345678901\"}\nsessions: {podLabels: ['null', '# a']}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		plane, err := planefile.Parse("plane.yaml", text)
		if err != nil {
			return
		}
		again, err := planefile.Parse("plane.yaml", plane.Text())
		if err != nil {
			t.Fatalf("%s\nis written as\n%s\nwhich is refused: %v", text, plane.Text(), err)
		}
		for _, info := range planefile.Fields() {
			if !slices.Equal(plane.List(info.Field), again.List(info.Field)) {
				t.Errorf("%s: %q became %q", info.Field, plane.List(info.Field), again.List(info.Field))
			}
		}
	})
}
