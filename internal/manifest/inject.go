package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/inject"
)

// Outcome is what happened to one workload.
type Outcome struct {
	Source    string   `json:"source"`
	Line      int      `json:"line"`
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Injected  bool     `json:"injected"`
	Reason    string   `json:"reason"`
	Warnings  []string `json:"warnings,omitempty"`
}

// templates says where a kind of workload keeps its pod.
var templates = map[string][]string{
	"Pod":                   {},
	"Deployment":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
	"PodTemplate":           {"template"},
}

// Inject injects every workload of the sources whose service account, in the
// same sources, has a role. It returns the sources' new texts, in order and
// with a separator between them; documents without a change are the bytes they
// were. If anything cannot be read, nothing is returned.
func Inject(sources []Source, settings inject.Settings) ([]byte, []Outcome, error) {
	accounts, err := ServiceAccounts(sources)
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	var outcomes []Outcome
	for i, source := range sources {
		if i > 0 && out.Len() > 0 && !separator.Match(firstLine(source.Text)) {
			if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
				out.WriteByte('\n')
			}
			out.WriteString("---\n")
		}
		documents, err := split(source)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range documents {
			text, done, err := d.inject(accounts, settings)
			if err != nil {
				return nil, nil, err
			}
			out.Write(text)
			outcomes = append(outcomes, done...)
		}
	}
	return out.Bytes(), outcomes, nil
}

func firstLine(text []byte) []byte {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return line
}

// inject returns the document's new text.
func (d *document) inject(accounts map[string]map[string]string, settings inject.Settings) ([]byte, []Outcome, error) {
	var outcomes []Outcome
	changed := false
	for _, o := range d.objects() {
		path, isWorkload := templates[o.text("kind")]
		if !isWorkload {
			continue
		}
		outcome, err := d.workload(o, path, accounts, settings)
		if err != nil {
			return nil, nil, err
		}
		outcomes = append(outcomes, outcome)
		changed = changed || outcome.Injected
	}
	if !changed {
		return d.text, outcomes, nil
	}
	text, err := d.encode()
	return text, outcomes, err
}

func (d *document) workload(o object, path []string, accounts map[string]map[string]string, settings inject.Settings) (Outcome, error) {
	outcome := Outcome{
		Source: d.source, Line: d.line + o.node.Line - 1, Kind: o.text("kind"), Namespace: o.namespace(), Name: o.text("metadata", "name"),
	}
	pod := o.find(path...)
	if pod == nil || member(pod, "spec") == nil {
		return outcome, d.errorAt(o.node, "%s %q has no pod: want %s", outcome.Kind, outcome.Name, strings.Join(append(path, "spec"), "."))
	}
	var value any
	if err := pod.Decode(&value); err != nil {
		return outcome, d.errorAt(pod, "%s", err)
	}
	podJSON, err := json.Marshal(value)
	if err != nil {
		return outcome, d.errorAt(pod, "%s %q cannot be written as JSON: %s", outcome.Kind, outcome.Name, err)
	}
	name, _, err := inject.ServiceAccountName(podJSON)
	if err != nil {
		return outcome, d.errorAt(pod, "%s", err)
	}
	if name == "" {
		name = "default" // the API server fills it in before webhooks see the pod
	}
	annotations, found := accounts[outcome.Namespace+"/"+name]
	if !found {
		outcome.Reason = fmt.Sprintf("service account %s/%s is not in these manifests", outcome.Namespace, name)
		outcome.Warnings = []string{outcome.Reason}
		return outcome, nil
	}
	result, err := inject.Pod(podJSON, inject.ReadAccount(annotations, settings), settings)
	if err != nil {
		return outcome, d.errorAt(pod, "%s", err)
	}
	for _, operation := range result.Patch {
		if err := apply(pod, operation); err != nil {
			return outcome, d.errorAt(pod, "%s", err)
		}
	}
	outcome.Injected, outcome.Reason, outcome.Warnings = len(result.Patch) > 0, result.Reason, result.Warnings
	return outcome, nil
}

// apply does one "add" of a patch on the tree. The paths are inject's own: map
// members, list indices and "-".
func apply(root *yaml.Node, operation inject.Operation) error {
	value, err := toNode(operation.Value)
	if err != nil {
		return err
	}
	steps := strings.Split(strings.TrimPrefix(operation.Path, "/"), "/")
	parent := root
	for _, step := range steps[:len(steps)-1] {
		if parent = child(parent, step); parent == nil {
			return fmt.Errorf("there is no %s", operation.Path)
		}
	}
	last := steps[len(steps)-1]
	switch parent.Kind {
	case yaml.MappingNode:
		setMember(parent, last, value)
		return nil
	case yaml.SequenceNode:
		if parent.Style&yaml.FlowStyle != 0 && len(parent.Content) == 0 {
			parent.Style = 0 // an empty [] becomes a block
		}
		if last == "-" {
			parent.Content = append(parent.Content, value)
			return nil
		}
		parent.Content = append([]*yaml.Node{value}, parent.Content...) // the only index that is added is 0
		return nil
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
	return errors.New(operation.Path + " is neither a map nor a list")
}

func child(node *yaml.Node, step string) *yaml.Node {
	if node.Kind == yaml.SequenceNode {
		index, err := strconv.Atoi(step)
		if err != nil || index < 0 || index >= len(node.Content) {
			return nil
		}
		return resolve(node.Content[index])
	}
	return member(node, step)
}

func setMember(node *yaml.Node, name string, value *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			node.Content[i+1] = value
			return
		}
	}
	node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, value)
}

// toNode goes through JSON, so that members keep the names and order the
// webhook sends.
func toNode(value any) (*yaml.Node, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, err
	}
	blockStyle(node.Content[0])
	return node.Content[0], nil
}

func blockStyle(node *yaml.Node) {
	node.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, inner := range node.Content {
		blockStyle(inner)
	}
}

// encode writes a changed document in the form it had: JSON stays JSON, and
// the separator that led the YAML is kept.
func (d *document) encode() ([]byte, error) {
	if trimmed := bytes.TrimLeft(d.text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return d.encodeJSON()
	}
	var out bytes.Buffer
	if separator.Match(firstLine(d.text)) {
		out.Write(firstLine(d.text))
		out.WriteByte('\n')
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(indentOf(d.text))
	if !indentsLists(d.text) {
		encoder.CompactSeqIndent()
	}
	if err := encoder.Encode(d.node); err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	return out.Bytes(), nil
}

func (d *document) encodeJSON() ([]byte, error) {
	var value any
	if err := d.node.Decode(&value); err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", d.source, err)
	}
	return append(text, '\n'), nil
}

// indentOf is the first indentation a text uses, 2 if it has none.
func indentOf(text []byte) int {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimLeft(line, " ")
		if indent := len(line) - len(trimmed); indent >= 2 && indent <= 9 && len(trimmed) > 1 && trimmed[0] != '#' && trimmed[0] != '-' {
			return indent
		}
	}
	return 2
}

// indentsLists reports whether the first list under a key is indented further
// than the key.
func indentsLists(text []byte) bool {
	previous := []byte(nil)
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		if trimmed[0] == '-' && bytes.HasSuffix(bytes.TrimSpace(previous), []byte(":")) && !bytes.HasPrefix(trimmed, []byte("---")) {
			return leading(line) > leading(previous)
		}
		previous = line
	}
	return true
}

func leading(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }
