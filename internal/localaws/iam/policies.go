package iam

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func policyOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreatePolicy":            {Target: newPolicyTarget, Do: createPolicy},
		"GetPolicy":               {Target: policyTarget, Do: getPolicy},
		"ListPolicies":            {Target: below("policy"), Do: listPolicies},
		"DeletePolicy":            {Target: policyTarget, Do: deletePolicy},
		"CreatePolicyVersion":     {Target: policyTarget, Do: createVersion},
		"GetPolicyVersion":        {Target: policyTarget, Do: getVersion},
		"ListPolicyVersions":      {Target: policyTarget, Do: listVersions},
		"SetDefaultPolicyVersion": {Target: policyTarget, Do: setDefault},
		"DeletePolicyVersion":     {Target: policyTarget, Do: deleteVersion},
		"ListEntitiesForPolicy":   {Target: policyTarget, Do: listEntities},
		"TagPolicy":               {Target: policyTarget, Do: tagPolicy},
		"UntagPolicy":             {Target: policyTarget, Do: untagPolicy},
		"ListPolicyTags":          {Target: policyTarget, Do: listPolicyTags},
	}
}

func newPolicyTarget(q *service.Call) (service.Target, error) {
	one := &account.ManagedPolicy{Name: q.Get("PolicyName"), Path: q.Get("Path")}
	if one.Path == "" {
		one.Path = "/"
	}
	return service.Target{ARN: q.Account.PolicyARN(one)}, nil
}

func policyTarget(q *service.Call) (service.Target, error) {
	target := service.Target{ARN: q.Get("PolicyArn")}
	err := q.Account.View(func(state account.State) error {
		one, err := state.PolicyByARN(target.ARN)
		if err == nil {
			target.Tags = one.Tags
		}
		return unlessNotFound(err)
	})
	return target, err
}

type policyResult struct{ Policy policyXML }

type policyXML struct {
	PolicyName                    string
	PolicyID                      string `xml:"PolicyId" json:"PolicyId"`
	ARN                           string `xml:"Arn" json:"Arn"`
	Path                          string
	DefaultVersionID              string `xml:"DefaultVersionId" json:"DefaultVersionId"`
	AttachmentCount               int
	PermissionsBoundaryUsageCount int
	IsAttachable                  bool
	Description                   string `xml:",omitempty" json:",omitempty"`
	CreateDate, UpdateDate        wire.Time
	Tags                          wire.List[account.Tag] `xml:",omitempty" json:",omitempty"`
}

func newPolicyXML(a *account.Account, p *account.ManagedPolicy, used usage) policyXML {
	arn := a.PolicyARN(p)
	return policyXML{
		PolicyName:                    p.Name,
		PolicyID:                      p.ID,
		ARN:                           arn,
		Path:                          p.Path,
		DefaultVersionID:              p.Default().ID,
		AttachmentCount:               used.attached[arn],
		PermissionsBoundaryUsageCount: used.boundary[arn],
		IsAttachable:                  true,
		Description:                   p.Description,
		CreateDate:                    wire.Time(p.Created),
		UpdateDate:                    wire.Time(p.Updated),
		Tags:                          p.Tags,
	}
}

func createPolicy(q *service.Call) (any, error) {
	one := &account.ManagedPolicy{
		Name:    q.Text("PolicyName", longNameLimit),
		Path:    newPath(q),
		ID:      account.NewPolicyID(),
		Created: q.Time.UTC(),
	}
	one.Description = q.Text("Description", descriptionLimit)
	text := q.Text("PolicyDocument", documentLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := CheckManaged(text); err != nil {
		return nil, err
	}
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	if one.Tags, err = mergeTags(nil, tags); err != nil {
		return nil, err
	}
	AddVersion(one, text, q.Time.UTC())
	err = q.Account.Update(func(state account.State) error {
		if _, err := state.Policy(one.Name); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "A policy called %s already exists. Duplicate names are not allowed.", one.Name)
		}
		return errors.Join(room(state.CountPolicies(), "PoliciesPerAccount", maxPolicies), state.PutPolicy(one))
	})
	if err != nil {
		return nil, wrap(err, "create policy %q", one.Name)
	}
	return policyResult{newPolicyXML(q.Account, one, usage{})}, nil
}

func findPolicy(state account.State, arn string) (*account.ManagedPolicy, error) {
	one, err := state.PolicyByARN(arn)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity("Policy %s was not found.", arn)
	}
	return one, err
}

