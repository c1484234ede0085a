// Command compare-moto asks local AWS and moto_server the same calls from the same
// client over keep-alive loopback connections, one server after the other, and
// prints requests per second, latencies and the ratio. moto_server is skipped if
// it is not on the machine.
//
// It does not compare what is answered beyond the status: moto verifies neither
// signatures nor tokens nor trust policies.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	issuerHost = "issuer.example"
	accountID  = "123456789012" // moto's
)

func main() {
	duration := flag.Duration("for", 5*time.Second, "how long each call is repeated")
	clients := flag.Int("clients", 8, "how many requests are under way at once")
	roles := flag.Int("roles", 1000, "how many roles the account has")
	flag.Parse()
	if err := run(context.Background(), *duration, *clients, *roles); err != nil {
		fmt.Fprintln(os.Stderr, "compare-moto:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, duration time.Duration, clients, roles int) error {
	folder, err := os.MkdirTemp("", "compare-moto")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	issuer, err := newIssuer(folder)
	if err != nil {
		return err
	}
	defer issuer.server.Close()
	measured := map[string]map[string]result{}
	for _, start := range []func(context.Context, string, *issuerServer) (*server, error){startRolecall, startMoto} {
		s, err := start(ctx, folder, issuer)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Println("moto_server is not on this machine")
			continue
		}
		if err != nil {
			return err
		}
		measured[s.name], err = s.measure(ctx, issuer, duration, clients, roles)
		s.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	report(measured, duration, clients, roles)
	return nil
}

func report(measured map[string]map[string]result, duration time.Duration, clients, roles int) {
	fmt.Printf("%s for each, %d clients, %d roles\n\n", duration, clients, roles)
	fmt.Printf("%-28s %-12s %10s %12s %12s %8s\n", "call", "server", "req/s", "p50", "p99", "ratio")
	for _, call := range callNames {
		ours := measured["rolecall"][call]
		fmt.Printf("%-28s %-12s %10.0f %12s %12s\n", call, "rolecall", ours.rate, ours.p50, ours.p99)
		if theirs, found := measured["moto_server"][call]; found {
			fmt.Printf(
				"%-28s %-12s %10.0f %12s %12s %7.1fx\n", "", "moto_server", theirs.rate, theirs.p50, theirs.p99,
				ours.rate/theirs.rate,
			)
		}
	}
}

// issuerServer publishes the key of the tokens; only local AWS asks for it.
type issuerServer struct {
	server  *httptest.Server
	address string
	ca      string // file
	token   string
}

func newIssuer(folder string) (*issuerServer, error) {
	key, err := token.GenerateRSA(2048)
	if err != nil {
		return nil, err
	}
	keys, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	authority, err := pki.NewAuthority("compare-moto", now, time.Hour)
	if err != nil {
		return nil, err
	}
	config, err := authority.ServingConfig(now, time.Hour, issuerHost)
	if err != nil {
		return nil, err
	}
	claims := fmt.Sprintf(`{"iss":"https://%s","sub":"system:serviceaccount:app:api","aud":["sts.amazonaws.com"],`+
		`"iat":%d,"nbf":%d,"exp":%d}`, issuerHost, now.Unix(), now.Unix(), now.Add(time.Hour).Unix())
	signed, err := token.Sign(key, []byte(claims))
	if err != nil {
		return nil, err
	}
	i := &issuerServer{ca: filepath.Join(folder, "ca.pem"), token: signed.Reveal()}
	if err := os.WriteFile(i.ca, authority.PEM(), 0o600); err != nil {
		return nil, err
	}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			fmt.Fprintf(w, `{"issuer":"https://%s","jwks_uri":"https://%s/keys.json"}`, issuerHost, issuerHost)
			return
		}
		_, _ = w.Write(keys)
	}))
	i.server.TLS = config
	i.server.StartTLS()
	i.address = i.server.Listener.Addr().String()
	return i, nil
}

// server is one of the two.
type server struct {
	name, url string
	key       accessKey
	stop      func()
	client    *http.Client
}

