package cluster

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/app/program"
)

// Tokens are an API server's settings for service-account tokens.
type Tokens struct {
	// Issuers: the first is that of new tokens, all are accepted.
	Issuers []string
	// SigningKey and Keys are PEM files; a token is accepted if any of Keys
	// holds its key.
	SigningKey string
	Keys       []string
	// SigningEndpoint is the socket of an external signer; SigningKey and Keys are
	// not used then.
	SigningEndpoint string
	// Audiences are the API server's own; its issuers if empty.
	Audiences []string
}

func (s Tokens) args() []string {
	args := []string{"--service-account-signing-endpoint=" + s.SigningEndpoint}
	if s.SigningEndpoint == "" {
		args = []string{"--service-account-signing-key-file=" + s.SigningKey}
		for _, file := range s.Keys {
			args = append(args, "--service-account-key-file="+file)
		}
	}
	for _, issuer := range s.Issuers {
		args = append(args, "--service-account-issuer="+issuer)
	}
	if len(s.Audiences) > 0 {
		args = append(args, "--api-audiences="+strings.Join(s.Audiences, ","))
	}
	return args
}

// APIServer is one kube-apiserver of a cluster.
type APIServer struct {
	Name   string
	Tokens Tokens
	// Config is the administrator's for this one; Client uses it. A restart
	// replaces both.
	Config *rest.Config
	Client kubernetes.Interface

	process *program.Process
}

// Stop ends the process; what it has begun to answer it finishes.
func (c *Cluster) Stop(server *APIServer) {
	server.process.Stop()
	// A process that was ended on purpose is not a failure of the cluster.
	c.processes = slices.DeleteFunc(c.processes, func(p *program.Process) bool { return p == server.process })
}

// Restart starts a stopped API server with other settings, at another address:
// the old one may have been taken meanwhile.
func (c *Cluster) Restart(t testing.TB, server *APIServer, tokens Tokens) {
	t.Helper()
	next := &APIServer{Name: server.Name, Tokens: tokens}
	for attempt := 1; ; attempt++ {
		err := c.startAPIServer(t.Context(), next)
		if err == nil {
			*server = *next
			return
		}
		if attempt == attempts || next.process == nil ||
			!strings.Contains(next.process.Output(), "address already in use") {
			t.Fatal(err)
		}
		c.Stop(next)
	}
}

func (c *Cluster) startAPIServer(ctx context.Context, server *APIServer) error {
	listen, err := c.address(ctx, 1)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listen[0])
	if err != nil {
		return err
	}
	certs := filepath.Join(c.dir, "certs-"+server.Name)
	args := slices.Concat([]string{
		// Without it one that stops waits longer than we do for clients that watch.
		"--shutdown-watch-termination-grace-period=1s",
		"--etcd-servers=" + c.etcdURL, "--bind-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + certs,
		"--token-auth-file=" + filepath.Join(c.dir, "tokens.csv"), "--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none", "--v=0",
	}, server.Tokens.args(), c.extra)
	if server.process, err = c.start(ctx, filepath.Join(c.programs, "kube-apiserver"), args...); err != nil {
		return err
	}
	server.Config = &rest.Config{Host: "https://" + listen[0], BearerToken: c.admin, QPS: 200, Burst: 200}
	server.Config.CAFile = filepath.Join(certs, "apiserver.crt")
	// The certificate is the server's own, written as it first starts.
	if err := c.untilFile(ctx, server.Config.CAFile); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(server.Config)
	if err != nil {
		return err
	}
	if err := c.untilOK(ctx, server.Name, server.Config.Host+"/readyz"+c.withoutBootstrap(), client); err != nil {
		return err
	}
	server.Client, err = kubernetes.NewForConfig(server.Config)
	return err
}

// withoutBootstrap leaves out the checks of steps that make objects which the first
// API server has made: each looks for them once a second, the first time after one.
func (c *Cluster) withoutBootstrap() string {
	if len(c.APIServers) == 0 {
		return ""
	}
	return "?exclude=poststarthook/rbac/bootstrap-roles" +
		"&exclude=poststarthook/scheduling/bootstrap-system-priority-classes"
}
