package issuercmd

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rotation"
)

func newRotateStatus(sys cli.System) *cobra.Command {
	var c rotateConfig
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far a rotation is, and when the next step is safe",
		Long: `Show the phase of the rotation in --dir, what the API servers do, and what the next
step waits for. With --issuer, show what the controller has written into the status of
that Issuer object instead; --dir is not read then.`,
		Example: `  rolecall issuer rotate status --kubeconfig admin.conf
  rolecall issuer rotate status --kubeconfig admin.conf --issuer prod -o json`,
		Args: cli.NoArguments,
	}
	var output *string
	var name string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if name != "" {
			return objectStatus(cmd.Context(), sys, c.cluster.Kubeconfig, name, *output)
		}
		return c.status(cmd.Context(), sys, *output)
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&name, "issuer", "", "name of an Issuer object: show the controller's rotation of it")
	output = cli.Output(cmd, "table", "json")
	return cmd
}

// rotationReport is `rotate status` for programs.
type rotationReport struct {
	State     rotation.State `json:"state"`
	Gate      rotation.Gate  `json:"gate"`
	Published []string       `json:"published"`
	Servers   []serverReport `json:"servers"`
}

type serverReport struct {
	Name   string   `json:"name"`
	Signs  string   `json:"signs,omitempty"`
	Serves []string `json:"serves,omitempty"`
	Error  string   `json:"error,omitempty"`
}

func (c *rotateConfig) status(ctx context.Context, sys cli.System, output string) error {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	status, err := d.Status(ctx, c.waits())
	if err != nil {
		return err
	}
	report := rotationReport{State: status.State, Gate: status.Gate, Published: status.Facts.Published}
	for _, asked := range status.Asked {
		report.Servers = append(report.Servers, serverReport{
			Name:   asked.Name,
			Signs:  asked.Signs,
			Serves: document.IDs(asked.Keys),
			Error:  asked.Err,
		})
	}
	if output == "json" {
		return cli.PrintJSON(sys.Stdout, report)
	}
	command := "rolecall issuer rotate --dir " + c.dir.dir + " --kubeconfig " + c.cluster.Kubeconfig
	return report.print(sys, sys.AsCalled(command))
}

// print takes the command that goes on.
func (r *rotationReport) print(sys cli.System, command string) error {
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "phase\t%s since %s\n", r.State.Phase, r.State.Since.UTC().Format(time.RFC3339))
	if r.State.NewKID != "" {
		fmt.Fprintf(table, "keys\tfrom %s to %s\n", r.State.OldKID, r.State.NewKID)
	}
	fmt.Fprintf(table, "published\t%q\n", r.Published)
	for _, server := range r.Servers {
		if server.Error != "" {
			fmt.Fprintf(table, "%s\t%s\n", server.Name, server.Error)
			continue
		}
		fmt.Fprintf(table, "%s\tsigns with %s, accepts %q\n", server.Name, server.Signs, server.Serves)
	}
	fmt.Fprintf(table, "to do\t%s\n", r.Gate.Do)
	switch {
	case r.Gate.Open:
		fmt.Fprintf(table, "next step\t%s, safe now: %s\n", r.Gate.Next, command)
	case !r.Gate.NotBefore.IsZero():
		fmt.Fprintf(table, "next step\t%s, safe from %s\n", r.Gate.Next, r.Gate.NotBefore.UTC().Format(time.RFC3339))
	default:
		for _, reason := range r.Gate.Waiting {
			fmt.Fprintf(table, "next step\t%s, not yet: %s\n", r.Gate.Next, reason)
		}
	}
	return table.Flush()
}
