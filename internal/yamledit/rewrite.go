package yamledit

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// encode writes a changed YAML document as a whole. What stands before and
// after its content is kept, and its indentation.
func (d *Document) encode() ([]byte, error) {
	head, tail := d.frame()
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(indentOf(d.text))
	if !indentsLists(d.text) {
		encoder.CompactSeqIndent()
	}
	spell(d.node, false)
	if err := encoder.Encode(d.node); err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	text := out.Bytes()
	if eol := d.endOfLine(); len(eol) > 1 {
		text = bytes.ReplaceAll(text, []byte{'\n'}, eol)
	}
	return bytes.Join([][]byte{head, text, tail}, nil), nil
}

// spell keeps the encoder from writing !!merge, which << is by itself, and an
// empty value in braces, where it cannot be read again.
func spell(node *yaml.Node, flow bool) {
	flow = flow || node.Style&yaml.FlowStyle != 0
	switch {
	case isMerge(node) && node.Style == 0:
		node.Tag = ""
	case flow && isNull(node) && node.Value == "":
		node.Value = "null"
	}
	for _, inner := range node.Content {
		spell(inner, flow)
	}
}

// frame returns the lines up to --- and from "...", as they stand.
func (d *Document) frame() (head, tail []byte) {
	at := 0
	for line := range bytes.Lines(d.text) {
		bare := line
		if at == 0 {
			bare = bytes.TrimPrefix(line, byteOrder)
			head = line[:len(line)-len(bare)]
		}
		at += len(line)
		if separator.Match(bare) {
			head = d.text[:at]
			if len(bytes.TrimSpace(bare)) > len("---") { // what follows on the line is in the tree
				head = append(d.text[:at-len(bare):at-len(bare)], "---\n"...)
			}
		}
		if documentEnd.Match(bare) {
			tail = d.text[at-len(line):]
		}
	}
	return head, tail
}

// indentOf is the first indentation a text uses, 2 if it has none.
func indentOf(text []byte) int {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimLeft(line, " ")
		if indent := len(line) - len(trimmed); indent >= 2 && indent <= 9 && len(trimmed) > 1 && trimmed[0] != '#' &&
			trimmed[0] != '-' {
			return indent
		}
	}
	return 2
}

// indentsLists reports whether the first list under a key is indented further
// than the key.
func indentsLists(text []byte) bool {
	previous := []byte(nil)
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		if trimmed[0] == '-' && bytes.HasSuffix(bytes.TrimSpace(previous), []byte(":")) &&
			!bytes.HasPrefix(trimmed, []byte("---")) {
			return leading(line) > leading(previous)
		}
		previous = line
	}
	return true
}

func leading(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }
