package plane_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

func start(t *testing.T, dir string) *plane.Plane {
	t.Helper()
	started, err := plane.Start(t.Context(), plane.Config{
		AWSAddress: "127.0.0.1:0", DataDir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return started
}

func stop(t *testing.T, p *plane.Plane) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKeptData: what a user did to the quickstart's role is not undone by the
// next start, and the issuer's key is the same.
func TestKeptData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir)
	endpoints := first.Endpoints()
	iam := awsapi.NewIAM(endpoints.AWS, endpoints.Region, first.Admin())
	if err := iam.SetTrust(t.Context(), quickstart.Role, string(quickstart.TrustPolicyTypo)); err != nil {
		t.Fatal(err)
	}
	token, _, err := plane.NewClient(endpoints).Token(t.Context(),
		plane.TokenRequest{Namespace: "default", ServiceAccount: "s3-reader"})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, first)

	second := start(t, dir)
	defer stop(t, second)
	endpoints = second.Endpoints()
	trust, err := awsapi.NewIAM(endpoints.AWS, endpoints.Region, second.Admin()).Trust(t.Context(), quickstart.Role)
	if err != nil || !strings.Contains(trust, "oidc.us-east-1.eks") {
		t.Errorf("trust after a restart: %s, %v", trust, err)
	}
	again, _, err := plane.NewClient(endpoints).Token(t.Context(),
		plane.TokenRequest{Namespace: "default", ServiceAccount: "s3-reader"})
	if err != nil {
		t.Fatal(err)
	}
	header := func(raw string) string { part, _, _ := strings.Cut(raw, "."); return part }
	if header(token.Reveal()) != header(again.Reveal()) {
		t.Error("the issuer has another key after a restart")
	}
}

// TestFailedStart leaves nothing behind: the folder can be opened again.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	running := start(t, "")
	defer stop(t, running)
	dir := t.TempDir()
	_, err := plane.Start(t.Context(), plane.Config{
		AWSAddress: strings.TrimPrefix(running.Endpoints().AWS,
			"http://"), DataDir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if fault.KindOf(err) != fault.Conflict || len(fault.HintsOf(err)) == 0 {
		t.Errorf("a port in use: %v", err)
	}
	stop(t, start(t, dir))
}

// TestUnknownServiceAccount and one without a role are told apart.
func TestUnknownServiceAccount(t *testing.T) {
	t.Parallel()
	running := start(t, "")
	defer stop(t, running)
	pod, err := plane.MinimalPod("nobody")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plane.NewClient(running.Endpoints()).Prepare(t.Context(), "default", pod, t.TempDir(),
		plane.ViaWebhook); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Prepare = %v", err)
	}
}
