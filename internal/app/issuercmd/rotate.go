package issuercmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// rotateConfig is what `issuer rotate` needs.
type rotateConfig struct {
	folder  issuerFolder
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
		Long: `Replace the signing key with no failed request: make it, publish it, let every API
server accept it, let them sign with it, wait for the old tokens, drop the old key.
Each call takes one step, or refuses and says what is missing. The files sa.key and
sa.pub hold what the API servers must have at each moment; copying them and
restarting the API servers, one by one, is yours.

How far it is stands in rotation.json, so a rotation may take days and be taken up
anywhere. With --emergency, for a key that has leaked, no cache and no token is waited
for, also in the middle of a rotation, and the commands are printed that end the
sessions taken with it.

Where the API servers sign by "rolecall serve signer", the keys are the signer's:
"rolecall signer rotate" renews them, without a restart.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.step(cmd.Context(), sys) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.emergency, "emergency", false, "the key has leaked: wait for no cache and no token")
	flags.KeyKind(cmd, &c.kind, "rsa2048", "the new key: rsa2048, rsa3072, rsa4096 or p256")
	cmd.AddCommand(newRotateStatus(sys), newRotateAbort(sys))
	return cmd
}

func (c *rotateConfig) flags(cmd *cobra.Command) {
	c.folder.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().DurationVar(&c.cacheFor, "cache-for", 0, "longest time that readers use cached keys (default: issuer.yaml's, or 2h)")
	cmd.Flags().DurationVar(&c.drainFor, "drain-for", 0, "longest life of a token (default: issuer.yaml's, or 24h10m, or that of the longest token of a pod)")
}

func newRotateAbort(sys cli.System) *cobra.Command {
	var c rotateConfig
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Give a rotation up, as long as no API server signs with the new key",
		Args:  cli.NoArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.abort(cmd.Context(), sys) },
	}
	c.flags(cmd)
	return cmd
}

func (c *rotateConfig) open(ctx context.Context, sys cli.System) (*desk, error) {
	d, err := openDesk(ctx, sys, c.folder, c.cluster, c.read)
	if err != nil {
		return nil, err
	}
	if len(d.servers) == 0 {
		return nil, fault.New(fault.Usage, "a rotation is decided by what the API servers do").Hint("add --kubeconfig FILE, and --api-server URL for each API server if they have not registered themselves")
	}
	return d, nil
}

// locked opens the folder for one command alone, and reads how far the rotation
// is. unlock must be called unless there is an error.
func (c *rotateConfig) locked(ctx context.Context, sys cli.System) (d *desk, state rotation.State, unlock func(), err error) {
	if d, err = c.open(ctx, sys); err != nil {
		return nil, state, nil, err
	}
	if unlock, err = c.folder.lock(); err != nil {
		return nil, state, nil, err
	}
	if state, err = d.state(); err != nil {
		unlock()
		return nil, state, nil, err
	}
	return d, state, unlock, nil
}

// step publishes what the phase wants, looks, and goes on if it is safe.
func (c *rotateConfig) step(ctx context.Context, sys cli.System) error {
	d, state, unlock, err := c.locked(ctx, sys)
	if err != nil {
		return err
	}
	defer unlock()
	if state.Phase == rotation.Stable {
		return c.start(ctx, d, state)
	}
	state.Emergency = state.Emergency || c.emergency
	view := d.look(ctx)
	// Whoever has overwritten the keys meanwhile is put right before anything
	// else is asked.
	if keys, err := d.wanted(state, view); err == nil {
		if documents, err := d.publish(ctx, keys, view); err != nil {
			return err
		} else if issuer.CheckReadBack(documents, view.Discovery, view.JWKS) != nil {
			view = d.look(ctx)
		}
	}
	parameters, facts, err := c.facts(ctx, d, state, view)
	if err != nil {
		return err
	}
	next, err := rotation.Advance(state, parameters, facts)
	if err != nil {
		return errors.Join(c.refused(err), d.keep(next))
	}
	if err := d.enter(next); err != nil {
		return err
	}
	if err := d.keep(next); err != nil {
		return err
	}
	if err := d.publishFor(ctx, next, view); err != nil {
		return err
	}
	if err := d.tell(next); err != nil {
		return err
	}
	switch {
	case next.Phase == rotation.Retiring && next.Emergency:
		d.tellSessions(ctx, next.Since, parameters)
	case state.Phase == rotation.Retiring && state.Emergency:
		d.tellSessions(ctx, state.Since, parameters)
	}
	return nil
}

// start makes the new key and remembers it.
func (c *rotateConfig) start(ctx context.Context, d *desk, state rotation.State) error {
	view := d.look(ctx)
	if reasons := rotation.Check(state, view.Facts()); len(reasons) > 0 {
		return c.refused(&rotation.Unsafe{Phase: state.Phase, Reasons: reasons})
	}
	// sa.pub is completed with what the API servers accept, so that copying it
	// takes nothing away.
	keys, err := issuer.Union(view.Asked)
	if err != nil {
		return err
	}
	key, err := d.nextKey(c.kind)
	if err != nil {
		return err
	}
	next, err := rotation.Start(state, view.Facts(), key.ID(), c.emergency)
	if err != nil {
		return c.refused(err)
	}
	if err := d.writeAccepted(keys); err != nil {
		return err
	}
	if err := d.keep(next); err != nil {
		return err
	}
	return d.tell(next)
}

// refused says why a step is not taken.
func (c *rotateConfig) refused(err error) error {
	refused := fault.New(fault.Denied, "%w", err)
	if unsafe, ok := errors.AsType[*rotation.Unsafe](err); ok && !unsafe.NotBefore.IsZero() {
		return refused.Hint("nothing else is missing: try again then")
	}
	return refused.Hint("rolecall issuer rotate status --dir %s%s shows what the step needs", fault.Quote(c.folder.dir), c.cluster.Words())
}

// facts adds what only a rotation asks for.
func (c *rotateConfig) facts(ctx context.Context, d *desk, state rotation.State, view issuer.View) (rotation.Parameters, rotation.Facts, error) {
	parameters := rotation.Defaults()
	if spec := d.object.Spec.Rotation; spec != nil {
		for _, pair := range []struct {
			into *time.Duration
			from time.Duration
		}{{&parameters.CacheFor, spec.CacheFor.Duration}, {&parameters.DrainFor, spec.DrainFor.Duration}} {
			if pair.from > 0 {
				*pair.into = pair.from
			}
		}
	}
	if c.cacheFor > 0 {
		parameters.CacheFor = c.cacheFor
	}
	longest, err := d.servers[0].LongestToken(ctx)
	if err != nil {
		return parameters, rotation.Facts{}, err
	}
	if parameters.DrainFor = max(parameters.DrainFor, longest); c.drainFor > 0 {
		parameters.DrainFor = c.drainFor
	}
	facts := view.Facts()
	key, keyErr := token.ParsePrivateKey(readOrNothing(c.folder.path(nextFile)))
	facts.Stored = keyErr == nil && key.ID() == state.NewKID
	role := d.object.Spec.Probe.RoleARN
	parameters.WithoutCanary = role == ""
	if role != "" && state.Phase == rotation.Signing && !state.Emergency {
		facts.Exchanges, facts.ExchangeErr = d.exchange(ctx, role, state.NewKID, view)
	}
	return parameters, facts, nil
}

func readOrNothing(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return text
}

// exchange offers a token of each API server to STS, in as many rounds as a
// rotation asks for, each with tokens signed for it.
func (d *desk) exchange(ctx context.Context, role, kid string, view issuer.View) (rounds int, err error) {
	account, err := awsapi.OpenAccount(ctx, "", "")
	if err != nil {
		return 0, err
	}
	offer := func(signed credential.Secret) error { return account.Exchange(ctx, role, signed) }
	for {
		accepted, err := view.Exchange(kid, offer)
		if err != nil || !accepted {
			return 0, err
		}
		if rounds++; rounds == rotation.Canaries {
			return rounds, nil
		}
		view.Asked = issuer.AskAll(ctx, d.servers, probeOf(&d.object.Spec), d.sys.Now)
	}
}

// nextKey returns the key that a start which did not end has made, or makes one.
func (d *desk) nextKey(kind string) (*token.Key, error) {
	text, err := os.ReadFile(d.folder.path(nextFile))
	if err == nil {
		key, err := token.ParsePrivateKey(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", d.folder.path(nextFile), err)
		}
		return key, nil
	}
	key, err := flags.NewKey(kind)
	if err != nil {
		return nil, err
	}
	if text, err = key.PEM(); err != nil {
		return nil, err
	}
	return key, writePrivately(d.folder.path(nextFile), text)
}

func (d *desk) writeAccepted(keys []token.PublicKey) error {
	text, err := token.PublicPEM(keys)
	if err != nil {
		return err
	}
	return writePrivately(d.folder.path(acceptedFile), text)
}

// enter makes the files what the API servers must have in a phase. It may be
// done twice.
func (d *desk) enter(next rotation.State) error {
	accepted, err := readPublicKeys(d.folder.path(acceptedFile))
	if err != nil {
		return err
	}
	without := func(kid string) []token.PublicKey {
		return slices.DeleteFunc(slices.Clone(accepted), func(k token.PublicKey) bool { return k.ID == kid })
	}
	switch next.Phase {
	case rotation.Verifying, rotation.Signing:
		coming, err := readPublicKeys(d.folder.path(nextFile))
		if err != nil {
			return err
		}
		if err := d.writeAccepted(append(coming, without(next.NewKID)...)); err != nil {
			return err
		}
		if next.Phase == rotation.Signing {
			return d.switchKeys()
		}
	case rotation.Retiring:
		if old, err := publication.Pick(accepted, []string{next.OldKID}); err == nil {
			text, err := token.PublicPEM(old)
			if err := errors.Join(err, writePrivately(d.folder.path(oldPublic), text)); err != nil {
				return err
			}
		}
		return d.writeAccepted(without(next.OldKID))
	case rotation.Stable:
		return d.remove(oldFile, oldPublic, nextFile)
	default: // nothing changes for the API servers
	}
	return nil
}

// switchKeys lets the new key sign; the old one is kept until it is retired.
func (d *desk) switchKeys() error {
	coming, err := os.ReadFile(d.folder.path(nextFile))
	if err != nil {
		return fault.New(fault.NotFound, "read the new key: %w", err)
	}
	old := readOrNothing(d.folder.path(signingFile))
	if old != nil && string(old) != string(coming) {
		if err := writePrivately(d.folder.path(oldFile), old); err != nil {
			return err
		}
	}
	return writePrivately(d.folder.path(signingFile), coming)
}

func (d *desk) remove(names ...string) error {
	for _, name := range names {
		if err := os.Remove(d.folder.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Unavailable, "%w", err)
		}
	}
	return nil
}

// keep writes rotation.json.
func (d *desk) keep(state rotation.State) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return writePrivately(d.folder.path(stateFile), append(text, '\n'))
}

// publishFor publishes what a phase just entered wants.
func (d *desk) publishFor(ctx context.Context, state rotation.State, view issuer.View) error {
	keys, err := d.wanted(state, view)
	if err != nil {
		return err
	}
	_, err = d.publish(ctx, keys, view)
	return err
}

// changed are the files that the control-plane nodes need for a phase.
var changed = map[rotation.Phase][]string{
	rotation.KeyCreated: {nextFile}, rotation.Verifying: {acceptedFile}, rotation.Signing: {signingFile, acceptedFile}, rotation.Retiring: {acceptedFile},
}

// tell says what is to be done now, and with which files.
func (d *desk) tell(state rotation.State) error {
	_, gate := rotation.Look(state, rotation.Parameters{}, rotation.Facts{})
	fmt.Fprintf(d.sys.Stdout, "%s: %s\n", state.Phase, gate.Do)
	if files := slices.Clone(changed[state.Phase]); len(files) > 0 {
		for i, name := range files {
			files[i] = d.folder.path(name)
		}
		fmt.Fprintf(d.sys.Stdout, "files: %s\n", strings.Join(files, ", "))
	}
	return nil
}

func (c *rotateConfig) abort(ctx context.Context, sys cli.System) error {
	d, state, unlock, err := c.locked(ctx, sys)
	if err != nil {
		return err
	}
	defer unlock()
	view := d.look(ctx)
	next, err := rotation.Abort(state, view.Facts())
	if err != nil {
		return c.refused(err)
	}
	accepted, err := readPublicKeys(d.folder.path(acceptedFile))
	if err != nil {
		return err
	}
	if err := d.writeAccepted(slices.DeleteFunc(accepted, func(k token.PublicKey) bool { return k.ID == state.NewKID })); err != nil {
		return err
	}
	if err := errors.Join(d.keep(next), d.remove(nextFile)); err != nil {
		return err
	}
	if err := d.publishFor(ctx, next, view); err != nil {
		return err
	}
	return d.tell(next)
}
