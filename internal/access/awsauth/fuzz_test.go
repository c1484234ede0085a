package awsauth_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
	"github.com/rolecall/rolecall/internal/callerid"
)

func roleSession(role, id string) *callerid.Identity {
	return &callerid.Identity{
		Kind: callerid.AssumedRole, CanonicalARN: "arn:aws:iam::111122223333:role/" + role, AccountID: "111122223333",
		UserID: id, SessionName: "jdoe", AccessKeyID: "ASIAEXAMPLE",
	}
}

// check holds what is read of any text to what must hold of all of it.
func check(t *testing.T, c awsauth.Content) {
	t.Helper()
	if len(c.Broken()) > 0 && len(c.Problems()) == 0 {
		t.Fatal("broken, and no word why")
	}
	for _, key := range c.Broken() {
		part := map[awsauth.Key]awsauth.Part{
			awsauth.Roles: c.Roles, awsauth.Users: c.Users, awsauth.Accounts: c.Accounts,
		}[key]
		if len(part.Mappings) > 0 {
			t.Fatalf("%s is broken, and has mappings", key)
		}
	}
	for _, p := range c.Problems() {
		if p.Text == "" || strings.Contains(p.Text, "\n") {
			t.Fatalf("a problem is one line: %q", p.Text)
		}
	}
	for _, m := range c.Mappings() {
		if m.Match.ARN != "" {
			if again, err := access.ReadPrincipal(m.Match.ARN); err != nil || again.ARN != m.Match.ARN {
				t.Fatalf("%q is read as %q, %v", m.Match.ARN, again.ARN, err)
			}
		}
		if m.Username == "" && (m.Match.Account == "" || m.Match.PermissionSet != "") {
			t.Fatalf("%+v has an empty username", m)
		}
	}
	table := access.NewTable(access.EKSConfigMap, c.Mappings())
	user, _ := access.NewChain(access.Config{}, table).Resolve(roleSession("Dev", "AROAX"), nil)
	if user != nil && user.Username == "" {
		t.Fatalf("an empty username by %+v", user.By)
	}
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"- rolearn: " + dev + "\n  username: dev\n  groups: [a, b]\n", "- &a {rolearn: " + dev +
			", username: x}\n- <<: *a\n",
		"- {{a}}", "[", "- sso: {permissionSetName: V, accountID: '111122223333'}\n  username: x", "- 012345678901\n",
		`[{"rolearn":"` + dev + `","username":"x","groups":["y"]}]`, "- &a [*a]\n", "- &a\n  <<: *a\n",
		"- &a {<<: [*a, *a]}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check(t, awsauth.ConfigMap(map[string]string{"mapRoles": text, "mapUsers": text, "mapAccounts": text},
			configMap))
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("server:\n  mapRoles:\n  - rolearn: " + dev + "\n    username: dev\n    groups: a,b\n  mapAccounts: ['1']\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := awsauth.Config([]byte(text), awsauth.Options{Source: access.MountedFile})
		if err == nil {
			check(t, c)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	f.Add(`{"mapRoles":[{"rolearn":"`+dev+`","username":"dev","userid":"AROAX","sso":{}}],"mapAccounts":["1"]}`, true)
	f.Fuzz(func(t *testing.T, text string, strict bool) {
		check(t, awsauth.Dynamic([]byte(text), awsauth.Options{Source: access.DynamicFile, PinUserIDs: strict}))
	})
}

// TestAliases: a text that stands for much more than it says is refused, and costs no
// more than its length.
func TestAliases(t *testing.T) {
	t.Parallel()
	long := "- &a\n  rolearn: " + dev + "\n  username: u\n  groups: &g [" + strings.Repeat("x,", 50_000) + "x]\n"
	for name, text := range map[string]string{
		"entries": long + strings.Repeat("- *a\n", 50_000),
		"groups":  long + strings.Repeat("- {rolearn: "+dev+", username: u, groups: *g}\n", 20_000),
		"merges": "- &a {" + strings.Repeat("a: b, ", 20_000) + "c: d}\n" +
			strings.Repeat("- {<<: [*a, *a, *a, *a]}\n", 20_000),
		"a merge of itself": "- &a\n  <<: *a\n  rolearn: " + dev + "\n  username: u\n",
	} {
		p := awsauth.List(awsauth.Roles, text, configMap)
		if !p.Broken {
			t.Errorf("%s: %d mappings", name, len(p.Mappings))
		}
	}
}
