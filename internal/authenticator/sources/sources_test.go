package sources_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/authenticator/sources"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// world is a Set, and what it says.
type world struct {
	*sources.Set
	*lockedbuffer.Buffer
	t *testing.T
}

func newWorld(t *testing.T, objects bool, backends ...access.Source) *world {
	t.Helper()
	metrics, err := authenticator.Register(prometheus.NewRegistry(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Buffer: &lockedbuffer.Buffer{}, t: t}
	w.Set = sources.New(sources.Config{
		Backends: backends, Objects: objects, Metrics: metrics, Now: time.Now,
		Log:   slog.New(slog.NewTextHandler(w.Buffer, nil)),
		Names: func(context.Context, string) (string, error) { return "", errors.New("no names") },
	})
	return w
}

// run runs until the test ends, or stop is called.
func (w *world) run(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	return stop
}

const account = "111122223333"

// role is who STS says that a session of a role is.
func role(name string) *callerid.Identity {
	return &callerid.Identity{
		Kind: callerid.AssumedRole, ARN: "arn:aws:sts::" + account + ":assumed-role/" + name + "/s",
		CanonicalARN: "arn:aws:iam::" + account + ":role/" + name, AccountID: account, UserID: "AROA" + strings.ToUpper(name) + "0000000000",
		SessionName: "s",
	}
}

// is is the user that a role is; the reason if it is not one.
func (w *world) is(name string) string {
	user, refused := w.Resolve(w.t.Context(), role(name))
	if refused != nil {
		return "-" + string(refused.Reason)
	}
	return user.Username
}

// until waits for a role to be somebody.
func (w *world) until(name, want string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); w.is(name) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s is %s, want %s\n%s", name, w.is(name), want, w)
		}
	}
}

func (w *world) untilSaid(text string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("nobody says %q\n%s", text, w)
		}
	}
}

func roles(names ...string) string {
	text := ""
	for _, name := range names {
		text += "- {rolearn: arn:aws:iam::" + account + ":role/" + name + ", username: " + name + "-user, groups: [g]}\n"
	}
	return text
}

func configMap(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-auth"}, Data: data}
}

