package localaws_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// client finds a program that a test needs. Without it the test is skipped, where
// it is known to be there (ROLECALL_REQUIRE_CLIENTS=1, as in CI) it fails.
func client(t *testing.T, name string, check ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED: clients take seconds to start")
	}
	program, err := exec.LookPath(name)
	if err == nil && len(check) > 0 {
		err = exec.CommandContext(t.Context(), program, check...).Run()
	}
	if err == nil {
		return program
	}
	if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
		t.Fatalf("%s %v is needed and not there: %v", name, check, err)
	}
	t.Skipf("NOT TESTED: %s %v is not on this machine (%v)", name, check, err)
	return ""
}

// clientEnvironment is all that a client sees: this local AWS, and a home folder
// without files of others.
func (w *world) clientEnvironment(more ...string) []string {
	environment := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.(*testing.T).TempDir(),
		"AWS_ENDPOINT_URL=" + w.url, "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	}
	// Version managers of Python keep what is installed elsewhere than in HOME.
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"} {
		if text, found := os.LookupEnv(name); found {
			environment = append(environment, name+"="+text)
		}
	}
	return append(environment, more...)
}

// asAdmin are the variables with the administrator's key.
func (w *world) asAdmin() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + w.admin.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + w.admin.SecretKey.Reveal()}
}

// asPod are the variables of a pod with a web identity.
func (w *world) asPod() []string {
	file := filepath.Join(w.t.(*testing.T).TempDir(), "token")
	now := time.Now()
	raw := w.token(w.key, map[string]any{"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return []string{"AWS_ROLE_ARN=" + roleR, "AWS_WEB_IDENTITY_TOKEN_FILE=" + file, "AWS_ROLE_SESSION_NAME=pod"}
}

func (w *world) runClient(environment []string, program string, arguments ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env = environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Errorf("%s %s: %v\n%s", filepath.Base(program), strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// clientWorld is a local AWS in the clients' time, with a role that the
// administrator can take.
func clientWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.realTime()
	w.role(
		"Taken",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
			`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`,
	)
	return w
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	python := client(t, "python3", "-c", "import boto3")
	for _, script := range []string{"iam.py", "sts.py", "webidentity.py"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			w := clientWorld(t)
			environment := w.clientEnvironment(
				append(w.asAdmin(), "ROLECALL_TEST_ROLE=arn:aws:iam::111122223333:role/Taken")...,
			)
			if script == "webidentity.py" {
				environment = w.clientEnvironment(w.asPod()...)
			}
			w.runClient(environment, python, filepath.Join("testdata", "clients", script))
		})
	}
}

// TestAWSCLI runs commands one after the other, each with what its answer must
// hold. Starting the program takes most of the time, so that boto3 does the rest.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	cli := client(t, "aws", "--version")
	document := document("Allow", "s3:*", "*", "")
	type command struct{ line, want string }
	for name, commands := range map[string][]command{
		"sts": {
			{"sts get-caller-identity", `"Arn": "arn:aws:iam::111122223333:user/admin"`},
			{"sts get-caller-identity --region eu-west-1", `"Account": "111122223333"`},
			{
				"sts assume-role --role-arn arn:aws:iam::111122223333:role/Taken --role-session-name cli",
				`"Arn": "arn:aws:sts::111122223333:assumed-role/Taken/cli"`,
			},
		},
		"users": {
			{"iam create-user --user-name u1 --path /cli/", `"Arn": "arn:aws:iam::111122223333:user/cli/u1"`},
			{"iam create-user --user-name u2 --path /cli/", `"UserName": "u2"`},
			{"iam wait user-exists --user-name u1", ""},
			{"iam create-access-key --user-name u1", `"Status": "Active"`},
			{"iam create-group --group-name g", `"GroupName": "g"`},
			{"iam add-user-to-group --group-name g --user-name u1", ""},
			{
				"iam list-users --path-prefix /cli/ --page-size 1 --query Users[].UserName --output json",
				"[\n    \"u1\",\n    \"u2\"\n]",
			},
		},
		"roles": {
			{"iam create-role --role-name node --assume-role-policy-document " + serviceTrust, `"RoleName": "node"`},
			{"iam wait role-exists --role-name node", ""},
			{
				"iam create-policy --policy-name p --policy-document " + document,
				`"Arn": "arn:aws:iam::111122223333:policy/p"`,
			},
			{"iam wait policy-exists --policy-arn arn:aws:iam::111122223333:policy/p", ""},
			{"iam put-role-policy --role-name node --policy-name inline --policy-document " + document, ""},
			{"iam create-instance-profile --instance-profile-name i", `"InstanceProfileName": "i"`},
			{"iam wait instance-profile-exists --instance-profile-name i", ""},
			{"iam add-role-to-instance-profile --instance-profile-name i --role-name node", ""},
			{
				"iam simulate-principal-policy --policy-source-arn arn:aws:iam::111122223333:role/node " +
					"--action-names s3:GetObject --query EvaluationResults[0].EvalDecision --output text",
				"allowed",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := clientWorld(t)
			admin := w.clientEnvironment(w.asAdmin()...)
			for _, one := range commands {
				if out := w.runClient(admin, cli, strings.Fields(one.line)...); !strings.Contains(out, one.want) {
					t.Errorf("aws %s: %s, want %s", one.line, out, one.want)
				}
			}
		})
	}
	t.Run("web identity", func(t *testing.T) {
		t.Parallel()
		w := clientWorld(t)
		pod := w.clientEnvironment(w.asPod()...)
		var who struct{ Arn string }
		if err := json.Unmarshal([]byte(w.runClient(pod, cli, "sts", "get-caller-identity")), &who); err != nil ||
			who.Arn != "arn:aws:sts::111122223333:assumed-role/R/pod" {
			t.Errorf("pod: %+v %v", who, err)
		}
		refused := exec.CommandContext(t.Context(), cli, "iam", "list-users")
		refused.Env = pod
		out, err := refused.CombinedOutput()
		if err == nil ||
			!strings.Contains(
				string(out),
				"(AccessDenied) when calling the ListUsers operation: User: "+
					"arn:aws:sts::111122223333:assumed-role/R/pod is not authorized to perform: iam:ListUsers",
			) {
			t.Errorf("refused: %v %s", err, out)
		}
	})
}

// TestJavaScriptSDK needs packages of npm: make clients-js fetches them and says
// where they are.
func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	packages := os.Getenv("ROLECALL_CLIENTS_JS")
	if packages == "" {
		t.Skip("NOT TESTED: make clients-js runs it")
	}
	w := clientWorld(t)
	environment := w.clientEnvironment(w.asPod()...)
	environment = append(environment, "ROLECALL_CLIENTS_JS="+
		packages, "ROLECALL_TEST_ROLE=arn:aws:iam::111122223333:role/Taken",
		"ADMIN_ID="+w.admin.AccessKeyID, "ADMIN_SECRET="+w.admin.SecretKey.Reveal())
	w.runClient(environment, client(t, "node", "--version"), filepath.Join("testdata", "clients", "sdk.cjs"))
}
