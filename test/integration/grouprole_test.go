package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

const nodesOfTheCluster = "# the nodes\n- rolearn: arn:aws:iam::111122223333:role/node # do not touch\n" +
	"  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n    - system:nodes\n"

// groupRoleWords are the command line of the seed.
func groupRoleWords(more ...string) []string {
	return append([]string{
		"access", "group-role", "--group", "dev.rnd.group", "--role", "dev.eks-access.role", "--cluster", "prod",
		"--cluster-role", "pod-reader",
	}, more...)
}

// adminEnv is what an administrator of the account has in the environment.
func (w *groupWorld) adminEnv(endpoint string) []string {
	admin, err := w.accounts.Default().AdminKey()
	w.must(err)
	kept := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return append(kept, "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "AWS_PAGER=",
		"AWS_ACCESS_KEY_ID="+admin.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+admin.SecretKey.Reveal(),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"KUBECONFIG="+w.c.Kubeconfig, programVariable+"=command")
}

// rolecall runs a command line, with the exit code that it ended with.
func (w *groupWorld) rolecall(endpoint string, words ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	command := exec.CommandContext(w.t.Context(), self, words...)
	command.Env = w.adminEnv(endpoint)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	_ = command.Run() // the code tells
	return out.String(), problems.String(), command.ProcessState.ExitCode()
}

// as runs the AWS CLI with a key of an IAM user.
func (w *groupWorld) as(user string, words ...string) (string, error) {
	w.t.Helper()
	var key struct {
		AccessKey struct{ AccessKeyID, SecretAccessKey string }
	}
	w.must(json.Unmarshal([]byte(w.cli("iam", "create-access-key", "--user-name", user, "--output", "json")), &key))
	command := exec.CommandContext(w.t.Context(), "aws", words...)
	command.Env = append(w.adminEnv(w.aws.URL), "AWS_ACCESS_KEY_ID="+key.AccessKey.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY="+key.AccessKey.SecretAccessKey)
	out, err := command.CombinedOutput()
	w.cli("iam", "delete-access-key", "--user-name", user, "--access-key-id", key.AccessKey.AccessKeyID)
	return string(out), err
}

// murderous is an AWS that kills who calls it, when what was asked for is done and before
// that is answered: after the first call that changes anything.
func (w *groupWorld) murderous(victim *atomic.Pointer[os.Process]) *httptest.Server {
	target, err := url.Parse(w.aws.URL)
	w.must(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host // it was signed for us
	}}
	proxy.ModifyResponse = func(answer *http.Response) error {
		action, _ := answer.Request.Context().Value(actionKey{}).(string)
		for _, reads := range []string{"Get", "List"} {
			if strings.HasPrefix(action, reads) {
				return nil
			}
		}
		if process := victim.Swap(nil); process != nil {
			_ = process.Kill()
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(rw, withAction(r))
	}))
	w.t.Cleanup(server.Close)
	return server
}

type actionKey struct{}

// withAction keeps the name of the operation, which is in the body, with the request.
func withAction(r *http.Request) *http.Request {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	action := form.Get("Action")
	if r.Method == http.MethodGet { // EKS, which is only asked
		action = "Get"
	}
	return r.WithContext(context.WithValue(r.Context(), actionKey{}, action))
}

// untilDone runs a command line again and again, killed after each change in AWS, until it
// ends by itself; it returns how often it was killed.
func (w *groupWorld) untilDone(words ...string) (killed int) {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	for range 20 {
		var victim atomic.Pointer[os.Process]
		aws := w.murderous(&victim)
		command := exec.CommandContext(w.t.Context(), self, words...)
		command.Env = w.adminEnv(aws.URL)
		var out bytes.Buffer
		command.Stdout, command.Stderr = &out, &out
		w.must(command.Start())
		victim.Store(command.Process)
		err := command.Wait()
		if err == nil {
			return killed
		}
		if command.ProcessState.ExitCode() >= 0 {
			w.t.Fatalf("%v: %v\n%s", words, err, out.String())
		}
		killed++
	}
	w.t.Fatal("it does not come to an end")
	return killed
}

func (w *groupWorld) awsAuth() *corev1.ConfigMap {
	w.t.Helper()
	found, err := w.c.Client.CoreV1().ConfigMaps("kube-system").Get(w.t.Context(), "aws-auth", metav1.GetOptions{})
	w.must(err)
	return found
}

