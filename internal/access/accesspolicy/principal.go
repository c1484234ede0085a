package accesspolicy

import (
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// Principal is what logins are compared with for a principal as it is written in an
// AccessEntry or IdentityMapping: the ARN of a user, that of a role without its path,
// for a permission set the pattern of its role, for an account its root. Its group of
// access policies is access.PolicyGroup of it.
func Principal(p v1alpha1.Principal) (string, error) {
	switch {
	case p.ARN != "" && (p.PermissionSet != "" || p.Account != ""):
		return "", fault.New(fault.Invalid, "principal names two things: give arn alone, or permissionSet with account")
	case p.ARN != "":
		return principalOfARN(p.ARN)
	case p.PermissionSet != "" && p.Account != "":
		return "arn:*:iam::" + p.Account + ":role/AWSReservedSSO_" + p.PermissionSet + "_*", nil
	case p.Account != "":
		return "arn:*:iam::" + p.Account + ":*", nil
	}
	return "", fault.New(fault.Invalid, "principal names nobody: give arn, or permissionSet with account")
}

func principalOfARN(text string) (string, error) {
	canonical, kind, err := callerid.Canonical(text)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(text, "*"):
		return "", fault.New(fault.Invalid, "principal '%s' has a wildcard", text).
			Hint("give permissionSet and account for the role of a permission set of IAM Identity Center")
	case strings.HasPrefix(canonical.Resource, "role/aws-service-role/"):
		return "", fault.New(fault.Invalid, "principal '%s' is a service-linked role, which enters no cluster by itself", text)
	case kind == callerid.User:
		return canonical.String(), nil
	case kind == callerid.Role:
		canonical.Resource = "role/" + canonical.Resource[strings.LastIndexByte(canonical.Resource, '/')+1:]
		return canonical.String(), nil
	}
	return "", fault.New(fault.Invalid, "principal '%s' is neither a role nor a user", text).
		Hint("of a session give the role's ARN: arn:PARTITION:iam::ACCOUNT:role/NAME")
}
