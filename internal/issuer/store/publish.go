package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/internal/issuer/document"
)

// publishAttempts bounds how often a publisher starts over because another one
// was faster.
const publishAttempts = 3

// Done is what publishing has changed.
type Done struct {
	// Written are the names of the documents that were written, in order.
	Written []string
	// Removed are the kids that were in the key set and no longer are.
	Removed []string
	// Lost is what else was there and no longer is (see document.Losses).
	Lost []string
}

// Publish brings a store up to date. signing are the kids that API servers sign with. What
// another publisher writes at the same time is looked at again, not overwritten.
func Publish(ctx context.Context, store Store, documents document.Documents, signing []string) (Done, error) {
	var done Done
	for attempt := 1; ; attempt++ {
		err := done.publish(ctx, store, documents, signing)
		switch {
		case err == nil:
			slices.Sort(done.Written)
			done.Written = slices.Compact(done.Written)
			return done, nil
		case !errors.Is(err, document.ErrChanged):
			return done, err
		case attempt == publishAttempts:
			return done, fmt.Errorf("publish: %w: is another publisher at work?", err)
		}
	}
}

func (d *Done) publish(
	ctx context.Context, store Store, documents document.Documents, signing []string,
) error {
	jwks, err := store.Read(ctx, documents.JWKS.Name)
	if err != nil {
		return err
	}
	discovery, err := store.Read(ctx, documents.Discovery.Name)
	if err != nil {
		return err
	}
	writes, err := document.Plan(documents, document.Stored{JWKS: jwks, Discovery: discovery}, signing)
	if err != nil {
		return err
	}
	lost := document.Losses(documents, document.Stored{JWKS: jwks, Discovery: discovery})
	for _, write := range writes {
		if err := store.Write(ctx, write); err != nil {
			return err
		}
		d.Written = append(d.Written, write.Object.Name)
		if write.Object.Name == documents.JWKS.Name {
			d.Removed = append(d.Removed, document.Removed(jwks.Text, documents.Keys)...)
		}
	}
	d.Lost = append(d.Lost, lost...)
	return nil
}
