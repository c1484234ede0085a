package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

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
		return c.samlKey(key)
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
		switch {
		case c.kind != Service:
			return missing
		case c.entry.key != "Service": // any service is meant by *
			return domain{fixed: []string{c.request.Principal.ARN}, shapes: []spelling{spell("~.amazonaws.com")}}
		}
		return domain{fixed: []string{c.request.Principal.ARN}}
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
		d := domain{fixed: []string{c.owner()}}
		if c.l.options.Account == "" { // then it may be one that the document says
			d.shapes = []spelling{spell("############")}
		}
		if !c.insiders {
			d.not = []spelling{exactly(c.request.Principal.Account)}
		}
		return d
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
		return domain{shapes: []spelling{{ops: []op{anyOne, anyOne, anyRun}}}, not: []spelling{spell("*:*"), spell("*/*")}}
	case "sts:durationseconds", "sts:awsservicename", "sts:taskpolicyarn":
		return missing
	case "sts:roleauthorizedbyidp":
		switch {
		case c.kind != WebIdentity || c.isSAML():
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
	if account == "############" {
		accounts = append(accounts, c.accountsNear(notAccounts)...)
	}
	for _, account := range accounts {
		form := strings.Replace(form, "ACCOUNT", account, 1)
		// A role's name may have a path before it.
		for _, path := range []string{strings.Replace(form, "/~", "/~~", 1), form, strings.Replace(form, "/~", "/*/~", 1)} {
			d.shapes = append(d.shapes, spell("arn:"+c.partition()+":"+path))
		}
	}
	return d
}

// accountsNear are accounts beside the numbers with which a condition compares the
// caller's.
func (c *casting) accountsNear(not []spelling) []string {
	var accounts []string
	for _, s := range append([]*statement{c.statement}, c.denies...) {
		for i := range s.conditions {
			one := &s.conditions[i]
			if one.folded != "aws:principalaccount" || one.op.compare != compareNumber {
				continue
			}
			for j := range one.typed {
				for _, text := range c.near(one, j) {
					whole, _, _ := strings.Cut(text, ".")
					account := strings.Repeat("0", max(0, 12-len(whole))) + whole
					if arn.IsAccount(account) && (domain{shapes: choosable.shapes, not: not}).fits(account) {
						accounts = append(accounts, account)
					}
				}
			}
		}
	}
	return accounts
}

// fits reports a text that the key may be.
func (d domain) fits(text string) bool {
	return slices.ContainsFunc(d.shapes, func(shape spelling) bool { return shape.matches(text) }) &&
		!slices.ContainsFunc(d.not, func(not spelling) bool { return not.matches(text) })
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
	switch c.kind { //nolint:exhaustive // the others are done with
	case User:
		return domain{shapes: c.idsLike("AIDA", ""), not: c.literals("aws:userid")}
	case RoleSession:
		return domain{shapes: c.idsLike("AROA", ":~"), not: c.literals("aws:userid")}
	}
	return domain{shapes: []spelling{spell(c.request.Principal.Account + ":~")}, not: c.literals("aws:userid")}
}

// beginsID is how much of a unique id must be named for it to be somebody's: who makes
// roles until one fits has a shorter beginning soon.
const beginsID = 12

// idsLike are unique ids of strangers of a kind: any, and such as begin like those that
// conditions name by a short beginning.
func (c *casting) idsLike(kind, session string) []spelling {
	ids := []spelling{spell(kind + "STRANGER~" + session)}
	for i := range c.l.policy.statements {
		for j := range c.l.policy.statements[i].conditions {
			one := &c.l.policy.statements[i].conditions[j]
			if one.folded != "aws:userid" || !one.op.compare.likens() {
				continue
			}
			for k := range one.values {
				begin, _, _ := strings.Cut(one.values[k].source, "*")
				begin, _, _ = strings.Cut(begin, "?")
				if isID := strings.Trim(begin, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""; isID &&
					strings.HasPrefix(begin, kind) && len(begin) < beginsID {
					ids = append(ids, spell(begin+"~"+session))
				}
			}
		}
	}
	return ids
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
		return d
	}
	if c.entry.key == "Service" && c.entry.text == podIdentity { // it acts for clusters only
		account := "############"
		if text, there := c.request.Context.Get("aws:SourceAccount"); there {
			account = text
		}
		d.shapes = []spelling{spell("arn:~:eks:~:" + account + ":cluster/~")}
	}
	return d
}

// named are the accounts that the document and the facts name, and the role's.
func (c *casting) named(before, after string) []spelling {
	var all []spelling
	accounts := c.l.accountsNamed()
	if own, there := c.request.Context.Get("aws:ResourceAccount"); there {
		accounts = append(accounts, own)
	}
	for _, account := range accounts {
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
