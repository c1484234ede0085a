// Package access answers which Kubernetes user an IAM identity is, in which groups,
// and why: mappings from everywhere that they are written (aws-auth, files, objects of
// ours and of aws-iam-authenticator, access entries, IAM groups), their order, and what
// became of each (spec authenticator §5, §7, §9).
//
// It does not verify tokens, read files or clusters, speak HTTP, or say what RBAC lets a
// user do.
package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Source is a place that mappings are written in. Those of the peer have the names of
// its --backend-mode.
type Source string

// The sources, in the order in which they are asked unless the operator says otherwise.
const (
	AccessEntry     Source = "AccessEntry"     // objects AccessEntry
	IdentityMapping Source = "IdentityMapping" // objects IdentityMapping
	MountedFile     Source = "MountedFile"     // lists in the configuration file
	EKSConfigMap    Source = "EKSConfigMap"    // ConfigMap kube-system/aws-auth
	CRD             Source = "CRD"             // objects IAMIdentityMapping of aws-iam-authenticator
	DynamicFile     Source = "DynamicFile"     // a JSON file that another program writes
	GroupMapping    Source = "GroupMapping"    // members of IAM groups
)

// Origin is where a mapping is written, for people.
type Origin struct {
	Source Source
	// Place is the object or file, such as "ConfigMap kube-system/aws-auth".
	Place string
	// Field is where in it, such as "mapRoles[3]"; empty if the object is the mapping.
	Field string
	// Line is the line of the document or of the text in Field, from 1; 0 if unknown.
	Line int
}

// Mapping is one rule: who it is about, and the user that it makes of them.
type Mapping struct {
	Origin
	// Match is who it is about.
	Match Match
	// Written is the principal as it is written, where that is not what logins are
	// compared with: a role with its path, the ARN of a session.
	Written string
	// Username and Groups are templates (spec authenticator §5.6).
	Username string
	Groups   []string
	// UserID, if given, is the unique id that the principal must have too.
	UserID string
	// Policies is the group that stands for the access policies of an entry; it is added
	// to Groups as it is. Nobody but an access entry can give it.
	Policies string
	// Merge, of members of IAM groups, adds Groups to those of another mapping.
	Merge bool
}

// Match is who a mapping is about: just one of its forms.
type Match struct {
	// ARN is that of a role, user, root or federated user, as callerid.Canonical writes
	// it, and a role's without its path; letter case does not count.
	ARN string
	// PermissionSet and Account name the role of a permission set; Partition is the
	// server's if empty. Account alone is everybody of an account.
	PermissionSet, Account, Partition string
	// UserID is a principal known by its id alone.
	UserID string
}

// String is the principal in one line: an ARN, permission-set/ACCOUNT/NAME,
// account/ACCOUNT, or id/ID.
func (m Match) String() string {
	switch {
	case m.ARN != "":
		return m.ARN
	case m.PermissionSet != "":
		return "permission-set/" + m.Account + "/" + m.PermissionSet
	case m.Account != "":
		return "account/" + m.Account
	}
	return "id/" + m.UserID
}

// PolicyPrefix begins the groups that stand for access policies. No mapping gives a
// name that begins so.
const PolicyPrefix = "access-entry:"

// PolicyGroup is the group that stands for the access policies of an entry, of which
// principal is what Match.String says: it is delivered at logins, and the subject of
// what the policies are compiled to.
func PolicyGroup(principal string) string {
	sum := sha256.Sum256([]byte(lower(principal)))
	return PolicyPrefix + hex.EncodeToString(sum[:8])
}

// User is who somebody is in the cluster. What it holds is shared: it is read only.
type User struct {
	Username string
	Groups   []string
	// By is the mapping that says so. Also are those that added groups to it.
	By   *Mapping
	Also []*Mapping
}

// Reason is why nobody came of an identity. It is a stable word for logs, metrics and
// scripts.
type Reason string

// The reasons.
const (
	NotMapped         Reason = "not_mapped"
	PrincipalReplaced Reason = "principal_replaced" // the ARN is known, its unique id is another
	PrincipalRenamed  Reason = "principal_renamed"  // the unique id is known, its ARN is another
	ReservedName      Reason = "reserved_name"      // a name that came of it is not to be had
	Unfillable        Reason = "unfillable"         // a placeholder that the identity has nothing for
	NodeUnknown       Reason = "node_unknown"       // the private DNS name could not be had
)

// Reasons returns all.
func Reasons() []Reason {
	return []Reason{NotMapped, PrincipalReplaced, PrincipalRenamed, ReservedName, Unfillable, NodeUnknown}
}

// Refusal is that nobody came of an identity.
type Refusal struct {
	Reason Reason
	// Text is why, in words for the operator's log. It has no secret, but names.
	Text string
	// By is the mapping that is about the identity, if there is one.
	By *Mapping
	// Cause is the error of asking for a node's name, if that was it.
	Cause error
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Problem is what is wrong with a mapping as it is written.
type Problem struct {
	Origin
	// Refused says that the mapping does not count. Otherwise it counts as Text says. Whole
	// says that it is a whole list that cannot be read.
	Refused, Whole bool
	// Principal is whom the mapping is about, as it is written, if that much is known.
	Principal string
	Text      string
	// Hint is what to write or do instead.
	Hint string
}

// Error is where and what, in one line.
func (p Problem) Error() string {
	if at := p.String(); at != "" {
		return at + ": " + p.Text
	}
	return p.Text
}

// String is the place, the field and the line, as far as they are known.
func (o Origin) String() string {
	text := o.Place
	if o.Field != "" {
		text += " " + o.Field
	}
	if o.Line > 0 {
		text += fmt.Sprintf(" (line %d)", o.Line)
	}
	return text
}
