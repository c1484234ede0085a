package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// statementActions checks the actions of a statement against what is known of their
// services: whether there are such actions, and whether they are ever about one of the
// statement's resources.
func (l *linter) statementActions(s *statement) {
	if l.policy.kind == Trust {
		return
	}
	about := map[*resourceKind]bool{}
	reached := func(kind *resourceKind) bool {
		known, found := about[kind]
		if !found {
			known = slices.ContainsFunc(s.resource.patterns, func(p resourcePattern) bool { return p.mayBe(kind) })
			about[kind] = known
		}
		return known
	}
	met := map[*knownAction]bool{}
	meets := func(a *knownAction) bool {
		known, found := met[a]
		if !found {
			known = a.meets(s.resource, reached)
			met[a] = known
		}
		return known
	}
	matched, certain := l.matchedActions(s)
	explained := map[string]bool{} // services of whose resources something was said already
	if certain && s.resource != nil && !s.resource.not {
		l.secrets(s, matched, explained)
	}
	for i := range s.action.patterns {
		p := &s.action.patterns[i]
		known := knownServices()[p.prefix]
		if known == nil || !actionName.MatchString(trimAction(p.source)) {
			continue
		}
		found := l.matching(known, p)
		switch {
		case len(found) == 0:
			l.unknownAction(p, known)
		case s.action.not || s.resource == nil || s.resource.not || len(s.resource.patterns) == 0 || explained[p.prefix]:
		case !slices.ContainsFunc(found, meets):
			l.impossibleResource(s, p, found)
		}
	}
}

// actionName is what an action looks like; of others something is said already.
var actionName = lazyregexp.New(`^[A-Za-z0-9-]+:[A-Za-z0-9*?]+$`)

// matchedActions are the known actions that a statement's patterns match; certain says
// that there are no others.
func (l *linter) matchedActions(s *statement) (matched []*knownAction, certain bool) {
	if s.action.not {
		return nil, false
	}
	for i := range s.action.patterns {
		p := &s.action.patterns[i]
		if p.all {
			return nil, false
		}
		if known := knownServices()[p.prefix]; known != nil {
			matched = append(matched, l.matching(known, p)...)
		}
	}
	return matched, true
}

// matching are the actions that a pattern matches; one that is repeated is not matched
// again.
func (l *linter) matching(known *service, p *actionPattern) []*knownAction {
	key := p.prefix + ":" + p.name.source
	found, seen := l.matched[key]
	if !seen {
		if l.matched == nil {
			l.matched = map[string][]*knownAction{}
		}
		found = known.matching(p)
		l.matched[key] = found
	}
	return found
}

// onlyAll are services of which an action without a kind of resource is about "*" and no
// resource's ARN. Others look at ARNs that their reference does not name, such as IAM at
// arn:aws:iam::ACCOUNT:role/ for ListRoles.
var onlyAll = []string{"autoscaling", "ec2", "ecr", "kms", "lambda", "route53", "secretsmanager", "ssm"}

// meets reports whether the action may be about one of the resources.
func (a *knownAction) meets(resources *resourceSet, reached func(*resourceKind) bool) bool {
	if len(a.kinds) > 0 {
		return slices.ContainsFunc(a.kinds, reached)
	}
	return slices.ContainsFunc(resources.patterns, func(p resourcePattern) bool {
		parts := p.loose()
		switch {
		case p.all || parts == nil:
			return true
		case a.name == "ListAllMyBuckets": // it is about arn:aws:s3:::*
			return slices.Equal(parts[5], []op{anyRun})
		case !slices.Contains(onlyAll, a.service):
			own := func(name string) bool { return formMeets(parts[2], compilePattern(name, false, false).ops, true) }
			return own(a.service) || (a.service == "sts" && own("iam"))
		}
		// Some services have once documented ARNs that end in *.
		return a.service != "ec2" && a.service != "ecr" && slices.Equal(parts[5], []op{anyRun})
	})
}

