package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localsts "github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

const (
	rotatingHost = "issuer.example"
	rotatingURL  = "https://" + rotatingHost + "/c1"
	laterURL     = "https://" + rotatingHost + "/c2"
	// life is that of the stream's tokens, in seconds; the shortest there is.
	life = 600
)

// TestKeyRotation replaces the signing key of two API servers under a stream of
// token requests and exchanges, with the commands that an operator types: no
// request fails, old tokens work to their end, the old key is gone afterwards.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	f := startFire(t)
	old := f.published(t)
	held := f.fire.one(t) // a token of the old key, shown again and again

	f.rotate(t) // Stable: makes the key
	f.rotate(t) // KeyCreated: publishes it
	f.refuseWithout(t, "wait until")
	f.clock.add(2 * time.Hour)
	f.rotate(t) // Published: both may be accepted
	f.refuseWithout(t, "serves the new key")
	f.roll(t, f.tokens())
	f.rotate(t) // Verifying: the new one may sign
	f.refuseWithout(t, "signs with the new key")
	f.roll(t, f.tokens())
	f.rotate(t) // Signing: old tokens drain
	f.refuseWithout(t, "wait until")

	// The last moment of the old tokens: STS's clock stands at their expiry.
	f.atExpiry(t, held)
	f.fire.forget(t)
	f.clock.add(25 * time.Hour)
	f.rotate(t) // Draining: the old one may go
	f.refuseWithout(t, "has dropped the old key")
	f.roll(t, f.tokens())
	f.rotate(t) // Retiring: it is gone
	f.fire.stop(t)

	now := f.published(t)
	if len(old) != 1 || len(now) != 1 || old[0] == now[0] {
		t.Errorf("published %q before and %q after", old, now)
	}
	for _, name := range []string{"old.key", "next.key"} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if status := f.rolecall(t, 0, "issuer", "rotate", "status"); !strings.Contains(status, "Stable") {
		t.Errorf("status: %s", status)
	}
}

// TestIssuerChange moves two API servers to another issuer URL, by spec
// issuer-and-sts §7.1: both URLs work while tokens of both live.
func TestIssuerChange(t *testing.T) {
	t.Parallel()
	f := startFire(t)
	files := f.tokens()
	later := filepath.Join(f.dir, "later")
	f.rolecall(
		t, 0, "issuer", "init", "--name", "c2", "--dir", later, "--url", laterURL, "--directory",
		f.documents+"2", "--public-key", filepath.Join(f.dir, "sa.pub"), "--without-provider", "--read-back",
		"0s",
	)
	f.serve(t, "/c2/", f.documents+"2")
	f.trust(t, laterURL, rotatingURL)
	for _, issuers := range [][]string{{rotatingURL, laterURL}, {laterURL, rotatingURL}} {
		files.Issuers = issuers
		files.Audiences = []string{rotatingURL, laterURL} // the default would change with the issuers
		f.roll(t, files)
	}
	held := f.fire.one(t)
	if held.issuer != laterURL {
		t.Errorf("new tokens are of %s", held.issuer)
	}
	f.fire.forget(t) // as if all tokens of the old issuer had run out
	files.Issuers = []string{laterURL}
	f.roll(t, files)
	f.fire.stop(t)
	if text := f.rolecall(t, 0, "issuer", "verify", "--dir", later, "--without-aws"); strings.Contains(text, "error") {
		t.Errorf("verify: %s", text)
	}
}

// fireground is two API servers, a published issuer, a local AWS, and a stream
// of clients.
type fireground struct {
	*cluster.Cluster
	dir, documents string
	clock          *movedClock
	mux            *swapped
	flags          []string // of all commands
	env            []string // of their processes; they run in this one if empty
	admin          *awsapi.IAM
	access         localsts.IssuerAccess
	accounts       *account.Set
	fire           *fire
}

// movedClock is the real one plus what was added: the rotation's, not the
// servers'.
type movedClock struct{ offset atomic.Int64 }

func (c *movedClock) now() time.Time      { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *movedClock) add(d time.Duration) { c.offset.Add(int64(d)) }

func startFire(t *testing.T) *fireground {
	t.Helper()
	f := startGround(t)
	f.fire = &fire{ground: f, audience: "sts.amazonaws.com", gates: []*sync.RWMutex{{}, {}}}
	f.fire.start(t)
	return f
}

