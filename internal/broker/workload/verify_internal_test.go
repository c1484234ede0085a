package workload

import (
	"crypto"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

func withHeader(raw credential.Secret, header string) credential.Secret {
	text := raw.Reveal()
	return credential.NewSecret(base64.RawURLEncoding.EncodeToString([]byte(header)) + text[strings.Index(text, "."):])
}

// TestWhomATokenStandsFor: every way of verifying reads the same identity, and
// says which way it was.
func TestWhomATokenStandsFor(t *testing.T) {
	t.Parallel()
	for mode, by := range map[Mode]string{JWKS: "jwks", TokenReview: "tokenreview", Both: "both", Auto: "jwks"} {
		w := newWorld(t, mode)
		got, err := w.verify(signed(nil))
		want := &Identity{
			Namespace:         "shop",
			ServiceAccount:    "cart",
			ServiceAccountUID: accountUID,
			Pod:               "cart-0",
			PodUID:            podUID,
			Labels:            map[string]string{"team": "red"},
			Node:              "n1",
			Issuer:            issuer,
			TokenID:           "0b6b7a52-8a39-4f57-8c64-3d1f0f6c9a11",
			KeyID:             ownKey().ID(),
			Issued:            issued,
			Expires:           issued.Add(24 * time.Hour),
			By:                by,
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", mode, err, diff)
		}
		if asked := w.reviewed > 0; asked != (mode == TokenReview || mode == Both) {
			t.Errorf("%s: the API server was asked: %t", mode, asked)
		}
		if got != nil && (!got.Bound() || got.Lifetime() != 24*time.Hour) {
			t.Errorf("%s: bound %t, for %s", mode, got.Bound(), got.Lifetime())
		}
	}
}

// TestWhatNoKeyVerifies: what is wrong with the token itself is found without the
// API server, and the answer says what.
func TestWhatNoKeyVerifies(t *testing.T) {
	t.Parallel()
	good, kid := signed(nil), ownKey().ID()
	for _, row := range []struct {
		name    string
		raw     credential.Secret
		code    refusal.Code
		message string
	}{
		{"a good one", good, "", ""},
		{
			name:    "as long as may be",
			raw:     credential.NewSecret(strings.Repeat("a", maxToken)),
			code:    refusal.InvalidToken,
			message: "cannot be read",
		},
		{
			name:    "longer than may be",
			raw:     credential.NewSecret(strings.Repeat("a", maxToken+1)),
			code:    refusal.InvalidToken,
			message: "longer than 16384",
		},
		{"not a JWT", credential.NewSecret("a.b.c"), refusal.InvalidToken, "cannot be read"},
		{"alg none", withHeader(good, `{"alg":"none","kid":"`+kid+`"}`), refusal.InvalidToken, "its header has an alg"},
		{
			name:    "a critical extension",
			raw:     withHeader(good, `{"alg":"ES256","kid":"`+kid+`","crit":["x"]}`),
			code:    refusal.InvalidToken,
			message: "its header has an alg",
		},
		{"no kid", must(token.SignWithoutKeyID(ownKey(), claimsOf(nil))), refusal.InvalidToken, "names no key"},
		{"a kid that nobody has", withHeader(good, `{"alg":"ES256","kid":"x"}`), refusal.InvalidToken, "no key"},
		{"a stranger's key", must(token.Sign(strangeKey(), claimsOf(nil))), refusal.InvalidToken, "no key"},
		{
			"a stranger's key by the issuer's kid",
			withHeader(must(token.Sign(strangeKey(), claimsOf(nil))), `{"alg":"ES256","kid":"`+kid+`"}`),
			refusal.InvalidToken, "signature",
		},
		{"another issuer", signed(claims{"iss": "https://other"}), refusal.InvalidToken, "issuer"},
		{
			name:    "another audience",
			raw:     signed(claims{"aud": []string{"sts.amazonaws.com"}}),
			code:    refusal.InvalidToken,
			message: "another audience",
		},
		{"no expiry", signed(claims{"exp": nil}), refusal.InvalidToken, "claims cannot be read"},
		{
			name:    "not valid for two minutes",
			raw:     signed(claims{"nbf": issued.Add(3 * time.Minute).Unix()}),
			code:    refusal.InvalidToken,
			message: "not valid yet",
		},
		{
			name:    "expired long ago",
			raw:     signed(claims{"exp": issued.Add(-time.Hour).Unix()}),
			code:    refusal.ExpiredToken,
			message: "2026-09-21T09:01:00Z",
		},
		{
			"expired long ago, and of nobody",
			signed(claims{
				"exp": issued.Add(-time.Hour).Unix(),
				"sub": 7,
			}), refusal.InvalidToken, "claims cannot be read",
		},
	} {
		w := newWorld(t, JWKS)
		_, err := w.verify(row.raw)
		wantRefused(t, row.name, err, row.code, row.message)
		if w.reviewed > 0 {
			t.Errorf("%s: the API server was asked", row.name)
		}
	}
}

// TestTimes: a token is over at its very expiry, and may be ahead by a minute, as
// clocks are.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{JWKS, TokenReview} {
		for _, row := range []struct {
			name  string
			edits claims
			code  refusal.Code
		}{
			{"a second is left", claims{"exp": issued.Add(time.Minute + time.Second).Unix()}, ""},
			{"expires now", claims{"exp": issued.Add(time.Minute).Unix()}, refusal.ExpiredToken},
			{"expired a second ago", claims{"exp": issued.Add(time.Minute - time.Second).Unix()}, refusal.ExpiredToken},
			{"valid in a minute", claims{"nbf": issued.Add(2 * time.Minute).Unix()}, ""},
			{
				name:  "valid in a minute and a second",
				edits: claims{"nbf": issued.Add(2*time.Minute + time.Second).Unix()},
				code:  refusal.InvalidToken,
			},
			{"issued in a minute", claims{"iat": issued.Add(2 * time.Minute).Unix()}, ""},
			{
				name:  "issued in a minute and a second",
				edits: claims{"iat": issued.Add(2*time.Minute + time.Second).Unix()},
				code:  refusal.InvalidToken,
			},
		} {
			_, err := newWorld(t, mode).verify(signed(row.edits))
			wantRefused(t, string(mode)+": "+row.name, err, row.code, "")
		}
	}
}

