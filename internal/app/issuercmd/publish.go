package issuercmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// publishConfig is what `issuer publish` needs.
type publishConfig struct {
	folder  issuerFolder
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

It never writes an empty set, one without a key that an API server signs with, or
over another issuer's documents.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	c.folder.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().BoolVar(&c.dropUnseen, "drop-unseen", false, "without --kubeconfig, remove published keys that sa.pub lacks")
	cmd.Flags().DurationVar(&c.readBack, "read-back", 30*time.Second, "how long to wait until readers find what was published; 0 does not look")
	return cmd
}

func (c *publishConfig) run(ctx context.Context, sys cli.System) error {
	desk, err := openDesk(ctx, sys, c.folder, c.cluster, c.read)
	if err != nil {
		return err
	}
	unlock, err := c.folder.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.publish(ctx, desk)
}

// publish needs the folder's lock.
func (c *publishConfig) publish(ctx context.Context, desk *desk) error {
	state, err := desk.state()
	if err != nil {
		return err
	}
	view := desk.look(ctx)
	keys, err := desk.wanted(state, view)
	if err != nil {
		return err
	}
	if len(desk.servers) == 0 && !c.dropUnseen {
		if err := desk.refuseRemoval(ctx, keys); err != nil {
			return err
		}
	}
	documents, err := desk.publish(ctx, keys, view)
	if err != nil {
		return err
	}
	return desk.readBack(ctx, documents, c.readBack)
}

// desk is what publishing and rotating work with.
type desk struct {
	sys     cli.System
	folder  issuerFolder
	object  *v1alpha1.Issuer
	store   issuer.Store
	reader  *issuer.Reader
	servers []*issuer.APIServer
}

func openDesk(ctx context.Context, sys cli.System, folder issuerFolder, cluster flags.APIServers, read flags.IssuerReader) (*desk, error) {
	object, err := folder.load()
	if err != nil {
		return nil, err
	}
	d := &desk{sys: sys, folder: folder, object: object}
	if d.reader, err = read.Reader(); err != nil {
		return nil, err
	}
	if d.servers, err = cluster.Servers(ctx, object.Spec.APIServers); err != nil {
		return nil, err
	}
	d.store, err = storeOf(ctx, &object.Spec, &cluster)
	return d, err
}

func (d *desk) look(ctx context.Context) issuer.View {
	return issuer.Look(ctx, d.reader, d.object.Spec.URL, d.servers, probeOf(&d.object.Spec), d.sys.Now)
}

// state reads rotation.json; without it there is no rotation.
func (d *desk) state() (rotation.State, error) {
	text, err := os.ReadFile(d.folder.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return rotation.New(d.sys.Now()), nil
	}
	if err != nil {
		return rotation.State{}, fault.New(fault.Unavailable, "read the rotation: %w", err)
	}
	state, err := rotation.Parse(text)
	if err != nil {
		return rotation.State{}, fault.New(fault.Invalid, "%s: %w", d.folder.path(stateFile), err)
	}
	return state, nil
}

// known returns the public keys of the folder's files.
func (d *desk) known() ([]token.PublicKey, error) {
	var known []token.PublicKey
	for _, name := range []string{nextFile, signingFile, acceptedFile, oldFile, oldPublic} {
		keys, err := readPublicKeys(d.folder.path(name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if known, err = publication.Union(known, keys); err != nil {
			return nil, err
		}
	}
	return known, nil
}

func readPublicKeys(path string) ([]token.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read keys: %w", err)
	}
	return parsePublicKeys(path, text)
}

// wanted returns the keys to publish.
func (d *desk) wanted(state rotation.State, view issuer.View) ([]token.PublicKey, error) {
	known, err := d.known()
	if err != nil {
		return nil, err
	}
	if len(d.servers) > 0 {
		keys, err := view.Wanted(state, known)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err).Hint("publishing without it could lock its pods out; bring it back, or leave it out with --api-server for the others")
		}
		return keys, nil
	}
	keys, err := readPublicKeys(d.folder.path(acceptedFile))
	if err != nil {
		return nil, fault.New(fault.NotFound, "%w", err).Hint("add --kubeconfig FILE to take the keys from the API servers")
	}
	if state.Phase == rotation.Stable {
		return keys, nil
	}
	wanted := rotation.Wanted(state, rotation.Facts{})
	for _, kid := range publication.IDs(keys) {
		if !slices.Contains(wanted, kid) && kid != state.OldKID && kid != state.NewKID {
			wanted = append(wanted, kid)
		}
	}
	return publication.Pick(known, wanted)
}

// refuseRemoval keeps what is published when nobody has asked the API servers
// whether they sign with it.
func (d *desk) refuseRemoval(ctx context.Context, keys []token.PublicKey) error {
	path := d.object.Spec.Publish.JWKSPath
	if path == "" {
		path = publication.JWKSPath
	}
	stored, err := d.store.Read(ctx, path)
	if err != nil || stored.Version == "" {
		return err
	}
	published, err := token.ReadJWKS(stored.Text)
	if err != nil {
		return nil //nolint:nilerr // it serves nobody, so it can be replaced
	}
	for _, kid := range publication.IDs(published) {
		if !slices.Contains(publication.IDs(keys), kid) {
			return fault.New(fault.Denied, "refuse to remove key %s: no API server was asked whether it signs with it", kid).
				Hint("add --kubeconfig FILE").Hint("if no token of it is left: rolecall issuer publish --dir %s --drop-unseen", d.folder.dir)
		}
	}
	return nil
}

// publish writes the documents and says what was written.
func (d *desk) publish(ctx context.Context, keys []token.PublicKey, view issuer.View) (publication.Documents, error) {
	documents, err := publication.NewDocuments(d.object.Spec.URL, keys, publishOptions(&d.object.Spec))
	if err != nil {
		return documents, fault.New(fault.Invalid, "%w", err)
	}
	written, err := issuer.Publish(ctx, d.store, documents, issuer.Signing(view.Asked))
	for _, name := range written {
		fmt.Fprintf(d.sys.Stderr, "written: %s\n", name)
	}
	if err != nil {
		return documents, fault.New(fault.Unavailable, "publish: %w", err)
	}
	what := "published"
	if len(written) == 0 {
		what = "unchanged"
	}
	fmt.Fprintf(d.sys.Stderr, "%s at %s: %s\n", what, documents.Issuer, strings.Join(publication.IDs(keys), " "))
	if _, direct := publication.S3Bucket(documents.Issuer); len(written) > 0 && !direct && d.object.Spec.Publish.S3 != nil {
		fmt.Fprintf(d.sys.Stderr, "CloudFront, if it stands before the bucket, may hold old copies; drop them:\n  %s\n", publication.Invalidation(documents))
	}
	return documents, nil
}

// readBack waits until readers find the documents.
func (d *desk) readBack(ctx context.Context, documents publication.Documents, patience time.Duration) error {
	if patience <= 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		discovery, jwks := d.reader.Read(ctx, documents.Issuer)
		err := issuer.CheckReadBack(documents, discovery, jwks)
		if err == nil {
			return nil
		}
		select {
		case <-waiting.Done():
			return fault.New(fault.Unavailable, "%w", err).Hint("rolecall issuer verify --dir %s tells why; --read-back 0 does not look", d.folder.dir)
		case <-time.After(time.Second):
		}
	}
}
