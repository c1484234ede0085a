package policy

import (
	"fmt"
	"strings"
)

// Explanation says how a decision came about: every statement of every
// document, matched or not, in document order. It never holds secrets: only the
// condition keys that policies name are shown.
type Explanation struct {
	Decision  string             `json:"decision"`
	Reason    string             `json:"reason"`
	Action    string             `json:"action"`
	Resource  string             `json:"resource"`
	Principal ExplainedPrincipal `json:"principal"`
	Documents []ExplainedPolicy  `json:"documents"`
}

// ExplainedPrincipal is who asked.
type ExplainedPrincipal struct {
	ARN     string `json:"arn"`
	RoleARN string `json:"roleArn,omitempty"`
	Account string `json:"account,omitempty"`
}

// ExplainedPolicy is one document.
type ExplainedPolicy struct {
	Kind       string               `json:"kind"`
	Name       string               `json:"name"`
	Statements []ExplainedStatement `json:"statements"`
}

// ExplainedStatement is one statement and each of its elements.
type ExplainedStatement struct {
	Index      int                  `json:"index"`
	Sid        string               `json:"sid,omitempty"`
	Line       int                  `json:"line"`
	Effect     string               `json:"effect"`
	Applies    bool                 `json:"applies"`
	Principal  ExplainedElement     `json:"principal"`
	Action     ExplainedElement     `json:"action"`
	Resource   ExplainedElement     `json:"resource"`
	Conditions []ExplainedCondition `json:"conditions,omitempty"`
}

// ExplainedElement is what an element wanted, what the request has, and a note
// when the two are nearly the same.
type ExplainedElement struct {
	Matched bool     `json:"matched"`
	Match   string   `json:"match,omitempty"` // of a principal: direct, via-role, …
	Wanted  []string `json:"wanted,omitempty"`
	Got     string   `json:"got,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// ExplainedCondition is one key of one operator.
type ExplainedCondition struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"`
	Present  bool     `json:"keyPresent"`
	Wanted   []string `json:"wanted"`
	Got      []string `json:"got"`
	Matched  bool     `json:"matched"`
	// Why is one of equal, differs, absent, absent-ok, needs-set-operator,
	// wildcard-without-like, case-only.
	Why  string `json:"why"`
	Note string `json:"note,omitempty"`
}

// Explain decides and tells. It is the slow path of Decide and agrees with it.
func Explain(r *Request, p *Policies) *Explanation {
	decision := Decide(r, p)
	e := &Explanation{
		Decision: decision.Effect.String(), Reason: decision.Reason, Action: r.Action, Resource: r.Resource,
		Principal: ExplainedPrincipal{r.Principal.ARN, r.Principal.RoleARN, r.Principal.Account},
	}
	explainer := evaluation{request: r, action: strings.ToLower(r.Action), bounded: p.Boundary != nil}
	for _, document := range p.documents() {
		e.Documents = append(e.Documents, explainer.explain(document))
	}
	if decision.Reason == "no-trust-match" {
		e.Reason = e.refineTrust()
	}
	return e
}

// documents lists all documents in the order of the decision.
func (p *Policies) documents() []*Policy {
	var all []*Policy
	for _, levels := range [][][]*Policy{p.SCP, p.RCP} {
		for _, level := range levels {
			all = append(all, level...)
		}
	}
	all = append(all, p.Endpoint...)
	for _, one := range []*Policy{p.Resource, p.Trust, p.Boundary} {
		if one != nil {
			all = append(all, one)
		}
	}
	all = append(all, p.Session...)
	return append(all, p.Identity...)
}

func (e *evaluation) explain(p *Policy) ExplainedPolicy {
	explained := ExplainedPolicy{Kind: p.kind.String(), Name: p.name}
	for i := range p.statements {
		s := &p.statements[i]
		match := e.principal(p, s)
		x := ExplainedStatement{
			Index: i, Sid: s.sid, Line: s.at.line, Effect: "Deny",
			Applies:   match != unmatched && e.applies(s),
			Principal: e.explainPrincipal(s, match),
			Action:    e.explainAction(s),
			Resource:  e.explainResource(s),
		}
		if s.allow {
			x.Effect = "Allow"
		}
		for j := range s.conditions {
			x.Conditions = append(x.Conditions, e.explainCondition(&s.conditions[j]))
		}
		explained.Statements = append(explained.Statements, x)
	}
	return explained
}

