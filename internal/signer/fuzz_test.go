package signer

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// FuzzReadClaims: nothing crashes it, and what passes is one JSON object that a
// verifier reads as we do, with an expiry within bounds.
func FuzzReadClaims(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	for _, text := range []string{
		`{"iss":"i","sub":"s","exp":1800000060}`, `{"iss":"i","sub":"s","exp":1800000060,"kubernetes.io":{"namespace":"a"},"aud":["x"]}`,
		`{"iss":"i","sub":"s","exp":1800000060,"exp":1}`, `{"\u0069ss":"i","sub":"s","exp":1800000060}`, `{"iss":"i","sub":"s","exp":-0}`, `[]`, `{}`, `null`, "\xff",
	} {
		f.Add(token.EncodeSegment([]byte(text)))
	}
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, payload string) {
		read, err := readClaims(payload, now, time.Hour)
		if err != nil {
			return
		}
		text, err := token.DecodeSegment(payload)
		if err != nil || token.EncodeSegment(text) != payload {
			t.Fatalf("%q passed and has another encoding: %v", payload, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatalf("%q passed but is not an object: %v", text, err)
		}
		var exp int64
		var issuer, subject string
		if json.Unmarshal(members["exp"], &exp) != nil || json.Unmarshal(members["iss"], &issuer) != nil ||
			json.Unmarshal(members["sub"], &subject) != nil {
			t.Fatalf("%q passed", text)
		}
		if exp > now.Unix()+3660 || exp != read.expires.Unix() || issuer != read.issuer || subject != read.subject ||
			issuer == "" || subject == "" {
			t.Fatalf("%q was read as %+v", text, read)
		}
	})
}

// FuzzParseKeys: nothing crashes the parser of key files, and each key occurs
// once.
func FuzzParseKeys(f *testing.F) {
	key, err := token.GenerateRSA(2048)
	if err != nil {
		f.Fatal(err)
	}
	private, _ := key.PEM()
	named, _ := token.NewPublicKey(key.Public())
	public, _ := token.PublicPEM([]token.PublicKey{named})
	f.Add(private)
	f.Add(append(public, private...))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, key := range keys {
			if seen[key.ID] || key.Public == nil {
				t.Fatalf("key %s twice, or nothing", key.ID)
			}
			seen[key.ID] = true
		}
		if len(keys) == 0 {
			t.Fatal("no keys and no error")
		}
	})
}
