package accesscmd

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/callerid"
)

// explained is `explain -o json`.
type explained struct {
	Identity identity `json:"identity"`
	Mapped   bool     `json:"mapped"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	By       string   `json:"by,omitempty"`
	Also     []string `json:"also,omitempty"`
	// Reason is a stable word, as in the server's log and metrics; Text says it.
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
	// Uncertain says why a server that runs may decide otherwise: it keeps what a list said
	// before that cannot be read now.
	Uncertain []string `json:"uncertain,omitempty"`
	// AssumedUserID is what the principal's unique id was taken to be.
	AssumedUserID string    `json:"assumedUserID,omitempty"`
	Sources       []verdict `json:"sources"`
	Unread        []string  `json:"unread,omitempty"`
}

// identity is who was asked about.
type identity struct {
	ARN          string `json:"arn"`
	CanonicalARN string `json:"canonicalARN"`
	Account      string `json:"account"`
	UserID       string `json:"userID,omitempty"`
	SessionName  string `json:"sessionName,omitempty"`
}

type verdict struct {
	Source  string `json:"source"`
	Outcome string `json:"outcome"`
	Where   string `json:"where,omitempty"`
	Text    string `json:"text"`
	Near    []near `json:"near,omitempty"`
}

type near struct {
	Difference string `json:"difference"`
	Where      string `json:"where"`
	Text       string `json:"text"`
	Edit       string `json:"edit,omitempty"`
}

func newExplain(sys cli.System) *cobra.Command {
	var (
		from   sources
		who    subject
		output *string
	)
	cmd := &cobra.Command{
		Use:     "explain [--arn ARN | --token TOKEN | --profile NAME] [-f FILE]...",
		Aliases: []string{"test"},
		Short:   "Say who an IAM identity is in the cluster, and if nobody, what is nearly right",
		Long: `Decide by the code of "rolecall serve authenticator" which Kubernetes user an identity
is, and show what each source says of it. Where nobody comes of it, what is nearly right
is shown with the edit: a path in a role's ARN, the ARN of a session, another account, the
ending of a permission set's role, letter case.

Mappings are read from the cluster, or with -f from files, without a cluster.

Exit code 0 means that it is somebody, 1 that it is nobody, 2 wrong usage.`,
		Example: `  rolecall access explain
  rolecall access explain --arn arn:aws:iam::111122223333:role/team/dev -f aws-auth.yaml
  rolecall token --cluster-name prod --token-only |
    rolecall access explain --token - --cluster-name prod`,
		Args: cli.NoArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		id, err := who.identity(ctx, sys, from.partition)
		if err != nil {
			return err
		}
		found, err := from.collect(ctx)
		if err != nil {
			return err
		}
		result := found.explain(id, who.nodeNameOf())
		if *output == "json" {
			if err := cli.PrintJSON(sys.Stdout, result); err != nil {
				return err
			}
		} else {
			printExplained(sys.Stdout, result)
			printUnread(sys, result.Unread)
		}
		if !result.Mapped {
			return &cli.ExitError{Code: 1}
		}
		return nil
	}
	who.flags(cmd)
	from.flags(cmd)
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func (c *collected) explain(id *callerid.Identity, nodeName access.NodeName) explained {
	e := c.chain.Explain(id, nodeName)
	result := explained{
		Identity: identity{id.ARN, id.CanonicalARN, id.AccountID, id.UserID, id.SessionName},
		Mapped:   e.User != nil, AssumedUserID: e.AssumedID, Sources: []verdict{},
	}
	switch {
	case e.User != nil:
		result.Username, result.Groups, result.By = e.User.Username, e.User.Groups, e.User.By.String()
		for _, m := range e.User.Also {
			result.Also = append(result.Also, m.String())
		}
	case e.Refusal != nil:
		result.Reason, result.Text = string(e.Refusal.Reason), e.Refusal.Text
	}
	for _, v := range e.Verdicts {
		one := verdict{Source: string(v.Source), Outcome: string(v.Outcome), Text: v.Text}
		if v.Mapping != nil {
			one.Where = v.Mapping.String()
		}
		for _, n := range v.Near {
			one.Near = append(one.Near, nearOf(n))
		}
		result.Sources = append(result.Sources, one)
	}
	for _, err := range c.unread {
		result.Unread = append(result.Unread, err.Error())
	}
	for _, p := range c.problems {
		if p.Whole {
			result.Uncertain = append(result.Uncertain, p.Error())
		}
	}
	return result
}

func nearOf(n access.Near) near {
	one := near{Difference: string(n.Difference), Text: n.Text, Edit: n.Edit}
	switch {
	case n.Mapping != nil:
		one.Where = n.Mapping.String()
	case n.Problem != nil:
		one.Where = n.Problem.String()
	}
	return one
}

func printExplained(w io.Writer, e explained) {
	if e.Mapped {
		fmt.Fprintf(w, "%s is %s%s\n  by %s\n", e.Identity.ARN, e.Username, inGroups(e.Groups), e.By)
		for _, also := range e.Also {
			fmt.Fprintf(w, "  with groups of %s\n", also)
		}
	} else {
		fmt.Fprintf(w, "%s is nobody: %s: %s\n", e.Identity.ARN, e.Reason, e.Text)
	}
	if e.AssumedUserID != "" {
		fmt.Fprintf(w, "  if its unique id is %s, which a mapping wants: --user-id says which it is\n", e.AssumedUserID)
	}
	for _, text := range e.Uncertain {
		fmt.Fprintf(w, "  but a server that runs keeps what this said before it was broken, and may decide by that: %s\n", text)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SOURCE\tVERDICT\tWHY")
	for _, v := range e.Sources {
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Source, v.Outcome, v.Text)
	}
	_ = table.Flush()
	for _, v := range e.Sources {
		for _, n := range v.Near {
			fmt.Fprintf(w, "\n%s\n", n.Text)
			for line := range strings.Lines(n.Edit) {
				fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\n"))
			}
		}
	}
}

func inGroups(groups []string) string {
	if len(groups) == 0 {
		return ", in no group"
	}
	return ", in " + strings.Join(groups, ", ")
}

func printUnread(sys cli.System, unread []string) {
	for _, text := range unread {
		fmt.Fprintf(sys.Stderr, "warning: could not be read, so that what is said may not be all: %s\n", text)
	}
}
