package yamledit

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// append adds a member or item at the end of a map or list in block style.
func (e *editor) append(node *yaml.Node, c change) bool {
	column, entry := node.Column, itemOf(c.value)
	if node.Kind == yaml.MappingNode {
		column, entry = node.Content[0].Column, pair(c.step, c.value)
	} else if !e.startsWith(node, "-") {
		return false
	}
	at := e.endOf(node, column-1)
	if at < 0 {
		return false
	}
	text := e.block(entry, column-1)
	if at > 0 && e.text[at-1] != '\n' { // the last line has no end
		text = "\n" + strings.TrimSuffix(text, "\n")
	}
	e.insertions = append(e.insertions, insertion{at, at, text, column - 1, node.Kind == yaml.SequenceNode})
	return true
}

// insertItem adds an item before another: behind the one before that, or above the
// first one and its comment.
func (e *editor) insertItem(key, node *yaml.Node, at int, c change) bool {
	if !e.startsWith(node, "-") {
		return false
	}
	place := e.lines[node.Line-1]
	if at > 0 {
		before := node.Content[at-1]
		place = e.endOf(pairOf(before), node.Column)
	} else if key != nil {
		line := node.Line
		for line-1 > key.Line && e.isComment(line-1) {
			line--
		}
		place = e.lines[line-1]
	}
	if place < 0 {
		return false
	}
	e.insertions = append(e.insertions, insertion{
		start:  place,
		end:    place,
		text:   e.block(itemOf(c.value), node.Column-1),
		indent: node.Column - 1,
		item:   true,
	})
	return true
}

// fillEmpty adds the first item of a list written as [].
func (e *editor) fillEmpty(key, node *yaml.Node, c change) bool {
	at := e.offset(node)
	end := at + bytes.IndexByte(e.text[at:], ']') + 1
	if end <= at || len(bytes.Trim(e.text[at:end], "[] \t")) > 0 || e.inFlow(key) {
		return e.addFlow(node, c)
	}
	if list := e.filled[node]; list != nil { // the second item goes below the first
		list.Content = append(list.Content, c.value)
		written := &e.insertions[len(e.insertions)-1]
		written.text = e.below(key, list)
		return true
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{c.value}}
	e.filled[node] = list
	return e.fill(key, node, end-at, list)
}

// fill takes a value of some bytes away from behind its key and writes a list
// below the key.
func (e *editor) fill(key, value *yaml.Node, width int, list *yaml.Node) bool {
	if key.Style != 0 || key.Anchor != "" || key.Kind != yaml.ScalarNode {
		return false
	}
	lineEnd := e.lineEnd(key)
	if width > 0 {
		at := e.offset(value)
		if value.Line != key.Line || at < 0 || at+width > lineEnd {
			return false
		}
		start := at
		for start > 0 && e.text[start-1] == ' ' {
			start--
		}
		e.insertions = append(e.insertions, insertion{start: start, end: at + width})
	}
	e.insertions = append(e.insertions, insertion{lineEnd, lineEnd, e.below(key, list), key.Column, false})
	return true
}

// below is the text of a list without its key.
func (e *editor) below(key, list *yaml.Node) string {
	_, text, _ := strings.Cut(e.block(pair(key.Value, list), key.Column-1), "\n")
	if e.text[e.lineEnd(key)-1] != '\n' {
		return "\n" + strings.TrimSuffix(text, "\n")
	}
	return text
}

// lineEnd is where the line after the node's starts.
func (e *editor) lineEnd(node *yaml.Node) int {
	if node.Line < len(e.lines) {
		return e.lines[node.Line]
	}
	return len(e.text)
}

// pair is a map of one member, itemOf a list of one item; pairOf holds nodes of the
// document together.
func pair(name string, value *yaml.Node) *yaml.Node {
	return pairOf(keyNode(name), value)
}

func keyNode(name string) *yaml.Node {
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Style: yaml.DoubleQuotedStyle}
	blockStyle(key)
	return key
}

func pairOf(nodes ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: nodes}
}

func itemOf(value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{value}}
}

// block is the text of a value in block style at an indentation, its lines ended.
func (e *editor) block(value *yaml.Node, indent int) string {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if !indentsLists(e.text) {
		encoder.CompactSeqIndent()
	}
	if encoder.Encode(value) != nil || encoder.Close() != nil {
		return "" // what comes of it does not read as it should
	}
	var text strings.Builder
	for line := range strings.Lines(out.String()) {
		text.WriteString(strings.Repeat(" ", indent) + line)
	}
	return text.String()
}

// bareDash is the start of an item that stands on later lines.
var bareDash = lazyregexp.New(`^ *-[ \t]*(?:#.*)?\r?\n$`)

// endOf returns where the lines of a block node end: before what follows it,
// with the comments and empty lines that lead to that. -1 if that is unclear.
func (e *editor) endOf(node *yaml.Node, indent int) int {
	end := lastOf(node)
	first, last, limit := end, end, len(e.lines)+1
	for i, one := range e.nodes {
		if one != end {
			continue
		}
		if i+1 < len(e.nodes) {
			limit = e.nodes[i+1].Line
		}
		first = one
	}
	for line := last.Line + 1; line < limit && line <= len(e.lines); line++ {
		if documentEnd.Match(e.line(line)) {
			limit = line
		}
	}
	if first.Line < 1 || limit <= last.Line {
		return -1
	}
	next := -1
	if limit <= len(e.lines) {
		next = leading(e.line(limit))
	}
	// Empty lines are part of a text that keeps them.
	keeps := last.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 &&
		(strings.HasSuffix(last.Value, "\n\n") || last.Value == "\n")
	for limit-1 > last.Line {
		line := e.line(limit - 1)
		blank := len(bytes.TrimSpace(line)) == 0
		leads := e.isComment(limit-1) && leading(line) <= next ||
			leading(line) < indent && (e.isComment(limit-1) || bareDash.Match(line))
		if blank && keeps || !blank && !leads {
			break
		}
		limit--
	}
	if limit > len(e.lines) {
		return len(e.text)
	}
	return e.lines[limit-1]
}

// lastOf is the last node with a text below a node.
func lastOf(node *yaml.Node) *yaml.Node {
	for _, inner := range slices.Backward(node.Content) {
		inner = lastOf(inner)
		if inner.Kind != yaml.ScalarNode || inner.Value != "" || inner.Style != 0 {
			return inner
		}
	}
	return node
}

func (e *editor) line(number int) []byte {
	if number == len(e.lines) {
		return e.text[e.lines[number-1]:]
	}
	return e.text[e.lines[number-1]:e.lines[number]]
}

func (e *editor) isComment(number int) bool {
	return bytes.HasPrefix(bytes.TrimLeft(e.line(number), " \t"), []byte("#"))
}

// startsWith reports whether a text stands where the node does.
func (e *editor) startsWith(node *yaml.Node, text string) bool {
	at := e.offset(node)
	return at >= 0 && bytes.HasPrefix(e.text[at:], []byte(text))
}
