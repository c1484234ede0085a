package policy

import (
	"cmp"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
)

// mustAdmitSource asks the engine about sessions of another role that are to assume this
// one, as a program does that goes on from the role of its pod. The tags of a session of
// Pod Identity are transitive: they come along, and want sts:TagSession of each role on
// the way (spec migration row T1).
func (l *linter) mustAdmitSource(text string) {
	source, err := arn.ParseRole(text)
	if err != nil {
		return
	}
	cluster := "arn:" + source.Partition + ":eks:eu-west-1:" + source.Account + ":cluster/name"
	if clusters := l.facts().Clusters; len(clusters) > 0 {
		cluster = clusters[0]
	}
	// A broker sends an external id for a target role, a program of a pod seldom does.
	taking, id := l.podTaking(cluster), ""
	without, actions := l.chainRequest(source, nil, "")
	if usual := usualExternalID(cluster, taking); !l.admitsSource(l.policy, without, actions[:1]) {
		if known, _ := l.chainRequest(source, nil, usual); l.admitsSource(l.policy, known, actions[:1]) {
			without, id = known, usual
		}
	}
	with, actions := l.chainRequest(source, taking.Tags, id)
	if l.admitsSource(l.policy, with, actions) {
		return
	}
	if !l.admitsSource(l.policy, without, actions[:1]) {
		because := "no statement covers it"
		if misses := ExplainAll(with, actions, l.fromSource(l.policy)).NearMisses; len(misses) > 0 {
			because = misses[0].Because
		}
		l.add(finding.Error, span{0, 1}, "source-refused", "sessions of %s are not let in: %s", text, because)
		return
	}
	f := l.add(finding.Error, span{0, 1}, "source-without-tag-session",
		"sessions of %s that EKS Pod Identity or a broker gave to a pod are not let in: their tags come along, which needs "+
			"sts:TagSession in addition to sts:AssumeRole", text)
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		if !s.allow || !s.allowsAction("sts:AssumeRole") || s.allowsAction("sts:TagSession") {
			continue
		}
		before := f.Suggested
		l.suggestAction(f, s, "sts:TagSession")
		if f.Suggested == nil || f.Suggested == before {
			continue
		}
		edited, err := Parse(Trust, l.policy.name, []byte(f.Suggested.Edit.Apply(l.policy.text)))
		if err == nil && l.admitsSource(edited, with, actions) {
			f.at = s.at
			return
		}
		f.Suggested = before
	}
}

// usualExternalID is what an association sends to its target role that says nothing else
// (spec podidentity §19.7).
func usualExternalID(cluster string, of *Taking) string {
	named, err := arn.ParseCluster(cluster)
	if err != nil {
		return ""
	}
	return strings.Join([]string{named.Region, named.Account, named.Name, of.Tags[2].Value, of.Tags[3].Value}, "/")
}

// chainRequest is the call of a session of a role that has these transitive tags.
func (l *linter) chainRequest(source arn.Role, tags []Tag, externalID string) (*Request, []string) {
	account := cmp.Or(l.options.Account, source.Account)
	taking := Taking{
		Action: "sts:AssumeRole", SessionName: "lint", Inherited: Inheritance{TransitiveTags: tags}, ExternalID: externalID,
	}
	context := NewContext()
	taking.AddContext(context)
	for _, tag := range tags {
		context.Set("aws:PrincipalTag/"+tag.Key, tag.Value)
	}
	return &Request{
		Principal: Principal{
			Kind: RoleSession, Account: source.Account, RoleARN: source.ARN().String(),
			ARN: "arn:" + source.Partition + ":sts::" + source.Account + ":assumed-role/" + source.Name + "/eks-name-pod-1",
		},
		Action: "sts:AssumeRole", Context: context,
		Resource: "arn:" + source.Partition + ":iam::" + account + ":role/role", ResourceAccount: account,
	}, taking.Actions()
}

func (l *linter) fromSource(trust *Policy) *Policies {
	return &Policies{Trust: trust, Identity: []*Policy{Everything()}}
}

func (l *linter) admitsSource(trust *Policy, request *Request, actions []string) bool {
	decision, _ := DecideAll(request, actions, l.fromSource(trust))
	return decision.Effect == Allowed
}
