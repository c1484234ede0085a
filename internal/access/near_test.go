package access_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
	"github.com/rolecall/rolecall/internal/callerid"
)

// auth is the table of a mapRoles and a mapUsers.
func auth(roles, users string) *access.Table {
	c := awsauth.ConfigMap(map[string]string{"mapRoles": roles, "mapUsers": users},
		awsauth.Options{Source: access.EKSConfigMap, Place: "aws-auth"})
	return access.NewTable(access.EKSConfigMap, c.Mappings(), c.Problems()...)
}

// near is what Nearest says, in short.
func near(all []access.Near) string {
	words := []string{}
	for _, n := range all {
		at := ""
		if n.Mapping != nil {
			at = n.Mapping.Field
		} else if n.Problem != nil {
			at = n.Problem.Field
		}
		words = append(words, string(n.Difference)+" "+at+" -> "+n.Edit)
	}
	return strings.Join(words, "; ")
}

// TestNear: what nearly is about an identity, and the edit that makes it so.
func TestNear(t *testing.T) {
	t.Parallel()
	const quoted = `Write sso: {permissionSetName: View, accountID: "111122223333"} in place of rolearn.`
	entry := func(key, arn, username string) string {
		return "- " + key + ": " + arn + "\n  username: " + username + "\n"
	}
	const a = "arn:aws:iam::111122223333:"
	for _, row := range []struct {
		name, roles, users, who string
		want                    string
	}{
		{
			"another account", entry("rolearn", "arn:aws:iam::444455556666:role/Dev", "u"), "", "role/Dev/s",
			"account mapRoles[0] -> Write rolearn: " + a + "role/Dev",
		},
		{
			"another partition", entry("rolearn", "arn:aws-cn:iam::111122223333:role/dev", "u"), "", "role/Dev/s",
			"partition mapRoles[0] -> Write rolearn: " + a + "role/Dev",
		},
		{"two things", entry("rolearn", "arn:aws-cn:iam::444455556666:role/dev", "u"), "", "role/Dev/s", ""},
		{
			"a user for a role", "", entry("userarn", a+"user/Dev", "u"), "role/Dev/s",
			"kind mapUsers[0] -> Write rolearn: " + a + "role/Dev",
		},
		{
			"a role for a user", entry("rolearn", a+"role/alice", "u"), "", "user/alice",
			"kind mapRoles[0] -> Write userarn: " + a + "user/alice",
		},
		{
			"a user without its path", "", entry("userarn", a+"user/Alice", "u"), "user/ops/alice",
			"user_path mapUsers[0] -> Write userarn: " + a + "user/ops/alice",
		},
		{
			"another ending", entry("rolearn", a+"role/AWSReservedSSO_View_abc", "u"), "",
			"role/AWSReservedSSO_View_def/s", "sso_suffix mapRoles[0] -> " + quoted,
		},
		{
			"no ending", entry("rolearn", a+"role/AWSReservedSSO_View", "u"), "", "role/AWSReservedSSO_View_def/s",
			"sso_suffix mapRoles[0] -> " + quoted,
		},
		{
			"a star for an ending", entry("rolearn", a+"role/AWSReservedSSO_View_*", "u"), "",
			"role/AWSReservedSSO_View_def/s", "wildcard mapRoles[0] -> " + quoted,
		},
		{
			"a star behind a path",
			entry("rolearn", a+"role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_View_*", "u"), "",
			"role/AWSReservedSSO_View_def/s", "wildcard mapRoles[0] -> " + quoted,
		},
		{
			"a star of others", entry("rolearn", a+"role/AWSReservedSSO_Admin_*", "u"), "",
			"role/AWSReservedSSO_View_def/s", "",
		},
		{
			"a set of another account",
			"- sso: {permissionSetName: View, accountID: \"444455556666\"}\n  username: u\n", "",
			"role/AWSReservedSSO_View_def/s",
			"account mapRoles[0] -> Write rolearn: " + a + "role/AWSReservedSSO_View_def",
		},
		{
			"a set of another partition",
			"- sso: {permissionSetName: View, accountID: \"111122223333\", partition: aws-cn}\n  username: u\n", "",
			"role/AWSReservedSSO_View_def/s", "partition mapRoles[0] -> Leave the partition out.",
		},
		{
			"a set without quotes", "- sso: {permissionSetName: View, accountID: 111122223333}\n  username: u\n", "",
			"role/AWSReservedSSO_View_def/s", `invalid mapRoles[0] -> Write accountID: "111122223333"`,
		},
		{
			"a group", "", entry("userarn", a+"group/devs", "u"), "user/alice",
			"iam_group mapUsers[0] -> Make a GroupMapping with iamGroup: devs, account: \"111122223333\".",
		},
		{"a group, of a role", "", entry("userarn", a+"group/devs", "u"), "role/Dev/s", ""},
		{
			"a number for a name", entry("rolearn", a+"role/Dev", "007"), "", "role/Dev/s",
			`invalid mapRoles[0] -> Write username: "007"`,
		},
		{
			"no name", "- rolearn: " + a + "role/Dev\n", "", "role/Dev/s",
			"invalid mapRoles[0] -> Give a username; {{SessionName}} tells the people of a role apart.",
		},
		{
			"a blank", entry("rolearn", "'"+a+"role/Dev '", "u"), "", "role/Dev/s",
			"invalid mapRoles[0] -> Write " + a + "role/Dev",
		},
		{
			"a list that is broken", entry("rolearn", a+"role/Dev", "{{SessionName}}"), "", "role/Dev/s",
			"list_broken mapRoles -> Write values with {{ in quotes: username: \"{{SessionName}}\"",
		},
		{
			"the root", "", entry("userarn", a+"root", "u"), "user/alice",
			"root mapUsers[0] -> Put the account into mapAccounts, or make an IdentityMapping with principal.account.",
		},
		{
			"a letter that is wrong", entry("rolearn", a+"role/Develper", "u"), "", "role/Developer/s",
			"name mapRoles[0] -> Write rolearn: " + a + "role/Developer",
		},
		{
			"a set with a letter that is wrong",
			"- sso: {permissionSetName: ViewOnyl, accountID: \"111122223333\"}\n  username: u\n", "",
			"role/AWSReservedSSO_ViewOnly_def/s",
			`name mapRoles[0] -> Write sso: {permissionSetName: ViewOnly, accountID: "111122223333"} in ` +
				`place of rolearn.`,
		},
		{
			"userarn in mapRoles", "- userarn: " + a + "user/alice\n  username: u\n", "", "user/alice",
			"invalid mapRoles[0] -> Move the entry to mapUsers.",
		},
		{
			"a duplicate", entry("rolearn", a+"role/Dev", "admin") + entry("rolearn", a+"role/dev", "dev"), "",
			"role/Dev/s",
			"duplicate mapRoles[0] -> Remove one of the two: a role is one identity for all its people, " +
				"whom {{SessionName}} tells apart.; letter_case mapRoles[1] -> Write rolearn: " + a + "role/Dev",
		},
		{
			"a role with its path", entry("rolearn", a+"role/team/Dev", "u"), "", "role/Dev/s",
			"role_path mapRoles[0] -> Write rolearn: " + a + "role/Dev",
		},
		{
			"a session", entry("rolearn", "arn:aws:sts::111122223333:assumed-role/Dev/jdoe", "u"), "", "role/Dev/s",
			"session_arn mapRoles[0] -> Write rolearn: " + a + "role/Dev",
		},
		{
			"letter case", entry("rolearn", a+"role/DEV", "u"), "", "role/Dev/s",
			"letter_case mapRoles[0] -> Write rolearn: " + a + "role/Dev",
		},
		{"as it should be", entry("rolearn", a+"role/Dev", "u"), "", "role/Dev/s", ""},
		{
			"no session", "", entry("userarn", a+"user/alice", `"{{SessionName}}"`), "user/alice",
			"template mapUsers[0] -> Only roles have sessions: write the name of the user, such as alice.",
		},
		{
			"no node", entry("rolearn", a+"role/Dev", "system:node:{{EC2PrivateDNSName}}"), "", "role/Dev/s",
			"template mapRoles[0] -> It is for instances of EC2, whose session has the " +
				"instance's id: map people with {{SessionName}}.",
		},
		{
			"a name of Kubernetes", entry("rolearn", a+"role/Dev", `"{{SessionName}}:x"`), "", "role/Dev/system",
			"template mapRoles[0] -> Give names that are not reserved.",
		},
		{"nothing", entry("rolearn", a+"role/Other", "u"), "", "role/Dev/s", ""},
	} {
		e := access.NewChain(access.Config{}, auth(row.roles, row.users)).Explain(caller(t, row.who), nil)
		if got := near(e.Verdicts[0].Near); got != row.want {
			t.Errorf("%s: got\n%s, want\n%s", row.name, got, row.want)
		}
		for _, n := range e.Verdicts[0].Near {
			if n.Text == "" {
				t.Errorf("%s: no words for %s", row.name, n.Difference)
			}
		}
	}
}