// policies are managed ones.
var policies = named[*account.ManagedPolicy]{"policy", "PolicyArn", arnLimit, findPolicy}

// changePolicy changes the managed policy of the request; AWS's own cannot be
// changed.
func changePolicy(q *service.Call, f func(account.State, *account.ManagedPolicy) error) error {
	return policies.update(q, "change", func(state account.State, one *account.ManagedPolicy) error {
		if one.AWS {
			return wire.Errorf(http.StatusForbidden, "AccessDenied", "Policy is outside your own account.")
		}
		return f(state, one)
	})
}

func getPolicy(q *service.Call) (any, error) {
	var result policyResult
	err := policies.view(q, func(state account.State, one *account.ManagedPolicy) error {
		used, err := countUsage(state, q.Account.PolicyARN(one))
		result.Policy = newPolicyXML(q.Account, one, used)
		return err
	})
	return result, err
}

type policiesResult struct {
	Policies wire.List[policyXML]
	pageEnd
}

func listPolicies(q *service.Call) (any, error) {
	prefix, scope := q.Text("PathPrefix", pathLimit), q.Get("Scope")
	if scope != "" && scope != "All" && scope != "AWS" && scope != "Local" {
		q.Violate(
			"Value '%s' at 'scope' failed to satisfy constraint: Member must satisfy enum value set: [All, AWS, Local]",
			scope,
		)
	}
	var found []*account.ManagedPolicy
	var used usage
	err := q.Account.View(func(state account.State) (err error) {
		if scope != "AWS" {
			if found, err = state.Policies(); err != nil {
				return err
			}
		}
		if scope != "Local" {
			found = append(found, account.AWSPolicies()...)
		}
		used, err = countUsage(state, "")
		return err
	})
	if err != nil {
		return nil, wrap(err, "list policies")
	}
	counts := used.attached
	if q.Get("PolicyUsageFilter") == "PermissionsBoundary" {
		counts = used.boundary
	}
	found = slices.DeleteFunc(found, func(p *account.ManagedPolicy) bool {
		return !strings.HasPrefix(p.Path, prefix) ||
			(q.Get("OnlyAttached") == "true" && counts[q.Account.PolicyARN(p)] == 0)
	})
	slices.SortFunc(found, func(a, b *account.ManagedPolicy) int {
		return strings.Compare(q.Account.PolicyARN(a), q.Account.PolicyARN(b))
	})
	onPage, end, err := page(q, found, q.Account.PolicyARN)
	if err != nil {
		return nil, err
	}
	result := policiesResult{pageEnd: end}
	for _, one := range onPage {
		shown := newPolicyXML(q.Account, one, used)
		shown.Tags, shown.Description = nil, ""
		result.Policies = append(result.Policies, shown)
	}
	return result, nil
}

func deletePolicy(q *service.Call) (any, error) {
	return nil, changePolicy(q, func(state account.State, one *account.ManagedPolicy) error {
		arn := q.Account.PolicyARN(one)
		used, err := countUsage(state, arn)
		switch {
		case err != nil:
			return err
		case used.attached[arn]+used.boundary[arn] > 0:
			return deleteConflict("Cannot delete a policy attached to entities.")
		case len(one.Versions) > 1:
			return deleteConflict(
				"This policy has more than one version. Before you delete a policy, you must delete the policy's " +
					"versions. The default version is deleted with the policy.",
			)
		}
		return state.DeletePolicy(one.Name)
	})
}

func tagPolicy(q *service.Call) (any, error) {
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	return nil, changePolicy(q, func(state account.State, one *account.ManagedPolicy) (err error) {
		if one.Tags, err = mergeTags(one.Tags, tags); err != nil {
			return err
		}
		return state.PutPolicy(one)
	})
}

func untagPolicy(q *service.Call) (any, error) {
	return nil, changePolicy(q, func(state account.State, one *account.ManagedPolicy) error {
		one.Tags = removeTags(one.Tags, q.List("TagKeys"))
		return state.PutPolicy(one)
	})
}

func listPolicyTags(q *service.Call) (any, error) {
	var tags []account.Tag
	if err := policies.view(q, func(_ account.State, one *account.ManagedPolicy) error {
		tags = one.Tags
		return nil
	}); err != nil {
		return nil, err
	}
	return listTags(q, tags)
}
