package policy

import "slices"

// Ops that only shapes have: what a name may contain is narrower than what a
// wildcard of a policy matches.
const (
	nameRun op = 512 + iota // a run of characters of a name, also none
	nameOne
	digitOne
	partRun // a run within one part of an ARN, also none
	partOne
)

// isRun reports an op that may match nothing, and any number of characters.
func isRun(o op) bool { return o == anyRun || o == nameRun || o == partRun }

// takes reports whether an op matches one character.
func (p *spelling) takes(o op, char byte) bool {
	switch o {
	case anyRun, anyOne:
		return true
	case nameRun, nameOne:
		return char != ':' && char != '/' && char != '*' && char != '?'
	case digitOne:
		return char >= '0' && char <= '9'
	case partRun, partOne:
		return char != ':'
	}
	return o == op(char) || (p.folded && equalFoldedOp(o, char))
}

// spelling is a pattern that a text has to match, or must not.
type spelling struct {
	ops    []op
	folded bool
}

// spell compiles a shape: text, in which ~ stands for a name that is not empty,
// * for anything and # for a digit.
func spell(shape string) spelling {
	var ops []op
	for i := range len(shape) {
		switch shape[i] {
		case '~':
			ops = append(ops, nameOne, nameRun)
		case '*':
			ops = append(ops, anyRun)
		case '#':
			ops = append(ops, digitOne)
		default:
			ops = append(ops, op(shape[i]))
		}
	}
	return spelling{ops: ops}
}

// exactly is a spelling of one text.
func exactly(text string) spelling {
	ops := make([]op, len(text))
	for i := range len(text) {
		ops[i] = op(text[i])
	}
	return spelling{ops: ops}
}

// witness finds a short text that matches all of in and none of out; in must not be
// empty. It follows the patterns side by side, as automata, so it finds one wherever
// there is one, until effort is spent: it goes below zero then.
func witness(in, out []spelling, effort *int) (string, bool) {
	for i := range in {
		text, literal := in[i].text()
		if !literal {
			continue
		}
		*effort -= 1 + len(text)/16
		not := func(p spelling) bool { return !p.matches(text) }
		if !slices.ContainsFunc(in, not) && !slices.ContainsFunc(out, func(p spelling) bool { return !not(p) }) {
			return text, true
		}
		if !in[i].folded {
			return "", false
		}
	}
	all := slices.Concat(in, out)
	start := make([][]int, len(all))
	for i := range all {
		start[i] = all[i].closure([]int{0})
	}
	type state struct {
		at   [][]int
		text []byte
	}
	queue, seen := []state{{at: start}}, map[string]bool{}
	for len(queue) > 0 {
		now := queue[0]
		queue = queue[1:]
		if *effort -= 1 + len(now.text)/64; *effort < 0 {
			return "", false
		}
		if accepted(all, now.at, len(in)) {
			return string(now.text), true
		}
		for _, char := range nextCharacters(in, now.at) {
			next := make([][]int, len(all))
			alive := true
			for i := range all {
				next[i] = all[i].step(now.at[i], char)
				alive = alive && (i >= len(in) || len(next[i]) > 0)
			}
			if key := stateKey(next); alive && !seen[key] {
				seen[key] = true
				queue = append(queue, state{next, append(slices.Clone(now.text), char)})
			}
		}
	}
	return "", false
}

// text is the only text of a spelling without wildcards.
func (p *spelling) text() (string, bool) {
	if slices.ContainsFunc(p.ops, func(o op) bool { return o >= anyRun }) {
		return "", false
	}
	return literalText(p.ops), true
}

// accepted reports whether the text so far matches the first patterns and none of
// the others.
func accepted(all []spelling, at [][]int, in int) bool {
	for i := range all {
		if slices.Contains(at[i], len(all[i].ops)) != (i < in) {
			return false
		}
	}
	return true
}

// nextCharacters are the literals that some pattern waits for, and others that no
// pattern may know.
func nextCharacters(in []spelling, at [][]int) []byte {
	var chars []byte
	add := func(char byte) {
		if !slices.Contains(chars, char) {
			chars = append(chars, char)
		}
	}
	open := true
	for i := range in {
		literal := !slices.ContainsFunc(at[i], func(p int) bool { return p < len(in[i].ops) && in[i].ops[p] >= anyRun })
		open = open && !literal
	}
	if open {
		for _, char := range []byte("xy70") {
			add(char)
		}
	}
	for i := range in {
		for _, p := range at[i] {
			if p < len(in[i].ops) && in[i].ops[p] < anyRun {
				add(byte(in[i].ops[p]))
			}
		}
	}
	return chars
}

func stateKey(at [][]int) string {
	var key []byte
	for _, positions := range at {
		for _, p := range positions {
			key = append(key, byte(p), byte(p>>8))
		}
		key = append(key, 0xff, 0xff)
	}
	return string(key)
}

// closure adds the positions behind runs, which may match nothing.
func (p *spelling) closure(positions []int) []int {
	for i := 0; i < len(positions); i++ {
		at := positions[i]
		if at < len(p.ops) && isRun(p.ops[at]) && !slices.Contains(positions, at+1) {
			positions = append(positions, at+1)
		}
	}
	slices.Sort(positions)
	return positions
}

func (p *spelling) step(positions []int, char byte) []int {
	var next []int
	for _, at := range positions {
		if at == len(p.ops) || !p.takes(p.ops[at], char) {
			continue
		}
		to := at + 1
		if isRun(p.ops[at]) {
			to = at
		}
		if !slices.Contains(next, to) {
			next = append(next, to)
		}
	}
	return p.closure(next)
}

// matches reports whether a text is one of the spelling's.
func (p *spelling) matches(text string) bool {
	at := p.closure([]int{0})
	for i := 0; i < len(text) && len(at) > 0; i++ {
		at = p.step(at, text[i])
	}
	return slices.Contains(at, len(p.ops))
}
