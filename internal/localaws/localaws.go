// Package localaws emulates AWS on this machine: it verifies signatures,
// web-identity tokens and trust policies for real, answers in AWS's protocols
// and words, and keeps the reason for each refusal, which AWS hides.
//
// It is not for production, knows nothing of the product that uses it, and
// emulates only the operations that its rooms list; to all other calls of AWS
// it answers with the decision of the caller's policies.
package localaws

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/eks"
	"github.com/rolecall/rolecall/internal/localaws/eksauth"
	"github.com/rolecall/rolecall/internal/localaws/faults"
	"github.com/rolecall/rolecall/internal/localaws/iam"
	"github.com/rolecall/rolecall/internal/localaws/s3"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/ssm"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// Config configures a local AWS. Accounts, Now and Log are required.
type Config struct {
	Accounts *account.Set
	// Region is that of unsigned calls to a host without a region; us-east-1 if
	// empty.
	Region  string
	Issuers sts.IssuerAccess
	// STSErrors is the wording in which STS refuses web identities.
	STSErrors sts.Errors
	Now       func() time.Time
	Log       *slog.Logger
	// Explain, if not nil, is called for every refusal when it happens. It may
	// be called by several requests at once.
	Explain func(Decision)
	// ConsistencyDelay is how long what is written to IAM stays invisible to
	// other calls, since AWS does not promise that they see it at once; 0 means
	// no delay.
	ConsistencyDelay time.Duration
	// Faults lets callers ask for failures, and move the clock.
	Faults bool
}

// Server is local AWS, an http.Handler for one port that all services share.
type Server struct {
	accounts  *account.Set
	region    string
	services  map[string]*service.Service // by name
	clock     *faults.Clock
	faults    *faults.List // nil unless they are allowed
	log       *slog.Logger
	explain   func(Decision)
	decisions decisions
	own       http.Handler
}

// New makes the services. It listens nowhere.
func New(config Config) *Server {
	s := &Server{
		accounts: config.Accounts, region: config.Region, log: config.Log, explain: config.Explain,
		clock: faults.NewClock(config.Now), services: map[string]*service.Service{},
	}
	if s.region == "" {
		s.region = "us-east-1"
	}
	if config.Faults {
		s.faults = &faults.List{}
	}
	var tables []account.Table
	keys := sts.NewKeys(config.Issuers, s.clock.Now)
	for _, room := range []*service.Service{
		eks.New(),
		eksauth.New(keys),
		iam.New(),
		(&sts.Service{Keys: keys, Errors: config.STSErrors}).Operations(),
		s3.New(),
		ssm.New(),
	} {
		s.services[room.Name] = room
		tables = append(tables, room.Tables...)
	}
	if config.ConsistencyDelay > 0 {
		s.accounts.Delay(config.ConsistencyDelay, s.clock.Now, tables...)
	}
	s.own = s.ownPaths()
	return s
}

// Admin returns the access key of the default account's administrator, or
// account.ErrNotFound if it was removed.
func (s *Server) Admin() (credential.AWS, error) { return s.accounts.Default().AdminKey() }

// ServeHTTP answers AWS calls, and our own paths, which no AWS service has.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, ownPrefix) {
		s.own.ServeHTTP(w, r)
		return
	}
	answer := &wire.Answer{
		Writer: w, RequestID: uuid.NewString(), Head: r.Method == http.MethodHead,
		JSON: strings.Contains(r.Header.Get("Accept"), "application/json"),
	}
	a := &ask{Call: service.Call{HTTP: r, Accounts: s.accounts, Time: s.clock.Now()}}
	a.Allow = func(action string, target service.Target) error { return s.decide(a, action, target) }
	result, err := s.serve(a, answer)
	if err == nil {
		err = answer.OK(a.Operation, result)
		if err != nil { // the caller has gone away, or a result cannot be encoded
			s.log.Error("answer not written", obs.KeyAction, a.action(), "error", err)
		}
		return
	}
	refused := s.refusal(err, a)
	s.note(a, answer, refused)
	fail := func() {
		if err := answer.Fail(refused); err != nil {
			s.log.Debug("refusal not written", obs.KeyAction, a.action(), "error", err)
		}
	}
	if a.read || r.ContentLength == 0 {
		fail()
		return
	}
	whole := &buffered{ResponseWriter: w}
	answer.Writer = whole
	fail()
	whole.sendUnread(r)
}

