package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// node is a JSON value with its place in the text. encoding/json's own decoding
// into structs is too lenient for policies: it folds the case of names and keeps
// the last of repeated members.
type node struct {
	kind    nodeKind
	text    string // of a string; of a number or boolean as written
	members []member
	items   []*node
	offset  int // of the value's first byte
}

type member struct {
	name   string
	offset int
	value  *node
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

// maxDocument is IAM's own limit for a policy parameter (spec iam-policy §1.4).
const maxDocument = 131072

// readNodes parses the whole text, which must be exactly one JSON value.
func readNodes(text []byte) (*node, *position, error) {
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		offset := len(text)
		if syntax, ok := err.(*json.SyntaxError); ok { //nolint:errorlint // Unmarshal returns it bare
			offset = max(0, int(syntax.Offset)-1)
		}
		at := positionOf(text, offset)
		return nil, &at, err
	}
	reader := nodeReader{decoder: json.NewDecoder(bytes.NewReader(text)), text: text}
	reader.decoder.UseNumber()
	root, err := reader.value(0)
	if err != nil {
		at := positionOf(text, int(reader.decoder.InputOffset()))
		return nil, &at, err
	}
	return root, nil, nil
}

type nodeReader struct {
	decoder *json.Decoder
	text    []byte
}

func (r *nodeReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	offset := r.next()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case string:
		return &node{kind: stringNode, text: token, offset: offset}, nil
	case json.Number:
		return &node{kind: numberNode, text: token.String(), offset: offset}, nil
	case bool:
		return &node{kind: boolNode, text: fmt.Sprint(token), offset: offset}, nil
	case json.Delim:
		if token == '{' {
			return r.object(offset, depth)
		}
		return r.array(offset, depth)
	}
	return &node{kind: nullNode, offset: offset}, nil
}

func (r *nodeReader) object(offset, depth int) (*node, error) {
	object := &node{kind: objectNode, offset: offset}
	for r.decoder.More() {
		at := r.next()
		name, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object.members = append(object.members, member{name.(string), at, value}) //nolint:forcetypeassert // a member's name is a string by JSON's grammar
	}
	_, err := r.decoder.Token()
	return object, err
}

func (r *nodeReader) array(offset, depth int) (*node, error) {
	array := &node{kind: arrayNode, offset: offset}
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		array.items = append(array.items, item)
	}
	_, err := r.decoder.Token()
	return array, err
}

// next is the offset of the next token: the decoder's, past separators.
func (r *nodeReader) next() int {
	offset := int(r.decoder.InputOffset())
	for offset < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[offset]) >= 0 {
		offset++
	}
	return offset
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
	return [...]string{"null", "a text", "a number", "a boolean", "an object", "a list"}[n.kind]
}

// position is a place in a text: line and column count from 1, columns in
// characters.
type position struct{ line, column int }

func positionOf(text []byte, offset int) position {
	before := text[:min(offset, len(text))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return position{line, column}
}
