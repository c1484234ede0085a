package access_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestStrangers: identities that contradict themselves, are of another partition, or have
// what no identity has, are nobody.
func TestStrangers(t *testing.T) {
	t.Parallel()
	chain := access.NewChain(access.Config{}, access.NewTable(access.EKSConfigMap, []access.Mapping{
		role("r", "dev:{{SessionName}}", "g"), role("raw", "x", "{{SessionNameRaw}}"), role("key", "{{AccessKeyID}}"),
		role("n", "system:node:{{EC2PrivateDNSName}}"), everybody(""), set("View", "v"),
		{Match: access.Match{Account: "444455556666"}},
		{Match: access.Match{ARN: "arn:aws-cn:iam::" + account + ":role/r"}, Username: "cn"},
	}))
	const node = "i-0c6f21bf1f24f9708"
	for _, row := range []struct {
		name   string
		who    string
		change func(*callerid.Identity)
		node   string
		want   string
	}{
		{name: "as it is", who: "role/r/s", want: "dev:s [g] EKSConfigMap"},
		{name: "another partition", who: "role/r/s", change: func(i *callerid.Identity) {
			i.CanonicalARN = "arn:aws-cn:iam::" + account + ":role/r"
		}, want: "! not_mapped"},
		{name: "a partition that begins so", who: "role/r/s", change: func(i *callerid.Identity) {
			i.CanonicalARN = "arn:aws2:iam::" + account + ":role/r"
		}, want: "! not_mapped"},
		{name: "an account that the ARN does not have", who: "role/q/s", change: func(i *callerid.Identity) {
			i.AccountID = "444455556666"
		}, want: "! not_mapped"},
		{
			name: "no account", who: "role/r/s", change: func(i *callerid.Identity) { i.AccountID = "" },
			want: "! not_mapped",
		},
		{
			name: "no ARN", who: "role/r/s", change: func(i *callerid.Identity) { i.CanonicalARN = "" },
			want: "! not_mapped",
		},
		{name: "half an ARN", who: "role/r/s", change: func(i *callerid.Identity) {
			i.CanonicalARN = "arn:aws:iam:" + account + ":role/r"
		}, want: "! not_mapped"},
		{
			name: "no session", who: "role/r/s", change: func(i *callerid.Identity) { i.SessionName = "" },
			want: "! unfillable",
		},
		{name: "braces", who: "role/r/s", change: func(i *callerid.Identity) {
			i.SessionName = "{{AccountID}}"
		}, want: "! unfillable"},
		{name: "a colon", who: "role/raw/s", change: func(i *callerid.Identity) {
			i.SessionName = "system:masters"
		}, want: "! unfillable"},
		{
			name: "a line feed", who: "role/r/s", change: func(i *callerid.Identity) { i.SessionName = "a\nb" },
			want: "! unfillable",
		},
		{name: "letters beyond ASCII", who: "role/r/s", change: func(i *callerid.Identity) {
			i.SessionName = "jos\u00e9"
		}, want: "! unfillable"},
		{name: "all that STS allows", who: "role/r/a_b+c=d,e.f@g-h", want: "dev:a_b+c=d,e.f-g-h [g] EKSConfigMap"},
		{
			name: "no key", who: "role/key/s", change: func(i *callerid.Identity) { i.AccessKeyID = "" },
			want: "! unfillable",
		},
		{name: "a key that is not one", who: "role/key/s", change: func(i *callerid.Identity) {
			i.AccessKeyID = "system:admin"
		}, want: "! unfillable"},
		{
			name: "a node", who: "role/n/" + node, node: "ip-1.ec2.internal",
			want: "system:node:ip-1.ec2.internal [] EKSConfigMap",
		},
		{name: "a node without a name", who: "role/n/" + node, want: "! node_unknown"},
		{name: "a node with another's name", who: "role/n/" + node, node: "a b", want: "! node_unknown"},
		{name: "a node with a colon", who: "role/n/" + node, node: "x:y", want: "! node_unknown"},
		{name: "a very long name", who: "role/n/" + node, node: strings.Repeat("x", 254), want: "! node_unknown"},
		{name: "an id of 8", who: "role/n/i-0c6f21bf", node: "ip-1", want: "system:node:ip-1 [] EKSConfigMap"},
		{name: "an id of 9", who: "role/n/i-0c6f21bf1", node: "ip-1", want: "! unfillable"},
		{name: "an id and more", who: "role/n/" + node + "x", node: "ip-1", want: "! unfillable"},
		{name: "an id behind something", who: "role/n/x" + node, node: "ip-1", want: "! unfillable"},
		{name: "a long role", who: "role/" + strings.Repeat("x", 600) + "/s", want: "arn:aws:iam::" + account +
			":role/" +
			strings.Repeat("x", 600) + " [] EKSConfigMap"},
	} {
		who := caller(t, row.who)
		if row.change != nil {
			row.change(who)
		}
		if got := outcome(chain, who, func(string) (string, error) { return row.node, nil }); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// TestNodeNameOnce: the name of a node is asked for once in a login.
func TestNodeNameOnce(t *testing.T) {
	t.Parallel()
	const hold = "{{EC2PrivateDNSName}}"
	chain := access.NewChain(access.Config{}, access.NewTable(access.EKSConfigMap,
		[]access.Mapping{role("n", "system:node:"+hold+"."+hold, "g-"+hold)}))
	asked := 0
	got := outcome(chain, caller(t, "role/n/i-0c6f21bf"), func(string) (string, error) {
		asked++
		return "ip-1", nil
	})
	if got != "system:node:ip-1.ip-1 [g-ip-1] EKSConfigMap" || asked != 1 {
		t.Errorf("got %q, asked %d times", got, asked)
	}
	if got := outcome(chain, caller(t, "role/n/i-0c6f21bf"), nil); got != "! unfillable" {
		t.Errorf("without names of nodes: %q", got)
	}
}

// TestReservedMembers: groups that members must not have are not added, either.
func TestReservedMembers(t *testing.T) {
	t.Parallel()
	config := access.Config{ReservedGroups: map[access.Source][]string{access.GroupMapping: {"ops-"}}}
	chain := access.NewChain(config,
		access.NewTable(access.EKSConfigMap, []access.Mapping{user("u", "c", "ops-own")}),
		access.NewTable(access.GroupMapping, []access.Mapping{member("AIDAUSER", "m", true, "ops-all", "dev")}))
	if got := outcome(chain, caller(t, "user/u"), nil); got != "c [ops-own dev] EKSConfigMap" {
		t.Error(got)
	}
}

// TestReadPrincipal: what people write, what it means, and what they are told.
func TestReadPrincipal(t *testing.T) {
	t.Parallel()
	const a = "arn:aws:iam::111122223333:"
	for _, row := range []struct{ text, want string }{
		{a + "role/Dev", a + "role/Dev"},
		{a + "role/team/Dev", a + "role/Dev; the role's path is left out: STS never tells it"},
		{"Arn:aws:IAM::111122223333:Role/Dev", a + "role/Dev"},
		{a + "user/ops/*/Alice", a + "user/ops/*/Alice"},
		{
			"arn:aws:sts::111122223333:assumed-role/Dev/me",
			a + "role/Dev; it is the ARN of one session: read as its role, " + a + "role/Dev, with all its sessions",
		},
		{a + "root", a + "root"},
		{"arn:aws-us-gov:iam::111122223333:role/Dev", "arn:aws-us-gov:iam::111122223333:role/Dev"},
		{"arn:aws:sts::111122223333:federated-user/Bob", "arn:aws:sts::111122223333:federated-user/Bob"},
		{"", "! the ARN is empty"},
		{a + "role/a b", `! "` + a + `role/a b" is not an ARN: character 33 is one that none has`},
		{a + "role/\u212Aey", "! \"" + a + "role/\u212Aey\" is not an ARN: character 32 is one that none has"},
		{a + "role/Dev\n", `! blanks surround the ARN "` + a + `role/Dev\n"; Write ` + a + "role/Dev"},
		{a + "role/Dev/", `! "` + a + `role/Dev/" is not the ARN of a role, user or session`},
		{a + "role/", `! "` + a + `role/" is not the ARN of a role, user or session`},
		{a + "user/*", `! "` + a + `user/*" is a pattern, and compared as it is: it matches nobody; ` +
			"Write one mapping for each role, or map the account."},
		{a + "role/team-?", `! "` + a + `role/team-?" is a pattern, and compared as it is: it matches nobody; ` +
			"Write one mapping for each role, or map the account."},
		{
			"arn:aws:iam::*:role/Dev",
			`! "arn:aws:iam::*:role/Dev" is a pattern, and compared as it is: it matches nobody; ` +
				"Write one mapping for each role, or map the account.",
		},
		{
			"arn:aws:sts::111122223333:assumed-role/Dev",
			`! "arn:aws:sts::111122223333:assumed-role/Dev" is the ARN of a ` +
				"session, and lacks the session's name; Write " + a + "role/Dev",
		},
		{
			"arn:aws:sts::111122223333:role/Dev",
			`! "arn:aws:sts::111122223333:role/Dev": the ARN of a role is one of iam; ` +
				"Write " + a + "role/Dev",
		},
		{
			"arn:aws:iam::111122223333:assumed-role/Dev/s",
			`! "arn:aws:iam::111122223333:assumed-role/Dev/s": the ARN of a ` +
				"role is one of iam; Write " + a + "role/Dev",
		},
		{
			"arn:aws-moon:iam::111122223333:role/Dev",
			`! "arn:aws-moon:iam::111122223333:role/Dev": partition "aws-moon" is ` +
				"not known",
		},
		{a + "saml-provider/x", `! "` + a + `saml-provider/x" is not the ARN of a role, user or session`},
		{
			"arn:aws:iam:eu-west-1:111122223333:role/Dev",
			`! "arn:aws:iam:eu-west-1:111122223333:role/Dev" is not the ARN of ` +
				"a role, user or session",
		},
		{"arn:aws:iam:::role/Dev", `! "arn:aws:iam:::role/Dev" is not the ARN of a role, user or session`},
	} {
		read, err := access.ReadPrincipal(row.text)
		got := strings.Join(append([]string{read.ARN}, read.Notes...), "; ")
		if err != nil {
			got = strings.Join(append([]string{"! " + err.Error()}, hints(err)...), "; ")
		}
		if got != row.want {
			t.Errorf("%q: got\n%s, want\n%s", row.text, got, row.want)
		}
	}
}

func hints(err error) []string { return fault.HintsOf(err) }
