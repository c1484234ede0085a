package awsauth

import (
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/fault"
)

// Config reads the lists below server: in the configuration file. The error is that of a
// file that is no YAML.
func Config(document []byte, o Options) (Content, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		problem := notYAML(access.Origin{Source: o.Source, Place: o.Place}, string(document), err)
		return Content{}, fault.New(fault.Invalid, "%s", problem.Error()).Hint("%s", problem.Hint)
	}
	var c Content
	if len(root.Content) == 0 {
		return c, nil
	}
	server := find(resolve(root.Content[0]), "server")
	if server == nil {
		return c, nil
	}
	for _, key := range Keys() {
		r := reader{key: key, Options: o}
		list := find(server, string(key))
		if list == nil || list.Kind == yaml.ScalarNode && isNothing(list.Value) {
			continue
		}
		at := access.Origin{Source: o.Source, Place: o.Place, Field: "server." + string(key)}
		entries, broken := r.list(at, list, len(document))
		if broken != nil {
			*c.part(key) = Part{Broken: true, Problems: []access.Problem{*broken}}
			continue
		}
		*c.part(key) = r.compile(entries)
	}
	return c, nil
}

// find returns the value of a key of a map, in any letter case: the last.
func find(node *yaml.Node, key string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := len(node.Content) - 2; i >= 0; i -= 2 {
		if name := resolve(node.Content[i]); name.Kind == yaml.ScalarNode && fold(name.Value) == fold(key) {
			return resolve(node.Content[i+1])
		}
	}
	return nil
}
