package policy

import (
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// op is one step of a compiled pattern: a literal byte, or one of the two
// wildcards.
type op = uint16

const (
	anyRun op = 256 + iota // *: any run of characters, also none
	anyOne                 // ?: one UTF-16 code unit
)

// pattern is a text with wildcards and, until it is resolved, variables.
type pattern struct {
	source string
	// literal is set when there are no wildcards and no variables: then source
	// is compared as it stands.
	literal  bool
	ops      []op      // without variables
	segments []segment // with variables; then ops is nil
}

// segment is a run of ops, or a variable.
type segment struct {
	ops        []op
	key        string // folded context key; empty for ops
	fallback   string
	hasDefault bool
}

// compilePattern reads a text in which wildcards count if wild, variables if
// vars (spec iam-policy §2.1, §2.3).
func compilePattern(source string, wild, vars bool) pattern {
	p := pattern{source: source, literal: true}
	var run []op
	for i := 0; i < len(source); {
		if vars && strings.HasPrefix(source[i:], "${") {
			if variable, length, ok := readVariable(source[i:]); ok {
				i += length
				p.literal = false
				if variable.key == "" { // ${*}, ${?}, ${$}
					run = append(run, variable.ops...)
					continue
				}
				p.segments = append(p.segments, segment{ops: run}, variable)
				run = nil
				continue
			}
		}
		switch {
		case wild && source[i] == '*':
			p.literal = false
			if len(run) == 0 || run[len(run)-1] != anyRun {
				run = append(run, anyRun)
			}
		case wild && source[i] == '?':
			p.literal = false
			run = append(run, anyOne)
		default:
			run = append(run, op(source[i]))
		}
		i++
	}
	if p.segments != nil {
		p.segments = append(p.segments, segment{ops: run})
	} else {
		p.ops = run
	}
	return p
}

// readVariable reads ${key}, ${key, 'default'} or an escape at the start of
// text. Anything malformed is not a variable but literal text.
func readVariable(text string) (segment, int, bool) {
	end := strings.IndexByte(text, '}')
	if end < 0 {
		return segment{}, 0, false
	}
	inner := text[2:end]
	if inner == "*" || inner == "?" || inner == "$" {
		return segment{ops: []op{op(inner[0])}}, end + 1, true
	}
	key, fallback, hasDefault := strings.Cut(inner, ", '")
	if hasDefault {
		trimmed, closed := strings.CutSuffix(fallback, "'")
		if !closed {
			return segment{}, 0, false
		}
		fallback = trimmed
	}
	if key == "" || strings.TrimSpace(key) != key || strings.ContainsAny(key, "${',") {
		return segment{}, 0, false
	}
	return segment{key: fold(key), fallback: fallback, hasDefault: hasDefault}, end + 1, true
}

// resolve returns the pattern's ops with variables replaced by literal text.
// ok is false when a variable has no value (spec iam-policy §2.3).
func (p *pattern) resolve(r *Request) (ops []op, ok bool) {
	if p.segments == nil {
		return p.ops, true
	}
	for i := range p.segments {
		s := &p.segments[i]
		if s.key == "" {
			ops = append(ops, s.ops...)
			continue
		}
		value, present := r.lookup(s.key)
		text := s.fallback
		switch {
		case present && value.multi:
			return nil, false
		case present:
			text = value.first()
		case !s.hasDefault:
			return nil, false
		}
		for j := range len(text) {
			ops = append(ops, op(text[j]))
		}
	}
	return ops, true
}

// matchOps matches the whole value. It is iterative with one point to go back
// to, so its time is at most pattern × value.
func matchOps(ops []op, value string) bool {
	if hasWideCharacter(value) {
		return matchUnits(widen(ops), utf16.Encode([]rune(value)))
	}
	at, i := 0, 0
	star, resume := -1, 0
	for i < len(value) {
		switch {
		case at < len(ops) && ops[at] == anyRun:
			star, resume = at, i
			at++
			continue
		case at < len(ops) && ops[at] == anyOne:
			_, width := utf8.DecodeRuneInString(value[i:])
			at++
			i += width
			continue
		case at < len(ops) && ops[at] == op(value[i]):
			at++
			i++
			continue
		case star < 0:
			return false
		}
		_, width := utf8.DecodeRuneInString(value[resume:])
		resume += width
		at, i = star+1, resume
	}
	for at < len(ops) && ops[at] == anyRun {
		at++
	}
	return at == len(ops)
}

// hasWideCharacter reports characters above U+FFFF, which are two code units.
func hasWideCharacter(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xf0 {
			return true
		}
	}
	return false
}

// Wide forms of the wildcards, beyond any UTF-16 code unit.
const (
	wideRun = 1<<16 + iota
	wideOne
)

func widen(ops []op) []uint32 {
	var wide []uint32
	var literal []byte
	flush := func() {
		for _, unit := range utf16.Encode([]rune(string(literal))) {
			wide = append(wide, uint32(unit))
		}
		literal = literal[:0]
	}
	for _, o := range ops {
		switch o {
		case anyRun:
			flush()
			wide = append(wide, wideRun)
		case anyOne:
			flush()
			wide = append(wide, wideOne)
		default:
			literal = append(literal, byte(o))
		}
	}
	flush()
	return wide
}

