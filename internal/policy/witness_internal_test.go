package policy

import (
	"math/rand/v2"
	"testing"
)

// TestWitness: a text is found if one exists, and it is one.
func TestWitness(t *testing.T) {
	t.Parallel()
	like := func(text string) spelling { return spelling{ops: compilePattern(text, true, false).ops} }
	for _, row := range []struct {
		in, out []spelling
		found   bool
	}{
		{in: []spelling{like("a*"), like("*b")}, found: true},
		{in: []spelling{like("a*"), like("b*")}},
		{in: []spelling{like("a*"), like("*b")}, out: []spelling{like("ab")}, found: true},
		{in: []spelling{like("a?")}, out: []spelling{like("ax"), like("ay")}, found: true},
		{in: []spelling{like("a*")}, out: []spelling{like("*")}},
		{in: []spelling{spell("system:serviceaccount:~:~"), like("*:cart")}, found: true},
		{
			in:  []spelling{spell("system:serviceaccount:~:~"), like("system:serviceaccount:a:*")},
			out: []spelling{like("system:serviceaccount:a:*")},
		},
		{in: []spelling{spell("############"), like("1*")}, out: []spelling{like("1xxxxxxxxxxx")}, found: true},
		{in: []spelling{{ops: like("ABC").ops, folded: true}, like("abc")}, found: true},
	} {
		effort := 1000
		text, found := witness(row.in, row.out, &effort)
		if found != row.found {
			t.Errorf("%+v: found %v (%q)", row, found, text)
		}
		if !found {
			continue
		}
		for _, one := range row.in {
			if !one.matches(text) {
				t.Errorf("%q does not match %v", text, one.ops)
			}
		}
		for _, one := range row.out {
			if one.matches(text) {
				t.Errorf("%q matches %v", text, one.ops)
			}
		}
	}
}

// TestWitnessRandom compares with the matcher of decisions, over all short texts.
func TestWitnessRandom(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's own sequence
	text := func(alphabet string, length int) string {
		made := make([]byte, length)
		for i := range made {
			made[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(made)
	}
	var short []string
	for layer := []string{""}; len(layer[0]) < 6; {
		short = append(short, layer...)
		var next []string
		for _, one := range layer {
			next = append(next, one+"a", one+"b", one+"x")
		}
		layer = next
	}
	for range 600 {
		var in, out []spelling
		for range 1 + random.IntN(3) {
			in = append(in, spelling{ops: compilePattern(text("ab*?", random.IntN(5)), true, false).ops})
		}
		for range random.IntN(3) {
			out = append(out, spelling{ops: compilePattern(text("ab*?", random.IntN(5)), true, false).ops})
		}
		fits := func(candidate string) bool {
			for _, one := range in {
				if !matchOps(one.ops, candidate, false) {
					return false
				}
			}
			for _, one := range out {
				if matchOps(one.ops, candidate, false) {
					return false
				}
			}
			return true
		}
		effort := 1000
		got, found := witness(in, out, &effort)
		if effort < 0 {
			t.Fatalf("%v without %v is too much", in, out)
		}
		if found && !fits(got) {
			t.Fatalf("%q does not fit %v without %v", got, in, out)
		}
		for _, candidate := range short {
			if !found && fits(candidate) {
				t.Fatalf("%q fits %v without %v, and was not found", candidate, in, out)
			}
		}
	}
}

// TestCovers: where lint says that one pattern covers another, no text shows the
// contrary.
func TestCovers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // a test's own sequence
	part := func() string {
		made := make([]byte, random.IntN(4))
		for i := range made {
			made[i] = "ab*?"[random.IntN(4)]
		}
		return string(made)
	}
	covered := 0
	for range 20000 {
		a, b := "arn:aws:s3:::"+part(), "arn:aws:s3:::"+part()
		if random.IntN(4) == 0 {
			a, b = "arn:"+part()+":s3:"+part()+"::"+part(), "arn:aws:s3:a::"+part()
		}
		wide, narrow := compileResource(&node{text: a}, Identity, false), compileResource(&node{text: b}, Identity, false)
		if !wide.covers(&narrow) {
			continue
		}
		covered++
		effort := 5000
		in := []spelling{{ops: inParts(compilePattern(b, true, false).ops)}}
		out := []spelling{{ops: inParts(compilePattern(a, true, false).ops)}}
		if text, found := witness(in, out, &effort); found {
			t.Fatalf("%s does not cover %s: %q", a, b, text)
		}
	}
	if covered < 100 {
		t.Errorf("only %d of the patterns cover another", covered)
	}
}