// TestContradictions: a token whose claims do not fit together is nobody's.
func TestContradictions(t *testing.T) {
	t.Parallel()
	named := claims{"name": "cart-0"}
	for _, row := range []struct {
		name, message string
		edits         claims
	}{
		{"a user's subject", "subject", claims{"sub": "somebody"}},
		{"another namespace in the subject", "subject", claims{"sub": "system:serviceaccount:other:cart"}},
		{"another account in the subject", "subject", claims{"sub": "system:serviceaccount:shop:admin"}},
		{
			name:    "no UID of the account",
			message: "UID of its service account",
			edits:   bound(claims{"serviceaccount": claims{"name": "cart"}}),
		},
		{"bound to a Secret", "Secret", bound(claims{"secret": claims{"name": "s", "uid": "x"}})},
		{"a pod without UID", "pod without its UID", bound(claims{"pod": named})},
		{"a pod without name", "pod without its UID", bound(claims{"pod": claims{"uid": podUID}})},
	} {
		_, err := newWorld(t, JWKS).verify(signed(row.edits))
		wantRefused(t, row.name, err, refusal.InvalidToken, row.message)
	}
}

// TestUnboundToken: a token of no pod stands for its service account only.
func TestUnboundToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, JWKS)
	got, err := w.verify(signed(bound(claims{"pod": nil, "node": nil})))
	if err != nil || got.Bound() || got.Pod != "" || got.Node != "" || got.ServiceAccount != "cart" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUnknownMode: an unknown mode verifies nothing.
func TestUnknownMode(t *testing.T) {
	t.Parallel()
	_, err := newWorld(t, "anything").verify(signed(nil))
	wantRefused(t, "mode", err, refusal.Internal, "anything")
}

