package token_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/token"
)

func publicKeys(t testing.TB) []token.PublicKey {
	t.Helper()
	rsa, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	return []token.PublicKey{{ID: rsa.ID(), Public: rsa.Public()}, {ID: "external signer's own", Public: ec.Public()}}
}

func TestKeysKeepOrderAndNames(t *testing.T) {
	t.Parallel()
	keys := publicKeys(t)
	for _, emptyIDs := range []bool{false, true} {
		document, err := token.MarshalKeys(keys, emptyIDs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := token.ReadJWKS(document)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys, got); diff != "" {
			t.Errorf("empty ids %t (-want +got):\n%s", emptyIDs, diff)
		}
		var raw struct{ Keys []map[string]string }
		if err := json.Unmarshal(document, &raw); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 2, true: 4}[emptyIDs]; len(raw.Keys) != want {
			t.Errorf("empty ids %t: %d entries, want %d", emptyIDs, len(raw.Keys), want)
		}
		if emptyIDs {
			// Seed 001: the key again, its kid the empty text.
			kid, found := raw.Keys[1]["kid"]
			if !found || kid != "" || raw.Keys[1]["n"] != raw.Keys[0]["n"] {
				t.Errorf("the second entry is %v", raw.Keys[1])
			}
		}
	}
}

func sameKey(a, b crypto.PublicKey) bool {
	return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
}

func TestMarshalKeysRefuses(t *testing.T) {
	t.Parallel()
	keys := publicKeys(t)
	for _, row := range []struct {
		name string
		keys []token.PublicKey
		want string
	}{
		{"nothing", nil, "without keys"},
		{"twice the same", []token.PublicKey{keys[0], keys[0]}, "used twice"},
		{"no name", []token.PublicKey{{Public: keys[0].Public}}, "empty"},
		{"no key", []token.PublicKey{{ID: "a", Public: "text"}}, "want RSA or EC"},
	} {
		if _, err := token.MarshalKeys(row.keys, false); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

func TestPublicPEM(t *testing.T) {
	t.Parallel()
	keys := publicKeys(t)
	text, err := token.PublicPEM(keys)
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.ParsePublicKeys(text)
	if err != nil || len(got) != 2 || !sameKey(got[0], keys[0].Public) || !sameKey(got[1], keys[1].Public) {
		t.Errorf("%s\nis read as %v, %v", text, got, err)
	}
}

func FuzzReadJWKS(f *testing.F) {
	document, err := token.MarshalKeys(publicKeys(f), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document)
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a"},{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, err := token.ReadJWKS(document)
		if err != nil || len(keys) == 0 {
			return
		}
		written, err := token.MarshalKeys(keys, false)
		if err != nil {
			t.Fatalf("%s\nwas read but cannot be written: %v", document, err)
		}
		again, err := token.ReadJWKS(written)
		if err != nil || len(again) != len(keys) {
			t.Errorf("%s\nwritten as\n%s\nholds %d keys, want %d (%v)", document, written, len(again), len(keys), err)
		}
	})
}
