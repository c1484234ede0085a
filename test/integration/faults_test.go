package integration_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/hungpeer"
)

// hangingAPI passes on to an API server all but what watches of some resources say:
// their streams stay open, and nothing comes.
type hangingAPI struct {
	mu   sync.Mutex
	hung map[string]bool
}

// behindHangingAPI rewrites a kubeconfig to reach the API server through one.
func behindHangingAPI(t *testing.T, c *cluster.Cluster, kubeconfig string) *hangingAPI {
	t.Helper()
	h := &hangingAPI{hung: map[string]bool{}}
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(c.Config)) // the caller's token is passed on
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Get("watch") != "" {
				r.Body = &hanging{ReadCloser: r.Body, api: h, resource: path.Base(r.Request.URL.Path), request: r.Request}
			}
			return nil
		},
	}
	server := httptest.NewUnstartedServer(proxy)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, reached := range config.Clusters {
		reached.Server, reached.CertificateAuthority, reached.InsecureSkipTLSVerify = server.URL, "", false
		reached.CertificateAuthorityData = pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw},
		)
	}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return h
}

// hang has the watches of a resource hang: those that there are, and those to come.
func (h *hangingAPI) hang(resource string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hung[resource] = true
}

func (h *hangingAPI) hangs(resource string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hung[resource]
}

// hanging is what a watch says.
type hanging struct {
	io.ReadCloser
	api      *hangingAPI
	resource string
	request  *http.Request
}

// Read keeps what comes while its watch hangs.
func (h *hanging) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if h.api.hangs(h.resource) {
		<-h.request.Context().Done()
		return 0, io.EOF
	}
	return n, err
}

