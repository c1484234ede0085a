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

// matchOps matches the whole value, ASCII letters without regard to case if
// folded. It is iterative with one point to go back to, so its time is at most
// pattern × value.
func matchOps(ops []op, value string, folded bool) bool {
	if hasWideCharacter(value) {
		if folded {
			ops, value = lowerOps(ops), lowerText(value)
		}
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
		case at < len(ops) && (ops[at] == op(value[i]) || (folded && equalFoldedOp(ops[at], value[i]))):
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

func lowerOps(ops []op) []op {
	lowered := slices.Clone(ops)
	for i, o := range lowered {
		if o < anyRun {
			lowered[i] = op(lowerASCII(byte(o)))
		}
	}
	return lowered
}

func equalFoldedOp(o op, b byte) bool {
	return o < anyRun && lowerASCII(byte(o)) == lowerASCII(b)
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
