package webhook_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
	"github.com/rolecall/rolecall/test/injectcase"
)

// TestGoldenCases runs spec webhook §15 against the HTTPS server: each case, both
// versions of the review, with the reference's quirks and without.
func TestGoldenCases(t *testing.T) {
	t.Parallel()
	for _, c := range injectcase.Read(t) {
		t.Run(c.What+" ("+c.Name+")", func(t *testing.T) {
			t.Parallel()
			for _, version := range []string{"v1", "v1beta1"} {
				checkCase(t, &c, version, true)
				checkCase(t, &c, version, false)
			}
		})
	}
}

func checkCase(t *testing.T, c *injectcase.Case, version string, conformance bool) {
	t.Helper()
	server, registry := serveCase(t, c, c.Set(conformance))
	response := postTLS(t, server, reviewOf(version, string(c.Pod)))
	want := c.Expect(conformance)
	if !response.Allowed || (len(response.Patch) > 0) == want.Nothing ||
		(response.PatchType != nil) == want.Nothing || response.UID != "u1" {
		t.Fatalf("%s, conformance %t: want %+v: %+v", version, conformance, want, response)
	}
	if got := counter(t, registry, "pod_identity_webhook_missing_sa_count"); got != float64(c.Missing) {
		t.Errorf("missing counter %v, want %d", got, c.Missing)
	}
	if response.AuditAnnotations["identity"] == "" || response.AuditAnnotations["reason"] == "" {
		t.Errorf("audit annotations %v", response.AuditAnnotations)
	}
	if want.Nothing {
		return
	}
	seconds := lifetime(t, response.Patch)
	if want.PodIdentityToken != nil && want.PodIdentityToken.Jitter && (seconds < 79200 || seconds > 86400) {
		t.Errorf("lifetime %d", seconds)
	}
	once := apply(t, c.Pod, response.Patch)
	if operations := c.Operations(t, want, seconds); conformance {
		equal(t, "operations", encode(t, operations), response.Patch)
	} else {
		equal(t, "patched pod", apply(t, c.Pod, encode(t, operations)), once)
	}
	// Row 73: fed back in, nothing changes.
	if again := postTLS(t, server, reviewOf(version, string(once))); len(again.Patch) > 0 {
		equal(t, "pod patched twice", once, apply(t, once, again.Patch))
	}
}

// serveCase serves a webhook over TLS that knows what the case says.
func serveCase(t *testing.T, c *injectcase.Case, settings inject.Settings) (*httptest.Server, *prometheus.Registry) {
	t.Helper()
	known := map[inject.Name]map[string]string{}
	if c.Account != nil {
		known[inject.Name{Namespace: injectcase.Namespace, ServiceAccount: injectcase.ServiceAccount}] = c.Account
	}
	identities := inject.Identities{}
	for _, name := range c.Identities {
		identities[name] = struct{}{}
	}
	registry := prometheus.NewRegistry()
	handler, err := webhook.New(webhook.Config{
		Settings: settings,
		ServiceAccounts: webhook.NewStatic(known,
			settings),
		Metrics:    registry,
		Log:        slog.New(slog.DiscardHandler),
		Now:        time.Now,
		ConfigMap:  follow.Fixed[*inject.Config]{Content: c.ParseConfig(t, settings)},
		Identities: follow.Fixed[inject.Identities]{Content: identities},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server, registry
}

func postTLS(t *testing.T, server *httptest.Server, body string) *admissionv1.AdmissionResponse {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/mutate",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, error %v: %s", response.StatusCode, err, text)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(text,
		&review); err != nil || review.Response == nil ||
		!strings.Contains(body, `"apiVersion":"`+review.APIVersion+`"`) || review.Kind != "AdmissionReview" {
		t.Fatalf("answer %s: %v", text, err)
	}
	return review.Response
}

func lifetime(t *testing.T, patch []byte) int64 {
	t.Helper()
	_, rest, found := bytes.Cut(patch, []byte(`"expirationSeconds":`))
	if !found {
		return 0
	}
	var seconds int64
	if err := json.NewDecoder(bytes.NewReader(rest)).Decode(&seconds); err != nil {
		t.Fatal(err)
	}
	return seconds
}

func counter(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func equal(t *testing.T, what string, want, got []byte) {
	t.Helper()
	decode := func(text []byte) (value any) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return value
	}
	if diff := cmp.Diff(decode(want), decode(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func apply(t *testing.T, pod, operations []byte) []byte {
	t.Helper()
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(pod)
	if err != nil {
		t.Fatal(err)
	}
	return patched
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
