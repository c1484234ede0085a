package policy

import "fmt"

// Kind says what a document is attached to, and so what it must contain (spec
// iam-policy §1.1).
type Kind int

// The kinds of policy documents.
const (
	Identity Kind = iota // user, group or role: grants
	Boundary             // limits a user or role
	Session              // passed when a role is assumed: limits the session
	Trust                // of a role: who may assume it
	Resource             // bucket, queue, key, …
	SCP                  // service control policy: limits principals of accounts
	RCP                  // resource control policy: limits resources of accounts
	Endpoint             // of a VPC endpoint
)

// String returns the kind as AWS's denial texts name it.
func (k Kind) String() string {
	return [...]string{
		"identity-based policy", "permissions boundary", "session policy", "role trust policy", "resource-based policy",
		"service control policy", "resource control policy", "VPC endpoint policy",
	}[k]
}

// Source is the short name of the kind, as in cases and explanations.
func (k Kind) Source() string {
	return [...]string{"identity", "boundary", "session", "trust", "resource", "scp", "rcp", "endpoint"}[k]
}

// ParseKind reads the short name of a kind.
func ParseKind(source string) (Kind, bool) {
	for k := Identity; k <= Endpoint; k++ {
		if k.Source() == source {
			return k, true
		}
	}
	return 0, false
}

// Policy is a document that was read, checked and compiled. It is immutable and
// safe for concurrent use.
type Policy struct {
	kind       Kind
	name       string
	text       string
	version    string // empty if absent
	statements []statement
}

// Kind returns the kind that the document was read as.
func (p *Policy) Kind() Kind { return p.kind }

// Name returns the name the document has in explanations.
func (p *Policy) Name() string { return p.name }

// Text returns the document byte for byte as it was written.
func (p *Policy) Text() string { return p.text }

func (p *Policy) position(at span) position { return positionOf([]byte(p.text), at.start) }

// statement is one compiled statement.
type statement struct {
	sid    string
	allow  bool
	at     span
	action actionSet
	// principal is nil where the kind of document has none.
	principal *principalSet
	// resource is nil where the document belongs to what it is about.
	resource    *resourceSet
	conditions  []condition
	conditionAt span // zero without Condition
	// emptyOperators constrain nothing; lint shows them.
	emptyOperators []emptyOperator
}

type emptyOperator struct {
	name  string
	at    span
	known bool
}

// SyntaxError says why a document is refused: AWS's code and words, and ours.
type SyntaxError struct {
	Name          string // of the document
	Code, Message string // as IAM answers
	Detail        string // what is wrong and what would be right
	Line, Column  int    // where, counting from 1
}

// Error returns place, detail and AWS's message.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s (AWS says: %s)", e.Name, e.Line, e.Column, e.Detail, e.Message)
}
