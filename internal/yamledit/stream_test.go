package yamledit_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// streams are texts of every layout that Open splits, by what is odd about them.
var streams = map[string]string{
	"nothing":                 "",
	"empty lines":             "\n\n",
	"comments":                "# a\n# b\n",
	"comments between":        "# a\n---\n# b\n--- # c\n---\n",
	"windows":                 "--- # x\r\na: |\r\n    x\r\n    --- \r\n---\r\nb: c\r\n",
	"tabs":                    "a:\tb\t# x\nc: {\td:\te }\n",
	"mark":                    "\uFEFFa: b\n",
	"mark and separator":      "\uFEFF---\na: b\n---\nc: d",
	"end and no separator":    "a: b\n...\nc: d\n... # end\n# after\n",
	"end and separator":       "a: b\n...\n---\nc: d\n...\n",
	"directive":               "# a\n%YAML 1.1\n# b\n---\na: b\n",
	"content on a separator":  "--- {a: b}\n--- |\n text\n",
	"separators in a text":    "a: |\n  ---\n  b: c\n  ...\nd: >-\n  --- x\n",
	"JSON":                    "{\"a\":[1.0,\"\\ud83d\\ude00\"]}\n{\"b\":{}}",
	"JSON with tabs":          "\t{\n\t\t\"a\": \"b\"\n\t}\n",
	"JSON and YAML":           "{\"a\":1}\n---\nb: 2\n--- \n{\"c\":3}\n",
	"aliases and merges":      "a: &a {b: c}\nd: *a\ne: {<<: *a}\n",
	"no line end at the last": "a:   {b: 1.0, c: .nan}",
}

// TestStreams: what is opened and joined is what it was.
func TestStreams(t *testing.T) {
	t.Parallel()
	for name, text := range streams {
		documents, err := yamledit.Open("f.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(text, string(yamledit.Join(documents))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, d := range documents {
			if err := d.Edit(); err != nil {
				t.Errorf("%s: no edit: %v", name, err)
			}
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	var all [][]*yamledit.Document
	for _, text := range []string{"\uFEFFa: 1", "", "\uFEFFb: 2\n", "--- # three\nc: 3\n", "{\"d\":4}"} {
		documents, err := yamledit.Open("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, documents)
	}
	want := "\uFEFFa: 1\n---\nb: 2\n--- # three\nc: 3\n---\n{\"d\":4}"
	if diff := cmp.Diff(want, string(yamledit.Join(all...))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInvalidStreams(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"indentation", "a: b\n---\nc: d\n  e: f\n", "f.yaml:4: not valid YAML"},
		{"tab", "a: b\n---\nc:\n\t- d\n", "f.yaml:4:1: not valid YAML: a tab in the indentation, want spaces"},
		{"UTF-16", "\xff\xfea\x00", "f.yaml:1:1: the text is UTF-16, want UTF-8"},
		{"cycle", "a: &x\n  b: [*x]\n", "f.yaml:2:7: not valid: the alias *x is part of what it refers to"},
		{"JSON broken off", "{\"a\": 1,\n", "f.yaml:"},
	} {
		_, err := yamledit.Open("f.yaml", []byte(row.text))
		if err == nil || !strings.HasPrefix(err.Error(), row.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: error %v, want %q", row.name, err, row.want)
		}
	}
}

func TestNode(t *testing.T) {
	t.Parallel()
	documents, err := yamledit.Open("f.yaml", []byte(`# first
---
base: &base {x: 1, y: two}
list:
- a
- <<: *base
  y: 2026-01-02
  z: yes
- *base
none: ~
quoted: "yes"
number: 1.50
`))
	if err != nil {
		t.Fatal(err)
	}
	if documents[0].Root().Exists() || documents[0].Root().Get("a").Exists() {
		t.Error("a document of a comment has content")
	}
	root := documents[1].Root()
	merged := root.Get("list", "1")
	if got, want := merged.Get("x").Scalar(), "1"; got != want {
		t.Errorf("what is merged reads %q, want %q", got, want)
	}
	if text, isString := merged.Get("y").AsString(); text != "2026-01-02" || !isString {
		t.Errorf("a date is %q, string %t", text, isString)
	}
	if _, isString := merged.Get("z").AsString(); isString {
		t.Error("yes is a string")
	}
	if text, isString := root.Get("quoted").AsString(); text != "yes" || !isString {
		t.Errorf(`"yes" is %q, string %t`, text, isString)
	}
	if none := root.Get("none"); !none.Exists() || !none.IsNull() || none.Scalar() != "" {
		t.Error("~ is not null")
	}
	var names []string
	for name := range merged.Members() {
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"y", "z", "x"}, names); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	items := root.Get("list").Items()
	if len(items) != 3 || items[2].Path().String() != "/list/2" || items[1].Line() != 6 {
		t.Errorf("%d items, %+v", len(items), items)
	}
	text, err := root.JSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"base":{"x":1,"y":"two"},"list":["a",{"y":"2026-01-02","z":true,"x":1},{"x":1,"y":"two"}],` +
		`"none":null,"quoted":"yes","number":1.50}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if got, want := items[1].Errorf("no %s", "use").Error(), "f.yaml:6:3: no use"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"none twice", "a: 1\nb: {a: 2}\n", ""},
		{"twice", "a: 1\nb:\n  c: 1\n  c: 2\n", `f.yaml:4:3: duplicate key "c", first on line 3`},
		{"a list for a key", "? [a]\n: 1\n", "f.yaml:1:3: a key that is not a string"},
		{"merge of a string", "a:\n  <<: x\n", "f.yaml:2:7: << merges maps, and this is not a map"},
	} {
		got := ""
		if err := open(t, row.text).Root().CheckKeys(); err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: error %q, want %q", row.name, got, row.want)
		}
	}
}
