package policy

import "strings"

// PartlyDenied is a statement that denies part of the resources that a request
// with wildcards means, or that leaves part of them out of what it allows.
type PartlyDenied struct {
	Source   string `json:"source"`
	Document string `json:"document"`
	Index    int    `json:"index"`
	Sid      string `json:"sid,omitempty"`
	Line     int    `json:"line"`
	Pattern  string `json:"pattern"`
}

// partlyDenied: in the request's resource a wildcard is an ordinary character, so
// that an Allow is for all of what is meant; of a Deny and of a NotResource it is
// enough that they have a resource in common with it (spec iam-policy §2.2).
func (x *explainer) partlyDenied() []PartlyDenied {
	found := []PartlyDenied{}
	if !x.allowed() || !strings.ContainsAny(x.request.Resource, "*?") {
		return found
	}
	wanted := splitOps(compilePattern(x.request.Resource, true, false).ops)
	for _, p := range x.policies.documents() {
		for i := range p.statements {
			s := &p.statements[i]
			if s.resource == nil || s.resource.not != s.allow || !x.concerns(p.kind) || !x.appliesSomewhere(p, s) ||
				(s.allow && x.allowsAll(p.kind)) {
				continue
			}
			for j := range s.resource.patterns {
				if pattern := &s.resource.patterns[j]; pattern.meets(x.request, wanted) {
					found = append(
						found,
						PartlyDenied{p.kind.Source(), p.name, i, s.sid, p.position(s.at).line, pattern.whole.source},
					)
				}
			}
		}
	}
	return found
}

// allowsAll reports whether a statement of the kind allows the whole resource
// without a NotResource.
func (x *explainer) allowsAll(kind Kind) bool {
	for _, p := range x.policies.documents() {
		for i := range p.statements {
			s := &p.statements[i]
			if p.kind == kind && s.allow && (s.resource == nil || !s.resource.not) && x.principal(p, s) != unmatched &&
				x.applies(s) {
				return true
			}
		}
	}
	return false
}

// appliesSomewhere is everything of a statement but its resource.
func (x *explainer) appliesSomewhere(p *Policy, s *statement) bool {
	anywhere := *s
	anywhere.resource = nil
	return x.principal(p, s) != unmatched && x.applies(&anywhere)
}

// meets reports whether some resource matches both patterns.
func (p *resourcePattern) meets(r *Request, wanted [][]op) bool {
	parts := p.parts
	if p.whole.segments != nil {
		ops, ok := p.whole.resolve(r)
		if !ok {
			return false
		}
		parts = splitOps(ops)
	}
	if p.all || len(wanted) == 1 && wanted[0][0] == anyRun {
		return p.all || parts != nil
	}
	if len(parts) != 6 || len(wanted) != 6 {
		return false
	}
	for i := range parts {
		if !opsMeet(parts[i], wanted[i]) {
			return false
		}
	}
	return true
}

// opsMeet reports whether some text matches both patterns: row[j] says whether
// their first i and j steps have one in common.
func opsMeet(a, b []op) bool {
	row := make([]bool, len(b)+1)
	for i := range len(a) + 1 {
		diagonal := false // of the row before
		for j := range len(b) + 1 {
			above, left := row[j], j > 0 && row[j-1]
			run := (i > 0 && a[i-1] == anyRun) || (j > 0 && b[j-1] == anyRun)
			one := i > 0 && j > 0 && (a[i-1] == b[j-1] || a[i-1] == anyOne || b[j-1] == anyOne)
			row[j] = (i == 0 && j == 0) || (run && (above || left)) || (one && diagonal)
			diagonal = above
		}
	}
	return row[len(b)]
}
