package localaws

import (
	"errors"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// authenticate verifies the request's signature and says who made it.
func (s *Server) authenticate(a *ask) error {
	if a.unsigned != nil {
		return a.unsigned
	}
	if a.expired {
		return expiredToken().Because("the credentials count as expired, on demand")
	}
	who, err := s.callerOf(a)
	if err != nil {
		return err
	}
	who.Region = a.signed.Region
	a.Caller, a.Account = who, who.Account
	return nil
}

func invalidToken(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.").Because(format, args...)
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
		return nil, expiredToken().Because("the session of %s ended at %s", session.RoleARN, session.Expires.UTC().Format(time.RFC3339))
	case err != nil:
		return nil, invalidToken("%s", err)
	}
	if err := a.signed.Verify(a.HTTP, a.Body, credential.NewSecret(session.Secret), a.name, a.Time); err != nil {
		return nil, err
	}
	owner, found := s.accounts.Find(session.Account)
	if !found {
		return nil, invalidToken("the session is of account %s, which is not played here", session.Account)
	}
	return caller.Session(owner, session)
}

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
	if err := a.signed.Verify(a.HTTP, a.Body, key.Secret, a.name, a.Time); err != nil {
		return nil, err
	}
	owner, found := s.accounts.Find(key.Account)
	if !found {
		return nil, invalidToken("the access key %s is of account %s, which is not played here", key.ID, key.Account)
	}
	who, err := caller.User(owner, key.User)
	if errors.Is(err, account.ErrNotFound) {
		return nil, invalidToken("the access key %s is of user %s, who is gone", key.ID, key.User)
	}
	return who, err
}