// TestAutoGoesByWhatIsUpToDate: the API server is asked when keys or watches are
// old, and about issuers whose keys nobody has.
func TestAutoGoesByWhatIsUpToDate(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		setUp func(*world)
		raw   credential.Secret
		asked bool
	}{
		{"all is up to date", func(*world) {}, signed(nil), false},
		{"the watch moved a minute ago", func(w *world) { w.now = w.now.Add(fresh) }, signed(nil), false},
		{"the watch stands still", func(w *world) { w.now = w.now.Add(fresh + time.Second) }, signed(nil), true},
		{"keys of fifteen minutes ago", func(w *world) {
			w.now = issued.Add(keysStale)
			w.moves()
		}, signed(nil), false},
		{"older keys", func(w *world) {
			w.now = issued.Add(keysStale + time.Second)
			w.moves()
		}, signed(nil), true},
		{"an issuer without keys", func(*world) {}, signed(claims{"iss": "https://other"}), true},
	} {
		w := newWorld(t, Auto)
		row.setUp(w)
		got, err := w.verify(row.raw)
		if asked := w.reviewed > 0; err != nil || asked != row.asked || (got.By == "tokenreview") != row.asked {
			t.Errorf("%s: %+v, %v; the API server was asked: %t, want %t", row.name, got, err, asked, row.asked)
		}
	}
}

// TestWithoutTheAPIServer: by keys alone, ten minutes without a word from the
// watch are no reason to stop, but more are; keys count for a quarter of an hour.
func TestWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{JWKS, Both} {
		for _, row := range []struct {
			name    string
			setUp   func(*world)
			message string
		}{
			{"ten minutes", func(w *world) { w.now = w.now.Add(stale) }, ""},
			{"more than ten minutes", func(w *world) { w.now = w.now.Add(stale + time.Second) }, "watch stands still"},
			{"old keys", func(w *world) {
				w.now = issued.Add(keysStale + time.Second)
				w.moves()
			}, "last read at 2026-09-21T09:00:00Z"},
			{"no keys at all", func(w *world) {
				w.keys = NewKeys(nil, w.verifier.Now)
				w.verifier.Keys = w.keys
			}, "never read"},
		} {
			w := newWorld(t, mode)
			row.setUp(w)
			_, err := w.verify(signed(nil))
			code := refusal.Unavailable
			if row.message == "" {
				code = ""
			}
			wantRefused(t, string(mode)+": "+row.name, err, code, row.message)
		}
	}
}

// TestKeysAreReadAnew for a kid or an issuer that nobody knows, and not at every
// call: anybody can invent one.
func TestKeysAreReadAnew(t *testing.T) {
	t.Parallel()
	newer := must(token.Sign(strangeKey(), claimsOf(nil)))
	w := newWorld(t, JWKS)
	w.published = append(w.published, strangeKey().Public())
	_, err := w.verify(newer)
	wantRefused(t, "a key that is published now", err, "", "")

	w = newWorld(t, JWKS)
	w.reads = 0
	for range 3 {
		_, err = w.verify(newer)
		wantRefused(t, "a key that is not published", err, refusal.InvalidToken,
			"no key of the cluster's issuer has its kid")
	}
	if w.reads != 1 {
		t.Errorf("read %d times for three tokens at once, want once", w.reads)
	}

	w = newWorld(t, JWKS)
	w.away = errors.New("no such host")
	_, err = w.verify(newer)
	wantRefused(t, "the issuer is away", err, refusal.Unavailable, "no such host")

	w = newWorld(t, JWKS)
	w.away = errors.New("no such host")
	_, err = w.verify(signed(claims{"iss": "https://other"}))
	wantRefused(t, "another issuer, and the own is away", err, refusal.InvalidToken, "issuer")

	w = newWorld(t, JWKS)
	w.issuer = "https://renamed"
	_, err = w.verify(signed(claims{"iss": "https://renamed"}))
	wantRefused(t, "an issuer that has been renamed", err, "", "")
}

