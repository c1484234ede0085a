package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
)

var errDown = errors.New("dial tcp: connection refused")

func down(string, int) (*awsapi.PodSession, error) { return nil, errDown }

func always(err error) func(string, int) (*awsapi.PodSession, error) {
	return func(string, int) (*awsapi.PodSession, error) { return nil, err }
}

func lasting(life time.Duration) func(string, int) (*awsapi.PodSession, error) {
	return func(raw string, _ int) (*awsapi.PodSession, error) { return given(raw, life), nil }
}

// together asks n times at once.
func together(r *rig, n int, raw func(int) string) []*httptest.ResponseRecorder {
	answers := make([]*httptest.ResponseRecorder, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			answers[i] = r.get(
				raw(i), func(q *http.Request) { q.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", i/250, i%250) },
			)
		})
	}
	all.Wait()
	return answers
}

// bubble runs a test on a clock of its own, with a running agent.
func bubble(t *testing.T, upstream *fakeUpstream, change func(*agent.Config), test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, upstream, change)
		start(t, r)
		test(t, r)
	})
}

// TestStorm: 64 first requests make one call, also when it fails (spec podidentity rows G3, E17).
func TestStorm(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer func(string, int) (*awsapi.PodSession, error)
		status int
		calls  int
	}{
		{"good", nil, 200, 1},
		{"failing", always(refuse(500, "InternalServerException")), 500, 3},
		{"no association", always(refuse(404, "ResourceNotFoundException")), 404, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := &fakeUpstream{answer: row.answer, delay: 100 * time.Millisecond}
			bubble(t, upstream, nil, func(t *testing.T, r *rig) {
				raw := cart(time.Now()).mint(t)
				begin := time.Now()
				for _, got := range together(r, 64, func(int) string { return raw }) {
					answerOf(t, got, row.status)
				}
				if upstream.count() != row.calls || time.Since(begin) > 900*time.Millisecond {
					t.Errorf("%d calls in %s", upstream.count(), time.Since(begin))
				}
			})
		})
	}
}

// TestNegative: what was refused is remembered for as long as it cannot have
// changed (spec podidentity row E1).
func TestNegative(t *testing.T) {
	for _, row := range []struct {
		code   string
		status int
		keep   time.Duration
	}{
		{"ResourceNotFoundException", 404, time.Second},
		{"AccessDeniedException", 400, time.Second},
		{"InvalidTokenException", 400, 10 * time.Second},
		{"ExpiredTokenException", 400, 10 * time.Second},
	} {
		t.Run(row.code, func(t *testing.T) {
			upstream := &fakeUpstream{answer: always(refuse(row.status, row.code))}
			bubble(t, upstream, nil, func(t *testing.T, r *rig) {
				raw := cart(time.Now()).mint(t)
				for _, want := range []int{1, 1, 2} {
					answerOf(t, r.get(raw), row.status)
					if upstream.count() != want {
						t.Errorf("%d calls, want %d", upstream.count(), want)
					}
					if upstream.count() == want && want == 1 {
						time.Sleep(row.keep / 2)
					}
				}
			})
		})
	}
}

// TestSlowUpstream: an answer that comes late is not lost (spec podidentity rows E8, E9, E18).
func TestSlowUpstream(t *testing.T) {
	upstream := &fakeUpstream{delay: 1500 * time.Millisecond}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		begin := time.Now()
		if got := answerOf(
			t, r.get(raw), http.StatusGatewayTimeout,
		); got["code"] != "ServiceUnavailableException" || time.Since(begin) != 900*time.Millisecond {
			t.Errorf("got %v after %s", got, time.Since(begin))
		}
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		begin = time.Now()
		answerOf(t, r.get(raw), http.StatusOK)
		if upstream.count() != 1 || time.Since(begin) != 0 {
			t.Errorf("%d calls, the second answer took %s", upstream.count(), time.Since(begin))
		}
	})
}

// TestClientLeaves: the call for it goes on and serves its next try (spec podidentity row E18).
func TestClientLeaves(t *testing.T) {
	upstream := &fakeUpstream{delay: 300 * time.Millisecond}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		r.get(raw, func(q *http.Request) {
			ctx, leave := context.WithTimeout(q.Context(), 100*time.Millisecond)
			t.Cleanup(leave)
			*q = *q.WithContext(ctx)
		})
		time.Sleep(300 * time.Millisecond)
		answerOf(t, r.get(raw), http.StatusOK)
		if upstream.count() != 1 {
			t.Errorf("%d calls", upstream.count())
		}
	})
}

