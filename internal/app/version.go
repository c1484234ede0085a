package app

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/app/cli"
)

func newVersion(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Long: `Print the version. As JSON or YAML also the commit and its date, the version of Go, and
the platform that the program was built for.`,
		Example: `  rolecall version
  rolecall version -o json`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(*cobra.Command, []string) error {
		build := cli.CurrentBuild()
		switch *output {
		case "json":
			return cli.PrintJSON(sys.Stdout, build)
		case "yaml":
			text, err := yaml.Marshal(build)
			if err != nil {
				return fmt.Errorf("print YAML: %w", err)
			}
			_, err = sys.Stdout.Write(text)
			return err
		}
		_, err := fmt.Fprintln(sys.Stdout, build.Version)
		return err
	}
	output = cli.Output(cmd, "text", "json", "yaml")
	return cmd
}
