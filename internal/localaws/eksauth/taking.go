package eksauth

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/eks"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// How long sessions live (spec podidentity §12.4); a role's own maximum does not
// count here.
const (
	lifetime        = 6 * time.Hour
	chainedLifetime = 59 * time.Minute
)

// taking is how a pod gets its session: the service assumes the role and, with
// that session, perhaps the target role.
type taking struct {
	call        *service.Call
	cluster     *eks.Cluster
	association *eks.Association
	pod         *pod
	arn         string // the cluster's
	name        string // the session's
	tags        []policy.Tag
}

func newTaking(q *service.Call, cluster *eks.Cluster, association *eks.Association, p *pod) *taking {
	t := &taking{
		call:        q,
		cluster:     cluster,
		association: association,
		pod:         p,
		arn:         eks.ClusterARN(q.Account, cluster.Region, cluster.Name),
	}
	t.name = "eks-" + cut(cluster.Name, 10) + "-" + cut(p.name, 12) + "-" + uuid.NewString()
	if !association.DisableTags {
		t.tags = []policy.Tag{
			{Key: "eks-cluster-arn", Value: t.arn},
			{Key: "eks-cluster-name", Value: cluster.Name},
			{Key: "kubernetes-namespace", Value: p.namespace},
			{Key: "kubernetes-service-account", Value: p.serviceAccount},
			{Key: "kubernetes-pod-name", Value: p.name},
			{Key: "kubernetes-pod-uid", Value: p.uid},
		}
	}
	return t
}

// cut shortens a name of ASCII characters.
func cut(name string, to int) string { return name[:min(len(name), to)] }

func (t *taking) keys() []string {
	keys := make([]string, len(t.tags))
	for i, tag := range t.tags {
		keys[i] = tag.Key
	}
	return keys
}

// denied is EKS's one answer if a role cannot be assumed.
func denied(format string, args ...any) *wire.Error {
	return refuse(
		"AccessDeniedException", "Unauthorized Exception! EKS does not have permissions to assume the associated role.",
	).Because(format, args...)
}

// role is a role with its account.
type role struct {
	*account.Role
	owner *account.Account
	arn   string
}

func findRole(accounts *account.Set, text string) (*role, error) {
	named, err := account.ParseRole(text)
	if err != nil {
		return nil, denied("%s", err)
	}
	owner, found := accounts.Find(named.Account)
	if !found || owner.Partition != named.Partition {
		return nil, denied("role %s is in an account that does not exist here", text)
	}
	one := &role{owner: owner, arn: text}
	err = owner.View(func(state account.State) error {
		one.Role, err = state.RoleByARN(text)
		return err
	})
	if errors.Is(err, account.ErrNotFound) {
		return nil, denied("role %s does not exist", text)
	}
	return one, err
}

func (t *taking) take() (any, error) {
	q := t.call
	if packed := sts.PackedTags(t.tags); packed > 100 {
		return nil, refuse(
			"InvalidRequestException", "Packed size of session tags consumes %d%% of allotted space.", packed,
		).
			Because(
				"Kubernetes allows no name of this length; a token that was not made by kube-apiserver may contain one",
			)
	}
	first, err := findRole(q.Accounts, t.association.RoleARN)
	if err != nil {
		return nil, err
	}
	session, err := t.byService(first)
	if err != nil {
		return nil, err
	}
	last := first
	if t.association.TargetRoleARN != "" {
		if last, err = findRole(q.Accounts, t.association.TargetRoleARN); err != nil {
			return nil, err
		}
		if session, err = t.chained(first, session, last); err != nil {
			return nil, err
		}
	}
	if t.association.Policy != "" {
		session.Policies = []string{t.association.Policy}
	}
	return t.answer(last, session)
}

// session is the session that each step issues.
func (t *taking) session(of *role, lives time.Duration) *account.Session {
	session := &account.Session{
		RoleARN:    of.arn,
		RoleName:   of.Name,
		RoleID:     of.ID,
		Name:       t.name,
		Issued:     t.call.Time,
		Expires:    t.call.Time.Add(lives),
		Transitive: t.keys(),
	}
	for _, tag := range t.tags {
		session.Tags = append(session.Tags, account.Tag{Key: tag.Key, Value: tag.Value})
	}
	return session
}

// byService is the first step: EKS itself assumes the role (spec iam-policy §5.5).
func (t *taking) byService(first *role) (*account.Session, error) {
	taken := policy.Taking{Action: "sts:AssumeRole", SessionName: t.name, Tags: t.tags, TransitiveKeys: t.keys()}
	context := t.context(first).Set("aws:SourceArn", t.arn).Set("aws:SourceAccount", t.call.Account.ID)
	taken.AddContext(context)
	request := &policy.Request{
		Principal: policy.Principal{
			Kind: policy.Service,
			ARN:  principal,
		}, Resource: first.arn, ResourceAccount: first.owner.ID, Context: context,
	}
	return t.session(first, lifetime), decide(request, taken.Actions(), first, &policy.Policies{})
}

