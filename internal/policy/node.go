package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/finding"
)

// node is a JSON value with its position in the text. encoding/json's own
// decoding into structs is too lenient for policies: it folds the case of names
// and keeps the last of repeated members.
type node struct {
	kind    nodeKind
	text    string // of a string; of a number or boolean as written
	members []member
	items   []*node
	at      span
}

// span is where something is in the text: from its first byte to the byte after
// its last.
type span struct{ start, end int }

// replacedBy is an edit that puts a text in the place of what stands there.
func (s span) replacedBy(text string) finding.Edit {
	return finding.Edit{Start: s.start, End: s.end, Text: text}
}

type member struct {
	name  string
	at    span // of the name
	value *node
}

type nodeKind int

const (
	nullNode nodeKind = iota
	stringNode
	numberNode
	boolNode
	objectNode
	arrayNode
)

// maxDepth is far beyond what the grammar nests.
const maxDepth = 16

// maxParameter is IAM's limit for a document in a call, in characters (spec
// iam-policy §1.4). Some of AWS's own managed policies are longer.
const maxParameter = 131072

// maxDocument bounds what is read at all, in bytes.
const maxDocument = 1 << 20

// readNodes parses the whole text, which must be exactly one JSON value. at is
// where an error is, in bytes.
func readNodes(text []byte) (root *node, at int, err error) {
	if !json.Valid(text) {
		err = json.Unmarshal(text, new(json.RawMessage))
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && syntax.Offset > 0 {
			return nil, int(syntax.Offset) - 1, err
		}
		return nil, len(text), err
	}
	r := nodeReader{text: string(text)}
	root, err = r.value(0)
	return root, r.at, err
}

// nodeReader walks over text that is known to be JSON; it only finds where things
// begin and end.
type nodeReader struct {
	text string
	at   int
}

func (r *nodeReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	start := r.next()
	n := &node{}
	var err error
	switch r.text[start] {
	case '{':
		n.kind = objectNode
		n.members, err = r.members(depth)
	case '[':
		n.kind = arrayNode
		n.items, err = r.items(depth)
	case '"':
		n.kind, n.text = stringNode, r.string()
	case 't', 'f':
		n.kind, n.text = boolNode, r.word()
	case 'n':
		n.kind = nullNode
		r.word()
	default:
		n.kind, n.text = numberNode, r.word()
	}
	n.at = span{start, r.at}
	return n, err
}

func (r *nodeReader) members(depth int) ([]member, error) {
	var members []member
	r.at++ // {
	for r.text[r.next()] != '}' {
		start := r.at
		name := r.string()
		at := span{start, r.at}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, at, value})
	}
	r.at++
	return members, nil
}

func (r *nodeReader) items(depth int) ([]*node, error) {
	var items []*node
	r.at++ // [
	for r.text[r.next()] != ']' {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	r.at++
	return items, nil
}

// next moves past separators to the next token.
func (r *nodeReader) next() int {
	for strings.IndexByte(" \t\r\n,:", r.text[r.at]) >= 0 {
		r.at++
	}
	return r.at
}

// word reads a number, true, false or null.
func (r *nodeReader) word() string {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n,:]}", r.text[r.at]) < 0 {
		r.at++
	}
	return r.text[start:r.at]
}

// string reads a text; one without escapes is a part of the document.
func (r *nodeReader) string() string {
	start := r.at
	plain := true
	for r.at++; r.text[r.at] != '"'; r.at++ {
		switch c := r.text[r.at]; {
		case c == '\\':
			plain = false
			r.at++
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	r.at++
	if plain {
		return r.text[start+1 : r.at-1]
	}
	var text string
	_ = json.Unmarshal([]byte(r.text[start:r.at]), &text) // it is known to be a JSON text
	return text
}

// find returns the value of the member with exactly this name.
func (n *node) find(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

func (n *node) kindName() string {
	return [...]string{"null", "a string", "a number", "a boolean", "an object", "a list"}[n.kind]
}

// position is a place in a text: line and column count from 1, columns in
// characters.
type position struct{ line, column int }

func positionOf(text []byte, offset int) position { return newCursor(text).to(offset) }

// cursor finds the positions of offsets that mostly grow, without counting from
// the beginning each time.
type cursor struct {
	text   []byte
	offset int
	at     position
}

func newCursor(text []byte) *cursor { return &cursor{text: text, at: position{1, 1}} }

func (c *cursor) to(offset int) position {
	offset = min(offset, len(c.text))
	if offset < c.offset {
		back := c.text[offset:c.offset]
		if bytes.IndexByte(back, '\n') < 0 {
			c.offset, c.at.column = offset, c.at.column-utf8.RuneCount(back)
			return c.at
		}
		c.offset, c.at = 0, position{1, 1}
	}
	passed := c.text[c.offset:offset]
	if lines := bytes.Count(passed, []byte{'\n'}); lines > 0 {
		c.at = position{c.at.line + lines, 1}
		passed = passed[bytes.LastIndexByte(passed, '\n')+1:]
	}
	c.at.column += utf8.RuneCount(passed)
	c.offset = offset
	return c.at
}

// jsonText writes a text as JSON, without escaping what HTML would need.
func jsonText(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text can always be encoded
	return strings.TrimSuffix(out.String(), "\n")
}
