package account

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Session is what a session token says about temporary credentials: of a role,
// of a user (Role is empty) or of a federated user. The token is sealed with the
// store's key, so that nothing about sessions is stored, and a restart on the
// same data accepts them until they expire.
type Session struct {
	AccessKeyID string
	Secret      string `json:"secret"` // only ever inside the sealed token
	Account     string
	RoleARN     string `json:",omitempty"`
	RoleName    string `json:",omitempty"`
	RoleID      string `json:",omitempty"`
	Name        string `json:",omitempty"` // of the session, or of the federated user
	// User and UserID are the user who asked for a session of her own or, with a
	// Name, of a federated user.
	User       string `json:",omitempty"`
	UserID     string `json:",omitempty"`
	Expires    time.Time
	Issued     time.Time
	Tags       []Tag               `json:",omitempty"` // without those of role or user
	Transitive []string            `json:",omitempty"` // keys of Tags
	Source     string              `json:",omitempty"` // source identity
	Policies   []string            `json:",omitempty"` // inline session policies
	PolicyARNs []string            `json:",omitempty"` // managed session policies
	Provider   string              `json:",omitempty"` // ARN of the OIDC provider, for web identities
	Claims     map[string]string   `json:",omitempty"` // condition keys that stay: sub and aud
	ClaimLists map[string][]string `json:",omitempty"` // those with several values: amr
}

// IsRole says that it is a session of a role.
func (s *Session) IsRole() bool { return s.RoleName != "" }

// IsFederated says that it is a session of a federated user.
func (s *Session) IsFederated() bool { return !s.IsRole() && s.Name != "" }

// Errors of OpenSession.
var (
	ErrBadToken = errors.New("the session token is not one of this local AWS")
	ErrExpired  = errors.New("the session has expired")
)

// IssueSession makes credentials for a session; Account, AccessKeyID and Secret
// are filled in.
func (a *Account) IssueSession(s Session) (credential.AWS, error) {
	s.Account, s.AccessKeyID, s.Secret = a.ID, newKeyID("ASIA", a.ID), randomSecret()
	s.Expires = s.Expires.Truncate(time.Second)
	text, err := json.Marshal(s)
	if err != nil {
		return credential.AWS{}, fmt.Errorf("encode session: %w", err)
	}
	return credential.AWS{
		AccessKeyID: s.AccessKeyID, SecretKey: credential.NewSecret(s.Secret),
		SessionToken: credential.NewSecret(
			tokenPrefix + base64.StdEncoding.EncodeToString(a.set.seal.seal(tokenPrefix, text)),
		),
		Expires: s.Expires,
	}, nil
}

// OpenSession reads a session token that came with an access key id. A token
// of another key or data folder is ErrBadToken. An expired session is returned
// together with ErrExpired.
func (s *Set) OpenSession(accessKeyID string, token credential.Secret, now time.Time) (*Session, error) {
	encoded, found := strings.CutPrefix(token.Reveal(), tokenPrefix)
	sealed, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !found || err != nil {
		return nil, ErrBadToken
	}
	text, err := s.seal.open(tokenPrefix, sealed)
	if err != nil {
		return nil, ErrBadToken
	}
	var session Session
	if err := json.Unmarshal(text, &session); err != nil || session.AccessKeyID != accessKeyID {
		return nil, ErrBadToken
	}
	if !now.Before(session.Expires) {
		return &session, ErrExpired
	}
	return &session, nil
}

// messagePurpose is what tells sealed messages from session tokens.
const messagePurpose = "RolecallMessage"

// SealMessage encrypts a text that is handed to callers and that only this
// account can open.
func (a *Account) SealMessage(text []byte) string {
	return base64.RawURLEncoding.EncodeToString(a.set.seal.seal(messagePurpose+a.ID, text))
}

// OpenMessage returns what SealMessage was given, or ErrBadMessage.
func (a *Account) OpenMessage(message string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(message)
	if err != nil || strings.ContainsAny(message, "\r\n") { // which the decoder skips
		return nil, ErrBadMessage
	}
	return a.set.seal.open(messagePurpose+a.ID, sealed)
}

// ErrBadMessage says that a message was not sealed here, for this account.
var ErrBadMessage = errors.New("the message is not one of this local AWS for this account")

// sealer encrypts and authenticates with AES-256-GCM. What was sealed for one
// purpose does not open for another.
type sealer struct{ aead cipher.AEAD }

// tokenPrefix makes a token recognisable, since AWS's tokens begin alike too.
const tokenPrefix = "RolecallLocal//"

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

func (s *sealer) seal(purpose string, text []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(text)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails, says its documentation
	return s.aead.Seal(nonce, nonce, text, []byte(purpose))
}

func (s *sealer) open(purpose string, sealed []byte) ([]byte, error) {
	size := s.aead.NonceSize()
	if len(sealed) < size {
		return nil, ErrBadMessage
	}
	text, err := s.aead.Open(nil, sealed[:size], sealed[size:], []byte(purpose))
	if err != nil {
		return nil, ErrBadMessage
	}
	return text, nil
}
