package integration_test

import (
	"context"
	"errors"
	"net/http/httptrace"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// signerArgs makes this test program a signer, one that can be killed.
const signerArgs = "ROLECALL_TEST_SIGNER"

// TestSignerProcess is not a test: TestSignerKilled runs it as a process.
func TestSignerProcess(t *testing.T) {
	arguments, found := os.LookupEnv(signerArgs)
	if !found {
		return
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	if code := app.Run(ctx, app.NewSystem(), strings.Split(arguments, "\n")); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

// TestSignerKilled: a signer is killed under load. What it was answering fails as
// Unavailable; requests that begin when it is dead wait for the next signer, which
// takes the socket that was left; tokens are verified all the time.
func TestSignerKilled(t *testing.T) {
	t.Parallel()
	f := &signedCluster{
		fireground: &fireground{dir: t.TempDir(), clock: &movedClock{}},
		socket:     filepath.Join(t.TempDir(), "s"),
	}
	f.signer(t, "init")
	process := f.spawn(t)
	f.Cluster = cluster.Start(t, cluster.Options{Issuer: rotatingURL, SigningEndpoint: f.socket})
	f.account(t)
	held, err := f.token(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	var ended atomic.Bool
	var signed, waiting atomic.Int64
	var load, late sync.WaitGroup
	t.Cleanup(func() { ended.Store(true); load.Wait(); late.Wait() })
	for range clients {
		load.Go(func() {
			for !ended.Load() {
				_, err := f.token(t.Context())
				switch {
				case err == nil:
					signed.Add(1)
				case t.Context().Err() == nil && !strings.Contains(err.Error(), "code = Unavailable"):
					t.Errorf("a request that was under way: %v", err)
				}
			}
		})
	}
	f.until(t, "tokens are signed under load", func() bool { return signed.Load() > 10*clients })
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); !killed(err) {
		t.Fatalf("the signer ended by itself: %v", err)
	}
	sent := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { waiting.Add(1) },
	})
	for range clients {
		late.Go(func() {
			if _, err := f.token(sent); err != nil && t.Context().Err() == nil {
				t.Errorf("a request that began when the signer was dead: %v", err)
			}
		})
	}
	f.until(t, "they wait for a signature", func() bool { return waiting.Load() >= clients })
	review, err := f.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: held},
	}, metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated {
		t.Errorf("without a signer a token is not verified: %v %+v", err, review.Status)
	}
	f.spawn(t)
	late.Wait()
	ended.Store(true)
	load.Wait()
	again, err := f.token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if kidOf(t, again) != kidOf(t, held) {
		t.Errorf("another key signs after the restart")
	}
}

// token asks for one as the API server's own audience.
func (f *signedCluster) token(ctx context.Context) (string, error) {
	answer, err := f.Client.CoreV1().
		ServiceAccounts("default").
		CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// spawn runs the signer as a process until the test ends, and waits for its socket.
func (f *signedCluster) spawn(t *testing.T) *exec.Cmd {
	t.Helper()
	arguments := append(
		[]string{
			"serve", "signer", "--socket", f.socket, "--metrics-listen", freeport.Address(t), "--refresh-hint",
			"1s", "--publish-for", "4s",
		},
		f.storeArgs()...)
	output := &lockedbuffer.Buffer{}
	process := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestSignerProcess$")
	process.Env = append(os.Environ(), signerArgs+"="+strings.Join(arguments, "\n"))
	process.Stdout, process.Stderr = output, output
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if process.ProcessState == nil {
			_ = process.Process.Kill()
			_ = process.Wait()
		}
	})
	f.until(t, "the signer listens", func() bool { return strings.Contains(output.String(), "server=signer") })
	return process
}

func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	status, isWait := exit.Sys().(syscall.WaitStatus)
	return ok && isWait && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	decoded, err := token.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return decoded.Header.KeyID
}
