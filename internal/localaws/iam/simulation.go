package iam

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

type simulationResult struct {
	EvaluationResults wire.List[evaluationXML]
	pageEnd
}

// evaluationXML is the result of a simulated action on all resources together.
type evaluationXML struct {
	EvalActionName                    string
	EvalResourceName                  string
	EvalDecision                      string
	MatchedStatements                 wire.List[matchedStatement]
	MissingContextValues              wire.List[string]
	PermissionsBoundaryDecisionDetail *boundaryDecision         `xml:",omitempty" json:",omitempty"`
	EvalDecisionDetails               *wire.Map[string]         `xml:",omitempty" json:",omitempty"`
	ResourceSpecificResults           *wire.List[onResourceXML] `xml:",omitempty" json:",omitempty"`
}

// onResourceXML is its result on one resource.
type onResourceXML struct {
	EvalResourceName                  string
	EvalResourceDecision              string
	MatchedStatements                 wire.List[matchedStatement]
	MissingContextValues              wire.List[string]
	EvalDecisionDetails               *wire.Map[string] `xml:",omitempty" json:",omitempty"`
	PermissionsBoundaryDecisionDetail *boundaryDecision `xml:",omitempty" json:",omitempty"`
}

type matchedStatement struct {
	SourcePolicyID   string `xml:"SourcePolicyId" json:"SourcePolicyId"`
	SourcePolicyType string
	StartPosition    policy.Position
	EndPosition      policy.Position
}

type boundaryDecision struct{ AllowedByPermissionsBoundary bool }

