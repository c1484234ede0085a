package policy

import (
	"fmt"
	"strings"
)

// condition is one key of one operator of a statement.
type condition struct {
	operator       string // as written
	operatorAt, at span   // of the operator's and the key's name
	op             operator
	key            string // as written
	folded         string
	values         []pattern
	valuesAt       []span
	// typed are the values of operators that do not compare texts.
	typed []typed
	// deny says which way to fail when a policy's value cannot be compared.
	deny bool
}

// operator is an operator's name taken apart.
type operator struct {
	base     string // as AWS writes it, such as StringNotEquals
	negated  bool
	ifExists bool
	set      setPrefix
	compare  comparison
	order    order // of numbers and dates
}

// name is the whole name as AWS writes it.
func (o operator) name() string {
	name := [...]string{"", "ForAnyValue:", "ForAllValues:"}[o.set] + o.base
	if o.ifExists {
		name += "IfExists"
	}
	return name
}

type setPrefix int

const (
	noSet setPrefix = iota
	forAny
	forAll
)

// comparison is how one value of the request is compared with one of the
// policy.
type comparison int

const (
	compareString comparison = iota
	compareFolded
	compareLike
	compareARN
	compareBool
	compareNull
	compareNumber
	compareDate
	compareIP
	compareBinary
)

// isTyped reports whether values are parsed rather than matched as texts.
func (c comparison) isTyped() bool { return c >= compareNumber }

// operators are the base names. An operator that is not listed is refused when
// the document is read; ignoring it would change the decision.
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
	"numericequals":             {base: "NumericEquals", compare: compareNumber},
	"numericnotequals":          {base: "NumericNotEquals", compare: compareNumber, negated: true},
	"numericlessthan":           {base: "NumericLessThan", compare: compareNumber, order: less},
	"numericlessthanequals":     {base: "NumericLessThanEquals", compare: compareNumber, order: lessOrEqual},
	"numericgreaterthan":        {base: "NumericGreaterThan", compare: compareNumber, order: greater},
	"numericgreaterthanequals":  {base: "NumericGreaterThanEquals", compare: compareNumber, order: greaterOrEqual},
	"dateequals":                {base: "DateEquals", compare: compareDate},
	"datenotequals":             {base: "DateNotEquals", compare: compareDate, negated: true},
	"datelessthan":              {base: "DateLessThan", compare: compareDate, order: less},
	"datelessthanequals":        {base: "DateLessThanEquals", compare: compareDate, order: lessOrEqual},
	"dategreaterthan":           {base: "DateGreaterThan", compare: compareDate, order: greater},
	"dategreaterthanequals":     {base: "DateGreaterThanEquals", compare: compareDate, order: greaterOrEqual},
	"ipaddress":                 {base: "IpAddress", compare: compareIP},
	"notipaddress":              {base: "NotIpAddress", compare: compareIP, negated: true},
	"binaryequals":              {base: "BinaryEquals", compare: compareBinary},
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

func (d *decoder) condition(n *node, s *statement) {
	block := n.find("Condition")
	if block == nil {
		return
	}
	s.conditionAt = block.at
	if block.kind != objectNode {
		d.report(block.at, badStructure, "", "Condition must be an object of operators, not %s", block.kindName())
		return
	}
	seen := make(map[string]bool, len(block.members))
	for i, m := range block.members {
		if seen[m.name] {
			d.report(m.at, badStructure, "", "the operator %q is repeated in one Condition", m.name)
		}
		seen[m.name] = true
		if m.value.kind != objectNode {
			d.misplacedKey(block, i)
			continue
		}
		d.operatorBlock(m, s)
	}
}

// misplacedKey is about a member of Condition that is not an object: mostly a
// condition key outside its operator.
func (d *decoder) misplacedKey(block *node, index int) {
	m := &block.members[index]
	if !strings.Contains(m.name, ":") || hasSetPrefix(m.name) {
		d.report(m.at, badStructure, "", "%q must be an object of condition keys, not %s", m.name, m.value.kindName())
		return
	}
	meant, inner := "StringEquals", block.find("StringEquals")
	for _, before := range block.members[:index] {
		if before.value.kind == objectNode {
			meant, inner = before.name, before.value
		}
	}
	d.report(
		m.at,
		badStructure,
		"",
		"%q is a condition key where an operator is expected: it belongs inside %q",
		m.name,
		meant,
	)
	stray := string(d.text[m.at.start:m.value.at.end])
	switch {
	case inner == nil:
		d.fix(m.at.start, m.value.at.end, `"`+meant+`": {`+stray+`}`)
	case inner.kind != objectNode: // two faults: no obvious edit
	case inner.at.start < m.at.start:
		// From the end of the operator before it to the end of the stray key.
		between := strings.TrimRight(string(d.text[inner.at.end:m.at.start]), ", \t\r\n")
		d.fix(inner.at.end-1, m.value.at.end, separator(inner)+stray+"}"+between)
	default:
		// From the stray key to the beginning of the operator after it.
		between := strings.TrimLeft(string(d.text[m.value.at.end:inner.at.start+1]), ", \t\r\n")
		d.fix(m.at.start, inner.at.start+1, between+stray+separator(inner))
	}
}

// separator stands between the members of an object and one more.
func separator(object *node) string {
	if len(object.members) == 0 {
		return ""
	}
	return ", "
}