func startRolecall(ctx context.Context, folder string, issuer *issuerServer) (*server, error) {
	program := filepath.Join(folder, "rolecall")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/rolecall")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build rolecall, in the repository's folder: %w", err)
	}
	cmd := exec.CommandContext(
		ctx, program, "serve", "aws", "--listen", "127.0.0.1:0", "--account", accountID, "--log-level", "error",
		"--issuer-endpoint", issuerHost+"="+issuer.address, "--issuer-ca", issuer.ca,
	)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &server{name: "rolecall"}
	if err := s.start(cmd); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && (s.url == "" || s.key.secret == "") {
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		value = strings.Trim(value, `'"`)
		switch name {
		case "AWS_ENDPOINT_URL":
			s.url = value
		case "AWS_ACCESS_KEY_ID":
			s.key.id = value
		case "AWS_SECRET_ACCESS_KEY":
			s.key.secret = value
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return s, s.ready(ctx)
}

func startMoto(ctx context.Context, _ string, _ *issuerServer) (*server, error) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once, only to find a free port
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	s := &server{name: "moto_server", url: "http://127.0.0.1:" + port, key: accessKey{"AKIAIOSFODNN7EXAMPLE", "secret"}}
	if err := s.start(exec.CommandContext(ctx, program, "-H", "127.0.0.1", "-p", port)); err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

func (s *server) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	s.stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return nil
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context) error {
	for range 300 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/", nil)
		if err != nil {
			return err
		}
		if response, err := s.client.Do(r); err == nil {
			return response.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	return fmt.Errorf("%s does not answer", s.name)
}

// call is one prepared request.
type call struct {
	header http.Header
	body   []byte
}

func (s *server) prepare(ctx context.Context, service string, signed bool, form url.Values) (*call, error) {
	form.Set("Version", map[string]string{"sts": "2011-06-15", "iam": "2010-05-08"}[service])
	c := &call{body: []byte(form.Encode())}
	r, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if signed {
		s.key.sign(r, c.body, service, time.Now().UTC())
	}
	c.header = r.Header
	return c, nil
}

func (s *server) request(ctx context.Context, c *call) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/", bytes.NewReader(c.body))
	if err == nil && c.header != nil {
		r.Header = c.header.Clone()
	}
	return r, err
}

func (s *server) do(ctx context.Context, c *call) error {
	r, err := s.request(ctx, c)
	if err != nil {
		return err
	}
	response, err := s.client.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return err
}

var callNames = []string{"GetCallerIdentity", "AssumeRoleWithWebIdentity", "ListRoles"}

// measure fills the account and repeats each call.
func (s *server) measure(
	ctx context.Context, issuer *issuerServer, duration time.Duration, clients, roles int,
) (map[string]result, error) {
	provider := "arn:aws:iam::" + accountID + ":oidc-provider/" + issuerHost
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Condition":{"StringEquals":{"` + issuerHost + `:sub":"system:serviceaccount:app:api"}}}]}`
	forms := []url.Values{
		{
			"Action":                  {"CreateOpenIDConnectProvider"},
			"Url":                     {"https://" + issuerHost},
			"ClientIDList.member.1":   {"sts.amazonaws.com"},
			"ThumbprintList.member.1": {strings.Repeat("a", 40)},
		},
	}
	for i := range roles {
		forms = append(forms, url.Values{
			"Action":                   {"CreateRole"},
			"RoleName":                 {"role-" + strconv.Itoa(i)},
			"AssumeRolePolicyDocument": {trust},
		})
	}
	for _, form := range forms {
		c, err := s.prepare(ctx, "iam", true, form)
		if err != nil {
			return nil, err
		}
		if err := s.do(ctx, c); err != nil {
			return nil, err
		}
	}
	results := map[string]result{}
	for _, name := range callNames {
		service, signed, form := "sts", true, url.Values{"Action": {name}}
		switch name {
		case "ListRoles":
			service = "iam"
			form.Set("MaxItems", "1000")
		case "AssumeRoleWithWebIdentity":
			signed = false
			form.Set("RoleArn", "arn:aws:iam::"+accountID+":role/role-0")
			form.Set("RoleSessionName", "compare")
			form.Set("WebIdentityToken", issuer.token)
		}
		c, err := s.prepare(ctx, service, signed, form)
		if err != nil {
			return nil, err
		}
		if results[name], err = s.repeat(ctx, c, duration, clients); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return results, nil
}

type result struct {
	rate     float64
	p50, p99 time.Duration
}

func (s *server) repeat(ctx context.Context, c *call, duration time.Duration, clients int) (result, error) {
	if err := s.do(ctx, c); err != nil { // warms caches and tells what is wrong
		return result{}, err
	}
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	begin := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			var own []time.Duration
			var err error
			for time.Since(begin) < duration && err == nil {
				at := time.Now()
				err = s.do(ctx, c)
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, own...), cmp.Or(failed, err)
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	slices.Sort(took)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return result{
		float64(len(took)) / elapsed.Seconds(),
		round(took[len(took)/2]),
		round(took[len(took)*99/100]),
	}, failed
}
