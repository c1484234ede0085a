package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// TestBothTimesAreNeededToMint: AWS wants to know from when on a token is
// valid.
func TestBothTimesAreNeededToMint(t *testing.T) {
	t.Parallel()
	key := newEC(t, elliptic.P256())
	for name, spoil := range map[string]func(*token.Claims){
		"no issue time":   func(c *token.Claims) { c.IssuedAt = time.Time{} },
		"no time to wait": func(c *token.Claims) { c.NotBefore = time.Time{} },
	} {
		claims := goodClaims()
		spoil(claims)
		if _, err := token.Mint(key, claims); err == nil || !strings.Contains(err.Error(), "no issue time") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongestIssuer(t *testing.T) {
	t.Parallel()
	longest := "https://h/" + strings.Repeat("a", 245)
	if err := token.CheckIssuer(longest); err != nil {
		t.Errorf("%d characters: %v", len(longest), err)
	}
	if err := token.CheckIssuer("https://h/\x7f"); err == nil {
		t.Error("a delete character is accepted")
	}
	if err := token.CheckIssuer("https://h/~"); err != nil {
		t.Errorf("a tilde: %v", err)
	}
}

func TestLongestToken(t *testing.T) {
	t.Parallel()
	for length, tooLong := range map[int]bool{token.MaxSize: false, token.MaxSize + 1: true} {
		_, err := token.Decode(strings.Repeat("A", length))
		if err == nil || strings.Contains(err.Error(), "longer than") != tooLong {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestAlgorithmIsAText(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{`""`, `5`, `null`, `["RS256"]`} {
		if _, err := token.Decode(reheader(t, `{"alg":`+alg+`,"kid":"x"}`, "{}",
			"")); !errors.Is(err, token.ErrMalformed) {
			t.Errorf("alg %s: %v", alg, err)
		}
	}
}

// signedText puts a header and a payload together and signs them with whatever
// key, whatever the header says.
func signedText(t *testing.T, private crypto.Signer, hash crypto.Hash, header string) string {
	t.Helper()
	text := encode(header) + "." +
		encode(`{"iss":"https://issuer.example","aud":"sts.amazonaws.com","iat":1,"exp":9999999999,"sub":"x"}`)
	digest := hash.New()
	digest.Write([]byte(text))
	var signature []byte
	var err error
	switch key := private.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, hash, digest.Sum(nil))
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, key, digest.Sum(nil))
		err = failed
		size := (key.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestAlgorithmFitsTheKey: a signature that is valid in itself does not count under
// an algorithm that is not the key's.
func TestAlgorithmFitsTheKey(t *testing.T) {
	t.Parallel()
	_, _ = sha256.New(), sha512.New() // both are linked in
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := rsa.GenerateKey(rand.Reader, token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, header string
		private      crypto.Signer
		hash         crypto.Hash
		want         error
	}{
		{"RS256 by an RSA key", `{"alg":"RS256"}`, private, crypto.SHA256, nil},
		{"RS512 by an RSA key", `{"alg":"RS512"}`, private, crypto.SHA512, nil},
		{"ES384 by a key on P-384", `{"alg":"ES384"}`, ec, crypto.SHA384, nil},
		{"ES256 by a key on P-384", `{"alg":"ES256"}`, ec, crypto.SHA256, token.ErrSignature},
		{"ES512 by a key on P-384", `{"alg":"ES512"}`, ec, crypto.SHA512, token.ErrSignature},
		{"ES256 by an RSA key", `{"alg":"ES256"}`, private, crypto.SHA256, token.ErrSignature},
		{"RS256 by a key on P-384", `{"alg":"RS256"}`, ec, crypto.SHA256, token.ErrSignature},
	} {
		decoded, err := token.Decode(signedText(t, row.private, row.hash, row.header))
		if err != nil {
			t.Fatal(err)
		}
		if err := decoded.VerifySignature(row.private.Public()); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
	// The set knows what the key was published for.
	key, err := token.NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	raw := credential.NewSecret(signedText(t, private, crypto.SHA512, `{"alg":"RS512","kid":"`+key.ID()+`"}`))
	if _, err := verifierFor(t, key).Verify(raw, now); !errors.Is(err, token.ErrSignature) ||
		!strings.Contains(err.Error(), `published for "RS256"`) {
		t.Errorf("RS512 by a key that is published for RS256: %v", err)
	}
	without, err := token.ParseJWKS([]byte(`{"keys":[` + replaceMember(t, publicEntry(t, key), "alg", "") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	verifier := verifierFor(t, key)
	verifier.Keys = without
	if _, err := verifier.Verify(raw, now); err != nil {
		t.Errorf("RS512 by a key that is published for nothing: %v", err)
	}
}

// TestAMissingClaimHidesNoOther: each claim is read, whichever one is missing.
func TestAMissingClaimHidesNoOther(t *testing.T) {
	t.Parallel()
	decoded, err := token.Decode(signRaw(t, newEC(t, elliptic.P256()),
		`{"exp":2,"iat":1,"nbf":1,"sub":"x","kubernetes.io":{"namespace":"app"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decoded.ServiceAccount()
	want := &token.Claims{
		Subject:   "x",
		IssuedAt:  time.Unix(1, 0).UTC(),
		NotBefore: time.Unix(1, 0).UTC(),
		Expiry:    time.Unix(2, 0).UTC(),
		Workload:  token.Workload{Namespace: "app"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSizesOfGeneratedKeys(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{1024, 2047, 2560} {
		if _, err := token.GenerateRSA(bits); err == nil || !strings.Contains(err.Error(), "want 2048, 3072 or 4096") {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

// TestEveryKindOfPEM that kube-apiserver reads public keys from, and what is broken
// of each.
func TestEveryKindOfPEM(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: now}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for kind, bytes := range map[string][]byte{
		"PUBLIC KEY":      pkix,
		"RSA PUBLIC KEY":  x509.MarshalPKCS1PublicKey(&private.PublicKey),
		"CERTIFICATE":     certificate,
		"PRIVATE KEY":     pkcs8,
		"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(private),
	} {
		of := func(bytes []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}) }
		got, err := token.ParsePublicKeys(of(bytes))
		if err != nil || len(got) != 1 || !sameKey(got[0], private.Public()) {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
		if got, err := token.ParsePublicKeys(of([]byte("junk"))); err == nil || !strings.Contains(err.Error(), kind) {
			t.Errorf("%s of junk: %v, %v", kind, got, err)
		}
		other := pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte("x")})
		if got, err := token.ParsePublicKeys(append(other, of(bytes)...)); err != nil || len(got) != 1 {
			t.Errorf("%s after a block that is not a key: %v, %v", kind, got, err)
		}
	}
}
