package accesscmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app/accesscmd"
	"github.com/rolecall/rolecall/internal/app/cli"
)

// mapped is mappings of most sources, as files.
const mapped = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: aws-auth, namespace: kube-system}
  data:
    mapRoles: |
      - rolearn: arn:aws:iam::111122223333:role/team/Dev
        username: dev:{{SessionName}}
        groups: [team-dev]
      - rolearn: arn:aws:iam::111122223333:role/Twice
        username: first
      - rolearn: arn:aws:iam::111122223333:role/Twice
        username: second
      - rolearn: arn:aws:iam::111122223333:role/Node
        username: system:node:{{EC2PrivateDNSName}}
        groups: [system:nodes]
      - rolearn: arn:aws:iam::111122223333:group/devs
        username: devs
    mapUsers: |
      - userarn: arn:aws:iam::111122223333:user/ops/Alice
        username: alice
        groups: [system:masters]
    mapAccounts: |
      - "444455556666"
- apiVersion: rolecall.io/v1alpha1
  kind: IdentityMapping
  metadata: {name: alice}
  spec:
    principal: {arn: "arn:aws:iam::111122223333:user/ops/Alice"}
    username: alice-too
---
apiVersion: rolecall.io/v1alpha1
kind: GroupMapping
metadata: {name: developers}
spec: {iamGroup: developers, account: "111122223333", groups: [developers], merge: true}
status:
  memberCount: 2
  members:
  - {userID: AIDAALICEALICEALICE1, arn: "arn:aws:iam::111122223333:user/ops/Alice"}
  - {userID: AIDABOBBOBBOBBOBBOB1, arn: "arn:aws:iam::111122223333:user/Bob"}
`

// run runs one command line and returns what it prints and its exit code.
func run(t *testing.T, args ...string) (out, errors string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	sys := cli.System{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" },
		Now: func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) },
	}
	command := accesscmd.New(sys)
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs(args)
	err := command.ExecuteContext(t.Context())
	if exit, ok := cli.AsExit(err); ok {
		return stdout.String(), stderr.String(), exit.Code
	}
	if err != nil {
		return stdout.String(), stderr.String() + err.Error(), 2
	}
	return stdout.String(), stderr.String(), 0
}

func files(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mappings.yaml")
	if err := os.WriteFile(path, []byte(mapped), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestExplain: who somebody is, by the mappings of files, and why nobody.
func TestExplain(t *testing.T) {
	t.Parallel()
	path := files(t)
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--arn", "arn:aws:sts::111122223333:assumed-role/Dev/jane"}, 0, []string{"is dev:jane, in team-dev", "mapRoles[0]"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:role/team/Dev", "--session-name", "joe"}, 0, []string{"is dev:joe"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:role/dev", "--session-name", "joe"}, 0, []string{"is dev:joe"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:role/Twice"}, 0, []string{"is second", "Remove one of the two"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/ops/Alice"}, 0, []string{"is alice-too", "in developers", "AIDAALICEALICEALICE1"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/ops/Alice", "--user-id", "AIDAANOTHERALICE0001"}, 0, []string{"is alice-too, in no group"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/Alice"}, 1, []string{"not_mapped", "user/ops/Alice"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/Bob", "--user-id", "AIDABOBBOBBOBBOBBOB1"}, 0, []string{"is Bob, in developers"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/Bob", "--user-id", "AIDABOBTHESECOND0001"}, 1, []string{"not_mapped"}},
		{[]string{"--arn", "arn:aws:iam::777788889999:role/Dev"}, 1, []string{"not_mapped", "in account 111122223333"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/Dev"}, 1, []string{"not_mapped"}},
		{[]string{"--arn", "arn:aws:iam::444455556666:user/anybody"}, 0, []string{"is arn:aws:iam::444455556666:user/anybody"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:role/Node", "--session-name", "jane"}, 1, []string{"unfillable"}},
		{
			[]string{"--arn", "arn:aws:iam::111122223333:role/Node", "--session-name", "i-0123456789abcdef0", "--node-name", "ip-10-0-0-1"},
			0, []string{"is system:node:ip-10-0-0-1, in system:nodes"},
		},
		{[]string{"--arn", "arn:aws:iam::111122223333:group/devs"}, 2, []string{"groups do not log in"}},
		{[]string{"--arn", "Dev"}, 2, []string{"--arn"}},
		{[]string{"--arn", "arn:aws:iam::111122223333:user/Bob", "--session-name", "x"}, 2, []string{"has no sessions"}},
		{[]string{"--user-id", "AIDA"}, 2, []string{"go with --arn"}},
		{[]string{"--token", "k8s-aws-v1.abc"}, 2, []string{"which cluster"}},
		{[]string{"--token", "eyJhbGciOi", "--cluster-name", "a"}, 2, []string{`missing expected "k8s-aws-v1." prefix`}},
	} {
		out, errors, code := run(t, append([]string{"explain", "-f", path}, c.args...)...)
		if code != c.code {
			t.Errorf("%v: exit code %d, want %d:\n%s%s", c.args, code, c.code, out, errors)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errors, want) {
				t.Errorf("%v: want %q in:\n%s%s", c.args, want, out, errors)
			}
		}
	}
}

// TestListAgrees: a mapping is listed as counting just where a login of its principal
// becomes its user.
func TestListAgrees(t *testing.T) {
	t.Parallel()
	path := files(t)
	out, errors, code := run(t, "list", "-f", path, "-o", "json")
	if code != 0 {
		t.Fatal(out, errors)
	}
	var all struct {
		Mappings []struct {
			Principal, Written, Username, Place, By string
			UserID                                  string
			Counts                                  bool
		}
		Problems []struct {
			Text, Hint string
			Refused    bool
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	counting := map[string]bool{}
	for _, one := range all.Mappings {
		counting[one.Username+" "+one.Principal] = one.Counts
	}
	for key, want := range map[string]bool{
		"dev:{{SessionName}} arn:aws:iam::111122223333:role/Dev": true,
		"first arn:aws:iam::111122223333:role/Twice":             false,
		"second arn:aws:iam::111122223333:role/Twice":            true,
		"alice arn:aws:iam::111122223333:user/ops/Alice":         false,
		"alice-too arn:aws:iam::111122223333:user/ops/Alice":     true,
		" account/444455556666":                                  true,
	} {
		if got, has := counting[key]; !has || got != want {
			t.Errorf("%s: counts %t (listed %t), want %t", key, got, has, want)
		}
	}
	isTold := false
	for _, p := range all.Problems {
		isTold = isTold || p.Refused && strings.Contains(p.Text, "groups are not principals")
	}
	if !isTold {
		t.Errorf("the IAM group among roles is not told: %+v", all.Problems)
	}
}

// TestNothingInFile: a file in which nothing is about access is said, and so is a field
// that a kind does not have.
func TestNothingInFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, want := range map[string]string{
		"kind: Pod\n": "nothing in",
		"apiVersion: rolecall.io/v1alpha1\nkind: IdentityMapping\nmetadata: {name: a}\nspec: {user: b}\n": `unknown field "user"`,
	} {
		path := filepath.Join(dir, "a.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, errors, code := run(t, "list", "-f", path); code == 0 || !strings.Contains(errors, want) {
			t.Errorf("%q: %d, %s%s", text, code, out, errors)
		}
	}
}
