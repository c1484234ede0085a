package manifest

import (
	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Survey is what there is in a source.
type Survey struct {
	Source string
	// Objects are all of them, Accounts the service accounts.
	Objects, Workloads, Accounts, Associations int
}

// Look counts what there is in each source.
func Look(sources []Source) ([]Survey, error) {
	all, err := openAll(sources)
	if err != nil {
		return nil, err
	}
	surveys := make([]Survey, 0, len(sources))
	for i, documents := range all {
		s := Survey{Source: sources[i].Name}
		for _, d := range documents {
			for _, o := range objectsOf(sources[i].Name, d) {
				s.count(o)
			}
		}
		surveys = append(surveys, s)
	}
	return surveys, nil
}

func (s *Survey) count(o object) {
	s.Objects++
	_, workload := templates[o.kind()]
	switch {
	case workload && o.builtIn(groupsOfWorkloads...):
		s.Workloads++
	case o.kind() == "PodIdentityAssociation" && o.Get("apiVersion").Scalar() == v1alpha1.GroupVersion.String():
		s.Associations++
	case o.kind() == "ServiceAccount" && o.builtIn(""):
		s.Accounts++
	}
}

// groupsOfWorkloads are the API groups of workloads that are injected.
var groupsOfWorkloads = []string{"", "apps", "batch", "extensions"}
