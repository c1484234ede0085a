package issuercmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/token"
)

// jwksConfig is what `issuer jwks` needs.
type jwksConfig struct {
	files   []string
	cluster flags.APIServers
	// secret is NAMESPACE/NAME of a Secret with a cluster's key pair.
	secret   string
	emptyIDs bool
}

func newIssuerJWKS(sys cli.System) *cobra.Command {
	var c jwksConfig
	cmd := &cobra.Command{
		Use:   "jwks [-f FILE]... [--kubeconfig FILE [--secret NAMESPACE/NAME]]",
		Short: "Print the key set of PEM files, of running API servers, or of a cluster's Secret",
		Example: `  rolecall issuer jwks -f sa.pub
  rolecall issuer jwks --kubeconfig admin.conf
  rolecall issuer jwks --kubeconfig mgmt.conf --secret eksa-system/my-cluster-sa --empty-kid`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	cmd.Flags().StringArrayVarP(&c.files, "filename", "f", nil,
		"PEM file of keys or certificates, newest first; of private keys the public half is used; "+
			"- for standard input")
	cli.CompleteFiles(cmd, "filename", "pem", "pub", "key", "crt")
	c.cluster.Add(cmd)
	cmd.Flags().StringVar(&c.secret, "secret", "",
		"NAMESPACE/NAME of the Secret with the key pair, of EKS Anywhere (eksa-system/CLUSTER-sa) or Cluster API")
	cmd.Flags().BoolVar(&c.emptyIDs, "empty-kid", false,
		"repeat each key under an empty kid, for tokens of API servers before 1.16")
	return cmd
}

func (c *jwksConfig) run(ctx context.Context, sys cli.System) error {
	keys, err := c.keys(ctx, sys)
	if err != nil {
		return err
	}
	text, err := token.MarshalKeys(keys, c.emptyIDs)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	fmt.Fprintf(sys.Stdout, "%s\n", text)
	return nil
}

func (c *jwksConfig) keys(ctx context.Context, sys cli.System) ([]token.PublicKey, error) {
	var sets [][]token.PublicKey
	for _, file := range c.files {
		keys, err := c.file(sys, file)
		if err != nil {
			return nil, err
		}
		sets = append(sets, keys)
	}
	switch {
	case c.secret != "":
		keys, err := c.fromSecret(ctx)
		if err != nil {
			return nil, err
		}
		sets = append(sets, keys)
	case c.cluster.Kubeconfig != "":
		servers, err := c.cluster.Servers(ctx, nil)
		if err != nil {
			return nil, err
		}
		keys, err := observe.Union(observe.AskAll(ctx, servers, plan.Probe{}, sys.Now))
		if err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err)
		}
		sets = append(sets, keys)
	}
	if len(sets) == 0 {
		return nil, fault.New(fault.Usage, "no keys named").
			Hint("rolecall issuer jwks -f sa.pub, or --kubeconfig FILE for a running cluster")
	}
	keys, err := document.Union(sets...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return keys, nil
}

func (c *jwksConfig) file(sys cli.System, file string) ([]token.PublicKey, error) {
	if file != "-" {
		return readPublicKeys(file)
	}
	text, err := io.ReadAll(io.LimitReader(sys.Stdin, policyfile.MaxBytes))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read standard input: %w", err)
	}
	return parsePublicKeys("standard input", text)
}

func readPublicKeys(path string) ([]token.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read keys: %w", err)
	}
	return parsePublicKeys(path, text)
}

func parsePublicKeys(name string, text []byte) ([]token.PublicKey, error) {
	keys, err := document.Keys(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", name, err)
	}
	return keys, nil
}

// fromSecret reads the public half of a cluster's key pair, and never looks at
// the other.
func (c *jwksConfig) fromSecret(ctx context.Context) ([]token.PublicKey, error) {
	namespace, name, ok := strings.Cut(c.secret, "/")
	if !ok || namespace == "" || name == "" {
		return nil, fault.New(fault.Usage, "secret %q: want NAMESPACE/NAME", c.secret).
			Hint("for EKS Anywhere eksa-system/CLUSTER-sa")
	}
	client, err := c.cluster.Client()
	if err != nil {
		return nil, err
	}
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fault.New(fault.NotFound, "read the key pair: %w", err)
	}
	text, found := secret.Data["tls.crt"] // a public key, in spite of its name
	if !found {
		return nil, fault.New(fault.Invalid, "Secret %s has no tls.crt", c.secret)
	}
	return parsePublicKeys("tls.crt of Secret "+c.secret, text)
}