// TestNearEdits: who does as the edit says, enters.
func TestNearEdits(t *testing.T) {
	t.Parallel()
	who := caller(t, "role/AWSReservedSSO_View_def/jdoe")
	for _, written := range []string{
		"rolearn: arn:aws:iam::444455556666:role/AWSReservedSSO_View_def",
		"rolearn: arn:aws-cn:iam::111122223333:role/AWSReservedSSO_View_def",
		"rolearn: arn:aws:iam::111122223333:user/AWSReservedSSO_View_def",
		"rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_View_abc",
		"rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_View_*",
		"rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Veiw_def",
	} {
		chain := access.NewChain(access.Config{}, auth("- "+written+"\n  username: u\n", ""))
		if _, refusal := chain.Resolve(who, nil); refusal == nil {
			t.Fatalf("%s: is mapped", written)
		}
		all := chain.Explain(who, nil).Verdicts[0].Near
		if len(all) == 0 {
			t.Errorf("%s: nothing is near", written)
			continue
		}
		edit, _ := strings.CutPrefix(all[0].Edit, "Write ")
		edit = strings.TrimSuffix(edit, " in place of rolearn.")
		chain = access.NewChain(access.Config{}, auth("- "+edit+"\n  username: u\n", ""))
		if got := outcome(chain, who, nil); got != "u [] EKSConfigMap" {
			t.Errorf("%s: after %q: %s", written, edit, got)
		}
	}
}

