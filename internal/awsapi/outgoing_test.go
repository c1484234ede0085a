package awsapi_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/test/hungpeer"
)

// TestCallsSayWhoCalls: every call names the program and its version, before what the SDK
// says of itself.
func TestCallsSayWhoCalls(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	own := credential.AWS{AccessKeyID: "AKIAEXAMPLE", SecretKey: credential.NewSecret("secret")}
	bearer := func() (credential.Secret, error) { return credential.NewSecret("agent"), nil }
	for name, call := range map[string]func(ctx context.Context, at string){
		"EKS Auth": func(ctx context.Context, at string) {
			client := must(awsapi.NewEKSAuth(ctx, awsapi.EKSAuthConfig{Region: "eu-west-1", Endpoint: at, Now: time.Now}))
			_, _ = client.AssumeRoleForPodIdentity(ctx, "prod", credential.NewSecret("t"))
		},
		"broker": func(ctx context.Context, at string) {
			_, _ = awsapi.NewLocalBroker(at, bearer, time.Now).AssumeRoleForPodIdentity(ctx, "prod", credential.NewSecret("t"))
		},
		"changes": func(ctx context.Context, at string) {
			_, _, _ = awsapi.NewLocalBroker(at, bearer, time.Now).Changes(ctx, "n1", "")
		},
		"STS": func(ctx context.Context, at string) {
			roles := must(awsapi.NewRoles(ctx, awsapi.RolesConfig{Region: "eu-west-1", Endpoint: at}))
			_, _ = roles.WithWebIdentity(ctx, awsapi.RoleRequest{RoleARN: "arn:aws:iam::111122223333:role/a"}, credential.NewSecret("t"))
		},
		"STS of a plane": func(ctx context.Context, at string) {
			_, _ = awsapi.NewLocalRoles(at, "eu-west-1", own).WithWebIdentity(ctx, awsapi.RoleRequest{}, credential.NewSecret("t"))
		},
		"the caller": func(ctx context.Context, at string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", at)
			_, _ = awsapi.CallerIdentity(ctx)
		},
		"an account": func(ctx context.Context, at string) {
			t.Setenv("AWS_ENDPOINT_URL_STS", at)
			_, _ = must(awsapi.OpenAccount(ctx, "eu-west-1", "")).Identity(ctx)
		},
		"instance": func(ctx context.Context, at string) { _, _ = awsapi.Instance(ctx, at) },
		"callers": func(ctx context.Context, at string) {
			_, _ = newCallers(t, at).Identify(ctx, question(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var said []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				said = append(said, r.UserAgent())
				mu.Unlock()
				w.WriteHeader(http.StatusBadRequest)
			}))
			defer server.Close()
			call(t.Context(), server.URL)
			if len(said) == 0 {
				t.Fatal("nothing was asked")
			}
			for _, one := range said {
				if !regexp.MustCompile(`^rolecall/[^ ()]+ \([a-z0-9]+/[a-z0-9]+\)( aws-sdk-go-v2/.*)?$`).MatchString(one) {
					t.Errorf("it says %q", one)
				}
			}
		})
	}
}

func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

const podSession = `{"subject":{"namespace":"shop","serviceAccount":"cart"},"audience":"pods.eks.amazonaws.com",` +
	`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/cart/x"},"credentials":{"accessKeyId":"ASIAX",` +
	`"secretAccessKey":"s","sessionToken":"t","expiration":4102444800}}`

// TestBrokerHangs: when a broker hangs, its connection is given up and another made, though
// the kernel goes on acknowledging what is sent. One that answers late is not taken for one that
// hangs.
func TestBrokerHangs(t *testing.T) {
	t.Parallel()
	certificate, certPEM, _ := pair(t, "broker")
	bundle, token := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "token")
	write(t, bundle, certPEM)
	write(t, token, []byte("agent"))
	serve := func() string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				t.Errorf("asked over %s", r.Proto)
			}
			if strings.HasSuffix(r.URL.Path, "/changes") {
				select { // longer than a connection without a sign of life would last
				case <-time.After(5 * time.Second):
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, `{"cursor":"1"}`)
				return
			}
			_, _ = io.WriteString(w, podSession)
		}))
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	front := hungpeer.New(t, serve())
	client, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint: "https://" + front.Addr().String(), BearerFile: token, CAFile: bundle, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := client.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("pod"))
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Changes(t.Context(), "n1", ""); err != nil || front.Connections() != 1 {
		t.Errorf("a slow answer: %v, over %d connections", err, front.Connections())
	}
	front.Hang(serve())
	began := time.Now()
	for err = ask(); err != nil && time.Since(began) < 30*time.Second; err = ask() {
		t.Logf("after %v: %v", time.Since(began).Round(time.Millisecond), err)
	}
	if err != nil || front.Connections() != 2 {
		t.Errorf("after %v: %v, %d connections", time.Since(began), err, front.Connections())
	}
	t.Logf("an answer after %v", time.Since(began).Round(time.Millisecond))
}

// TestHandshakeHangs: a broker that hangs is connected to and does not answer: the call ends
// in time for another.
func TestHandshakeHangs(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("agent"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint: "https://" + listener.Addr().String(), BearerFile: token, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("pod"))
	if err == nil || !strings.Contains(err.Error(), "TLS handshake timeout") {
		t.Errorf("got %v, want the handshake to be given up before the attempt is", err)
	}
}
