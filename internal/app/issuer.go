package app

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/publication"
)

func newIssuer(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "issuer",
		Short: "Publish a cluster's token keys for AWS, check and rotate them",
		Long: `Make any cluster an identity provider that AWS trusts: publish the keys of its
service-account tokens, check them as STS does, rotate them with no failed request.

All commands work in one folder, --dir: issuer.yaml says what is published where
(an Issuer object, which the controller takes as it is), sa.key and sa.pub are for
the API servers, rotation.json is how far a rotation is.`,
		Args: noSuchCommand,
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

// clusterFlags say how to reach every API server.
type clusterFlags struct {
	kubeconfig string
	apiServers []string
}

func (c *clusterFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster; without it no API server is asked")
	cmd.Flags().StringArrayVar(&c.apiServers, "api-server", nil, "URL of one API server, not of a load balancer; repeat it for all (default: those that have registered themselves)")
}

// words are the flags as they were given, for commands in hints.
func (c *clusterFlags) words() string {
	var words strings.Builder
	if c.kubeconfig != "" {
		words.WriteString(" --kubeconfig " + fault.Quote(c.kubeconfig))
	}
	for _, server := range c.apiServers {
		words.WriteString(" --api-server " + fault.Quote(server))
	}
	return words.String()
}

// config is nil if no cluster was named.
func (c *clusterFlags) config() (*rest.Config, error) {
	if c.kubeconfig == "" {
		if len(c.apiServers) > 0 {
			return nil, fault.New(fault.Usage, "--api-server needs --kubeconfig for the credentials")
		}
		return nil, nil
	}
	return kubeConfig(c.kubeconfig, "")
}

// servers returns all API servers, none if no cluster was named.
func (c *clusterFlags) servers(ctx context.Context, more []string) ([]*issuer.APIServer, error) {
	config, err := c.config()
	if err != nil || config == nil {
		return nil, err
	}
	urls := c.apiServers
	if len(urls) == 0 {
		urls = more
	}
	servers, err := issuer.FindAPIServers(ctx, config, urls)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err).Hint("name each API server with --api-server URL")
	}
	return servers, nil
}

func (c *clusterFlags) client() (kubernetes.Interface, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, fault.New(fault.Usage, "no cluster named").Hint("add --kubeconfig FILE")
	}
	return kubernetes.NewForConfig(config)
}

// readFlags say how to read what is published.
type readFlags struct {
	endpoints []string
	ca        string
}

func (c *readFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.endpoints, "issuer-endpoint", nil, "HOST=ADDRESS:PORT: read issuers on HOST from there; may be repeated")
	cmd.Flags().StringVar(&c.ca, "issuer-ca", "", "PEM file of authorities to trust for issuers, instead of the system's")
}

func (c *readFlags) reader() (*issuer.Reader, error) {
	access := issuer.Access{Endpoints: map[string]string{}}
	for _, pair := range c.endpoints {
		host, address, ok := strings.Cut(pair, "=")
		if _, _, err := net.SplitHostPort(address); !ok || host == "" || err != nil {
			return nil, fault.New(fault.Usage, "issuer endpoint %q: want HOST=ADDRESS:PORT", pair).Hint("for example oidc.example.com=127.0.0.1:8443")
		}
		access.Endpoints[host] = address
	}
	if c.ca == "" {
		return issuer.NewReader(access), nil
	}
	text, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read authorities: %w", err)
	}
	access.RootCAs = x509.NewCertPool()
	if !access.RootCAs.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "%s holds no certificate in PEM", c.ca)
	}
	return issuer.NewReader(access), nil
}

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
	temporary, err := os.CreateTemp(filepath.Dir(path), ".rolecall-*") // mode 0600
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already if all went well
	_, err = temporary.Write(text)
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
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
func storeOf(ctx context.Context, spec *v1alpha1.IssuerSpec, cluster *clusterFlags) (issuer.Store, error) {
	switch target := spec.Publish; {
	case target.S3 != nil:
		account, err := awsapi.OpenAccount(ctx, target.S3.Region, "")
		if err != nil {
			return nil, err
		}
		return account.Bucket(target.S3.Bucket, target.S3.Prefix), nil
	case target.ConfigMap != nil:
		client, err := cluster.client()
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
