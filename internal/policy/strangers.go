package policy

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
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

	request *Request
	keys    []string
	denies  []*statement
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
	"third-party-without-external-id",
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

func (c *casting) isSAML() bool { return strings.Contains(c.entry.text, ":saml-provider/") }

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

// set gives a key a value, or takes it away.
func (c *casting) set(key string, v value) {
	p := &c.request.Principal
	switch {
	case key == "aws:principalarn" && v.name != "":
		c.asPrincipal(v.one)
	case key == "aws:principalaccount" && p.Kind != Anonymous && v.name != "":
		p.Account = v.one
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
		policies.Identity, policies.Session = []*Policy{allowAll()}, []*Policy{allowAll()}
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

// allowAll is what a caller's own policies allow: only the trust policy is asked.
var allowAll = sync.OnceValue(func() *Policy {
	all, _ := Parse(Identity, "all",
		[]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	return all
})

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

// choices are values for a key, worth trying: such that the statement's conditions
// on it hold, and of those some with which the Deny statements' do not.
func (c *casting) choices(key string) []value {
	d := c.domain(key)
	var all []value
	if d.absent {
		all = append(all, value{})
	}
	var texts []string
	add := func(text string) {
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	for _, text := range d.fixed {
		add(text)
	}
	for _, text := range c.typedTexts(key, d) {
		add(text)
	}
	for _, shape := range d.shapes {
		c.spelled(key, shape, d.not, add)
	}
	multi := multivalued(key)
	for _, text := range texts {
		if multi {
			all = append(all, value{name: key, many: []string{text}, multi: true})
		} else {
			all = append(all, value{name: key, one: text})
		}
	}
	if multi && len(texts) > 1 {
		all = append(all, value{name: key, many: texts, multi: true})
	}
	return c.different(key, all)
}

// different leaves out choices that no condition on the key can tell from an earlier
// one, unless the key's value is a variable somewhere.
func (c *casting) different(key string, all []value) []value {
	variable := false
	var conditions []*condition
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded == key {
				conditions = append(conditions, one)
			}
			for j := range one.values {
				variable = variable ||
					slices.ContainsFunc(one.values[j].segments, func(p segment) bool { return p.key == key })
			}
		}
	}
	if variable || key == "aws:principalarn" {
		return all
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(v value) bool {
		c.set(key, v)
		signature := make([]byte, len(conditions))
		for i, one := range conditions {
			signature[i] = '0'
			if one.holds(c.request) {
				signature[i] = '1'
			}
		}
		again := seen[string(signature)]
		seen[string(signature)] = true
		return again
	})
}

// spelled finds texts of a shape by the conditions on a key.
func (c *casting) spelled(key string, shape spelling, not []spelling, add func(string)) {
	ins, outs := [][]spelling{{shape}}, slices.Clone(not)
	var denied []*condition
	for i := range c.statement.conditions {
		one := &c.statement.conditions[i]
		if one.folded != key {
			continue
		}
		spellings := c.spellings(one)
		switch {
		case len(spellings) == 0:
		case one.op.negated:
			outs = append(outs, spellings...)
		default:
			ins = product(ins, spellings)
		}
	}
	for _, s := range c.denies {
		for i := range s.conditions {
			if one := &s.conditions[i]; one.folded == key && len(c.spellings(one)) > 0 {
				denied = append(denied, one)
			}
		}
	}
	try := func(in, out []spelling) {
		if text, ok := c.witness(in, out); ok {
			add(text)
		}
	}
	// Against all Deny statements at once, then against each, then against none.
	var avoided []spelling
	var demanded [][]spelling
	for _, one := range denied {
		if one.op.negated {
			demanded = append(demanded, c.spellings(one))
		} else {
			avoided = append(avoided, c.spellings(one)...)
		}
	}
	for _, in := range ins {
		if len(avoided) > 0 {
			try(in, slices.Concat(outs, avoided))
		}
		everyDemand := [][]spelling{in}
		for _, spellings := range demanded {
			everyDemand = product(everyDemand, spellings)
		}
		if len(demanded) > 0 {
			for _, one := range everyDemand {
				try(one, slices.Concat(outs, avoided))
				try(one, outs)
			}
		}
		for _, one := range denied {
			if spellings := c.spellings(one); !one.op.negated {
				try(in, slices.Concat(outs, spellings))
			} else {
				for _, spelling := range spellings {
					try(append(slices.Clone(in), spelling), outs)
				}
			}
		}
		try(in, outs)
	}
}

// witness finds a text within what effort is left.
func (c *casting) witness(in, out []spelling) (string, bool) {
	text, ok := witness(in, out, &c.l.effort)
	c.gaveUp = c.gaveUp || c.l.effort < 0
	return text, ok
}

// maxSpellings bounds how many values of lists are tried with each other.
const maxSpellings = 64

func product(ins [][]spelling, one []spelling) [][]spelling {
	var all [][]spelling
	for _, in := range ins {
		for _, spelling := range one {
			if len(all) < maxSpellings {
				all = append(all, append(slices.Clone(in), spelling))
			}
		}
	}
	return all
}

// spellings are the texts that a condition's values match, where it compares texts.
func (c *casting) spellings(one *condition) []spelling {
	if one.op.compare.isTyped() || one.op.compare == compareNull || one.op.compare == compareBool {
		return nil
	}
	var all []spelling
	for i := range one.values {
		if slices.ContainsFunc(one.values[i].segments, func(s segment) bool { return s.key == one.folded }) {
			all = append(all, spelling{ops: []op{anyRun}}) // compared with itself, it mostly is the same
			continue
		}
		ops, ok := one.values[i].resolve(c.request)
		switch {
		case !ok:
		case one.op.compare != compareARN:
			all = append(all, spelling{ops: ops, folded: one.op.compare == compareFolded})
		case one.values[i].source == "*":
			all = append(all, spelling{ops: []op{
				partRun, ':', partRun, ':', partRun, ':', partRun, ':', partRun, ':', anyRun,
			}})
		default:
			all = append(all, spelling{ops: inParts(ops)})
		}
	}
	return all
}

// inParts keeps wildcards within the parts of an ARN.
func inParts(ops []op) []op {
	var all []op
	for i, part := range splitOps(ops) {
		if i > 0 {
			all = append(all, ':')
		}
		for _, o := range part {
			switch {
			case i < 5 && o == anyRun:
				o = partRun
			case i < 5 && o == anyOne:
				o = partOne
			}
			all = append(all, o)
		}
	}
	return all
}

// typedTexts are values for operators that compare no texts: what the document says,
// and what is near to it.
func (c *casting) typedTexts(key string, d domain) []string {
	if d.fixed != nil || (len(d.shapes) == 0 && key != "aws:sourceip") {
		return nil
	}
	var texts []string
	if key == "aws:sourceip" {
		texts = append(texts, "198.51.100.7", "3.3.3.3", "100.20.1.1", "200.1.1.1", "2600::7")
	}
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded != key {
				continue
			}
			if one.op.compare == compareBool {
				texts = append(texts, "true", "false")
			}
			for j := range one.typed {
				texts = append(texts, c.near(one, j)...)
			}
		}
	}
	return texts
}

