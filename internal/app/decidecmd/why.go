package decidecmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/localaws"
)

// last stands for the newest refusal.
const last = "last"

// How many refusals an error names, and a shell offers.
const (
	mostNamed   = 5
	mostOffered = 20
)

// NewWhy returns the command that explains a refusal of the running plane.
func NewWhy(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why [REQUEST-ID | last]",
		Short: "Show why a running plane refused a request",
		Long: `Show a refusal of the plane that "rolecall up" left running, or of the local AWS that
AWS_ENDPOINT_URL names, with what AWS hides: the reason and, where policies decided,
every statement as "rolecall explain" shows it. Also refusals of the plane's broker are
kept. The request's id stands in the answer to it; without one, the last refusal is shown.`,
		Example: `  rolecall why
  rolecall why 3f0c1d52-5a0b-4f57-9c0e-1d2f6f0f8a11 -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.NoArguments(cmd, args[1:])
			}
			return nil
		},
		ValidArgsFunction: cli.CompleteFound(func(ctx context.Context, args []string, _ string) ([]string, error) {
			if len(args) > 0 {
				return nil, nil
			}
			client, err := refusing(ctx, sys)
			if err != nil {
				return nil, err
			}
			kept, err := client.Refusals(ctx, mostOffered)
			return append([]string{last}, idsOf(kept)...), err
		}),
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		decision, err := refusalOf(cmd.Context(), sys, append(args, last)[0])
		if err != nil {
			return err
		}
		if *output == "json" {
			return cli.PrintJSON(sys.Stdout, decision)
		}
		printRefusal(sys.Stdout, &decision)
		return nil
	}
	output = cli.Output(cmd, "text", "json")
	return cmd
}

// refusing finds the local AWS that is asked.
func refusing(ctx context.Context, sys cli.System) (*plane.Client, error) {
	if endpoint := sys.Getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		client := plane.NewClient(&plane.Endpoints{AWS: strings.TrimSuffix(endpoint, "/")})
		if !client.Alive(ctx) {
			return nil, fault.New(fault.Unavailable, "no local AWS answers at AWS_ENDPOINT_URL, %s", endpoint).
				Hint("start one with: rolecall up; or unset AWS_ENDPOINT_URL to ask the plane that is running")
		}
		return client, nil
	}
	endpoints, err := plane.Running(ctx, sys.Getenv)
	if err != nil {
		return nil, err
	}
	if endpoints == nil {
		return nil, fault.New(fault.Unavailable, "no plane is running").
			Hint("start one with: rolecall up").
			Hint("a plane that rolecall run starts prints the reasons itself, while the program runs")
	}
	return plane.NewClient(endpoints), nil
}

func refusalOf(ctx context.Context, sys cli.System, id string) (localaws.Decision, error) {
	client, err := refusing(ctx, sys)
	if err != nil {
		return localaws.Decision{}, err
	}
	if id != last {
		decision, found, err := client.Refusal(ctx, id)
		if err != nil || found {
			return decision, err
		}
	}
	kept, err := client.Refusals(ctx, mostNamed)
	switch {
	case err != nil:
		return localaws.Decision{}, err
	case len(kept) == 0:
		return localaws.Decision{}, fault.New(fault.NotFound, "nothing was refused yet")
	case id == last:
		return kept[0], nil
	}
	missing := fault.New(fault.NotFound, "no refusal of request %q is kept", id)
	for _, one := range kept {
		missing = missing.Hint("rolecall why %s explains %s, %s", one.RequestID, one.Action, one.Code)
	}
	return localaws.Decision{}, missing
}

func idsOf(kept []localaws.Decision) []string {
	ids := make([]string, len(kept))
	for i := range kept {
		ids[i] = kept[i].RequestID
	}
	return ids
}

// printRefusal shows the refusal, then how policies decided it, if they did.
func printRefusal(w io.Writer, decision *localaws.Decision) {
	fmt.Fprint(w, decision.Text())
	if decision.Explanation == nil {
		return
	}
	fmt.Fprintln(w)
	printExplanation(w, decision.Explanation, decision.Explanation.Decision)
}
