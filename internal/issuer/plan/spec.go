// Package plan says what an Issuer asks for in the phase that its rotation is in: which
// keys are published, which of them API servers get in which file, which token they are
// asked for, how long is waited, and what its status says of it (spec issuer-and-sts §7).
// The commands, which work in a folder, and the controller, which works in a Secret, ask
// here.
//
// It reads and writes no file, Secret or bucket and no clock, and does not decide when a
// step is safe: that is rotation's.
package plan

import (
	"strings"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rotation"
)

// Options are those of the documents that a spec asks for.
func Options(spec *v1alpha1.IssuerSpec) document.Options {
	return document.Options{
		JWKSPath: spec.Publish.JWKSPath,
		MaxAge:   int(spec.Publish.MaxAgeSeconds),
		EmptyIDs: spec.Publish.EmptyKIDs,
	}
}

// JWKSPath is where a spec wants the keys, below the issuer URL.
func JWKSPath(spec *v1alpha1.IssuerSpec) string {
	if spec.Publish.JWKSPath == "" {
		return document.JWKSPath
	}
	return spec.Publish.JWKSPath
}

// JWKSURI is the URL at which readers find the keys.
func JWKSURI(spec *v1alpha1.IssuerSpec) string {
	return strings.TrimSuffix(spec.URL, "/") + "/" + JWKSPath(spec)
}

// Probe is the token that API servers are asked for, to see which key they sign with.
type Probe struct {
	Namespace, ServiceAccount, Audience string
}

// ProbeOf returns the probe of a spec, by default that of the service account default in
// the namespace default, which every cluster has.
func ProbeOf(spec *v1alpha1.IssuerSpec) Probe {
	account := spec.Probe.ServiceAccount
	if account.Name == "" {
		account = v1alpha1.ObjectName{Namespace: "default", Name: "default"}
	}
	return Probe{Namespace: account.Namespace, ServiceAccount: account.Name, Audience: Audiences(spec)[0]}
}

// Audiences returns all audiences of a spec's providers, STS's own if none is named.
func Audiences(spec *v1alpha1.IssuerSpec) []string {
	var audiences []string
	for _, provider := range spec.Providers {
		audiences = append(audiences, provider.ClientIDs...)
	}
	if len(audiences) == 0 {
		return []string{"sts.amazonaws.com"}
	}
	return audiences
}

// Parameters are a spec's waiting times; longest is the life of the longest token that a
// pod has, for which draining always waits. Without a role to try there is no canary.
func Parameters(spec *v1alpha1.IssuerSpec, longest time.Duration) rotation.Parameters {
	parameters := rotation.Defaults()
	parameters.WithoutCanary = spec.Probe.RoleARN == ""
	if spec.Rotation != nil {
		if wanted := spec.Rotation.CacheFor.Duration; wanted > 0 {
			parameters.CacheFor = wanted
		}
		if wanted := spec.Rotation.DrainFor.Duration; wanted > 0 {
			parameters.DrainFor = wanted
		}
	}
	parameters.DrainFor = max(parameters.DrainFor, longest)
	return parameters
}
