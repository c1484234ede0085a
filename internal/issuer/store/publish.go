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

// Publish brings a store up to date and returns the names of what it wrote, in
// order. signing are the kids that API servers sign with. What another publisher
// writes at the same time is looked at again, not overwritten.
func Publish(ctx context.Context, store Store, documents document.Documents, signing []string) ([]string, error) {
	var written []string
	for attempt := 1; ; attempt++ {
		names, err := publishOnce(ctx, store, documents, signing)
		written = append(written, names...)
		switch {
		case err == nil:
			slices.Sort(written)
			return slices.Compact(written), nil
		case !errors.Is(err, document.ErrChanged):
			return written, err
		case attempt == publishAttempts:
			return written, fmt.Errorf("publish: %w: is another publisher at work?", err)
		}
	}
}

func publishOnce(ctx context.Context, store Store, documents document.Documents, signing []string) ([]string, error) {
	jwks, err := store.Read(ctx, documents.JWKS.Name)
	if err != nil {
		return nil, err
	}
	discovery, err := store.Read(ctx, documents.Discovery.Name)
	if err != nil {
		return nil, err
	}
	writes, err := document.Plan(documents, document.Stored{JWKS: jwks, Discovery: discovery}, signing)
	if err != nil {
		return nil, err
	}
	var written []string
	for _, write := range writes {
		if err := store.Write(ctx, write); err != nil {
			return written, err
		}
		written = append(written, write.Object.Name)
	}
	return written, nil
}
