// Package associationcmd has the commands of `rolecall association`, over a cluster's
// objects or the EKS API.
//
// The rules for associations are in internal/association.
package associationcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/kubestore"
)

func New(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "association",
		Aliases: []string{"associations", "pia"},
		Short:   "Say which IAM role the pods of a service account get",
		Long: `Create, show, change and delete Pod Identity associations: of a cluster, as objects
of kind PodIdentityAssociation (--via kubernetes), or in the EKS API and what serves
the same (--via eks, with the credentials and endpoints of the AWS environment).

The service account need not exist. An account has at most one association.`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAssociationCreate(sys), newAssociationGet(sys), newAssociationList(sys), newAssociationUpdate(sys), newAssociationDelete(sys), newAssociationDescribe(sys))
	return cmd
}

// associations are the operations of the EKS API, over a cluster's objects
// (*association.Service) or over AWS (*awsapi.Associations).
type associations interface {
	Create(ctx context.Context, in association.CreateInput) (*v1alpha1.PodIdentityAssociation, error)
	Describe(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error)
	List(ctx context.Context, in association.ListInput) (items []v1alpha1.PodIdentityAssociation, next string, err error)
	Update(ctx context.Context, in association.UpdateInput) (*v1alpha1.PodIdentityAssociation, error)
	Delete(ctx context.Context, id string) (*v1alpha1.PodIdentityAssociation, error)
}

// associationFlags say where the associations are, and which one is meant.
type associationFlags struct {
	via, kubeconfig, context, cluster, region string
	namespace, account, id                    string
}

// Values of --via.
const (
	viaKubernetes = "kubernetes"
	viaEKS        = "eks"
)

func (c *associationFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.via, "via", viaKubernetes, "where associations are: kubernetes or eks")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "with --via kubernetes: file that says how to reach the cluster; KUBECONFIG or ~/.kube/config if empty")
	f.StringVar(&c.context, "context", "", "with --via kubernetes: context of the kubeconfig")
	f.StringVar(&c.cluster, "cluster-name", "", "with --via eks: name of the cluster")
	f.StringVar(&c.region, "region", "", "with --via eks: region; the environment's if empty")
	f.StringVarP(&c.namespace, "namespace", "n", "", "namespace of the service account")
	_ = cmd.RegisterFlagCompletionFunc("via", cobra.FixedCompletions([]string{viaKubernetes, viaEKS}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// one adds what names one association: an argument, as kubectl has it, or a flag,
// as eksctl has it.
func (c *associationFlags) one(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.account, "service-account-name", "", "name of the service account, instead of the argument")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && c.account == "" {
			c.account, args = args[0], nil
		}
		return cli.NoArguments(cmd, args)
	}
}

// present adds another name of an association that is there.
func (c *associationFlags) present(cmd *cobra.Command) {
	c.one(cmd)
	cmd.Flags().StringVar(&c.id, "association-id", "", "id of the association, instead of namespace and service account")
}

func (c *associationFlags) validate() error {
	switch {
	case c.via != viaKubernetes && c.via != viaEKS:
		return fault.New(fault.Usage, "--via %q: want kubernetes or eks", c.via)
	case c.via == viaEKS && c.cluster == "":
		return fault.New(fault.Usage, "--via eks needs the name of the cluster").Hint("add --cluster-name NAME")
	case c.via == viaEKS && (c.kubeconfig != "" || c.context != ""):
		return fault.New(fault.Usage, "--kubeconfig and --context are of --via kubernetes")
	case c.via == viaKubernetes && (c.cluster != "" || c.region != ""):
		return fault.New(fault.Usage, "--cluster-name and --region are of the EKS API").Hint("add --via eks, or leave them out")
	}
	return nil
}

// store is the cluster's; it says which namespace is meant if none is named.
func (c *associationFlags) store(sys cli.System) (*kubestore.Store, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context})
	config, err := loaded.ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Usage, "find the cluster: %w", err).Hint("add --kubeconfig FILE, or --via eks --cluster-name NAME")
	}
	if c.namespace == "" {
		if c.namespace, _, err = loaded.Namespace(); err != nil {
			return nil, fault.New(fault.Usage, "find the namespace: %w", err)
		}
	}
	config.WarningHandler = rest.NewWarningWriter(sys.Stderr, rest.WarningWriterOptions{Deduplicate: true}) // as kubectl does
	return kubestore.New(config)
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
		return &association.Service{Store: store, Now: sys.Now}, nil
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

// find returns the association that the flags name.
func (c *associationFlags) find(ctx context.Context, all associations) (*v1alpha1.PodIdentityAssociation, error) {
	if c.id == "" {
		items, _, err := all.List(ctx, association.ListInput{Namespace: c.namespace, ServiceAccount: c.account})
		if err != nil {
			return nil, explainAWS(err)
		}
		if len(items) == 0 {
			return nil, fault.New(fault.NotFound, "%s/%s has no association", c.namespace, c.account).
				Hint("rolecall association list shows those there are; a pattern may be for it")
		}
		c.id = idOf(&items[0])
	}
	found, err := all.Describe(ctx, c.id)
	return found, explainAWS(err)
}

