package iam

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func simulationOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"SimulateCustomPolicy":             {Do: simulateCustom},
		"SimulatePrincipalPolicy":          {Target: sourceTarget, Do: simulatePrincipal},
		"GetContextKeysForCustomPolicy":    {Do: contextKeysOfCustom},
		"GetContextKeysForPrincipalPolicy": {Target: sourceTarget, Do: contextKeysOfPrincipal},
	}
}

func sourceTarget(q *service.Call) (service.Target, error) {
	return service.Target{ARN: q.Get("PolicySourceArn")}, nil
}

// simulation is a question about calls that are not made.
type simulation struct {
	caller   policy.Principal
	context  *policy.Context
	identity []source
	boundary *policy.Policy
	resource *source
	owner    string // of resources whose ARN names no account
}

// source is a document with its name in answers.
type source struct {
	id     string
	parsed *policy.Policy
}

// sources reads policies given in the call.
func sources(q *service.Call, parameter string, kind policy.Kind) ([]source, error) {
	var given []source
	for i, text := range q.List(parameter) {
		id := parameter + "." + strconv.Itoa(i+1)
		parsed, err := parseInput(kind, id, text)
		if err != nil {
			return nil, err
		}
		given = append(given, source{id, parsed})
	}
	return given, nil
}

// parseInput is parseDocument in the words of operations that store nothing.
func parseInput(kind policy.Kind, name, text string) (*policy.Policy, error) {
	parsed, err := parseDocument(kind, name, text)
	if refused, ok := errors.AsType[*wire.Error](err); ok && refused.Code == "MalformedPolicyDocument" {
		refused.Code = "InvalidInput"
	}
	return parsed, err
}

func simulateCustom(q *service.Call) (any, error) {
	var s simulation
	var err error
	if s.identity, err = sources(q, "PolicyInputList", policy.Identity); err != nil {
		return nil, err
	}
	if len(s.identity) == 0 {
		q.Violate("Value null at 'policyInputList' failed to satisfy constraint: Member must not be null")
	}
	if q.Has("ResourcePolicy") && !q.Has("CallerArn") {
		return nil, invalidInput("CallerArn is required when ResourcePolicy is given.")
	}
	// No particular caller: the keys that a caller brings are missing.
	s.caller = policy.Principal{Kind: policy.User, Account: q.Account.ID}
	return s.run(q)
}

func simulatePrincipal(q *service.Call) (any, error) {
	if len(q.Members("PolicyExclusionList")) > 0 {
		return nil, wire.Errorf(http.StatusNotImplemented, "NotImplemented", "PolicyExclusionList is not emulated")
	}
	s, err := principalOf(q)
	if err != nil {
		return nil, err
	}
	more, err := sources(q, "PolicyInputList", policy.Identity)
	if err != nil {
		return nil, err
	}
	s.identity = append(s.identity, more...)
	return s.run(q)
}

