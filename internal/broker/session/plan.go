package session

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// The six tags of every session (spec podidentity §14.1), in AWS's order.
const (
	tagClusterARN     = "eks-cluster-arn"
	tagClusterName    = "eks-cluster-name"
	tagNamespace      = "kubernetes-namespace"
	tagServiceAccount = "kubernetes-service-account"
	tagPodName        = "kubernetes-pod-name"
	tagPodUID         = "kubernetes-pod-uid"
)

var reserved = []string{tagClusterARN, tagClusterName, tagNamespace, tagServiceAccount, tagPodName, tagPodUID}

// STS's limits (spec podidentity §14.1, §14.5).
const (
	maxTags = arn.MaxSessionTags
	minName = arn.MinSessionName
)

// plan is everything that is sent to STS, before it is sent.
type plan struct {
	mode                             v1alpha1.AssociationMode
	role, target                     string
	subject                          string // of the minted token
	name, sourceIdentity, externalID string
	policy                           string
	tags                             []awsapi.Tag
	want                             time.Duration
	token                            credential.Secret
	drop                             []string // keys to leave out when STS finds it too large, custom ones as one
}

// plan is pure but for the random part of the name.
func (t *Taker) plan(q *Request) (*plan, error) {
	spec, s := &q.Association.Spec, q.Subject
	p := &plan{
		mode: t.ModeOf(q.Association), role: spec.RoleARN, target: spec.TargetRoleARN, policy: spec.SessionPolicy, token: q.Token,
		subject: token.ServiceAccountSubject(s.Namespace, s.ServiceAccount), want: time.Duration(spec.DurationSeconds) * time.Second,
	}
	if p.want == 0 {
		p.want = defaultDuration
	}
	switch {
	case p.mode == v1alpha1.Federated && t.Minter == nil:
		return nil, refusal.New(refusal.Unavailable, "The broker has no key to sign tokens with, which mode Federated needs.")
	case !slices.Contains([]v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough}, p.mode):
		return nil, refusal.New(refusal.InvalidRequest, "The association has the unknown mode %q.", p.mode)
	}
	values := variables(s, t.PodLabels)
	var err error
	if p.name, err = sessionName(spec.SessionName, t.Cluster.Name, s, values); err != nil {
		return nil, err
	}
	if p.externalID, err = externalID(t.Cluster, spec.ExternalID, s); err != nil {
		return nil, err
	}
	// The pod's own token can carry neither (spec podidentity §19.7).
	if p.mode == v1alpha1.PassThrough {
		return p, nil
	}
	if spec.SourceIdentity != "" {
		if p.sourceIdentity, err = name("sourceIdentity", spec.SourceIdentity, values); err != nil {
			return nil, err
		}
	}
	if spec.DisableSessionTags {
		return p, nil
	}
	if p.tags, err = tags(t.Cluster, spec, s, values); err != nil {
		return nil, err
	}
	if spec.OnOversize == v1alpha1.DropPodTags {
		p.drop = []string{tagPodUID, tagPodName, ""}
	}
	return p, nil
}

// shrink leaves out what may be left out next; false if there is nothing.
func (p *plan) shrink() bool {
	for len(p.drop) > 0 {
		key := p.drop[0]
		p.drop = p.drop[1:]
		before := len(p.tags)
		p.tags = slices.DeleteFunc(slices.Clone(p.tags), func(tag awsapi.Tag) bool {
			return tag.Key == key || key == "" && !slices.Contains(reserved, tag.Key)
		})
		if len(p.tags) < before {
			return true
		}
	}
	return false
}

