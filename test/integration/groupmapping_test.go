package integration_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

const otherAccount = "444455556666"

// groupWorld is a cluster with the controller, and an AWS of two accounts with groups.
type groupWorld struct {
	t        *testing.T
	c        *cluster.Cluster
	objects  dynamic.NamespaceableResourceInterface
	accounts *account.Set
	aws      *httptest.Server
	env      []string // of the controller
}

func newGroupWorld(t *testing.T) *groupWorld {
	t.Helper()
	w := &groupWorld{t: t, c: cluster.Start(t, cluster.Options{})}
	client, err := dynamic.NewForConfig(w.c.Config)
	w.must(err)
	installCRDs(t, client)
	w.objects = client.Resource(rolecallResource("groupmappings"))
	_, err = w.c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-system"},
	}, metav1.CreateOptions{})
	w.must(err)
	_, err = w.c.Client.CoreV1().ServiceAccounts("rolecall-system").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-controller"},
	}, metav1.CreateOptions{})
	w.must(err)
	_, err = w.c.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
	}, metav1.CreateOptions{})
	w.must(err)
	applyGuide(t, w.c, "issuer.md", "rbac")
	applyGuide(t, w.c, "iam-groups.md", "rbac")
	w.startAWS()
	return w
}

func (w *groupWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// startAWS makes the groups, and the controller's user with the guide's permissions.
func (w *groupWorld) startAWS() {
	t := w.t
	var err error
	w.accounts, err = account.NewSet(account.NewMemory(), []string{accountID, otherAccount}, time.Now())
	w.must(err)
	const id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	w.must(w.accounts.Default().Update(func(state account.State) error {
		return errors.Join(
			state.PutUser(&account.User{
				Name: "controller", Path: "/", ID: account.NewUserID(),
				Permissions: account.Permissions{
					Policies: []account.Document{{Name: "guide", Text: guideBlock(t, "iam-groups.md", "iam")}},
				},
			}),
			state.PutKey(&account.AccessKey{
				ID: id, Secret: credential.NewSecret(secret), Account: accountID, User: "controller",
			}),
			state.PutGroup(&account.Group{Name: "dev.rnd.group", Path: "/", ID: account.NewGroupID()}),
			state.PutUser(&account.User{Name: "alice", Path: "/", ID: account.NewUserID(), Groups: []string{"dev.rnd.group"}}),
			state.PutUser(&account.User{Name: "bob", Path: "/rnd/", ID: account.NewUserID(), Groups: []string{"dev.rnd.group"}}),
		)
	}))
	other, _ := w.accounts.Find(otherAccount)
	w.must(other.Update(func(state account.State) error {
		return errors.Join(
			state.PutRole(&account.Role{
				Name: "rolecall-groups", Path: "/", ID: account.NewRoleID(), MaxSession: 3600,
				Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID +
					`:user/controller"},"Action":"sts:AssumeRole"}]}`,
				Permissions: account.Permissions{Policies: []account.Document{{
					Name: "read", Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetGroup","Resource":"*"}]}`,
				}}},
			}),
			state.PutGroup(&account.Group{Name: "ops", Path: "/", ID: account.NewGroupID()}),
			state.PutUser(&account.User{Name: "olga", Path: "/", ID: account.NewUserID(), Groups: []string{"ops"}}),
		)
	}))
	w.aws = httptest.NewServer(localaws.New(localaws.Config{
		Accounts: w.accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler), Faults: true,
	}))
	t.Cleanup(w.aws.Close)
	w.env = []string{
		"AWS_ENDPOINT_URL=" + w.aws.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + id,
		"AWS_SECRET_ACCESS_KEY=" + secret,
	}
}

