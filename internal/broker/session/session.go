// Package session gets AWS sessions for verified pods: it makes the calls that
// package sessionplan plans, at a pace that STS allows, and says what STS's
// refusals mean (spec podidentity §14, §19.7).
//
// It does not verify anybody: its caller has decided that the pod may have the
// role.
package session

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/internal/patience"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// Request asks for a session.
type Request struct {
	Association *v1alpha1.PodIdentityAssociation
	Subject     sessionplan.Subject
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

// Taker assumes roles. All fields but Minter and the durations are needed.
type Taker struct {
	Roles  *awsapi.Roles
	Minter *Minter // nil: mode Federated is refused
	// Plane says how roles are assumed here. Its issuer is the Minter's.
	Plane   sessionplan.Plane
	Pace    *Pace
	Metrics *Metrics
	Now     func() time.Time
	// Total is how long each role of a chain may take; zero is 15 seconds (spec
	// podidentity §19.7). Tests whose subject is not time have more, for a busy machine.
	Total time.Duration
	// patience is what STS has lately taken.
	patience patience.Patience

	// learned are the roles whose sessions may not last longer than an hour, for an
	// hour: they may be changed.
	learned     *limit.Cache[string, struct{}]
	learnedOnce sync.Once
}

const (
	total    = 15 * time.Second
	attempts = 3
	// shortMaximum is how long sessions of a role may last unless somebody raised
	// it, and so what is asked for after a refusal.
	shortMaximum = time.Hour
	learnedFor   = time.Hour
	maxLearned   = 10000
)

// Metrics are what sessions cost and how large they are.
type Metrics struct {
	Calls  *prometheus.CounterVec // by operation and code
	Packed prometheus.Histogram   // per cent
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		Calls: prometheus.NewCounterVec(
			prometheus.CounterOpts{
				Name: "rolecall_broker_sts_calls_total",
				Help: "Calls to STS, by operation and error code; ok if it answered.",
			},
			[]string{"operation", "code"},
		),
		Packed: prometheus.NewHistogram(
			prometheus.HistogramOpts{
				Name:    "rolecall_broker_packed_policy_size_percent",
				Help:    "Packed size of sessions' tags and policies, in per cent of what STS accepts.",
				Buckets: []float64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100},
			},
		),
	}
	registry.MustRegister(m.Calls, m.Packed)
	return m
}

// Take gets a session, for each role of its chain within Total. Every error is a
// *refusal.Error.
func (t *Taker) Take(ctx context.Context, q *Request) (*Session, error) {
	p, err := t.plan(q)
	if err != nil {
		return nil, err
	}
	for {
		got, failed := t.run(ctx, p, q.Token)
		if failed == nil {
			t.Metrics.Packed.Observe(float64(got.PackedPolicySize))
			return &Session{
				Credentials:      got.Credentials,
				ARN:              got.ARN,
				ID:               got.ID,
				Name:             p.Role.Name.Value,
				Mode:             p.Mode,
				Issued:           t.Now(),
				Tags:             wireTags(p.Role.Tags),
				PackedPolicySize: got.PackedPolicySize,
				RequestID:        got.RequestID,
			}, nil
		}
		if !failed.tooLarge() || !p.Shrink() {
			return nil, failed.words(p)
		}
	}
}

// plan asks for the plan of a pod, in which nothing is open.
func (t *Taker) plan(q *Request) (*sessionplan.Plan, error) {
	p, err := t.Plane.Plan(q.Association, q.Subject, uuid.NewString())
	switch {
	case fault.KindOf(err) == fault.Denied:
		return nil, refusal.New(refusal.AccessDenied, "%s", refusal.Sentence(err))
	case err != nil:
		return nil, refusal.New(refusal.InvalidRequest, "%s", refusal.Sentence(err))
	case p.Role.Caller.Kind == sessionplan.MintedToken && t.Minter == nil:
		return nil, refusal.New(
			refusal.Unavailable, "The broker has no key to sign tokens with, which mode Federated needs.",
		)
	case p.Role.Caller.Kind == sessionplan.EKSService:
		return nil, refusal.New(refusal.InvalidRequest, "On EKS AWS itself assumes roles.")
	}
	return p, nil
}

func wireTags(tags []sessionplan.Tag) (wire []awsapi.Tag) {
	for _, tag := range tags {
		wire = append(wire, awsapi.Tag{Key: tag.Key, Value: tag.Value})
	}
	return wire
}

// step is where in a chain STS refused.
type step string

const (
	stepRole   step = "role"
	stepTarget step = "target role"
)

