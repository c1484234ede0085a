package access

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
)

// NodeName asks for the private DNS name of an instance.
type NodeName = func(instanceID string) (string, error)

// The placeholders of templates (spec authenticator §5.6). UserName is one of members of
// IAM groups only.
const (
	holdNode     = "{{EC2PrivateDNSName}}"
	holdAccount  = "{{AccountID}}"
	holdSession  = "{{SessionName}}"
	holdRaw      = "{{SessionNameRaw}}"
	holdKey      = "{{AccessKeyID}}"
	holdUserName = "{{UserName}}"
)

var (
	ofMembers = []string{holdUserName, holdAccount}
	ofOthers  = []string{holdNode, holdAccount, holdSession, holdRaw, holdKey}
)

// Placeholders returns those that the templates of a source may have.
func Placeholders(source Source) []string { return slices.Clone(placeholders(source)) }

func placeholders(source Source) []string {
	if source == GroupMapping {
		return ofMembers
	}
	return ofOthers
}

// isTemplate reports whether anything is to be filled in.
func isTemplate(source Source, text string) bool {
	i := strings.Index(text, "{{")
	return i >= 0 && slices.ContainsFunc(placeholders(source), func(hold string) bool {
		return strings.Contains(text[i:], hold)
	})
}

func isAnyTemplate(text string) bool {
	return isTemplate(GroupMapping, text) || isTemplate(EKSConfigMap, text)
}

// names are the templates of a mapping: its username, and its groups.
func (m *Mapping) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(m.Username) {
			return
		}
		for _, group := range m.Groups {
			if !yield(group) {
				return
			}
		}
	}
}

// oddity is what is seldom meant in a mapping that counts: what looks like a placeholder,
// and stays as it is; a person who becomes a node (spec people-cases row P56).
func (m *Mapping) oddity() (text, hint string) {
	for rest := range m.names() {
		for {
			_, after, has := strings.Cut(rest, "{{")
			inner, behind, closed := strings.Cut(after, "}}")
			if !has || !closed {
				break
			}
			rest = behind
			if known := placeholders(m.Source); !slices.Contains(known, "{{"+inner+"}}") {
				return fmt.Sprintf("{{%.80s}} is no placeholder, and stays as it is", inner), "Write " + meant(inner, known)
			}
		}
	}
	if strings.HasPrefix(m.Username, "system:node:") && !slices.Contains(m.Groups, "system:nodes") && m.Source != AccessEntry {
		return "the username is a node's, and the group system:nodes is not there: whom it is about counts as a node to the API server",
			"Give people names of their own; nodes have system:nodes among their groups."
	}
	return "", ""
}

// meant is the placeholder that a text between braces is likeliest to mean, or all.
func meant(inner string, known []string) string {
	for _, hold := range known {
		if lower(strings.TrimSpace(inner)) == lower(strings.Trim(hold, "{}")) {
			return hold
		}
	}
	return "one of " + strings.Join(known, ", ")
}

// renderer fills in templates for one identity. The name of a node is asked for at
// most once.
type renderer struct {
	who      *callerid.Identity
	source   Source
	nodeName NodeName
	node     string
}

// fill replaces the placeholders of the source in one pass: what is filled in is never
// read again, and what is no placeholder stays as it is.
func (r *renderer) fill(template string) (string, *Refusal) {
	if !strings.Contains(template, "{{") {
		return template, nil
	}
	var out strings.Builder
	out.Grow(len(template) + 32)
	for rest := template; rest != ""; {
		i := strings.Index(rest, "{{")
		if i < 0 {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:i])
		rest = rest[i:]
		hold := r.placeholderAt(rest)
		if hold == "" {
			out.WriteByte('{')
			rest = rest[1:]
			continue
		}
		value, refusal := r.value(hold)
		if refusal != nil {
			return "", refusal
		}
		out.WriteString(value)
		rest = rest[len(hold):]
	}
	return out.String(), nil
}

