package limit

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// model is an LRU as somebody would write it who does not mind the cost.
type model struct {
	size   int
	order  []uint8 // the last used first
	values map[uint8]int
}

func (m *model) use(key uint8) {
	m.order = slices.Insert(slices.DeleteFunc(m.order, func(k uint8) bool { return k == key }), 0, key)
}

func (m *model) delete(key uint8) {
	m.order = slices.DeleteFunc(m.order, func(k uint8) bool { return k == key })
	delete(m.values, key)
}

// odd values must not make room.
func odd(value int) bool { return value%2 == 1 }

func (m *model) put(key uint8, value int, keep bool) {
	m.values[key] = value
	m.use(key)
	for i := len(m.order) - 1; i > 0 && len(m.order) > m.size; i-- {
		if oldest := m.order[i]; !keep || !odd(m.values[oldest]) {
			m.delete(oldest)
		}
	}
}

// FuzzLRU: whatever is done to it, it holds what the model holds, in the same
// order, and never more than its bound but for values that must stay.
func FuzzLRU(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, uint8(2), false)
	f.Add([]byte{0, 1, 0, 3, 0, 5, 1, 1, 2, 3, 0, 7, 0, 9, 3, 1}, uint8(3), true)
	f.Add([]byte{0, 1, 0, 2}, uint8(0), false)
	f.Fuzz(func(t *testing.T, steps []byte, size uint8, keep bool) {
		size %= 8
		m := &model{size: int(size), values: map[uint8]int{}}
		l := NewLRU[uint8, int](int(size))
		evicted := 0
		l.Evicted = func(uint8, int) { evicted++ }
		if keep {
			l.Keep = odd
		}
		puts, deletes := 0, 0
		for i := 0; i+1 < len(steps); i += 2 {
			key := steps[i+1] % 16
			want, has := m.values[key]
			switch steps[i] % 4 {
			case 0:
				if !has {
					puts++
				}
				m.put(key, i/2, keep)
				l.Put(key, i/2)
			case 1:
				if has {
					m.use(key)
				}
				if got, found := l.Get(key); got != want || found != has {
					t.Fatalf("get %d: %d %t, want %d %t", key, got, found, want, has)
				}
			case 2:
				if got, found := l.Peek(key); got != want || found != has {
					t.Fatalf("peek %d: %d %t, want %d %t", key, got, found, want, has)
				}
			case 3:
				if has {
					deletes++
				}
				m.delete(key)
				l.Delete(key)
			}
			var order []uint8
			staying := 0
			for key, value := range l.All() {
				order = append(order, key)
				if keep && odd(value) {
					staying++
				}
			}
			if !slices.Equal(order, m.order) || l.Len() != len(m.order) {
				t.Fatalf("step %d: holds %v, want %v", i/2, order, m.order)
			}
			if l.Len() > max(1, int(size))+staying {
				t.Fatalf("step %d: %d values in a map of %d", i/2, l.Len(), size)
			}
			if oldest, _, found := l.Oldest(); found != (len(m.order) > 0) ||
				found && oldest != m.order[len(m.order)-1] {
				t.Fatalf("step %d: oldest %d %t of %v", i/2, oldest, found, m.order)
			}
		}
		if puts-deletes-evicted != l.Len() {
			t.Fatalf("%d put, %d deleted, %d evicted, %d there", puts, deletes, evicted, l.Len())
		}
	})
}

// TestLRU: the bound holds, what is kept stays, order is by use.
func TestLRU(t *testing.T) {
	t.Parallel()
	l := NewLRU[int, string](2)
	var forgotten []int
	l.Evicted = func(key int, _ string) { forgotten = append(forgotten, key) }
	l.Keep = func(value string) bool { return value == "kept" }
	l.Put(1, "kept")
	l.Put(2, "")
	l.Put(3, "")
	l.Get(3)
	l.Put(4, "")
	if !slices.Equal(forgotten, []int{2, 3}) || l.Len() != 2 {
		t.Errorf("forgotten %v, %d left", forgotten, l.Len())
	}
	if _, found := l.Get(1); !found {
		t.Error("what was to be kept is gone")
	}
}

