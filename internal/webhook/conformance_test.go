package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

// TestReviewsWithoutVersion: with conformance the reference's own sample request is taken, which
// has neither kind nor apiVersion, and what there is is given back (spec webhook §15 row 74).
// Without it only AdmissionReviews are.
func TestReviewsWithoutVersion(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ begins, answer string }{
		{`{`, `{"response":{`},
		{`{"kind":"AdmissionReview",`, `{"kind":"AdmissionReview","response":{`},
		{`{"apiVersion":"admission.k8s.io/v1beta1",`, `{"apiVersion":"admission.k8s.io/v1beta1","response":{`},
		{`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2",`, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2","response":{`},
		{`{"kind":"A\"b","apiVersion":"x",`, `{"kind":"A\"b","apiVersion":"x","response":{`},
	} {
		body := row.begins + `"request":{"uid":"u","namespace":"n","operation":"CREATE",` +
			`"resource":{"version":"v1","resource":"pods"},"object":` + pod + `}}`
		for _, conformance := range []bool{true, false} {
			settings := inject.Defaults()
			settings.Conformance = conformance
			handler, err := webhook.New(webhook.Config{
				Settings:        settings,
				ServiceAccounts: accounts,
				Metrics:         prometheus.NewRegistry(),
				Log:             discard,
				Now:             time.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			got := post(t, handler, body)
			patched := strings.Contains(got.Body.String(), `"patch"`)
			if got.Code != http.StatusOK || patched != conformance ||
				conformance && !strings.HasPrefix(got.Body.String(), row.answer) {
				t.Errorf("%s conformance %t: %d %s", row.begins, conformance, got.Code, got.Body)
			}
		}
	}
}

// TestAuditOfContainers: the audit says which containers have variables of their own, and
// that a pod of which none gets the identity has none.
func TestAuditOfContainers(t *testing.T) {
	t.Parallel()
	const plain, half = `{"name":"a"}`, `{"name":"b","env":[{"name":"AWS_ROLE_ARN","value":"x"}]}`
	const own = `{"name":"c","env":[{"name":"AWS_ROLE_ARN","value":"x"},{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/x"}]}`
	for _, row := range []struct{ containers, want, not string }{
		{plain, `"identity":"sts_web_identity"`, `"own"`},
		{
			plain + "," + half,
			`"identity":"sts_web_identity","reason":"injected role ` + role + `","role":"` + role +
				`","own":"container \"b\" has only AWS_ROLE_ARN of its own"`, "nothing",
		},
		{
			half + "," + own, `"identity":"none","reason":"no container gets the identity: container \"b\" has only ` +
				`AWS_ROLE_ARN of its own; container \"c\" has AWS_WEB_IDENTITY_TOKEN_FILE of its own"`, `"role"`,
		},
	} {
		got := post(
			t,
			newHandler(t, accounts),
			reviewOf(
				"v1",
				`{"metadata":{"name":"p"},"spec":{"serviceAccountName":"s","containers":[`+row.containers+`]}}`,
			),
		)
		if text := got.Body.String(); !strings.Contains(text, row.want) || strings.Contains(text, row.not) {
			t.Errorf("%s: %s", row.containers, text)
		}
	}
}
