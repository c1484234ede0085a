// Package localaws is an AWS on this machine that says no for the right
// reasons: it verifies signatures, web-identity tokens and trust policies for
// real, answers in AWS's protocol and words, and keeps the reason AWS hides.
//
// It is not for production, knows nothing of the product that uses it, and
// emulates only the operations that its rooms list.
package localaws

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/iam"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// Config is what a local AWS is made of. Account, Store, Now and Log are
// needed.
type Config struct {
	// Account is the account's number, 12 digits.
	Account string
	Store   account.Store
	// Admin is the local administrator's access key; if it has none, the
	// stored one is used, or a new one made.
	Admin   credential.AWS
	Issuers sts.IssuerAccess
	Now     func() time.Time
	Log     *slog.Logger
}

// Server is local AWS, an http.Handler for one port: the action, not the host
// name, says which service is meant.
type Server struct {
	account   *account.Account
	admin     credential.AWS
	adminCall *caller.Caller
	sts       *sts.Service
	iam       map[string]iam.Operation
	now       func() time.Time
	log       *slog.Logger
	diagnoses diagnoses
}

// New prepares the account in the store. It listens nowhere.
func New(config Config) (*Server, error) {
	acct, admin, err := account.New(config.Account, config.Store, config.Admin)
	if err != nil {
		return nil, err
	}
	adminCall, err := caller.Administrator(acct)
	if err != nil {
		return nil, err
	}
	return &Server{
		account: acct, admin: admin, adminCall: adminCall,
		sts: &sts.Service{Account: acct, Keys: sts.NewKeys(config.Issuers, config.Now), Now: config.Now},
		iam: (&iam.Service{Account: acct, Now: config.Now}).Operations(),
		now: config.Now, log: config.Log,
	}, nil
}

// Admin returns the local administrator's access key.
func (s *Server) Admin() credential.AWS { return s.admin }

// ServeHTTP answers AWS calls, and two paths of our own that no AWS service
// has: /_health, and /_diag/REQUEST-ID for the reason of a refusal.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, isDiag := strings.CutPrefix(r.URL.Path, "/_diag/"); isDiag && r.Method == http.MethodGet {
		s.serveDiagnosis(w, id)
		return
	}
	if r.URL.Path == "/_health" {
		w.WriteHeader(http.StatusOK)
		return
	}
	answer := &wire.Answer{Writer: w, RequestID: uuid.NewString(), JSON: strings.Contains(r.Header.Get("Accept"), "application/json")}
	action, result, err := s.call(r, answer)
	if err == nil {
		err = answer.OK(action, result)
		if err != nil { // the caller went away, or a result cannot be encoded
			s.log.Error("answer not written", obs.KeyAction, action, "error", err)
		}
		return
	}
	refusal := s.refusal(err, action)
	s.note(answer.RequestID, action, refusal)
	if err := answer.Fail(refusal); err != nil {
		s.log.Debug("refusal not written", obs.KeyAction, action, "error", err)
	}
}

// refusal turns any error into AWS's words. What is not meant for callers is
// logged and answered as InternalFailure.
func (s *Server) refusal(err error, action string) *wire.Error {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return refused
	}
	if refused, ok := errors.AsType[*sigv4.Error](err); ok {
		return wire.Errorf(refused.Status, refused.Code, "%s", refused.Message)
	}
	s.log.Error("call failed", obs.KeyAction, action, "error", err)
	return wire.Errorf(http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error.")
}

// call finds, authenticates, authorises and does one operation.
func (s *Server) call(r *http.Request, answer *wire.Answer) (action string, result any, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(answer.Writer, r.Body, wire.MaxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return "", nil, wire.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is larger than %d bytes.", wire.MaxBody)
		}
		return "", nil, wire.Errorf(http.StatusBadRequest, "IncompleteBody", "The request body was cut off.")
	}
	q, err := parse(r, body)
	if err != nil {
		return "", nil, err
	}
	action = q.Get("Action")
	switch version := q.Get("Version"); {
	case action == "":
		return "", nil, wire.Errorf(http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action.")
	case version == iam.Version || (version == "" && s.iam[action].Do != nil):
		answer.Namespace = iam.Namespace
		result, err = s.callIAM(r, q, body, action)
	case version == sts.Version || version == "":
		answer.Namespace = sts.Namespace
		result, err = s.callSTS(r, q, body, action)
	default:
		err = unknownAction(action, version)
	}
	return action, result, err
}

func parse(r *http.Request, body []byte) (*wire.Query, error) {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return nil, wire.Errorf(http.StatusNotFound, "UnknownOperationException", "There is nothing at %s here: IAM and STS are at /.", r.URL.Path)
	}
	switch r.Method {
	case http.MethodGet:
		if len(body) > 0 {
			return nil, wire.Errorf(http.StatusBadRequest, "MalformedQueryString", "A GET request has no body.")
		}
	case http.MethodPost:
	default:
		return nil, wire.Errorf(http.StatusMethodNotAllowed, "UnsupportedMethod", "Only GET and POST are supported.")
	}
	return wire.ParseQuery(r, body)
}

