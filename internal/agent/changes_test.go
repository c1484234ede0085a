package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// broker is an upstream whose associations change, with the long poll that
// tells of it. The cursor is the number of changes told.
type broker struct {
	fakeUpstream
	mu       sync.Mutex
	versions map[string]int64 // by association; absent: deleted
	log      []awsapi.AssociationChange
	wake     chan struct{}
	polls    []string // cursors
	refuse   error
	deaf     bool // polls hang, and nothing is told
}

func newBroker() *broker {
	b := &broker{versions: map[string]int64{"a-cart": 1}, wake: make(chan struct{})}
	b.answer = func(raw string, _ int) (*awsapi.PodSession, error) {
		_, account := subjectOf(raw)
		b.mu.Lock()
		defer b.mu.Unlock()
		version, found := b.versions["a-"+account]
		if !found {
			return nil, refuse(http.StatusNotFound, "ResourceNotFoundException")
		}
		session := given(raw, 6*time.Hour)
		session.AssociationID, session.Version = "a-"+account, version
		session.RoleARN = fmt.Sprintf("arn:aws:sts::%012d:assumed-role/x/y", version)
		return session, nil
	}
	return b
}

// set changes an association; version 0 deletes it.
func (b *broker) set(id string, version int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change := awsapi.AssociationChange{AssociationID: id, Version: version, Gone: version == 0}
	if b.versions[id] = version; version == 0 {
		delete(b.versions, id)
	}
	b.tell(change)
}

func (b *broker) tell(change awsapi.AssociationChange) {
	b.log = append(b.log, change)
	close(b.wake)
	b.wake = make(chan struct{})
}

func (b *broker) Changes(ctx context.Context, node, cursor string) ([]awsapi.AssociationChange, string, error) {
	if node != "n1" {
		return nil, "", errors.New("not this node")
	}
	hold := time.After(55 * time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.polls = append(b.polls, cursor)
	from := len(b.log)
	if cursor != "" {
		from, _ = strconv.Atoi(cursor)
	}
	for {
		if b.refuse != nil {
			return nil, "", b.refuse
		}
		if len(b.log) > from && !b.deaf {
			return b.log[from:], strconv.Itoa(len(b.log)), nil
		}
		wake := b.wake
		b.mu.Unlock()
		var err error
		ended := false
		select {
		case <-wake:
		case <-hold:
			ended = true
		case <-ctx.Done():
			err = ctx.Err()
		}
		b.mu.Lock()
		if err != nil || ended {
			return nil, strconv.Itoa(from), err
		}
	}
}

func withBroker(t *testing.T, b *broker, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b.wake = make(chan struct{}) // of this bubble
		r := newRig(t, b, func(c *agent.Config) { c.Changes = b })
		start(t, r)
		test(t, r)
	})
}

func roleOf(t *testing.T, r *rig, raw string) string {
	t.Helper()
	return strings.TrimLeft(answerOf(t, r.get(raw), http.StatusOK)["AccountId"], "0")
}

// TestAssociationChanges: the next answer after a change is of the new role, and
// a pod that does not ask is renewed too (spec podidentity row D19).
func TestAssociationChanges(t *testing.T) {
	b := newBroker()
	b.versions["a-other"] = 1
	withBroker(t, b, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		other := cart(time.Now())
		other.account, other.uid = "other", "u2"
		bystander := other.mint(t)
		if role := roleOf(t, r, raw); role != "1" {
			t.Fatalf("role %s", role)
		}
		roleOf(t, r, bystander)
		time.Sleep(10 * time.Minute)
		b.set("a-cart", 2)
		synctest.Wait()
		if role := roleOf(t, r, raw); role != "2" {
			t.Errorf("after the change the answer is of version %s", role)
		}
		// Nobody asks: five seconds later it is there all the same.
		b.set("a-cart", 3)
		time.Sleep(5 * time.Second)
		calls := b.count()
		if role := roleOf(t, r, raw); role != "3" || b.count() != calls {
			t.Errorf("version %s, %d calls of a request", role, b.count()-calls)
		}
		if calls != 4 {
			t.Errorf("%d calls, want one for each version and one for the other pod", calls)
		}
		// The same news again changes nothing.
		b.mu.Lock()
		b.tell(awsapi.AssociationChange{AssociationID: "a-cart", Version: 2})
		b.mu.Unlock()
		time.Sleep(5 * time.Second)
		if b.count() != calls {
			t.Error("old news made a call")
		}
	})
}

// TestAssociationEnds: a deleted or paused association gives nothing more within
// a moment, whatever is cached or under way (spec podidentity row D20).
func TestAssociationEnds(t *testing.T) {
	b := newBroker()
	withBroker(t, b, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		b.set("a-cart", 0)
		synctest.Wait()
		answerOf(t, r.get(raw), http.StatusNotFound)
		if r.metric(t, "rolecall_agent_cache_entries") != 0 || r.metric(
			t, "rolecall_agent_cache_evictions_total", "association",
		) != 1 {
			t.Error("the entry is still there")
		}
	})
}

