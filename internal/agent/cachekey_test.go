package agent_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// keyOf is the access key of an answer, which differs with each call of the
// upstream.
func keyOf(t *testing.T, r *rig, raw string) string {
	t.Helper()
	return answerOf(t, r.get(raw), http.StatusOK)["AccessKeyId"]
}

// strangers are tokens that have everything in common with cart's but one part of
// what credentials belong to.
var strangers = []struct {
	name string
	edit func(*pod)
}{
	{"another service account, in the same pod", func(p *pod) { p.account = "card" }},
	{"the same account of another namespace, in the same pod", func(p *pod) { p.namespace = "web" }},
	{"another pod of the same account", func(p *pod) { p.uid = "u2" }},
	{"another pod of the same account and the same name", func(p *pod) { p.uid, p.name = "u3", "cart-0" }},
}

// TestCredentialsBelongToPodNamespaceAndAccount: with tokens that the upstream accepts
// each, nobody gets or displaces what a token of another pod, namespace or service
// account was given.
func TestCredentialsBelongToPodNamespaceAndAccount(t *testing.T) {
	for _, row := range strangers {
		t.Run(row.name, func(t *testing.T) {
			upstream := &fakeUpstream{}
			bubble(t, upstream, nil, func(t *testing.T, r *rig) {
				own, other := cart(time.Now()), cart(time.Now())
				row.edit(&other)
				mine, theirs := own.mint(t), other.mint(t)
				first, second := keyOf(t, r, mine), keyOf(t, r, theirs)
				if first == second || upstream.count() != 2 {
					t.Fatalf("%s has what another was given; %d calls", row.name, upstream.count())
				}
				if again := keyOf(t, r, mine); again != first {
					t.Errorf("after %s asked, cart has %s, want %s", row.name, again, first)
				}
				if again := keyOf(t, r, theirs); again != second || upstream.count() != 2 {
					t.Errorf("%s has %s, want %s; %d calls", row.name, again, second, upstream.count())
				}
			})
		})
	}
}

// TestVerifiedTokensFindTheirOwn: a token that is verified on the node, and that the
// upstream has never seen, finds what its own pod, namespace and account was given,
// and nothing else.
func TestVerifiedTokensFindTheirOwn(t *testing.T) {
	for _, row := range strangers {
		t.Run(row.name, func(t *testing.T) {
			upstream := &fakeUpstream{}
			bubble(t, upstream, func(c *agent.Config) { c.Keys = agent.NewKeys(clusterJWKS, audience, time.Now) }, func(
				t *testing.T, r *rig,
			) {
				own, other := cart(time.Now()), cart(time.Now())
				row.edit(&other)
				first := keyOf(t, r, own.mint(t))
				upstream.become(func(string, int) (*awsapi.PodSession, error) {
					return nil, refuse(http.StatusBadRequest, "InvalidTokenException")
				})
				if got := r.get(other.mint(t)); got.Code != http.StatusBadRequest || upstream.count() != 2 {
					t.Errorf("%s: status %d after %d calls: %s", row.name, got.Code, upstream.count(), got.Body)
				}
				if rotated := keyOf(t, r, own.mint(t)); rotated != first || upstream.count() != 2 {
					t.Errorf("cart's next token has %s, want %s; %d calls", rotated, first, upstream.count())
				}
			})
		})
	}
}

// TestTokensWithoutPodShareNothing: what belongs to no pod belongs to one token.
func TestTokensWithoutPodShareNothing(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		unbound := cart(time.Now())
		unbound.uid = ""
		one, other := unbound.mint(t), unbound.mint(t)
		first, second := keyOf(t, r, one), keyOf(t, r, other)
		if first == second || upstream.count() != 2 {
			t.Errorf("two tokens without a pod have one session; %d calls", upstream.count())
		}
		if again := keyOf(t, r, one); again != first || upstream.count() != 2 {
			t.Errorf("%s, want %s; %d calls", again, first, upstream.count())
		}
	})
}

// forge changes one part of a token, so that it stays one to look at.
func forge(t *testing.T, raw string, part int) string {
	t.Helper()
	parts := strings.Split(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil || len(parts) != 3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	switch part {
	case 0:
		text = append([]byte(`{"x":1,`), text[1:]...) // a header more
	case 1:
		text = append([]byte(`{"x":1,`), text[1:]...) // a claim more
	case 2:
		text[len(text)-1] ^= 1
	}
	parts[part] = base64.RawURLEncoding.EncodeToString(text)
	return strings.Join(parts, ".")
}

// TestOnlyTheVeryTokenIsAccepted: the table of accepted tokens is keyed by the whole
// of each. A token with another header, other claims or another signature is not one
// that was accepted, however much of it is the same.
func TestOnlyTheVeryTokenIsAccepted(t *testing.T) {
	for part, name := range []string{"another header", "other claims", "another signature"} {
		t.Run(name, func(t *testing.T) {
			upstream := &fakeUpstream{}
			bubble(t, upstream, nil, func(t *testing.T, r *rig) {
				good := cart(time.Now()).mint(t)
				first := keyOf(t, r, good)
				upstream.become(func(string, int) (*awsapi.PodSession, error) {
					return nil, refuse(http.StatusBadRequest, "InvalidTokenException")
				})
				forged := forge(t, good, part)
				if got := r.get(forged); got.Code != http.StatusBadRequest || upstream.count() != 2 {
					t.Errorf("with %s: status %d after %d calls: %s", name, got.Code, upstream.count(), got.Body)
				}
				// Once more, from what is remembered of refused ones.
				if got := r.get(forged); got.Code != http.StatusBadRequest || upstream.count() != 2 {
					t.Errorf("with %s, again: status %d after %d calls: %s", name, got.Code, upstream.count(), got.Body)
				}
				if again := keyOf(t, r, good); again != first || upstream.count() != 2 {
					t.Errorf("the token itself has %s, want %s; %d calls", again, first, upstream.count())
				}
			})
		})
	}
}
