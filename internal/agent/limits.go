package agent

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/limit"
)

// Limits bound what clients can make the agent do (spec podidentity §8).
type Limits struct {
	// PodRate and PodBurst: requests a second of one pod that has credentials.
	PodRate  float64
	PodBurst int
	// FailureRate and FailureBurst: refused tokens a second of one address.
	// Only failures are charged: pods on the host's network share its address.
	FailureRate  float64
	FailureBurst int
	// NodeFailureRate and NodeFailureBurst: refused tokens a second of all addresses.
	// When they are used up, those that have failed lately wait, and the others do not:
	// the upstream limits nodes, and a few pods must not use up what theirs has.
	NodeFailureRate  float64
	NodeFailureBurst int
	// CallRate and CallBurst: calls to the upstream for a pod whose token was verified
	// here, from one address.
	CallRate  float64
	CallBurst int
	// DoubtRate and DoubtBurst: calls to the upstream for tokens that the keys of the
	// issuer, which are known here, do not vouch for; of one address, and of all.
	DoubtRate, AllDoubtRate   float64
	DoubtBurst, AllDoubtBurst int
	// TotalRate is for the whole agent, with a burst of one second.
	TotalRate float64
	// Calls to the upstream that run at a time, and wait; of one address at most
	// CallsPerSource of both.
	Calls, Queue, CallsPerSource int
}

// DefaultLimits are those of the specification.
func DefaultLimits() Limits {
	return Limits{
		PodRate:          50,
		PodBurst:         100,
		FailureRate:      5,
		FailureBurst:     20,
		NodeFailureRate:  5,
		NodeFailureBurst: 50,
		CallRate:         1,
		CallBurst:        5,
		DoubtRate:        1,
		DoubtBurst:       5,
		AllDoubtRate:     5,
		AllDoubtBurst:    20,
		TotalRate:        5000,
		Calls:            16,
		Queue:            256,
		CallsPerSource:   64,
	}
}

// maxSources bounds what is remembered of addresses: a node has far fewer.
const maxSources = 4096

// sources counts the failures and the running calls of client addresses.
type sources struct {
	failures *limit.Rates[netip.Addr]
	all      *rate.Limiter // failures of all
	pods     *limit.Rates[podAt]
	doubts   *limit.Rates[netip.Addr]
	doubted  *rate.Limiter
	most     int // calls of one address

	mu    sync.Mutex
	calls map[netip.Addr]int // of addresses that have one
}

func newSources(limits Limits) *sources {
	return &sources{
		failures: limit.NewRates[netip.Addr](limits.FailureRate, limits.FailureBurst, maxSources),
		all:      rate.NewLimiter(rate.Limit(limits.NodeFailureRate), limits.NodeFailureBurst),
		pods:     limit.NewRates[podAt](limits.CallRate, limits.CallBurst, maxSources),
		doubts:   limit.NewRates[netip.Addr](limits.DoubtRate, limits.DoubtBurst, maxSources),
		doubted:  rate.NewLimiter(rate.Limit(limits.AllDoubtRate), limits.AllDoubtBurst),
		most:     limits.CallsPerSource, calls: map[netip.Addr]int{},
	}
}

// podAt is a pod, and where its token came from: somebody else who has the token does
// not use up what the pod may do.
type podAt struct {
	uid  string
	from netip.Addr
}

// mayFail reports whether the address has failures left. Once the node has none, only
// addresses that have not failed lately do.
func (s *sources) mayFail(address netip.Addr, now time.Time) bool {
	return s.failures.Has(address, now) && (s.all.TokensAt(now) >= 1 || s.failures.Full(address, now))
}

// failed charges one failure.
func (s *sources) failed(address netip.Addr, now time.Time) {
	s.failures.Allow(address, now)
	s.all.AllowN(now, 1)
}

// mayCall charges one call to the upstream for a token, by what local keys made of it.
// It returns the limit that was met, if one was. Where there are no keys, only failures
// are limited.
func (s *sources) mayCall(local verdict, uid string, from netip.Addr, now time.Time) (limit string) {
	switch {
	case local == "", local == keysNotKnown:
	case local == verified:
		if !s.pods.Allow(podAt{uid, from}, now) {
			return "pod-calls"
		}
	case !s.doubts.Allow(from, now), !s.doubted.AllowN(now, 1):
		return "unverified"
	}
	return ""
}

// begin counts a call; false if the address has too many.
func (s *sources) begin(address netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[address] >= s.most {
		return false
	}
	s.calls[address]++
	return true
}

func (s *sources) end(address netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[address]--; s.calls[address] <= 0 {
		delete(s.calls, address)
	}
}

// sourceOf is the address a request came from; it cannot be forged, for the
// connection was made.
func sourceOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // not over TCP: all such share one
	}
	return at.Addr().Unmap()
}