// TestReview: what the API server says of a token counts as it says it.
func TestReview(t *testing.T) {
	t.Parallel()
	of := func(edit func(*authenticationv1.TokenReviewStatus)) func(*authenticationv1.TokenReview) {
		return func(r *authenticationv1.TokenReview) { edit(&r.Status) }
	}
	late := signed(claims{"exp": issued.Add(time.Minute).Unix()})
	type status = authenticationv1.TokenReviewStatus
	for _, row := range []struct {
		name    string
		raw     credential.Secret
		answer  func(*authenticationv1.TokenReview)
		code    refusal.Code
		message string
	}{
		{"accepted", signed(nil), nil, "", ""},
		{"away", signed(nil), of(func(s *status) { s.Error = "away" }), refusal.Unavailable, "connection refused"},
		{
			name:    "not authenticated",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.Authenticated, s.Error = false, "not signed" }),
			code:    refusal.InvalidToken,
			message: "not signed",
		},
		{
			name:    "said to be expired, and is",
			raw:     late,
			answer:  of(func(s *status) { s.Authenticated, s.Error = false, "token is expired" }),
			code:    refusal.ExpiredToken,
			message: "09:01:00Z",
		},
		{
			"said to be expired, and is not", signed(nil),
			of(func(s *status) {
				s.Authenticated, s.Error = false, "token is expired"
			}), refusal.InvalidToken, "does not accept",
		},
		{
			"expired, and refused for something else", late,
			of(func(s *status) { s.Authenticated, s.Error = false, "not signed" }), refusal.InvalidToken, "not signed",
		},
		{
			name:    "without audiences",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.Audiences = nil }),
			code:    refusal.InvalidToken,
			message: "for this audience",
		},
		{
			name:    "for another audience",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.Audiences = []string{"x"} }),
			code:    refusal.InvalidToken,
			message: "for this audience",
		},
		{
			name:    "another user",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.Username = "system:admin" }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{
			name:    "another account's UID",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.UID = "x" }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{
			name:    "another pod",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.Extra[extraPod] = []string{"x"} }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{
			name:    "two pods",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.Extra[extraPod] = []string{"cart-0", "x"} }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{
			name:    "another pod's UID",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.Extra[extraPodUID] = []string{"x"} }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{
			name:    "another node",
			raw:     signed(nil),
			answer:  of(func(s *status) { s.User.Extra[extraNode] = []string{"x"} }),
			code:    refusal.InvalidToken,
			message: "another identity",
		},
		{"no node", signed(nil), of(func(s *status) { delete(s.User.Extra, extraNode) }), "", ""},
		{"claims that cannot be read", signed(claims{"sub": 7}), nil, refusal.InvalidToken, "claims cannot be read"},
		{
			name:    "claims that contradict themselves",
			raw:     signed(claims{"sub": "system:serviceaccount:shop:x"}),
			code:    refusal.InvalidToken,
			message: "subject",
		},
	} {
		w := newWorld(t, TokenReview)
		w.answer = row.answer
		_, err := w.verify(row.raw)
		wantRefused(t, row.name, err, row.code, row.message)
	}
}

// TestReviewedPodsAreReadWhenTheWatchIsOld: the API server accepts tokens of pods
// that have ended; the watch tells, or a look at the pod if the watch stands still.
func TestReviewedPodsAreReadWhenTheWatchIsOld(t *testing.T) {
	t.Parallel()
	ended := newPod("cart-0", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	w := newWorld(t, TokenReview)
	w.check(w.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), ended, "shop"))
	_, err := w.verify(signed(nil))
	wantRefused(t, "the watch is up to date", err, "", "")
	w.now = w.now.Add(fresh + time.Second)
	_, err = w.verify(signed(nil))
	wantRefused(t, "the watch stands still", err, refusal.InvalidToken, "ended")
	w.check(w.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "shop", "cart-0"))
	_, err = w.verify(signed(nil))
	wantRefused(t, "the pod is gone", err, refusal.InvalidToken, "pod no longer exists")
}

// TestBothMustAgree: two ways that disagree are reported and refused; one that
// is not possible is not a verdict.
func TestBothMustAgree(t *testing.T) {
	t.Parallel()
	type review = authenticationv1.TokenReview
	no := func(r *review) { r.Status.Authenticated = false }
	for _, row := range []struct {
		name      string
		raw       credential.Secret
		setUp     func(*world)
		code      refusal.Code
		message   string
		disagreed int
	}{
		{"both accept", signed(nil), func(*world) {}, "", "", 0},
		{
			name:    "both refuse",
			raw:     must(token.Sign(strangeKey(), claimsOf(nil))),
			setUp:   func(w *world) { w.answer = no },
			code:    refusal.InvalidToken,
			message: "no key",
		},
		{"the API server refuses", signed(nil), func(w *world) { w.answer = no }, refusal.InvalidToken, "disagree", 1},
		{
			name:      "the keys refuse",
			raw:       must(token.Sign(strangeKey(), claimsOf(nil))),
			setUp:     func(*world) {},
			code:      refusal.InvalidToken,
			message:   "disagree",
			disagreed: 1,
		},
		{"the API server is away", signed(nil), func(w *world) {
			w.answer = func(r *review) { r.Status.Error = "away" }
		}, refusal.Unavailable, "connection refused", 0},
		{"the keys are away", must(token.Sign(strangeKey(), claimsOf(nil))), func(w *world) {
			w.away = errors.New("no such host")
		}, refusal.Unavailable, "no such host", 0},
	} {
		w := newWorld(t, Both)
		row.setUp(w)
		_, err := w.verify(row.raw)
		wantRefused(t, row.name, err, row.code, row.message)
		if w.disagreed != row.disagreed {
			t.Errorf("%s: disagreement was reported %d times, want %d", row.name, w.disagreed, row.disagreed)
		}
	}
}

