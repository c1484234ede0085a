package agent_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
)

// sdk is how an SDK asks for credentials (spec podidentity §18.2).
type sdk struct {
	name     string
	attempts int
	timeout  time.Duration // 0: it waits
	pause    time.Duration
}

var sdks = []sdk{
	{"botocore", 3, 2 * time.Second, time.Second},
	{"JS v3", 4, time.Second, time.Second},
	{"Go v2", 3, 0, 500 * time.Millisecond},
	{"Java v2", 6, 2 * time.Second, 0},
	{"PHP", 3, time.Second, time.Second},
}

// run is one process that starts and asks; it reports whether it got credentials. What
// the agent says when it has none must be what every SDK tries again.
func (s sdk) run(t *testing.T, r *rig, raw string) bool {
	t.Helper()
	for attempt := range s.attempts {
		if attempt > 0 {
			time.Sleep(s.pause)
		}
		ctx, leave := context.Background(), context.CancelFunc(func() {})
		if s.timeout > 0 {
			ctx, leave = context.WithTimeout(ctx, s.timeout)
		}
		got := r.get(raw, func(q *http.Request) { *q = *q.WithContext(ctx) })
		timedOut := ctx.Err() != nil
		leave()
		switch {
		case timedOut:
		case got.Code == http.StatusOK:
			return true
		case got.Code != http.StatusGatewayTimeout && got.Code != http.StatusServiceUnavailable:
			t.Errorf("attempt %d: %d %s", attempt+1, got.Code, got.Body)
		}
	}
	return false
}

// answering is an upstream that works on one session for each pod, as a broker does:
// for as long as it takes, no matter who leaves. Requests are answered within hold;
// 0 holds them until there is a session, as AWS does, where each begins again.
type answering struct {
	takes, hold time.Duration

	mu    sync.Mutex
	calls int
	begun map[string]time.Time
}

func (s *answering) Ready(context.Context) error { return nil }

func (s *answering) AssumeRoleForPodIdentity(
	ctx context.Context, _ string, raw credential.Secret,
) (*awsapi.PodSession, error) {
	s.mu.Lock()
	s.calls++
	left := s.takes
	if s.hold > 0 {
		if s.begun == nil {
			s.begun = map[string]time.Time{}
		}
		if _, flying := s.begun[raw.Reveal()]; !flying {
			s.begun[raw.Reveal()] = time.Now()
		}
		left = s.takes - time.Since(s.begun[raw.Reveal()])
	}
	s.mu.Unlock()
	slow := s.hold > 0 && left > s.hold
	if slow {
		left = s.hold
	}
	select {
	case <-time.After(left):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if slow {
		return nil, refuse(503, "ServiceUnavailableException")
	}
	return given(raw.Reveal(), time.Hour), nil
}

// TestSlowUpstreams: however long the upstream takes, up to 15 s, each SDK gets a
// session, the common ones within one start of their process up to 5 s, and later by
// starting again, as pods do.
func TestSlowUpstreams(t *testing.T) {
	t.Parallel()
	for _, client := range sdks {
		for _, takes := range []time.Duration{
			100 * time.Millisecond, 950 * time.Millisecond, 1900 * time.Millisecond, 2 * time.Second,
			2100 * time.Millisecond, 3 * time.Second, 5 * time.Second, 14 * time.Second,
		} {
			for name, hold := range map[string]time.Duration{"broker": 4 * time.Second, "AWS": 0} {
				t.Run(client.name+" "+name+" "+takes.String(), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						upstream := &answering{takes: takes, hold: hold}
						r := newRig(t, upstream, nil)
						start(t, r)
						raw := cart(time.Now()).mint(t)
						began, starts := time.Now(), 1
						for ; !client.run(t, r, raw) && starts < 10; starts++ {
							time.Sleep(time.Second)
						}
						took := time.Since(began)
						if starts == 10 || took > takes+5*time.Second {
							t.Errorf("no session after %d starts, %s", starts, took)
						}
						if early := client.name != "PHP"; early && takes <= 5*time.Second && starts > 1 {
							t.Errorf("%d starts", starts)
						}
						if upstream.calls > 6 {
							t.Errorf("%d calls", upstream.calls)
						}
					})
				})
			}
		}
	}
}

// TestNeverAnswering: an upstream that takes longer than there is time for does not get a
// storm, and each pod is told to ask again.
func TestNeverAnswering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &answering{takes: 16 * time.Second}
		r := newRig(t, upstream, nil)
		start(t, r)
		raw := cart(time.Now()).mint(t)
		began := time.Now()
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for time.Since(began) < time.Minute {
					if sdks[0].run(t, r, raw) {
						t.Error("a session")
					}
				}
			})
		}
		all.Wait()
		if upstream.calls > 15 {
			t.Errorf("%d calls in a minute", upstream.calls)
		}
	})
}

// TestSecondWaitIsLonger: the first answer comes before the first SDK gives up, and the
// next one before the second does.
func TestSecondWaitIsLonger(t *testing.T) {
	upstream := &fakeUpstream{delay: 10 * time.Second}
	bubble(t, upstream, func(c *agent.Config) { c.ForegroundDeadline = 900 * time.Millisecond },
		func(t *testing.T, r *rig) {
			raw := cart(time.Now()).mint(t)
			for _, want := range []time.Duration{
				900 * time.Millisecond, 1800 * time.Millisecond, 1800 * time.Millisecond,
			} {
				began := time.Now()
				answerOf(t, r.get(raw), http.StatusGatewayTimeout)
				if took := time.Since(began); took != want {
					t.Errorf("answered after %s, want %s", took, want)
				}
			}
			other := cart(time.Now())
			other.uid = "u2"
			began := time.Now()
			answerOf(t, r.get(other.mint(t)), http.StatusGatewayTimeout)
			if took := time.Since(began); took != 900*time.Millisecond {
				t.Errorf("another pod: %s", took)
			}
		})
}
