package awsauth

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// walk reads the nodes of one list.
type walk struct {
	// left is how many keys and items may yet be read: an alias is short, and what it
	// stands for is not. Without aliases there are fewer than the text has bytes.
	left  int
	wrong *access.Problem
}

// beyond is what aliases may add to what a text could hold without them.
const beyond = 10_000

// slow reads a list with the YAML library. The problem is one of the whole.
func (r *reader) slow(text string) ([]entry, *access.Problem) {
	var document yaml.Node
	at := access.Origin{Source: r.Source, Place: r.Place, Field: string(r.key)}
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, notYAML(at, text, err)
	}
	if document.Kind == 0 || len(document.Content) == 0 {
		return nil, nil
	}
	return r.list(at, document.Content[0], len(text))
}

// list reads the entries of a node.
func (r *reader) list(at access.Origin, node *yaml.Node, size int) ([]entry, *access.Problem) {
	node = resolve(node)
	broken := func(line int, hint, text string) *access.Problem {
		at.Line = line
		return &access.Problem{Origin: at, Refused: true, Whole: true, Text: text, Hint: hint}
	}
	switch {
	case node.Kind == yaml.ScalarNode && scalar(node).kind == absent:
		return nil, nil
	case node.Kind != yaml.SequenceNode:
		return nil, broken(node.Line, "Begin each entry with a dash.", "it is not a list")
	}
	if key := complexKey(node); key != nil {
		return nil, broken(key.Line, quoteBraces, "a key is a map or a list: {{ without quotes begins one")
	}
	w := walk{left: size + beyond}
	entries := make([]entry, len(node.Content))
	for i, item := range node.Content {
		entries[i] = w.entry(item)
		entries[i].line = item.Line
		if w.wrong != nil {
			return nil, broken(w.wrong.Line, w.wrong.Hint, w.wrong.Text)
		}
	}
	return entries, nil
}

// fail is what makes the whole list one that cannot be read.
func (w *walk) fail(line int, hint, text string) {
	if w.wrong == nil {
		w.wrong = &access.Problem{Origin: access.Origin{Line: line}, Text: text, Hint: hint}
	}
}

func (w *walk) entry(node *yaml.Node) entry {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		e := entry{item: scalar(node)}
		if e.item.kind == absent {
			e.item.kind = nested
		}
		return e
	}
	var e entry
	for _, f := range w.pairs(node, 0) {
		switch fold(f.key) {
		case "rolearn":
			put(&e.roleARN, f.value)
		case "userarn":
			put(&e.userARN, f.value)
		case "grouparn":
			put(&e.groupARN, f.value)
		case "username":
			put(&e.username, f.value)
		case "userid":
			put(&e.userID, f.value)
		case "groups":
			e.groups, e.groupsAs = w.list(f.value)
		case "sso":
			w.sso(&e, f.value)
		default:
			e.unknown = append(e.unknown, f.key)
		}
	}
	return e
}

func (w *walk) sso(e *entry, node *yaml.Node) {
	node = resolve(node)
	if put(&e.sso, node); node.Kind != yaml.MappingNode {
		return
	}
	for _, f := range w.pairs(node, 0) {
		switch fold(f.key) {
		case "permissionsetname", "permissionset":
			put(&e.setName, f.value)
		case "accountid":
			put(&e.setAccount, f.value)
		case "partition":
			put(&e.setPartition, f.value)
		default:
			e.unknown = append(e.unknown, "sso."+f.key)
		}
	}
}

// put stores a value; a null stores nothing, as in JSON.
func put(to *value, node *yaml.Node) {
	if v := scalar(resolve(node)); v.kind != absent {
		*to = v
	}
}

// list reads the groups of an entry, or what there is in their place.
func (w *walk) list(node *yaml.Node) ([]value, value) {
	node = resolve(node)
	if node.Kind != yaml.SequenceNode {
		return nil, scalar(node)
	}
	if !w.take(node, len(node.Content)) {
		return nil, value{}
	}
	all := make([]value, len(node.Content))
	for i, item := range node.Content {
		all[i] = scalar(resolve(item))
	}
	return all, value{}
}

// take counts what is read.
func (w *walk) take(node *yaml.Node, count int) bool {
	if w.left -= count; w.left < 0 {
		w.fail(node.Line, "Write the entries out.", "aliases stand for too much")
	}
	return w.wrong == nil
}

// pair is a key of a map, and what it says.
type pair struct {
	key   string
	value *yaml.Node
}

