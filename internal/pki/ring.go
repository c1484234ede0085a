package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ring is a serving certificate and the authorities that are trusted with it,
// as replicas share it. Plan brings it forward, a step at a time.
type Ring struct {
	// Authorities are trusted, oldest first. The last one is to sign next.
	Authorities []*Authority
	// Serving is what servers present; its Leaf is set.
	Serving tls.Certificate
	// PublishedAt is when clients were first seen to be told of the last
	// authority; zero if they have not been.
	PublishedAt time.Time
}

// Lifetimes say how long certificates live, and how long to wait between steps.
type Lifetimes struct {
	// Authority and Serving are of new certificates. Each is replaced when two
	// thirds of its time have passed.
	Authority, Serving time.Duration
	// Settle is how long clients may take to learn of an authority, and servers
	// to present another certificate.
	Settle time.Duration
}

// Validate refuses lifetimes that leave no room for a rotation.
func (l Lifetimes) Validate() error {
	if l.Settle <= 0 || l.Serving < 6*l.Settle || l.Authority < l.Serving {
		return fmt.Errorf("certificate lifetimes: authority %s, serving %s, settle %s: want authority >= serving >= 6 x settle", l.Authority, l.Serving, l.Settle)
	}
	return nil
}

// Plan returns what the ring should be now; the ring itself if nothing is due. It
// takes a step only when the last one has reached everybody: a new authority is
// trusted before it signs, an old one forgotten once nothing it signed is served.
//
// Authorities made from now on are called authority, their common name. A ring
// whose authorities have another name works as well: they are identified by
// their keys, and replaced when they are due.
func (r *Ring) Plan(now time.Time, l Lifetimes, authority string, names ...string) (*Ring, error) {
	next := &Ring{Authorities: slices.Clone(r.Authorities), Serving: r.Serving, PublishedAt: r.PublishedAt}
	next.Authorities = slices.DeleteFunc(next.Authorities, func(a *Authority) bool { return !a.validAt(now) })
	if len(next.Authorities) == 0 { // the first, or all have lapsed: there is nobody to wait for
		return next.begin(now, l, authority, names)
	}
	newest := next.Authorities[len(next.Authorities)-1]
	signer := next.signer()
	published := !next.PublishedAt.IsZero() && now.Sub(next.PublishedAt) >= l.Settle
	switch {
	case signer == nil || !next.servesAt(now, names):
		// Nothing can be served: sign with what clients know best.
		return next.sign(now, l, next.Authorities[0], names)
	case signer != newest && published:
		return next.sign(now, l, newest, names)
	case signer == newest && len(next.Authorities) > 1 && now.Sub(issued(next.Serving.Leaf)) >= l.Settle:
		next.Authorities = []*Authority{newest}
		return next, nil
	case signer == newest && len(next.Authorities) == 1 && due(newest.certificate, now):
		made, err := NewAuthority(authority, now, l.Authority)
		if err != nil {
			return nil, err
		}
		next.Authorities, next.PublishedAt = append(next.Authorities, made), time.Time{}
		return next, nil
	case due(next.Serving.Leaf, now):
		return next.sign(now, l, signer, names)
	case len(next.Authorities) != len(r.Authorities):
		return next, nil
	}
	return r, nil
}

// Published notes that clients are told of all authorities. It returns the ring
// itself if that was known.
func (r *Ring) Published(now time.Time) *Ring {
	if !r.PublishedAt.IsZero() {
		return r
	}
	return &Ring{r.Authorities, r.Serving, now.UTC().Truncate(time.Millisecond)}
}

func (r *Ring) begin(now time.Time, l Lifetimes, authority string, names []string) (*Ring, error) {
	made, err := NewAuthority(authority, now, l.Authority)
	if err != nil {
		return nil, err
	}
	r.Authorities, r.PublishedAt = []*Authority{made}, time.Time{}
	return r.sign(now, l, made, names)
}

