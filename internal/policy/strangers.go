package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// casting looks for a caller whom a statement of a trust policy lets in, and asks
// the engine. What a caller can choose is chosen so that conditions hold; what says
// who he is, is not one of those that the document names, unless insiders are looked
// for.
type casting struct {
	l         *linter
	statement *statement
	kind      PrincipalKind
	entry     *principalEntry
	// insiders: those whom the document names are looked for too.
	insiders bool
	// guessing: texts of the document that are no secrets may be known, such as an
	// external id.
	guessing bool
	// guest: he is one of an identity pool's guests, whom no login is asked of.
	guest bool

	request *Request
	keys    []string
	denies  []*statement
	// at is the index of the key that is being chosen.
	at int
	// stuck is the first key for which nothing could be found; empty if it was
	// several keys together.
	stuck string
	// gaveUp: not everything was tried.
	gaveUp bool
}

// maxEffort bounds the callers, and the texts for them, that are tried for one document.
const maxEffort = 300000

// found is a caller who gets in.
type found struct {
	who     string
	request *Request
	// guessed: he has to know a fixed text of the document.
	guessed bool
}

// opening are the rules by which strangers get in, as the engine says.
var opening = []string{
	"trust-anybody", "trust-anybody-who-knows", "service-without-source", "web-identity-without-sub",
	"sub-any-namespace", "sub-several-namespaces", "sub-shared-namespace", "shared-issuer-stranger",
	"third-party-without-external-id", "saml-without-audience", "cognito-guests",
}

// LetsStrangersIn reports a rule about a trust policy that lets in somebody whom it does
// not name.
func LetsStrangersIn(rule string) bool { return slices.Contains(opening, rule) }

// stranger looks for somebody whom the document does not name and who gets in by a
// statement's principal.
func (l *linter) stranger(s *statement, entry *principalEntry) *found {
	for _, guessing := range []bool{false, true} {
		for _, kind := range callersOf(entry) {
			c := casting{l: l, statement: s, kind: kind, entry: entry, guessing: guessing}
			if got := c.search(); got != nil {
				got.guessed = guessing
				return got
			}
			l.unclear = l.unclear || c.gaveUp
		}
	}
	return nil
}

// nobody reports that the engine lets nobody in by a statement's principal, and the
// condition key that keeps everybody out if it is one. It says no where it does not
// know.
func (l *linter) nobody(s *statement, entry *principalEntry) (key string, certain bool) {
	kinds := callersOf(entry)
	if len(kinds) == 0 {
		return "", false
	}
	for i, kind := range kinds {
		c := casting{l: l, statement: s, kind: kind, entry: entry, insiders: true, guessing: true}
		if !s.action.match(splitAction(c.takingAction())) {
			return "", false // another statement may allow it: this one is for tags
		}
		if c.search() != nil || c.gaveUp {
			return "", false
		}
		if i == 0 {
			key = c.stuck
		}
		if c.isSAML() && (l.stranger(s, entry) != nil || l.unclear) { // whose assertions were made for others
			l.unclear = false
			return "", false
		}
	}
	return key, true
}

// callersOf are the kinds of callers that a principal may name.
func callersOf(entry *principalEntry) []PrincipalKind {
	switch entry.key {
	case "AWS":
		if entry.text == "*" {
			return []PrincipalKind{RoleSession, User, FederatedUser, Anonymous, Service}
		}
		if entry.account != "" {
			return []PrincipalKind{RoleSession, User, FederatedUser}
		}
		switch {
		case strings.Contains(entry.text, ":user/") || strings.HasPrefix(entry.text, "AIDA"):
			return []PrincipalKind{User, FederatedUser}
		case strings.Contains(entry.text, ":federated-user/"):
			return []PrincipalKind{FederatedUser}
		}
		return []PrincipalKind{RoleSession}
	case "Service":
		return []PrincipalKind{Service}
	case "Federated":
		return []PrincipalKind{WebIdentity}
	}
	return nil
}

// takingAction is the call by which a kind of caller assumes a role.
func (c *casting) takingAction() string {
	switch {
	case c.l.policy.kind == Resource:
		return c.statement.oneAction()
	case c.kind != WebIdentity:
		return "sts:AssumeRole"
	case c.isSAML():
		return "sts:AssumeRoleWithSAML"
	}
	return "sts:AssumeRoleWithWebIdentity"
}

func (c *casting) isSAML() bool { return c.entry.isSAMLProvider() }

