// Package node brings up one real node - containerd, kubelet, and what gives it its
// pods - at the control plane of test/cluster, for the tests of `make e2e`.
//
// It builds nothing and cleans nothing up: hack/node.sh does, which runs the tests
// in namespaces of their own, as root.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/test/cluster"
)

const (
	// Name is the node's.
	Name = "n1"
	// Image has the program at /rolecall and that of test/node/pod at /pod, and
	// nothing else.
	Image = "node.test/rolecall:1"

	// address is that of the link that hack/node.sh makes.
	address = "10.78.0.1"
	// patience only ends a broken test: longer than a busy machine takes for anything.
	patience = 2 * time.Minute
)

// Node is a running one.
type Node struct {
	*cluster.Cluster

	t testing.TB
	// dir has the programs in bin, and is removed by hack/node.sh.
	dir     string
	servers []*server
}

type server struct {
	name, log string
	ended     chan error
}

// Start runs a node until the test ends. Without hack/node.sh it fails the test.
func Start(t testing.TB) *Node {
	t.Helper()
	n := &Node{t: t, dir: os.Getenv("ROLECALL_NODE_DIR")}
	if n.dir == "" {
		t.Fatal("a node is a machine of its own, made by root: run make e2e")
	}
	n.Cluster = cluster.Start(t, cluster.Options{})
	t.Cleanup(n.logs)
	n.configure()
	kubeconfig := "--kubeconfig=" + n.Kubeconfig
	n.run("containerd", "--config="+n.file("containerd.toml"))
	n.load()
	n.run("kube-controller-manager", kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file="+n.KeyFile, "--root-ca-file="+n.Config.CAFile,
		"--controllers=daemonset-controller,serviceaccount-controller,root-ca-certificate-publisher-controller")
	n.run("kube-scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0")
	n.run("kubelet", "--kubeconfig="+n.file("kubelet.kubeconfig"), "--config="+n.file("kubelet.yaml"),
		"--root-dir="+n.file("kubelet"), "--cert-dir="+n.file("kubelet-pki"), "--hostname-override="+Name,
		"--node-ip="+address)
	n.Until("the node is ready", func(ctx context.Context) error {
		found, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range found.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return fmt.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
		return nil
	})
	return n
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// configure writes what the servers read.
func (n *Node) configure() {
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig,
		"net.conflist":    networkConfig,
		"kubelet.yaml":    kubeletConfig,
	} {
		text = strings.NewReplacer(
			"@DIR@", n.dir, "@IMAGE@", Image, "@CGROUP@", os.Getenv("ROLECALL_NODE_CGROUP"),
		).Replace(text)
		n.must(os.WriteFile(n.file(name), []byte(text), 0o600))
	}
	// kubelet is who a kubelet is, and may do what one may.
	config, err := clientcmd.LoadFromFile(n.Kubeconfig)
	n.must(err)
	for _, user := range config.AuthInfos {
		user.Impersonate, user.ImpersonateGroups = "system:node:"+Name, []string{"system:nodes"}
	}
	n.must(clientcmd.WriteToFile(*config, n.file("kubelet.kubeconfig")))
}

const containerdConfig = `version = 3
root = "@DIR@/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "@IMAGE@"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["@DIR@/bin"]
  conf_dir = "@DIR@"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "@DIR@/bin/runc"
`

const networkConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "10.79.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

// What others need memory and disk for is no fault of the node's.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /@CGROUP@
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 99
maxPods: 250
enableServer: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`

// run starts a server, which dies with the test.
func (n *Node) run(name string, args ...string) {
	n.t.Helper()
	s := &server{name: name, log: n.file(name + ".log"), ended: make(chan error, 1)}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.must(err)
	cmd := exec.CommandContext(context.WithoutCancel(n.t.Context()), n.file("bin/"+name), args...)
	cmd.Env = append(os.Environ(), "PATH="+n.file("bin")+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal follows the thread that starts it
		err := cmd.Start()
		started <- err
		if err == nil {
			s.ended <- cmd.Wait()
		}
		_ = out.Close()
	}()
	n.must(<-started)
	n.servers = append(n.servers, s)
	n.t.Cleanup(func() { _ = cmd.Process.Kill() })
}

// load gives containerd the image.
func (n *Node) load() {
	n.t.Helper()
	archive := n.file("image.tar")
	n.must(writeImage(archive, Image, n.file("bin/rolecall"), n.file("bin/pod")))
	n.Until("containerd takes the image", func(ctx context.Context) error {
		out, err := exec.CommandContext(
			ctx, n.file("bin/ctr"), "--namespace=k8s.io", "images", "import", archive,
		).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// Until waits for what is to come, and fails the test when it does not, or when a
// server of the node has ended.
func (n *Node) Until(what string, done func(context.Context) error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		for _, s := range n.servers {
			select {
			case ended := <-s.ended:
				n.t.Fatalf("%s ended: %v", s.name, ended)
			default:
			}
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("waiting until %s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Log is what a container of a pod has said.
func (n *Node) Log(pod *corev1.Pod, container string) string {
	n.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf(
		"/var/log/pods/%s_%s_%s/%s/*.log", pod.Namespace, pod.Name, pod.UID, container,
	))
	n.must(err)
	var text strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Clean(file))
		n.must(err)
		for line := range strings.Lines(string(raw)) {
			// time, stream, whether the line is whole, line
			if parts := strings.SplitN(line, " ", 4); len(parts) == 4 {
				text.WriteString(parts[3])
			}
		}
	}
	return text.String()
}

// Processes are those whose command line starts with words, by their ids.
func (n *Node) Processes(words ...string) map[int]string {
	n.t.Helper()
	found := map[int]string{}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	n.must(err)
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Clean(file))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		n.must(err)
		line := strings.ReplaceAll(strings.TrimRight(string(raw), "\x00"), "\x00", " ")
		if strings.HasPrefix(line, strings.Join(words, " ")) {
			var id int
			if _, err := fmt.Sscanf(file, "/proc/%d/", &id); err == nil {
				found[id] = line
			}
		}
	}
	return found
}

// APIServerEnv tells pods of the host's network where the API server is: the node
// has no kube-proxy, that its Service would be behind.
func (n *Node) APIServerEnv() []corev1.EnvVar {
	at, err := url.Parse(n.Config.Host)
	n.must(err)
	return []corev1.EnvVar{
		{Name: "KUBERNETES_SERVICE_HOST", Value: at.Hostname()}, {Name: "KUBERNETES_SERVICE_PORT", Value: at.Port()},
	}
}

// logs shows what the servers said last, and the state of pods, of a test that failed.
func (n *Node) logs() {
	if !n.t.Failed() {
		return
	}
	for _, s := range n.servers {
		text, _ := os.ReadFile(s.log)
		n.t.Logf("%s said last:\n%s", s.name, text[max(0, len(text)-4<<10):])
	}
	pods, err := n.Client.CoreV1().Pods("").List(context.WithoutCancel(n.t.Context()), metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range pods.Items {
		status, _ := json.Marshal(pods.Items[i].Status)
		n.t.Logf("%s %s", pods.Items[i].Name, status)
		for _, c := range pods.Items[i].Spec.Containers {
			text := n.Log(&pods.Items[i], c.Name)
			n.t.Logf("%s said last:\n%s", c.Name, text[max(0, len(text)-4<<10):])
		}
	}
}
