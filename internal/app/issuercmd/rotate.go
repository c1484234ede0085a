package issuercmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/desk"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// rotateConfig is what `issuer rotate` needs.
type rotateConfig struct {
	dir     dirFlag
	cluster flags.APIServers
	read    flags.IssuerReader
	// cacheFor and drainFor replace issuer.yaml's.
	cacheFor, drainFor time.Duration
	kind               string
	emergency          bool
}

func newIssuerRotate(sys cli.System) *cobra.Command {
	var c rotateConfig
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Take the next step of a key rotation, if it is safe",
		Long: `Replace the signing key without a failed request: make a new one, publish it, let
every API server accept it, then sign with it, wait until old tokens have expired, and
drop the old key. Each call takes one step, or refuses and says what is missing. The
files sa.key and sa.pub always hold what the API servers must have; copying them and
restarting the API servers, one by one, is up to you.

Progress is kept in rotation.json, so a rotation may take days and be continued from
anywhere. With --emergency, for a key that has leaked, it waits neither for caches nor
for tokens, even in the middle of a rotation, and prints the commands that end the
sessions which the leaked key may have obtained.

Where the API servers sign by "rolecall serve signer", the keys are the signer's:
"rolecall signer rotate" renews them, without a restart.`,
		Example: `  rolecall issuer rotate --kubeconfig admin.conf
  rolecall issuer rotate --kubeconfig admin.conf --emergency
  rolecall issuer rotate status --kubeconfig admin.conf`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.step(cmd.Context(), sys) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.emergency, "emergency", false, "the key has leaked: do not wait for caches or tokens")
	flags.KeyKind(cmd, &c.kind, token.DefaultKind, "the new key: "+token.KindChoice())
	cmd.AddCommand(newRotateStatus(sys), newRotateAbort(sys))
	return cmd
}

func (c *rotateConfig) flags(cmd *cobra.Command) {
	c.dir.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().DurationVar(&c.cacheFor, "cache-for", 0,
		"longest time that readers use cached keys (default: issuer.yaml's, or 2h)")
	cmd.Flags().DurationVar(&c.drainFor, "drain-for", 0,
		"longest life of a token (default: issuer.yaml's, or 24h10m, or that of the longest token of a pod)")
}

func newRotateAbort(sys cli.System) *cobra.Command {
	var c rotateConfig
	cmd := &cobra.Command{
		Use:     "abort",
		Short:   "Give up a rotation, as long as no API server signs with the new key",
		Example: `  rolecall issuer rotate abort --kubeconfig admin.conf`,
		Args:    cli.NoArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.abort(cmd.Context(), sys) },
	}
	c.flags(cmd)
	return cmd
}

func (c *rotateConfig) waits() desk.Waits {
	return desk.Waits{CacheFor: c.cacheFor, DrainFor: c.drainFor}
}

func (c *rotateConfig) open(ctx context.Context, sys cli.System) (*desk.Desk, error) {
	d, err := openDesk(ctx, sys, c.dir, c.cluster, c.read)
	if err != nil {
		return nil, err
	}
	if len(d.Servers) == 0 {
		return nil, fault.New(fault.Usage, "a rotation is decided by what the API servers do").
			Hint("add --kubeconfig FILE, and --api-server URL for each API server " +
				"if they have not registered themselves")
	}
	return d, nil
}

// locked does something in the folder that no other command may do meanwhile, and prints
// the step that was taken.
func (c *rotateConfig) locked(ctx context.Context, sys cli.System, do func(*desk.Desk) (*desk.Step, error)) error {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	unlock, err := d.Folder.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	step, err := do(d)
	if err != nil {
		return c.explain(err)
	}
	printStep(sys, step)
	return nil
}

func (c *rotateConfig) step(ctx context.Context, sys cli.System) error {
	return c.locked(ctx, sys, func(d *desk.Desk) (*desk.Step, error) {
		return d.Advance(ctx, desk.Start{
			Waits:     c.waits(),
			Emergency: c.emergency,
			NewKey:    func() (*token.Key, error) { return flags.NewKey(c.kind) },
		})
	})
}

func (c *rotateConfig) abort(ctx context.Context, sys cli.System) error {
	return c.locked(ctx, sys, func(d *desk.Desk) (*desk.Step, error) { return d.Abort(ctx) })
}

// explain says what to do about a step that is not safe.
func (c *rotateConfig) explain(err error) error {
	unsafe, refused := errors.AsType[*rotation.Unsafe](err)
	switch {
	case !refused:
		return err
	case !unsafe.NotBefore.IsZero():
		return fault.New(fault.Denied, "%w", err).Hint("nothing else is missing: try again then")
	}
	return fault.New(fault.Denied, "%w", err).
		Hint("rolecall issuer rotate status --dir %s%s shows what the step needs", fault.Quote(c.dir.dir),
			c.cluster.Words()+c.read.Words())
}

// printStep says what is to be done now, and with which files.
func printStep(sys cli.System, step *desk.Step) {
	fmt.Fprintf(sys.Stdout, "%s: %s\n", step.State.Phase, step.Do)
	if len(step.Files) > 0 {
		fmt.Fprintf(sys.Stdout, "files: %s\n", strings.Join(step.Files, ", "))
	}
	if step.Sessions != nil {
		printSessions(sys, step.Sessions)
	}
}

// printSessions prints what ends the sessions that a leaked key may have taken.
func printSessions(sys cli.System, sessions *desk.Sessions) {
	for _, err := range sessions.Unlisted {
		fmt.Fprintf(sys.Stderr, "roles that trust the issuer cannot be listed: %v\n", err)
	}
	fmt.Fprintf(sys.Stdout, "\nSessions that were obtained with the leaked key are still valid. "+
		"End them on each role that trusts the issuer:\n")
	for _, command := range sessions.Commands {
		fmt.Fprintf(sys.Stdout, "  %s\n", command)
	}
	if !sessions.Again.IsZero() {
		fmt.Fprintf(sys.Stdout, "STS may use cached keys until %s: run the commands again then, with that time.\n",
			sessions.Again.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(sys.Stdout, "Pods lose their sessions too: restart them, which also gives them tokens of the "+
		"new key.\n")
}
