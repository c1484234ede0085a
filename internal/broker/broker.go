// Package broker gives pods of this cluster their AWS sessions, to the agents of
// their nodes: the API of EKS Auth where there is no EKS (spec podidentity §12,
// §19).
//
// It keeps nothing that another replica would need. Package workload says what
// a token proves, package session how a role is assumed.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// Audience is the one that tokens of pods have.
const Audience = "pods.eks.amazonaws.com"

// IsAgentAudience reports whether agents' tokens may have an audience: no token must be
// an agent's and a pod's.
func IsAgentAudience(text string) bool { return text != "" && text != Audience }

// maxUnboundLifetime is how long tokens that are bound to no pod may live: they
// cannot be revoked (spec podidentity §19.4).
const maxUnboundLifetime = time.Hour

// largePacked is the packed size, in per cent, from which a warning is due: a
// longer pod name makes it a refusal (spec podidentity §19.7).
const largePacked = 80

// maxCached is far above the pods of a cluster that one replica serves.
const maxCached = 20000

// Config is what a broker is made of. All fields but Refused, Used, Cache and
// Deadline are needed.
type Config struct {
	Cluster      *association.Cluster
	Agents       *Agents
	Tokens       *workload.Verifier
	Objects      *workload.Objects
	Associations follow.Source[*association.Set]
	Grants       follow.Source[*grant.Set]
	Sessions     *session.Taker
	Changes      *Changes
	Limits       Limits
	Audit        *door.Audit
	// Refused is told of pods that got no session; nil tells nobody. It must not
	// block.
	Refused func(PodRefusal)
	// Used is told of associations that a session was handed out for; nil tells
	// nobody. It must not block.
	Used func(*v1alpha1.PodIdentityAssociation)
	// Cache keeps sessions in memory for agents that start again.
	Cache bool
	// Deadline is how long a request for a session may take; zero is 5 seconds.
	Deadline time.Duration
	Metrics  prometheus.Registerer
	Log      *slog.Logger
	Now      func() time.Time
}

// Broker decides, and serves; see Handler.
type Broker struct {
	Config
	door    *door.Door
	metrics *metrics
	limits  *limits
	flights singleflight.Group
	// cache keeps sessions for the first half of their life; nil if nothing is kept.
	// The key names pod, association and its version, so that a change of either
	// finds nothing; who may ask is decided before it is looked at.
	cache *limit.Cache[string, *session.Session]
	left  *unclaimed
	// running and polling bound the requests that are served at a time, and flying the
	// sessions that are being taken, whose requests may have ended.
	running, polling, flying limit.Slots
}

// New makes a broker. It starts nothing.
func New(config Config) *Broker {
	b := &Broker{
		Config:  config,
		metrics: newMetrics(config.Metrics),
		limits:  newLimits(config.Limits),
		left:    newUnclaimed(),
		running: limit.NewSlots(maxRunning),
		polling: limit.NewSlots(maxPolling),
		flying:  limit.NewSlots(maxFlying),
		door: door.New(door.Config{
			Cluster:      config.Cluster,
			FailureRate:  config.Limits.FailureRate,
			FailureBurst: config.Limits.FailureBurst,
			Audit:        config.Audit,
			Metrics:      config.Metrics,
			Log:          config.Log,
			Now:          config.Now,
		}),
	}
	if config.Cache {
		b.cache = limit.NewCache[string, *session.Session](maxCached)
	}
	return b
}

// Door is what the APIs beside the broker's own are served behind, too.
func (b *Broker) Door() *door.Door { return b.door }

// metrics are about requests for sessions; the door counts what limits refuse.
type metrics struct {
	requests *prometheus.CounterVec // by code
	seconds  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_broker_requests_total", Help: "Requests for sessions, by code; issued if there was one.",
		}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rolecall_broker_request_seconds", Help: "How long requests for sessions took, STS included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
	}
	registry.MustRegister(m.requests, m.seconds)
	return m
}

// issued is what a pod gets, and of which association.
type issued struct {
	*session.Session
	association *v1alpha1.PodIdentityAssociation
	identity    *workload.Identity
}

// assume is spec podidentity §19.4, from step 2 on. It fills the record in as far
// as it comes.
func (b *Broker) assume(ctx context.Context, who Caller, raw credential.Secret, record *door.Record) (*issued, error) {
	identity, err := b.Tokens.Verify(ctx, raw, Audience)
	if err != nil {
		return nil, err
	}
	record.About(identity)
	if !closed(b.Associations.Synced()) || !closed(b.Grants.Synced()) {
		// A cluster whose grants are not known yet must not look like one without.
		return nil, refusal.New(
			refusal.Unavailable, "The broker does not know the cluster's associations and grants yet.",
		)
	}
	associations, err := follow.Sure(ctx, b.Associations, b.Tokens.Mode.Patience(), identity.Namespace)
	if err != nil {
		return nil, refusal.New(
			refusal.Unavailable,
			"The cluster's associations are not known: their watch stands still, and the API server cannot be asked.",
		).Because(err)
	}
	found := associations.Of(identity.Namespace, identity.ServiceAccount)
	if err := mayBeUnbound(identity, found); err != nil {
		return nil, err
	}
	if identity.Bound() && b.Agents.Mode != NoAuthentication && (who.Node == "" || identity.Node != who.Node) {
		return nil, refusal.New(
			refusal.AccessDenied, "The pod runs on node %q, the request comes from node %q.", identity.Node, who.Node,
		)
	}
	if !b.limits.pod(podKey(identity), b.Now()) {
		return nil, b.door.Limited("pod", "The pod asks too often.")
	}
	if found == nil {
		return nil, refusal.New(
			refusal.NotFound, "No association found for service account %s of namespace %s.", identity.ServiceAccount,
			identity.Namespace,
		)
	}
	record.Of(b.Cluster, found, b.Sessions.Plane.ModeOf(found))
	if err := b.permitted(ctx, identity, found); err != nil {
		return nil, err
	}
	taken, err := b.take(ctx, identity, found, raw, who.Node)
	if err != nil {
		return nil, err
	}
	record.Got(taken)
	if taken.PackedPolicySize > largePacked {
		b.Log.Warn(
			"session is nearly too large", "association", association.ID(found), "percent", taken.PackedPolicySize,
		)
	}
	if b.Used != nil {
		b.Used(found)
	}
	return &issued{taken, found, identity}, nil
}

