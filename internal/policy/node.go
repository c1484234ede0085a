package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
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
	at      span
}

// span is where something stands in the text: from its first byte to the byte
// after its last.
type span struct{ start, end int }

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

// maxParameter is IAM's limit for a document in a call, in bytes (spec
// iam-policy §1.4). Some of AWS's own managed policies are longer.
const maxParameter = 131072

// maxDocument bounds what is read at all, in bytes.
const maxDocument = 1 << 20

// readNodes parses the whole text, which must be exactly one JSON value.
func readNodes(text []byte) (root *node, at int, err error) {
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		offset := len(text)
		if syntax, ok := err.(*json.SyntaxError); ok { //nolint:errorlint // Unmarshal returns it bare
			offset = max(0, int(syntax.Offset)-1)
		}
		return nil, offset, err
	}
	reader := nodeReader{decoder: json.NewDecoder(bytes.NewReader(text)), text: text}
	reader.decoder.UseNumber()
	root, err = reader.value(0)
	return root, int(reader.decoder.InputOffset()), err
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
	at := span{offset, int(r.decoder.InputOffset())}
	switch token := token.(type) {
	case string:
		return &node{kind: stringNode, text: token, at: at}, nil
	case json.Number:
		return &node{kind: numberNode, text: token.String(), at: at}, nil
	case bool:
		return &node{kind: boolNode, text: strconv.FormatBool(token), at: at}, nil
	case json.Delim:
		if token == '{' {
			return r.object(offset, depth)
		}
		return r.array(offset, depth)
	}
	return &node{kind: nullNode, at: at}, nil
}

func (r *nodeReader) object(offset, depth int) (*node, error) {
	object := &node{kind: objectNode}
	for r.decoder.More() {
		start := r.next()
		name, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		at := span{start, int(r.decoder.InputOffset())}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object.members = append(object.members, member{name.(string), at, value}) //nolint:forcetypeassert // a member's name is a string by JSON's grammar
	}
	_, err := r.decoder.Token()
	object.at = span{offset, int(r.decoder.InputOffset())}
	return object, err
}

func (r *nodeReader) array(offset, depth int) (*node, error) {
	array := &node{kind: arrayNode}
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		array.items = append(array.items, item)
	}
	_, err := r.decoder.Token()
	array.at = span{offset, int(r.decoder.InputOffset())}
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

// jsonText writes a text as JSON, without escaping what HTML would need.
func jsonText(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text can always be encoded
	return strings.TrimSuffix(out.String(), "\n")
}
