package yamledit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// editing is a document, edits of it and what comes of them.
type editing struct {
	name  string
	text  string
	edits []yamledit.Edit
	want  string
}

// at reads a path that a test says as a JSON Pointer.
func at(pointer string) yamledit.Path {
	path, err := yamledit.Pointer(pointer)
	if err != nil {
		panic(err)
	}
	return path
}

func adding(pointer string, value any) []yamledit.Edit {
	return []yamledit.Edit{yamledit.Add(at(pointer), value)}
}

func replacing(pointer string, value any) []yamledit.Edit {
	return []yamledit.Edit{yamledit.Replace(at(pointer), value)}
}

func removing(pointers ...string) []yamledit.Edit {
	var edits []yamledit.Edit
	for _, pointer := range pointers {
		edits = append(edits, yamledit.Remove(at(pointer)))
	}
	return edits
}

// raw is a value with its members in this order.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

var editings = []editing{
	{
		name:  "add a member behind a comment of its map",
		text:  "a:\n  b: 1 # one\n  # more of a\n# of c\nc: 2\n",
		edits: adding("/a/x", "z"),
		want:  "a:\n  b: 1 # one\n  # more of a\n  x: z\n# of c\nc: 2\n",
	},
	{
		name:  "add a map with members in the order given",
		text:  "a:\n    b: 1\n",
		edits: adding("/a/m", raw(`{"z":[1,{"k":"v"}],"a":null}`)),
		want:  "a:\n    b: 1\n    m:\n      z:\n        - 1\n        - k: v\n      a: null\n",
	},
	{
		name:  "add a member that is there",
		text:  "a: 1 # one\nb: 2\n",
		edits: adding("/a", 3),
		want:  "a: 3 # one\nb: 2\n",
	},
	{
		name:  "add a member with a name that needs quotes",
		text:  "a: {b: 1}\nc:\n  d: 1\n",
		edits: append(adding("/a/x, y: z", 1), adding("/c/yes", "no")...),
		want:  "a: {b: 1, \"x, y: z\": 1}\nc:\n  d: 1\n  \"yes\": \"no\"\n",
	},
	{
		name:  "add a member called as an item would be",
		text:  "a:\n  b: 1\n",
		edits: append(adding("/a/0", 1), adding("/a/-", 2)...),
		want:  "a:\n  b: 1\n  \"0\": 1\n  \"-\": 2\n",
	},
	{
		name:  "add a text of several lines",
		text:  "data:\n  a: b\n",
		edits: adding("/data/mapRoles", "- rolearn: x\n  username: y\n"),
		want:  "data:\n  a: b\n  mapRoles: |\n    - rolearn: x\n      username: y\n",
	},
	{
		name:  "add what an earlier edit makes room for",
		text:  "a: b\n",
		edits: append(adding("/c", map[string]any{}), append(adding("/c/d", []int{}), adding("/c/d/-", 1)...)...),
		want:  "a: b\nc: {d: [1]}\n",
	},
	{
		name:  "append an item",
		text:  "l:\n- a # first\n# then\n- b\n\nm: 1\n",
		edits: adding("/l/-", "c"),
		want:  "l:\n- a # first\n# then\n- b\n- c\n\nm: 1\n",
	},
	{
		name:  "append an item with its map on the dash's line",
		text:  "l:\n  - a: 1\n    b: 2 # two\n",
		edits: adding("/l/-", raw(`{"a":3,"b":["x"]}`)),
		want:  "l:\n  - a: 1\n    b: 2 # two\n  - a: 3\n    b:\n      - x\n",
	},
	{
		name:  "insert an item first",
		text:  "l:\n  # of a\n  - a\n  - b\n",
		edits: adding("/l/0", "x"),
		want:  "l:\n  - x\n  # of a\n  - a\n  - b\n",
	},
	{
		name:  "insert an item between others",
		text:  "l:\n  - a\n  # of b\n  - b\n",
		edits: adding("/l/1", "x"),
		want:  "l:\n  - a\n  - x\n  # of b\n  - b\n",
	},
	{
		name:  "insert items into brackets",
		text:  "l: [a, b]\nm: [\n  a,\n  b # end\n]\n",
		edits: append(adding("/l/1", "x"), append(adding("/m/1", "x"), adding("/m/-", "y")...)...),
		want:  "l: [a, \"x\", b]\nm: [\n  a,\n  \"x\",\n  b,\n  \"y\" # end\n]\n",
	},
	{
		name:  "fill an empty list",
		text:  "l: [] # none\n",
		edits: append(adding("/l/-", "a"), adding("/l/-", "b")...),
		want:  "l: # none\n  - a\n  - b\n",
	},
	{
		name: "replace a scalar in its quotes",
		text: "a: 'one'  # 1\nb: \"two\" # 2\nc: three # 3\nd: 4\n",
		edits: append(
			append(replacing("/a", "uno"), replacing("/b", "due")...),
			append(replacing("/c", "true"), replacing("/d", 5)...)...),
		want: "a: 'uno'  # 1\nb: \"due\" # 2\nc: \"true\" # 3\nd: 5\n",
	},
	{
		name: "replace nothing by something",
		text: "a:\nb: # b\nc: ~ # c\n",
		edits: append(
			replacing("/a", 1),
			append(replacing("/b", []int{2}), replacing("/c", map[string]int{"x": 3})...)...),
		want: "a: 1\nb: # b\n  - 2\nc: # c\n  x: 3\n",
	},
	{
		name:  "replace a map by a scalar",
		text:  "a: # a\n  b: 1\n  c: 2\n# d\nd: 3\n",
		edits: replacing("/a", "x"),
		want:  "a: x # a\n# d\nd: 3\n",
	},
	{
		name:  "replace a scalar by a list",
		text:  "a:\n  b: x # b\n  c: 2\n",
		edits: replacing("/a/b", []string{"x", "z"}),
		want:  "a:\n  b: # b\n    - x\n    - z\n  c: 2\n",
	},
	{
		name:  "replace a text of several lines without quotes",
		text:  "a: one\n  two\nb: >-\n  three\n  four\n\nc: 5\n",
		edits: append(replacing("/a", "x"), replacing("/b", "y")...),
		want:  "a: x\nb: \"y\"\n\nc: 5\n",
	},
	{
		name:  "replace an item",
		text:  "- a # a\n- b: 1\n  c: 2\n- d\n",
		edits: append(replacing("/0", "x"), replacing("/1", map[string]int{"e": 1})...),
		want:  "- x # a\n- e: 1\n- d\n",
	},
	{
		name:  "replace in braces",
		text:  "{a: 1, b: [x, 'y''z'], c: {d: e}}\n",
		edits: append(replacing("/a", "x"), append(replacing("/b/1", 2), replacing("/c", nil)...)...),
		want:  "{a: \"x\", b: [x, 2], c: null}\n",
	},
	{
		name:  "replace an alias in one place",
		text:  "a: &x 1\nb: *x # b\nc: *x\n",
		edits: replacing("/b", 2),
		want:  "a: &x 1\nb: 2 # b\nc: *x\n",
	},
	{
		name:  "replace what is merged by its own",
		text:  "a: &x\n  b: 1\nc:\n  <<: *x\nd: {<<: *x}\n",
		edits: append(replacing("/c/b", 2), replacing("/d/b", 3)...),
		want:  "a: &x\n  b: 1\nc:\n  <<: *x\n  b: 2\nd: {<<: *x, b: 3}\n",
	},
	{
		name:  "remove the last member above a comment",
		text:  "a: 1\nb: 2\n  # of b\n# end\n",
		edits: removing("/b"),
		want:  "a: 1\n# end\n",
	},
	{
		name:  "remove a member and keep the comments around it",
		text:  "a: 1\n# of b\nb:\n  c: 2 # two\n  # within\n\n# of d\nd: 3\n",
		edits: removing("/b"),
		want:  "a: 1\n# of b\n\n# of d\nd: 3\n",
	},
	{
		name:  "remove the last member",
		text:  "a:\n  b: 1\n  c: 2\nd: 3",
		edits: removing("/a/c", "/d"),
		want:  "a:\n  b: 1\n",
	},
	{
		name:  "remove the only member",
		text:  "a: # a\n  # of b\n  b: 1\nc:\n- d: 1\n- e\n",
		edits: removing("/a/b", "/c/0/d"),
		want:  "a: {} # a\n  # of b\nc:\n- {}\n- e\n",
	},
	{
		name:  "remove the member behind a dash",
		text:  "- a: 1\n  b: 2 # b\n- a: 3\n",
		edits: removing("/0/a"),
		want:  "- b: 2 # b\n- a: 3\n",
	},
	{
		name:  "remove items",
		text:  "l:\n  # of a\n  - a\n  # of b\n  - b: 1\n    c: 2\n  - d\n",
		edits: removing("/l/1", "/l/0"),
		want:  "l:\n  # of a\n  # of b\n  - d\n",
	},
	{
		name:  "remove one place twice",
		text:  "l:\n- a\n- b\n- c\n",
		edits: removing("/l/0", "/l/0"),
		want:  "l:\n- c\n",
	},
	{
		name:  "remove all items one by one",
		text:  "l:\n- a\n- b\nm: 1\n",
		edits: removing("/l/0", "/l/0"),
		want:  "l: []\nm: 1\n",
	},
	{
		name:  "remove an item of a list in a list",
		text:  "- - a\n  - b\n- - c\n",
		edits: removing("/0/0", "/1/0"),
		want:  "- - b\n- []\n",
	},
	{
		name:  "remove from braces and brackets",
		text:  "{a: 1, b: [x], c: [y, z,], d: {e: f}}\n",
		edits: removing("/a", "/b/0", "/c/1", "/d"),
		want:  "{b: [], c: [y,]}\n",
	},
	{
		name:  "remove a line of brackets over lines",
		text:  "l: [\n  a, # a\n  b, # b\n  c # c\n]\n",
		edits: removing("/l/1", "/l/1"),
		want:  "l: [\n  a, # a\n]\n",
	},
	{
		name:  "all at once",
		text:  "a: 1\nb:\n  - x\n  - y # y\nc: 3\n",
		edits: append(removing("/a", "/b/0"), append(adding("/b/-", "z"), replacing("/c", 4)...)...),
		want:  "b:\n  - y # y\n  - z\nc: 4\n",
	},
	{
		name:  "JSON on one line",
		text:  `{"a":1,"b":[{"c":"\u00e9"},2.50],"d":{}}`,
		edits: append(removing("/a"), append(replacing("/b/0/c", "x\ny"), adding("/d/e", []int{1})...)...),
		want:  `{"b":[{"c":"x\ny"},2.50],"d":{"e":[1]}}`,
	},
	{
		name:  "JSON over lines",
		text:  "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    2\n  ],\n  \"c\": \"d\"\n}\n",
		edits: append(removing("/a", "/b/1"), replacing("/c", map[string]any{"x": []int{1}})...),
		want:  "{\n  \"b\": [\n    1\n  ],\n  \"c\": {\n    \"x\": [\n      1\n    ]\n  }\n}\n",
	},
	{
		name:  "behind a byte order mark and a directive",
		text:  "\uFEFF%YAML 1.1\n---\na: 1\nb: é # é\n... # end\n",
		edits: append(removing("/a"), replacing("/b", "x")...),
		want:  "\uFEFF%YAML 1.1\n---\nb: x # é\n... # end\n",
	},
	{
		name:  "behind a byte order mark on the first line",
		text:  "\uFEFFa: 1\nb: 2\n",
		edits: removing("/a"),
		want:  "\uFEFFb: 2\n",
	},
	{
		name:  "a text that keeps its empty lines",
		text:  "a: |+\n  x\n\nb: 1\n",
		edits: removing("/b"),
		want:  "a: |+\n  x\n\n",
	},
}

