// Package statedir keeps what an authenticator and its API servers must agree about: the
// key pair in cert.pem and key.pem, as aws-iam-authenticator has it, and the kubeconfig by
// which API servers reach and trust the server (spec authenticator §4.4, §6.3).
//
// API servers read that kubeconfig once, as they start. So the pair is an authority that
// stays, certificates to serve are made of it and renewed in memory, and an authority that
// takes its place is signed by the one before, too: who trusts either is served.
//
// It does not serve, and knows no flags.
package statedir

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
)

// Files of the directory. The last one is there after a rotation.
const (
	CertFile  = "cert.pem"
	KeyFile   = "key.pem"
	crossFile = "cross.pem"
)

// CommonName is the subject of authorities.
const CommonName = "aws-iam-authenticator"

const (
	authorityFor = 10 * 365 * 24 * time.Hour
	keyBits      = 2048
	backdate     = 5 * time.Minute
)

// Authority is the pair of a directory.
type Authority struct {
	certificate, cross *x509.Certificate // cross is nil if no other came before
	key                crypto.Signer
}

// PEM is the certificate that API servers trust.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// NotAfter is when it ends.
func (a *Authority) NotAfter() time.Time { return a.certificate.NotAfter }

// Fingerprint tells it from others.
func (a *Authority) Fingerprint() string { return fingerprint(a.certificate) }

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return "SHA256:" + hex.EncodeToString(sum[:])
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Make makes an authority. It writes nothing.
func Make(now time.Time, names []string) (*Authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	template, err := authorityTemplate(now, names)
	if err != nil {
		return nil, err
	}
	made, err := sign(template, template, key.Public(), key)
	return &Authority{certificate: made, key: key}, err
}

// Next makes the authority that takes this one's place. Who trusts this one trusts it,
// too.
func (a *Authority) Next(now time.Time, names []string) (*Authority, error) {
	next, err := Make(now, names)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(now, names)
	if err != nil {
		return nil, err
	}
	template.NotAfter = a.certificate.NotAfter
	template.SubjectKeyId = next.certificate.SubjectKeyId
	next.cross, err = sign(template, a.certificate, next.key.Public(), a.key)
	return next, err
}

func authorityTemplate(now time.Time, names []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) //nolint:mnd // bits
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: CommonName},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityFor), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	setNames(template, names)
	return template, nil
}

func setNames(template *x509.Certificate, names []string) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != "" {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Read reads the pair of a directory; nil if one of the files is missing.
func Read(dir string) (*Authority, error) {
	certificates, err := read(filepath.Join(dir, CertFile))
	if err != nil || certificates == nil {
		return nil, err
	}
	key, err := read(filepath.Join(dir, KeyFile))
	if err != nil || key == nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificates, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s and %s of %s are no pair: %w", CertFile, KeyFile, dir, err).
			Hint("restore them from the node where they were made, or move both away and run: rolecall authenticator init")
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Invalid, "the key of %s cannot sign", dir)
	}
	a := &Authority{certificate: pair.Leaf, key: signer}
	cross, err := read(filepath.Join(dir, crossFile))
	if err != nil || cross == nil {
		return a, err
	}
	block, _ := pem.Decode(cross)
	if block == nil {
		return a, nil
	}
	made, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !bytes.Equal(made.RawSubjectPublicKeyInfo, a.certificate.RawSubjectPublicKeyInfo) {
		return a, nil //nolint:nilerr // it is of another pair, or broken: who trusts this one is served without
	}
	a.cross = made
	return a, nil
}

// read returns nil for a file that is not there.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.New(fault.Unavailable, "read the serving pair: %w", err)
	case info.IsDir():
		return nil, fault.New(fault.Invalid, "%s is a directory", path).
			Hint("the mount of a hostPath without a type made it: remove it, run rolecall authenticator init, and mount the "+
				"directory %s instead of single files", filepath.Dir(path))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the serving pair: %w", err)
	}
	return text, nil
}

