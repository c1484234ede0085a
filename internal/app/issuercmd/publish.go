package issuercmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/desk"
)

// publishConfig is what `issuer publish` needs.
type publishConfig struct {
	dir     dirFlag
	cluster flags.APIServers
	read    flags.IssuerReader
	// dropUnseen lets published keys go although no API server was asked.
	dropUnseen bool
	// readBack is how long to wait until readers find what was published; zero
	// does not look.
	readBack time.Duration
}

func newIssuerPublish(sys cli.System) *cobra.Command {
	var c publishConfig
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Publish the keys of all API servers, and read them back",
		Long: `Write the key set and then the discovery document to where issuer.yaml says, if they
differ from what is there, and read them back as anybody does. The keys are those
that any API server accepts, and those a rotation has added; without --kubeconfig
those of sa.pub.

It never publishes an empty set, or one without a key that an API server signs with,
and never overwrites the documents of another issuer.`,
		Example: `  rolecall issuer publish --kubeconfig admin.conf
  rolecall issuer publish --dir issuer --read-back 0s`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	c.dir.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().BoolVar(&c.dropUnseen, "drop-unseen", false,
		"without --kubeconfig, remove published keys that sa.pub lacks")
	cmd.Flags().DurationVar(&c.readBack, "read-back", 30*time.Second,
		"how long to wait until readers find what was published; 0 does not look")
	return cmd
}

func (c *publishConfig) run(ctx context.Context, sys cli.System) error {
	d, err := openDesk(ctx, sys, c.dir, c.cluster, c.read)
	if err != nil {
		return err
	}
	unlock, err := d.Folder.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.publish(ctx, sys, d)
}

// publish needs the folder's lock.
func (c *publishConfig) publish(ctx context.Context, sys cli.System, d *desk.Desk) error {
	documents, err := d.Publish(ctx, c.dropUnseen)
	if err != nil {
		return err
	}
	if d.Issuer.Spec.Publish.Directory != nil && c.readBack > 0 {
		fmt.Fprintf(sys.Stderr, "reading back from %s for up to %s: it must be served by now, for example by rolecall "+
			"serve issuer --documents %s\n", d.Issuer.Spec.URL, c.readBack,
			fault.Quote(d.Issuer.Spec.Publish.Directory.Path))
	}
	return d.ReadBack(ctx, documents, c.readBack)
}

// tellPublished says what was written as soon as it is.
func tellPublished(sys cli.System) func(desk.Published) {
	return func(done desk.Published) {
		for _, name := range done.Written {
			fmt.Fprintf(sys.Stderr, "written: %s\n", name)
		}
		for _, kid := range done.Removed {
			fmt.Fprintf(sys.Stderr, "removed: key %s, which was published\n", kid)
		}
		for _, lost := range done.Lost {
			fmt.Fprintf(sys.Stderr, "dropped: %s\n", lost)
		}
		if len(done.Keys) == 0 {
			return // it failed half-way, which is told as an error
		}
		what := "published"
		if len(done.Written) == 0 {
			what = "unchanged"
		}
		fmt.Fprintf(sys.Stderr, "%s at %s: %s\n", what, done.Issuer, strings.Join(done.Keys, " "))
		if done.Invalidation != "" {
			fmt.Fprintf(sys.Stderr,
				"CloudFront, if it stands before the bucket, may hold old copies; drop them:\n  %s\n",
				done.Invalidation)
		}
	}
}
