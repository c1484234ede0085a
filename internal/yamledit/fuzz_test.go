package yamledit_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// FuzzOpen: what can be read is, joined, what it was, and no text is too odd to be
// looked at.
func FuzzOpen(f *testing.F) {
	for _, text := range streams {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		documents, err := yamledit.Open("f", text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if got := yamledit.Join(documents); !bytes.Equal(got, text) {
			t.Fatalf("%q became %q", text, got)
		}
		for _, d := range documents {
			for _, n := range below(d.Root(), nil) {
				_ = n.CheckKeys()
				_, _ = n.JSON()
			}
		}
	})
}

// FuzzEdit: an edit is refused and nothing changes, or it is made and nothing else
// is, as another reader sees it.
func FuzzEdit(f *testing.F) {
	for i, row := range editings {
		f.Add([]byte(row.text), uint(i), byte(i), "x")
	}
	for i, text := range streams {
		f.Add([]byte(text), uint(len(i)), byte(len(i)), "a: b\nc\n")
	}
	f.Fuzz(func(t *testing.T, text []byte, pick uint, verb byte, value string) {
		documents, err := yamledit.Open("f", text)
		if err != nil || len(documents) != 1 || !utf8.ValidString(value) {
			return
		}
		d := documents[0]
		nodes := below(d.Root(), nil)
		if len(nodes) == 0 {
			return
		}
		node := nodes[pick%uint(len(nodes))]
		path := node.Path()
		if node.CheckKeys() != nil || d.Root().CheckKeys() != nil {
			return
		}
		edit, name := yamledit.Replace(path, value), "replace"
		switch {
		case verb%3 == 1:
			edit, name = yamledit.Remove(path), "remove"
		case verb%3 == 2 && node.IsList():
			edit, name = yamledit.Add(path.To("-"), value), "add -"
		case verb%3 == 2 && node.IsMap():
			edit, name = yamledit.Add(path.To("new"), value), "add new"
		}
		before, readErr := decode(text)
		if err := d.Edit(edit); err != nil {
			if !bytes.Equal(d.Text(), text) {
				t.Fatalf("%s at %s: %v, but %q became %q", name, path, err, text, d.Text())
			}
			return
		}
		after, err := decode(d.Text())
		if readErr != nil || bytes.Contains(text, []byte("<<")) {
			return // the other reader cannot tell
		}
		if err != nil {
			t.Fatalf("%s at %s: %q became %q, which cannot be read: %v", name, path, text, d.Text(), err)
		}
		if diff := cmp.Diff(edited(t, before, name, path, value), after); diff != "" {
			t.Fatalf("%s at %s: %q became %q (-want +got):\n%s", name, path, text, d.Text(), diff)
		}
	})
}

// below returns the values of a tree that no alias repeats without end.
func below(n yamledit.Node, found []yamledit.Node) []yamledit.Node {
	if !n.Exists() || len(found) > 100 {
		return found
	}
	found = append(found, n)
	for _, item := range n.Items() {
		found = below(item, found)
	}
	for _, member := range n.Members() {
		found = below(member, found)
	}
	return found
}
