package tokencmd_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestExecCredential is what client-go reads (spec authenticator §2.5, rows E1 and E2).
func TestExecCredential(t *testing.T) {
	w := newWorld(t)
	w.profiles("[default]\noutput = table\n")
	t.Setenv("AWS_DEFAULT_OUTPUT", "text")
	const group = "client.authentication.k8s.io/"
	for _, row := range []struct {
		info, version string
		warned        bool
	}{
		{"", group + "v1beta1", false},
		{" \n", group + "v1beta1", false},
		{`{"apiVersion":"` + group + `v1"}`, group + "v1", false},
		{`{"apiVersion":"` + group + `v1","kind":"ExecCredential","spec":{"interactive":true,"cluster":{}}}`, group +
			"v1", false},
		{`{"apiVersion":"` + group + `v1beta1"}`, group + "v1beta1", false},
		{`{"apiVersion":"` + group + `v1alpha1"}`, group + "v1alpha1", true},
		{`{"apiVersion":"` + group + `__internal"}`, group + "v1beta1", true},
		{`{"apiVersion":"` + group + `v2"}`, group + "v1beta1", true},
		{`{}`, group + "v1beta1", true},
		{`{`, group + "v1beta1", true},
		{`[]`, group + "v1beta1", true},
		{`{"apiVersion":1}`, group + "v1beta1", true},
	} {
		t.Setenv("KUBERNETES_EXEC_INFO", row.info)
		r := w.run("-i", "prod", "--cache=false")
		got := r.answer(t)
		if got.Kind != "ExecCredential" || got.APIVersion != row.version || got.Spec.Interactive == nil ||
			*got.Spec.Interactive ||
			!got.Status.ExpirationTimestamp.Equal(w.now.Add(14*time.Minute)) {
			t.Errorf("%s: %s", row.info, r.out)
		}
		if strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, `"expirationTimestamp":"2026-01-02T03:14:00Z"`) {
			t.Errorf("%s: not one line with whole seconds: %s", row.info, r.out)
		}
		if want := map[bool]int{true: 1}[row.warned]; strings.Count(r.errors, "\n") != want {
			t.Errorf("%s: said %q", row.info, r.errors)
		}
	}
	if calls := w.asked(); len(calls) != 0 {
		t.Errorf("AWS was asked without a role: %v", calls)
	}
}

