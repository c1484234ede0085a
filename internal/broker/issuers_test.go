package broker_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

const formerURL = "https://" + issuerHost + "/former"

// former is an issuer with a key of its own, which it publishes under a kid.
func former(kid string) follow.Further {
	key := must(strangeKey())
	return follow.Further{Issuer: formerURL, Keys: func(context.Context) (string, []byte, error) {
		text, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
		return "not this one's to say", []byte(strings.ReplaceAll(string(text), key.ID(), kid)), err
	}}
}

// signedAs has a kid of its own choice in the header.
func signedAs(key *token.Key, kid string, claims []byte) string {
	block, _ := pem.Decode(must(key.PEM()))
	signer := must(
		jose.NewSigner(
			jose.SigningKey{Algorithm: jose.RS256, Key: must(x509.ParsePKCS8PrivateKey(block.Bytes))},
			(&jose.SignerOptions{}).WithHeader("kid", kid),
		),
	)
	return must(must(signer.Sign(claims)).CompactSerialize())
}

// untilKnown asks until the keys of a token's issuer have been read.
func (w *world) untilKnown(raw string) {
	w.t.Helper()
	for w.ask(raw).code == "ServiceUnavailableException" {
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("the keys are not read")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestTwoIssuers: tokens of both are accepted, each by keys of its own issuer only,
// even where both publish a key by the same name.
func TestTwoIssuers(t *testing.T) {
	t.Parallel()
	now, before := must(clusterKey()), must(strangeKey())
	for _, published := range []string{before.ID(), now.ID()} {
		w := newWorld(t, settings{further: []follow.Further{former(published)}})
		w.associate()
		signed := func(key *token.Key, kid, issuer string) string {
			return signedAs(key, kid, w.claims(edits{"iss": issuer}))
		}
		w.untilKnown(signed(before, published, formerURL))
		for _, row := range []struct {
			name, raw, code string
		}{
			{"the issuer's", signed(now, now.ID(), clusterURL), ""},
			{"the former issuer's", signed(before, published, formerURL), ""},
			{"key of the former, name of the issuer", signed(before, published, clusterURL), "InvalidTokenException"},
			{"key of the former by the issuer's kid", signed(before, now.ID(), clusterURL), "InvalidTokenException"},
			{"key of the issuer, name of the former", signed(now, now.ID(), formerURL), "InvalidTokenException"},
			{"key of the issuer by the former's kid", signed(now, published, formerURL), "InvalidTokenException"},
			{"a third issuer, known key", signed(now, now.ID(), brokerURL), "InvalidTokenException"},
			{"no issuer", signed(now, now.ID(), ""), "InvalidTokenException"},
			{
				"the name that a source gives", signed(before, published, "not this one's to say"),
				"InvalidTokenException",
			},
		} {
			if got := w.ask(row.raw); got.code != row.code {
				t.Errorf("%s: %d %s %s", row.name, got.status, got.code, got.message)
			}
		}
		agent := w.claims(
			edits{
				"iss":           formerURL,
				"aud":           []string{"rolecall-broker"},
				"sub":           "system:serviceaccount:rolecall:agent",
				"kubernetes.io": workloadOf("rolecall", "agent", agentUID, "agent-1", agentPodUID, "n1"),
			},
		)
		w.expect(w.askAs("Bearer "+signedAs(before, published, agent), w.token(nil)), "", "")
	}
}

// TestFormerIssuerAway: that its keys cannot be read is no verdict on its tokens,
// and nothing to those of the other.
func TestFormerIssuerAway(t *testing.T) {
	t.Parallel()
	away := follow.Further{
		Issuer: formerURL,
		Keys:   func(context.Context) (string, []byte, error) { return "", nil, errors.New("no such host") },
	}
	w := newWorld(t, settings{further: []follow.Further{away}})
	w.associate()
	w.expect(w.ask(w.token(nil)), "", "")
	w.expect(
		w.ask(must(token.Sign(must(strangeKey()), w.claims(edits{"iss": formerURL}))).Reveal()),
		"ServiceUnavailableException", "keys",
	)
}

// TestUnknownIssuer: auto asks the API server about issuers that it has no keys of;
// what that says counts.
func TestUnknownIssuer(t *testing.T) {
	t.Parallel()
	for _, accepted := range []bool{true, false} {
		w := newWorld(t, settings{verify: workload.Auto})
		w.associate()
		var asked atomic.Int32
		w.client.PrependReactor("create", "tokenreviews", func(
			action clienttesting.Action,
		) (bool, runtime.Object, error) {
			asked.Add(1)
			review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
			if accepted {
				review.Status = authenticationv1.TokenReviewStatus{
					Authenticated: true,
					Audiences:     review.Spec.Audiences,
					User: authenticationv1.UserInfo{
						Username: "system:serviceaccount:shop:cart",
						UID:      accountUID,
						Extra: map[string]authenticationv1.ExtraValue{
							"authentication.kubernetes.io/pod-name": {"cart-0"},
							"authentication.kubernetes.io/pod-uid":  {podUID},
						},
					},
				}
			}
			return true, review, nil
		})
		code := map[bool]string{true: "", false: "InvalidTokenException"}[accepted]
		w.expect(w.ask(must(token.Sign(must(strangeKey()), w.claims(edits{"iss": formerURL}))).Reveal()), code, "")
		if got := asked.Load(); got != 1 {
			t.Errorf("accepted %t: the API server was asked %d times", accepted, got)
		}
	}
}

// TestIssuerRenamed: a token with the API server's new name makes it be asked for
// its name at once.
func TestIssuerRenamed(t *testing.T) {
	t.Parallel()
	var name atomic.Value
	name.Store(clusterURL)
	w := newWorld(t, settings{issuer: func() string {
		return name.Load().(string)
	}, further: []follow.Further{{Issuer: clusterURL, Keys: func(context.Context) (string, []byte, error) {
		text, err := token.MarshalJWKS([]crypto.PublicKey{must(clusterKey()).Public()})
		return "", text, err
	}}}})
	w.associate()
	w.expect(w.ask(w.token(nil)), "", "")
	renamed := w.token(edits{"iss": formerURL})
	w.expect(w.ask(renamed), "InvalidTokenException", "issuer")
	name.Store(formerURL)
	w.advance(10 * time.Second) // not before: anybody can invent an issuer
	w.expect(w.ask(renamed), "", "")
	w.untilKnown(w.token(nil))
	w.expect(w.ask(w.token(nil)), "", "") // the agent's and the pod's, of before
}
