// Package sessionplan says which calls of STS give a service account its session:
// association × subject × plane → which role is assumed first, by whom, under which
// name, with which tags, external id and source identity, for how long, and which
// target role comes after it (spec podidentity §14, §19.7).
//
// It is the only plan there is. The broker makes its calls; to judge beforehand
// whether they will be allowed, ask for the plan of AnyPod, in which what only a pod
// has is left open. It makes no call, knows neither time nor chance, and does not
// say whether the subject may have the role.
package sessionplan

import (
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
)

// EKS is the mode of a cluster whose roles AWS's own service assumes; no association
// can ask for it.
const EKS = association.EKS

// Who is shown which audience: STS that of minted tokens, a pod's own token has the
// one that kubelets ask for.
const (
	MintedAudience = "sts.amazonaws.com"
	PodAudience    = "pods.eks.amazonaws.com"
	// PodPrincipal is the service that assumes roles on EKS.
	PodPrincipal = "pods.eks.amazonaws.com"
)

// Durations (spec podidentity §14.5, §19.7).
const (
	defaultDuration = 6 * time.Hour
	// FirstOfChain is the shortest session there is: it is used once, at once.
	FirstOfChain = 15 * time.Minute
	// ChainedLimit is STS's for roles that are assumed with a role's session.
	ChainedLimit = time.Hour
	// targetLimit leaves a minute of that for the way, as EKS does.
	targetLimit = 59 * time.Minute
)

// Plane is how the roles of a cluster's associations are assumed.
type Plane struct {
	Cluster association.Cluster
	// Mode is that of associations that name none. With EKS there is no other.
	Mode v1alpha1.AssociationMode
	// Modes and Choices are what associations may have and choose, as in
	// association.Bounds.
	Modes   []v1alpha1.AssociationMode
	Choices []association.Choice
	// Issuer is the URL of the issuer of the tokens that STS is shown, in modes
	// Federated and PassThrough; empty if it is not known here.
	Issuer string
	// BrokerRoleARN is the broker's own identity, a role or a user, in mode
	// BrokerRole; empty if it is not known here.
	BrokerRoleARN string
	// PodLabels are the keys of the pods' labels that templates may use. Those who
	// create pods choose their values. If it is nil, a pod's plan may use none, and
	// that of AnyPod any: a judge does not always know what the broker allows.
	PodLabels []string
}

// Bounds are what the plane lets associations choose.
func (p *Plane) Bounds() association.Bounds {
	return association.Bounds{Default: p.Mode, Modes: p.Modes, Choices: p.Choices}
}

// ModeOf is the mode that an association has on this plane.
func (p *Plane) ModeOf(a *v1alpha1.PodIdentityAssociation) v1alpha1.AssociationMode {
	bounds := p.Bounds()
	return bounds.ModeOf(a)
}

// Subject is for whom a session is. Pod, PodUID and Node are empty for a token that
// is bound to no pod.
type Subject struct {
	Namespace, ServiceAccount, Pod, PodUID, Node string
	// Labels of the pod, of those keys that templates may use.
	Labels map[string]string

	anyPod bool
}

// AnyPod stands for every pod of a service account: what differs between them is
// open in its plan.
func AnyPod(namespace, serviceAccount string) Subject {
	return Subject{Namespace: namespace, ServiceAccount: serviceAccount, anyPod: true}
}

// bound reports whether there is a pod.
func (s *Subject) bound() bool { return s.anyPod || s.PodUID != "" }

// Text is what a call has of a template. If it is open, it depends on the pod or on
// the moment, and is the template itself.
type Text struct {
	Value string
	Open  bool
}

// Tag is a session tag.
type Tag struct {
	Text
	Key string
	// Optional tags are those of pods that have some label.
	Optional bool
}

// Operation is one of STS's.
type Operation string

// The operations that sessions are got by.
const (
	AssumeRole                Operation = "AssumeRole"
	AssumeRoleWithWebIdentity Operation = "AssumeRoleWithWebIdentity"
)

// CallerKind is by what STS knows who calls.
type CallerKind string

// The kinds of callers.
const (
	MintedToken CallerKind = "minted-token" // made for this role and subject, carries the tags
	PodToken    CallerKind = "pod-token"    // the pod's own, passed through; can carry no tags
	BrokerRole  CallerKind = "broker-role"  // the broker's own AWS identity
	EKSService  CallerKind = "eks-service"  // AWS's own service
	FirstRole   CallerKind = "first-role"   // the session of the call before
)

// Caller is by whose identity a role is assumed.
type Caller struct {
	Kind CallerKind
	// ARN is the broker's identity's, or the first role's; of EKSService the name of
	// the service principal.
	ARN string
	// Issuer, Subject and Audience are those of a token.
	Issuer, Subject, Audience string
}

// Call is one call of STS.
type Call struct {
	Operation Operation
	Caller    Caller
	RoleARN   string
	// Name is the session's.
	Name Text
	// Duration is what is wanted; a role may give less. With the session of a role
	// it is ChainedLimit at most.
	Duration time.Duration
	// Policy is the session policy, JSON.
	Policy         string
	ExternalID     string
	SourceIdentity Text
	Tags           []Tag
	// Local says that the tags are those of this session only. Else they are transitive:
	// a target role's session, and every further one, has them too.
	Local bool
}

