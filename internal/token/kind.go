package token

import (
	"crypto/elliptic"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Kind is a kind of key that can be made: one whose signatures kube-apiserver
// makes and STS verifies (spec issuer-and-sts §3.4). Keys of other kinds that
// exist are used as they are; see NewKey.
type Kind string

// The kinds of key.
const (
	RSA2048 Kind = "rsa2048"
	RSA3072 Kind = "rsa3072"
	RSA4096 Kind = "rsa4096"
	P256    Kind = "p256"
)

// kinds is the one list. object is the kind's name in an Issuer object, empty for
// those that it cannot ask for.
var kinds = []struct {
	kind      Kind
	object    string
	algorithm jose.SignatureAlgorithm
	generate  func() (*Key, error)
}{
	{RSA2048, "RSA", jose.RS256, func() (*Key, error) { return GenerateRSA(2048) }},
	{RSA3072, "", jose.RS256, func() (*Key, error) { return GenerateRSA(3072) }},
	{RSA4096, "", jose.RS256, func() (*Key, error) { return GenerateRSA(4096) }},
	{P256, "P-256", jose.ES256, func() (*Key, error) { return GenerateEC(elliptic.P256()) }},
}

// DefaultKind is what is made if no kind is named.
const DefaultKind = RSA2048

// Kinds returns all of them.
func Kinds() []Kind {
	var all []Kind
	for i := range kinds {
		all = append(all, kinds[i].kind)
	}
	return all
}

// KindChoice lists the kinds in words, for messages and help.
func KindChoice() string {
	var names []string
	for i := range kinds {
		names = append(names, string(kinds[i].kind))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// KindOfObject returns the kind that an Issuer object means by its keyKind: RSA or
// P-256, and DefaultKind by none at all, as objects had before there was a choice.
func KindOfObject(keyKind string) (Kind, error) {
	if keyKind == "" {
		return DefaultKind, nil
	}
	var names []string
	for i := range kinds {
		switch kinds[i].object {
		case keyKind:
			return kinds[i].kind, nil
		case "":
		default:
			names = append(names, kinds[i].object)
		}
	}
	return "", fmt.Errorf("kind of key %q: want %s", keyKind, strings.Join(names, " or "))
}

// IsValid reports whether k is one of Kinds.
func (k Kind) IsValid() bool { return slices.Contains(Kinds(), k) }

// Algorithm is what keys of the kind sign with; empty for what is not a kind.
func (k Kind) Algorithm() string {
	for i := range kinds {
		if kinds[i].kind == k {
			return string(kinds[i].algorithm)
		}
	}
	return ""
}

// Generate makes a key of a kind.
func Generate(kind Kind) (*Key, error) {
	for i := range kinds {
		if kinds[i].kind == kind {
			return kinds[i].generate()
		}
	}
	return nil, fmt.Errorf("kind of key %q: want %s", kind, KindChoice())
}
