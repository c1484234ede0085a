package awsauth_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
)

// saidAll is a content in a few words.
func saidAll(c awsauth.Content) string {
	var all []string
	if text := said(awsauth.Part{Mappings: c.Mappings(), Problems: c.Problems()}); text != "" {
		all = append(all, text)
	}
	for _, key := range c.Broken() {
		all = append(all, "BROKEN "+string(key))
	}
	return strings.Join(all, "; ")
}

// TestConfigMap: each key for itself, in letter case, and roles before users.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	c := awsauth.ConfigMap(map[string]string{
		"mapRoles": "- {rolearn: " + dev + ", username: r}", "mapUsers": "- {userarn: " + dev + ", username: u}",
		"mapAccounts": "{}", "mapusers": "- x", "note": "x",
	}, configMap)
	const want = "role/Dev=u[]; role/Dev=r[]; mapusers ? the key is ignored: letter case counts; " +
		"mapAccounts (line 1) ! it is not a list; BROKEN mapAccounts"
	if got := saidAll(c); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// TestKeepGood: a list that broke is as it was, again and again, and others change; of a
// ConfigMap that is gone nothing is kept.
func TestKeepGood(t *testing.T) {
	t.Parallel()
	read := func(roles, accounts string) awsauth.Content {
		return awsauth.ConfigMap(map[string]string{"mapRoles": roles, "mapAccounts": accounts}, configMap)
	}
	state := read("- {rolearn: "+dev+", username: good}", "- '111122223333'")
	for range 2 {
		state = read("- {rolearn: "+dev+", username: {{SessionName}}}", "- '444455556666'").KeepGood(state)
		const want = "role/Dev=good[]; account/444455556666=[]; " +
			"mapRoles (line 1) ! a key is a map or a list: {{ without quotes begins one; BROKEN mapRoles"
		if got := saidAll(state); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
	if got := saidAll(read("", "").KeepGood(state)); got != "" {
		t.Errorf("of keys that are gone: %s", got)
	}
	if got := saidAll(awsauth.ConfigMap(nil, configMap).KeepGood(state)); got != "" {
		t.Errorf("of no ConfigMap: %s", got)
	}
}

// TestConfig: the lists of the configuration file.
func TestConfig(t *testing.T) {
	t.Parallel()
	o := awsauth.Options{Source: access.MountedFile, Place: "config.yaml"}
	for _, row := range []struct{ name, text, want string }{
		{"none", "clusterID: x\n", ""},
		{"empty", "", ""},
		{
			"all", "SERVER:\n  maproles:\n  - roleARN: " + dev + "\n    username: r\n    groups: [a]\n" +
				"  mapUsers: []\n  mapAccounts: ['012345678901', 111122223333]\n",
			"role/Dev=r[a]; account/012345678901=[]; account/111122223333=[]",
		},
		{
			"groups as one text", "server: {mapRoles: [{rolearn: " + dev + ", username: r, groups: 'a,b'}]}",
			"role/Dev=r[a b]",
		},
		{
			"a number that loses its zero", "server:\n  mapAccounts: [012345678901]\n",
			"config.yaml mapAccounts[0] (line 2) ! account 012345678901 without quotes is a number, and loses its zero",
		},
		{
			"no list", "server:\n  mapRoles: {a: b}\n",
			"config.yaml server.mapRoles (line 2) ! it is not a list; BROKEN mapRoles",
		},
		{
			"a number", "server:\n  mapRoles:\n  - rolearn: " + dev + "\n    username: 007\n",
			"config.yaml mapRoles[0] (line 3) ! username is \"007\" without quotes, which is no text, " +
				"so that it would be empty",
		},
	} {
		c, err := awsauth.Config([]byte(row.text), o)
		if got := saidAll(c); got != row.want || err != nil {
			t.Errorf("%s: got\n%s, %v; want\n%s", row.name, got, err, row.want)
		}
	}
	if _, err := awsauth.Config([]byte("server:\n\tmapRoles: x\n"), o); err == nil ||
		!strings.Contains(err.Error(), "config.yaml (line 2): not valid YAML") {
		t.Errorf("a tab: %v", err)
	}
}

// TestDynamic: one bad entry makes all of the file bad.
func TestDynamic(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text   string
		strict       bool
		want, broken string
	}{
		{
			name: "all",
			text: `{"Version":"1","mapRoles":[{"roleARN":"` + dev +
				`","username":"r","groups":["a"],"userid":"AROAX"}],"mapAccounts":["111122223333"]}`,
			want: "role/Dev=r[a]; account/111122223333=[]",
		},
		{name: "nothing", text: `{}`},
		{name: "empty", text: " ", broken: "d.json ! the file is empty"},
		{
			name: "half", text: "{\n\"mapRoles\":[",
			broken: "d.json (line 2) ! not valid JSON: unexpected end of JSON input",
		},
		{
			name: "a number", text: `{"mapAccounts":[1]}`,
			broken: "d.json mapAccounts (line 1) ! a number is not what belongs there: want string",
		},
		{
			name: "a bad entry",
			text: `{"mapUsers":[{"userarn":"arn:aws:iam::111122223333:user/a","username":"a"},{"userarn":"x","us` +
				`ername":"b"}]}`,
			broken: `d.json mapUsers[1] ! "x" is not an ARN: want arn:PARTITION:iam::ACCOUNT:role/NAME or user/NAME`,
		},
		{
			name: "no username", text: `{"mapRoles":[{"rolearn":"` + dev + `"}]}`,
			broken: "d.json mapRoles[0] ! username is missing, so that it would be empty",
		},
		{
			name: "strict without id", strict: true, text: `{"mapRoles":[{"rolearn":"` + dev + `","username":"r"}]}`,
			broken: "d.json mapRoles[0] ! userid is missing, and the server takes only entries with one",
		},
		{
			name: "strict by id alone", strict: true,
			text: `{"mapRoles":[{"userid":"AROAX","username":"r","groups":["g"]}]}`, want: "id/AROAX=r[g]",
		},
		{
			name: "strict without name", strict: true, text: `{"mapRoles":[{"userid":"AROAX"}]}`,
			broken: "d.json mapRoles[0] ! username is empty",
		},
	} {
		c := awsauth.Dynamic([]byte(row.text), awsauth.Options{
			Source: access.DynamicFile, Place: "d.json",
			PinUserIDs: row.strict,
		})
		want := row.want
		if row.broken != "" {
			want = row.broken + "; BROKEN mapRoles; BROKEN mapUsers; BROKEN mapAccounts"
		}
		if got := saidAll(c); got != want {
			t.Errorf("%s: got\n%s, want\n%s", row.name, got, want)
		}
	}
}

