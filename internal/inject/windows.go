package inject

import "slices"

// affinity is the required part of a pod's node affinity.
type affinity struct {
	NodeAffinity *struct {
		Required *struct {
			Terms []struct {
				Expressions []struct {
					Key      string   `json:"key"`
					Operator string   `json:"operator"`
					Values   []string `json:"values"`
				} `json:"matchExpressions"`
			} `json:"nodeSelectorTerms"`
		} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
	} `json:"nodeAffinity"`
}

var osLabels = []string{"kubernetes.io/os", "beta.kubernetes.io/os"}

// isWindows: the reference looks at the node selector only; the pod's own os
// and a required affinity say it too (spec webhook §14 Q14).
func (m *mutation) isWindows() bool {
	spec := &m.pod.Spec
	for _, label := range osLabels {
		if spec.NodeSelector[label] == "windows" {
			return true
		}
	}
	if m.settings.Conformance {
		return false
	}
	if spec.OS != nil {
		return spec.OS.Name == "windows"
	}
	return spec.Affinity.wantsWindows()
}

// wantsWindows reports whether every way to be scheduled leads to Windows.
func (a *affinity) wantsWindows() bool {
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.Required == nil || len(a.NodeAffinity.Required.Terms) == 0 {
		return false
	}
	for _, term := range a.NodeAffinity.Required.Terms {
		windows := false
		for _, e := range term.Expressions {
			windows = windows || (slices.Contains(osLabels, e.Key) && e.Operator == "In" && len(e.Values) == 1 && e.Values[0] == "windows")
		}
		if !windows {
			return false
		}
	}
	return true
}
