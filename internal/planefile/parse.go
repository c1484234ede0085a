package planefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
)

// MaxBytes bounds a document.
const MaxBytes = 64 << 10

// Parse reads a document strictly: unknown fields, values of a wrong form and a second
// document are an Invalid fault with name, line, field and what would be right.
func Parse(name string, text []byte) (*Plane, error) {
	if len(text) > MaxBytes {
		return nil, fault.New(fault.Invalid, "%s is larger than %d bytes", name, MaxBytes)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fault.New(fault.Invalid, "%s is empty", name).
				Hint("docs/reference/plane.md shows a whole document")
		}
		return nil, yamledit.Invalid(name, 1, text, err)
	}
	r := &reader{name: name, plane: &Plane{}, infos: Fields(), lines: map[Field]*yaml.Node{}}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, r.fail(&second, "there is more than one document: want one")
	} else if !errors.Is(err, io.EOF) {
		return nil, yamledit.Invalid(name, 1, text, err)
	}
	if err := r.document(root.Content[0]); err != nil {
		return nil, err
	}
	cluster := r.plane.Cluster()
	if said := r.plane.Get(Partition); said != "" && cluster.Region != "" && arn.PartitionOf(cluster.Region) != said {
		return nil, r.fail(r.lines[Partition], "cluster.partition is %s, and region %s is in %s",
			said, cluster.Region, arn.PartitionOf(cluster.Region))
	}
	return r.plane, nil
}

// reader walks the nodes of one document.
type reader struct {
	name  string
	plane *Plane
	infos []Info
	lines map[Field]*yaml.Node // where a fact stands
}

func (r *reader) fail(node *yaml.Node, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "%s:%d: %w", r.name, node.Line, fmt.Errorf(format, args...))
}

func (r *reader) document(root *yaml.Node) error {
	seen := map[string]string{}
	err := r.mapping(root, "", func(key, value *yaml.Node) error {
		switch key.Value {
		case "apiVersion", "kind":
			seen[key.Value] = value.Value
			return nil
		}
		return r.section(key, value)
	})
	if err != nil {
		return err
	}
	if seen["apiVersion"] != APIVersion || seen["kind"] != Kind {
		return r.fail(root, "apiVersion %q and kind %q: want %s and %s",
			seen["apiVersion"], seen["kind"], APIVersion, Kind)
	}
	return nil
}

// mapping calls visit for each key of a mapping, which must be there once.
func (r *reader) mapping(node *yaml.Node, where string, visit func(key, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return r.fail(node, "%s must be a mapping", orDocument(where))
	}
	var seen []string
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if slices.Contains(seen, key.Value) {
			return r.fail(key, "%s appears twice", strings.TrimPrefix(where+"."+key.Value, "."))
		}
		seen = append(seen, key.Value)
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

func orDocument(where string) string {
	if where == "" {
		return "the document"
	}
	return where
}

func (r *reader) section(key, value *yaml.Node) error {
	isSection := func(info Info) bool { return strings.HasPrefix(string(info.Field), key.Value+".") }
	if !slices.ContainsFunc(r.infos, isSection) {
		return r.unknown(key, key.Value)
	}
	return r.mapping(value, key.Value, func(name, value *yaml.Node) error {
		path := key.Value + "." + name.Value
		i := slices.IndexFunc(r.infos, func(info Info) bool { return string(info.Field) == path })
		if i < 0 {
			return r.unknown(name, path)
		}
		return r.fact(&r.infos[i], value)
	})
}

// unknown names the field that was most likely meant: one that differs in case, or that
// has the same last part.
func (r *reader) unknown(node *yaml.Node, path string) error {
	refused := r.fail(node, "there is no field %s", path)
	last := path[strings.LastIndex(path, ".")+1:]
	for _, info := range r.infos {
		field := string(info.Field)
		if strings.EqualFold(field, path) || strings.EqualFold(field[strings.LastIndex(field, ".")+1:], last) {
			return refused.Hint("did you mean %s?", field)
		}
	}
	names := make([]string, len(r.infos))
	for i, info := range r.infos {
		names[i] = string(info.Field)
	}
	return refused.Hint("the fields are %s", strings.Join(names, ", "))
}

func (r *reader) fact(info *Info, value *yaml.Node) error {
	nodes := []*yaml.Node{value}
	if info.List {
		if value.Kind != yaml.SequenceNode {
			return r.fail(value, "%s must be a list of strings", info.Field)
		}
		nodes = value.Content
	}
	var values []string
	for _, node := range nodes {
		if !info.holds(node) {
			refused := r.fail(node, "%s must be a string", info.Field)
			if node.Kind == yaml.ScalarNode && node.Tag != "!!null" {
				refused = refused.Hint("put it in quotes: %s: %q", info.Field, node.Value)
			}
			return refused
		}
		if err := info.check(node.Value); err != nil {
			return r.fail(node, "%s: %w", info.Field, err).Hint("for example %s: %s", info.Field, info.Example)
		}
		values = append(values, node.Value)
	}
	r.plane.Set(info.Field, values...)
	r.lines[info.Field] = value
	return nil
}

// holds reports whether a value is a string. An account without quotes is a number to
// YAML, and a yes is no string; both are all the same to us.
func (i *Info) holds(node *yaml.Node) bool {
	tag := node.ShortTag()
	return node.Kind == yaml.ScalarNode && (tag == "!!str" || tag == "!!int" && i.Field == Account ||
		tag == "!!bool" && i.Field == RequireGrants)
}

// Text writes the plane as a document, with the facts in order.
func (p *Plane) Text() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "apiVersion: %s\nkind: %s\n", APIVersion, Kind)
	section := ""
	for _, info := range Fields() {
		values := p.List(info.Field)
		if len(values) == 0 {
			continue
		}
		head, name, _ := strings.Cut(string(info.Field), ".")
		if head != section {
			section = head
			fmt.Fprintf(&out, "%s:\n", section)
		}
		if !info.List {
			fmt.Fprintf(&out, "  %s: %s\n", name, scalar(values[0]))
			continue
		}
		fmt.Fprintf(&out, "  %s:\n", name)
		for _, value := range values {
			fmt.Fprintf(&out, "  - %s\n", scalar(value))
		}
	}
	return out.Bytes()
}

// scalar quotes a string where YAML would read something else.
func scalar(text string) string {
	quoted, err := yaml.Marshal(text)
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSuffix(string(quoted), "\n")
}
