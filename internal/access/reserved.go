package access

import (
	"slices"
	"strings"
)

// system begins the names that Kubernetes gives itself.
const system = "system:"

// nodeUsername is the template of the name of a node on EC2.
const nodeUsername = "system:node:" + holdNode

// reservedForm is what is wrong with the names of a mapping at every login.
func reservedForm(m *Mapping) (text, hint string) {
	for name := range m.names() {
		if strings.HasPrefix(name, PolicyPrefix) {
			return "names that begin with " + PolicyPrefix + " stand for access policies, and nobody can give them",
				"Make an AccessEntry with accessPolicies."
		}
	}
	if m.Source == GroupMapping && slices.ContainsFunc(m.Groups, isAnyTemplate) {
		return "the groups of members are no templates", "Name the groups."
	}
	if strings.HasPrefix(m.Username, system) && ownsUsernames(m.Source) && m.Username != nodeUsername {
		return "a username that begins with " + system + " is Kubernetes' own",
			"Only " + nodeUsername + " is taken; other nodes are an AccessEntry of their type."
	}
	return "", ""
}

// ownsUsernames reports whether a source gives no usernames of Kubernetes' own.
func ownsUsernames(source Source) bool { return source == IdentityMapping || source == GroupMapping }

// reserved refuses names that came of a mapping and are not to be had. A placeholder
// never makes a name one of Kubernetes' own: who chooses a session name would choose
// what the session may do.
func (c *Chain) reserved(m *Mapping, user *User) *Refusal {
	refuse := func(text string) *Refusal { return &Refusal{Reason: ReservedName, By: m, Text: text} }
	// The name of who has none but that of an account is an ARN, and free as in the peer.
	if prefix := startsWith(user.Username, c.usernames[m.Source]); prefix != "" && m.Username != "" {
		return refuse("username must not begin with with the following prefixes: " +
			strings.Join(c.usernames[m.Source], ", ") + ": it is " + user.Username)
	}
	if strings.HasPrefix(user.Username, PolicyPrefix) || strings.HasPrefix(user.Username, system) &&
		m.Username != user.Username && !isOwnKind(m.Username) {
		return refuse("the username " + user.Username + ", which came of " + m.Username + ", is reserved")
	}
	for i, group := range user.Groups {
		// What is beyond the mapping's own is its access policies.
		if i >= len(m.Groups) {
			break
		}
		switch prefix := startsWith(group, c.groups[m.Source]); {
		case group == "":
			return refuse("a group that came of " + m.Groups[i] + " is empty")
		case prefix != "":
			return refuse("groups of this source must not begin with " + prefix + ": it is " + group)
		case strings.HasPrefix(group, PolicyPrefix), strings.HasPrefix(group, system) && m.Groups[i] != group:
			return refuse("the group " + group + ", which came of " + m.Groups[i] + ", is reserved")
		}
	}
	return nil
}

// isOwnKind reports whether a template says itself which of Kubernetes' kinds of users
// it makes, as system:node: does.
func isOwnKind(template string) bool {
	literal, _, _ := strings.Cut(template, "{{")
	return strings.HasPrefix(literal, system) && strings.Count(literal, ":") >= 2
}

// startsWith returns the first of the prefixes that text begins with; empty ones do not
// count.
func startsWith(text string, prefixes []string) string {
	i := slices.IndexFunc(prefixes, func(prefix string) bool {
		return prefix != "" && strings.HasPrefix(text, prefix)
	})
	if i < 0 {
		return ""
	}
	return prefixes[i]
}
