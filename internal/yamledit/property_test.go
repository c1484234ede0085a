package yamledit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/yamledit"
)

// entry is a member or item of a generated document, and the lines it has.
type entry struct {
	path        yamledit.Path
	first, last int
	parent      *entry
	entries     int  // of its own
	isMap       bool // or a list
	isFlow      bool // in braces or brackets
}

// author writes documents as people do: no two alike, and no two lines.
type author struct {
	*rand.Rand

	lines   []string
	entries []*entry
	anchors []string
	count   int
	shares  bool // whether it writes anchors and aliases
}

func (a *author) chance(percent int) bool { return a.IntN(100) < percent }

// next is a text that stands in the document once.
func (a *author) next(prefix string) string {
	a.count++
	return prefix + strconv.Itoa(a.count)
}

func (a *author) comment() string {
	if a.chance(30) {
		return strings.Repeat(" ", 1+a.IntN(3)) + a.next("# why ")
	}
	return ""
}

// between writes what may stand between two entries.
func (a *author) between(indent string) {
	if a.chance(15) {
		a.lines = append(a.lines, "")
	}
	if a.chance(20) {
		a.lines = append(a.lines, indent+a.next("# of what follows "))
	}
}

func (a *author) scalar() string {
	switch a.IntN(7) {
	case 0:
		return strconv.Quote(a.next("double: # "))
	case 1:
		return "'" + a.next("it''s ") + "'"
	case 2:
		return a.next("")
	case 3:
		return "~"
	case 4:
		return a.next("") + ".50"
	default:
		return a.next("plain words ")
	}
}

// flow writes a value on one line.
func (a *author) flow(own *entry, depth int) string {
	if depth > 2 || a.chance(50) {
		return a.scalar()
	}
	own.isFlow, own.isMap = true, a.chance(50)
	var parts []string
	for i := range a.IntN(4) {
		inner := a.entry(own, strconv.Itoa(i))
		inner.first, inner.last = own.first, own.first
		key := ""
		if own.isMap {
			name := a.next("k")
			inner.path[len(inner.path)-1] = name
			key = name + ": "
		}
		parts = append(parts, key+a.flow(inner, depth+1))
	}
	text := strings.Join(parts, []string{", ", ",", " , "}[a.IntN(3)])
	if own.isMap {
		return "{" + text + "}"
	}
	return "[" + text + "]"
}

func (a *author) entry(parent *entry, step string) *entry {
	one := &entry{path: parent.path.To(step), parent: parent}
	parent.entries++
	a.entries = append(a.entries, one)
	return one
}

// value writes the value of an entry whose key or dash is the start of a line.
func (a *author) value(own *entry, start, indent string, depth int) {
	own.first = len(a.lines)
	deeper := indent + strings.Repeat(" ", 1+a.IntN(4))
	switch choice := a.IntN(10); {
	case choice < 3 && depth < 4:
		a.lines = append(a.lines, start+a.comment())
		a.block(own, deeper, depth+1)
	case choice == 3:
		a.lines = append(a.lines, start+" |"+a.comment())
		for range 1 + a.IntN(3) {
			a.lines = append(a.lines, deeper+a.next("- text: # "))
		}
	case choice < 6:
		text := a.flow(own, 0)
		a.lines = append(a.lines, start+" "+text+a.comment())
	case choice == 6 && a.shares:
		name := a.next("x")
		a.anchors = append(a.anchors, name)
		a.lines = append(a.lines, start+" &"+name+" "+a.scalar()+a.comment())
	case choice == 7 && len(a.anchors) > 0:
		a.lines = append(a.lines, start+" *"+a.anchors[a.IntN(len(a.anchors))]+a.comment())
	default:
		a.lines = append(a.lines, start+" "+a.scalar()+a.comment())
	}
	own.last = len(a.lines) - 1
}

func (a *author) block(own *entry, indent string, depth int) {
	own.isMap = a.chance(60)
	for i := range 1 + a.IntN(4) {
		a.between(indent)
		if own.isMap {
			name := a.next("k")
			a.value(a.entry(own, name), indent+name+":", indent, depth)
			continue
		}
		item := a.entry(own, strconv.Itoa(i))
		if a.chance(70) {
			a.value(item, indent+"-", indent, depth)
			continue
		}
		// A map whose first member stands behind the dash.
		item.first, item.isMap = len(a.lines), true
		name := a.next("k")
		a.value(a.entry(item, name), indent+"- "+name+":", indent+"  ", depth)
		for range a.IntN(3) {
			name := a.next("k")
			a.value(a.entry(item, name), indent+"  "+name+":", indent+"  ", depth)
		}
		item.last = len(a.lines) - 1
	}
}

func (a *author) newValue() any {
	switch a.IntN(6) {
	case 0:
		return a.next("yes: ")
	case 1:
		return []any{a.next("new "), "no"}
	case 2:
		return map[string]any{"new": a.next("n"), "list": []any{1.0, nil}}
	case 3:
		return a.next("first\n  ") + "\nlast\n"
	case 4:
		return nil
	default:
		return a.next("new")
	}
}