func (c *associationFlags) names() error {
	if (c.id == "") == (c.account == "") {
		return fault.New(fault.Usage, "name one association").Hint("add the name of the service account and --namespace NAMESPACE, or --association-id ID")
	}
	return nil
}

// all returns every association, of one namespace or of all, in full.
func allAssociations(ctx context.Context, from associations, namespace, via string) ([]v1alpha1.PodIdentityAssociation, error) {
	var all []v1alpha1.PodIdentityAssociation
	in := association.ListInput{Namespace: namespace}
	for {
		items, next, err := from.List(ctx, in)
		if err != nil {
			return nil, explainAWS(err)
		}
		all = append(all, items...)
		if in.NextToken = next; next == "" {
			break
		}
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
				return explainAWS(err)
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, byName)
	return all, nil
}

// explainAWS makes a fault of what AWS said, with what to do about it.
func explainAWS(err error) error {
	answer, isAWS := errors.AsType[*awsapi.Error](err)
	if !isAWS {
		return err
	}
	kinds := map[string]fault.Kind{
		"ResourceNotFoundException": fault.NotFound, "NotFoundException": fault.NotFound, "ResourceInUseException": fault.Conflict,
		"InvalidParameterException": fault.Invalid, "InvalidRequestException": fault.Invalid, "AccessDeniedException": fault.Denied,
		"ThrottlingException": fault.Throttled, "ServerException": fault.Unavailable, "ResourceLimitExceededException": fault.Conflict,
	}
	explained := fault.New(kinds[answer.Code], "%w", err)
	switch answer.Message {
	case "Role provided in the request does not exist":
		return explained.Hint("aws iam get-role --role-name NAME says whether it is there; the role must be in the cluster's account")
	case "Trust policy of the role provided is invalid":
		return explained.Hint("the role must trust the service pods.eks.amazonaws.com with sts:AssumeRole and sts:TagSession: `rolecall trust generate` prints the statement")
	}
	return explained
}

// associationFields are what create and update set.
type associationFields struct {
	role, target, policyFile string
	disableTags              bool
}

func (c *associationFields) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.role, "role-arn", "", "role that the pods get")
	f.StringVar(&c.target, "target-role-arn", "", "second role, taken with the session of the first; empty in update takes it away")
	f.BoolVar(&c.disableTags, "disable-session-tags", false, "leave the session tags out")
	f.StringVar(&c.policyFile, "session-policy", "", "file with an IAM policy that narrows sessions, - for standard input; empty in update takes it away")
	_ = cmd.MarkFlagFilename("session-policy", "json")
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
				"role-arn": func() { in.RoleARN = &fields.role }, "target-role-arn": func() { in.TargetRoleARN = &fields.target },
				"session-policy": func() { in.Policy = &policy }, "disable-session-tags": func() { in.DisableSessionTags = &fields.disableTags },
			} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
			updated, err := all.Update(cmd.Context(), in)
			if err != nil {
				return explainAWS(err)
			}
			return printChanged(sys, *output, "updated", updated)
		},
	}
	where.flags(cmd)
	where.present(cmd)
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
		Use:   "delete SERVICE-ACCOUNT [--namespace NAMESPACE] | --association-id ID",
		Short: "Delete an association; sessions that pods have go on until they expire",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, all, err := where.named(cmd.Context(), sys)
			if err != nil {
				return err
			}
			deleted, err := all.Delete(cmd.Context(), idOf(found))
			if err != nil {
				return explainAWS(err)
			}
			return printChanged(sys, *output, "deleted", deleted)
		},
	}
	where.flags(cmd)
	where.present(cmd)
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}

// named opens, and finds the one that the flags name.
func (c *associationFlags) named(ctx context.Context, sys cli.System) (*v1alpha1.PodIdentityAssociation, associations, error) {
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
		Use:   "get SERVICE-ACCOUNT [--namespace NAMESPACE] | --association-id ID",
		Short: "Show one association as a row, or as an object",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, _, err := where.named(cmd.Context(), sys)
			if err != nil {
				return err
			}
			return printAssociation(sys, *output, found)
		},
	}
	where.flags(cmd)
	where.present(cmd)
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}

func newAssociationDescribe(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:   "describe SERVICE-ACCOUNT [--namespace NAMESPACE] | --association-id ID",
		Short: "Show all of an association, and what keeps its pods from their role",
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
	where.flags(cmd)
	where.present(cmd)
	output = cli.Output(cmd, "text", "table", "wide", "json", "yaml")
	return cmd
}

func newAssociationList(sys cli.System) *cobra.Command {
	var (
		where  associationFlags
		output *string
	)
	cmd := &cobra.Command{
		Use:   "list [--namespace NAMESPACE]",
		Short: "Show the associations of a namespace, or of all",
		Args:  cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			namespace := where.namespace
			from, err := where.open(cmd.Context(), sys)
			if err != nil {
				return err
			}
			all, err := allAssociations(cmd.Context(), from, namespace, where.via)
			if err != nil {
				return err
			}
			if len(all) == 0 && (*output == "table" || *output == "wide") {
				fmt.Fprintln(sys.Stderr, "no associations")
				return nil
			}
			return printAssociations(sys, *output, all)
		},
	}
	where.flags(cmd)
	output = cli.Output(cmd, "table", "wide", "json", "yaml")
	return cmd
}