// TestStrict: with unique ids that count, who has the ARN of an entry must have its id, and
// the other way round.
func TestStrict(t *testing.T) {
	t.Parallel()
	const file = `{"mapRoles":[
		{"rolearn":"arn:aws:iam::111122223333:role/team/Dev","userid":"AROAX","username":"r"},
		{"rolearn":"arn:aws:iam::111122223333:role/Dev","userid":"AROAY","username":"again"},
		{"userid":"AROAZ","username":"z"}]}`
	for _, row := range []struct {
		name, role, id string
		strict         bool
		want           string
	}{
		{"id and ARN", "Dev", "AROAX", true, "r"},
		{"the same ARN, made again", "Dev", "AROAY", true, "again"},
		{"an id of neither", "Dev", "AROAQ", true, "principal_replaced"},
		{"the id of another ARN", "Ops", "AROAX", true, "principal_renamed"},
		{"an id alone", "Any", "AROAZ", true, "z"},
		{"letter case of an id", "Any", "aroaz", true, "not_mapped"},
	} {
		c := awsauth.Dynamic([]byte(file), awsauth.Options{Source: access.DynamicFile, PinUserIDs: row.strict})
		chain := access.NewChain(access.Config{}, access.NewTable(access.DynamicFile, c.Mappings()))
		who := roleSession(row.role, row.id)
		user, refusal := chain.Resolve(who, nil)
		got := ""
		if refusal != nil {
			got = string(refusal.Reason)
		} else {
			got = user.Username
		}
		if got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
