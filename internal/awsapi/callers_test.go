package awsapi_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/pki"
)

// question is a token whose query no program would write so: it must arrive as it
// is.
func question(t *testing.T) *callerid.Presigned {
	t.Helper()
	p, err := callerid.Parse(callerid.Encode(
		"https://sts.us-east-1.amazonaws.com/?X-Amz-SignedHeaders=x-k8s-aws-id&&Version=2011-06-15&"+
			"Action=GetCallerIdentit%79&X-Amz-Expires=60&X-Amz-Security-Token=SECRETSECRET%2b/%2F&X-Amz-Date="+
			time.Now().UTC().Format("20060102T150405Z"),
	), callerid.Policy{Partition: "aws"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const identified = `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"111122223333",` +
	`"Arn":"arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0",` +
	`"UserId":"AROAX:i-0123456789abcdef0"}}}`

func newCallers(t *testing.T, endpoint string) *awsapi.Callers {
	t.Helper()
	c, err := awsapi.NewCallers(t.Context(), awsapi.CallersConfig{Cluster: "demo", Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// soon leaves no time for a second attempt.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2900*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestCallersAsk is spec authenticator row T41, over TLS: only where the connection goes is ours to
// choose.
func TestCallersAsk(t *testing.T) {
	clean(t)
	authority, err := pki.NewAuthority("sts", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServingConfig(time.Now(), time.Hour, "sts.us-east-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan *http.Request, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received <- r
		_, _ = io.WriteString(w, identified)
	}))
	server.TLS, server.Config.ErrorLog = config, log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, authority.PEM())
	t.Setenv("AWS_CA_BUNDLE", file)
	for name, endpoint := range map[string]string{
		"parameter":            server.URL + "/ignored",
		"AWS_ENDPOINT_URL_STS": "",
		"AWS_ENDPOINT_URL":     "",
	} {
		t.Setenv("AWS_ENDPOINT_URL_STS", "https://127.0.0.1:1")
		if endpoint == "" {
			t.Setenv("AWS_ENDPOINT_URL_STS", "")
			t.Setenv(name, server.URL)
		}
		p := question(t)
		who, err := newCallers(t, endpoint).Identify(t.Context(), p)
		if err != nil || who.CanonicalARN != "arn:aws:iam::111122223333:role/node" ||
			who.SessionName != "i-0123456789abcdef0" {
			t.Fatalf("%s: %+v, %v", name, who, err)
		}
		r := <-received
		if r.Method != http.MethodGet || r.URL.RawQuery != p.Query.Reveal() || r.URL.Path != "/" ||
			r.Host != "sts.us-east-1.amazonaws.com" ||
			r.Header.Get("X-K8s-Aws-Id") != "demo" ||
			r.Header.Get("Accept") != "application/json" ||
			r.TLS.ServerName != "sts.us-east-1.amazonaws.com" ||
			r.TLS.Version < tls.VersionTLS12 {
			t.Errorf("%s: %s %s %v", name, r.Method, r.Host, r.Header)
		}
	}
	// The certificate of another host is none.
	other, err := authority.ServingConfig(time.Now(), time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	wrong := tlsBroker(t, other, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	_, err = newCallers(t, wrong.URL).Identify(soon(t), question(t))
	unavailable(t, err, "sts.us-east-1.amazonaws.com")
	// Nor is TLS from before 1.2.
	old := config.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	older := tlsBroker(t, old, func(http.ResponseWriter, *http.Request) { t.Error("asked with old TLS") })
	_, err = newCallers(t, older.URL).Identify(soon(t), question(t))
	unavailable(t, err, "protocol version")
}

func unavailable(t *testing.T, err error, fragment string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), fragment) ||
		!strings.Contains(err.Error(), "on us-east-1 endpoint") ||
		strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v (kind %d), want %s", err, fault.KindOf(err), fragment)
	}
}

// TestCallersFollowNobody is spec authenticator row T42.
func TestCallersFollowNobody(t *testing.T) {
	clean(t)
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed.Add(1)
		_, _ = io.WriteString(w, identified)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/?"+r.URL.RawQuery, status)
		}))
		t.Cleanup(sts.Close)
		_, err := newCallers(t, sts.URL).Identify(t.Context(), question(t))
		if fault.KindOf(err) != fault.Denied || strings.Contains(err.Error(), "SECRET") || followed.Load() != 0 {
			t.Errorf("%d: %v, followed %d times", status, err, followed.Load())
		}
	}
}

// TestCallersWithoutSTS is spec authenticator row T45, and what else is no answer: the token is in no
// error, even if it is sent back.
func TestCallersWithoutSTS(t *testing.T) {
	clean(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // no call of another machine
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	_, err = newCallers(t, "http://"+closed).Identify(soon(t), question(t))
	unavailable(t, err, "connection refused")

	echo, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // no call of another machine
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	go func() {
		for {
			connection, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.CopyN(connection, connection, 200); connection.Close() }()
		}
	}()
	_, err = newCallers(t, "http://"+echo.Addr().String()).Identify(soon(t), question(t))
	unavailable(t, err, "the answer is not HTTP")

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, identified)
	}))
	t.Cleanup(cut.Close)
	_, err = newCallers(t, cut.URL).Identify(soon(t), question(t))
	unavailable(t, err, "error reading HTTP result")

	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, identified+strings.Repeat(" ", 1<<20))
	}))
	t.Cleanup(long.Close)
	if _, err := newCallers(t, long.URL).Identify(soon(t), question(t)); fault.KindOf(err) != fault.Denied ||
		!strings.Contains(err.Error(), "longer than 65536 bytes") {
		t.Errorf("%v", err)
	}
}

func TestCallersEndpoints(t *testing.T) {
	clean(t)
	for endpoint, accepted := range map[string]bool{
		"": true,
		"https://vpce-1.sts.eu-west-1.vpce.amazonaws.com": true,
		"https://10.0.0.1:8443":                           true,
		"http://127.0.0.1:4566":                           true,
		"http://localhost:4566":                           true,
		"http://10.0.0.1:4566":                            false,
		"http://sts.example.com":                          false,
		"https://a:b@sts.example.com":                     false,
		"ftp://127.0.0.1":                                 false,
		"sts":                                             false,
	} {
		if _, err := awsapi.NewCallers(t.Context(), awsapi.CallersConfig{
			Cluster:  "demo",
			Endpoint: endpoint,
		}); (err == nil) != accepted {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
