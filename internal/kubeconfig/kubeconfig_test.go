package kubeconfig_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

func entry(name string) kubeconfig.Entry {
	return kubeconfig.Entry{
		Cluster: kubeconfig.Cluster{Name: name, Server: "https://" + name + ".example.com", CA: "Q0E="},
		User: kubeconfig.User{Name: name + "-user", Exec: kubeconfig.Exec{
			APIVersion: "client.authentication.k8s.io/v1beta1", Command: "/usr/local/bin/rolecall",
			Args: []string{"token", "--cluster-name", name}, InteractiveMode: "Never",
		}},
		Context: name,
	}
}

func parse(t *testing.T, text string) *kubeconfig.Text {
	t.Helper()
	read, err := kubeconfig.Parse("config", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func put(t *testing.T, text *kubeconfig.Text, e kubeconfig.Entry) string {
	t.Helper()
	if _, err := text.Put(e, false); err != nil {
		t.Fatal(err)
	}
	return string(text.Bytes())
}

// mine is a file as people have them: comments, quotes, an order of its own, members that
// we do not know, and secrets.
const mine = `# work
kind: Config
apiVersion: v1
x-tool: {keep: true}   # of another program
preferences: {}
current-context: "old"
users:
- name: old-user     # a certificate
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZLU1BVEVSSUFM
- user: {token: "abcdefgh-1234"}
  name: ci
contexts:
- name: old
  context:
    namespace: shop   # mine
    cluster: old
    user: old-user
    extensions: []
clusters:
- name: old
  cluster:
    tls-server-name: api.internal
    certificate-authority: /etc/ca.crt
    insecure-skip-tls-verify: true
    server: https://old.example.com
`

// TestPutKeeps: what a file says beside the entry stays, byte for byte.
func TestPutKeeps(t *testing.T) {
	t.Parallel()
	after := put(t, parse(t, mine), entry("new"))
	for line := range strings.Lines(mine) {
		if strings.HasPrefix(line, "current-context") {
			continue
		}
		if !strings.Contains(after, line) {
			t.Errorf("lost: %s", line)
		}
	}
	config, err := clientcmd.Load([]byte(after))
	if err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != "new" || config.Contexts["new"].Cluster != "new" ||
		config.Contexts["new"].AuthInfo != "new-user" || config.Clusters["new"].Server != "https://new.example.com" ||
		string(config.Clusters["new"].CertificateAuthorityData) != "CA" ||
		config.AuthInfos["new-user"].Exec.Command != "/usr/local/bin/rolecall" {
		t.Errorf("client-go reads:\n%s", after)
	}
}

// TestPutReplaces: what has the entry's names becomes what the entry says; what people
// added to a context and a cluster stays, and nothing that contradicts the authority.
func TestPutReplaces(t *testing.T) {
	t.Parallel()
	e := entry("old")
	after := put(t, parse(t, mine), e)
	config, err := clientcmd.Load([]byte(after))
	if err != nil {
		t.Fatal(err)
	}
	cluster := config.Clusters["old"]
	if cluster.TLSServerName != "api.internal" || cluster.CertificateAuthority != "" || cluster.InsecureSkipTLSVerify {
		t.Errorf("cluster %+v", cluster)
	}
	if config.Contexts["old"].Namespace != "shop" || config.Contexts["old"].AuthInfo != "old-user" {
		t.Errorf("context %+v", config.Contexts["old"])
	}
	user := config.AuthInfos["old-user"]
	if user.Exec == nil || len(user.ClientKeyData) > 0 {
		t.Error("a user's own key would win over the program")
	}
	if config.AuthInfos["ci"].Token != "abcdefgh-1234" {
		t.Error("another user was changed")
	}
	if !strings.Contains(after, "namespace: shop   # mine") || !strings.HasPrefix(after, "# work\n") {
		t.Errorf("comments are lost:\n%s", after)
	}
}

// TestRefused: files that the AWS CLI refuses are refused, with the place (spec
// authenticator §10, row K5).
func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"clusters: foo\n":                       "config:1:11: clusters is to be a list",
		"apiVersion: v1\nusers: {}\n":           "config:2:8: users is to be a list",
		"contexts:\n- a\n":                      "config:2:3: an item of contexts is to be a map",
		"current-context: 7\n":                  "current-context is to be a string",
		"kind: [Config]\n":                      "kind is to be a string",
		"preferences: 1\n":                      "preferences is to be a map",
		"- a\n":                                 "a kubeconfig is a map",
		"users: []\nusers: []\n":                "users",
		"apiVersion: v1\n---\napiVersion: v1\n": "a second document",
		"users:\n- {name: a, user: {token: s3cr3t-value}\n": "config:",
	} {
		_, err := kubeconfig.Parse("config", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v, want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("a secret is in %v", err)
		}
	}
}

// TestEmpty: nothing, comments and null lists are files like others (spec authenticator
// row K7).
func TestEmpty(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n", "# mine\n", "---\n", "{}\n", "null\n", "clusters:\nusers: null\ncontexts: ~\n",
		"apiVersion: v1\nclusters: []\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: []\n",
	} {
		after := put(t, parse(t, text), entry("a"))
		config, err := clientcmd.Load([]byte(after))
		if err != nil || len(config.Clusters) != 1 || len(config.AuthInfos) != 1 || config.CurrentContext != "a" {
			t.Errorf("%q became, %v:\n%s", text, err, after)
		}
		if strings.Contains(text, "# mine") && !strings.Contains(after, "# mine") {
			t.Errorf("a comment is lost:\n%s", after)
		}
	}
}