func (r *Ring) sign(now time.Time, l Lifetimes, by *Authority, names []string) (*Ring, error) {
	lifetime := l.Serving
	if left := by.certificate.NotAfter.Sub(now); left < lifetime { // it must not outlive its authority
		lifetime = left
	}
	serving, err := by.Serving(now, lifetime, names...)
	if err != nil {
		return nil, err
	}
	if serving.Leaf, err = x509.ParseCertificate(serving.Certificate[0]); err != nil {
		return nil, fmt.Errorf("parse serving certificate: %w", err)
	}
	r.Serving = serving
	return r, nil
}

// signer returns the trusted authority that signed what is served.
func (r *Ring) signer() *Authority {
	for _, authority := range r.Authorities {
		if r.Serving.Leaf != nil && r.Serving.Leaf.CheckSignatureFrom(authority.certificate) == nil {
			return authority
		}
	}
	return nil
}

func (r *Ring) servesAt(now time.Time, names []string) bool {
	leaf := r.Serving.Leaf
	return validAt(leaf, now) && !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

func (a *Authority) validAt(now time.Time) bool { return validAt(a.certificate, now) }

func validAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// issued is when a certificate was made; they are backdated.
func issued(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate) }

// due reports whether two thirds of a certificate's time have passed.
func due(c *x509.Certificate, now time.Time) bool {
	return now.Sub(issued(c)) >= c.NotAfter.Sub(issued(c))*2/3
}

// Bundle returns the authorities' certificates, for caBundle fields.
func (r *Ring) Bundle() []byte {
	var bundle []byte
	for _, authority := range r.Authorities {
		bundle = append(bundle, authority.PEM()...)
	}
	return bundle
}

// Encoded is a ring as text: certificates and keys in PEM, of the authorities in
// one order.
type Encoded struct {
	Authorities, AuthorityKeys, Certificate, Key []byte
	PublishedAt                                  string
}

// Encode writes the ring out.
func (r *Ring) Encode() (Encoded, error) {
	e := Encoded{Authorities: r.Bundle()}
	for _, authority := range r.Authorities {
		key, err := keyPEM(authority.key)
		if err != nil {
			return Encoded{}, err
		}
		e.AuthorityKeys = append(e.AuthorityKeys, key...)
	}
	for _, der := range r.Serving.Certificate {
		e.Certificate = append(e.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if !r.PublishedAt.IsZero() {
		e.PublishedAt = r.PublishedAt.Format(time.RFC3339Nano)
	}
	key, ok := r.Serving.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return Encoded{}, errors.New("encode serving key: it is not of a kind made here")
	}
	var err error
	e.Key, err = keyPEM(key)
	return e, err
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Decode reads a ring. Empty text is an empty ring.
func (e Encoded) Decode() (*Ring, error) {
	r := &Ring{}
	if len(bytes.TrimSpace(e.Authorities)) == 0 && len(bytes.TrimSpace(e.Certificate)) == 0 {
		return r, nil
	}
	certificates, keys := e.Authorities, e.AuthorityKeys
	for {
		var certificate, key *pem.Block
		certificate, certificates = pem.Decode(certificates)
		key, keys = pem.Decode(keys)
		if certificate == nil && key == nil {
			break
		}
		if certificate == nil || key == nil {
			return nil, errors.New("decode authorities: not as many keys as certificates")
		}
		authority, err := decodeAuthority(certificate.Bytes, key.Bytes)
		if err != nil {
			return nil, err
		}
		r.Authorities = append(r.Authorities, authority)
	}
	var err error
	if r.Serving, err = tls.X509KeyPair(e.Certificate, e.Key); err != nil {
		return nil, fmt.Errorf("decode serving certificate: %w", err)
	}
	if e.PublishedAt != "" {
		if r.PublishedAt, err = time.Parse(time.RFC3339Nano, e.PublishedAt); err != nil {
			return nil, fmt.Errorf("decode time of publication: %w", err)
		}
	}
	return r, nil
}

func decodeAuthority(certificateDER, keyDER []byte) (*Authority, error) {
	certificate, err := x509.ParseCertificate(certificateDER)
	if err != nil {
		return nil, fmt.Errorf("decode authority: %w", err)
	}
	key, err := x509.ParseECPrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("decode authority's key: %w", err)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("decode authority: the key belongs to another certificate")
	}
	return &Authority{certificate, key}, nil
}
