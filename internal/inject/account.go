package inject

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Account is what a service account's annotations say, settings filled in.
type Account struct {
	// Role is the role's ARN as written; empty means the account has none.
	Role string
	// Audience may be empty on purpose: then the token is for the API server.
	Audience    string
	Expiration  int64 // seconds, at least 600
	RegionalSTS bool
	// Malformed says that Role is no role's ARN. It is injected all the same
	// (spec webhook §14 Q6), with a warning.
	Malformed bool
	// Warnings are about annotations that cannot be read.
	Warnings []string
}

var roleARN = regexp.MustCompile(`^arn:aws[a-z0-9-]*:iam::\d{12}:role/[\w\-/.@+=,]+$`)

// ReadAccount reads a service account's annotations (spec webhook §2.1).
// Annotations that cannot be read fall back to the settings with a warning.
func ReadAccount(annotations map[string]string, settings Settings) Account {
	prefix := settings.Prefix + "/"
	a := Account{
		Role: annotations[prefix+"role-arn"], Audience: settings.Audience,
		Expiration: max(settings.Expiration, minExpiration), RegionalSTS: settings.RegionalSTS,
	}
	if a.Role == "" {
		return a
	}
	a.Role = settings.compose(a.Role)
	a.Malformed = !roleARN.MatchString(a.Role)
	warn := func(format string, args ...any) { a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...)) }
	if a.Malformed {
		warn("annotation %srole-arn %q is no role's ARN, want arn:aws:iam::ACCOUNT:role/NAME; AWS will refuse it", prefix, a.Role)
	}
	if audience, found := annotations[prefix+"audience"]; found {
		a.Audience = audience
	}
	if text, found := annotations[prefix+"sts-regional-endpoints"]; found {
		regional, err := strconv.ParseBool(text)
		if err != nil {
			warn("annotation %ssts-regional-endpoints %q is neither true nor false; %t is used", prefix, text, a.RegionalSTS)
		} else {
			a.RegionalSTS = regional
		}
	}
	if text, found := annotations[prefix+"token-expiration"]; found {
		seconds, ok := parseExpiration(text)
		if ok {
			a.Expiration = seconds
		} else {
			warn("annotation %stoken-expiration %q is no number of seconds; %d is used", prefix, text, a.Expiration)
		}
	}
	return a
}

// compose makes an ARN of what is none. An empty role stays empty: the
// reference would inject the ARN of a role without a name (spec webhook §14 Q16).
func (s *Settings) compose(role string) string {
	if s.ComposeAccount == "" || role == "" || strings.Contains(role, "arn:") {
		return role
	}
	return "arn:" + s.ComposePartition + ":iam::" + s.ComposeAccount + ":role/" + role
}

// parseExpiration reads seconds; less than 600 become 600, the least that
// Kubernetes accepts.
func parseExpiration(text string) (int64, bool) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false
	}
	return max(seconds, minExpiration), true
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
