package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestSignerRotation moves a cluster from its own key to the external signer and
// renews the key from start to end under a stream of token requests, reviews and
// exchanges at STS. No API server is restarted for it, no request fails, old
// tokens work to their end, and the old key is gone afterwards.
func TestSignerRotation(t *testing.T) {
	t.Parallel()
	f := startSigned(t, 2)
	held := f.fire.one(t)
	if !slices.Equal(f.kids(t), []string{held.kid}) {
		t.Fatalf("published %q, tokens of %s", f.kids(t), held.kid)
	}

	f.signer(t, "rotate", "--publish-for", "6s")
	next := f.phase(t, "next")
	// It is published while the old one goes on to sign.
	f.until(t, "the next key is published", func() bool { return slices.Contains(f.kids(t), next) })
	f.until(t, "the next key signs", func() bool { return f.fire.one(t).kid == next })
	f.notEarly(t, next)
	f.until(t, "the switch is written down", func() bool { return f.phase(t, "signing") == next })
	f.restart(t) // a restart does not go back to the old key
	if after := f.fire.one(t); after.kid != next {
		t.Errorf("after a restart %s signs, not %s", after.kid, next)
	}
	f.fire.untilServed(t)

	// The last moment of the old tokens: STS's clock stands at their expiry.
	f.atExpiry(t, held)
	if err := f.fire.review(t.Context(), 0, held); err != nil {
		t.Errorf("a token of the old key: %v", err)
	}
	f.fire.forget(t)
	if f.phase(t, "retiring") != held.kid {
		t.Error("the old key does not retire")
	}
	f.clock.add(24*time.Hour + 15*time.Minute)
	f.until(
		t,
		"the old key is gone",
		func() bool { return f.phase(t, "retiring") == "" && !slices.Contains(f.kids(t), held.kid) },
	)
	f.until(t, "its tokens are refused", func() bool {
		return f.fire.review(t.Context(), 0, held) != nil && f.fire.review(t.Context(), 1, held) != nil
	})
	f.fire.stop(t)
	f.noToken(t, held.raw)
}

// TestSignerRestart: requests wait while the signer is restarted, and none fails.
func TestSignerRestart(t *testing.T) {
	t.Parallel()
	f := startSigned(t, 1)
	for range 3 {
		f.restart(t)
		f.fire.untilServed(t)
	}
	f.fire.stop(t)
	t.Logf("the longest request took %s", time.Duration(f.longest.Load()).Round(time.Millisecond))
}

// TestSignerFiles: PEM files instead of a store. A broken file changes nothing; a
// key that only verifies, and is excluded in a store, stays out of discovery.
func TestSignerFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := pemKey(t), pemKey(t)
	file := filepath.Join(dir, "service.key")
	write := func(text []byte) {
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	// An abstract name instead of a path: the API server takes both, the signer if it is told to.
	f := &signedCluster{
		fireground: &fireground{dir: dir, clock: &movedClock{}},
		socket:     "@rolecall-" + filepath.Base(filepath.Dir(dir)),
		args:       []string{"--insecure-abstract-socket", "--key-file", file},
	}
	f.start(t)
	f.Cluster = cluster.Start(t, cluster.Options{Issuer: rotatingURL, SigningEndpoint: f.socket})
	f.account(t)
	f.fire = &fire{ground: f.fireground, audience: "sts.amazonaws.com", gates: []*sync.RWMutex{{}}}
	old := f.fire.one(t)
	write([]byte("-----BEGIN PRIVATE KEY-----\nbroken"))
	f.until(
		t,
		"the broken file is reported",
		func() bool { return strings.Contains(f.stderr.String(), "keys cannot be read") },
	)
	if now := f.fire.one(t); now.kid != old.kid {
		t.Errorf("with a broken file %s signs", now.kid)
	}
	write(append(slices.Clone(second), first...))
	f.until(t, "the first of the file signs", func() bool { return f.fire.one(t).kid == keyID(t, second) })
	for _, one := range []heldToken{old, f.fire.one(t)} {
		if err := f.fire.review(t.Context(), 0, one); err != nil {
			t.Errorf("token of %s: %v", one.kid, err)
		}
	}
}

