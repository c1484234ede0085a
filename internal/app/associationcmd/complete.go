package associationcmd

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// completions lets shells offer what the flags that say where associations are can be.
func (c *associationFlags) completions(sys cli.System, cmd *cobra.Command) {
	for flag, find := range map[string]cli.Candidates{
		"context":      c.contexts,
		"cluster-name": c.clusters,
		"namespace":    c.namespaces(sys),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cli.CompleteFound(find))
	}
}

func (c *associationFlags) contexts(context.Context, []string, string) ([]string, error) {
	raw, err := c.kubeconfigs().RawConfig()
	return slices.Sorted(maps.Keys(raw.Contexts)), err
}

func (c *associationFlags) clusters(ctx context.Context, _ []string, _ string) ([]string, error) {
	account, err := awsapi.OpenAccount(ctx, c.region, "")
	if err != nil {
		return nil, err
	}
	return account.Clusters(ctx)
}

// namespaces are those of the cluster, or those that have associations in the EKS API.
func (c *associationFlags) namespaces(sys cli.System) cli.Candidates {
	return func(ctx context.Context, _ []string, _ string) ([]string, error) {
		if c.via == viaEKS {
			return c.each(ctx, sys, "", func(a *v1alpha1.PodIdentityAssociation) string { return a.Namespace })
		}
		client, err := c.client()
		if err != nil {
			return nil, err
		}
		list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		names := make([]string, len(list.Items))
		for i := range list.Items {
			names[i] = list.Items[i].Name
		}
		return names, nil
	}
}

// serviceAccounts are those of the namespace; the EKS API knows none.
func (c *associationFlags) serviceAccounts(cli.System) cli.Candidates {
	return func(ctx context.Context, args []string, _ string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil // it is named already
		}
		client, err := c.client()
		if err != nil {
			return nil, err
		}
		list, err := client.CoreV1().ServiceAccounts(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		names := make([]string, len(list.Items))
		for i := range list.Items {
			names[i] = list.Items[i].Name
		}
		return names, nil
	}
}

// associated are the service accounts of the namespace that have an association.
func (c *associationFlags) associated(sys cli.System) cli.Candidates {
	return func(ctx context.Context, args []string, _ string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil // it is named already
		}
		return c.each(ctx, sys, c.namespace, func(a *v1alpha1.PodIdentityAssociation) string {
			return a.Spec.ServiceAccountName
		})
	}
}

func (c *associationFlags) ids(sys cli.System) cli.Candidates {
	return func(ctx context.Context, _ []string, _ string) ([]string, error) {
		return c.each(ctx, sys, c.namespace, func(a *v1alpha1.PodIdentityAssociation) string {
			return idOf(a) + "\t" + a.Namespace + "/" + a.Spec.ServiceAccountName
		})
	}
}

// each returns something of every association, each word once.
func (c *associationFlags) each(
	ctx context.Context, sys cli.System, namespace string, word func(*v1alpha1.PodIdentityAssociation) string,
) ([]string, error) {
	from, err := c.open(ctx, sys)
	if err != nil {
		return nil, err
	}
	all, err := every(ctx, from, namespace)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(all))
	for i := range all {
		words[i] = word(&all[i])
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}

func (c *associationFlags) client() (kubernetes.Interface, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.via == viaEKS {
		return nil, cli.Usage("the EKS API has no service accounts")
	}
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