func (e *evaluation) explainPrincipal(s *statement, match strength) ExplainedElement {
	x := ExplainedElement{Matched: match != unmatched, Match: match.String(), Got: e.request.Principal.ARN}
	if s.principal == nil {
		return ExplainedElement{Matched: true, Match: "n/a"}
	}
	for _, entry := range s.principal.entries {
		x.Wanted = append(x.Wanted, entry.key+" "+entry.text)
		if match == unmatched && x.Note == "" {
			x.Note = nearMiss(entry.text, e.request.Principal.ARN)
		}
	}
	return x
}

func (e *evaluation) explainAction(s *statement) ExplainedElement {
	x := ExplainedElement{Matched: s.action.match(e.action), Got: e.request.Action}
	for i := range s.action.patterns {
		wanted := s.action.patterns[i].source
		x.Wanted = append(x.Wanted, wanted)
		if !x.Matched && e.action == "sts:assumerolewithwebidentity" && strings.EqualFold(wanted, "sts:AssumeRole") {
			x.Note = "sts:AssumeRole does not cover sts:AssumeRoleWithWebIdentity"
		}
	}
	return x
}

func (e *evaluation) explainResource(s *statement) ExplainedElement {
	if s.resource == nil {
		return ExplainedElement{Matched: true, Match: "n/a"}
	}
	x := ExplainedElement{Matched: s.resource.match(e.request), Got: e.request.Resource}
	for i := range s.resource.patterns {
		x.Wanted = append(x.Wanted, s.resource.patterns[i].whole.source)
	}
	return x
}

func (e *evaluation) explainCondition(c *condition) ExplainedCondition {
	v, present := e.request.lookup(c.folded)
	x := ExplainedCondition{Operator: c.operator, Key: c.key, Present: present, Matched: c.holds(e.request), Got: v.many}
	if present && !v.multi {
		x.Got = []string{v.one}
	}
	for i := range c.values {
		x.Wanted = append(x.Wanted, c.values[i].source)
	}
	x.Why, x.Note = e.why(c, v, &x)
	return x
}

func (e *evaluation) why(c *condition, v value, x *ExplainedCondition) (why, note string) {
	switch {
	case !x.Present && x.Matched:
		return "absent-ok", ""
	case !x.Present:
		return "absent", e.similarKey(c.folded)
	case x.Matched:
		return "equal", ""
	case v.multi && c.op.set == noSet && c.op.compare != compareNull:
		return "needs-set-operator", "the key has several values; use ForAnyValue: or ForAllValues:"
	}
	for i := range c.values {
		wanted := c.values[i].source
		for _, got := range x.Got {
			if c.op.compare == compareString && !c.op.negated && strings.ContainsAny(wanted, "*?") && matchOps(compilePattern(wanted, true, false).ops, got) {
				return "wildcard-without-like", "StringEquals takes * and ? literally; use StringLike"
			}
			if strings.EqualFold(wanted, got) && wanted != got {
				return "case-only", "the two differ in letter case only"
			}
			if note == "" {
				note = nearMiss(wanted, got)
			}
		}
	}
	return "differs", note
}

// similarKey names a key of the request that a misspelt key may have meant.
func (e *evaluation) similarKey(folded string) string {
	if e.request.Context == nil {
		return ""
	}
	claim := folded[strings.LastIndexByte(folded, ':')+1:]
	best := ""
	for key := range e.request.Context.entries {
		if (strings.HasSuffix(key, ":"+claim) && !strings.HasPrefix(key, "aws:") && !strings.HasPrefix(key, "sts:")) && (best == "" || key < best) {
			best = key
		}
	}
	if best == "" {
		return ""
	}
	name := e.request.Context.entries[best].name
	return fmt.Sprintf("the request has the key %s%s", name, suffixNote(nearMiss(folded, best)))
}

func suffixNote(note string) string {
	if note == "" {
		return ""
	}
	return ": " + note
}

// refineTrust tells apart why no trust statement matched.
func (e *Explanation) refineTrust() string {
	reason := "no-trust-match"
	for _, document := range e.Documents {
		for _, s := range document.Statements {
			switch {
			case s.Effect != "Allow" || !s.Principal.Matched:
			case s.Action.Matched:
				return "trust-condition-failed"
			default:
				reason = "trust-wrong-action"
			}
		}
	}
	return reason
}
