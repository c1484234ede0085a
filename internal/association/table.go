package association

import (
	"hash/maphash"
	"iter"

	"github.com/benbjohnson/immutable"
)

// table is a map that does not change: with and without return another one, which
// shares with it all but the few nodes on the way to a key. What a change costs does not
// depend on how much there is. The zero value is empty.
type table[V any] struct{ entries *immutable.Map[string, V] }

// hasher is of this process, so that nobody can choose names whose hashes collide.
type hasher struct{ seed maphash.Seed }

// Hash returns a key's.
func (h hasher) Hash(key string) uint32 { return uint32(maphash.String(h.seed, key)) } //nolint:gosec // half is enough

// Equal compares keys.
func (h hasher) Equal(a, b string) bool { return a == b }

var hashes = hasher{maphash.MakeSeed()}

func (t table[V]) get(key string) (value V, found bool) {
	if t.entries == nil {
		return value, false
	}
	return t.entries.Get(key)
}

func (t table[V]) with(key string, value V) table[V] {
	if t.entries == nil {
		t.entries = immutable.NewMap[string, V](hashes)
	}
	return table[V]{t.entries.Set(key, value)}
}

func (t table[V]) without(key string) table[V] {
	if t.entries == nil {
		return t
	}
	return table[V]{t.entries.Delete(key)}
}

func (t table[V]) size() int {
	if t.entries == nil {
		return 0
	}
	return t.entries.Len()
}

// values are all values in no order.
func (t table[V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		if t.entries == nil {
			return
		}
		for all := t.entries.Iterator(); !all.Done(); {
			if _, value, _ := all.Next(); !yield(value) {
				return
			}
		}
	}
}
