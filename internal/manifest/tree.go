package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a Kubernetes object in a document, and the way to it.
type object struct {
	node *yaml.Node
	path []string
}

// objects returns the document's object, or the items of a List.
func (d *document) objects() []object {
	if d.node == nil || len(d.node.Content) == 0 {
		return nil
	}
	top := object{node: resolve(d.node.Content[0])}
	if !strings.HasSuffix(top.text("kind"), "List") {
		return []object{top}
	}
	var items []object
	if list := top.find("items"); list != nil && list.Kind == yaml.SequenceNode {
		for i, item := range list.Content {
			items = append(items, object{resolve(item), []string{"items", index(i)}})
		}
	}
	return items
}

// find walks down maps; nil if there is no such value.
func (o object) find(path ...string) *yaml.Node {
	node := o.node
	for _, name := range path {
		if node = member(node, name); node == nil {
			return nil
		}
	}
	return node
}

func (o object) text(path ...string) string {
	if node := o.find(path...); node != nil && node.Kind == yaml.ScalarNode && !isNull(node) {
		return node.Value
	}
	return ""
}

func (o object) namespace() string {
	if namespace := o.text("metadata", "namespace"); namespace != "" {
		return namespace
	}
	return "default"
}

// builtIn reports whether the object is of a group of Kubernetes' own: Job and
// Deployment are also names that others gave their kinds.
func (o object) builtIn(groups ...string) bool {
	group, _, found := strings.Cut(o.text("apiVersion"), "/")
	if !found {
		group = ""
	}
	return slices.Contains(groups, group) || o.text("apiVersion") == ""
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
		if key := resolve(node.Content[i]); key.Kind == yaml.ScalarNode && key.Value == name && !isMerge(node.Content[i]) {
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