// run answers for a page of actions, each on all resources.
func (s *simulation) run(q *service.Call) (any, error) {
	actions, resources := q.List("ActionNames"), q.List("ResourceArns")
	if len(actions) == 0 {
		q.Violate("Value null at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	if err := s.read(q); err != nil {
		return nil, err
	}
	for _, action := range actions {
		if prefix, name, found := strings.Cut(action, ":"); !found || prefix == "" || name == "" || len(action) > 128 {
			return nil, invalidInput("Invalid Action Name %s: want SERVICE:NAME.", action)
		}
	}
	if err := checkResources(q.Get("ResourceHandlingOption"), resources); err != nil {
		return nil, err
	}
	type numbered struct {
		action string
		number int
	}
	all := make([]numbered, len(actions))
	for i, action := range actions {
		all[i] = numbered{action, i}
	}
	onPage, end, err := pageUnsorted(q, all, func(n numbered) string { return strconv.Itoa(n.number + 1) })
	if err != nil {
		return nil, err
	}
	result := simulationResult{pageEnd: end}
	for _, one := range onPage {
		result.EvaluationResults = append(result.EvaluationResults, s.evaluate(one.action, resources))
	}
	return result, nil
}

// read reads what both kinds of simulation have besides policies.
func (s *simulation) read(q *service.Call) error {
	if err := q.Check(); err != nil {
		return err
	}
	boundaries, err := sources(q, "PermissionsBoundaryPolicyInputList", policy.Boundary)
	switch {
	case err != nil:
		return err
	case len(boundaries) > 1:
		return invalidInput("Only one permissions boundary can be given.")
	case len(boundaries) == 1:
		s.boundary = boundaries[0].parsed
	}
	if err := s.setCaller(q); err != nil {
		return err
	}
	if q.Has("ResourcePolicy") {
		parsed, err := parseInput(policy.Resource, "ResourcePolicy", q.Get("ResourcePolicy"))
		if err != nil {
			return err
		}
		s.resource = &source{"ResourcePolicy", parsed}
	}
	s.owner = s.caller.Account
	if text := q.Get("ResourceOwner"); text != "" {
		if parsed, err := arn.Parse(text); err == nil {
			text = parsed.Account
		}
		if !arn.IsAccount(text) {
			return invalidInput("Invalid ResourceOwner: %s is not an account.", q.Get("ResourceOwner"))
		}
		s.owner = text
	}
	s.context, err = contextEntries(q)
	return err
}

// evaluate asks for all resources. The strictest answer is the action's.
func (s *simulation) evaluate(action string, resources []string) evaluationXML {
	out := evaluationXML{EvalActionName: action, EvalResourceName: "*"}
	if len(resources) == 0 || slices.Equal(resources, []string{"*"}) {
		one := s.onResource(action, "*")
		out.EvalDecision = one.EvalResourceDecision
		out.MatchedStatements = one.MatchedStatements
		out.MissingContextValues = one.MissingContextValues
		out.PermissionsBoundaryDecisionDetail = one.PermissionsBoundaryDecisionDetail
		out.EvalDecisionDetails = one.EvalDecisionDetails
		return out
	}
	out.ResourceSpecificResults, out.EvalDecisionDetails = &wire.List[onResourceXML]{}, &wire.Map[string]{}
	for _, resource := range resources {
		one := s.onResource(action, resource)
		*out.ResourceSpecificResults = append(*out.ResourceSpecificResults, one)
		out.EvalDecision = stricter(out.EvalDecision, one.EvalResourceDecision)
		out.MissingContextValues = append(out.MissingContextValues, one.MissingContextValues...)
		if detail := one.PermissionsBoundaryDecisionDetail; detail != nil {
			before := out.PermissionsBoundaryDecisionDetail
			out.PermissionsBoundaryDecisionDetail = &boundaryDecision{detail.AllowedByPermissionsBoundary &&
				(before == nil || before.AllowedByPermissionsBoundary)}
		}
		if one.EvalDecisionDetails != nil {
			for kind, decision := range *one.EvalDecisionDetails {
				(*out.EvalDecisionDetails)[kind] = stricter((*out.EvalDecisionDetails)[kind], decision)
			}
		}
	}
	for _, one := range *out.ResourceSpecificResults {
		if one.EvalResourceDecision != out.EvalDecision {
			continue // it had no part in the answer
		}
		for _, statement := range one.MatchedStatements {
			if !slices.Contains(out.MatchedStatements, statement) {
				out.MatchedStatements = append(out.MatchedStatements, statement)
			}
		}
	}
	slices.Sort(out.MissingContextValues)
	out.MissingContextValues = slices.Compact(out.MissingContextValues)
	return out
}

// stricter returns the decision that weighs more; an empty one weighs nothing.
func stricter(a, b string) string {
	order := []string{"", "allowed", "implicitDeny", "explicitDeny"}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

var decisionWords = map[policy.Effect]string{
	policy.Allowed:      "allowed",
	policy.ImplicitDeny: "implicitDeny",
	policy.ExplicitDeny: "explicitDeny",
}

// onResource asks the engine.
func (s *simulation) onResource(action, resource string) onResourceXML {
	owner := s.owner
	if parsed, err := arn.Parse(resource); err == nil && parsed.Account != "" {
		owner = parsed.Account
	}
	context := s.context.Clone()
	if _, given := context.Get("aws:ResourceAccount"); !given && resource != "*" {
		context.Set("aws:ResourceAccount", owner)
	}
	if s.resource == nil {
		// What the resource's owner says is not asked, so it is as if the caller
		// owned it.
		owner = s.caller.Account
	}
	request := &policy.Request{
		Principal:       s.caller,
		Action:          action,
		Resource:        resource,
		ResourceAccount: owner,
		Context:         context,
	}
	policies := &policy.Policies{Boundary: s.boundary}
	for _, one := range s.identity {
		policies.Identity = append(policies.Identity, one.parsed)
	}
	if s.resource != nil {
		policies.Resource = s.resource.parsed
	}
	decision, told := policy.Decide(request, policies), policy.Explain(request, policies)
	out := onResourceXML{EvalResourceName: resource, EvalResourceDecision: decisionWords[decision.Effect]}
	out.MatchedStatements = s.matched(decision.Effect, told)
	out.MissingContextValues = s.missing(told)
	if s.boundary != nil {
		out.PermissionsBoundaryDecisionDetail = &boundaryDecision{verdict(told, policy.Boundary) == "allowed"}
	}
	if s.resource != nil && owner != s.caller.Account {
		details := wire.Map[string]{
			"IAM Policy":      verdict(told, policy.Identity),
			"Resource Policy": verdict(told, policy.Resource),
		}
		if s.boundary != nil {
			details["Permissions Boundary"] = verdict(told, policy.Boundary)
		}
		out.EvalDecisionDetails = &details
	}
	return out
}

// documents are the parsed ones in the order in which the engine explains them.
func (s *simulation) documents() []source {
	var all []source
	if s.resource != nil {
		all = append(all, *s.resource)
	}
	if s.boundary != nil {
		all = append(all, source{"", s.boundary})
	}
	return append(all, s.identity...)
}

// matched lists the statements that lead to a decision; those of boundaries have
// a member of their own.
func (s *simulation) matched(effect policy.Effect, told *policy.Explanation) wire.List[matchedStatement] {
	var found wire.List[matchedStatement]
	wanted := map[policy.Effect]string{policy.Allowed: "Allow", policy.ExplicitDeny: "Deny"}[effect]
	for i, document := range s.documents() {
		sort := "IAM Policy"
		switch document.parsed.Kind() {
		case policy.Boundary:
			continue
		case policy.Resource:
			sort = "Resource Policy"
		default:
		}
		outline := document.parsed.Outline()
		for _, statement := range told.Documents[i].Statements {
			if statement.Applies && statement.Effect == wanted {
				at := outline[statement.Index]
				found = append(found, matchedStatement{document.id, sort, at.Start, at.End})
			}
		}
	}
	return found
}

// missing lists the keys that statements about the action name but the request
// lacks.
func (s *simulation) missing(told *policy.Explanation) wire.List[string] {
	present := map[string]bool{}
	for _, entry := range told.Context {
		present[arn.FoldKey(entry.Key)] = len(entry.Values) != 1 || entry.Values[0] != ""
	}
	var keys []string
	for i, document := range s.documents() {
		outline := document.parsed.Outline()
		for _, statement := range told.Documents[i].Statements {
			for _, key := range outline[statement.Index].Keys {
				if statement.Action.Matched && !present[arn.FoldKey(key)] {
					keys = append(keys, key)
				}
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// verdict is what the documents of one kind decide.
func verdict(told *policy.Explanation, kind policy.Kind) string {
	said := "implicitDeny"
	for _, document := range told.Documents {
		if document.Source != kind.Source() {
			continue
		}
		for _, statement := range document.Statements {
			switch {
			case statement.Applies && statement.Effect == "Deny":
				return "explicitDeny"
			case statement.Applies:
				said = "allowed"
			}
		}
	}
	return said
}

// checkResources requires the resources that a scenario of EC2 consists of.
func checkResources(scenario string, resources []string) error {
	wanted := map[string]string{
		"":                             "",
		"EC2-VPC-InstanceStore":        "instance image security-group network-interface",
		"EC2-VPC-InstanceStore-Subnet": "instance image security-group network-interface subnet",
		"EC2-VPC-EBS":                  "instance image security-group network-interface volume",
		"EC2-VPC-EBS-Subnet":           "instance image security-group network-interface subnet volume",
	}
	types, known := wanted[scenario]
	if !known {
		return invalidInput("Invalid ResourceHandlingOption: %s.", scenario)
	}
	for kind := range strings.FieldsSeq(types) {
		if !slices.ContainsFunc(resources, func(resource string) bool {
			parsed, err := arn.Parse(resource)
			return err == nil && strings.HasPrefix(parsed.Resource, kind+"/")
		}) {
			return invalidInput("%s needs a resource of type %s.", scenario, kind)
		}
	}
	return nil
}
