package policy

import (
	"encoding/base64"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// choices are values for a key, worth trying: such that the statement's conditions
// on it hold, and of those some with which the Deny statements' do not.
func (c *casting) choices(key string) []value {
	d := c.domain(key)
	var all []value
	if d.absent {
		all = append(all, value{})
	}
	var texts []string
	add := func(text string) {
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	for _, text := range d.fixed {
		add(text)
	}
	for _, text := range c.typedTexts(key, d) {
		add(text)
	}
	for _, shape := range d.shapes {
		c.spelled(key, shape, d.not, add)
	}
	for _, text := range c.echoed(key) {
		if d.fits(text) {
			add(text)
		}
	}
	multi := multivalued(key)
	for _, text := range texts {
		if multi {
			all = append(all, value{name: key, many: []string{text}, multi: true})
		} else {
			all = append(all, value{name: key, one: text})
		}
	}
	if multi && len(texts) > 1 {
		all = append(all, value{name: key, many: texts, multi: true})
	}
	return c.different(key, all)
}

// different leaves out choices that no condition on the key can tell from an earlier
// one, unless the key's value is a variable somewhere.
func (c *casting) different(key string, all []value) []value {
	variable := false
	var conditions []*condition
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded == key {
				conditions = append(conditions, one)
			}
			for j := range one.values {
				variable = variable ||
					slices.ContainsFunc(one.values[j].segments, func(p segment) bool { return p.key == key })
			}
		}
	}
	if variable || key == "aws:principalarn" {
		return all
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(v value) bool {
		c.set(key, v)
		signature := make([]byte, len(conditions))
		for i, one := range conditions {
			signature[i] = '0'
			if one.holds(c.request) {
				signature[i] = '1'
			}
		}
		again := seen[string(signature)]
		seen[string(signature)] = true
		return again
	})
}

// echoed are texts with which a key, as the variable of a condition on another one,
// makes that hold: what the other is, or may be.
func (c *casting) echoed(key string) []string {
	var texts []string
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded == key || one.op.negated != one.deny || one.op.compare.isTyped() {
				continue
			}
			for j := range one.values {
				before, after, plain, ok := one.values[j].around(key)
				if !ok {
					continue
				}
				for _, text := range c.possible(one.folded) {
					rest, begins := strings.CutPrefix(text, before)
					middle, ends := strings.CutSuffix(rest, after)
					switch {
					case !plain: // then it is a part of it, if anything
						texts = append(texts, strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '/' })...)
					case begins && ends:
						texts = append(texts, middle)
					}
				}
			}
		}
	}
	return texts
}

// around is what a value has before and after a variable, and whether all of that is
// plain text.
func (p *pattern) around(key string) (before, after string, plain, ok bool) {
	plain = true
	for i := range p.segments {
		s := &p.segments[i]
		text, literal := (&spelling{ops: s.ops}).text()
		switch {
		case s.key == key && !ok:
			ok = true
		case s.key != "" || !literal:
			plain = false
		case ok:
			after += text
		default:
			before += text
		}
	}
	return before, after, plain, ok
}

// possible are texts that a key has, or may have if it is not chosen yet.
func (c *casting) possible(key string) []string {
	if !c.unsettled(key) {
		v, _ := c.request.lookup(key)
		return append(v.many, v.one)
	}
	d := c.domain(key)
	texts := d.fixed
	for _, shape := range d.shapes {
		c.spelled(key, shape, d.not, func(text string) { texts = append(texts, text) })
	}
	return texts
}

// unsettled reports a key that is still to be chosen.
func (c *casting) unsettled(key string) bool { return slices.Index(c.keys, key) >= c.at }

// resolve is a value's text, in which what is still to be chosen may be anything.
func (c *casting) resolve(one *condition, value *pattern) (ops []op, ok bool) {
	open := func(s segment) bool { return s.key != "" && c.unsettled(s.key) }
	if one.op.negated != one.deny || !slices.ContainsFunc(value.segments, open) {
		return value.resolve(c.request)
	}
	for _, s := range value.segments {
		part, ok := []op{anyRun}, true
		if !open(s) {
			part, ok = (&pattern{segments: []segment{s}}).resolve(c.request)
		}
		if !ok {
			return nil, false
		}
		ops = append(ops, part...)
	}
	return ops, true
}

