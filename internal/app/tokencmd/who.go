package tokencmd

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// whoReport is the JSON of --whoami.
type whoReport struct {
	awsapi.Identity
	Cluster string   `json:"cluster"`
	Profile string   `json:"profile,omitempty"`
	Source  string   `json:"source"`
	Roles   []string `json:"roles,omitempty"`
	Host    string   `json:"host"`
	Region  string   `json:"region"`
}

// report asks STS who a session is.
func (c *command) report(
	ctx context.Context, sys cli.System, session *awsapi.Session, config awsapi.LoginConfig, cluster string,
) (whoReport, error) {
	identity, err := session.Identity(ctx)
	if err != nil {
		return whoReport{}, awsapi.ExplainLogin(config, err)
	}
	host, region, err := session.Place(ctx)
	if err != nil {
		return whoReport{}, awsapi.ExplainLogin(config, err)
	}
	return whoReport{
		Identity: identity, Cluster: cluster, Roles: c.roles, Host: host, Region: region, Source: session.Source,
		Profile: cmp.Or(c.profile, sys.Getenv("AWS_PROFILE"), sys.Getenv("AWS_DEFAULT_PROFILE")),
	}, nil
}

func (c *command) printWho(
	ctx context.Context, sys cli.System, session *awsapi.Session, config awsapi.LoginConfig, cluster string,
) error {
	who, err := c.report(ctx, sys, session, config, cluster)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return cli.PrintJSON(sys.Stdout, who)
	}
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "caller\t%s\n", who.ARN)
	fmt.Fprintf(table, "user id\t%s\n", who.UserID)
	if len(who.Roles) > 0 {
		fmt.Fprintf(table, "roles\t%s\n", strings.Join(who.Roles, ", "))
	}
	fmt.Fprintf(table, "from\t%s\n", origin(who))
	fmt.Fprintf(table, "cluster\t%s\n", who.Cluster)
	fmt.Fprintf(table, "asks\t%s (%s)\n", who.Host, who.Region)
	return table.Flush()
}

func origin(who whoReport) string {
	if who.Profile == "" {
		return who.Source
	}
	return who.Source + ", profile " + who.Profile
}

// sayWho is --verbose.
func (c *command) sayWho(
	ctx context.Context, sys cli.System, session *awsapi.Session, config awsapi.LoginConfig,
) error {
	who, err := c.report(ctx, sys, session, config, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(sys.Stderr, "caller: %s (from %s, %s)\n", who.ARN, origin(who), who.Host)
	return nil
}
