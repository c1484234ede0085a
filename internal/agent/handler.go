package agent

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/credential"
)

// Path is the one route there is.
const Path = "/v1/credentials"

// Where an answer came from, for logs and metrics.
const (
	sourceCache    = "cache"
	sourceRefresh  = "refresh"
	sourceUpstream = "upstream"
	sourceNegative = "negative"
	sourceRejected = "rejected"
)

// ServeHTTP answers the credential route, and 404 for everything else. A path
// that cleans to the route is the route: no SDK follows redirects with its
// token.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if at := r.URL.EscapedPath(); at != Path && (strings.HasSuffix(at, "/") || path.Clean(at) != Path) {
		http.NotFound(w, r)
		return
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // nobody reads the body
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	start := a.config.Now()
	answer := a.answer(r, start)
	status := http.StatusOK
	if answer.refused == nil {
		writeSession(w, answer.session)
	} else {
		status = a.refuse(w, r, &answer)
	}
	a.metrics.answered(status, answer.source, a.config.Now().Sub(start))
}

// outcome is a session or a refusal, and where it came from.
type outcome struct {
	session *session
	refused *refusal
	source  string
	// claimed is whom the token says it is for, if it could be read at all.
	claimed identity
	// ends is when the token says that it expires; zero if that is not known.
	ends time.Time
}

func rejected(r *refusal) outcome { return outcome{refused: r, source: sourceRejected} }

// answer makes the checks in the order of spec podidentity §4.2.
func (a *Agent) answer(r *http.Request, now time.Time) outcome {
	if !a.total.AllowN(now, 1) {
		return rejected(refuseLimit("agent"))
	}
	if !a.hosts.accept(r.Host) {
		return rejected(refuseHost(r.Host, a.hosts.shown))
	}
	raw := bearer(r.Header)
	if raw == "" {
		return rejected(refuseEmpty())
	}
	// Only a token that was accepted finds anything, and only the very same: its
	// signature is part of what is hashed.
	print := fingerprint(sha256.Sum256([]byte(raw)))
	if f, hit := a.cache.lookup(print, raw, now); hit {
		return a.handOut(r, a.serve(r.Context(), f, now), now)
	}
	from := sourceOf(r)
	if !a.sources.mayFail(from, now) {
		return rejected(refuseLimit("source"))
	}
	p, refused := peek(raw, now)
	if refused != nil {
		answer := a.fail(from, now, refused)
		if p != nil {
			answer.claimed, answer.ends = p.identity(), p.expiry
		}
		return answer
	}
	answer := a.unknown(r.Context(), print, p, raw, from, now)
	answer.claimed, answer.ends = p.identity(), p.expiry
	return a.handOut(r, answer, now)
}

// handOut looks once more before a session leaves: the client must be in its
// pod.
func (a *Agent) handOut(r *http.Request, answer outcome, now time.Time) outcome {
	if answer.session == nil || !a.config.VerifySource {
		return answer
	}
	from := sourceOf(r)
	if refused := a.sent(
		r.Context(), answer.claimed.podUID, from, now.Add(a.config.ForegroundDeadline),
	); refused != nil {
		claimed, ends := answer.claimed, answer.ends
		answer = a.fail(from, now, refused)
		answer.claimed, answer.ends = claimed, ends
	}
	return answer
}

// fail charges a refused token to the address it came from.
func (a *Agent) fail(from netip.Addr, now time.Time, refused *refusal) outcome {
	if !a.sources.mayFail(from, now) {
		return rejected(refuseLimit("source"))
	}
	a.sources.failed(from, now)
	return rejected(refused)
}

// unknown answers a token that no entry is linked to.
func (a *Agent) unknown(
	ctx context.Context, print fingerprint, p *peeked, raw string, from netip.Addr, now time.Time,
) outcome {
	if refused, known := a.refused.Get(print, now); known {
		return outcome{refused: refused, source: sourceNegative}
	}
	if refused := a.elsewhere(p.identity().podUID, from); refused != nil {
		return a.fail(from, now, refused)
	}
	var local verdict
	if a.config.Keys != nil {
		var refused *refusal
		local, refused = a.config.Keys.verify(ctx, credential.NewSecret(raw), p, a.config.Node, now)
		a.metrics.localVerify(local)
		if refused != nil {
			return a.fail(from, now, refused)
		}
		if local == verified {
			if f, linked := a.cache.link(print, p, credential.NewSecret(raw), now); linked {
				return a.serve(ctx, f, now)
			}
		}
	}
	made, refused := a.fetch(ctx, print, p, raw, local, from)
	return outcome{session: made, refused: refused, source: sourceUpstream}
}

// serve answers from an entry, renewed first if it is near its end or its
// association is newer.
func (a *Agent) serve(ctx context.Context, f found, now time.Time) outcome {
	if f.limited {
		answer := rejected(refuseLimit("pod"))
		answer.claimed = f.entry.id
		return answer
	}
	if f.session.fresh(now) && !f.stale {
		return outcome{session: f.session, source: sourceCache, claimed: f.entry.id}
	}
	made, source := a.refresh(ctx, f, now)
	return outcome{session: made, source: source, claimed: f.entry.id}
}

// Values of headers that never change; the map takes them as they are.
var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

func writeSession(w http.ResponseWriter, s *session) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Cache-Control"] = noStore
	header["Content-Length"] = s.length
	_, _ = io.WriteString(w, s.body.Reveal())
}

func (a *Agent) refuse(w http.ResponseWriter, r *http.Request, answer *outcome) int {
	id := uuid.NewString()
	if a.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	status := answer.refused.write(w, id, a.config.PlainErrors)
	if answer.refused.limit != "" {
		a.metrics.limited(answer.refused.limit)
	}
	a.logRefusal(r, answer, id, status)
	return status
}
