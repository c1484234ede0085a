// Package agent is the node agent of Pod Identity: it answers pods that ask
// http://169.254.170.23/v1/credentials with AWS credentials of their own, which
// it gets from EKS Auth or a broker, keeps in memory and renews.
//
// It decides nothing about who may have which role, believes nothing of a token
// that the upstream or a local key has not accepted, and writes no credentials
// to disk; to a file in memory only when it is told to.
package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/internal/patience"
)

// Config is what an agent is made of. Start from Defaults; Cluster, Upstream,
// Metrics, Log and Now are needed.
type Config struct {
	// Cluster is the name in the upstream's path.
	Cluster  string
	Upstream Upstream
	// Changes tells of changes of associations; nil if the upstream does not. It
	// needs Node.
	Changes ChangeSource
	// AllowedHosts are accepted in the Host header beside the protocol's own.
	AllowedHosts []netip.Addr
	// Keys verifies rotated tokens; nil leaves all to the upstream.
	Keys *Keys
	// Pods says which pods of the node are gone; nil means nobody knows.
	Pods *Pods
	// VerifySource refuses a pod's token from addresses other than the pod's; pods
	// on the host's network may use those of the node. It needs Pods.
	VerifySource bool
	// NodeAddresses are those of the node, as net.InterfaceAddrs lists them.
	NodeAddresses func() ([]net.Addr, error)
	// Node is this node's name; tokens that a local key verifies must name it,
	// if they name one.
	Node string

	// CacheSize is how many pods are kept; 0 keeps none.
	CacheSize int
	// Retention and RefreshFraction say when a session is renewed: at this age,
	// or this part of its life, whichever comes first. Retention 0 keeps none.
	Retention       time.Duration
	RefreshFraction float64
	// RenewRate is how many renewals may begin per second.
	RenewRate float64
	// MinServeTTL: credentials that expire within it are not handed out.
	MinServeTTL time.Duration
	// ForegroundDeadline is how long a pod without credentials waits; twice that if it
	// was told to ask again.
	ForegroundDeadline time.Duration
	// PlainErrors are the reference's texts instead of JSON.
	PlainErrors bool
	// LegacyMetrics keeps the reference's three metrics beside ours.
	LegacyMetrics bool
	Limits        Limits
	// StateFile, if set, keeps sessions for the next agent. They are live
	// credentials; see Restore.
	StateFile string

	Metrics prometheus.Registerer
	Log     *slog.Logger
	Now     func() time.Time
	// Rand is random in [0, 1), for jitter.
	Rand func() float64
}

// Defaults returns the settings of the specification.
func Defaults() Config {
	return Config{
		CacheSize:          2000,
		Retention:          3 * time.Hour,
		RefreshFraction:    0.5,
		RenewRate:          3,
		MinServeTTL:        15 * time.Second,
		ForegroundDeadline: 900 * time.Millisecond,
		LegacyMetrics:      true,
		Limits:             DefaultLimits(),
		NodeAddresses:      net.InterfaceAddrs,
		Rand:               rand.Float64,
	}
}

// Agent answers pods. It is an http.Handler for every listener.
type Agent struct {
	config  Config
	hosts   hosts
	cache   *cache
	refused *limit.Cache[fingerprint, *refusal]
	sources *sources
	total   *rate.Limiter
	own     *ownAddresses
	gate    *gate
	pace    *pace
	flights singleflight.Group
	// patience is what the upstream has lately taken.
	patience patience.Patience
	// told are the tokens whose pods were told that their call goes on.
	told *limit.Cache[fingerprint, struct{}]
	// work are the calls that run; they outlive the requests that began them.
	work     work
	draining atomic.Bool
	metrics  *metrics
	folded   *folder
	// saved is the checksum of what the state file holds.
	saved [sha256.Size]byte
}

// New makes an agent and registers its metrics. Run renews.
func New(config Config) (*Agent, error) {
	if config.Retention == 0 {
		config.CacheSize = 0
	}
	if config.VerifySource && config.Pods == nil {
		return nil, fault.New(
			fault.Usage, "pods' addresses cannot be verified: the pods of this node are not watched",
		).Hint("--verify-source-ip needs NODE_NAME, and an API server that lets the agent watch pods")
	}
	a := &Agent{
		config:  config,
		hosts:   newHosts(config.AllowedHosts),
		refused: limit.NewCache[fingerprint, *refusal](maxNegatives),
		sources: newSources(config.Limits),
		total:   rate.NewLimiter(rate.Limit(config.Limits.TotalRate), max(1, int(config.Limits.TotalRate))),
		gate:    newGate(config.Limits.Calls, config.Limits.Queue),
		pace:    newPace(config.RenewRate),
		folded:  newFolder(),
		own:     &ownAddresses{list: config.NodeAddresses, now: config.Now},
		told:    limit.NewCache[fingerprint, struct{}](maxNegatives),
	}
	var err error
	if a.metrics, err = newMetrics(
		config, func() (int, time.Duration, bool) { return a.cache.state(config.Now()) },
	); err != nil {
		return nil, err
	}
	a.cache = newCache(config.CacheSize, policy{
		fraction:  config.RefreshFraction,
		retention: config.Retention,
		minServe:  config.MinServeTTL,
		podRate:   rate.Limit(config.Limits.PodRate),
		podBurst:  config.Limits.PodBurst,
		rand:      config.Rand,
	}, func() { a.metrics.evicted("size") })
	return a, nil
}