func (c *casting) near(one *condition, j int) []string {
	want := &one.typed[j]
	switch {
	case !want.valid:
	case one.op.compare == compareNumber:
		around := func(by int64) string {
			return new(big.Rat).Add(want.number, big.NewRat(by, 1)).FloatString(6)
		}
		return []string{one.values[j].source, around(-1), around(1)}
	case one.op.compare == compareDate:
		at := func(seconds int64) string { return strconv.FormatInt(want.date/1000+seconds, 10) }
		return []string{one.values[j].source, at(-10), at(10)}
	case one.op.compare == compareIP:
		if one.folded != "aws:sourceip" || c.guessing || c.kind == WebIdentity || want.prefix.Bits() < 8 {
			return []string{want.prefix.Addr().Next().String(), want.prefix.Addr().String(), "198.51.100.7", "2600::7"}
		}
	case one.op.compare == compareBinary:
		return []string{one.values[j].source, base64.StdEncoding.EncodeToString([]byte("stranger"))}
	}
	return nil
}

var orgID = lazyregexp.New(`^o-[a-z0-9]+`)

// domain is what a key may be for a caller.
type domain struct {
	fixed  []string   // one of these
	shapes []spelling // or of such a form
	not    []spelling // but none of these
	absent bool       // or not there
}

