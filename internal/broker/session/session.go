// Package session gets AWS sessions for verified pods: which role is taken how,
// under which name, with which tags, and what STS's refusals mean (spec
// podidentity §14, §19.7).
//
// It does not verify anybody: whoever calls it has decided that the pod may have
// the role.
package session

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/limit"
)

// Subject is for whom a session is. Pod and PodUID are empty for a token that is
// bound to no pod.
type Subject struct {
	Namespace, ServiceAccount, Pod, PodUID, Node string
	// Labels of the pod, of those keys that templates may use.
	Labels map[string]string
}

// Request asks for a session.
type Request struct {
	Association *v1alpha1.PodIdentityAssociation
	Subject     Subject
	// Token is the pod's own, which mode PassThrough shows STS.
	Token credential.Secret
}

// Session is what the pod gets, and what the audit says about it.
type Session struct {
	Credentials credential.AWS
	ARN, ID     string // of the assumed role, the last one of a chain
	Name        string
	Mode        v1alpha1.AssociationMode
	Issued      time.Time
	Tags        []awsapi.Tag
	// PackedPolicySize is in per cent; 0 if STS did not say.
	PackedPolicySize int
	RequestID        string // AWS's, of the last call
}

// HalfLife is when half of its life is over.
func (s *Session) HalfLife() time.Time { return s.Issued.Add(s.Credentials.Expires.Sub(s.Issued) / 2) }

// Taker takes roles. All fields but Minter and the durations are needed.
type Taker struct {
	Roles   *awsapi.Roles
	Minter  *Minter // nil: mode Federated is refused
	Cluster *association.Cluster
	// Default is the mode of associations that name none.
	Default v1alpha1.AssociationMode
	// PodLabels are the keys of the labels that templates may use. Who creates
	// pods chooses their values.
	PodLabels []string
	Pace      *Pace
	Metrics   *Metrics
	Now       func() time.Time
	// Total is how long a session may take and Attempt how long each call of STS;
	// zero is 4 and 2 seconds (spec podidentity §19.7). Tests whose subject is not
	// time have more, for a busy machine.
	Total, Attempt time.Duration

	// learned are the roles whose sessions may not last longer than an hour, for an
	// hour: they may be changed.
	learned     *limit.Cache[string, struct{}]
	learnedOnce sync.Once
}

const (
	total       = 4 * time.Second
	attemptTime = 2 * time.Second
	attempts    = 3
	// shortMaximum is how long sessions of a role may last unless somebody raised
	// it, and so what is asked for after a refusal.
	shortMaximum = time.Hour
	learnedFor   = time.Hour
	maxLearned   = 10000
	// chainedLimit is STS's for roles that are taken with a role's session.
	chainedLimit = time.Hour
	// targetLimit leaves a minute of that for the way, as EKS does.
	targetLimit = 59 * time.Minute
	// firstOfChain is the shortest session there is: it is used once, at once.
	firstOfChain    = 15 * time.Minute
	defaultDuration = 6 * time.Hour
)

// Metrics are what sessions cost and how large they are.
type Metrics struct {
	Calls  *prometheus.CounterVec // by operation and code
	Packed prometheus.Histogram   // per cent
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		Calls:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_broker_sts_calls_total", Help: "Calls of STS, by operation and its code; ok if it answered."}, []string{"operation", "code"}),
		Packed: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolecall_broker_packed_policy_size_percent", Help: "Packed size of sessions' tags and policies, in per cent of what STS takes.", Buckets: []float64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}}),
	}
	registry.MustRegister(m.Calls, m.Packed)
	return m
}

// ModeOf is the mode an association has here.
func (t *Taker) ModeOf(a *v1alpha1.PodIdentityAssociation) v1alpha1.AssociationMode {
	if a.Spec.Mode != "" {
		return a.Spec.Mode
	}
	return t.Default
}

// Take gets a session within Total. Every error is a *refusal.Error.
func (t *Taker) Take(ctx context.Context, q *Request) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Total, total))
	defer cancel()
	p, err := t.plan(q)
	if err != nil {
		return nil, err
	}
	for {
		got, refused := t.run(ctx, p)
		if refused == nil {
			t.Metrics.Packed.Observe(float64(got.PackedPolicySize))
			return &Session{
				Credentials: got.Credentials, ARN: got.ARN, ID: got.ID, Name: p.name, Mode: p.mode, Issued: t.Now(),
				Tags: p.tags, PackedPolicySize: got.PackedPolicySize, RequestID: got.RequestID,
			}, nil
		}
		if !refused.tooLarge() || !p.shrink() {
			return nil, refused.words(p)
		}
	}
}