// TestPutTwice: the second time nothing changes, and taking out what was put in leaves
// what was there, whatever the order.
func TestPutTwice(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		text := parse(t, []string{mine, "", "users:\n", "{\"users\": [], \"clusters\": [], \"contexts\": []}\n"}[random.IntN(4)])
		names := []string{"a", "b", "arn:aws:eks:eu-west-1:111122223333:cluster/prod", "old", "yes", "007", "a: b", "#x"}
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names[:4] {
			e := entry(name)
			if random.IntN(2) == 0 {
				e.User.Exec.Env = []kubeconfig.Variable{{Name: "AWS_CONFIG_FILE", Value: "/a b/c: d"}}
			}
			once := put(t, text, e)
			if twice := put(t, parse(t, once), e); twice != once {
				t.Fatalf("the second time:\n%s\nafter the first:\n%s", twice, once)
			}
			config, err := clientcmd.Load([]byte(once))
			if err != nil || config.CurrentContext != name || config.Clusters[name] == nil {
				t.Fatalf("%q is read as %v, %v:\n%s", name, config, err, once)
			}
		}
		for _, name := range names[:4] {
			removed, _, err := text.Remove(name)
			if err != nil || removed.Cluster != name {
				t.Fatalf("%q: removed %+v, %v", name, removed, err)
			}
		}
		config, err := clientcmd.Load(text.Bytes())
		if err != nil || config.CurrentContext == names[3] || config.Clusters[names[0]] != nil {
			t.Fatalf("%v:\n%s", err, text.Bytes())
		}
	}
}

// TestRemoveShared: what another context has stays.
func TestRemoveShared(t *testing.T) {
	t.Parallel()
	text := parse(t, "")
	put(t, text, entry("a"))
	second := entry("a")
	second.Context, second.User.Name = "a-admin", "admin"
	put(t, text, second)
	removed, _, err := text.Remove("a-admin")
	if err != nil || removed.Cluster != "" || removed.User != "admin" || !removed.WasCurrent {
		t.Errorf("removed %+v, %v", removed, err)
	}
	if found := text.Contexts(); len(found) != 1 || found[0].Server != "https://a.example.com" || found[0].Current {
		t.Errorf("left %+v", found)
	}
	if _, _, err := text.Remove("a-admin"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed again: %v", err)
	}
}

// TestWithoutSecrets: what is shown of a file holds no key, token or password, however
// the file writes it.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	const value = "s3cr3t+/Value="
	for _, text := range []string{
		"users: [{name: a, user: {token: %s}}]",
		"users:\n- name: a\n  user:\n    client-key-data: %s\n",
		"users:\n- name: a\n  user:\n    client-key-data: |\n      %s\n      %[1]s\n",
		"users:\n- name: a\n  user:\n    password: >-\n      %s\n",
		`{"users": [{"name": "a", "user": {"token": "%s"}}]}`,
		"users:\n- name: a\n  user: {auth-provider: {config: {refresh-token: '%s'}}}\n",
		"users:\n- name: a\n  user: {exec: {env: [{name: AWS_SECRET_ACCESS_KEY, value: '%s'}]}}\n",
		"users:\n- name: a\n  user: {exec: {env: [{value: '%s', name: AWS_SESSION_TOKEN}]}}\n",
	} {
		shown := string(kubeconfig.WithoutSecrets(fmt.Appendf(nil, text, value)))
		if strings.Contains(shown, "s3cr3t") || !strings.Contains(shown, "REDACTED") {
			t.Errorf("shown:\n%s", shown)
		}
	}
}

// FuzzPut: whatever a file is, either it is refused, or client-go reads the entry from
// what comes of it, the others as before, and putting it in again changes nothing.
func FuzzPut(f *testing.F) {
	for _, seed := range []string{mine, "", "clusters:\n", "{}", "users: &a []\nclusters: *a\n", "clusters: [{name: a}]\n"} {
		f.Add(seed, "a")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		before, err := clientcmd.Load([]byte(text))
		if err != nil || name == "" || !isPrintable(name) || strings.Contains(text, "\x00") {
			t.Skip()
		}
		read, err := kubeconfig.Parse("config", []byte(text))
		if err != nil {
			t.Skip()
		}
		e := entry(name)
		if _, err := read.Put(e, false); err != nil {
			t.Skip()
		}
		once := slices.Clone(read.Bytes())
		after, err := clientcmd.Load(once)
		if err != nil {
			t.Fatalf("%v:\n%s", err, once)
		}
		if after.CurrentContext != name || after.Clusters[name] == nil || after.AuthInfos[name+"-user"].Exec == nil {
			t.Fatalf("the entry is not there:\n%s", once)
		}
		for other, was := range before.AuthInfos {
			is := after.AuthInfos[other]
			if other != name+"-user" && !same(was, is) {
				t.Fatalf("user %q was changed:\n%s", other, once)
			}
		}
		again := parse(t, string(once))
		if _, err := again.Put(e, false); err != nil || string(again.Bytes()) != string(once) {
			t.Fatalf("the second time, %v:\n%s", err, again.Bytes())
		}
	})
}

func same(a, b any) bool {
	left, err := json.Marshal(a)
	right, alsoErr := json.Marshal(b)
	return err == nil && alsoErr == nil && string(left) == string(right)
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}