// TestGroupRole: one command gives a group its role, killed after each of its changes in
// AWS; members have it then and nobody else, and the same command undoes that, as
// often killed. What was there before is there as it was, to the byte.
func TestGroupRole(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED: the AWS CLI is not on this machine (%v)", err)
	}
	w := newGroupWorld(t)
	_, err := w.c.Client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"},
		Data:       map[string]string{"mapRoles": nodesOfTheCluster, "mapUsers": "[]\n"},
	}, metav1.CreateOptions{})
	w.must(err)
	before := w.awsAuth()
	// What is aggregated into view only a controller manager knows.
	_, err = w.c.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.must(w.accounts.Default().Update(func(state account.State) error {
		return state.PutUser(&account.User{
			Name: "outsider", Path: "/", ID: account.NewUserID(), Permissions: account.Permissions{Policies: []account.Document{{
				Name: "p", Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
			}}},
		})
	}))

	out, problems, code := w.rolecall(w.aws.URL, groupRoleWords()...)
	if code != 0 || !strings.Contains(out, "7 steps; nothing was changed") ||
		!strings.Contains(out, "    +- rolearn: arn:aws:iam::111122223333:role/dev.eks-access.role") {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
	if w.awsAuth().ResourceVersion != before.ResourceVersion {
		t.Error("a plan changed something")
	}
	if _, _, code := w.rolecall(w.aws.URL, "access", "group-role", "--group", "no.such.group", "--role", "r", "--cluster",
		"prod", "--cluster-role", "view"); code != 1 {
		t.Errorf("for a group that is not there: exit code %d", code)
	}

	w.mappedAlready()
	if killed := w.untilDone(groupRoleWords("--apply")...); killed != 5 {
		t.Errorf("killed %d times, want after each of 5 changes", killed)
	}
	out, problems, code = w.rolecall(w.aws.URL, groupRoleWords("--apply", "-o", "json")...)
	var said struct {
		RoleARN, Next string
		Steps         []any
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != 0 || len(said.Steps) != 0 ||
		!strings.HasPrefix(said.Next, "rolecall kubeconfig update --name prod ") ||
		!strings.HasSuffix(said.Next, "--role-arn arn:aws:iam::111122223333:role/dev.eks-access.role") {
		t.Errorf("%v, exit code %d\n%s%s", err, code, out, problems)
	}
	w.hasRole()

	if killed := w.untilDone(groupRoleWords("--undo", "--apply")...); killed != 5 {
		t.Errorf("killed %d times, want after each of 5 changes", killed)
	}
	after := w.awsAuth()
	if after.Data["mapRoles"] != nodesOfTheCluster || len(after.Annotations) != 0 || len(after.Data) != 2 {
		t.Errorf("left over: %+v", after)
	}
	if _, err := w.c.Client.RbacV1().ClusterRoleBindings().Get(t.Context(), "rolecall:group-role:dev.eks-access.role",
		metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the binding: %v", err)
	}
	if left := w.cli("iam", "list-policies", "--scope", "Local", "--query", "Policies[].PolicyName", "--output", "text") +
		w.cli("iam", "list-roles", "--query", "Roles[?starts_with(RoleName, `dev.`)].RoleName", "--output", "text") +
		w.cli("iam", "list-attached-group-policies", "--group-name", "dev.rnd.group", "--query",
			"AttachedPolicies", "--output", "text"); strings.TrimSpace(left) != "" && strings.TrimSpace(left) != "None" {
		t.Errorf("left over in IAM: %s", left)
	}
	w.bySeed()
}

// mappedAlready: while something else is about the role, nothing is done, and it is named.
func (w *groupWorld) mappedAlready() {
	t := w.t
	t.Helper()
	refused := func(want string) {
		t.Helper()
		out, problems, code := w.rolecall(w.aws.URL, groupRoleWords("--apply")...)
		if code != 1 || !strings.Contains(problems, want) || strings.Contains(problems, "done:") {
			t.Errorf("exit code %d, want 1 for %s\n%s%s", code, want, out, problems)
		}
	}
	client, err := dynamic.NewForConfig(w.c.Config)
	w.must(err)
	entries := client.Resource(rolecallResource("accessentries"))
	_, err = entries.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1", "kind": "AccessEntry", "metadata": map[string]any{"name": "theirs"},
		"spec": map[string]any{
			"principal": map[string]any{"arn": "arn:aws:iam::111122223333:role/dev.eks-access.role"},
			"accessPolicies": []any{map[string]any{
				"policy": "AmazonEKSClusterAdminPolicy", "scope": "cluster",
			}},
		},
	}}, metav1.CreateOptions{})
	w.must(err)
	refused("AccessEntry theirs")
	w.must(entries.Delete(t.Context(), "theirs", metav1.DeleteOptions{}))

	auth := w.awsAuth()
	auth.Data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/team/dev.eks-access.role\n  username: theirs\n"
	auth, err = w.c.Client.CoreV1().ConfigMaps("kube-system").Update(t.Context(), auth, metav1.UpdateOptions{})
	w.must(err)
	refused("mapRoles[1]")
	auth.Data["mapRoles"] = nodesOfTheCluster
	_, err = w.c.Client.CoreV1().ConfigMaps("kube-system").Update(t.Context(), auth, metav1.UpdateOptions{})
	w.must(err)
}

