package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

const (
	role = "arn:aws:iam::111122223333:role/r"
	pod  = `{"metadata":{"namespace":"other","name":"p"},"spec":{"serviceAccountName":"s","containers":[{"name":"a",` +
		`"image":"i"}]}}`
)

var accounts = webhook.NewStatic(map[inject.Name]map[string]string{
	{Namespace: "n", ServiceAccount: "s"}:     {"eks.amazonaws.com/role-arn": role},
	{Namespace: "n", ServiceAccount: "plain"}: {},
	{Namespace: "n", ServiceAccount: "junk"}:  {"eks.amazonaws.com/role-arn": "junk"},
}, inject.Defaults())

func newHandler(t testing.TB, source webhook.ServiceAccounts) *webhook.Handler {
	t.Helper()
	handler, err := webhook.New(webhook.Config{
		Settings:        inject.Defaults(),
		ServiceAccounts: source,
		Metrics:         prometheus.NewRegistry(),
		Log:             slog.New(slog.DiscardHandler),
		Now:             func() time.Time { return time.Time{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func reviewOf(version, object string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/%s","kind":"AdmissionReview","request":{"uid":"u1",`+
		`"namespace":"n","operation":"CREATE","resource":{"version":"v1","resource":"pods"},"object":%s}}`,
		version, object)
}

func post(t testing.TB, handler http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// postHTTPS is post over a connection.
func postHTTPS(t *testing.T, handler http.Handler, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/mutate",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	recorder := httptest.NewRecorder()
	recorder.Code = response.StatusCode
	if _, err := io.Copy(recorder.Body, response.Body); err != nil {
		t.Fatal(err)
	}
	return recorder
}

func TestReviews(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, contentType, body string
		status                  int
		allowed, patched        bool
		message                 string // of a denial or an HTTP error, contained
		warning                 string
	}{
		{name: "v1", body: reviewOf("v1", pod), status: 200, allowed: true, patched: true},
		{name: "v1beta1", body: reviewOf("v1beta1", pod), status: 200, allowed: true, patched: true},
		{
			name:        "content type with parameters",
			contentType: "application/json; charset=utf-8",
			body:        reviewOf("v1", pod),
			status:      200,
			allowed:     true,
			patched:     true,
		},
		{name: "no role", body: reviewOf("v1", strings.Replace(pod, `"s"`, `"plain"`, 1)), status: 200, allowed: true},
		{
			name:    "unknown account",
			body:    reviewOf("v1", strings.Replace(pod, `"s"`, `"x"`, 1)),
			status:  200,
			allowed: true,
		},
		{
			name:    "mirror pod",
			body:    reviewOf("v1", strings.Replace(pod, `"serviceAccountName":"s",`, "", 1)),
			status:  200,
			allowed: true,
		},
		{
			name: "skip label",
			body: reviewOf("v1",
				strings.Replace(pod, `"name":"p"`, `"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":"x"}`, 1)),
			status:  200,
			allowed: true,
		},
		{
			name:    "malformed role warns",
			body:    reviewOf("v1", strings.Replace(pod, `"s"`, `"junk"`, 1)),
			status:  200,
			allowed: true,
			patched: true,
			warning: "is not a role ARN",
		},
		{name: "update", body: strings.Replace(reviewOf("v1", pod), "CREATE", "UPDATE", 1), status: 200, allowed: true},
		{
			name:    "another resource",
			body:    strings.Replace(reviewOf("v1", pod), `"pods"`, `"services"`, 1),
			status:  200,
			allowed: true,
		},
		{name: "XML (spec webhook §15 row 75)", contentType: "application/xml", body: "x", status: 415},
		{name: "no content type (spec webhook §15 row 75)", contentType: "-", body: "x", status: 415},
		{name: "empty body (spec webhook §15 row 76)", status: 200, message: "bad content"},
		{name: "empty object (spec webhook §15 row 76)", body: "{}", status: 200, message: "bad content"},
		{
			name:    "another kind",
			body:    `{"apiVersion":"v1","kind":"Pod","request":{"uid":"u1"}}`,
			status:  200,
			message: "bad content",
		},
		{name: "YAML, not JSON", body: "kind: AdmissionReview", status: 200, message: "bad content"},
		{
			name:    "request without an object (spec webhook §15 row 77)",
			body:    `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1"}}`,
			status:  200,
			message: "unexpected end of JSON input",
		},
		{name: "object is a string", body: reviewOf("v1", `"x"`), status: 200, message: "decode pod"},
		{name: "too large", body: reviewOf("v1", pod) + strings.Repeat(" ", 8<<20), status: 413},
	} {
		contentType := row.contentType
		switch contentType {
		case "":
			contentType = "application/json"
		case "-":
			contentType = ""
		}
		response := postHTTPS(t, newHandler(t, accounts), contentType, row.body)
		if response.Code != row.status {
			t.Errorf("%s: status %d, want %d: %s", row.name, response.Code, row.status, response.Body)
		}
		if row.status != http.StatusOK {
			continue
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(response.Body.Bytes(), &review); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		got := review.Response
		if got.Allowed != row.allowed || (len(got.Patch) > 0) != row.patched || (got.PatchType != nil) != row.patched {
			t.Errorf("%s: %s", row.name, response.Body)
		}
		if row.message != "" && !strings.Contains(got.Result.Message, row.message) {
			t.Errorf("%s: message %q", row.name, got.Result.Message)
		}
		if row.warning != "" && !strings.Contains(strings.Join(got.Warnings, ""), row.warning) {
			t.Errorf("%s: warnings %q", row.name, got.Warnings)
		}
		if strings.Contains(row.body, `"uid"`) && strings.Contains(row.body, "AdmissionReview") &&
			(got.UID != "u1" || !strings.Contains(row.body, review.APIVersion) || review.Kind != "AdmissionReview") {
			t.Errorf("%s: echoed %s %s %s", row.name, review.APIVersion, review.Kind, got.UID)
		}
	}
}

func TestOnlyPOST(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	newHandler(t, accounts).ServeHTTP(recorder,
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/mutate", nil))
	if recorder.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d", recorder.Code)
	}
}

// TestNotReadyBeforeTheCache: no pod is admitted without its role because the
// webhook had not read the accounts yet.
func TestNotReadyBeforeTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "s", Annotations: map[string]string{"eks.amazonaws.com/role-arn": role, "other": "x"},
		}})
		informer := webhook.NewAccounts(client, inject.Defaults(), time.Second, time.Now)
		handler := newHandler(t, informer)
		if got := ready(t, handler); got != http.StatusServiceUnavailable {
			t.Errorf("ready before the cache: %d", got)
		}
		if response := post(t, handler, reviewOf("v1", pod)); response.Code != http.StatusServiceUnavailable {
			t.Errorf("review before the cache: %d %s", response.Code, response.Body)
		}
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- informer.Run(ctx) }()
		<-informer.Synced()
		if got := ready(t, handler); got != http.StatusOK {
			t.Errorf("ready after the cache: %d", got)
		}
		account, err := informer.Lookup(ctx, inject.Name{Namespace: "n", ServiceAccount: "s"}, false)
		if err != nil || account == nil || account.Role != role {
			t.Errorf("Lookup = %+v %v", account, err)
		}
		if account, err := informer.Lookup(ctx, inject.Name{
			Namespace:      "n",
			ServiceAccount: "gone",
		}, true); account != nil || err != nil {
			t.Errorf("Lookup of none = %v %v", account, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func ready(t *testing.T, handler http.Handler) int {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	return recorder.Code
}

func FuzzReview(f *testing.F) {
	f.Add(reviewOf("v1", pod))
	f.Add(reviewOf("v1beta1", `"x"`))
	f.Add("{}")
	handler := newHandler(f, accounts)
	f.Fuzz(func(t *testing.T, body string) {
		response := post(t, handler, body)
		if response.Code != http.StatusOK {
			t.Fatalf("status %d", response.Code)
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(response.Body.Bytes(), &review); err != nil || review.Response == nil {
			t.Errorf("answer %s: %v", response.Body, err)
		}
	})
}
