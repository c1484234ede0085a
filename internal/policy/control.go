package policy

import "slices"

// resourceControl is the narrower grammar of resource control policies:
// customers may only deny, without NotAction and without the bare action "*"
// (spec iam-policy §1.1). AWS's own RCPFullAWSAccess is accepted as it is. Others
// are refused where they would be stored; evaluating them is harmless, since an
// Allow has no effect here.
func (d *decoder) resourceControl(n *node, s *statement) {
	everything := slices.ContainsFunc(s.action.patterns, func(p actionPattern) bool { return p.all })
	switch {
	case s.action.not:
		d.report(s.action.at, resourceControlGrammar, "", "a resource control policy has no NotAction")
	case s.allow:
		full := everything && s.resource != nil && !s.resource.not && len(s.conditions) == 0 &&
			slices.ContainsFunc(s.resource.patterns, func(p resourcePattern) bool { return p.all })
		if !full {
			d.report(
				n.find("Effect").span(n),
				resourceControlGrammar,
				"",
				"a resource control policy can only Deny; only AWS's own RCPFullAWSAccess allows",
			)
		}
	case everything:
		d.report(
			s.action.at,
			resourceControlGrammar,
			"",
			`a resource control policy names services: "*" alone is not accepted as Action`,
		)
	}
}

// span is the node's, or the parent's for a missing node.
func (n *node) span(parent *node) span {
	if n == nil {
		return parent.at
	}
	return n.at
}
