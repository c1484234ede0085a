package sts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/token"
)

// unreachable is an issuer whose keys could not be fetched: no verdict on any
// token. Its text is that of the cause.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// Unreachable reports whether an error of Keys says that an issuer's keys could
// not be fetched, and nothing about the token.
func Unreachable(err error) bool {
	_, yes := errors.AsType[unreachable](err)
	return yes
}

// VerifySignature checks a token's signature with the keys that an issuer
// publishes. The caller decides which issuer that is, never the token.
func (k *Keys) VerifySignature(ctx context.Context, issuer string, decoded *token.JWT) error {
	kind := "RSA"
	if strings.HasPrefix(decoded.Header.Algorithm, "ES") {
		kind = "EC"
	}
	key, err := k.Find(ctx, issuer, decoded.Header.KeyID, decoded.Header.HasKeyID, kind)
	switch {
	case err != nil:
		return err
	case key.unusable != "":
		return errors.New(key.unusable)
	}
	if err := decoded.VerifySignature(key.public); err != nil {
		return fmt.Errorf("%w, with the issuer's published key %q", err, decoded.Header.KeyID)
	}
	return nil
}
