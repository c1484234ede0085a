// Package policycase reads files of policy decisions - requests, policies and
// what is expected - in a form that other engines' corpora can be turned into,
// and decides them.
//
// It does not evaluate anything itself (package policy does) and reads no files.
package policycase

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/policy"
)

// Case is one decision: see docs/reference/policy-cases.md.
type Case struct {
	Name     string   `json:"name"`
	Request  Request  `json:"request"`
	Policies Policies `json:"policies"`
	// Expect is Allowed, ImplicitDeny, ExplicitDeny, or empty.
	Expect string `json:"expect"`
}

// Request is the question. Either Action or Actions is given.
type Request struct {
	Principal       json.RawMessage            `json:"principal"`
	Action          string                     `json:"action"`
	Actions         []string                   `json:"actions"`
	Resource        string                     `json:"resource"`
	ResourceAccount string                     `json:"resourceAccount"`
	Context         map[string]json.RawMessage `json:"context"`
}

// Policies are the documents. SCP and RCP run from root to account.
type Policies struct {
	Identity []json.RawMessage   `json:"identity"`
	Boundary json.RawMessage     `json:"boundary"`
	Session  json.RawMessage     `json:"session"`
	Resource json.RawMessage     `json:"resource"`
	Trust    json.RawMessage     `json:"trust"`
	SCP      [][]json.RawMessage `json:"scp"`
	RCP      [][]json.RawMessage `json:"rcp"`
	Endpoint []json.RawMessage   `json:"endpoint"`
}

// Verdict is the answer to one case.
type Verdict struct {
	Name   string `json:"name"`
	Effect string `json:"verdict"`
	Expect string `json:"expect,omitempty"`
	// Holds is false when something else was expected.
	Holds   bool   `json:"holds"`
	Because string `json:"because"`
}

// Parse reads a file's text strictly: unknown, misspelt and repeated members are
// errors.
func Parse(text []byte) ([]Case, error) {
	var file struct {
		Cases []Case `json:"cases"`
	}
	strict, err := kjson.UnmarshalStrict(text, &file)
	if err != nil {
		return nil, err
	}
	if len(strict) > 0 {
		return nil, errors.Join(strict...)
	}
	if file.Cases == nil {
		return nil, errors.New(`there is no member "cases"`)
	}
	return file.Cases, nil
}

// Decide answers a case. The error says what of the case is malformed.
func (c *Case) Decide() (Verdict, error) {
	verdict := Verdict{Name: c.Name, Expect: c.Expect}
	switch c.Expect {
	case "", "Allowed", "ImplicitDeny", "ExplicitDeny":
	default:
		return verdict, fmt.Errorf("expect: %q is none of Allowed, ImplicitDeny, ExplicitDeny", c.Expect)
	}
	request, err := c.Request.read()
	if err != nil {
		return verdict, fmt.Errorf("request: %w", err)
	}
	policies, err := c.Policies.read()
	if err != nil {
		return verdict, fmt.Errorf("policies: %w", err)
	}
	actions := c.Request.Actions
	if c.Request.Action != "" {
		actions = append([]string{c.Request.Action}, actions...)
	}
	if len(actions) == 0 {
		return verdict, errors.New("request: neither action nor actions is given")
	}
	// All must be allowed; of several refusals the explicit one is shown.
	worst := policy.Allowed
	for _, action := range actions {
		request.Action = action
		if effect := policy.Decide(request, policies).Effect; severity(effect) > severity(worst) || verdict.Because == "" {
			worst, verdict.Because = effect, policy.Explain(request, policies).Summary()
		}
	}
	verdict.Effect = worst.String()
	verdict.Holds = c.Expect == "" || c.Expect == verdict.Effect
	return verdict, nil
}

func severity(e policy.Effect) int {
	switch e {
	case policy.ExplicitDeny:
		return 2
	case policy.ImplicitDeny:
		return 1
	case policy.Allowed:
	}
	return 0
}

func (r *Request) read() (*policy.Request, error) {
	principal, err := r.principal()
	if err != nil {
		return nil, err
	}
	request := &policy.Request{Principal: principal, Resource: r.Resource, ResourceAccount: r.ResourceAccount, Context: policy.NewContext()}
	if r.Resource == "" {
		return nil, errors.New(`resource: must be an ARN, or "*" for actions without one`)
	}
	if r.ResourceAccount != "" && !arn.IsAccount(r.ResourceAccount) {
		return nil, fmt.Errorf("resourceAccount: %q is not 12 digits", r.ResourceAccount)
	}
	for key, raw := range r.Context {
		var one string
		if json.Unmarshal(raw, &one) == nil {
			request.Context.Set(key, one)
			continue
		}
		var many []string
		if err := json.Unmarshal(raw, &many); err != nil {
			return nil, fmt.Errorf("context: %q must be a text or a list of texts", key)
		}
		if len(many) == 1 {
			request.Context.Set(key, many[0]) // its definition says whether it is a list
		} else {
			request.Context.SetMulti(key, many)
		}
		if many == nil {
			return nil, fmt.Errorf("context: %q must be a text or a list of texts", key)
		}
	}
	return request, nil
}