// TestVocabularies: what stands in kubeconfigs for the AWS CLI and aws-iam-authenticator.
func TestVocabularies(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	for _, row := range []struct {
		arguments string
		env       [2]string
		role      bool
	}{
		{"--cluster-name prod", [2]string{}, false},
		{"--cluster-id prod", [2]string{}, false},
		{"-i prod", [2]string{}, false},
		{"--cluster-na prod", [2]string{}, false},
		{"--cluster-i prod", [2]string{}, false},
		{"--cluster-name prod --output json", [2]string{}, false},
		{"--region us-west-2 --cluster-name prod --output json --role " + developer, [2]string{}, true},
		{"--cluster-name prod --role-arn " + developer, [2]string{}, true},
		{"--cluster-name prod --role-a=" + developer, [2]string{}, true},
		{"-i prod -r " + developer, [2]string{}, true},
		{"-i prod -r " + developer + " -s someone -e an-id", [2]string{}, true},
		{"-i prod -r " + developer + " --forward-session-name --cache", [2]string{}, true},
		{"", [2]string{"KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID", "prod"}, false},
		{"-i prod", [2]string{"DEFAULT_ROLE", developer}, true},
		{"-i prod", [2]string{"DEFAULT_ROLE", "cashier"}, false},
		{"-i prod --role-arn=", [2]string{"DEFAULT_ROLE", developer}, false},
		{"-i prod --profile bob", [2]string{}, false},
	} {
		t.Run(row.arguments+row.env[0], func(t *testing.T) {
			if row.env[0] != "" {
				t.Setenv(row.env[0], row.env[1])
			}
			who := w.who(w.run(strings.Fields(row.arguments)...))
			if strings.Contains(who, ":assumed-role/dev.eks-access.role/") != row.role {
				t.Error(who)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	for _, row := range []struct{ arguments, says string }{
		{"", "which cluster?"},
		{"-i", "flag needs an argument"},
		{"-i a --cluster-name b", "two names for one thing"},
		{"-i a --cluster-name a", "two names for one thing"},
		{"-i prod --output text", "kubectl wants json"},
		{"-i prod --output table", "kubectl wants json"},
		{"-i prod -o yaml", "kubectl wants json"},
		{"-i prod --whoami -o table", "kubectl wants json"},
		{"-i prod --token-only -o json", "excludes"},
		{"-i prod --token-only --whoami", "excludes"},
		{"-i prod -r admin", "not the ARN of a role"},
		{"-i prod -r arn:aws:sts::111122223333:assumed-role/a/b", "not the ARN of a role"},
		{"-i prod -r " + developer + " -s x", "2 to 64"},
		{"-i prod -r " + developer + " -s a/b", "2 to 64"},
		{"-i prod -r " + developer + " -s ab --forward-session-name", "contradict"},
		{"-i prod -r " + developer + " -e x", "2 to 1224"},
		{"-i prod -r " + developer + " --mfa-serial short", "not the serial number"},
		{"-i prod --mfa-serial " + device, "about a role"},
		{"-i prod --region ../evil", "not the name of a region"},
		{"-i prod extra", "unexpected argument"},
	} {
		r := w.run(strings.Fields(row.arguments)...)
		if row.arguments == "-i" { // cobra's own, which the program makes a fault
			if r.err == nil || r.out != "" {
				t.Errorf("%s: %v", row.arguments, r.err)
			}
			continue
		}
		if fault.ExitCode(r.err) != 2 && row.arguments != "-i prod extra" || r.err == nil || r.out != "" ||
			!strings.Contains(r.err.Error(), row.says) && row.arguments != "-i prod extra" {
			t.Errorf("%s: %v", row.arguments, r.err)
		}
	}
	if r := w.run("-i", "a\nb"); fault.ExitCode(r.err) != 2 {
		t.Errorf("a name with a line break: %v", r.err)
	}
}

// TestSessionNames: sessions bear the name of the person, unless somebody chose one.
func TestSessionNames(t *testing.T) {
	w := newWorld(t)
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:shop:cart"}`)) + ".AA"
	file := w.write("jwt", token)
	w.profiles(`
[profile plain]
role_arn = ` + admin + `
source_profile = default
[profile named]
role_arn = ` + admin + `
source_profile = default
role_session_name = pipeline
[profile twice]
role_arn = ` + developer + `
source_profile = plain
[profile pod]
role_arn = ` + admin + `
web_identity_token_file = ` + file + `
`)
	const session = "arn:aws:sts::111122223333:assumed-role/"
	for _, row := range []struct{ arguments, want string }{
		{"-r " + developer, session + "dev.eks-access.role/alice"},
		{"-r " + developer + " --forward-session-name", session + "dev.eks-access.role/alice"},
		{"-r " + developer + " -s me@example.com", session + "dev.eks-access.role/me@example.com"},
		{"-r " + admin + " -r " + developer, session + "dev.eks-access.role/alice"},
		{"--profile bob -r " + developer, session + "dev.eks-access.role/bob"},
		{"--profile plain", session + "admin/alice"},
		{"--profile plain -r " + developer, session + "dev.eks-access.role/alice"},
		{"--profile twice", session + "dev.eks-access.role/alice"},
		{"--profile named", session + "admin/pipeline"},
		{"--profile named -r " + developer, session + "dev.eks-access.role/pipeline"},
		{"--profile pod", session + "admin/system-serviceaccount-shop-cart"},
		{"--profile pod -r " + developer, session + "dev.eks-access.role/system-serviceaccount-shop-cart"},
	} {
		if who := w.who(w.run(append([]string{"-i", "prod"}, strings.Fields(row.arguments)...)...)); who != row.want {
			t.Errorf("%s: %s, want %s", row.arguments, who, row.want)
		}
	}
}

// TestRoleIsAsked: what STS is asked for roles, and that a chain is one.
func TestRoleIsAsked(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	w.run("-i", "prod", "-r", admin, "-r", developer, "-e", "an-id").answer(t)
	if len(w.roles) != 2 {
		t.Fatal(w.roles)
	}
	for i, role := range []string{admin, developer} {
		asked := w.roles[i]
		if asked.Get("RoleArn") != role || asked.Get("ExternalId") != "an-id" ||
			asked.Get("DurationSeconds") != "3600" ||
			asked.Has("SerialNumber") {
			t.Error(asked)
		}
	}
	if calls := w.asked(); !same(calls, map[string]int{"AssumeRole": 2, "GetCallerIdentity": 1}) {
		t.Error(calls)
	}
	// Another role at the end of the same chain costs one call.
	w.run("-i", "prod", "-r", admin, "-r", developer+"2", "-e", "an-id").answer(t)
	if calls := w.asked(); !same(calls, map[string]int{"AssumeRole": 1, "GetCallerIdentity": 1}) {
		t.Error(calls)
	}
	// So does nothing, while they last.
	w.now = w.now.Add(54 * time.Minute)
	w.run("-i", "another", "-r", admin, "-r", developer, "-e", "an-id").answer(t)
	if calls := w.asked(); len(calls) != 0 {
		t.Error(calls)
	}
	w.now = w.now.Add(time.Minute)
	w.run("-i", "another", "-r", admin, "-r", developer, "-e", "an-id", "--token-only")
	if calls := w.asked(); !same(calls, map[string]int{"AssumeRole": 2, "GetCallerIdentity": 1}) {
		t.Errorf("five minutes before their end: %v", calls)
	}
}

// TestKeptUntil: a token is given again while more than a minute of it is left, and no
// longer than its credentials last.
func TestKeptUntil(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	arguments := []string{"-i", "prod", "-r", developer}
	first := w.run(arguments...).answer(t)
	w.asked()
	w.now = w.now.Add(13*time.Minute - time.Second)
	if again := w.run(arguments...).answer(t); again != first && again.Status != first.Status {
		t.Error("not given again")
	}
	w.now = w.now.Add(time.Second)
	second := w.run(arguments...).answer(t)
	if second.Status == first.Status || !second.Status.ExpirationTimestamp.Equal(w.now.Add(14*time.Minute)) {
		t.Errorf("in its last minute: %v", second.Status.ExpirationTimestamp)
	}
	if calls := w.asked(); len(calls) != 0 {
		t.Errorf("the session is good: %v", calls)
	}
	w.now = w.now.Add(-time.Hour)
	if early := w.run(arguments...).answer(t); early.Status == second.Status {
		t.Error("a token of the future, after the clock was set")
	}
	w.now = w.now.Add(24 * time.Hour)
	w.life = 8 * time.Minute
	short := w.run(arguments...).answer(t)
	if !short.Status.ExpirationTimestamp.Equal(w.now.Add(8 * time.Minute)) {
		t.Errorf("longer than its credentials: %v at %v", short.Status.ExpirationTimestamp, w.now)
	}
	w.life = -time.Minute
	w.run("-i", "prod", "-r", admin).refused(t, fault.Denied, "expired")
}

// TestMFAOnce: a code is asked for once a session, not for each token, cluster or call
// (for profiles and for roles alike).
func TestMFAOnce(t *testing.T) {
	profile := "[profile mfa]\nrole_arn = " + admin + "\nsource_profile = default\nmfa_serial = " + device + "\n"
	for name, arguments := range map[string][]string{
		"profile": {"--profile", "mfa"},
		"role":    {"-r", admin, "--mfa-serial", device},
		"both":    {"--profile", "mfa", "-r", developer},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.profiles(profile)
			w.openTerminal()
			asks := 0
			for _, minutes := range []int{0, 1, 20, 54} {
				for _, cluster := range []string{"prod", "test"} {
					w.now = time.Date(2026, 1, 2, 3, minutes, 0, 0, time.UTC)
					if minutes == 0 && cluster == "prod" {
						w.types("123456\n")
					}
					r := w.run(append([]string{"-i", cluster}, arguments...)...)
					r.answer(t)
					asks += strings.Count(r.errors, "MFA code of "+device)
				}
			}
			if asks != 1 || w.roles[0].Get("TokenCode") != "123456" || w.roles[0].Get("SerialNumber") != device {
				t.Errorf("asked %d times: %v", asks, w.roles[0])
			}
			w.now = w.now.Add(time.Minute) // five before the session's end
			w.types("654321\n")
			r := w.run(append([]string{"-i", "third"}, arguments...)...)
			r.answer(t)
			if !strings.Contains(r.errors, "MFA code of") {
				t.Error("not asked at the end of the session")
			}
			if strings.Contains(w.kept(), "123456") {
				t.Error("the code is kept")
			}
		})
	}
}

// TestNeverAsksBlind: nobody is asked who does not expect it; AWS is not, either.
func TestNeverAsksBlind(t *testing.T) {
	const plugin = `{"apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":`
	for _, row := range []struct {
		name, info string
		terminal   bool
		asks       bool
	}{
		{"shell", "", true, true},
		{"kubectl that lends its terminal", plugin + "true}}", true, true},
		{"kubectl that says so, and none", plugin + "true}}", false, false},
		{"k9s", plugin + "false}}", true, false},
		{"kubectl that says nothing of it", `{"apiVersion":"client.authentication.k8s.io/v1"}`, true, false},
		{"broken", "{", true, false},
		{"pipeline", "", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.profiles("")
			t.Setenv("KUBERNETES_EXEC_INFO", row.info)
			if row.terminal {
				w.openTerminal()
				w.types("123456\n")
			}
			r := w.run("-i", "prod", "-r", admin, "--mfa-serial", device, "-s", "alice")
			if row.asks {
				r.answer(t)
				return
			}
			r.refused(
				t,
				fault.Denied,
				"a code of the MFA device "+device+" is needed",
				"run once in a shell: rolecall token --cluster-name prod --role-arn "+admin+
					" --session-name alice --mfa-serial "+device,
			)
			if calls := w.asked(); len(calls) != 0 {
				t.Errorf("AWS was asked: %v", calls)
			}
		})
	}
}

// TestNotACode: what is typed must be a code; leaving is not an error of the machine.
func TestNotACode(t *testing.T) {
	for typed, says := range map[string]string{
		"12345\n": "that is no code", "1234567\n": "that is no code", "12 456\n": "that is no code",
		"\n":   "that is no code",
		"\x04": "EOF",
	} {
		w := newWorld(t)
		w.profiles("")
		w.openTerminal()
		w.types(typed)
		w.run("-i", "prod", "-r", admin, "--mfa-serial", device, "-s", "alice").
			refused(t, fault.KindOf(nil)+kindOfTyped(typed), says)
	}
	w := newWorld(t)
	w.profiles("")
	w.openTerminal()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&cli.Interrupted{Signal: 2})
	r := w.runWith(ctx, "", "-i", "prod", "-r", admin, "--mfa-serial", device, "-s", "alice", "--cache=false")
	if fault.ExitCode(r.err) != 1 || r.out != "" {
		t.Errorf("interrupted: %v %s", r.err, r.out)
	}
}

