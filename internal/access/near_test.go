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
		{"another account", entry("rolearn", "arn:aws:iam::444455556666:role/Dev", "u"), "", "role/Dev/s", "account mapRoles[0] -> Write rolearn: " + a + "role/Dev"},
		{"another partition", entry("rolearn", "arn:aws-cn:iam::111122223333:role/dev", "u"), "", "role/Dev/s", "partition mapRoles[0] -> Write rolearn: " + a + "role/Dev"},
		{"two things", entry("rolearn", "arn:aws-cn:iam::444455556666:role/dev", "u"), "", "role/Dev/s", ""},
		{"a user for a role", "", entry("userarn", a+"user/Dev", "u"), "role/Dev/s", "kind mapUsers[0] -> Write rolearn: " + a + "role/Dev"},
		{"a role for a user", entry("rolearn", a+"role/alice", "u"), "", "user/alice", "kind mapRoles[0] -> Write userarn: " + a + "user/alice"},
		{"a user without its path", "", entry("userarn", a+"user/Alice", "u"), "user/ops/alice", "user_path mapUsers[0] -> Write userarn: " + a + "user/ops/alice"},
		{"another ending", entry("rolearn", a+"role/AWSReservedSSO_View_abc", "u"), "", "role/AWSReservedSSO_View_def/s", "sso_suffix mapRoles[0] -> " + quoted},
		{"no ending", entry("rolearn", a+"role/AWSReservedSSO_View", "u"), "", "role/AWSReservedSSO_View_def/s", "sso_suffix mapRoles[0] -> " + quoted},
		{"a star for an ending", entry("rolearn", a+"role/AWSReservedSSO_View_*", "u"), "", "role/AWSReservedSSO_View_def/s", "wildcard mapRoles[0] -> " + quoted},
		{"a star behind a path", entry("rolearn", a+"role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_View_*", "u"), "", "role/AWSReservedSSO_View_def/s", "wildcard mapRoles[0] -> " + quoted},
		{"a star of others", entry("rolearn", a+"role/AWSReservedSSO_Admin_*", "u"), "", "role/AWSReservedSSO_View_def/s", ""},
		{"a set of another account", "- sso: {permissionSetName: View, accountID: \"444455556666\"}\n  username: u\n", "", "role/AWSReservedSSO_View_def/s", "account mapRoles[0] -> Write rolearn: " + a + "role/AWSReservedSSO_View_def"},
		{"a set of another partition", "- sso: {permissionSetName: View, accountID: \"111122223333\", partition: aws-cn}\n  username: u\n", "", "role/AWSReservedSSO_View_def/s", "partition mapRoles[0] -> Leave the partition out."},
		{"a set without quotes", "- sso: {permissionSetName: View, accountID: 111122223333}\n  username: u\n", "", "role/AWSReservedSSO_View_def/s", `invalid mapRoles[0] -> Write accountID: "111122223333"`},
		{"a group", "", entry("userarn", a+"group/devs", "u"), "user/alice", "iam_group mapUsers[0] -> Make a GroupMapping with iamGroup: devs, account: \"111122223333\"."},
		{"a group, of a role", "", entry("userarn", a+"group/devs", "u"), "role/Dev/s", ""},
		{"a number for a name", entry("rolearn", a+"role/Dev", "007"), "", "role/Dev/s", `invalid mapRoles[0] -> Write username: "007"`},
		{"no name", "- rolearn: " + a + "role/Dev\n", "", "role/Dev/s", "invalid mapRoles[0] -> Give a username; {{SessionName}} tells the people of a role apart."},
		{"a blank", entry("rolearn", "'"+a+"role/Dev '", "u"), "", "role/Dev/s", "invalid mapRoles[0] -> Write " + a + "role/Dev"},
		{"a list that is broken", entry("rolearn", a+"role/Dev", "{{SessionName}}"), "", "role/Dev/s", "list_broken mapRoles -> Write values with {{ in quotes: username: \"{{SessionName}}\""},
		{"the root", "", entry("userarn", a+"root", "u"), "user/alice", "root mapUsers[0] -> Put the account into mapAccounts, or make an IdentityMapping with principal.account."},
		{"a letter that is wrong", entry("rolearn", a+"role/Develper", "u"), "", "role/Developer/s", "name mapRoles[0] -> Write rolearn: " + a + "role/Developer"},
		{"a set with a letter that is wrong", "- sso: {permissionSetName: ViewOnyl, accountID: \"111122223333\"}\n  username: u\n", "", "role/AWSReservedSSO_ViewOnly_def/s", `name mapRoles[0] -> Write sso: {permissionSetName: ViewOnly, accountID: "111122223333"} in place of rolearn.`},
		{"userarn in mapRoles", "- userarn: " + a + "user/alice\n  username: u\n", "", "user/alice", "invalid mapRoles[0] -> Move the entry to mapUsers."},
		{"a duplicate", entry("rolearn", a+"role/Dev", "admin") + entry("rolearn", a+"role/dev", "dev"), "", "role/Dev/s", "duplicate mapRoles[0] -> Remove one of the two."},
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
	if got := near(chain.Nearest(caller(t, "role/Dev/s"))); got != "account  -> Write spec.principal.arn: "+roleARN("Dev") {
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

// TestPlaceholders: what looks like a placeholder and is none is a problem, and counts.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for username, want := range map[string]string{
		"{{ SessionName }}":          "Write {{SessionName}}",
		"x{{sessionname}}":           "Write {{SessionName}}",
		"{{AccountID}}{{accountid}}": "Write {{AccountID}}",
		"{{SessionName}}":            "",
		"{{Foo}}":                    "",
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