// TestThrottledOnce: a moment later it is good, within one request (spec podidentity row E4), and
// Retry-After is obeyed beyond it.
func TestThrottledOnce(t *testing.T) {
	throttle := refuse(429, "ThrottlingException")
	upstream := &fakeUpstream{answer: func(raw string, call int) (*awsapi.PodSession, error) {
		if call == 1 {
			return nil, throttle
		}
		return given(raw, time.Hour), nil
	}}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		if pause := upstream.times[1].Sub(upstream.times[0]); pause < 500*time.Millisecond || upstream.count() != 2 {
			t.Errorf("%d calls, %s apart", upstream.count(), pause)
		}
		throttle = &awsapi.Error{Code: "ThrottlingException", Status: 429, RetryAfter: 3 * time.Second}
		upstream.become(always(throttle))
		other := cart(time.Now())
		other.uid = "u2"
		answerOf(t, r.get(other.mint(t)), http.StatusGatewayTimeout)
		time.Sleep(9 * time.Second)
		if calls := upstream.count(); calls != 5 {
			t.Errorf("%d calls in all, want 3 for the second pod", calls)
		}
		if pause := upstream.times[3].Sub(upstream.times[2]); pause != 3*time.Second {
			t.Errorf("tried again after %s", pause)
		}
	})
}

// TestOwnCredentials: without them nothing is asked, and the answer says which
// (spec podidentity row E20).
func TestOwnCredentials(t *testing.T) {
	upstream := &fakeUpstream{ready: fmt.Errorf("%w: no EC2 IMDS role found", awsapi.ErrNoCredentials)}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		begin := time.Now()
		got := answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusServiceUnavailable)
		if upstream.count() != 0 || time.Since(begin) > 900*time.Millisecond {
			t.Errorf("%d calls, %v", upstream.count(), got)
		}
	})
}

// TestRenewal: sessions are renewed ahead, so that each answer has as much life
// left as the most demanding SDK wants, and nobody waits (spec podidentity rows G13, G14, §18.3).
func TestRenewal(t *testing.T) {
	for _, row := range []struct {
		life, least time.Duration
	}{
		{6 * time.Hour, time.Hour},
		{time.Hour, 15 * time.Minute},
		{59 * time.Minute, 14*time.Minute + 45*time.Second}, // a quarter of it
		{15 * time.Minute, 3 * time.Minute},
	} {
		t.Run(row.life.String(), func(t *testing.T) {
			upstream := &fakeUpstream{answer: lasting(row.life), delay: 200 * time.Millisecond}
			bubble(t, upstream, nil, func(t *testing.T, r *rig) {
				long := cart(time.Now())
				long.life = 48 * time.Hour
				raw := long.mint(t)
				answerOf(t, r.get(raw), http.StatusOK)
				for range 200 {
					time.Sleep(row.life / 50)
					begin := time.Now()
					if left := expires(t, r.get(raw)).Sub(begin); left < row.least || time.Since(begin) != 0 {
						t.Fatalf("%s left after a wait of %s", left, time.Since(begin))
					}
				}
				if calls := upstream.count(); calls < 7 || calls > 12 { // four lives
					t.Errorf("%d calls in four lives", calls)
				}
			})
		})
	}
}

// TestOutage: who has credentials keeps them until they end, is answered at
// once, and is renewed soon after (spec podidentity rows D1-D4).
func TestOutage(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, withKeys, func(t *testing.T, r *rig) {
		long := cart(time.Now())
		raw := long.mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		upstream.become(down)
		for range 5*60 + 59 {
			time.Sleep(time.Minute)
			begin := time.Now()
			answerOf(t, r.get(raw), http.StatusOK)
			// Near the end one request a while waits for a renewal, 300 ms at most.
			if waited := time.Since(begin); waited > 300*time.Millisecond {
				t.Fatalf("waited %s", waited)
			}
		}
		rotated := cart(time.Now()).mint(t)
		answerOf(t, r.get(rotated), http.StatusOK) // D2
		if calls := upstream.count(); calls > 1000 {
			t.Errorf("%d calls during the outage", calls)
		}
		time.Sleep(time.Minute - 10*time.Second)
		answerOf(t, r.get(raw), http.StatusServiceUnavailable)
		if r.metric(t, "rolecall_agent_upstream_up") != 0 {
			t.Error("the metric says the upstream is up")
		}
		upstream.become(nil)
		time.Sleep(time.Second)
		answerOf(t, r.get(raw), http.StatusOK)
	})
}

