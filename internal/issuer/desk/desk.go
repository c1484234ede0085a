// Package desk is where an issuer is kept by hand: its files in a folder, what is
// published from there, and rotations, a step at a time.
//
// What is right to do it asks plan and rotation, as the controller does for Issuer
// objects. It parses no flags and prints nothing, and copies no file to a node.
package desk

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// Desk is one issuer to work on. All fields are needed, but Servers, which is empty where
// the API servers are not to be asked.
type Desk struct {
	Folder Folder
	// Issuer is what the folder's issuer.yaml says.
	Issuer  *v1alpha1.Issuer
	Store   store.Store
	Reader  *observe.Reader
	Servers []*observe.APIServer
	Now     func() time.Time
	// Tell is called with what was published, as soon as it is.
	Tell func(Published)
}

// Published is what publishing has done.
type Published struct {
	Issuer string
	// Written are the names of the documents that were written, in order; none if they
	// were there already.
	Written []string
	// Removed are the kids that were published and no longer are.
	Removed []string
	// Lost is what else was there and no longer is.
	Lost []string
	// Keys are the kids that are published; none if publishing failed half-way.
	Keys []string
	// Invalidation is the command that drops old copies of CloudFront's, empty unless it
	// may stand before the bucket.
	Invalidation string
}

// Look sees what the API servers do and what readers find.
func (d *Desk) Look(ctx context.Context) observe.View {
	return observe.Look(ctx, d.Reader, d.Issuer.Spec.URL, d.Servers, plan.ProbeOf(&d.Issuer.Spec), d.Now)
}

// State reads how far a rotation is.
func (d *Desk) State() (rotation.State, error) { return d.Folder.State() }

// Publish writes what the folder's state wants published, with the folder's lock held.
// Where no API server is asked it refuses to remove a key, unless dropUnseen.
func (d *Desk) Publish(ctx context.Context, dropUnseen bool) (document.Documents, error) {
	state, err := d.State()
	if err != nil {
		return document.Documents{}, err
	}
	view := d.Look(ctx)
	keys, err := d.wanted(state, view)
	if err != nil {
		return document.Documents{}, err
	}
	if len(d.Servers) == 0 && !dropUnseen {
		if err := d.refuseRemoval(ctx, keys); err != nil {
			return document.Documents{}, err
		}
	}
	return d.publish(ctx, keys, view)
}

// wanted returns the keys to publish.
func (d *Desk) wanted(state rotation.State, view observe.View) ([]token.PublicKey, error) {
	files, err := d.Folder.files()
	if err != nil {
		return nil, err
	}
	known, err := files.Known()
	if err != nil {
		return nil, d.Folder.explain(err)
	}
	if len(d.Servers) > 0 {
		keys, err := view.Wanted(state, known)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err).
				Hint("publishing without it could lock its pods out; bring it back, or leave it out with " +
					"--api-server for the others")
		}
		return keys, nil
	}
	accepted, err := files.Accepts()
	if err != nil {
		return nil, fault.New(fault.NotFound, "%w", d.Folder.explain(err)).
			Hint("add --kubeconfig FILE to take the keys from the API servers")
	}
	return plan.KeysUnasked(state, accepted, known)
}

// refuseRemoval keeps what is published when nobody has asked the API servers
// whether they sign with it.
func (d *Desk) refuseRemoval(ctx context.Context, keys []token.PublicKey) error {
	stored, err := d.Store.Read(ctx, plan.JWKSPath(&d.Issuer.Spec))
	if err != nil || stored.Version == "" {
		return err
	}
	kid := plan.Dropped(stored.Text, keys)
	if kid == "" {
		return nil
	}
	return fault.New(fault.Denied, "refuse to remove key %s: no API server was asked whether it signs with it", kid).
		Hint("add --kubeconfig FILE").
		Hint("if no token of it is left: rolecall issuer publish --dir %s --drop-unseen", d.Folder)
}

// publish writes the documents and tells what was written.
func (d *Desk) publish(ctx context.Context, keys []token.PublicKey, view observe.View) (document.Documents, error) {
	spec := &d.Issuer.Spec
	documents, err := document.New(spec.URL, keys, plan.Options(spec))
	if err != nil {
		return documents, fault.New(fault.Invalid, "%w", err)
	}
	done := Published{Issuer: documents.Issuer}
	changed, err := store.Publish(ctx, d.Store, documents, observe.Signing(view.Asked))
	done.Written, done.Removed, done.Lost = changed.Written, changed.Removed, changed.Lost
	if err != nil {
		d.Tell(done)
		return documents, fault.New(fault.Unavailable, "publish: %w", err)
	}
	done.Keys = document.IDs(keys)
	if _, direct := bucket.Of(spec.URL); len(done.Written) > 0 && !direct && spec.Publish.S3 != nil {
		done.Invalidation = bucket.Invalidation(spec.URL, documents.JWKS.Name, documents.Discovery.Name)
	}
	d.Tell(done)
	return documents, nil
}

// ReadBack waits until readers find the documents; without patience it does not look.
func (d *Desk) ReadBack(ctx context.Context, documents document.Documents, patience time.Duration) error {
	if patience <= 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		discovery, jwks := d.Reader.Read(ctx, documents.Issuer)
		err := inspect.CheckReadBack(documents, discovery, jwks)
		if err == nil {
			return nil
		}
		select {
		case <-waiting.Done():
			refused := fault.New(fault.Unavailable, "%w", err)
			if d.Issuer.Spec.Publish.Directory != nil {
				refused = refused.Hint("serve the folder at %s, with rolecall serve issuer --documents %s or a server of "+
					"yours; then run the same again", d.Issuer.Spec.URL, fault.Quote(d.Issuer.Spec.Publish.Directory.Path))
			}
			return refused.Hint("rolecall issuer verify --dir %s tells why; --read-back 0 does not look", d.Folder)
		case <-time.After(time.Second):
		}
	}
}
