package policy_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// TestShortIDs: a short beginning of a unique id is nobody's: who makes roles, or users,
// until one fits gets in. One that names a principal is.
func TestShortIDs(t *testing.T) {
	t.Parallel()
	for id, open := range map[string]bool{
		`"AROAE*"`: true, `"AROAEX?*"`: true, `"AIDAJ*"`: true, `["AROAA*","AROAB*"]`: true, `"AROAEX*:*"`: true,
		`"AROAEXAMPLEEXAMPLE123:*"`: false, `"AROAEXAMPLEEXAMPLE123:alice"`: false, `"AIDAEXAMPLEEXAMPLE123"`: false,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole",` +
			`"Condition":{"StringLike":{"aws:userid":` + id + `}}}]}`
		found := false
		for _, f := range policy.Lint(policy.Trust, "trust.json", []byte(text), policy.LintOptions{Account: "111122223333"}) {
			found = found || policy.LetsStrangersIn(f.Rule)
		}
		if found != open {
			t.Errorf("%s: strangers found %t, want %t", id, found, open)
		}
	}
}

// TestNumberedAccounts: beyond a bound there are other accounts than the role's own.
func TestNumberedAccounts(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{
		`"NumericLessThan":{"aws:PrincipalAccount":"111122223334"}`, `"NumericGreaterThan":{"aws:PrincipalAccount":"111122223332"}`,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole",` +
			`"Condition":{` + condition + `}}]}`
		found := false
		for _, f := range policy.Lint(policy.Trust, "trust.json", []byte(text), policy.LintOptions{Account: "111122223333"}) {
			found = found || policy.LetsStrangersIn(f.Rule)
		}
		if !found {
			t.Errorf("%s: no stranger is found", condition)
		}
	}
}
