package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
)

// podIdentity is who assumes roles for EKS Pod Identity.
const podIdentity = "pods.eks.amazonaws.com"

// podRequest is the call by which EKS assumes a role for a pod (spec iam-policy §5.5).
func (l *linter) podRequest(cluster string) (*Request, []string) {
	named, _ := arn.ParseCluster(cluster)
	taking := l.podTaking(cluster)
	context := NewContext().Set("aws:SourceArn", cluster).Set("aws:SourceAccount", named.Account)
	taking.AddContext(context)
	return &Request{
		Principal: Principal{Kind: Service, ARN: podIdentity}, Action: taking.Action, Context: context,
		Resource: "arn:" + named.Partition + ":iam::" + named.Account + ":role/role", ResourceAccount: named.Account,
	}, taking.Actions()
}

// podTaking is how EKS takes a session for a pod: of the first service account that is to be
// admitted, if there is one.
func (l *linter) podTaking(cluster string) *Taking {
	named, _ := arn.ParseCluster(cluster)
	taking := &Taking{Action: "sts:AssumeRole", SessionName: "eks-" + named.Name + "-pod-1", Tags: []Tag{
		{"eks-cluster-arn", cluster},
		{"eks-cluster-name", named.Name},
		{"kubernetes-namespace", "default"},
		{"kubernetes-service-account", "default"},
		{"kubernetes-pod-name", "pod"},
		{"kubernetes-pod-uid", "00000000-0000-0000-0000-000000000000"},
	}}
	for _, subject := range l.facts().Subjects {
		if _, names, found := strings.Cut(subject, "system:serviceaccount:"); found {
			taking.Tags[2].Value, taking.Tags[3].Value, _ = strings.Cut(names, ":")
		}
	}
	return taking
}

// mustAdmitCluster asks the engine about the pods of a cluster that are to be
// admitted.
func (l *linter) mustAdmitCluster(cluster string) {
	if _, err := arn.ParseCluster(cluster); err != nil || l.namesCluster(cluster) {
		return
	}
	request, actions := l.podRequest(cluster)
	decision, _ := DecideAll(request, actions, &Policies{Trust: l.policy})
	if decision.Effect == Allowed {
		return
	}
	s, failing := l.podStatement(request)
	at, because := span{0, 1}, "no statement is for "+podIdentity
	if s != nil {
		at, because = s.at, "no statement covers it"
	}
	if misses := ExplainAll(request, actions, &Policies{Trust: l.policy}).NearMisses; len(misses) > 0 {
		because = misses[0].Because
	}
	if decision.Effect == ExplicitDeny {
		because = "a Deny overrides every Allow"
	}
	if failing != nil {
		at = failing.at
	}
	f := l.add(finding.Error, at, "cluster-refused", "pods of %s are not let in by EKS Pod Identity: %s", cluster, because)
	for _, edit := range l.podEdits(s, failing, cluster) {
		change := edit.replacedBy(edit.text)
		edited, err := Parse(Trust, l.policy.name, []byte(change.Apply(l.policy.text)))
		if err != nil {
			continue
		}
		if d, _ := DecideAll(request, actions, &Policies{Trust: edited}); d.Effect == Allowed {
			f.suggest(l, edit.span, edit.text, "%s", edit.why)
			return
		}
	}
}

// namesCluster reports a statement for a broker, which names the cluster in a tag:
// then its pods come in by that.
func (l *linter) namesCluster(cluster string) bool {
	return slices.ContainsFunc(l.policy.statements, func(s statement) bool {
		return s.allow && s.onlyPrincipals("AWS") && slices.ContainsFunc(s.conditions, func(c condition) bool {
			return c.folded == "aws:requesttag/eks-cluster-arn" && c.comparesText() && c.admits(cluster)
		})
	})
}

// podStatement is the statement for EKS Pod Identity, and the first of its
// conditions that does not hold.
func (l *linter) podStatement(request *Request) (*statement, *condition) {
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		if !s.allow || s.principal == nil || !slices.ContainsFunc(s.principal.entries, func(e principalEntry) bool {
			return e.key == "Service" && e.text == podIdentity
		}) {
			continue
		}
		for j := range s.conditions {
			if !s.conditions[j].holds(request) {
				return s, &s.conditions[j]
			}
		}
		return s, nil
	}
	return nil, nil
}

// podEdit is one way to let a cluster in.
type podEdit struct {
	span
	text, why string
}

// podEdits are the edits worth trying: name the cluster where another resource is
// named, beside another cluster, or in a statement of its own.
func (l *linter) podEdits(s *statement, failing *condition, cluster string) []podEdit {
	var edits []podEdit
	named, _ := arn.ParseCluster(cluster)
	if s != nil && failing != nil {
		wanted := map[string]string{
			"aws:sourcearn": cluster, "aws:sourceaccount": named.Account, "aws:requesttag/eks-cluster-arn": cluster,
			"aws:requesttag/eks-cluster-name": named.Name,
		}[failing.folded]
		if wanted != "" && !failing.op.negated && len(failing.valuesAt) > 0 && failing.op.compare != compareNull {
			last := failing.valuesAt[len(failing.valuesAt)-1]
			old := l.policy.text[last.start:last.end]
			_, err := arn.ParseCluster(failing.values[len(failing.values)-1].source)
			switch {
			case failing.folded == "aws:sourcearn" && err != nil, len(failing.valuesAt) == 1 && failing.folded != "aws:sourcearn":
				edits = append(edits, podEdit{last, jsonText(wanted), "name the cluster"})
			case strings.HasSuffix(strings.TrimRight(l.policy.text[:last.start], " \t\r\n,"), "[") || len(failing.valuesAt) > 1:
				edits = append(edits, podEdit{last, old + ", " + jsonText(wanted), "name this cluster too"})
			default:
				edits = append(edits, podEdit{last, "[" + old + ", " + jsonText(wanted) + "]", "name this cluster too"})
			}
		}
	}
	own := `{"Effect": "Allow", "Principal": {"Service": "` + podIdentity + `"}, "Action": ["sts:AssumeRole", "sts:TagSession"], ` +
		`"Condition": {"StringEquals": {"aws:SourceAccount": "` + named.Account + `"}, "ArnEquals": {"aws:SourceArn": ` +
		jsonText(cluster) + `}}}`
	if all := l.policy.statements; len(all) > 0 {
		last := all[len(all)-1].at
		text := l.policy.text[last.start:last.end] + ", " + own
		if !l.policy.listed() {
			text = "[" + text + "]"
		}
		edits = append(edits, podEdit{last, text, "let EKS Pod Identity in for this cluster"})
	}
	return edits
}
