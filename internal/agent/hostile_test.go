package agent_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// verifying accepts as the service does: only what the cluster's key signed,
// for the audience, of a pod that exists.
func verifying(dead map[string]bool) func(raw string, _ int) (*awsapi.PodSession, error) {
	return func(raw string, _ int) (*awsapi.PodSession, error) {
		if !signedByCluster(raw) || dead[podOf(raw)] {
			return nil, refuse(http.StatusBadRequest, "InvalidTokenException")
		}
		return given(raw, 6*time.Hour), nil
	}
}

// withKeys runs the agent in the bubble with the cluster's keys loaded.
func withKeys(c *agent.Config) { c.Keys = agent.NewKeys(clusterJWKS, audience, time.Now) }

// start runs the agent until the test's end, and returns when it has begun.
func start(t *testing.T, r *rig) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

// TestHostileTokens: a pod has credentials; anything but a token of that pod gets
// none of them (spec podidentity rows H3-H5, H11, §20). Each row is tried with
// and without local keys.
func TestHostileTokens(t *testing.T) {
	t.Parallel()
	victim := func() pod { return cart(time.Now()) }
	for _, row := range []struct {
		name string
		// forge makes the token from the victim's.
		forge func(t *testing.T, real string) string
		calls int // beyond the first
		code  string
		// localCalls and localCode are with local keys, where they differ.
		localCalls int
		localCode  string
	}{
		{
			name:       "same claims, another key",
			calls:      1,
			localCalls: 1,
			code:       "InvalidTokenException",
			forge: func(t *testing.T, _ string) string {
				return victim().sign(t, newKey())
			},
		},
		{
			name:       "same header and claims, other signature",
			calls:      1,
			localCalls: 0, // refused here
			code:       "InvalidTokenException",
			forge: func(_ *testing.T, real string) string {
				parts := strings.Split(real, ".")
				return parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))
			},
		},
		{
			name:       "signature of another token",
			calls:      1,
			localCalls: 0, // refused here
			code:       "InvalidTokenException",
			forge: func(t *testing.T, real string) string {
				own := victim()
				own.account, own.uid = "thief", "u9"
				return real[:strings.LastIndexByte(real, '.')] + "." + strings.Split(own.mint(t), ".")[2]
			},
		},
		{
			name:       "no signature",
			calls:      1,
			localCalls: 0, // refused here
			code:       "InvalidTokenException",
			forge: func(_ *testing.T, real string) string {
				return real[:strings.LastIndexByte(real, '.')+1]
			},
		},
		{
			name:       "alg none",
			calls:      1,
			localCalls: 0, // refused here
			code:       "InvalidTokenException",
			forge: func(_ *testing.T, real string) string {
				return encode(`{"alg":"none","kid":"`+clusterKey().ID()+`"}`) + "." + strings.Split(real, ".")[1] + "."
			},
		},
		{
			name:       "alg HS256",
			calls:      1,
			localCalls: 0, // refused here
			code:       "InvalidTokenException",
			forge: func(_ *testing.T, real string) string {
				return encode(
					`{"alg":"HS256","kid":"`+clusterKey().ID()+`"}`,
				) + "." + strings.Split(real, ".")[1] + "." + strings.Split(real, ".")[2]
			},
		},
		{
			name:  "another signature that verifies is another token",
			calls: 1,
			code:  "",
			forge: func(t *testing.T, real string) string {
				// ECDSA signatures are not unique: the same claims, signed again by the
				// cluster, are a good token that was not seen before.
				for {
					if again := victim().mint(t); again != real {
						return again
					}
				}
			},
		},
		{
			name:      "expired",
			calls:     0,
			code:      "ExpiredTokenException",
			localCode: "ExpiredTokenException",
			forge: func(t *testing.T, _ string) string {
				old := victim()
				old.issued, old.life = old.issued.Add(-2*time.Hour), time.Hour
				return old.mint(t)
			},
		},
		{
			name:      "wrong audience",
			calls:     1,
			code:      "InvalidTokenException",
			localCode: "InvalidTokenException",
			forge: func(t *testing.T, _ string) string {
				other := victim()
				other.audience = "sts.amazonaws.com"
				return other.mint(t)
			},
		},
	} {
		for _, local := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, local keys %v", row.name, local), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					upstream := &fakeUpstream{answer: verifying(nil)}
					r := newRig(t, upstream, func(c *agent.Config) {
						if local {
							withKeys(c)
						}
					})
					start(t, r)
					real := victim().mint(t)
					mine := answerOf(t, r.get(real), http.StatusOK)["SecretAccessKey"]
					calls, code := row.calls, row.code
					if local {
						calls = row.localCalls
						if row.localCode != "" {
							code = row.localCode
						}
					}
					got := r.get(row.forge(t, real))
					if code == "" {
						answerOf(t, got, http.StatusOK)
					} else if answerOf(t, got, http.StatusBadRequest)["code"] != code ||
						strings.Contains(got.Body.String(), mine) {
						t.Errorf("got %s", got.Body)
					}
					if upstream.count() != 1+calls {
						t.Errorf("%d calls beyond the first, want %d", upstream.count()-1, calls)
					}
				})
			})
		}
	}
}

