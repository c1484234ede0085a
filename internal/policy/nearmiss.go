package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// nearMisses collects statements that fail in exactly one element: Allow
// statements of a refusal, Deny statements of a permission.
func (x *explainer) nearMisses() {
	wanted := x.decision.Effect != Allowed
	if x.decision.Effect == ExplicitDeny {
		return // the Deny has applied in full
	}
	for i, document := range x.policies.documents() {
		if !x.concerns(document.kind) || (wanted && !x.wants(document.kind)) {
			continue
		}
		for j := range document.statements {
			if s := &document.statements[j]; s.allow == wanted {
				x.nearMiss(document, s, &x.out.Documents[i].Statements[j])
			}
		}
	}
	slices.SortStableFunc(x.out.NearMisses, func(a, b NearMiss) int { return cmp.Compare(a.distance, b.distance) })
}

// wants reports whether an Allow of the kind could help: one is missing, or the
// resource's policy could name the caller better.
func (x *explainer) wants(kind Kind) bool {
	return kind == Resource || kind == Trust ||
		slices.ContainsFunc(x.out.Needed, func(n Need) bool { return n.Source == kind.Source() && n.Got == "silent" })
}

func (x *explainer) nearMiss(p *Policy, s *statement, e *ExplainedStatement) {
	var failing []string
	if e.Principal.Match == unmatched.String() {
		failing = append(failing, "Principal")
	}
	if !e.Action.Matched {
		failing = append(failing, "Action")
	}
	if !e.Resource.Matched {
		failing = append(failing, "Resource")
	}
	conditions := 0
	for i := range e.Conditions {
		if !e.Conditions[i].Matched {
			conditions++
		}
	}
	if conditions > 0 {
		failing = append(failing, "Condition")
	}
	if len(failing) != 1 {
		return
	}
	miss := NearMiss{
		Source: p.kind.Source(), Document: p.name, Index: e.Index, Sid: e.Sid, Effect: e.Effect,
		Element: failing[0], Because: strings.Join(e.misses(x.out), "; "), distance: 10 * max(conditions, 1),
	}
	switch miss.Element {
	case "Principal":
		x.suggestPrincipal(p, s, &miss)
	case "Action":
		x.suggestAction(p, s, &miss)
	case "Resource":
		x.suggestResource(p, s, &miss)
	case "Condition":
		if conditions == 1 {
			i := slices.IndexFunc(e.Conditions, func(c ExplainedCondition) bool { return !c.Matched })
			x.suggestCondition(p, s, i, &e.Conditions[i], &miss)
		}
	}
	if miss.Suggested != nil && !x.fixes(p, miss.Index, miss.Suggested) {
		miss.Suggested = nil
	}
	x.out.NearMisses = append(x.out.NearMisses, miss)
}

// fixes reports whether the edit leaves a document that is read, in which the
// statement applies.
func (x *explainer) fixes(p *Policy, index int, fix *finding.Fix) bool {
	edited, err := Parse(p.kind, p.name, []byte(fix.Edit.Apply(p.text)))
	if err != nil {
		return false
	}
	s := &edited.statements[index]
	return x.principal(edited, s) != unmatched && x.applies(s)
}

// fix describes an edit of a document.
func (p *Policy) fix(at span, text, format string, args ...any) *finding.Fix {
	position := p.position(at)
	return &finding.Fix{
		Description: fmt.Sprintf(format, args...), Line: position.line, Column: position.column,
		Old: p.text[at.start:at.end], New: text, Edit: at.replacedBy(text),
	}
}

func (x *explainer) suggestPrincipal(p *Policy, s *statement, miss *NearMiss) {
	miss.distance += 5
	caller := &x.request.Principal
	key, arn := "AWS", caller.ARN
	switch caller.Kind {
	case WebIdentity:
		key = "Federated"
	case Service:
		key = "Service"
	case RoleSession:
		arn = caller.RoleARN
	case Anonymous:
		return
	case User, FederatedUser, Root:
	}
	if s.principal.not || arn == "" {
		return
	}
	if s.principal.at == (span{}) {
		miss.Suggested = p.fix(
			span{s.at.start, s.at.start + 1},
			`{"Principal": {"`+key+`": `+jsonText(arn)+`}, `,
			"name %s as %s principal",
			arn,
			key,
		)
		return
	}
	at, text := s.principal.add(p, key, arn)
	miss.Suggested = p.fix(at, text, "name %s as %s principal", arn, key)
}