func kindOfTyped(typed string) fault.Kind {
	if typed == "\x04" {
		return fault.Denied
	}
	return fault.Invalid
}

// TestProfileBeatsKeys: an explicit profile is taken whatever the shell holds; the
// profile of the environment is not, as everywhere in AWS, and that is said.
func TestProfileBeatsKeys(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	t.Setenv("AWS_ACCESS_KEY_ID", aliceKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	if r := w.run("-i", "prod", "--profile", "bob"); r.answer(t).key(t) != bobKey || r.errors != "" {
		t.Errorf("%s", r.errors)
	}
	t.Setenv("AWS_PROFILE", "bob")
	r := w.run("-i", "prod", "--cache=false")
	if r.answer(t).key(t) != aliceKey || strings.Count(r.errors, "\n") != 1 ||
		!strings.Contains(r.errors, "the keys are used; --profile bob") {
		t.Errorf("%s", r.errors)
	}
	if r := w.run("-i", "prod", "--profile", "bob"); r.answer(t).key(t) != bobKey || r.errors != "" {
		t.Errorf("%s", r.errors)
	}
}

// TestSources: every source of the SDK's.
func TestSources(t *testing.T) {
	w := newWorld(t)
	process := w.write(
		"process.sh",
		"#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\""+bobKey+"\",\"SecretAccessKey\":\""+secret+"\"}'\n",
	)
	if err := os.Chmod(process, 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	w.profiles(`
[profile sso]
sso_start_url = https://start.example.com
sso_region = eu-west-1
sso_account_id = 111122223333
sso_role_name = Dev
[profile process]
credential_process = ` + process + `
[profile environment]
role_arn = ` + admin + `
credential_source = Environment
`)
	w.ssoLogin("https://start.example.com")
	if who := w.who(w.run("-i", "prod", "--profile", "sso")); !strings.HasSuffix(
		who,
		"AWSReservedSSO_Dev_0a/alice@example.com",
	) {
		t.Error(who)
	}
	if who := w.who(w.run("-i", "prod", "--profile", "sso", "-r", developer)); !strings.HasSuffix(
		who,
		"role/alice@example.com",
	) {
		t.Error(who)
	}
	if calls := w.asked(); calls["GetRoleCredentials"] != 1 {
		t.Errorf("sessions of SSO are kept: %v", calls)
	}
	if key := w.run("-i", "prod", "--profile", "process").answer(t).key(t); key != bobKey {
		t.Error(key)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", bobKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	if who := w.who(w.run("-i", "prod", "--profile", "environment")); !strings.HasSuffix(who, "admin/bob") {
		t.Error(who)
	}
	if strings.Contains(w.kept(), `"accessKeyId":"AKIA`) {
		t.Error("long-term keys are kept")
	}
}

// TestNothingLongTermIsKept: neither keys nor anything of a profile that has them.
func TestNothingLongTermIsKept(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	w.run("-i", "prod").answer(t)
	if kept := w.kept(); strings.Contains(kept, secret) || strings.Count(kept, `"key":`) != 1 {
		t.Errorf("%s", kept)
	}
}

// TestTroubleCostsNothing: whatever is wrong with the cache is one warning.
func TestTroubleCostsNothing(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"folder that others read": func(dir string) error { return os.Chmod(dir, 0o755) },
		"file in its place": func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		},
		"link in its place": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir))
		},
		"entries that others read": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			for _, file := range files {
				err = os.Chmod(file, 0o644)
			}
			return err
		},
		"entries cut short": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			for _, file := range files {
				err = os.Truncate(file, 10)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.profiles("")
			first := w.run("-i", "prod", "-r", developer).answer(t)
			w.asked()
			if err := harm(filepath.Join(w.home, ".kube/cache/rolecall")); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.Add(time.Second)
			r := w.run("-i", "prod", "-r", developer)
			if r.answer(t).Status == first.Status || w.asked()["AssumeRole"] != 1 {
				t.Error("it was used")
			}
			if strings.Count(r.errors, "\n") != 1 || !strings.HasPrefix(r.errors, "warning: ") {
				t.Errorf("said %q", r.errors)
			}
		})
	}
}

