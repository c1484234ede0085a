package account

import (
	"sync"

	"github.com/rolecall/rolecall/internal/policy"
)

// document is what a policy document is parsed from.
type document struct {
	kind       policy.Kind
	name, text string
}

// parsed are documents that were parsed, in two generations: when the young one
// is full the old one is dropped, and what is used again moves to the young. So
// what thousands of roles need is kept, and what nobody needs is dropped.
type parsed struct {
	mu         sync.RWMutex
	young, old map[document]*policy.Policy
	bytes      int // of the young one's texts
}

// maxParsed bounds the texts of one generation, in bytes.
const maxParsed = 16 << 20

// Parse is policy.Parse that remembers: the same documents decide call after
// call.
func (s *Set) Parse(kind policy.Kind, name, text string) (*policy.Policy, error) {
	key := document{kind, name, text}
	p := &s.parsing
	p.mu.RLock()
	known, isYoung := p.young[key]
	if !isYoung {
		known = p.old[key]
	}
	p.mu.RUnlock()
	if isYoung {
		return known, nil
	}
	if known == nil {
		var err error
		if known, err = policy.Parse(kind, name, []byte(text)); err != nil {
			return nil, err
		}
	}
	p.keep(key, known)
	return known, nil
}

func (p *parsed) keep(key document, made *policy.Policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.young == nil || p.bytes > maxParsed {
		p.old, p.young, p.bytes = p.young, map[document]*policy.Policy{}, 0
	}
	if _, again := p.young[key]; !again {
		p.young[key] = made
		p.bytes += len(key.text)
	}
}

// Parse is Set.Parse.
func (a *Account) Parse(kind policy.Kind, name, text string) (*policy.Policy, error) {
	return a.set.Parse(kind, name, text)
}
