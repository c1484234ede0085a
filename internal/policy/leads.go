package policy

import (
	"slices"
	"strings"
)

// Named returns the resources that the document's Allow statements for an action name
// whole, without wildcards and variables, sorted. A Deny may still refuse them.
func (p *Policy) Named(action string) []string {
	var named []string
	for i := range p.statements {
		s := &p.statements[i]
		if !s.allow || s.resource == nil || s.resource.not || !s.allowsAction(action) {
			continue
		}
		for j := range s.resource.patterns {
			if source := s.resource.patterns[j].whole.source; !strings.ContainsAny(source, "*?$") {
				named = append(named, source)
			}
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}