// Run renews sessions until ctx is done, then waits for the calls that run.
func (a *Agent) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { a.renewLoop(ctx) })
	parts.Go(func() { a.ownLoop(ctx) })
	if a.config.StateFile != "" {
		parts.Go(func() { a.saveLoop(ctx) })
	}
	if a.config.Changes != nil {
		parts.Go(func() { a.changesLoop(ctx) })
	}
	if a.config.Keys != nil {
		parts.Go(func() { _ = a.config.Keys.Run(ctx, a.config.Log) }) // ends with ctx
	}
	<-ctx.Done()
	a.draining.Store(true)
	parts.Wait()
	a.work.close()
	if a.config.StateFile != "" {
		a.saveState()
	}
	return nil
}

// ownLoop keeps the agent's own credentials ready, so that no pod waits for
// them.
func (a *Agent) ownLoop(ctx context.Context) {
	failing := false
	for {
		if err := a.config.Upstream.Ready(ctx); err != nil && ctx.Err() == nil && !failing {
			a.config.Log.Warn("no credentials of our own for the upstream", "error", err)
			failing = true
		} else if err == nil {
			failing = false
		}
		pause := time.Minute
		if failing {
			pause = 5 * time.Second
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// Ready reports whether the upstream could be asked now.
func (a *Agent) Ready(ctx context.Context) error { return a.config.Upstream.Ready(ctx) }

// fetch gets the session of a token that nothing here knows. Requests with one
// token share one call, which goes on when they leave.
func (a *Agent) fetch(
	ctx context.Context, print fingerprint, p *peeked, raw string, local verdict, source netip.Addr,
) (*session, *refusal) {
	if a.draining.Load() {
		return nil, refuseDraining()
	}
	// The client may leave; what was begun for it serves its next try.
	detached := context.WithoutCancel(ctx)
	result := a.flights.DoChan(string(print[:]), func() (any, error) {
		if !a.work.begin() {
			return nil, refuseDraining()
		}
		defer a.work.end()
		return a.fetchOnce(detached, print, p, credential.NewSecret(raw), local, source)
	})
	deadline := time.NewTimer(a.foreground(print))
	defer deadline.Stop()
	select {
	case done := <-result:
		if done.Err != nil {
			return nil, refuseUpstream(done.Err)
		}
		return done.Val.(*session), nil //nolint:forcetypeassert // what the function above returns
	case <-deadline.C:
		a.told.Put(print, struct{}{}, a.config.Now().Add(toldFor))
		return nil, refuseSlow()
	case <-ctx.Done():
		return nil, refuseSlow()
	}
}

// toldFor is how long it is remembered that a pod was told to ask again; SDKs pause a
// second or two.
const toldFor = 10 * time.Second

// foreground is how long a pod waits for its call. The SDKs that give up first do so
// after one second, and then ask again like all others; but the next time others wait
// for two, so that an answer which is on its way meets them (spec podidentity §6.3).
func (a *Agent) foreground(print fingerprint) time.Duration {
	if _, again := a.told.Get(print, a.config.Now()); again {
		return 2 * a.config.ForegroundDeadline
	}
	return a.config.ForegroundDeadline
}

func (a *Agent) fetchOnce(
	ctx context.Context, print fingerprint, p *peeked, raw credential.Secret, local verdict, source netip.Addr,
) (*session, error) {
	// Another call may have ended between the look into the cache and now.
	if f, hit := a.cache.lookup(print, raw.Reveal(), a.config.Now()); hit {
		return f.session, nil
	}
	if met := a.sources.mayCall(local, p.identity().podUID, source, a.config.Now()); met != "" {
		return nil, refuseLimit(met)
	}
	if !a.sources.begin(source) {
		return nil, refuseLimit("source-calls")
	}
	defer a.sources.end(source)
	waiting, cancel := context.WithTimeout(ctx, callDeadline)
	leave, err := a.gate.enter(waiting, source.String())
	cancel()
	switch {
	case errors.Is(err, errQueueFull):
		return nil, refuseLimit("queue")
	case err != nil:
		return nil, refuseSlow()
	}
	defer leave()
	start := a.config.Now()
	made, answer, err := a.call(ctx, raw)
	if err != nil {
		refused := refuseUpstream(err)
		a.remember(print, refused, a.config.Now())
		// A pod without an association is not guessing tokens, and on the
		// host's network it must not use up the failures that its neighbours
		// have left.
		if refused.code == "InvalidTokenException" || refused.code == "ExpiredTokenException" {
			a.sources.failed(source, a.config.Now())
		}
		return nil, err
	}
	id := a.granted(p.identity(), answer.Namespace, answer.ServiceAccount)
	a.logCall("credentials fetched", id, made, answer.RequestID, a.config.Now().Sub(start))
	// A pod that is known to be gone may have what the upstream gives, but
	// nothing is kept for it.
	if a.config.Pods == nil || !a.config.Pods.gone(id.podUID, a.config.Now()) {
		a.cache.store(print, p, id, raw, made)
	}
	return made, nil
}

// granted is whom the upstream's answer is for. The token was accepted, so what
// it says of its pod is true; if the upstream read another account in it, the
// two read tokens differently, and the session is kept for this one token only.
func (a *Agent) granted(id identity, namespace, serviceAccount string) identity {
	if id.namespace == namespace && id.serviceAccount == serviceAccount {
		return id
	}
	if id != (identity{}) {
		a.config.Log.Warn(
			"upstream names another service account than the token", keyNamespace, namespace, keyServiceAccount,
			serviceAccount,
		)
	}
	return identity{namespace: namespace, serviceAccount: serviceAccount}
}

// work counts what runs, so that the agent ends after it. The zero value is
// ready.
type work struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin reports whether more may run; then end must be called. To add to a group
// that is already waited for would be a race, so nothing more begins once the
// agent waits.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.running.Add(1)
	return true
}

func (w *work) end() { w.running.Done() }

// close lets nothing more begin, and waits for what runs.
func (w *work) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.running.Wait()
}
