// Package cluster starts a real etcd and kube-apiserver for a test or a
// measurement, on free loopback ports, and stops them with it.
//
// It does not build them (hack/controlplane.sh does) and starts no other part
// of Kubernetes: no controllers, no scheduler, no kubelet.
package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/app/program"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/checkout"
	"github.com/rolecall/rolecall/test/freeport"
)

// attempts at finding ports that nobody else takes between the choice of one
// and its use.
const attempts = 5

// Options of a cluster. The zero value is a plain one.
type Options struct {
	// Issuer is the service-account issuer's URL; a made-up one if empty.
	Issuer string
	// APIServerArgs are further flags of kube-apiserver; of a flag given twice
	// that takes one value, this one counts.
	APIServerArgs []string
	// APIServers is how many share the database; one if zero.
	APIServers int
	// SigningEndpoint is the socket of an external signer, which signs instead of
	// the cluster's key.
	SigningEndpoint string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is the administrator's.
	Config *rest.Config
	// Client uses Config.
	Client kubernetes.Interface
	// Kubeconfig is a file with the same.
	Kubeconfig string
	// Kubectl is the program, of the same version.
	Kubectl string
	// Issuer is the service-account issuer's URL.
	Issuer string
	// Key signs service-account tokens; KeyFile holds it.
	Key     *token.Key
	KeyFile string
	// APIServers are all of them; Config and Client are of the first.
	APIServers []*APIServer

	processes []*program.Process // in the order of their start
	programs  string
	dir       string
	etcdURL   string
	admin     string
	extra     []string
	address   addresses
}

// Start runs a control plane until the test ends. Missing programs fail the
// test with the command that builds them; it is never skipped.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	c, stop, err := Run(t.Context(), t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			for _, p := range c.processes {
				t.Logf("%s said last:\n%s", p.Name, p.Output())
			}
		}
	})
	return c
}

// Run runs a control plane until stop is called, for a program that is not a
// test; its files are below dir, which must exist. Missing programs are an
// error with the command that builds them.
func Run(ctx context.Context, dir string, options Options) (c *Cluster, stop func(), err error) {
	programs, err := findPrograms(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c, err = startUntilPortsAreFree(ctx, programs, dir, options, freeAddress); err != nil {
		return nil, nil, err
	}
	return c, c.stop, nil
}

// startUntilPortsAreFree tries again when somebody took a port, each time in a
// folder of its own below dir.
func startUntilPortsAreFree(
	ctx context.Context, programs, dir string, options Options, address addresses,
) (*Cluster, error) {
	for attempt := 1; ; attempt++ {
		c, err := launch(ctx, programs, filepath.Join(dir, strconv.Itoa(attempt)), options, address)
		if err == nil {
			return c, nil
		}
		c.stop()
		if attempt == attempts || !c.lostPort() {
			return nil, err
		}
	}
}

// launch returns the cluster even with an error, for what was started.
func launch(ctx context.Context, programs, dir string, options Options, address addresses) (*Cluster, error) {
	c := &Cluster{
		Issuer:     options.Issuer,
		KeyFile:    filepath.Join(dir, "sa.key"),
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
		Kubectl:    filepath.Join(programs, "kubectl"),
		programs:   programs,
		dir:        dir,
		admin:      rand.Text(),
		extra:      options.APIServerArgs,
		address:    address,
	}
	if c.Issuer == "" {
		c.Issuer = "https://issuer.example/id/TEST"
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return c, err
	}
	if err := c.writeKey(); err != nil {
		return c, err
	}
	var err error
	if c.etcdURL, err = c.startEtcd(ctx, address); err != nil {
		return c, err
	}
	tokens := c.admin + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(tokens), 0o600); err != nil {
		return c, err
	}
	for i := range max(1, options.APIServers) {
		server := &APIServer{
			Name: "kube-apiserver-" + strconv.Itoa(i),
			Tokens: Tokens{
				Issuers:         []string{c.Issuer},
				SigningKey:      c.KeyFile,
				Keys:            []string{c.KeyFile},
				SigningEndpoint: options.SigningEndpoint,
			},
		}
		if err := c.startAPIServer(ctx, server); err != nil {
			return c, err
		}
		c.APIServers = append(c.APIServers, server)
	}
	c.Config, c.Client = c.APIServers[0].Config, c.APIServers[0].Client
	return c, c.writeKubeconfig()
}

// stop ends the processes: the first is the database, which the others still need.
func (c *Cluster) stop() {
	var servers sync.WaitGroup
	for i, p := range slices.Backward(c.processes) {
		if i == 0 {
			servers.Wait()
			p.Stop()
			continue
		}
		servers.Go(p.Stop)
	}
}

// lostPort reports whether a process could not have a port.
func (c *Cluster) lostPort() bool {
	for _, p := range c.processes {
		if strings.Contains(p.Output(), "address already in use") {
			return true
		}
	}
	return false
}

// findPrograms finds the folder that hack/controlplane.sh has filled.
func findPrograms(ctx context.Context) (string, error) {
	root, err := checkout.Root()
	if err != nil {
		return "", err
	}
	cache := os.Getenv("ROLECALL_CACHE")
	if cache == "" {
		cache = filepath.Join(root, ".cache")
	}
	list := exec.CommandContext(
		ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes", "go.etcd.io/etcd/server/v3",
	)
	list.Dir = filepath.Join(root, "test", "controlplane")
	list.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find the versions of the control plane: %w", err)
	}
	versions := strings.Fields(string(out)) // in the order asked
	dir := filepath.Join(cache, "controlplane", strings.Join(versions, "-etcd-"))
	for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return "", fmt.Errorf("the control plane is not built: %w\nrun: make controlplane", err)
		}
	}
	return dir, nil
}

func (c *Cluster) writeKey() error {
	var err error
	if c.Key, err = token.GenerateRSA(token.MinRSABits); err != nil {
		return err
	}
	text, err := c.Key.PEM()
	if err != nil {
		return err
	}
	return os.WriteFile(c.KeyFile, text, 0o600)
}

func (c *Cluster) startEtcd(ctx context.Context, address addresses) (string, error) {
	listen, err := address(ctx, 2)
	if err != nil {
		return "", err
	}
	client, peer := "http://"+listen[0], "http://"+listen[1]
	_, err = c.start(ctx, filepath.Join(c.programs, "etcd"),
		"--data-dir="+filepath.Join(c.dir, "etcd"), "--name=test", "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=test="+peer)
	if err != nil {
		return "", err
	}
	return client, c.untilOK(ctx, "etcd", client+"/health", nil)
}

func (c *Cluster) writeKubeconfig() error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"test": {Server: c.Config.Host, CertificateAuthority: c.Config.CAFile},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: c.Config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "admin"}},
		CurrentContext: "test",
	}, c.Kubeconfig)
}

// addresses chooses free loopback addresses.
type addresses func(ctx context.Context, count int) ([]string, error)

// freeAddress finds ones that no client's connection and no other server takes
// after an API server has stopped: its clients must be refused, not answered by
// somebody else.
func freeAddress(ctx context.Context, count int) ([]string, error) {
	var found []string
	for range count {
		address, err := freeport.Find(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, address)
	}
	return found, nil
}
