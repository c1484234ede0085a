package serve

import (
	"crypto"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// TestAgentKeys: each issuer's keys come from where the flags say, and from nowhere
// else.
func TestAgentKeys(t *testing.T) {
	t.Parallel()
	const now, before, third = "https://a.example", "https://b.example", "https://c.example"
	dir := t.TempDir()
	publish := func(name string) (file string, key *token.Key) {
		t.Helper()
		var err error
		key, err = token.GenerateRSA(2048)
		if err != nil {
			t.Fatal(err)
		}
		text, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file, key
	}
	first, firstKey := publish("now.json")
	second, secondKey := publish("before.json")
	c := newAgentConfig()
	c.cluster, c.localKeys, c.keysIssuer, c.keysAlso = "prod", first, now, []string{before + "=" + second}
	c.bindHosts, c.ipv6, c.upstream = []string{"127.0.0.1"}, ipv6Auto, upstreamEKSAuth
	c.errorFormat, c.podLiveness = "json", "auto"
	if _, err := c.validate(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		keys, err := c.keys(time.Now)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = keys.Run(t.Context(), slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		for issuer, signing := range map[string]*token.Key{now: firstKey, before: secondKey} {
			published := keys.Of(issuer).Current()
			for _, key := range []*token.Key{firstKey, secondKey} {
				raw, err := token.Mint(key,
					&token.Claims{
						Issuer:    issuer,
						Subject:   "system:serviceaccount:shop:cart",
						Audiences: []string{podIdentityAudience},
						IssuedAt:  time.Now(),
						NotBefore: time.Now(),
						Expiry:    time.Now().Add(time.Hour),
					})
				if err != nil {
					t.Fatal(err)
				}
				verifier := token.Verifier{
					Issuer:    published.Issuer,
					Audiences: []string{podIdentityAudience},
					Keys:      published.Set,
				}
				if _, err := verifier.Verify(raw, time.Now()); (err == nil) != (key == signing) {
					t.Errorf("%s, its own key %t: %v", issuer, key == signing, err)
				}
			}
		}
		if keys.Of(third) != nil {
			t.Error("a third issuer has keys")
		}
	})
}
