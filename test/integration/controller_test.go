package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestController runs the command on two API servers: it publishes, says so, and
// walks a rotation, to a key of another kind, while the test does nothing but copy
// the Secret to the API servers' files when the phase says so. STS accepts tokens
// of both keys.
func TestController(t *testing.T) {
	t.Parallel()
	f := newController(t, "", "every: 999h, cacheFor: 1s, drainFor: 1s")
	f.newAccounts(t)
	f.trust(t, rotatingURL)
	f.start(t)
	c, issuers := f.Cluster, f.issuers
	untilPhase := func(phase v1alpha1.Phase) *v1alpha1.Issuer { return untilPhase(t, issuers, phase) }
	f.until(t, "the key is known", func(object *v1alpha1.Issuer) bool {
		return len(object.Status.Keys) == 1 && object.Status.Keys[0].Role == "signing"
	})
	sts, _ := f.sts(t, time.Now)
	f.exchange(t, sts, "RS256")
	f.patch(t, `{"spec":{"rotation":{"keyKind":"P-256","every":"1s"}}}`)
	old := untilPhase(v1alpha1.Verifying)
	f.publishes(t, map[string]string{old.Status.Rotation.OldKID: "RS256", old.Status.Rotation.NewKID: "ES256"})
	if old.Status.PublishedAt == nil || old.Status.VerifiedAt == nil || len(old.Status.Keys) != 2 {
		t.Errorf("status %+v", old.Status)
	}
	f.statusShows(
		t, "phase Verifying", "keys from "+old.Status.Rotation.OldKID+" to "+old.Status.Rotation.NewKID,
		"next step Signing, not yet: wait until API server", "Published True",
	)
	f.copySecret(t, false, 2)
	f.rollQuietly(t)
	untilPhase(v1alpha1.Signing)
	f.copySecret(t, true, 2)
	f.rollQuietly(t)
	if kid := f.exchange(t, sts, "ES256"); kid != old.Status.Rotation.NewKID {
		t.Errorf("tokens are signed by %s, want %s", kid, old.Status.Rotation.NewKID)
	}
	retiring := untilPhase(v1alpha1.Retiring)
	// Another rotation would begin at once: this one is enough.
	patch := []byte(`{"spec":{"rotation":{"every":"999h"}}}`)
	if _, err := issuers.Patch(
		t.Context(), "c1", "application/merge-patch+json", patch, metav1.PatchOptions{},
	); err != nil {
		t.Fatal(err)
	}
	f.copySecret(t, true, 1)
	f.rollQuietly(t)
	untilPhase(v1alpha1.Stable)
	kids := untilOnly(t, f.fireground, retiring.Status.Rotation.NewKID)
	if kids[0] == old.Status.Rotation.OldKID {
		t.Errorf("published %q after the rotation from %s", kids, old.Status.Rotation.OldKID)
	}
	for _, probe := range []string{"/healthz", "/readyz"} {
		if answer := call(t, f.web.Client(), "GET", "http://"+f.metrics+probe, ""); answer != "ok\n" {
			t.Errorf("%s: %s", probe, answer)
		}
	}
	answer := call(t, f.web.Client(), "GET", "http://"+f.metrics+"/metrics", "")
	for _, name := range []string{
		"rolecall_issuer_key_age_seconds{", "rolecall_issuer_last_publish_timestamp_seconds{",
		"rolecall_issuer_last_successful_verification_timestamp_seconds{", "controller_runtime_reconcile_total{",
	} {
		if !strings.Contains(answer, name) {
			t.Errorf("no metric %s", name)
		}
	}
	if _, err := c.APIServers[0].Client.CoordinationV1().Leases("default").Get(
		t.Context(), "rolecall-controller", metav1.GetOptions{},
	); err != nil {
		t.Errorf("nobody leads by a Lease: %v", err)
	}
	events, err := c.APIServers[0].Client.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(events.Items) == 0 {
		t.Errorf("no Events: %v", err)
	}
}

