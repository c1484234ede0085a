package servingcert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/servingcert"
)

var lifetimes = pki.Lifetimes{Authority: 30 * time.Hour, Serving: 12 * time.Hour, Settle: time.Hour}

// clock is moved by the test.
type clock struct{ now atomic.Int64 }

func (c *clock) time() time.Time { return time.Unix(c.now.Load(), 0) }

func (c *clock) advance(d time.Duration) { c.now.Add(int64(d / time.Second)) }

func newKeeper(client kubernetes.Interface, now *clock) *servingcert.Keeper {
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{
			Name: "hook",
		}, Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "a.example"}, {Name: "b.example"}},
	}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{
			Name: "hook",
		}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "c.example"}, {Name: "d.example"}},
	}
	return &servingcert.Keeper{
		Client:    client,
		Namespace: "eks",
		Secret:    "hook",
		Authority: "rolecall test",
		Names:     []string{"127.0.0.1"},
		Lifetimes: lifetimes,
		Registrar: &servingcert.Registrar{
			Client: client, Mutating: mutating, Validating: validating,
			ConfigMap: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "eks", Name: "hook"}},
		},
		Log: slog.New(slog.DiscardHandler),
		Now: now.time,
	}
}

// newClient checks versions as an API server does; the fake itself does not.
func newClient() *fake.Clientset {
	client := fake.NewClientset()
	var mu sync.Mutex
	version := map[string]string{}
	count := 0
	client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		writing, ok := action.(clienttesting.UpdateAction) // creation's too
		if !ok {
			return false, nil, nil
		}
		mu.Lock() // the next reader sees what is written, or has read before the check
		defer mu.Unlock()
		object, resource := writing.GetObject().DeepCopyObject(), action.GetResource()
		meta := object.(metav1.Object)
		key := resource.Resource + "/" + meta.GetName()
		write := client.Tracker().Create
		switch {
		case action.GetVerb() == "update" && meta.GetResourceVersion() != version[key]:
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: key}, meta.GetName(), nil)
		case action.GetVerb() == "update":
			write = func(
				resource schema.GroupVersionResource,
				object runtime.Object,
				namespace string,
				_ ...metav1.CreateOptions,
			) error {
				return client.Tracker().Update(resource, object, namespace)
			}
		case version[key] != "":
			return true, nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: key}, meta.GetName())
		}
		count++
		meta.SetResourceVersion(strconv.Itoa(count))
		if err := write(resource, object, action.GetNamespace()); err != nil {
			return true, nil, err
		}
		version[key] = meta.GetResourceVersion()
		return true, object.DeepCopyObject(), nil
	})
	return client
}

