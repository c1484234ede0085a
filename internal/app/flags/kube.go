package flags

import (
	"context"
	"log/slog"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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
	config.QPS, config.Burst = 50, 50
	return config, nil
}

// WarningLog logs what API servers warn of: admission lets in what it would not let
// in again.
type WarningLog struct{ Log *slog.Logger }

// HandleWarningHeaderWithContext takes one warning.
func (w WarningLog) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	w.Log.WarnContext(ctx, "API server warns", "warning", text)
}

func KubeClient(kubeconfig, kubeAPI string) (kubernetes.Interface, error) {
	config, err := KubeConfig(kubeconfig, kubeAPI)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