// exchange shows STS a fresh token, and wants it signed by an algorithm; it returns
// the key's id.
func (f *fireground) exchange(t *testing.T, sts, algorithm string) (kid string) {
	t.Helper()
	held := f.token(t)
	decoded, err := token.Decode(held.raw)
	if err != nil || decoded.Header.Algorithm != algorithm {
		t.Errorf("a token is signed by %+v, want %s: %v", decoded.Header, algorithm, err)
	}
	if err := assume(t.Context(), sts, held.raw); err != nil {
		t.Errorf("STS does not accept a token signed by %s: %v", algorithm, err)
	}
	return held.kid
}

// publishes wants keys published, by algorithm, and no others.
func (f *fireground) publishes(t *testing.T, want map[string]string) {
	t.Helper()
	_, document := observe.NewReader(observe.Access{
		Endpoints: f.access.Endpoints,
		RootCAs:   f.access.RootCAs,
	}).Read(t.Context(), rotatingURL)
	keys, err := token.ReadJWKS(document.Text)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, key := range keys {
		got[key.ID] = key.Algorithm()
	}
	if !maps.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
}

// controlled is a ground on which the controller walks rotations of the Issuer c1.
type controlled struct {
	*fireground
	issuers dynamic.ResourceInterface
	web     *httptest.Server
	metrics string
	// kubeconfig's address stays while API servers are restarted.
	kubeconfig string
}

