package patience_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/patience"
)

var (
	errAway   = errors.New("away")
	errDenied = errors.New("denied")
)

// service is asked: what it answers, and after how long, depends on the number of the call.
type service struct {
	answer func(call int) (time.Duration, error)

	mu                   sync.Mutex
	calls, running, most int
}

func (s *service) try(ctx context.Context) (int, error) {
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.running--; s.mu.Unlock() }()
	takes, err := s.answer(call)
	select {
	case <-time.After(takes):
		return call, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func again(err error, _ int) (time.Duration, bool) { return 0, !errors.Is(err, errDenied) }

func ask(ctx context.Context, p *patience.Patience, s *service, turn func(context.Context, bool) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience.Most)
	defer cancel()
	_, err := patience.Ask(ctx, p, patience.Call[int]{
		Turn: turn, Try: s.try, Again: again, Attempts: 3, Now: time.Now,
	})
	return err
}

// TestSlowServiceIsWaitedFor: there is an answer as soon as the service gives one,
// however slow, up to the end of the time that there is.
func TestSlowServiceIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		takes       time.Duration
		first, then int // calls made for the first answer, and for the next one
		fails       bool
	}{
		{takes: 10 * time.Millisecond, first: 1, then: 1},
		{takes: 1900 * time.Millisecond, first: 1, then: 1},
		{takes: 2 * time.Second, first: 1, then: 1},
		{takes: 2100 * time.Millisecond, first: 2, then: 1},
		{takes: 5 * time.Second, first: 2, then: 1},
		{takes: 14 * time.Second, first: 3, then: 1},
		{takes: 16 * time.Second, first: 3, then: 2, fails: true},
	} {
		t.Run(row.takes.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &service{answer: func(int) (time.Duration, error) { return row.takes, nil }}
				var p patience.Patience
				for _, calls := range []int{row.first, row.then} {
					before, began := s.calls, time.Now()
					err := ask(t.Context(), &p, s, nil)
					took := time.Since(began)
					synctest.Wait()
					if (err != nil) != row.fails || !row.fails && took != row.takes || took > patience.Most {
						t.Errorf("%v after %s", err, took)
					}
					// At 2 s answer and end of patience are one moment.
					if made := s.calls - before; made > calls && row.takes != patience.Least || s.running != 0 {
						t.Errorf("%d calls, want %d; %d still run", made, calls, s.running)
					}
				}
			})
		})
	}
}

// TestStormOfSlowCalls: that the service has become slow is learnt from the first calls;
// the others do not double its load.
func TestStormOfSlowCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: func(int) (time.Duration, error) { return 5 * time.Second, nil }}
		var p patience.Patience
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if err := ask(t.Context(), &p, s, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if s.calls > 510 {
			t.Errorf("%d calls for 500 answers", s.calls)
		}
	})
}

// TestLostCall: one call that is never answered costs two seconds, also the tenth time,
// as it says nothing about the others.
func TestLostCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: func(call int) (time.Duration, error) {
			if call%2 == 1 {
				return time.Hour, nil
			}
			return 100 * time.Millisecond, nil
		}}
		var p patience.Patience
		for range 10 {
			began := time.Now()
			if err := ask(t.Context(), &p, s, nil); err != nil || time.Since(began) != 2100*time.Millisecond {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		}
	})
}

// TestErrors: which errors decide, with and without another call that runs.
func TestErrors(t *testing.T) {
	t.Parallel()
	type said struct {
		takes time.Duration
		err   error
	}
	for _, row := range []struct {
		name  string
		says  []said
		want  error
		calls int
		after time.Duration
	}{
		{"final", []said{{0, errDenied}}, errDenied, 1, 0},
		{"away for once", []said{{0, errAway}, {time.Second, nil}}, nil, 2, time.Second},
		{"always away", []said{{0, errAway}, {0, errAway}, {0, errAway}, {0, nil}}, errAway, 3, 0},
		{
			"away late, beside an answer",
			[]said{{3 * time.Second, errAway}, {4 * time.Second, nil}},
			nil,
			2,
			6 * time.Second,
		},
		{
			"refused late, beside another call",
			[]said{{3 * time.Second, errDenied}, {time.Hour, nil}},
			errDenied, 2, 3 * time.Second,
		},
		{
			"the second is away, the first answers",
			[]said{{5 * time.Second, nil}, {0, errAway}},
			nil, 2, 5 * time.Second,
		},
		{
			"away, and then nobody answers",
			[]said{{0, errAway}, {time.Hour, nil}, {time.Hour, nil}},
			errAway, 3, patience.Most,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &service{answer: func(call int) (time.Duration, error) {
					return row.says[call-1].takes, row.says[call-1].err
				}}
				began := time.Now()
				err := ask(t.Context(), &patience.Patience{}, s, nil)
				if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) || s.calls != row.calls ||
					time.Since(began) != row.after {
					t.Errorf("%v after %s and %d calls", err, time.Since(began), s.calls)
				}
			})
		})
	}
}

// TestTurns: without a turn there is no call, but beside one that runs this is no error.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: func(int) (time.Duration, error) { return 5 * time.Second, nil }}
		var asked atomic.Int32
		none := func(_ context.Context, beside bool) error {
			asked.Add(1)
			if beside {
				return errAway
			}
			return nil
		}
		began := time.Now()
		if err := ask(t.Context(), &patience.Patience{}, s, none); err != nil || s.calls != 1 ||
			time.Since(began) != 5*time.Second || asked.Load() < 2 {
			t.Errorf("%v after %s, %d calls, %d turns", err, time.Since(began), s.calls, asked.Load())
		}
		never := func(context.Context, bool) error { return errAway }
		if err := ask(t.Context(), &patience.Patience{}, s, never); !errors.Is(err, errAway) || s.calls != 1 {
			t.Errorf("%v, %d calls", err, s.calls)
		}
		// The call fails while another one may not be made beside it.
		s = &service{answer: func(call int) (time.Duration, error) {
			if call == 1 {
				return 3 * time.Second, errAway
			}
			return 0, nil
		}}
		began = time.Now()
		late := func(_ context.Context, beside bool) error {
			if beside {
				time.Sleep(2 * time.Second)
				return errAway
			}
			return nil
		}
		if err := ask(t.Context(), &patience.Patience{}, s, late); err != nil ||
			time.Since(began) != 4*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// TestLimit: how long a call is alone follows from what the last answers took.
func TestLimit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		took []time.Duration
		want time.Duration
	}{
		{nil, 2 * time.Second},
		{[]time.Duration{50 * time.Millisecond}, 2 * time.Second},
		{[]time.Duration{time.Second}, 3 * time.Second},
		{[]time.Duration{4 * time.Second, time.Second}, 12 * time.Second},
		{[]time.Duration{7 * time.Second}, 15 * time.Second},
		{append(make([]time.Duration, 199), 7*time.Second), 2 * time.Second}, // one of two hundred
		{append([]time.Duration{7 * time.Second}, make([]time.Duration, 200)...), 2 * time.Second},
	} {
		t.Run(fmt.Sprint(len(row.took), row.want), func(t *testing.T) {
			t.Parallel()
			var p patience.Patience
			for _, one := range row.took {
				p.Took(now, one)
			}
			if got := p.Limit(now); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			if got := p.Limit(now.Add(5 * time.Minute)); got != patience.Least {
				t.Errorf("five minutes later %s", got)
			}
		})
	}
}
