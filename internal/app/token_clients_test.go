//go:build unix

package app_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tokenScript has people, roles and profiles at a local AWS, and verifies the tokens that
// they get, ours and those of the AWS CLI and boto3.
const tokenScript = `set -e
cat >seed.yaml <<'E'
accounts:
  - id: "111122223333"
    users:
      - name: alice
        path: /staff/
        accessKeys: [{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]
        inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
      - name: bob
        accessKeys: [{id: AKIAI44QH8DHBEXAMPLE, secret: je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY}]
    roles:
      - name: dev.eks-access.role
        trust: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/staff/alice"},
          Action: "sts:AssumeRole"}]}
        inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
      - name: admin
        path: /team/
        trust: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role/dev.eks-access.role"},
          Action: "sts:AssumeRole", Condition: {StringEquals: {"sts:ExternalId": "an-id"}}}]}
E
rolecall serve aws --account 111122223333 --seed seed.yaml >exports 2>log & aws=$!
until grep -q SECRET exports; do kill -0 $aws; sleep 0.02; done
. ./exports
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
mkdir .aws
cat >program <<'E'
#!/bin/sh
echo "the program speaks" >&2
echo '{"Version":1,"AccessKeyId":"AKIAI44QH8DHBEXAMPLE","SecretAccessKey":"je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"}'
E
chmod 700 program
cat >.aws/credentials <<'E'
[default]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
E
cat >.aws/config <<E
[default]
output = table
[profile dev]
role_arn = arn:aws:iam::111122223333:role/dev.eks-access.role
source_profile = default
[profile chain]
role_arn = arn:aws:iam::111122223333:role/team/admin
source_profile = dev
external_id = an-id
[profile program]
credential_process = $PWD/program
[profile mfa]
role_arn = arn:aws:iam::111122223333:role/dev.eks-access.role
source_profile = default
mfa_serial = arn:aws:iam::111122223333:mfa/alice
E
dev=arn:aws:iam::111122223333:role/dev.eks-access.role
admin=arn:aws:iam::111122223333:role/team/admin
verified() { rolecall token verify --cluster-name prod | awk -v n="$1" '$1=="caller" {print n, $2}'; }
rolecall token -i prod | verified user
rolecall token -i prod -r $dev | verified role
rolecall token -i prod -r $dev -r $admin -e an-id | verified roles
rolecall token -i prod -r $dev -r $admin 2>refusal && echo not refused
sed -n 's/.*AssumeRole: \([A-Za-z]*\) .*/no-id \1/p' refusal
rolecall token -i prod --profile dev | verified profile
rolecall token -i prod --profile chain | verified chain
rolecall token -i prod --profile program 2>spoken | verified program
echo spoken $(cat spoken)
echo 123456 | rolecall token -i prod --profile mfa 2>&1 | grep -c 'try: run once in a shell: rolecall token'
AWS_ACCESS_KEY_ID=AKIAI44QH8DHBEXAMPLE AWS_SECRET_ACCESS_KEY=je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY \
  rolecall token -i prod --profile dev | verified beats-keys
rolecall token -i prod --token-only 2>valid | verified only
cut -c1-12 valid
rolecall token -i prod --token-only 2>/dev/null | rolecall token verify -i other 2>&1 |
  grep -c 'another cluster than "other"'
# The AWS CLI's own, which would name a local endpoint in its token.
env -u AWS_ENDPOINT_URL aws eks get-token --cluster-name prod --output json </dev/null | verified cli
cat >sign.py <<'E'
import base64, boto3, botocore.signers
session = boto3.session.Session(region_name='us-east-1')
signer = botocore.signers.RequestSigner(
    session.client('sts').meta.service_model.service_id, 'us-east-1', 'sts', 'v4',
    session.get_credentials(), session.events)
url = signer.generate_presigned_url({
    'method': 'GET', 'url': 'https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15',
    'body': {}, 'headers': {'x-k8s-aws-id': 'prod'}, 'context': {},
}, region_name='us-east-1', expires_in=60, operation_name='')
print('k8s-aws-v1.' + base64.urlsafe_b64encode(url.encode()).decode().rstrip('='))
E
python3 sign.py </dev/null | verified boto3
stat -c %a .kube/cache/rolecall $(ls -d .kube/cache/rolecall/*.json | head -1)
grep -rlE 'wJalrXUtnFEMI|je7MtGbClwBF' .kube | wc -l
kill $aws
wait $aws || true
`

// TestTokens: tokens of each kind of profile, ours and others', are of whom STS says.
func TestTokens(t *testing.T) {
	t.Parallel()
	program(t, "aws")
	program(t, "python3")
	const user, session = "arn:aws:iam::111122223333:user/", "arn:aws:sts::111122223333:assumed-role/"
	want := []string{
		"user " + user + "staff/alice",
		"role " + session + "dev.eks-access.role/alice",
		"roles " + session + "admin/alice",
		"no-id AccessDenied",
		"profile " + session + "dev.eks-access.role/alice",
		"chain " + session + "admin/alice",
		"program " + user + "bob",
		"spoken the program speaks",
		"1",
		"beats-keys " + session + "dev.eks-access.role/alice",
		"only " + user + "staff/alice",
		"valid until ",
		"1",
		"cli " + user + "staff/alice",
		"boto3 " + user + "staff/alice",
		"700", "600", "0", "",
	}
	if out := localScript(t, t.TempDir(), tokenScript); out != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", out, strings.Join(want, "\n"))
	}
}

// TestTokensOfPods: a pod's own identity, by its web identity and from the agent.
func TestTokensOfPods(t *testing.T) {
	t.Parallel()
	out := localScript(t, t.TempDir(), `set -e
rolecall run --service-account default/s3-reader -- sh -c 'rolecall token -i prod | rolecall token verify -i prod' |
  head -1
rolecall run --service-account default/config-reader --via pod-identity -- \
  sh -c 'rolecall token -i prod | rolecall token verify -i prod' 2>said | head -1
`)
	const session = "caller       arn:aws:sts::111122223333:assumed-role/"
	lines := strings.Split(out, "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], session+"s3-reader/") ||
		!strings.HasPrefix(lines[1], session+"config-reader/") {
		t.Errorf("got:\n%s", out)
	}
}

// TestKubectlUsesTokens: the entry that kubeconfig update writes makes kubectl send a
// token, and a second call makes none.
func TestKubectlUsesTokens(t *testing.T) {
	t.Parallel()
	program(t, "kubectl")
	sent := make(chan string, 16)
	server := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.URL.Path == "/hello" {
			sent <- token
		}
		fmt.Fprintln(answer, `{}`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	out := localScript(t, dir, `set -e
export AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE
export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
for version in v1beta1 v1; do
  rolecall kubeconfig update --name prod --server `+server.URL+` --certificate-authority ca.crt \
    --exec-api-version $version >&2
  kubectl get --raw /hello
  kubectl get --raw /hello
done
`)
	if out != "{}\n{}\n{}\n{}\n" || len(sent) != 4 {
		t.Fatalf("%q %d", out, len(sent))
	}
	first := <-sent
	if !strings.HasPrefix(first, "k8s-aws-v1.") {
		t.Errorf("%d bytes, of no token", len(first))
	}
	for range 3 {
		if <-sent != first {
			t.Error("a token was made again")
		}
	}
}
