package tokencmd_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNobodyElses: whatever makes somebody else of a caller, or another token, leads to
// none of the entries of before. Nothing else does.
func TestNobodyElses(t *testing.T) {
	const (
		nothing = iota // is made again
		token          // is, by the same session
		all            // are
	)
	env := func(name, value string) func(*world) []string {
		return func(w *world) []string { w.t.Setenv(name, value); return nil }
	}
	add := func(arguments ...string) func(*world) []string {
		return func(*world) []string { return arguments }
	}
	file := func(name, text string) func(*world) []string {
		return func(w *world) []string { w.write(name, text); return nil }
	}
	const sso = "[profile sso]\nsso_start_url=https://start.example.com\nsso_region=eu-west-1\n" +
		"sso_account_id=111122223333\nsso_role_name=Dev\n"
	for _, row := range []struct {
		name           string
		config         string
		before, change func(*world) []string
		again          int
	}{
		{"nothing", "", nil, nil, nothing},
		{"another folder", "", nil, env("PWD", "/elsewhere"), nothing},
		{"another terminal", "", nil, env("TERM_SESSION_ID", "2"), nothing},
		{"a pager", "", nil, env("AWS_PAGER", "less"), nothing},
		{"output", "", nil, env("AWS_DEFAULT_OUTPUT", "text"), nothing},
		{"profile default, said", "", nil, env("AWS_PROFILE", "default"), nothing},
		{"the same profile as argument", "", env("AWS_PROFILE", "bob"), add("--profile", "bob"), nothing},
		{"the same file elsewhere", "", nil, func(w *world) []string {
			text, _ := os.ReadFile(filepath.Join(w.home, ".aws/config"))
			w.t.Setenv("AWS_CONFIG_FILE", w.write("elsewhere", string(text)))
			return nil
		}, nothing},
		{"its own name, said", "", nil, add("--forward-session-name"), nothing},

		{"cluster", "", nil, add("-i", "test"), token},
		{"cluster in other letters", "", nil, add("-i", "Prod"), token},
		{"region", "", nil, add("--region", "us-west-2"), token},
		{"region of the environment", "", nil, env("AWS_REGION", "us-west-2"), token},

		{"partition", "", nil, add("--region", "cn-north-1"), all},
		{"session name", "", nil, add("-s", "somebody"), all},
		{"external id", "", nil, add("-e", "an-id"), all},
		{"profile", "", nil, add("--profile", "bob"), all},
		{"profile of the environment", "", nil, env("AWS_PROFILE", "bob"), all},
		{"older name of it", "", nil, env("AWS_DEFAULT_PROFILE", "bob"), all},
		{"key", "", nil, func(w *world) []string {
			w.t.Setenv("AWS_ACCESS_KEY_ID", bobKey)
			w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			return nil
		}, all},
		{"secret of a key", "", func(w *world) []string {
			w.t.Setenv("AWS_ACCESS_KEY_ID", bobKey)
			w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			return nil
		}, env("AWS_SECRET_ACCESS_KEY", "other"), all},
		{"session of a key", "", func(w *world) []string {
			w.t.Setenv("AWS_ACCESS_KEY_ID", bobKey)
			w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			w.t.Setenv("AWS_SESSION_TOKEN", "one")
			return nil
		}, env("AWS_SESSION_TOKEN", "two"), all},
		{"profile as argument beside keys", "", func(w *world) []string {
			w.t.Setenv("AWS_ACCESS_KEY_ID", bobKey)
			w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			w.t.Setenv("AWS_PROFILE", "default")
			return nil
		}, add("--profile", "default"), all},
		{"configuration", "", nil, file(".aws/config", "[default]\nregion=eu-west-1\n"), all},
		{"keys in the file", "", nil, file(".aws/credentials",
			"[default]\naws_access_key_id="+bobKey+"\naws_secret_access_key="+secret+"\n"), all},
		{"other files", "", nil, func(w *world) []string {
			w.t.Setenv("AWS_SHARED_CREDENTIALS_FILE", w.write("other",
				"[default]\naws_access_key_id="+bobKey+"\naws_secret_access_key="+secret+"\n"))
			return nil
		}, all},
		{"another AWS", "", nil, func(w *world) []string {
			w.t.Setenv("AWS_ENDPOINT_URL_STS", os.Getenv("AWS_ENDPOINT_URL"))
			return nil
		}, all},
		{"token of a pod", "", func(w *world) []string {
			w.t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", w.write("jwt", "one"))
			w.t.Setenv("AWS_ROLE_ARN", admin)
			return nil
		}, file("jwt", "two"), all},
		{"role of a pod", "", func(w *world) []string {
			w.t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", w.write("jwt", "one"))
			w.t.Setenv("AWS_ROLE_ARN", admin)
			return nil
		}, env("AWS_ROLE_ARN", admin+"2"), all},
		{
			"token of a profile", "[profile pod]\nrole_arn=" + admin + "\nWEB_IDENTITY_TOKEN_FILE = HOME/jwt\n",
			func(w *world) []string {
				w.write("jwt", "one")
				return []string{"--profile", "pod"}
			}, file("jwt", "two"), all,
		},
		{"login of SSO", sso, func(w *world) []string {
			w.ssoLogin("https://start.example.com")
			return []string{"--profile", "sso"}
		}, func(w *world) []string {
			w.write(".aws/sso/cache/another.json", "{}")
			return nil
		}, all},
		{"what a program reads", "[profile program]\ncredential_process=x\n", nil, env("VAULT_ROLE", "other"), all},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.profiles(strings.ReplaceAll(row.config, "HOME", w.home))
			arguments := []string{"-i", "prod", "-r", developer}
			if row.before != nil {
				arguments = append(arguments, row.before(w)...)
			}
			first := w.run(arguments...).answer(t)
			w.asked()
			w.now = w.now.Add(time.Second)
			if row.change != nil {
				more := row.change(w)
				arguments = append(arguments, more...)
			}
			second := w.run(arguments...).answer(t)
			again := nothing
			switch {
			case w.asked()["AssumeRole"] > 0:
				again = all
			case first.Status != second.Status:
				again = token
			}
			if again != row.again || again == all && first.Status == second.Status {
				t.Errorf("made again: %d, want %d", again, row.again)
			}
			w.now = w.now.Add(time.Second)
			if third := w.run(arguments...).answer(t); third.Status != second.Status {
				t.Error("the new one is not kept")
			}
		})
	}
}

