package statedir_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/authenticator/statedir"
	"github.com/rolecall/rolecall/internal/fault"
)

// trusts reports whether a client that trusts these authorities accepts what a keeper
// serves under a name.
func trusts(t *testing.T, k *statedir.Keeper, roots []byte, name string) bool {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_ = tls.Server(server, k.TLSConfig()).HandshakeContext(t.Context())
	}()
	return tls.Client(client, &tls.Config{RootCAs: pool, ServerName: name, Time: k.Now}).HandshakeContext(t.Context()) == nil
}

func keeper(dir string, log *bytes.Buffer, now func() time.Time) *statedir.Keeper {
	return &statedir.Keeper{
		Dir: dir, Names: []string{"127.0.0.1", "localhost"}, Log: slog.New(slog.NewTextHandler(log, nil)), Now: now,
	}
}

// TestPair: it is made once and kept, in the peer's form; certificates are renewed of it,
// and API servers that trust it go on to.
func TestPair(t *testing.T) {
	t.Parallel()
	dir, kubeconfig := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "sub", "webhook.yaml")
	now, log := time.Now(), &bytes.Buffer{}
	k := keeper(dir, log, func() time.Time { return now })
	made, err := k.Open(kubeconfig, false)
	if err != nil {
		t.Fatal(err)
	}
	for file, mode := range map[string]os.FileMode{statedir.CertFile: 0o644, statedir.KeyFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", file, info, err)
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, statedir.KeyFile))
	if err != nil || !bytes.HasPrefix(key, []byte("-----BEGIN RSA PRIVATE KEY-----")) {
		t.Errorf("the key is not in the peer's form: %v", err)
	}
	webhook := statedir.Webhook{Hostname: "::1", Port: 21362, Authorities: made.PEM()}
	if changed, err := webhook.WriteKubeconfig(kubeconfig); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if changed, err := webhook.WriteKubeconfig(kubeconfig); err != nil || changed {
		t.Errorf("written again: %t, %v", changed, err)
	}
	read, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil || read.CurrentContext != "webhook" ||
		read.Clusters["aws-iam-authenticator"].Server != "https://[::1]:21362/authenticate" {
		t.Errorf("%v %v", read, err)
	}
	if text := string(webhook.Kubeconfig()); !strings.HasPrefix(text, "apiVersion: v1\nkind: Config\n") {
		t.Error(text)
	}
	again := keeper(dir, log, k.Now)
	kept, err := again.Open(kubeconfig, false)
	if err != nil || kept.Fingerprint() != made.Fingerprint() {
		t.Fatalf("%v: another pair", err)
	}
	if !trusts(t, again, made.PEM(), "localhost") || !trusts(t, again, made.PEM(), "127.0.0.1") ||
		trusts(t, again, made.PEM(), "elsewhere.example") {
		t.Error("clients that trust the pair are not served, or under any name")
	}
	for range 8 { // two years
		now = now.Add(88 * 24 * time.Hour)
		if !trusts(t, again, made.PEM(), "localhost") {
			t.Fatalf("not trusted at %s: %s", now, log)
		}
	}
	if strings.Count(log.String(), "renewed") != 8 {
		t.Errorf("renewals: %s", log)
	}
}

// TestRotation: who trusts the authority before and who trusts the new one are served by
// a process that runs meanwhile.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &bytes.Buffer{}
	k := keeper(dir, log, time.Now)
	first, err := k.Open("", false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.Next(time.Now(), k.Names)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Write(dir); err != nil {
		t.Fatal(err)
	}
	other, err := statedir.Make(time.Now(), k.Names)
	if err != nil {
		t.Fatal(err)
	}
	for name, served := range map[string]*statedir.Keeper{"running": k, "started again": keeper(dir, log, time.Now)} {
		if _, err := served.Open("", false); name != "running" && err != nil {
			t.Fatal(err)
		}
		if !trusts(t, served, first.PEM(), "localhost") || !trusts(t, served, second.PEM(), "localhost") {
			t.Errorf("%s: one of both authorities is not served", name)
		}
		if trusts(t, served, other.PEM(), "localhost") {
			t.Errorf("%s: somebody else's authority is", name)
		}
	}
}

// TestNoNewPairInSilence: API servers that trust another pair would refuse a new one.
func TestNoNewPairInSilence(t *testing.T) {
	t.Parallel()
	kubeconfig, log := filepath.Join(t.TempDir(), "webhook.yaml"), &bytes.Buffer{}
	lost, err := statedir.Make(time.Now(), []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (statedir.Webhook{Hostname: "localhost", Port: 1, Authorities: lost.PEM()}).WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	for _, present := range []string{"", statedir.CertFile, statedir.KeyFile} {
		dir := t.TempDir()
		if present != "" {
			other := t.TempDir()
			if err := lost.Write(other); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(other, present), filepath.Join(dir, present)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := keeper(dir, log, time.Now).Open(kubeconfig, false)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), lost.Fingerprint()) ||
			strings.Count(err.Error(), "SHA256:") != 2 || !strings.Contains(strings.Join(fault.HintsOf(err), " "), "--rotate") {
			t.Errorf("with %q: %v", present, err)
		}
		if _, err := os.Stat(filepath.Join(dir, statedir.KeyFile)); present != statedir.KeyFile && err == nil {
			t.Errorf("with %q: a key was written", present)
		}
		if made, err := keeper(dir, log, time.Now).Open(kubeconfig, true); err != nil || made.Fingerprint() == lost.Fingerprint() {
			t.Errorf("with %q and --rotate: %v", present, err)
		}
	}
	if _, err := keeper(t.TempDir(), log, time.Now).Open(filepath.Join(t.TempDir(), "none"), false); err != nil {
		t.Errorf("no kubeconfig yet: %v", err)
	}
}

// TestFilesThatAreNone are told with what to do about them.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(dir string) error{
		"is a directory": func(dir string) error { return os.Mkdir(filepath.Join(dir, statedir.CertFile), 0o700) },
		"are no pair": func(dir string) error {
			one, _ := statedir.Make(time.Now(), nil)
			two, _ := statedir.Make(time.Now(), nil)
			other := dir + "2"
			if err := one.Write(dir); err != nil {
				return err
			}
			if err := two.Write(other); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, statedir.KeyFile), filepath.Join(dir, statedir.KeyFile))
		},
		"are no pair: tls": func(dir string) error {
			_ = os.WriteFile(filepath.Join(dir, statedir.CertFile), []byte("x"), 0o600)
			return os.WriteFile(filepath.Join(dir, statedir.KeyFile), []byte("x"), 0o600)
		},
	} {
		dir := t.TempDir()
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		_, err := keeper(dir, &bytes.Buffer{}, time.Now).Open("", true)
		if err == nil || !strings.Contains(err.Error(), strings.Split(name, ":")[0]) || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
