package plan

import (
	"fmt"
	"time"
)

// DenyOlderSessions is the AWS CLI's command that ends all sessions of a role
// which STS gave out before a moment, to the second: what is left to do when a
// signing key has leaked, since sessions outlive the key (spec issuer-and-sts §7).
// The moment is rounded up: no session of the second it is in escapes. The policy
// is the one that the console's "Revoke active sessions" attaches.
func DenyOlderSessions(role string, before time.Time) string {
	return fmt.Sprintf(`aws iam put-role-policy --role-name %s --policy-name AWSRevokeOlderSessions --policy-document `+
		`'{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*",`+
		`"Condition":{"DateLessThan":{"aws:TokenIssueTime":"%s"}}}]}'`,
		role, before.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339))
}
