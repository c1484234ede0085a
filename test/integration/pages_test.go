//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/checkout"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/pages"
)

// TestPages runs the commands of the guide's pages that are about a cluster, each page
// in one shell and in order, as the administrator of an API server of its own. The liberties
// are that servers take free ports, and that the names of S3's hosts and of the
// broker's Service lead to those that the page has started.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, name := range pages.Cluster {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			runPage(t, name)
		})
	}
}

func runPage(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("the AWS CLI is needed and not there: %v", err)
		}
		t.Skipf("NOT TESTED: the AWS CLI is not on this machine (%v)", err)
	}
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := pages.Read(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, folder := range []string{"api/crds", "examples"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join(root, folder))); err != nil {
			t.Fatal(err)
		}
	}
	c := cluster.Start(t, cluster.Options{})
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute) // scripts wait without end for what fails
	defer stop()
	var out bytes.Buffer // one writer for both is one pipe
	if err := pages.Shell(ctx, dir, pageEnvironment(t, c, dir), page.Script(dir), &out, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := page.Check(dir); err != nil {
		t.Error(err)
	}
	for _, skipped := range page.Skipped {
		t.Logf("line %d is not run: %s", skipped.Line, skipped.Reason)
	}
}

// pageEnvironment has nothing of the user's, and the programs that pages name.
func pageEnvironment(t *testing.T, c *cluster.Cluster, dir string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	aws, broker, agent := freeport.Address(t), freeport.Address(t), freeport.Address(t)
	_, agentPort, err := net.SplitHostPort(agent)
	if err != nil {
		t.Fatal(err)
	}
	// Of a flag given twice the page's counts, but for addresses of its own.
	rolecall := fmt.Sprintf(`#!/bin/sh
export %s=command
case "$1 $2" in
  up*) shift; set -- up --listen 127.0.0.1:0 "$@";;
  'serve aws') shift 2; set -- serve aws --listen 127.0.0.1:0 "$@";;
  'serve broker') shift 2; set -- serve broker --kubeconfig "$KUBECONFIG" --shutdown-delay 0s \
    --probe-listen %s --metrics-listen %s "$@" --listen %s;;
  'serve controller') shift 2; set -- serve controller --kubeconfig "$KUBECONFIG" --without-leader-election \
    --metrics-listen %s "$@";;
  'serve agent') shift 2; set -- serve agent --init=false --bind-hosts 127.0.0.1 --port %s \
    --probe-port %s --metrics-port %s "$@";;
esac
exec '%s' "$@"
`, programVariable, freeport.Address(t), freeport.Address(t), broker, freeport.Address(t), agentPort, portOf(t), portOf(t), self)
	bin := filepath.Join(dir, "bin")
	for name, text := range map[string]string{
		"rolecall": rolecall,
		"kubectl":  "#!/bin/sh\nexec '" + c.Kubectl + "' \"$@\"\n",
		"sudo":     "#!/bin/sh\nexec env \"$@\"\n",
	} {
		if err := os.MkdirAll(bin, 0o700); err != nil {
			t.Fatal(err)
		}
		//nolint:gosec // programs
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	proxy := httptest.NewServer(tunnels{
		t: t, leads: map[string]string{".amazonaws.com:443": aws, "rolecall-broker.rolecall-system.svc:8443": broker},
	})
	t.Cleanup(proxy.Close)
	admin, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "admin.conf")
	if err := os.WriteFile(kubeconfig, admin, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(
		pages.Environment(dir),
		"KUBECONFIG="+kubeconfig, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=127.0.0.1",
		"AWS_HTTPS="+aws, "AGENT="+agent, "GOCOVERDIR="+os.Getenv("GOCOVERDIR"),
		// What kubectl starts, by a kubeconfig that names this program, is the command too.
		programVariable+"=command", "KUBEBUILDER_ASSETS="+filepath.Dir(c.Kubectl),
	)
}

func portOf(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeport.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// tunnels is an HTTPS proxy by which names lead where the test wants.
type tunnels struct {
	t     *testing.T
	leads map[string]string // addresses by the end of host and port
}

// ServeHTTP answers CONNECT.
func (p tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := ""
	for end, lead := range p.leads {
		if strings.HasSuffix(r.Host, end) {
			address = lead
		}
	}
	if r.Method != http.MethodConnect || address == "" {
		http.Error(w, "no way to "+r.Host, http.StatusBadGateway)
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.t.Error(err)
		return
	}
	defer client.Close()
	go func() {
		_, _ = io.Copy(server, buffered)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}
