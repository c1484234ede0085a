package policy

import "strings"

// IsAction reports whether a text names one action, SERVICE:NAME without wildcards.
func IsAction(text string) bool {
	service, name, found := strings.Cut(text, ":")
	return found && service != "" && name != "" && !strings.ContainsAny(text, "*? ")
}

// AssumesRole reports whether an action is one by which a role is assumed: what a Taking
// asks for beside it then needs permissions of its own.
func AssumesRole(action string) bool {
	const first = "sts:AssumeRole" // also WithWebIdentity, WithSAML
	return len(action) >= len(first) && equalASCII(action[:len(first)], first)
}

// Concerned returns the kinds of policies that can change the answer to a principal's
// request, in the order in which they are told: an assumed role's trust policy is its
// resource policy. Endpoint policies are left out; most requests go through no endpoint.
func Concerned(principal PrincipalKind, assumesRole bool) []Kind {
	var kinds []Kind
	switch principal {
	case User, FederatedUser:
		kinds = []Kind{Identity, Boundary, SCP}
	case RoleSession:
		kinds = []Kind{Identity, Boundary, Session, SCP}
	case Root:
		kinds = []Kind{SCP}
	case Anonymous, Service, WebIdentity:
	}
	if assumesRole {
		return append(kinds, Trust, RCP)
	}
	return append(kinds, Resource, RCP)
}