// run assumes the role, and with its session the target role.
func (t *Taker) run(ctx context.Context, p *sessionplan.Plan, pod credential.Secret) (*awsapi.RoleSession, *failure) {
	first, err := t.first(ctx, &p.Role, pod)
	if err != nil {
		return nil, &failure{stepRole, p.Role.RoleARN, err}
	}
	if p.Target == nil {
		return first, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Total, total))
	defer cancel()
	got, err := t.assume(ctx, p.Target, p.Target.Duration, &first.Credentials)
	if err != nil {
		return nil, &failure{stepTarget, p.Target.RoleARN, err}
	}
	return got, nil
}

// first makes the call for the association's own role, in its mode.
func (t *Taker) first(ctx context.Context, call *sessionplan.Call, pod credential.Secret) (*awsapi.RoleSession, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Total, total))
	defer cancel()
	if call.Operation == sessionplan.AssumeRole {
		isSession, err := t.Roles.Own(ctx)
		if err != nil {
			return nil, refusal.New(
				refusal.Unavailable, "The broker has no AWS identity to assume roles with.",
			).Because(err)
		}
		duration := call.Duration
		if isSession {
			duration = min(duration, sessionplan.ChainedLimit)
		}
		return t.assume(ctx, call, duration, nil)
	}
	shown := pod
	if call.Caller.Kind == sessionplan.MintedToken {
		var err error
		if shown, err = t.Minter.Mint(
			call.Caller.Subject, call.RoleARN, wireTags(call.Tags), call.Local, call.SourceIdentity.Value,
		); err != nil {
			return nil, refusal.New(refusal.Unavailable, "The broker cannot sign tokens.").Because(err)
		}
	}
	q := awsapi.RoleRequest{RoleARN: call.RoleARN, SessionName: call.Name.Value, Policy: call.Policy}
	return t.lasting(ctx, call.RoleARN, call.Duration, call.Operation, func(
		ctx context.Context, d time.Duration,
	) (*awsapi.RoleSession, error) {
		q.Duration = d
		return t.Roles.WithWebIdentity(ctx, q, shown)
	})
}

// assume makes a call of AssumeRole with credentials; nil are the broker's own.
func (t *Taker) assume(
	ctx context.Context, call *sessionplan.Call, want time.Duration, as *credential.AWS,
) (*awsapi.RoleSession, error) {
	q := awsapi.RoleRequest{
		RoleARN:        call.RoleARN,
		SessionName:    call.Name.Value,
		Policy:         call.Policy,
		ExternalID:     call.ExternalID,
		SourceIdentity: call.SourceIdentity.Value,
		Tags:           wireTags(call.Tags),
		Local:          call.Local,
		As:             as,
	}
	return t.lasting(ctx, call.RoleARN, want, call.Operation, func(
		ctx context.Context, d time.Duration,
	) (*awsapi.RoleSession, error) {
		q.Duration = d
		return t.Roles.Assume(ctx, q)
	})
}

func (t *Taker) short() *limit.Cache[string, struct{}] {
	t.learnedOnce.Do(func() { t.learned = limit.NewCache[string, struct{}](maxLearned) })
	return t.learned
}

// lasting asks for as long a session as is known to be given, and learns from
// STS's refusal.
func (t *Taker) lasting(
	ctx context.Context, role string, want time.Duration, operation sessionplan.Operation,
	ask func(context.Context, time.Duration) (*awsapi.RoleSession, error),
) (*awsapi.RoleSession, error) {
	short := t.short()
	duration := want
	if _, learned := short.Get(role, t.Now()); learned {
		duration = min(want, shortMaximum)
	}
	got, err := t.call(
		ctx, operation, func(ctx context.Context) (*awsapi.RoleSession, error) { return ask(ctx, duration) },
	)
	if !tooLong(err) || duration <= shortMaximum {
		return got, err
	}
	short.Put(role, struct{}{}, t.Now().Add(learnedFor))
	return t.call(
		ctx, operation, func(ctx context.Context) (*awsapi.RoleSession, error) { return ask(ctx, shortMaximum) },
	)
}

// call asks STS up to three times. What it refuses, throttling too, is not
// asked again: the agent does that, in its own time.
func (t *Taker) call(
	ctx context.Context, operation sessionplan.Operation, ask func(context.Context) (*awsapi.RoleSession, error),
) (*awsapi.RoleSession, error) {
	return patience.Ask(ctx, &t.patience, patience.Call[*awsapi.RoleSession]{
		Turn: t.Pace.turn,
		Try: func(ctx context.Context) (*awsapi.RoleSession, error) {
			got, err := ask(ctx)
			code := codeOf(err)
			t.Metrics.Calls.WithLabelValues(string(operation), code.label()).Inc()
			if code.throttled() {
				t.Pace.Throttled()
			}
			return got, err
		},
		Again:    func(err error, _ int) (time.Duration, bool) { return 0, codeOf(err).transient() },
		Attempts: attempts,
		Now:      t.Now,
	})
}
