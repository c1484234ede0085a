package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

func grants(namespace string, roles ...string) follow.Source[*grant.Set] {
	return follow.Fixed[*grant.Set]{Content: grant.NewSet([]grant.Grant{{Name: "g", Spec: v1alpha1.RoleGrantSpec{
		Subjects: []v1alpha1.GrantSubject{{Namespace: namespace}}, Roles: roles,
	}}})}
}

const foreign = `{"metadata":{"name":"p"},"spec":{"serviceAccountName":"s","volumes":[{"name":"aws-iam-token",` +
	`"emptyDir":{}}],"containers":[{"name":"a"}]}}`

// TestRefusals: what a pod does not get is said in the answer, in the metrics and
// to those who want to know; and the pod is refused if that is wanted.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, account, pod string
		grants             follow.Source[*grant.Set]
		fallback           webhook.Fallback
		dryRun             bool
		patched, denied    bool
		kind               webhook.RefusalKind
		warning, audit     string
	}{
		{name: "granted", grants: grants("n", "*"), patched: true, audit: "sts_web_identity"},
		{
			name:    "no grants",
			grants:  follow.Fixed[*grant.Set]{Content: grant.NewSet(nil)},
			patched: true,
			audit:   "sts_web_identity",
		},
		{
			name:    "not granted",
			grants:  grants("m", "*"),
			kind:    webhook.RoleNotGranted,
			warning: "no RoleGrant lets n/s use " + role + "; the pod gets no role",
			audit:   "refused",
		},
		{name: "another role granted", grants: grants("n", role+"x"), kind: webhook.RoleNotGranted, audit: "refused"},
		{
			name:    "junk is not granted",
			account: "junk",
			grants:  grants("*", "*"),
			kind:    webhook.RoleNotGranted,
			audit:   "refused",
		},
		{
			name:     "not granted, denied",
			grants:   grants("m", "*"),
			fallback: webhook.Fallback{Action: webhook.Deny},
			kind:     webhook.RoleNotGranted,
			denied:   true,
			audit:    "refused",
		},
		{
			name:     "dry run",
			grants:   grants("m", "*"),
			fallback: webhook.Fallback{Action: webhook.Deny},
			dryRun:   true,
			denied:   true,
			audit:    "refused",
		},
		{
			name:    "foreign volume",
			pod:     foreign,
			kind:    webhook.IdentityBlocked,
			warning: "holds no service-account token",
			audit:   "none",
		},
		{
			name:     "foreign volume, warned",
			pod:      foreign,
			fallback: webhook.Fallback{Action: webhook.Warn},
			kind:     webhook.IdentityBlocked,
			warning:  "may use the node's role",
			audit:    "none",
		},
		{
			name:     "foreign volume, denied",
			pod:      foreign,
			fallback: webhook.Fallback{Action: webhook.Deny},
			kind:     webhook.IdentityBlocked,
			denied:   true,
			audit:    "none",
		},
		{name: "no identity", account: "plain", audit: "none"},
		{
			name:     "no identity elsewhere",
			account:  "plain",
			fallback: webhook.Fallback{Action: webhook.Deny, Namespaces: []string{"team-*"}},
			audit:    "none",
		},
		{
			name:     "no identity where one is needed",
			account:  "plain",
			fallback: webhook.Fallback{Action: webhook.Deny, Namespaces: []string{"?"}},
			kind:     webhook.IdentityMissing,
			denied:   true,
			audit:    "none",
		},
		{
			name:     "no account where one is needed",
			account:  "gone",
			fallback: webhook.Fallback{Action: webhook.Warn, Namespaces: []string{"n"}},
			kind:     webhook.IdentityMissing,
			warning:  "pods of namespace n must have",
			audit:    "none",
		},
		{
			name:     "mirror pods are not touched",
			account:  "-",
			fallback: webhook.Fallback{Action: webhook.Deny, Namespaces: []string{"*"}},
			audit:    "none",
		},
	} {
		var told []webhook.Refusal
		registry := prometheus.NewRegistry()
		handler, err := webhook.New(webhook.Config{
			Settings:        inject.Defaults(),
			ServiceAccounts: accounts,
			Grants:          row.grants,
			Fallback:        row.fallback,
			Metrics:         registry,
			Refused: func(r webhook.Refusal) {
				told = append(told,
					r)
			},
			Log: slog.New(slog.DiscardHandler),
			Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		object := pod
		if row.pod != "" {
			object = row.pod
		}
		if row.account != "" {
			object = strings.Replace(object, `"s"`, `"`+strings.Trim(row.account, "-")+`"`, 1)
		}
		body := reviewOf("v1", object)
		if row.dryRun {
			body = strings.Replace(body, `"uid"`, `"dryRun":true,"uid"`, 1)
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(post(t, handler, body).Body.Bytes(), &review); err != nil {
			t.Fatal(err)
		}
		got := review.Response
		if got.Allowed == row.denied || (len(got.Patch) > 0) != row.patched ||
			got.AuditAnnotations["identity"] != row.audit {
			t.Errorf("%s: %+v", row.name, got)
		}
		if row.denied && (got.Result.Code != http.StatusForbidden || got.Result.Message == "") {
			t.Errorf("%s: %+v", row.name, got.Result)
		}
		if row.warning != "" && !slices.ContainsFunc(got.Warnings, func(w string) bool {
			return strings.Contains(w, row.warning)
		}) {
			t.Errorf("%s: warnings %q", row.name, got.Warnings)
		}
		if (len(told) > 0) != (row.kind != "") || len(told) > 0 &&
			(told[0].Kind != row.kind || told[0].Pod != "p" || told[0].Message == "") {
			t.Errorf("%s: told %+v", row.name, told)
		}
		if refused := counter(t, registry,
			"rolecall_webhook_refused_total"); (refused > 0) != (row.kind != "" || row.dryRun) {
			t.Errorf("%s: counted %v", row.name, refused)
		}
	}
}

// TestReadThrough: an account that the cache does not know is read, once for all
// who ask at a time, again while that fails, and not longer than the grace period.
func TestReadThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads, failures atomic.Int64
		client := fake.NewClientset()
		get := func(action clienttesting.Action) (bool, runtime.Object, error) {
			reads.Add(1)
			time.Sleep(10 * time.Millisecond)
			if failures.Add(-1) >= 0 {
				return true, nil, errors.New("the server is busy")
			}
			if action.(clienttesting.GetAction).GetName() == "gone" {
				return false, nil, nil
			}
			return true, &corev1.ServiceAccount{
				ObjectMeta: metav1.ObjectMeta{
					Namespace:   "n",
					Name:        "new",
					Annotations: map[string]string{"eks.amazonaws.com/role-arn": role},
				},
			}, nil
		}
		client.PrependReactor("get", "serviceaccounts", get)
		cache := webhook.NewAccounts(client, inject.Defaults(), time.Second, time.Now)
		name := inject.Name{Namespace: "n", ServiceAccount: "new"}
		found := make(chan bool, 50)
		for range 50 {
			go func() {
				account, err := cache.Lookup(t.Context(), name, true)
				found <- err == nil && account != nil && account.Role == role
			}()
		}
		for range 50 {
			if !<-found {
				t.Error("not found")
			}
		}
		if got := reads.Load(); got != 1 {
			t.Errorf("%d reads for 50 who ask at once", got)
		}
		failures.Store(3)
		if account, err := cache.Lookup(t.Context(), name, true); account == nil || err != nil {
			t.Errorf("after three failures: %v %v", account, err)
		}
		failures.Store(1000)
		start := time.Now()
		if account, err := cache.Lookup(t.Context(), name,
			true); account != nil || err == nil || !strings.Contains(err.Error(), "the server is busy") {
			t.Errorf("with failures only: %v %v", account, err)
		}
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("waited %s", took)
		}
		failures.Store(0)
		for range 2 { // Q24: a negative answer is not a dead end
			if account, err := cache.Lookup(t.Context(), inject.Name{
				Namespace:      "n",
				ServiceAccount: "gone",
			}, true); account != nil || err != nil {
				t.Errorf("no such account: %v %v", account, err)
			}
		}
		before := reads.Load()
		if account, err := cache.Lookup(t.Context(), name,
			false); account != nil || err != nil || reads.Load() != before {
			t.Errorf("without waiting: %v %v", account, err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cache.Lookup(cancelled, name, true); err == nil {
			t.Error("a review that was given up waits")
		}
		time.Sleep(time.Second) // the read goes on without who asked
	})
}

