package yamledit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// addFlow adds a member or item to {} or [], of YAML or JSON.
func (e *editor) addFlow(node *yaml.Node, c change) bool {
	open := e.offset(node)
	if open < 0 {
		return false
	}
	last, closing := flowEnd(e.text, open)
	if closing < 0 {
		return false
	}
	before := e.pending(last)
	first := closing
	if len(node.Content) > 0 {
		if first = e.offset(node.Content[0]); first < open {
			return false
		}
	}
	spread := bytes.IndexByte(e.text[open:first], '\n') >= 0 || e.d.isJSON && len(node.Content) == 0 && e.spreads()
	outer := e.lineIndent(closing)
	if !spread {
		outer = ""
	}
	inner := outer + e.unit()
	if len(node.Content) > 0 && spread {
		inner = e.lineIndent(e.offset(node.Content[0]))
	}
	text := e.flow(c.value, inner)
	if node.Kind == yaml.MappingNode {
		text = e.flowKey(c.step) + text
	}
	if at, err := strconv.Atoi(c.step); err == nil && node.Kind == yaml.SequenceNode && at > 0 &&
		at < len(node.Content) {
		place := e.offset(node.Content[at])
		if place < open {
			return false
		}
		separator := ","
		if spread || !e.d.isJSON || bytes.Contains(e.text[open:closing], []byte(", ")) {
			separator = ", "
		}
		if spread {
			separator = ",\n" + inner
		}
		e.write(place, place, text+separator)
		return true
	}
	gap := ""
	switch {
	case spread:
		gap = "\n" + inner
	case (len(node.Content) > 0 || before) && (!e.d.isJSON || bytes.Contains(e.text[open:closing], []byte(", "))):
		gap = " "
	}
	if c.step == "0" && node.Kind == yaml.SequenceNode && len(node.Content) > 0 {
		if gap == " " {
			text += ", "
		} else {
			text = gap + text + ","
		}
		e.insertions = append(e.insertions, insertion{start: open + 1, end: open + 1, text: text})
		return true
	}
	if before || len(node.Content) > 0 && e.text[last-1] != ',' {
		text = "," + gap + text
		if e.text[last-1] == ':' {
			text = " " + text // else the colon were part of the key
		}
	} else {
		text = gap + text
	}
	if len(node.Content) == 0 && spread && !before && bytes.IndexByte(e.text[last:closing], '\n') < 0 {
		e.insertions = append(e.insertions, insertion{start: closing, end: closing, text: "\n" + outer, indent: -1})
	}
	e.insertions = append(e.insertions, insertion{start: last, end: last, text: text})
	return true
}

// pending reports whether something is inserted there already.
func (e *editor) pending(at int) bool {
	for _, one := range e.insertions {
		if one.start == at && one.indent >= 0 {
			return true
		}
	}
	return false
}

// flow is a value's text; lines after its first begin with the indentation.
func (e *editor) flow(value *yaml.Node, indent string) string {
	if !e.d.isJSON {
		return flowYAML(value)
	}
	compact, err := toJSON(value)
	if err != nil {
		return ""
	}
	if !e.spreads() {
		return string(compact)
	}
	var out bytes.Buffer
	if json.Indent(&out, compact, indent, e.unit()) != nil {
		return ""
	}
	return out.String()
}

func (e *editor) flowKey(name string) string {
	switch {
	case !e.d.isJSON:
		return keyYAML(name) + ": "
	case e.spreads() || bytes.Contains(e.text, []byte(`": `)):
		return string(encode(name)) + ": "
	default:
		return string(encode(name)) + ":"
	}
}

// plainKey is what is a string in braces too.
var plainKey = lazyregexp.New(`^[A-Za-z_/][\w\-/.]*$`)

func keyYAML(name string) string {
	node := yaml.Node{Kind: yaml.ScalarNode, Value: name}
	if plainKey.MatchString(name) && isString(&node) {
		return name
	}
	return string(encode(name))
}

// flowYAML writes strings in quotes: fewer are plain here than elsewhere.
func flowYAML(value *yaml.Node) string {
	var parts []string
	switch value.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			parts = append(parts, keyYAML(value.Content[i].Value)+": "+flowYAML(value.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, item := range value.Content {
			parts = append(parts, flowYAML(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		if value.Tag != "!!str" {
			return value.Value
		}
		return string(encode(value.Value))
	}
}

// spreads reports whether the JSON is written over lines.
func (e *editor) spreads() bool {
	return bytes.IndexByte(bytes.TrimSpace(e.text), '\n') >= 0
}

// unit is one step of the text's indentation.
func (e *editor) unit() string {
	for line := range bytes.Lines(e.text) {
		if rest := bytes.TrimLeft(line, " \t"); len(rest) < len(line) && len(bytes.TrimSpace(rest)) > 0 {
			return string(line[:len(line)-len(rest)])
		}
	}
	return "  "
}

// lineIndent is the white space that a place's line begins with.
func (e *editor) lineIndent(at int) string {
	start := bytes.LastIndexByte(e.text[:at], '\n') + 1
	line := e.text[start:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

func (e *editor) inFlow(node *yaml.Node) bool {
	var within func(*yaml.Node, bool) bool
	within = func(one *yaml.Node, flow bool) bool {
		if one == node {
			return flow
		}
		for _, inner := range one.Content {
			if within(inner, flow || one.Style&yaml.FlowStyle != 0) {
				return true
			}
		}
		return false
	}
	return within(e.d.node, false)
}

// flowEnd finds the end of a collection that opens at an offset: where its last
// content ends, and its closing bracket; -1 if there is none.
func flowEnd(text []byte, open int) (last, closing int) {
	depth, last := 0, open+1
	plain := false // within a scalar without quotes, where quotes are letters
	for i := open; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '[' || c == '{':
			depth, plain = depth+1, false
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return last, i
			}
			plain = false
		case c == ',' || c == ':' && !plain:
			plain = false
		case c == ':' && i+1 < len(text) && strings.IndexByte(" \t\r\n,[]{}", text[i+1]) >= 0:
			plain = false
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c == '#' && strings.IndexByte(" \t\r\n", text[i-1]) >= 0:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
			continue
		case (c == '"' || c == '\'') && !plain:
			end := quoteEnd(text, i)
			if end < 0 {
				return 0, -1
			}
			i = end - 1
		default:
			plain = true
		}
		last = i + 1
	}
	return 0, -1
}
