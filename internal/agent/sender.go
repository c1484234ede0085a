package agent

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// elsewhere refuses a token before it costs a call, when its pod is known to send
// from other addresses. It relies on what the token says of itself, which is
// enough for a refusal.
func (a *Agent) elsewhere(podUID string, from netip.Addr) *refusal {
	if !a.config.VerifySource || podUID == "" {
		return nil
	}
	if yes, unknown := a.config.Pods.sends(podUID, from); !yes && unknown == nil {
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
		yes, changing := a.config.Pods.sends(podUID, from)
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

func refuseSender() *refusal {
	return &refusal{
		status: http.StatusForbidden,
		code:   "AccessDenied",
		text:   "Access Denied. The service account token belongs to a pod with other addresses",
		advice: "The agent runs with --verify-source-ip: a pod's token is accepted from the pod's own addresses only.",
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