// TestSignerExcluded: keys of legacy tokens verify and are not published.
func TestSignerExcluded(t *testing.T) {
	t.Parallel()
	f := startSigned(t, 1)
	legacy := filepath.Join(f.dir, "legacy.key")
	text := pemKey(t)
	if err := os.WriteFile(legacy, text, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := token.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	f.signer(t, "import", "--key-file", legacy, "--exclude-from-discovery")
	fresh := f.fire.one(t)
	decoded, err := token.Decode(fresh.raw)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(decoded.Claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := token.Sign(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	f.until(t, "a token of the excluded key is accepted", func() bool {
		return f.fire.review(t.Context(), 0, heldToken{raw: signed.Reveal()}) == nil
	})
	if kids := f.kids(t); slices.Contains(kids, key.ID()) || len(kids) != 1 {
		t.Errorf("published: %q", kids)
	}
	f.fire.stop(t)
}

// signedCluster is a fireground whose API servers sign through `serve signer`.
type signedCluster struct {
	*fireground
	socket  string
	args    []string // of serve signer: where its keys are
	stderr  *lockedbuffer.Buffer
	stop    func()
	longest atomic.Int64
}

// startSigned imports the key of a cluster that runs, as an operator does who
// moves to the signer, and starts the stream.
func startSigned(t *testing.T, servers int) *signedCluster {
	t.Helper()
	f := &signedCluster{
		fireground: &fireground{dir: t.TempDir(), clock: &movedClock{}, mux: &swapped{}},
		socket:     filepath.Join(t.TempDir(), "s"),
	}
	f.args = f.storeArgs()
	key := filepath.Join(f.dir, "sa.key")
	if err := os.WriteFile(key, pemKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	f.signer(t, "import", "--key-file", key, "--max-token-expiration", "24h")
	f.start(t)
	f.Cluster = cluster.Start(t, cluster.Options{Issuer: rotatingURL, APIServers: servers, SigningEndpoint: f.socket})
	f.account(t)
	authority, server := serveTLS(t, f.mux, rotatingHost)
	f.mux.handle("/c1/", http.HandlerFunc(f.discovery))
	f.startSTS(t, authority, server.Listener.Addr().String())
	f.trust(t, rotatingURL)
	f.fire = &fire{ground: f.fireground, audience: "sts.amazonaws.com", took: f.note}
	for range servers {
		f.fire.gates = append(f.fire.gates, &sync.RWMutex{})
	}
	f.fire.start(t)
	return f
}

func (f *signedCluster) note(took time.Duration) {
	for before := f.longest.Load(); int64(took) > before; before = f.longest.Load() {
		if f.longest.CompareAndSwap(before, int64(took)) {
			return
		}
	}
}

func (f *signedCluster) storeArgs() []string {
	return []string{"--store", filepath.Join(f.dir, "keys"), "--kms-key-file", filepath.Join(f.dir, "kms.key")}
}

func (f *signedCluster) account(t *testing.T) {
	t.Helper()
	if _, err := f.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// start runs the server until the test ends, or stop is called, which drains it.
func (f *signedCluster) start(t *testing.T) {
	t.Helper()
	if f.stderr == nil {
		f.stderr = &lockedbuffer.Buffer{}
	}
	system := app.NewSystem()
	system.Stderr, system.Now = f.stderr, f.clock.now
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan int, 1)
	metrics := freeport.Address(t)
	go func() {
		ended <- app.Run(ctx, system, append([]string{
			"serve", "signer", "--socket", f.socket, "--metrics-listen", metrics, "--refresh-hint", "1s",
			"--publish-for", "4s",
		}, f.args...))
	}()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("serve signer ended with %d:\n%s", code, f.stderr)
		}
	})
	t.Cleanup(f.stop)
	f.until(t, "the signer is ready", func() bool {
		answer, err := http.Get("http://" + metrics + "/readyz") //nolint:noctx // loopback
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func (f *signedCluster) restart(t *testing.T) {
	t.Helper()
	f.stop()
	f.start(t)
}

// discovery publishes what an API server serves, as a controller would.
func (f *signedCluster) discovery(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=1")
	if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/openid/v1/jwks","response_types_supported":["id_token"],`+
			`"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`,
			rotatingURL, rotatingURL)
		return
	}
	text, err := f.Client.CoreV1().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_, _ = w.Write(text)
}

// kids are those that all API servers publish.
func (f *signedCluster) kids(t *testing.T) []string {
	t.Helper()
	var common []string
	for i, server := range f.APIServers {
		text, err := server.Client.CoreV1().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys, err := token.ReadJWKS(text)
		if err != nil {
			t.Fatal(err)
		}
		var kids []string
		for _, key := range keys {
			kids = append(kids, key.ID)
		}
		if i == 0 {
			common = kids
		}
		common = slices.DeleteFunc(common, func(kid string) bool { return !slices.Contains(kids, kid) })
	}
	return common
}

// signer runs a command on the store.
func (f *signedCluster) signer(t *testing.T, verb string, args ...string) string {
	t.Helper()
	output := &lockedbuffer.Buffer{}
	system := app.NewSystem()
	system.Stdout, system.Stderr, system.Now = output, output, f.clock.now
	args = slices.Concat([]string{"signer", verb}, f.storeArgs(), args)
	if got := app.Run(t.Context(), system, args); got != 0 {
		t.Fatalf("%q: exit code %d\n%s", args, got, output)
	}
	return output.String()
}

// notEarly compares the log's first signature of a key with the store's time.
func (f *signedCluster) notEarly(t *testing.T, kid string) {
	t.Helper()
	var keys []struct {
		KID       string
		SignsFrom time.Time
	}
	if err := json.Unmarshal([]byte(f.signer(t, "keys", "-o", "json")), &keys); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(f.stderr.String()) {
		if !strings.Contains(line, `msg="token signed" kid=`+kid) {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(strings.Fields(line)[0], "time="))
		if err != nil || len(keys) == 0 || keys[0].KID != kid ||
			at.Before(keys[0].SignsFrom.Truncate(time.Millisecond)) {
			t.Errorf("first signature of %s at %s (%v), keys %+v", kid, at, err, keys)
		}
		return
	}
	t.Errorf("no signature of %s is in the log", kid)
}

// phase returns the key of the store that is in a phase.
func (f *signedCluster) phase(t *testing.T, phase string) string {
	t.Helper()
	var keys []struct{ KID, Phase string }
	if err := json.Unmarshal([]byte(f.signer(t, "keys", "-o", "json")), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key.Phase == phase {
			return key.KID
		}
	}
	return ""
}

// until waits for what other processes do; the bound only ends a broken test.
func (f *signedCluster) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !is() {
		if f.fire != nil && f.fire.failures.Load() > 0 {
			f.fire.report(t)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s\n%s", what, f.stderr)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// noToken looks for a token in what the signer said.
func (f *signedCluster) noToken(t *testing.T, raw string) {
	t.Helper()
	said := f.stderr.String()
	if !strings.Contains(said, "token signed") || !strings.Contains(said, "system:serviceaccount:default:default") {
		t.Error("signatures are not in the log")
	}
	for _, part := range strings.Split(raw, ".")[1:] {
		if strings.Contains(said, part) {
			t.Error("the log holds a part of a token")
		}
	}
}

func pemKey(t *testing.T) []byte {
	t.Helper()
	key, err := token.GenerateRSA(token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keyID(t *testing.T, text []byte) string {
	t.Helper()
	key, err := token.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key.ID()
}
