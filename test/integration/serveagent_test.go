package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

const podIdentity = "pods.eks.amazonaws.com"

// TestServeAgent runs the agent with tokens that a real API server minted, keys
// that it publishes, and a broker that asks it about each token.
func TestServeAgent(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Issuer: issuerURL})
	ctx := t.Context()
	for _, name := range []string{"cart", "agent"} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(
			ctx, account, metav1.CreateOptions{},
		); err != nil {
			t.Fatal(err)
		}
	}
	pod := newPod("cart-0", "cart")
	pod.Spec.NodeName = "n1"
	pod, err := c.Client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	changed := make(chan struct{})
	credentials := brokerOf(t, c, &calls)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/rolecall/v1/changes" {
			credentials(w, r)
			return
		}
		select { // one change, then none
		case <-changed:
			_, _ = io.WriteString(w, `{"cursor":"2","items":[{"associationId":"a-0123456789abcdefg","version":2,`+
				`"deleted":true}]}`)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(broker.Close)
	own := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(own, []byte(boundToken(t, c, "agent", nil, "rolecall-broker")), 0o600); err != nil {
		t.Fatal(err)
	}
	address, stop := startAgent(t, c, broker.URL, own)
	ask := func(token string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/credentials", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	first := boundToken(t, c, "cart", pod, podIdentity)
	if status := ask(first); status != http.StatusOK || calls.Load() != 1 {
		t.Fatalf("status %d after %d calls", status, calls.Load())
	}
	// The keys are read in the background: within a moment rotated tokens make no
	// call any more.
	poll(t, func() bool {
		before := calls.Load()
		if status := ask(boundToken(t, c, "cart", pod, podIdentity)); status != http.StatusOK {
			t.Fatalf("status %d for a rotated token", status)
		}
		return calls.Load() == before
	}, func() { t.Error("rotated tokens always go to the broker") })
	before := calls.Load()
	if status := ask(boundToken(t, c, "cart", pod, "sts.amazonaws.com")); status != http.StatusBadRequest ||
		calls.Load() != before {
		t.Errorf("status %d, %d calls for a token of another audience", status, calls.Load()-before)
	}
	// Another account's token finds nothing of the pod's: the broker is asked.
	if status := ask(boundToken(t, c, "agent", nil, podIdentity)); status != http.StatusOK || calls.Load() != before+1 {
		t.Errorf("status %d, %d calls for another account", status, calls.Load()-before)
	}
	// The association goes, and what it gave.
	changed <- struct{}{}
	before = calls.Load()
	poll(t, func() bool {
		if status := ask(first); status != http.StatusOK { // our broker has not heard of it
			t.Fatalf("status %d", status)
		}
		return calls.Load() > before
	}, func() { t.Error("credentials of a deleted association are still served") })
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// startAgent returns where it serves, and what ends it.
func startAgent(
	t *testing.T, c *cluster.Cluster, endpoint, token string, more ...string,
) (address string, stop func() int) {
	t.Helper()
	port := func() string {
		_, port, err := net.SplitHostPort(freeport.Address(t))
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	credentials, probes := port(), port()
	logs := &lockedbuffer.Buffer{}
	system := app.NewSystem()
	system.Stdout, system.Stderr = logs, logs
	system.Getenv = func(name string) string { return map[string]string{"NODE_NAME": "n1"}[name] }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- app.Run(ctx, system, append([]string{
			"serve", "agent", "-c", "prod", "-b", "127.0.0.1", "-p", credentials, "--probe-port", probes,
			"--ipv6", "off", "--metrics-address", "127.0.0.1", "--metrics-port", port(), "--upstream", "broker",
			"--endpoint", endpoint, "--broker-token-file", token, "--kubeconfig", c.Kubeconfig,
			"--pod-liveness", "on", "--pod-qps", "1000", "--foreground-deadline", "10s",
		}, more...))
	}()
	untilReady(t, http.DefaultClient, "http://127.0.0.1:"+probes+"/readyz", ended, logs)
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(logs)
		}
	})
	return "127.0.0.1:" + credentials, func() int { cancel(); return <-ended }
}

// brokerOf answers in the form of EKS Auth whatever the API server accepts, to
// the agent's own account only.
func brokerOf(t *testing.T, c *cluster.Cluster, calls *atomic.Int32) http.HandlerFunc {
	t.Helper()
	review := func(ctx context.Context, token, audience string) string {
		answer, err := c.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
		}, metav1.CreateOptions{})
		if err != nil || !answer.Status.Authenticated || len(answer.Status.Audiences) != 1 {
			return ""
		}
		return answer.Status.User.Username
	}
	return func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if review(r.Context(), bearer, "rolecall-broker") != "system:serviceaccount:default:agent" {
			w.Header().Set("X-Amzn-Errortype", "UnrecognizedClientException")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var body struct{ Token string }
		if err := json.NewDecoder(io.LimitReader(r.Body, 32<<10)).Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		name, ok := strings.CutPrefix(review(r.Context(), body.Token, podIdentity), "system:serviceaccount:default:")
		if !ok {
			w.Header().Set("X-Amzn-Errortype", "InvalidTokenException")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, `{"subject":{"namespace":"default","serviceAccount":%q},`+
			`"podIdentityAssociation":{"associationId":"a-0123456789abcdefg"},`+
			`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/x/y"},`+
			`"credentials":{"accessKeyId":"ASIAEXAMPLEKEYID0001",`+
			`"secretAccessKey":"s","sessionToken":"t","expiration":%d}}`, name, time.Now().Add(6*time.Hour).Unix())
	}
}

// boundToken asks as a kubelet does; without a pod the token is not bound.
func boundToken(t *testing.T, c *cluster.Cluster, account string, pod *corev1.Pod, audience string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			APIVersion: "v1",
			Kind:       "Pod",
			Name:       pod.Name,
			UID:        pod.UID,
		}
	}
	made, err := c.Client.CoreV1().
		ServiceAccounts("default").
		CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Status.Token
}
