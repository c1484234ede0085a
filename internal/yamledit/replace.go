package yamledit

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// replace puts a value where another stands.
func (e *editor) replace(parent *yaml.Node, at int, value *yaml.Node) bool {
	old := parent.Content[at]
	if old.Anchor != "" || old.Style&yaml.TaggedStyle != 0 {
		return false
	}
	if parent.Style&yaml.FlowStyle != 0 {
		start, end := e.span(old)
		if end < 0 {
			return false
		}
		e.write(start, end, e.flow(value, e.lineIndent(start)))
		return true
	}
	value = styled(old, value)
	end := e.endOf(pairOf(old), parent.Column)
	if e.replaceLiteral(old, value, end) {
		return true
	}
	if parent.Kind == yaml.SequenceNode {
		return e.replaceItem(parent, old, value, end)
	}
	return e.replaceMember(parent.Content[at-1], old, value)
}

// styled is a value in the quotes of the one that it replaces.
func styled(old, value *yaml.Node) *yaml.Node {
	quotes := old.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	if quotes == 0 || old.Kind != yaml.ScalarNode || value.Tag != "!!str" || strings.Contains(value.Value, "\n") {
		return value
	}
	copied := *value
	copied.Style = quotes
	return &copied
}

func (e *editor) replaceMember(key, old, value *yaml.Node) bool {
	colon := e.afterKey(key)
	if colon < 0 {
		return false
	}
	indent := key.Column - 1
	text := e.block(pair("k", value), indent)
	head, below, _ := strings.Cut(strings.TrimPrefix(text, strings.Repeat(" ", indent)+"k:"), "\n")
	end := e.endOf(pairOf(key, old), key.Column)
	switch {
	case end < 0:
		return false
	case isNowhere(old):
		e.write(colon, colon, head)
		e.writeBelow(e.lineEnd(key), below, key.Column)
		return true
	case old.Line > key.Line:
		start := e.lines[old.Line-1]
		if !e.isBlank(start, e.offset(old)) {
			return false
		}
		e.write(colon, colon, head)
		e.write(start, end, e.ended(below, end))
		return true
	}
	start, after := e.span(old)
	if head == "" {
		for start > colon && e.text[start-1] == ' ' {
			start--
		}
	}
	if after < 0 { // a text over lines
		e.write(start, end, e.ended(strings.TrimPrefix(head, " ")+"\n"+below, end))
		return true
	}
	e.write(start, after, strings.TrimPrefix(head, " "))
	lineEnd := len(e.text)
	if length := bytes.IndexByte(e.text[after:], '\n'); length >= 0 {
		lineEnd = after + length + 1
	}
	e.writeBelow(lineEnd, below, key.Column)
	return true
}

func (e *editor) replaceItem(parent, old, value *yaml.Node, end int) bool {
	dash := e.dash(parent, old)
	if dash < 0 || end < 0 {
		return false
	}
	text := e.block(itemOf(value), parent.Column-1)[parent.Column-1:]
	if start, after := e.span(old); after >= 0 && strings.Count(text, "\n") == 1 && value.Kind == yaml.ScalarNode {
		e.write(start, after, strings.TrimSpace(strings.TrimPrefix(text, "- ")))
		return true
	}
	e.write(dash, end, e.ended(text, end))
	return true
}

// blockHeader is what stands before the lines of a literal text: no number, which
// would say how far they are indented.
var blockHeader = lazyregexp.New(`^\|[+-]?((?:[ \t]+#.*)?)$`)

// replaceLiteral keeps the indentation of a text's lines, and so the bytes of those
// that are the same.
func (e *editor) replaceLiteral(old, value *yaml.Node, end int) bool {
	text := value.Value
	if old.Style&yaml.LiteralStyle == 0 || value.Tag != "!!str" || strings.Trim(text, "\n") == "" || text[0] == ' ' ||
		end < 0 {
		return false
	}
	start := e.offset(old)
	header, body, _ := bytes.Cut(e.text[start:end], []byte("\n"))
	match := blockHeader.FindSubmatch(bytes.TrimSuffix(header, []byte("\r")))
	if match == nil {
		return false
	}
	indent := 0
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) > 0 {
			indent = leading(line)
			break
		}
	}
	var out strings.Builder
	out.WriteString("|")
	switch trimmed := strings.TrimRight(text, "\n"); len(text) - len(trimmed) {
	case 0:
		out.WriteString("-")
	case 1:
	default:
		out.WriteString("+")
	}
	out.Write(match[1])
	out.WriteString("\n")
	for line := range strings.Lines(text) {
		if line != "\n" {
			out.WriteString(strings.Repeat(" ", indent))
		}
		out.WriteString(line)
	}
	if !strings.HasSuffix(text, "\n") {
		out.WriteString("\n")
	}
	e.write(start, end, e.ended(out.String(), end))
	return indent > 0
}

// remove takes an entry of a map or list away, with the lines that are only its own:
// a comment below that is indented no further than it is of what follows.
func (e *editor) remove(key, parent *yaml.Node, at int) bool {
	if parent.Style&yaml.FlowStyle != 0 {
		return e.removeFlow(parent, at)
	}
	entry := entryOf(parent, at)
	start, end := e.startOf(parent, entry[0]), e.endOf(pairOf(entry...), parent.Column)
	if start < 0 || end < 0 {
		return false
	}
	lineStart := bytes.LastIndexByte(e.text[:start], '\n') + 1
	lineStart = max(lineStart, e.lines[0]) // behind the byte order mark
	ownLine := e.isBlank(lineStart, start)
	if len(entry) == len(parent.Content) {
		braces := "[]"
		if parent.Kind == yaml.MappingNode {
			braces = "{}"
		}
		if key == nil || parent.Line == key.Line {
			e.write(start, end, e.ended(braces+"\n", end))
			return true
		}
		colon := e.afterKey(key)
		e.write(colon, colon, " "+braces)
		e.write(lineStart, end, "")
		return colon >= 0 && ownLine
	}
	if ownLine {
		e.write(lineStart, end, "")
		return true
	}
	// The first entry behind a dash: the next one moves up to it.
	if at+1 >= len(parent.Content) {
		return false
	}
	next := e.startOf(parent, parent.Content[at+1])
	if next < end || !e.isBlank(end, next) {
		return false
	}
	e.write(start, next, "")
	return true
}

