package localaws

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

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
	// Reason is what AWS does not say.
	Reason string `json:"reason,omitempty"`
	// Explanation shows every statement that was looked at, when policies
	// decided.
	Explanation *policy.Explanation `json:"explanation,omitempty"`
}

// Text returns the decision for a person: a line for each fact. Callers chose
// some of the words, so nothing in them may move a terminal's cursor.
func (d Decision) Text() string {
	lines := []string{"refused    " + d.Action}
	if d.Status == http.StatusNotImplemented {
		lines[0] = "allowed, but not emulated: " + d.Action
	}
	if d.Explanation != nil {
		lines[0] += " on " + d.Explanation.Resource
	}
	if d.Principal != "" {
		lines = append(lines, "  caller   "+d.Principal)
	}
	lines = append(lines, fmt.Sprintf("  answer   %d %s: %s", d.Status, d.Code, d.Message))
	if d.Reason != "" {
		lines = append(lines, "  because  "+d.Reason)
	}
	lines = append(lines, "  request  "+d.RequestID)
	for i, line := range lines {
		lines[i] = strings.Map(printable, line) + "\n"
	}
	return strings.Join(lines, "")
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// note records a refusal, logs it and reports it to Config.Explain.
func (s *Server) note(a *ask, answer *wire.Answer, refused *wire.Error) {
	said := answer.Protocol.Translate(refused)
	decision := Decision{
		RequestID:   answer.RequestID,
		Time:        a.Time.UTC(),
		Action:      a.action(),
		Status:      said.Status,
		Code:        said.Code,
		Message:     shorten(said.Message),
		Reason:      shorten(refused.Reason),
		Explanation: refused.Explanation,
	}
	if decision.Explanation != nil {
		decision.Action = decision.Explanation.Action
	}
	if a.Caller != nil {
		decision.Principal = a.Caller.Principal.ARN
	}
	if a.Account != nil {
		decision.Account = a.Account.ID
	}
	s.keep(decision)
}

// Note records a refusal of a server beside this one, as one of its own.
func (s *Server) Note(decision Decision) {
	decision.Message, decision.Reason = shorten(decision.Message), shorten(decision.Reason)
	s.keep(decision)
}

// Forget drops all refusals that are kept.
func (s *Server) Forget() { s.decisions.clear() }

func (s *Server) keep(decision Decision) {
	s.log.Info("refused",
		obs.KeyRequestID, decision.RequestID, obs.KeyAction, decision.Action, obs.KeyPrincipal, decision.Principal,
		"code", decision.Code, obs.KeyReason, decision.Reason)
	s.decisions.add(decision)
	if s.explain != nil {
		s.explain(decision)
	}
}

// Limits of what is kept, so that nobody can fill the memory with refusals.
const (
	keptDecisions  = 1000
	maxText        = 4 << 10
	maxExplanation = 64 << 10 // of texts; of a longer one only the reason is kept
)

func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// size is how much text an explanation holds, roughly.
func size(e *policy.Explanation) int {
	total := 0
	for _, document := range e.Documents {
		for _, statement := range document.Statements {
			total += 200
			for _, entry := range statement.Principal.Entries {
				total += len(entry.Value) + len(entry.Note)
			}
			for _, entry := range statement.Action.Entries {
				total += len(entry.Pattern)
			}
			for _, entry := range statement.Resource.Entries {
				total += len(entry.Pattern) + len(entry.Resolved) + len(entry.Wanted) + len(entry.Got)
			}
			for _, condition := range statement.Conditions {
				total += 100 + len(condition.Key) + length(condition.Wanted) + length(condition.Got)
			}
		}
	}
	return total
}

func length(texts []string) int {
	total := 0
	for _, text := range texts {
		total += len(text)
	}
	return total
}

// decisions keeps the last refusals. The zero value is empty.
type decisions struct {
	mu   sync.Mutex
	ring []Decision
	next int // where the oldest is, once the ring is full
}

func (d *decisions) add(one Decision) {
	if one.Explanation != nil && size(one.Explanation) > maxExplanation {
		one.Explanation = nil
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
