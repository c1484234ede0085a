package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// ErrLayout refuses an edit that cannot be made without rewriting more of the
// document than the edit says.
var ErrLayout = errors.New("the edit cannot be made with everything around it kept")

// Path leads from a document's root to a value: names of members, and numbers of
// items, from 0.
type Path []string

// Pointer reads a JSON Pointer (RFC 6901).
func Pointer(text string) (Path, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "/") {
		return nil, fault.New(fault.Invalid, "JSON Pointer %q does not start with /", text)
	}
	path := Path(strings.Split(text[1:], "/"))
	for i, step := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return path, nil
}

// To returns a path that goes on from this one.
func (p Path) To(steps ...string) Path { return slices.Concat(p, steps) }

// String returns the path as a JSON Pointer.
func (p Path) String() string {
	var text strings.Builder
	for _, step := range p {
		text.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return text.String()
}

// Edit is one change of a document. They are the ones of JSON Patch (RFC 6902):
// Add, Replace and Remove.
type Edit struct {
	verb  verb
	path  Path
	value any
}

type verb int

const (
	add verb = iota
	replace
	remove
)

// Add puts a value in: a member into a map, in the place of the one of that name
// if there is one; an item into a list, before the item that the path's last step
// numbers, or at the end if that is "-". The map or list must be there.
//
// A value is written as encoding/json writes it, members in that order.
func Add(path Path, value any) Edit { return Edit{add, path, value} }

// Replace puts a value in the place of one that is there.
func Replace(path Path, value any) Edit { return Edit{replace, path, value} }

// Remove takes a member or an item away. The last one of a map or list leaves it
// empty.
func Remove(path Path) Edit { return Edit{verb: remove, path: path} }

// change is an edit as the text and the tree take it.
type change struct {
	verb  verb
	path  []string // of the map or list, from the document's root
	step  string   // the member's name, the item's number, or "-"
	value *yaml.Node
}

func changesOf(edits []Edit) ([]change, error) {
	var changes []change
	for _, edit := range edits {
		last := len(edit.path) - 1
		if last < 0 {
			return nil, errors.New("an edit of a whole document")
		}
		one := change{verb: edit.verb, path: edit.path[:last], step: edit.path[last]}
		if edit.verb != remove {
			var err error
			if one.value, err = toNode(edit.value); err != nil {
				return nil, err
			}
		}
		changes = append(changes, one)
	}
	return changes, nil
}

// Edit makes the edits in their order: all of them, or none if there is an error.
// Everything outside of them keeps its bytes; the error is [ErrLayout] where that
// cannot be.
func (d *Document) Edit(edits ...Edit) error {
	changes, err := changesOf(edits)
	if err != nil {
		return d.refuse(err)
	}
	if len(changes) == 0 {
		return nil
	}
	changed, err := d.keeping(changes)
	if err != nil {
		return d.refuse(err)
	}
	*d = *changed
	return nil
}

// Rewrite makes the edits in their order: all of them, or none if there is an
// error. It rewrites the whole document, with its comments, but in a layout of
// its own; what an alias named becomes the changed place's own.
func (d *Document) Rewrite(edits ...Edit) error {
	changes, err := changesOf(edits)
	if err != nil {
		return d.refuse(err)
	}
	wanted, err := d.wanted(changes)
	if err != nil {
		return d.refuse(err)
	}
	text, err := wanted.encode()
	if err != nil {
		return err
	}
	changed := wanted.read(text)
	if changed == nil {
		return fault.New(fault.Internal, "%s:%d: the edited document would not read as it should", d.source, d.line).
			Hint("write it without anchors or unusual layout, and report this")
	}
	*d = *changed
	return nil
}

func (d *Document) refuse(err error) error {
	return fault.New(fault.Invalid, "%s:%d: %w", d.source, d.line, err)
}

// keeping returns the document with the changes made in its text. Changes that
// hang together, such as of what an earlier one added, are made in parts.
func (d *Document) keeping(changes []change) (*Document, error) {
	wanted, err := d.wanted(changes)
	if err != nil {
		return nil, err
	}
	if text := d.splice(changes); text != nil {
		if changed := wanted.read(text); changed != nil {
			return changed, nil
		}
	}
	if len(changes) < 2 {
		return d.inQuotes(changes[0], wanted)
	}
	half, err := d.keeping(changes[:len(changes)/2])
	if err != nil {
		return nil, err
	}
	return half.keeping(changes[len(changes)/2:])
}

// inQuotes tries a text of several lines once more, in double quotes: what follows
// could be read as one of its lines.
func (d *Document) inQuotes(c change, wanted *Document) (*Document, error) {
	if c.value != nil && c.value.Style == yaml.LiteralStyle {
		quoted := *c.value
		quoted.Style = yaml.DoubleQuotedStyle
		c.value = &quoted
		if changed := wanted.read(d.splice([]change{c})); changed != nil {
			return changed, nil
		}
	}
	return nil, ErrLayout
}

// wanted returns the document with the changes made in its tree, not its text.
func (d *Document) wanted(changes []change) (*Document, error) {
	documents, err := parse(d.source, d.line, d.text)
	if err != nil {
		return nil, err
	}
	if len(documents) != 1 || documents[0].node == nil {
		return nil, errors.New("an edit of a document without content")
	}
	for _, c := range changes {
		if c.value != nil { // later changes may be of what it adds
			left := maxNodes
			if c.value, err = clone(c.value, &left); err != nil {
				return nil, err
			}
		}
		if err := documents[0].apply(c); err != nil {
			return nil, err
		}
	}
	return documents[0], nil
}

// read returns a text as a document if it has the content that the document has
// now, else nil.
func (d *Document) read(text []byte) *Document {
	documents, err := parse(d.source, d.line, text)
	if err != nil || len(documents) != 1 || d.isJSON && !documents[0].isJSON || !sameTree(documents[0].node, d.node) {
		return nil
	}
	return documents[0]
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

// toNode goes through JSON, so that members keep the names and the order that
// encoding/json gives them.
func toNode(value any) (*yaml.Node, error) {
	text := encode(value)
	node := jsonTree(text, 0)
	if node == nil {
		return nil, fmt.Errorf("a value that is not JSON: %s", text)
	}
	blockStyle(node.Content[0])
	return node.Content[0], nil
}

// plainText is what no reader of YAML takes for anything but a string.
var plainText = lazyregexp.New(`^[A-Za-z/][\w\-/.@+=,:\\]*$`)

func blockStyle(node *yaml.Node) {
	node.Line, node.Column = 0, 0 // it stands nowhere yet
	_, old := oldBools[node.Value]
	switch {
	case node.Kind != yaml.ScalarNode || !old && plainText.MatchString(node.Value):
		node.Style = 0
	case node.Tag == "!!str" && strings.Contains(node.Value, "\n") && node.Value != "\n":
		node.Style = yaml.LiteralStyle
	}
	for _, inner := range node.Content {
		blockStyle(inner)
	}
}

// endOfLine is how the document ends its lines.
func (d *Document) endOfLine() []byte {
	first, _, _ := bytes.Cut(d.text, []byte{'\n'})
	if bytes.HasSuffix(first, []byte{'\r'}) {
		return []byte("\r\n")
	}
	return []byte{'\n'}
}
