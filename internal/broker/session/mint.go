package session

import (
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
)

const mintedLifetime = 5 * time.Minute

// Minter makes the tokens of mode Federated: each for one pod and one role, good
// for five minutes (spec podidentity §19.7). They are shown to STS and to nobody
// else.
type Minter struct {
	Issuer string
	Key    *follow.File[*token.Key]
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
	Transitive []string            `json:"transitive_tag_keys,omitempty"`
}

// Mint signs a token. Its roles claim keeps it from being used for any other
// role. Tags that are not local are transitive.
func (m *Minter) Mint(
	subject, role string, tags []awsapi.Tag, local bool, sourceIdentity string,
) (credential.Secret, error) {
	if subject == "" || role == "" {
		return credential.Secret{}, errors.New("a token must name its subject and its role")
	}
	now := m.Now().Unix()
	claims := minted{
		Audience:  sessionplan.MintedAudience,
		IssuedAt:  now,
		NotBefore: now,
		Expiry: now + int64(
			mintedLifetime/time.Second,
		),
		Issuer:  m.Issuer,
		ID:      uuid.NewString(),
		Subject: subject,
		Roles:   []string{role},
		Source:  sourceIdentity,
	}
	if len(tags) > 0 {
		claims.Tags = &tagging{Principal: make(map[string][]string, len(tags))}
		for _, tag := range tags {
			claims.Tags.Principal[tag.Key] = []string{tag.Value}
			if !local {
				claims.Tags.Transitive = append(claims.Tags.Transitive, tag.Key)
			}
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return credential.Secret{}, err
	}
	return token.Sign(m.Key.Current(), payload)
}

// OpenKey reads the file of a signing key, and follows it.
func OpenKey(file string, log *slog.Logger) (*follow.File[*token.Key], error) {
	key, err := follow.OpenFile("signing key", file, token.ParsePrivateKey, log)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the signing key: %w", err).
			Hint("want the PEM private key of the issuer that --issuer names; `rolecall issuer init` makes one")
	}
	return key, nil
}
