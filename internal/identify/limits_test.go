package identify_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/identify"
)

// limited is a bubble with limits of its own.
func limited(t *testing.T, change func(*identify.Limits), test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		limits := identify.DefaultLimits()
		limits.AskBurst = 1000
		change(&limits)
		config := w.Config
		config.Limits, config.Policy.Regions = &limits, []string{"eu-west-1", "eu-west-2"}
		w.Identifier = identify.New(config)
		test(t, w)
	})
}

// TestStaleWhileThrottled: who was known a moment ago is known while STS cannot be asked
// because it is asked too much, until the token ends; a no, or a STS that is away, is
// not made a yes by what was said before.
func TestStaleWhileThrottled(t *testing.T) {
	for _, row := range []struct {
		name  string
		err   error
		stale bool
		after time.Duration
		want  identify.Result
		yes   bool
	}{
		{"throttled", fault.New(fault.Throttled, "slow down"), true, 14 * time.Minute, identify.Stale, true},
		{"throttled, the token has ended", fault.New(fault.Throttled, "slow"), true, 16 * time.Minute, identify.Malformed, false},
		{
			"throttled, but stale ones do not count", fault.New(fault.Throttled, "slow"), false, 14 * time.Minute,
			identify.Throttled, false,
		},
		{"denied", fault.New(fault.Denied, "no"), true, 10 * time.Minute, identify.Refused, false},
		{"away", fault.New(fault.Unavailable, "away"), true, 10 * time.Minute, identify.Unavailable, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			limited(t, func(l *identify.Limits) { l.Stale = row.stale }, func(t *testing.T, w *world) {
				token := signed(t, "AKIA1", 1, time.Now())
				if _, err := w.Identify(t.Context(), token, ""); err != nil {
					t.Fatal(err)
				}
				time.Sleep(row.after)
				w.err = row.err
				who, err := w.Identify(t.Context(), token, "")
				if w.last() != row.want || (who != nil) != row.yes || (err == nil) != row.yes {
					t.Errorf("%v %v %s", who, err, w.last())
				}
				// After a no, throttling does not bring the yes back.
				w.err = fault.New(fault.Throttled, "slow down")
				time.Sleep(time.Second)
				if who, _ := w.Identify(t.Context(), token, ""); row.want == identify.Refused && who != nil {
					t.Error("STS said no, and the token counts again")
				}
			})
		})
	}
}

// TestLimitsMakeNobodyStale: questions that are used up by tokens which anybody can make do
// not let what STS said before count for longer.
func TestLimitsMakeNobodyStale(t *testing.T) {
	limited(t, func(l *identify.Limits) { l.Stale, l.AskRate, l.AskBurst = true, 1, 3 }, func(t *testing.T, w *world) {
		token := signed(t, "AKIA1", 1, time.Now())
		if _, err := w.Identify(t.Context(), token, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		w.err = fault.New(fault.Denied, "the key was deleted")
		for n := range 5 {
			_, _ = w.Identify(t.Context(), forged(t, token, n), "")
		}
		if who, err := w.Identify(t.Context(), token, ""); who != nil || w.last() != identify.Limited {
			t.Errorf("%v, %v, %s", who, err, w.last())
		}
	})
}

// TestHoldersHaveTheirOwnShare: who knows the access key of temporary credentials, and not
// their session token, does not use up what their holder may ask.
func TestHoldersHaveTheirOwnShare(t *testing.T) {
	limited(t, func(l *identify.Limits) { l.AskRate, l.AskBurst = 1, 3 }, func(t *testing.T, w *world) {
		w.err = fault.New(fault.Denied, "not the signature")
		for n := range 5 {
			_, _ = w.Identify(t.Context(), forged(t, signed(t, "ASIA1", 1, time.Now()), n), "")
		}
		if w.last() != identify.Limited {
			t.Fatalf("five questions: %s", w.last())
		}
		w.err = nil
		if who, err := w.Identify(t.Context(), withSession(t, signed(t, "ASIA1", 1, time.Now()), "its-own"), ""); who == nil {
			t.Errorf("the holder: %v", err)
		}
	})
}

// withSession is a token of temporary credentials.
func withSession(t *testing.T, token credential.Secret, session string) credential.Secret {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), callerid.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	return callerid.Encode(string(text) + "&X-Amz-Security-Token=" + session)
}

