package agent_test

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
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