func (l *linter) impossibleResource(s *statement, p *actionPattern, found []*knownAction) {
	name := trimAction(p.source)
	var examples []string
	for _, one := range found {
		for _, kind := range one.kinds {
			if len(examples) == 10 {
				break
			}
			if example := kind.example(); !slices.Contains(examples, example) {
				examples = append(examples, example)
			}
		}
	}
	if len(examples) == 0 {
		f := l.add(finding.Error, p.at, "action-on-wrong-resource",
			`%s is about no resource of its own: only "*" matches it, so this statement never %s it`, name, verb(s))
		f.Advice = `give it a statement with "Resource": "*"`
		return
	}
	slices.SortStableFunc(examples, func(a, b string) int { return cmp.Compare(len(a), len(b)) }) // plain ones first
	const most = 3
	if len(examples) > most {
		examples = append(examples[:most], "others")
	}
	f := l.add(finding.Error, p.at, "action-on-wrong-resource",
		"%s is about %s, which no Resource here matches: this statement never %s it", name,
		strings.Join(examples, " or "), verb(s))
	if found[0].service == "kms" && strings.Contains(l.policy.text[s.resource.at.start:s.resource.at.end], ":alias/") {
		f.Message += "; an alias is none of them"
		f.Advice = "name the key, or all keys and in a Condition kms:ResourceAliases"
		return
	}
	l.suggestBucket(f, s, found)
}

func verb(s *statement) string {
	if s.allow {
		return "allows"
	}
	return "denies"
}

// suggestBucket: of a bucket and what is in it, the one that is missing can be told from
// the other.
func (l *linter) suggestBucket(f *placed, s *statement, found []*knownAction) {
	is := func(name string) bool {
		return slices.ContainsFunc(found, func(a *knownAction) bool {
			return a.service == "s3" && slices.ContainsFunc(a.kinds, func(k *resourceKind) bool { return k.name == name })
		})
	}
	if len(s.resource.patterns) != 1 {
		f.Advice = "name its resource too"
		return
	}
	p := &s.resource.patterns[0]
	head, name, isBucket := strings.Cut(p.whole.source, ":s3:::")
	if !isBucket || name == "" {
		return
	}
	bucket, key, isObject := strings.Cut(name, "/")
	added := ""
	switch {
	case is("bucket") && isObject && key != "":
		added = head + ":s3:::" + bucket
	case is("object") && !isObject:
		added = head + ":s3:::" + bucket + "/*"
	default:
		return
	}
	text := jsonText(p.whole.source) + ", " + jsonText(added)
	if !strings.HasPrefix(l.policy.text[s.resource.at.start:], "[") {
		text = "[" + text + "]"
	}
	f.suggest(l, p.at, text, "name %s too", added)
}

// secretARN is what the ARNs of secrets end with: a hyphen and six characters that are
// drawn when the secret is created.
var secretARN = newResourceKind("secret", "secretsmanager:*:*:secret:*-??????")

// secrets finds secrets that are named without their last six characters.
func (l *linter) secrets(s *statement, matched []*knownAction, explained map[string]bool) {
	var named *knownAction
	for _, one := range matched {
		if one.service == "secretsmanager" && len(one.kinds) > 0 && one.name != "CreateSecret" {
			named = one
			break
		}
	}
	if named == nil {
		return
	}
	for i := range s.resource.patterns {
		p := &s.resource.patterns[i]
		parts := strings.SplitN(p.whole.source, ":", 7)
		if len(parts) != 7 || lowerText(parts[2]) != "secretsmanager" || parts[5] != "secret" {
			continue
		}
		name := parts[6]
		switch {
		case !p.mayBe(secretARN):
		case !hasWildcard(name) && endsInWord(name):
		default:
			continue
		}
		f := l.add(finding.Error, p.at, "secret-without-suffix",
			"secretsmanager:%s: the ARN of a secret ends in a hyphen and six characters that are drawn, which %q lacks",
			named.name, p.whole.source)
		f.suggest(l, p.at, jsonText(p.whole.source+"-??????"), "match any six characters")
		explained["secretsmanager"] = true
	}
}

// endsInWord reports a name that ends like one with the six characters, which however
// are all small letters or all digits, as in my-secret: of a hundred that are drawn one
// is so.
func endsInWord(name string) bool {
	tail := name[strings.LastIndexByte(name, '-')+1:]
	isLower := func(c rune) bool { return c >= 'a' && c <= 'z' }
	isDigit := func(c rune) bool { return c >= '0' && c <= '9' }
	return strings.TrimFunc(tail, isLower) == "" || strings.TrimFunc(tail, isDigit) == ""
}

