// Package serve has a file for each server that this program can be: which parts it is
// made of, which flags choose them, and what has to be true before it is ready. All run on
// one runner.
//
// It knows what is made of what, and no rule of IAM, Kubernetes or AWS.
package serve

import (
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// New returns the command that runs one server.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "serve",
		Aliases: []string{"server"},
		Short:   "Run one server of the plane",
		Long: `Run one server of the plane: in a cluster each is a workload of its own, on one machine
"rolecall up" runs them together.`,
		Example: `  rolecall serve aws
  rolecall serve webhook --help`,
	}, newAWS(sys), newWebhook(sys), newIssuer(sys), newAgent(sys), newController(sys), newSigner(sys),
		newBroker(sys), newAuthenticator(sys))
}
