package agent

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/internal/obs"
)

// Keys of log lines, beside those of package obs (spec podidentity §9.3).
const (
	keyNamespace         = obs.KeyNamespace
	keyServiceAccount    = obs.KeyServiceAccount
	keyUpstreamRequestID = "upstreamRequestID"
	keyCode              = "code"
)

const (
	foldPeriod = time.Minute
	maxFolded  = 1024
)

// folder folds what repeats into one line a minute with a count.
type folder struct {
	mu    sync.Mutex
	known *limit.LRU[foldKey, *folded]
}

type foldKey struct {
	id     identity
	source string
	code   string
}

type folded struct {
	since    time.Time
	repeated int
}

func newFolder() *folder { return &folder{known: limit.NewLRU[foldKey, *folded](maxFolded)} }

// show reports whether to write the line now, and how many were left out since
// the last.
func (f *folder) show(key foldKey, now time.Time) (left int, show bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, found := f.known.Get(key)
	if found && now.Sub(one.since) < foldPeriod {
		one.repeated++
		return 0, false
	}
	if found {
		left = one.repeated
	}
	f.known.Put(key, &folded{since: now})
	return left, true
}

func (a *Agent) identityLog(id identity) *slog.Logger {
	return a.config.Log.With(
		keyNamespace, id.namespace, keyServiceAccount, id.serviceAccount, "pod", id.pod, "podUID", id.podUID,
	)
}

// logCall writes one line for a session that the upstream gave.
func (a *Agent) logCall(message string, id identity, s *session, upstreamRequestID string, took time.Duration) {
	log := a.identityLog(id)
	//nolint:sloglint // both callers pass a constant
	log.Info(message, keyUpstreamRequestID, upstreamRequestID, "node", a.config.Node, "associationID", s.associationID,
		"roleARN", s.roleARN, "accessKeyTail", s.keyTail, "expires", s.expires, "ms", took.Milliseconds())
}

// logRefusal names whom the token claims to be for. That is unverified, which
// the key of the line says.
func (a *Agent) logRefusal(r *http.Request, answer *outcome, id string, status int) {
	from := sourceOf(r).String()
	left, show := a.folded.show(foldKey{answer.claimed, from, answer.refused.code}, a.config.Now())
	if !show {
		return
	}
	var more []any
	if !answer.ends.IsZero() {
		more = append(more, "tokenExpires", answer.ends.UTC().Format(time.RFC3339))
	}
	if answer.refused.advice != "" {
		more = append(more, "hint", answer.refused.advice)
	}
	if answer.refused.cause != "" {
		more = append(more, "error", answer.refused.cause)
	}
	a.config.Log.With(more...).Info("credentials refused", obs.KeyRequestID, id, keyUpstreamRequestID, answer.refused.requestID,
		"client", from,
		"claimed", slog.GroupValue(
			slog.String(keyNamespace, cut(answer.claimed.namespace, 63)), slog.String(
				keyServiceAccount, cut(answer.claimed.serviceAccount, 253),
			),
			slog.String("pod", cut(answer.claimed.pod, 253)), slog.String("podUID", cut(answer.claimed.podUID, 64))),
		"status", status, keyCode, answer.refused.code, "source", answer.source, "limit", answer.refused.limit,
		obs.KeyReason, answer.refused.text, "repeated", left)
}
