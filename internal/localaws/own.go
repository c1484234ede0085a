package localaws

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/faults"
)

// ownPrefix begins the paths that are ours and not AWS's.
const ownPrefix = "/_rolecall/"

// maxOwnBody is the largest body of a request to our own paths.
const maxOwnBody = 64 << 10

// ownPaths serves our own paths. All but health are only for programs on this
// machine, never for others and never for web pages.
func (s *Server) ownPaths() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_rolecall/health", func(w http.ResponseWriter, _ *http.Request) {
		writeOwn(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	local := func(pattern string, handler http.HandlerFunc) { mux.Handle(pattern, localOnly(handler)) }
	local("GET /_rolecall/decisions", s.listDecisions)
	local("GET /_rolecall/decisions/{id}", s.getDecision)
	local("DELETE /_rolecall/decisions", func(w http.ResponseWriter, _ *http.Request) {
		s.decisions.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	withFaults := func(pattern string, handler http.HandlerFunc) {
		local(pattern, func(w http.ResponseWriter, r *http.Request) {
			if s.faults == nil {
				ownError(w, http.StatusNotFound, "faults and the clock are off: start with --faults")
				return
			}
			handler(w, r)
		})
	}
	withFaults("GET /_rolecall/faults", func(w http.ResponseWriter, _ *http.Request) {
		writeOwn(w, http.StatusOK, map[string]any{"faults": s.faults.All()})
	})
	withFaults("POST /_rolecall/faults", s.addFault)
	withFaults("DELETE /_rolecall/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.Delete("")
		w.WriteHeader(http.StatusNoContent)
	})
	withFaults("DELETE /_rolecall/faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if id := r.PathValue("id"); !s.faults.Delete(id) {
			ownError(w, http.StatusNotFound, "there is no fault "+strconv.Quote(id))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	withFaults("GET /_rolecall/clock", func(w http.ResponseWriter, _ *http.Request) { s.showClock(w) })
	withFaults("POST /_rolecall/clock", s.moveClock)
	withFaults("DELETE /_rolecall/clock", func(w http.ResponseWriter, _ *http.Request) {
		s.clock.Reset()
		s.showClock(w)
	})
	mux.HandleFunc(ownPrefix, func(w http.ResponseWriter, _ *http.Request) {
		ownError(w, http.StatusNotFound, "the only paths are health, decisions, faults and clock")
	})
	return mux
}

// localOnly lets only callers through whose address and Host header are those
// of this machine: a name that resolves to it (DNS rebinding) is not enough,
// and neither is a web page, whose browser would send its Origin.
func localOnly(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() || !isLoopbackHost(r.Host) || r.Header.Get("Origin") != "" {
			ownError(w, http.StatusForbidden, "only for programs on this machine, over a loopback address")
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

func (s *Server) listDecisions(w http.ResponseWriter, r *http.Request) {
	kept := s.decisions.all()
	if text := r.URL.Query().Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 0 {
			ownError(w, http.StatusBadRequest, "limit: must be a number")
			return
		}
		kept = kept[:min(limit, len(kept))]
	}
	writeOwn(w, http.StatusOK, map[string]any{"decisions": kept})
}

func (s *Server) getDecision(w http.ResponseWriter, r *http.Request) {
	decision, found := s.decisions.get(r.PathValue("id"))
	if !found {
		ownError(w, http.StatusNotFound, "no refusal with this request id is kept")
		return
	}
	writeOwn(w, http.StatusOK, decision)
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) {
	var asked faults.Fault
	if !readOwn(w, r, &asked) {
		return
	}
	added, err := s.faults.Add(asked)
	if err != nil {
		ownError(w, http.StatusBadRequest, err.Error())
		return
	}
	writeOwn(w, http.StatusCreated, added)
}

func (s *Server) moveClock(w http.ResponseWriter, r *http.Request) {
	var move struct {
		Set     *time.Time `json:"set"`
		Advance string     `json:"advance"`
	}
	if !readOwn(w, r, &move) {
		return
	}
	by, err := time.ParseDuration(move.Advance)
	switch {
	case move.Set != nil && move.Advance == "":
		s.clock.Set(*move.Set)
	case move.Set == nil && err == nil:
		s.clock.Advance(by)
	default:
		ownError(w, http.StatusBadRequest, `want {"set": "2026-09-01T12:00:00Z"} or {"advance": "1h"}`)
		return
	}
	s.showClock(w)
}

func (s *Server) showClock(w http.ResponseWriter) {
	writeOwn(w, http.StatusOK, map[string]string{
		"now":    s.clock.Now().UTC().Format(time.RFC3339Nano),
		"offset": s.clock.Offset().String(),
	})
}

// readOwn decodes a JSON body strictly. Only application/json is read, which no
// web page can send to another origin without asking.
func readOwn(w http.ResponseWriter, r *http.Request, into any) bool {
	if contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		contentType != "application/json" {
		ownError(w, http.StatusUnsupportedMediaType, "must be application/json")
		return false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOwnBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		ownError(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

func ownError(w http.ResponseWriter, status int, text string) {
	writeOwn(w, status, map[string]string{"error": text})
}

func writeOwn(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone away
}