// principalOf reads the user, group or role of PolicySourceArn with all policies
// that hold for it.
func principalOf(q *service.Call) (*simulation, error) {
	text := q.Text("PolicySourceArn", arnLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	s := &simulation{}
	return s, wrap(q.Account.View(func(state account.State) (err error) {
		var given []account.Permissions
		var boundary string
		if s.caller, given, boundary, err = entityOf(state, text); err != nil {
			return err
		}
		for _, permissions := range given {
			if err := s.add(state, permissions); err != nil {
				return err
			}
		}
		if boundary == "" {
			return nil
		}
		s.boundary, err = managedSource(state, policy.Boundary, boundary)
		return err
	}), "read the policies of %q", text)
}

// add reads the policies of one entity.
func (s *simulation) add(state account.State, permissions account.Permissions) error {
	for _, document := range permissions.Policies {
		parsed, err := state.Account().Parse(policy.Identity, document.Name, document.Text)
		if err != nil {
			return err
		}
		s.identity = append(s.identity, source{document.Name, parsed})
	}
	for _, attached := range permissions.Attached {
		parsed, err := managedSource(state, policy.Identity, attached)
		if err != nil {
			return err
		}
		s.identity = append(s.identity, source{parsed.Name(), parsed})
	}
	return nil
}

func managedSource(state account.State, kind policy.Kind, text string) (*policy.Policy, error) {
	found, err := state.PolicyByARN(text)
	if err != nil {
		return nil, err
	}
	return state.Account().Parse(kind, found.Name, found.Default().Text)
}

// entityOf finds a user, group or role of the account by its ARN and returns
// the caller that it would be, with its policies and the boundary that limits
// it.
func entityOf(state account.State, text string) (policy.Principal, []account.Permissions, string, error) {
	a := state.Account()
	parsed, err := arn.Parse(text)
	kind, _, _ := strings.Cut(parsed.Resource, "/")
	name := text[strings.LastIndexByte(text, '/')+1:]
	if err != nil || parsed.Service != "iam" || !slices.Contains([]string{"user", "group", "role"}, kind) ||
		name == "" {
		return policy.Principal{}, nil, "", invalidInput(
			"Invalid Entity Arn: %s does not clearly define entity type and name.", text,
		)
	}
	missing := noSuchEntity("The %s with name %s cannot be found.", kind, name)
	if parsed.Account != a.ID || parsed.Partition != a.Partition {
		return policy.Principal{}, nil, "", missing
	}
	switch kind {
	case "user":
		user, err := findUser(state, name)
		if err != nil || a.UserARN(user) != text {
			return policy.Principal{}, nil, "", errors.Join(err, missing)
		}
		given := []account.Permissions{user.Permissions}
		for _, name := range user.Groups {
			group, err := findGroup(state, name)
			if err != nil {
				return policy.Principal{}, nil, "", err
			}
			given = append(given, group.Permissions)
		}
		return policy.Principal{
			Kind:     policy.User,
			ARN:      text,
			EntityID: user.ID,
			UserID:   user.ID,
			UserName: user.Name,
			Account:  a.ID,
			Tags:     tagMap(user.Tags),
		}, given, user.Boundary, nil
	case "group":
		group, err := findGroup(state, name)
		if err != nil || a.GroupARN(group) != text {
			return policy.Principal{}, nil, "", errors.Join(err, missing)
		}
		return policy.Principal{Kind: policy.User, Account: a.ID}, []account.Permissions{group.Permissions}, "", nil
	}
	role, err := findRole(state, name)
	if err != nil || a.RoleARN(role) != text {
		return policy.Principal{}, nil, "", errors.Join(err, missing)
	}
	caller := sessionOf(text, role.ID, a.ID)
	caller.Tags = tagMap(role.Tags)
	return caller, []account.Permissions{role.Permissions}, role.Boundary, nil
}

// sessionOf is a session of a role, of no name.
func sessionOf(role, id, owner string) policy.Principal {
	return policy.Principal{Kind: policy.RoleSession, ARN: role, RoleARN: role, EntityID: id, Account: owner}
}

func tagMap(tags []account.Tag) map[string]string {
	byKey := make(map[string]string, len(tags))
	for _, tag := range tags {
		byKey[tag.Key] = tag.Value
	}
	return byKey
}

// setCaller uses the principal of CallerArn instead, with the policies of the
// other one.
func (s *simulation) setCaller(q *service.Call) error {
	text := q.Get("CallerArn")
	if text == "" {
		return nil
	}
	parsed, err := arn.Parse(text)
	kind, name, _ := strings.Cut(parsed.Resource, "/")
	if err != nil || parsed.Service != "iam" || name == "" || !arn.IsAccount(parsed.Account) ||
		(kind != "user" && kind != "role") {
		return invalidInput("Invalid CallerArn: %s is not the ARN of an IAM user or role.", text)
	}
	// One that does not exist can call too.
	s.caller = policy.Principal{
		Kind:     policy.User,
		ARN:      text,
		UserName: text[strings.LastIndexByte(text, '/')+1:],
		Account:  parsed.Account,
	}
	if kind == "role" {
		s.caller = sessionOf(text, "", parsed.Account)
	}
	owner, played := q.Accounts.Find(parsed.Account)
	if !played {
		return nil
	}
	return owner.View(func(state account.State) error {
		found, _, _, err := entityOf(state, text)
		if err == nil {
			s.caller = found
		}
		if _, missing := errors.AsType[*wire.Error](err); missing {
			return nil
		}
		return err
	})
}
