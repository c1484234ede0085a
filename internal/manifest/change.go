package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
)

// change adds a value: a member to a map that has none or null there, or an
// item to a list, at its start or its end.
type change struct {
	path []string // of the map or list, from the document's root
	step string   // the member's name, "0" or "-"
	// value has the members' order that the webhook sends, in block style.
	value *yaml.Node
}

func index(i int) string { return strconv.Itoa(i) }

// changesOf turns a patch of a pod into changes. Lists that the patch replaces
// as a whole become what they have more than before, so that nothing else of
// them is written anew.
func changesOf(pod object, patch []inject.Operation) ([]change, error) {
	var changes []change
	add := func(path string, value any) error {
		node, err := toNode(value)
		if err != nil {
			return err
		}
		steps := strings.Split(strings.TrimPrefix(path, "/"), "/")
		last := len(steps) - 1
		changes = append(changes, change{append(append([]string(nil), pod.path...), steps[:last]...), steps[last], node})
		return nil
	}
	for _, operation := range patch {
		containers, replaces := operation.Value.([]json.RawMessage)
		if !replaces || len(containers) == 0 {
			if replaces && pod.find("spec", "containers") != nil {
				continue // a list of none, for a list of none
			}
			if err := add(operation.Path, operation.Value); err != nil {
				return nil, err
			}
			continue
		}
		list := pod.find("spec", strings.TrimPrefix(operation.Path, "/spec/"))
		for i, container := range containers {
			for _, name := range []string{"env", "volumeMounts"} {
				if err := more(member(resolve(list.Content[i]), name), container, fmt.Sprintf("%s/%d/%s", operation.Path, i, name), add); err != nil {
					return nil, err
				}
			}
		}
	}
	return changes, nil
}

// more adds what a container's list has more than before.
func more(before *yaml.Node, container json.RawMessage, path string, add func(path string, value any) error) error {
	var lists map[string]json.RawMessage
	if err := json.Unmarshal(container, &lists); err != nil {
		return fmt.Errorf("read the patch: %w", err)
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	var items []json.RawMessage
	if lists[name] != nil {
		if err := json.Unmarshal(lists[name], &items); err != nil {
			return fmt.Errorf("read the patch: %w", err)
		}
	}
	if before == nil || before.Kind != yaml.SequenceNode {
		if len(items) == 0 {
			return nil
		}
		return add(path, items)
	}
	for _, item := range items[len(before.Content):] {
		if err := add(path+"/-", item); err != nil {
			return err
		}
	}
	return nil
}

// toNode goes through JSON, so that members keep the names and order the
// webhook sends.
func toNode(value any) (*yaml.Node, error) {
	node := jsonTree(encode(value), 0)
	if node == nil {
		return nil, errors.New("a value of the patch is no JSON")
	}
	blockStyle(node.Content[0])
	return node.Content[0], nil
}

// plainText is what no reader of YAML takes for anything but a text.
var plainText = regexp.MustCompile(`^[A-Za-z/][\w\-/.@+=,:\\]*$`)

func blockStyle(node *yaml.Node) {
	node.Line, node.Column = 0, 0 // it stands nowhere yet
	if _, old := oldBools[node.Value]; node.Kind != yaml.ScalarNode || !old && plainText.MatchString(node.Value) {
		node.Style = 0
	}
	for _, inner := range node.Content {
		blockStyle(inner)
	}
}

// change returns the document's text with the changes made: by insertion if
// that is possible, else written anew. Either is read again before it is
// believed.
func (d *document) change(changes []change) ([]byte, error) {
	text := d.insert(changes)
	for _, c := range changes {
		if err := d.apply(c); err != nil {
			return nil, fault.New(fault.Invalid, "%s:%d: %w", d.source, d.line, err)
		}
	}
	if text != nil && d.reads(text) {
		return text, nil
	}
	text, err := d.encode()
	if err != nil {
		return nil, err
	}
	if !d.reads(text) {
		return nil, fault.New(fault.Internal, "%s:%d: the injected document would not read as it should", d.source, d.line).
			Hint("write the pod without anchors or unusual layout, and report this")
	}
	return text, nil
}

// reads reports whether a text has the content that the document has now.
func (d *document) reads(text []byte) bool {
	documents, err := parse(d.source, d.line, text)
	return err == nil && len(documents) == 1 && documents[0].isJSON == d.isJSON && sameTree(documents[0].node, d.node)
}

// sameTree compares content: not style, comments, or places.
func sameTree(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != yaml.AliasNode && isNull(a) && isNull(b) && a.Anchor == b.Anchor {
		return true // ~ is null is nothing
	}
	if a.Kind != b.Kind || a.Value != b.Value || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind != yaml.AliasNode && a.ShortTag() != b.ShortTag() {
		return false
	}
	for i := range a.Content {
		if !sameTree(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// endOfLine is how the document ends its lines.
func (d *document) endOfLine() []byte {
	first, _, _ := bytes.Cut(d.text, []byte{'\n'})
	if bytes.HasSuffix(first, []byte{'\r'}) {
		return []byte("\r\n")
	}
	return []byte{'\n'}
}
