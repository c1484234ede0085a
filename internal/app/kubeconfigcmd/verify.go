package kubeconfigcmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
)

// verifyPatience is how long the plugin and the cluster may take.
const verifyPatience = 30 * time.Second

// verify enters the cluster by a context of a file, and prints who one is there.
func verify(ctx context.Context, sys cli.System, path, name string) error {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: path}, &clientcmd.ConfigOverrides{CurrentContext: name},
	).ClientConfig()
	if err != nil {
		return fault.New(fault.Invalid, "the entry was written, and client-go does not take it: %w", err)
	}
	config.Timeout = verifyPatience
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fault.New(fault.Invalid, "the entry was written, and client-go does not take it: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	answer, err := client.AuthenticationV1().SelfSubjectReviews().
		Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return fault.New(fault.Denied, "the entry was written, and the cluster does not know who this is: Unauthorized").
			Hint("rolecall token --whoami with the same flags says as whom AWS knows you; " +
				"that principal is to be mapped in the cluster")
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err):
		return fault.New(fault.Unavailable, "the entry was written, and the cluster does not say who one is: %w", err)
	case err != nil:
		return fault.New(fault.Unavailable, "the entry was written, and the cluster could not be asked: %w", err)
	}
	who := answer.Status.UserInfo
	fmt.Fprintf(sys.Stdout, "You are %s", who.Username)
	if len(who.Groups) > 0 {
		fmt.Fprintf(sys.Stdout, " in %s", strings.Join(who.Groups, ", "))
	}
	fmt.Fprintln(sys.Stdout)
	return nil
}
