// Package accesscmd has the commands of `rolecall access`: who may enter a cluster with an
// IAM identity, as whom, and why not.
//
// It has no rules of its own: those are in internal/access, and the steps of group-role in
// internal/grouprole.
package accesscmd

import (
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:   "access",
		Short: "Who may enter a cluster with an IAM identity, as whom, and why not",
		Long: `Show who may enter a cluster with an IAM identity, by aws-auth, access entries, objects
and IAM groups; say who one is there, and why somebody is refused. Let the members of an
IAM group in.`,
		Example: `  rolecall access whoami
  rolecall access explain --arn arn:aws:iam::111122223333:role/dev
  rolecall access list
  rolecall access group-role --group dev.rnd.group --role dev.eks-access.role --cluster prod --cluster-role view`,
	}, newWhoami(sys), newExplain(sys), newList(sys), newGroupRole(sys))
}
