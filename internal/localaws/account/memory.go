package account

import (
	"slices"
	"sync"
)

// NewMemory returns a store that forgets when the process ends.
func NewMemory() Store { return &memory{kinds: map[string]*sortedMap{}} }

type memory struct {
	mu    sync.RWMutex
	kinds map[string]*sortedMap
}

// sortedMap keeps its keys in order, so that reading on from a key costs what is
// read and not what is there.
type sortedMap struct {
	keys   []string
	values map[string][]byte
}

func (m *memory) View(f func(Reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(&memoryTx{kinds: m.kinds})
}

// Update writes in place and notes what was there: copying all that is kept for
// each write would make filling the store quadratic.
func (m *memory) Update(f func(Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{kinds: m.kinds, writes: true}
	kept := false
	defer func() {
		if !kept { // f failed or panicked
			tx.undo()
		}
	}()
	err := f(tx)
	kept = err == nil
	return err
}

func (m *memory) Close() error { return nil }

type memoryTx struct {
	kinds  map[string]*sortedMap
	writes bool
	// before is what each write replaced, oldest first.
	before []replaced
}

// replaced is a value that was replaced; nil if there was none.
type replaced struct {
	kind, key string
	value     []byte
}

func (t *memoryTx) undo() {
	for _, one := range slices.Backward(t.before) {
		t.set(one.kind, one.key, one.value)
	}
}

func (t *memoryTx) Get(kind, key string) []byte {
	if table := t.kinds[kind]; table != nil {
		return table.values[key]
	}
	return nil
}

func (t *memoryTx) Each(kind string, f func(string, []byte) error) error {
	return t.From(kind, "", f)
}

func (t *memoryTx) From(kind, start string, f func(string, []byte) error) error {
	table := t.kinds[kind]
	if table == nil {
		return nil
	}
	first, _ := slices.BinarySearch(table.keys, start)
	keys := table.keys[first:]
	if t.writes { // f may, too
		keys = slices.Clone(keys)
	}
	for _, one := range keys {
		if err := f(one, table.values[one]); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) Count(kind string) int {
	if table := t.kinds[kind]; table != nil {
		return len(table.keys)
	}
	return 0
}

func (t *memoryTx) Put(kind, key string, value []byte) error {
	t.before = append(t.before, replaced{kind, key, t.Get(kind, key)})
	t.set(kind, key, value)
	return nil
}

func (t *memoryTx) Delete(kind, key string) error {
	t.before = append(t.before, replaced{kind, key, t.Get(kind, key)})
	t.set(kind, key, nil)
	return nil
}

// set puts a value, or removes the key if it is nil.
func (t *memoryTx) set(kind, key string, value []byte) {
	table := t.kinds[kind]
	if table == nil {
		table = &sortedMap{values: map[string][]byte{}}
		t.kinds[kind] = table
	}
	at, found := slices.BinarySearch(table.keys, key)
	switch {
	case value == nil && found:
		table.keys = slices.Delete(table.keys, at, at+1)
		delete(table.values, key)
	case value == nil:
	case !found:
		table.keys = slices.Insert(table.keys, at, key)
		table.values[key] = value
	default:
		table.values[key] = value
	}
}