// give writes a RoleGrant of all roles to accounts of a namespace.
func give(t *testing.T, objects dynamic.Interface, name, namespace, account string) {
	t.Helper()
	subject := map[string]any{"namespace": namespace, "serviceAccount": account}
	if _, err := objects.Resource(rolecallResource("rolegrants")).Create(t.Context(), &unstructured.Unstructured{
		Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1",
			"kind":       "RoleGrant",
			"metadata":   map[string]any{"name": name},
			"spec":       map[string]any{"subjects": []any{subject}, "roles": []any{"*"}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// undefine deletes the definition of a kind of ours, and calls a function until it is gone.
func undefine(t *testing.T, objects dynamic.Interface, resource string, meanwhile func()) {
	t.Helper()
	definitions, name := objects.Resource(definitionsResource), resource+".rolecall.io"
	if err := definitions.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		meanwhile()
		_, err := definitions.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for { // nor does the API server serve it any more
		meanwhile()
		_, err := objects.Resource(rolecallResource(resource)).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// brokerFault is what is taken away from a pod's token, and what its broker says then.
type brokerFault struct {
	name, resource, watch string
	verify                string
	change                func(ctx context.Context, w *brokerWorld, pod *corev1.Pod) error
	code, message         string
}

func brokerFaults() []brokerFault {
	deletePod := func(ctx context.Context, w *brokerWorld, pod *corev1.Pod) error {
		now := int64(0)
		return w.c.Client.CoreV1().Pods("shop").Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	}
	deleteAccount := func(ctx context.Context, w *brokerWorld, _ *corev1.Pod) error {
		return w.c.Client.CoreV1().ServiceAccounts("shop").Delete(ctx, "cart-federated", metav1.DeleteOptions{})
	}
	grants := func(w *brokerWorld) dynamic.ResourceInterface {
		return w.objects.Resource(rolecallResource("rolegrants"))
	}
	patch := func(
		ctx context.Context, objects dynamic.ResourceInterface, name, text string,
	) error {
		_, err := objects.Patch(ctx, name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	return []brokerFault{
		{"a pod deleted", "pods", "pods", "auto", deletePod, "InvalidTokenException", ""},
		{"a pod deleted, by keys", "pods", "pods", "jwks", deletePod, "InvalidTokenException", "its pod no longer exists"},
		{"an account deleted", "serviceaccounts", "service accounts", "auto", deleteAccount, "InvalidTokenException", ""},
		{
			"an account deleted, by keys", "serviceaccounts", "service accounts", "jwks", deleteAccount,
			"InvalidTokenException", "its service account no longer exists",
		},
		{
			"an association deleted", "podidentityassociations", "PodIdentityAssociations", "auto",
			func(ctx context.Context, w *brokerWorld, _ *corev1.Pod) error {
				return w.associations().Delete(ctx, "cart-federated", metav1.DeleteOptions{})
			},
			"ResourceNotFoundException", "",
		},
		{
			"an association paused", "podidentityassociations", "PodIdentityAssociations", "jwks",
			func(ctx context.Context, w *brokerWorld, _ *corev1.Pod) error {
				return patch(ctx, w.associations(), "cart-federated", `{"spec":{"paused":true}}`)
			},
			"AccessDeniedException", "paused",
		},
		{
			"a grant deleted", "rolegrants", "RoleGrants", "jwks",
			func(ctx context.Context, w *brokerWorld, _ *corev1.Pod) error {
				return grants(w).Delete(ctx, "shop", metav1.DeleteOptions{})
			},
			"AccessDeniedException", "not granted",
		},
		{
			"a grant narrowed", "rolegrants", "RoleGrants", "auto",
			func(ctx context.Context, w *brokerWorld, _ *corev1.Pod) error {
				return patch(ctx, grants(w), "shop", `{"spec":{"subjects":[{"namespace":"shop","serviceAccount":"other"}]}}`)
			},
			"AccessDeniedException", "not granted",
		},
	}
}

// faulty prepares a pod that gets sessions, and returns what brings the world back.
func (w *brokerWorld) faulty(name string) (pod *corev1.Pod, raw string, restore func()) {
	w.t.Helper()
	t, ctx := w.t, w.t.Context()
	give(t, w.objects, "shop", "shop", "*")
	give(t, w.objects, "others", "others", "*")
	w.limited = kubeconfigOf(t, w.c, "rolecall-broker")
	w.associate("cart-federated", "")
	pod = w.pod("shop", name, "cart-federated", "n1")
	return pod, w.token(pod, "pods.eks.amazonaws.com"), func() {
		accounts := w.c.Client.CoreV1().ServiceAccounts("shop")
		if _, err := accounts.Get(ctx, "cart-federated", metav1.GetOptions{}); apierrors.IsNotFound(err) {
			w.must(accounts.Create(ctx, &corev1.ServiceAccount{
				ObjectMeta: metav1.ObjectMeta{Name: "cart-federated"},
			}, metav1.CreateOptions{}))
		}
		for _, grant := range []string{"shop", "others"} {
			_ = w.objects.Resource(rolecallResource("rolegrants")).Delete(ctx, grant, metav1.DeleteOptions{})
		}
		_ = w.associations().Delete(ctx, "cart-federated", metav1.DeleteOptions{})
	}
}

// TestBrokerWatchHangs: when nothing comes over a watch although it stays open, and
// everything else is answered, what was taken away gives no session after the minute.
func TestBrokerWatchHangs(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	for i, row := range brokerFaults() {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			pod, raw, restore := w.faulty(fmt.Sprint("hung-", i))
			api := behindHangingAPI(t, w.c, w.limited)
			broker := w.startBehind("--verify", row.verify)
			w.eventually("a session", raw, "")
			api.hang(row.resource)
			w.must(nil, row.change(t.Context(), w, pod))
			broker.ahead(t, 2*time.Minute)
			for range 5 {
				w.expect(row.name, w.ask("n1", raw), row.code, row.message)
			}
			text := body(t, http.DefaultClient, "http://"+w.probes+"/readyz")
			if !strings.Contains(text, "the watch of "+row.watch+" stands still") {
				t.Errorf("/readyz: %q", text)
			}
			broker.stop(t)
			restore()
		})
	}
}

// TestBrokerConnectionHangs: when all connections to the API server hang, and then new
// ones, too, what was taken away gives no session after the minute, and is refused for
// what it is once the API server answers.
func TestBrokerConnectionHangs(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	deaf, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	for i, row := range brokerFaults() {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			pod, raw, restore := w.faulty(fmt.Sprint("stuck-", i))
			server := strings.TrimPrefix(w.c.Config.Host, "https://")
			front := hungpeer.New(t, server)
			reachThrough(t, w.limited, front.Addr().String())
			broker := w.startBehind("--verify", row.verify)
			w.eventually("a session", raw, "")
			front.Hang(deaf.Addr().String())
			w.must(nil, row.change(t.Context(), w, pod))
			broker.ahead(t, 12*time.Minute) // past the patience of --verify jwks
			w.expect("nothing is answered", w.ask("n1", raw), "ServiceUnavailableException", "")
			front.Hang(server)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for {
				got := w.ask("n1", raw)
				if got.code == row.code {
					w.expect(row.name, got, row.code, row.message)
					break
				}
				w.expect("new connections are answered", got, "ServiceUnavailableException", "")
				if t.Failed() || ctx.Err() != nil {
					t.FailNow()
				}
			}
			broker.stop(t)
			restore()
		})
	}
}

// reachThrough rewrites a kubeconfig to reach its API server at another address.
func reachThrough(t *testing.T, kubeconfig, address string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, reached := range config.Clusters {
		reached.Server = "https://" + address
	}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
}

// TestBrokerDefinitionDeleted: that a definition is deleted while the broker runs, with all
// of its objects, lets nobody in who was kept out; after the minute nobody is let in.
func TestBrokerDefinitionDeleted(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	const unavailable = "ServiceUnavailableException"
	for i, row := range []struct {
		name, resource string
		flags          []string
		stranger       string // whose role is not granted, after the minute
		owner          string // whose role is granted, after the minute; "" has it
	}{
		{"grants", "rolegrants", nil, unavailable, unavailable},
		{"grants, by keys", "rolegrants", []string{"--verify", "jwks"}, "AccessDeniedException", ""},
		{"grants required", "rolegrants", []string{"--require-grants"}, unavailable, unavailable},
		{"associations", "podidentityassociations", nil, unavailable, unavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			w.limited = kubeconfigOf(t, w.c, "rolecall-broker")
			give(t, w.objects, "shop", "shop", "cart-federated")
			give(t, w.objects, "others", "others", "*")
			w.associate("cart-federated", "")
			w.associate("cart-brokerrole", `, mode: BrokerRole`)
			owner := w.token(w.pod("shop", fmt.Sprint("owner-", i), "cart-federated", "n1"), "pods.eks.amazonaws.com")
			strangers := make([]string, 20) // each may ask once a second
			for j := range strangers {
				pod := w.pod("shop", fmt.Sprint("stranger-", i, "-", j), "cart-brokerrole", "n1")
				strangers[j] = w.token(pod, "pods.eks.amazonaws.com")
			}
			stranger := strangers[0]
			broker := w.startBehind(row.flags...)
			w.eventually("a session", owner, "")
			w.expect("a stranger", w.ask("n1", stranger), "AccessDeniedException", "not granted")
			asked := 0
			kept := func() {
				time.Sleep(50 * time.Millisecond)
				got := w.ask("n1", strangers[asked%len(strangers)])
				if asked++; row.resource == "rolegrants" && !strings.Contains(got.message, "is not granted") {
					t.Fatalf("a stranger while the definition goes: %d %s %s", got.status, got.code, got.message)
				}
			}
			undefine(t, w.objects, row.resource, kept)
			if row.resource == "podidentityassociations" {
				w.eventually("no association", owner, "ResourceNotFoundException")
			} else {
				w.until("the broker's lists fail", func() bool {
					kept()
					return strings.Contains(w.log.String(), "RoleGrants not read")
				})
			}
			kept()
			broker.ahead(t, 2*time.Minute)
			for range 3 {
				w.expect("a stranger after the minute", w.ask("n1", stranger), row.stranger, "")
				w.expect("the owner after the minute", w.ask("n1", owner), row.owner, "")
			}

			installCRD(t, w.objects, row.resource)
			if row.resource == "podidentityassociations" {
				w.associate("cart-federated", "")
				w.associate("cart-brokerrole", `, mode: BrokerRole`)
			} else {
				give(t, w.objects, "shop", "shop", "cart-federated")
				give(t, w.objects, "others", "others", "*")
			}
			w.eventually("a session again", owner, "")
			w.expect("a stranger again", w.ask("n1", stranger), "AccessDeniedException", "is not granted")
			if log := w.log.String(); strings.Contains(log, "the last RoleGrant is gone") != (len(row.flags) == 1) {
				t.Errorf("the log says what is not so:\n%s", log)
			}
			give(t, w.objects, "all", "*", "*") // nothing else keeps the stranger out
			w.eventually("a stranger who is granted the role", stranger, "")
			broker.stop(t)
			for _, name := range []string{"cart-federated", "cart-brokerrole"} {
				w.must(nil, w.associations().Delete(t.Context(), name, metav1.DeleteOptions{}))
			}
			for _, name := range []string{"shop", "others", "all"} {
				w.must(nil, w.objects.Resource(rolecallResource("rolegrants")).Delete(t.Context(), name, metav1.DeleteOptions{}))
			}
		})
	}
}

// webhookWorld is a webhook that may do what its guide lists, before a real API server.
type webhookWorld struct {
	t       *testing.T
	c       *cluster.Cluster
	objects dynamic.Interface
	client  *http.Client
	dir     string
	rules   []documented
}

func newWebhookWorld(t *testing.T) *webhookWorld {
	t.Helper()
	w := &webhookWorld{t: t, c: cluster.Start(t, cluster.Options{}), dir: t.TempDir(), rules: readPermissions(t)}
	prepareModes(t, w.c)
	var err error
	if w.objects, err = dynamic.NewForConfig(w.c.Config); err != nil {
		t.Fatal(err)
	}
	for i := range w.rules { // of what a Role has only the ConfigMap is read here
		if w.rules[i].namespace == "eks" {
			w.rules[i].namespace = ""
		}
	}
	authority := writeServingPair(t, w.dir)
	w.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
	}}
	return w
}

func (w *webhookWorld) associate(account string) {
	w.t.Helper()
	if _, err := w.objects.Resource(rolecallResource("podidentityassociations")).Namespace("default").Create(
		w.t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1", "kind": "PodIdentityAssociation",
			"metadata": map[string]any{"name": account},
			"spec":     map[string]any{"serviceAccountName": account, "roleARN": roleARN},
		}}, metav1.CreateOptions{},
	); err != nil {
		w.t.Fatal(err)
	}
}

