package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
)

// document is one document of a source, with the bytes it came from.
type document struct {
	source string
	line   int // of its first line in the source, from 1
	text   []byte
	node   *yaml.Node // nil for a document without content
	isJSON bool
}

var (
	separator   = regexp.MustCompile(`^---(?:[ \t].*)?\r?\n?$`)
	documentEnd = regexp.MustCompile(`^\.\.\.(?:[ \t].*)?\r?\n?$`)
	byteOrder   = []byte("\uFEFF")
)

// split cuts a source into its documents and parses each. The texts, joined,
// are the source again.
func split(source Source) ([]document, error) {
	if bytes.HasPrefix(source.Text, []byte("\xFE\xFF")) || bytes.HasPrefix(source.Text, []byte("\xFF\xFE")) {
		return nil, fault.New(fault.Invalid, "%s:1:1: the text is UTF-16, want UTF-8", source.Name).Hint("save the file as UTF-8")
	}
	var documents []document
	line := 1
	for _, text := range pieces(source.Text) {
		parsed, err := parse(source.Name, line, text)
		if err != nil {
			return nil, err
		}
		documents = append(documents, parsed...)
		line += bytes.Count(text, []byte{'\n'})
	}
	return documents, nil
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

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parse reads a piece: one document, or a row of JSON objects, which needs no
// separators. The piece's first line is the source's line.
func parse(name string, line int, text []byte) ([]document, error) {
	if documents := parseJSON(name, line, text); documents != nil {
		return documents, nil
	}
	node, err := parseYAML(text)
	if err == nil {
		d := document{source: name, line: line, text: text, node: node}
		if cycle := findCycle(node, map[*yaml.Node]bool{}); cycle != nil {
			return nil, d.errorAt(cycle, "not valid: the alias *%s stands inside what it names", cycle.Value)
		}
		return []document{d}, nil
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	within := 1
	if match := yamlLine.FindStringSubmatch(message); match != nil {
		_, _ = fmt.Sscan(match[1], &within) // digits, says the expression
		message = strings.Replace(message, match[0], "", 1)
	}
	at := fmt.Sprintf("%d", line+within-1)
	if tabLine, column := findTab(text, within); column > 0 {
		at, message = fmt.Sprintf("%d:%d", line+tabLine-1, column), "a tab in the indentation, want spaces"
	}
	return nil, fault.New(fault.Invalid, "%s:%s: not valid YAML: %s", name, at, message).
		Hint("look at the indentation and quotes at and above line %d", line+within-1)
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
		err = errors.New("a second document without --- on a line of its own")
	}
	return nil, err
}

// findTab looks for a tab in the indentation of the line that the parser
// complains about and its neighbours: it is often one off.
func findTab(text []byte, near int) (line, column int) {
	for row := range bytes.Lines(text) {
		line++
		indent := row[:len(row)-len(bytes.TrimLeft(row, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && line >= near-1 && line <= near+1 && len(bytes.TrimSpace(row)) > 0 {
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

func (d *document) errorAt(node *yaml.Node, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s:%d:%d: %s", d.source, d.line+node.Line-1, node.Column, fmt.Sprintf(format, args...))
}
