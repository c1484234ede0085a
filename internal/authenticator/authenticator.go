// Package authenticator answers the API server's question whose token this is: a
// TokenReview over HTTP, of which the answer is the Kubernetes user that an IAM identity
// is in this cluster (spec authenticator §4).
//
// STS says who signed a token (package identify), mappings say who that is in the cluster
// (package access). What is here is how the question is read, how the answer is written,
// and how every refusal is told: with one reason, in a log line and a metric. A refusal
// that is not understood is a refusal.
//
// It does not say what a user may do: that is RBAC's.
package authenticator

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// Path is where API servers ask.
const Path = "/authenticate"

// maxBody is the longest TokenReview, in bytes: a token is at most 16 KiB.
const maxBody = 1 << 20

// patience is how long one question may take with all that it waits for. API servers wait
// for 30 seconds.
const patience = 14 * time.Second

// Config is what a Server is made of.
type Config struct {
	// Cluster is the name that tokens must be made for.
	Cluster string
	// Identify says whose a token is; its errors are *identify.Error.
	Identify func(ctx context.Context, token credential.Secret, from string) (*callerid.Identity, error)
	// Resolve says who that is in the cluster.
	Resolve func(ctx context.Context, who *callerid.Identity) (*access.User, *Refusal)
	// Scrubbed are accounts whose ARNs and ids are told nobody.
	Scrubbed []string
	// CacheDenials answers tokens that can never become good with status 200, so that API
	// servers remember that.
	CacheDenials bool
	// TellWhy puts the reason of a refusal into the answer.
	TellWhy bool
	// NeedsClient refuses callers without a client certificate that was verified.
	NeedsClient bool
	Metrics     *Metrics
	Log         *slog.Logger
	Now         func() time.Time
}

// Server answers API servers. It is safe for concurrent use.
type Server struct {
	Config
	start string
	count atomic.Uint64
}

// New makes a server.
func New(config Config) *Server {
	return &Server{Config: config, start: strconv.FormatInt(config.Now().UnixNano()&0xffffff, 36)}
}

// asked is one question, as log lines tell it.
type asked struct {
	server *Server
	r      *http.Request
	began  time.Time
	number uint64
}

// ServeHTTP answers at Path; it does not look at the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &asked{s, r, s.Now(), s.count.Add(1)}
	if r.Method != http.MethodPost {
		q.refuseRequest(w, http.StatusMethodNotAllowed, "expected POST")
		return
	}
	if s.NeedsClient && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		q.refuseRequest(w, http.StatusUnauthorized, "expected a client certificate")
		return
	}
	review, err := readReview(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		q.refuseRequest(w, http.StatusBadRequest, "expected a request body to be a TokenReview")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	who, err := s.Identify(ctx, review.token, callerOf(r))
	if err != nil {
		q.deny(w, review, nil, s.whyUnknown(err))
		return
	}
	user, refused := s.Resolve(ctx, who)
	if refused == nil && (user == nil || user.Username == "") {
		refused = &Refusal{Reason: Reason(access.NotMapped), Text: "nothing came of the mappings"} // never
	}
	if refused != nil {
		refused.outcome = outcomeUser
		q.deny(w, review, who, refused)
		return
	}
	s.allow(w, q, review, who, user)
}

func (s *Server) allow(w http.ResponseWriter, q *asked, review *review, who *callerid.Identity, user *access.User) {
	scrubbed := s.isScrubbed(who.AccountID)
	writeReview(w, http.StatusOK, review, status{Authenticated: true, User: s.describe(who, user, scrubbed)})
	s.Metrics.done(outcomeSuccess, "", s.Now().Sub(q.began))
	mapping, origin := "", access.Source("")
	if user.By != nil {
		origin, mapping = user.By.Source, user.By.String()
	}
	s.Metrics.mapped(origin)
	attributes := append(q.attributes(),
		slog.String("username", user.Username), slog.Any("groups", user.Groups),
		slog.String("source", string(origin)), slog.String("mapping", mapping), slog.String("stsendpoint", who.STSEndpoint),
	)
	if !scrubbed {
		attributes = append(attributes, slog.String("arn", who.ARN), slog.String("uid", uidOf(who)),
			slog.String("accesskeyid", who.AccessKeyID))
	}
	s.Log.LogAttrs(q.r.Context(), slog.LevelInfo, "access granted", attributes...)
}

