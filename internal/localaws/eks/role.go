package eks

import (
	"errors"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// passRole asks whether the caller may hand a role of its account to a service.
func passRole(q *service.Call, roleARN, to string) error {
	named, err := account.ParseRole(roleARN)
	if err != nil || len(roleARN) > 2048 {
		return invalidParameter("Invalid role ARN: %s", roleARN).With("clusterName", q.Segments["name"])
	}
	if named.Account != q.Account.ID || named.Partition != q.Account.Partition {
		return wire.Errorf(http.StatusForbidden, "AccessDenied", "Cross-account pass role is not allowed.").
			Because(
				"the role belongs to account %s, the cluster to %s; another account's role can only be a target role",
				named.Account, q.Account.ID,
			)
	}
	target := service.Target{ARN: roleARN, Context: map[string]string{"iam:PassedToService": to}}
	err = q.Account.View(func(state account.State) error {
		role, err := state.RoleByARN(roleARN)
		if err == nil {
			target.Tags = role.Tags
		}
		return unlessNotFound(err)
	})
	if err != nil {
		return wrap(err, q)
	}
	return q.Allow("iam:PassRole", target)
}

// admits reports whether a role exists and some statement of its trust policy
// lets a service assume it, whatever the conditions are: these are evaluated
// when it is assumed.
func admits(state account.State, roleARN, name string) bool {
	role, err := state.RoleByARN(roleARN)
	if err != nil {
		return false
	}
	trust, err := state.Account().Parse(policy.Trust, role.Name, role.Trust)
	if err != nil {
		return false
	}
	explanation := policy.Explain(&policy.Request{
		Principal: policy.Principal{Kind: policy.Service, ARN: name},
		Action:    "sts:AssumeRole",
		Resource:  roleARN,
		Context:   policy.NewContext(),
	}, &policy.Policies{Trust: trust})
	for _, document := range explanation.Documents {
		for _, statement := range document.Statements {
			if statement.Effect == "Allow" && statement.Principal.Match == "direct" && statement.Action.Matched {
				return true
			}
		}
	}
	return false
}

// CheckPodRole says what is wrong with a role for pods: it must exist, and
// trust the service that assumes it for them.
func CheckPodRole(state account.State, roleARN string) error {
	_, err := state.RoleByARN(roleARN)
	switch {
	case errors.Is(err, account.ErrNotFound):
		return invalidParameter("Role provided in the request does not exist").
			Because("there is no role %s in account %s", roleARN, state.Account().ID)
	case err != nil:
		return err
	case !admits(state, roleARN, PodPrincipal):
		return invalidParameter("Trust policy of the role provided is invalid").
			Because("no statement of the trust policy of %s allows %s sts:AssumeRole", roleARN, PodPrincipal)
	}
	return nil
}
