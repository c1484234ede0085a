package manifest

import (
	"fmt"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Association is a PodIdentityAssociation and where it stands, FILE:LINE.
type Association struct {
	v1alpha1.PodIdentityAssociation
	Place string
}

// Associations returns the PodIdentityAssociations of the sources, in their
// order; what they say is not checked. A field that the kind does not have is an
// error, since what it was to say would be lost.
func Associations(sources []Source) ([]Association, error) {
	all, err := splitAll(sources)
	if err != nil {
		return nil, err
	}
	var found []Association
	for _, documents := range all {
		for i := range documents {
			d := &documents[i]
			for _, o := range d.objects() {
				if o.text("kind") != "PodIdentityAssociation" || o.text("apiVersion") != v1alpha1.GroupVersion.String() {
					continue
				}
				one, err := d.association(o)
				if err != nil {
					return nil, err
				}
				found = append(found, Association{one, fmt.Sprintf("%s:%d", d.source, d.line+o.node.Line-1)})
			}
		}
	}
	return found, nil
}

func (d *document) association(o object) (v1alpha1.PodIdentityAssociation, error) {
	var one v1alpha1.PodIdentityAssociation
	if err := d.checkKeys(o.node); err != nil {
		return one, err
	}
	text, err := yaml.Marshal(o.node)
	if err != nil {
		return one, d.errorAt(o.node, "%v", err)
	}
	if err := sigsyaml.UnmarshalStrict(text, &one); err != nil {
		return one, d.errorAt(o.node, "PodIdentityAssociation %s: %v", o.text("metadata", "name"), err)
	}
	one.Namespace = o.namespace()
	return one, nil
}