func (r *renderer) placeholderAt(text string) string {
	for _, hold := range placeholders(r.source) {
		if strings.HasPrefix(text, hold) {
			return hold
		}
	}
	return ""
}

func (r *renderer) value(hold string) (string, *Refusal) {
	lacks := func(what string) (string, *Refusal) {
		return "", &Refusal{Reason: Unfillable, Text: fmt.Sprintf("%s cannot be filled in: %s", hold, what)}
	}
	switch hold {
	case holdAccount:
		if r.who.AccountID == "" {
			return lacks("the identity has no account")
		}
		return r.who.AccountID, nil
	case holdKey:
		if !isName(r.who.AccessKeyID) {
			return lacks("the token names no access key")
		}
		return r.who.AccessKeyID, nil
	case holdSession, holdRaw:
		switch {
		case r.who.SessionName == "":
			return lacks("a " + string(r.who.Kind) + " has no session name, only a role has")
		case !isName(r.who.SessionName):
			return lacks("the session name has characters that STS does not allow in one")
		case hold == holdRaw:
			return r.who.SessionName, nil
		}
		return strings.ReplaceAll(r.who.SessionName, "@", "-"), nil
	case holdUserName:
		name := r.who.CanonicalARN[strings.LastIndexByte(r.who.CanonicalARN, '/')+1:]
		if r.who.Kind != callerid.User || !isName(name) {
			return lacks("the identity is not an IAM user")
		}
		return name, nil
	}
	if r.node != "" {
		return r.node, nil
	}
	if !isInstanceID(r.who.SessionName) {
		return lacks("SessionName did not contain an instance id")
	}
	if r.nodeName == nil {
		return lacks("names of nodes are not looked up here")
	}
	name, err := r.nodeName(r.who.SessionName)
	switch {
	case err != nil:
		return "", &Refusal{
			Reason: NodeUnknown, Cause: err,
			Text: fmt.Sprintf("the private DNS name of %s could not be had: %v", r.who.SessionName, err),
		}
	case !isHostName(name):
		return "", &Refusal{
			Reason: NodeUnknown, Text: fmt.Sprintf("%s has no private DNS name that a node can have: %.80q",
				r.who.SessionName, name),
		}
	}
	r.node = name
	return name, nil
}

// isInstanceID reports whether a session name is the id of an EC2 instance, as it is if
// EC2 assumed the role for the instance: i- and 8 or 17 word characters.
func isInstanceID(text string) bool {
	id, ok := strings.CutPrefix(text, "i-")
	if !ok || len(id) != 8 && len(id) != 17 {
		return false
	}
	for i := range len(id) {
		if c := lowerByte(id[i]); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func isHostName(text string) bool {
	for i := range len(text) {
		if c := lowerByte(text[i]); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return text != "" && len(text) <= 253
}

// ownName is the username of who has none of a mapping's: its ARN (of an account), and
// for a role of an access entry that of its session.
func (r *renderer) ownName() (string, *Refusal) {
	if r.source != AccessEntry || !strings.Contains(r.who.CanonicalARN, ":role/") {
		return r.who.CanonicalARN, nil
	}
	a, err := arn.Parse(r.who.CanonicalARN)
	if err != nil {
		return "", &Refusal{Reason: NotMapped, Text: err.Error()}
	}
	session, refusal := r.value(holdSession)
	if refusal != nil {
		return "", refusal
	}
	return EntryUsername(a, session), nil
}

// EntryUsername is the name of an access entry that gives none: a user's ARN, and for
// a role that of its session (spec authenticator §7.2).
func EntryUsername(principal arn.ARN, session string) string {
	role, isRole := strings.CutPrefix(principal.Resource, "role/")
	if !isRole {
		return principal.String()
	}
	role = role[strings.LastIndexByte(role, '/')+1:]
	return "arn:" + principal.Partition + ":sts::" + principal.Account + ":assumed-role/" + role + "/" + session
}
