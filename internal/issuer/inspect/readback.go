package inspect

import (
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/internal/token"
)

// CheckReadBack reports why anybody who reads the issuer does not find exactly
// the documents that were published.
func CheckReadBack(documents document.Documents, discovery, jwks Fetched) error {
	for _, pair := range []struct {
		wanted document.Object
		got    Fetched
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
			return fmt.Errorf("read back %s: it is not what was published: an old copy in a cache, or another place",
				pair.got.URL)
		}
	}
	return nil
}

// PublishedIDs returns the kids that a reader finds, or why the reader finds none.
func PublishedIDs(discovery, jwks Fetched) ([]string, error) {
	if err := discovery.problem(); err != nil {
		return nil, err
	}
	if !jwks.Done {
		return nil, fmt.Errorf("%s: the discovery document leads to no key set by https", discovery.URL)
	}
	if err := jwks.problem(); err != nil {
		return nil, err
	}
	for _, one := range []Fetched{discovery, jwks} {
		if name, twice := rawjson.Twice(one.Text); twice {
			return nil, fmt.Errorf("%s: the member %q is there twice, and readers differ about which counts", one.URL, name)
		}
	}
	keys, err := token.ReadJWKS(jwks.Text)
	if err != nil {
		return nil, err
	}
	return document.IDs(keys), nil
}

// problem is why what was fetched is not to be relied on; what was not fetched has none.
func (f Fetched) problem() error {
	switch {
	case !f.Done:
		return nil
	case f.Err != "":
		return fmt.Errorf("%s: %s", f.URL, f.Err)
	case f.Certificate.Err != "":
		return fmt.Errorf("%s: %s", f.URL, f.Certificate.Err)
	case f.Status != 200:
		return fmt.Errorf("%s: status %d", f.URL, f.Status)
	}
	return nil
}
