package agent_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/token"
)

// node limits one node as a broker does, with the broker's own numbers, then answers as
// answer says. It counts what it took and what it limited.
type node struct {
	mu             sync.Mutex
	limiter        *rate.Limiter
	taken, limited int
	answer         func(raw string, call int) (*awsapi.PodSession, error)
}

func (n *node) call(raw string, call int) (*awsapi.PodSession, error) {
	n.mu.Lock()
	allowed := n.limiter.AllowN(time.Now(), 1)
	if n.taken++; !allowed {
		n.limited++
	}
	n.mu.Unlock()
	if !allowed {
		return nil, refuse(http.StatusTooManyRequests, "ThrottlingException")
	}
	return n.answer(raw, call)
}

// thief is a pod on the node that sends what it can.
func thief(number int) pod {
	p := cart(time.Now())
	p.account, p.name, p.uid = "none", fmt.Sprint("thief-", number), fmt.Sprint("thief-", number)
	return p
}

func spoilt(raw string) string {
	at := strings.LastIndexByte(raw, '.') + 1
	return raw[:at] + strings.Repeat("A", 8) + raw[at+8:len(raw)-8] + "AAAAAAAA"
}

// TestFewPodsDoNotUseUpTheirNode: whatever four pods send, as fast as the agent takes it,
// the broker goes on taking requests of their node, and the other pods there get their
// roles at once.
func TestFewPodsDoNotUseUpTheirNode(t *testing.T) {
	t.Parallel()
	const thieves, seconds, together = 4, 30, 16
	for _, row := range []struct {
		name string
		make func(t *testing.T, p pod) string
		// keys are known on the node; most is how many of the thieves' requests may reach
		// the broker.
		keys bool
		most int
	}{
		{"signatures that the key contradicts", func(t *testing.T, p pod) string { return spoilt(p.mint(t)) }, true, 0},
		{"signatures of another token", func(t *testing.T, p pod) string {
			raw, other := p.mint(t), p.mint(t)
			return raw[:strings.LastIndexByte(raw, '.')] + other[strings.LastIndexByte(other, '.'):]
		}, true, 0},
		{"no signature", func(t *testing.T, p pod) string {
			return encode(`{"alg":"none","kid":"`+clusterKey().ID()+`"}`) + "." + strings.Split(p.mint(t), ".")[1] + "."
		}, true, 0},
		{"keys of their own", func(t *testing.T, p pod) string { return p.sign(t, newKey()) }, true, 20 + 5*seconds},
		{"no kid", func(*testing.T, pod) string {
			return encode(`{"alg":"ES256"}`) + "." + encode(`{"exp":99999999999,"jti":"`+rand.Text()+`"}`) + ".AAAA"
		}, true, 20 + 5*seconds},
		{"tokens for another audience", func(t *testing.T, p pod) string { p.audience = "x"; return p.mint(t) }, true, 0},
		{"expired tokens", func(t *testing.T, p pod) string {
			p.issued, p.life = p.issued.Add(-2*time.Hour), time.Hour
			return p.mint(t)
		}, true, 0},
		{"tokens from the future", func(t *testing.T, p pod) string {
			claims := p.claims()
			claims.IssuedAt = claims.IssuedAt.Add(time.Hour)
			return mintClaims(t, claims)
		}, true, 0},
		{"tokens of another node's pod", func(t *testing.T, p pod) string { p.node = "n2"; return p.mint(t) }, true, 20 + 5*seconds},
		{"tokens of no pod", func(t *testing.T, p pod) string { p.uid = ""; return p.mint(t) }, true, 20 + 5*seconds},
		{"their own tokens, ever new", func(t *testing.T, p pod) string { return p.mint(t) }, true, thieves * (5 + seconds)},
		{"without keys, bad signatures", func(t *testing.T, p pod) string { return spoilt(p.mint(t)) }, false, 50 + (5+thieves)*seconds},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				known := verifying(nil)
				broker := &node{
					limiter: rate.NewLimiter(20, 100),
					answer: func(raw string, call int) (*awsapi.PodSession, error) {
						if _, account := subjectOf(raw); account == "none" && signedByCluster(raw) {
							return nil, refuse(http.StatusNotFound, "ResourceNotFoundException")
						}
						return known(raw, call)
					},
				}
				r := newRig(t, &fakeUpstream{answer: broker.call, delay: 5 * time.Millisecond}, func(c *agent.Config) {
					if row.keys {
						withKeys(c)
					}
				})
				start(t, r)
				for second := range seconds {
					var sending sync.WaitGroup
					for number := range thieves {
						raws := make([]string, together)
						for i := range raws {
							raws[i] = row.make(t, thief(number))
						}
						at := from(netip.AddrFrom4([4]byte{10, 0, 0, byte(number + 1)}).String() + ":1") //nolint:gosec // few
						if !row.keys {                                                                   // one after the other: what is under way has not failed yet
							sending.Go(func() {
								for _, raw := range raws {
									r.get(raw, at)
								}
							})
							continue
						}
						for _, raw := range raws {
							sending.Go(func() { r.get(raw, at) })
						}
					}
					sending.Wait()
					fresh := cart(time.Now())
					fresh.uid = fmt.Sprint("fresh-", second)
					got := r.get(fresh.mint(t), from(fmt.Sprintf("10.0.1.%d:1", second)))
					if got.Code != http.StatusOK {
						t.Fatalf("second %d: another pod got %d %s", second, got.Code, got.Body)
					}
					time.Sleep(time.Second)
				}
				if reached := broker.taken - seconds; broker.limited > 0 || reached > row.most {
					t.Errorf("%d of the thieves' requests reached the broker, want at most %d; it limited %d",
						reached, row.most, broker.limited)
				}
			})
		})
	}
}

// TestKeyOfTheSameName: when a key contradicts a signature, another one may have its kid
// by now: keys are read before the token is refused.
func TestKeyOfTheSameName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		former, present := newKey(), newKey()
		changed := false
		r := newRig(t, &fakeUpstream{}, func(c *agent.Config) {
			c.Keys = agent.NewKeys(func(context.Context) (string, []byte, error) {
				key := former
				if changed {
					key = present
				}
				document, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
				return issuer, bytes.ReplaceAll(document, []byte(former.ID()), []byte(present.ID())), err
			}, audience, time.Now)
		})
		start(t, r)
		answerOf(t, r.get(cart(time.Now()).sign(t, present)), http.StatusBadRequest)
		changed = true
		time.Sleep(10 * time.Second)
		answerOf(t, r.get(cart(time.Now()).sign(t, present)), http.StatusOK)
	})
}

func mintClaims(t *testing.T, claims *token.Claims) string {
	t.Helper()
	signed, err := token.Mint(clusterKey(), claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed.Reveal()
}
