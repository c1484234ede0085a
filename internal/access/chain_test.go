package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
)

const account = "111122223333"

// caller is an identity as STS tells it: role/NAME/SESSION, user/PATH/NAME, root or
// federated-user/NAME.
func caller(t testing.TB, who string) *callerid.Identity {
	t.Helper()
	text, id := "arn:aws:iam::"+account+":"+who, "AIDAUSER"
	session := ""
	if rest, isRole := strings.CutPrefix(who, "role/"); isRole {
		text, id = "arn:aws:sts::"+account+":assumed-role/"+rest, "AROAROLE"
		session = rest[strings.LastIndexByte(rest, '/')+1:]
	}
	if strings.HasPrefix(who, "federated-user/") {
		text = "arn:aws:sts::" + account + ":" + who
	}
	canonical, kind, err := callerid.Canonical(text)
	if err != nil {
		t.Fatal(err)
	}
	return &callerid.Identity{
		Kind: kind, ARN: text, CanonicalARN: canonical.String(), AccountID: account, UserID: id,
		SessionName: session, AccessKeyID: "ASIAEXAMPLE",
	}
}

func roleARN(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

func role(name, username string, groups ...string) access.Mapping {
	return access.Mapping{Match: access.Match{ARN: roleARN(name)}, Username: username, Groups: groups}
}

func user(name, username string, groups ...string) access.Mapping {
	return access.Mapping{
		Match: access.Match{ARN: "arn:aws:iam::" + account + ":user/" + name}, Username: username, Groups: groups,
	}
}

func everybody(username string, groups ...string) access.Mapping {
	return access.Mapping{Match: access.Match{Account: account}, Username: username, Groups: groups}
}

func set(name, username string, groups ...string) access.Mapping {
	return access.Mapping{
		Match: access.Match{PermissionSet: name, Account: account}, Username: username, Groups: groups,
	}
}

func pinned(id string, m access.Mapping) access.Mapping {
	m.UserID = id
	return m
}

func member(id, username string, merge bool, groups ...string) access.Mapping {
	return access.Mapping{Match: access.Match{UserID: id}, Username: username, Groups: groups, Merge: merge}
}

// outcome is what Resolve says, in one line.
func outcome(c *access.Chain, who *callerid.Identity, nodeName access.NodeName) string {
	u, refusal := c.Resolve(who, nodeName)
	if refusal != nil {
		return "! " + string(refusal.Reason)
	}
	return u.Username + " [" + strings.Join(u.Groups, " ") + "] " + string(u.By.Source)
}

func nodeNames(id string) (string, error) {
	if id == "i-0c6f21bf1f24f9708" {
		return "ip-172-31-27-14", nil
	}
	return "", errNoInstance
}

// TestResolve: who an identity is by the mappings of one source.
func TestResolve(t *testing.T) {
	t.Parallel()
	list := func(all ...access.Mapping) []access.Mapping { return all }
	for _, row := range []struct {
		name   string
		source access.Source
		have   []access.Mapping
		who    string
		want   string
	}{
		{
			"a role", access.EKSConfigMap, list(role("test", "dev", "a", "b")), "role/test/jdoe",
			"dev [a b] EKSConfigMap",
		},
		{"any letter case", access.EKSConfigMap, list(role("tEST", "dev")), "role/Test/jdoe", "dev [] EKSConfigMap"},
		{
			"no folding beyond ASCII", access.EKSConfigMap, list(role("\u212Aey", "dev")), "role/key/jdoe",
			"! not_mapped",
		},
		{"another role", access.EKSConfigMap, list(role("test", "dev")), "role/test2/jdoe", "! not_mapped"},
		{"a user of the role's name", access.EKSConfigMap, list(role("test", "dev")), "user/test", "! not_mapped"},
		{
			"a user with its path", access.EKSConfigMap, list(user("ops/Alice", "alice")), "user/ops/alice",
			"alice [] EKSConfigMap",
		},
		{
			"a user without its path", access.EKSConfigMap, list(user("Alice", "alice")), "user/ops/Alice",
			"! not_mapped",
		},
		{
			"the last of two", access.EKSConfigMap, list(role("r", "a", "system:masters"), role("R", "b")), "role/r/s",
			"b [] EKSConfigMap",
		},
		{"the first of two objects", access.CRD, list(role("r", "a"), role("R", "b")), "role/r/s", "a [] CRD"},
		{
			"an account", access.EKSConfigMap, list(everybody("")), "user/ops/Alice",
			"arn:aws:iam::111122223333:user/ops/Alice [] EKSConfigMap",
		},
		{
			"an account's own names", access.IdentityMapping, list(everybody("all:{{AccountID}}", "x")), "user/Alice",
			"all:111122223333 [x] IdentityMapping",
		},
		{
			"a set", access.EKSConfigMap, list(set("View", "v")), "role/AWSReservedSSO_View_0123456789abcdef/s",
			"v [] EKSConfigMap",
		},
		{
			"a short ending", access.EKSConfigMap, list(set("view", "v")), "role/awsreservedsso_VIEW_abcdefg/s",
			"v [] EKSConfigMap",
		},
		{
			"a set whose name begins so", access.EKSConfigMap, list(set("View", "v")),
			"role/AWSReservedSSO_View_Only_0123456789abcdef/s", "! not_mapped",
		},
		{
			"a set with an underscore", access.EKSConfigMap, list(set("View_Only", "v")),
			"role/AWSReservedSSO_View_Only_0123456789abcdef/s", "v [] EKSConfigMap",
		},
		{"no ending", access.EKSConfigMap, list(set("View", "v")), "role/AWSReservedSSO_View_/s", "! not_mapped"},
		{"no underscore", access.EKSConfigMap, list(set("View", "v")), "role/AWSReservedSSO_View/s", "! not_mapped"},
		{
			"an ending of other characters", access.EKSConfigMap, list(set("View", "v")),
			"role/AWSReservedSSO_View_a-b/s", "! not_mapped",
		},
		{
			"something before it", access.EKSConfigMap, list(set("View", "v")), "role/xAWSReservedSSO_View_abc/s",
			"! not_mapped",
		},
		{
			"a user of a set's name", access.EKSConfigMap, list(set("View", "v")), "user/AWSReservedSSO_View_abc",
			"! not_mapped",
		},
		{
			"a user with the path role", access.EKSConfigMap, list(set("View", "v"), role("x", "r")), "user/role/x",
			"! not_mapped",
		},
		{
			"a set of another partition", access.EKSConfigMap,
			list(access.Mapping{
				Match: access.Match{PermissionSet: "View", Account: account, Partition: "aws-cn"}, Username: "v",
			}),
			"role/AWSReservedSSO_View_abc/s", "! not_mapped",
		},
		{
			"a role before its set", access.EKSConfigMap,
			list(set("View", "v"), role("AWSReservedSSO_View_abc", "r"), set("View", "w")),
			"role/AWSReservedSSO_View_abc/s", "r [] EKSConfigMap",
		},
		{
			"a session", access.EKSConfigMap, list(role("r", "a-{{SessionName}}-b")), "role/r/jdoe@example.com",
			"a-jdoe-example.com-b [] EKSConfigMap",
		},
		{
			"a session as it is", access.EKSConfigMap, list(role("r", "{{SessionNameRaw}}")), "role/r/jdoe@example.com",
			"jdoe@example.com [] EKSConfigMap",
		},
		{
			"a key", access.EKSConfigMap, list(role("r", "{{AccessKeyID}}", "g-{{SessionName}}")), "role/r/s",
			"ASIAEXAMPLE [g-s] EKSConfigMap",
		},
		{"no session", access.EKSConfigMap, list(user("u", "dev:{{SessionName}}")), "user/u", "! unfillable"},
		{
			"no session in a group", access.EKSConfigMap, list(user("u", "dev", "{{SessionName}}")), "user/u",
			"! unfillable",
		},
		{
			"blanks in braces", access.EKSConfigMap, list(role("r", "{{ SessionName }}")), "role/r/s",
			"{{ SessionName }} [] EKSConfigMap",
		},
		{"no placeholder", access.EKSConfigMap, list(role("r", "{{Foo}}")), "role/r/s", "{{Foo}} [] EKSConfigMap"},
		{
			"a placeholder in braces", access.EKSConfigMap,
			list(role("r", "{{Session{{AccountID}}Name}}{{{AccountID}}}")), "role/r/s",
			"{{Session111122223333Name}}{111122223333} [] EKSConfigMap",
		},
		{
			"a member's placeholder", access.EKSConfigMap, list(user("u", "{{UserName}}")), "user/u",
			"{{UserName}} [] EKSConfigMap",
		},
		{
			"a node", access.EKSConfigMap, list(role("n", "system:node:{{EC2PrivateDNSName}}", "system:nodes")),
			"role/n/i-0c6f21bf1f24f9708", "system:node:ip-172-31-27-14 [system:nodes] EKSConfigMap",
		},
		{
			"no node", access.EKSConfigMap, list(role("n", "system:node:{{EC2PrivateDNSName}}")), "role/n/i-aaaaa",
			"! unfillable",
		},
		{
			"a node that is not known", access.EKSConfigMap, list(role("n", "system:node:{{EC2PrivateDNSName}}")),
			"role/n/i-0c6f21bf1f24f9709", "! node_unknown",
		},
		{
			"a user whose name looks like a node's", access.EKSConfigMap,
			list(user("i-0c6f21bf1f24f9708", "system:node:{{EC2PrivateDNSName}}")), "user/i-0c6f21bf1f24f9708",
			"! unfillable",
		},
		{"the pinned id", access.AccessEntry, list(pinned("AROAROLE", role("r", "a"))), "role/r/s", "a [] AccessEntry"},
		{"another id", access.AccessEntry, list(pinned("AROAOLD", role("r", "a"))), "role/r/s", "! principal_replaced"},
		{
			"another id of a set's role", access.AccessEntry, list(pinned("AROAOLD", set("View", "a"))),
			"role/AWSReservedSSO_View_abc/s", "! principal_replaced",
		},
		{
			"two ids", access.DynamicFile, list(pinned("AROAROLE", role("r", "a")), pinned("AROAOLD", role("r", "b"))),
			"role/r/s", "a [] DynamicFile",
		},
		{
			"pinned after unpinned", access.DynamicFile, list(role("r", "a"), pinned("AROAOLD", role("r", "b"))),
			"role/r/s", "! principal_replaced",
		},
		{
			"unpinned after pinned", access.DynamicFile, list(pinned("AROAOLD", role("r", "b")), role("r", "a")),
			"role/r/s", "a [] DynamicFile",
		},
		{
			"the id of another ARN", access.DynamicFile, list(pinned("AROAROLE", role("other", "a"))), "role/r/s",
			"! principal_renamed",
		},
		{"an id alone", access.DynamicFile, list(member("AROAROLE", "a", false)), "role/r/s", "a [] DynamicFile"},
		{
			"a root", access.EKSConfigMap,
			list(access.Mapping{Match: access.Match{ARN: "arn:aws:iam::" + account + ":root"}, Username: "root"}),
			"user/u", "! not_mapped",
		},
		{
			"a federated user", access.EKSConfigMap,
			list(
				access.Mapping{
					Match:    access.Match{ARN: "arn:aws:sts::" + account + ":federated-user/Bob"},
					Username: "bob",
				},
			),
			"federated-user/bob", "bob [] EKSConfigMap",
		},
		{
			"the default name of an entry", access.AccessEntry, list(set("View", "")),
			"role/AWSReservedSSO_View_abc/me@x",
			"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_View_abc/me-x [] AccessEntry",
		},
	} {
		chain := access.NewChain(access.Config{}, access.NewTable(row.source, row.have))
		if got := outcome(chain, caller(t, row.who), nodeNames); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// TestOrder: which source counts, and what is added.
func TestOrder(t *testing.T) {
	t.Parallel()
	tables := func(all ...*access.Table) []*access.Table { return all }
	table := func(source access.Source, all ...access.Mapping) *access.Table { return access.NewTable(source, all) }
	for _, row := range []struct {
		name string
		have []*access.Table
		who  string
		want string
	}{
		{
			"an entry replaces aws-auth",
			tables(table(access.AccessEntry, role("r", "e", "x")), table(access.EKSConfigMap, role("r", "c", "y"))),
			"role/r/s", "e [x] AccessEntry",
		},
		{
			"an entry of another principal that had the name does so, too",
			tables(
				table(access.AccessEntry, pinned("AROAOLD", role("r", "e"))),
				table(access.EKSConfigMap, role("r", "c")),
			),
			"role/r/s", "! principal_replaced",
		},
		{
			"of the peer's sources the next is asked",
			tables(
				table(access.DynamicFile, pinned("AROAOLD", role("r", "e"))),
				table(access.MountedFile, role("r", "c")),
			),
			"role/r/s", "c [] MountedFile",
		},
		{
			"and if none knows it, the first says why",
			tables(
				table(access.DynamicFile, pinned("AROAOLD", role("r", "e"))),
				table(access.MountedFile, role("q", "c")),
			),
			"role/r/s", "! principal_replaced",
		},
		{
			"an account of the peer's before a role",
			tables(table(access.EKSConfigMap, everybody("")), table(access.MountedFile, role("r", "c"))),
			"role/r/s", "arn:aws:iam::111122223333:role/r [] EKSConfigMap",
		},
		{
			"an account of an object after a role",
			tables(table(access.IdentityMapping, everybody("all")), table(access.MountedFile, role("r", "c"))),
			"role/r/s", "c [] MountedFile",
		},
		{
			"an account of an object, if nobody knows it",
			tables(table(access.IdentityMapping, everybody("all")), table(access.MountedFile, role("r", "c"))),
			"role/q/s", "all [] IdentityMapping",
		},
		{
			"members are named, and accounts name nobody",
			tables(table(access.EKSConfigMap, everybody("")), table(access.GroupMapping, member("AIDAUSER",
				"{{UserName}}", false, "x"))),
			"user/ops/Alice", "Alice [x] GroupMapping",
		},
		{
			"a mapping before members",
			tables(table(access.GroupMapping, member("AIDAUSER", "m", false, "x")), table(access.EKSConfigMap,
				user("u", "c", "y"))),
			"user/u", "c [y] EKSConfigMap",
		},
		{
			"a mapping and members",
			tables(
				table(access.GroupMapping, member("AIDAUSER", "m", true, "x", "y"), member("AIDAUSER", "n", false,
					"z")),
				table(access.EKSConfigMap, user("u", "c", "y")),
			),
			"user/u", "c [y x] EKSConfigMap",
		},
		{
			"members of several",
			tables(table(access.GroupMapping, member("AIDAUSER", "m", true, "x"), member("AIDAUSER", "n", false,
				"z", "x"))),
			"user/u", "m [x z] GroupMapping",
		},
		{
			"a user of the member's name",
			tables(table(access.GroupMapping, member("AIDAOLD", "m", true, "x"))),
			"user/u", "! not_mapped",
		},
	} {
		if got := outcome(access.NewChain(access.Config{}, row.have...), caller(t, row.who), nil); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// TestSharedGroups: what a login adds to groups, no later one has.
func TestSharedGroups(t *testing.T) {
	t.Parallel()
	groups := append(make([]string, 0, 8), "y")
	m := user("u", "c", groups...)
	chain := access.NewChain(access.Config{},
		access.NewTable(access.EKSConfigMap, []access.Mapping{m}),
		access.NewTable(access.GroupMapping, []access.Mapping{member("AIDAUSER", "m", true, "system:masters")}))
	if got := outcome(chain, caller(t, "user/u"), nil); got != "c [y system:masters] EKSConfigMap" {
		t.Error(got)
	}
	if slices.Contains(groups[:2], "system:masters") {
		t.Error("the group of one login is in the list that all share")
	}
}