// TestRefusals: one line, with the cause and what to do.
func TestRefusals(t *testing.T) {
	refusal := func(code, message string) func(*world) {
		return func(w *world) {
			w.refuse = func(string, url.Values, string) (string, string) { return code, message }
		}
	}
	keys := func(w *world) {
		w.t.Setenv("AWS_ACCESS_KEY_ID", "ASIAOLD")
		w.t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
		w.t.Setenv("AWS_SESSION_TOKEN", "old")
	}
	role := []string{"-r", developer}
	for _, row := range []struct {
		name      string
		arguments []string
		world     []func(*world)
		kind      fault.Kind
		wants     []string
	}{
		{
			"nothing", nil,
			[]func(*world){func(w *world) { _ = os.RemoveAll(filepath.Join(w.home, ".aws")) }},
			fault.NotFound,
			[]string{
				"no AWS credentials", "AWS_ACCESS_KEY_ID", `profile "default"`, "metadata", "add --profile NAME",
			},
		},
		{"no such profile", []string{"--profile", "prod"}, nil, fault.NotFound, []string{
			`no profile "prod"`,
			"list-profiles",
		}},
		{"no SSO session", []string{"--profile", "sso"}, nil, fault.Denied, []string{
			`profile "sso"`,
			"aws sso login --profile sso",
		}},
		{
			"old keys", role,
			[]func(*world){keys, refusal("ExpiredToken", "The security token included in the request is expired")},
			fault.Denied,
			[]string{"AWS_SESSION_TOKEN are expired: unset them, or use --profile"},
		},
		{
			"old session", role,
			[]func(*world){refusal("ExpiredTokenException", "expired")},
			fault.Denied,
			[]string{"try: "},
		},
		{
			"unknown key", role,
			[]func(*world){refusal("InvalidClientTokenId", "invalid")},
			fault.Denied,
			[]string{"does not know this access key"},
		},
		{
			"wrong key", role,
			[]func(*world){refusal("SignatureDoesNotMatch", "does not match")},
			fault.Denied,
			[]string{"clock"},
		},
		{
			"not trusted", append(role, "-s", "me"),
			[]func(*world){refusal("AccessDenied", "not authorized to perform: sts:AssumeRole")},
			fault.Denied,
			[]string{"trust policy", "--external-id"},
		},
		{
			"nobody there", role,
			[]func(*world){func(w *world) {
				w.t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
				w.t.Setenv("AWS_MAX_ATTEMPTS", "1")
			}},
			fault.Unavailable,
			[]string{"AWS cannot be reached", "127.0.0.1:1", "is the network up"},
		},
		{"program that fails", []string{"--profile", "program"}, nil, fault.Unavailable, []string{
			`the credential_process of profile "program"`, "run it in a shell",
		}},
		{"program that says nothing", []string{"--profile", "silent"}, nil, fault.Unavailable, []string{
			`the credential_process of profile "silent"`,
		}},
		{
			"a profile that goes in circles",
			[]string{"--profile", "circle"},
			nil, fault.Unavailable,
			[]string{"--profile circle"},
		},
		{
			"whoami",
			[]string{"--whoami"},
			[]func(*world){refusal("AccessDenied", "no")},
			fault.Denied,
			[]string{"AWS refused"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.profiles("[profile sso]\nsso_start_url=https://start.example.com\nsso_region=eu-west-1\n" +
				"sso_account_id=111122223333\nsso_role_name=Dev\n" +
				"[profile program]\ncredential_process=false\n[profile silent]\ncredential_process=true\n" +
				"[profile circle]\nrole_arn=" + admin + "\nsource_profile=round\n" +
				"[profile round]\nrole_arn=" + admin + "\nsource_profile=circle\n")
			for _, change := range row.world {
				change(w)
			}
			w.run(append([]string{"-i", "prod"}, row.arguments...)...).refused(t, row.kind, row.wants...)
		})
	}
}

