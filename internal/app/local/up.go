// Package local has the commands that run the plane, or a program in it, on this machine:
// demo, up, run, whoami, and inject, which needs no plane at all.
//
// It does not know what the plane is made of: that is in local/plane.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/fault"
)

// NewUp returns the command that leaves a plane running.
func NewUp(sys cli.System) *cobra.Command {
	var options planeOptions
	cmd := &cobra.Command{
		Use:   "up [-f FILE]...",
		Short: "Leave the plane running on this machine",
		Long: `Start local AWS, issuer, webhook, broker and agent in this process, load the
quickstart's roles, service accounts and associations and those of the given
manifests, print how to reach them, and run until interrupted.

With --cluster a real etcd and API server run too, with the authenticator and the
controller: kubectl enters with an IAM identity of local AWS. No pod runs there.`,
		Example: `  rolecall up
  rolecall up -f app.yaml --data plane --explain
  rolecall up --listen 127.0.0.1:0
  rolecall up --cluster`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd.Context(), sys, options) },
	}
	cmd.Flags().StringVar(&options.awsAddress, "listen", flags.DefaultAWSAddress,
		"where local AWS listens; port 0 picks a free one")
	cmd.Flags().StringArrayVarP(&options.manifests, "filename", "f", nil,
		"Kubernetes manifests whose service accounts and associations the plane knows")
	cmd.Flags().StringVar(&options.dataDir, "data", "",
		"folder that keeps local AWS, the associations and the issuer's key; without it they are forgotten")
	flags.Salvage(cmd, &options.salvage)
	cmd.Flags().BoolVar(&options.explain, "explain", false, "print each refusal of local AWS with the reason AWS hides")
	flags.STSErrors(cmd, &options.stsErrors)
	cmd.Flags().BoolVarP(&options.verbose, "verbose", "v", false, "log every decision and its reason to standard error")
	cmd.Flags().BoolVar(&options.cluster, "cluster", false, "start a real etcd and API server too, which people may enter")
	cmd.Flags().StringVar(&options.clusterPrograms, "cluster-programs", "",
		"folder with etcd and kube-apiserver; KUBEBUILDER_ASSETS, envtest's, or the PATH if empty")
	cli.CompleteFiles(cmd, "filename", "yaml", "yml", "json")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.MarkFlagDirname("cluster-programs")
	return cmd
}

func runUp(ctx context.Context, sys cli.System, options planeOptions) error {
	path, err := plane.EndpointsPath(sys.Getenv)
	if err != nil {
		return err
	}
	if running, found, err := plane.LoadEndpoints(path); err == nil && found && plane.NewClient(running).Alive(ctx) {
		return fault.New(fault.Conflict, "a plane is running already, process %d at %s", running.PID, running.AWS).
			Hint("use it, or stop it with: kill %d", running.PID)
	}
	if options.salvage {
		if options.dataDir == "" {
			return fault.New(fault.Usage, "--salvage is for a data folder: name it with --data")
		}
		if err := flags.SalvageFiles(sys.Stderr, plane.Databases(options.dataDir)...); err != nil {
			return err
		}
	}
	started, err := startPlane(ctx, sys, options)
	if err != nil {
		return err
	}
	err = serveUp(ctx, sys, options, started, path)
	return errors.Join(err, started.Close())
}

// serveUp runs what goes with the plane until it is interrupted.
func serveUp(ctx context.Context, sys cli.System, options planeOptions, started *plane.Plane, path string) error {
	var cluster *realCluster
	var failed <-chan struct{}
	if options.cluster {
		var err error
		if cluster, err = startCluster(ctx, sys, options, started); err != nil {
			return err
		}
		defer cluster.Close()
		failed = cluster.Failed()
	}
	if err := started.Endpoints().Save(path); err != nil {
		return err
	}
	defer func() { _ = os.Remove(path) }()
	printPlane(sys, started, cluster)
	if err := cli.WriteError(sys.Stdout); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-started.Failed():
	case <-failed:
		return cluster.ended()
	}
	fmt.Fprintln(sys.Stderr, "stopping")
	return nil
}

// printPlane writes what a person reads to standard error and what a shell
// evaluates to standard output, so that `eval` of a captured output works.
func printPlane(sys cli.System, started *plane.Plane, cluster *realCluster) {
	endpoints, admin := started.Endpoints(), started.Admin()
	fmt.Fprintf(sys.Stderr, sys.AsCalled(`local AWS  %s   account %s, %s; not for production
issuer     %s   as %s
webhook    %s
agent      %s   of cluster %s; its associations: aws eks list-pod-identity-associations
roles      %s
try        rolecall run --service-account default/s3-reader -- aws sts get-caller-identity
           rolecall run --service-account default/s3-reader --via pod-identity -- aws sts get-caller-identity
%sstop       Ctrl-C

A shell becomes the local administrator with:
`), endpoints.AWS, started.Account(), endpoints.Region, endpoints.Tokens, started.Issuer(),
		endpoints.Webhook, endpoints.Agent, quickstart.Cluster, started.RoleARN(), sys.AsCalled(cluster.help()))
	flags.PrintExports(sys, endpoints.AWS, endpoints.Region, admin)
	if cluster != nil {
		fmt.Fprintf(sys.Stdout, "export KUBECONFIG=%s\n", fault.Quote(cluster.control.Kubeconfig))
	}
}
