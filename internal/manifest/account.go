package manifest

import (
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"
)

// account is a service account of the manifests.
type account struct {
	annotations map[string]string
	place       string // file and line
	// replaced is where the account before stood that said something else.
	replaced string
}

// ServiceAccounts returns the annotations of all service accounts in the
// sources by NAMESPACE/NAME. An account without namespace is in "default". If
// there are two of a name, the last one holds, as after kubectl apply.
func ServiceAccounts(sources []Source) (map[string]map[string]string, error) {
	documents, err := splitAll(sources)
	if err != nil {
		return nil, err
	}
	found, err := accounts(documents)
	if err != nil {
		return nil, err
	}
	annotations := map[string]map[string]string{}
	for name, one := range found {
		annotations[name] = one.annotations
	}
	return annotations, nil
}

// splitAll returns the documents of each source.
func splitAll(sources []Source) ([][]document, error) {
	var all [][]document
	for _, source := range sources {
		documents, err := split(source)
		if err != nil {
			return nil, err
		}
		all = append(all, documents)
	}
	return all, nil
}

func accounts(sources [][]document) (map[string]account, error) {
	found := map[string]account{}
	for _, documents := range sources {
		for i := range documents {
			d := &documents[i]
			for _, o := range d.objects() {
				if o.text("kind") != "ServiceAccount" || !o.builtIn("") {
					continue
				}
				if err := d.account(o, found); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

func (d *document) account(o object, found map[string]account) error {
	name := o.text("metadata", "name")
	if name == "" {
		return d.errorAt(o.node, "a ServiceAccount without metadata.name")
	}
	if err := d.checkKeys(o.node); err != nil {
		return err
	}
	annotations, err := d.texts(o, "metadata", "annotations")
	if err != nil {
		return err
	}
	this := account{annotations: annotations, place: fmt.Sprintf("%s:%d", d.source, d.line+o.node.Line-1)}
	name = o.namespace() + "/" + name
	if before, twice := found[name]; twice && !maps.Equal(before.annotations, annotations) {
		this.replaced = before.place
	}
	found[name] = this
	return nil
}

// texts returns a map of texts, such as annotations. The API server takes null
// for an empty text and refuses all else.
func (d *document) texts(o object, path ...string) (map[string]string, error) {
	found := map[string]string{}
	what := path[len(path)-1]
	node := o.find(path...)
	if node == nil || isNull(node) {
		return found, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, d.errorAt(node, "metadata.%s must be a map", what)
	}
	pairs := flatten(node)
	for i := 0; i < len(pairs); i += 2 {
		key, text := resolve(pairs[i]), resolve(pairs[i+1])
		switch {
		case isText(text):
			found[key.Value] = text.Value
		case isNull(text):
			found[key.Value] = ""
		default:
			return nil, d.errorAt(pairs[i+1], "%s %q must be a text; put it in quotes", what[:len(what)-1], key.Value)
		}
	}
	return found, nil
}
