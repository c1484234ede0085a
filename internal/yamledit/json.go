package yamledit

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseJSON reads a piece that consists of JSON objects; nil if it does not.
// The YAML parser would refuse some of them, such as escaped surrogate pairs.
func parseJSON(name string, line int, text []byte) []*Document {
	head := len(text) - len(bytes.TrimPrefix(text, byteOrder))
	if first, _, _ := bytes.Cut(text[head:], []byte{'\n'}); separator.Match(first) {
		head = min(head+len(first)+1, len(text))
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text[head:]), []byte("{")) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text[head:]))
	var ends []int
	for decoder.More() {
		var value map[string]json.RawMessage
		if decoder.Decode(&value) != nil {
			return nil
		}
		ends = append(ends, head+int(decoder.InputOffset()))
	}
	if len(bytes.TrimSpace(text[ends[len(ends)-1]:])) > 0 {
		return nil
	}
	ends[len(ends)-1] = len(text)
	var documents []*Document
	for start := 0; len(ends) > 0; start, ends = ends[0], ends[1:] {
		d := &Document{source: name, line: line, text: text[start:ends[0]], isJSON: true}
		d.node = jsonTree(d.text, max(head-start, 0))
		if d.node == nil {
			return nil
		}
		documents = append(documents, d)
		line += bytes.Count(d.text, []byte{'\n'})
	}
	return documents
}

// jsonTree gives JSON the form that YAML has here, numbers as they are written.
func jsonTree(text []byte, head int) *yaml.Node {
	decoder := json.NewDecoder(bytes.NewReader(text[head:]))
	decoder.UseNumber()
	r := jsonReader{decoder: decoder, text: text, head: head, line: 1}
	root := r.value()
	if root == nil {
		return nil
	}
	return &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}, Line: root.Line, Column: root.Column}
}

type jsonReader struct {
	decoder *json.Decoder
	text    []byte
	head    int // where the decoder began
	// seen is how far the text was counted, line and start are of the line there.
	seen, line, start int
}

// value reads one value; nil at the end of a list or of the text.
func (r *jsonReader) value() *yaml.Node {
	at := r.head + int(r.decoder.InputOffset())
	for at < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[at]) >= 0 {
		at++
	}
	for ; r.seen < at; r.seen++ {
		if r.text[r.seen] == '\n' {
			r.line, r.start = r.line+1, r.seen+1
		}
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil
	}
	node := &yaml.Node{
		Kind:   yaml.ScalarNode,
		Line:   r.line,
		Column: utf8.RuneCount(bytes.TrimPrefix(r.text[r.start:at], byteOrder)) + 1,
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '}' || token == ']' {
			return nil
		}
		node.Kind, node.Tag, node.Style = yaml.MappingNode, "!!map", yaml.FlowStyle
		if token == '[' {
			node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
		}
		for inner := r.value(); inner != nil; inner = r.value() {
			node.Content = append(node.Content, inner)
		}
	case string:
		node.Tag, node.Style, node.Value = "!!str", yaml.DoubleQuotedStyle, token
	case json.Number:
		node.Tag, node.Value = "!!int", token.String()
		if strings.ContainsAny(node.Value, ".eE") {
			node.Tag = "!!float"
		}
	case bool:
		node.Tag, node.Value = "!!bool", string(encode(token))
	default:
		node.Tag, node.Value = "!!null", "null"
	}
	return node
}

// encode is for values that always can be JSON.
func encode(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // an ARN or path is to be read by people
	if encoder.Encode(value) != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}
