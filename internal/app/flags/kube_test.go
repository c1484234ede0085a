package flags_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/test/hungpeer"
)

// reach is how the flags lead to a cluster, by a kubeconfig with a token.
func reach(t *testing.T, cluster *clientcmdapi.Cluster) *rest.Config {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = cluster
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "own"}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	reached, err := flags.KubeConfig(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return reached
}

// TestKubeFollowsNobody: a request to the API server carries our token, and a TokenReview
// a pod's; neither goes where a redirect points.
func TestKubeFollowsNobody(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, status)
		}))
		reached := reach(t, &clientcmdapi.Cluster{Server: server.URL})
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "a pod's"}}
		_, err := kubernetes.NewForConfigOrDie(reached).AuthenticationV1().TokenReviews().
			Create(t.Context(), review, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), "is not followed") {
			t.Errorf("status %d: %v", status, err)
		}
		server.Close()
	}
}

// TestAPIServerHangs: the connection to an API server that hangs is given up, and the next
// request makes another; and the API server is told who asks.
func TestAPIServerHangs(t *testing.T) {
	t.Parallel()
	serve := func() *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || !strings.HasPrefix(r.UserAgent(), "rolecall/") {
				t.Errorf("%s, by %q", r.Proto, r.UserAgent())
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	first := serve()
	front := hungpeer.New(t, first.Listener.Addr().String())
	reached := reach(t, &clientcmdapi.Cluster{
		Server: "https://" + front.Addr().String(),
		CertificateAuthorityData: pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: first.Certificate().Raw},
		),
	})
	get := kubernetes.NewForConfigOrDie(reached).Discovery().RESTClient().Get
	if _, err := get().AbsPath("/readyz").DoRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	front.Hang(serve().Listener.Addr().String())
	bounded, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	began := time.Now()
	if _, err := get().AbsPath("/readyz").DoRaw(bounded); err != nil || front.Connections() != 2 {
		t.Errorf("after %v: %v, over %d connections", time.Since(began), err, front.Connections())
	}
}
