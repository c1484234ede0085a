package accesscmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grouprole"
)

// groupRoleConfig is what `access group-role` needs.
type groupRoleConfig struct {
	wanted              grouprole.Wanted
	source, policy      string
	kubeconfig, context string
	apply, undo         bool
	output              *string
}

func newGroupRole(sys cli.System) *cobra.Command {
	var c groupRoleConfig
	cmd := &cobra.Command{
		Use:   "group-role --group GROUP --role ROLE --cluster NAME (--cluster-role NAME | --kubernetes-group NAME)",
		Short: "Give an IAM group a role that its members assume for a cluster",
		Long: `Give the members of an IAM group a role in a cluster, without a controller: a role that
kubectl assumes for them, the policy that lets the group assume it, what the role may do
in AWS, its mapping in the cluster, and its RBAC.

What would be changed is printed as a diff; --apply changes it. What was stopped half-way
is finished by the same command, and undone by it with --undo. What this command did not
make it neither changes nor removes: tags, labels and annotations rolecall.io/made-by tell.

The role trusts the IAM users of the account, of whom only those may assume it whose
policies say so. People keep their names in the cluster's audit by the name of their
session; aws eks get-token calls everybody EKSGetTokenAuth.`,
		Example: `  # what would be done, and then do it
  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod --cluster-role view
  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod --cluster-role view --apply

  # for a Kubernetes group that is bound already, mapped by an object instead of aws-auth
  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod \
    --kubernetes-group developers --source identity-mapping

  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod --undo --apply`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	f, w := cmd.Flags(), &c.wanted
	f.StringVar(&w.Group, "group", "", "name of the IAM group")
	f.StringVar(&w.Role, "role", "", "name of the IAM role, which is made")
	f.StringVar(&w.Cluster, "cluster", "", "name of the cluster")
	f.StringVar(&w.Region, "region", "", "region of an EKS cluster; any if empty")
	f.StringArrayVar(&w.Groups, "kubernetes-group", nil,
		"Kubernetes group of the members; may be repeated (default: with --cluster-role, the IAM group's name)")
	f.StringVar(&w.ClusterRole, "cluster-role", "",
		"ClusterRole to bind to the groups, such as view, edit or cluster-admin")
	f.StringVar(&w.Username, "username", "", "template of the usernames (default: ROLE:{{SessionName}})")
	f.StringVar(&c.source, "source", string(grouprole.AWSAuth), "where to map the role: aws-auth or identity-mapping")
	f.StringVar(&c.policy, "access-policy", "",
		"file with the policy of what the role may do in AWS (default: find and describe the cluster)")
	f.BoolVar(&w.OwnSessionName, "own-session-name", false,
		"let members assume the role under their own user names only, which aws eks get-token does not")
	f.BoolVar(&c.undo, "undo", false, "take away what was made")
	f.BoolVar(&c.apply, "apply", false, "make the changes")
	cli.Group(cmd, "API server", func(f *pflag.FlagSet) {
		f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file of the cluster")
		f.StringVar(&c.context, "context", "", "context in the kubeconfig; the current one if empty")
	})
	c.output = cli.Output(cmd, "diff", "json")
	cli.CompleteFlag(cmd, "source", string(grouprole.AWSAuth), string(grouprole.IdentityMapping))
	cli.CompleteFlag(cmd, "cluster-role", "view", "edit", "admin", "cluster-admin")
	cli.CompleteFiles(cmd, "kubeconfig")
	cli.CompleteFiles(cmd, "access-policy", "json")
	return cmd
}

func (c *groupRoleConfig) run(ctx context.Context, sys cli.System) error {
	w := &c.wanted
	for _, flag := range []struct{ name, value string }{{"group", w.Group}, {"role", w.Role}, {"cluster", w.Cluster}} {
		if flag.value == "" {
			return fault.New(fault.Usage, "no --%s given", flag.name).Hint("add --%s NAME", flag.name)
		}
	}
	if w.Region != "" && !arn.IsRegion(w.Region) {
		return fault.New(fault.Usage, "--region %w", arn.CheckRegion(w.Region))
	}
	if c.policy != "" {
		text, err := os.ReadFile(c.policy)
		if err != nil {
			return fault.New(fault.Usage, "--access-policy: %w", err)
		}
		w.AccessPolicy = string(text)
	}
	w.Source = grouprole.Source(c.source)
	w.Complete()
	if err := c.check(); err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	is, err := c.open(ctx, config)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, sys, is, config)
}

// check looks at the flags; an undo needs no groups.
func (c *groupRoleConfig) check() error {
	w := c.wanted
	if c.undo && len(w.Groups) == 0 {
		w.Groups = []string{w.Group}
	}
	return w.Check()
}

func (c *groupRoleConfig) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		return nil, fault.New(fault.Usage, "find the cluster: %w", err).Hint("add --kubeconfig FILE")
	}
	return config, nil
}

// open finds out whose credentials there are, and what is needed to carry out steps.
func (c *groupRoleConfig) open(ctx context.Context, config *rest.Config) (*world, error) {
	account, err := awsapi.OpenAccount(ctx, c.wanted.Region, "")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	who, err := account.Identity(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask STS whose credentials these are: %w", err).
			Hint("log in to AWS as somebody who may administer IAM: aws sts get-caller-identity")
	}
	parsed, err := arn.Parse(who.ARN)
	if err != nil || !arn.IsAccount(who.Account) {
		return nil, fault.New(fault.Unavailable, "STS says that these are credentials of %q", who.ARN)
	}
	c.wanted.Account, c.wanted.Partition = who.Account, parsed.Partition
	if c.undo && strings.HasPrefix(parsed.Resource, "assumed-role/"+c.wanted.Role+"/") {
		return nil, fault.New(fault.Conflict, "these are credentials of role %s itself, which would be taken away",
			c.wanted.Role).Hint("use those of somebody else who may administer IAM")
	}
	return newWorld(&c.wanted, account.IAM(), config, c.undo)
}

