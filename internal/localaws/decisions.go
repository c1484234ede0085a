package localaws

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/policy"
)

// Decision is the whole truth about one refusal. It holds no secrets.
type Decision struct {
	RequestID string    `json:"requestId"`
	Time      time.Time `json:"time"`
	// Action is service:Name; service:* where the name is not known.
	Action string `json:"action"`
	// Principal is the caller's ARN; empty if the caller is not known.
	Principal string `json:"principal,omitempty"`
	Account   string `json:"account,omitempty"`
	// Status, Code and Message are what the caller was answered.
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
	// Reason is what AWS does not tell.
	Reason string `json:"reason,omitempty"`
	// Explanation shows every statement that was looked at, when policies
	// decided.
	Explanation *policy.Explanation `json:"explanation,omitempty"`
}

// Text returns the decision for a person, several lines.
func (d Decision) Text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "refused    %s", d.Action)
	if d.Explanation != nil {
		fmt.Fprintf(&out, " on %s", d.Explanation.Resource)
	}
	if d.Principal != "" {
		fmt.Fprintf(&out, "\n  caller   %s", d.Principal)
	}
	fmt.Fprintf(&out, "\n  answer   %d %s: %s", d.Status, d.Code, d.Message)
	if d.Reason != "" {
		fmt.Fprintf(&out, "\n  because  %s", d.Reason)
	}
	fmt.Fprintf(&out, "\n  request  %s\n", d.RequestID)
	return out.String()
}

// note records a refusal, logs it and tells whoever wants to know.
func (s *Server) note(a *ask, answer *wire.Answer, refused *wire.Error) {
	said := answer.Protocol.Translate(refused)
	decision := Decision{
		RequestID: answer.RequestID, Time: a.Time.UTC(), Action: a.action(), Status: said.Status, Code: said.Code, Message: said.Message,
		Reason: refused.Reason, Explanation: refused.Explanation,
	}
	if decision.Explanation != nil {
		decision.Action = decision.Explanation.Action
	}
	if a.Caller != nil {
		decision.Principal, decision.Account = a.Caller.Principal.ARN, a.Account.ID
	}
	s.log.Info("refused",
		obs.KeyRequestID, decision.RequestID, obs.KeyAction, decision.Action, obs.KeyPrincipal, decision.Principal, "code", decision.Code, obs.KeyReason, decision.Reason)
	s.decisions.add(decision)
	if s.explain != nil {
		s.explain(decision)
	}
}

// Limits of what is kept: so many refusals, and of those with an explanation
// that is longer than a person would read only the reason.
const (
	keptDecisions = 1000
	maxStatements = 200
)

// decisions keeps the last refusals. The zero value is empty.
type decisions struct {
	mu   sync.Mutex
	ring []Decision
	next int // where the oldest is, once the ring is full
}

func (d *decisions) add(one Decision) {
	if one.Explanation != nil {
		statements := 0
		for _, document := range one.Explanation.Documents {
			statements += len(document.Statements)
		}
		if statements > maxStatements {
			one.Explanation = nil
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ring) < keptDecisions {
		d.ring = append(d.ring, one)
		return
	}
	d.ring[d.next] = one
	d.next = (d.next + 1) % keptDecisions
}

// all returns what is kept, the newest first.
func (d *decisions) all() []Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := append(slices.Clone(d.ring[d.next:]), d.ring[:d.next]...)
	slices.Reverse(kept)
	return kept
}

func (d *decisions) get(id string) (Decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.ring, func(one Decision) bool { return one.RequestID == id }); i >= 0 {
		return d.ring[i], true
	}
	return Decision{}, false
}

func (d *decisions) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring, d.next = nil, 0
}