func (c *casting) issuer() string { return fold(issuerOf(c.entry.text)) }

func (c *casting) search() *found {
	action := splitAction(c.takingAction())
	if !c.statement.action.match(action) {
		return nil
	}
	for i := range c.l.policy.statements {
		if s := &c.l.policy.statements[i]; !s.allow && s.action.match(action) {
			c.denies = append(c.denies, s)
		}
	}
	c.request = &Request{
		Principal: Principal{Kind: c.kind}, Action: c.takingAction(), Context: NewContext(),
		Resource: "arn:" + c.partition() + ":iam::" + c.owner() + ":role/role", ResourceAccount: c.owner(),
	}
	if c.l.policy.kind == Resource {
		c.request.Resource, c.request.ResourceAccount = c.statement.oneResource(), c.owner()
	}
	switch c.kind {
	case Service:
		c.request.Principal.ARN = c.entry.text
		if c.entry.key != "Service" {
			c.request.Principal.ARN = "stranger." + "amazonaws.com"
		}
	case WebIdentity:
		c.request.Principal.ARN = c.entry.text
		if account := accountOf(c.entry.text); arn.IsAccount(account) {
			c.request.Principal.Account = account
		}
	case Anonymous, User, RoleSession, FederatedUser, Root:
	}
	c.order()
	return c.try(0)
}

// oneAction is an action that the statement is about.
func (s *statement) oneAction() string {
	for i := range s.action.patterns {
		if p := &s.action.patterns[i]; !s.action.not && !p.all {
			effort := 1000
			if name, ok := witness([]spelling{{ops: p.name.ops}}, nil, &effort); ok {
				return p.prefix + ":" + name
			}
		}
	}
	return "s3:GetObject"
}

// oneResource is a resource that the statement is about.
func (s *statement) oneResource() string {
	if s.resource != nil && !s.resource.not {
		for i := range s.resource.patterns {
			effort := 5000
			if text, ok := witness([]spelling{{ops: s.resource.patterns[i].openOps()}}, nil, &effort); ok {
				return text
			}
		}
	}
	return "arn:aws:s3:::bucket/key"
}

// owner is the account of the role, one of its own if it is not known.
func (c *casting) owner() string { return cmp.Or(c.l.options.Account, "000000000001") }

func (c *casting) partition() string {
	if p := c.l.facts().Partition; p != "" {
		return p
	}
	for i := range c.l.policy.statements {
		s := &c.l.policy.statements[i]
		if s.principal == nil {
			continue
		}
		for _, e := range s.principal.entries {
			if strings.HasPrefix(e.text, "arn:") {
				return partitionOf(e.text)
			}
		}
	}
	return "aws"
}

// order lists the keys to be chosen: those first on which others depend.
func (c *casting) order() {
	add := func(key string) {
		if !slices.Contains(c.keys, key) {
			c.keys = append(c.keys, key)
		}
	}
	var used []string
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			used = append(used, s.conditions[i].folded)
		}
	}
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			for j := range s.conditions[i].values {
				for _, part := range s.conditions[i].values[j].segments {
					if strings.HasPrefix(part.key, "aws:resource") || part.key == "iam:resourcetag/" {
						add(part.key)
					}
				}
			}
		}
	}
	if c.kind == User || c.kind == RoleSession || c.kind == FederatedUser {
		add("aws:principalarn")
		add("aws:principalaccount")
	}
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			for j := range s.conditions[i].values {
				for _, part := range s.conditions[i].values[j].segments {
					if part.key != "" {
						add(part.key)
					}
				}
			}
		}
	}
	slices.Sort(used)
	for _, key := range used {
		add(key)
	}
}

// try chooses the values of the keys from the i-th on.
func (c *casting) try(i int) *found {
	if c.l.effort -= 20; c.l.effort < 0 {
		c.gaveUp = true
		return nil
	}
	if i == len(c.keys) {
		return c.ask()
	}
	key := c.keys[i]
	any := false
	c.at = i
	for _, choice := range c.choices(key) {
		c.set(key, choice)
		if c.contradicts(i) {
			continue
		}
		any = true
		if got := c.try(i + 1); got != nil || c.gaveUp {
			return got
		}
	}
	c.set(key, value{})
	if !any && c.stuck == "" {
		c.stuck = key
	}
	return nil
}

