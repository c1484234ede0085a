package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// MinRSABits is the smallest RSA key that is generated, signed with or
// published (spec issuer-and-sts §3.4).
const MinRSABits = 2048

// Key is a private signing key of a service-account issuer. The zero value is
// no key. Printing a Key shows its id, never key material.
type Key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

// GenerateRSA makes an RSA key of 2048, 3072 or 4096 bits with exponent 65537.
func GenerateRSA(bits int) (*Key, error) {
	if bits != 2048 && bits != 3072 && bits != 4096 {
		return nil, fmt.Errorf("RSA key of %d bits: want 2048, 3072 or 4096", bits)
	}
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("generate RSA key: %w", err)
	}
	return NewKey(private)
}

// GenerateEC makes a key on P-256, P-384 or P-521.
func GenerateEC(curve elliptic.Curve) (*Key, error) {
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate EC key: %w", err)
	}
	return NewKey(private)
}

// GenerateLike makes a key of the same kind and size as a public key.
func GenerateLike(public crypto.PublicKey) (*Key, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return GenerateRSA(key.N.BitLen())
	case *ecdsa.PublicKey:
		return GenerateEC(key.Curve)
	}
	return nil, fmt.Errorf("key of type %T: want RSA or EC", public)
}

// NewKey wraps an RSA or EC private key. Other kinds, and RSA keys that are too
// small, are refused: AWS would not accept their signatures.
func NewKey(private crypto.Signer) (*Key, error) {
	algorithm, err := algorithmFor(private.Public())
	if err != nil {
		return nil, err
	}
	id, err := KeyID(private.Public())
	if err != nil {
		return nil, err
	}
	return &Key{id: id, algorithm: algorithm, private: private}, nil
}

// ID returns the key id as Kubernetes computes it; see KeyID.
func (k *Key) ID() string { return k.id }

// Algorithm returns the JWS algorithm the key signs with: RS256 for RSA, ES256,
// ES384 or ES512 by curve.
func (k *Key) Algorithm() string { return string(k.algorithm) }

// Public returns the public half.
func (k *Key) Public() crypto.PublicKey { return k.private.Public() }

// String returns the key id.
func (k *Key) String() string { return "key " + k.id }

// Format writes the key id whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, k.String()) }

// PEM returns the private key as PKCS#8. Write it to files of mode 0600 only.
func (k *Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode private key %s: %w", k.id, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func publicBlock(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// KeyID returns the kid that kube-apiserver writes for a public key: the
// unpadded base64url SHA-256 of its PKIX encoding, 43 characters (spec
// issuer-and-sts §3.1).
func KeyID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// ParsePrivateKey reads the first private key of a PEM file: PKCS#1, SEC1 or
// PKCS#8, as kube-apiserver reads its --service-account-signing-key-file.
func ParsePrivateKey(text []byte) (*Key, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		private, err := parsePrivateBlock(block)
		if err != nil {
			return nil, err
		}
		if private != nil {
			return NewKey(private)
		}
	}
	return nil, errors.New("no PEM block with a private key: want RSA PRIVATE KEY, EC PRIVATE KEY or PRIVATE KEY")
}

// ParsePublicKeys reads every key of a PEM file, public halves of private keys
// and of certificates included, as --service-account-key-file does. It fails if
// there is none.
func ParsePublicKeys(text []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := parsePublicBlock(block)
		if err != nil {
			return nil, err
		}
		if key != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block with a key: want PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE or a private key")
	}
	return keys, nil
}

func parsePrivateBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("parse PEM block %q: %w", block.Type, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("PEM block %q holds a %T, which cannot sign", block.Type, key)
	}
	return signer, nil
}

func parsePublicBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse PEM block %q: %w", block.Type, err)
		}
		return key, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse PEM block %q: %w", block.Type, err)
		}
		return key, nil
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse PEM block %q: %w", block.Type, err)
		}
		return certificate.PublicKey, nil
	}
	private, err := parsePrivateBlock(block)
	if private == nil || err != nil {
		return nil, err
	}
	return private.Public(), nil
}

// algorithmFor returns the algorithm Kubernetes signs with for a kind of key.
func algorithmFor(public crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < MinRSABits {
			return "", fmt.Errorf("RSA key of %d bits: want at least %d", key.N.BitLen(), MinRSABits)
		}
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("EC key on %s: want P-256, P-384 or P-521", key.Params().Name)
	}
	return "", fmt.Errorf("key of type %T: want RSA or EC, the only kinds AWS accepts", public)
}
