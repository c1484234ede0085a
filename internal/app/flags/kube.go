package flags

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/build"
	"github.com/rolecall/rolecall/internal/fault"
)

// KubeConfig says how to reach the API server: by a kubeconfig and a URL over
// what that says, or from inside the cluster if both are empty.
func KubeConfig(kubeconfig, kubeAPI string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" && kubeAPI == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags(kubeAPI, kubeconfig)
	}
	if err != nil {
		refused := fault.New(fault.Usage, "find the API server: %w", err)
		if kubeconfig == "" && kubeAPI == "" {
			refused = refused.Hint("outside a cluster, add --kubeconfig FILE")
		}
		return nil, refused
	}
	noticesDead()
	config.QPS, config.Burst, config.UserAgent = 50, 50, build.UserAgent()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return noRedirects{next} })
	return config, nil
}

// noticesDead makes connections to API servers be given up whose other end hangs: after
// three seconds without a frame it is asked for a sign of life, and has three more. The
// library's own values are 30 and 15, and it takes others from the environment only; what the
// operator has there stays.
var noticesDead = sync.OnceFunc(func() {
	for _, name := range []string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS", "HTTP2_PING_TIMEOUT_SECONDS"} {
		if _, given := os.LookupEnv(name); !given {
			_ = os.Setenv(name, "3") // the name is valid
		}
	}
})

// noRedirects refuses what sends a request elsewhere: it carries our own token, and in a
// TokenReview somebody else's.
type noRedirects struct{ next http.RoundTripper }

// RoundTrip sends one request.
func (n noRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := n.next.RoundTrip(r)
	if err != nil || response.StatusCode < 300 || response.StatusCode > 399 || response.StatusCode == http.StatusNotModified {
		return response, err
	}
	_ = response.Body.Close()
	return nil, fault.New(fault.Unavailable, "the API server redirects %s with status %d, which is not followed",
		r.URL.Path, response.StatusCode)
}

// WrappedRoundTripper is what client-go looks for behind this one.
func (n noRedirects) WrappedRoundTripper() http.RoundTripper { return n.next }

// WarningLog logs what API servers warn of: admission lets in what it would not let
// in again.
type WarningLog struct{ Log *slog.Logger }

// HandleWarningHeaderWithContext takes one warning.
func (w WarningLog) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	w.Log.WarnContext(ctx, "API server warns", "warning", text)
}

// Kube says how a server reaches the API server.
type Kube struct {
	// Kubeconfig and API, a URL, are both empty for: from inside the cluster.
	Kubeconfig, API string
}

// Add adds --kubeconfig and --kube-api.
func (k *Kube) Add(cmd *cobra.Command) {
	cli.Group(cmd, "API server", func(f *pflag.FlagSet) {
		f.StringVar(&k.Kubeconfig, "kubeconfig", "", "kubeconfig of the cluster; from inside the cluster if empty")
		f.StringVar(&k.API, "kube-api", "", "URL of the API server, over what the kubeconfig says")
	})
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// Config is how to reach the API server.
func (k *Kube) Config() (*rest.Config, error) { return KubeConfig(k.Kubeconfig, k.API) }

// Client is for requests in JSON.
func (k *Kube) Client() (kubernetes.Interface, error) {
	config, err := k.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Lister is for lists of many objects, which are smaller and cheaper to read as protobuf.
func Lister(config *rest.Config) (kubernetes.Interface, error) {
	typed := rest.CopyConfig(config)
	typed.ContentType = "application/vnd.kubernetes.protobuf"
	typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfig(typed)
}
