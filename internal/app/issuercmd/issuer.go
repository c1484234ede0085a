// Package issuercmd has the commands of `rolecall issuer`: they keep an issuer's files in a
// folder, publish its documents and walk rotations by hand.
//
// Which step is right is decided in internal/issuer and internal/rotation, for these
// commands and for the controller alike.
package issuercmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/publication"
)

func New(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "issuer",
		Short: "Publish a cluster's token keys for AWS, check and rotate them",
		Long: `Make any cluster an identity provider that AWS trusts: publish the keys of its
service-account tokens, check them as STS does, rotate them with no failed request.

All commands work in one folder, --dir: issuer.yaml says what is published where
(an Issuer object, which the controller takes as it is), sa.key and sa.pub are for
the API servers, rotation.json is how far a rotation is.`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newIssuerInit(sys), newIssuerJWKS(sys), newIssuerPublish(sys), newIssuerVerify(sys), newIssuerRotate(sys))
	return cmd
}

// Files of the issuer's folder.
const (
	issuerFile   = "issuer.yaml"
	signingFile  = "sa.key"        // signs; 0600
	acceptedFile = "sa.pub"        // public halves of all keys that API servers accept
	nextFile     = "next.key"      // the new key until it signs; 0600
	oldFile      = "old.key"       // the old key until it is destroyed; 0600
	oldPublic    = "old.pub"       // its public half, published until the last API server has dropped it
	stateFile    = "rotation.json" // how far a rotation is
)

// issuerFolder is the folder that all issuer commands share.
type issuerFolder struct{ dir string }

func (f *issuerFolder) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "issuer", "folder of the issuer's files")
}

func (f *issuerFolder) path(name string) string { return filepath.Join(f.dir, name) }

// load reads issuer.yaml.
func (f *issuerFolder) load() (*v1alpha1.Issuer, error) {
	text, err := os.ReadFile(f.path(issuerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there is no %s", f.path(issuerFile)).Hint("make it with `rolecall issuer init`, or name its folder with --dir")
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the issuer: %w", err)
	}
	return parseIssuer(f.path(issuerFile), text)
}

func parseIssuer(name string, text []byte) (*v1alpha1.Issuer, error) {
	var object v1alpha1.Issuer
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", name, err)
	}
	if object.APIVersion != v1alpha1.GroupVersion.String() || object.Kind != "Issuer" {
		return nil, fault.New(fault.Invalid, "%s is of apiVersion %q and kind %q: want %s and Issuer", name, object.APIVersion, object.Kind, v1alpha1.GroupVersion)
	}
	return &object, nil
}

// save writes issuer.yaml without its status.
func (f *issuerFolder) save(object *v1alpha1.Issuer) error {
	text, err := yaml.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]string   `json:"metadata"`
		Spec            v1alpha1.IssuerSpec `json:"spec"`
	}{object.TypeMeta, map[string]string{"name": object.Name}, object.Spec})
	if err != nil {
		return err
	}
	return writePrivately(f.path(issuerFile), text)
}

// writePrivately replaces a file, mode 0600; a crash leaves the old text or the
// new.
func writePrivately(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := atomicfile.Write(path, text, 0o600); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, err)
	}
	return nil
}

// probeOf returns the token to ask API servers for.
func probeOf(spec *v1alpha1.IssuerSpec) issuer.Probe {
	probe := issuer.Probe{Namespace: spec.Probe.ServiceAccount.Namespace, ServiceAccount: spec.Probe.ServiceAccount.Name, Audience: audiencesOf(spec)[0]}
	if probe.ServiceAccount == "" {
		probe.Namespace, probe.ServiceAccount = metav1.NamespaceDefault, "default"
	}
	return probe
}

// audiencesOf returns all audiences of the issuer's providers, STS's if none is
// named.
func audiencesOf(spec *v1alpha1.IssuerSpec) []string {
	var audiences []string
	for _, provider := range spec.Providers {
		audiences = append(audiences, provider.ClientIDs...)
	}
	if len(audiences) == 0 {
		return []string{"sts.amazonaws.com"}
	}
	return audiences
}

// storeOf opens the place that an issuer is published to.
func storeOf(ctx context.Context, spec *v1alpha1.IssuerSpec, cluster *flags.APIServers) (issuer.Store, error) {
	switch target := spec.Publish; {
	case target.S3 != nil:
		account, err := awsapi.OpenAccount(ctx, target.S3.Region, "")
		if err != nil {
			return nil, err
		}
		return account.Bucket(target.S3.Bucket, target.S3.Prefix), nil
	case target.ConfigMap != nil:
		client, err := cluster.Client()
		if err != nil {
			return nil, err
		}
		return issuer.ConfigMap{Client: client.CoreV1().ConfigMaps(target.ConfigMap.Namespace), Name: target.ConfigMap.Name}, nil
	case target.Directory != nil:
		return issuer.Directory{Path: target.Directory.Path}, nil
	}
	return nil, fault.New(fault.Invalid, "spec.publish names no place").Hint("want one of s3, configMap and directory")
}

func publishOptions(spec *v1alpha1.IssuerSpec) publication.Options {
	return publication.Options{JWKSPath: spec.Publish.JWKSPath, MaxAge: int(spec.Publish.MaxAgeSeconds), EmptyIDs: spec.Publish.EmptyKIDs}
}
