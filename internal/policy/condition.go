package policy

import (
	"slices"
	"strings"
)

// condition is one key of one operator of a statement.
type condition struct {
	operator string // as written
	op       operator
	key      string // as written
	folded   string
	values   []pattern
}

// operator is an operator's name taken apart.
type operator struct {
	base     string // positive form, such as StringEquals
	negated  bool
	ifExists bool
	set      setPrefix
	compare  comparison
}

type setPrefix int

const (
	noSet setPrefix = iota
	forAny
	forAll
)

// comparison is how one value of the request is held against one of the policy.
type comparison int

const (
	compareString comparison = iota
	compareFolded
	compareLike
	compareARN
	compareBool
	compareNull
)

// operators are the supported base names. An operator that is not here is
// refused when the document is read; ignoring it would change the decision.
var operators = map[string]operator{
	"stringequals":              {base: "StringEquals", compare: compareString},
	"stringnotequals":           {base: "StringNotEquals", compare: compareString, negated: true},
	"stringequalsignorecase":    {base: "StringEqualsIgnoreCase", compare: compareFolded},
	"stringnotequalsignorecase": {base: "StringNotEqualsIgnoreCase", compare: compareFolded, negated: true},
	"stringlike":                {base: "StringLike", compare: compareLike},
	"stringnotlike":             {base: "StringNotLike", compare: compareLike, negated: true},
	"arnequals":                 {base: "ArnEquals", compare: compareARN},
	"arnlike":                   {base: "ArnLike", compare: compareARN},
	"arnnotequals":              {base: "ArnNotEquals", compare: compareARN, negated: true},
	"arnnotlike":                {base: "ArnNotLike", compare: compareARN, negated: true},
	"bool":                      {base: "Bool", compare: compareBool},
	"null":                      {base: "Null", compare: compareNull},
}

// otherOperators exist at AWS and are not evaluated by this engine yet.
var otherOperators = []string{
	"numericequals", "numericnotequals", "numericlessthan", "numericlessthanequals", "numericgreaterthan", "numericgreaterthanequals",
	"dateequals", "datenotequals", "datelessthan", "datelessthanequals", "dategreaterthan", "dategreaterthanequals",
	"binaryequals", "ipaddress", "notipaddress",
}

func parseOperator(name string) (operator, bool) {
	folded := strings.ToLower(name)
	set := noSet
	if rest, found := strings.CutPrefix(folded, "foranyvalue:"); found {
		folded, set = rest, forAny
	} else if rest, found := strings.CutPrefix(folded, "forallvalues:"); found {
		folded, set = rest, forAll
	}
	base, ifExists := strings.CutSuffix(folded, "ifexists")
	op, found := operators[base]
	if !found || (op.compare == compareNull && ifExists) {
		return operator{}, false
	}
	op.set, op.ifExists = set, ifExists
	return op, true
}

