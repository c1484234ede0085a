package localaws

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/sigv4"
)

// authenticate says who made the request and verifies its signature: first by
// the head, then with the body, which is read in between.
func (s *Server) authenticate(a *ask, operation service.Operation, w http.ResponseWriter) error {
	if operation.Access == service.ByItself && a.isAnonymous() {
		a.Caller = caller.Anonymous()
		a.Caller.Region = a.Region
	} else if err := s.identify(a); err != nil {
		return err
	}
	if operation.Before != nil && a.HTTP.ContentLength != 0 {
		if err := operation.Before(&a.Call); err != nil {
			return err
		}
	}
	if err := a.readBody(w, a.maxBody()); err != nil {
		return err
	}
	return a.verifyBody()
}

// identify says who made the request, by its head. Unless that says the body's
// hash, the signature is not verified yet.
func (s *Server) identify(a *ask) error {
	switch {
	case a.Caller != nil:
		return nil
	case a.unsigned != nil:
		return a.unsigned
	case a.expired:
		return expiredToken().Because("the credentials count as expired, as was asked for")
	}
	who, err := s.callerOf(a)
	if err != nil {
		return err
	}
	who.Region = a.Region
	a.Caller, a.Account = who, who.Account
	return a.refuseUserSession()
}

// refuseUserSession: IAM does not accept the sessions of users, unless they
// were made with MFA.
func (a *ask) refuseUserSession() error {
	kind := a.Caller.Principal.Kind
	if a.name == "iam" && a.Caller.IsSession() && (kind == policy.User || kind == policy.FederatedUser) {
		return invalidToken(
			"IAM does not accept credentials of GetSessionToken or GetFederationToken that were made without MFA",
		)
	}
	return nil
}

// isAnonymous reports whether there is no signature at all.
func (a *ask) isAnonymous() bool {
	none, ok := errors.AsType[*sigv4.Error](a.unsigned)
	return ok && none.Code == "MissingAuthenticationToken"
}

// verifyBody verifies what of a signature needs the body, and takes apart one
// that came in chunks, as only S3's do. The global endpoint of STS is in
// us-east-1, and wants that signed (spec issuer-and-sts §12.5).
func (a *ask) verifyBody() error {
	if a.signed != nil {
		if err := a.signed.VerifyBody(a.HTTP, a.Body, a.secret); err != nil {
			return err
		}
	}
	if a.name == "sts" && a.endpoint.global && a.signed.Region != globalRegion {
		return wire.Errorf(
			http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.",
		).
			Because("the global endpoint of STS is in %s, the request is signed for %s", globalRegion, a.signed.Region)
	}
	if a.protocol() != wire.S3 {
		return nil
	}
	body, trailer, err := a.signed.Chunks(a.HTTP, a.Body, a.secret)
	a.Body, a.HTTP = body, a.HTTP.WithContext(a.HTTP.Context()) // a copy: requests are not ours to change
	a.HTTP.Trailer = trailer
	return err
}

func invalidToken(format string, args ...any) *wire.Error {
	return wire.Errorf(
		http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.",
	).Because(format, args...)
}

func expiredToken() *wire.Error {
	return wire.Errorf(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
}

func (s *Server) callerOf(a *ask) (*caller.Caller, error) {
	if a.signed.SessionToken.IsZero() {
		return s.userOf(a)
	}
	session, err := s.accounts.OpenSession(a.signed.AccessKeyID, a.signed.SessionToken, a.Time)
	switch {
	case errors.Is(err, account.ErrExpired):
		return nil, expiredToken().Because(
			"the session of %s ended at %s", cmp.Or(session.RoleARN, session.User),
			session.Expires.UTC().Format(time.RFC3339),
		)
	case err != nil:
		return nil, invalidToken("%s", err)
	}
	if err := a.verifyHead(credential.NewSecret(session.Secret)); err != nil {
		return nil, err
	}
	owner, found := s.accounts.Find(session.Account)
	if !found {
		return nil, invalidToken("the session belongs to account %s, which does not exist here", session.Account)
	}
	who, err := caller.Session(owner, session)
	if errors.Is(err, account.ErrNotFound) {
		if session.IsRole() {
			return nil, invalidToken("the session belongs to role %s, which was deleted", session.RoleARN)
		}
		return nil, invalidToken("the session belongs to user %s, who no longer exists", session.User)
	}
	return who, err
}

// verifyHead checks the signature as far as that needs no body. From then on the
// headers count as they were signed.
func (a *ask) verifyHead(secret credential.Secret) error {
	a.signed.HostBucket = a.HostPrefix
	if err := a.signed.VerifyHead(a.HTTP, secret, a.name, a.Time); err != nil {
		return err
	}
	a.secret = secret
	a.Signature = service.Signature{
		Version: "AWS4-HMAC-SHA256", InQuery: a.signed.Presigned, Covers: a.signed.Covers,
	}
	if a.signed.Legacy {
		a.Signature.Version = "AWS"
	}
	header := a.signed.Header(a.HTTP)
	a.HTTP = a.HTTP.WithContext(a.HTTP.Context()) // a copy: requests are not ours to change
	a.HTTP.Header = header
	return nil
}

// globalRegion is where the global endpoints are.
const globalRegion = "us-east-1"

func (s *Server) userOf(a *ask) (*caller.Caller, error) {
	key, err := s.accounts.Key(a.signed.AccessKeyID)
	switch {
	case errors.Is(err, account.ErrNotFound):
		return nil, invalidToken("there is no access key %q, or it needs its session token", a.signed.AccessKeyID)
	case err != nil:
		return nil, err
	case key.Inactive:
		return nil, invalidToken("the access key %s of user %s is inactive", key.ID, key.User)
	}
	if err := a.verifyHead(key.Secret); err != nil {
		return nil, err
	}
	owner, found := s.accounts.Find(key.Account)
	if !found {
		return nil, invalidToken(
			"the access key %s belongs to account %s, which does not exist here",
			key.ID,
			key.Account,
		)
	}
	who, err := caller.User(owner, key.User)
	if errors.Is(err, account.ErrNotFound) {
		return nil, invalidToken("the access key %s belongs to user %s, who no longer exists", key.ID, key.User)
	}
	return who, err
}
