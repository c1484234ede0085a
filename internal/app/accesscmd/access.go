// Package accesscmd is `rolecall access`: who may enter a cluster, and how.
//
// What is to be done it asks internal/grouprole; here are flags, calls and printing.
package accesscmd

import (
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// New returns the command with its subcommands.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "access",
		Short:   "Let people into a cluster by their IAM identity",
		Example: "  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod --cluster-role view",
	}, newGroupRole(sys))
}