func (d *decoder) operatorBlock(m member, s *statement) {
	op, known := parseOperator(m.name)
	if !known && (len(m.value.members) > 0 || hasTwoColons(m.name)) {
		d.report(m.at, badStructure, "", "%q is not a condition operator%s", m.name, similarOperator(m.name))
		return
	}
	if len(m.value.members) == 0 {
		s.emptyOperators = append(s.emptyOperators, emptyOperator{m.name, m.at, known})
	}
	seen := make(map[string]bool, len(m.value.members))
	for _, key := range m.value.members {
		folded := fold(key.name)
		if seen[folded] {
			d.report(key.at, badStructure, "", "the condition key %q is repeated in %s", key.name, m.name)
		}
		seen[folded] = true
		c := condition{
			operator:   m.name,
			operatorAt: m.at,
			op:         op,
			key:        key.name,
			at:         key.at,
			folded:     folded,
			deny:       !s.allow,
		}
		d.conditionValues(key, &c)
		s.conditions = append(s.conditions, c)
	}
}

func hasSetPrefix(name string) bool {
	folded := strings.ToLower(name)
	return strings.HasPrefix(folded, "foranyvalue:") || strings.HasPrefix(folded, "forallvalues:")
}

func hasTwoColons(name string) bool { return strings.Count(name, ":") > 1 }

// similarOperator suggests the operator that a misspelt one may mean.
func similarOperator(name string) string {
	folded := strings.ToLower(name[strings.LastIndexByte(name, ':')+1:])
	best, distance := "", 4
	for candidate := range operators {
		if d := editDistance(folded, candidate, 3); d < distance || (d == distance && candidate < best) {
			best, distance = candidate, d
		}
	}
	if distance > 3 {
		return "; want StringEquals, StringLike, ArnLike, …"
	}
	return "; did you mean " + operators[best].name() + "?"
}

func (d *decoder) conditionValues(key member, c *condition) {
	items := []*node{key.value}
	if key.value.kind == arrayNode {
		items = key.value.items
	}
	c.values = make([]pattern, 0, len(items))
	for _, item := range items {
		if item.kind != stringNode && item.kind != numberNode && item.kind != boolNode {
			d.report(
				item.at,
				badStructure,
				"",
				"a value of %q must be a string, a number or a boolean, not %s",
				key.name,
				item.kindName(),
			)
			continue
		}
		wild := c.op.compare == compareLike || c.op.compare == compareARN
		vars := d.hasVariables() && c.op.compare != compareNull && !c.op.compare.isTyped()
		value := compilePattern(item.text, wild, vars)
		if c.op.compare.isTyped() {
			c.typed = append(c.typed, parseTyped(c.op.compare, item.text))
		}
		c.values, c.valuesAt = append(c.values, value), append(c.valuesAt, item.at)
		if detail := c.wrongForm(len(c.values) - 1); detail != "" &&
			(d.kind != Session || c.op.compare == compareBinary) {
			d.report(item.at, badValue, "", "%s", detail)
		}
	}
}

// wrongForm says why a value cannot be compared. IAM refuses such values where
// policies are stored, and in session policies only binary ones (spec iam-policy
// §1.5).
func (c *condition) wrongForm(index int) string {
	value := &c.values[index]
	switch {
	case c.op.compare == compareARN:
		if value.source != "*" && value.segments == nil && len(splitOps(value.ops)) < 6 {
			return fmt.Sprintf(
				"%q is not an ARN pattern: want six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE",
				value.source,
			)
		}
	case c.op.compare.isTyped():
		if !c.typed[index].valid || (c.op.compare == compareDate && !storedDate(value.source)) {
			return fmt.Sprintf("%q is not a value for %s: want %s", value.source, c.op.name(), valueForms[c.op.compare])
		}
	}
	return ""
}

var valueForms = map[comparison]string{
	compareNumber: "a decimal number",
	compareDate:   "a date such as 2026-01-31T00:00:00Z, or seconds since the epoch",
	compareIP:     "an address or CIDR range, IPv6 without host bits",
	compareBinary: "base64 with padding",
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
		return c.holdsFor(r, v.one)
	}
	switch c.op.set {
	case forAll:
		for _, one := range v.many {
			if !c.holdsFor(r, one) {
				return false
			}
		}
		return true
	case forAny:
		for _, one := range v.many {
			if c.holdsFor(r, one) {
				return true
			}
		}
	case noSet: // a multivalued key needs a set operator
	}
	return false
}

// holdsFor decides for one value of the request.
func (c *condition) holdsFor(r *Request, got string) bool {
	if c.op.compare.isTyped() {
		matched, comparable := c.matchTyped(got)
		return comparable && matched != c.op.negated
	}
	if c.op.compare == compareARN {
		return c.holdsForARN(r, got)
	}
	return c.matches(r, got) != c.op.negated
}

// holdsForARN: a request value that is not an ARN makes the operator and its
// negation false. A policy value that is not one ends the comparison: an Allow
// does not apply, a Deny does (spec iam-policy §3.2).
func (c *condition) holdsForARN(r *Request, got string) bool {
	if strings.Count(got, ":") < 5 {
		return false
	}
	for i := range c.values {
		want := &c.values[i]
		ops, ok := want.resolve(r)
		switch {
		case !ok:
			continue
		case want.source == "*":
			return !c.op.negated
		}
		parts := splitOps(ops)
		if len(parts) != 6 {
			return c.deny
		}
		if matchARN(parts, got, false) {
			return !c.op.negated
		}
	}
	return c.op.negated
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

// null tests presence: "true" requires absence, any other text presence.
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

// matches reports whether any listed value matches a text.
func (c *condition) matches(r *Request, got string) bool {
	for i := range c.values {
		if c.matchesOne(r, &c.values[i], got) {
			return true
		}
	}
	return false
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
		return matchOps(ops, got, false)
	case compareFolded:
		return equalFolded(literalText(ops), got)
	case compareBool:
		return strings.EqualFold(literalText(ops), "true") == strings.EqualFold(got, "true")
	case compareARN, compareNull, compareNumber, compareDate, compareIP, compareBinary: // are compared in other ways
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