func TestEdit(t *testing.T) {
	t.Parallel()
	for _, row := range editings {
		for _, eol := range []string{"\n", "\r\n"} {
			text, want := strings.ReplaceAll(row.text, "\n", eol), strings.ReplaceAll(row.want, "\n", eol)
			d := open(t, text)
			if err := d.Edit(row.edits...); err != nil {
				t.Errorf("%s, line ends %q: %v", row.name, eol, err)
				continue
			}
			if diff := cmp.Diff(want, string(d.Text())); diff != "" {
				t.Errorf("%s, line ends %q (-want +got):\n%s", row.name, eol, diff)
			}
		}
	}
}

// open opens a text of one document.
func open(t *testing.T, text string) *yamledit.Document {
	t.Helper()
	documents, err := yamledit.Open("f.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(documents) != 1 {
		t.Fatalf("%d documents, want 1\n%s", len(documents), text)
	}
	return documents[0]
}

// TestEmbedded: a file in a ConfigMap's value is edited as a file of its own, and
// its other lines keep their bytes there, too.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: aws-auth}
data:
    mapRoles: |  # nodes and people
         # the nodes
         - rolearn: "arn:aws:iam::111122223333:role/node"   # m5
           groups: [system:nodes]

         # people
         - {rolearn: 'arn:aws:iam::111122223333:role/dev', username: dev}
         - rolearn: arn:aws:iam::111122223333:role/old
           username: old
    # nobody
    mapUsers: "[]\n"
