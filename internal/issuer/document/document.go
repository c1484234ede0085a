// Package document makes what a service-account issuer publishes, its discovery
// document and its key set, and says what of it must be written where something lies
// already (spec issuer-and-sts §3, §16).
//
// It reads and writes nothing, does not choose the keys (that is plan's), and does not
// judge what others have published (that is inspect's).
package document

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/token"
)

// Paths below the issuer URL. JWKSPath is kube-apiserver's own; another one is
// allowed, as EKS Anywhere's keys.json.
const (
	DiscoveryPath = ".well-known/openid-configuration"
	JWKSPath      = "openid/v1/jwks"
)

// Object is a document with its headers, at a name below the issuer URL.
type Object struct {
	Name         string
	ContentType  string
	CacheControl string
	Text         []byte
	// Version tells one state of a stored object from another, as an ETag
	// does. It is empty for what is not stored.
	Version string
}

// Documents are the two documents of an issuer.
type Documents struct {
	Issuer          string
	Keys            []token.PublicKey
	JWKS, Discovery Object
}

// Options of the documents. The zero value is Kubernetes' own form.
type Options struct {
	// JWKSPath is below the issuer URL; JWKSPath if empty.
	JWKSPath string
	// MaxAge is how many seconds readers may keep the documents.
	MaxAge int
	// EmptyIDs repeats every key under an empty kid.
	EmptyIDs bool
}

// MaxKeysOfType is AWS's limit for keys of one type.
const MaxKeysOfType = 100

// New makes the documents of an issuer, keys newest first. It refuses
// what would lock somebody out: no keys, keys AWS does not accept, more than a
// hundred of a type.
func New(issuer string, keys []token.PublicKey, options Options) (Documents, error) {
	if err := token.CheckIssuer(issuer); err != nil {
		return Documents{}, err
	}
	path := options.JWKSPath
	if path == "" {
		path = JWKSPath
	}
	if strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# ") || path == DiscoveryPath {
		return Documents{}, fmt.Errorf("path %q of the keys: want one below the issuer URL, for example %s",
			path, JWKSPath)
	}
	jwks, err := token.MarshalKeys(keys, options.EmptyIDs)
	if err != nil {
		return Documents{}, err
	}
	counts := map[string]int{}
	public := make([]crypto.PublicKey, 0, len(keys))
	for _, key := range keys {
		public = append(public, key.Public)
		counts[kind(key)]++
		if options.EmptyIDs {
			counts[kind(key)]++
		}
	}
	for of, count := range counts {
		if count > MaxKeysOfType {
			return Documents{}, fmt.Errorf("%d %s keys: AWS accepts at most %d", count, of, MaxKeysOfType)
		}
	}
	discovery, err := token.Discovery(issuer, strings.TrimSuffix(issuer, "/")+"/"+path, public)
	if err != nil {
		return Documents{}, err
	}
	cache := fmt.Sprintf("public, max-age=%d", options.MaxAge)
	return Documents{
		Issuer: issuer, Keys: keys,
		JWKS:      Object{Name: path, ContentType: "application/jwk-set+json", CacheControl: cache, Text: jwks},
		Discovery: Object{Name: DiscoveryPath, ContentType: "application/json", CacheControl: cache, Text: discovery},
	}, nil
}

// Hash names the content of the documents.
func (d Documents) Hash() string {
	sum := sha256.New()
	for _, object := range []Object{d.JWKS, d.Discovery} {
		one := sha256.Sum256(object.Text)
		sum.Write(one[:])
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// Stored is what lies in the place of the documents now; an object with no
// Version is not there.
type Stored struct {
	JWKS, Discovery Object
}

// Write is one object to be written, if what lies there still has the version
// Replaces; an empty one means that nothing may be there.
type Write struct {
	Object   Object
	Replaces string
}

// Plan returns what must be written, in order: the keys before the document
// that leads to them. signing are the kids that API servers sign with now. A set
// that lacks one of them, and a place that holds another issuer's documents,
// are refused.
func Plan(documents Documents, stored Stored, signing []string) ([]Write, error) {
	for _, kid := range signing {
		if !slices.Contains(IDs(documents.Keys), kid) {
			return nil, fmt.Errorf("refuse to publish a key set without %s: an API server signs with it, its tokens "+
				"would be refused", kid)
		}
	}
	if err := sameIssuer(documents.Issuer, stored.Discovery); err != nil {
		return nil, err
	}
	var writes []Write
	for _, pair := range [][2]Object{{documents.JWKS, stored.JWKS}, {documents.Discovery, stored.Discovery}} {
		if !same(pair[0], pair[1]) {
			writes = append(writes, Write{Object: pair[0], Replaces: pair[1].Version})
		}
	}
	return writes, nil
}

func sameIssuer(issuer string, discovery Object) error {
	if discovery.Version == "" {
		return nil
	}
	var found struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(discovery.Text, &found); err != nil || found.Issuer == "" {
		return nil //nolint:nilerr // no discovery document: there is nothing to protect
	}
	if found.Issuer != issuer {
		return fmt.Errorf("refuse to publish: the place holds the documents of issuer %q, not of %q",
			found.Issuer, issuer)
	}
	return nil
}

// same compares by content; a store that keeps no headers says so by leaving
// them empty.
func same(wanted, stored Object) bool {
	header := func(want, have string) bool { return have == "" || want == have }
	return stored.Version != "" && bytes.Equal(wanted.Text, stored.Text) &&
		header(wanted.ContentType, stored.ContentType) && header(wanted.CacheControl, stored.CacheControl)
}

// kind is RSA or EC.
func kind(key token.PublicKey) string {
	if strings.HasPrefix(key.Algorithm(), "RS") {
		return "RSA"
	}
	return "EC"
}

// ErrChanged says that a stored object is not the one that was read.
var ErrChanged = errors.New("the stored document has changed meanwhile")