// principal reads an ARN, the name of a service, or {"type":"Anonymous"}.
func (r *Request) principal() (policy.Principal, error) {
	var text string
	if json.Unmarshal(r.Principal, &text) == nil && text != "" {
		return PrincipalOf(text)
	}
	var object struct {
		Type string `json:"type"`
	}
	if strict, err := kjson.UnmarshalStrict(r.Principal, &object); err != nil || len(strict) > 0 || object.Type != "Anonymous" {
		return policy.Principal{}, errors.New(`principal: want an ARN, a service's name, or {"type":"Anonymous"}`)
	}
	return policy.Principal{Kind: policy.Anonymous}, nil
}

// PrincipalOf says who an ARN or a service's name stands for. A role's ARN
// stands for a session of it; a session's role is taken to have no path unless
// aws:PrincipalArn in the request says otherwise.
func PrincipalOf(text string) (policy.Principal, error) {
	parsed, err := arn.Parse(text)
	if err != nil {
		if strings.HasSuffix(text, ".amazonaws.com") || strings.HasSuffix(text, ".amazonaws.com.cn") {
			return policy.Principal{Kind: policy.Service, ARN: text}, nil
		}
		return policy.Principal{}, fmt.Errorf("principal: %w", err)
	}
	kind, rest, _ := strings.Cut(parsed.Resource, "/")
	p := policy.Principal{ARN: text, Account: parsed.Account}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	switch {
	case parsed.Service == "iam" && kind == "root":
		p.Kind, p.UserID = policy.Root, parsed.Account
	case parsed.Service == "iam" && kind == "user" && name != "":
		p.Kind, p.UserName = policy.User, name
	case parsed.Service == "iam" && kind == "role" && name != "":
		p.Kind, p.RoleARN = policy.RoleSession, text
		p.ARN = "arn:" + parsed.Partition + ":sts::" + parsed.Account + ":assumed-role/" + name + "/session"
	case parsed.Service == "sts" && kind == "assumed-role" && strings.Count(rest, "/") == 1:
		role, _, _ := strings.Cut(rest, "/")
		p.Kind, p.RoleARN, p.RolePathUnknown = policy.RoleSession, "arn:"+parsed.Partition+":iam::"+parsed.Account+":role/"+role, true
	case parsed.Service == "sts" && kind == "federated-user" && name != "":
		p.Kind, p.UserID = policy.FederatedUser, parsed.Account+":"+name
		p.UserARN = "arn:" + parsed.Partition + ":iam::" + parsed.Account + ":user/" + name
	case parsed.Service == "iam" && (kind == "oidc-provider" || kind == "saml-provider") && rest != "":
		p.Kind, p.UserID = policy.WebIdentity, text
	default:
		return p, fmt.Errorf("principal: %q is no user, role, session, provider or root user", text)
	}
	return p, nil
}

func (p *Policies) read() (*policy.Policies, error) {
	out := &policy.Policies{}
	var err error
	all := func(kind policy.Kind, name string, documents []json.RawMessage) []*policy.Policy {
		var parsed []*policy.Policy
		for i, document := range documents {
			one, parseErr := policy.Parse(kind, fmt.Sprintf("%s[%d]", name, i), document)
			err = errors.Join(err, parseErr)
			parsed = append(parsed, one)
		}
		return parsed
	}
	one := func(kind policy.Kind, name string, document json.RawMessage) *policy.Policy {
		if document == nil {
			return nil
		}
		parsed, parseErr := policy.Parse(kind, name, document)
		err = errors.Join(err, parseErr)
		return parsed
	}
	out.Identity = all(policy.Identity, "identity", p.Identity)
	out.Boundary = one(policy.Boundary, "boundary", p.Boundary)
	out.Resource = one(policy.Resource, "resource", p.Resource)
	out.Trust = one(policy.Trust, "trust", p.Trust)
	out.Endpoint = all(policy.Endpoint, "endpoint", p.Endpoint)
	for i, level := range p.SCP {
		out.SCP = append(out.SCP, all(policy.SCP, fmt.Sprintf("scp[%d]", i), level))
	}
	for i, level := range p.RCP {
		out.RCP = append(out.RCP, all(policy.RCP, fmt.Sprintf("rcp[%d]", i), level))
	}
	if p.Session != nil {
		out.HasSession = true
		documents := []json.RawMessage{p.Session}
		if json.Unmarshal(p.Session, &documents) != nil {
			documents = []json.RawMessage{p.Session}
		}
		out.Session = all(policy.Session, "session", documents)
	}
	return out, err
}