// restOfLine is what may follow an entry of a flow collection on its line.
var restOfLine = lazyregexp.New(`^[ \t]*,?[ \t]*(?:#.*)?\r?\n`)

func (e *editor) removeFlow(parent *yaml.Node, at int) bool {
	entry := entryOf(parent, at)
	start := e.offset(entry[0])
	_, end := e.span(parent.Content[at])
	if start < 0 || end < 0 {
		return false
	}
	lineStart := bytes.LastIndexByte(e.text[:start], '\n') + 1
	rest := restOfLine.Find(e.text[end:])
	from, to := start, end
	switch {
	case len(entry) == len(parent.Content):
		open := e.offset(parent)
		_, closing := flowEnd(e.text, open)
		if open < 0 || closing < 0 {
			return false
		}
		from, to = open+1, closing
	case rest != nil && e.isBlank(lineStart, start) && (!e.d.isJSON || bytes.IndexByte(rest, ',') >= 0):
		e.write(lineStart, end+len(rest), "")
		return true
	case at+1 < len(parent.Content):
		to = e.offset(parent.Content[at+1])
	default:
		_, from = e.span(parent.Content[at-len(entry)])
	}
	if from < 0 || from > start || to < end || bytes.IndexByte(e.text[from:start], '#') >= 0 ||
		bytes.IndexByte(e.text[end:to], '#') >= 0 {
		return false
	}
	e.write(from, to, "")
	return true
}

// entryOf returns a list's item, or a map's key and value.
func entryOf(parent *yaml.Node, at int) []*yaml.Node {
	if parent.Kind == yaml.MappingNode {
		return parent.Content[at-1 : at+1]
	}
	return parent.Content[at : at+1]
}

// startOf is where an entry of a block starts: at its key, or at its dash.
func (e *editor) startOf(parent, first *yaml.Node) int {
	if parent.Kind == yaml.SequenceNode {
		return e.dash(parent, first)
	}
	return e.offset(first)
}

// dash is where an item's dash is: on the item's line or above it, with comments
// between; else -1.
func (e *editor) dash(parent, item *yaml.Node) int {
	if item.Line < 1 || item.Line > len(e.lines) {
		return -1
	}
	for number := item.Line; number > 0; number-- {
		line, column := e.line(number), parent.Column-1
		if column < len(line) && line[column] == '-' {
			return e.lines[number-1] + column
		}
		if number < item.Line && len(bytes.TrimSpace(line)) > 0 && !e.isComment(number) {
			return -1
		}
	}
	return -1
}

// afterKey is where the text behind a key's colon starts, or -1.
func (e *editor) afterKey(key *yaml.Node) int {
	_, at := e.span(key)
	for at >= 0 && at < len(e.text) && (e.text[at] == ' ' || e.text[at] == '\t') {
		at++
	}
	if at < 0 || key.Anchor != "" || key.Kind != yaml.ScalarNode || at >= len(e.text) || e.text[at] != ':' {
		return -1
	}
	return at + 1
}

// span is where a scalar, alias or flow collection starts and ends; an end of -1 if
// that is not plain to see, as of texts over several lines without quotes.
func (e *editor) span(node *yaml.Node) (start, end int) {
	start = e.offset(node)
	if start < 0 || node.Anchor != "" {
		return start, -1
	}
	text := node.Value
	switch {
	case node.Kind == yaml.AliasNode:
		text = "*" + text
	case node.Kind != yaml.ScalarNode:
		if _, closing := flowEnd(e.text, start); node.Style&yaml.FlowStyle != 0 && closing >= 0 {
			return start, closing + 1
		}
		return start, -1
	case node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		return start, quoteEnd(e.text, start)
	case node.Style != 0:
		return start, -1
	}
	if text == "" || !bytes.HasPrefix(e.text[start:], []byte(text)) {
		return start, -1
	}
	return start, start + len(text)
}

// quoteEnd is where a text in quotes ends that starts at an offset, or -1.
func quoteEnd(text []byte, start int) int {
	if start >= len(text) {
		return -1
	}
	quote := text[start]
	for i := start + 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] == quote && quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}

// isNowhere reports whether a value is null because nothing stands there.
func isNowhere(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Value == "" && node.Style == 0
}

// isBlank reports whether only white space stands between two places.
func (e *editor) isBlank(start, end int) bool {
	return start <= end && len(bytes.TrimSpace(e.text[start:end])) == 0
}

// ended is text for lines up to a place, without a line end if there is none.
func (e *editor) ended(text string, end int) string {
	if end == 0 || e.text[end-1] == '\n' {
		return text
	}
	return strings.TrimSuffix(text, "\n")
}

// write puts a text in the place of another.
func (e *editor) write(start, end int, text string) {
	e.insertions = append(e.insertions, insertion{start: start, end: end, text: text})
}

// writeBelow puts lines where one ends.
func (e *editor) writeBelow(at int, lines string, indent int) {
	if lines == "" {
		return
	}
	if e.text[at-1] != '\n' {
		lines = "\n" + strings.TrimSuffix(lines, "\n")
	}
	e.insertions = append(e.insertions, insertion{start: at, end: at, text: lines, indent: indent})
}
