package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

// Mode is how tokens are verified.
type Mode string

// The modes. Auto relies on the keys and the pods that are followed while both are
// up to date; otherwise, and about issuers whose keys it does not have, it asks the
// API server.
const (
	Auto        Mode = "auto"
	TokenReview Mode = "tokenreview"
	JWKS        Mode = "jwks"
	Both        Mode = "both"
)

const (
	// fresh is how long ago the API server may have been heard by the watches for auto
	// to rely on them.
	fresh = follow.Fresh
	// stale is the same for jwks, which goes on while the API server is down.
	stale = 10 * time.Minute
	// maxToken is the longest token that is looked at, in bytes.
	maxToken = 16 << 10
)

// Patience is how long ago the API server may have been heard for what is followed to
// count although it cannot be asked.
func (m Mode) Patience() time.Duration {
	if m == JWKS {
		return stale
	}
	return fresh
}

// Verifier verifies tokens. What its mode does not use may be nil.
type Verifier struct {
	Mode    Mode
	Keys    *Keys
	Objects *Objects
	Review  *Reviewer
	// Disagreed is called when one of the two ways accepted what the other did
	// not.
	Disagreed func()
	Now       func() time.Time
}

func invalid(format string, args ...any) *refusal.Error {
	return refusal.New(
		refusal.InvalidToken, "The token included in the request is invalid: %s.", fmt.Sprintf(format, args...),
	)
}

func unavailable(cause error, message string) *refusal.Error {
	return refusal.New(refusal.Unavailable, "%s", message).Because(cause)
}

// Verify says whom a token of an audience stands for. Every error is a
// *refusal.Error.
func (v *Verifier) Verify(ctx context.Context, raw credential.Secret, audience string) (*Identity, error) {
	decoded, err := v.decode(raw)
	if err != nil {
		return nil, err
	}
	switch v.Mode {
	case JWKS:
		if err := v.usable(decoded, stale); err != nil {
			return nil, err
		}
		return v.offline(ctx, decoded, raw, audience)
	case TokenReview:
		return v.asked(ctx, decoded, raw, audience)
	case Both:
		return v.both(ctx, decoded, raw, audience)
	case Auto:
		// The API server may accept issuers that we have no keys of.
		if v.Keys.Of(issuerOf(decoded)) == nil || v.usable(decoded, fresh) != nil {
			return v.asked(ctx, decoded, raw, audience)
		}
		return v.offline(ctx, decoded, raw, audience)
	}
	return nil, refusal.New(
		refusal.Internal, "The request could not be served.",
	).Because(fmt.Errorf("verification mode %q", v.Mode))
}

// decode is step 2. Keys that a header brings along (jwk, jku, x5u, x5c) are
// never looked at.
func (v *Verifier) decode(raw credential.Secret) (*token.JWT, error) {
	if len(raw.Reveal()) > maxToken {
		return nil, invalid("it is longer than %d bytes", maxToken)
	}
	decoded, err := token.Decode(raw.Reveal())
	switch {
	case err != nil:
		return nil, invalid("it cannot be read").Because(err)
	case decoded.Header.Critical || !token.SupportedAlgorithm(decoded.Header.Algorithm):
		return nil, invalid("its header has an alg that is not accepted, or a crit member")
	case decoded.Header.KeyID == "":
		return nil, invalid("its header names no key")
	}
	return decoded, nil
}

// issuerOf is what a token says of itself. It chooses the keys that must verify it,
// and nothing else.
func issuerOf(decoded *token.JWT) string {
	var issuer string
	_ = json.Unmarshal(decoded.Claims["iss"], &issuer) // what is not a string names no issuer
	return issuer
}

// usable says why a token cannot be verified without the API server.
func (v *Verifier) usable(decoded *token.JWT, within time.Duration) error {
	now := v.Now()
	keys := v.Keys.Of(issuerOf(decoded))
	if keys == nil {
		keys = v.Keys.IssuerKeys // who the issuer is, is known with its keys
	}
	if err := usable(keys, now); err != nil {
		return unavailable(err, "The keys of the cluster's issuer are not known.")
	}
	if !v.Objects.Fresh(within) {
		return unavailable(nil, "The pods of the cluster are not known: their watch stands still.")
	}
	return nil
}

