package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// guests: somebody whom no login was asked of gets in as a guest of an identity pool that the
// document names. Everybody who knows the pool's id is one, if it has guests; apps show it.
func (l *linter) guests(s *statement, entry *principalEntry) {
	const amr = cognito + ":amr"
	if issuerOf(entry.text) != cognito || slices.ContainsFunc(s.conditions, func(c condition) bool {
		return c.folded == amr && c.comparesText() &&
			slices.ContainsFunc(c.values, func(p pattern) bool { return p.source == unauthenticated })
	}) {
		return // they are meant
	}
	guest := casting{l: l, statement: s, kind: WebIdentity, entry: entry, guest: true}
	if guest.search() == nil {
		l.unclear = l.unclear || guest.gaveUp
		return
	}
	f := l.add(finding.Security, entry.at, "cognito-guests", "guests of the identity pool may assume the role, and "+
		"anybody who knows its id is one: compare %s with authenticated, or with unauthenticated if they are meant", amr)
	if s.federations() != 1 || s.conditionOn(amr) {
		return
	}
	const operator = "ForAnyValue:StringLike"
	if body, ok := withCondition(l.policy.text[s.at.start:s.at.end], operator, jsonText(amr)+`: "authenticated"`); ok {
		f.suggest(l, s.at, body, "let in those who logged in")
		f.Suggested.Manual = true
	}
}

// unknownProvider reports a Federated principal without an ARN that is no provider: nobody is
// let in.
func (l *linter) unknownProvider(s *statement, entry *principalEntry) bool {
	if strings.HasPrefix(entry.text, "arn:") || hasNoARN(entry.text) {
		return false
	}
	if slices.ContainsFunc(l.decoder.violations, func(v violation) bool { return v.at == entry.at }) {
		return true // it is refused for that
	}
	f := l.add(finding.Error, entry.at, "provider-slip", "%s is no provider: all but accounts.google.com, %s, "+
		"graph.facebook.com and www.amazon.com are named by their ARN", entry.text, cognito)
	switch {
	case hasNoARN(fold(entry.text)):
		f.suggest(l, entry.at, jsonText(fold(entry.text)), "write it in lower case")
	case l.options.Account != "" && brokenIssuer(entry.text) == "" && s.names(entry.text):
		f.suggest(l, entry.at, jsonText("arn:"+cmp.Or(l.facts().Partition, "aws")+":iam::"+l.options.Account+
			":oidc-provider/"+entry.text), "name the provider")
	}
	return true
}
