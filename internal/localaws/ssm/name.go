package ssm

import (
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Limits of names.
const (
	maxName   = 1011 // with the ARN's beginning it is 2048
	maxLevels = 15
)

var namePattern = lazyregexp.New(`^[a-zA-Z0-9_.\-/]+$`)

// checkName is the rule for the names of new parameters.
func checkName(name string) error {
	if name == "" {
		return invalid(
			"1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length " +
				"greater than or equal to 1",
		)
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(name, "/")), "/")
	switch {
	case len(name) > maxName:
		return invalid("Parameter name exceeds the maximum length of %d characters.", maxName)
	case !namePattern.MatchString(name):
		return invalid(
			"Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist " +
				"of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and " +
				"the following 3 symbols .-_",
		)
	case strings.HasPrefix(first, "ssm"):
		return invalid(
			"Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist " +
				"of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and " +
				"the following 3 symbols .-_",
		)
	case strings.HasPrefix(first, "aws"):
		return refuse("AccessDeniedException", "No access to reserved parameter name: %s.", name)
	case strings.Contains(name, "//") || strings.HasSuffix(name, "/"):
		return invalid("Parameter name must not contain empty levels or end with a slash.")
	case strings.Contains(name, "/") && !strings.HasPrefix(name, "/"):
		return invalid("Parameter name must be a fully qualified name.")
	case strings.Count(name, "/") > maxLevels:
		return refuse(
			"HierarchyLevelLimitExceededException", "A parameter name hierarchy can have a maximum of %d levels.",
			maxLevels,
		)
	}
	return nil
}

// selector says which version of a parameter is meant: 0 and empty mean the
// last.
type selector struct {
	name    string
	version int
	label   string
}

// suffix is the selector as it was written.
func (s selector) suffix() string {
	switch {
	case s.version > 0:
		return ":" + strconv.Itoa(s.version)
	case s.label != "":
		return ":" + s.label
	}
	return ""
}

// parseSelector reads NAME, NAME:VERSION or NAME:LABEL; NAME may be an ARN of a
// parameter of this account and region, whose beginning is given.
func parseSelector(text, arnPrefix string) (selector, error) {
	if rest, found := strings.CutPrefix(text, arnPrefix); found {
		// Whether the name began with a slash cannot be seen in an ARN: names
		// with levels always do.
		if name, _, _ := strings.Cut(rest, ":"); strings.Contains(name, "/") {
			rest = "/" + rest
		}
		text = rest
	}
	name, suffix, found := strings.Cut(text, ":")
	s := selector{name: name}
	if !found {
		return s, nil
	}
	version, err := strconv.Atoi(suffix)
	switch {
	case err == nil && version > 0:
		s.version = version
	case checkLabel(suffix) == nil:
		s.label = suffix
	default:
		return s, invalid("Invalid parameter version or label: %s.", suffix)
	}
	return s, nil
}

var labelPattern = lazyregexp.New(`^[a-zA-Z0-9_.\-]{1,100}$`)

func checkLabel(label string) error {
	lower := strings.ToLower(label)
	if !labelPattern.MatchString(label) || (label[0] >= '0' && label[0] <= '9') || strings.HasPrefix(lower, "aws") ||
		strings.HasPrefix(lower, "ssm") {
		return invalid("Invalid label: %s.", label)
	}
	return nil
}
