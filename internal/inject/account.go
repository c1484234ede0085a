package inject

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// Account is a service account's identity: what its annotations say, or a
// ConfigMap, settings filled in.
type Account struct {
	// Role is the role's ARN as written; empty means the account has none.
	Role string
	// Audience may be empty on purpose: then the token is for the API server.
	Audience    string
	Expiration  int64 // seconds, at least 600
	RegionalSTS bool
	// Container says that the account has a Pod Identity: an agent knows its
	// role, and Role is not used.
	Container bool
	// Jitter shortens a Pod Identity token's default lifetime, by at most
	// MaxJitter seconds, so that tokens do not all expire together.
	Jitter int64
	// Malformed says that Role is not a role ARN. It is injected all the same
	// (spec webhook §14 Q6), with a warning.
	Malformed bool
	// options are Rolecall's own annotations.
	options options
	// Warnings are about annotations that cannot be read.
	Warnings []string
	// unread are annotations that were meant to say something of an account that has no role.
	unread []string
}

// method is empty for an account without identity.
func (a *Account) method() Method {
	switch {
	case a.Container:
		return ContainerCredentials
	case a.Role != "":
		return WebIdentity
	}
	return ""
}

// checkRole says what is wrong with the role, and notes that something is.
// Having no role is not wrong.
func (a *Account) checkRole() error {
	if a.Role == "" {
		return nil
	}
	_, err := arn.ParseRole(a.Role)
	if a.Malformed = err != nil; a.Malformed {
		return fmt.Errorf("%w; it is injected as it is, and AWS will refuse it", err)
	}
	return nil
}

// ReadAccount reads a service account's annotations (spec webhook §2.1).
// Annotations that cannot be read fall back to the settings with a warning.
func ReadAccount(annotations map[string]string, settings Settings) Account {
	a := settings.none()
	own := ownAnnotations(annotations, settings.Prefix)
	if own[roleAnnotation] == "" {
		a.unread = unreadRoles(annotations, settings.Prefix)
	}
	a.Warnings = slips(annotations, &settings, false)
	if own[roleAnnotation] == "" {
		a.unread = append(a.unread, a.Warnings...)
	}
	if len(own) == 0 {
		return a
	}
	prefix := settings.Prefix + "/"
	warn := func(format string, args ...any) { a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...)) }
	a.Role = settings.compose(own["role-arn"])
	if err := a.checkRole(); err != nil {
		warn("annotation %srole-arn: %s", prefix, err)
	}
	if audience, found := own["audience"]; found {
		a.Audience = audience
		if strings.TrimSpace(audience) != audience || strings.ContainsAny(audience, " \t\r\n") {
			warn("annotation %saudience %q has blanks in it; it is injected as it is, and AWS will refuse its tokens",
				prefix, audience)
		}
	}
	if text, found := own["sts-regional-endpoints"]; found {
		regional, err := strconv.ParseBool(text)
		if err != nil {
			warn("annotation %ssts-regional-endpoints %q is neither true nor false; %t is used",
				prefix, text, a.RegionalSTS)
		} else {
			a.RegionalSTS = regional
		}
	}
	if text, found := own["token-expiration"]; found {
		seconds, ok := parseExpiration(text)
		if ok {
			a.Expiration = max(seconds, minExpiration)
		}
		if note := wrongExpiration(prefix, text, seconds, ok, a.Expiration); note != "" {
			warn("%s", note)
		}
	}
	if !settings.Conformance {
		a.options.read(own, prefix, warn)
	}
	return a
}

// ownAnnotations are those of the prefix, without it; nil if there are none.
func ownAnnotations(annotations map[string]string, prefix string) map[string]string {
	var own map[string]string
	for key, text := range annotations {
		if len(key) > len(prefix) && key[len(prefix)] == '/' && strings.HasPrefix(key, prefix) {
			if own == nil {
				own = map[string]string{}
			}
			own[key[len(prefix)+1:]] = text
		}
	}
	return own
}

// none is what an account without annotations is.
func (s *Settings) none() Account {
	return Account{Audience: s.Audience, Expiration: max(s.Expiration, minExpiration), RegionalSTS: s.RegionalSTS}
}

// compose makes an ARN of a role that is not one. An empty role stays empty: the
// reference would inject the ARN of a role without a name (spec webhook row Q16).
func (s *Settings) compose(role string) string {
	if s.ComposeAccount == "" || role == "" || strings.Contains(role, "arn:") {
		return role
	}
	return "arn:" + s.ComposePartition + ":iam::" + s.ComposeAccount + ":role/" + role
}

// parseExpiration reads seconds.
func parseExpiration(text string) (int64, bool) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	return seconds, err == nil
}

// wrongExpiration says that another lifetime is used than an annotation's; empty if it is
// its. Less than 600 seconds become 600, the least that kubelet and API server take.
func wrongExpiration(prefix, text string, seconds int64, ok bool, used int64) string {
	switch {
	case !ok:
		return fmt.Sprintf("annotation %stoken-expiration %q is not a number of seconds; %d is used", prefix, text, used)
	case seconds < minExpiration:
		return fmt.Sprintf("annotation %stoken-expiration %d is below the least that API servers take; %d is used", prefix, seconds, used)
	}
	return ""
}

// parseSkip reads the first CSV record (spec webhook §2.2).
func parseSkip(text string, trim bool) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	names, err := csv.NewReader(strings.NewReader(text)).Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if trim {
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
		}
	}
	return names, nil
}
