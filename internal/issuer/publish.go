package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/token"
)

// publishAttempts bounds how often a publisher starts over because another one
// was faster.
const publishAttempts = 3

// Publish brings a store up to date and returns the names of what it wrote, in
// order. signing are the kids that API servers sign with. What another publisher
// writes at the same time is looked at again, not overwritten.
func Publish(ctx context.Context, store Store, documents publication.Documents, signing []string) ([]string, error) {
	var written []string
	for attempt := 1; ; attempt++ {
		names, err := publishOnce(ctx, store, documents, signing)
		written = append(written, names...)
		switch {
		case err == nil:
			slices.Sort(written)
			return slices.Compact(written), nil
		case !errors.Is(err, publication.ErrChanged):
			return written, err
		case attempt == publishAttempts:
			return written, fmt.Errorf("publish: %w: is another publisher at work?", err)
		}
	}
}

func publishOnce(ctx context.Context, store Store, documents publication.Documents, signing []string) ([]string, error) {
	jwks, err := store.Read(ctx, documents.JWKS.Name)
	if err != nil {
		return nil, err
	}
	discovery, err := store.Read(ctx, documents.Discovery.Name)
	if err != nil {
		return nil, err
	}
	writes, err := publication.Plan(documents, publication.Stored{JWKS: jwks, Discovery: discovery}, signing)
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

// CheckReadBack reports why anybody who reads the issuer does not find exactly
// the documents that were published.
func CheckReadBack(documents publication.Documents, discovery, jwks publication.Fetched) error {
	for _, pair := range []struct {
		wanted publication.Object
		got    publication.Fetched
	}{{documents.Discovery, discovery}, {documents.JWKS, jwks}} {
		switch {
		case !pair.got.Done:
			return fmt.Errorf("read back %s: it was not found from the discovery document", pair.wanted.Name)
		case pair.got.Err != "":
			return fmt.Errorf("read back %s: %s", pair.got.URL, pair.got.Err)
		case pair.got.Certificate.Err != "":
			return fmt.Errorf("read back %s: %s", pair.got.URL, pair.got.Certificate.Err)
		case pair.got.Status != 200:
			return fmt.Errorf("read back %s: status %d, want 200", pair.got.URL, pair.got.Status)
		case strings.TrimSpace(string(pair.got.Text)) != strings.TrimSpace(string(pair.wanted.Text)):
			return fmt.Errorf("read back %s: it is not what was published: an old copy in a cache, or another place", pair.got.URL)
		}
	}
	return nil
}

// PublishedIDs returns the kids that a reader finds.
func PublishedIDs(jwks publication.Fetched) ([]string, error) {
	switch {
	case !jwks.Done:
		return nil, errors.New("the discovery document leads to no key set")
	case jwks.Err != "":
		return nil, fmt.Errorf("%s: %s", jwks.URL, jwks.Err)
	case jwks.Certificate.Err != "":
		return nil, fmt.Errorf("%s: %s", jwks.URL, jwks.Certificate.Err)
	case jwks.Status != 200:
		return nil, fmt.Errorf("%s: status %d", jwks.URL, jwks.Status)
	}
	keys, err := token.ReadJWKS(jwks.Text)
	if err != nil {
		return nil, err
	}
	return publication.IDs(keys), nil
}
