// Package associationcmd has the commands of `rolecall association`, over a cluster's
// objects or the EKS API.
//
// It has no rules of its own: those for associations are in internal/association, what the
// EKS API answers is in internal/awsapi.
package associationcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/kubestore"
)

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "association",
		Aliases: []string{"associations", "pia", "podidentityassociation", "podidentityassociations"},
		Short:   "Manage which IAM role the pods of a service account get",
		Long: `Create, show, change and delete Pod Identity associations: of a cluster, as objects
of kind PodIdentityAssociation (--via kubernetes), or in the EKS API and in servers of
the same API (--via eks, with the credentials and endpoints of the AWS environment).

The service account does not have to exist. It has at most one association.`,
		Example: `  rolecall association create cart -n shop --role-arn arn:aws:iam::111122223333:role/cart
  rolecall association list`,
	}, newAssociationCreate(sys), newAssociationGet(sys), newAssociationList(sys),
		newAssociationUpdate(sys), newAssociationDelete(sys), newAssociationDescribe(sys))
}

// associations are the operations of the EKS API, over a cluster's objects
// (*association.Service) or over AWS (*awsapi.Associations).
type associations interface {
	Create(ctx context.Context, in association.CreateInput) (*v1alpha1.PodIdentityAssociation, error)
	Describe(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error)
	List(ctx context.Context, in association.ListInput) (items []v1alpha1.PodIdentityAssociation, next string,
		err error)
	Update(ctx context.Context, in association.UpdateInput) (*v1alpha1.PodIdentityAssociation, error)
	Delete(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error)
}

// associationFlags say where the associations are, and which one is meant.
type associationFlags struct {
	via, kubeconfig, context, cluster, region string
	namespace, account, id                    string
	// everywhere is --all-namespaces.
	everywhere bool
	plane      flags.Plane
}

// Values of --via.
const (
	viaKubernetes = "kubernetes"
	viaEKS        = "eks"
)

func (c *associationFlags) flags(sys cli.System, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.via, "via", viaKubernetes, "where associations are kept: kubernetes or eks")
	f.StringVar(&c.kubeconfig, "kubeconfig", "",
		"with --via kubernetes: kubeconfig of the cluster; KUBECONFIG or ~/.kube/config if empty")
	f.StringVar(&c.context, "context", "", "with --via kubernetes: context of the kubeconfig")
	f.StringVar(&c.cluster, "cluster-name", "", "with --via eks: name of the cluster")
	f.StringVar(&c.region, "region", "", "with --via eks: region; the environment's if empty")
	f.StringVarP(&c.namespace, "namespace", "n", "", "namespace of the service account")
	cli.CompleteFlag(cmd, "via", viaKubernetes, viaEKS)
	cli.CompleteFiles(cmd, "kubeconfig")
	c.completions(sys, cmd)
}

// lists adds --all-namespaces.
func (c *associationFlags) lists(cmd *cobra.Command, help string) {
	cmd.Flags().BoolVarP(&c.everywhere, "all-namespaces", "A", false, help)
	cmd.MarkFlagsMutuallyExclusive("all-namespaces", "namespace")
}

// one adds what names one association: an argument, as kubectl has it, or a flag,
// as eksctl has it.
func (c *associationFlags) one(sys cli.System, cmd *cobra.Command, names func(cli.System) cli.Candidates) {
	cmd.Flags().StringVar(&c.account, "service-account-name", "",
		"name of the service account, instead of the argument")
	cmd.ValidArgsFunction = cli.CompleteFound(names(sys))
	_ = cmd.RegisterFlagCompletionFunc("service-account-name", cli.CompleteFound(names(sys)))
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && c.account == "" {
			c.account, args = args[0], nil
		}
		return cli.NoArguments(cmd, args)
	}
}

// present adds another name of an association that exists.
func (c *associationFlags) present(sys cli.System, cmd *cobra.Command) {
	c.one(sys, cmd, c.associated)
	cmd.Flags().StringVar(&c.id, "association-id", "",
		"id of the association, instead of namespace and service account")
	_ = cmd.RegisterFlagCompletionFunc("association-id", cli.CompleteFound(c.ids(sys)))
}