// step is where in a chain STS refused.
type step string

const (
	stepRole   step = "role"
	stepTarget step = "target role"
)

// run takes the role, and with its session the target role.
func (t *Taker) run(ctx context.Context, p *plan) (*awsapi.RoleSession, *failure) {
	first, err := t.first(ctx, p)
	if err != nil {
		return nil, &failure{stepRole, p.role, err}
	}
	if p.target == "" {
		return first, nil
	}
	q := awsapi.RoleRequest{RoleARN: p.target, SessionName: p.name, ExternalID: p.externalID, Policy: p.policy, As: &first.Credentials}
	got, err := t.lasting(ctx, p.target, min(p.want, targetLimit), "AssumeRole", func(ctx context.Context, d time.Duration) (*awsapi.RoleSession, error) {
		q.Duration = d
		return t.Roles.Assume(ctx, q)
	})
	if err != nil {
		return nil, &failure{stepTarget, p.target, err}
	}
	return got, nil
}

// first takes the association's own role, in its mode.
func (t *Taker) first(ctx context.Context, p *plan) (*awsapi.RoleSession, error) {
	q := awsapi.RoleRequest{RoleARN: p.role, SessionName: p.name, Policy: p.policy}
	want := p.want
	if p.target != "" {
		q.Policy, want = "", firstOfChain
	}
	if p.mode == v1alpha1.BrokerRole {
		isSession, err := t.Roles.Own(ctx)
		if err != nil {
			return nil, refusal.New(refusal.Unavailable, "The broker has no AWS identity to take roles with.").Because(err)
		}
		if isSession {
			want = min(want, chainedLimit)
		}
		q.Tags, q.ExternalID, q.SourceIdentity = p.tags, p.externalID, p.sourceIdentity
		return t.lasting(ctx, p.role, want, "AssumeRole", func(ctx context.Context, d time.Duration) (*awsapi.RoleSession, error) {
			q.Duration = d
			return t.Roles.Assume(ctx, q)
		})
	}
	shown := p.token
	if p.mode == v1alpha1.Federated {
		var err error
		if shown, err = t.Minter.Mint(p.subject, p.role, p.tags, p.sourceIdentity); err != nil {
			return nil, refusal.New(refusal.Unavailable, "The broker cannot sign tokens.").Because(err)
		}
	}
	return t.lasting(ctx, p.role, want, "AssumeRoleWithWebIdentity", func(ctx context.Context, d time.Duration) (*awsapi.RoleSession, error) {
		q.Duration = d
		return t.Roles.WithWebIdentity(ctx, q, shown)
	})
}

func (t *Taker) short() *limit.Cache[string, struct{}] {
	t.learnedOnce.Do(func() { t.learned = limit.NewCache[string, struct{}](maxLearned) })
	return t.learned
}

// lasting asks for as long a session as is known to be given, and learns from
// STS's refusal.
func (t *Taker) lasting(ctx context.Context, role string, want time.Duration, operation string, ask func(context.Context, time.Duration) (*awsapi.RoleSession, error)) (*awsapi.RoleSession, error) {
	short := t.short()
	duration := want
	if _, learned := short.Get(role, t.Now()); learned {
		duration = min(want, shortMaximum)
	}
	got, err := t.call(ctx, operation, func(ctx context.Context) (*awsapi.RoleSession, error) { return ask(ctx, duration) })
	if !tooLong(err) || duration <= shortMaximum {
		return got, err
	}
	short.Put(role, struct{}{}, t.Now().Add(learnedFor))
	return t.call(ctx, operation, func(ctx context.Context) (*awsapi.RoleSession, error) { return ask(ctx, shortMaximum) })
}

// call asks STS up to three times. What it refuses, throttling too, is not
// asked again: the agent does that, in its own time.
func (t *Taker) call(ctx context.Context, operation string, ask func(context.Context) (*awsapi.RoleSession, error)) (*awsapi.RoleSession, error) {
	for attempt := 1; ; attempt++ {
		if err := t.Pace.Wait(ctx); err != nil {
			return nil, err
		}
		bounded, cancel := context.WithTimeout(ctx, cmp.Or(t.Attempt, attemptTime))
		got, err := ask(bounded)
		cancel()
		code := codeOf(err)
		t.Metrics.Calls.WithLabelValues(operation, code.label()).Inc()
		if code.throttled() {
			t.Pace.Throttled()
		}
		if err == nil || !code.transient() || attempt == attempts || ctx.Err() != nil {
			return got, err
		}
	}
}
