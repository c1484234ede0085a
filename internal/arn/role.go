package arn

import (
	"fmt"
	"strings"
)

// Limits of a role's ARN (IAM API Reference, CreateRole: Path and RoleName; STS
// API Reference, AssumeRole: RoleArn), in characters, all of which are ASCII.
const (
	MaxARN      = 2048
	MaxRolePath = 512 // with the slashes at both ends
	MaxRoleName = 64
)

// Role is an IAM role's name taken out of its ARN.
type Role struct {
	Partition string
	Account   string
	Path      string // begins and ends with "/"
	Name      string
}

// wantRole is the form of a role's ARN, for messages.
const wantRole = "want arn:PARTITION:iam::ACCOUNT:role/NAME"

// ParseRole accepts arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME. The partition
// begins with aws, the account has 12 digits, and the name and each part of the
// path consist of letters, digits and _+=,.@-, at least one.
//
// For paths it is stricter than the API Reference of IAM, which allows any
// character from ! to ~ and two slashes in a row: text with a star, a question
// mark or ${ in it could be read as a pattern of a grant or a variable of a
// policy, and would then name more than one role.
//
// The patterns of roleARN and targetRoleARN in api/v1alpha1 are the same rule.
func ParseRole(text string) (Role, error) {
	refuse := func(why string) (Role, error) { return Role{}, fmt.Errorf("%.120q is not a role ARN: %s", text, why) }
	if len(text) > MaxARN {
		return refuse(fmt.Sprintf("it has more than %d characters", MaxARN))
	}
	a, err := Parse(text)
	if err != nil {
		return refuse(wantRole)
	}
	rest, isRole := strings.CutPrefix(a.Resource, "role/")
	if a.Service != "iam" || a.Region != "" || !isRole {
		return refuse(wantRole)
	}
	path, name := splitPath(rest)
	switch {
	case strings.ContainsAny(text, "*?"):
		return refuse("it is a pattern: want one role")
	case !isPartitionForm(a.Partition):
		return refuse(fmt.Sprintf("%.40q is not a partition", a.Partition))
	case !IsAccount(a.Account):
		return refuse(fmt.Sprintf("%.40q is not an account: want 12 digits", a.Account))
	case name == "":
		return refuse("no name follows the last slash")
	case len(name) > MaxRoleName:
		return refuse(fmt.Sprintf("the name has more than %d characters", MaxRoleName))
	case len(path) > MaxRolePath:
		return refuse(fmt.Sprintf("the path has more than %d characters", MaxRolePath))
	case strings.Contains(path, "//"):
		return refuse("the path has two slashes in a row")
	case !consistsOf(name, isNameByte):
		return refuse("a name consists of letters, digits and _+=,.@-")
	case !consistsOf(path, func(c byte) bool { return c == '/' || isNameByte(c) }):
		return refuse("a path consists of letters, digits, _+=,.@- and slashes")
	}
	return Role{Partition: a.Partition, Account: a.Account, Path: path, Name: name}, nil
}

// IsRole reports whether text is a role's ARN by the rules of ParseRole.
func IsRole(text string) bool {
	_, err := ParseRole(text)
	return err == nil
}

// ARN returns the role's ARN with its path.
func (r Role) ARN() ARN {
	return ARN{Partition: r.Partition, Service: "iam", Account: r.Account, Resource: "role" + r.Path + r.Name}
}

// Session returns the ARN of a session of the role. As in every answer of STS,
// the path is not part of it.
func (r Role) Session(name string) ARN {
	return ARN{Partition: r.Partition, Service: "sts", Account: r.Account, Resource: "assumed-role/" + r.Name + "/" + name}
}

func splitPath(text string) (path, name string) {
	i := strings.LastIndexByte(text, '/')
	return "/" + text[:i+1], text[i+1:]
}

// isPartitionForm reports whether a partition could have this name, known or
// not, so that roles of a new partition need no new version of the product.
func isPartitionForm(text string) bool {
	rest, isAWS := strings.CutPrefix(text, "aws")
	return isAWS && consistsOf(rest, func(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) || c == '-' })
}

// isNameByte reports whether IAM and STS accept a character in names: \w+=,.@-,
// ASCII.
func isNameByte(c byte) bool {
	switch c {
	case '_', '+', '=', ',', '.', '@', '-':
		return true
	}
	return isAlphanumeric(c)
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func consistsOf(text string, of func(byte) bool) bool {
	for i := range len(text) {
		if !of(text[i]) {
			return false
		}
	}
	return true
}