// TestOthersOfTheNode: tokens the cluster did sign, for somebody else who is on
// the same node or claims to be in the same pod, find what is theirs and nothing
// else.
func TestOthersOfTheNode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		local bool
		other func(*pod)
		calls int
	}{
		{
			"another service account, another pod", true,
			func(p *pod) { p.account, p.name, p.uid = "thief", "thief-0", "u2" }, 1,
		},
		{"another service account, the same pod", true, func(p *pod) { p.account = "thief" }, 1},
		{"another namespace, the same names", true, func(p *pod) { p.namespace = "evil" }, 1},
		{"a pod of the same name, made again", true, func(p *pod) { p.uid = "u2" }, 1},
		{"the same UID, another name", true, func(p *pod) { p.name = "cart-1" }, 1},
		{"the same pod on another node", true, func(p *pod) { p.node = "n2" }, 1},
		{"no pod at all", true, func(p *pod) { p.uid = "" }, 1},
		{"the same pod, local keys", true, func(*pod) {}, 0},
		{"the same pod, no local keys", false, func(*pod) {}, 1},
		{"another service account, no local keys", false, func(p *pod) { p.account = "thief" }, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := &fakeUpstream{answer: verifying(nil)}
				r := newRig(t, upstream, func(c *agent.Config) {
					if row.local {
						withKeys(c)
					}
				})
				start(t, r)
				first := r.get(cart(time.Now()).mint(t))
				other := cart(time.Now())
				row.other(&other)
				got := answerOf(t, r.get(other.mint(t)), http.StatusOK)
				if got["Token"] != sessionToken+other.account {
					t.Errorf("%s was given the session of another: %s", other.account, got["Token"])
				}
				if upstream.count() != 1+row.calls {
					t.Errorf("%d calls, want %d", upstream.count(), 1+row.calls)
				}
				if same := got["AccessKeyId"] == answerOf(
					t, first, http.StatusOK,
				)["AccessKeyId"]; same != (row.calls == 0) {
					t.Errorf("the same session: %v", same)
				}
			})
		})
	}
}

// TestUpstreamReadsAnother: when the service reads another account in a token
// than we do, what it gives stays with that very token.
func TestUpstreamReadsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{answer: func(raw string, _ int) (*awsapi.PodSession, error) {
			session := given(raw, 6*time.Hour)
			session.ServiceAccount = "somebody"
			return session, nil
		}}
		r := newRig(t, upstream, withKeys)
		start(t, r)
		one, two := cart(time.Now()).mint(t), cart(time.Now()).mint(t)
		for _, raw := range []string{one, one, two, two} {
			answerOf(t, r.get(raw), http.StatusOK)
		}
		if upstream.count() != 2 {
			t.Errorf("%d calls, want one for each token", upstream.count())
		}
	})
}