// mostMerges bounds how deep a merge may be in another.
const mostMerges = 32

// pairs are the keys of a map, of which the last of the same counts, in the order in
// which the peer's decoder meets them: that of their bytes. So of rolearn and roleARN
// the one in lower case counts.
func (w *walk) pairs(node *yaml.Node, depth int) []pair {
	values := make(map[string]*yaml.Node, len(node.Content)/2)
	if depth > mostMerges {
		w.fail(node.Line, "", "merges are too deep")
		return nil
	}
	for i := 0; i+1 < len(node.Content) && w.take(node, 1); i += 2 {
		key, val := resolve(node.Content[i]), node.Content[i+1]
		if !isMerge(node.Content[i]) {
			values[key.Value] = val
			continue
		}
		for _, from := range w.merged(val) {
			for _, p := range w.pairs(from, depth+1) {
				values[p.key] = p.value
			}
		}
	}
	all := make([]pair, 0, len(values))
	for key, val := range values {
		all = append(all, pair{key, val})
	}
	slices.SortFunc(all, func(a, b pair) int { return compare(a.key, b.key) })
	return all
}

// merged are the maps that a merge stands for, of which the last counts.
func (w *walk) merged(node *yaml.Node) []*yaml.Node {
	node = resolve(node)
	if node.Kind == yaml.MappingNode {
		return []*yaml.Node{node}
	}
	if node.Kind != yaml.SequenceNode || !w.take(node, len(node.Content)) {
		w.fail(node.Line, "", "a merge (<<) is of a map or maps")
		return nil
	}
	maps := make([]*yaml.Node, 0, len(node.Content))
	for _, item := range slices.Backward(node.Content) {
		if item = resolve(item); item.Kind != yaml.MappingNode {
			w.fail(item.Line, "", "a merge (<<) is of a map or maps")
			return nil
		}
		maps = append(maps, item)
	}
	return maps
}

func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" }

// complexKey returns a key that is no text, number or the like. The peer takes nothing of
// a text that has one.
func complexKey(node *yaml.Node) *yaml.Node {
	for i, inner := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && resolve(inner).Kind != yaml.ScalarNode {
			return inner
		}
		if key := complexKey(inner); key != nil {
			return key
		}
	}
	return nil
}

// resolve follows an alias.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	return node
}

// scalar is what the peer makes of a node, which reads YAML 1.1.
func scalar(node *yaml.Node) value {
	if node.Kind != yaml.ScalarNode {
		return value{kind: nested}
	}
	plain := node.Style&(yaml.TaggedStyle|yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|
		yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch node.ShortTag() {
	case "!!null":
		return value{}
	case "!!int", "!!float", "!!bool":
		return value{other, node.Value}
	case "!!str":
		if plain && isBool(node.Value) {
			return value{other, node.Value}
		}
	}
	return value{isText, node.Value}
}

// isBool reports whether a word without quotes is a boolean in YAML 1.1.
func isBool(word string) bool {
	switch word {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE",
		"n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE":
		return true
	}
	return false
}

const quoteBraces = `Write values with {{ in quotes: username: "{{SessionName}}"`

var (
	yamlLine  = lazyregexp.New(`^yaml: (?:unmarshal errors:\s*)?(?:line (\d+): )?`)
	bareBrace = lazyregexp.New(`^\s*(?:- )?\s*[\w"']+:\s+\{\{`)
)

// notYAML is the problem of a text that is not YAML. The library counts from where it
// noticed, so the line is near that.
func notYAML(at access.Origin, text string, err error) *access.Problem {
	message := err.Error()
	match := yamlLine.FindStringSubmatch(message)
	p := access.Problem{Origin: at, Refused: true, Whole: true, Text: "not valid YAML: " +
		strings.TrimPrefix(message, match[0])}
	p.Line = 1
	if match[1] != "" {
		p.Line, _ = strconv.Atoi(match[1])
	}
	p.Hint = "Look at the indentation, colons and quotes at and above the line."
	for i, line := range strings.Split(text, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		switch near := i+1 >= p.Line-1 && i+1 <= p.Line+2; {
		case near && strings.Contains(indent, "\t") && strings.TrimSpace(line) != "":
			p.Line, p.Hint = i+1, "Indent with spaces: a tab is none to YAML."
			return &p
		case bareBrace.MatchString(line) && near:
			p.Line, p.Hint = i+1, quoteBraces
			return &p
		}
	}
	return &p
}
