package token_test

import (
	"crypto/rsa"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/crds"
	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/token"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	bits := map[token.Kind]int{token.RSA2048: 2048, token.RSA3072: 3072, token.RSA4096: 4096}
	for _, kind := range token.Kinds() {
		if testing.Short() && bits[kind] > 2048 {
			continue // takes seconds
		}
		key, err := token.Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		if key.Algorithm() != kind.Algorithm() || !kind.IsValid() {
			t.Errorf("%s signs with %s, its kind with %q", kind, key.Algorithm(), kind.Algorithm())
		}
		if public, isRSA := key.Public().(*rsa.PublicKey); isRSA && public.N.BitLen() != bits[kind] {
			t.Errorf("%s has %d bits", kind, public.N.BitLen())
		}
	}
	for _, kind := range []token.Kind{"", "RSA2048", "rsa1024", "p384", "RSA", "P-256"} {
		if key, err := token.Generate(kind); err == nil || kind.IsValid() || kind.Algorithm() != "" {
			t.Errorf("%q is a kind: %v", kind, key)
		}
	}
	if got, want := token.KindChoice(), "rsa2048, rsa3072, rsa4096 or p256"; got != want {
		t.Errorf("choice %q, want %q", got, want)
	}
}

// TestKindsOfObjects: what the definition of Issuer accepts as keyKind, what its
// package names, and what is made for it are one list.
func TestKindsOfObjects(t *testing.T) {
	t.Parallel()
	definition, err := crds.Files.ReadFile("rolecall.io_issuers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`rule: self in \[([^\]]+)\]`).FindSubmatch(definition)
	if rule == nil {
		t.Fatal("the definition has no list of kinds")
	}
	accepted := strings.Split(strings.ReplaceAll(string(rule[1]), "'", ""), ", ")
	if diff := cmp.Diff([]string{string(v1alpha1.RSA), string(v1alpha1.P256)}, accepted); diff != "" {
		t.Errorf("kinds in the definition (-want +got):\n%s", diff)
	}
	got := map[string]token.Kind{}
	for _, name := range append(accepted, "") {
		kind, err := token.KindOfObject(name)
		if err != nil {
			t.Error(err)
		}
		got[name] = kind
	}
	want := map[string]token.Kind{"": token.RSA2048, "RSA": token.RSA2048, "P-256": token.P256}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds of objects (-want +got):\n%s", diff)
	}
	for _, name := range []string{"rsa2048", "rsa", "P-384", "Ed25519"} {
		if kind, err := token.KindOfObject(name); err == nil || !strings.Contains(err.Error(), "want RSA or P-256") {
			t.Errorf("%q is %q: %v", name, kind, err)
		}
	}
}