// TestNearest: for the log, by name.
func TestNearest(t *testing.T) {
	t.Parallel()
	m := role("Dev", "u")
	m.Match.ARN = "arn:aws:iam::444455556666:role/dev"
	gone := member("AIDAOLD", "u", false, "g")
	gone.Written = "arn:aws:iam::111122223333:user/ops/alice"
	chain := access.NewChain(access.Config{},
		access.NewTable(access.IdentityMapping, []access.Mapping{m}),
		access.NewTable(access.GroupMapping, []access.Mapping{gone}))
	if got := near(chain.Nearest(caller(t,
		"role/Dev/s"))); got != "account  -> Write spec.principal.arn: "+roleARN("Dev") {
		t.Error(got)
	}
	const again = "user_id  -> The user was deleted and made again: wait for the next sync, or map the id AIDAUSER."
	if got := near(chain.Nearest(caller(t, "user/ops/alice"))); got != again {
		t.Error(got)
	}
	if got := chain.Nearest(&callerid.Identity{CanonicalARN: "x"}); len(got) > 0 {
		t.Error(got)
	}
}

// TestNamesThatAreNone: names that nobody could tell from others, and people who would be
// nodes (spec people-cases row P56).
func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	for username, refused := range map[string]bool{
		" ": true, "\t": true, "o\nk": true, "a\x00b": true, "a b": false, "system:node:{{SessionName}}": false,
	} {
		table := access.NewTable(access.EKSConfigMap, []access.Mapping{role("r", username)})
		if problems := table.Problems(); (table.Len() == 0) != refused || (len(problems) == 0) != (username == "a b") {
			t.Errorf("%q: %d mappings, %v", username, table.Len(), problems)
		}
	}
}

// TestPlaceholders: what looks like a placeholder and is not one is a problem, and counts.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for username, want := range map[string]string{
		"{{ SessionName }}":          "Write {{SessionName}}",
		"x{{sessionname}}":           "Write {{SessionName}}",
		"{{AccountID}}{{accountid}}": "Write {{AccountID}}",
		"{{SessionName}}":            "",
		"{{Foo}}":                    "Write one of {{EC2PrivateDNSName}}, {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}}",
		"{{":                         "",
	} {
		table := access.NewTable(access.EKSConfigMap, []access.Mapping{role("r", username)})
		got := ""
		for _, p := range table.Problems() {
			got += p.Hint
		}
		if got != want || table.Len() != 1 {
			t.Errorf("%s: got %q, want %q", username, got, want)
		}
	}
}

