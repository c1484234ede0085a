package caller

import (
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// Denied is the refusal of a call in the words of most services (spec iam-policy
// §4.4), with its explanation.
func (c *Caller) Denied(action, resource string, decision policy.Decision, explanation *policy.Explanation) *wire.Error {
	kind := decision.Kind.String()
	because := "because no " + kind + " allows the " + action + " action"
	if decision.Effect == policy.ExplicitDeny {
		article := "a "
		if decision.Kind == policy.Identity {
			article = "an "
		}
		because = "with an explicit deny in " + article + kind
	}
	return wire.Errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s %s", c.Principal.ARN, action, resource, because).
		Explained(explanation)
}
