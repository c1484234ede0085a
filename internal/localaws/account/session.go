package account

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Session is what its session token says of a role session. The token is
// sealed with the store's key, so that nothing about sessions is stored, and
// a restart on the same data accepts them until they expire.
type Session struct {
	AccessKeyID string
	Secret      string `json:"secret"` // only ever inside the sealed token
	Account     string
	RoleARN     string
	RoleName    string
	RoleID      string
	Name        string
	Expires     time.Time
	Issued      time.Time
	Tags        []Tag             `json:",omitempty"`
	Transitive  []string          `json:",omitempty"`
	Source      string            `json:",omitempty"` // source identity
	Policies    []string          `json:",omitempty"` // inline session policies
	PolicyARNs  []string          `json:",omitempty"` // managed session policies
	Provider    string            `json:",omitempty"` // ARN of the OIDC provider, for web identities
	Claims      map[string]string `json:",omitempty"` // condition keys that stay: sub and aud
}

// Errors of OpenSession.
var (
	ErrBadToken = errors.New("the session token is not one of this local AWS")
	ErrExpired  = errors.New("the session has expired")
)

// IssueSession makes credentials for a session; Account, AccessKeyID and Secret
// are filled in.
func (a *Account) IssueSession(s Session) (credential.AWS, error) {
	s.Account, s.AccessKeyID, s.Secret = a.ID, "ASIA"+randomID(16), randomSecret()
	s.Expires = s.Expires.Truncate(time.Second)
	text, err := json.Marshal(s)
	if err != nil {
		return credential.AWS{}, fmt.Errorf("encode session: %w", err)
	}
	return credential.AWS{
		AccessKeyID: s.AccessKeyID, SecretKey: credential.NewSecret(s.Secret),
		SessionToken: credential.NewSecret(a.set.seal.seal(text)), Expires: s.Expires,
	}, nil
}

// OpenSession reads a session token that came with an access key id. A token
// of another key or data folder is ErrBadToken. An expired session is returned
// together with ErrExpired.
func (s *Set) OpenSession(accessKeyID string, token credential.Secret, now time.Time) (*Session, error) {
	text, err := s.seal.open(token.Reveal())
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

// sealer encrypts and authenticates session tokens with AES-256-GCM.
type sealer struct{ aead cipher.AEAD }

// tokenPrefix makes a token recognisable, as AWS's begin alike.
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

func (s *sealer) seal(text []byte) string {
	nonce := randomBytes(s.aead.NonceSize())
	return tokenPrefix + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, text, []byte(tokenPrefix)))
}

func (s *sealer) open(token string) ([]byte, error) {
	encoded, found := strings.CutPrefix(token, tokenPrefix)
	sealed, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !found || err != nil || len(sealed) < s.aead.NonceSize() {
		return nil, ErrBadToken
	}
	size := s.aead.NonceSize()
	return s.aead.Open(nil, sealed[:size], sealed[size:], []byte(tokenPrefix))
}
