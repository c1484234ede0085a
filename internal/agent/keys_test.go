package agent_test

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

// TestKeysChange: a key that is new to the agent is looked for once, at most
// every ten seconds; keys that cannot be read leave all to the upstream.
func TestKeysChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		published, reads, away := []crypto.PublicKey{clusterKey().Public()}, 0, false
		source := func(context.Context) (string, []byte, error) {
			mu.Lock()
			defer mu.Unlock()
			reads++
			if away {
				return "", nil, errors.New("down")
			}
			document, err := token.MarshalJWKS(published)
			return issuer, document, err
		}
		upstream := &fakeUpstream{}
		r := newRig(t, upstream, func(c *agent.Config) { c.Keys = agent.NewKeys(source, audience, time.Now) })
		start(t, r)
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)

		next := newKey()
		mu.Lock()
		published = append(published, next.Public())
		mu.Unlock()
		answerOf(t, r.get(cart(time.Now()).sign(t, next)), http.StatusOK)
		if upstream.count() != 1 || reads != 2 {
			t.Errorf("%d calls, %d reads of the keys", upstream.count(), reads)
		}
		for range 5 { // invented keys
			r.get(cart(time.Now()).sign(t, newKey()))
		}
		if reads != 2 {
			t.Errorf("%d reads: invented keys make the agent read", reads)
		}
		mu.Lock()
		away = true
		mu.Unlock()
		time.Sleep(time.Hour)
		before := upstream.count()
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		if upstream.count() != before {
			t.Error("the keys that were known are forgotten")
		}
	})
}

// TestTwoIssuers: while the cluster's issuer is changed, rotated tokens of both are
// verified on the node, each by keys of its own issuer only; those of a third go the
// way they went.
func TestTwoIssuers(t *testing.T) {
	t.Parallel()
	const former, third = "https://oidc.example.com/former", "https://oidc.example.com/third"
	now, before := clusterKey(), newKey()
	for _, publishes := range []struct {
		name string
		keys []crypto.PublicKey
	}{
		{"a key of its own", []crypto.PublicKey{before.Public()}},
		{"the same key, too", []crypto.PublicKey{before.Public(), now.Public()}},
	} {
		synctest.Test(t, func(t *testing.T) {
			further := follow.Further{Issuer: former, Keys: func(context.Context) (string, []byte, error) {
				document, err := token.MarshalJWKS(publishes.keys)
				return "not this one's to say", document, err
			}}
			upstream := &fakeUpstream{}
			r := newRig(
				t, upstream, func(c *agent.Config) { c.Keys = agent.NewKeys(clusterJWKS, audience, time.Now, further) },
			)
			start(t, r)
			signed := func(key *token.Key, issuer string) string {
				claims := cart(time.Now()).claims()
				claims.Issuer = issuer
				raw, err := token.Mint(key, claims)
				if err != nil {
					t.Fatal(err)
				}
				return raw.Reveal()
			}
			answerOf(t, r.get(signed(now, issuer)), http.StatusOK)
			// From here on only a token that is verified here gets anything.
			upstream.become(func(string, int) (*awsapi.PodSession, error) {
				return nil, refuse(http.StatusBadRequest, "InvalidTokenException")
			})
			shared := len(publishes.keys) > 1
			for _, row := range []struct {
				name, raw string
				status    int
				calls     int
			}{
				{"the issuer's", signed(now, issuer), http.StatusOK, 0},
				{"the former issuer's", signed(before, former), http.StatusOK, 0},
				{
					"key of the issuer, name of the former", signed(now, former),
					map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[shared],
					map[bool]int{true: 0, false: 1}[shared],
				},
				{"key of the former, name of the issuer", signed(before, issuer), http.StatusBadRequest, 1},
				{"a third issuer, known key", signed(now, third), http.StatusBadRequest, 0},
				{"a third issuer, key of the former", signed(before, third), http.StatusBadRequest, 1},
				{"a third issuer, key of its own", signed(newKey(), third), http.StatusBadRequest, 1},
				{"the name that a source gives", signed(before, "not this one's to say"), http.StatusBadRequest, 1},
			} {
				calls := upstream.count()
				if got := r.get(row.raw); got.Code != row.status || upstream.count()-calls != row.calls {
					t.Errorf(
						"%s; the former publishes %s: status %d after %d calls", row.name, publishes.name, got.Code,
						upstream.count()-calls,
					)
				}
				time.Sleep(time.Minute) // refusals are forgotten
			}
		})
	}
}

// TestIssuerRenamed: a token with the API server's new name makes it be asked for
// its name at once.
func TestIssuerRenamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const renamed = "https://oidc.example.com/renamed"
		var name atomic.Value
		name.Store(issuer)
		upstream := &fakeUpstream{}
		r := newRig(t, upstream, func(c *agent.Config) {
			c.Keys = agent.NewKeys(func(ctx context.Context) (string, []byte, error) {
				_, document, err := clusterJWKS(ctx)
				return name.Load().(string), document, err
			}, audience, time.Now)
		})
		start(t, r)
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		name.Store(renamed)
		claims := cart(time.Now()).claims()
		claims.Issuer = renamed
		raw, err := token.Mint(clusterKey(), claims)
		if err != nil {
			t.Fatal(err)
		}
		answerOf(t, r.get(raw.Reveal()), http.StatusOK)
		if got := upstream.count(); got != 1 {
			t.Errorf("%d calls", got)
		}
	})
}

// TestSlowKeys: an answer waits half a second for keys that may be new; then the upstream
// says what it makes of the token.
func TestSlowKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		takes time.Duration
		calls int
	}{
		{"just in time", 499 * time.Millisecond, 1},
		{"too late", 501 * time.Millisecond, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := newKey()
			published, takes := []crypto.PublicKey{clusterKey().Public()}, time.Duration(0)
			source := func(ctx context.Context) (string, []byte, error) {
				select {
				case <-time.After(takes):
				case <-ctx.Done():
					return "", nil, ctx.Err()
				}
				document, err := token.MarshalJWKS(published)
				return issuer, document, err
			}
			upstream := &fakeUpstream{}
			r := newRig(t, upstream, func(c *agent.Config) { c.Keys = agent.NewKeys(source, audience, time.Now) })
			start(t, r)
			answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
			published, takes = append(published, next.Public()), row.takes
			answerOf(t, r.get(cart(time.Now()).sign(t, next)), http.StatusOK)
			if upstream.count() != row.calls {
				t.Errorf("%s: %d calls, want %d", row.name, upstream.count(), row.calls)
			}
		})
	}
}
