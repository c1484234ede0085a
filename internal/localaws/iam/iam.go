// Package iam is local AWS's Identity and Access Management: roles and OIDC
// providers, their trust and their tags, with IAM's limits and messages.
//
// It decides no access; whoever gets here was allowed to.
package iam

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// New returns IAM. It keeps nothing itself: each call brings its account.
func New() *service.Service {
	operations := map[string]service.Operation{}
	for _, table := range []map[string]service.Operation{roleOperations(), providerOperations()} {
		maps.Copy(operations, table)
	}
	return &service.Service{Name: "iam", Protocol: wire.AWSQuery, Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Operations: operations}
}

func roleOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateRole":             {Target: roleTarget, Do: createRole},
		"GetRole":                {Target: roleTarget, Do: getRole},
		"ListRoles":              {Target: rolesTarget, Do: listRoles},
		"UpdateRole":             {Target: roleTarget, Do: updateRole},
		"UpdateAssumeRolePolicy": {Target: roleTarget, Do: updateTrust},
		"DeleteRole":             {Target: roleTarget, Do: deleteRole},
		"TagRole":                {Target: roleTarget, Do: tagRole},
		"UntagRole":              {Target: roleTarget, Do: untagRole},
		"ListRoleTags":           {Target: roleTarget, Do: listRoleTags},
	}
}

func providerOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateOpenIDConnectProvider":             {Target: newProviderTarget, Do: createProvider},
		"GetOpenIDConnectProvider":                {Target: providerTarget, Do: getProvider},
		"ListOpenIDConnectProviders":              {Do: listProviders},
		"DeleteOpenIDConnectProvider":             {Target: providerTarget, Do: deleteProvider},
		"AddClientIDToOpenIDConnectProvider":      {Target: providerTarget, Do: addClientID},
		"RemoveClientIDFromOpenIDConnectProvider": {Target: providerTarget, Do: removeClientID},
		"UpdateOpenIDConnectProviderThumbprint":   {Target: providerTarget, Do: updateThumbprint},
		"TagOpenIDConnectProvider":                {Target: providerTarget, Do: tagProvider},
		"UntagOpenIDConnectProvider":              {Target: providerTarget, Do: untagProvider},
		"ListOpenIDConnectProviderTags":           {Target: providerTarget, Do: listProviderTags},
	}
}

func noSuchEntity(format string, args ...any) error {
	return wire.Errorf(http.StatusNotFound, "NoSuchEntity", format, args...)
}

func limitExceeded(format string, args ...any) error {
	return wire.Errorf(http.StatusConflict, "LimitExceeded", format, args...)
}

func invalidInput(format string, args ...any) error {
	return wire.Errorf(http.StatusBadRequest, "InvalidInput", format, args...)
}

// Limits of IAM's parameters.
var (
	nameLimit        = wire.Constraint{Min: 1, Max: 64, Pattern: regexp.MustCompile(`^[\w+=,.@-]+$`)}
	descriptionLimit = wire.Constraint{Max: 1000, Optional: true}
	documentLimit    = wire.Constraint{Min: 1, Sensitive: true}
	arnLimit         = wire.Constraint{Min: 20, Max: 2048}
	markerLimit      = wire.Constraint{Min: 1, Max: 320, Optional: true}
	validPath        = regexp.MustCompile(`^/([!-~]+/)?$`)
)

const (
	minSession, maxSession = 3600, 43200
	maxTags                = 50
	defaultPage, maxPage   = 100, 1000
)

