// Package controlplane runs a real etcd and kube-apiserver on this machine, for trying out
// what people and pods do with a cluster.
//
// It is no cluster: no controllers, no scheduler, no kubelet run, so that no pod does. It
// does not know what the API server asks webhooks for.
package controlplane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/app/program"
	"github.com/rolecall/rolecall/internal/fault"
)

// Config says what to start.
type Config struct {
	Programs Programs
	// Dir keeps everything; it must exist, and be its owner's alone.
	Dir string
	// Name is the cluster's, in the administrator's kubeconfig.
	Name string
	// Issuer is the URL in service-account tokens, KeyFile the private key, in PEM, that
	// signs them.
	Issuer, KeyFile string
	// TokenWebhook is the kubeconfig of the server that is asked whose a bearer token is.
	TokenWebhook string
}

// ControlPlane is a running one.
type ControlPlane struct {
	// URL is the API server's, CA its authority in PEM.
	URL string
	CA  []byte
	// Kubeconfig is a file for its administrator, Admin the same for this process.
	Kubeconfig string
	Admin      *rest.Config

	processes []*program.Process // in the order of their start
}

const (
	startTimeout = 2 * time.Minute
	// attempts at finding ports that nobody else takes between the choice and the use.
	attempts = 5
)

// Start returns when the API server is ready. One that could not be started leaves
// nothing running.
func Start(ctx context.Context, config Config) (*ControlPlane, error) {
	var err error
	for range attempts {
		c := &ControlPlane{}
		if err = c.start(ctx, config); err == nil {
			return c, nil
		}
		c.Stop()
		if !errors.Is(err, errLostPort) {
			break
		}
	}
	return nil, err
}

var errLostPort = errors.New("somebody else took a port")

// Stop ends both, the API server first.
func (c *ControlPlane) Stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Stop()
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

func (c *ControlPlane) run(ctx context.Context, path string, args ...string) error {
	p, err := program.Start(ctx, program.Command{Path: path, Args: args})
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return err
}

func (c *ControlPlane) start(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return err
	}
	client, peer := "http://"+ports[0], "http://"+ports[1]
	err = c.run(ctx, config.Programs.Etcd,
		"--data-dir="+filepath.Join(config.Dir, "etcd"), "--name=local", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=local="+peer,
		"--force-new-cluster")
	if err != nil {
		return err
	}
	if err := c.until(ctx, client+"/health", http.DefaultClient); err != nil {
		return err
	}
	certificates, tokens := filepath.Join(config.Dir, "apiserver"), filepath.Join(config.Dir, "tokens.csv")
	admin := rand.Text()
	if err := os.WriteFile(tokens, []byte(admin+`,admin,admin,"system:masters"`+"\n"), 0o600); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(ports[2])
	if err != nil {
		return err
	}
	err = c.run(ctx, config.Programs.APIServer,
		"--etcd-servers="+client, "--bind-address="+host, "--secure-port="+port, "--cert-dir="+certificates,
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", "--shutdown-watch-termination-grace-period=1s",
		"--service-account-issuer="+config.Issuer, "--service-account-signing-key-file="+config.KeyFile,
		"--service-account-key-file="+config.KeyFile,
		// What changes is seen at once: it is for trying out.
		"--authentication-token-webhook-config-file="+config.TokenWebhook,
		"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=1s")
	if err != nil {
		return err
	}
	c.URL = "https://" + ports[2]
	authority := filepath.Join(certificates, "apiserver.crt")
	if err := c.untilReady(ctx, "the API server's certificate", func() error {
		c.CA, err = os.ReadFile(authority)
		if err == nil && len(c.CA) == 0 {
			err = errors.New("empty")
		}
		return err
	}); err != nil {
		return err
	}
	c.Admin = &rest.Config{Host: c.URL, BearerToken: admin, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA}}
	asAdmin, err := rest.HTTPClientFor(c.Admin)
	if err != nil {
		return err
	}
	if err := c.until(ctx, c.URL+"/readyz", asAdmin); err != nil {
		return err
	}
	return c.writeKubeconfig(config, admin)
}

func (c *ControlPlane) writeKubeconfig(config Config, admin string) error {
	c.Kubeconfig = filepath.Join(config.Dir, "kubeconfig")
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			config.Name: {Server: c.URL, CertificateAuthorityData: c.CA},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: admin}},
		Contexts:       map[string]*clientcmdapi.Context{config.Name: {Cluster: config.Name, AuthInfo: "admin"}},
		CurrentContext: config.Name,
	}, c.Kubeconfig)
}

// until asks until the answer is 200.
func (c *ControlPlane) until(ctx context.Context, url string, client *http.Client) error {
	return c.untilReady(ctx, url, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
}

const readyPause = 50 * time.Millisecond

func (c *ControlPlane) untilReady(ctx context.Context, what string, ready func() error) error {
	ticker := time.NewTicker(readyPause)
	defer ticker.Stop()
	for {
		err := ready()
		for _, p := range c.processes {
			if ended := p.Check(); ended != nil {
				if isTaken(p) {
					return fmt.Errorf("%w: %w", errLostPort, ended)
				}
				return fault.New(fault.Unavailable, "%w", ended)
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "%s did not become ready: %w", what, err)
		case <-ticker.C:
		}
	}
}