// cli runs the AWS CLI as an administrator of the account.
func (w *groupWorld) cli(arguments ...string) string {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), "aws", arguments...)
	command.Env = w.adminEnv(w.aws.URL)
	out, err := command.CombinedOutput()
	if err != nil {
		w.t.Fatalf("aws %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

func (w *groupWorld) fault(method, body string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.aws.URL+"/_rolecall/faults", strings.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := w.aws.Client().Do(request)
	w.must(err)
	defer answer.Body.Close()
	if answer.StatusCode > 299 {
		w.t.Fatalf("%s %s: status %d", method, body, answer.StatusCode)
	}
}

func (w *groupWorld) create(text string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	w.must(yaml.Unmarshal([]byte(text), &object.Object))
	object.SetAPIVersion(v1alpha1.GroupVersion.String())
	object.SetKind("GroupMapping")
	_, err := w.objects.Create(w.t.Context(), object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	w.must(err)
}

func (w *groupWorld) get(name string) *v1alpha1.GroupMapping {
	w.t.Helper()
	found, err := w.objects.Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	object := &v1alpha1.GroupMapping{}
	w.must(runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, object))
	return object
}

// members are the names of those who count.
func (w *groupWorld) members(name string) string {
	var names []string
	for _, m := range w.get(name).Status.Members {
		names = append(names, m.ARN[strings.LastIndexByte(m.ARN, '/')+1:])
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (w *groupWorld) until(what string, done func() bool) {
	w.t.Helper()
	poll(w.t, done, func() {
		list, _ := w.objects.List(w.t.Context(), metav1.ListOptions{})
		for i := range list.Items {
			text, _ := yaml.Marshal(list.Items[i].Object["status"])
			w.t.Logf("%s:\n%.3000s", list.Items[i].GetName(), text)
		}
		w.t.Fatal(what)
	})
}

func (w *groupWorld) ready(name string) bool {
	return is(w.get(name).Status.Conditions, "Ready")
}

// login is whom the mappings of the cluster make of an IAM user.
func (w *groupWorld) login(name string) (*access.User, *access.Refusal) {
	w.t.Helper()
	list, err := w.objects.List(w.t.Context(), metav1.ListOptions{})
	w.must(err)
	var all []*v1alpha1.GroupMapping
	for i := range list.Items {
		all = append(all, w.get(list.Items[i].GetName()))
	}
	mappings, problems := objects.GroupMappings(all)
	if len(problems) > 0 {
		w.t.Errorf("%+v", problems)
	}
	var user *account.User
	w.must(w.accounts.Default().View(func(state account.State) (err error) {
		user, err = state.User(name)
		return err
	}))
	arn := "arn:aws:iam::" + accountID + ":user" + user.Path + user.Name
	return access.NewChain(access.Config{}, access.NewTable(access.GroupMapping, mappings)).Resolve(&callerid.Identity{
		Kind: callerid.User, ARN: arn, CanonicalARN: arn, AccountID: accountID, UserID: user.ID,
	}, nil)
}

// TestGroupMapping runs the controller with the permissions of its guide and no others, on
// a real API server, while the AWS CLI changes groups: members count, an outage changes
// nothing, who leaves is out, and an account that is lost touches no other.
func TestGroupMapping(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED: the AWS CLI is not on this machine (%v)", err)
	}
	w := newGroupWorld(t)
	w.create(`{metadata: {name: developers}, spec: {iamGroup: dev.rnd.group, groups: [developers], username: "{{UserName}}"}}`)
	w.create(`{metadata: {name: second}, spec: {iamGroup: DEV.rnd.group, account: "` + accountID + `", groups: [readers]}}`)
	w.create(`{metadata: {name: ops}, spec: {iamGroup: ops, account: "` + otherAccount + `", groups: [ops]}}`)
	w.create(`{metadata: {name: nobody}, spec: {iamGroup: ops, account: "777788889999", groups: [ops]}}`)
	metrics := freeport.Address(t)
	controller := startProgram(
		t, w.env, "serve", "controller", "--kubeconfig", kubeconfigOf(t, w.c, "rolecall-controller"),
		"--metrics-listen", metrics, "--group-mappings", "--group-sync-period", "1s", "--group-account-role",
		otherAccount+"=arn:aws:iam::"+otherAccount+":role/rolecall-groups", "--group-calls-per-second", "50",
	)
	w.until("all members count", func() bool {
		return w.members("developers") == "alice bob" && w.members("second") == "alice bob" &&
			w.members("ops") == "olga" && w.ready("ops")
	})
	if user, refusal := w.login("alice"); refusal != nil || user.Username != "alice" ||
		!slices.Equal(user.Groups, []string{"developers", "readers"}) {
		t.Errorf("alice is %+v, %v", user, refusal)
	}
	w.until("an account without a role says so", func() bool {
		condition := meta.FindStatusCondition(w.get("nobody").Status.Conditions, "Ready")
		return condition != nil && condition.Reason == "AccountNotNamed"
	})
	w.cli("iam", "create-user", "--user-name", "carol")
	w.cli("iam", "add-user-to-group", "--group-name", "dev.rnd.group", "--user-name", "carol")
	w.until("who comes counts", func() bool { return w.members("developers") == "alice bob carol" })

	w.fault("POST", `{"kind":"error","service":"iam","action":"GetGroup"}`)
	w.cli("iam", "remove-user-from-group", "--group-name", "dev.rnd.group", "--user-name", "alice")
	w.cli("iam", "create-user", "--user-name", "dora")
	w.cli("iam", "add-user-to-group", "--group-name", "dev.rnd.group", "--user-name", "dora")
	w.until("the outage is said", func() bool { return !w.ready("developers") && !w.ready("ops") })
	if got := w.members("developers"); got != "alice bob carol" {
		t.Errorf("during an outage %s count", got)
	}
	w.fault("DELETE", "")
	w.until("after the outage all is as IAM says", func() bool {
		return w.members("developers") == "bob carol dora" && w.ready("developers") &&
			w.members("second") == "bob carol dora"
	})
	if user, refusal := w.login("alice"); refusal == nil {
		t.Errorf("alice has left the group and is %+v", user)
	}

	w.fault("POST", `{"kind":"throttle","service":"iam","action":"GetGroup","count":3}`)
	w.until("throttling is over", func() bool { return w.ready("developers") && w.ready("ops") })

	other, _ := w.accounts.Find(otherAccount)
	w.must(other.Update(func(state account.State) error { return state.DeleteRole("rolecall-groups") }))
	w.cli("iam", "remove-user-from-group", "--group-name", "dev.rnd.group", "--user-name", "bob")
	w.until("an account that is lost touches no other", func() bool {
		return w.members("developers") == "carol dora" && w.members("ops") == "olga"
	})
	w.until("Events say it", func() bool {
		events, err := w.c.Client.EventsV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		w.must(err)
		said := map[string]bool{}
		for i := range events.Items {
			said[events.Items[i].Reason] = true
		}
		return said["MembersAdded"] && said["MembersRemoved"] && said["Unavailable"]
	})
	answer := call(t, http.DefaultClient, "GET", "http://"+metrics+"/metrics", "")
	for _, want := range []string{
		`rolecall_group_mapping_members{mapping="developers"} 2`, `rolecall_group_mapping_aws_calls_total{result="OK"}`,
		`rolecall_group_mapping_last_sync_timestamp_seconds{mapping="ops"}`,
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("no metric %s", want)
		}
	}
	if code := controller.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, bad := range []string{"forbidden", "permission missing", "panic", w.env[3]} {
		if log := controller.log.String(); strings.Contains(log, bad) {
			t.Errorf("%q in the log:\n%s", bad, log)
		}
	}
}

// TestLargestGroup: as many members as there may be, with long names, fit into what a real
// API server stores; of one more nothing follows.
func TestLargestGroup(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t)
	const most = 5000
	add := func(from, to int) {
		w.must(w.accounts.Default().Update(func(state account.State) error {
			var all []error
			for i := range to - from {
				all = append(all, state.PutUser(&account.User{
					Name: fmt.Sprintf("%s%05d", strings.Repeat("n", 50), from+i), Path: "/of/a/long/path/of/an/organisation/",
					ID: account.NewUserID(), Groups: []string{"dev.rnd.group"},
				}))
			}
			return errors.Join(all...)
		}))
	}
	add(0, most-2) // beside alice and bob
	w.create(`{metadata: {name: developers}, spec: {iamGroup: dev.rnd.group, groups: [developers]}}`)
	startProgram(
		t, w.env, "serve", "controller", "--kubeconfig", kubeconfigOf(t, w.c, "rolecall-controller"),
		"--metrics-listen", freeport.Address(t), "--group-mappings", "--group-sync-period", "2s",
		"--group-calls-per-second", "50",
	)
	w.until("all of them count", func() bool { return w.get("developers").Status.MemberCount == most })
	add(most, most+1)
	w.until("one more is too many", func() bool {
		condition := meta.FindStatusCondition(w.get("developers").Status.Conditions, "Ready")
		return condition != nil && condition.Reason == "TooManyMembers"
	})
	if got := len(w.get("developers").Status.Members); got != most {
		t.Errorf("%d members count", got)
	}
}
