package awsapi

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
)

// trusting is a transport that trusts the certificates of a file, and follows
// the file: a broker's authority is replaced without a restart of every agent.
// If it cannot be read or has no certificate, the previous certificates stay
// trusted.
type trusting struct {
	file string
	base *http.Transport

	mu      sync.Mutex
	text    []byte
	current *http.Transport
}

// newTrusting reads the file once; a bad one is an error.
func newTrusting(base *http.Transport, file string) (*trusting, error) {
	t := &trusting{file: file, base: base}
	return t, t.load()
}

// RoundTrip makes the request with what the file says now. The file is small
// and in memory, and calls are few.
func (t *trusting) RoundTrip(request *http.Request) (*http.Response, error) {
	_ = t.load() // the previous certificates stay trusted
	t.mu.Lock()
	current := t.current
	t.mu.Unlock()
	return current.RoundTrip(request)
}

func (t *trusting) load() error {
	text, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("read trusted certificates: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && bytes.Equal(text, t.text) {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no PEM certificate", t.file)
	}
	next := t.base.Clone()
	next.TLSClientConfig.RootCAs = pool
	if t.current != nil {
		// Connections that were trusted by the old file are not used again.
		t.current.CloseIdleConnections()
	}
	t.text, t.current = text, next
	return nil
}

// clientCertificate reads certificate and key from one PEM file, as kubelet
// keeps its own, again for each handshake: kubelet replaces it.
func clientCertificate(file string) (*tls.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a PEM certificate and its key: %w", file, err)
	}
	return &pair, nil
}
