// Package app is the composition root: the command table, and for each command
// one file that makes the parts, starts them and waits. It is the only package
// that sees all others.
//
// It holds no rules of IAM, Kubernetes or AWS; those live in the rooms it puts
// together.
package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
)

// System is everything of the process that commands may touch, so that a test
// can stand in for it.
type System struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string
	Now            func() time.Time
	// Executable returns the path of this program, for starting it again.
	Executable func() (string, error)
}

// NewSystem returns the real process.
func NewSystem() System {
	return System{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ, Now: time.Now, Executable: os.Executable,
	}
}

// Run executes one command line, prints its error with hints, and returns the
// exit code: 0 done or allowed, 1 refused or failed, 2 wrong usage; for `run`
// the code of the program.
func Run(ctx context.Context, sys System, args []string) int {
	root := newRoot(sys)
	root.SetArgs(args)
	root.SetContext(ctx)
	err := root.ExecuteContext(ctx)
	if program, exited := asExit(err); exited {
		return program.code
	}
	if err != nil {
		printError(sys.Stderr, err)
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
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(sys.Stdin)
	root.SetOut(sys.Stdout)
	root.SetErr(sys.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.New(fault.Usage, "%s", lowerFirst(err.Error())).Hint("%s --help lists the flags", cmd.CommandPath())
	})
	serve := &cobra.Command{
		Use:   "serve",
		Short: "Run one server of the plane",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	serve.AddCommand(newServeAWS(sys), newServeWebhook(sys), newServeIssuer(sys), newServeAgent(sys), newServeController(sys), newServeSigner(sys), newServeBroker(sys))
	root.AddCommand(newDemo(sys), newUp(sys), newRun(sys), newInject(sys), serve, newWhoami(sys), newCan(sys), newExplain(sys), newPolicy(sys), newIssuer(sys), newAssociation(sys), newAudit(sys), newSigner(sys), newTrust(sys), newVersion(sys))
	return root
}

// noSuchCommand is the Args of commands that only hold others.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fault.New(fault.Usage, "unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // letters apart; cobra's own default
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return err.Hint("did you mean %s?", strings.Join(similar, " or "))
	}
	return err.Hint("%s --help lists the commands", cmd.CommandPath())
}

// noArguments is the Args of commands that take flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "unexpected argument %q", args[0]).Hint("%s --help shows what it takes", cmd.CommandPath())
}

// printError writes one line and its hints.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "rolecall: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	for _, hint := range fault.HintsOf(err) {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// outputFlag adds -o and returns where its value will be.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	output := new(string)
	cmd.Flags().StringVarP(output, "output", "o", formats[0], "how to print: "+strings.Join(formats, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.Contains(formats, *output) {
			return run(cmd, args)
		}
		return fault.New(fault.Usage, "output format %q: want %s", *output, strings.Join(formats, " or "))
	}
	return output
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