// newController makes the Issuer, with more of its spec and of its rotation.
func newController(t *testing.T, more, rotation string) *controlled {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Issuer: rotatingURL, APIServers: 2})
	f := &fireground{Cluster: c, dir: t.TempDir(), mux: &swapped{}}
	f.documents = filepath.Join(f.dir, "www")
	f.trustAPIServers(t)
	first, second := forward(t, func() []string { return []string{host(c, 0)} }), forward(
		t, func() []string { return []string{host(c, 1)} },
	)
	any := forward(t, func() []string { return []string{host(c, 0), host(c, 1)} })
	config, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(
		c.Kubeconfig, []byte(strings.ReplaceAll(string(config), host(c, 0), any)), 0o600,
	); err != nil {
		t.Fatal(err)
	}
	stable := *c.Config
	stable.Host, stable.CAFile = "https://"+any, filepath.Join(f.dir, "api-ca.pem")
	objects, err := dynamic.NewForConfig(&stable)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, objects)
	if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	authority, server := serveTLS(t, f.mux, rotatingHost)
	ca := filepath.Join(f.dir, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.access.Endpoints, f.access.RootCAs = map[string]string{
		rotatingHost: server.Listener.Addr().String(),
	}, authority.Pool()
	f.mux.handle("/c1/", lazyFiles(f.documents))
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: rolecall.io/v1alpha1
kind: Issuer
metadata: {name: c1}
spec:
  url: `+rotatingURL+`
  apiServers: ["https://`+first+`", "https://`+second+`"]
  publish: {directory: {path: `+f.documents+`}}
`+more+`
  rotation: {`+rotation+`, secret: {namespace: default, name: keys}}
`), &object.Object); err != nil {
		t.Fatal(err)
	}
	issuers := objects.Resource(rolecallResource("issuers"))
	if _, err := issuers.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	f.flags = []string{"--issuer-endpoint", rotatingHost + "=" + server.Listener.Addr().String(), "--issuer-ca", ca}
	return &controlled{
		fireground: f,
		issuers:    issuers,
		web:        server,
		metrics:    freeport.Address(t),
		kubeconfig: c.Kubeconfig,
	}
}

// start runs the command until the test ends, in a process of its own if that
// has an environment.
func (f *controlled) start(t *testing.T) {
	t.Helper()
	stderr := &lockedbuffer.Buffer{}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	args := append(
		[]string{
			"serve", "controller", "--kubeconfig", f.kubeconfig, "--metrics-listen", f.metrics, "--every",
			"200ms", "--leader-election-namespace", "default",
		},
		f.flags...)
	go func() {
		defer close(ended)
		if f.env != nil {
			if code, err := runCommand(ctx, f.env, stderr, stderr, args...); code != 0 || err != nil {
				t.Errorf("serve controller: exit code %d, %v", code, err)
			}
			return
		}
		system := app.NewSystem()
		system.Stderr = stderr
		_ = app.Run(ctx, system, args)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Log(stderr)
		}
	})
}

// statusShows asks as an operator would, by a table and for programs.
func (f *controlled) statusShows(t *testing.T, lines ...string) {
	t.Helper()
	for _, format := range []string{"table", "json"} {
		output := &lockedbuffer.Buffer{}
		system := app.NewSystem()
		system.Stdout, system.Stderr = output, output
		if code := app.Run(t.Context(), system, []string{
			"issuer", "rotate", "status", "--kubeconfig", f.kubeconfig, "--issuer", "c1", "-o", format,
		}); code != 0 {
			t.Fatalf("exit %d: %s", code, output)
		}
		if format == "json" {
			var report struct {
				State struct{ Phase string }
				Gate  struct{ Waiting []string }
			}
			if err := json.Unmarshal([]byte(output.String()), &report); err != nil ||
				!strings.Contains(lines[0], report.State.Phase) ||
				len(report.Gate.Waiting) == 0 {
				t.Errorf("%v: %s", err, output)
			}
			continue
		}
		for _, line := range lines {
			if !strings.Contains(strings.Join(strings.Fields(output.String()), " "), line) {
				t.Errorf("want %q:\n%s", line, output)
			}
		}
	}
}

func host(c *cluster.Cluster, i int) string {
	addressLock.Lock()
	defer addressLock.Unlock()
	return strings.TrimPrefix(c.APIServers[i].Config.Host, "https://")
}

// addressLock guards addresses that a restart changes while they are used.
var addressLock sync.Mutex

// forward listens at one address until what the test starts later has ended, and
// sends each connection to the first target that takes it, as a load balancer would.
func forward(t *testing.T, targets func() []string) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	ctx, cut := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { _ = listener.Close(); cut(); open.Wait() })
	open.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { splice(ctx, connection, targets()) })
		}
	})
	return listener.Addr().String()
}

func splice(ctx context.Context, connection net.Conn, targets []string) {
	defer func() { _ = connection.Close() }()
	for _, target := range targets {
		var dialer net.Dialer
		other, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = other.Close(); _ = connection.Close() })
		defer stop()
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(other, connection); _ = other.Close() })
		both.Go(func() { _, _ = io.Copy(connection, other); _ = connection.Close() })
		both.Wait()
		return
	}
}

// copySecret does what a person or a DaemonSet does on every node, as soon as
// the Secret is that of the phase: it accepts so many keys.
func (f *fireground) copySecret(t *testing.T, signs bool, accepts int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var secret *corev1.Secret
	for {
		var err error
		if secret, err = f.APIServers[0].Client.CoreV1().Secrets("default").Get(
			ctx, "keys", metav1.GetOptions{},
		); err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(secret.Data["sa.pub"]), "BEGIN") == accepts && (secret.Data["sa.key"] != nil) == signs {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	var err error
	signing := secret.Data["sa.key"]
	if signing == nil { // the old one goes on signing
		if signing, err = os.ReadFile(f.KeyFile); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(f.dir, "sa.key"), signing, 0o600),
		os.WriteFile(filepath.Join(f.dir, "sa.pub"), secret.Data["sa.pub"], 0o600),
	); err != nil {
		t.Fatal(err)
	}
}

// rollQuietly restarts the API servers one by one.
func (f *fireground) rollQuietly(t *testing.T) {
	t.Helper()
	for _, server := range f.APIServers {
		f.Stop(server)
		next := *server
		f.Restart(t, &next, f.tokens())
		addressLock.Lock()
		*server = next
		addressLock.Unlock()
	}
}

func untilPhase(t *testing.T, issuers dynamic.ResourceInterface, phase v1alpha1.Phase) *v1alpha1.Issuer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var object v1alpha1.Issuer
	for {
		// An API server that is being restarted answers nothing: ask again.
		if got, err := issuers.Get(ctx, "c1", metav1.GetOptions{}); err == nil {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, &object); err != nil {
				t.Fatal(err)
			}
			if object.Status.Rotation != nil && object.Status.Rotation.Phase == phase {
				return &object
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not in phase %s: %+v, %+v", phase, object.Status.Rotation, object.Status.Conditions)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// untilOnly waits until nothing but one key is published.
func untilOnly(t *testing.T, f *fireground, kid string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		kids := f.published(t)
		if len(kids) == 1 && kids[0] == kid {
			return kids
		}
		select {
		case <-ctx.Done():
			t.Fatalf("published %q, want only %s", kids, kid)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