// TestNoIsKeptAsLongAsSaid, and what says nothing about the token is not kept if it is
// not to be.
func TestNoIsKeptAsLongAsSaid(t *testing.T) {
	limited(t, func(l *identify.Limits) { l.BadFor, l.AgainFor = 30*time.Second, 0 }, func(t *testing.T, w *world) {
		bad, away := signed(t, "AKIA1", 1, time.Now()), signed(t, "AKIA1", 2, time.Now())
		w.err = fault.New(fault.Denied, "no")
		_, _ = w.Identify(t.Context(), bad, "")
		w.err = fault.New(fault.Unavailable, "away")
		_, _ = w.Identify(t.Context(), away, "")
		w.err = nil
		time.Sleep(30*time.Second - 1)
		if _, err := w.Identify(t.Context(), bad, ""); err == nil || w.count() != 2 {
			t.Errorf("before half a minute: %v, %d questions", err, w.count())
		}
		if _, err := w.Identify(t.Context(), away, ""); err != nil || w.count() != 3 {
			t.Errorf("when STS is back: %v, %d questions", err, w.count())
		}
		time.Sleep(time.Nanosecond)
		if _, err := w.Identify(t.Context(), bad, ""); err != nil || w.count() != 4 {
			t.Errorf("after half a minute: %v, %d questions", err, w.count())
		}
	})
}

// atRegion makes a token for another region's STS.
func (w *world) byRegion(answers map[string]error, release chan struct{}) {
	config := w.Config
	config.Ask = func(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
		w.sts.mu.Lock()
		w.asked = append(w.asked, p.Region)
		err := answers[p.Region]
		w.sts.mu.Unlock()
		if release != nil && p.Region == "eu-west-2" {
			select {
			case <-release:
			case <-ctx.Done():
				return nil, p.Unreachable(ctx.Err())
			}
		}
		if err != nil {
			return nil, err
		}
		return &callerid.Identity{ARN: "arn:aws:iam::111122223333:user/ann"}, nil
	}
	w.Identifier = identify.New(config)
}

// TestOneRegionHoldsUpNobodyElse: while a region's STS throttles, it is asked one question
// at a time, and others as ever; and it is asked freely once it answers.
func TestOneRegionHoldsUpNobodyElse(t *testing.T) {
	limited(t, func(l *identify.Limits) { l.AgainFor = 0 }, func(t *testing.T, w *world) {
		answers := map[string]error{"eu-west-2": fault.New(fault.Throttled, "slow down")}
		release := make(chan struct{}, 1000)
		w.byRegion(answers, release)
		release <- struct{}{}
		_, _ = w.Identify(t.Context(), inRegion(t, "eu-west-2", 0), "")
		begun := make(chan error, 100)
		for n := range 50 {
			token := inRegion(t, "eu-west-2", 1+n)
			go func() { _, err := w.Identify(context.WithoutCancel(t.Context()), token, ""); begun <- err }()
		}
		synctest.Wait()
		if asked := w.count(); asked != 2 || len(begun) != 49 {
			t.Errorf("%d questions, %d answered; want the first and one probe, and all others told at once", asked, len(begun))
		}
		for n := range 50 {
			if _, err := w.Identify(t.Context(), inRegion(t, "eu-west-1", n), ""); err != nil {
				t.Fatalf("the other region: %v", err)
			}
		}
		w.sts.mu.Lock()
		answers["eu-west-2"] = nil
		w.sts.mu.Unlock()
		release <- struct{}{}
		synctest.Wait()
		// It throttled when the probe was asked; the next one is answered, and then all are.
		for range 60 {
			release <- struct{}{}
		}
		if _, err := w.Identify(t.Context(), inRegion(t, "eu-west-2", 99), ""); err != nil {
			t.Errorf("once it answers: %v", err)
		}
		done := make(chan error, 50)
		for n := range 50 {
			token := inRegion(t, "eu-west-2", 100+n)
			go func() { _, err := w.Identify(context.WithoutCancel(t.Context()), token, ""); done <- err }()
		}
		for range 50 {
			if err := <-done; err != nil {
				t.Errorf("after it recovered: %v", err)
			}
		}
	})
}

// TestQueue: who finds all places taken waits if there is room to, for as long as they
// have, and is told what there was to wait for.
func TestQueue(t *testing.T) {
	limited(t, func(l *identify.Limits) { l.Asking, l.Waiting = 2, 3 }, func(t *testing.T, w *world) {
		w.release = make(chan struct{})
		results := make(chan error, 10)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		for n := range 6 {
			token := signed(t, fmt.Sprint("AKIA", n), n, time.Now())
			go func() { _, err := w.Identify(ctx, token, ""); results <- err }()
			synctest.Wait()
		}
		if w.Waiting() != 3 || w.count() != 2 || len(results) != 1 {
			t.Fatalf("%d wait, %d are asked about, %d are told; want 3, 2, 1", w.Waiting(), w.count(), len(results))
		}
		if err := <-results; err == nil || w.last() != identify.Limited {
			t.Errorf("the sixth: %v %s", err, w.last())
		}
		close(w.release)
		for range 5 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if w.Waiting() != 0 {
			t.Errorf("%d still wait", w.Waiting())
		}
	})
}
