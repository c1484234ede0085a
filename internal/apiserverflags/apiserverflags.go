// Package apiserverflags writes the API server settings of an issuer in the form
// that each way to run Kubernetes needs: which file, which field, which command
// (spec issuer-and-sts §2).
//
// It changes no cluster and reads none; it always keeps the cluster's present
// issuer beside the new one, so that no running token is refused.
package apiserverflags

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Name is a way to run Kubernetes.
type Name string

// The distributions that the package knows.
const (
	Kubeadm     Name = "kubeadm"
	CAPI        Name = "capi"
	KOps        Name = "kops"
	K3s         Name = "k3s"
	RKE2        Name = "rke2"
	Talos       Name = "talos"
	EKSAnywhere Name = "eks-anywhere"
)

// Names returns all of them.
func Names() []Name { return []Name{Kubeadm, CAPI, KOps, K3s, RKE2, Talos, EKSAnywhere} }

// Issuer is what the API servers are to be configured with.
type Issuer struct {
	// URL is the issuer of new tokens; Present is that of existing tokens,
	// which stays accepted.
	URL, Present string
	// JWKSURI is where the keys are published.
	JWKSURI string
	// Cluster is the cluster's name, Namespace is where its objects are in a
	// management cluster.
	Cluster, Namespace string
	// Bucket and Prefix are where kOps publishes by itself.
	Bucket, Prefix string
	// OwnKeys says that the API servers are to sign with keys made by init,
	// sa.key and sa.pub.
	OwnKeys bool
}

// Settings are what to change.
type Settings struct {
	// File is a suitable file name for Text.
	File string
	// Text is a patch or a snippet, in the distribution's own format, with
	// comments that say where it belongs.
	Text string
	// Steps are what to do with it, in order.
	Steps []string
}

// defaultPresent is the issuer of a cluster that was not configured otherwise.
const defaultPresent = "https://kubernetes.default.svc.cluster.local"

// PresentOf returns the issuer that a distribution sets by default; empty if it
// differs from cluster to cluster.
func PresentOf(name Name) string {
	if name == KOps || name == Talos {
		return ""
	}
	return defaultPresent
}

// For returns the settings for a distribution.
func For(name Name, issuer Issuer) (Settings, error) {
	if issuer.Present == "" {
		issuer.Present = PresentOf(name)
	}
	if issuer.Cluster == "" {
		issuer.Cluster = "CLUSTER"
	}
	if err := issuer.check(name); err != nil {
		return Settings{}, err
	}
	switch name {
	case Kubeadm:
		return kubeadm(issuer), nil
	case CAPI:
		return capi(issuer), nil
	case KOps:
		return kops(issuer), nil
	case K3s:
		return rancher("k3s", issuer), nil
	case RKE2:
		return rancher("rke2", issuer), nil
	case Talos:
		return talos(issuer), nil
	case EKSAnywhere:
		return eksAnywhere(issuer), nil
	}
	return Settings{}, fmt.Errorf("distribution %q: want one of %s", name, join(Names()))
}

func (i Issuer) check(name Name) error {
	for _, text := range []string{i.URL, i.Present, i.JWKSURI} {
		parsed, err := url.Parse(text)
		printable := !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\{}[],#`, r) })
		switch {
		case text == "" && slices.Contains(Names(), name):
			return fmt.Errorf("the cluster's present issuer is not known: a setting without it would make API servers refuse every existing token")
		case err != nil || !printable || (text != "" && parsed.Scheme == ""):
			return fmt.Errorf("%q is not a URL that can be written into a setting", text)
		}
	}
	for _, text := range []string{i.Cluster, i.Namespace, i.Bucket, i.Prefix} {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\{}[],#:`, r) }) {
			return fmt.Errorf("%q is not a name that can be written into a setting", text)
		}
	}
	return nil
}

func join(names []Name) string {
	texts := make([]string, 0, len(names))
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

// argument is a flag of kube-apiserver without its dashes.
type argument struct{ name, value string }

// arguments are the API server's, the new issuer first: the first one is used
// in new tokens.
func (i Issuer) arguments() []argument {
	list := []argument{{"service-account-issuer", i.URL}}
	audiences := i.URL
	if i.Present != i.URL {
		list = append(list, argument{"service-account-issuer", i.Present})
		audiences += "," + i.Present
	}
	// The default is the list of issuers, and so changes when one is removed
	// later; if it is set explicitly, tokens with the default audience survive
	// that.
	return append(list, argument{"service-account-jwks-uri", i.JWKSURI}, argument{"api-audiences", audiences})
}