// TestRecovery: after an outage many pods come back at the rate of renewals, and
// none has to ask itself.
func TestRecovery(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, func(c *agent.Config) { c.Limits.Calls = 500; c.Limits.Queue = 500 }, func(
		t *testing.T, r *rig,
	) {
		tokens := make([]string, 500)
		for i := range tokens {
			one := cart(time.Now())
			one.uid = fmt.Sprint("u", i)
			tokens[i] = one.mint(t)
		}
		for _, got := range together(r, len(tokens), func(i int) string { return tokens[i] }) {
			answerOf(t, got, http.StatusOK)
		}
		upstream.become(down)
		time.Sleep(3*time.Hour + 10*time.Minute) // all are due, and fail
		upstream.become(nil)
		before := upstream.count()
		time.Sleep(10 * time.Minute)
		if calls := upstream.count() - before; calls != 500 {
			t.Errorf("%d calls for 500 pods after the outage", calls)
		}
		for i, at := range upstream.times[before:] {
			if later := upstream.times[before:][min(i+12, 499)]; i+12 < 500 && later.Sub(at) < 3*time.Second {
				t.Fatalf("12 calls within %s", later.Sub(at))
			}
		}
		calls := upstream.count()
		for i, got := range together(r, len(tokens), func(i int) string { return tokens[i] }) {
			if left := time.Until(expires(t, got)); left < 5*time.Hour {
				t.Fatalf("pod %d has %s left", i, left)
			}
		}
		if upstream.count() != calls {
			t.Error("pods had to ask themselves")
		}
	})
}

// TestRenewalRefused: what happens to an entry when its renewal fails for good,
// or not (spec podidentity rows D5-D8).
func TestRenewalRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		once bool
		// calls that the next request makes, and its status.
		calls, status int
	}{
		{"no association", refuse(404, "ResourceNotFoundException"), false, 1, 404},
		{"invalid token", refuse(400, "InvalidTokenException"), false, 1, 400},
		{"denied twice", refuse(400, "AccessDeniedException"), false, 1, 400},
		{"denied once", refuse(400, "AccessDeniedException"), true, 0, 200},
		{"throttled", refuse(429, "ThrottlingException"), false, 0, 200},
		{"stored token is old", refuse(400, "ExpiredTokenException"), false, 0, 200},
		{"invalid request", refuse(400, "InvalidRequestException"), false, 0, 200},
		{"node credentials", refuse(403, "UnrecognizedClientException"), false, 0, 200},
		{"node credentials expired", refuse(403, "ExpiredTokenException"), false, 0, 200},
		{"node is denied", refuse(403, "AccessDeniedException"), false, 0, 200},
		{"internal", refuse(500, "InternalServerException"), false, 0, 200},
		{"a new code", refuse(400, "SomethingNewException"), false, 0, 200},
		{"unusable", awsapi.ErrUnusable, false, 0, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := &fakeUpstream{}
			bubble(t, upstream, func(c *agent.Config) { c.Rand = func() float64 { return 0 } }, func(
				t *testing.T, r *rig,
			) {
				raw := cart(time.Now()).mint(t)
				answerOf(t, r.get(raw), http.StatusOK)
				upstream.become(func(raw string, call int) (*awsapi.PodSession, error) {
					if row.once && call > 2 {
						return given(raw, 6*time.Hour), nil
					}
					return nil, row.err
				})
				// Between two looks of the renewals, so that none is under way.
				time.Sleep(3*time.Hour + 20*time.Second + 500*time.Millisecond)
				synctest.Wait()
				before := upstream.count()
				if before < 2 {
					t.Fatal("no renewal was tried")
				}
				answerOf(t, r.get(raw), row.status)
				if made := upstream.count() - before; made != row.calls {
					t.Errorf("%d calls, want %d", made, row.calls)
				}
			})
		})
	}
}

// TestOldTokenIsReplaced: an entry whose token has expired is renewed again once
// the pod brings a new one (spec podidentity row D8).
func TestOldTokenIsReplaced(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, withKeys, func(t *testing.T, r *rig) {
		short := cart(time.Now())
		short.life = time.Hour
		answerOf(t, r.get(short.mint(t)), http.StatusOK)
		time.Sleep(3*time.Hour + time.Minute)
		if upstream.count() != 1 {
			t.Fatal("an expired token was sent")
		}
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		time.Sleep(2 * time.Second)
		if upstream.count() != 2 {
			t.Errorf("%d calls, want the renewal that was due", upstream.count())
		}
	})
}

// TestIdle: the credentials of a pod that never asks again are not renewed forever (spec
// podidentity row D13).
func TestIdle(t *testing.T) {
	upstream := &fakeUpstream{answer: lasting(time.Hour)}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		time.Sleep(24 * time.Hour)
		if calls := upstream.count(); calls > 4 {
			t.Errorf("%d calls for a pod that asked once", calls)
		}
		if entries := r.metric(t, "rolecall_agent_cache_entries"); entries != 0 {
			t.Errorf("%v entries", entries)
		}
	})
}