`
	for _, eol := range []string{"\n", "\r\n"} {
		outer := open(t, strings.ReplaceAll(text, "\n", eol))
		value := outer.Root().Get("data", "mapRoles")
		inner, err := yamledit.Open("data.mapRoles", []byte(value.Scalar()))
		if err != nil {
			t.Fatal(err)
		}
		if err := inner[0].Edit(
			yamledit.Remove(at("/2")),
			yamledit.Replace(at("/1/username"), "developer"),
			yamledit.Add(at("/-"), raw(`{"rolearn":"arn:aws:iam::111122223333:role/new","username":"new"}`)),
		); err != nil {
			t.Fatal(err)
		}
		if err := outer.Edit(yamledit.Replace(value.Path(), string(yamledit.Join(inner)))); err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer(
			"username: dev}", `username: "developer"}`,
			"role/old", "role/new",
			"username: old", "username: new",
			"\n", eol,
		).Replace(text)
		if diff := cmp.Diff(want, string(outer.Text())); diff != "" {
			t.Errorf("line ends %q (-want +got):\n%s", eol, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		text  string
		edits []yamledit.Edit
		want  string
	}{
		{
			"below an anchor",
			"a: &x {b: 1}\nc: *x\n",
			replacing("/a/b", 2),
			"f.yaml:1: the edit cannot be made with everything around it kept",
		},
		{"through an alias", "a: &x {b: 1}\nc: *x\n", replacing("/c/b", 2), "everything around it kept"},
		{"in what is merged", "a: &x {b: {d: 1}}\nc: {<<: *x}\n", replacing("/c/b/d", 2), "everything around it kept"},
		{"remove what is merged", "a: &x {b: 1}\nc: {<<: *x}\n", removing("/c/b"), "b is merged from another map"},
		{"what an alias names", "a: &x 1\nc: *x\n", removing("/a"), "everything around it kept"},
		{"what has a tag", "a: !!str 1\n", replacing("/a", "2"), "everything around it kept"},
		{"no such member", "# a\na: 1\n", replacing("/b", 2), "f.yaml:1: there is no b"},
		{"no such parent", "a: 1\n", adding("/b/c", 2), "there is no b"},
		{"no such item", "- a\n", removing("/1"), "there is no item 1"},
		{"an item behind the end", "- a\n", adding("/2", 1), "there is no item 2"},
		{"the item - of what is there", "- a\n", removing("/-"), "there is no item -"},
		{"a member of a scalar", "a: 1\n", adding("/a/b", 2), "the parent of b is neither a map nor a list"},
		{"the whole document", "a: 1\n", replacing("", 2), "an edit of a whole document"},
		{"a document without content", "# a\n", adding("/a", 2), "an edit of a document without content"},
		{"the second of two edits", "a: 1\nb: 2\n", append(removing("/a"), removing("/c")...), "there is no c"},
	} {
		d := open(t, row.text)
		err := d.Edit(row.edits...)
		if err == nil || !strings.Contains(err.Error(), row.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: error %v, want %q", row.name, err, row.want)
		}
		if string(d.Text()) != row.text {
			t.Errorf("%s: refused, but the text is\n%s", row.name, d.Text())
		}
	}
	if _, err := yamledit.Pointer("a/b"); err == nil {
		t.Error("a pointer without its first slash")
	}
}

// TestRewrite: what cannot keep its layout can be rewritten, and then the others
// keep what they had.
func TestRewrite(t *testing.T) {
	t.Parallel()
	const text = "--- # head\na: &x   {b: 1} # a\nc: *x\nd: {<<: *x}\n"
	d := open(t, text)
	edit := yamledit.Replace(at("/c/b"), 2)
	if err := d.Edit(edit); !errors.Is(err, yamledit.ErrLayout) {
		t.Errorf("error %v, want ErrLayout", err)
	}
	if err := d.Rewrite(edit); err != nil {
		t.Fatal(err)
	}
	const want = "---\n# head\na: &x {b: 1} # a\nc: {b: 2}\nd: {<<: *x}\n"
	if diff := cmp.Diff(want, string(d.Text())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.Root().Get("c", "b").Scalar(); got != "2" {
		t.Errorf("c.b reads %q", got)
	}
}

func TestPointer(t *testing.T) {
	t.Parallel()
	path := yamledit.Path{"metadata", "annotations"}.To("eks.amazonaws.com/role-arn", "~1")
	const pointer = "/metadata/annotations/eks.amazonaws.com~1role-arn/~01"
	if path.String() != pointer {
		t.Errorf("got %s, want %s", path, pointer)
	}
	if diff := cmp.Diff(path, at(pointer)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
