package policy

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/finding"
)

//go:embed actions.txt
var actionsText string

// knownAction is an action, and the form of the resources that it is about; empty if
// only "*" matches.
type knownAction struct{ service, name, form string }

// actionTable is what lint knows of services: their actions, by service, and which of
// them have no others.
type actionTable struct {
	actions  map[string][]knownAction
	complete map[string]bool
}

var knownActions = sync.OnceValue(func() actionTable {
	table := actionTable{actions: map[string][]knownAction{}, complete: map[string]bool{}}
	for line := range strings.Lines(actionsText) {
		service, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		form, names, found := strings.Cut(rest, " = ")
		if strings.HasPrefix(line, "#") || !found {
			continue
		}
		service, complete := strings.CutPrefix(service, "!")
		table.complete[service] = complete
		for name := range strings.FieldsSeq(names) {
			table.actions[service] = append(table.actions[service], knownAction{service, name, strings.TrimPrefix(form, "-")})
		}
	}
	return table
})

// operations are names of API operations, or of nothing, that people take for actions.
var operations = map[string]string{
	"s3:listobjects": "s3:ListBucket", "s3:listobjectsv2": "s3:ListBucket", "s3:headbucket": "s3:ListBucket",
	"s3:headobject": "s3:GetObject", "s3:listbuckets": "s3:ListAllMyBuckets", "s3:deleteobjects": "s3:DeleteObject",
	"s3:copyobject": "s3:PutObject", "s3:uploadpart": "s3:PutObject", "s3:createmultipartupload": "s3:PutObject",
	"s3:completemultipartupload": "s3:PutObject", "s3:listobjectversions": "s3:ListBucketVersions",
	"s3:listmultipartuploads": "s3:ListBucketMultipartUploads", "s3:listparts": "s3:ListMultipartUploadParts",
	"s3:getbucketencryption": "s3:GetEncryptionConfiguration", "s3:putbucketencryption": "s3:PutEncryptionConfiguration",
	"s3:getbucketlifecycleconfiguration": "s3:GetLifecycleConfiguration",
	"s3:putbucketlifecycleconfiguration": "s3:PutLifecycleConfiguration",
	"s3:getbucketreplication":            "s3:GetReplicationConfiguration", "s3:putbucketreplication": "s3:PutReplicationConfiguration",
	"s3:getpublicaccessblock": "s3:GetBucketPublicAccessBlock", "s3:putpublicaccessblock": "s3:PutBucketPublicAccessBlock",
	"lambda:invoke": "lambda:InvokeFunction", "kms:reencrypt": "kms:ReEncryptTo", "iam:attachpolicy": "iam:AttachRolePolicy",
	"secretsmanager:getsecret": "secretsmanager:GetSecretValue", "sqs:sendmessagebatch": "sqs:SendMessage",
	"sqs:deletemessagebatch": "sqs:DeleteMessage",
}

// find is the action that a name without wildcards is.
func (t *actionTable) find(service, name string) (knownAction, bool) {
	i := slices.IndexFunc(t.actions[service], func(a knownAction) bool { return strings.EqualFold(a.name, name) })
	if i < 0 {
		return knownAction{}, false
	}
	return t.actions[service][i], true
}

// unknownAction reports an action that does not exist. That there are others than lint
// knows is allowed for: only what is almost a known one, or of a service that has no
// others, is said.
func (l *linter) unknownAction(p *actionPattern) {
	table := knownActions()
	actions := table.actions[p.prefix]
	if p.all || len(actions) == 0 || l.policy.kind == Trust {
		return
	}
	if slices.ContainsFunc(actions, func(a knownAction) bool { return p.match(action{p.prefix, a.name}) }) {
		return
	}
	meant := operations[p.prefix+":"+p.name.source]
	for _, a := range actions {
		near := p.name.literal && p.name.source != "" && p.name.source[0] == lowerASCII(a.name[0]) &&
			editDistance(p.name.source, lowerText(a.name), 2) <= 2
		if meant == "" && near {
			meant = p.prefix + ":" + a.name
		}
	}
	switch {
	case meant != "":
		l.add(finding.Warning, p.at, "unknown-action", "there is no action %s; did you mean %s?", p.source, meant).
			suggest(l, p.at, jsonText(meant), "write %s", meant)
	case table.complete[p.prefix]:
		l.add(finding.Warning, p.at, "unknown-action", "there is no action %s", p.source)
	}
}

