package agent

import "container/list"

// lru is a bounded map that forgets what was used longest ago. It is not safe
// for concurrent use; whoever has one guards it.
type lru[K comparable, V any] struct {
	max   int
	order list.List // of *pair[K, V], the last used first
	items map[K]*list.Element
	// keep, if set, saves a value from being forgotten for now.
	keep func(V) bool
	// forgot, if set, is called with what had to make room.
	forgot func(K, V)
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{max: limit, items: map[K]*list.Element{}}
}

// get counts as a use.
func (l *lru[K, V]) get(key K) (V, bool) {
	element, found := l.items[key]
	if !found {
		var none V
		return none, false
	}
	l.order.MoveToFront(element)
	return valueOf[K, V](element).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	if element, found := l.items[key]; found {
		valueOf[K, V](element).value = value
		l.order.MoveToFront(element)
		return
	}
	l.items[key] = l.order.PushFront(&pair[K, V]{key, value})
	for element := l.order.Back(); element != l.order.Front() && len(l.items) > l.max; {
		previous := element.Prev()
		if oldest := valueOf[K, V](element); l.keep == nil || !l.keep(oldest.value) {
			l.delete(oldest.key)
			if l.forgot != nil {
				l.forgot(oldest.key, oldest.value)
			}
		}
		element = previous
	}
}

func (l *lru[K, V]) delete(key K) {
	if element, found := l.items[key]; found {
		l.order.Remove(element)
		delete(l.items, key)
	}
}

func (l *lru[K, V]) len() int { return len(l.items) }

// all calls yield with each value; it counts as no use. yield may delete the
// value it is called with.
func (l *lru[K, V]) all(yield func(K, V)) {
	for element := l.order.Front(); element != nil; {
		next := element.Next()
		one := valueOf[K, V](element)
		yield(one.key, one.value)
		element = next
	}
}

func valueOf[K comparable, V any](element *list.Element) *pair[K, V] {
	return element.Value.(*pair[K, V]) //nolint:forcetypeassert // nothing else is ever put in
}
