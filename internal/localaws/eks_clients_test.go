package localaws_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/credential"
)

// client runs a program with the credentials and the address of local AWS.
func (w *world) client(c credential.AWS, program string, arguments ...string) (stdout, stderr string, failed bool) {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), client(w.t.(*testing.T), program), arguments...)
	command.Env = w.clientEnvironment("AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "AWS_MAX_ATTEMPTS=1",
		"ISSUER="+issuerURL,
		"AWS_ACCESS_KEY_ID="+c.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN="+c.SessionToken.Reveal())
	var out, problems strings.Builder
	command.Stdout, command.Stderr = &out, &problems
	err := command.Run()
	return out.String(), problems.String(), err != nil
}

// cli runs the AWS CLI, which must succeed, and reads its answer.
func (w *world) cli(c credential.AWS, arguments ...string) map[string]any {
	w.t.Helper()
	out, problems, failed := w.client(c, "aws", append(arguments, "--output", "json")...)
	if failed {
		w.t.Fatalf("aws %s: %s", strings.Join(arguments, " "), problems)
	}
	var said map[string]any
	if strings.TrimSpace(out) != "" {
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			w.t.Fatalf("aws %s: %s", strings.Join(arguments, " "), out)
		}
	}
	return said
}

func member(value any, path ...string) any {
	for _, name := range path {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

// TestCLIPodIdentity: the AWS CLI makes everything that a pod needs, and plays
// the agent.
func TestCLIPodIdentity(t *testing.T) {
	t.Parallel()
	w, _ := newEKS(t)
	w.cli(w.admin, "eks", "create-cluster", "--name", "prod", "--role-arn", "arn:aws:iam::111122223333:role/eks",
		"--resources-vpc-config", "subnetIds=subnet-1,subnet-2",
		"--access-config", "authenticationMode=API_AND_CONFIG_MAP", "--tags", "rolecall.io/issuer="+issuerURL)
	w.cli(w.admin, "eks", "wait", "cluster-active", "--name", "prod")
	made := w.cli(
		w.admin, "eks", "create-pod-identity-association", "--cluster-name", "prod", "--namespace", "shop",
		"--service-account", "cart", "--role-arn", roleCart, "--tags", "team=red",
	)
	id, _ := member(made, "association", "associationId").(string)
	if created, _ := member(
		made, "association", "createdAt",
	).(float64); !regexp.MustCompile(`^a-[a-z0-9]{17}$`).MatchString(id) || created == 0 ||
		member(made, "association", "tags", "team") != "red" {
		t.Errorf("association %v", made)
	}
	_, problems, failed := w.client(
		w.admin, "aws", "eks", "create-pod-identity-association", "--cluster-name", "prod", "--namespace", "shop",
		"--service-account", "cart", "--role-arn", roleCart,
	)
	if want := "An error occurred (ResourceInUseException) when calling the CreatePodIdentityAssociation operation: " +
		"Association already exists: " + id; !failed || !strings.Contains(problems, want) {
		t.Errorf("twice: %s", problems)
	}
	w.cli(
		w.admin, "eks", "create-access-entry", "--cluster-name", "prod", "--principal-arn", roleCart,
		"--kubernetes-groups", "viewers",
	)
	w.cli(
		w.admin, "eks", "associate-access-policy", "--cluster-name", "prod", "--principal-arn", roleCart,
		"--policy-arn", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", "--access-scope",
		"type=namespace,namespaces=dev-*",
	)
	policies := w.cli(
		w.admin, "eks", "list-associated-access-policies", "--cluster-name", "prod", "--principal-arn", roleCart,
	)
	if list, _ := policies["associatedAccessPolicies"].([]any); len(list) != 1 {
		t.Errorf("policies %v", policies)
	}
	got := w.cli(
		w.node(), "eks-auth", "assume-role-for-pod-identity", "--cluster-name", "prod", "--token",
		w.token(w.key, w.podClaims(nil)),
	)
	text := func(name string) string {
		found, _ := member(got, "credentials", name).(string)
		return found
	}
	pod := credential.AWS{
		AccessKeyID:  text("accessKeyId"),
		SecretKey:    credential.NewSecret(text("secretAccessKey")),
		SessionToken: credential.NewSecret(text("sessionToken")),
	}
	who := w.cli(pod, "sts", "get-caller-identity")
	if arn, _ := who["Arn"].(string); !strings.HasPrefix(
		arn, "arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0-",
	) {
		t.Errorf("caller %v", who)
	}
	_, problems, failed = w.client(pod, "aws", "eks", "list-clusters")
	if !failed || !strings.Contains(problems, "(AccessDeniedException)") {
		t.Errorf("a pod without permissions: %s", problems)
	}
	w.cli(w.admin, "eks", "delete-pod-identity-association", "--cluster-name", "prod", "--association-id", id)
	_, problems, failed = w.client(
		w.node(), "aws", "eks-auth", "assume-role-for-pod-identity", "--cluster-name", "prod", "--token",
		w.token(w.key, w.podClaims(nil)),
	)
	if !failed || !strings.Contains(problems, "(ResourceNotFoundException)") {
		t.Errorf("without association: %s", problems)
	}
}

const botoEKS = `
import boto3, os
eks = boto3.client('eks')
arn = 'arn:aws:iam::111122223333:role/'
eks.create_cluster(name='prod', roleArn=arn + 'eks', resourcesVpcConfig={'subnetIds': []},
    accessConfig={'authenticationMode': 'API'}, tags={'rolecall.io/issuer': os.environ['ISSUER']})
eks.get_waiter('cluster_active').wait(name='prod', WaiterConfig={'Delay': 1, 'MaxAttempts': 2})
for i in range(7):
    eks.create_pod_identity_association(clusterName='prod', namespace='n', serviceAccount='s%d' % i,
        roleArn=arn + 'team/cart')
pages = list(eks.get_paginator('list_pod_identity_associations').paginate(clusterName='prod',
    PaginationConfig={'PageSize': 3}))
assert [len(p['associations']) for p in pages] == [3, 3, 1], pages
try:
    eks.create_pod_identity_association(clusterName='prod', namespace='n', serviceAccount='s0',
        roleArn=arn + 'team/cart')
    assert False
except eks.exceptions.ResourceInUseException as e:
    assert e.response['clusterName'] == 'prod' and e.response['ResponseMetadata']['HTTPStatusCode'] == 409, e.response
entries = eks.get_paginator('list_access_entries').paginate(clusterName='prod').build_full_result()['accessEntries']
assert entries == ['arn:aws:iam::111122223333:user/admin'], entries
entry = eks.describe_access_entry(clusterName='prod', principalArn=entries[0])['accessEntry']
assert entry['createdAt'].year > 2000 and eks.list_tags_for_resource(resourceArn=entry['accessEntryArn'])['tags'] == {}
pages = eks.get_paginator('list_access_policies').paginate(PaginationConfig={'PageSize': 5})
policies = pages.build_full_result()['accessPolicies']
assert len(policies) == len({p['name'] for p in policies}) > 30, policies
got = boto3.client('eks-auth').assume_role_for_pod_identity(clusterName='prod', token=os.environ['POD_TOKEN'])
assert got['subject'] == {'namespace': 'n', 'serviceAccount': 's3'}, got
assert got['credentials']['expiration'].year > 2000, got
eks.delete_cluster(name='prod')
eks.get_waiter('cluster_deleted').wait(name='prod', WaiterConfig={'Delay': 1, 'MaxAttempts': 2})
print('good')
`

// TestBotoEKS: botocore's waiters, paginators and exceptions.
func TestBotoEKS(t *testing.T) {
	t.Parallel()
	w, _ := newEKS(t)
	client(t, "python3", "-c", "import boto3")
	token := w.token(w.key, w.podClaims(map[string]any{
		"sub": "system:serviceaccount:n:s3",
		"kubernetes.io": map[string]any{
			"namespace":      "n",
			"serviceaccount": map[string]any{"name": "s3"},
			"pod":            map[string]any{"name": "p", "uid": "u"},
		},
	}))
	script := "import os\nos.environ['POD_TOKEN'] = '" + token + "'\n" + botoEKS
	if out, problems, failed := w.client(w.admin, "python3", "-c", script); failed || strings.TrimSpace(out) != "good" {
		t.Errorf("%s\n%s", out, problems)
	}
}