// hasRole looks at what members, and others, can do.
func (w *groupWorld) hasRole() {
	t := w.t
	t.Helper()
	const role = "arn:aws:iam::111122223333:role/dev.eks-access.role"
	assume := []string{"sts", "assume-role", "--role-arn", role, "--role-session-name", "EKSGetTokenAuth"}
	if out, err := w.as("alice", assume...); err != nil {
		t.Errorf("alice is in the group: %s", out)
	}
	if out, err := w.as("outsider", assume...); err == nil || !strings.Contains(out, "AccessDenied") {
		t.Errorf("outsider is not: %s", out)
	}
	if out, err := w.as("alice", "eks", "get-token", "--cluster-name", "prod", "--role-arn", role); err != nil ||
		!strings.Contains(out, "k8s-aws-v1.") {
		t.Errorf("a token: %s", out)
	}
	for verb, want := range map[string]string{"list": "yes", "delete": "no"} {
		command := exec.CommandContext(t.Context(), w.c.Kubectl, "--kubeconfig", w.c.Kubeconfig, "auth", "can-i", verb, "pods",
			"--as", "dev.eks-access.role:alice", "--as-group", "dev.rnd.group")
		if out, _ := command.Output(); strings.TrimSpace(string(out)) != want { // "no" ends with 1
			t.Errorf("may they %s pods? %s, want %s", verb, out, want)
		}
	}
	if text := w.awsAuth().Data["mapRoles"]; !strings.HasPrefix(text, nodesOfTheCluster) {
		t.Errorf("aws-auth: %s", text)
	}
}

// bySeed makes it by hand, as people have done it before, with other policies: it works, and
// the command does not touch it.
func (w *groupWorld) bySeed() {
	t := w.t
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		w.must(os.WriteFile(path, []byte(text), 0o600))
		return "file://" + path
	}
	w.cli("iam", "create-role", "--role-name", "dev.eks-access.role", "--assume-role-policy-document", file("trust", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "sts:AssumeRole", "Condition": {}}]}`))
	w.cli("iam", "create-policy", "--policy-name", "dev.eks-access.policy", "--policy-document", file("access", `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "VisualEditor0", "Effect": "Allow",
     "Action": ["eks:ListClusters", "eks:DescribeAddonVersions", "eks:CreateCluster"], "Resource": "*"},
    {"Sid": "VisualEditor1", "Effect": "Allow", "Action": "eks:*", "Resource": "arn:aws:eks:*:111122223333:cluster/*"}]}`))
	w.cli("iam", "create-policy", "--policy-name", "dev.assume-eks-access-role.policy", "--policy-document", file("assume", `{
  "Version": "2012-10-17",
  "Statement": [{"Sid": "VisualEditor0", "Effect": "Allow", "Action": "sts:AssumeRole",
    "Resource": "arn:aws:iam::111122223333:role/dev.eks-access.role"}]}`))
	w.cli("iam", "attach-role-policy", "--role-name", "dev.eks-access.role", "--policy-arn",
		"arn:aws:iam::111122223333:policy/dev.eks-access.policy")
	w.cli("iam", "attach-group-policy", "--group-name", "dev.rnd.group", "--policy-arn",
		"arn:aws:iam::111122223333:policy/dev.assume-eks-access-role.policy")
	const role = "arn:aws:iam::111122223333:role/dev.eks-access.role"
	if out, err := w.as("alice", "eks", "get-token", "--cluster-name", "prod", "--role-arn", role); err != nil {
		t.Errorf("by hand: %s", out)
	}
	out, problems, code := w.rolecall(w.aws.URL, groupRoleWords("--apply")...)
	if code != 1 || !strings.Contains(out, `    -  "Condition": {}`) && !strings.Contains(out, `"Condition": {}`) ||
		!strings.Contains(problems, "not made by this command: role dev.eks-access.role, policy dev.eks-access.policy") {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
	if out, problems, code := w.rolecall(w.aws.URL, groupRoleWords("--undo", "--apply")...); code != 0 ||
		!strings.Contains(out, "nothing to do: what is there stays") ||
		!strings.Contains(problems, "note: role dev.eks-access.role was not made by this command: it stays") {
		t.Errorf("exit code %d\n%s%s", code, out, problems)
	}
	if out, err := w.as("alice", "eks", "get-token", "--cluster-name", "prod", "--role-arn", role); err != nil {
		t.Errorf("what was made by hand is gone: %s", out)
	}
}
