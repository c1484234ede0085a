package manifest

import (
	"maps"

	"github.com/rolecall/rolecall/internal/yamledit"
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
	documents, err := openAll(sources)
	if err != nil {
		return nil, err
	}
	found, err := accounts(sources, documents)
	if err != nil {
		return nil, err
	}
	annotations := map[string]map[string]string{}
	for name, one := range found {
		annotations[name] = one.annotations
	}
	return annotations, nil
}

func accounts(sources []Source, all [][]*yamledit.Document) (map[string]account, error) {
	found := map[string]account{}
	for i, documents := range all {
		for _, d := range documents {
			for _, o := range objectsOf(sources[i].Name, d) {
				if o.kind() != "ServiceAccount" || !o.builtIn("") {
					continue
				}
				if err := addAccount(o, found); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

func addAccount(o object, found map[string]account) error {
	if o.name() == "" {
		return o.Errorf("a ServiceAccount without metadata.name")
	}
	if err := o.CheckKeys(); err != nil {
		return err
	}
	annotations, err := stringsOf(o.Node, "metadata", "annotations")
	if err != nil {
		return err
	}
	this := account{annotations: annotations, place: o.place()}
	name := o.namespace() + "/" + o.name()
	if before, twice := found[name]; twice && !maps.Equal(before.annotations, annotations) {
		this.replaced = before.place
	}
	found[name] = this
	return nil
}

// stringsOf returns a map of strings, such as annotations. The API server takes
// null for an empty string and refuses everything else.
func stringsOf(n yamledit.Node, path ...string) (map[string]string, error) {
	found := map[string]string{}
	what := path[len(path)-1]
	n = n.Get(path...)
	if !n.Exists() || n.IsNull() {
		return found, nil
	}
	if !n.IsMap() {
		return nil, n.Errorf("metadata.%s must be a map", what)
	}
	for key, value := range n.Members() {
		text, isString := value.AsString()
		if !isString && !value.IsNull() {
			return nil, value.Errorf("%s %q must be a string; put it in quotes", what[:len(what)-1], key)
		}
		found[key] = text
	}
	return found, nil
}
