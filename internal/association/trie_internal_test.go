package association

import "testing"

// TestTrieCollisions: keys whose hashes are the same, wholly or in their first bits, are
// kept apart.
func TestTrieCollisions(t *testing.T) {
	t.Parallel()
	hashes := map[string]uint64{"a": 7, "b": 7, "c": 7 | 1<<5, "d": 7 | 1<<63, "e": 8}
	root := &node[string, string]{}
	for key, hash := range hashes {
		root = root.with(child[string, string]{hash: hash, pairs: []pair[string, string]{{key, key}}}, 0)
	}
	root = root.with(child[string, string]{hash: 7, pairs: []pair[string, string]{{"a", "again"}}}, 0)
	held := func(n *node[string, string]) map[string]bool {
		all := map[string]bool{}
		n.values(func(value string) bool { all[value] = true; return true })
		return all
	}
	if all := held(root); len(all) != 5 || !all["again"] || all["a"] {
		t.Errorf("holds %v", all)
	}
	left := len(hashes)
	for key, hash := range hashes {
		root = root.without(key, hash, 0)
		left--
		if got := len(held(root)); got != left {
			t.Errorf("%d left without %s, want %d", got, key, left)
		}
	}
	if root != nil {
		t.Error("nodes are left")
	}
}