// tags are the six and the association's own, all of which are transitive.
func tags(cluster *association.Cluster, spec *v1alpha1.PodIdentityAssociationSpec, s Subject, values map[string]*string) ([]awsapi.Tag, error) {
	all := []awsapi.Tag{
		{Key: tagClusterARN, Value: cluster.ARN()},
		{Key: tagClusterName, Value: cluster.Name},
		{Key: tagNamespace, Value: s.Namespace},
		{Key: tagServiceAccount, Value: s.ServiceAccount},
	}
	if s.PodUID != "" {
		all = append(all, awsapi.Tag{Key: tagPodName, Value: s.Pod}, awsapi.Tag{Key: tagPodUID, Value: s.PodUID})
	}
	all = slices.DeleteFunc(all, func(tag awsapi.Tag) bool { return slices.Contains(spec.OmitTags, tag.Key) })
	seen := map[string]bool{}
	for _, key := range reserved {
		seen[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(spec.SessionTags)) {
		// Keys are the same whatever their case; one of the six must never be
		// what an association says.
		if folded := strings.ToLower(key); seen[folded] {
			return nil, refusal.New(refusal.InvalidRequest, "The association sets the session tag %q, which is reserved or there twice.", key)
		} else if strings.HasPrefix(folded, "aws:") || !arn.IsTagKey(key) {
			return nil, refusal.New(refusal.InvalidRequest, "The association sets the session tag %q, which STS does not take.", key)
		} else {
			seen[folded] = true
		}
		value, complete, err := expand("sessionTags", spec.SessionTags[key], values)
		switch {
		case err != nil:
			return nil, err
		case !complete: // about a pod or a label, and there is none
			continue
		case !arn.IsTagValue(value):
			return nil, refusal.New(refusal.InvalidRequest, "The session tag %q has a value that STS does not take.", key)
		}
		all = append(all, awsapi.Tag{Key: key, Value: value})
	}
	if len(all) > maxTags {
		return nil, refusal.New(refusal.InvalidRequest, "The session would have %d tags; STS takes %d.", len(all), maxTags)
	}
	return all, nil
}

// ofPod are the variables that only a pod has, but for its labels.
var ofPod = []string{"podName", "podUid", "node"}

const podLabel = "podLabel:"

// variables are what templates may use; nil is one that is allowed and that there
// is no value of: without a pod, or of a label that the pod has not.
func variables(s Subject, labels []string) map[string]*string {
	values := map[string]*string{"namespace": &s.Namespace, "serviceAccount": &s.ServiceAccount}
	for _, name := range ofPod {
		values[name] = nil
	}
	for _, key := range labels {
		values[podLabel+key] = nil
	}
	if s.PodUID == "" {
		return values
	}
	values["podName"], values["podUid"], values["node"] = &s.Pod, &s.PodUID, &s.Node
	for _, key := range labels {
		if value, has := s.Labels[key]; has {
			values[podLabel+key] = &value
		}
	}
	return values
}

var variable = regexp.MustCompile(`\$\{[^}]*\}?`)

// expand fills a template in. complete is false if it needs what there is not, a
// pod or one of its labels. What is no variable is an error: a session must not carry the text of a
// mistake.
func expand(field, template string, values map[string]*string) (text string, complete bool, err error) {
	complete = true
	text = variable.ReplaceAllStringFunc(template, func(found string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(found, "${"), "}")
		value, known := values[name]
		switch {
		case known && strings.HasSuffix(found, "}") && value != nil:
			return *value
		case known:
			complete = false
		case strings.HasPrefix(name, podLabel):
			err = refusal.New(refusal.InvalidRequest, "The association's %s: the pod's label %q is not among those of the broker's --pod-labels.", field, strings.TrimPrefix(name, podLabel))
		default:
			err = refusal.New(refusal.InvalidRequest, "The association's %s has the unknown variable %s.", field, found)
		}
		return ""
	})
	return text, complete, err
}

// name fills in a template of a session name or source identity.
func name(field, template string, values map[string]*string) (string, error) {
	text, _, err := expand(field, template, values)
	if err != nil {
		return "", err
	}
	text = arn.SessionName(text)
	if len(text) < minName {
		return "", refusal.New(refusal.InvalidRequest, "The association's %s comes to %q; STS takes at least %d characters.", field, text, minName)
	}
	return text, nil
}

// sessionName is EKS's own form, eks-CLUSTER-POD-UUID, unless there is a
// template (spec podidentity §14.3).
func sessionName(template, cluster string, s Subject, values map[string]*string) (string, error) {
	id := uuid.NewString()
	if template == "" {
		of := s.Pod
		if of == "" {
			of = s.ServiceAccount
		}
		return arn.SessionName(fmt.Sprintf("eks-%s-%s-%s", cut(cluster, 10), cut(of, 12), id)), nil
	}
	values = maps.Clone(values)
	values["uuid"] = &id
	return name("sessionName", template, values)
}

func cut(text string, to int) string { return text[:min(len(text), to)] }

// externalID is the association's own, or EKS's form. One that has that form and
// names others of this cluster is refused: by it another account's role would
// take this one for them.
func externalID(cluster *association.Cluster, own string, s Subject) (string, error) {
	usual := cluster.ExternalID(s.Namespace, s.ServiceAccount)
	if own == "" {
		return usual, nil
	}
	mine := cluster.ExternalID("", "")
	if strings.HasPrefix(own, strings.TrimSuffix(mine, "/")) && own != usual {
		return "", refusal.New(refusal.AccessDenied, "The association's external id is that of another service account of this cluster.")
	}
	return own, nil
}