func unknownAction(action, version string) error {
	return wire.Errorf(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", action, version)
}

func (s *Server) callSTS(r *http.Request, q *wire.Query, body []byte, action string) (any, error) {
	switch action {
	case "AssumeRoleWithWebIdentity":
		return s.sts.WebIdentity(r, q)
	case "AssumeRole", "GetCallerIdentity":
	case "AssumeRoleWithSAML", "DecodeAuthorizationMessage", "GetAccessKeyInfo", "GetFederationToken", "GetSessionToken", "GetWebIdentityToken", "AssumeRoot":
		if _, err := s.authenticate(r, body, "sts"); err != nil {
			return nil, err
		}
		return nil, notEmulated("sts:" + action)
	default:
		return nil, unknownAction(action, sts.Version)
	}
	who, err := s.authenticate(r, body, "sts")
	if err != nil {
		return nil, err
	}
	if action == "GetCallerIdentity" {
		return s.sts.CallerIdentity(who), nil
	}
	return s.sts.AssumeRole(r, q, who)
}

func (s *Server) callIAM(r *http.Request, q *wire.Query, body []byte, action string) (any, error) {
	who, err := s.authenticate(r, body, "iam")
	if err != nil {
		return nil, err
	}
	operation, found := s.iam[action]
	if !found {
		return nil, notEmulated("iam:" + action)
	}
	if err := s.authorise(r, who, "iam:"+action, operation.Resource(q)); err != nil {
		return nil, err
	}
	return operation.Do(q)
}

func notEmulated(action string) error {
	return wire.Errorf(http.StatusNotImplemented, "NotImplemented", "%s is not emulated by this local AWS.", action)
}

// authenticate verifies the request's signature and says who made it.
func (s *Server) authenticate(r *http.Request, body []byte, service string) (*caller.Caller, error) {
	signed, err := sigv4.Parse(r)
	if err != nil {
		return nil, err
	}
	invalid := wire.Errorf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	if signed.SessionToken.IsZero() {
		if signed.AccessKeyID != s.admin.AccessKeyID {
			return nil, invalid.Because("there is no access key %q, or it needs its session token", signed.AccessKeyID)
		}
		if err := signed.Verify(r, body, s.admin.SecretKey, service, s.now()); err != nil {
			return nil, err
		}
		admin := *s.adminCall
		admin.Region = signed.Region
		return &admin, nil
	}
	session, err := s.account.OpenSession(signed.AccessKeyID, signed.SessionToken, s.now())
	switch {
	case errors.Is(err, account.ErrExpired):
		return nil, wire.Errorf(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired").
			Because("the session of %s ended at %s", session.RoleARN, session.Expires.UTC().Format(time.RFC3339))
	case err != nil:
		return nil, invalid.Because("%s", err)
	}
	if err := signed.Verify(r, body, credential.NewSecret(session.Secret), service, s.now()); err != nil {
		return nil, err
	}
	who, err := caller.Session(s.account, session)
	if err != nil {
		return nil, err
	}
	who.Region = signed.Region
	return who, nil
}

// authorise decides by the caller's own policies.
func (s *Server) authorise(r *http.Request, who *caller.Caller, action, resource string) error {
	keys := caller.RequestContext(r, s.now()).Set("aws:ResourceAccount", s.account.ID)
	who.AddContext(keys)
	request := &policy.Request{Principal: who.Principal, Action: action, Resource: resource, ResourceAccount: s.account.ID, Context: keys}
	policies := &policy.Policies{Identity: who.Identity, Session: who.Session, HasSession: who.HasSession}
	decision := policy.Decide(request, policies)
	if decision.Effect == policy.Allowed {
		return nil
	}
	because := "because no " + decision.Kind.String() + " allows the " + action + " action"
	if decision.Effect == policy.ExplicitDeny {
		because = "with an explicit deny in a " + decision.Kind.String()
	}
	return wire.Errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s %s", who.Principal.ARN, action, resource, because).
		Because("%s", policy.Explain(request, policies).Summary())
}

func (s *Server) serveDiagnosis(w http.ResponseWriter, id string) {
	diagnosis, found := s.diagnoses.get(id)
	if !found {
		http.Error(w, "no refusal with this request id is kept", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(diagnosis)
}

func (s *Server) note(id, action string, refused *wire.Error) {
	s.log.Info("refused",
		obs.KeyRequestID, id, obs.KeyAction, action, "code", refused.Code, obs.KeyReason, refused.Reason)
	s.diagnoses.add(Diagnosis{RequestID: id, Action: action, Code: refused.Code, Message: refused.Message, Reason: refused.Reason, Time: s.now().UTC()})
}
