package awsauth_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
)

var configMap = awsauth.Options{Source: access.EKSConfigMap, Place: "ConfigMap kube-system/aws-auth"}

const dev = "arn:aws:iam::111122223333:role/Dev"

// said is a list in a few words: mappings as principal=username[groups], problems with !
// if they refuse, ? if not, and what is broken as BROKEN.
func said(p awsauth.Part) string {
	var all []string
	for _, m := range p.Mappings {
		all = append(all, strings.TrimPrefix(m.Match.String(), "arn:aws:iam::111122223333:")+"="+m.Username+
			"["+strings.Join(m.Groups, " ")+"]")
	}
	if p.Broken {
		all = append(all, "BROKEN")
	}
	for _, problem := range p.Problems {
		mark := " ? "
		if problem.Refused {
			mark = " ! "
		}
		all = append(all, strings.TrimPrefix(problem.String(), "ConfigMap kube-system/aws-auth ")+mark+problem.Text)
	}
	return strings.Join(all, "; ")
}

// TestList: the rules by which the peer reads lists, and where they are better here.
func TestList(t *testing.T) {
	t.Parallel()
	entry := func(lines ...string) string { return "- rolearn: " + dev + "\n  " + strings.Join(lines, "\n  ") + "\n" }
	for _, row := range []struct {
		name string
		key  awsauth.Key
		text string
		want string
	}{
		{"nothing", awsauth.Roles, "", ""},
		{"blanks", awsauth.Roles, " \n\t ", ""},
		{"quotes", awsauth.Users, `""`, ""},
		{"single quotes", awsauth.Users, "''\n", ""},
		{"backquotes", awsauth.Users, "``", ""},
		{"an empty list", awsauth.Roles, "[]", ""},
		{"null", awsauth.Roles, "null", ""},
		{"a comment", awsauth.Roles, "# nobody\n", ""},
		{"a map", awsauth.Roles, "{}", "BROKEN; mapRoles (line 1) ! it is not a list"},
		{"a text", awsauth.Accounts, `"123"`, "BROKEN; mapAccounts (line 1) ! it is not a list"},
		{
			"an entry", awsauth.Roles, entry("username: dev:{{SessionName}}", "groups: [a, b]"),
			"role/Dev=dev:{{SessionName}}[a b]",
		},
		{
			"keys in any letter case", awsauth.Roles, "- rOlEaRn: " + dev + "\n  UserName: u\n  gRoUpS: [g]\n",
			"role/Dev=u[g]",
		},
		{
			"both letter cases", awsauth.Roles, entry("roleARN: arn:aws:iam::111122223333:role/Other", "username: u"),
			"role/Dev=u[]",
		},
		{"no groups", awsauth.Roles, entry("username: u"), "role/Dev=u[]"},
		{
			"braces without quotes", awsauth.Roles, entry("username: {{SessionName}}"),
			"BROKEN; mapRoles (line 2) ! a key is a map or a list: {{ without quotes begins one",
		},
		{
			"braces in another entry", awsauth.Roles,
			entry("username: u") + "- rolearn: x\n  username: {{SessionName}}\n",
			"BROKEN; mapRoles (line 4) ! a key is a map or a list: {{ without quotes begins one",
		},
		{
			"braces and more", awsauth.Roles, entry("username: {{SessionName}}:x", "groups: [a]"),
			"BROKEN; mapRoles (line 2) ! not valid YAML: did not find expected key",
		},
		{
			"a tab", awsauth.Roles, "- rolearn: " + dev + "\n\tusername: u\n",
			"BROKEN; mapRoles (line 2) ! not valid YAML: found a tab character that violates indentation",
		},
		{
			"no colon", awsauth.Roles, entry("username u", "groups: [g]"),
			"BROKEN; mapRoles (line 2) ! not valid YAML: could not find expected ':'",
		},
		{
			"no username", awsauth.Roles, entry("groups: [g]"),
			"mapRoles[0] (line 1) ! username is missing, so that it would be empty",
		},
		{"an empty username", awsauth.Roles, entry(`username: ""`), "mapRoles[0] (line 1) ! username is empty"},
		{
			"a null username", awsauth.Roles, entry("username: ~"),
			"mapRoles[0] (line 1) ! username is missing, so that it would be empty",
		},
		{
			"a number", awsauth.Roles, entry("username: 007"),
			"mapRoles[0] (line 1) ! username is \"007\" without quotes, which is no text, so that it would be empty",
		},
		{
			"a boolean of YAML 1.1", awsauth.Roles, entry("username: yes"),
			"mapRoles[0] (line 1) ! username is \"yes\" without quotes, which is no text, so that it would be empty",
		},
		{"a boolean in quotes", awsauth.Roles, entry("username: 'yes'"), "role/Dev=yes[]"},
		{"a date", awsauth.Roles, entry("username: 2001-01-01"), "role/Dev=2001-01-01[]"},
		{
			"a map as username", awsauth.Roles, entry("username: {a: b}"),
			"mapRoles[0] (line 1) ! username is not a text",
		},
		{
			"groups as text", awsauth.Roles, entry("username: u", "groups: system:masters"),
			"role/Dev=u[]; mapRoles[0] (line 1) ? groups is not a list, so that the entry has none",
		},
		{
			"a number among groups", awsauth.Roles, entry("username: u", "groups: [1, g, '', ~, on]"),
			"role/Dev=u[g]; mapRoles[0] (line 1) ? groups[0] is not the name of a group, and left out; " +
				"mapRoles[0] (line 1) ? groups[2] is not the name of a group, and left out; mapRoles[0] " +
				"(line 1) ? groups[3] is not the name of a group, and left out; mapRoles[0] (line 1) ? " +
				"groups[4] is not the name of a group, and left out",
		},
		{
			"a list with a bad indent", awsauth.Roles, entry("username: u", "groups:", "- a", " - b"),
			"role/Dev=u[a - b]",
		},
		{
			"a key twice", awsauth.Roles, entry("username: u", "groups: [a]", "username: v", "groups: [b]"),
			"role/Dev=v[b]",
		},
		{"an ARN twice", awsauth.Roles, entry("username: u") + entry("username: v"), "role/Dev=u[]; role/Dev=v[]"},
		{"two documents", awsauth.Roles, entry("username: u") + "---\n" + entry("username: v"), "role/Dev=u[]"},
		{
			"an alias", awsauth.Roles,
			"- &a\n  rolearn: " + dev +
				"\n  username: &n u\n  groups: &g [x]\n- rolearn: arn:aws:iam::111122223333:role/B\n  " +
				"username: *n\n  groups: *g\n- *a\n",
			"role/Dev=u[x]; role/B=u[x]; role/Dev=u[x]",
		},
		{
			"a merge", awsauth.Roles,
			"- &a\n  rolearn: " + dev +
				"\n  username: u\n  groups: [x]\n- <<: *a\n  rolearn: arn:aws:iam::111122223333:role/B\n",
			"role/Dev=u[x]; role/B=u[x]",
		},
		{
			"a path", awsauth.Roles, "- rolearn: arn:aws:iam::111122223333:role/team/Dev\n  username: u\n",
			"role/Dev=u[]; mapRoles[0] (line 1) ? the role's path is left out: STS never tells it",
		},
		{
			"a session", awsauth.Roles, "- rolearn: arn:aws:sts::111122223333:assumed-role/Dev/jdoe\n  username: u\n",
			"role/Dev=u[]; mapRoles[0] (line 1) ? it is the ARN of one session: read as its role, " +
				"arn:aws:iam::111122223333:role/Dev, with all its sessions",
		},
		{
			"other letter case", awsauth.Roles, "- rolearn: ARN:AWS:IAM::111122223333:ROLE/Dev\n  username: u\n",
			"role/Dev=u[]",
		},
		{
			"a user in mapRoles", awsauth.Roles, "- rolearn: arn:aws:iam::111122223333:user/ops/Alice\n  username: u\n",
			"user/ops/Alice=u[]",
		},
		{
			"userarn in mapRoles", awsauth.Roles, "- userarn: arn:aws:iam::111122223333:user/A\n  username: u\n",
			"mapRoles[0] (line 1) ! userarn is not a key of mapRoles",
		},
		{
			"rolearn in mapUsers", awsauth.Users, "- rolearn: " + dev + "\n  username: u\n",
			"mapUsers[0] (line 1) ! rolearn is not a key of mapUsers",
		},
		{
			"a group", awsauth.Roles, "- rolearn: arn:aws:iam::111122223333:group/devs\n  username: u\n",
			`mapRoles[0] (line 1) ! "arn:aws:iam::111122223333:group/devs": IAM groups are not ` +
				`principals: STS never tells them`,
		},
		{
			"grouparn", awsauth.Users, "- grouparn: arn:aws:iam::111122223333:group/devs\n  username: u\n",
			"mapUsers[0] (line 1) ! grouparn: IAM groups are not principals: STS never tells them",
		},
		{
			"an instance profile", awsauth.Roles,
			"- rolearn: arn:aws:iam::111122223333:instance-profile/n\n  username: u\n",
			`mapRoles[0] (line 1) ! "arn:aws:iam::111122223333:instance-profile/n" is an instance ` +
				`profile, and nodes log in as its role`,
		},
		{
			"a star", awsauth.Roles,
			"- rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_*\n  username: u\n",
			`mapRoles[0] (line 1) ! "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_*" is a ` +
				`pattern, and compared as it is: it matches nobody`,
		},
		{
			"no ARN", awsauth.Roles, "- rolearn: Dev\n  username: u\n",
			`mapRoles[0] (line 1) ! "Dev" is not an ARN: want arn:PARTITION:iam::ACCOUNT:role/NAME or user/NAME`,
		},
		{
			"a number as ARN", awsauth.Roles, "- rolearn: 12\n  username: u\n",
			"mapRoles[0] (line 1) ! rolearn is not the text of an ARN",
		},
		{
			"13 digits", awsauth.Roles, "- rolearn: arn:aws:iam::0111122223333:role/A\n  username: u\n",
			`arn:aws:iam::0111122223333:role/A=u[]; mapRoles[0] (line 1) ? account "0111122223333" has ` +
				`not 12 digits: no login of AWS has it`,
		},
		{
			"a text among entries", awsauth.Roles, "- x\n" + entry("username: u"),
			"role/Dev=u[]; mapRoles[0] (line 1) ! the entry is not a map: want rolearn, username and groups",
		},
		{
			"an unknown key", awsauth.Roles, entry("username: u", "group: [g]"),
			"role/Dev=u[]; mapRoles[0] (line 1) ? the key \"group\" is not known, and ignored",
		},
		{
			"a set", awsauth.Roles,
			"- sso: {permissionSetName: View, accountID: \"111122223333\", partition: aws}\n  username: u\n",
			"permission-set/111122223333/View=u[]",
		},
		{
			"a set by the other name", awsauth.Roles,
			"- sso:\n    permissionset: View\n    accountid: '111122223333'\n  username: u\n",
			"permission-set/111122223333/View=u[]",
		},
		{
			"a set without quotes", awsauth.Roles,
			"- sso: {permissionSetName: View, accountID: 012345678912}\n  username: u\n",
			"mapRoles[0] (line 1) ! sso.accountID is a number without quotes, and numbers lose a zero " +
				"that they begin with",
		},
		{
			"a set of a partition that is none", awsauth.Roles,
			"- sso: {permissionSetName: View, accountID: \"111122223333\", partition: aws-us-govt}\n  username: u\n",
			"mapRoles[0] (line 1) ! sso.partition is not a partition of AWS",
		},
		{
			"a set with a star", awsauth.Roles,
			"- sso: {permissionSetName: 'V*', accountID: \"111122223333\"}\n  username: u\n",
			"mapRoles[0] (line 1) ! sso.permissionSetName must be 1 to 32 letters, digits and _+=,.@-",
		},
		{
			"both", awsauth.Roles,
			entry("username: u", "sso: {permissionSetName: View, accountID: \"111122223333\"}") +
				"- rolearn: arn:aws:iam::111122223333:role/B\n  username: b\n",
			"role/B=b[]; mapRoles[0] (line 1) ! one of rolearn and sso must be supplied, and there are both",
		},
		{
			"a set of users", awsauth.Users,
			"- sso: {permissionSetName: View, accountID: \"111122223333\"}\n  username: u\n",
			"mapUsers[0] (line 1) ! userarn is missing",
		},
		{
			"accounts", awsauth.Accounts, "- \"012345678901\"\n- 012345678901\n- 111122223333\n",
			"account/012345678901=[]; account/012345678901=[]; account/111122223333=[]",
		},
		{
			"accounts that are none", awsauth.Accounts, "- {a: b}\n- ~\n- ''\n- ' 111122223333'\n- 12\n",
			"account/12=[]; mapAccounts[0] (line 1) ! the item is not an account; mapAccounts[1] (line " +
				"2) ! the item is not an account; mapAccounts[2] (line 3) ! the item is not an account; " +
				"mapAccounts[3] (line 4) ! the item is not an account; mapAccounts[4] (line 5) ? account " +
				"\"12\" has not 12 digits: no login of AWS has it",
		},
	} {
		if got := said(awsauth.List(row.key, row.text, configMap)); got != row.want {
			t.Errorf("%s: got\n  %s\nwant\n  %s", row.name, got, row.want)
		}
	}
}