func (c *associationFlags) validate() error {
	switch {
	case c.via != viaKubernetes && c.via != viaEKS:
		return fault.New(fault.Usage, "--via %q: want kubernetes or eks", c.via)
	case c.via == viaEKS && c.cluster == "":
		return fault.New(fault.Usage, "--via eks needs the name of the cluster").Hint("add --cluster-name NAME")
	case c.via == viaEKS && (c.kubeconfig != "" || c.context != ""):
		return fault.New(fault.Usage, "--kubeconfig and --context need --via kubernetes")
	case c.via == viaEKS && c.plane.Given():
		return fault.New(fault.Usage, "--plane needs --via kubernetes: the EKS API decides by itself")
	case c.via == viaKubernetes && (c.cluster != "" || c.region != ""):
		return fault.New(fault.Usage, "--cluster-name and --region need --via eks").
			Hint("add --via eks, or leave them out")
	}
	return nil
}

// store is the cluster's; it says which namespace is meant if none is named.
func (c *associationFlags) store(sys cli.System) (*kubestore.Store, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	// As kubectl does.
	config.WarningHandler = rest.NewWarningWriter(sys.Stderr, rest.WarningWriterOptions{Deduplicate: true})
	return kubestore.New(config)
}

func (c *associationFlags) kubeconfigs() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: c.context})
}

// config is how the cluster is reached. An empty namespace becomes that of the context.
func (c *associationFlags) config() (*rest.Config, error) {
	loaded := c.kubeconfigs()
	config, err := loaded.ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Usage, "find the cluster: %w", err).
			Hint("add --kubeconfig FILE, or --via eks --cluster-name NAME")
	}
	if c.namespace == "" {
		if c.namespace, _, err = loaded.Namespace(); err != nil {
			return nil, fault.New(fault.Usage, "find the namespace: %w", err)
		}
	}
	return config, nil
}

// open reaches the associations. An empty namespace becomes that of the context,
// or default.
func (c *associationFlags) open(ctx context.Context, sys cli.System) (associations, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.via == viaKubernetes {
		store, err := c.store(sys)
		if err != nil {
			return nil, err
		}
		return &association.Service{
			Store: store, Now: sys.Now,
			Permit: func(_ context.Context, a *v1alpha1.PodIdentityAssociation) error { return c.allowed(a) },
		}, nil
	}
	account, err := awsapi.OpenAccount(ctx, c.region, "")
	if err != nil {
		return nil, err
	}
	if c.namespace == "" {
		c.namespace = "default"
	}
	return account.Associations(c.cluster), nil
}

// allowed refuses what the plane's file, if one is named, does not let associations
// choose. The cluster decides too, if its webhook is asked.
func (c *associationFlags) allowed(a *v1alpha1.PodIdentityAssociation) error {
	said, err := c.plane.Load()
	if err != nil || !c.plane.Given() {
		return err
	}
	bounds := said.Bounds()
	return bounds.Check(a)
}

// find returns the association that the flags name.
func (c *associationFlags) find(ctx context.Context, all associations) (*v1alpha1.PodIdentityAssociation, error) {
	if c.id == "" {
		items, _, err := all.List(ctx, association.ListInput{Namespace: c.namespace, ServiceAccount: c.account})
		if err != nil {
			return nil, awsapi.ExplainAssociation(err)
		}
		if len(items) == 0 {
			return nil, c.nothing(ctx, all)
		}
		c.id = idOf(&items[0])
	}
	found, err := all.Describe(ctx, c.id)
	return found, awsapi.ExplainAssociation(err)
}

// nothing says what was looked at for an account that has no association.
func (c *associationFlags) nothing(ctx context.Context, all associations) error {
	missing := fault.New(fault.NotFound, "%s/%s has no association", c.namespace, c.account)
	others, err := every(ctx, all, c.namespace)
	if err != nil {
		return missing.Hint("rolecall association list shows all of them")
	}
	if len(others) == 0 {
		return missing.Hint("namespace %s has no associations; rolecall association list shows those of all namespaces",
			c.namespace)
	}
	names := make([]string, len(others))
	for i := range others {
		names[i] = others[i].Spec.ServiceAccountName
	}
	slices.Sort(names)
	return missing.Hint("namespace %s has %s, for %s", c.namespace, count(len(others)), strings.Join(names, ", "))
}

func (c *associationFlags) names() error {
	if (c.id == "") == (c.account == "") {
		return fault.New(fault.Usage, "name one association").
			Hint("add the name of the service account and --namespace NAMESPACE, or --association-id ID")
	}
	return nil
}

