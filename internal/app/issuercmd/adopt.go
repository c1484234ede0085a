package issuercmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/token"
)

// adopt keeps the form of documents that somebody else has published for the issuer: where
// its keys are, and whether they are repeated under an empty kid. What cannot be kept is
// dropped only with leave. What issuer.yaml says already is init's own.
func (c *initConfig) adopt(ctx context.Context, sys cli.System, object *v1alpha1.Issuer) error {
	publish := &object.Spec.Publish
	if _, err := c.dir.folder().Load(); err == nil || publish.ConfigMap != nil {
		return nil
	}
	place, err := store.Open(ctx, publish, accounts.Bucket, c.cluster.Client)
	if err != nil {
		return err
	}
	var stored document.Stored
	stored.Discovery, err = place.Read(ctx, document.DiscoveryPath)
	if missing, ok := errors.AsType[*awsapi.Error](err); ok && missing.Code == "NoSuchBucket" {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "look at what is published: %w", err)
	}
	found := document.Look(object.Spec.URL, stored.Discovery)
	if found.JWKSPath != "" && !c.given("jwks-path") && found.JWKSPath != document.JWKSPath {
		publish.JWKSPath = found.JWKSPath
		fmt.Fprintf(sys.Stderr, "kept: the keys stay at %s\n", found.JWKSURI)
	}
	if stored.JWKS, err = place.Read(ctx, plan.JWKSPath(&object.Spec)); err != nil {
		return fault.New(fault.Unavailable, "look at what is published: %w", err)
	}
	if document.HasEmptyIDs(stored.JWKS) && !c.given("empty-kid") {
		publish.EmptyKIDs = true
		fmt.Fprintf(sys.Stderr, "kept: each key is repeated under an empty kid\n")
	}
	return c.confirm(object, stored)
}

// confirm refuses to drop parts of what is there without leave.
func (c *initConfig) confirm(object *v1alpha1.Issuer, stored document.Stored) error {
	there, err := token.ReadJWKS(stored.JWKS.Text)
	if stored.JWKS.Version == "" || err != nil || len(there) == 0 {
		if there, err = placeholder(); err != nil {
			return err
		}
	}
	documents, err := document.New(object.Spec.URL, there, plan.Options(&object.Spec))
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	lost := document.Losses(documents, stored)
	if len(lost) == 0 || c.yes {
		return nil // publishing tells what is dropped
	}
	return fault.New(fault.Conflict, "documents are published for this issuer already, and would lose: %s",
		strings.Join(lost, "; ")).Hint("if nobody needs that: --yes")
}

// placeholder stands for keys that are yet to be made.
func placeholder() ([]token.PublicKey, error) {
	key, err := token.Generate(token.P256)
	if err != nil {
		return nil, err
	}
	public, err := token.NewPublicKey(key.Public())
	return []token.PublicKey{public}, err
}