func matchUnits(ops []uint32, value []uint16) bool {
	at, i := 0, 0
	star, resume := -1, 0
	for i < len(value) {
		switch {
		case at < len(ops) && ops[at] == wideRun:
			star, resume = at, i
			at++
		case at < len(ops) && (ops[at] == wideOne || ops[at] == uint32(value[i])):
			at++
			i++
		case star < 0:
			return false
		default:
			resume++
			at, i = star+1, resume
		}
	}
	for at < len(ops) && ops[at] == wideRun {
		at++
	}
	return at == len(ops)
}

// actionSet is a statement's Action or NotAction.
type actionSet struct {
	not      bool
	patterns []actionPattern
}

type actionPattern struct {
	source string
	all    bool // "*"
	prefix string
	name   pattern
}

func compileAction(source string) actionPattern {
	folded := strings.ToLower(strings.TrimSpace(source))
	if folded == "*" {
		return actionPattern{source: source, all: true}
	}
	prefix, name, _ := strings.Cut(folded, ":")
	return actionPattern{source: source, prefix: prefix, name: compilePattern(name, true, false)}
}

// match takes an action in lower case.
func (p *actionPattern) match(prefix, name string) bool {
	if p.all {
		return true
	}
	if p.prefix != prefix {
		return false
	}
	if p.name.literal {
		return p.name.source == name
	}
	return matchOps(p.name.ops, name)
}

func (s *actionSet) match(action string) bool {
	prefix, name, _ := strings.Cut(action, ":")
	for i := range s.patterns {
		if s.patterns[i].match(prefix, name) {
			return !s.not
		}
	}
	return s.not
}

// resourceSet is a statement's Resource or NotResource.
type resourceSet struct {
	not      bool
	patterns []resourcePattern
}

type resourcePattern struct {
	whole pattern
	all   bool // "*"
	// parts are the six parts of an ARN pattern without variables; nil when
	// the pattern can match nothing or has variables.
	parts [][]op
}

func compileResource(source string, kind Kind, vars bool) resourcePattern {
	p := resourcePattern{whole: compilePattern(source, true, vars), all: source == "*"}
	if p.all || p.whole.segments != nil {
		return p
	}
	p.parts = splitOps(p.whole.ops)
	if missing := 6 - len(p.parts); missing > 0 {
		p.parts = padParts(p.parts, missing, kind, source)
	}
	return p
}

// padParts completes a short ARN pattern as spec iam-policy §2.2 rule 5 says.
func padParts(parts [][]op, missing int, kind Kind, source string) [][]op {
	switch {
	case kind == RCP,
		kind == SCP && !strings.HasSuffix(source, "*"),
		(kind == Resource || kind == Endpoint) && !strings.Contains(source, "*"):
		return nil
	}
	for range missing {
		parts = append(parts, []op{anyRun})
	}
	return parts
}

// splitOps cuts a pattern at its first five colons.
func splitOps(ops []op) [][]op {
	var parts [][]op
	start := 0
	for i, o := range ops {
		if o == ':' && len(parts) < 5 {
			parts = append(parts, ops[start:i])
			start = i + 1
		}
	}
	return append(parts, ops[start:])
}

func (s *resourceSet) match(r *Request) bool {
	for i := range s.patterns {
		if s.patterns[i].match(r, r.Resource) {
			return !s.not
		}
	}
	return s.not
}

func (p *resourcePattern) match(r *Request, resource string) bool {
	if p.all {
		return true
	}
	parts := p.parts
	if p.whole.segments != nil {
		ops, ok := p.whole.resolve(r)
		if !ok {
			return false
		}
		if parts = splitOps(ops); len(parts) != 6 {
			return false
		}
	}
	return parts != nil && matchARN(parts, resource, true)
}

// matchARN matches part by part. Partition, service and region are compared
// without regard to letter case when foldNames is set, as in Resource.
func matchARN(parts [][]op, value string, foldNames bool) bool {
	for i := range 6 {
		part, rest, more := value, "", false
		if i < 5 {
			part, rest, more = strings.Cut(value, ":")
			if !more {
				return false
			}
		}
		if foldNames && i >= 1 && i <= 3 {
			if !matchFolded(parts[i], part) {
				return false
			}
		} else if !matchOps(parts[i], part) {
			return false
		}
		value = rest
	}
	return true
}

// matchFolded avoids copying when nothing needs folding.
func matchFolded(ops []op, value string) bool {
	upper := func(b op) bool { return b >= 'A' && b <= 'Z' }
	if slices.ContainsFunc(ops, upper) {
		folded := make([]op, len(ops))
		for j, o := range ops {
			folded[j] = o
			if upper(o) {
				folded[j] = o + 'a' - 'A'
			}
		}
		ops = folded
	}
	return matchOps(ops, strings.ToLower(value))
}
