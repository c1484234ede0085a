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
// has neither kind nor apiVersion, and what there is is given back (spec webhook §1.4, rows 74 and Q4).
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
