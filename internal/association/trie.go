package association

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// trie is a map that does not change: with and without return another one, which
// shares with it all but the few nodes on the way to a key. What a change costs does not
// depend on how much there is. The zero value is empty.
type trie[K comparable, V any] struct {
	root *node[K, V]
	size int
}

// node has a child for each five bits of hash that are used.
type node[K comparable, V any] struct {
	used     uint32
	children []child[K, V] // in the order of used's bits
}

// child is either a node or pairs whose hashes are the same.
type child[K comparable, V any] struct {
	node  *node[K, V]
	hash  uint64
	pairs []pair[K, V]
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

const step = 5

// seed is of this process, so that nobody can choose names whose hashes collide.
var seed = maphash.MakeSeed()

// place is where in a node a hash belongs.
func (n *node[K, V]) place(hash uint64, level int) (bit uint32, at int) {
	bit = 1 << (hash >> (level * step) & (1<<step - 1))
	return bit, bits.OnesCount32(n.used & (bit - 1))
}

func (t trie[K, V]) get(key K) (value V, found bool) {
	hash := maphash.Comparable(seed, key)
	n := t.root
	for level := 0; n != nil; level++ {
		bit, at := n.place(hash, level)
		if n.used&bit == 0 {
			break
		}
		if n.children[at].node == nil {
			for _, one := range n.children[at].pairs {
				if one.key == key {
					return one.value, true
				}
			}
			break
		}
		n = n.children[at].node
	}
	return value, false
}

func (t trie[K, V]) with(key K, value V) trie[K, V] {
	_, found := t.get(key)
	root := t.root
	if root == nil {
		root = &node[K, V]{}
	}
	t.root = root.with(child[K, V]{hash: maphash.Comparable(seed, key), pairs: []pair[K, V]{{key, value}}}, 0)
	if !found {
		t.size++
	}
	return t
}

// with adds a child of one pair.
func (n *node[K, V]) with(added child[K, V], level int) *node[K, V] {
	bit, at := n.place(added.hash, level)
	if n.used&bit == 0 {
		return &node[K, V]{n.used | bit, slices.Insert(slices.Clone(n.children), at, added)}
	}
	next := &node[K, V]{n.used, slices.Clone(n.children)}
	switch there := n.children[at]; {
	case there.node != nil:
		next.children[at].node = there.node.with(added, level+1)
	case there.hash == added.hash:
		next.children[at].pairs = append(without(there.pairs, added.pairs[0].key), added.pairs[0])
	default:
		deeper := (&node[K, V]{}).with(there, level+1)
		next.children[at] = child[K, V]{node: deeper.with(added, level+1)}
	}
	return next
}

func (t trie[K, V]) without(key K) trie[K, V] {
	if _, found := t.get(key); !found {
		return t
	}
	return trie[K, V]{t.root.without(key, maphash.Comparable(seed, key), 0), t.size - 1}
}

// without takes a key out that is there; nil is a node without children.
func (n *node[K, V]) without(key K, hash uint64, level int) *node[K, V] {
	bit, at := n.place(hash, level)
	left := n.children[at]
	if left.node != nil {
		left.node = left.node.without(key, hash, level+1)
	} else {
		left.pairs = without(left.pairs, key)
	}
	if left.node == nil && len(left.pairs) == 0 {
		if n.used == bit {
			return nil
		}
		return &node[K, V]{n.used &^ bit, slices.Delete(slices.Clone(n.children), at, at+1)}
	}
	next := &node[K, V]{n.used, slices.Clone(n.children)}
	next.children[at] = left
	return next
}

func without[K comparable, V any](pairs []pair[K, V], key K) []pair[K, V] {
	return slices.DeleteFunc(slices.Clone(pairs), func(p pair[K, V]) bool { return p.key == key })
}

// values are all values in no order.
func (t trie[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) { t.root.values(yield) }
}

func (n *node[K, V]) values(yield func(V) bool) bool {
	if n == nil {
		return true
	}
	for _, one := range n.children {
		if !one.node.values(yield) {
			return false
		}
		for _, p := range one.pairs {
			if !yield(p.value) {
				return false
			}
		}
	}
	return true
}
