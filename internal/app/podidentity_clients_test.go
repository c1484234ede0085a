//go:build unix

package app_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/test/pages"
)

// eksScript does everything to an association that the EKS API can, at the
// address that `up` exports, with the AWS CLI, and runs pods meanwhile.
const eksScript = `set -e
rolecall up >exports 2>log & up=$!
until [ -s exports ]; do kill -0 $up; sleep 0.02; done
. ./exports
q="--cluster-name quickstart --output text"
who='aws sts get-caller-identity --query Arn --output text'
role=arn:aws:iam::111122223333:role
echo clusters $(aws eks list-clusters --output text --query clusters)
echo issuer $(aws eks describe-cluster --name quickstart --output text --query 'cluster.[status,identity.oidc.issuer]')
echo first $(rolecall run --service-account default/s3-reader -- $who)
id=$(aws eks create-pod-identity-association $q --namespace default --service-account s3-reader \
  --role-arn $role/s3-reader --tags a=b --query association.associationId)
echo created $(rolecall run --service-account default/s3-reader -- $who)
echo listed $(aws eks list-pod-identity-associations $q --namespace default \
  --query 'sort(associations[].serviceAccount)')
echo described $(aws eks describe-pod-identity-association $q --association-id $id \
  --query 'association.[roleArn,tags.a]')
arn=$(aws eks describe-pod-identity-association $q --association-id $id --query association.associationArn)
aws eks tag-resource --resource-arn $arn --tags c=d
echo tagged $(aws eks list-tags-for-resource --resource-arn $arn --output text --query tags.c)
echo ours $(rolecall association list --via eks --cluster-name quickstart | grep -c s3-reader)
aws eks update-pod-identity-association $q --association-id $id --role-arn $role/config-reader >updated
echo updated $(rolecall run --service-account default/s3-reader -- $who 2>&1 |
  grep -c 'config-reader cannot be assumed')
aws eks delete-pod-identity-association $q --association-id $id >deleted
echo deleted $(rolecall run --service-account default/s3-reader -- $who)
echo gone $(aws eks describe-pod-identity-association $q --association-id $id 2>&1 | grep -o ResourceNotFoundException)
echo cli $(rolecall run --service-account default/config-reader --via pod-identity -- $who)
echo temporary $(rolecall run --service-account default/s3-reader --via pod-identity -- $who 2>note)
echo left $(aws eks list-pod-identity-associations $q --query 'associations[].serviceAccount')
kill $up
wait $up
`

// TestPodIdentityCLI: the AWS CLI as an administrator of associations, and as a
// pod's program.
func TestPodIdentityCLI(t *testing.T) {
	t.Parallel()
	program(t, "aws")
	said := map[string]string{}
	for line := range strings.Lines(localScript(t, t.TempDir(), eksScript)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		said[name] = rest
	}
	const assumed = `^arn:aws:sts::111122223333:assumed-role/`
	for name, pattern := range map[string]string{
		"clusters":  `^quickstart$`,
		"issuer":    `^ACTIVE ` + regexp.QuoteMeta(quickstart.Issuer) + `$`,
		"first":     assumed + `s3-reader/rolecall-run-[0-9a-f]{8}$`,
		"created":   assumed + `s3-reader/eks-quickstart-rolecall-run-`,
		"listed":    `^config-reader s3-reader$`,
		"described": `^arn:aws:iam::111122223333:role/s3-reader b$`,
		"tagged":    `^d$`,
		"ours":      `^1$`,
		"updated":   `^[1-9]`,
		"deleted":   assumed + `s3-reader/rolecall-run-[0-9a-f]{8}$`,
		"gone":      `^ResourceNotFoundException$`,
		"cli":       assumed + `config-reader/eks-quickstart-rolecall-run-`,
		"temporary": assumed + `s3-reader/eks-quickstart-rolecall-run-`,
		"left":      `^config-reader$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(said[name]) {
			t.Errorf("%s: %q, want %s", name, said[name], pattern)
		}
	}
}

// TestPodIdentityBoto3: boto3 asks the agent, for an account with an association
// and for one that has it for the time of the program.
func TestPodIdentityBoto3(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import boto3").CombinedOutput(); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("no boto3: %s", out)
		}
		t.Skipf("NOT TESTED: no boto3: %s", out)
	}
	out := localScript(t, t.TempDir(), `set -e
cat >who.py <<'E'
import boto3
credentials = boto3.Session().get_credentials()
print(credentials.method, credentials.account_id, boto3.client('sts').get_caller_identity()['Arn'])
E
for account in config-reader s3-reader; do
  rolecall run --service-account default/$account --via pod-identity -- python3 who.py 2>note
done
rolecall run --service-account default/s3-reader -- python3 who.py
`)
	const pattern = `^container-role 111122223333 ` +
		`arn:aws:sts::111122223333:assumed-role/config-reader/eks-quickstart-rolecall-run-\S+
container-role 111122223333 arn:aws:sts::111122223333:assumed-role/s3-reader/eks-quickstart-rolecall-run-\S+
assume-role-with-web-identity \S+ arn:aws:sts::111122223333:assumed-role/s3-reader/rolecall-run-\S+
$`
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("got:\n%s\nwant a match of:\n%s", out, pattern)
	}
}

// localScript runs a script that must succeed, with a plane of its own, and
// returns its standard output. Nothing that it started outlives it.
func localScript(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Minute) // scripts wait without end for what fails
	defer stop()
	var out, problems strings.Builder
	if err := pages.Shell(ctx, dir, localEnvironment(t, dir), script, &out, &problems); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s%s%s", err, out.String(), problems.String(), log)
	}
	return out.String()
}
