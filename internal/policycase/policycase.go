// Package policycase reads files of policy decisions - requests, policies and
// what is expected - in a form into which other engines' corpora can be
// converted, and decides them.
//
// It does not evaluate anything itself (package policy does) and reads no files.
package policycase

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	Name string `json:"name"`
	// Effect is Allowed, ImplicitDeny or ExplicitDeny; Invalid for a case that
	// cannot be decided, whose Error says why.
	Effect string `json:"verdict"`
	// Reason is a code of spec iam-policy §6.
	Reason string `json:"reason"`
	Expect string `json:"expect,omitempty"`
	// Holds is false when something else was expected.
	Holds bool `json:"holds"`
	// Because is a sentence for people, for verdicts that do not hold.
	Because string `json:"because,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Invalid is the verdict of a case with a document that does not parse.
const Invalid = "Invalid"

// Parse reads a file's text strictly: unknown, misspelt and repeated members are
// errors.
func Parse(text []byte) ([]*Case, error) {
	var file struct {
		Cases []*Case `json:"cases"`
	}
	strict, err := kjson.UnmarshalStrict(text, &file)
	if err != nil {
		return nil, err
	}
	if len(strict) > 0 {
		return nil, errors.Join(strict...)
	}
	if file.Cases == nil {
		return nil, errors.New(`the member "cases" is missing`)
	}
	if i := slices.Index(file.Cases, nil); i >= 0 {
		return nil, fmt.Errorf("case %d is null", i+1)
	}
	return file.Cases, nil
}

// Decider answers cases. It reads a document that many cases share only once,
// so it lives as long as the cases of one run. It is not for concurrent use.
type Decider struct {
	// Explain gives every verdict its sentence.
	Explain bool
	parsed  map[string]map[string]*policy.Policy // by name and text
}

// Decide answers a case.
func (d *Decider) Decide(c *Case) Verdict {
	verdict := Verdict{Name: c.Name, Expect: c.Expect}
	request, policies, actions, err := d.read(c)
	if err != nil {
		verdict.Effect, verdict.Reason, verdict.Error = Invalid, "document-invalid", err.Error()
		return verdict
	}
	decision, _ := policy.DecideAll(request, actions, policies)
	verdict.Effect, verdict.Reason = decision.Effect.String(), decision.Reason
	verdict.Holds = c.Expect == "" || c.Expect == verdict.Effect
	if d.Explain || !verdict.Holds {
		verdict.Because = policy.ExplainAll(request, actions, policies).Summary()
	}
	return verdict
}

func (d *Decider) read(c *Case) (*policy.Request, *policy.Policies, []string, error) {
	switch c.Expect {
	case "", "Allowed", "ImplicitDeny", "ExplicitDeny":
	default:
		return nil, nil, nil, fmt.Errorf("expect: %q is not one of Allowed, ImplicitDeny, ExplicitDeny", c.Expect)
	}
	request, err := c.Request.read()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("request: %w", err)
	}
	policies, err := d.policies(&c.Policies)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("policies: %w", err)
	}
	actions := c.Request.Actions
	if c.Request.Action != "" {
		actions = append([]string{c.Request.Action}, actions...)
	}
	if len(actions) == 0 {
		return nil, nil, nil, errors.New("request: neither action nor actions is given")
	}
	return request, policies, actions, nil
}

func (r *Request) read() (*policy.Request, error) {
	principal, err := r.principal()
	if err != nil {
		return nil, err
	}
	request := &policy.Request{
		Principal:       principal,
		Resource:        r.Resource,
		ResourceAccount: r.ResourceAccount,
		Context:         policy.NewContext(),
	}
	if r.Resource == "" {
		request.Resource = "*"
	}
	if r.ResourceAccount != "" && !arn.IsAccount(r.ResourceAccount) {
		return nil, fmt.Errorf("resourceAccount: %w", arn.CheckAccount(r.ResourceAccount))
	}
	// Of keys that differ in letter case the last counts.
	for _, key := range slices.Sorted(maps.Keys(r.Context)) {
		raw := r.Context[key]
		if one, ok := plainString(raw); ok {
			request.Context.Set(key, one)
			continue
		}
		var many []string
		if err := json.Unmarshal(raw, &many); err != nil {
			return nil, fmt.Errorf("context: %q must be a string or a list of strings", key)
		}
		if len(many) == 1 {
			request.Context.Set(key, many[0]) // its definition says whether it is a list
		} else {
			request.Context.SetMulti(key, many)
		}
		if many == nil {
			return nil, fmt.Errorf("context: %q must be a string or a list of strings", key)
		}
	}
	Identify(request)
	return request, nil
}

// Identify adds what the context says about the principal and its ARN does not:
// the role with its path (aws:PrincipalArn), and the unique id (aws:userid).
func Identify(r *policy.Request) {
	if role, given := r.Context.Get("aws:PrincipalArn"); given && r.Principal.Kind == policy.RoleSession {
		r.Principal.RoleARN, r.Principal.RolePathUnknown = role, false
	}
	if id, given := r.Context.Get("aws:userid"); given &&
		(r.Principal.Kind == policy.User || r.Principal.Kind == policy.RoleSession) {
		r.Principal.EntityID, _, _ = strings.Cut(id, ":")
	}
}

// plainString reads a JSON string; most need no decoding.
func plainString(raw json.RawMessage) (text string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// principal reads an ARN, the name of a service, or {"type":"Anonymous"}.
func (r *Request) principal() (policy.Principal, error) {
	if text, ok := plainString(r.Principal); ok && text != "" {
		return PrincipalOf(text)
	}
	var object struct {
		Type string `json:"type"`
	}
	if strict, err := kjson.UnmarshalStrict(r.Principal, &object); err != nil || len(strict) > 0 ||
		object.Type != "Anonymous" {
		return policy.Principal{}, errors.New(`principal: want an ARN, a service's name, or {"type":"Anonymous"}`)
	}
	return policy.Principal{Kind: policy.Anonymous}, nil
}