// TestLastGood: of each key of aws-auth what was last good counts, over a restart too; the
// other keys go on; what was deleted is gone (spec authenticator rows M19, M33).
func TestLastGood(t *testing.T) {
	t.Parallel()
	file, client := filepath.Join(t.TempDir(), "aws-auth.json"), fake.NewClientset()
	maps := client.CoreV1().ConfigMaps("kube-system")
	if _, err := maps.Create(t.Context(), configMap(map[string]string{"mapRoles": roles("a", "b")}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	put := func(data map[string]string) {
		t.Helper()
		if _, err := maps.Update(t.Context(), configMap(data), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, false, access.EKSConfigMap)
	if err := w.Unready(); err == nil || w.is("a") != "-not_mapped" {
		t.Errorf("before the cluster is read: %v, %s", err, w.is("a"))
	}
	stop := w.run(w.ConfigMap(client, nil, file).Run)
	w.until("a", "a-user")
	if err := w.Unready(); err != nil {
		t.Error(err)
	}
	broken := "- rolearn: arn:aws:iam::" + account + ":role/a\n  username: {{SessionName}}\n"
	put(map[string]string{"mapRoles": broken, "mapAccounts": `["444455556666"]`})
	w.untilSaid("what it said before counts")
	if w.is("a") != "a-user" || w.is("b") != "b-user" {
		t.Error("what was good no longer counts")
	}
	stop()
	again := newWorld(t, false, access.EKSConfigMap)
	one := again.ConfigMap(client, nil, file)
	if again.is("a") != "a-user" {
		t.Error("what was good before the restart does not count until the cluster is read")
	}
	again.run(one.Run)
	again.untilSaid("what it said before counts")
	if again.is("a") != "a-user" || again.is("b") != "b-user" {
		t.Error("what was good before the restart no longer counts")
	}
	put(map[string]string{"mapRoles": roles("b") + "- {rolearn: nonsense, username: x}\n"})
	again.until("a", "-not_mapped")
	if again.is("b") != "b-user" {
		t.Error("one bad entry takes others with it")
	}
	put(map[string]string{})
	again.until("b", "-not_mapped")
	put(map[string]string{"mapRoles": roles("a")})
	again.until("a", "a-user")
	if err := maps.Delete(t.Context(), "aws-auth", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again.until("a", "-not_mapped")
	third := newWorld(t, false, access.EKSConfigMap)
	third.ConfigMap(client, nil, file)
	if third.is("a") != "-not_mapped" {
		t.Error("what was deleted counts after a restart")
	}
}

// TestOnlyAWSAuth: no other ConfigMap maps anybody, even if an API server sends it.
func TestOnlyAWSAuth(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	w := newWorld(t, false, access.EKSConfigMap)
	w.run(w.ConfigMap(client, nil, "").Run)
	w.untilSaid("there is no ConfigMap aws-auth")
	other := configMap(map[string]string{"mapRoles": roles("a")})
	other.Name = "aws-auth2"
	if _, err := client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	right := configMap(map[string]string{"mapRoles": roles("b")})
	if _, err := client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), right, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("b", "b-user")
	if got := w.is("a"); got != "-not_mapped" {
		t.Errorf("another ConfigMap makes a %s", got)
	}
}

// TestAnotherConfigMap: what one object said does not count for another of its name, not
// after a restart either.
func TestAnotherConfigMap(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "aws-auth.json")
	first := configMap(map[string]string{"mapRoles": roles("a")})
	first.UID = "1"
	w := newWorld(t, false, access.EKSConfigMap)
	stop := w.run(w.ConfigMap(fake.NewClientset(first), nil, file).Run)
	w.until("a", "a-user")
	stop()

	broken := configMap(map[string]string{"mapRoles": "- {rolearn: ["})
	broken.UID = "1"
	w = newWorld(t, false, access.EKSConfigMap)
	stop = w.run(w.ConfigMap(fake.NewClientset(broken), nil, file).Run)
	w.untilSaid("cannot be read")
	w.until("a", "a-user") // it is the object that was good before
	stop()

	broken.UID = "2"
	w = newWorld(t, false, access.EKSConfigMap)
	w.run(w.ConfigMap(fake.NewClientset(broken), nil, file).Run)
	w.untilSaid("cannot be read")
	w.until("a", "-not_mapped")
}

// TestNearestIsTold: a refusal names what is nearly right, in entries that count and in
// those that do not.
func TestNearestIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, access.EKSConfigMap)
	w.run(w.ConfigMap(fake.NewClientset(configMap(map[string]string{
		"mapRoles": "- {rolearn: arn:aws:iam::999999999999:role/a, username: a}\n" +
			"- {rolearn: arn:aws:iam::" + account + ":role/b, username: ''}\n" + roles("c"),
	})), nil, "").Run)
	w.until("c", "c-user")
	for name, want := range map[string]string{"a": "999999999999", "b": "username"} {
		_, refused := w.Resolve(t.Context(), role(name))
		if refused == nil || !strings.Contains(strings.Join(refused.Hints, "\n"), want) {
			t.Errorf("%s: %+v, want a hint with %q", name, refused, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

// TestMountedFile: at the start an entry that is not valid is an error; later what was
// before counts.
func TestMountedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	config := func(list string) string {
		return "server:\n  mapRoles:\n  " + strings.ReplaceAll(list, "\n", "\n  ") + "\n"
	}
	for _, bad := range []string{config("- {rolearn: x, username: a}"), "server: [", config("- {username: a}"), "server:\n  mapRoles: x\n"} {
		write(t, path, bad)
		if _, err := newWorld(t, false, access.MountedFile).MountedFile(path); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	write(t, path, config(roles("a")))
	w := newWorld(t, false, access.MountedFile)
	run, err := w.MountedFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if w.is("a") != "a-user" || w.Unready() != nil {
		t.Errorf("%s, %v", w.is("a"), w.Unready())
	}
	w.run(run)
	write(t, path, config(roles("b")+"- {rolearn: x, username: a}"))
	w.untilSaid("what it said before counts")
	if w.is("a") != "a-user" || w.is("b") != "-not_mapped" {
		t.Error("a file with a bad entry counts")
	}
	write(t, path, config(roles("b")))
	w.until("b", "b-user")
	if w.is("a") != "-not_mapped" {
		t.Error("who was taken out still enters")
	}
	none := newWorld(t, false, access.MountedFile)
	if _, err := none.MountedFile(""); err != nil || none.Unready() != nil {
		t.Errorf("without a file: %v %v", err, none.Unready())
	}
}

func dynamicText(names ...string) string {
	var entries []string
	for _, name := range names {
		entries = append(entries, fmt.Sprintf(`{"rolearn":"arn:aws:iam::%s:role/%s","username":"%s-user","userid":"AROA%s0000000000"}`,
			account, name, name, strings.ToUpper(name)))
	}
	return `{"LastUpdatedDateTime":"1700000000","Version":"1","ClusterId":"x","mapRoles":[` + strings.Join(entries, ",") + `]}`
}

// TestDynamicFile: one bad entry keeps what was before, over a restart too; a file that
// comes later is taken, one that is deleted maps nobody (spec authenticator row M31).
func TestDynamicFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "dynamic.json"), filepath.Join(dir, "kept.json")
	w := newWorld(t, false, access.DynamicFile)
	stop := w.run(w.DynamicFile(path, false, kept))
	if w.is("a") != "-not_mapped" {
		t.Error(w.is("a"))
	}
	write(t, path, dynamicText("a"))
	w.until("a", "a-user")
	for i, bad := range []string{`{"mapRoles":[{"rolearn":"x","username":"y"}]}`, `{`, dynamicText("b") + "x"} {
		write(t, path, bad+strings.Repeat(" ", i))
		for end := time.Now().Add(20 * time.Second); strings.Count(w.String(), "dynamic file not read") != i+1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q is not refused\n%s", bad, w)
			}
		}
		if w.is("a") != "a-user" {
			t.Errorf("after %q a is %s", bad, w.is("a"))
		}
	}
	stop()
	again := newWorld(t, false, access.DynamicFile)
	run := again.DynamicFile(path, false, kept)
	if again.is("a") != "a-user" {
		t.Error("what was good before the restart does not count")
	}
	again.run(run)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again.until("a", "-not_mapped")
	third := newWorld(t, false, access.DynamicFile)
	third.DynamicFile(path, false, kept)
	if third.is("a") != "-not_mapped" {
		t.Error("what was deleted counts after a restart")
	}
}