// TestAssociationEndsMeanwhile: what the broker granted just before an
// association went, and answers just after, is not kept.
func TestAssociationEndsMeanwhile(t *testing.T) {
	b := newBroker()
	granting := b.answer
	withBroker(t, b, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		b.answer = func(raw string, call int) (*awsapi.PodSession, error) {
			session, err := granting(raw, call)
			time.Sleep(500 * time.Millisecond)
			return session, err
		}
		done := make(chan int, 1)
		go func() { done <- r.get(raw).Code }()
		time.Sleep(100 * time.Millisecond)
		b.set("a-cart", 0)
		if status := <-done; status != http.StatusOK {
			t.Errorf("the answer that was granted: %d", status)
		}
		answerOf(t, r.get(raw), http.StatusNotFound)
	})
}

// TestReplicaBehind: a replica of the broker that answers with the old version
// is asked again until it knows, and not in a loop.
func TestReplicaBehind(t *testing.T) {
	b := newBroker()
	withBroker(t, b, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		roleOf(t, r, raw)
		b.mu.Lock()
		b.tell(awsapi.AssociationChange{AssociationID: "a-cart", Version: 2}) // but versions say 1
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		if calls := b.count(); calls < 4 || calls > 7 {
			t.Errorf("%d calls in ten seconds", calls)
		}
		b.mu.Lock()
		b.versions["a-cart"] = 2
		b.mu.Unlock()
		time.Sleep(3 * time.Second)
		calls := b.count()
		if role := roleOf(t, r, raw); role != "2" {
			t.Errorf("version %s", role)
		}
		time.Sleep(time.Minute)
		if b.count() != calls {
			t.Error("it is still asked")
		}
	})
}

// TestPollUnavailable: without the poll sessions age as on EKS; the agent backs
// off, says so once, and hears of what it missed when the broker is back.
func TestPollUnavailable(t *testing.T) {
	b := newBroker()
	withBroker(t, b, func(t *testing.T, r *rig) {
		raw := cart(time.Now()).mint(t)
		roleOf(t, r, raw)
		time.Sleep(time.Minute)
		b.mu.Lock()
		b.refuse = errors.New("connection refused")
		close(b.wake)
		b.wake = make(chan struct{})
		before := len(b.polls)
		b.mu.Unlock()
		time.Sleep(30 * time.Minute)
		b.mu.Lock()
		if polls := len(b.polls) - before; polls < 15 || polls > 45 {
			t.Errorf("%d polls in half an hour", polls)
		}
		b.mu.Unlock()
		b.set("a-cart", 2)
		if role := roleOf(t, r, raw); role != "1" {
			t.Errorf("version %s without having heard", role)
		}
		b.mu.Lock()
		b.refuse = nil
		b.mu.Unlock()
		time.Sleep(2*time.Minute + time.Second)
		if role := roleOf(t, r, raw); role != "2" {
			t.Errorf("version %s after the broker is back", role)
		}
		if said := strings.Count(r.logs.String(), "not received"); said != 1 {
			t.Errorf("said %d times", said)
		}
	})
}

// TestForgottenCursor: a broker that does not know the cursor any more is asked
// without it.
func TestForgottenCursor(t *testing.T) {
	b := newBroker()
	withBroker(t, b, func(t *testing.T, r *rig) {
		b.set("a-x", 1)
		synctest.Wait()
		b.mu.Lock()
		b.refuse = refuse(http.StatusGone, "GoneException")
		close(b.wake)
		b.wake = make(chan struct{})
		b.mu.Unlock()
		synctest.Wait()
		b.mu.Lock()
		b.refuse = nil
		b.mu.Unlock()
		time.Sleep(3 * time.Second)
		b.mu.Lock()
		if last := b.polls[len(b.polls)-1]; last != "" {
			t.Errorf("asked with cursor %q", last)
		}
		b.mu.Unlock()
		raw := cart(time.Now()).mint(t)
		roleOf(t, r, raw)
		b.set("a-cart", 2)
		synctest.Wait()
		if role := roleOf(t, r, raw); role != "2" {
			t.Errorf("version %s", role)
		}
	})
}

// TestHastyBroker: a broker that answers at once, with nothing, is not asked in a
// loop.
func TestHastyBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var polls int
		r := newRig(t, &fakeUpstream{}, func(c *agent.Config) { c.Changes = hasty(func() { polls++ }) })
		start(t, r)
		time.Sleep(time.Minute)
		synctest.Wait() // one may be due at this moment
		if polls > 70 {
			t.Errorf("%d polls in a minute", polls)
		}
	})
}

type hasty func()

func (h hasty) Changes(context.Context, string, string) ([]awsapi.AssociationChange, string, error) {
	h()
	return nil, "0", nil
}