var (
	// missing is a key that such a call never has.
	missing = domain{absent: true}
	// choosable is a key that the caller chooses.
	// Longer ones first: it may have to be a session's name, too.
	choosable = domain{shapes: []spelling{{ops: []op{anyOne, anyOne, anyRun}}, {ops: []op{anyOne, anyRun}}}, absent: true}
	always    = domain{shapes: choosable.shapes}
)

func (c *casting) has(kinds ...PrincipalKind) bool { return slices.Contains(kinds, c.kind) }

// domain is the table of what callers choose, what they are, and what their calls
// never have (spec iam-policy §5).
func (c *casting) domain(key string) domain {
	inAccount := c.has(User, RoleSession, FederatedUser)
	switch {
	case isTokenKey(key):
		return c.claim(key)
	case strings.HasPrefix(key, "saml:"):
		if c.kind == WebIdentity && c.isSAML() {
			return choosable
		}
		return missing
	case strings.HasPrefix(key, "aws:principaltag/"):
		if c.has(User, RoleSession, FederatedUser) {
			return choosable
		}
		return missing
	case strings.HasPrefix(key, "aws:requesttag/"):
		if c.kind == Service && key == "aws:requesttag/eks-cluster-arn" && !c.insiders {
			return domain{shapes: []spelling{spell("arn:~:eks:~:############:cluster/~")}, not: c.namedARNs(), absent: true}
		}
		return choosable
	case strings.HasPrefix(key, "aws:resourcetag/"), strings.HasPrefix(key, "iam:resourcetag/"):
		return choosable
	}
	switch key {
	case "aws:principalarn":
		if inAccount {
			return c.principalARN()
		}
		return missing
	case "aws:principalaccount":
		switch {
		case inAccount:
			return domain{fixed: []string{c.request.Principal.Account}}
		case c.kind == Anonymous:
			return domain{fixed: []string{"anonymous"}}
		case c.kind == WebIdentity && c.request.Principal.Account != "":
			return domain{fixed: []string{c.request.Principal.Account}}
		}
		return missing
	case "aws:principaltype":
		if name, ok := c.request.Principal.typeName(); ok {
			return domain{fixed: []string{name}}
		}
		return missing
	case "aws:principalisawsservice":
		if text, ok := c.request.Principal.attribute(key); ok {
			return domain{fixed: []string{text}}
		}
		return missing
	case "aws:principalservicename", "aws:principalservicenameslist":
		if c.kind == Service {
			return domain{fixed: []string{c.request.Principal.ARN}}
		}
		return missing
	case "aws:username":
		if c.kind == User {
			return domain{fixed: []string{lastName(c.request.Principal.ARN)}, shapes: []spelling{spell("~")}}
		}
		return missing
	case "aws:userid":
		return c.userID()
	case "aws:principalorgid", "aws:principalorgpaths":
		if !inAccount {
			return missing
		}
		return c.organization(key)
	case "aws:sourceorgid", "aws:sourceorgpaths":
		if c.kind != Service {
			return missing
		}
		return c.organization(key)
	case "aws:resourceorgid":
		return domain{shapes: []spelling{spell("o-~")}, absent: true}
	case "aws:resourceorgpaths":
		return domain{shapes: []spelling{spell("o-~/r-~/*")}, absent: true}
	case "kms:calleraccount":
		if inAccount {
			return domain{fixed: []string{c.request.Principal.Account}}
		}
		return missing
	case "elasticfilesystem:accessedviamounttarget", "s3:dataaccesspointaccount", "s3:dataaccesspointarn":
		if c.insiders {
			return choosable
		}
		return missing // of the owner's network, or of access points that have policies of their own
	case "aws:resourceaccount":
		return domain{fixed: []string{c.owner()}}
	case "aws:sourceaccount", "aws:sourceowner":
		switch {
		case c.kind != Service:
			return missing
		case c.insiders:
			return domain{shapes: []spelling{spell("############")}, absent: true}
		}
		return domain{shapes: []spelling{spell("############")}, not: c.named("", ""), absent: true}
	case "aws:sourcearn":
		return c.sourceARN()
	case "aws:sourceip":
		if c.kind == Service {
			return missing
		}
		return domain{absent: inAccount || c.insiders} // not in calls through a VPC endpoint
	case "aws:sourcevpc", "aws:sourcevpce":
		if c.insiders {
			return choosable
		}
		return domain{shapes: []spelling{spell("vpc-~"), spell("vpce-~")}, not: c.literals(key), absent: true}
	case "sts:externalid":
		switch {
		case c.kind == WebIdentity:
			return missing
		case c.guessing:
			return choosable
		}
		return domain{shapes: choosable.shapes, not: c.literals(key), absent: true}
	case "sts:rolesessionname":
		if c.l.policy.kind == Resource {
			return missing
		}
		return domain{shapes: []spelling{{ops: []op{anyOne, anyOne, anyRun}}}}
	case "sts:durationseconds", "sts:awsservicename", "sts:taskpolicyarn":
		return missing
	case "sts:roleauthorizedbyidp":
		switch {
		case c.kind != WebIdentity:
			return missing
		case c.insiders:
			return domain{fixed: []string{"false", "true"}}
		}
		return domain{fixed: []string{"false"}}
	case "aws:securetransport":
		return domain{fixed: []string{"true"}}
	case "aws:viaawsservice":
		return domain{fixed: []string{"false", "true"}, absent: true}
	case "aws:currenttime", "aws:epochtime", "aws:requestedregion":
		return always
	case "aws:multifactorauthpresent", "aws:multifactorauthage", "aws:tokenissuetime":
		if inAccount {
			return choosable
		}
		return missing
	}
	if strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, "sts:") || c.l.policy.kind == Resource {
		return choosable // ones that are not known here
	}
	return missing
}

