package rotation_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/rotation"
)

// world is a cluster in which an operator does, in any order and at any pace,
// whatever a rotation's phase tells to do, and nothing else.
type world struct {
	t         *testing.T
	now       time.Time
	servers   []rotation.Server
	published []snapshot // newest last
	state     rotation.State
	keys      int
	tokens    []issued
}

type snapshot struct {
	from time.Time
	kids []string
}

type issued struct {
	kid     string
	expires time.Time
}

// FuzzWorld: whatever the order, every live token is accepted by every API
// server and by every reader, however old its cache.
func FuzzWorld(f *testing.F) {
	f.Add([]byte{2, 1, 1, 5, 2, 3, 3, 1, 4, 4, 1, 9, 9, 9, 1, 5, 5, 1, 2})
	f.Add([]byte("3the quick brown fox jumps over the lazy dog"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) < 2 || len(choices) > 4000 {
			return
		}
		w := newWorld(t, 1+int(choices[0])%3)
		for i, choice := range choices[1:] {
			w.act(choice, i)
			w.check()
		}
	})
}

// TestWorldEnds: an operator who does everything in turn completes rotation
// after rotation.
func TestWorldEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same choices every time
	for i := range 8000 {
		w.act(byte(random.UintN(256)), i)
		w.check()
	}
	if w.keys < 4 {
		t.Errorf("only %d keys were made; the rotation stands in %s", w.keys, w.state.Phase)
	}
}

func newWorld(t *testing.T, servers int) *world {
	w := &world{t: t, now: noon, state: rotation.New(noon), keys: 1}
	for i := range servers {
		w.servers = append(w.servers, server(strconv.Itoa(i), "K1", "K1"))
	}
	w.published = []snapshot{{noon.Add(-parameters.CacheFor), []string{"K1"}}}
	return w
}

func (w *world) facts() rotation.Facts {
	return rotation.Facts{
		Now: w.now, Servers: w.servers, Published: w.published[len(w.published)-1].kids,
		Stored: w.now.Unix()%3 != 0, Exchanges: int(w.now.Unix() % 5),
	}
}

func (w *world) act(choice byte, round int) {
	one := &w.servers[round%len(w.servers)]
	switch choice % 7 {
	case 0:
		if next, err := rotation.Start(w.state, w.facts(), "K"+strconv.Itoa(w.keys+1), false); err == nil {
			w.state = next
			w.keys++
		}
	case 1, 2:
		next, err := rotation.Advance(w.state, parameters, w.facts())
		if err != nil && !errors.Is(err, rotation.ErrUnsafe) {
			w.t.Fatal(err)
		}
		w.state = next
	case 3:
		w.published = append(w.published, snapshot{w.now, rotation.Wanted(w.state, w.facts())})
	case 4:
		w.roll(one)
	case 5:
		w.now = w.now.Add(time.Duration(choice/8) * time.Minute)
	case 6:
		if choice > 240 {
			if next, err := rotation.Abort(w.state, w.facts()); err == nil {
				w.state = next
			}
		}
	}
	w.now = w.now.Add(time.Second)
}

// roll restarts one API server as the phase says.
func (w *world) roll(one *rotation.Server) {
	switch w.state.Phase {
	case rotation.Verifying:
		one.Serves = []string{w.state.NewKID, w.state.OldKID}
	case rotation.Signing:
		one.Signs = w.state.NewKID
	case rotation.Retiring:
		one.Serves = []string{w.state.NewKID}
	case rotation.Stable: // undo what an aborted rotation has left
		one.Serves = []string{one.Signs}
	default:
	}
}

func (w *world) check() {
	w.t.Helper()
	for _, server := range w.servers {
		w.tokens = append(w.tokens, issued{server.Signs, w.now.Add(parameters.DrainFor)})
	}
	w.tokens = slices.DeleteFunc(w.tokens, func(token issued) bool { return token.expires.Before(w.now) })
	slices.SortFunc(w.tokens, func(a, b issued) int { return b.expires.Compare(a.expires) })
	// the youngest of each key
	w.tokens = slices.CompactFunc(w.tokens, func(a, b issued) bool { return a.kid == b.kid })
	for _, token := range w.tokens {
		for _, server := range w.servers {
			if !slices.Contains(server.Serves, token.kid) {
				w.t.Fatalf("in %s API server %s refuses a token of %s", w.state.Phase, server.Name, token.kid)
			}
		}
		for i, snapshot := range w.published {
			replaced := i+1 < len(w.published) && w.published[i+1].from.Before(w.now.Add(-parameters.CacheFor))
			if !replaced && !slices.Contains(snapshot.kids, token.kid) {
				w.t.Fatalf("in %s a reader with keys cached since %s refuses a token of %s", w.state.Phase,
					snapshot.from, token.kid)
			}
		}
	}
}
