package local

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// maxStdin bounds what `inject -f -` reads.
const maxStdin = 64 << 20

// NewInject returns the command that injects without a cluster.
func NewInject(sys cli.System) *cobra.Command {
	var files []string
	settings := inject.Defaults()
	cmd := &cobra.Command{
		Use:   "inject -f FILE|-...",
		Short: "Mutate manifests offline as the webhook would",
		Long: `Read workloads and service accounts from manifests, inject the workloads whose
service account has a role or a PodIdentityAssociation, and write all manifests to standard output. What does
not change keeps its bytes; comments and unknown fields survive everywhere. Only a
document whose injected parts are shared by anchors, aliases or merge keys is
written again; others that share them do not change.

If the manifests have a service account twice, the last one holds, as after kubectl
apply, and a warning says so if they differ.`,
		Example: `  rolecall inject -f app.yaml | kubectl apply -f -
  kustomize build . | rolecall inject -f - | kubectl apply -f -`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := flags.ValidateInject(&settings); err != nil {
				return err
			}
			return runInject(sys, files, settings)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil,
		"a file or folder of manifests, or - for standard input; may be repeated")
	cli.CompleteFiles(cmd, "filename", "yaml", "yml", "json")
	flags.Inject(cmd, &settings)
	return cmd
}

// nothingInjected says so if no workload is meant to have an identity, with what there
// was instead.
func nothingInjected(
	sys cli.System, sources []manifest.Source, outcomes []manifest.Outcome,
) error {
	if slices.ContainsFunc(outcomes, func(o manifest.Outcome) bool { return o.Identity }) {
		return nil
	}
	surveys, err := manifest.Look(sources)
	if err != nil {
		return err
	}
	var all manifest.Survey
	for _, s := range surveys {
		all.Objects += s.Objects
		all.Workloads += s.Workloads
	}
	fmt.Fprintf(sys.Stderr, "warning: nothing was injected: looked at %s in %s, %s among them, "+
		"none of a service account with a role in these manifests\n",
		count(all.Objects, "object"), count(len(sources), "file"), count(all.Workloads, "workload"))
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func runInject(sys cli.System, files []string, settings inject.Settings) error {
	if len(files) == 0 {
		return fault.New(fault.Usage, "no manifests given").Hint("add -f FILE, or -f - for standard input")
	}
	var sources []manifest.Source
	for _, file := range files {
		if file == "-" {
			text, err := io.ReadAll(io.LimitReader(sys.Stdin, maxStdin+1))
			if err != nil || len(text) > maxStdin {
				return fault.New(fault.Invalid, "read standard input: it is larger than %d bytes or broke off",
					maxStdin)
			}
			sources = append(sources, manifest.Source{Name: "standard input", Text: text})
			continue
		}
		read, err := manifest.ReadFiles(file)
		if err != nil {
			return err
		}
		sources = append(sources, read...)
	}
	text, outcomes, err := manifest.Inject(sources, settings)
	if err != nil {
		return err
	}
	for _, outcome := range outcomes {
		for _, warning := range outcome.Warnings {
			fmt.Fprintf(sys.Stderr, "warning: %s:%d: %s %s/%s: %s\n", outcome.Source, outcome.Line, outcome.Kind,
				outcome.Namespace, outcome.Name, warning)
		}
	}
	if err := nothingInjected(sys, sources, outcomes); err != nil {
		return err
	}
	if _, err := sys.Stdout.Write(text); err != nil {
		return fault.New(fault.Unavailable, "write the manifests: %w", err)
	}
	return nil
}
