// Package accesscmd is `rolecall access`: who may enter a cluster, and how.
//
// It holds flags, calls and printing; which steps are to be made, internal/grouprole says. It
// does not decide who may enter.
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