// TestBackendMode: a file says which sources count; what it cannot mean changes nothing.
func TestBackendMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mode, config, dynamic := filepath.Join(dir, "mode.json"), filepath.Join(dir, "config.yaml"), filepath.Join(dir, "dynamic.json")
	write(t, config, "server:\n  mapRoles:\n  - {rolearn: 'arn:aws:iam::"+account+":role/a', username: mounted}\n")
	write(t, dynamic, dynamicText("a"))
	w := newWorld(t, false, access.MountedFile)
	if _, err := w.MountedFile(config); err != nil {
		t.Fatal(err)
	}
	w.DynamicFile(dynamic, false, "")
	w.run(w.BackendMode(mode, []access.Source{access.MountedFile}, []access.Source{access.MountedFile, access.DynamicFile}))
	w.until("a", "mounted")
	write(t, mode, `{"LastUpdatedDateTime":"1700000000","Version":"1","backendMode":"DynamicFile MountedFile"}`)
	w.until("a", "a-user")
	for i, bad := range []string{`{"backendMode":"CRD"}`, `{"backendMode":""}`, `{"backendMode":"Nonsense"}`, `[]`} {
		write(t, mode, bad)
		for end := time.Now().Add(20 * time.Second); strings.Count(w.String(), "backend modes not read") != i+1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q is not refused\n%s", bad, w)
			}
		}
		if w.is("a") != "a-user" {
			t.Errorf("after %q a is %s", bad, w.is("a"))
		}
	}
	if err := os.Remove(mode); err != nil {
		t.Fatal(err)
	}
	w.until("a", "mounted")
}

func dynamicClient(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		v1alpha1.GroupVersion.WithResource("accessentries"):    "AccessEntryList",
		v1alpha1.GroupVersion.WithResource("identitymappings"): "IdentityMappingList",
		v1alpha1.GroupVersion.WithResource("groupmappings"):    "GroupMappingList",
		sources.PeerKind: "IAMIdentityMappingList",
	}, objects...)
}

func object(kind, name string, spec map[string]any, status map[string]any) *unstructured.Unstructured {
	version := v1alpha1.GroupVersion.String()
	if kind == "IAMIdentityMapping" {
		version = "iamauthenticator.k8s.aws/v1alpha1"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec, "status": status,
	}}
}

