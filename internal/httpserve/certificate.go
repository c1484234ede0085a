package httpserve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// CertificateFiles serves the newest valid pair of a certificate and a key
// file: a pair that changed is read at the next handshake, so that renewal
// needs no restart; one that does not parse is logged and the old one stays in
// use.
type CertificateFiles struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[loadedPair]
}

type loadedPair struct {
	certificate tls.Certificate
	stamp       pairStamp
}

// pairStamp tells two states of the files apart without reading them.
type pairStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

// LoadCertificate reads the pair once; missing or unparsable files are an
// Invalid error.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*CertificateFiles, error) {
	files := &CertificateFiles{certFile: certFile, keyFile: keyFile, log: log}
	stamp, err := files.stat()
	if err == nil {
		err = files.load(stamp)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "load serving certificate: %w", err).
			Hint("want a PEM certificate chain and its PEM key, readable by this process")
	}
	return files, nil
}

// TLSConfig returns a server configuration for TLS 1.2 and later.
func (f *CertificateFiles) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certificate}
}

func (f *CertificateFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	stamp, err := f.stat()
	if err == nil && stamp != f.current.Load().stamp {
		err = f.load(stamp)
	}
	if err != nil {
		f.log.Warn("cannot reload the serving certificate, keeping the old one", "file", f.certFile, "error", err)
	}
	return &f.current.Load().certificate, nil
}

func (f *CertificateFiles) load(stamp pairStamp) error {
	certificate, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return err
	}
	f.current.Store(&loadedPair{certificate, stamp})
	return nil
}

func (f *CertificateFiles) stat() (pairStamp, error) {
	cert, err := os.Stat(f.certFile)
	if err != nil {
		return pairStamp{}, fmt.Errorf("certificate: %w", err)
	}
	key, err := os.Stat(f.keyFile)
	if err != nil {
		return pairStamp{}, fmt.Errorf("key: %w", err)
	}
	return pairStamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}