// TestExpiredWhileCached: at the token's end its credentials are still good, but
// no longer for it (spec podidentity row H3).
func TestExpiredWhileCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{}
		r := newRig(t, upstream, nil)
		short := cart(time.Now())
		short.life = 10 * time.Minute
		raw := short.mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		time.Sleep(10*time.Minute - time.Second)
		answerOf(t, r.get(raw), http.StatusOK)
		time.Sleep(time.Second)
		if got := answerOf(t, r.get(raw), http.StatusBadRequest); got["code"] != "ExpiredTokenException" {
			t.Errorf("got %v", got)
		}
		if upstream.count() != 1 {
			t.Errorf("%d calls", upstream.count())
		}
	})
}

// TestGarbage: one address that guesses is soon refused without work, and a pod
// of another address does not notice (spec podidentity row H13).
func TestGarbage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{answer: verifying(nil)}
		r := newRig(t, upstream, nil)
		good := cart(time.Now()).mint(t)
		from := func(address string) func(*http.Request) { return func(q *http.Request) { q.RemoteAddr = address } }
		limited := 0
		for i := range 4000 { // below what the whole agent takes in a second
			guess := encode(`{"alg":"ES256"}`) + "." + encode(fmt.Sprintf(`{"exp":9999999999,"n":%d}`, i)) + ".AAAA"
			if r.get(guess, from("10.0.0.9:1")).Code == http.StatusTooManyRequests {
				limited++
			}
		}
		if limited < 3970 || upstream.count() > 30 {
			t.Errorf("%d of 4000 guesses were limited, %d reached the upstream", limited, upstream.count())
		}
		answerOf(t, r.get(good, from("10.0.0.8:1")), http.StatusOK)
		// A pod with credentials is served even from the address that guesses.
		answerOf(t, r.get(good, from("10.0.0.9:2")), http.StatusOK)
		if got := r.metric(t, "rolecall_agent_limited_total", "source"); got != float64(limited) {
			t.Errorf("%v counted", got)
		}
		if lines := strings.Count(r.logs.String(), "\n"); lines > 10 {
			t.Errorf("%d log lines: what repeats is not folded", lines)
		}
		// It recovers.
		time.Sleep(time.Second)
		other := cart(time.Now())
		other.uid = "u3"
		answerOf(t, r.get(other.mint(t), from("10.0.0.9:3")), http.StatusOK)
	})
}

// TestBusyPod: a pod in a loop is limited, others are not (spec podidentity row H14).
func TestBusyPod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeUpstream{}, nil)
		busy, other := cart(time.Now()), cart(time.Now())
		other.uid, other.account = "u2", "other"
		loop, calm := busy.mint(t), other.mint(t)
		limited := 0
		for range 1000 {
			got := r.get(loop)
			if got.Code == http.StatusTooManyRequests {
				limited++
				if got.Header().Get("Retry-After") != "1" {
					t.Fatal("no Retry-After")
				}
			}
		}
		if limited != 1000-1-100 { // the first came from the upstream, 100 is the burst
			t.Errorf("%d limited", limited)
		}
		answerOf(t, r.get(calm), http.StatusOK)
		if got := r.metric(t, "rolecall_agent_limited_total", "pod"); got != float64(limited) {
			t.Errorf("%v counted", got)
		}
	})
}

// TestNeighboursOnTheHostsNetwork: pods that share the node's address and have
// no association do not use up what the others may fail.
func TestNeighboursOnTheHostsNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{answer: func(raw string, _ int) (*awsapi.PodSession, error) {
			if _, account := subjectOf(raw); account == "none" {
				return nil, refuse(http.StatusNotFound, "ResourceNotFoundException")
			}
			return given(raw, 6*time.Hour), nil
		}}
		r := newRig(t, upstream, nil)
		for i := range 60 {
			none := cart(time.Now())
			none.account, none.uid = "none", fmt.Sprint("n", i)
			answerOf(t, r.get(none.mint(t)), http.StatusNotFound)
		}
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
	})
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
