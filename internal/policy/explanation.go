package policy

import "github.com/rolecall/rolecall/internal/finding"

// Explanation says how a decision came about: every statement of every
// document, matched or not, in document order. It is the machine-readable form
// of spec iam-policy §6 and contains no secrets: of the context it shows only
// keys that documents name.
type Explanation struct {
	Decision    string             `json:"decision"` // Allowed, ImplicitDeny, ExplicitDeny
	Reason      string             `json:"reason"`
	Action      string             `json:"action"`
	Resource    string             `json:"resource"`
	Principal   ExplainedPrincipal `json:"principal"`
	SameAccount bool               `json:"sameAccount"`
	// Needed are the documents that had to allow.
	Needed    []Need            `json:"needed"`
	Documents []ExplainedPolicy `json:"documents"`
	// PartlyDenied are statements that deny part of a resource with wildcards.
	PartlyDenied []PartlyDenied `json:"partlyDenied,omitempty"`
	// NearMisses are statements that fail in exactly one element, nearest first.
	NearMisses []NearMiss `json:"nearMisses"`
	// Context are the keys that documents name, sorted.
	Context []ContextEntry `json:"context"`
	// Assumptions are facts that were not known, and what was assumed instead.
	Assumptions []Assumption `json:"assumptions"`
}

// ExplainedPrincipal is the caller.
type ExplainedPrincipal struct {
	Kind    string `json:"kind"`
	ARN     string `json:"arn,omitempty"`
	RoleARN string `json:"roleArn,omitempty"`
	Account string `json:"account,omitempty"`
}

// Need is a source of permission that the decision needed.
type Need struct {
	Source string `json:"source"` // trust, resource, identity, boundary, session, scp, rcp, endpoint
	Need   string `json:"need"`   // allow
	Got    string `json:"got"`    // allow, silent, deny
	// Strength is how a trust or resource document names the caller.
	Strength string `json:"strength,omitempty"`
}

// ExplainedPolicy is one document.
type ExplainedPolicy struct {
	Source     string               `json:"source"`
	Kind       string               `json:"kind"` // as AWS's denials name it
	Name       string               `json:"name"`
	Findings   []string             `json:"findings,omitempty"`
	Statements []ExplainedStatement `json:"statements"`
}

// ExplainedStatement is one statement and each of its elements.
type ExplainedStatement struct {
	Index   int    `json:"index"` // from 0
	Sid     string `json:"sid,omitempty"`
	Line    int    `json:"line"`
	Effect  string `json:"effect"`
	Applies bool   `json:"applies"`
	// Role is "decides", "would allow but …", "would deny but …", or "not
	// relevant".
	Role       string               `json:"role"`
	Principal  ExplainedPrincipals  `json:"principal"`
	Action     ExplainedActions     `json:"action"`
	Resource   ExplainedResources   `json:"resource"`
	Conditions []ExplainedCondition `json:"conditions,omitempty"`
}

// ExplainedPrincipals is a statement's Principal or NotPrincipal.
type ExplainedPrincipals struct {
	Match   string           `json:"match"` // direct, via-role, via-user, account, none, n/a
	Not     bool             `json:"not,omitempty"`
	Entries []ExplainedEntry `json:"entries,omitempty"`
	Got     string           `json:"got,omitempty"`
}

// ExplainedEntry is one value of Principal.
type ExplainedEntry struct {
	Value   string `json:"value"`
	Matched bool   `json:"matched"`
	Note    string `json:"note,omitempty"`
}

// ExplainedActions is a statement's Action or NotAction.
type ExplainedActions struct {
	Matched bool              `json:"matched"`
	Not     bool              `json:"not,omitempty"`
	Entries []ExplainedAction `json:"entries"`
	Note    string            `json:"note,omitempty"`
}

// ExplainedAction is one pattern of Action.
type ExplainedAction struct {
	Pattern string `json:"pattern"`
	Matched bool   `json:"matched"`
}

// ExplainedResources is a statement's Resource or NotResource.
type ExplainedResources struct {
	Matched bool                `json:"matched"`
	Not     bool                `json:"not,omitempty"`
	Entries []ExplainedResource `json:"entries,omitempty"`
}

// ExplainedResource is one pattern of Resource.
type ExplainedResource struct {
	Pattern  string `json:"pattern"`
	Resolved string `json:"resolved,omitempty"` // with variables replaced, if it has any
	Matched  bool   `json:"matched"`
	// FirstDifferentPart is partition, service, region, account or resource.
	FirstDifferentPart string `json:"firstDifferentPart,omitempty"`
	Wanted             string `json:"wanted,omitempty"`
	Got                string `json:"got,omitempty"`
}

// ExplainedCondition is one key of one operator.
type ExplainedCondition struct {
	Operator    string   `json:"operator"`
	Key         string   `json:"key"`
	Present     bool     `json:"keyPresent"`
	Multivalued bool     `json:"multivalued"`
	Wanted      []string `json:"wanted"`
	Resolved    []string `json:"resolved,omitempty"` // with variables replaced, if there are any
	Got         []string `json:"got"`
	Matched     bool     `json:"matched"`
	// Why is one of equal, differs, absent, absent-ok, unparsable-request,
	// unparsable-policy, unresolved-variable, needs-set-operator,
	// wildcard-without-like, case-only, empty-list.
	Why  string `json:"why"`
	Note string `json:"note,omitempty"`
}

// NearMiss is a statement that fails in only one element.
type NearMiss struct {
	Source    string       `json:"source"`
	Document  string       `json:"document"`
	Index     int          `json:"index"`
	Sid       string       `json:"sid,omitempty"`
	Effect    string       `json:"effect"`
	Element   string       `json:"element"` // Principal, Action, Resource or Condition
	Because   string       `json:"because"`
	Suggested *finding.Fix `json:"suggested,omitempty"`
	distance  int
}

// ContextEntry is one key of the request.
type ContextEntry struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	// Origin is principal, request, token, given or assumed.
	Origin string `json:"origin"`
}

// Assumption is a fact that was not known.
type Assumption struct {
	Fact  string `json:"fact"`
	Taken string `json:"taken"`
	// Matters is set if the decision may differ for a different fact.
	Matters bool `json:"matters"`
}

// Unknown reports whether a fact that is not known may change the decision.
func (e *Explanation) Unknown() bool {
	for _, a := range e.Assumptions {
		if a.Matters {
			return true
		}
	}
	return false
}
