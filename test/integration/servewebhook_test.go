package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestServeWebhook runs the command as the chart would, against a real API
// server: it becomes ready, injects, serves metrics, and stops when told.
func TestServeWebhook(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Name: "s3-reader", Annotations: map[string]string{"eks.amazonaws.com/role-arn": roleARN},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	authority := writeServingPair(t, dir)
	hook, metrics := freeport.Address(t), freeport.Address(t)
	stderr := &lockedbuffer.Buffer{}
	system := app.NewSystem()
	system.Stderr = stderr
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- app.Run(ctx, system, []string{
			"serve", "webhook", "--listen", hook, "--metrics-listen", metrics, "--kubeconfig", c.Kubeconfig,
			"--tls-cert", filepath.Join(dir, "tls.crt"), "--tls-key", filepath.Join(dir, "tls.key"),
			"--log-format", "json", "--shutdown-delay", "0s",
		})
	}()
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
		},
	}
	untilReady(t, client, "https://"+hook+"/readyz", ended, stderr)

	review := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",` +
		`"namespace":"default","operation":"CREATE","resource":{"version":"v1","resource":"pods"},` +
		`"object":{"spec":{"serviceAccountName":"s3-reader","containers":[{"name":"a","image":"i"}]}}}}`
	answer := call(t, client, http.MethodPost, "https://"+hook+"/mutate", review)
	if !strings.Contains(answer, `"patchType":"JSONPatch"`) {
		t.Errorf("review: %s", answer)
	}
	answer = call(t, client, http.MethodGet, "http://"+metrics+"/metrics", "")
	if !strings.Contains(answer, `pod_identity_webhook_pod_count{method="sts_web_identity"} 1`) {
		t.Errorf("metrics: %s", answer)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if !strings.Contains(stderr.String(), `"msg":"pod mutated"`) {
		t.Errorf("log: %s", stderr)
	}
}

// untilReady asks until the answer is 200, or the command has ended.
func untilReady(t *testing.T, client *http.Client, url string, ended <-chan int, stderr fmt.Stringer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case code := <-ended:
			t.Fatalf("ended with %d:\n%s", code, stderr)
		case <-ctx.Done():
			t.Fatalf("not ready:\n%s", stderr)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func call(t *testing.T, client *http.Client, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeServingPair(t *testing.T, dir string) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Serving(time.Now(), time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"tls.key": {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return authority
}
