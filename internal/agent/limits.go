package agent

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

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
	// TotalRate is for the whole agent, with a burst of one second.
	TotalRate float64
	// Calls to the upstream that run at a time, and wait; of one address at most
	// CallsPerSource of both.
	Calls, Queue, CallsPerSource int
}

// DefaultLimits are those of the specification.
func DefaultLimits() Limits {
	return Limits{
		PodRate:        50,
		PodBurst:       100,
		FailureRate:    5,
		FailureBurst:   20,
		TotalRate:      5000,
		Calls:          16,
		Queue:          256,
		CallsPerSource: 64,
	}
}

// maxSources bounds what is remembered of addresses: a node has far fewer.
const maxSources = 4096

// sources counts the failures and the running calls of client addresses.
type sources struct {
	failures *limit.Rates[netip.Addr]
	most     int // calls of one address

	mu    sync.Mutex
	calls map[netip.Addr]int // of addresses that have one
}

func newSources(limits Limits) *sources {
	return &sources{
		failures: limit.NewRates[netip.Addr](limits.FailureRate, limits.FailureBurst, maxSources),
		most:     limits.CallsPerSource, calls: map[netip.Addr]int{},
	}
}

// mayFail reports whether the address has failures left.
func (s *sources) mayFail(address netip.Addr, now time.Time) bool {
	return s.failures.Has(address, now)
}

// failed charges one failure.
func (s *sources) failed(address netip.Addr, now time.Time) { s.failures.Allow(address, now) }

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
