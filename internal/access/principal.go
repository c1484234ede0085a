package access

import (
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// Principal is an ARN as somebody wrote it, read.
type Principal struct {
	// ARN is what logins are compared with.
	ARN string
	// Written is the text, if it says more or other than ARN.
	Written string
	// Notes are what its author should know.
	Notes []string
}

// ReadPrincipal reads the ARN of a role, user, root, session or federated user as
// people write it: with a role's path, which STS never tells; as the ARN of one
// session, which stands for its role; in any letter case. The error has a hint.
func ReadPrincipal(text string) (Principal, error) {
	if isPlain(text) {
		return Principal{ARN: text}, nil
	}
	if err := spelledOut(text); err != nil {
		return Principal{}, err
	}
	a, kind, err := callerid.Canonical(foldScheme(text))
	if err != nil {
		return Principal{}, notPrincipal(text)
	}
	p := Principal{}
	if !arn.IsAccount(a.Account) {
		p.Notes = append(p.Notes, fmt.Sprintf("account %.40q has not 12 digits: no login of AWS has it", a.Account))
	}
	if name, isRole := strings.CutPrefix(a.Resource, "role/"); isRole {
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			a.Resource = "role/" + name[i+1:]
			p.Notes = append(p.Notes, "the role's path is left out: STS never tells it")
		}
		if kind == callerid.AssumedRole {
			p.Notes = append(p.Notes,
				"it is the ARN of one session: read as its role, "+a.String()+", with all its sessions")
		}
	}
	p.ARN = a.String()
	if p.ARN != text {
		p.Written = text
	}
	return p, nil
}

// isPlain reports whether an ARN is one of a role without a path or of a user, with
// nothing about it to read or say. Most are.
func isPlain(text string) bool {
	rest, ok := strings.CutPrefix(text, "arn:")
	partition, rest, has := strings.Cut(rest, ":iam::")
	if !ok || !has || len(text) > arn.MaxARN || len(rest) < 18 || !arn.IsPartition(partition) ||
		!arn.IsAccount(rest[:12]) {
		return false
	}
	if name, isRole := strings.CutPrefix(rest[12:], ":role/"); isRole {
		return isName(name)
	}
	name, isUser := strings.CutPrefix(rest[12:], ":user/")
	return isUser && isName(name)
}

// spelledOut refuses what cannot be the ARN of one principal.
func spelledOut(text string) error {
	switch {
	case text == "":
		return fault.New(fault.Invalid, "the ARN is empty")
	case len(text) > arn.MaxARN:
		return fault.New(fault.Invalid, "the ARN has more than %d characters", arn.MaxARN)
	case strings.TrimSpace(text) != text:
		return withHint(fault.New(fault.Invalid, "blanks surround the ARN %.120q", text),
			"Write "+strings.TrimSpace(text))
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return fault.New(fault.Invalid, "%.120q is not an ARN: none has a character such as the %dth", text, i+1)
		}
	}
	// A path of users may hold a star, and no name.
	name := text[strings.LastIndexByte(text, '/')+1:]
	if strings.ContainsAny(name, "*?") ||
		strings.ContainsAny(text, "*?") && !strings.Contains(lower(text), ":user/") {
		return wildcard(text)
	}
	return nil
}

// wildcard is the error of a pattern, which no source knows but for permission sets.
func wildcard(text string) error {
	err := fault.New(fault.Invalid, "%.120q is a pattern, and compared as it is: it matches nobody", text)
	if a, errARN := arn.Parse(foldScheme(text)); errARN == nil {
		name := a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
		set, isSet := cutPrefixFold(name, ssoPrefix)
		if set = strings.TrimRight(set, "*?"); isSet && strings.HasSuffix(set, "_") && arn.IsAccount(a.Account) {
			return withHint(err, fmt.Sprintf("Write sso: {permissionSetName: %s, accountID: %q} in place of rolearn.",
				strings.TrimSuffix(set, "_"), a.Account))
		}
	}
	return withHint(err, "Write one mapping for each role, or map the account.")
}

// notPrincipal says what an ARN is of, if it is of something that people take for a
// principal.
func notPrincipal(text string) error {
	a, err := arn.Parse(foldScheme(text))
	if err != nil {
		return fault.New(fault.Invalid,
			"%.120q is not an ARN: want arn:PARTITION:iam::ACCOUNT:role/NAME or user/NAME", text)
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	name = name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case !arn.IsPartition(a.Partition):
		return fault.New(fault.Invalid, "%.120q: partition %.40q is not known", text, a.Partition)
	case a.Service == "iam" && kind == "group":
		return withHint(fault.New(fault.Invalid, "%.120q: IAM groups are not principals: STS never tells them", text),
			fmt.Sprintf("Make a GroupMapping with iamGroup: %s, account: %q.", name, a.Account))
	case a.Service == "iam" && kind == "instance-profile":
		return withHint(fault.New(fault.Invalid, "%.120q is an instance profile, and nodes log in as its role", text),
			"Write the ARN of the role that the profile holds.")
	case a.Service == "sts" && kind == "assumed-role":
		return withHint(fault.New(fault.Invalid, "%.120q is the ARN of a session, and lacks the session's name", text),
			"Write arn:"+a.Partition+":iam::"+a.Account+":role/"+name)
	case a.Service == "sts" && kind == "role", a.Service == "iam" && kind == "assumed-role":
		role, _, _ := strings.Cut(strings.TrimPrefix(a.Resource, kind+"/"), "/")
		return withHint(fault.New(fault.Invalid, "%.120q: the ARN of a role is one of iam", text),
			"Write arn:"+a.Partition+":iam::"+a.Account+":role/"+role)
	}
	return fault.New(fault.Invalid, "%.120q is not the ARN of a role, user or session", text)
}

func withHint(err *fault.Error, hint string) error {
	err.Hints = append(err.Hints, hint)
	return err
}

// foldScheme writes what is not a name of somebody's in lower case: all up to the kind
// of the resource.
func foldScheme(text string) string {
	end, colons := len(text), 0
	for i := range len(text) {
		if text[i] == ':' {
			colons++
		}
		if colons >= 5 && text[i] == '/' {
			end = i
			break
		}
	}
	return lower(text[:end]) + text[end:]
}

// lower is text with ASCII letters in lower case, and no others: to fold K (U+212A) to
// k would make two principals one.
func lower(text string) string {
	for i := range len(text) {
		if 'A' <= text[i] && text[i] <= 'Z' {
			b := []byte(text)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return text
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func cutPrefixFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || lower(text[:len(prefix)]) != lower(prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// ssoPrefix begins the names of the roles that IAM Identity Center makes for permission
// sets. AWS lets nobody else have such a role.
const ssoPrefix = "AWSReservedSSO_"

// permissionSet takes the name of a role of a permission set apart: AWSReservedSSO_, the
// set, an underscore, and letters and digits of AWS's choice.
func permissionSet(role string) (set string, ok bool) {
	rest, ok := cutPrefixFold(role, ssoPrefix)
	if !ok {
		return "", false
	}
	i := strings.LastIndexByte(rest, '_')
	if i <= 0 || i == len(rest)-1 {
		return "", false
	}
	for _, c := range []byte(rest[i+1:]) {
		if c = lowerByte(c); (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	return rest[:i], true
}

// IsPermissionSet reports whether a permission set can have the name: 1 to 32 letters,
// digits and _+=,.@-.
func IsPermissionSet(name string) bool {
	return len(name) <= 32 && isName(name)
}

// isName reports whether text consists of what IAM and STS take in names.
func isName(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_+=,.@-", c) < 0:
			return false
		}
	}
	return text != ""
}
