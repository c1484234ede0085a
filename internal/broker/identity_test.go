package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/token"
)

// TestChainedBroker is spec podidentity row S9: a broker that has a role's session asks for no
// more than an hour, without a refusal first.
func TestChainedBroker(t *testing.T) {
	w := newWorld(t, settings{mode: v1alpha1.BrokerRole}) // its own client is made below
	w.role(
		"broker",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
			`"Principal":{"AWS":"arn:aws:iam::`+accountID+`:root"},"Action":"sts:AssumeRole"}]}`,
		3600, allow(`["sts:AssumeRole","sts:TagSession"]`, "*"),
	)
	client := sts.New(
		sts.Options{
			BaseEndpoint: aws.String(w.aws),
			Region:       region,
			Credentials:  credentials.NewStaticCredentialsProvider(brokerKeyID, brokerSecret, ""),
		},
	)
	own, err := client.AssumeRole(
		t.Context(),
		&sts.AssumeRoleInput{
			RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/broker"),
			RoleSessionName: aws.String("broker"),
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", *own.Credentials.AccessKeyId)
	t.Setenv("AWS_SECRET_ACCESS_KEY", *own.Credentials.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", *own.Credentials.SessionToken)
	w = w.again(t)
	w.associate()
	if got := w.ask(w.token(nil)); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if got := durations(w.taken()); !slices.Equal(got, []string{"3600"}) {
		t.Errorf("durations %v", got)
	}
}

// TestNoIdentity: mode BrokerRole without an identity says so, and is no verdict
// about the pod.
func TestNoIdentity(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	w := newWorld(t, settings{mode: v1alpha1.BrokerRole})
	w.associate()
	w.expect(w.ask(w.token(nil)), "ServiceUnavailableException", "no AWS identity")
	w = newWorld(t, settings{})
	w.associate()
	w.expect(w.ask(w.token(nil)), "", "") // the other modes need none
}

// TestSigningKeyChanges: a new key signs the next token; a file without a key
// leaves the old one.
func TestSigningKeyChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key.pem")
	write := func(text []byte, at int64) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	first, second := must(token.GenerateEC(elliptic.P256())), must(token.GenerateEC(elliptic.P256()))
	write(must(first.PEM()), 1000)
	w := newWorld(
		t, settings{edit: func(c *broker.Config) { c.Sessions.Minter.Key = must(session.OpenKey(file, c.Log)) }},
	)
	key := w.broker.Sessions.Minter.Key
	if got := key.Current(); got.ID() != first.ID() {
		t.Errorf("signs with %s", got)
	}
	write(must(second.PEM()), 2000)
	if got := key.Current(); got.ID() != second.ID() {
		t.Errorf("changed: signs with %s", got)
	}
	for at, text := range map[int64]string{3000: "junk", 4000: ""} {
		write([]byte(text), at)
		if got := key.Current(); got.ID() != second.ID() {
			t.Errorf("%q: signs with %s", text, got)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := key.Current(); got.ID() != second.ID() {
		t.Errorf("gone: signs with %s", got)
	}
	if !strings.Contains(w.log.String(), `file not read again, its old content stays" of="signing key"`) {
		t.Error("nothing is said about it")
	}
	if _, err := session.OpenKey(file, nil); err == nil {
		t.Error("a missing key is opened")
	}
}

// TestClientCertificates is mode mtls over TLS.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	authority, key := selfSigned(t, "kubelet-ca", nil, nil, pkix.Name{CommonName: "kubelet-ca"})
	stranger, strangerKey := selfSigned(t, "other-ca", nil, nil, pkix.Name{CommonName: "other-ca"})
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	w := newWorld(t, settings{agents: broker.ClientCertificate})
	w.associate()
	server := w.serveTLS(
		&tls.Config{MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven},
	)
	node := func(name string, organizations ...string) pkix.Name {
		return pkix.Name{CommonName: name, Organization: organizations}
	}
	for _, row := range []struct {
		name    string
		subject pkix.Name
		ca      *x509.Certificate
		caKey   *ecdsa.PrivateKey
		code    string
	}{
		{"the node's", node("system:node:n1", "system:nodes"), authority, key, ""},
		{"another node's", node("system:node:n2", "system:nodes"), authority, key, "AccessDeniedException"},
		{"not of nodes", node("system:node:n1", "system:masters"), authority, key, "AccessDeniedException"},
		{"no node", node("n1", "system:nodes"), authority, key, "AccessDeniedException"},
		{"no name", node("system:node:", "system:nodes"), authority, key, "AccessDeniedException"},
		{"none", pkix.Name{}, nil, nil, "MissingAuthenticationTokenException"},
		{"of another authority", node("system:node:n1", "system:nodes"), stranger, strangerKey, "handshake"},
	} {
		config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		if row.ca != nil {
			certificate, own := selfSigned(t, row.name, row.ca, row.caKey, row.subject)
			shown := tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: own}
			config.GetClientCertificate = func(
				*tls.CertificateRequestInfo,
			) (*tls.Certificate, error) {
				return &shown, nil
			}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		request := must(
			http.NewRequestWithContext(
				t.Context(), http.MethodPost, server.URL+"/clusters/prod/assume-role-for-pod-identity",
				strings.NewReader(`{"token":"`+w.token(nil)+`"}`),
			),
		)
		response, err := client.Do(request)
		code := "handshake"
		if err == nil {
			code = response.Header.Get("X-Amzn-Errortype")
			response.Body.Close()
		}
		if code != row.code {
			t.Errorf("%s: %q %v, want %q", row.name, code, err, row.code)
		}
	}
}

// selfSigned is an authority, or a client's certificate of one.
func selfSigned(
	t *testing.T, serial string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, subject pkix.Name,
) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(serial))),
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = template, key
	}
	return must(
		x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey))),
	), key
}