// Write writes the pair, the key first: who finds both finds a pair, or two that are none
// and says so.
func (a *Authority) Write(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	kind := "PRIVATE KEY"
	if key, ok := a.key.(*rsa.PrivateKey); ok { // in the peer's form
		der, kind, err = x509.MarshalPKCS1PrivateKey(key), "RSA PRIVATE KEY", nil
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, KeyFile), encode(kind, der), 0o600)
	}
	if err == nil && a.cross != nil {
		err = atomicfile.Write(filepath.Join(dir, crossFile), encode("CERTIFICATE", a.cross.Raw), 0o644)
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, CertFile), a.PEM(), 0o644)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "write the serving pair: %w", err).
			Hint("the state directory must be one that this process may write, and that stays over restarts")
	}
	return nil
}

// Serving makes a certificate for servers of these names. A pair that is no authority
// serves itself.
func (a *Authority) Serving(now time.Time, lifetime time.Duration, names []string) (*tls.Certificate, error) {
	if !a.certificate.IsCA {
		return &tls.Certificate{
			Certificate: [][]byte{a.certificate.Raw}, PrivateKey: a.key, Leaf: a.certificate,
		}, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	template, err := authorityTemplate(now, names)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.NotAfter = false, now.Add(lifetime)
	template.Subject.CommonName = "rolecall authenticator"
	template.KeyUsage = x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature
	if a.certificate.NotAfter.Before(template.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	leaf, err := sign(template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{leaf.Raw}
	if a.cross != nil {
		chain = append(chain, a.cross.Raw)
	}
	return &tls.Certificate{Certificate: append(chain, a.certificate.Raw), PrivateKey: key, Leaf: leaf}, nil
}

// Webhook is what API servers are told.
type Webhook struct {
	Hostname string
	Port     int
	// Authorities are what they are to trust, PEM.
	Authorities []byte
}

// URL is where they ask.
func (w Webhook) URL() string {
	return "https://" + net.JoinHostPort(w.Hostname, strconv.Itoa(w.Port)) + "/authenticate"
}

// Kubeconfig is the file for --authentication-token-webhook-config-file.
func (w Webhook) Kubeconfig() []byte {
	return []byte(`apiVersion: v1
kind: Config
clusters:
- name: aws-iam-authenticator
  cluster:
    certificate-authority-data: ` + base64.StdEncoding.EncodeToString(w.Authorities) + `
    server: ` + w.URL() + `
users:
- name: apiserver
contexts:
- name: webhook
  context:
    cluster: aws-iam-authenticator
    user: apiserver
current-context: webhook
`)
}

// WriteKubeconfig writes the file if it says something else, and reports whether it did.
func (w Webhook) WriteKubeconfig(path string) (changed bool, err error) {
	text := w.Kubeconfig()
	if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, text) {
		return false, nil
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil { //nolint:mnd // API servers need not be root
		err = atomicfile.Write(path, text, 0o644)
	}
	if err != nil {
		return false, fault.New(fault.Unavailable, "write the API servers' kubeconfig: %w", err).
			Hint("choose another place with --generate-kubeconfig, or keep it yourself with --kubeconfig-pregenerated")
	}
	return true, nil
}

// Trusted are the fingerprints of what a kubeconfig trusts; none if there is no such file
// or it says nothing of certificates.
func Trusted(path string) ([]string, error) {
	config, err := clientcmd.LoadFromFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.New(fault.Invalid, "the API servers' kubeconfig: %w", err).
			Hint("repair it or move it away: it is written again")
	}
	var all []string
	for _, cluster := range config.Clusters {
		rest := cluster.CertificateAuthorityData
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if parsed, err := x509.ParseCertificate(block.Bytes); err == nil {
				all = append(all, fingerprint(parsed))
			}
		}
	}
	return all, nil
}

// Untrusted is the refusal of a pair that API servers do not trust.
func Untrusted(made, kubeconfig string, trusted []string) error {
	return fault.New(fault.Conflict,
		"there is no key pair yet, and the API servers' kubeconfig %s trusts another than a new one: it trusts %s, new is %s",
		kubeconfig, strings.Join(trusted, ", "), made).
		Hint("restore %s and %s of the pair that it trusts to the state directory", CertFile, KeyFile).
		Hint("or make a new pair with --rotate, and restart the API servers: they read the kubeconfig as they start")
}