// TestIdentity: identities of ARNs, for questions without a token.
func TestIdentity(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		roleARN("team/Dev"):                             "role " + roleARN("Dev") + " given",
		"arn:aws:sts::111122223333:assumed-role/Dev/me": "assumed-role " + roleARN("Dev") + " me",
		"arn:aws:iam::111122223333:user/ops/Alice":      "user arn:aws:iam::111122223333:user/ops/Alice ",
		"arn:aws:iam::111122223333:group/g":             "!",
		"Dev":                                           "!",
		roleARN("*"):                                    "!",
	} {
		got := "!"
		if who, err := access.Identity(text, "given"); err == nil {
			got = string(who.Kind) + " " + who.CanonicalARN + " " + who.SessionName
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestAssumedID: if no id is known, that of the mapping is taken, and said.
func TestAssumedID(t *testing.T) {
	t.Parallel()
	gone := member("AIDAX", "m", false, "g")
	gone.Written = "arn:aws:iam::111122223333:user/ops/alice"
	chain := access.NewChain(access.Config{},
		access.NewTable(access.AccessEntry, []access.Mapping{pinned("AROAX", role("r", "a"))}),
		access.NewTable(access.GroupMapping, []access.Mapping{gone}))
	for who, want := range map[string]string{"role/r/s": "a AROAX", "user/ops/alice": "m AIDAX", "user/alice": " "} {
		nobody := caller(t, who)
		nobody.UserID = ""
		e := chain.Explain(nobody, nil)
		got := " " + e.AssumedID
		if e.User != nil {
			got = e.User.Username + got
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", who, got, want)
		}
	}
}

// TestReplaced: who has the ARN of a mapping and another id is told what to do.
func TestReplaced(t *testing.T) {
	t.Parallel()
	for source, want := range map[access.Source]string{
		access.AccessEntry: "replaced  -> If the principal is the one that is meant, " +
			"delete the entry and create it again.",
		access.DynamicFile: "replaced  -> If the principal is the one that is meant, write its unique id AROAROLE.",
	} {
		chain := access.NewChain(access.Config{},
			access.NewTable(source, []access.Mapping{pinned("AROAOLD", role("r", "a"))}))
		v := chain.Explain(caller(t, "role/r/s"), nil).Verdicts[0]
		if got := near(v.Near); got != want || v.Refusal == nil || !strings.Contains(v.Text, "AROAOLD") ||
			!strings.Contains(v.Text, "AROAROLE") {
			t.Errorf("%s: got %q, %q, want %q", source, got, v.Text, want)
		}
	}
}

// TestHidden: mappings that never count, in one source and over all.
func TestHidden(t *testing.T) {
	t.Parallel()
	gone := member("AIDAX", "m1", false, "g")
	gone.Written = "arn:aws:iam::111122223333:user/u"
	merged := member("AIDAX", "m2", true, "g")
	merged.Written = gone.Written
	other := set("View", "cn")
	other.Match.Partition = "aws-cn"
	chain := access.NewChain(access.Config{},
		access.NewTable(access.AccessEntry, []access.Mapping{
			role("a", "e1"), pinned("AROAX", role("b", "e2")),
			set("View", "e3"),
		}),
		access.NewTable(access.IdentityMapping, []access.Mapping{everybody("i1"), role("A", "i2")}),
		access.NewTable(access.EKSConfigMap, []access.Mapping{
			role("b", "c1"), role("c", "c2"), role("C", "c3"), user("u", "c4"), set("view", "c5"), other,
			role("AWSReservedSSO_View_abc", "c6"), everybody("c7"),
		}),
		access.NewTable(access.DynamicFile, []access.Mapping{role("d", "d1"), set("Other", "d2"), pinned("X",
			role("b", "d3"))}),
		access.NewTable(access.GroupMapping, []access.Mapping{gone, merged}),
	)
	var got []string
	for _, d := range chain.Hidden() {
		got = append(got, d.Hidden.Username+"<"+d.Counts.Username)
	}
	const want = "i2<e1 c2<c3 c1<e2 c5<e3 c6<e3 c7<i1 d1<c7 d2<c7 d3<e2 m1<c4"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