// wrongResources reports actions of a statement that are about no resource of it.
func (l *linter) wrongResources(s *statement) {
	if s.action.not || s.resource == nil || s.resource.not || l.policy.kind == Trust || len(s.resource.patterns) == 0 ||
		slices.ContainsFunc(s.resource.patterns, func(p resourcePattern) bool { return p.all }) {
		return
	}
	table := knownActions()
	for i := range s.action.patterns {
		p := &s.action.patterns[i]
		known, found := table.find(p.prefix, p.name.source)
		if p.all || !p.name.literal || !found || known.form == "*" || l.fits(s, known) {
			continue
		}
		switch {
		case known.form == "":
			l.add(finding.Error, p.at, "action-on-wrong-resource", "%s is about no resource: only \"*\" matches it", p.source)
		case known.service == "secretsmanager" && l.secretWithoutSuffix(s, p):
		default:
			f := l.add(finding.Error, p.at, "action-on-wrong-resource", "%s is about %s, which no resource of this statement "+
				"is", p.source, readable(known.form))
			l.suggestBucket(f, s, known)
		}
	}
}

// readable is a form as people write it.
func readable(form string) string {
	return strings.NewReplacer("~*", "NAME", "~", "…").Replace(form)
}

// fits reports whether a resource of the statement can be of the action's form.
func (l *linter) fits(s *statement, known knownAction) bool {
	for i := range s.resource.patterns {
		p := &s.resource.patterns[i]
		pattern := spelling{ops: p.openOps(), folded: true}
		if known.form == "" {
			if pattern.matches("*") || strings.HasSuffix(p.whole.source, ":*") {
				return true
			}
			continue
		}
		if strings.Contains(p.whole.source, ":accesspoint") || strings.Contains(p.whole.source, ":catalog") {
			return true // other forms than those of the table
		}
		in := []spelling{spell(known.form), pattern}
		if known.service == "secretsmanager" {
			in[0] = spelling{ops: append(spell("arn:~:secretsmanager:~:~:secret:~*-").ops, anyOne, anyOne, anyOne, anyOne, anyOne, anyOne)}
		}
		effort := 20000
		if _, ok := witness(in, nil, &effort); ok || effort < 0 {
			return true
		}
	}
	return false
}

// openOps are the pattern's, with * for each variable.
func (p *resourcePattern) openOps() []op {
	if p.whole.segments == nil {
		return compilePattern(p.whole.source, true, false).ops
	}
	var ops []op
	for _, part := range p.whole.segments {
		if part.key != "" {
			ops = append(ops, anyRun)
		}
		ops = append(ops, part.ops...)
	}
	return ops
}

// secretWithoutSuffix reports secrets that are named without the six characters with
// which their ARNs end.
func (l *linter) secretWithoutSuffix(s *statement, p *actionPattern) bool {
	secret := spell("arn:~:secretsmanager:~:~:secret:*")
	reported := false
	for i := range s.resource.patterns {
		one := &s.resource.patterns[i]
		effort := 20000
		if _, ok := witness([]spelling{secret, {ops: one.openOps(), folded: true}}, nil, &effort); !ok {
			continue
		}
		reported = true
		if slices.ContainsFunc(l.findings, func(f placed) bool { return f.at == one.at && f.Rule == "secret-without-suffix" }) {
			continue
		}
		l.add(finding.Error, one.at, "secret-without-suffix", "%s is about no secret: their ARNs end in - and six characters",
			one.whole.source).
			suggest(l, one.at, jsonText(one.whole.source+"-??????"), "leave them open")
	}
	_ = p
	return reported
}

// suggestBucket names the bucket beside its objects, or the objects beside it.
func (l *linter) suggestBucket(f *placed, s *statement, known knownAction) {
	if known.service != "s3" {
		return
	}
	for i := range s.resource.patterns {
		p := &s.resource.patterns[i]
		parts := strings.SplitN(p.whole.source, ":", 6)
		if len(parts) != 6 || parts[2] != "s3" || p.whole.segments != nil {
			continue
		}
		bucket, _, ofObjects := strings.Cut(parts[5], "/")
		other := strings.Join(parts[:5], ":") + ":" + bucket
		if !strings.HasSuffix(known.form, "/*") != ofObjects {
			continue
		}
		if !ofObjects {
			other += "/*"
		}
		old := l.policy.text[p.at.start:p.at.end]
		text := old + ", " + jsonText(other)
		if s.resource.at == p.at {
			text = "[" + text + "]"
		}
		f.suggest(l, p.at, text, "name %s too", other)
		return
	}
}