// TestLRUDeletesWhileGoingThrough: what All is at may be deleted.
func TestLRUDeletesWhileGoingThrough(t *testing.T) {
	t.Parallel()
	l := NewLRU[int, int](10)
	for i := range 10 {
		l.Put(i, i)
	}
	seen := 0
	for key := range l.All() {
		seen++
		if key%2 == 0 {
			l.Delete(key)
		}
	}
	if seen != 10 || l.Len() != 5 {
		t.Errorf("saw %d, left %d; want 10 and 5", seen, l.Len())
	}
	for range l.All() {
		break // stopping early is allowed
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := NewCache[string, int](2)
	c.Put("a", 1, start.Add(time.Second))
	for _, row := range []struct {
		name  string
		after time.Duration
		found bool
	}{
		{"at once", 0, true},
		{"just before its end", time.Second - 1, true},
		{"at its end", time.Second, false},
		{"at once, after it was seen to have ended", 0, false},
	} {
		if got, found := c.Get("a", start.Add(row.after)); found != row.found || found != (got == 1) {
			t.Errorf("%s: %d %t, want %t", row.name, got, found, row.found)
		}
	}
	for _, key := range []string{"b", "c", "d"} {
		c.Put(key, 1, start.Add(time.Hour))
	}
	if _, found := c.Get("b", start); found {
		t.Error("the value used longest ago did not make room")
	}
	if _, found := c.Get("d", start); !found || c.kept.Len() != 2 {
		t.Errorf("found the newest: %t, of %d", found, c.kept.Len())
	}
	var none *Cache[string, int]
	none.Put("a", 1, start.Add(time.Hour))
	if _, found := none.Get("a", start); found {
		t.Error("a nil cache keeps something")
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	r := NewRates[string](1, 3, 10)
	allowed := func(name string, now time.Time) (n int) {
		for range 10 {
			if r.Allow(name, now) {
				n++
			}
		}
		return n
	}
	if n := allowed("a", start); n != 3 {
		t.Errorf("%d at once, want 3", n)
	}
	if r.Has("a", start) || !r.Has("b", start) {
		t.Error("Has does not tell who has used theirs up")
	}
	if n := allowed("b", start); n != 3 {
		t.Errorf("%d at once for another name, want 3", n)
	}
	if n := allowed("a", start.Add(2*time.Second)); n != 2 {
		t.Errorf("%d after two seconds, want 2", n)
	}
	r.Drain("c", start)
	if r.Has("c", start) || !r.Has("c", start.Add(time.Second)) {
		t.Error("a drained name has something left, or gets nothing back")
	}
	if !r.Full("nobody", start) || r.Full("c", start) || r.Full("c", start.Add(3*time.Second-1)) ||
		!r.Full("c", start.Add(3*time.Second)) {
		t.Error("Full does not tell who owes something")
	}
}

// TestRatesForgetNoDebt: a name cannot get its burst back by having others push it
// out; a new name gets in as soon as somebody no longer owes anything.
func TestRatesForgetNoDebt(t *testing.T) {
	t.Parallel()
	r := NewRates[int](1, 2, 3)
	for name := range 3 {
		r.Drain(name, start)
	}
	for name := range 100 {
		if r.Allow(name, start) {
			t.Fatalf("name %d was allowed one more", name)
		}
	}
	if r.Has(0, start) || !r.Has(50, start) {
		t.Error("who is remembered has changed")
	}
	if later := start.Add(2 * time.Second); !r.Allow(50, later) || r.known.Len() != 3 {
		t.Errorf("no room for a new name once another owes nothing; %d names", r.known.Len())
	}
}

// TestRatesHoldToTheirBound: over any run, no name gets more than burst and what
// has come back since, no matter who else asks, and no more names are remembered
// than may be.
func TestRatesHoldToTheirBound(t *testing.T) {
	t.Parallel()
	const perSecond, burst, names = 2, 4, 8
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's choices
		r := NewRates[int](perSecond, burst, names)
		now, got := start, map[int]int{}
		for range 2000 {
			now = now.Add(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
			name := random.IntN(24)
			if r.Allow(name, now) {
				got[name]++
			}
			if r.known.Len() > names {
				t.Fatalf("seed %d: %d names", seed, r.known.Len())
			}
		}
		most := burst + int(perSecond*now.Sub(start).Seconds()) + 1
		for name, n := range got {
			if n > most {
				t.Errorf("seed %d: name %d was allowed %d, want at most %d", seed, name, n, most)
			}
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	s := NewSlots(2)
	for place := range 2 {
		if !s.Take() {
			t.Fatalf("place %d of two is not free", place+1)
		}
	}
	if s.Take() {
		t.Fatal("there is a third place")
	}
	s.Free()
	if !s.Take() || s.Take() {
		t.Error("want the place that was given back, and no more")
	}
}

// BenchmarkFull costs the same however many names there are: nothing is
// searched, not even when nobody may be forgotten.
func BenchmarkFull(b *testing.B) {
	for _, names := range []int{100, 10_000, 1_000_000} {
		b.Run(strconv.Itoa(names), func(b *testing.B) {
			r := NewRates[int](1, 2, names)
			for name := range names {
				r.Drain(name, start)
			}
			b.ReportAllocs()
			next := names
			for b.Loop() {
				next++
				r.Allow(next, start)
			}
		})
	}
}
