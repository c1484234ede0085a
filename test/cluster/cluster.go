// Package cluster starts a real etcd and kube-apiserver for a test, on free
// loopback ports, and stops them with it.
//
// It does not build them (hack/controlplane.sh does) and starts no other part
// of Kubernetes: no controllers, no scheduler, no kubelet.
package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/token"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// Options of a cluster. The zero value is a plain one.
type Options struct {
	// Issuer is the service-account issuer's URL; a made-up one if empty.
	Issuer string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is the administrator's.
	Config *rest.Config
	Client kubernetes.Interface
	// Kubeconfig is a file with the same.
	Kubeconfig string
	Issuer     string
	// Key signs service-account tokens.
	Key *token.Key
}

// Start runs a control plane until the test ends. Missing programs fail the
// test with the command that builds them; it is never skipped.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	programs := programDir(t)
	dir := t.TempDir()
	if options.Issuer == "" {
		options.Issuer = "https://issuer.example/id/TEST"
	}
	c := &Cluster{Issuer: options.Issuer}
	c.writeKey(t, dir)
	etcdURL := startEtcd(t, programs, dir)
	c.startAPIServer(t, programs, dir, etcdURL)
	return c
}

// programDir finds the folder that hack/controlplane.sh has filled.
func programDir(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..")
	cache := os.Getenv("ROLECALL_CACHE")
	if cache == "" {
		cache = filepath.Join(root, ".cache")
	}
	version := func(module string) string {
		list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module)
		list.Dir = filepath.Join(root, "test", "controlplane")
		list.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := list.Output()
		if err != nil {
			t.Fatalf("find the version of %s: %v", module, err)
		}
		return strings.TrimSpace(string(out))
	}
	dir := filepath.Join(cache, "controlplane", version("k8s.io/kubernetes")+"-etcd-"+version("go.etcd.io/etcd/server/v3"))
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			t.Fatalf("the control plane is not built: %v\nrun: make controlplane", err)
		}
	}
	return dir
}

func (c *Cluster) writeKey(t testing.TB, dir string) {
	t.Helper()
	var err error
	if c.Key, err = token.GenerateRSA(token.MinRSABits); err != nil {
		t.Fatal(err)
	}
	text, err := c.Key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "sa.key"), text)
}

func startEtcd(t testing.TB, programs, dir string) string {
	t.Helper()
	client, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	start(t, filepath.Join(programs, "etcd"),
		"--data-dir="+filepath.Join(dir, "etcd"), "--name=test", "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=test="+peer)
	waitFor(t, "etcd", client+"/health", nil)
	return client
}

func (c *Cluster) startAPIServer(t testing.TB, programs, dir, etcdURL string) {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	admin := hex.EncodeToString(random)
	writeFile(t, filepath.Join(dir, "tokens.csv"), []byte(admin+`,admin,admin,"system:masters"`+"\n"))
	key := filepath.Join(dir, "sa.key")
	start(t, filepath.Join(programs, "kube-apiserver"),
		"--etcd-servers="+etcdURL, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certs"),
		"--service-account-issuer="+c.Issuer, "--service-account-signing-key-file="+key, "--service-account-key-file="+key,
		"--token-auth-file="+filepath.Join(dir, "tokens.csv"), "--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none", "--v=0")
	c.Config = &rest.Config{Host: "https://" + address, BearerToken: admin, TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(dir, "certs", "apiserver.crt")}}
	c.Config.QPS, c.Config.Burst = 200, 200
	// The certificate is the server's own, written as it starts.
	waitForFile(t, c.Config.CAFile)
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "kube-apiserver", c.Config.Host+"/readyz", client)
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		t.Fatal(err)
	}
	c.Kubeconfig = filepath.Join(dir, "kubeconfig")
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: c.Config.Host, CertificateAuthority: c.Config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: admin}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "admin"}},
		CurrentContext: "test",
	}
	if err := clientcmd.WriteToFile(config, c.Kubeconfig); err != nil {
		t.Fatal(err)
	}
}

// start runs a program until the test ends; it also dies with this process.
func start(t testing.TB, program string, args ...string) {
	t.Helper()
	output := &tail{}
	// The test's context ends before its cleanups, which stop the program.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// Pdeathsig follows the thread that starts the program: it must live on.
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said last:\n%s", filepath.Base(program), output)
		}
	})
}

// tail keeps the end of a program's output.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 8 << 10

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if extra := len(o.text) - tailSize; extra > 0 {
		o.text = bytes.Clone(o.text[extra:])
	}
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

func freeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// waitFor asks until the answer is 200.
func waitFor(t testing.TB, name, url string, client *http.Client) {
	t.Helper()
	if client == nil {
		client = http.DefaultClient
	}
	poll(t, name, func(ctx context.Context) error {
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

func waitForFile(t testing.TB, path string) {
	t.Helper()
	poll(t, path, func(context.Context) error {
		info, err := os.Stat(path)
		if err == nil && info.Size() == 0 {
			return errors.New("empty")
		}
		return err
	})
}

// poll is bounded in time only so that a broken start ends.
func poll(t testing.TB, name string, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not become ready: %v", name, err)
		case <-ticker.C:
		}
	}
}

func writeFile(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
