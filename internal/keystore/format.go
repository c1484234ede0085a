package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	formatName = "rolecall.io/keystore/v1"
	// maxFile bounds what is read: 98 keys of 16,384 bits stay far below it.
	maxFile = 4 << 20
	// MaxKeys leaves room below AWS's limit of 100 keys of one type.
	MaxKeys = 98
)

// envelope is the file. Everything beside Sealed is bound to it: no part can be
// changed on its own.
type envelope struct {
	Format     string `json:"format"`
	Generation uint64 `json:"generation"`
	KMS        string `json:"kms"`
	DataKey    []byte `json:"dataKey"` // wrapped
	Sealed     []byte `json:"sealed"`  // AES-256-GCM of the keys, nonce first
}

func (e *envelope) bound() []byte {
	return []byte(e.Format + "\n" + strconv.FormatUint(e.Generation, 10) + "\n" + e.KMS + "\n" + string(e.DataKey))
}

// wireKey is a key as it is sealed.
type wireKey struct {
	Private     string    `json:"private,omitempty"` // PKCS#8, PEM
	Public      string    `json:"public,omitempty"`  // PKIX, PEM; if there is no private one
	Created     time.Time `json:"created"`
	SignsFrom   time.Time `json:"signsFrom,omitzero"`
	SwitchedAt  time.Time `json:"switchedAt,omitzero"`
	VerifyUntil time.Time `json:"verifyUntil,omitzero"`
	TokenLife   int64     `json:"tokenLifeSeconds,omitempty"`
	Excluded    bool      `json:"excluded,omitempty"`
}

// Encode seals contents under a fresh data key, which the KMS wraps.
func Encode(ctx context.Context, kms KMS, contents *Contents) ([]byte, error) {
	if err := contents.check(); err != nil {
		return nil, err
	}
	wire := make([]wireKey, 0, len(contents.Keys))
	for _, key := range contents.Keys {
		one, err := key.wire()
		if err != nil {
			return nil, err
		}
		wire = append(wire, one)
	}
	text, err := json.Marshal(wire)
	if err != nil {
		return nil, fmt.Errorf("encode the keys: %w", err)
	}
	defer clear(text)
	dataKey := make([]byte, KeySize)
	defer clear(dataKey)
	_, _ = rand.Read(dataKey) // never fails
	wrapped, err := kms.Wrap(ctx, dataKey)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "wrap the data key with %s: %w", kms.Name(), err)
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	file := envelope{Format: formatName, Generation: contents.Generation, KMS: kms.Name(), DataKey: wrapped}
	file.Sealed = sealWith(aead, text, file.bound())
	encoded, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the store: %w", err)
	}
	return append(encoded, '\n'), nil
}

// Decode opens what Encode wrote. Unknown members, other formats and anything
// that was changed are refused. Errors contain nothing of what is sealed.
func Decode(ctx context.Context, kms KMS, text []byte) (*Contents, error) {
	var file envelope
	if len(text) > maxFile {
		return nil, fault.New(fault.Invalid, "the store is longer than %d bytes", maxFile)
	}
	if err := strictly(text, &file); err != nil {
		return nil, fault.New(fault.Invalid, "this is not a key store: %w", err)
	}
	if file.Format != formatName {
		return nil, fault.New(fault.Invalid, "the store has format %q: this version reads %q", file.Format, formatName)
	}
	if file.KMS != kms.Name() {
		return nil, fault.New(fault.Denied, "the store is encrypted under KMS key %q, not %q", file.KMS, kms.Name()).Hint("give the key file it was created with as --kms-key-file")
	}
	dataKey, err := kms.Unwrap(ctx, file.DataKey)
	if err != nil {
		return nil, fault.New(fault.Denied, "unwrap the data key with %s: %w", kms.Name(), err)
	}
	defer clear(dataKey)
	if len(dataKey) != KeySize {
		return nil, fault.New(fault.Invalid, "the data key has %d bytes: want %d", len(dataKey), KeySize)
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	plain, err := openWith(aead, file.Sealed, file.bound())
	if err != nil {
		return nil, fault.New(fault.Invalid, "decrypt the store: %w", err)
	}
	defer clear(plain)
	return decodeKeys(plain, file.Generation)
}

// decodeKeys reads what was sealed. Its errors must not quote it.
func decodeKeys(plain []byte, generation uint64) (*Contents, error) {
	var wire []wireKey
	if err := strictly(plain, &wire); err != nil {
		return nil, fault.New(fault.Invalid, "what the store holds is not a list of keys of this version")
	}
	contents := &Contents{Generation: generation}
	for i, one := range wire {
		key, err := one.key()
		if err != nil {
			return nil, fault.New(fault.Invalid, "key %d of the store: %w", i, err)
		}
		contents.Keys = append(contents.Keys, key)
	}
	return contents, contents.check()
}

func (k *Key) wire() (wireKey, error) {
	wire := wireKey{
		Created: k.Created.UTC(), SignsFrom: k.SignsFrom.UTC(), SwitchedAt: k.SwitchedAt.UTC(), VerifyUntil: k.VerifyUntil.UTC(),
		TokenLife: int64(k.TokenLife / time.Second), Excluded: k.Excluded,
	}
	var text []byte
	var err error
	if k.Private != nil {
		text, err = k.Private.PEM()
		wire.Private = string(text)
	} else {
		text, err = token.PublicPEM([]token.PublicKey{k.Public})
		wire.Public = string(text)
	}
	return wire, err
}

// longestLife is the most that kube-apiserver accepts, 2^32 seconds.
const longestLife = 1 << 32

func (w *wireKey) key() (Key, error) {
	key := Key{
		Created: w.Created, SignsFrom: w.SignsFrom, SwitchedAt: w.SwitchedAt, VerifyUntil: w.VerifyUntil, Excluded: w.Excluded,
	}
	if w.TokenLife < 0 || w.TokenLife > longestLife {
		return key, errors.New("the life of its tokens is out of range")
	}
	key.TokenLife = time.Duration(w.TokenLife) * time.Second
	if (w.Private == "") == (w.Public == "") {
		return key, errors.New("want either its private or its public half")
	}
	if w.Private != "" {
		private, err := token.ParsePrivateKey([]byte(w.Private))
		if err != nil {
			return key, errors.New("its private half cannot be read")
		}
		key.Private = private
		key.Public, err = token.NewPublicKey(private.Public())
		return key, err
	}
	public, err := token.ParsePublicKeys([]byte(w.Public))
	if err != nil || len(public) != 1 {
		return key, errors.New("its public half cannot be read")
	}
	key.Public, err = token.NewPublicKey(public[0])
	return key, err
}

// strictly decodes one JSON document without unknown members.
func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return errors.New("not JSON of the expected form")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON document")
	}
	return nil
}
