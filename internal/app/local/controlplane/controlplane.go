// Package controlplane runs a real etcd and kube-apiserver on this machine, for trying out
// what people and pods do with a cluster.
//
// It is no cluster: no controllers, no scheduler, no kubelet run, so that no pod does. It
// does not know what the API server asks others for.
package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/app/program"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/pki"
)

// Config says what to prepare.
type Config struct {
	Programs Programs
	// Dir keeps everything; it must exist, and be its owner's alone. What is there of an
	// earlier control plane goes on.
	Dir string
	// Name is the cluster's, in the administrator's kubeconfig.
	Name string
	// Issuer is the URL in service-account tokens, Key the private key that signs them, in
	// PEM.
	Issuer string
	Key    []byte
	Now    time.Time
}

// ControlPlane is where one is, or will be.
type ControlPlane struct {
	// URL is the API server's, CA its authority in PEM.
	URL string
	CA  []byte
	// Kubeconfig is a file for its administrator, Admin the same for this process.
	Kubeconfig string
	Admin      *rest.Config

	config       Config
	etcd, peer   string
	processes    []*program.Process // in the order of their start
	tokens, key  string
	serving, pem string
}

const (
	startTimeout = 2 * time.Minute
	lifetime     = 365 * 24 * time.Hour
	private      = 0o600
)

// Prepare chooses ports and writes what is needed to reach the API server, which does not
// run yet: so can others who are to be there before it.
func Prepare(ctx context.Context, config Config) (*ControlPlane, error) {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "choose ports for the API server: %w", err)
	}
	c := &ControlPlane{
		config: config, etcd: "http://" + ports[0], peer: "http://" + ports[1], URL: "https://" + ports[2],
		tokens: filepath.Join(config.Dir, "tokens.csv"), key: filepath.Join(config.Dir, "service-accounts.key"),
		serving: filepath.Join(config.Dir, "apiserver.crt"), pem: filepath.Join(config.Dir, "apiserver.key"),
		Kubeconfig: filepath.Join(config.Dir, "kubeconfig"),
	}
	authority, err := pki.NewAuthority("rolecall local cluster", config.Now, lifetime)
	if err != nil {
		return nil, err
	}
	certificate, err := authority.Serving(config.Now, lifetime, "127.0.0.1", "localhost", "kubernetes.default.svc")
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, err
	}
	var chain []byte
	for _, der := range certificate.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	admin := rand.Text()
	for path, text := range map[string][]byte{
		c.tokens:  []byte(admin + `,admin,admin,"system:masters"` + "\n"),
		c.key:     config.Key,
		c.serving: chain,
		c.pem:     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(path, text, private); err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err)
		}
	}
	c.CA = authority.PEM()
	c.Admin = &rest.Config{Host: c.URL, BearerToken: admin, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA}}
	return c, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{config.Name: {Server: c.URL, CertificateAuthorityData: c.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: admin}},
		Contexts:       map[string]*clientcmdapi.Context{config.Name: {Cluster: config.Name, AuthInfo: "admin"}},
		CurrentContext: config.Name,
	}, c.Kubeconfig)
}

// Start starts both and returns when the API server is ready; tokenWebhook is the
// kubeconfig of whom it asks whose bearer tokens are. What could not be started as a whole
// leaves nothing running.
func (c *ControlPlane) Start(ctx context.Context, tokenWebhook string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := c.start(ctx, tokenWebhook)
	if err != nil {
		c.Stop()
	}
	return err
}

// Stop ends both, the API server first.
func (c *ControlPlane) Stop() {
	for _, v := range slices.Backward(c.processes) {
		v.Stop()
	}
}

// Failed is closed when one of both ended by itself.
func (c *ControlPlane) Failed() <-chan struct{} {
	failed := make(chan struct{})
	var once sync.Once
	for _, p := range c.processes {
		go func() {
			<-p.Ended()
			once.Do(func() { close(failed) })
		}()
	}
	return failed
}

// Check is an error once one of both has ended.
func (c *ControlPlane) Check() error {
	for _, p := range c.processes {
		if err := p.Check(); err != nil {
			return fault.New(fault.Unavailable, "%w", err)
		}
	}
	return nil
}

func (c *ControlPlane) run(ctx context.Context, path string, args ...string) error {
	p, err := program.Start(ctx, program.Command{Path: path, Args: args})
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return err
}

func (c *ControlPlane) start(ctx context.Context, tokenWebhook string) error {
	err := c.run(ctx, c.config.Programs.Etcd,
		"--data-dir="+filepath.Join(c.config.Dir, "etcd"), "--name=local", "--log-level=error",
		"--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd,
		"--listen-peer-urls="+c.peer, "--initial-advertise-peer-urls="+c.peer, "--initial-cluster=local="+c.peer,
		// The ports of last time may be somebody else's now.
		"--force-new-cluster")
	if err != nil {
		return err
	}
	if err := c.until(ctx, c.etcd+"/health", http.DefaultClient); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.URL[len("https://"):])
	if err != nil {
		return err
	}
	err = c.run(ctx, c.config.Programs.APIServer,
		"--etcd-servers="+c.etcd, "--bind-address="+host, "--secure-port="+port,
		"--tls-cert-file="+c.serving, "--tls-private-key-file="+c.pem,
		"--token-auth-file="+c.tokens, "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", "--shutdown-watch-termination-grace-period=1s",
		"--service-account-issuer="+c.config.Issuer, "--service-account-signing-key-file="+c.key,
		"--service-account-key-file="+c.key,
		// What changes is seen at once: it is for trying out.
		"--authentication-token-webhook-config-file="+tokenWebhook,
		"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=1s")
	if err != nil {
		return err
	}
	asAdmin, err := rest.HTTPClientFor(c.Admin)
	if err != nil {
		return err
	}
	return c.until(ctx, c.URL+"/readyz", asAdmin)
}

// until waits until the answer is 200.
func (c *ControlPlane) until(ctx context.Context, url string, client *http.Client) error {
	if err := program.Until(ctx, url, program.Answers(url, client), c.processes...); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// freePorts are addresses of the loopback that nobody listened at a moment ago.
func freePorts(ctx context.Context, count int) (found []string, err error) {
	var config net.ListenConfig
	for range count {
		listener, listenErr := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, listenErr
		}
		found = append(found, listener.Addr().String())
		// Held until all are chosen, so that they differ.
		defer func() { err = errors.Join(err, listener.Close()) }()
	}
	return found, nil
}
