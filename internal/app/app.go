// Package app is the composition root: the process, the command tree and the exit codes.
// Below it, one folder a noun has that noun's commands, serve the servers, local what runs
// on this machine, cli and flags what they share. Nobody but this house sees all rooms.
//
// It holds no rules of IAM, Kubernetes or AWS; those live in the rooms it puts together.
package app

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/accesscmd"
	"github.com/rolecall/rolecall/internal/app/associationcmd"
	"github.com/rolecall/rolecall/internal/app/auditcmd"
	"github.com/rolecall/rolecall/internal/app/authenticatorcmd"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/decidecmd"
	"github.com/rolecall/rolecall/internal/app/issuercmd"
	"github.com/rolecall/rolecall/internal/app/kubeconfigcmd"
	"github.com/rolecall/rolecall/internal/app/local"
	"github.com/rolecall/rolecall/internal/app/policycmd"
	"github.com/rolecall/rolecall/internal/app/serve"
	"github.com/rolecall/rolecall/internal/app/signercmd"
	"github.com/rolecall/rolecall/internal/app/tokencmd"
	"github.com/rolecall/rolecall/internal/app/trustcmd"
	"github.com/rolecall/rolecall/internal/fault"
)

// System is the process that commands may touch, so that a test can stand in for it.
type System = cli.System

// NewSystem returns the real process.
func NewSystem() System { return cli.NewSystem() }

// Interruptible returns the context of a process: it ends with the first signal that
// asks the process to end.
func Interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	return cli.Interruptible(parent)
}

// afterSignal is what the exit code of a process that a signal ended begins with.
const afterSignal = 128

// Run executes one command line, prints its error with hints, and returns the
// exit code: 0 done or allowed, 1 refused, failed, or not printed, 2 wrong usage, 128 and
// more after a signal; for `run` the code of the program.
func Run(ctx context.Context, sys System, args []string) int {
	if sys.Completes {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	sys.Stdout = cli.NewWritten(sys.Stdout)
	root := newRoot(sys)
	args = cli.JoinWords(root, cli.Invoked(sys.File, args))
	root.SetArgs(args)
	err := cli.FindCommand(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	return exitCode(sys, err)
}

// exitCode prints what went wrong. An answer that was not printed is no answer, whatever
// it was.
func exitCode(sys System, err error) int {
	unprinted := cli.WriteError(sys.Stdout)
	if errors.Is(unprinted, syscall.EPIPE) { // nobody reads on: nobody is told
		return afterSignal + int(syscall.SIGPIPE)
	}
	if interrupted, ok := errors.AsType[*cli.Interrupted](err); ok {
		return afterSignal + int(interrupted.Signal)
	}
	program, exited := cli.AsExit(err)
	if exited && program.Err == nil && unprinted == nil {
		return program.Code
	}
	if err == nil || exited && program.Err == nil {
		err = unprinted
	}
	if err != nil {
		cli.PrintError(sys, err)
	}
	if exited && program.Code != 0 {
		return program.Code
	}
	return fault.ExitCode(err)
}

func newRoot(sys System) *cobra.Command {
	root := &cobra.Command{
		Use:   cli.Name,
		Short: "The AWS-IAM identity plane for any Kubernetes cluster",
		Long: `Rolecall answers two questions for any Kubernetes cluster, with AWS IAM on the
other side: a pod asks AWS "which role am I?", a person asks the cluster "who am
I?".`,
		Example: `  rolecall demo      # a walk through all of it, nothing needed
  rolecall up        # leave it running on this machine
  rolecall run --service-account default/s3-reader -- aws sts get-caller-identity`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cli.NoSuchCommand,
	}
	version := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *version {
			_, err := fmt.Fprintf(sys.Stdout, "%s version %s\n", cli.Name, cli.Version())
			return err
		}
		return cmd.Help()
	}
	if sys.Name != "" {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: sys.Name}
	}
	// Cobra checks these after it, and says them without saying that it is wrong usage.
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmd.ValidateFlagGroups(); err != nil {
			return cli.Usage("%w", err)
		}
		return nil
	}
	root.SetIn(sys.Stdin)
	root.SetOut(sys.Stdout)
	root.SetErr(sys.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.New(fault.Usage, "%s", cli.LowerFirst(err.Error())).
			Hint("%s --help lists the flags", cmd.CommandPath())
	})
	addGroup(root, "try", "Try it", local.NewDemo(sys), local.NewUp(sys), local.NewRun(sys), local.NewWhoami(sys))
	addGroup(root, "pods", "Pods and roles", associationcmd.New(sys), local.NewInject(sys), trustcmd.New(sys))
	addGroup(root, "people", "People and clusters", accesscmd.New(sys), kubeconfigcmd.New(sys), tokencmd.New(sys))
	addGroup(root, "issuers", "Issuers and keys", issuercmd.New(sys), signercmd.New(sys))
	addGroup(root, "policies", "Policies", decidecmd.NewCan(sys), decidecmd.NewExplain(sys), decidecmd.NewWhy(sys), policycmd.New(sys))
	addGroup(root, "servers", "Servers", serve.New(sys), auditcmd.New(sys), authenticatorcmd.New(sys))
	root.AddCommand(newVersion(sys))
	cli.SetHelp(sys, root)
	root.InitDefaultHelpCmd()
	addCompletion(root)
	return root
}

func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
	}
	root.AddCommand(commands...)
}

// addCompletion adds cobra's own command, with what cobra leaves out: how it is called.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // cobra has just added it
	}
	completion.Short = "Print the script that lets a shell complete commands"
	completion.Example = "  source <(rolecall completion bash)"
	completion.Args = cli.NoSuchCommand
	completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, shell := range completion.Commands() {
		shell.Short = "Print the script for " + shell.Name()
		shell.Example = map[string]string{
			"bash":       "  source <(rolecall completion bash)",
			"zsh":        "  source <(rolecall completion zsh)",
			"fish":       "  rolecall completion fish | source",
			"powershell": "  rolecall completion powershell | Out-String | Invoke-Expression",
		}[shell.Name()]
	}
}