// follow runs all kinds.
func (w *world) follow(client dynamic.Interface, optional bool) {
	for _, one := range []sources.Follower{
		w.AccessEntries(client, optional), w.IdentityMappings(client, optional), w.GroupMappings(client, optional),
		w.PeerMappings(client),
	} {
		w.run(one.Run)
	}
}

// TestObjects: entries count before mappings, those before the peer's; what the peer's
// status says does not count (spec authenticator row M32); changes count without a restart.
func TestObjects(t *testing.T) {
	t.Parallel()
	arn := func(name string) string { return "arn:aws:iam::" + account + ":role/" + name }
	client := dynamicClient(
		object("IAMIdentityMapping", "a", map[string]any{"arn": arn("a"), "username": "peer"}, nil),
		object("IAMIdentityMapping", "forged", map[string]any{"arn": arn("somebody"), "username": "admin"},
			map[string]any{"canonicalARN": arn("forger"), "userID": role("forger").UserID}),
		object("IAMIdentityMapping", "broken", map[string]any{"arn": int64(1), "username": "x"}, nil),
		object("IdentityMapping", "b", map[string]any{"principal": map[string]any{"arn": arn("b")}, "username": "ours"}, nil),
		object("GroupMapping", "g", map[string]any{"iamGroup": "devs", "groups": []any{"dev"}}, map[string]any{"members": []any{
			map[string]any{"userID": "AIDAMEMBER0000000000", "arn": "arn:aws:iam::" + account + ":user/member"},
		}}),
	)
	w := newWorld(t, true, access.CRD)
	w.follow(client, false)
	w.until("a", "peer")
	w.until("b", "ours")
	member := &callerid.Identity{
		Kind: callerid.User, ARN: "arn:aws:iam::" + account + ":user/member", AccountID: account,
		CanonicalARN: "arn:aws:iam::" + account + ":user/member", UserID: "AIDAMEMBER0000000000",
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		user, refused := w.Resolve(t.Context(), member)
		if refused == nil && user.Username == "member" && slices.Equal(user.Groups, []string{"dev"}) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the member is %v, %v\n%s", user, refused, w)
		}
	}
	for end := time.Now().Add(20 * time.Second); w.Unready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(w.Unready())
		}
	}
	if got := w.is("forger"); got != "-not_mapped" {
		t.Errorf("who is only in a status is %s", got)
	}
	if !strings.Contains(w.String(), "IAMIdentityMapping broken") {
		t.Errorf("nothing is said of an object that is not one\n%s", w)
	}
	mappings := client.Resource(v1alpha1.GroupVersion.WithResource("identitymappings"))
	if _, err := mappings.Create(t.Context(),
		object("IdentityMapping", "a", map[string]any{"principal": map[string]any{"arn": arn("a")}, "username": "ours"}, nil),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("a", "ours")
	if err := mappings.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.until("a", "peer")
}

// TestKindsThatAreNotThere: a kind that the operator asked for keeps the server from being
// ready and is named; others serve. Kinds that are only looked for are none.
func TestKindsThatAreNotThere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		err      func(gvr schema.GroupResource) error
		optional bool
		unready  string
	}{
		{"no definition", func(r schema.GroupResource) error { return apierrors.NewNotFound(r, "") }, true, "CRD is not read yet: the cluster has no iamidentitymappings.iamauthenticator.k8s.aws"},
		{"no definition of ours", func(r schema.GroupResource) error { return apierrors.NewNotFound(r, "") }, false, "AccessEntry is not read yet: the cluster has no accessentries.rolecall.io"},
		{"not permitted", func(r schema.GroupResource) error { return apierrors.NewForbidden(r, "", errors.New("no")) }, true, "may not be listed and watched"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client := dynamicClient(object("IdentityMapping", "b",
				map[string]any{"principal": map[string]any{"arn": "arn:aws:iam::" + account + ":role/b"}, "username": "ours"}, nil))
			fail := func(action clienttesting.Action) error {
				if resource := action.GetResource(); resource.Resource != "identitymappings" {
					return row.err(resource.GroupResource())
				}
				return nil
			}
			client.PrependReactor("list", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
				err := fail(action)
				return err != nil, nil, err
			})
			w := newWorld(t, true, access.CRD)
			w.follow(client, row.optional)
			w.until("b", "ours")
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				err := w.Unready()
				if err != nil && strings.Contains(err.Error(), row.unready) &&
					(!row.optional || !strings.Contains(err.Error(), "AccessEntry")) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%v, want %s", err, row.unready)
				}
			}
		})
	}
}