// mayBeUnbound is step 7 for tokens that are bound to no pod.
func mayBeUnbound(identity *workload.Identity, found *v1alpha1.PodIdentityAssociation) error {
	switch {
	case identity.Bound():
		return nil
	case found == nil || !found.Spec.AllowUnboundTokens:
		return refusal.New(
			refusal.InvalidToken, "The token included in the request is invalid: it is not bound to a pod.",
		)
	case identity.Lifetime() > maxUnboundLifetime:
		return refusal.New(
			refusal.InvalidToken,
			"The token included in the request is invalid: it is not bound to a pod and lives longer than an hour.",
		)
	}
	return nil
}

// permitted is step 10: the association gives something, the operator lets it be as
// it is, and grants allow both roles.
func (b *Broker) permitted(
	ctx context.Context, identity *workload.Identity, found *v1alpha1.PodIdentityAssociation,
) error {
	if found.Spec.Paused {
		return refusal.New(refusal.AccessDenied, "The association is paused.")
	}
	grants, err := follow.Sure(ctx, b.Grants, b.Tokens.Mode.Patience(), "")
	if err != nil {
		return refusal.New(
			refusal.Unavailable,
			"The cluster's RoleGrants are not known: their watch stands still, and the API server cannot be asked.",
		).Because(err)
	}
	rules := admission.Rules{Bounds: b.Sessions.Plane.Bounds(), Grants: grants}
	err = rules.Use(found, identity.ServiceAccount)
	if _, ungranted := errors.AsType[*admission.NotGranted](err); ungranted {
		return refusal.New(refusal.AccessDenied, "The role is not granted: %s.", err)
	}
	if err != nil {
		return refusal.New(refusal.AccessDenied, "The operator does not allow the association: %s.", err)
	}
	return nil
}

// take gets one session for all who ask for the same pod and the same version of
// its association at a time. It goes on when they leave or have waited long enough, and
// those who ask meanwhile, or within a minute after, get what it comes to.
func (b *Broker) take(
	ctx context.Context, identity *workload.Identity, found *v1alpha1.PodIdentityAssociation, raw credential.Secret,
	node string,
) (*session.Session, error) {
	key := fmt.Sprintf("%s %s %d", podKey(identity), found.UID, found.Generation)
	if kept, found := b.cache.Get(key, b.Now()); found {
		return kept, nil
	}
	if !identity.Bound() {
		node = "" // it is nobody's in particular
	}
	result := b.flights.DoChan(key, func() (any, error) {
		// Looked up in here: no flight begins before the last one has put its
		// session.
		if left := b.left.claim(key); left != nil {
			return left.session, left.err
		}
		if !b.flying.Take() {
			return nil, b.door.Limited("flights", "The broker already waits for as many sessions as it can.")
		}
		defer b.flying.Free()
		got, err := b.Sessions.Take(context.WithoutCancel(ctx), &session.Request{
			Association: found, Token: raw,
			Subject: sessionplan.Subject{
				Namespace:      identity.Namespace,
				ServiceAccount: identity.ServiceAccount,
				Pod:            identity.Pod,
				PodUID:         identity.PodUID,
				Node:           node,
				Labels:         identity.Labels,
			},
		})
		if err != nil {
			if refusal.Of(err).Code == refusal.Throttled {
				b.limits.cool(podKey(identity), b.Now())
			}
			b.left.put(key, nil, err)
			return nil, err
		}
		b.cache.Put(key, got, got.HalfLife())
		b.left.put(key, got, nil)
		return got, nil
	})
	enough := time.NewTimer(cmp.Or(b.Deadline, handlerDeadline) / answerPart * (answerPart - 1))
	defer enough.Stop()
	select {
	case <-ctx.Done():
		return nil, errSlow().Because(ctx.Err())
	case <-enough.C:
		return nil, errSlow()
	case shared := <-result:
		b.left.claim(key)
		if shared.Err != nil {
			return nil, shared.Err
		}
		got, ok := shared.Val.(*session.Session)
		if !ok {
			return nil, errors.New("a flight without a session")
		}
		return got, nil
	}
}

// errSlow is the answer to those who have waited long enough.
func errSlow() *refusal.Error {
	return refusal.New(refusal.Unavailable, "STS has not answered yet; the call goes on, ask again.")
}

// podKey is whose session it is: the pod's; of an unbound token the token's own.
func podKey(i *workload.Identity) string {
	if i.Bound() {
		return i.PodUID
	}
	return "unbound " + i.ServiceAccountUID + " " + i.TokenID
}

func closed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}
