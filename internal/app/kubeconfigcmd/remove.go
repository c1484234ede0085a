package kubeconfigcmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

// removeConfig is what `kubeconfig remove` needs.
type removeConfig struct {
	files
	cluster string
	dry     string
}

func newRemove(sys cli.System) *cobra.Command {
	var c removeConfig
	cmd := &cobra.Command{
		Use:     "remove (CONTEXT... | --name CLUSTER)",
		Aliases: []string{"rm", "delete"},
		Short:   "Take contexts out of a kubeconfig file",
		Long: `Take contexts out of a kubeconfig file, with their clusters and users unless other
contexts have them. With --name all contexts of a cluster go. If the current context
goes, none is current.`,
		Example: `  rolecall kubeconfig remove prod
  rolecall kubeconfig remove --name prod --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), sys, args) },
	}
	c.fileFlags(cmd)
	cmd.Flags().StringVar(&c.cluster, "name", "", "name or ARN of the cluster whose contexts go")
	dryRun(cmd, &c.dry)
	cmd.ValidArgsFunction = cli.CompleteFound(c.contexts(sys))
	return cmd
}

// contexts are those of the files, for shells.
func (c *removeConfig) contexts(sys cli.System) cli.Candidates {
	return func(_ context.Context, args []string, _ string) ([]string, error) {
		paths, err := c.paths(sys)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, path := range paths {
			if file, err := kubeconfig.Open(path); err == nil {
				for _, found := range file.Contexts() {
					if !slices.Contains(args, found.Name) {
						names = append(names, found.Name)
					}
				}
			}
		}
		return names, nil
	}
}

// wanted are the names of the contexts of a file that are to go.
func (c *removeConfig) wanted(t *kubeconfig.Text, named []string) []string {
	var found []string
	for _, one := range t.Contexts() {
		isOfCluster := c.cluster != "" &&
			(one.Cluster == c.cluster || strings.HasPrefix(one.Cluster, "arn:") && strings.HasSuffix(one.Cluster, ":cluster/"+c.cluster))
		if isOfCluster || slices.Contains(named, one.Name) {
			found = append(found, one.Name)
		}
	}
	return found
}

func (c *removeConfig) run(ctx context.Context, sys cli.System, named []string) error {
	if (len(named) == 0) == (c.cluster == "") {
		return cli.Usage("what is to go?").Hint("name contexts, or a cluster with --name").
			Hint("rolecall kubeconfig list shows them")
	}
	if err := checkDryRun(c.dry); err != nil {
		return err
	}
	paths, err := c.paths(sys)
	if err != nil {
		return err
	}
	missing, isGone := slices.Clone(named), false
	for _, path := range paths {
		file, err := kubeconfig.Open(path)
		if err != nil {
			return err
		}
		going := c.wanted(file.Text, named)
		if len(going) == 0 {
			continue
		}
		isGone = true
		missing = slices.DeleteFunc(missing, func(name string) bool { return slices.Contains(going, name) })
		if c.dry != "" {
			if _, err := take(sys, file, going, nil); err != nil {
				return err
			}
			show(sys, file, c.dry)
			continue
		}
		var gone []kubeconfig.Removed
		err = change(ctx, path, func(again *kubeconfig.File) error {
			gone, err = take(sys, again, c.wanted(again.Text, named), gone)
			return err
		})
		if err != nil {
			return err
		}
		for _, one := range gone {
			tell(sys, one, path)
		}
	}
	if len(missing) > 0 || !isGone {
		what := "context " + strings.Join(missing, ", ")
		if c.cluster != "" {
			what = "context of cluster " + c.cluster
		}
		return fault.New(fault.NotFound, "there is no %s in %s", what, strings.Join(paths, ", ")).
			Hint("rolecall kubeconfig list shows those that there are")
	}
	return nil
}

func take(sys cli.System, file *kubeconfig.File, going []string, gone []kubeconfig.Removed) ([]kubeconfig.Removed, error) {
	for _, name := range going {
		removed, laidOut, err := file.Remove(name)
		if err != nil {
			return gone, err
		}
		if !laidOut {
			laidOutAgain(sys, file.Path)
		}
		gone = append(gone, removed)
	}
	return gone, nil
}

func tell(sys cli.System, one kubeconfig.Removed, path string) {
	fmt.Fprintf(sys.Stdout, "Removed context %s from %s\n", one.Context, path)
	if one.WasCurrent {
		fmt.Fprintln(sys.Stderr, "it was the current one: kubectl config use-context NAME chooses another")
	}
}