// result is what is printed as JSON.
type result struct {
	RoleARN string           `json:"roleArn"`
	Applied bool             `json:"applied"`
	Steps   []grouprole.Step `json:"steps"`
	Refused []grouprole.Step `json:"refused,omitempty"`
	Notes   []string         `json:"notes,omitempty"`
	// First writes the file that Next needs, if it does.
	First string `json:"first,omitempty"`
	Next  string `json:"next,omitempty"`
}

func (c *groupRoleConfig) carryOut(ctx context.Context, sys cli.System, is *world, config *rest.Config) error {
	known, err := c.atEKS(ctx, sys, config)
	if err != nil {
		return err
	}
	state, err := is.read(ctx)
	if err != nil {
		return err
	}
	planned := c.wanted.Plan
	if c.undo {
		planned = c.wanted.Undo
	}
	steps, notes, err := planned(state)
	if err == nil && !c.undo {
		err = c.mapped(ctx, sys, is, config, steps)
	}
	again := func(ctx context.Context, now *grouprole.State) ([]grouprole.Step, error) {
		steps, _, err := planned(now)
		if err == nil && !c.undo {
			err = c.mapped(ctx, sys, is, config, steps)
		}
		return steps, err
	}
	out := result{RoleARN: c.wanted.RoleARN(), Steps: append([]grouprole.Step{}, steps...), Notes: notes}
	if foreign, is := errors.AsType[*grouprole.Foreign](err); is {
		out.Refused = foreign.Objects
	}
	asText := *c.output == "diff"
	if asText {
		show(sys.Stdout, append(out.Refused, steps...))
	}
	if err != nil {
		if !asText {
			return errors.Join(cli.PrintJSON(sys.Stdout, out), err)
		}
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(sys.Stderr, "note:", note)
	}
	c.warn(sys)
	if c.apply {
		for i := range steps {
			if err := is.make(ctx, &steps[i], state, again); err != nil {
				if fault.KindOf(err) == fault.Conflict {
					return err
				}
				return fault.New(fault.Unavailable, "%s: %w", steps[i].String(), err).
					Hint("run the same command again: it goes on from here")
			}
			fmt.Fprintln(sys.Stderr, "done:", steps[i].String())
		}
		out.Applied = true
	}
	if !c.undo {
		out.First, out.Next = c.next(config, known)
		out.Next = sys.AsCalled(out.Next)
	}
	if !asText {
		return cli.PrintJSON(sys.Stdout, out)
	}
	return c.conclude(sys, &out)
}

// mapped refuses to plan a mapping beside others that are about the role.
func (c *groupRoleConfig) mapped(
	ctx context.Context, sys cli.System, is *world, config *rest.Config, steps []grouprole.Step,
) error {
	found, err := gatherFor(ctx, config, c.wanted.Partition)
	if err != nil {
		return err
	}
	var unread []string
	for _, err := range found.unread {
		unread = append(unread, err.Error())
	}
	printUnread(sys, unread)
	return is.isAlone(found, steps)
}

func (c *groupRoleConfig) warn(sys cli.System) {
	if !c.undo && (slices.Contains(c.wanted.Groups, "system:masters") || c.wanted.ClusterRole == "cluster-admin") {
		fmt.Fprintf(sys.Stderr, "warning: every member of %s may do anything in the cluster\n", c.wanted.Group)
	}
}

func (c *groupRoleConfig) conclude(sys cli.System, out *result) error {
	switch {
	case len(out.Steps) == 0 && c.undo && len(out.Notes) > 0:
		fmt.Fprintln(sys.Stdout, "nothing to do: what is there stays, see the notes")
	case len(out.Steps) == 0:
		fmt.Fprintln(sys.Stdout, "nothing to do")
	case !c.apply:
		fmt.Fprintf(sys.Stdout, "%d steps; nothing was changed: add --apply to make them\n", len(out.Steps))
		return nil
	}
	if out.First != "" {
		fmt.Fprintf(sys.Stdout, "the certificate authority for them, in file %s:\n  %s\n", authorityFile, out.First)
	}
	if out.Next != "" {
		fmt.Fprintf(sys.Stdout, "members of %s now run:\n  %s\n", c.wanted.Group, out.Next)
	}
	return nil
}

// show prints steps as a diff.
func show(out io.Writer, steps []grouprole.Step) {
	signs := map[grouprole.Verb]string{
		grouprole.Create: "+", grouprole.Attach: "+", grouprole.TagIt: "+",
		grouprole.Delete: "-", grouprole.Detach: "-", grouprole.UntagIt: "-", grouprole.Update: "~",
	}
	for i := range steps {
		s := &steps[i]
		fmt.Fprintf(out, "%s %s\n", signs[s.Verb], s.String())
		if s.Verb == grouprole.TagIt || s.Verb == grouprole.UntagIt {
			continue
		}
		text := diff.Diff("", lines(s.Before), "", lines(s.After))
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "diff ") || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++") ||
				strings.HasPrefix(line, "@@") {
				continue
			}
			fmt.Fprint(out, "    ", line)
		}
	}
}

// lines is a text whose last line ends.
func lines(text string) []byte {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(text)
}