// TestPromise: of generated documents and edits, what comes of it is what was
// wanted, and each line that the edit is not of stays; or it is refused, which needs
// a reason.
func TestPromise(t *testing.T) {
	t.Parallel()
	refused, edits := 0, 0
	for seed := range uint64(600) {
		a := &author{Rand: rand.New(rand.NewPCG(seed, 11)), shares: seed%3 == 0}
		if a.chance(20) {
			a.lines = append(a.lines, "---"+a.comment())
		}
		root := &entry{}
		a.block(root, "", 0)
		a.between("")
		root.last = len(a.lines) - 1
		text := strings.Join(a.lines, "\n") + "\n"
		if a.chance(20) && !strings.Contains(text, "|") { // a line end more would be of the text
			text = strings.TrimSuffix(text, "\n")
		}
		for range 6 {
			edits++
			if !promised(t, a, text) {
				refused++
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
	if refused*20 > edits {
		t.Errorf("%d of %d edits were refused", refused, edits)
	}
}

// promised makes one edit of a text and looks at what comes of it. It reports
// whether it was made.
func promised(t *testing.T, a *author, text string) bool {
	t.Helper()
	target := a.entries[a.IntN(len(a.entries))]
	new := a.newValue()
	edit, verb := yamledit.Replace(target.path, new), "replace"
	first, last := target.first, target.last
	switch a.IntN(3) {
	case 0:
		edit, verb = yamledit.Remove(target.path), "remove"
		if strings.HasPrefix(strings.TrimLeft(a.lines[first], " "), "-") && target.parent.isMap {
			last++ // the next member moves up to the dash
		}
		if target.parent.entries == 1 { // {} or [] comes behind the parent's key
			first, last = min(first, target.parent.first), max(last, target.parent.last)
		}
	case 1:
		parent := target.parent
		step := "-"
		if parent.isMap {
			step = a.next("k")
		} else if a.chance(50) {
			step = strconv.Itoa(a.IntN(parent.entries + 1))
		}
		edit, verb = yamledit.Add(parent.path.To(step), new), "add "+step
		target, first, last = parent, parent.first, -1
		if parent.isFlow {
			last = parent.last
		}
	}
	said := fmt.Sprintf("%s at %s, %v, of\n%s", verb, target.path, new, text)
	documents, err := yamledit.Open("f", []byte(text))
	if err != nil || len(documents) != 1 {
		t.Fatalf("%d documents, %v: %s", len(documents), err, said)
	}
	err = documents[0].Edit(edit)
	got := string(documents[0].Text())
	if err != nil {
		if !errors.Is(err, yamledit.ErrLayout) || got != text || !strings.Contains(text, "&") {
			t.Errorf("%v: %s\nbecame\n%s", err, said, got)
		}
		return false
	}
	wanted := edited(t, decoded(t, text), verb, target.path, new)
	if diff := cmp.Diff(wanted, decoded(t, got)); diff != "" {
		t.Errorf("%s\nbecame\n%s(-want +got):\n%s", said, got, diff)
	}
	before, after := strings.Split(text, "\n"), strings.Split(got, "\n")
	start, end := same(before, after)
	isKept := start >= first && end >= len(before)-1-last
	if last < 0 { // nothing but lines that are new
		isKept = start+end >= len(before) || start+end >= len(before)-1 && !strings.HasSuffix(text, "\n")
	}
	if !isKept {
		t.Errorf("lines %d to %d are the edit's, but %d at the start and %d of %d at the end are the same: %s\n"+
			"became\n%s",
			first, last, start, end, len(before), said, got)
	}
	return true
}

// same counts the lines that two texts share at their start and at their end.
func same(a, b []string) (start, end int) {
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	for end < len(a) && end < len(b) && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return start, end
}

// decoded reads a text without the editor.
func decoded(t *testing.T, text string) any {
	t.Helper()
	value, err := decode([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return value
}

func decode(text []byte) (any, error) {
	var value, plain any
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&value); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return plain, json.Unmarshal(encoded, &plain)
}

// edited makes an edit of a value, as the editor should of its text.
func edited(t *testing.T, value any, verb string, path yamledit.Path, new any) any {
	t.Helper()
	if len(path) > 0 {
		switch value := value.(type) {
		case map[string]any:
			if len(path) == 1 && verb == "remove" {
				delete(value, path[0])
			} else {
				value[path[0]] = edited(t, value[path[0]], verb, path[1:], new)
			}
			return value
		case []any:
			at, err := strconv.Atoi(path[0])
			if err != nil {
				t.Fatal(err)
			}
			if len(path) == 1 && verb == "remove" {
				return slices.Delete(value, at, at+1)
			}
			value[at] = edited(t, value[at], verb, path[1:], new)
			return value
		}
		t.Fatalf("there is no %s in %v", path, value)
	}
	step, isAdd := strings.CutPrefix(verb, "add ")
	if !isAdd {
		return new
	}
	if value, isMap := value.(map[string]any); isMap {
		value[step] = new
		return value
	}
	list := value.([]any)
	at, err := strconv.Atoi(step)
	if err != nil {
		at = len(list)
	}
	return slices.Insert(list, at, new)
}