// start runs the webhook, and returns what it answers about pods of an account, and what
// its readiness says.
func (w *webhookWorld) start(kubeconfig string) (hook *program, review func(account string) string, ready func() string) {
	t := w.t
	t.Helper()
	listen := freeport.Address(t)
	hook = startProgram(t, nil,
		"serve", "webhook", "--listen", listen, "--metrics-listen", freeport.Address(t), "--kubeconfig", kubeconfig,
		"--tls-cert", filepath.Join(w.dir, "tls.crt"), "--tls-key", filepath.Join(w.dir, "tls.key"),
		"--watch-associations", "--watch-config-map", "--enforce-role-grants", "--shutdown-delay", "0s")
	untilReady(t, w.client, "https://"+listen+"/readyz", hook.ended, hook.log)
	return hook, func(account string) string {
		t.Helper()
		return call(t, w.client, http.MethodPost, "https://"+listen+"/mutate",
			`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",`+
				`"namespace":"default","operation":"CREATE","resource":{"version":"v1","resource":"pods"},`+
				`"object":{"spec":{"serviceAccountName":"`+account+`","containers":[{"name":"a","image":"i"}]}}}}`)
	}, func() string { return body(t, w.client, "https://"+listen+"/readyz") }
}

// TestWebhookWatchHangs: when nothing comes over a watch although it stays open, no pod is
// given after the minute what was taken away.
func TestWebhookWatchHangs(t *testing.T) {
	t.Parallel()
	w := newWebhookWorld(t)
	w.associate("plain")
	for i, row := range []struct {
		name, resource, watch, account string
		delete                         func(context.Context) error
		after                          string
	}{
		{
			"an account", "serviceaccounts", "service accounts", "by-annotation",
			func(ctx context.Context) error {
				return w.c.Client.CoreV1().ServiceAccounts("default").Delete(ctx, "by-annotation", metav1.DeleteOptions{})
			},
			"there is no such service account",
		},
		{
			"an association", "podidentityassociations", "PodIdentityAssociations", "plain",
			func(ctx context.Context) error {
				return w.objects.Resource(rolecallResource("podidentityassociations")).Namespace("default").
					Delete(ctx, "plain", metav1.DeleteOptions{})
			},
			"the service account has no role",
		},
		{
			"a grant", "rolegrants", "RoleGrants", "by-map",
			func(ctx context.Context) error {
				_, err := w.objects.Resource(rolecallResource("rolegrants")).Patch(ctx, "readers", types.MergePatchType,
					[]byte(`{"spec":{"subjects":[{"namespace":"others"}]}}`), metav1.PatchOptions{})
				return err
			},
			"no RoleGrant",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			kubeconfig := limited(t, w.c, fmt.Sprint("hung-", i), w.rules)
			api := behindHangingAPI(t, w.c, kubeconfig)
			hook, review, ready := w.start(kubeconfig)
			if answer := review(row.account); !strings.Contains(answer, `"patch"`) {
				t.Fatalf("before: %s", answer)
			}
			api.hang(row.resource)
			if err := row.delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			hook.ahead(t, 2*time.Minute)
			for range 3 {
				if answer := review(row.account); !strings.Contains(answer, row.after) || strings.Contains(answer, `"patch"`) {
					t.Errorf("after: %s", answer)
				}
			}
			if text := ready(); !strings.Contains(text, "the watch of "+row.watch+" stands still") {
				t.Errorf("/readyz: %q", text)
			}
			hook.stop(t)
		})
	}
}