// Plan is everything that STS will be asked. It does not change but by Shrink.
type Plan struct {
	Mode v1alpha1.AssociationMode
	// Role is the call for the association's own role, which comes first.
	Role Call
	// Target is the call for its target role, which is made with the session of the
	// first; nil if there is none. Transitive tags and source identity go on to it by
	// inheritance; local tags are its own.
	Target *Call

	drop []string // keys to leave out when STS finds it too large, custom ones as one
}

// Last is the call whose session the pod gets.
func (p *Plan) Last() *Call {
	if p.Target != nil {
		return p.Target
	}
	return &p.Role
}

// Plan says which calls give a subject its session under an association. unique is
// the random part of the session's name; empty leaves it open. What is wrong with the
// association is a fault: Denied for an external id of somebody else, and for what the
// plane does not let associations choose; else Invalid. Whether the association may name
// an external id of its own is not decided here, since RoleGrants may say so.
func (p *Plane) Plan(a *v1alpha1.PodIdentityAssociation, s Subject, unique string) (*Plan, error) {
	bounds := p.Bounds()
	mode := bounds.ModeOf(a)
	caller, operation, err := p.caller(mode, &s)
	if err != nil {
		return nil, err
	}
	if err := bounds.Check(a); err != nil {
		return nil, err
	}
	spec, values := &a.Spec, p.variables(&s)
	plan := &Plan{
		Mode: mode,
		Role: Call{Operation: operation, Caller: caller, RoleARN: spec.RoleARN, Policy: spec.SessionPolicy},
	}
	if plan.Role.Duration = time.Duration(spec.DurationSeconds) * time.Second; plan.Role.Duration == 0 {
		plan.Role.Duration = defaultDuration
	}
	template := spec.SessionName
	if mode == EKS {
		template = "" // nobody can choose it there
	}
	if plan.Role.Name, err = sessionName(template, p.Cluster.Name, &s, values, unique); err != nil {
		return nil, err
	}
	externalID, err := p.externalID(spec.ExternalID, &s)
	if err != nil {
		return nil, err
	}
	if mode == v1alpha1.BrokerRole {
		plan.Role.ExternalID = externalID
	}
	if err := p.identify(plan, spec, &s, values); err != nil {
		return nil, err
	}
	if spec.TargetRoleARN != "" {
		plan.chain(spec.TargetRoleARN, externalID)
	}
	return plan, nil
}

// caller is who assumes the first role in a mode.
func (p *Plane) caller(mode v1alpha1.AssociationMode, s *Subject) (Caller, Operation, error) {
	subject := "system:serviceaccount:" + s.Namespace + ":" + s.ServiceAccount
	switch mode {
	case v1alpha1.Federated:
		return Caller{
			Kind:     MintedToken,
			Issuer:   p.Issuer,
			Subject:  subject,
			Audience: MintedAudience,
		}, AssumeRoleWithWebIdentity, nil
	case v1alpha1.PassThrough:
		return Caller{
			Kind:     PodToken,
			Issuer:   p.Issuer,
			Subject:  subject,
			Audience: PodAudience,
		}, AssumeRoleWithWebIdentity, nil
	case v1alpha1.BrokerRole:
		return Caller{Kind: BrokerRole, ARN: p.BrokerRoleARN}, AssumeRole, nil
	case EKS:
		return Caller{Kind: EKSService, ARN: PodPrincipal}, AssumeRole, nil
	}
	return Caller{}, "", invalid("the association has the unknown mode %q", mode)
}

// identify adds what the first session says of its subject: source identity and tags.
// A pod's own token can carry neither (spec podidentity §19.7).
func (p *Plane) identify(
	plan *Plan, spec *v1alpha1.PodIdentityAssociationSpec, s *Subject, values variables,
) (err error) {
	if plan.Mode == v1alpha1.PassThrough {
		return nil
	}
	if spec.SourceIdentity != "" && plan.Mode != EKS {
		if plan.Role.SourceIdentity, err = name("sourceIdentity", spec.SourceIdentity, values); err != nil {
			return err
		}
	}
	tagging := association.TaggingOf(spec)
	if tagging == v1alpha1.NoTags {
		return nil
	}
	plan.Role.Local = tagging == v1alpha1.LocalTags && plan.Mode != EKS
	own := spec.SessionTags
	if plan.Mode == EKS {
		own = nil
	}
	if plan.Role.Tags, err = p.tags(own, spec.OmitTags, s, values); err != nil {
		return err
	}
	if spec.OnOversize == v1alpha1.DropPodTags {
		plan.drop = []string{tagPodUID, tagPodName, ""}
	}
	return nil
}

// chain adds the call for a target role (spec podidentity §14.4).
func (p *Plan) chain(target, externalID string) {
	p.Target = &Call{
		Operation:  AssumeRole,
		Caller:     Caller{Kind: FirstRole, ARN: p.Role.RoleARN},
		RoleARN:    target,
		Name:       p.Role.Name,
		Duration:   min(p.Role.Duration, targetLimit),
		Policy:     p.Role.Policy,
		ExternalID: externalID,
	}
	if p.Role.Local {
		p.Target.Tags, p.Target.Local = p.Role.Tags, true
	}
	p.Role.Policy, p.Role.Duration = "", FirstOfChain
}
