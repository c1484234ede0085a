package token_test

import (
	"crypto/elliptic"
	"testing"

	"github.com/rolecall/rolecall/internal/token"
)

// TestSignDetached: the three parts make a token that verifies, with the header
// that kube-apiserver wants, for every kind of key.
func TestSignDetached(t *testing.T) {
	t.Parallel()
	rsa, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := []*token.Key{rsa}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := token.GenerateEC(curve)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	payload := token.EncodeSegment([]byte(`{"iss":"https://issuer.example","n":1.0}`))
	for _, key := range keys {
		header, signature, err := token.SignDetached(key, payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := token.DecodeSegment(header)
		if want := `{"alg":"` + key.Algorithm() + `","kid":"` + key.ID() + `","typ":"JWT"}`; err != nil ||
			string(text) != want {
			t.Errorf("header %s: %v, want %s", text, err, want)
		}
		decoded, err := token.Decode(header + "." + payload + "." + signature)
		if err != nil {
			t.Fatal(err)
		}
		if err := decoded.VerifySignature(key.Public()); err != nil {
			t.Errorf("%s: %v", key.Algorithm(), err)
		}
	}
	for _, hostile := range []string{payload + "=", payload + "\n", "a+b/", "e30x\r", "e31"} {
		if _, _, err := token.SignDetached(keys[1], hostile); err == nil {
			t.Errorf("payload %q was signed", hostile)
		}
	}
}
