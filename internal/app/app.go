// Package app is the composition root: the process, the command tree and the exit codes.
// Below it, one folder a noun has that noun's commands, serve the servers, local what runs
// on this machine, cli and flags what they share. Nobody but this house sees all rooms.
//
// It holds no rules of IAM, Kubernetes or AWS; those live in the rooms it puts together.
package app

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/associationcmd"
	"github.com/rolecall/rolecall/internal/app/auditcmd"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/decidecmd"
	"github.com/rolecall/rolecall/internal/app/issuercmd"
	"github.com/rolecall/rolecall/internal/app/local"
	"github.com/rolecall/rolecall/internal/app/policycmd"
	"github.com/rolecall/rolecall/internal/app/serve"
	"github.com/rolecall/rolecall/internal/app/signercmd"
	"github.com/rolecall/rolecall/internal/app/trustcmd"
	"github.com/rolecall/rolecall/internal/fault"
)

// System is the process that commands may touch, so that a test can stand in for it.
type System = cli.System

// NewSystem returns the real process.
func NewSystem() System { return cli.NewSystem() }

// Run executes one command line, prints its error with hints, and returns the
// exit code: 0 done or allowed, 1 refused or failed, 2 wrong usage; for `run`
// the code of the program.
func Run(ctx context.Context, sys System, args []string) int {
	root := newRoot(sys)
	root.SetArgs(args)
	root.SetContext(ctx)
	err := root.ExecuteContext(ctx)
	if program, exited := cli.AsExit(err); exited {
		return program.Code
	}
	if err != nil {
		cli.PrintError(sys.Stderr, err)
	}
	return fault.ExitCode(err)
}

func newRoot(sys System) *cobra.Command {
	root := &cobra.Command{
		Use:   "rolecall",
		Short: "The AWS-IAM identity plane for any Kubernetes cluster",
		Long: `Rolecall answers two questions for any Kubernetes cluster, with AWS IAM on the
other side: a pod asks AWS "which role am I?", a person asks the cluster "who am
I?". Start with

  rolecall demo      walk through it, nothing needed
  rolecall up        leave it running on this machine
  rolecall run --service-account default/s3-reader -- aws sts get-caller-identity`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cli.NoSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(sys.Stdin)
	root.SetOut(sys.Stdout)
	root.SetErr(sys.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.New(fault.Usage, "%s", cli.LowerFirst(err.Error())).Hint("%s --help lists the flags", cmd.CommandPath())
	})
	root.AddCommand(local.NewDemo(sys), local.NewUp(sys), local.NewRun(sys), local.NewInject(sys), serve.New(sys), local.NewWhoami(sys), decidecmd.NewCan(sys), decidecmd.NewExplain(sys), policycmd.New(sys), issuercmd.New(sys), associationcmd.New(sys), auditcmd.New(sys), signercmd.New(sys), trustcmd.New(sys), newVersion(sys))
	cli.SetHelp(root)
	return root
}