// describe is the user of spec authenticator §4.2.
func (s *Server) describe(who *callerid.Identity, user *access.User, scrubbed bool) userInfo {
	if scrubbed {
		return userInfo{
			Username: user.Username, UID: "aws-iam-authenticator:administrative:" + user.Username, Groups: user.Groups,
		}
	}
	return userInfo{
		Username: user.Username, UID: uidOf(who), Groups: user.Groups,
		Extra: &extra{
			AccessKeyID: [1]string{who.AccessKeyID}, ARN: [1]string{who.ARN},
			CanonicalARN: [1]string{who.CanonicalARN}, PrincipalID: [1]string{who.UserID},
			SessionName: [1]string{who.SessionName}, LongPrincipalID: [1]string{who.UserID},
		},
	}
}

func uidOf(who *callerid.Identity) string {
	return "aws-iam-authenticator:" + who.AccountID + ":" + who.UserID
}

func (s *Server) isScrubbed(account string) bool { return slices.Contains(s.Scrubbed, account) }

// unauthorized is all that is told without TellWhy.
const unauthorized = "Unauthorized"

// deny answers no, and says why to those who run the server.
func (q *asked) deny(w http.ResponseWriter, review *review, who *callerid.Identity, refused *Refusal) {
	s := q.server
	code, answer := refused.code(), status{Error: unauthorized}
	if s.TellWhy {
		answer.Error = string(refused.Reason) + ": " + refused.Text
	}
	if s.CacheDenials && refused.final {
		code, answer.Error = http.StatusOK, "" // with an error API servers do not remember it
	}
	writeReview(w, code, review, answer)
	s.Metrics.done(refused.outcome, refused.Reason, s.Now().Sub(q.began))
	attributes := append(q.attributes(), slog.String("reason", string(refused.Reason)))
	if who != nil && s.isScrubbed(who.AccountID) {
		attributes = append(attributes, slog.String("stsendpoint", who.STSEndpoint))
		s.Log.LogAttrs(q.r.Context(), slog.LevelWarn, "access denied", attributes...)
		return
	}
	attributes = append(attributes, slog.String("error", refused.Text))
	if who != nil {
		attributes = append(attributes, slog.String("arn", who.ARN), slog.String("canonicalarn", who.CanonicalARN),
			slog.String("userid", who.UserID), slog.String("stsendpoint", who.STSEndpoint))
	}
	if len(refused.Hints) > 0 {
		attributes = append(attributes, slog.Any("hints", refused.Hints))
	}
	s.Log.LogAttrs(q.r.Context(), slog.LevelWarn, "access denied", attributes...)
}

// refuseRequest answers what is no question.
func (q *asked) refuseRequest(w http.ResponseWriter, code int, text string) {
	if code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, text, code)
	q.server.Metrics.done(outcomeRequest, ReasonRequest, q.server.Now().Sub(q.began))
	q.server.Log.LogAttrs(q.r.Context(), slog.LevelWarn, "access denied", append(q.attributes(),
		slog.String("reason", string(ReasonRequest)), slog.String("error", text))...)
}

func (q *asked) attributes() []slog.Attr {
	attributes := make([]slog.Attr, 0, 16)
	return append(attributes,
		slog.String("request", q.server.start+"-"+strconv.FormatUint(q.number, 10)),
		slog.String("path", Path), slog.String("client", q.r.RemoteAddr), slog.String("method", q.r.Method),
		slog.Duration("took", q.server.Now().Sub(q.began)),
	)
}

// callerOf is the address of who asks: questions to STS are limited by it.
func callerOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Routes adds Path and what the peer has beside it: /healthz, which says ok while the
// process runs, and /metrics.
func (s *Server) Routes(routes *http.ServeMux, metrics http.Handler) {
	routes.Handle(Path, s)
	routes.HandleFunc("/healthz", Healthz)
	routes.Handle("/metrics", metrics)
}

// Healthz says ok.
func Healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok"))
}

// hintsOf are those of an error, without repeating any.
func hintsOf(err error) []string { return slices.Compact(fault.HintsOf(err)) }

// Register makes the metrics; regions beyond the known ones count as one.
func Register(registry prometheus.Registerer, known func(region string) bool) (*Metrics, error) {
	m := newMetrics(known)
	for _, one := range m.all() {
		if err := registry.Register(one); err != nil {
			return nil, err
		}
	}
	return m, nil
}