// spelled finds texts of a shape by the conditions on a key.
func (c *casting) spelled(key string, shape spelling, not []spelling, add func(string)) {
	ins, outs := [][]spelling{{shape}}, slices.Clone(not)
	var denied []*condition
	for i := range c.statement.conditions {
		one := &c.statement.conditions[i]
		if one.folded != key {
			continue
		}
		spellings := c.spellings(one)
		switch {
		case len(spellings) == 0:
		case one.op.negated:
			outs = append(outs, spellings...)
		default:
			ins = product(ins, spellings)
		}
	}
	for _, s := range c.denies {
		for i := range s.conditions {
			if one := &s.conditions[i]; one.folded == key && len(c.spellings(one)) > 0 {
				denied = append(denied, one)
			}
		}
	}
	try := func(in, out []spelling) {
		if text, ok := c.witness(in, out); ok {
			add(text)
		}
	}
	// Against all Deny statements at once, then against each, then against none.
	var avoided []spelling
	var demanded [][]spelling
	for _, one := range denied {
		if one.op.negated {
			demanded = append(demanded, c.spellings(one))
		} else {
			avoided = append(avoided, c.spellings(one)...)
		}
	}
	for _, in := range ins {
		if len(avoided) > 0 {
			try(in, slices.Concat(outs, avoided))
		}
		everyDemand := [][]spelling{in}
		for _, spellings := range demanded {
			everyDemand = product(everyDemand, spellings)
		}
		if len(demanded) > 0 {
			for _, one := range everyDemand {
				try(one, slices.Concat(outs, avoided))
				try(one, outs)
			}
		}
		for _, one := range denied {
			if spellings := c.spellings(one); !one.op.negated {
				try(in, slices.Concat(outs, spellings))
			} else {
				for _, spelling := range spellings {
					try(append(slices.Clone(in), spelling), outs)
				}
			}
		}
		try(in, outs)
	}
}

// witness finds a text within what effort is left.
func (c *casting) witness(in, out []spelling) (string, bool) {
	text, ok := witness(in, out, &c.l.effort)
	c.gaveUp = c.gaveUp || c.l.effort < 0
	return text, ok
}

// maxSpellings bounds how many values of lists are tried with each other.
const maxSpellings = 64

func product(ins [][]spelling, one []spelling) [][]spelling {
	var all [][]spelling
	for _, in := range ins {
		for _, spelling := range one {
			if len(all) < maxSpellings {
				all = append(all, append(slices.Clone(in), spelling))
			}
		}
	}
	return all
}

// spellings are the texts that a condition's values match, where it compares texts.
func (c *casting) spellings(one *condition) []spelling {
	if one.op.compare.isTyped() || one.op.compare == compareNull || one.op.compare == compareBool {
		return nil
	}
	var all []spelling
	for i := range one.values {
		if slices.ContainsFunc(one.values[i].segments, func(s segment) bool { return s.key == one.folded }) {
			all = append(all, spelling{ops: []op{anyRun}}) // compared with itself, it mostly is the same
			continue
		}
		ops, ok := c.resolve(one, &one.values[i])
		switch {
		case !ok:
		case one.op.compare != compareARN:
			all = append(all, spelling{ops: ops, folded: one.op.compare == compareFolded})
		case one.values[i].source == "*", slices.Equal(ops, []op{anyRun}): // a variable that is open
			all = append(all, spelling{ops: []op{
				partRun, ':', partRun, ':', partRun, ':', partRun, ':', partRun, ':', anyRun,
			}})
		default:
			all = append(all, spelling{ops: inParts(ops)})
		}
	}
	return all
}

// inParts keeps wildcards within the parts of an ARN.
func inParts(ops []op) []op {
	var all []op
	for i, part := range splitOps(ops) {
		if i > 0 {
			all = append(all, ':')
		}
		for _, o := range part {
			switch {
			case i < 5 && o == anyRun:
				o = partRun
			case i < 5 && o == anyOne:
				o = partOne
			}
			all = append(all, o)
		}
	}
	return all
}

// typedTexts are values for operators that compare no texts: what the document says,
// and what is near to it.
func (c *casting) typedTexts(key string, d domain) []string {
	if d.fixed != nil || (len(d.shapes) == 0 && key != "aws:sourceip") {
		return nil
	}
	var texts []string
	if key == "aws:sourceip" {
		texts = append(texts, "198.51.100.7", "3.3.3.3", "100.20.1.1", "200.1.1.1", "2600::7")
	}
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded != key {
				continue
			}
			if one.op.compare == compareBool {
				texts = append(texts, "true", "false")
			}
			for j := range one.typed {
				texts = append(texts, c.near(one, j)...)
			}
		}
	}
	return texts
}

func (c *casting) near(one *condition, j int) []string {
	want := &one.typed[j]
	switch {
	case !want.valid:
	case one.op.compare == compareNumber:
		around := func(by int64) string {
			return new(big.Rat).Add(want.number, big.NewRat(by, 1)).FloatString(6)
		}
		// The nearest may be somebody who is meant: there are others on either side.
		return []string{one.values[j].source, around(-1), around(1), around(-2), around(2)}
	case one.op.compare == compareDate:
		at := func(seconds int64) string { return strconv.FormatInt(want.date/1000+seconds, 10) }
		return []string{one.values[j].source, at(-10), at(10)}
	case one.op.compare == compareIP:
		if one.folded != "aws:sourceip" || c.guessing || c.kind == WebIdentity || want.prefix.Bits() < 8 {
			return []string{want.prefix.Addr().Next().String(), want.prefix.Addr().String(), "198.51.100.7", "2600::7"}
		}
	case one.op.compare == compareBinary:
		return []string{one.values[j].source, base64.StdEncoding.EncodeToString([]byte("stranger"))}
	}
	return nil
}
