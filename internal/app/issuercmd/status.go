package issuercmd

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
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
	// PublishedError is why what is published could not be read.
	PublishedError string `json:"publishedError,omitempty"`
	// Unserved are published, and no API server serves them and no rotation names them.
	Unserved []string       `json:"unserved,omitempty"`
	Servers  []serverReport `json:"servers"`
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
	report := rotationReport{
		State:     status.State,
		Gate:      status.Gate,
		Published: status.Facts.Published,
		Unserved:  status.Unserved,
	}
	for _, asked := range status.Asked {
		report.Servers = append(report.Servers, serverReport{
			Name:   asked.Name,
			Signs:  asked.Signs,
			Serves: document.IDs(asked.Keys),
			Error:  asked.Err,
		})
	}
	if status.Facts.PublishedErr != nil {
		report.PublishedError = status.Facts.PublishedErr.Error()
	}
	if output == "json" {
		err = cli.PrintJSON(sys.Stdout, report)
	} else {
		command := "rolecall issuer rotate --dir " + fault.Quote(c.dir.dir) + c.cluster.Words() + c.read.Words()
		err = report.print(sys, sys.AsCalled(command))
	}
	if err != nil || len(report.Unserved) == 0 {
		return err
	}
	return fault.New(fault.Denied, "published, but no API server serves it and no rotation names it: key %s",
		strings.Join(report.Unserved, ", key ")).
		Hint("rolecall issuer verify --dir %s%s says what to do", fault.Quote(c.dir.dir),
			c.cluster.Words()+c.read.Words())
}

// print takes the command that goes on.
func (r *rotationReport) print(sys cli.System, command string) error {
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "phase\t%s\n", phaseWords(r.State))
	if r.State.NewKID != "" {
		fmt.Fprintf(table, "keys\tfrom %s to %s\n", r.State.OldKID, r.State.NewKID)
	}
	for _, kid := range r.Published {
		fmt.Fprintf(table, "published\t%s\n", kid)
	}
	if r.PublishedError != "" {
		fmt.Fprintf(table, "published\tcannot be read: %s\n", r.PublishedError)
	}
	for _, kid := range r.Unserved {
		fmt.Fprintf(table, "error\tkey %s is published, but no API server serves it and no rotation names it\n", kid)
	}
	for _, server := range r.Servers {
		if server.Error != "" {
			fmt.Fprintf(table, "%s\t%s\n", server.Name, server.Error)
			continue
		}
		fmt.Fprintf(table, "%s\tsigns with %s, accepts %s\n", server.Name, orNothing(server.Signs),
			orNothing(strings.Join(server.Serves, ", ")))
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

// phaseWords say since when, where that is known.
func phaseWords(state rotation.State) string {
	switch {
	case !state.Since.IsZero():
		return fmt.Sprintf("%s since %s", state.Phase, state.Since.UTC().Format(time.RFC3339))
	case state.Phase == rotation.Stable:
		return "Stable, no rotation has been recorded"
	}
	return string(state.Phase)
}

func orNothing(text string) string { return cmp.Or(text, "nothing") }