func lastName(text string) string { return text[strings.LastIndexAny(text, "/:")+1:] }

// principalARN is the caller's own: in an account that the document does not name,
// or the one that the statement's principal names.
func (c *casting) principalARN() domain {
	form := map[PrincipalKind]string{
		User: "iam::ACCOUNT:user/~", RoleSession: "iam::ACCOUNT:role/~", FederatedUser: "sts::ACCOUNT:federated-user/~",
	}[c.kind]
	account := "############"
	switch e := c.entry; {
	case e.key == "AWS" && e.account != "":
		account = e.account
	case e.key == "AWS" && strings.Contains(e.text, ":assumed-role/"):
		_, rest, _ := strings.Cut(e.text, ":assumed-role/")
		role, _, _ := strings.Cut(rest, "/")
		return domain{shapes: []spelling{
			exactly("arn:" + partitionOf(e.text) + ":iam::" + accountOf(e.text) + ":role/" + role),
			spell("arn:" + partitionOf(e.text) + ":iam::" + accountOf(e.text) + ":role/*/" + role),
		}}
	case e.key == "AWS" && strings.HasPrefix(e.text, "arn:") && c.kind == FederatedUser && strings.Contains(e.text, ":user/"):
		account = accountOf(e.text)
	case e.key == "AWS" && strings.HasPrefix(e.text, "arn:"):
		return domain{shapes: []spelling{exactly(e.text)}}
	}
	d := domain{}
	var notAccounts []spelling
	if !c.insiders && c.entry.text == "*" {
		d.not, notAccounts = c.named("arn:*:*::", ":*"), c.named("", "")
	}
	// The account has to meet its own key's conditions, too.
	accounts := []string{account}
	c.spelled("aws:principalaccount", spell(account), notAccounts, func(text string) { accounts = append(accounts, text) })
	for _, account := range accounts {
		form := strings.Replace(form, "ACCOUNT", account, 1)
		// A role's name may have a path before it.
		for _, path := range []string{strings.Replace(form, "/~", "/~~", 1), form, strings.Replace(form, "/~", "/*/~", 1)} {
			d.shapes = append(d.shapes, spell("arn:"+c.partition()+":"+path))
		}
	}
	return d
}

func (c *casting) userID() domain {
	switch {
	case c.kind == Anonymous:
		return domain{fixed: []string{"anonymous"}}
	case c.kind == WebIdentity:
		return domain{fixed: []string{c.entry.text}}
	case c.kind == Service:
		return missing
	case c.insiders:
		return always
	}
	switch c.kind {
	case User:
		return domain{shapes: []spelling{spell("AIDASTRANGER~")}, not: c.literals("aws:userid")}
	case RoleSession:
		return domain{shapes: []spelling{spell("AROASTRANGER~:~")}, not: c.literals("aws:userid")}
	}
	return domain{shapes: []spelling{spell(c.request.Principal.Account + ":~")}, not: c.literals("aws:userid")}
}

