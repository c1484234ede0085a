package policy

// Statement is what can be said about a statement without a request, for code
// that rewrites documents.
type Statement struct {
	Sid   string
	Allow bool
	// Start and End are the bytes of the text that it occupies.
	Start, End int
	// Principals are the entries of Principal; NotPrincipal says that they are
	// those of NotPrincipal.
	Principals   []NamedPrincipal
	NotPrincipal bool
	Conditions   []NamedCondition
}

// NamedPrincipal is one entry of a Principal: its kind (AWS, Service, Federated,
// CanonicalUser) and its name, as written. Principal "*" is AWS "*".
type NamedPrincipal struct{ Kind, Name string }

// NamedCondition is one key of one operator, with its values, as written.
type NamedCondition struct {
	Operator, Key string
	Values        []string
}

// Statements returns the statements in document order. Listed tells whether they
// stand in a list: a single one may stand without.
func (p *Policy) Statements() (statements []Statement, listed bool) {
	statements = make([]Statement, len(p.statements))
	for i := range p.statements {
		s := &p.statements[i]
		one := Statement{Sid: s.sid, Allow: s.allow, Start: s.at.start, End: s.at.end}
		if s.principal != nil {
			one.NotPrincipal = s.principal.not
			for _, entry := range s.principal.entries {
				one.Principals = append(one.Principals, NamedPrincipal{entry.key, entry.text})
			}
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			named := NamedCondition{Operator: c.operator, Key: c.key}
			for k := range c.values {
				named.Values = append(named.Values, c.values[k].source)
			}
			one.Conditions = append(one.Conditions, named)
		}
		statements[i] = one
	}
	return statements, p.listed()
}

// listed looks for the bracket before the first statement.
func (p *Policy) listed() bool {
	root, _, err := readNodes([]byte(p.text))
	if err != nil {
		return false
	}
	list := root.find("Statement")
	return list != nil && list.kind == arrayNode
}
