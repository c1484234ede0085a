package limit

import (
	"container/list"
	"iter"
)

// LRU is a map of bounded size. When it is full, what was used longest ago goes.
//
// It is not safe for concurrent use: its owner guards it, since most of the
// time more than one call is made under the lock. See Cache for one that guards
// itself.
type LRU[K comparable, V any] struct {
	// Keep, if set, says which values must not make room. While all of them are
	// such, the map is larger than its bound.
	Keep func(V) bool
	// Evicted, if set, is called with what made room.
	Evicted func(K, V)

	size  int
	order list.List // of *pair[K, V], the last used first
	items map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

// NewLRU makes a map of at most size values.
func NewLRU[K comparable, V any](size int) *LRU[K, V] {
	return &LRU[K, V]{size: size, items: map[K]*list.Element{}}
}

// Size is the bound.
func (l *LRU[K, V]) Size() int { return l.size }

// Len is how many values there are.
func (l *LRU[K, V]) Len() int { return len(l.items) }

// Get returns the value of a key; it counts as a use.
func (l *LRU[K, V]) Get(key K) (V, bool) {
	element, found := l.items[key]
	if !found {
		var none V
		return none, false
	}
	l.order.MoveToFront(element)
	return pairOf[K, V](element).value, true
}

// Peek is Get that does not count as a use.
func (l *LRU[K, V]) Peek(key K) (V, bool) {
	element, found := l.items[key]
	if !found {
		var none V
		return none, false
	}
	return pairOf[K, V](element).value, true
}

// Oldest returns what was used longest ago; found is false if there is nothing.
func (l *LRU[K, V]) Oldest() (key K, value V, found bool) {
	element := l.order.Back()
	if element == nil {
		return key, value, false
	}
	one := pairOf[K, V](element)
	return one.key, one.value, true
}

// Put sets a value; it counts as a use. It never evicts what it puts.
func (l *LRU[K, V]) Put(key K, value V) {
	if element, found := l.items[key]; found {
		pairOf[K, V](element).value = value
		l.order.MoveToFront(element)
	} else {
		l.items[key] = l.order.PushFront(&pair[K, V]{key, value})
	}
	for element := l.order.Back(); element != l.order.Front() && len(l.items) > l.size; {
		previous := element.Prev()
		if oldest := pairOf[K, V](element); l.Keep == nil || !l.Keep(oldest.value) {
			l.Delete(oldest.key)
			if l.Evicted != nil {
				l.Evicted(oldest.key, oldest.value)
			}
		}
		element = previous
	}
}

// Delete removes a value; that is not an eviction.
func (l *LRU[K, V]) Delete(key K) {
	if element, found := l.items[key]; found {
		l.order.Remove(element)
		delete(l.items, key)
	}
}

// All goes through the values, the last used first; that does not count as a
// use. The value it is at may be deleted meanwhile.
func (l *LRU[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for element := l.order.Front(); element != nil; {
			next := element.Next()
			if one := pairOf[K, V](element); !yield(one.key, one.value) {
				return
			}
			element = next
		}
	}
}

func pairOf[K comparable, V any](element *list.Element) *pair[K, V] {
	return element.Value.(*pair[K, V]) //nolint:forcetypeassert // nothing else is ever put in
}
