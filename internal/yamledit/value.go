package yamledit

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// oldBools are truth values for kubectl and others that read YAML 1.1, and strings
// for our parser.
var oldBools = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

// isString reports whether readers of YAML 1.1 take a scalar for a string. Dates are
// strings to those that turn it into JSON.
func isString(node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode {
		return false
	}
	_, old := oldBools[node.Value]
	tag := node.ShortTag()
	return tag == "!!timestamp" || tag == "!!str" && (!old || node.Style != 0)
}

// maxNodes bounds what aliases can grow to.
const maxNodes = 1_000_000

var errLarge = errors.New("its aliases make it too large")

// writer turns nodes into JSON as kubectl would, aliases and merges done.
type writer struct {
	out  bytes.Buffer
	left int // nodes that may follow
}

func toJSON(node *yaml.Node) ([]byte, error) {
	w := writer{left: maxNodes}
	if err := w.value(node); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

func (w *writer) value(node *yaml.Node) error {
	node = resolve(node)
	if w.left--; w.left < 0 {
		return errLarge
	}
	switch node.Kind {
	case yaml.MappingNode:
		return w.mapping(node)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, item := range node.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			if err := w.value(item); err != nil {
				return err
			}
		}
		w.out.WriteByte(']')
		return nil
	default:
		return w.scalar(node)
	}
}

func (w *writer) mapping(node *yaml.Node) error {
	pairs := flatten(node)
	w.out.WriteByte('{')
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.out.Write(encode(resolve(pairs[i]).Value))
		w.out.WriteByte(':')
		if err := w.value(pairs[i+1]); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *writer) scalar(node *yaml.Node) error {
	if old, found := oldBools[node.Value]; found && !isString(node) {
		w.out.WriteString(strconv.FormatBool(old))
		return nil
	}
	switch node.ShortTag() {
	case "!!null":
		w.out.WriteString("null")
		return nil
	case "!!int", "!!float":
		if json.Valid([]byte(node.Value)) {
			w.out.WriteString(node.Value)
			return nil
		}
	case "!!bool", "!!binary":
	default:
		w.out.Write(encode(node.Value))
		return nil
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.out.Write(text)
	return nil
}

// flatten returns a map's own keys and values and then those it merges.
func flatten(node *yaml.Node) []*yaml.Node {
	var pairs []*yaml.Node
	keys, seen := map[string]bool{}, map[*yaml.Node]bool{}
	var add func(node *yaml.Node)
	add = func(node *yaml.Node) {
		if node.Kind != yaml.MappingNode || seen[node] {
			return
		}
		seen[node] = true
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := resolve(node.Content[i])
			if key.Kind == yaml.ScalarNode && !isMerge(node.Content[i]) && !keys[key.Value] {
				keys[key.Value] = true
				pairs = append(pairs, node.Content[i], node.Content[i+1])
			}
		}
		for _, merged := range merges(node) {
			add(merged)
		}
	}
	add(node)
	return pairs
}

// CheckKeys returns an error if a map in the value has a key twice, or one that is
// not a scalar, or merges what is not a map.
func (n Node) CheckKeys() error {
	if n.node == nil {
		return nil
	}
	return n.document.checkKeys(n.node)
}

func (d *Document) checkKeys(node *yaml.Node) error {
	if node.Kind == yaml.MappingNode {
		first := map[string]*yaml.Node{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if isMerge(key) {
				if err := d.checkMerge(node.Content[i+1]); err != nil {
					return err
				}
				continue
			}
			name := resolve(key)
			if name.Kind != yaml.ScalarNode {
				return d.errorAt(key, "a key that is not a string")
			}
			if earlier := first[name.Value]; earlier != nil {
				return d.errorAt(key, "duplicate key %q, first on line %d", name.Value, d.line+earlier.Line-1)
			}
			first[name.Value] = key
		}
	}
	for _, inner := range node.Content {
		if err := d.checkKeys(inner); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkMerge(value *yaml.Node) error {
	maps := []*yaml.Node{value}
	if list := resolve(value); list.Kind == yaml.SequenceNode {
		maps = list.Content
	}
	for _, one := range maps {
		if resolve(one).Kind != yaml.MappingNode {
			return d.errorAt(one, "<< merges maps, and this is not a map")
		}
	}
	return nil
}
