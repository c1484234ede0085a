package yamledit

import (
	"iter"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Node is a value in a document, found by its path. One that does not exist is the
// zero value, of which all questions can be asked. It is good until the document is
// changed.
type Node struct {
	document *Document
	node     *yaml.Node
	path     Path
}

// Get goes down from a value by names of members and numbers of items. Aliases and
// merges are followed.
func (n Node) Get(path ...string) Node {
	for _, step := range path {
		var inner *yaml.Node
		switch node := n.resolved(); {
		case n.IsMap():
			inner = member(node, step)
		case n.IsList():
			if at, err := strconv.Atoi(step); err == nil && at >= 0 && at < len(node.Content) {
				inner = resolve(node.Content[at])
			}
		}
		if inner == nil {
			return Node{}
		}
		n = Node{n.document, inner, n.path.To(step)}
	}
	return n
}

// resolved is never nil.
func (n Node) resolved() *yaml.Node {
	if n.node == nil {
		return &yaml.Node{}
	}
	return resolve(n.node)
}

// Exists reports whether there is such a value; null is one.
func (n Node) Exists() bool { return n.node != nil }

// IsMap reports whether the value is a map.
func (n Node) IsMap() bool { return n.resolved().Kind == yaml.MappingNode }

// IsList reports whether the value is a list.
func (n Node) IsList() bool { return n.resolved().Kind == yaml.SequenceNode }

// IsNull reports whether the value is null, in whatever way that is written.
func (n Node) IsNull() bool { return isNull(n.resolved()) }

// Scalar returns what a scalar says, whatever its type; empty for null and for
// anything else.
func (n Node) Scalar() string {
	if node := n.resolved(); node.Kind == yaml.ScalarNode && !isNull(node) {
		return node.Value
	}
	return ""
}

// AsString returns a string, and whether the value is one for readers of YAML 1.1.
func (n Node) AsString() (string, bool) {
	if node := n.resolved(); isString(node) {
		return node.Value, true
	}
	return "", false
}

// Items returns the items of a list; none of anything else.
func (n Node) Items() []Node {
	var items []Node
	if n.IsList() {
		for i, item := range n.resolved().Content {
			items = append(items, Node{n.document, resolve(item), n.path.To(strconv.Itoa(i))})
		}
	}
	return items
}

// Members returns the names and values of a map: its own in the order of the text,
// then what it merges. There are none of anything else.
func (n Node) Members() iter.Seq2[string, Node] {
	return func(yield func(string, Node) bool) {
		if !n.IsMap() {
			return
		}
		pairs := flatten(n.resolved())
		for i := 0; i < len(pairs); i += 2 {
			name := resolve(pairs[i]).Value
			if !yield(name, Node{n.document, pairs[i+1], n.path.To(name)}) {
				return
			}
		}
	}
}

// Path returns the way to the value from the document's root, for edits.
func (n Node) Path() Path { return slices.Clone(n.path) }

// Line returns the line of the stream that the value starts on.
func (n Node) Line() int {
	if n.node == nil {
		return 0
	}
	return n.document.line + n.node.Line - 1
}

// JSON returns the value as readers of YAML 1.1 turn it into JSON: aliases and merges
// done, numbers as they are written. Keys that are there twice, see CheckKeys, are
// there once.
func (n Node) JSON() ([]byte, error) {
	if n.node == nil {
		return []byte("null"), nil
	}
	return toJSON(n.node)
}

// Errorf returns an error of kind [fault.Invalid] that says where the value stands:
// SOURCE:LINE:COLUMN and the message.
func (n Node) Errorf(format string, args ...any) error {
	return n.document.errorAt(n.node, format, args...)
}

// member returns a map's value, aliases followed. What the map has itself goes
// before what it merges, and of that the first.
func member(node *yaml.Node, name string) *yaml.Node {
	return memberOf(node, name, map[*yaml.Node]bool{})
}

// memberOf does not look again at maps that it has seen: merges of merges would
// double them each time.
func memberOf(node *yaml.Node, name string, seen map[*yaml.Node]bool) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode || seen[node] {
		return nil
	}
	seen[node] = true
	if i := position(node, name); i >= 0 {
		return resolve(node.Content[i])
	}
	for _, merged := range merges(node) {
		if value := memberOf(merged, name, seen); value != nil {
			return value
		}
	}
	return nil
}

// position returns where in its content a map has a member's value itself, or -1.
func position(node *yaml.Node, name string) int {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := resolve(node.Content[i]); key.Kind == yaml.ScalarNode && key.Value == name &&
			!isMerge(node.Content[i]) {
			return i + 1
		}
	}
	return -1
}

// merges returns the maps that a map takes in by <<, the strongest first.
func merges(node *yaml.Node) []*yaml.Node {
	var found []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		if !isMerge(node.Content[i]) {
			continue
		}
		value := resolve(node.Content[i+1])
		if value.Kind == yaml.MappingNode {
			found = append(found, value)
		}
		if value.Kind == yaml.SequenceNode {
			for _, one := range value.Content {
				found = append(found, resolve(one))
			}
		}
	}
	return found
}

func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" }

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	return node
}