// step lets all keepers look until nothing changes; conflicts are tried again.
func step(t *testing.T, keepers ...*servingcert.Keeper) {
	t.Helper()
	for range 3 {
		for _, keeper := range keepers {
			for tries := 0; ; tries++ {
				err := keeper.Step(t.Context())
				if err == nil {
					break
				}
				if tries > 10 || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestRotationUnderFire serves from two replicas while clients open a new
// connection for each request, trusting what the configuration says at that
// moment. Between the steps of the clock every client makes a request, as
// settling times let them.
func TestRotationUnderFire(t *testing.T) {
	t.Parallel()
	client, now := newClient(), &clock{}
	now.advance(time.Duration(1_800_000_000) * time.Second)
	a, b := newKeeper(client, now), newKeeper(client, now)
	step(t, a, b)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	requests := make([]atomic.Int64, 6)
	for i := range requests {
		url := serve(t, []*servingcert.Keeper{a, b}[i%2])
		clients.Go(func() {
			for ctx.Err() == nil {
				request(t, client, now, url, i/2)
				requests[i].Add(1)
			}
		})
	}
	authorities, certificates := map[string]bool{}, map[string]bool{}
	for range 300 {
		now.advance(lifetimes.Settle / 2)
		step(t, a, b)
		for i := range requests { // one that began after the step is over
			for seen := requests[i].Load(); requests[i].Load() < seen+2 && !t.Failed(); {
				time.Sleep(100 * time.Microsecond)
			}
		}
		secret := readSecret(t, client)
		authorities[string(secret.Data["ca.key"])], certificates[string(secret.Data["tls.crt"])] = true, true
		if t.Failed() {
			break
		}
	}
	stop()
	clients.Wait()
	total := int64(0)
	for i := range requests {
		total += requests[i].Load()
	}
	t.Logf("%d requests, %d states of authorities, %d certificates", total, len(authorities), len(certificates))
	if len(authorities) < 8 || len(certificates) < 12 {
		t.Error("nothing was rotated")
	}
}

func serve(t *testing.T, keeper *servingcert.Keeper) string {
	t.Helper()
	server := httptest.NewUnstartedServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
	)
	server.Listener = tls.NewListener(server.Listener,
		keeper.TLSConfig()) // StartTLS would add a certificate of its own
	server.Start()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http:", "https:", 1)
}

// bundles are what API servers trust: of the mutating configuration's webhooks, of
// the validating one's, and what pods trust that mount the ConfigMap.
func bundles(t *testing.T, client kubernetes.Interface) (all [3][2]string, err error) {
	for kind := range all {
		if all[kind], err = bundlesOf(t, client, kind); err != nil {
			return all, err
		}
	}
	return all, nil
}

func bundlesOf(t *testing.T, client kubernetes.Interface, kind int) (both [2]string, err error) {
	ctx, api := context.WithoutCancel(t.Context()), client.AdmissionregistrationV1()
	if kind == 0 {
		mutating, err := api.MutatingWebhookConfigurations().Get(ctx, "hook", metav1.GetOptions{})
		if err != nil {
			return both, err
		}
		return [2]string{
			string(mutating.Webhooks[0].ClientConfig.CABundle),
			string(mutating.Webhooks[1].ClientConfig.CABundle),
		}, nil
	}
	if kind == 2 {
		published, err := client.CoreV1().ConfigMaps("eks").Get(ctx, "hook", metav1.GetOptions{})
		if err != nil {
			return both, err
		}
		return [2]string{published.Data["ca.crt"], published.Data["ca.crt"]}, nil
	}
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, "hook", metav1.GetOptions{})
	if err != nil {
		return both, err
	}
	return [2]string{
		string(validating.Webhooks[0].ClientConfig.CABundle),
		string(validating.Webhooks[1].ClientConfig.CABundle),
	}, nil
}

// request is one of an API server that read its configuration, of the kind, just
// now.
func request(t *testing.T, client kubernetes.Interface, now *clock, url string, kind int) {
	trusted, err := bundlesOf(t, client, kind)
	if err != nil {
		t.Error(err)
		return
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(trusted[1]))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Time: now.time}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	asked, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := (&http.Client{Transport: transport}).Do(asked)
	if err != nil {
		t.Error(err)
		return
	}
	_ = response.Body.Close()
}

func readSecret(t *testing.T, client kubernetes.Interface) *corev1.Secret {
	t.Helper()
	secret, err := client.CoreV1().Secrets("eks").Get(t.Context(), "hook", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestManyReplicasAgree: however many begin at once, there is one authority.
func TestManyReplicasAgree(t *testing.T) {
	t.Parallel()
	client, now := newClient(), &clock{}
	now.advance(time.Duration(1_800_000_000) * time.Second)
	var replicas sync.WaitGroup
	for range 8 {
		replicas.Go(func() { step(t, newKeeper(client, now)) })
	}
	replicas.Wait()
	bundle := string(readSecret(t, client).Data["ca.crt"])
	trusted, err := bundles(t, client)
	if err != nil || strings.Count(bundle, "BEGIN") != 1 ||
		trusted != [3][2]string{{bundle, bundle}, {bundle, bundle}, {bundle, bundle}} {
		t.Errorf("%v, bundle %s, trusted %s", err, bundle, trusted)
	}
}

// TestAllOrNotPublished: an authority that one of the configurations was not told
// never counts as published, so that it signs nothing; the other one is told all
// the same.
func TestAllOrNotPublished(t *testing.T) {
	t.Parallel()
	for place, resource := range []string{1: "validatingwebhookconfigurations", 2: "configmaps"} {
		if resource != "" {
			t.Run(resource, func(t *testing.T) { allOrNotPublished(t, place, resource) })
		}
	}
}

// allOrNotPublished refuses one place's update, which keeps all from going on.
func allOrNotPublished(t *testing.T, place int, resource string) {
	t.Parallel()
	client, now := newClient(), &clock{}
	now.advance(time.Duration(1_800_000_000) * time.Second)
	keeper := newKeeper(client, now)
	step(t, keeper)
	first, err := bundles(t, client)
	if err != nil {
		t.Fatal(err)
	}
	var refusing atomic.Bool
	refusing.Store(true)
	client.PrependReactor("update", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		return refusing.Load(), nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "hook", nil)
	})
	certificate := ""
	for range 50 { // past two thirds of the authority's lifetime, not all of it
		now.advance(lifetimes.Settle / 2)
		if err := keeper.Step(t.Context()); err != nil && !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		secret := readSecret(t, client)
		if certificate = string(secret.Data["tls.crt"]); !verifies(t, certificate, first[place][0]) {
			t.Fatal("a certificate is served that one of those who verify it does not trust")
		}
	}
	trusted, err := bundles(t, client)
	if err != nil || trusted[place] != first[place] || trusted[0][0] == first[0][0] ||
		!verifies(t, certificate, trusted[0][0]) {
		t.Errorf("%v, trusted %s", err, trusted)
	}
	refusing.Store(false)
	step(t, keeper)
	now.advance(2 * lifetimes.Settle)
	step(t, keeper)
	if trusted, err = bundles(t,
		client); err != nil || trusted[0] != trusted[1] || trusted[0] != trusted[2] ||
		verifies(t, string(readSecret(t, client).Data["tls.crt"]), first[place][0]) {
		t.Errorf("not rotated when it can be: %v, trusted %s", err, trusted)
	}
}

// verifies reports whether a chain leads to one of the bundle's authorities,
// whatever the time.
func verifies(t *testing.T, chain, bundle string) bool {
	t.Helper()
	block, _ := pem.Decode([]byte(chain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(bundle))
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: leaf.NotBefore})
	return err == nil
}

