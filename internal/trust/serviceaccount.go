package trust

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/glob"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// ServiceAccount is a service account, or a pattern for several: * stands for
// any characters and ? for one.
type ServiceAccount struct{ Namespace, Name string }

// subjectPrefix is how the subjects of service accounts begin.
const subjectPrefix = "system:serviceaccount:"

// ParseServiceAccount reads NAMESPACE/NAME, or a token's subject.
func ParseServiceAccount(text string) (ServiceAccount, error) {
	rest, isSubject := strings.CutPrefix(text, subjectPrefix)
	separator := "/"
	if isSubject {
		separator = ":"
	}
	namespace, name, found := strings.Cut(rest, separator)
	one := ServiceAccount{namespace, name}
	if !found {
		return ServiceAccount{}, fault.New(fault.Usage, "service account %q: want NAMESPACE/NAME", text).Hint("such as default/s3-reader, or 'jobs/*' for all of a namespace")
	}
	return one, one.check()
}

var (
	namespaceForm = lazyregexp.New(`^[a-z0-9*?]([-a-z0-9*?]*[a-z0-9*?])?$`)
	nameForm      = lazyregexp.New(`^[a-z0-9*?]([-.a-z0-9*?]*[a-z0-9*?])?$`)
)

// check refuses names that Kubernetes would not accept: a name that cannot exist
// admits nobody.
func (s ServiceAccount) check() error {
	switch {
	case len(s.Namespace) > 63 || !namespaceForm.MatchString(s.Namespace):
		return fault.New(fault.Usage, "service account %q: %q is not a possible name of a namespace", s, s.Namespace).Hint("want NAMESPACE/NAME in lower case")
	case len(s.Name) > 253 || !nameForm.MatchString(s.Name):
		return fault.New(fault.Usage, "service account %q: %q is not a possible name of a service account", s, s.Name).Hint("want NAMESPACE/NAME in lower case")
	}
	return nil
}

// String returns NAMESPACE/NAME.
func (s ServiceAccount) String() string { return s.Namespace + "/" + s.Name }

// Subject is the sub claim of the account's tokens.
func (s ServiceAccount) Subject() string { return subjectPrefix + s.Namespace + ":" + s.Name }

// IsPattern reports a * or ?.
func (s ServiceAccount) IsPattern() bool {
	return glob.IsPattern(s.Namespace) || glob.IsPattern(s.Name)
}

// sharedNamespaces hold accounts of many parties on every cluster.
var sharedNamespaces = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

// Hazard says whom a pattern admits besides those it seems to (spec
// issuer-and-sts §15.2 rule 5); empty for nobody.
func (s ServiceAccount) Hazard() string {
	delimited := strings.HasSuffix(strings.TrimRight(s.Namespace, "*?"), "-")
	switch {
	case strings.Trim(s.Namespace, "*?") == "":
		return "every namespace is covered: anyone who can create a namespace gets the role"
	case glob.IsPattern(s.Namespace) && !delimited:
		other := strings.NewReplacer("*", "dmin", "?", "x").Replace(s.Namespace)
		return "the namespace's pattern has no delimiter before its wildcard: " + other + " is covered too, and anyone who can create such a namespace gets the role"
	case glob.IsPattern(s.Namespace):
		return "several namespaces are covered: anyone who can create one that fits gets the role"
	case strings.Trim(s.Name, "*?") == "" && slices.Contains(sharedNamespaces, s.Namespace):
		return "the namespace " + s.Namespace + " is shared: everything that runs there gets the role"
	case glob.IsPattern(s.Name) && slices.Contains(sharedNamespaces, s.Namespace):
		return "the namespace " + s.Namespace + " is shared: anyone who can create a service account there gets the role"
	}
	return ""
}

// covers reports whether a pattern covers an exact account.
func (s ServiceAccount) covers(other ServiceAccount) bool {
	return glob.Match(s.Subject(), other.Subject())
}

// example is an account that the pattern covers, or the account itself if it is
// not a pattern.
func (s ServiceAccount) example() ServiceAccount {
	fill := strings.NewReplacer("*", "a", "?", "a").Replace
	return ServiceAccount{fill(s.Namespace), fill(s.Name)}
}