// TestWebhookDefinitionDeleted: that a definition is deleted while the webhook runs gives no
// pod a role that was not granted, and takes none away silently.
func TestWebhookDefinitionDeleted(t *testing.T) {
	t.Parallel()
	w := newWebhookWorld(t)
	w.associate("plain")
	t.Run("grants", func(t *testing.T) {
		w.t = t
		hook, review, _ := w.start(limited(t, w.c, "gone-grants", w.rules))
		refused := func() {
			if answer := review("not-granted"); !strings.Contains(answer, "no RoleGrant") || strings.Contains(answer, `"patch"`) {
				t.Fatalf("not granted: %s", answer)
			}
		}
		refused()
		undefine(t, w.objects, "rolegrants", refused)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for !strings.Contains(hook.log.String(), "RoleGrants not read") && ctx.Err() == nil {
			refused()
		}
		refused()
		hook.ahead(t, 2*time.Minute)
		for range 3 {
			answer := review("not-granted")
			if !strings.Contains(answer, "RoleGrants: their watch stands still") || strings.Contains(answer, `"patch"`) {
				t.Errorf("after the minute: %s", answer)
			}
		}
		hook.stop(t)
	})
	installCRD(t, w.objects, "rolegrants")
	give(t, w.objects, "all", "default", "*")
	t.Run("associations", func(t *testing.T) {
		w.t = t
		hook, review, _ := w.start(limited(t, w.c, "gone-associations", w.rules))
		if answer := review("plain"); !strings.Contains(answer, `"patch"`) {
			t.Fatalf("before: %s", answer)
		}
		undefine(t, w.objects, "podidentityassociations", func() {})
		answer := review("plain")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for strings.Contains(answer, `"patch"`) && ctx.Err() == nil {
			answer = review("plain")
		}
		if !strings.Contains(answer, `"warnings"`) || !strings.Contains(answer, "has a PodIdentityAssociation") {
			t.Errorf("silently: %s", answer)
		}
		hook.ahead(t, 2*time.Minute)
		for range 3 {
			answer := review("plain")
			if !strings.Contains(answer, "PodIdentityAssociations: their watch stands still") {
				t.Errorf("after the minute: %s", answer)
			}
		}
		hook.stop(t)
	})
}
