package iam

import (
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// attachable finds a managed policy that is to be attached, or to be a
// boundary.
func attachable(state account.State, arn string) error {
	_, err := state.PolicyByARN(arn)
	if errors.Is(err, account.ErrNotFound) {
		return noSuchEntity("Policy %s does not exist or is not attachable.", arn)
	}
	return err
}

func attach(k kind, q *service.Call) (any, error) {
	arn := q.Text("PolicyArn", arnLimit)
	return nil, k.changePermissions(q, func(state account.State, one *holder) error {
		if err := attachable(state, arn); err != nil {
			return err
		}
		if slices.Contains(one.permissions.Attached, arn) {
			return nil
		}
		if len(one.permissions.Attached) >= maxAttached {
			return limitExceeded("Cannot exceed quota for PoliciesPer%s: %d", k.word, maxAttached)
		}
		one.permissions.Attached = append(one.permissions.Attached, arn)
		return nil
	})
}

func detach(k kind, q *service.Call) (any, error) {
	arn := q.Text("PolicyArn", arnLimit)
	return nil, k.changePermissions(q, func(_ account.State, one *holder) error {
		i := slices.Index(one.permissions.Attached, arn)
		if i < 0 {
			return noSuchEntity("Policy %s was not found.", arn)
		}
		one.permissions.Attached = slices.Delete(one.permissions.Attached, i, i+1)
		return nil
	})
}

type attachedResult struct {
	AttachedPolicies wire.List[attachedPolicy]
	pageEnd
}

type attachedPolicy struct {
	PolicyName string
	PolicyARN  string `xml:"PolicyArn" json:"PolicyArn"`
}

func listAttached(k kind, q *service.Call) (any, error) {
	one, err := k.read(q)
	if err != nil {
		return nil, err
	}
	prefix := q.Text("PathPrefix", pathLimit)
	var found []attachedPolicy
	err = q.Account.View(func(state account.State) error {
		for _, arn := range one.permissions.Attached {
			attached, err := state.PolicyByARN(arn)
			if err != nil {
				return err
			}
			if strings.HasPrefix(attached.Path, prefix) {
				found = append(found, attachedPolicy{attached.Name, arn})
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "list attached policies")
	}
	slices.SortFunc(found, func(a, b attachedPolicy) int { return strings.Compare(a.PolicyARN, b.PolicyARN) })
	onPage, end, err := page(q, found, func(a attachedPolicy) string { return a.PolicyARN })
	return attachedResult{onPage, end}, err
}

// boundaryXML is how a boundary is shown.
type boundaryXML struct {
	Type string `xml:"PermissionsBoundaryType" json:"PermissionsBoundaryType"`
	ARN  string `xml:"PermissionsBoundaryArn" json:"PermissionsBoundaryArn"`
}

func shownBoundary(arn string) *boundaryXML {
	if arn == "" {
		return nil
	}
	return &boundaryXML{"Policy", arn}
}

var boundaryLimit = wire.Constraint{Min: 20, Max: 2048}

func putBoundary(k kind, q *service.Call) (any, error) {
	arn := q.Text("PermissionsBoundary", boundaryLimit)
	return nil, k.changePermissions(q, func(state account.State, one *holder) error {
		*one.boundary = arn
		return attachable(state, arn)
	})
}

func deleteBoundary(k kind, q *service.Call) (any, error) {
	return nil, k.changePermissions(q, func(_ account.State, one *holder) error {
		*one.boundary = ""
		return nil
	})
}

// newBoundary reads the boundary of an entity that is to be created.
func newBoundary(q *service.Call) string {
	limit := boundaryLimit
	limit.Optional = true
	return q.Text("PermissionsBoundary", limit)
}

// checkNewBoundary finds it, if one is named.
func checkNewBoundary(state account.State, arn string) error {
	if arn == "" {
		return nil
	}
	return attachable(state, arn)
}
