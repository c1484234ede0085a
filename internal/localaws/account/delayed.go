package account

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
)

// Delay makes what is written to the eventual ones of the tables, and of
// identities, visible to views only after a while, as AWS's copies of IAM lag
// behind the one that is written to. Updates see the present state: names stay
// unique and quotas hold. It must be called before the set is used by several at
// once.
func (s *Set) Delay(delay time.Duration, now func() time.Time, tables ...Table) {
	s.store = &delayed{
		Store:   s.store,
		delay:   delay,
		now:     now,
		tables:  append(Tables(), tables...),
		changes: map[string]map[string][]change{},
	}
}

// delayed is a store whose views are of the past. What was before is kept in
// memory: after a restart everything is visible.
type delayed struct {
	Store
	delay time.Duration
	now   func() time.Time
	// tables are those that are eventual, and may be others.
	tables []Table

	mu sync.RWMutex
	// changes are those that may not be visible yet, by kind and key, oldest
	// first.
	changes map[string]map[string][]change
}

// change is a write: when it was, and what it replaced, nil if nothing.
type change struct {
	at     time.Time
	before []byte
}

// isEventual reports whether a kind of values is of an eventual table. Those of
// others are visible at once.
func (d *delayed) isEventual(kind string) bool {
	name, below, _ := strings.Cut(kind, "/")
	owned := arn.IsAccount(name)
	if owned {
		name, _, _ = strings.Cut(below, "/")
	}
	return slices.Contains(d.tables, Table{Name: name, Shared: !owned, Eventual: true})
}

func (d *delayed) View(f func(Reader) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	until := d.now().Add(-d.delay)
	return d.Store.View(func(tx Reader) error { return f(past{tx, d, until}) })
}

func (d *delayed) Update(f func(Writer) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	noted := noting{store: d, before: map[[2]string][]byte{}}
	err := d.Store.Update(func(tx Writer) error {
		noted.Writer = tx
		return f(noted)
	})
	if err != nil {
		return err
	}
	now := d.now()
	d.forget(now.Add(-d.delay))
	for at, before := range noted.before {
		kind, key := at[0], at[1]
		if d.changes[kind] == nil {
			d.changes[kind] = map[string][]change{}
		}
		d.changes[kind][key] = append(d.changes[kind][key], change{now, before})
	}
	return nil
}

// forget drops what is visible.
func (d *delayed) forget(until time.Time) {
	for kind, keys := range d.changes {
		for key, changes := range keys {
			if rest := hidden(changes, until); len(rest) > 0 {
				keys[key] = rest
			} else {
				delete(keys, key)
			}
		}
		if len(keys) == 0 {
			delete(d.changes, kind)
		}
	}
}

// hidden returns the changes that are not visible yet.
func hidden(changes []change, until time.Time) []change {
	for i, one := range changes {
		if one.at.After(until) {
			return changes[i:]
		}
	}
	return nil
}

// noting notes what was before the first write of each key.
type noting struct {
	Writer
	store  *delayed
	before map[[2]string][]byte
}

func (n noting) note(kind, key string) {
	at := [2]string{kind, key}
	if _, again := n.before[at]; n.store.isEventual(kind) && !again {
		n.before[at] = n.Get(kind, key)
	}
}

func (n noting) Put(kind, key string, value []byte) error {
	n.note(kind, key)
	return n.Writer.Put(kind, key, value)
}

func (n noting) Delete(kind, key string) error {
	n.note(kind, key)
	return n.Writer.Delete(kind, key)
}

// past reads what was there at a time.
type past struct {
	Reader
	store *delayed
	until time.Time
}

// was returns what was there before a change that is not visible yet.
func (p past) was(kind, key string) (value []byte, changed bool) {
	if rest := hidden(p.store.changes[kind][key], p.until); len(rest) > 0 {
		return rest[0].before, true
	}
	return nil, false
}

func (p past) Get(kind, key string) []byte {
	if before, changed := p.was(kind, key); changed {
		return before
	}
	return p.Reader.Get(kind, key)
}

func (p past) Each(kind string, f func(string, []byte) error) error { return p.From(kind, "", f) }

func (p past) From(kind, start string, f func(string, []byte) error) error {
	if len(p.store.changes[kind]) == 0 {
		return p.Reader.From(kind, start, f)
	}
	// Keys that changed are read from the past, in their places among the others.
	changed := slices.DeleteFunc(slices.Sorted(maps.Keys(p.store.changes[kind])), func(one string) bool {
		return one < start
	})
	show := func(key string, value []byte) error {
		if value == nil {
			return nil
		}
		return f(key, value)
	}
	err := p.Reader.From(kind, start, func(key string, value []byte) error {
		for len(changed) > 0 && changed[0] <= key {
			first := changed[0]
			changed = changed[1:]
			if first == key {
				return show(key, p.Get(kind, key))
			}
			if err := show(first, p.Get(kind, first)); err != nil {
				return err
			}
		}
		return f(key, value)
	})
	for _, key := range changed {
		if err == nil {
			err = show(key, p.Get(kind, key))
		}
	}
	return err
}

func (p past) Count(kind string) int {
	count := p.Reader.Count(kind)
	for key := range p.store.changes[kind] {
		before, changed := p.was(kind, key)
		now := p.Reader.Get(kind, key)
		switch {
		case changed && before == nil && now != nil:
			count--
		case changed && before != nil && now == nil:
			count++
		}
	}
	return count
}