// TestBothMayReadThePodAtDifferentTimes: where the pod runs and what labels it
// has does not come from the token; any other difference of identities counts.
func TestBothMayReadThePodAtDifferentTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Both)
	w.now = w.now.Add(fresh + time.Second) // both read the pod, one after the other
	var reads []*corev1.Pod
	w.client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		next := reads[0]
		reads = reads[1:]
		return true, next, nil
	})
	w.client.PrependReactor("get", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, newAccount("cart", accountUID), nil
	})
	reads = []*corev1.Pod{
		newPod("cart-0"), newPod("cart-0", func(p *corev1.Pod) { p.Labels["team"] = "blue" }),
	}
	got, err := w.verify(signed(nil))
	if err != nil || got.Labels["team"] != "red" || got.By != "both" || w.disagreed != 0 {
		t.Errorf("labels: %+v, %v, %d disagreements", got, err, w.disagreed)
	}
	// A token that names no node is told by its pod, which was moved meanwhile.
	reads = []*corev1.Pod{
		newPod("cart-0"), newPod("cart-0", func(p *corev1.Pod) { p.Spec.NodeName = "n2" }),
	}
	w.answer = func(r *authenticationv1.TokenReview) { delete(r.Status.User.Extra, extraNode) }
	_, err = w.verify(signed(bound(claims{"node": nil})))
	wantRefused(t, "another node", err, refusal.InvalidToken, "different identities")
	if w.disagreed != 1 {
		t.Errorf("disagreement was reported %d times, want once", w.disagreed)
	}
}

// TestFurtherIssuers: a key verifies tokens of the issuer that published it, and
// of no other.
func TestFurtherIssuers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, JWKS)
	w.published = []crypto.PublicKey{strangeKey().Public()}
	further := follow.Further{Issuer: "https://former", Keys: w.keysNamed("whatever")}
	w.published = []crypto.PublicKey{ownKey().Public()}
	w.verifier.Keys = NewKeys(w.keysNamed(issuer), w.verifier.Now, further)
	_, err := w.verifier.Keys.Reload(t.Context())
	w.check(err)
	former := signedBy(strangeKey(), claims{"iss": "https://former"})
	_, err = w.verify(former)
	wantRefused(t, "keys that have never been read", err, refusal.Unavailable, "never read")
	_, err = w.verifier.Keys.Of("https://former").Reload(t.Context())
	w.check(err)
	_, err = w.verify(former)
	wantRefused(t, "the former issuer's own key", err, "", "")
	w.now = w.now.Add(time.Minute)
	_, err = w.verify(signedBy(strangeKey(), nil))
	wantRefused(t, "the former issuer's key for the issuer", err, refusal.InvalidToken, "no key")
	_, err = w.verify(signedBy(ownKey(), claims{"iss": "https://former"}))
	wantRefused(t, "the issuer's key for the former one", err, refusal.InvalidToken, "no key")
}

func signedBy(key *token.Key, edits claims) credential.Secret {
	return must(token.Sign(key, claimsOf(edits)))
}

// TestAnExpiredTokenIsToldBySomeWord: the API server's words only choose a code.
func TestAnExpiredTokenIsToldBySomeWord(t *testing.T) {
	t.Parallel()
	got := []bool{saysExpired(nil), saysExpired(errors.New("the token has expired")), saysExpired(errors.New("x"))}
	if want := []bool{false, true, false}; !slices.Equal(got, want) {
		t.Errorf("nothing, expired, another word: %v, want %v", got, want)
	}
}
