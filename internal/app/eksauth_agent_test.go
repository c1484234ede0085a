//go:build unix

package app_test

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/freeport"
)

const eksAgentScript = `set -e
rolecall up --explain >exports 2>log & up=$!
until [ -s exports ]; do kill -0 $up; sleep 0.02; done
. ./exports
cluster=arn:aws:eks:us-east-1:111122223333:cluster/prod
issuer=$(aws eks describe-cluster --name quickstart --query cluster.identity.oidc.issuer --output text)
aws iam create-role --role-name eks --assume-role-policy-document '{"Version":"2012-10-17",
  "Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}' >made
rolecall trust generate --pod-identity eks --cluster-arn $cluster 2>notes >trust.json
aws iam create-role --role-name cart --assume-role-policy-document file://trust.json >made
aws eks create-cluster --name prod --role-arn arn:aws:iam::111122223333:role/eks --resources-vpc-config subnetIds=a,b \
  --tags rolecall.io/issuer=$issuer >made
rolecall association create --via eks --cluster-name prod -n default --service-account-name config-reader \
  --role-arn arn:aws:iam::111122223333:role/cart >made
rolecall serve agent --upstream eks-auth -c prod -b 127.0.0.1 -p PORT0 --probe-port PORT1 \
  --metrics-port PORT2 --metrics-address 127.0.0.1 --ready-requires upstream >agent 2>&1 & agent=$!
until curl -sf http://127.0.0.1:PORT1/readyz >ready; do kill -0 $agent || { cat agent >&2; exit 1; }; sleep 0.05; done
pod() { rolecall run --service-account default/config-reader -- \
  env AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:PORT0/v1/credentials "$@"; }
echo cli $(pod aws sts get-caller-identity --query Arn --output text)
echo go $(pod rolecall whoami)
aws iam update-assume-role-policy --role-name cart --policy-document "$(sed s,cluster/prod,cluster/test, trust.json)"
echo other $(pod rolecall whoami 2>&1)
echo because $(grep because log)
kill $agent; wait $agent || :
kill $up; wait $up
`

// TestAgentOfLocalEKS: the agent asks local AWS's EKS Auth, for a cluster that is
// not the plane's, and the role's aws:SourceArn decides.
func TestAgentOfLocalEKS(t *testing.T) {
	t.Parallel()
	program(t, "aws")
	program(t, "curl")
	script := eksAgentScript
	for _, name := range []string{"PORT0", "PORT1", "PORT2"} {
		_, port, _ := net.SplitHostPort(freeport.Address(t))
		script = strings.ReplaceAll(script, name, port)
	}
	out := localScript(t, t.TempDir(), script)
	want := regexp.MustCompile(`^cli arn:aws:sts::111122223333:assumed-role/cart/eks-prod-rolecall-run-\S+
go arn:aws:sts::111122223333:assumed-role/cart/eks-prod-rolecall-run-\S+
other rolecall: the agent gives no credentials: container credentials: AccessDeniedException \(400\): .*
because .*ArnEquals aws:SourceArn wants "arn:aws:eks:us-east-1:111122223333:cluster/test", ` +
		`got "arn:aws:eks:us-east-1:111122223333:cluster/prod"`)
	if !want.MatchString(out) {
		t.Errorf("got:\n%s\nwant a match of:\n%s", out, want)
	}
}
