package signer_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/externaljwt/apis/v1"
	"k8s.io/externaljwt/apis/v1alpha1"

	"github.com/rolecall/rolecall/internal/signer"
	"github.com/rolecall/rolecall/internal/token"
)

// log is written by the server and read by the test.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a service on a socket.
type running struct {
	ring   *signer.Ring
	socket string
	log    *log
	stop   func()
}

func serve(t testing.TB, keys ...signer.Key) *running {
	t.Helper()
	r := &running{socket: filepath.Join(t.TempDir(), "s"), log: &log{}}
	var err error
	if r.ring, err = signer.NewRing(signer.Set{Keys: keys, ReadAt: start}, time.Second); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	service, err := signer.NewService(signer.Config{
		Ring: r.ring, RefreshHint: time.Second, MaxTokenLife: time.Hour, Metrics: prometheus.NewRegistry(), Log: logger,
		Now: func() time.Time { return start },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := signer.Listen(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.Serve(ctx, listener) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// dial connects as kube-apiserver does.
func dial(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func claims(members string) string { return token.EncodeSegment([]byte("{" + members + "}")) }

func good() string {
	return claims(fmt.Sprintf(`"iss":"https://issuer.example","sub":"system:serviceaccount:shop:till","aud":["a"],"jti":"the-id","exp":%d`, start.Unix()+3600))
}

// TestService: the answers of both versions of the protocol.
func TestService(t *testing.T) {
	t.Parallel()
	key, excluded := newKey(t), newKey(t)
	excluded.Excluded = true
	r := serve(t, key, excluded)
	connection := dial(t, r.socket)
	client, older := v1.NewExternalJWTSignerClient(connection), v1alpha1.NewExternalJWTSignerClient(connection)

	signed, err := client.Sign(t.Context(), &v1.SignJWTRequest{Claims: good()})
	if err != nil {
		t.Fatal(err)
	}
	olderSigned, err := older.Sign(t.Context(), &v1alpha1.SignJWTRequest{Claims: good()})
	if err != nil {
		t.Fatal(err)
	}
	for _, parts := range [][2]string{{signed.Header, signed.Signature}, {olderSigned.Header, olderSigned.Signature}} {
		raw := parts[0] + "." + good() + "." + parts[1]
		decoded, err := token.Decode(raw)
		if err != nil || decoded.Header.KeyID != key.ID || decoded.VerifySignature(key.Public) != nil {
			t.Errorf("token %+v: %v", decoded, err)
		}
		if said := r.log.String(); strings.Contains(said, parts[1]) || strings.Contains(said, good()) {
			t.Error("the log contains part of a token")
		}
	}
	if said := r.log.String(); strings.Count(said, "token signed") != 2 ||
		!strings.Contains(said, "subject=system:serviceaccount:shop:till jti=the-id") {
		t.Errorf("audit: %s", said)
	}

	keys, err := client.FetchKeys(t.Context(), &v1.FetchKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	olderKeys, err := older.FetchKeys(t.Context(), &v1alpha1.FetchKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if keys.RefreshHintSeconds != 1 || !keys.DataTimestamp.AsTime().Equal(start) || len(keys.Keys) != 2 ||
		keys.String() != olderKeys.String() {
		t.Errorf("keys %v and %v", keys, olderKeys)
	}
	for i, want := range []signer.Key{key, excluded} {
		public, err := x509.ParsePKIXPublicKey(keys.Keys[i].Key)
		id, _ := token.KeyID(public)
		if err != nil || id != want.ID || keys.Keys[i].KeyId != want.ID ||
			keys.Keys[i].ExcludeFromOidcDiscovery != want.Excluded {
			t.Errorf("key %v: %v", keys.Keys[i], err)
		}
	}
	metadata, err := client.Metadata(t.Context(), &v1.MetadataRequest{})
	olderMetadata, olderErr := older.Metadata(t.Context(), &v1alpha1.MetadataRequest{})
	if err != nil || olderErr != nil || metadata.MaxTokenExpirationSeconds != 3600 ||
		olderMetadata.MaxTokenExpirationSeconds != 3600 {
		t.Errorf("metadata %v, %v: %v %v", metadata, olderMetadata, err, olderErr)
	}
	// The ring counts connections, not calls, and notices their end.
	if now := r.ring.Look(start); now.Clients != 1 {
		t.Errorf("%d clients, want 1", now.Clients)
	}
	_ = connection.Close()
	eventually(t, func() bool { return r.ring.Look(start).Clients == 0 })
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestHostileClaims: hostile claims are refused, and the refusal repeats
// nothing of them.
func TestHostileClaims(t *testing.T) {
	t.Parallel()
	r := serve(t, newKey(t))
	client := v1.NewExternalJWTSignerClient(dial(t, r.socket))
	const secret = "s3cr3t"
	base := `"iss":"i","sub":"s"`
	exp := fmt.Sprintf(`,"exp":%d`, start.Unix()+60)
	for name, payload := range map[string]string{
		"empty":                   "",
		"no base64":               "{" + base + "}",
		"padded":                  good() + "=",
		"line end":                good() + "\n",
		"standard base64":         "e30+/w",
		"a second segment":        good() + "." + good(),
		"a number":                token.EncodeSegment([]byte("7")),
		"null":                    token.EncodeSegment([]byte("null")),
		"an array":                token.EncodeSegment([]byte("[]")),
		"a text":                  token.EncodeSegment([]byte(`"` + secret + `"`)),
		"two objects":             token.EncodeSegment([]byte(`{}{}`)),
		"cut":                     token.EncodeSegment([]byte(`{"iss":"` + secret)),
		"no issuer":               claims(`"sub":"s"` + exp),
		"no subject":              claims(`"iss":"i"` + exp),
		"issuer a number":         claims(`"iss":1,"sub":"s"` + exp),
		"subject null":            claims(`"iss":"i","sub":null` + exp),
		"no end":                  claims(base),
		"end a text":              claims(base + `,"exp":"99"`),
		"end null":                claims(base + `,"exp":null`),
		"end a fraction":          claims(base + `,"exp":1.5`),
		"expiry with an exponent": claims(base + `,"exp":9e99`),
		"end negative":            claims(base + `,"exp":-1`),
		"expiry beyond all times": claims(base + `,"exp":99999999999999999999`),
		"end too far":             claims(base + fmt.Sprintf(`,"exp":%d`, start.Unix()+3600+61)),
		"exp in upper case":       claims(base + fmt.Sprintf(`,"EXP":%d`, start.Unix()+60)),
		"end twice":               claims(base + exp + fmt.Sprintf(`,"exp":%d`, start.Unix()+9)),
		"issuer twice":            claims(base + exp + `,"iss":"` + secret + `"`),
		"escaped twice":           claims(base + exp + `,"\u0073ub":"` + secret + `"`),
		"too long":                claims(base + exp + `,"x":"` + strings.Repeat("x", 48<<10) + `"`),
	} {
		answer, err := client.Sign(t.Context(), &v1.SignJWTRequest{Claims: payload})
		code := status.Code(err)
		if code != codes.InvalidArgument && (name != "too long" || code != codes.ResourceExhausted) {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%s: the error repeats it: %v", name, err)
		}
	}
	if said := r.log.String(); strings.Contains(said, secret) || strings.Contains(said, "token signed") {
		t.Errorf("log: %s", said)
	}
	if _, err := client.Sign(t.Context(), &v1.SignJWTRequest{Claims: good()}); err != nil {
		t.Errorf("a good one afterwards: %v", err)
	}
}

// TestDrain: a call that has begun is answered, and the socket is gone.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := serve(t, newKey(t))
	client := v1.NewExternalJWTSignerClient(dial(t, r.socket))
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for ctx.Err() == nil {
				// A call after the end waits for the next signer, until it is
				// cancelled.
				if _, err := client.Sign(ctx, &v1.SignJWTRequest{
					Claims: good(),
				}); err != nil && status.Code(err) != codes.Canceled {
					t.Errorf("a call during the drain: %v", err)
				}
			}
		})
	}
	eventually(t, func() bool { return strings.Count(r.log.String(), "token signed") > 50 })
	r.stop()
	if found, _ := filepath.Glob(filepath.Dir(r.socket) + "/*"); len(found) > 0 {
		t.Errorf("%q are left", found)
	}
	cancel()
	calls.Wait()
}

func BenchmarkSign(b *testing.B) {
	rsa, err := token.GenerateRSA(2048)
	if err != nil {
		b.Fatal(err)
	}
	for name, key := range map[string]signer.Key{
		"RSA2048": {ID: rsa.ID(), Public: rsa.Public(), Private: rsa},
		"P256":    newKey(b),
	} {
		ring, err := signer.NewRing(signer.Set{Keys: []signer.Key{key}, ReadAt: start}, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		payload := good()
		b.Run(name+"/ring", func(b *testing.B) {
			b.ReportAllocs()
			caller := &signer.Client{}
			for b.Loop() {
				private, err := ring.Choose(caller, start)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := token.SignDetached(private, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/socket", func(b *testing.B) {
			b.ReportAllocs()
			client := v1.NewExternalJWTSignerClient(dial(b, serve(b, key).socket))
			for b.Loop() {
				if _, err := client.Sign(b.Context(), &v1.SignJWTRequest{Claims: payload}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