// readTrust reads a trust policy parameter: it must be one, and within the quota.
func readTrust(q *service.Call, parameter string) (*policy.Policy, error) {
	text := q.Text(parameter, documentLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	parsed, err := parseDocument(policy.Trust, parameter, text)
	if err != nil {
		return nil, err
	}
	if policy.Size(text) > trustQuota {
		return nil, limitExceeded("Cannot exceed quota for ACLSizePerRole: %d", trustQuota)
	}
	return parsed, nil
}

// SetTrust stores a trust policy with the ids of the users and roles it names.
// Those of accounts that are played here must exist.
func SetTrust(state account.State, role *account.Role, trust *policy.Policy) error {
	ids, missing, err := state.Principals(trust.Entities())
	if errors.Is(err, account.ErrNotFound) {
		return wire.Errorf(http.StatusBadRequest, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"%s"`, missing).
			Because("there is no such user or role in its account")
	}
	role.Trust, role.Principals = trust.Text(), ids
	return err
}

// ShownTrust is a trust policy as IAM gives it back: the id shows in place of a
// user or role that was deleted.
func ShownTrust(state account.State, role *account.Role) string {
	text := role.Trust
	for entity, id := range role.Principals {
		if current, err := state.EntityID(entity); err != nil || current != id {
			text = strings.ReplaceAll(text, `"`+entity+`"`, `"`+id+`"`)
		}
	}
	return text
}

// escape is how IAM returns policy documents: percent-encoded.
func escape(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// readTags reads Tags.member.N.
func readTags(q *service.Call) ([]account.Tag, error) {
	var tags []account.Tag
	for _, m := range q.Members("Tags") {
		tags = append(tags, account.Tag{Key: q.Get(m + ".Key"), Value: q.Get(m + ".Value")})
	}
	return tags, CheckTags(tags)
}

// CheckTags is the rule for the tags of one resource.
func CheckTags(tags []account.Tag) error {
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case tag.Key == "" || len(tag.Key) > 128 || len(tag.Value) > 256:
			return wire.Errorf(http.StatusBadRequest, "ValidationError", "The tag %q is not valid: keys have 1 to 128 characters, values at most 256.", tag.Key)
		case strings.HasPrefix(strings.ToLower(tag.Key), "aws:"):
			return invalidInput("Tag keys beginning with aws: are reserved.")
		case seen[tag.Key]:
			return invalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[tag.Key] = true
	}
	if len(tags) > maxTags {
		return limitExceeded("The number of tags has reached the maximum limit.")
	}
	return nil
}

// mergeTags sets tags, new values replacing old ones, sorted by key.
func mergeTags(old, added []account.Tag) ([]account.Tag, error) {
	merged := removeTags(old, tagKeys(added))
	merged = append(merged, added...)
	slices.SortFunc(merged, func(a, b account.Tag) int { return strings.Compare(a.Key, b.Key) })
	return merged, CheckTags(merged)
}

func removeTags(tags []account.Tag, keys []string) []account.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(tag account.Tag) bool { return slices.Contains(keys, tag.Key) })
}

func tagKeys(tags []account.Tag) []string {
	keys := make([]string, len(tags))
	for i, tag := range tags {
		keys[i] = tag.Key
	}
	return keys
}

// page cuts a sorted list; the marker is the last name of the page before.
func page[T any](q *service.Call, items []T, name func(T) string) (onPage []T, next string, err error) {
	marker := q.Text("Marker", markerLimit)
	size, err := q.Int("MaxItems", defaultPage, 1, maxPage)
	if err != nil {
		return nil, "", err
	}
	if err := q.Check(); err != nil {
		return nil, "", err
	}
	if marker != "" {
		items = slices.DeleteFunc(slices.Clone(items), func(item T) bool { return name(item) <= marker })
	}
	if len(items) > size {
		return items[:size], name(items[size-1]), nil
	}
	return items, "", nil
}

// tagsResult is the answer of both operations that list tags.
type tagsResult struct {
	Tags        []account.Tag `xml:"Tags>member"`
	IsTruncated bool
	Marker      string `xml:",omitempty" json:",omitempty"`
}

func listTags(q *service.Call, tags []account.Tag) (any, error) {
	onPage, next, err := page(q, tags, func(tag account.Tag) string { return tag.Key })
	if err != nil {
		return nil, err
	}
	return tagsResult{onPage, next != "", next}, nil
}

func wrap(err error, doing string, args ...any) error {
	if _, answered := errors.AsType[*wire.Error](err); err == nil || answered {
		return err
	}
	return fmt.Errorf(doing+": %w", append(args, err)...)
}
