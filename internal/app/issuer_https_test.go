package app_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// startProgram starts rolecall and waits for a line of its stderr; it is ended with the
// test. It returns that line, and all of stdout until then.
func startProgram(t *testing.T, until string, args ...string) (line string, stdout *lockedbuffer.Buffer) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "rolecall", args...)
	stdout = &lockedbuffer.Buffer{}
	command.Stdout = stdout
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), until) {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return lines.Text(), stdout
		}
		t.Log(lines.Text())
	}
	t.Fatalf("rolecall %q ends without %q", args, until)
	return "", nil
}

// TestIssuerByHTTPS: an issuer in a bucket of local AWS works on one machine as it does at
// AWS: it is read back, verified, and STS takes its tokens.
func TestIssuerByHTTPS(t *testing.T) {
	dir := t.TempDir()
	ca, issuer := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "issuer")
	line, stdout := startProgram(t, "S3 by HTTPS at ", "serve", "aws", "--listen", "127.0.0.1:0", "--https",
		"127.0.0.1:0",
		"--https-ca", ca)
	_, rest, _ := strings.Cut(line, "S3 by HTTPS at ")
	address, _, _ := strings.Cut(rest, ";")
	for export := range strings.Lines(stdout.String()) {
		if name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(export), "export "), "="); found {
			t.Setenv(name, value)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	const host = "example-oidc.s3.eu-west-1.amazonaws.com"
	for _, args := range [][]string{
		{"init", "--name", "prod", "--bucket", "example-oidc", "--region", "eu-west-1", "--kind", "p256"},
		{"verify"},
	} {
		args = append([]string{"issuer"}, args...)
		args = append(args, "--dir", issuer, "--issuer-endpoint", host+"="+address, "--issuer-ca", ca)
		if said, err := exec.CommandContext(t.Context(), "rolecall", args...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, said)
		}
	}
	trust, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
		"Principal": map[string]string{"Federated": "arn:aws:iam::000000000000:oidc-provider/" + host},
		"Condition": map[string]any{"StringEquals": map[string]string{
			host + ":aud": "sts.amazonaws.com", host + ":sub": "system:serviceaccount:default:app",
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := awssdk.String(os.Getenv("AWS_ENDPOINT_URL"))
	static := credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"),
		os.Getenv("AWS_SECRET_ACCESS_KEY"), "")
	role, err := iam.New(iam.Options{BaseEndpoint: endpoint, Region: "us-east-1", Credentials: static}).CreateRole(
		t.Context(), &iam.CreateRoleInput{
			RoleName: awssdk.String("app"), AssumeRolePolicyDocument: awssdk.String(string(trust)),
		})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(issuer, "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://" + host, "sub": "system:serviceaccount:default:app", "aud": []string{"sts.amazonaws.com"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := token.Sign(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	exchange := sts.New(sts.Options{BaseEndpoint: endpoint, Region: "us-east-1"})
	if _, err := exchange.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          role.Role.Arn,
		RoleSessionName:  awssdk.String("app"),
		WebIdentityToken: awssdk.String(signed.Reveal()),
	}); err != nil {
		t.Error(err)
	}

	// No certificate names a host that is not S3's.
	authority, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	for name, fine := range map[string]bool{
		host: true, "localhost": true, "s3.us-east-1.amazonaws.com": true, "sts.amazonaws.com": false,
		"example.com": false, "s3.amazonaws.com.example.com": false,
	} {
		connection, err := tls.Dial("tcp", address, &tls.Config{ //nolint:noctx // this machine's
			MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: name,
		})
		if (err == nil) != fine {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = connection.Close()
		}
	}
}

// TestIssuerOfServedFolder: an issuer in a folder that `serve issuer` serves is made, whether
// the server or init is started first.
func TestIssuerOfServedFolder(t *testing.T) {
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServingConfig(time.Now(), time.Hour, "issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	startAdministratedAWS(t)
	for _, first := range []string{"serve issuer", "issuer init"} {
		t.Run(first, func(t *testing.T) {
			dir := t.TempDir()
			www, address := filepath.Join(dir, "www"), freeport.Address(t)
			ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
			writePair(t, config.Certificates[0], cert, key)
			if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			serve := func() {
				startProgram(t, "listening", "serve", "issuer", "--documents", www, "--listen", address,
					"--tls-cert", cert, "--tls-key", key)
			}
			initialise := exec.CommandContext(t.Context(), "rolecall", "issuer", "init", "--name", "c1", "--dir",
				filepath.Join(dir, "i"), "--url", "https://issuer.example/c1", "--directory", www, "--read-back", "5m",
				"--issuer-endpoint", "issuer.example="+address, "--issuer-ca", ca, "--kind", "p256",
				"--thumbprint", strings.Repeat("ab", 20))
			stderr, err := initialise.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if first == "serve issuer" {
				if err := os.Mkdir(www, 0o700); err != nil {
					t.Fatal(err)
				}
				serve()
			}
			if err := initialise.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stderr)
			said := ""
			for lines.Scan() {
				said += lines.Text() + "\n"
				if strings.Contains(lines.Text(), "reading back from") && first == "issuer init" {
					serve()
				}
			}
			if err := initialise.Wait(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

func writePair(t *testing.T, pair tls.Certificate, cert, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, one := range pair.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one})...)
	}
	for file, text := range map[string][]byte{
		cert: chain, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