// organization: a stranger is in none, or in one that the document does not name and
// that is not the role's.
func (c *casting) organization(key string) domain {
	shape := spell("o-~")
	if strings.HasSuffix(key, "paths") {
		shape = spell("o-~/r-~/*")
	}
	d := domain{shapes: []spelling{shape}, absent: true}
	if c.insiders {
		return d
	}
	for _, id := range c.organizations() {
		d.not = append(d.not, exactly(id), spell(id+"/*"))
	}
	return d
}

// organizations are those that the document names in full, and the role's.
func (c *casting) organizations() []string {
	var ids []string
	for i := range c.l.policy.statements {
		for j := range c.l.policy.statements[i].conditions {
			one := &c.l.policy.statements[i].conditions[j]
			if !strings.HasSuffix(one.folded, "orgid") && !strings.HasSuffix(one.folded, "orgpaths") {
				continue
			}
			for k := range one.values {
				source := one.values[k].source
				id := orgID.FindString(source)
				if rest := source[len(id):]; id != "" && (rest == "" || rest[0] == '/') {
					ids = append(ids, id)
				}
			}
		}
	}
	for _, key := range []string{"aws:resourceorgid", "aws:resourceorgpaths"} {
		v, there := c.request.Context.entries[key]
		for _, text := range append([]string{v.one}, v.many...) {
			if id, _, _ := strings.Cut(text, "/"); there && id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// sourceARN: a service acts for a resource of a stranger, who may name it as he
// likes, or says nothing about it.
func (c *casting) sourceARN() domain {
	if c.kind != Service {
		return missing
	}
	d := domain{absent: true, shapes: []spelling{
		spell("arn:~:~:~:############:*"), spell("arn:~:~::############:*"), spell("arn:~:~:::*"),
	}}
	if account, there := c.request.Context.Get("aws:SourceAccount"); there {
		d.shapes[0], d.shapes[1] = spell("arn:~:~:~:"+account+":*"), spell("arn:~:~::"+account+":*")
	}
	if !c.insiders {
		d.not = append(c.named("arn:*:*:*:", ":*"), c.namedARNs()...)
	}
	return d
}

// named are the accounts that the document and the facts name.
func (c *casting) named(before, after string) []spelling {
	var all []spelling
	for _, account := range c.l.accountsNamed() {
		all = append(all, spell(before+account+after))
	}
	return all
}

var twelveDigits = lazyregexp.New(`[0-9]{12}`)

func (l *linter) accountsNamed() []string {
	accounts := []string{"000000000001"}
	if l.options.Account != "" {
		accounts = append(accounts, l.options.Account)
	}
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		if s.principal != nil {
			for _, e := range s.principal.entries {
				accounts = append(accounts, twelveDigits.FindAllString(e.text, -1)...)
			}
		}
		for j := range s.conditions {
			for k := range s.conditions[j].values {
				accounts = append(accounts, twelveDigits.FindAllString(s.conditions[j].values[k].source, -1)...)
			}
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// literals are the values without wildcards that the document's conditions on a key
// have.
func (c *casting) literals(key string) []spelling {
	var all []spelling
	for i := range c.l.policy.statements {
		for j := range c.l.policy.statements[i].conditions {
			one := &c.l.policy.statements[i].conditions[j]
			if one.folded != key {
				continue
			}
			for k := range one.values {
				if one.values[k].segments == nil && (!one.op.compare.likens() || !hasWildcard(one.values[k].source)) {
					all = append(all, spelling{ops: one.values[k].ops, folded: one.op.compare == compareFolded})
				}
			}
		}
	}
	return all
}

// likens reports an operator with wildcards.
func (c comparison) likens() bool { return c == compareLike || c == compareARN }

// namedARNs are resources without an account that the document names so far that a
// stranger cannot have one of that name: those whose resource has no wildcard.
func (c *casting) namedARNs() []spelling {
	return append(c.literals("aws:sourcearn"), c.literals("aws:requesttag/eks-cluster-arn")...)
}