// TestManyDue: 2000 pods due at once are all renewed in time, at the rate, with
// none forgotten (spec podidentity row D9).
func TestManyDue(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, func(c *agent.Config) {
		c.Limits.Calls, c.Limits.Queue = 2000, 2000
		c.Rand = func() float64 { return 0 } // no jitter: the worst case
	}, func(t *testing.T, r *rig) {
		tokens := make([]string, 2000)
		for i := range tokens {
			one := cart(time.Now())
			one.uid = fmt.Sprint("u", i)
			tokens[i] = one.mint(t)
		}
		for _, got := range together(r, len(tokens), func(i int) string { return tokens[i] }) {
			answerOf(t, got, http.StatusOK)
		}
		time.Sleep(3*time.Hour + 15*time.Minute)
		if calls := upstream.count(); calls != 4000 {
			t.Errorf("%d calls, want one renewal for each", calls-2000)
		}
		if took := upstream.times[3999].Sub(upstream.times[2000]); took < 10*time.Minute {
			t.Errorf("2000 renewals in %s: faster than three a second", took)
		}
	})
}

// TestEviction: who was used longest ago is forgotten (spec podidentity row D10).
func TestEviction(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, func(c *agent.Config) { c.CacheSize = 3 }, func(t *testing.T, r *rig) {
		var tokens []string
		for i := range 4 {
			one := cart(time.Now())
			one.uid = fmt.Sprint("u", i)
			tokens = append(tokens, one.mint(t))
		}
		for _, i := range []int{0, 1, 2, 0, 3, 0, 2, 3} { // 1 makes room for 3
			answerOf(t, r.get(tokens[i]), http.StatusOK)
		}
		if upstream.count() != 4 {
			t.Errorf("%d calls", upstream.count())
		}
		answerOf(t, r.get(tokens[1]), http.StatusOK)
		if upstream.count() != 5 || r.metric(t, "rolecall_agent_cache_evictions_total", "size") != 2 {
			t.Errorf("%d calls", upstream.count())
		}
	})
}

// TestNoCache: each request asks, concurrent ones together (spec podidentity row D11).
func TestNoCache(t *testing.T) {
	for name, change := range map[string]func(*agent.Config){
		"size":      func(c *agent.Config) { c.CacheSize = 0 },
		"retention": func(c *agent.Config) { c.Retention = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			upstream := &fakeUpstream{delay: 10 * time.Millisecond}
			bubble(t, upstream, change, func(t *testing.T, r *rig) {
				raw := cart(time.Now()).mint(t)
				for range 3 {
					together(r, 8, func(int) string { return raw })
				}
				if upstream.count() != 3 {
					t.Errorf("%d calls", upstream.count())
				}
			})
		})
	}
}

// TestClockJumps: past their end by the wall clock credentials are not served,
// whichever way it went (spec podidentity row D16).
func TestClockJumps(t *testing.T) {
	var mu sync.Mutex
	var ahead time.Duration
	jump := func(by time.Duration) { mu.Lock(); ahead += by; mu.Unlock() }
	upstream := &fakeUpstream{answer: func(raw string, _ int) (*awsapi.PodSession, error) {
		mu.Lock()
		defer mu.Unlock()
		return given(raw, 2*time.Hour+ahead), nil
	}}
	bubble(t, upstream, func(c *agent.Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	}, func(t *testing.T, r *rig) {
		raw := cart(time.Now().Add(-12 * time.Hour)).mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		jump(3 * time.Hour)
		answerOf(t, r.get(raw), http.StatusOK)
		if upstream.count() != 2 {
			t.Errorf("%d calls: old credentials were served", upstream.count())
		}
		jump(-6 * time.Hour)
		time.Sleep(5 * time.Second)
		answerOf(t, r.get(raw), http.StatusOK)
	})
}

// TestQueue: the upstream is never asked by more than the limit at a time, pods
// take turns, and who does not fit is told to come back.
func TestQueue(t *testing.T) {
	upstream := &fakeUpstream{delay: 100 * time.Millisecond}
	bubble(t, upstream, func(c *agent.Config) { c.Limits.Calls, c.Limits.Queue = 2, 10 }, func(t *testing.T, r *rig) {
		statuses := map[int]int{}
		for _, got := range together(r, 20, func(i int) string {
			one := cart(time.Now())
			one.uid = fmt.Sprint("u", i)
			return one.mint(t)
		}) {
			statuses[got.Code]++
		}
		if statuses[200] != 12 || statuses[429] != 8 {
			t.Errorf("statuses %v", statuses)
		}
		for i, at := range upstream.times {
			if i >= 2 && at.Sub(upstream.times[i-2]) < 100*time.Millisecond {
				t.Error("three calls at a time")
			}
		}
	})
}
