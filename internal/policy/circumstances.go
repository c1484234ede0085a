package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// circumstances look for condition keys with which a request is allowed by a statement,
// and the engine is asked about it. given says which texts a key can have, where that is
// not for the caller to choose: none if requests do not have it.
type circumstances struct {
	policy *Policy
	given  func(key string) (texts []string, decided bool)
	// effort is what is left of that for the document; without any, nothing is allowed.
	effort *int
}

// maxAsked bounds the statements that are looked at for what a document amounts to: a
// hundred of them are no trouble.
const maxAsked = 1000000

// allows reports whether the engine allows a request by the statement, whatever else the
// document allows, in circumstances that can be brought about; the request has them then.
func (c *circumstances) allows(s *statement, r *Request) bool {
	if *c.effort -= 1 + len(c.policy.statements); *c.effort < 0 {
		return false
	}
	alone := Policy{kind: c.policy.kind, name: c.policy.name, version: c.policy.version, statements: []statement{*s}}
	for i := range c.policy.statements {
		if !c.policy.statements[i].allow {
			alone.statements = append(alone.statements, c.policy.statements[i])
		}
	}
	policies := &Policies{Identity: []*Policy{&alone}}
	if alone.kind == Resource {
		// A stranger's own account allows him everything.
		everything := &Policy{kind: Identity, statements: []statement{{
			allow: true, action: actionSet{patterns: []actionPattern{{all: true}}},
		}}}
		policies = &Policies{Identity: []*Policy{everything}, Resource: &alone}
	}
	r.Context = NewContext()
	for i := range alone.statements {
		for j := range alone.statements[i].conditions {
			key := alone.statements[i].conditions[j].folded
			if texts, decided := c.given(key); decided && len(texts) > 0 && !r.has(key) {
				r.Context.Set(key, texts[0])
			}
		}
	}
	for j := range s.conditions {
		if !s.conditions[j].holds(r) && !c.change(s, nil, s.conditions[j].folded, r) {
			return false
		}
	}
	const most = 20 // statements that deny it one after the other
	for range most {
		if Decide(r, policies).Effect == Allowed {
			return true
		}
		if !c.escape(s, alone.statements[1:], r) {
			return false
		}
	}
	return false
}

func (r *Request) has(key string) bool {
	_, found := r.lookup(key)
	return found
}

// escape changes one key so that a statement that denies the request no longer does.
func (c *circumstances) escape(s *statement, denies []statement, r *Request) bool {
	e := newEvaluation(r, &Policies{})
	for i := range denies {
		deny := &denies[i]
		if e.principal(c.policy, deny) == unmatched || !e.applies(deny) {
			continue
		}
		return slices.ContainsFunc(deny.conditions, func(one condition) bool {
			return c.change(s, &one, one.folded, r)
		})
	}
	return false
}

// change gives a key a text with which all conditions of the statement on it hold, and
// one of a Deny does not.
func (c *circumstances) change(s *statement, deny *condition, key string, r *Request) bool {
	texts, decided := c.given(key)
	without := false
	if !decided {
		texts, without = append(candidates(s, deny, key), "zq7x"), true
	}
	before := r.Context
	try := func(context *Context) bool {
		r.Context = context
		for i := range s.conditions {
			if one := &s.conditions[i]; one.folded == key && !one.holds(r) {
				return false
			}
		}
		return deny == nil || !deny.holds(r)
	}
	for _, text := range texts {
		if try(before.Clone().Set(key, text)) {
			return true
		}
	}
	if without {
		context := before.Clone()
		delete(context.entries, key)
		if try(context) {
			return true
		}
	}
	r.Context = before
	return false
}

// candidates are texts for a key that one of the conditions may want.
func candidates(s *statement, deny *condition, key string) []string {
	conditions := slices.Clone(s.conditions)
	if deny != nil {
		conditions = append(conditions, *deny)
	}
	texts := []string{"true", "false"}
	for i := range conditions {
		one := &conditions[i]
		if one.folded != key {
			continue
		}
		for j := range one.values {
			texts = append(texts, near(one, j)...)
		}
	}
	return texts
}

// near are texts at a condition's value, and beside it.
func near(c *condition, index int) []string {
	source := c.values[index].source
	switch c.op.compare {
	case compareNumber:
		if n, err := strconv.ParseInt(source, 10, 64); err == nil {
			return []string{source, strconv.FormatInt(n-1, 10), strconv.FormatInt(n+1, 10)}
		}
	case compareDate:
		if at, ok := parseDate(source); ok {
			const day = 24 * 60 * 60 * 1000
			var texts []string
			for _, milliseconds := range []int64{at, at - day, at + day} {
				texts = append(texts, time.UnixMilli(milliseconds).UTC().Format(time.RFC3339))
			}
			return texts
		}
	case compareIP:
		if prefix, ok := parseRange(source); ok {
			return []string{prefix.Addr().String()}
		}
	case compareString, compareFolded, compareLike, compareARN, compareBool, compareNull, compareBinary:
	}
	if c.op.compare == compareLike || c.op.compare == compareARN {
		return []string{strings.NewReplacer("*", "zq7x", "?", "z").Replace(source)}
	}
	return []string{source}
}