// every returns all associations of one namespace or of all, as lists have them.
func every(ctx context.Context, from associations, namespace string) ([]v1alpha1.PodIdentityAssociation, error) {
	var all []v1alpha1.PodIdentityAssociation
	in := association.ListInput{Namespace: namespace}
	for {
		items, next, err := from.List(ctx, in)
		if err != nil {
			return nil, awsapi.ExplainAssociation(err)
		}
		all = append(all, items...)
		if in.NextToken = next; next == "" {
			return all, nil
		}
	}
}

// allAssociations returns every association, of one namespace or of all, in full.
func allAssociations(
	ctx context.Context, from associations, namespace, via string,
) ([]v1alpha1.PodIdentityAssociation, error) {
	all, err := every(ctx, from, namespace)
	if err != nil {
		return nil, err
	}
	if via == viaEKS { // lists hold summaries
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(8)
		for i := range all {
			group.Go(func() error {
				full, err := from.Describe(ctx, idOf(&all[i]))
				if err == nil {
					all[i] = *full
				}
				return awsapi.ExplainAssociation(err)
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, byName)
	return all, nil
}

// associationFields are what create and update set.
type associationFields struct {
	role, target, policyFile string
	disableTags              bool
}

func (c *associationFields) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.role, "role-arn", "", "role that the pods get")
	f.StringVar(&c.target, "target-role-arn", "",
		"second role, assumed with the session of the first; empty in update removes it")
	f.BoolVar(&c.disableTags, "disable-session-tags", false, "leave the session tags out")
	f.StringVar(&c.policyFile, "session-policy", "",
		"file with an IAM policy that narrows sessions, - for standard input; empty in update removes it")
	cli.CompleteFiles(cmd, "session-policy", "json")
}

func (c *associationFields) policy(sys cli.System) (string, error) {
	switch c.policyFile {
	case "":
		return "", nil
	case "-":
		text, err := io.ReadAll(sys.Stdin)
		return string(text), err
	}
	text, err := os.ReadFile(c.policyFile)
	if err != nil {
		return "", fault.New(fault.Usage, "read the session policy: %w", err)
	}
	return string(text), nil
}

func newAssociationUpdate(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		fields associationFields
		output *string
	)
	cmd := &cobra.Command{
		Use:   "update SERVICE-ACCOUNT [--namespace NAMESPACE] [--role-arn ARN]...",
		Short: "Change an association's role, target role, policy or tagging",
		Example: `  rolecall association update cart -n shop --role-arn arn:aws:iam::111122223333:role/cart
  rolecall association update --association-id a-kyevsbqhrnchy79jw --target-role-arn ""`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(where.names(), where.validate()); err != nil {
				return err
			}
			policy, err := fields.policy(sys)
			if err != nil {
				return err
			}
			all, err := where.open(cmd.Context(), sys)
			if err != nil {
				return err
			}
			found, err := where.find(cmd.Context(), all)
			if err != nil {
				return err
			}
			in := association.UpdateInput{ID: idOf(found)}
			for flag, set := range map[string]func(){
				"role-arn":             func() { in.RoleARN = &fields.role },
				"target-role-arn":      func() { in.TargetRoleARN = &fields.target },
				"session-policy":       func() { in.Policy = &policy },
				"disable-session-tags": func() { in.DisableSessionTags = &fields.disableTags },
			} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
			updated, err := all.Update(cmd.Context(), in)
			if err != nil {
				return awsapi.ExplainAssociation(err)
			}
			return printChanged(sys, *output, "updated", updated)
		},
	}
	where.flags(sys, cmd)
	where.present(sys, cmd)
	where.plane.Add(cmd)
	fields.flags(cmd)
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}

func newAssociationDelete(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:     "delete SERVICE-ACCOUNT [--namespace NAMESPACE] | --association-id ID",
		Aliases: []string{"rm"},
		Short:   "Delete an association; sessions of pods last until they expire",
		Example: `  rolecall association delete cart -n shop
  rolecall association delete --via eks --cluster-name prod --association-id a-kyevsbqhrnchy79jw`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, all, err := where.named(cmd.Context(), sys)
			if err != nil {
				return err
			}
			deleted, err := all.Delete(cmd.Context(), idOf(found))
			if err != nil {
				return awsapi.ExplainAssociation(err)
			}
			return printChanged(sys, *output, "deleted", deleted)
		},
	}
	where.flags(sys, cmd)
	where.present(sys, cmd)
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}

