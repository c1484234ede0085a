package keystore

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// plainKMS wraps nothing, so that the fuzzer reaches what lies behind.
type plainKMS struct{}

func (plainKMS) Name() string                                       { return "plain" }
func (plainKMS) Wrap(_ context.Context, key []byte) ([]byte, error) { return bytes.Clone(key), nil }
func (plainKMS) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	return bytes.Clone(wrapped), nil
}

// FuzzDecode: no file crashes the parser, and what it reads it can write and
// read again.
func FuzzDecode(f *testing.F) {
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		f.Fatal(err)
	}
	contents := &Contents{}
	if err := contents.Rotate(key, time.Unix(1e9, 0), time.Unix(1e9, 0), time.Hour); err != nil {
		f.Fatal(err)
	}
	good, err := Encode(f.Context(), plainKMS{}, contents)
	if err != nil {
		f.Fatal(err)
	}
	private, _ := key.PEM()
	f.Add(good)
	f.Add([]byte(`{"format":"rolecall.io/keystore/v1","generation":1,"kms":"plain","dataKey":"AA==","sealed":""}`))
	const since = "2026-01-01T00:00:00Z"
	f.Add([]byte(`[{"private":` + quote(private) + `,"created":"` + since + `","signsFrom":"` + since + `"}]`))
	f.Add([]byte(`[{"public":"","created":"2026-01-01T00:00:00Z","tokenLifeSeconds":-1}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, decode := range []func() (*Contents, error){
			func() (*Contents, error) { return Decode(t.Context(), plainKMS{}, text) },
			func() (*Contents, error) { return decodeKeys(text, 1) },
		} {
			read, err := decode()
			if err != nil {
				continue
			}
			written, err := Encode(t.Context(), plainKMS{}, read)
			if err != nil {
				continue // a time that JSON cannot hold
			}
			again, err := Decode(t.Context(), plainKMS{}, written)
			if err != nil || len(again.Keys) != len(read.Keys) || again.Generation != read.Generation {
				t.Fatalf("%v was written and read as %v: %v", read, again, err)
			}
		}
	})
}

func quote(text []byte) string {
	return `"` + string(bytes.ReplaceAll(text, []byte("\n"), []byte(`\n`))) + `"`
}
