// Package manifest reads Kubernetes manifests as files of YAML or JSON, and
// injects the workloads in them as the webhook would, keeping everything that
// is not changed as it stands: comments, order, unknown fields.
//
// It talks to no cluster: service accounts are those of the same files.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
)

// Source is one file's text and the name errors give it.
type Source struct {
	Name string
	Text []byte
}

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 20

// ReadFiles reads a file, or the *.yaml, *.yml and *.json files of a folder.
func ReadFiles(path string) ([]Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read manifests: %w", err).Hint("give a file or a folder of YAML or JSON manifests")
	}
	if !info.IsDir() {
		return readAll([]string{path})
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read manifests: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if extension := filepath.Ext(entry.Name()); !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, extension) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	return readAll(files)
}

func readAll(files []string) ([]Source, error) {
	var sources []Source
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read manifests: %w", err)
		}
		if len(text) > maxFile {
			return nil, fault.New(fault.Invalid, "%s is larger than %d bytes", file, maxFile)
		}
		sources = append(sources, Source{Name: file, Text: text})
	}
	return sources, nil
}

// document is one YAML document of a source, with the bytes it came from.
type document struct {
	source string
	line   int // of its first line in the source, from 1
	text   []byte
	node   *yaml.Node // nil for a document without content
}

var separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?\r?$`)

// split cuts a source into its documents and parses each. The texts, joined,
// are the source again.
func split(source Source) ([]document, error) {
	var documents []document
	start, line := 0, 1
	cut := func(end int) error {
		text := source.Text[start:end]
		node, err := parse(source.Name, line, text)
		if err != nil {
			return err
		}
		documents = append(documents, document{source.Name, line, text, node})
		line += bytes.Count(text, []byte{'\n'})
		start = end
		return nil
	}
	for _, match := range separator.FindAllIndex(source.Text, -1) {
		if match[0] > start {
			if err := cut(match[0]); err != nil {
				return nil, err
			}
		}
	}
	return documents, cut(len(source.Text))
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parse reads one document, whose first line is the source's line.
func parse(name string, line int, text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var node yaml.Node
	err := decoder.Decode(&node)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		err = decoder.Decode(new(yaml.Node))
		if errors.Is(err, io.EOF) {
			return &node, nil
		}
		if err == nil {
			err = errors.New("a second document without --- on a line of its own")
		}
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	at := line
	if match := yamlLine.FindStringSubmatch(message); match != nil {
		var within int
		_, _ = fmt.Sscan(match[1], &within) // digits, says the expression
		at += within - 1
		message = strings.Replace(message, match[0], "", 1)
	}
	return nil, fault.New(fault.Invalid, "%s:%d: not valid YAML: %s", name, at, message).
		Hint("look at the indentation and quotes at and above line %d", at)
}

// ServiceAccounts returns the annotations of all service accounts in the
// sources by NAMESPACE/NAME. An account without namespace is in "default".
func ServiceAccounts(sources []Source) (map[string]map[string]string, error) {
	accounts := map[string]map[string]string{}
	for _, source := range sources {
		documents, err := split(source)
		if err != nil {
			return nil, err
		}
		for _, d := range documents {
			for _, object := range d.objects() {
				if object.text("kind") != "ServiceAccount" {
					continue
				}
				name := object.text("metadata", "name")
				if name == "" {
					return nil, d.errorAt(object.node, "a ServiceAccount without metadata.name")
				}
				annotations, err := d.annotations(object)
				if err != nil {
					return nil, err
				}
				accounts[object.namespace()+"/"+name] = annotations
			}
		}
	}
	return accounts, nil
}

func (d *document) annotations(o object) (map[string]string, error) {
	annotations := map[string]string{}
	node := o.find("metadata", "annotations")
	if node == nil || node.Tag == "!!null" {
		return annotations, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, d.errorAt(node, "metadata.annotations must be a map")
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, text := node.Content[i], resolve(node.Content[i+1])
		if text.Kind != yaml.ScalarNode || text.Tag != "!!str" {
			return nil, d.errorAt(text, "annotation %q must be a text; put it in quotes", key.Value)
		}
		annotations[key.Value] = text.Value
	}
	return annotations, nil
}

func (d *document) errorAt(node *yaml.Node, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s:%d:%d: %s", d.source, d.line+node.Line-1, node.Column, fmt.Sprintf(format, args...))
}

// object is a Kubernetes object in a document.
type object struct{ node *yaml.Node }

// objects returns the document's object, or the items of a List.
func (d *document) objects() []object {
	if d.node == nil || len(d.node.Content) == 0 {
		return nil
	}
	top := object{resolve(d.node.Content[0])}
	if !strings.HasSuffix(top.text("kind"), "List") {
		return []object{top}
	}
	var items []object
	if list := top.find("items"); list != nil && list.Kind == yaml.SequenceNode {
		for _, item := range list.Content {
			items = append(items, object{resolve(item)})
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
	if node := o.find(path...); node != nil && node.Kind == yaml.ScalarNode {
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

// member returns a map's value, aliases followed.
func member(node *yaml.Node, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return resolve(node.Content[i+1])
		}
	}
	return nil
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	return node
}
