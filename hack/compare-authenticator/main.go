// Command compare-authenticator puts rolecall and aws-iam-authenticator, built from its
// module if it is not there yet, in front of one STS that answers at once, and asks both
// who signed tokens: logins a second, their slowest hundredth, and what is resident, at 1,
// 16 and 256 clients, each with a token of its own that it shows again and again, as
// kubectl does; then a storm of logins in one second. rolecall has 10,000 mappings.
//
// It judges nothing. What a process costs is known on Linux only.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/internal/authenticator/statedir"
	"github.com/rolecall/rolecall/test/contender"
)

const (
	account  = "111122223333"
	cluster  = "compare"
	stsHost  = "sts.us-east-1.amazonaws.com"
	mappings = 10000
	peerPath = "sigs.k8s.io/aws-iam-authenticator"
)

func main() {
	var c comparison
	flag.StringVar(&c.binary, "binary", "bin/rolecall", "the program")
	flag.StringVar(&c.peer, "peer", "", "aws-iam-authenticator; built into -cache if empty")
	flag.StringVar(&c.version, "version", "v0.7.18", "version of it to build")
	flag.StringVar(&c.cache, "cache", ".cache", "where it is built")
	flag.DurationVar(&c.duration, "duration", 5*time.Second, "how long each is asked")
	flag.IntVar(&c.storm, "storm", 5000, "logins in the storm")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare-authenticator:", err)
		os.Exit(1)
	}
}

type comparison struct {
	binary, peer, version, cache string
	duration                     time.Duration
	storm                        int

	dir   string
	asked atomic.Int64
}

func (c *comparison) run(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp("", "compare-authenticator-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	if c.peer == "" {
		if c.peer, err = c.build(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "without aws-iam-authenticator:", err)
		}
	}
	sts, authority, err := c.serveSTS(ctx)
	if err != nil {
		return err
	}
	for _, one := range []struct{ name, binary string }{{"rolecall", c.binary}, {"aws-iam-authenticator", c.peer}} {
		if one.binary == "" {
			continue
		}
		if err := c.measure(ctx, one.name, one.binary, sts, authority); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// build makes the peer's program of its module.
func (c *comparison) build(ctx context.Context) (string, error) {
	dir, err := filepath.Abs(filepath.Join(c.cache, "aws-iam-authenticator"))
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "aws-iam-authenticator")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module peer\n\ngo 1.24\n"), 0o644); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"get", peerPath + "/cmd/aws-iam-authenticator@" + c.version},
		{"build", "-trimpath", "-o", program, peerPath + "/cmd/aws-iam-authenticator"},
	} {
		command := exec.CommandContext(ctx, "go", args...)
		command.Dir, command.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		if out, err := command.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
	}
	return program, nil
}

// serveSTS answers GetCallerIdentity at once, through a proxy that the peer takes for the
// way to AWS's host: it cannot be told of another.
func (c *comparison) serveSTS(ctx context.Context) (address, authority string, err error) {
	pair, err := statedir.Make(time.Now(), []string{stsHost})
	if err != nil {
		return "", "", err
	}
	authority = filepath.Join(c.dir, "sts-ca.pem")
	if err := os.WriteFile(authority, pair.PEM(), 0o600); err != nil {
		return "", "", err
	}
	serving, err := pair.Serving(time.Now(), time.Hour, []string{stsHost, "127.0.0.1"})
	if err != nil {
		return "", "", err
	}
	var config net.ListenConfig
	plain, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	answer := []byte(`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"` + account + `","Arn":"arn:aws:sts::` +
		account + `:assumed-role/role0/session","UserId":"AROAROLE0:session"},"ResponseMetadata":{"RequestId":"r"}}}`)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})}
	secure := tls.NewListener(plain, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*serving}})
	go func() { _ = server.Serve(secure) }()
	target := plain.Addr().String()
	front, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	proxy := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connect(w, r, target)
	})}
	go func() { _ = proxy.Serve(front) }()
	return "http://" + front.Addr().String(), authority, nil
}

