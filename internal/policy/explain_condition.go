package policy

import (
	"fmt"
	"slices"
	"strings"
)

func (x *explainer) explainCondition(c *condition) ExplainedCondition {
	v, present := x.request.lookup(c.folded)
	e := ExplainedCondition{
		Operator: c.operator, Key: c.key, Present: present, Multivalued: v.multi,
		Matched: c.holds(x.request), Wanted: []string{}, Got: []string{},
	}
	switch {
	case present && v.multi:
		e.Got = append(e.Got, v.many...)
	case present:
		e.Got = append(e.Got, v.one)
	}
	hasVariables := slices.ContainsFunc(c.values, func(p pattern) bool { return p.segments != nil })
	for i := range c.values {
		e.Wanted = append(e.Wanted, c.values[i].source)
		if hasVariables {
			e.Resolved = append(e.Resolved, x.resolved(&c.values[i]))
		}
	}
	e.Why, e.Note = x.why(c, v, &e)
	return e
}

func (x *explainer) resolved(p *pattern) string {
	ops, ok := p.resolve(x.request)
	if !ok {
		return "(a variable has no value)"
	}
	return sourceOf(ops)
}

// why gives the code of spec iam-policy §6 and, where it helps, a sentence.
func (x *explainer) why(c *condition, v value, e *ExplainedCondition) (why, note string) {
	switch {
	case c.op.compare == compareNull:
		return nullWhy(e)
	case !e.Present && e.Matched:
		return "absent-ok", ""
	case !e.Present:
		return "absent", x.absentNote(c)
	case e.Matched:
		return "equal", ""
	case v.multi && c.op.set == noSet:
		return "needs-set-operator", "the key has several values; use ForAnyValue: or ForAllValues:"
	case len(c.values) == 0:
		return "empty-list", "no value is listed, so none can match"
	}
	if why, note := x.whyNotEqual(c, e.Got); why != "" {
		return why, note
	}
	for i := range c.values {
		for _, got := range e.Got {
			if note := nearMiss(c.values[i].source, got); note != "" {
				return "differs", note
			}
		}
	}
	return "differs", ""
}

func nullWhy(e *ExplainedCondition) (why, note string) {
	switch {
	case e.Matched && !e.Present:
		return "absent-ok", ""
	case e.Matched:
		return "equal", ""
	case !e.Present:
		return "absent", "Null false requires the key to be present"
	}
	return "differs", "Null true requires the key to be absent"
}

// whyNotEqual looks for mistakes that have a code of their own.
func (x *explainer) whyNotEqual(c *condition, got []string) (why, note string) {
	for i := range c.values {
		wanted := &c.values[i]
		ops, resolved := wanted.resolve(x.request)
		if !resolved {
			return "unresolved-variable", fmt.Sprintf(
				"a variable in %q has no value, so it equals nothing",
				wanted.source,
			)
		}
		if c.op.compare.isTyped() && !c.typed[i].valid {
			return "unparsable-policy", c.wrongForm(i)
		}
		for _, one := range got {
			switch {
			case c.requestUnparsable(one):
				return "unparsable-request", fmt.Sprintf("%q is not a value for %s", one, c.op.name())
			case c.op.negated:
			case (c.op.compare == compareString || c.op.compare == compareFolded) &&
				strings.ContainsAny(wanted.source, "*?") &&
				matchOps(compilePattern(wanted.source, true, false).ops, one, false):
				return "wildcard-without-like", c.op.base + " takes * and ? literally; use StringLike"
			case c.op.compare != compareFolded && !c.op.compare.isTyped() &&
				matchOps(lowerOps(ops), lowerText(one), false):
				return "case-only", "the two differ only in letter case"
			}
			if c.op.compare == compareARN && !c.op.negated {
				if note = arnDifference(ops, one); note != "" {
					return "differs", note
				}
			}
		}
	}
	return "", ""
}

// requestUnparsable reports request values that the operator cannot compare.
func (c *condition) requestUnparsable(got string) bool {
	switch {
	case c.op.compare == compareIP:
		_, ok := parseAddress(got)
		return !ok
	case c.op.compare == compareARN:
		return strings.Count(got, ":") < 5
	case c.op.compare.isTyped():
		return !parseTyped(c.op.compare, got).valid
	}
	return false
}

// arnDifference names the first part that differs.
func arnDifference(ops []op, got string) string {
	wanted, parts := splitOps(ops), strings.SplitN(got, ":", 6)
	for i := range min(len(wanted), len(parts)) {
		if !matchOps(wanted[i], parts[i], false) {
			return fmt.Sprintf("%s: wanted %q, got %q", partNames[i], sourceOf(wanted[i]), parts[i])
		}
	}
	return ""
}

// absentNote says what a missing key may mean.
func (x *explainer) absentNote(c *condition) string {
	if note := neverPresent(c.folded, x.request); note != "" {
		return note
	}
	name, note := x.similarKey(c.folded)
	if name == "" {
		return ""
	}
	if note != "" {
		note = ": " + note
	}
	return "the request has the key " + name + note
}

// neverPresent explains keys that such a request cannot have (spec iam-policy
// §5.3, §5.4).
func neverPresent(folded string, r *Request) string {
	webIdentity := r.Principal.Kind == WebIdentity
	switch {
	case folded == "sts:durationseconds":
		return "sts:DurationSeconds is in no AssumeRole call, whatever duration is requested"
	case webIdentity && (folded == "aws:principalarn" || folded == "aws:username" || folded == "sts:externalid" ||
		folded == "aws:sourcearn" || folded == "aws:sourceaccount" || strings.HasPrefix(folded, "aws:principaltag/")):
		return "a web-identity call never has this key"
	case webIdentity && isTokenKey(folded) && strings.HasPrefix(folded, fold(issuerOf(r.Principal.ARN))+":"):
		claim := folded[len(issuerOf(r.Principal.ARN))+1:]
		if claims, known := claimKeys(issuerOf(r.Principal.ARN)); known && !slices.Contains(claims, claim) {
			return "the claim " + claim + " is not a condition key: only " + strings.Join(claims, ", ") + " are"
		}
	}
	return ""
}

// similarKey finds a key of the request that a misspelt key may have meant:
// the same claim of another issuer, or a name at most two letters away.
func (x *explainer) similarKey(folded string) (name, note string) {
	if x.request.Context == nil {
		return "", ""
	}
	claim := folded[strings.LastIndexByte(folded, ':')+1:]
	best := ""
	for key := range x.request.Context.entries {
		sameClaim := isTokenKey(key) && isTokenKey(folded) && strings.HasSuffix(key, ":"+claim)
		if (sameClaim || (len(key) > 4 && editDistance(key, folded, 2) <= 2)) && (best == "" || key < best) {
			best = key
		}
	}
	if best == "" {
		return "", ""
	}
	return x.request.Context.entries[best].name, nearMiss(folded, best)
}

// isTokenKey tells keys of an issuer's claims from those of AWS's services.
func isTokenKey(folded string) bool {
	host, _, _ := strings.Cut(folded, ":")
	return strings.Contains(host, ".")
}
