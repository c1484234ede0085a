package iam

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// parseDocument reads a policy document and says in IAM's words what is wrong
// with it.
func parseDocument(kind policy.Kind, name, text string) (*policy.Policy, error) {
	parsed, err := policy.ParseParameter(kind, name, []byte(text))
	return parsed, malformed(err)
}

func malformed(err error) error {
	if refused, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return wire.Errorf(http.StatusBadRequest, refused.Code, "%s", refused.Message).
			Because("line %d, column %d: %s", refused.Line, refused.Column, refused.Detail)
	}
	return err
}

// CheckManaged says whether a text can be the document of a managed policy.
func CheckManaged(text string) error {
	if _, err := policy.ParseManaged("document", []byte(text)); err != nil {
		return malformed(err)
	}
	if policy.Size(text) > managedQuota {
		return limitExceeded("Cannot exceed quota for PolicySize: %d", managedQuota)
	}
	return nil
}

// CheckInline says whether a text can be an inline policy of that name.
func CheckInline(name, text string) error {
	if len(name) > 128 || !nameLimit.Pattern.MatchString(name) {
		return fmt.Errorf("name %q: must be 1 to 128 letters, digits or _+=,.@-", name)
	}
	_, err := parseDocument(policy.Identity, name, text)
	return err
}

// CheckName says whether an entity can have that name, of at most limit
// characters, and path.
func CheckName(name, path string, limit int) error {
	switch {
	case len(name) > limit || !nameLimit.Pattern.MatchString(name):
		return fmt.Errorf("name: must be 1 to %d letters, digits or _+=,.@-", limit)
	case len(path) > 512 || !validPath.MatchString(path):
		return fmt.Errorf("path %q: must begin and end with /", path)
	}
	return nil
}

var (
	validKeyID  = lazyregexp.New(`^[A-Z0-9]{16,128}$`)
	validSecret = lazyregexp.New(`^[!-~]{16,128}$`)
)

// CheckAccessKey says whether a long-term access key can be used. Its error
// does not show the secret.
func CheckAccessKey(id, secret string) error {
	switch {
	case !validKeyID.MatchString(id) || strings.HasPrefix(id, "ASIA"):
		return fmt.Errorf("access key %q: must be 16 to 128 capitals and digits, and not begin with ASIA", id)
	case !validSecret.MatchString(secret):
		return fmt.Errorf("access key %s: its secret must have 16 to 128 printable characters", id)
	}
	return nil
}

// AddVersion adds a document as the default version. Of five older ones that
// are no longer the default, the oldest is dropped.
func AddVersion(p *account.ManagedPolicy, text string, now time.Time) *account.PolicyVersion {
	for i := range p.Versions {
		p.Versions[i].Default = false
	}
	if len(p.Versions) >= maxVersions {
		p.Versions = slices.Delete(p.Versions, 0, 1)
	}
	p.Last++
	p.Versions = append(p.Versions, account.PolicyVersion{
		ID:      "v" + strconv.Itoa(p.Last),
		Text:    text,
		Default: true,
		Created: now,
	})
	p.Updated = now
	return &p.Versions[len(p.Versions)-1]
}