// TestMadeOnce: of processes that want the same at one time, one makes it.
func TestMadeOnce(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	var all sync.WaitGroup
	keys := make([]string, 8)
	for i := range keys {
		all.Go(func() { keys[i] = w.run("-i", "prod", "-r", developer).answer(t).key(t) })
	}
	all.Wait()
	if calls := w.asked(); calls["AssumeRole"] != 1 {
		t.Errorf("%v by %v", calls, keys)
	}
	if len(slices.Compact(keys)) != 1 {
		t.Error(keys)
	}
}

// TestWithoutHome: there is no place for a cache, and no complaint.
func TestWithoutHome(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	if r := w.run("-i", "prod"); r.answer(t).key(t) != aliceKey || r.errors != "" {
		t.Errorf("%s", r.errors)
	}
}

// TestCachePlace: kubectl's own variable and that of aws-iam-authenticator count.
func TestCachePlace(t *testing.T) {
	for name, place := range map[string]string{
		"": ".kube/cache/rolecall", "KUBECACHEDIR": "rolecall", "AWS_IAM_AUTHENTICATOR_CACHE_FILE": ".rolecall",
	} {
		w := newWorld(t)
		w.profiles("")
		dir := filepath.Join(w.home, place)
		if name != "" {
			t.Setenv(name, filepath.Join(w.home, "set"))
			dir = filepath.Join(w.home, "set", place)
			if name != "KUBECACHEDIR" {
				dir = filepath.Join(w.home, "set"+place)
			}
		}
		w.run("-i", "prod").answer(t)
		if found, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(found) != 1 {
			t.Errorf("%s: nothing in %s", name, dir)
		}
		if name != "" {
			_ = os.Unsetenv(name)
		}
	}
}

// TestHosts: tokens name the STS of the region that somebody named, by the SDK's rules, and
// are of one mode of endpoints only.
func TestHosts(t *testing.T) {
	w := newWorld(t)
	w.profiles("[profile region]\nregion=ap-south-1\n")
	for _, row := range []struct{ arguments, region, fips, dual, host string }{
		{"", "eu-west-1", "", "", "sts.eu-west-1.amazonaws.com"},
		{"", "eu-west-1", "", "true", "sts.eu-west-1.api.aws"},
		{"", "us-west-2", "true", "", "sts-fips.us-west-2.amazonaws.com"},
		{"", "us-west-2", "", "", "sts.us-west-2.amazonaws.com"},
		{"", "us-west-2", "true", "true", "sts-fips.us-west-2.api.aws"},
		{"--region us-west-1", "us-west-2", "", "", "sts.us-west-1.amazonaws.com"},
		{"", "", "", "", "sts.us-east-1.amazonaws.com"},
		{"--profile region", "", "", "", "sts.ap-south-1.amazonaws.com"},
		{"--profile region", "us-west-2", "", "", "sts.us-west-2.amazonaws.com"},
		{"", "cn-north-1", "", "", "sts.cn-north-1.amazonaws.com.cn"},
		{"", "aws-global", "", "", "sts.amazonaws.com"},
	} {
		t.Setenv("AWS_REGION", row.region)
		t.Setenv("AWS_USE_FIPS_ENDPOINT", row.fips)
		t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", row.dual)
		if row.arguments == "--profile region" { // whose keys are the environment's
			w.write(".aws/credentials", "[region]\naws_access_key_id="+bobKey+"\naws_secret_access_key="+secret+"\n")
		}
		r := w.run(append([]string{"-i", "prod"}, strings.Fields(row.arguments)...)...)
		signed := r.answer(t).url(t)
		region := strings.Split(signed.Query().Get("X-Amz-Credential"), "/")[2]
		if signed.Host != row.host || row.host == "sts.amazonaws.com" && region != "us-east-1" {
			t.Errorf("%v: %s %s", row, signed.Host, region)
		}
		if row.arguments == "--profile region" {
			w.profiles("[profile region]\nregion=ap-south-1\n")
		}
	}
}

// TestLentIdentities: what gives credentials to a container gives somebody else's at the
// next call, without a word that could be seen: the next token is theirs, with a role too.
func TestLentIdentities(t *testing.T) {
	w := newWorld(t)
	key := aliceKey
	agent := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(answer).Encode(map[string]any{
			"AccessKeyId": key, "SecretAccessKey": secret, "Token": "of " + key,
			"Expiration": w.now.Add(w.life).Format(time.RFC3339),
		})
	}))
	t.Cleanup(agent.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL)
	for _, arguments := range [][]string{{"-i", "prod"}, {"-i", "prod", "-r", developer}} {
		key = aliceKey
		first := w.run(arguments...).answer(t)
		key = bobKey
		if second := w.run(arguments...).answer(t); second.Status.Token == first.Status.Token {
			t.Errorf("%v: bob has the token of alice", arguments)
		}
	}
}