// connect joins a CONNECT to the target.
func connect(w http.ResponseWriter, r *http.Request, target string) {
	to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", target)
	if err != nil || r.Method != http.MethodConnect {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
	_, _ = io.Copy(from, to)
	_ = from.Close()
}

func (c *comparison) config() (string, error) {
	var text strings.Builder
	text.WriteString("clusterID: " + cluster + "\nserver:\n  mapRoles:\n")
	for i := range mappings {
		fmt.Fprintf(&text, "  - {rolearn: 'arn:aws:iam::%s:role/role%d', username: 'user%d', groups: [g]}\n", account, i, i)
	}
	path := filepath.Join(c.dir, "config.yaml")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

func (c *comparison) measure(ctx context.Context, name, binary, proxy, authority string) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	ports, err := contender.FreePorts(2)
	if err != nil {
		return err
	}
	state := filepath.Join(c.dir, name)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	args := []string{
		"server", "-c", config, "--state-dir", state, "--generate-kubeconfig", filepath.Join(state, "kubeconfig.yaml"),
		"--port", ports[0],
	}
	if name == "rolecall" {
		args = append(append([]string{"serve", "authenticator"}, args[1:]...), "--access-objects", "off", "--health-port", ports[1])
	}
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = append(os.Environ(), "HTTPS_PROXY="+proxy, "https_proxy="+proxy, "SSL_CERT_FILE="+authority, "AWS_CA_BUNDLE="+authority, "NO_PROXY=", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_REGION=us-east-1")
	p := &contender.Process{Name: name, Cmd: command}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Stop()
	url := "https://localhost:" + ports[0]
	client, err := c.ready(ctx, url, filepath.Join(state, "cert.pem"))
	if err != nil {
		return err
	}
	for _, clients := range []int{1, 16, 256} {
		perSecond, p99, asked, err := c.load(ctx, client, url, clients)
		if err != nil {
			return err
		}
		fmt.Printf("%-22s %4d clients  %9.0f logins/s  p99 %8s  %7d questions to STS  %s MiB\n", name, clients, perSecond,
			p99.Round(10*time.Microsecond), asked, p.Memory())
	}
	return c.burst(ctx, client, url, name)
}

// ready waits for the server, and trusts what it made.
func (c *comparison) ready(ctx context.Context, url, certificate string) (*http.Client, error) {
	for range 600 {
		text, err := os.ReadFile(certificate)
		if err == nil {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(text)
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 512,
			}}
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
			if err != nil {
				return nil, err
			}
			if response, err := client.Do(request); err == nil {
				return client, response.Body.Close()
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.New("it does not serve")
}

func body(n int) []byte {
	url := fmt.Sprintf("https://%s/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&"+
		"X-Amz-Credential=AKIA%d%%2F20260101%%2Fus-east-1%%2Fsts%%2Faws4_request&X-Amz-Date=%s&X-Amz-Expires=60&"+
		"X-Amz-SignedHeaders=host%%3Bx-k8s-aws-id&X-Amz-Signature=%064x", stsHost, n, time.Now().UTC().Format("20060102T150405Z"), n)
	return []byte(`{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview","spec":{"token":"k8s-aws-v1.` +
		base64.RawURLEncoding.EncodeToString([]byte(url)) + `"}}`)
}

func ask(ctx context.Context, client *http.Client, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/authenticate", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// load has so many clients ask again as soon as they have their answer.
func (c *comparison) load(
	ctx context.Context, client *http.Client, url string, clients int,
) (perSecond float64, p99 time.Duration, asked int64, err error) {
	took, errs := make([][]time.Duration, clients), make([]error, clients)
	var all sync.WaitGroup
	before := c.asked.Load()
	for i := range clients { // API servers have their connections already
		all.Go(func() { errs[i] = ask(ctx, client, url, body(i)) })
	}
	all.Wait()
	start := time.Now()
	for i := range clients {
		all.Go(func() {
			for token := body(i); time.Since(start) < c.duration; {
				began := time.Now()
				if errs[i] = ask(ctx, client, url, token); errs[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	every := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(every) == 0 {
		return 0, 0, 0, errors.Join(errs...)
	}
	return float64(len(every)) / time.Since(start).Seconds(), every[len(every)*99/100], c.asked.Load() - before, errors.Join(errs...)
}

// burst is many logins at once, of a hundred people.
func (c *comparison) burst(ctx context.Context, client *http.Client, url, name string) error {
	const people, clients = 100, 256
	tokens := make([][]byte, people)
	for i := range tokens {
		tokens[i] = body(1000 + i)
	}
	before, start := c.asked.Load(), time.Now()
	errs := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := i; n < c.storm && errs[i] == nil; n += clients {
				errs[i] = ask(ctx, client, url, tokens[n%people])
			}
		})
	}
	all.Wait()
	fmt.Printf("%-22s storm of %d by %d people: %s, %d questions to STS\n", name, c.storm, people,
		time.Since(start).Round(time.Millisecond), c.asked.Load()-before)
	return errors.Join(errs...)
}