// offline is steps 3 to 7 by keys and watches.
func (v *Verifier) offline(
	ctx context.Context, decoded *token.JWT, raw credential.Secret, audience string,
) (*Identity, error) {
	claims, err := v.Keys.verify(ctx, raw, issuerOf(decoded), audience, v.Now())
	if err != nil {
		return nil, v.refused(decoded, err)
	}
	identity, err := v.accepted(claims, decoded)
	if err != nil {
		return nil, err
	}
	identity.By = string(JWKS)
	if err := v.Objects.account(ctx, identity); err != nil {
		return nil, err
	}
	return identity, v.Objects.pod(ctx, identity, v.Now(), true)
}

// accepted checks the times without the leeway that verifying has, and reads who
// it is.
func (v *Verifier) accepted(claims *token.Claims, decoded *token.JWT) (*Identity, error) {
	now := v.Now()
	if !now.Before(claims.Expiry) {
		return nil, expired(now, claims.Expiry)
	}
	if now.Add(clockSkew).Before(claims.NotBefore) || now.Add(clockSkew).Before(claims.IssuedAt) {
		return nil, invalid("it is not valid yet")
	}
	return identityOf(claims, decoded.Header.KeyID)
}

func expired(now, at time.Time) *refusal.Error {
	return refusal.New(refusal.ExpiredToken,
		"The token included in the request is expired: current date/time %s must be before the expiration date/time %s",
		now.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
}

// refused puts a reason of package token in the words of the API.
func (v *Verifier) refused(decoded *token.JWT, err error) error {
	var words *refusal.Error
	switch {
	case errors.Is(err, token.ErrExpired):
		claims, readable := decoded.ServiceAccount()
		if readable != nil {
			return invalid("its claims cannot be read").Because(err)
		}
		return expired(v.Now(), claims.Expiry)
	case errors.Is(err, errKeysNotRead):
		return unavailable(err, "The keys of the cluster's issuer cannot be read.")
	case errors.Is(err, token.ErrUnknownKey):
		words = invalid("no key of the cluster's issuer has its kid")
	case errors.Is(err, token.ErrSignature):
		words = invalid("its signature does not verify")
	case errors.Is(err, token.ErrIssuer):
		words = invalid("its issuer is not the cluster's")
	case errors.Is(err, token.ErrAudience):
		words = invalid("it is for another audience")
	case errors.Is(err, token.ErrNotYet):
		words = invalid("it is not valid yet")
	default:
		words = invalid("its claims cannot be read")
	}
	return words.Because(err)
}

// asked is steps 3 to 7 by the API server, which checks all but the pod's phase.
func (v *Verifier) asked(
	ctx context.Context, decoded *token.JWT, raw credential.Secret, audience string,
) (*Identity, error) {
	claims, err := decoded.ServiceAccount()
	if err != nil {
		return nil, invalid("its claims cannot be read").Because(err)
	}
	user, err := v.Review.review(ctx, raw, audience)
	if err != nil {
		if refused := refusal.Of(err); refused.Code == refusal.InvalidToken && saysExpired(refused.Cause) &&
			!v.Now().Before(claims.Expiry) {
			return nil, expired(v.Now(), claims.Expiry)
		}
		return nil, err
	}
	// From here the signature is verified, and with it what was read above.
	identity, err := v.accepted(claims, decoded)
	if err != nil {
		return nil, err
	}
	identity.By = string(TokenReview)
	if err := user.agrees(identity); err != nil {
		return nil, err
	}
	return identity, v.Objects.pod(ctx, identity, v.Now(), v.Objects.Fresh(fresh))
}

// both demands that the two ways agree in all they say.
func (v *Verifier) both(
	ctx context.Context, decoded *token.JWT, raw credential.Secret, audience string,
) (*Identity, error) {
	if err := v.usable(decoded, stale); err != nil {
		return nil, err
	}
	one, oneErr := v.offline(ctx, decoded, raw, audience)
	two, twoErr := v.asked(ctx, decoded, raw, audience)
	switch {
	case oneErr == nil && twoErr == nil:
		// What was read of the pod does not come from the token.
		two.By, two.Labels = one.By, one.Labels
		if !reflect.DeepEqual(one, two) {
			v.Disagreed()
			return nil, invalid("its keys and the API server name different identities")
		}
		one.By = string(Both)
		return one, nil
	case oneErr != nil && twoErr != nil:
		return nil, oneErr
	case refusal.Of(twoErr).Code == refusal.Unavailable, refusal.Of(oneErr).Code == refusal.Unavailable:
		return nil, errors.Join(oneErr, twoErr)
	}
	v.Disagreed()
	return nil, invalid("its keys and the API server disagree about it").Because(errors.Join(oneErr, twoErr))
}
