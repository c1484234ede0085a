package broker

import (
	"time"

	"github.com/rolecall/rolecall/internal/limit"
)

// Limits bound what nodes, pods and strangers can make the broker do (spec
// podidentity §19.8), each as requests a second and at once.
type Limits struct {
	NodeRate, PodRate, FailureRate    float64
	NodeBurst, PodBurst, FailureBurst int
}

// DefaultLimits are those of the specification. Failures are of one address
// whose requests are not authenticated.
func DefaultLimits() Limits {
	return Limits{NodeRate: 20, NodeBurst: 100, PodRate: 1, PodBurst: 5, FailureRate: 5, FailureBurst: 50}
}

// Most that is remembered of each.
const (
	maxNodes = 10000
	maxPods  = 100000
)

// Requests that are served at a time: for sessions, each for a few seconds, and
// polls, one of each node for a minute.
const (
	maxRunning = 2000
	maxPolling = 20000
)

// maxFlying is how many sessions are being taken at a time. Each ends within 15 seconds
// a role, so that --sts-qps 100 needs 1,500 of them while STS takes as long as that.
const maxFlying = 4000

type limits struct{ nodes, pods *limit.Rates[string] }

func newLimits(l Limits) *limits {
	return &limits{
		nodes: limit.NewRates[string](l.NodeRate, l.NodeBurst, maxNodes),
		pods:  limit.NewRates[string](l.PodRate, l.PodBurst, maxPods),
	}
}

func (l *limits) node(name string, now time.Time) bool { return l.nodes.Allow(name, now) }

func (l *limits) pod(key string, now time.Time) bool { return l.pods.Allow(key, now) }

// cool uses up what a pod has left, so that it may ask once a second while STS
// throttles.
func (l *limits) cool(key string, now time.Time) { l.pods.Drain(key, now) }
