// Package kubeconfigcmd has the commands of `rolecall kubeconfig`: entries of kubeconfig
// files for people and pipelines who enter clusters with an IAM identity.
//
// It has no rules of its own: how files are changed is in internal/kubeconfig, what EKS
// says of a cluster in internal/awsapi.
package kubeconfigcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:   "kubeconfig",
		Short: "Enter clusters with an IAM identity: entries of kubeconfig files",
		Long: `Put clusters into kubeconfig files, with a user whose tokens ` + "`rolecall token`" + ` makes
from an IAM identity; show and remove them. Whatever else is in a file stays as it is,
comments and order included.`,
		Example: `  rolecall kubeconfig update --name prod --region eu-west-1
  rolecall kubeconfig list`,
	}, newUpdate(sys), newRemove(sys), newList(sys))
}

// lockPatience is how long somebody else may change the file before that is an error, and
// lockPause how often it is tried meanwhile.
const (
	lockPatience = 5 * time.Second
	lockPause    = 50 * time.Millisecond
)

// lock waits while somebody else has the file's lock.
func lock(ctx context.Context, path string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		release, err = kubeconfig.Lock(path)
		if fault.KindOf(err) != fault.Conflict {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lockPause):
		}
	}
}

// files are the kubeconfig files that a command means.
type files struct{ named string }

func (f *files) fileFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.named, "kubeconfig", "", "kubeconfig file; those of KUBECONFIG, or ~/.kube/config, if empty")
	cli.CompleteFiles(cmd, "kubeconfig")
}

func (f *files) paths(sys cli.System) ([]string, error) {
	home := sys.Getenv("HOME")
	if home == "" {
		home = sys.Getenv("USERPROFILE")
	}
	return kubeconfig.Paths(f.named, sys.Getenv("KUBECONFIG"), home)
}

// choose opens the file to change: the first that wanted says yes to, else the first.
func (f *files) choose(sys cli.System, wanted func(*kubeconfig.Text) bool) (*kubeconfig.File, error) {
	paths, err := f.paths(sys)
	if err != nil {
		return nil, err
	}
	return kubeconfig.Choose(paths, wanted, func(skipped error) {
		fmt.Fprintf(sys.Stderr, "warning: passed over: %v\n", skipped)
	})
}

// change opens the file again under its lock, and saves what edit made of it.
func change(ctx context.Context, path string, edit func(*kubeconfig.File) error) error {
	release, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	file, err := kubeconfig.Open(path)
	if err != nil {
		return err
	}
	if err := edit(file); err != nil || !file.Changed() {
		return err
	}
	return file.Save()
}

// Ways to show what would be written.
const (
	dryDiff  = "diff"
	dryWhole = "kubeconfig"
)

// dryRun adds --dry-run: alone it is a diff.
func dryRun(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "dry-run", "",
		"write nothing: print the change as a diff without secrets, or with =kubeconfig the whole file")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = dryDiff
	cli.CompleteFlag(cmd, "dry-run", dryDiff, dryWhole)
}

func checkDryRun(how string) error {
	if how != "" && how != dryDiff && how != dryWhole {
		return cli.Usage("--dry-run=%s: want diff or kubeconfig", how)
	}
	return nil
}

func show(sys cli.System, file *kubeconfig.File, how string) {
	if how == dryWhole {
		_, _ = sys.Stdout.Write(file.Bytes())
		return
	}
	before, after := kubeconfig.WithoutSecrets(file.Before()), kubeconfig.WithoutSecrets(file.Bytes())
	_, _ = sys.Stdout.Write(diff.Diff(file.Path, before, file.Path+" (new)", after))
	if !file.Changed() {
		fmt.Fprintf(sys.Stderr, "%s says so already\n", file.Path)
	}
}

// laidOutAgain says that comments may have moved.
func laidOutAgain(sys cli.System, path string) {
	fmt.Fprintf(sys.Stderr, "warning: %s has a new layout now: its form does not let the change be made in place\n", path)
}

func aboutMode(sys cli.System, file *kubeconfig.File) {
	if file.Found && file.Mode&0o077 != 0 && !isWindows {
		fmt.Fprintf(sys.Stderr, "warning: others may read %s (mode %04o), which can hold keys: chmod 600 %s\n",
			file.Path, file.Mode, fault.Quote(file.Path))
	}
}
