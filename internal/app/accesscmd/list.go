package accesscmd

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
)

// listed is one mapping as `list -o json` prints it.
type listed struct {
	Principal string   `json:"principal"`
	Written   string   `json:"written,omitempty"`
	Username  string   `json:"username"`
	Groups    []string `json:"groups"`
	UserID    string   `json:"userID,omitempty"`
	Source    string   `json:"source"`
	Place     string   `json:"place"`
	// Counts says that who is the principal becomes this user; By what counts instead, or
	// why nobody comes of it.
	Counts bool   `json:"counts"`
	By     string `json:"by,omitempty"`
}

// listing is all of `list -o json`.
type listing struct {
	Mappings []listed  `json:"mappings"`
	Problems []problem `json:"problems"`
	// Unread are sources that could not be read.
	Unread []string `json:"unread,omitempty"`
}

type problem struct {
	Place   string `json:"place"`
	Refused bool   `json:"refused"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
}

func newList(sys cli.System) *cobra.Command {
	var (
		from   sources
		output *string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show who may enter the cluster, by which source, and which source wins",
		Long: `Show the mappings of all sources, in the order in which they are asked: access entries,
IdentityMappings, the sources of aws-iam-authenticator, members of IAM groups. A mapping
counts if a login of its principal would become its user: that is found out by the code
that decides about logins.`,
		Example: `  rolecall access list
  rolecall access list -f aws-auth.yaml -o json`,
		Args: cli.NoArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := from.collect(cmd.Context())
		if err != nil {
			return err
		}
		all := found.list()
		if *output == "json" {
			return cli.PrintJSON(sys.Stdout, all)
		}
		return printList(sys, all)
	}
	from.flags(cmd)
	output = cli.Output(cmd, "table", "json")
	return cmd
}

func (c *collected) list() listing {
	all := listing{Mappings: []listed{}, Problems: []problem{}}
	for _, table := range c.chain.Tables() {
		for _, m := range table.Mappings() {
			one := listed{
				Principal: m.Match.String(), Written: m.Written, Username: m.Username, Groups: m.Groups, UserID: m.UserID,
				Source: string(table.Source()), Place: m.String(),
			}
			if one.Groups == nil {
				one.Groups = []string{}
			}
			one.Counts, one.By = c.counts(m)
			all.Mappings = append(all.Mappings, one)
		}
	}
	for _, p := range c.problems {
		all.Problems = append(all.Problems, problem{p.String(), p.Refused, p.Text, p.Hint})
	}
	for _, err := range c.unread {
		all.Unread = append(all.Unread, err.Error())
	}
	return all
}

// counts lets somebody log in whom a mapping is about, and looks what comes of it.
func (c *collected) counts(m *access.Mapping) (counts bool, by string) {
	// Explain takes an identity without an id to be the one that is pinned.
	e := c.chain.Explain(example(m), func(string) (string, error) { return "ip-10-0-0-1.ec2.internal", nil })
	if e.User == nil {
		return false, string(e.Refusal.Reason) + ": " + e.Refusal.Text
	}
	user := e.User
	if user.By == m {
		return true, ""
	}
	if slices.Contains(user.Also, m) {
		return true, "beside " + user.By.String()
	}
	return false, user.By.String()
}

// example is an identity that a mapping is about.
func example(m *access.Mapping) *callerid.Identity {
	const (
		instance  = "i-0123456789abcdef0"
		noAccount = "nobody-else-knows-this-role"
	)
	who := &callerid.Identity{Kind: callerid.User, AccessKeyID: "ASIAEXAMPLEEXAMPLE"}
	partition := "aws"
	if m.Match.Partition != "" {
		partition = m.Match.Partition
	}
	role := func(account, name string) string { return "arn:" + partition + ":iam::" + account + ":role/" + name }
	switch {
	case m.Match.ARN != "":
		who.CanonicalARN = m.Match.ARN
	case m.Match.PermissionSet != "":
		who.CanonicalARN = role(m.Match.Account, "AWSReservedSSO_"+m.Match.PermissionSet+"_0123456789abcdef")
	case m.Match.UserID != "":
		who.CanonicalARN = m.Written
	default:
		who.CanonicalARN = role(m.Match.Account, noAccount)
	}
	who.ARN = who.CanonicalARN
	if parsed, err := arn.Parse(who.CanonicalARN); err == nil {
		who.AccountID = parsed.Account
		if _, kind, err := callerid.Canonical(who.CanonicalARN); err == nil {
			who.Kind = kind
		}
		if who.Kind == callerid.Role {
			who.Kind, who.SessionName = callerid.AssumedRole, instance
		}
	}
	for _, pinned := range []string{m.UserID, m.Match.UserID} {
		if pinned != "" {
			who.UserID = pinned
		}
	}
	return who
}

func printList(sys cli.System, all listing) error {
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PRINCIPAL\tUSERNAME\tGROUPS\tWHERE\tCOUNTS")
	for _, one := range all.Mappings {
		counts := "yes"
		switch {
		case !one.Counts:
			counts = "no: " + one.By
		case one.By != "":
			counts += ", " + one.By
		}
		groups := strings.Join(one.Groups, ",")
		if groups == "" {
			groups = "-"
		}
		principal := one.Principal
		if strings.HasPrefix(principal, "id/") && one.Written != "" {
			principal = one.Written
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", principal, one.Username, groups, one.Place, counts)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range all.Problems {
		what := "note"
		if p.Refused {
			what = "does not count"
		}
		fmt.Fprintf(sys.Stderr, "%s: %s: %s\n", p.Place, what, p.Text)
		if p.Hint != "" {
			fmt.Fprintf(sys.Stderr, "hint: %s\n", p.Hint)
		}
	}
	printUnread(sys, all.Unread)
	if len(all.Mappings) == 0 {
		fmt.Fprintln(sys.Stderr, "nobody is mapped: only certificates and other tokens enter")
	}
	return nil
}