// TestOthersAreRespected: a Secret that another tool fills is not touched, nor
// is the rest of a configuration; the bundle comes back if somebody removes it.
func TestOthersAreRespected(t *testing.T) {
	t.Parallel()
	client, now := newClient(), &clock{}
	now.advance(time.Duration(1_800_000_000) * time.Second)
	keeper := newKeeper(client, now)
	step(t, keeper)
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(t.Context(), "hook", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bundle := string(configuration.Webhooks[0].ClientConfig.CABundle)
	fail := admissionregistrationv1.Fail
	configuration.Webhooks[0].FailurePolicy, configuration.Webhooks[0].ClientConfig.CABundle = &fail, nil
	if _, err := configurations.Update(t.Context(), configuration, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	step(t, keeper)
	if configuration, err = configurations.Get(t.Context(), "hook", metav1.GetOptions{}); err != nil ||
		*configuration.Webhooks[0].FailurePolicy != fail ||
		string(configuration.Webhooks[0].ClientConfig.CABundle) != bundle {
		t.Errorf("%v %+v", err, configuration.Webhooks[0])
	}
	secret := readSecret(t, client)
	delete(secret.Data, "ca.key")
	if _, err := client.CoreV1().Secrets("eks").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := keeper.Step(t.Context()); fault.KindOf(err) != fault.Conflict || len(fault.HintsOf(err)) == 0 {
		t.Errorf("a Secret of cert-manager: %v", err)
	}
}

// TestServedWithoutPermission: a new replica that may not read what it keeps up to
// date presents the certificate that clients trust, and says what is missing.
func TestServedWithoutPermission(t *testing.T) {
	t.Parallel()
	client, now := newClient(), &clock{}
	now.advance(time.Duration(1_800_000_000) * time.Second)
	step(t, newKeeper(client, now))
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "hook", nil)
	})
	late := newKeeper(client, now)
	if err := late.Step(t.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ConfigMap hook") {
		t.Errorf("said %v", err)
	}
	certificate, err := late.TLSConfig().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	served := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	if !strings.HasPrefix(string(readSecret(t, client).Data["tls.crt"]), string(served)) {
		t.Error("another certificate is served than the Secret's")
	}
}

// TestFileBundle: the bundle follows the file, and junk is never told.
func TestFileBundle(t *testing.T) {
	t.Parallel()
	client := newClient()
	file := filepath.Join(t.TempDir(), "ca.crt")
	registrar := newKeeper(client, &clock{}).Registrar
	follower := servingcert.FileBundle{File: file, Registrar: registrar, Log: slog.New(slog.DiscardHandler)}
	for _, content := range []string{"", "junk"} {
		if content != "" {
			write(t, file, []byte(content))
		}
		if err := follower.Step(t.Context()); err == nil || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%q: %v", content, err)
		}
	}
	for range 2 {
		authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, authority.PEM())
		if err := follower.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		trusted, err := bundles(t, client)
		if bundle := string(authority.PEM()); err != nil ||
			trusted != [3][2]string{{bundle, bundle}, {bundle, bundle}, {bundle, bundle}} {
			t.Errorf("%v %s", err, trusted)
		}
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOldTLSIsRefused: the certificate that replicas share is served as every
// other is, with TLS 1.2 or later.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	if got := (&servingcert.Keeper{}).TLSConfig().MinVersion; got < tls.VersionTLS12 {
		t.Errorf("the oldest version is %s, want TLS 1.2", tls.VersionName(got))
	}
}
