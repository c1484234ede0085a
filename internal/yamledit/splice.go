package yamledit

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// insertion is a text that takes the place of another, mostly of none.
type insertion struct {
	start, end int
	text       string
	// Of two at one place the deeper one goes first, and items before members:
	// they end what the other goes on.
	indent int
	item   bool
}

// splice makes the changes in the text, so that all else keeps its bytes; nil if
// it cannot tell where they go. The tree must be as it was read.
func (d *Document) splice(changes []change) []byte {
	e := editor{d: d, text: d.text, lines: lineStarts(d.text, d.isJSON), filled: map[*yaml.Node]*yaml.Node{}}
	e.order(d.node)
	for _, c := range changes {
		if !e.edit(c) {
			return nil
		}
	}
	slices.SortStableFunc(e.insertions, func(a, b insertion) int {
		switch {
		case a.start != b.start:
			return a.start - b.start
		case a.indent != b.indent:
			return b.indent - a.indent
		case a.item == b.item:
			return 0
		case a.item:
			return -1
		default:
			return 1
		}
	})
	var out bytes.Buffer
	at := 0
	for _, i := range e.insertions {
		if i.start < at {
			return nil
		}
		out.Write(d.text[at:i.start])
		text := []byte(i.text)
		if eol := d.endOfLine(); len(eol) > 1 {
			text = bytes.ReplaceAll(text, []byte{'\n'}, eol)
		}
		out.Write(text)
		at = i.end
	}
	out.Write(d.text[at:])
	return out.Bytes()
}

// editor knows where the nodes of a document stand in its text.
type editor struct {
	d          *Document
	text       []byte
	lines      []int        // where each line starts
	nodes      []*yaml.Node // with a text of their own, in its order
	insertions []insertion
	filled     map[*yaml.Node]*yaml.Node // lists written as [], and what they became
}

// order lists the nodes. An empty value has no place worth knowing.
func (e *editor) order(node *yaml.Node) {
	if node.Kind != yaml.DocumentNode && (node.Kind != yaml.ScalarNode || node.Value != "" || node.Style != 0) {
		e.nodes = append(e.nodes, node)
	}
	for _, inner := range node.Content {
		e.order(inner)
	}
}

// lineStarts counts lines as the parsers do.
func lineStarts(text []byte, isJSON bool) []int {
	starts := []int{len(text) - len(bytes.TrimPrefix(text, byteOrder))}
	for i := 0; i < len(text); {
		r, width := utf8.DecodeRune(text[i:])
		i += width
		switch {
		case r == '\n', !isJSON && (r == '\u0085' || r == '\u2028' || r == '\u2029'):
			starts = append(starts, i)
		case r == '\r' && !isJSON && (i == len(text) || text[i] != '\n'):
			starts = append(starts, i)
		}
	}
	return starts
}

// offset is where a node starts; -1 if it is a new one.
func (e *editor) offset(node *yaml.Node) int {
	if node.Line < 1 || node.Line > len(e.lines) {
		return -1
	}
	at := e.lines[node.Line-1]
	for range node.Column - 1 {
		_, width := utf8.DecodeRune(e.text[at:])
		at += width
	}
	return at
}

// edit finds the place of one change. Nothing on the way there may belong to
// others too.
func (e *editor) edit(c change) bool {
	var key *yaml.Node
	node := e.d.node.Content[0]
	for i := 0; ; i++ {
		if node.Kind == yaml.AliasNode || node.Anchor != "" || node.Style&yaml.TaggedStyle != 0 {
			return false
		}
		if i == len(c.path) {
			break
		}
		at, found := ownSlot(node, c.path[i])
		if !found {
			return false
		}
		key = nil
		if node.Kind == yaml.MappingNode {
			key = node.Content[at-1]
		}
		node = node.Content[at]
	}
	at, found := ownSlot(node, c.step)
	switch {
	case c.verb == remove:
		return found && e.remove(key, node, at)
	case found && (c.verb == replace || node.Kind == yaml.MappingNode):
		return e.replace(node, at, c.value)
	case node.Style&yaml.FlowStyle != 0 && len(node.Content) == 0 && !e.d.isJSON && key != nil:
		return e.fillEmpty(key, node, c)
	case node.Style&yaml.FlowStyle != 0:
		return e.addFlow(node, c)
	case len(node.Content) == 0:
		return false
	case node.Kind == yaml.SequenceNode && found:
		return e.insertItem(key, node, at, c)
	default:
		return e.append(node, c)
	}
}

// ownSlot is slot without merges.
func ownSlot(node *yaml.Node, step string) (at int, found bool) {
	if node.Kind == yaml.MappingNode && position(node, step) < 0 {
		return 0, false
	}
	at, err := slot(node, step)
	return at, err == nil
}