// builtinIssuers go by their domain names, without a provider in the account.
var builtinIssuers = []string{
	"accounts.google.com",
	"cognito-identity.amazonaws.com",
	"graph.facebook.com",
	"www.amazon.com",
}

// PrincipalOf says who an ARN or a service's name stands for. A role's ARN
// stands for a session of it; a session's role is assumed to have no path
// unless aws:PrincipalArn in the request says otherwise.
func PrincipalOf(text string) (policy.Principal, error) {
	parsed, err := arn.Parse(text)
	if err != nil {
		if slices.Contains(builtinIssuers, text) {
			return policy.Principal{Kind: policy.WebIdentity, ARN: text, UserID: text}, nil
		}
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
		p.Kind, p.RolePathUnknown = policy.RoleSession, true
		p.RoleARN = "arn:" + parsed.Partition + ":iam::" + parsed.Account + ":role/" + role
	case parsed.Service == "sts" && kind == "federated-user" && name != "":
		p.Kind, p.UserID = policy.FederatedUser, parsed.Account+":"+name
		p.UserARN = "arn:" + parsed.Partition + ":iam::" + parsed.Account + ":user/" + name
	case parsed.Service == "iam" && (kind == "oidc-provider" || kind == "saml-provider") && rest != "":
		p.Kind, p.UserID = policy.WebIdentity, text
	default:
		return p, fmt.Errorf("principal: %q is not a user, role, session, provider or root user", text)
	}
	return p, nil
}

// policies compiles the documents of a case.
func (d *Decider) policies(p *Policies) (*policy.Policies, error) {
	r := documents{decider: d}
	out := &policy.Policies{
		Identity: r.list(policy.Identity, "identity", p.Identity),
		Boundary: r.one(policy.Boundary, "boundary", p.Boundary),
		Resource: r.one(policy.Resource, "resource", p.Resource),
		Trust:    r.one(policy.Trust, "trust", p.Trust),
		SCP:      r.levels(policy.SCP, "scp", p.SCP),
		RCP:      r.levels(policy.RCP, "rcp", p.RCP),
		Endpoint: r.list(policy.Endpoint, "endpoint", p.Endpoint),
	}
	if p.Session != nil && string(p.Session) != "null" {
		out.HasSession = true
		var documents []json.RawMessage
		if p.Session[0] != '[' || json.Unmarshal(p.Session, &documents) != nil {
			documents = []json.RawMessage{p.Session}
		}
		out.Session = r.list(policy.Session, "session", documents)
	}
	return out, r.err
}

// documents reads the documents of one case and keeps the errors.
type documents struct {
	decider *Decider
	err     error
}

func (r *documents) one(kind policy.Kind, name string, text json.RawMessage) *policy.Policy {
	if text == nil || string(text) == "null" {
		return nil
	}
	if known := r.decider.parsed[name][string(text)]; known != nil {
		return known
	}
	parsed, err := policy.Parse(kind, name, text)
	if err != nil {
		r.err = errors.Join(r.err, err)
		return nil
	}
	if r.decider.parsed == nil {
		r.decider.parsed = map[string]map[string]*policy.Policy{}
	}
	if r.decider.parsed[name] == nil {
		r.decider.parsed[name] = map[string]*policy.Policy{}
	}
	r.decider.parsed[name][string(text)] = parsed
	return parsed
}

func (r *documents) list(kind policy.Kind, name string, texts []json.RawMessage) []*policy.Policy {
	if len(texts) == 0 {
		return nil
	}
	parsed := make([]*policy.Policy, len(texts))
	for i, text := range texts {
		parsed[i] = r.one(kind, indexed(name, i), text)
	}
	return parsed
}

func (r *documents) levels(kind policy.Kind, name string, levels [][]json.RawMessage) [][]*policy.Policy {
	parsed := make([][]*policy.Policy, len(levels))
	for i, level := range levels {
		parsed[i] = r.list(kind, indexed(name, i), level)
	}
	return parsed
}

func indexed(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }
