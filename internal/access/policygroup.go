package access

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// PolicyGroupPrefix begins the groups that stand for the access policies of entries.
// Nothing but an access entry can give a user such a group.
const PolicyGroupPrefix = "access-entry:"

// PolicyGroup is the group that has the rights of the access policies of a principal's
// entry. The principal is what logins are compared with; letter case does not count.
func PolicyGroup(principal string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(principal)))
	return PolicyGroupPrefix + hex.EncodeToString(sum[:])[:16]
}
