package session

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	mintedLifetime = 5 * time.Minute
	mintedAudience = "sts.amazonaws.com"
)

// Minter makes the tokens of mode Federated: each for one pod and one role, good
// for five minutes (spec podidentity §19.7). They are shown to STS and to nobody
// else.
type Minter struct {
	Issuer string
	Key    *KeyFile
	Now    func() time.Time
}

type minted struct {
	Audience  string   `json:"aud"`
	Expiry    int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	Issuer    string   `json:"iss"`
	ID        string   `json:"jti"`
	NotBefore int64    `json:"nbf"`
	Subject   string   `json:"sub"`
	Roles     []string `json:"https://aws.amazon.com/roles"`
	Source    string   `json:"https://aws.amazon.com/source_identity,omitempty"`
	Tags      *tagging `json:"https://aws.amazon.com/tags,omitempty"`
}

type tagging struct {
	Principal  map[string][]string `json:"principal_tags"`
	Transitive []string            `json:"transitive_tag_keys"`
}

// Mint signs a token. Its roles claim keeps it from being used for any other
// role.
func (m *Minter) Mint(subject, role string, tags []awsapi.Tag, sourceIdentity string) (credential.Secret, error) {
	if subject == "" || role == "" {
		return credential.Secret{}, errors.New("a token must name its subject and its role")
	}
	now := m.Now().Unix()
	claims := minted{
		Audience: mintedAudience, IssuedAt: now, NotBefore: now, Expiry: now + int64(mintedLifetime/time.Second),
		Issuer: m.Issuer, ID: uuid.NewString(), Subject: subject, Roles: []string{role}, Source: sourceIdentity,
	}
	if len(tags) > 0 {
		claims.Tags = &tagging{Principal: make(map[string][]string, len(tags))}
		for _, tag := range tags {
			claims.Tags.Principal[tag.Key] = []string{tag.Value}
			claims.Tags.Transitive = append(claims.Tags.Transitive, tag.Key)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return credential.Secret{}, err
	}
	return token.Sign(m.Key.Current(), payload)
}

// KeyFile follows the file of a signing key: one that changed is read before the
// next token is signed; one that holds no key is logged, and the old one stays.
type KeyFile struct {
	file string
	log  *slog.Logger

	mu      sync.Mutex
	key     *token.Key
	looked  stamp
	checked bool
}

type stamp struct {
	time time.Time
	size int64
}

// HoldKey follows no file: the key is this one.
func HoldKey(key *token.Key) *KeyFile { return &KeyFile{key: key} }

// OpenKey reads the key once.
func OpenKey(file string, log *slog.Logger) (*KeyFile, error) {
	k := &KeyFile{file: file, log: log}
	key, at, err := k.read()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the signing key: %w", err).
			Hint("want the PEM private key of the issuer that --issuer names; `rolecall issuer init` makes one")
	}
	k.key, k.looked = key, at
	return k, nil
}

// Current returns the newest key.
func (k *KeyFile) Current() *token.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == "" {
		return k.key
	}
	info, err := os.Stat(k.file)
	if err == nil && (stamp{info.ModTime(), info.Size()}) == k.looked {
		return k.key
	}
	key, at, err := k.read()
	if err != nil {
		if !k.checked {
			k.log.Error("signing key not read again, the old one stays", "file", k.file, "error", err)
		}
		k.checked = true
		return k.key
	}
	if key.ID() != k.key.ID() {
		k.log.Info("signing key changed", "kid", key.ID())
	}
	k.key, k.looked, k.checked = key, at, false
	return key
}

func (k *KeyFile) read() (*token.Key, stamp, error) {
	info, err := os.Stat(k.file)
	if err != nil {
		return nil, stamp{}, err
	}
	text, err := os.ReadFile(k.file)
	if err != nil {
		return nil, stamp{}, err
	}
	key, err := token.ParsePrivateKey(text)
	return key, stamp{info.ModTime(), info.Size()}, err
}
