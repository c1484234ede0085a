// Package apiserverflags writes the API server settings of an issuer in the form
// of each way to run Kubernetes: which file, which field, which command (spec
// issuer-and-sts §2).
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

// The distributions that are known.
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

// Issuer is what the API servers are to be told.
type Issuer struct {
	// URL is the issuer of new tokens; Present that of the tokens there are,
	// which stays accepted.
	URL, Present string
	// JWKSURI is where the keys are published.
	JWKSURI string
	// Cluster is the cluster's name, Namespace where its objects lie in a
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
	// File is a good name for Text.
	File string
	// Text is a patch or a snippet, in the distribution's own format, with
	// comments that say where it goes.
	Text string
	// Steps are what to do with it, in order.
	Steps []string
}

// defaultPresent is the issuer of a cluster of which nobody has said anything.
const defaultPresent = "https://kubernetes.default.svc.cluster.local"

// PresentOf returns the issuer that a distribution sets by itself; empty if it
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
			return fmt.Errorf("the cluster's present issuer is not known: a setting without it would refuse every token there is")
		case err != nil || !printable || (text != "" && parsed.Scheme == ""):
			return fmt.Errorf("%q is no URL for a setting", text)
		}
	}
	for _, text := range []string{i.Cluster, i.Namespace, i.Bucket, i.Prefix} {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\{}[],#:`, r) }) {
			return fmt.Errorf("%q is no name for a setting", text)
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

// arguments are the API server's, the new issuer first: the first is that of
// new tokens.
func (i Issuer) arguments() []argument {
	list := []argument{{"service-account-issuer", i.URL}}
	audiences := i.URL
	if i.Present != i.URL {
		list = append(list, argument{"service-account-issuer", i.Present})
		audiences += "," + i.Present
	}
	// The default is the issuers, and so changes when one is removed later;
	// said outright, tokens of default audience outlive that.
	return append(list, argument{"service-account-jwks-uri", i.JWKSURI}, argument{"api-audiences", audiences})
}
