// Package yamledit changes YAML and JSON files that people write, and keeps what
// they wrote.
//
// [Open] reads the documents of a stream, [Document.Root] and [Node.Get] look at
// one, [Document.Edit] changes it, [Join] and [Document.Text] return the bytes.
// A file inside a file, such as the text of a ConfigMap's value, is a stream of its
// own: open the value, edit it, and replace the value by its new text.
//
// It promises of an edit:
//   - Bytes outside of it are kept: comments, order, quotes, indentation, line
//     ends, byte order mark, separators, the digits of numbers. Comments above what
//     is removed or replaced stay; comments within it and on its lines may go.
//   - What comes of it is read again, and says what it said before with the edit
//     made, and nothing else: anchors, aliases, merges and types included. Where
//     that is not possible, the edit is refused with [ErrLayout] and the document is
//     as it was. An edit of what an alias names or merges is refused, since it
//     would change another place as well.
//
// [Document.Rewrite] is for those who would rather lose the layout than the edit.
//
// Scalars are read as readers of YAML 1.1 do, as kubectl and eksctl are: yes is a
// truth value, a date is a string. Strings are written so that neither version of
// YAML takes them for anything else.
//
// It knows nothing of what the documents are about, opens no files, makes no
// parents that a path lacks, and edits no keys: a key with another name is another
// member.
package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Document is one document of a stream: what it says, and the bytes that say it.
type Document struct {
	source string
	line   int // of its first line in the source, from 1
	text   []byte
	node   *yaml.Node // nil for a document without content
	isJSON bool
}

var (
	separator   = lazyregexp.New(`^---(?:[ \t].*)?\r?\n?$`)
	documentEnd = lazyregexp.New(`^\.\.\.(?:[ \t].*)?\r?\n?$`)
	byteOrder   = []byte("\uFEFF")
)

// Open reads a stream: YAML documents, or JSON objects, with or without
// separators between them. The name is what errors call the stream. The texts
// of the documents, joined, are the stream again, byte for byte.
func Open(name string, text []byte) ([]*Document, error) {
	if bytes.HasPrefix(text, []byte("\xFE\xFF")) || bytes.HasPrefix(text, []byte("\xFF\xFE")) {
		return nil, fault.New(fault.Invalid, "%s:1:1: the text is UTF-16, want UTF-8", name).
			Hint("save the file as UTF-8")
	}
	var documents []*Document
	line := 1
	for _, text := range pieces(text) {
		parsed, err := parse(name, line, text)
		if err != nil {
			return nil, err
		}
		documents = append(documents, parsed...)
		line += bytes.Count(text, []byte{'\n'})
	}
	return documents, nil
}

// Join returns the text of streams in a row. Of one stream it is that stream's
// own text; between two there is a separator, and a byte order mark stands at
// the start only.
func Join(streams ...[]*Document) []byte {
	var out bytes.Buffer
	for i, documents := range streams {
		for j, d := range documents {
			text := d.text
			if i > 0 && j == 0 {
				separate(&out, text)
				text = bytes.TrimPrefix(text, byteOrder)
			}
			out.Write(text)
		}
	}
	return out.Bytes()
}

// separate keeps the next stream's first document from the last one written.
func separate(out *bytes.Buffer, next []byte) {
	if out.Len() == 0 || len(next) == 0 {
		return
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n')
	}
	if first, _, _ := bytes.Cut(bytes.TrimPrefix(next, byteOrder), []byte("\n")); !separator.Match(first) {
		out.WriteString("---\n")
	}
}

// Text returns the document's bytes as they are now: its separator, comments
// and end marker included.
func (d *Document) Text() []byte { return d.text }

// Line returns the line of the stream that the document began on when it was
// opened, from 1.
func (d *Document) Line() int { return d.line }

// Root returns the document's content; a Node that does not exist if the
// document has none.
func (d *Document) Root() Node {
	if d.node == nil || len(d.node.Content) == 0 {
		return Node{}
	}
	return Node{document: d, node: d.node.Content[0]}
}

// pieces cuts before every --- and after every "..." line. A %directive belongs
// to the document whose --- it precedes.
func pieces(text []byte) [][]byte {
	var found [][]byte
	start, at, directive := 0, 0, false
	cut := func() {
		if at > start {
			found = append(found, text[start:at])
		}
		start, directive = at, false
	}
	for line := range bytes.Lines(text) {
		bare := line
		if at == 0 {
			bare = bytes.TrimPrefix(line, byteOrder)
		}
		switch {
		case separator.Match(bare) && !directive:
			cut()
			at += len(line)
		case documentEnd.Match(bare):
			at += len(line)
			cut()
		default:
			// A line of content cannot start with %.
			directive = !separator.Match(bare) && (directive || bytes.HasPrefix(bare, []byte("%")))
			at += len(line)
		}
	}
	cut()
	return found
}

// parse reads a piece: one document, or a row of JSON objects, which needs no
// separators. The piece's first line is the source's line.
func parse(name string, line int, text []byte) ([]*Document, error) {
	if documents := parseJSON(name, line, text); documents != nil {
		return documents, nil
	}
	node, err := parseYAML(text)
	if err == nil {
		d := &Document{source: name, line: line, text: text, node: node}
		if cycle := findCycle(node, map[*yaml.Node]bool{}); cycle != nil {
			return nil, d.errorAt(cycle, "not valid: the alias *%s is part of what it refers to", cycle.Value)
		}
		return []*Document{d}, nil
	}
	within, message := Problem(text, err)
	if tabLine, column := findTab(text, within); column > 0 {
		return nil, notYAML(name, line+tabLine-1, fmt.Sprintf(":%d", column), "a tab in the indentation, want spaces")
	}
	return nil, notYAML(name, line+within-1, "", message)
}

func parseYAML(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var node yaml.Node
	err := decoder.Decode(&node)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = decoder.Decode(new(yaml.Node))
	if errors.Is(err, io.EOF) {
		return &node, nil
	}
	if err == nil {
		err = errors.New("a second document without a --- line before it")
	}
	return nil, err
}

// findTab looks for a tab in the indentation of the line that the parser
// complains about and its neighbours: it is often one off.
func findTab(text []byte, near int) (line, column int) {
	for row := range bytes.Lines(text) {
		line++
		indent := row[:len(row)-len(bytes.TrimLeft(row, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && line >= near-1 && line <= near+1 &&
			len(bytes.TrimSpace(row)) > 0 {
			return line, tab + 1
		}
	}
	return 0, 0
}

// findCycle returns an alias to a node that it is part of. No other cycle can
// be written.
func findCycle(node *yaml.Node, open map[*yaml.Node]bool) *yaml.Node {
	if node == nil {
		return nil
	}
	if node.Kind == yaml.AliasNode {
		if open[node.Alias] {
			return node
		}
		return nil
	}
	open[node] = true
	defer delete(open, node)
	for _, inner := range node.Content {
		if cycle := findCycle(inner, open); cycle != nil {
			return cycle
		}
	}
	return nil
}

func (d *Document) errorAt(node *yaml.Node, format string, args ...any) error {
	return fault.New(
		fault.Invalid, "%s:%d:%d: %s", d.source, d.line+node.Line-1, node.Column, fmt.Sprintf(format, args...),
	)
}
