//go:build unix

package app_test

import (
	"strings"
	"testing"
)

// kubeconfigScript writes the same cluster with the AWS CLI and with us, into files of the
// same beginnings, and prints where they differ.
const kubeconfigScript = `set -e
rolecall up >exports 2>log & up=$!
until [ -s exports ]; do kill -0 $up; sleep 0.02; done
. ./exports
unset KUBECONFIG
like="--exec-command aws --compat-names"
role=arn:aws:iam::111122223333:role/config-reader
export AWS_CONFIG_FILE=
mkdir aws ours
both() { # arguments of both, then what only we are given
  theirs=$(HOME=$PWD/aws aws eks update-kubeconfig --name quickstart $1 | sed "s|$PWD/aws|HOME|")
  mine=$(HOME=$PWD/ours rolecall kubeconfig update --name quickstart $like $1 2>>said | sed "s|$PWD/ours|HOME|")
  [ "$theirs" = "$mine" ] || { echo "theirs: $theirs"; echo "ours: $mine"; }
}
same() { # as documents
  python3 - aws/.kube/config ours/.kube/config <<'E'
import sys, yaml
theirs, ours = [yaml.safe_load(open(f)) for f in sys.argv[1:]]
print('same' if theirs == ours else 'differ:\n%s\n%s' % (theirs, ours))
E
}
both ""
same
stat -c %a ours/.kube/config
both ""
same
both "--alias dev --role-arn $role"
same
both "--alias other --user-alias me --proxy-url socks5://proxy.example.com:1080"
same
for f in aws ours; do printf 'clusters: foo\n' >$f/broken; done
HOME=$PWD/ours rolecall kubeconfig update --name quickstart --kubeconfig ours/broken 2>&1 | sed "s|$PWD/||" || true
cat ours/broken
echo names
HOME=$PWD/ours rolecall kubeconfig update --name quickstart --role-arn $role --kubeconfig k 2>>said
HOME=$PWD/ours rolecall kubeconfig list --kubeconfig k -o json | grep -E '"(user|tokenFor|role)"'
HOME=$PWD/ours rolecall kubeconfig update --name nosuch 2>&1 | head -1 || true
kill $up
wait $up
`

// TestKubeconfigLikeCLI: files are those of aws eks update-kubeconfig, where they are
// asked for (spec authenticator §10, rows K1 to K3, K5).
func TestKubeconfigLikeCLI(t *testing.T) {
	t.Parallel()
	program(t, "aws")
	program(t, "python3")
	out := localScript(t, t.TempDir(), kubeconfigScript)
	for want, times := range map[string]int{"same\n": 4, "differ": 0, "theirs:": 0, "600\n": 1} {
		if strings.Count(out, want) != times {
			t.Errorf("%q is there %d times, want %d:\n%s", want, strings.Count(out, want), times, out)
		}
	}
	for _, want := range []string{
		"rolecall: ours/broken:1:11: clusters is to be a list\nclusters: foo\n",
		`"user": "arn:aws:eks:us-east-1:111122223333:cluster/quickstart@config-reader"`,
		`"tokenFor": "quickstart"`, `"role": "arn:aws:iam::111122223333:role/config-reader"`,
		"No cluster found for name: nosuch",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("want %s in:\n%s", want, out)
		}
	}
}