// TestFailurePolicyDecides: if the account cannot be read, the answer is an error
// and never a silent yes.
func TestFailurePolicyDecides(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, failing{})
	if got := post(t, handler, reviewOf("v1", pod)); got.Code != http.StatusInternalServerError {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
}

type failing struct{}

func (failing) Lookup(context.Context, inject.Name, bool) (*inject.Account, error) {
	return nil, errors.New("down")
}

func (failing) Synced() <-chan struct{} { return accounts.Synced() }

// TestEvents: refusals become Events of the account, with its uid, and a storm of
// them does not.
func TestEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", UID: "u-s"},
		})
		events := webhook.NewEvents(client, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- events.Run(ctx) }()
		for range 1000 {
			events.Refused(webhook.Refusal{
				Name:    inject.Name{Namespace: "n", ServiceAccount: "s"},
				Pod:     "p",
				Kind:    webhook.RoleNotGranted,
				Message: "no grant",
			})
		}
		time.Sleep(5 * time.Second)
		list, err := client.EventsV1().Events("n").List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%d events, %v", len(list.Items), err)
		}
		if e := list.Items[0]; e.Regarding.UID != "u-s" || e.Regarding.Kind != "ServiceAccount" ||
			e.Reason != "RoleNotGranted" || e.Note != "pod p: no grant" || e.Type != "Warning" {
			t.Errorf("%+v", e)
		}
		for i := range 1000 {
			events.Refused(webhook.Refusal{
				Name: inject.Name{
					Namespace:      "n",
					ServiceAccount: "s" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)),
				},
				Kind: webhook.RoleNotGranted,
			})
		}
		time.Sleep(5 * time.Second)
		if list, err = client.EventsV1().Events("n").List(ctx, metav1.ListOptions{}); err != nil ||
			len(list.Items) > 60 {
			t.Errorf("%d events of a storm, %v", len(list.Items), err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