// set gives a key a value, or removes it.
func (c *casting) set(key string, v value) {
	p := &c.request.Principal
	switch {
	case key == "aws:principalarn" && v.name != "":
		c.asPrincipal(v.one)
	case key == "aws:principalaccount" && p.Kind != Anonymous && v.name != "":
		p.Account = v.one
	case key == "aws:principalservicename" && v.name != "":
		p.ARN = v.one
	case key == "aws:principalservicenameslist" && v.name != "":
		p.ARN = v.many[0]
	}
	if v.name == "" {
		delete(c.request.Context.entries, key)
		return
	}
	c.request.Context.put(key, v)
}

// asPrincipal makes the caller the one of a principal's ARN.
func (c *casting) asPrincipal(name string) {
	p := &c.request.Principal
	p.ARN, p.Account = name, accountOf(name)
	if p.Kind == RoleSession {
		p.RoleARN = name
		role := name[strings.LastIndexByte(name, '/')+1:]
		p.ARN = "arn:" + partitionOf(name) + ":sts::" + p.Account + ":assumed-role/" + role + "/session"
	}
	if c.entry.key == "AWS" && entityID.MatchString(c.entry.text) {
		p.EntityID = c.entry.text
	}
	if strings.Contains(c.entry.text, ":assumed-role/") {
		p.ARN = c.entry.text
	}
	if p.Kind == FederatedUser && strings.Contains(c.entry.text, ":user/") {
		p.UserARN = c.entry.text
	}
}

// contradicts reports whether a condition of the statement cannot hold any more, or
// a Deny does, whatever the keys behind the i-th are.
func (c *casting) contradicts(i int) bool {
	known := c.keys[:i+1]
	settled := func(one *condition) bool {
		if !slices.Contains(known, one.folded) {
			return false
		}
		return !slices.ContainsFunc(one.values, func(v pattern) bool {
			return slices.ContainsFunc(v.segments, func(s segment) bool {
				return s.key != "" && !slices.Contains(known, s.key)
			})
		})
	}
	for j := range c.statement.conditions {
		if one := &c.statement.conditions[j]; settled(one) && !one.holds(c.request) {
			return true
		}
	}
	return false
}

// ask is the engine's answer.
func (c *casting) ask() *found {
	actions := []string{c.takingAction()}
	for key := range c.request.Context.entries {
		switch {
		case strings.HasPrefix(key, "aws:requesttag/"), key == "aws:tagkeys":
			actions = appendNew(actions, "sts:TagSession")
		case key == "sts:sourceidentity":
			actions = appendNew(actions, "sts:SetSourceIdentity")
		}
	}
	policies := &Policies{Trust: c.l.policy}
	if c.l.policy.kind == Resource {
		policies, actions = &Policies{Resource: c.l.policy}, actions[:1]
	}
	if c.request.Principal.Kind == RoleSession || c.request.Principal.Kind == User ||
		c.request.Principal.Kind == FederatedUser {
		policies.Identity, policies.Session = []*Policy{Everything()}, []*Policy{Everything()}
		policies.HasSession = true
	}
	if d, _ := DecideAll(c.request, actions, policies); d.Effect != Allowed {
		return nil
	}
	request := *c.request
	request.Context = c.request.Context.Clone()
	return &found{who: c.describe(), request: &request}
}

func appendNew(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}
	return append(list, one)
}

// describe says who the caller is, and what he brings.
func (c *casting) describe() string {
	p := &c.request.Principal
	who := "a caller without AWS credentials"
	switch p.Kind {
	case User, RoleSession, FederatedUser:
		who = cmp.Or(p.RoleARN, p.ARN)
	case Service:
		who = p.ARN
	case WebIdentity:
		if _, name, saml := strings.Cut(p.ARN, ":saml-provider/"); saml {
			who = "an assertion of " + name
			break
		}
		who = "a token of " + issuerOf(p.ARN)
	case Anonymous, Root:
	}
	var with []string
	for _, key := range c.keys {
		v, there := c.request.Context.entries[key]
		switch {
		case key == "aws:principalarn" || key == "aws:principalaccount":
		case !there:
			with = append(with, "no "+c.nameOf(key))
		case v.multi:
			with = append(with, fmt.Sprintf("%s %q", c.nameOf(key), v.many))
		default:
			with = append(with, fmt.Sprintf("%s %q", c.nameOf(key), v.one))
		}
	}
	if len(with) == 0 {
		return who
	}
	return who + " with " + strings.Join(with, ", ")
}

// nameOf is a key as the document writes it.
func (c *casting) nameOf(folded string) string {
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			if s.conditions[i].folded == folded {
				return s.conditions[i].key
			}
		}
	}
	return folded
}