// calls are API operations that have no action of their own, and the actions that they
// need.
var calls = map[string][]string{
	"s3:completemultipartupload":       {"s3:PutObject"},
	"s3:copyobject":                    {"s3:GetObject", "s3:PutObject"},
	"s3:createmultipartupload":         {"s3:PutObject"},
	"s3:deletebucketencryption":        {"s3:PutEncryptionConfiguration"},
	"s3:deletebucketlifecycle":         {"s3:PutLifecycleConfiguration"},
	"s3:deleteobjects":                 {"s3:DeleteObject"},
	"s3:getbucketencryption":           {"s3:GetEncryptionConfiguration"},
	"s3:getbucketlifecycle":            {"s3:GetLifecycleConfiguration"},
	"s3:getbucketreplication":          {"s3:GetReplicationConfiguration"},
	"s3:getpublicaccessblock":          {"s3:GetBucketPublicAccessBlock"},
	"s3:headbucket":                    {"s3:ListBucket"},
	"s3:headobject":                    {"s3:GetObject"},
	"s3:listbuckets":                   {"s3:ListAllMyBuckets"},
	"s3:listmultipartuploads":          {"s3:ListBucketMultipartUploads"},
	"s3:listobjects":                   {"s3:ListBucket"},
	"s3:listobjectsv2":                 {"s3:ListBucket"},
	"s3:listobjectversions":            {"s3:ListBucketVersions"},
	"s3:listparts":                     {"s3:ListMultipartUploadParts"},
	"s3:putbucketencryption":           {"s3:PutEncryptionConfiguration"},
	"s3:putbucketlifecycle":            {"s3:PutLifecycleConfiguration"},
	"s3:putbucketreplication":          {"s3:PutReplicationConfiguration"},
	"s3:putpublicaccessblock":          {"s3:PutBucketPublicAccessBlock"},
	"s3:uploadpart":                    {"s3:PutObject"},
	"lambda:invoke":                    {"lambda:InvokeFunction"},
	"kms:reencrypt":                    {"kms:ReEncryptFrom", "kms:ReEncryptTo"},
	"sqs:sendmessagebatch":             {"sqs:SendMessage"},
	"sqs:deletemessagebatch":           {"sqs:DeleteMessage"},
	"sqs:changemessagevisibilitybatch": {"sqs:ChangeMessageVisibility"},
	"sns:publishbatch":                 {"sns:Publish"},
	"dynamodb:transactgetitems":        {"dynamodb:GetItem"},
	"dynamodb:transactwriteitems": {
		"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem",
	},
	"dynamodb:executestatement":      {"dynamodb:PartiQLSelect"},
	"dynamodb:batchexecutestatement": {"dynamodb:PartiQLSelect"},
	"ecr:getlogin":                   {"ecr:GetAuthorizationToken"},
	"ecr:getloginpassword":           {"ecr:GetAuthorizationToken"},
}

// unknownAction reports an action that the service does not have.
func (l *linter) unknownAction(p *actionPattern, known *service) {
	written := trimAction(p.source)
	if !p.name.literal {
		l.add(finding.Warning, p.at, "unknown-action", "%s matches no action of %s", written, known.name)
		return
	}
	f := l.add(finding.Warning, p.at, "unknown-action", "%s has no action %s", known.name, written)
	if actions := calls[lowerText(written)]; len(actions) > 0 {
		f.Message += "; the call needs " + strings.Join(actions, ", ")
		if len(actions) == 1 {
			f.suggest(l, p.at, jsonText(actions[0]), "write %s", actions[0])
		}
		return
	}
	best, distance := "", 4
	for _, name := range known.names {
		limit := min(3, len(name)/3)
		if d := editDistance(p.name.source, lowerText(name), limit); d <= limit && d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		f.Message += "; did you mean " + known.name + ":" + best + "?"
		f.suggest(l, p.at, jsonText(known.name+":"+best), "write %s:%s", known.name, best)
	}
}