// buffered is an answer that is sent as a whole.
type buffered struct {
	http.ResponseWriter

	status int
	body   bytes.Buffer
}

// WriteHeader keeps the status.
func (b *buffered) WriteHeader(status int) { b.status = status }

// Write keeps a part of the body.
func (b *buffered) Write(part []byte) (int, error) { return b.body.Write(part) }

// lingering is how long a client may go on sending a body that nobody wants.
const lingering = 5 * time.Second

// sendUnread answers a request whose body is not read. The answer does not wait
// for the body; but a client that is still sending it would see its connection
// reset, and no answer, if that were closed at once: the body is thrown away for
// a while.
func (b *buffered) sendUnread(r *http.Request) {
	control := http.NewResponseController(b.ResponseWriter)
	_ = control.EnableFullDuplex() // or not needed: HTTP/2
	b.Header().Set("Connection", "close")
	b.Header().Set("Content-Length", strconv.Itoa(b.body.Len()))
	b.ResponseWriter.WriteHeader(cmp.Or(b.status, http.StatusOK))
	_, _ = b.ResponseWriter.Write(b.body.Bytes()) // fails if the client has gone
	_ = control.Flush()
	until := time.Now().Add(lingering) //nolint:forbidigo // connections go by the real clock
	_ = control.SetReadDeadline(until)
	if !strings.EqualFold(r.Header.Get("Expect"), "100-continue") { // which asks before it sends
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// refusal turns any error into AWS's words. An error that is not meant for
// callers is logged and answered as InternalFailure.
func (s *Server) refusal(err error, a *ask) *wire.Error {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return refused
	}
	if refused, ok := errors.AsType[*sigv4.Error](err); ok {
		return wire.Errorf(refused.Status, refused.Code, "%s", refused.Message).
			With("HeadersNotSigned", refused.HeadersNotSigned)
	}
	s.log.Error("call failed", obs.KeyAction, a.action(), "error", err)
	return wire.Errorf(
		http.StatusInternalServerError, "InternalFailure",
		"The request processing has failed because of an unknown error.",
	)
}

// serve finds out what is called, by whom and whether that is allowed, and does
// it. What can be decided by a request's head is decided before its body is
// read.
func (s *Server) serve(a *ask, answer *wire.Answer) (any, error) {
	err := s.receive(a)
	if err == nil && a.inBody {
		err = s.readParameters(a, answer)
	}
	answer.Protocol = a.protocol()
	if a.service != nil {
		answer.Namespace = a.service.Namespace
	}
	if err != nil {
		return nil, err
	}
	if err := s.misbehave(a); err != nil {
		return nil, err
	}
	operation, emulated := a.operation()
	if emulated && operation.Access == service.Anybody {
		a.signed = nil // a signature has no influence here
		a.Region = s.regionOf(a)
		if err := a.readBody(answer.Writer, a.maxBody()); err != nil {
			return nil, err
		}
		return operation.Do(&a.Call)
	}
	if err := a.unknown(); err != nil {
		return nil, err
	}
	if err := s.authenticate(a, operation, answer.Writer); err != nil {
		return nil, err
	}
	if !emulated {
		return nil, s.decideOnly(a)
	}
	if operation.Access == service.ByPolicy {
		if err := s.authorise(a, a.action(), operation.Target); err != nil {
			return nil, err
		}
	}
	return operation.Do(&a.Call)
}