func (d *decoder) condition(n *node, s *statement) error {
	block := n.find("Condition")
	if block == nil {
		return nil
	}
	if block.kind != objectNode {
		return d.fail(block.offset, badStructure, "", "Condition must be an object of operators, not %s", block.kindName())
	}
	var seen []string
	for _, m := range block.members {
		if slices.Contains(seen, m.name) {
			return d.fail(m.offset, badStructure, "", "the operator %q stands twice in one Condition", m.name)
		}
		seen = append(seen, m.name)
		if err := d.operatorBlock(m, s); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) operatorBlock(m member, s *statement) error {
	if m.value.kind != objectNode {
		if strings.Contains(m.name, ":") && !hasSetPrefix(m.name) || strings.Contains(m.name, "/") {
			return d.fail(m.offset, badStructure, "", `%q is a condition key where an operator is expected: put it inside one, as in "StringEquals": {%q: …}`, m.name, m.name)
		}
		return d.fail(m.offset, badStructure, "", "%q must hold an object of condition keys, not %s", m.name, m.value.kindName())
	}
	op, known := parseOperator(m.name)
	if !known && len(m.value.members) > 0 {
		if isOtherOperator(m.name) {
			return d.fail(m.offset, badStructure, "", "the operator %q is not evaluated by this version, so the document is refused rather than half applied", m.name)
		}
		return d.fail(m.offset, badStructure, "", "%q is no condition operator", m.name)
	}
	var seen []string
	for _, key := range m.value.members {
		folded := fold(key.name)
		if slices.Contains(seen, folded) {
			return d.fail(key.offset, badStructure, "", "the condition key %q stands twice in %s", key.name, m.name)
		}
		seen = append(seen, folded)
		values, err := d.conditionValues(key, op)
		if err != nil {
			return err
		}
		s.conditions = append(s.conditions, condition{operator: m.name, op: op, key: key.name, folded: folded, values: values})
	}
	return nil
}

func hasSetPrefix(name string) bool {
	folded := strings.ToLower(name)
	return strings.HasPrefix(folded, "foranyvalue:") || strings.HasPrefix(folded, "forallvalues:")
}

func isOtherOperator(name string) bool {
	folded := strings.ToLower(name)
	if i := strings.IndexByte(folded, ':'); i >= 0 {
		folded = folded[i+1:]
	}
	return slices.Contains(otherOperators, strings.TrimSuffix(folded, "ifexists"))
}

func (d *decoder) conditionValues(key member, op operator) ([]pattern, error) {
	items := []*node{key.value}
	if key.value.kind == arrayNode {
		items = key.value.items
	}
	values := make([]pattern, 0, len(items))
	for _, item := range items {
		if item.kind != stringNode && item.kind != numberNode && item.kind != boolNode {
			return nil, d.fail(item.offset, badStructure, "", "a value of %q must be a text, a number or a boolean, not %s", key.name, item.kindName())
		}
		if op.compare == compareARN && item.text != "*" && len(strings.SplitN(item.text, ":", 6)) < 6 && !strings.Contains(item.text, "${") {
			return nil, d.fail(item.offset, badStructure, "", "%q is no ARN pattern: want six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE", item.text)
		}
		wild := op.compare == compareLike || op.compare == compareARN
		values = append(values, compilePattern(item.text, wild, d.hasVariables() && op.compare != compareNull))
	}
	return values, nil
}

// holds is the truth table of spec iam-policy §3.3.
func (c *condition) holds(r *Request) bool {
	v, present := r.lookup(c.folded)
	if c.op.compare == compareNull {
		return c.null(v, present)
	}
	if !present {
		return c.holdsAbsent()
	}
	if len(c.values) == 0 {
		return c.op.set == forAll && v.multi && len(v.many) == 0
	}
	if !v.multi {
		matched, comparable := c.matches(r, v.one)
		return comparable && matched != c.op.negated
	}
	switch c.op.set {
	case forAll:
		for _, one := range v.many {
			if matched, comparable := c.matches(r, one); !comparable || matched == c.op.negated {
				return false
			}
		}
		return true
	case forAny:
		for _, one := range v.many {
			if matched, comparable := c.matches(r, one); comparable && matched != c.op.negated {
				return true
			}
		}
		return false
	case noSet:
	}
	return false // a multivalued key needs a set operator
}

func (c *condition) holdsAbsent() bool {
	switch {
	case c.op.set == forAny:
		return false // also with IfExists: the prefix is resolved first
	case c.op.set == forAll:
		return true
	case c.op.ifExists:
		return true
	case len(c.values) == 0:
		return false
	}
	return c.op.negated
}

// null tests presence: "true" wants absence, any other text presence.
func (c *condition) null(v value, present bool) bool {
	if present && v.multi && len(v.many) == 0 {
		present = false
	}
	for i := range c.values {
		if strings.EqualFold(c.values[i].source, "true") != present {
			return true
		}
	}
	return false
}

// matches holds one request value against the listed ones. comparable is false
// when the request's value is no ARN under an Arn operator: then neither the
// operator nor its negation holds (spec iam-policy §3.2).
func (c *condition) matches(r *Request, got string) (matched, comparable bool) {
	if c.op.compare == compareARN && strings.Count(got, ":") < 5 {
		return false, false
	}
	for i := range c.values {
		if c.matchesOne(r, &c.values[i], got) {
			return true, true
		}
	}
	return false, true
}

func (c *condition) matchesOne(r *Request, want *pattern, got string) bool {
	if want.literal && c.op.compare == compareString {
		return want.source == got
	}
	if c.op.compare == compareBool && want.segments == nil {
		return strings.EqualFold(want.source, "true") == strings.EqualFold(got, "true")
	}
	ops, ok := want.resolve(r)
	if !ok {
		return false
	}
	switch c.op.compare {
	case compareString, compareLike:
		return matchOps(ops, got)
	case compareFolded:
		return equalFolded(literalText(ops), got)
	case compareARN:
		if len(ops) == 1 && ops[0] == anyRun {
			return true
		}
		parts := splitOps(ops)
		return len(parts) == 6 && matchARN(parts, got, false)
	case compareBool:
		return strings.EqualFold(literalText(ops), "true") == strings.EqualFold(got, "true")
	case compareNull:
	}
	return false
}

// literalText turns ops without wildcards into text.
func literalText(ops []op) string {
	text := make([]byte, len(ops))
	for i, o := range ops {
		text[i] = byte(o)
	}
	return string(text)
}
