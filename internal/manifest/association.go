package manifest

import (
	"sigs.k8s.io/yaml"

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
	all, err := openAll(sources)
	if err != nil {
		return nil, err
	}
	var found []Association
	for i, documents := range all {
		for _, d := range documents {
			for _, o := range objectsOf(sources[i].Name, d) {
				if o.kind() != "PodIdentityAssociation" ||
					o.Get("apiVersion").Scalar() != v1alpha1.GroupVersion.String() {
					continue
				}
				one, err := readAssociation(o)
				if err != nil {
					return nil, err
				}
				found = append(found, Association{one, o.place()})
			}
		}
	}
	return found, nil
}

func readAssociation(o object) (v1alpha1.PodIdentityAssociation, error) {
	var one v1alpha1.PodIdentityAssociation
	if err := o.CheckKeys(); err != nil {
		return one, err
	}
	text, err := o.JSON()
	if err != nil {
		return one, o.Errorf("%v", err)
	}
	if err := yaml.UnmarshalStrict(text, &one); err != nil {
		return one, o.Errorf("PodIdentityAssociation %s: %v", o.name(), err)
	}
	one.Namespace = o.namespace()
	return one, nil
}
