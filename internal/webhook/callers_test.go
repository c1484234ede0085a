package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

// from is a review of a pod of an account, from an address.
func from(
	t *testing.T,
	handler http.Handler,
	address, account string,
	state *tls.ConnectionState,
) *httptest.ResponseRecorder {
	t.Helper()
	object := `{"metadata":{"name":"p"},"spec":{"serviceAccountName":"` + account + `","containers":[{"name":"a","image":"i"}]}}`
	request := httptest.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		"/mutate",
		strings.NewReader(reviewOf("v1", object)),
	)
	request.Header.Set("Content-Type", "application/json")
	request.RemoteAddr, request.TLS = address, state
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// TestCallers: with authorities of API servers nobody else is answered, on no path that
// says or decides anything; probes are.
func TestCallers(t *testing.T) {
	t.Parallel()
	with := func(verified bool, common string, names ...string) *tls.ConnectionState {
		certificate := &x509.Certificate{Subject: pkix.Name{CommonName: common}, DNSNames: names}
		state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
		if verified {
			state.VerifiedChains = [][]*x509.Certificate{{certificate}}
		}
		return state
	}
	for _, row := range []struct {
		name  string
		names []string
		state *tls.ConnectionState
		taken bool
	}{
		{"no TLS", nil, nil, false},
		{"no certificate", nil, &tls.ConnectionState{}, false},
		{"a certificate that was not verified", nil, with(false, "kube-apiserver"), false},
		{"a certificate", nil, with(true, "anybody"), true},
		{"its common name", []string{"kube-apiserver"}, with(true, "kube-apiserver"), true},
		{"its DNS name", []string{"kube-apiserver"}, with(true, "", "other", "kube-apiserver"), true},
		{"another's name", []string{"kube-apiserver"}, with(true, "system:node:n1", "n1"), false},
		{"part of the name", []string{"kube-apiserver"}, with(true, "kube-apiserver-not"), false},
		{"no name", []string{"kube-apiserver"}, with(true, ""), false},
	} {
		handler, err := webhook.New(webhook.Config{
			Settings: inject.Defaults(), ServiceAccounts: accounts, Callers: &webhook.Callers{Names: row.names},
			Writes:  &webhook.Writes{Grants: follow.Fixed[*grant.Set]{Content: &grant.Set{}}},
			Metrics: prometheus.NewRegistry(), Log: discard, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := from(t, handler, "192.0.2.1:1", "s", row.state)
		if taken := got.Code == http.StatusOK; taken != row.taken ||
			!taken && strings.Contains(got.Body.String(), role) {
			t.Errorf("%s: %d %s", row.name, got.Code, got.Body)
		}
		for path, open := range map[string]bool{webhook.ValidatePath: row.taken, "/healthz": true, "/readyz": true} {
			method := http.MethodGet
			if path == webhook.ValidatePath {
				method = http.MethodPost
			}
			request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
			request.TLS = row.state
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if refused := recorder.Code == http.StatusForbidden; refused == open {
				t.Errorf("%s, %s: %d %s", row.name, path, recorder.Code, recorder.Body)
			}
		}
	}
}

// TestStrangersStarveNobody: those who ask for accounts that there are not, over as many
// connections as they like, take their turn: pods of accounts that are known, or were
// made a moment ago, get their role.
func TestStrangersStarveNobody(t *testing.T) {
	t.Parallel()
	for name, strangers := range map[string]func(i int) (address, account string){
		"of one address":       func(i int) (string, string) { return "192.0.2.66:1", fmt.Sprint("nobody-", i) },
		"of the same address":  func(i int) (string, string) { return "192.0.2.1:1", fmt.Sprint("nobody-", i) },
		"who ask for the same": func(int) (string, string) { return "192.0.2.66:1", "new" },
		"of 8 addresses":       func(i int) (string, string) { return fmt.Sprintf("192.0.2.%d:1", 60+i%8), fmt.Sprint("nobody-", i) },
		"of a network":         func(i int) (string, string) { return fmt.Sprintf("[2001:db8::%x]:1", i), fmt.Sprint("nobody-", i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				annotated := map[string]string{"eks.amazonaws.com/role-arn": role}
				client := fake.NewClientset(&corev1.ServiceAccount{
					ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "known", Annotations: annotated},
				})
				client.PrependReactor(
					"get",
					"serviceaccounts",
					func(a clienttesting.Action) (bool, runtime.Object, error) {
						if get := a.(clienttesting.GetAction); get.GetName() == "new" {
							return true, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
								Namespace: "n", Name: "new", Annotations: annotated,
							}}, nil
						}
						return true, nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), "nobody")
					},
				)
				source := webhook.NewAccounts(client, inject.Defaults(), time.Second, time.Now)
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = source.Run(ctx) })
				<-source.Synced()
				handler := newHandler(t, source)
				for i := range 60 {
					running.Go(func() {
						for n := i; ctx.Err() == nil; n += 60 {
							address, account := strangers(n)
							from(t, handler, address, account, nil)
							time.Sleep(rand.N(10 * time.Millisecond))
						}
					})
				}
				time.Sleep(3 * time.Second)
				for range 40 {
					time.Sleep(rand.N(100 * time.Millisecond))
					for _, account := range []string{"known", "new"} {
						if got := from(
							t,
							handler,
							"192.0.2.1:1",
							account,
							nil,
						); !strings.Contains(
							got.Body.String(),
							`"patch"`,
						) {
							t.Errorf("%s: %d %s", account, got.Code, got.Body)
						}
					}
				}
				stop()
				running.Wait()
			})
		})
	}
}