// startGround has no clients yet.
func startGround(t *testing.T) *fireground {
	t.Helper()
	f := &fireground{dir: t.TempDir(), clock: &movedClock{}, mux: &swapped{}}
	f.documents = filepath.Join(f.dir, "www")
	f.Cluster = cluster.Start(t, cluster.Options{Issuer: rotatingURL, APIServers: 2})
	text, err := os.ReadFile(f.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "sa.key"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	authority, server := serveTLS(t, f.mux, rotatingHost)
	f.trustAPIServers(t)
	ca := filepath.Join(f.dir, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.flags = []string{"--issuer-endpoint", rotatingHost + "=" + server.Listener.Addr().String(), "--issuer-ca", ca}
	f.rolecall(
		t, 0, "issuer", "init", "--name", "c1", "--dir", f.dir, "--url", rotatingURL, "--directory",
		f.documents, "--without-provider", "--read-back", "0s",
	)
	f.serve(t, "/c1/", f.documents)
	f.startSTS(t, authority, server.Listener.Addr().String())
	f.trust(t, rotatingURL)
	return f
}

// trustAPIServers writes one file of both servers' certificates, for commands
// that ask each.
func (f *fireground) trustAPIServers(t *testing.T) {
	t.Helper()
	var both []byte
	for _, server := range f.APIServers {
		text, err := os.ReadFile(server.Config.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	config, err := os.ReadFile(f.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(f.dir, "api-ca.pem")
	config = bytes.ReplaceAll(config, []byte(f.Config.CAFile), []byte(ca))
	if err := errors.Join(os.WriteFile(ca, both, 0o600), os.WriteFile(f.Kubeconfig, config, 0o600)); err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(both); block == nil {
		t.Fatal("no certificate")
	}
}

// serve publishes a folder below a path of the issuer's host.
func (f *fireground) serve(t *testing.T, prefix, dir string) {
	t.Helper()
	files, err := server.OpenFiles(dir, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.mux.handle(prefix, files)
}

func (f *fireground) startSTS(t *testing.T, authority *pki.Authority, address string) {
	t.Helper()
	f.newAccounts(t)
	f.access = localsts.IssuerAccess{Endpoints: map[string]string{rotatingHost: address}, RootCAs: authority.Pool()}
}

// sts starts a local STS of the same accounts with a clock of its own.
func (f *fireground) sts(t *testing.T, now func() time.Time) (url string, server *localaws.Server) {
	t.Helper()
	server = localaws.New(localaws.Config{Accounts: f.accounts, Now: now, Log: discard, Issuers: f.access})
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return listening.URL, server
}

// trust makes the providers of issuers, and the role that trusts them all.
func (f *fireground) trust(t *testing.T, issuers ...string) {
	t.Helper()
	if f.admin == nil {
		url, server := f.sts(t, time.Now)
		key, err := server.Admin()
		if err != nil {
			t.Fatal(err)
		}
		f.admin = awsapi.NewIAM(url, "us-east-1", key)
	}
	var statements []string
	for _, one := range issuers {
		path := strings.TrimPrefix(one, "https://")
		provider := "arn:aws:iam::" + accountID + ":oidc-provider/" + path
		if err := f.admin.EnsureProvider(t.Context(), one, provider, []string{"sts.amazonaws.com"}); err != nil {
			t.Fatal(err)
		}
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Principal":{"Federated":%q},`+
			`"Action":"sts:AssumeRoleWithWebIdentity",`+
			`"Condition":{"StringEquals":{"%s:sub":"system:serviceaccount:default:default",`+
			`"%s:aud":"sts.amazonaws.com"}}}`, provider, path, path))
	}
	policy := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	if _, err := f.admin.EnsureRole(t.Context(), "rotated", policy, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.admin.SetTrust(t.Context(), "rotated", policy); err != nil {
		t.Fatal(err)
	}
}

// rolecall runs a command as an operator would, at the rotation's time.
func (f *fireground) rolecall(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, output := f.run(t, args...)
	if got != code {
		t.Fatalf("%q: exit code %d, want %d\n%s", args, got, code, output)
	}
	return output
}

func (f *fireground) run(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	output := &lockedbuffer.Buffer{}
	args = append(args, f.flags...)
	if args[1] == "rotate" {
		args = append(args, "--dir", f.dir, "--kubeconfig", f.Kubeconfig)
		for _, server := range f.APIServers {
			args = append(args, "--api-server", server.Config.Host)
		}
	}
	if f.env != nil {
		code, err := runCommand(t.Context(), f.env, output, output, args...)
		if err != nil {
			t.Error(err)
		}
		return code, output.String()
	}
	system := app.NewSystem()
	system.Stdout, system.Stderr, system.Now = output, output, f.clock.now
	code = app.Run(t.Context(), system, args)
	return code, output.String()
}

func (f *fireground) rotate(t *testing.T) {
	t.Helper()
	t.Log(strings.TrimSpace(f.rolecall(t, 0, "issuer", "rotate")))
}

// refuseWithout wants the next step refused for a reason.
func (f *fireground) refuseWithout(t *testing.T, reason string) {
	t.Helper()
	if said := f.rolecall(t, 1, "issuer", "rotate"); !strings.Contains(said, reason) {
		t.Errorf("refused for another reason than %q: %s", reason, said)
	}
}

// tokens are the settings that name the operator's files.
func (f *fireground) tokens() cluster.Tokens {
	return cluster.Tokens{
		Issuers:    []string{rotatingURL},
		SigningKey: filepath.Join(f.dir, "sa.key"),
		Keys:       []string{filepath.Join(f.dir, "sa.pub")},
	}
}

// roll restarts the API servers one by one. New connections to the one that
// stops are held back only for the moment in which it closes its listener, as
// otherwise the kernel resets what nobody has accepted yet; from then on clients
// are refused, and go to the other.
func (f *fireground) roll(t *testing.T, tokens cluster.Tokens) {
	t.Helper()
	for i, server := range f.APIServers {
		f.fire.gates[i].Lock()
		stopped := make(chan struct{})
		go func() { f.Stop(server); close(stopped) }()
		untilRefused(t, strings.TrimPrefix(server.Config.Host, "https://"))
		f.fire.gates[i].Unlock()
		<-stopped
		f.fire.untilServed(t)
		next := *server
		f.Restart(t, &next, tokens)
		f.fire.gates[i].Lock()
		*server = next
		f.fire.gates[i].Unlock()
	}
}

func untilRefused(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		var dialer net.Dialer
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = connection.Close()
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s goes on listening", address)
		case <-time.After(time.Millisecond):
		}
	}
}

// published returns the kids that a reader finds.
func (f *fireground) published(t *testing.T) []string {
	t.Helper()
	_, jwks := observe.NewReader(observe.Access{
		Endpoints: f.access.Endpoints,
		RootCAs:   f.access.RootCAs,
	}).Read(t.Context(), rotatingURL)
	kids, err := inspect.PublishedIDs(inspect.Fetched{}, jwks)
	if err != nil {
		t.Fatal(err)
	}
	return kids
}

// atExpiry exchanges a token at an STS whose clock has reached its end.
func (f *fireground) atExpiry(t *testing.T, held heldToken) {
	t.Helper()
	url, _ := f.sts(t, func() time.Time { return held.expires.Add(-time.Second) })
	if err := assume(t.Context(), url, held.raw); err != nil {
		t.Errorf("a token of the old key a second before its end: %v", err)
	}
}

func assume(ctx context.Context, url, raw string) error {
	_, err := sts.New(sts.Options{
		BaseEndpoint:     awssdk.String(url),
		Region:           "us-east-1",
		RetryMaxAttempts: 1,
	}).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          awssdk.String("arn:aws:iam::" + accountID + ":role/rotated"),
		RoleSessionName:  awssdk.String("session"),
		WebIdentityToken: awssdk.String(raw),
	})
	return err
}

// fire is the stream: each client asks an API server for a token, exchanges it
// and the one it holds, and has both reviewed by any API server.
type fire struct {
	ground   *fireground
	audience string
	stsURL   string
	// gates are held by requests to an API server, and by the one who stops it.
	gates []*sync.RWMutex
	// took is told how long each token request took, if it is there.
	took func(time.Duration)

	generation atomic.Int64 // tokens of an older one are run out
	rounds     atomic.Int64
	failures   atomic.Int64
	refused    atomic.Int64
	cancel     context.CancelFunc
	done       sync.WaitGroup
	first      sync.Map // failures by text, for the report
}

type heldToken struct {
	raw, issuer, kid string
	expires          time.Time
	generation       int64
}

const clients = 4

func (s *fire) start(t *testing.T) {
	t.Helper()
	s.stsURL, _ = s.ground.sts(t, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	for i := range clients {
		s.done.Go(func() { s.client(ctx, i) })
	}
	t.Cleanup(func() { cancel(); s.done.Wait() })
	s.untilServed(t)
}

func (s *fire) client(ctx context.Context, number int) {
	var held heldToken
	for round := number; ctx.Err() == nil; round++ {
		fresh, err := s.request(ctx, round)
		if err != nil {
			s.fail(ctx, "token request", err)
			continue
		}
		if held.raw == "" || held.generation < s.generation.Load() {
			held = fresh
		}
		for _, one := range []heldToken{fresh, held} {
			if err := assume(ctx, s.stsURL, one.raw); err != nil && one.generation >= s.generation.Load() {
				s.fail(ctx, "exchange of "+one.kid, err)
			}
			if err := s.review(ctx, round+1, one); err != nil && one.generation >= s.generation.Load() {
				s.fail(ctx, "review of "+one.kid, err)
			}
		}
		s.rounds.Add(1)
	}
}

func (s *fire) fail(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.failures.Add(1)
	s.first.LoadOrStore(what+": "+err.Error(), true)
}

// at calls one API server over a connection of its own, and the other if the
// connection was refused; nothing else is tried again.
func (s *fire) at(round int, call func(kubernetes.Interface) error) error {
	var err error
	for try := range len(s.gates) {
		i := (round + try) % len(s.gates)
		s.gates[i].RLock()
		client, makeErr := alone(s.ground.APIServers[i].Config)
		if makeErr != nil {
			s.gates[i].RUnlock()
			return makeErr
		}
		err = call(client)
		s.gates[i].RUnlock()
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		s.refused.Add(1)
	}
	return err
}

// alone returns a client that opens a connection for each request.
func alone(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit of the client's own
	certificates, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	transport, err := rest.HTTPWrappersForConfig(config, &http.Transport{
		TLSClientConfig:   certificates,
		DisableKeepAlives: true,
	})
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfigAndClient(config, &http.Client{Transport: transport})
}

func (s *fire) request(ctx context.Context, round int) (heldToken, error) {
	held := heldToken{generation: s.generation.Load()}
	if s.took != nil {
		defer func(started time.Time) { s.took(time.Since(started)) }(time.Now())
	}
	seconds := int64(life)
	err := s.at(round, func(client kubernetes.Interface) error {
		answer, err := client.CoreV1().
			ServiceAccounts("default").
			CreateToken(ctx, "default", &authenticationv1.TokenRequest{
				Spec: authenticationv1.TokenRequestSpec{Audiences: []string{s.audience}, ExpirationSeconds: &seconds},
			}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		held.raw = answer.Status.Token
		held.expires = answer.Status.ExpirationTimestamp.Time
		return nil
	})
	if err != nil {
		return held, err
	}
	decoded, err := token.Decode(held.raw)
	if err != nil {
		return held, err
	}
	held.kid = decoded.Header.KeyID
	return held, json.Unmarshal(decoded.Claims["iss"], &held.issuer)
}

func (s *fire) review(ctx context.Context, round int, held heldToken) error {
	return s.at(round, func(client kubernetes.Interface) error {
		answer, err := client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: held.raw, Audiences: []string{s.audience}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if !answer.Status.Authenticated {
			return fmt.Errorf("not authenticated: %s", answer.Status.Error)
		}
		return nil
	})
}

// one returns a fresh token of the stream's kind.
func (s *fire) one(t *testing.T) heldToken {
	t.Helper()
	held, err := s.request(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// forget has every client drop the tokens it holds, as if they had run out, and
// returns when all have.
func (s *fire) forget(t *testing.T) {
	t.Helper()
	s.generation.Add(1)
	s.untilServed(t)
}

// untilServed waits until every client has been through a whole round.
func (s *fire) untilServed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for want := s.rounds.Load() + 2*clients; s.rounds.Load() < want; {
		if s.failures.Load() > 0 {
			s.report(t)
		}
		select {
		case <-ctx.Done():
			t.Fatal("the stream stands still")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the stream and wants no failure.
func (s *fire) stop(t *testing.T) {
	t.Helper()
	s.untilServed(t)
	s.cancel()
	s.done.Wait()
	if s.failures.Load() > 0 {
		s.report(t)
	}
	t.Logf("%d rounds of a token request, two exchanges and two reviews, %d connections refused and sent to the "+
		"other API server, no failure", s.rounds.Load(), s.refused.Load())
}

func (s *fire) report(t *testing.T) {
	t.Helper()
	s.first.Range(func(text, _ any) bool { t.Error(text); return true })
	t.Fatalf("%d of about %d rounds failed", s.failures.Load(), s.rounds.Load())
}