// named opens, and finds the one that the flags name.
func (c *associationFlags) named(
	ctx context.Context, sys cli.System,
) (*v1alpha1.PodIdentityAssociation, associations, error) {
	if err := c.names(); err != nil {
		return nil, nil, err
	}
	all, err := c.open(ctx, sys)
	if err != nil {
		return nil, nil, err
	}
	found, err := c.find(ctx, all)
	return found, all, err
}

func newAssociationGet(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:   "get [SERVICE-ACCOUNT] [--namespace NAMESPACE | --all-namespaces] | --association-id ID",
		Short: "Show one association, or those of a namespace, as kubectl get does",
		Example: `  rolecall association get cart -n shop -o yaml
  rolecall association get -n shop
  rolecall association get -A -o wide`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if where.id == "" && where.account == "" {
				return where.list(cmd.Context(), sys, *output, false)
			}
			if where.everywhere {
				return fault.New(fault.Usage, "--all-namespaces is for lists, not for one association").
					Hint("add --namespace NAMESPACE instead, or leave the service account out")
			}
			found, _, err := where.named(cmd.Context(), sys)
			if err != nil {
				return err
			}
			return printAssociation(sys, *output, found)
		},
	}
	where.flags(sys, cmd)
	where.present(sys, cmd)
	where.lists(cmd, "show the associations of all namespaces")
	output = cli.Output(cmd, "table", "wide", "json", "yaml", "name")
	return cmd
}

func newAssociationDescribe(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:   "describe SERVICE-ACCOUNT [--namespace NAMESPACE] | --association-id ID",
		Short: "Show the details of an association, and what keeps its pods from their role",
		Example: `  rolecall association describe cart -n shop
  rolecall association describe --via eks --cluster-name prod cart -n shop`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, _, err := where.named(cmd.Context(), sys)
			if err != nil {
				return err
			}
			if *output == "text" {
				return describeAssociation(sys, found)
			}
			return printAssociation(sys, *output, found)
		},
	}
	where.flags(sys, cmd)
	where.present(sys, cmd)
	output = cli.Output(cmd, "text", "table", "wide", "json", "yaml")
	return cmd
}

func newAssociationList(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:     "list [--namespace NAMESPACE | --all-namespaces]",
		Aliases: []string{"ls"},
		Short:   "List the associations of all namespaces, or of one",
		Example: `  rolecall association list
  rolecall association list -n shop -o wide
  rolecall association list --via eks --cluster-name prod -o yaml`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return where.list(cmd.Context(), sys, *output, where.namespace == "")
		},
	}
	where.flags(sys, cmd)
	where.lists(cmd, "list the associations of all namespaces, as without --namespace")
	output = cli.Output(cmd, "table", "wide", "json", "yaml", "name")
	return cmd
}

// list prints the associations of the namespace that the flags name, or that the context
// has, or of all.
func (c *associationFlags) list(ctx context.Context, sys cli.System, output string, everywhere bool) error {
	from, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	namespace := c.namespace
	if everywhere || c.everywhere {
		namespace = ""
	}
	all, err := allAssociations(ctx, from, namespace, c.via)
	if err != nil {
		return err
	}
	if len(all) > 0 || output == "json" || output == "yaml" {
		return printAssociations(sys, output, all)
	}
	c.printNothing(ctx, sys, from, namespace)
	return nil
}

// printNothing says how much was looked at without finding one.
func (c *associationFlags) printNothing(
	ctx context.Context, sys cli.System, from associations, namespace string,
) {
	place := "cluster"
	if c.via == viaEKS {
		place = "cluster " + c.cluster
	}
	if namespace == "" {
		fmt.Fprintf(sys.Stderr, "no associations in any namespace of the %s\n", place)
		return
	}
	looked := ""
	if all, err := every(ctx, from, ""); err == nil { // somebody may read one namespace only
		looked = fmt.Sprintf("; the %s has %s in all its namespaces", place, count(len(all)))
	}
	fmt.Fprintf(sys.Stderr, "no associations in namespace %s%s\n", namespace, looked)
}
