package inject

import (
	"slices"

	kjson "sigs.k8s.io/json"
)

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
// and a required affinity say it too (spec webhook row Q14).
func (p *pod) isWindows(conformance bool) bool {
	for _, label := range osLabels {
		if p.nodeSelector[label] == "windows" {
			return true
		}
	}
	switch {
	case conformance:
		return false
	case p.os != "":
		return p.os == "windows"
	case len(p.affinity) == 0:
		return false
	}
	var a affinity
	return kjson.UnmarshalCaseSensitivePreserveInts(p.affinity, &a) == nil && a.wantsWindows()
}

// wantsWindows reports whether every way to be scheduled leads to Windows.
func (a *affinity) wantsWindows() bool {
	if a.NodeAffinity == nil || a.NodeAffinity.Required == nil || len(a.NodeAffinity.Required.Terms) == 0 {
		return false
	}
	for _, term := range a.NodeAffinity.Required.Terms {
		windows := false
		for _, e := range term.Expressions {
			only := e.Operator == "In" && len(e.Values) == 1 && e.Values[0] == "windows"
			windows = windows || only && slices.Contains(osLabels, e.Key)
		}
		if !windows {
			return false
		}
	}
	return true
}
