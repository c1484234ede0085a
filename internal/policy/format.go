package policy

import (
	"bytes"
	"slices"
	"strings"
)

// Format writes a document in its standard form: known elements in the order of
// the grammar, two spaces a level, lists of one value on one line. Texts, numbers
// and the order of lists and conditions stay as written. It looks at form only,
// so a document that AWS would refuse can be formatted; the error of one that is
// not JSON is a *SyntaxError.
func Format(name string, text []byte) ([]byte, error) {
	root, at, err := readNodes(text)
	if err != nil {
		d := &decoder{kind: Identity, name: name, text: text}
		d.report(span{at, at}, notJSON, "", "not valid JSON: %v%s", err, d.unusualNear(at))
		return nil, d.syntaxError(&d.violations[0])
	}
	p := printer{source: text}
	p.value(root, documentOrder, 0)
	p.out.WriteByte('\n')
	return p.out.Bytes(), nil
}

var documentOrder = []string{"Version", "Id", "Statement"}

type printer struct {
	source []byte
	out    bytes.Buffer
}

// value prints a node; order is that of its members.
func (p *printer) value(n *node, order []string, depth int) {
	switch n.kind {
	case objectNode:
		p.object(n, order, depth)
	case arrayNode:
		p.array(n, order, depth)
	case nullNode, stringNode, numberNode, boolNode:
		p.out.Write(p.source[n.at.start:n.at.end])
	}
}

func (p *printer) object(n *node, order []string, depth int) {
	if len(n.members) == 0 {
		p.out.WriteString("{}")
		return
	}
	members := slices.Clone(n.members)
	slices.SortStableFunc(members, func(a, b member) int { return place(order, a.name) - place(order, b.name) })
	p.out.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			p.out.WriteByte(',')
		}
		p.line(depth + 1)
		p.out.Write(p.source[m.at.start:m.at.end])
		p.out.WriteString(": ")
		var inner []string
		if depth == 0 && m.name == "Statement" {
			inner = statementElements
		}
		p.value(m.value, inner, depth+1)
	}
	p.line(depth)
	p.out.WriteByte('}')
}

// place puts unknown members last.
func place(order []string, name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

func (p *printer) array(n *node, order []string, depth int) {
	if len(n.items) == 0 {
		p.out.WriteString("[]")
		return
	}
	oneScalar := len(n.items) == 1 && n.items[0].kind != objectNode && n.items[0].kind != arrayNode
	p.out.WriteByte('[')
	for i, item := range n.items {
		if i > 0 {
			p.out.WriteByte(',')
		}
		if !oneScalar {
			p.line(depth + 1)
		}
		p.value(item, order, depth+1)
	}
	if !oneScalar {
		p.line(depth)
	}
	p.out.WriteByte(']')
}

func (p *printer) line(depth int) {
	p.out.WriteByte('\n')
	p.out.WriteString(strings.Repeat("  ", depth))
}
