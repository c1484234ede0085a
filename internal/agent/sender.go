package agent

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// elsewhere refuses a token before it costs a call, when its pod is known to send
// from other addresses. It relies on what the token says of itself, which is
// enough for a refusal.
func (a *Agent) elsewhere(podUID string, from netip.Addr) *refusal {
	if !a.config.VerifySource || podUID == "" {
		return nil
	}
	if yes, unknown := a.config.Pods.sends(podUID, from, a.own.has); !yes && unknown == nil {
		return refuseSender()
	}
	return nil
}

// sent compares the address of a request with those of the pod that its token
// was accepted for (spec podidentity §20). A pod that is not known here yet is
// waited for until a time. A token without a pod has no address to compare
// with.
func (a *Agent) sent(ctx context.Context, podUID string, from netip.Addr, until time.Time) *refusal {
	if podUID == "" {
		return nil
	}
	var deadline <-chan time.Time
	for {
		yes, changing := a.config.Pods.sends(podUID, from, a.own.has)
		switch {
		case yes:
			return nil
		case changing == nil:
			return refuseSender()
		case deadline == nil:
			timer := time.NewTimer(until.Sub(a.config.Now()))
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-changing:
		case <-deadline:
			return refuseUnknownPod()
		case <-ctx.Done():
			return refuseUnknownPod()
		}
	}
}

// ownKept is how long the node's addresses are believed, and ownPause how long it takes
// at least until they are read again for an address that is not among them.
const (
	ownKept  = 10 * time.Second
	ownPause = time.Second
)

// ownAddresses are those of this node, from which its pods on the host's network ask:
// the agent is on it too.
type ownAddresses struct {
	list func() ([]net.Addr, error)
	now  func() time.Time

	mu   sync.Mutex
	all  map[netip.Addr]bool
	read time.Time
}

// has reports whether the node has an address. If the addresses cannot be read, only
// those of loopback are its own.
func (o *ownAddresses) has(address netip.Addr) bool {
	if address.IsLoopback() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	age := o.now().Sub(o.read)
	if o.read.IsZero() || age >= ownKept || age < 0 || (!o.all[address] && age >= ownPause) {
		o.all, o.read = map[netip.Addr]bool{}, o.now()
		found, err := o.list()
		if err != nil {
			found = nil
		}
		for _, one := range found {
			if prefix, err := netip.ParsePrefix(one.String()); err == nil {
				o.all[prefix.Addr().Unmap().WithZone("")] = true
			}
		}
	}
	return o.all[address]
}

func refuseSender() *refusal {
	return &refusal{
		status: http.StatusForbidden,
		code:   "AccessDenied",
		text:   "Access Denied. The service account token belongs to a pod with other addresses",
		advice: "The agent runs with --verify-source-ip: a pod's token is accepted from the pod's own addresses only, " +
			"or from the node's if the pod is on the host's network.",
	}
}

func refuseUnknownPod() *refusal {
	return &refusal{
		status:      http.StatusServiceUnavailable,
		code:        "ServiceUnavailableException",
		class:       transient,
		text:        "the addresses of the token's pod are not known on this node yet, ask again",
		plainStatus: http.StatusInternalServerError,
		plainText:   "[]",
	}
}