// add is an edit that names one more principal, or corrects one that was meant for
// it.
func (s *principalSet) add(p *Policy, key, arn string) (at span, text string) {
	of := func(e principalEntry) bool { return e.key == key }
	isNear := func(e principalEntry) bool { return of(e) && nearMiss(e.text, arn) != "" }
	if i := slices.IndexFunc(s.entries, isNear); i >= 0 {
		return s.entries[i].at, jsonText(arn)
	}
	if p.text[s.at.start] != '{' {
		return s.at, `{"` + key + `": ` + jsonText(arn) + `}` // it was "*"
	}
	i := slices.IndexFunc(s.entries, of)
	if i < 0 {
		return span{s.at.start, s.at.start + 1}, `{"` + key + `": ` + jsonText(arn) + `, `
	}
	at = s.entries[i].at
	both := jsonText(arn) + ", " + p.text[at.start:at.end]
	if strings.HasSuffix(strings.TrimRight(p.text[:at.start], " \t\r\n"), "[") {
		return at, both
	}
	return at, "[" + both + "]"
}

func (x *explainer) suggestAction(p *Policy, s *statement, miss *NearMiss) {
	if s.action.not || len(s.action.patterns) == 0 {
		return
	}
	first, last := &s.action.patterns[0], &s.action.patterns[len(s.action.patterns)-1]
	action := x.request.Action
	if len(s.action.patterns) == 1 && editDistance(first.source, action, 3) <= 3 {
		miss.distance--
		miss.Suggested = p.fix(first.at, jsonText(action), "write %s", action)
		return
	}
	if p.kind == Trust && x.request.Principal.Kind == WebIdentity && len(s.action.patterns) == 1 {
		miss.Suggested = p.fix(first.at, jsonText(action), "a web identity calls %s", action)
		return
	}
	old := p.text[last.at.start:last.at.end]
	if s.action.at == last.at {
		miss.Suggested = p.fix(s.action.at, "["+old+", "+jsonText(action)+"]", "add %s", action)
		return
	}
	miss.Suggested = p.fix(last.at, old+", "+jsonText(action), "add %s", action)
}

func (x *explainer) suggestResource(p *Policy, s *statement, miss *NearMiss) {
	if s.resource.not || len(s.resource.patterns) == 0 {
		return
	}
	last := &s.resource.patterns[len(s.resource.patterns)-1]
	wanted := x.request.Resource
	for i := range s.resource.patterns {
		pattern := &s.resource.patterns[i]
		if pattern.whole.source != "" && strings.HasPrefix(wanted, pattern.whole.source+"/") {
			miss.distance--
			miss.Suggested = p.fix(
				pattern.at,
				jsonText(pattern.whole.source+"/*"),
				"cover what is below %s",
				pattern.whole.source,
			)
			return
		}
		if nearMiss(pattern.whole.source, wanted) != "" {
			miss.distance--
			miss.Suggested = p.fix(pattern.at, jsonText(wanted), "write %s", wanted)
			return
		}
	}
	old := p.text[last.at.start:last.at.end]
	if s.resource.at == last.at {
		miss.Suggested = p.fix(s.resource.at, "["+old+", "+jsonText(wanted)+"]", "add %s", wanted)
		return
	}
	miss.Suggested = p.fix(last.at, old+", "+jsonText(wanted), "add %s", wanted)
}

func (x *explainer) suggestCondition(p *Policy, s *statement, index int, e *ExplainedCondition, miss *NearMiss) {
	c := &s.conditions[index]
	switch e.Why {
	case "wildcard-without-like":
		miss.distance -= 5
		like := c.op
		like.base = "StringLike"
		miss.Suggested = p.fix(c.operatorAt, jsonText(like.name()), "compare with StringLike, which takes wildcards")
	case "needs-set-operator":
		miss.distance -= 4
		miss.Suggested = p.fix(c.operatorAt, jsonText("ForAnyValue:"+c.operator), "the key has several values")
	case "absent":
		x.suggestKey(p, c, miss)
	case "case-only", "differs":
		if len(c.values) == 1 && len(e.Got) == 1 && !c.op.negated && c.op.compare != compareNull {
			if e.Why == "case-only" || e.Note != "" {
				miss.distance -= 5
			}
			miss.Suggested = p.fix(c.valuesAt[0], jsonText(e.Got[0]), "require what the request has")
		}
	}
}

func (x *explainer) suggestKey(p *Policy, c *condition, miss *NearMiss) {
	if name, _ := x.similarKey(c.folded); name != "" {
		miss.distance -= 5
		miss.Suggested = p.fix(c.at, jsonText(name), "the request has the key %s", name)
		return
	}
	if !c.op.ifExists && c.op.set == noSet && c.op.compare != compareNull && !c.op.negated && miss.Effect == "Deny" {
		op := c.op
		op.ifExists = true
		miss.Suggested = p.fix(c.operatorAt, jsonText(op.name()), "%s would also hold without the key", op.name())
	}
}