// TestClock: a clock that is wrong is said once, if AWS was asked anyway.
func TestClock(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		0: "", 3 * time.Minute: "", -3 * time.Minute: "", 6 * time.Minute: "behind", -6 * time.Minute: "ahead of",
	} {
		w := newWorld(t)
		w.profiles("")
		w.skew = skew
		r := w.run("-i", "prod", "-r", admin, "-r", developer)
		r.answer(t)
		if want == "" && r.errors != "" ||
			want != "" && (strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, want)) {
			t.Errorf("%s: %q", skew, r.errors)
		}
	}
}

func TestWhoami(t *testing.T) {
	w := newWorld(t)
	w.profiles("")
	r := w.run("-i", "prod", "-r", developer, "--whoami")
	for _, want := range []string{
		"assumed-role/dev.eks-access.role/alice", developer, "prod",
		"sts.eu-west-1.amazonaws.com",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in:\n%s%s", want, r.out, r.errors)
		}
	}
	if r := w.run("-i", "prod", "--whoami", "-o", "json"); !strings.Contains(
		r.out,
		`"Arn": "arn:aws:iam::111122223333:user/staff/alice"`,
	) {
		t.Errorf("%s%s", r.out, r.errors)
	}
	if r := w.run("-i", "prod", "-v"); r.answer(t).key(t) != aliceKey ||
		!strings.Contains(r.errors, "user/staff/alice") {
		t.Errorf("%s", r.errors)
	}
	only := w.run("-i", "prod", "--token-only")
	if !strings.HasPrefix(only.out, "k8s-aws-v1.") || strings.Count(only.out, "\n") != 1 ||
		only.errors != "valid until 03:14Z\n" {
		t.Errorf("%q %q", only.out, only.errors)
	}
}
