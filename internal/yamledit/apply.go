package yamledit

import (
	"errors"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// apply makes a change on the tree. What it changes is first made the place's
// own: aliases and merges on the way are copied, and what else names a changed
// node keeps its old value.
func (d *Document) apply(c change) error {
	if err := d.own(d.node, 0); err != nil {
		return err
	}
	node := d.node.Content[0]
	for _, step := range c.path {
		at, err := slot(node, step)
		if err != nil {
			return err
		}
		if err := d.own(node, at); err != nil {
			return err
		}
		node = node.Content[at]
	}
	switch node.Kind {
	case yaml.MappingNode:
		return d.applyToMap(node, c)
	case yaml.SequenceNode:
		return d.applyToList(node, c)
	default:
		return errors.New("the parent of " + c.step + " is neither a map nor a list")
	}
}

func (d *Document) applyToMap(node *yaml.Node, c change) error {
	at := position(node, c.step)
	switch {
	case c.verb == remove && at >= 0:
		if err := d.own(node, at); err != nil {
			return err
		}
		node.Content = slices.Delete(node.Content, at-1, at+1)
	case at < 0 && c.verb == remove && member(node, c.step) != nil:
		return errors.New(c.step + " is merged from another map")
	case c.verb == add && at < 0, c.verb == replace && at < 0 && member(node, c.step) != nil:
		node.Content = append(node.Content, keyNode(c.step), c.value)
	case at < 0:
		return errors.New("there is no " + c.step)
	default:
		if err := d.own(node, at); err != nil {
			return err
		}
		node.Content[at] = c.value
	}
	return nil
}

func (d *Document) applyToList(node *yaml.Node, c change) error {
	at, last := len(node.Content), len(node.Content)
	if c.step != "-" || c.verb != add {
		if c.verb != add {
			last--
		}
		var err error
		if at, err = strconv.Atoi(c.step); err != nil || at < 0 || at > last {
			return errors.New("there is no item " + c.step)
		}
	}
	if c.verb == add {
		node.Content = slices.Insert(node.Content, at, c.value)
		if len(node.Content) == 1 && !d.isJSON {
			node.Style &^= yaml.FlowStyle // an empty [] becomes a block
		}
		return nil
	}
	if err := d.own(node, at); err != nil {
		return err
	}
	if c.verb == remove {
		node.Content = slices.Delete(node.Content, at, at+1)
	} else {
		node.Content[at] = c.value
	}
	return nil
}

// slot returns where in a node's content a step leads. A member that is only
// merged becomes the map's own.
func slot(node *yaml.Node, step string) (int, error) {
	if node.Kind == yaml.SequenceNode {
		at, err := strconv.Atoi(step)
		if err != nil || at < 0 || at >= len(node.Content) {
			return 0, errors.New("there is no item " + step)
		}
		return at, nil
	}
	if at := position(node, step); at >= 0 {
		return at, nil
	}
	value := member(node, step)
	if value == nil {
		return 0, errors.New("there is no " + step)
	}
	left := maxNodes
	own, err := clone(value, &left)
	if err != nil {
		return 0, err
	}
	node.Content = append(node.Content, keyNode(step), own)
	return len(node.Content) - 1, nil
}

// own makes a node of the parent's content nobody else's.
func (d *Document) own(parent *yaml.Node, at int) error {
	node, left := parent.Content[at], maxNodes
	if node.Kind == yaml.AliasNode {
		copied, err := clone(node.Alias, &left)
		if err != nil {
			return err
		}
		commentAs(copied, node)
		parent.Content[at] = copied
		return nil
	}
	users := aliasesOf(d.node, node, nil)
	if len(users) == 0 {
		return nil
	}
	// The first user becomes what the others name.
	copied, err := clone(node, &left)
	if err != nil {
		return err
	}
	copied.Anchor, node.Anchor = node.Anchor, ""
	commentAs(copied, users[0])
	*users[0] = *copied
	for _, user := range users[1:] {
		user.Alias = users[0]
	}
	return nil
}

// commentAs gives a copy the comments of the place that it stands in.
func commentAs(copied, place *yaml.Node) {
	copied.HeadComment, copied.LineComment, copied.FootComment = place.HeadComment, place.LineComment, place.FootComment
}

// aliasesOf collects the aliases of a node in the order of the text.
func aliasesOf(root, node *yaml.Node, found []*yaml.Node) []*yaml.Node {
	if node.Anchor == "" {
		return nil
	}
	for _, inner := range root.Content {
		if inner.Kind == yaml.AliasNode && inner.Alias == node {
			found = append(found, inner)
		}
		found = aliasesOf(inner, node, found)
	}
	return found
}

// clone copies a node with everything that it names, so that the copy can stand
// anywhere.
func clone(node *yaml.Node, left *int) (*yaml.Node, error) {
	comments := *node
	node = resolve(node)
	if *left--; *left < 0 {
		return nil, errLarge
	}
	copied := *node
	copied.Anchor, copied.Line, copied.Column, copied.Content = "", 0, 0, nil
	commentAs(&copied, &comments)
	content := node.Content
	if node.Kind == yaml.MappingNode {
		content = flatten(node)
	}
	for _, inner := range content {
		one, err := clone(inner, left)
		if err != nil {
			return nil, err
		}
		copied.Content = append(copied.Content, one)
	}
	return &copied, nil
}
