package planefile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/planefile"
)

// TestValues: what a fact may be, and what is nearly that.
func TestValues(t *testing.T) {
	t.Parallel()
	const role, endpoint = "sessions: {brokerRoleARN: '%'}\n", "sessions: {stsEndpoint: '%'}\n"
	for _, row := range []struct {
		name, form, value string
		want              string // empty: taken
	}{
		{"a role", role, "arn:aws:iam::111122223333:role/broker", ""},
		{"a user", role, "arn:aws:iam::111122223333:user/broker", ""},
		{
			"a role of another service", role, "arn:aws:sts::111122223333:role/broker",
			"is not the ARN of a role or user",
		},
		{"a role of no account", role, "arn:aws:iam::1111:role/broker", "is not the ARN of a role or user"},
		{"no ARN", role, "broker", "is not an ARN"},
		{"an endpoint of TLS", endpoint, "https://sts.eu-west-1.amazonaws.com", ""},
		{"an endpoint of this machine", endpoint, "http://127.0.0.1:4566", ""},
		{"an endpoint of another scheme", endpoint, "ftp://sts.example.com", "want an http or https URL"},
		{"an endpoint without a host", endpoint, "https:///sts", "want an http or https URL"},
		{"an endpoint that is not a URL", endpoint, "https://[::1", "want an http or https URL"},
	} {
		plane, err := planefile.Parse("plane.yaml", []byte(head+strings.Replace(row.form, "%", row.value, 1)))
		said := func() string { return plane.Get(planefile.BrokerRole) + plane.Get(planefile.STSEndpoint) }
		switch {
		case row.want == "" && (err != nil || said() != row.value):
			t.Errorf("%s: %v", row.name, err)
		case row.want != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// TestHead: both lines of the head count, and a document may be as large as it says.
func TestHead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"another version": "apiVersion: rolecall.io/v1\nkind: Plane\n",
		"another kind":    "apiVersion: rolecall.io/v1alpha1\nkind: Cluster\n",
		"no version":      "kind: Plane\n",
		"no kind":         "apiVersion: rolecall.io/v1alpha1\n",
	} {
		if plane, err := planefile.Parse(
			"plane.yaml",
			[]byte(text),
		); plane != nil ||
			fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, %v", name, plane, err)
		}
	}
	most := head + strings.Repeat("#", planefile.MaxBytes-len(head))
	if _, err := planefile.Parse("plane.yaml", []byte(most)); err != nil {
		t.Errorf("%d bytes: %v", len(most), err)
	}
}

// TestPartition is that of the region unless the plane says another; without both none
// is known.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ region, partition, want string }{
		{"", "", ""},
		{"cn-north-1", "", "aws-cn"},
		{"", "aws-cn", "aws-cn"},
		{"eu-west-1", "aws-iso", "aws-iso"}, // as flags can say it
	} {
		var plane planefile.Plane
		plane.Set(planefile.Region, row.region)
		plane.Set(planefile.Partition, row.partition)
		if got := plane.Cluster().Partition; got != row.want {
			t.Errorf("region %q, partition %q: got %q, want %q", row.region, row.partition, got, row.want)
		}
	}
}

// TestText writes strings without quotes where YAML reads them as such.
func TestText(t *testing.T) {
	t.Parallel()
	plane, err := planefile.Parse("plane.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	const want = head + `cluster:
  name: prod
  region: eu-west-1
  account: "111122223333"
tokens:
  issuer: https://oidc.example.com/prod
sessions:
  mode: BrokerRole
  brokerRoleARN: arn:aws:iam::111122223333:role/broker
  podLabels:
  - team
  - cost-center
nodes:
  roles:
  - arn:aws:iam::111122223333:role/node
`
	if diff := cmp.Diff(want, string(plane.Text())); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// TestOneSideSilent: a fact that only one side says is no difference, whichever that
// is.
func TestOneSideSilent(t *testing.T) {
	t.Parallel()
	silent, said := &planefile.Plane{}, &planefile.Plane{}
	said.Set(planefile.Region, "eu-west-1")
	if found := append(planefile.Differences(silent, said), planefile.Differences(said, silent)...); len(found) > 0 {
		t.Errorf("they differ: %v", found)
	}
}

// TestQuotesHelp: only what quotes would make a string is told to put in quotes.
func TestQuotesHelp(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "123": true, "": false, "{a: b}": false, "[a]": false} {
		_, err := planefile.Parse("plane.yaml", []byte(head+"cluster: {name: "+value+"}\n"))
		if got := strings.Contains(strings.Join(fault.HintsOf(err), " "), "in quotes"); err == nil || got != want {
			t.Errorf("name: %s: got %v, hint %t, want %t", value, err, got, want)
		}
	}
}