// chained is the second step: the first session assumes the target role.
func (t *taking) chained(first *role, session *account.Session, target *role) (*account.Session, error) {
	who, err := caller.Session(first.owner, session)
	if err != nil {
		return nil, err
	}
	who.Region = t.cluster.Region
	taken := policy.Taking{
		Action:      "sts:AssumeRole",
		SessionName: t.name,
		ExternalID:  eks.ExternalID(t.call.Account, t.cluster, t.association),
		Inherited:   policy.Inheritance{TransitiveTags: t.tags},
	}
	context := t.context(target)
	who.AddContext(context)
	taken.AddContext(context)
	// What is inherited counts as requested too (spec podidentity §15).
	if len(t.tags) > 0 {
		context.SetMulti("aws:TagKeys", t.keys()).SetMulti("sts:TransitiveTagKeys", t.keys())
	}
	for _, tag := range t.tags {
		context.Set("aws:RequestTag/"+tag.Key, tag.Value)
	}
	request := &policy.Request{
		Principal:       who.Principal,
		Resource:        target.arn,
		ResourceAccount: target.owner.ID,
		Context:         context,
	}
	policies := &policy.Policies{Identity: who.Identity, Boundary: who.Boundary}
	return t.session(target, chainedLifetime), decide(request, taken.Actions(), target, policies)
}

// context holds the condition keys of either call of STS. The node that asked is
// not its caller: there is no aws:SourceIp.
func (t *taking) context(of *role) *policy.Context {
	context := policy.NewContext().
		Set("aws:CurrentTime", t.call.Time.UTC().Format(time.RFC3339)).
		Set("aws:EpochTime", strconv.FormatInt(t.call.Time.Unix(), 10)).
		Set("aws:SecureTransport", "true").
		Set("aws:RequestedRegion", t.cluster.Region).
		Set("aws:ResourceAccount", of.owner.ID)
	for _, tag := range of.Tags {
		context.Set("aws:ResourceTag/"+tag.Key, tag.Value)
	}
	return context
}

// decide asks a role's trust policy and the caller's policies for all actions
// that assuming it needs.
func decide(request *policy.Request, actions []string, of *role, policies *policy.Policies) error {
	trust, err := of.owner.Parse(policy.Trust, of.Name, of.Trust)
	if err != nil {
		return fmt.Errorf("read the stored trust policy of %s: %w", of.arn, err)
	}
	policies.Trust = trust.Bind(of.Principals)
	if decision, _ := policy.DecideAll(request, actions, policies); decision.Effect != policy.Allowed {
		return denied("").Explained(policy.ExplainAll(request, actions, policies))
	}
	return nil
}

// The answer; every member is required.
type answer struct {
	Subject     subject     `json:"subject"`
	Audience    string      `json:"audience"`
	Association association `json:"podIdentityAssociation"`
	User        user        `json:"assumedRoleUser"`
	Credentials credentials `json:"credentials"`
}

type subject struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

type association struct {
	ARN string `json:"associationArn"`
	ID  string `json:"associationId"`
}

type user struct {
	ARN string `json:"arn"`
	ID  string `json:"assumeRoleId"`
}

// credentials hold secrets in the clear: they are the answer itself.
type credentials struct {
	SessionToken    string    `json:"sessionToken"`
	SecretAccessKey string    `json:"secretAccessKey"`
	AccessKeyID     string    `json:"accessKeyId"`
	Expiration      wire.Time `json:"expiration"`
}

func (t *taking) answer(of *role, session *account.Session) (any, error) {
	issued, err := of.owner.IssueSession(*session)
	if err != nil {
		return nil, err
	}
	named, err := account.ParseRole(of.arn)
	if err != nil {
		return nil, err
	}
	return answer{
		Subject:  subject{t.pod.namespace, t.pod.serviceAccount},
		Audience: audience,
		Association: association{
			eks.AssociationARN(t.call.Account, t.cluster.Region, t.cluster.Name, t.association.ID),
			t.association.ID,
		},
		User: user{named.Session(t.name).String(), of.ID + ":" + t.name},
		Credentials: credentials{
			SessionToken:    issued.SessionToken.Reveal(),
			SecretAccessKey: issued.SecretKey.Reveal(),
			AccessKeyID:     issued.AccessKeyID,
			Expiration:      wire.Time(issued.Expires),
		},
	}, nil
}
