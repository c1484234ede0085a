package rawjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/rawjson"
)

var texts = []string{
	`{}`, `[]`, ` null `, `true`, `-0.5e+3`, `01`, `1.`, `-`, `1e`, `"a\u00e9\n"`, `"\x"`, `"\u12"`, "\"a\nb\"", `{"a":1,}`, `{"a" 1}`, `{"a":}`, `[1 2]`, `[1,]`,
	`{"a":[{"b":{}},"\"",null]} `, `{} x`, ``, `tru`, `{"a":1`, `"a`, `[`, `nul`, `{1:2}`,
}

func TestAgainstTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, text := range texts {
		check(t, []byte(text))
	}
	check(t, []byte(strings.Repeat("[", 10000)+strings.Repeat("]", 10000)))
	check(t, []byte(strings.Repeat("[", 10001)+strings.Repeat("]", 10001)))
}

func FuzzReader(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { check(t, text) })
}

// check: what encoding/json accepts is accepted, and read the same way.
func check(t *testing.T, text []byte) {
	t.Helper()
	r := rawjson.NewReader(text)
	raw, err := r.Raw()
	if err == nil {
		err = r.End()
	}
	if (err == nil) != json.Valid(text) {
		t.Fatalf("%.100q: %v, the standard library says valid %t", text, err, json.Valid(text))
	}
	if err != nil {
		return
	}
	if !bytes.Equal(bytes.TrimSpace(text), raw) {
		t.Errorf("%q: raw %q", text, raw)
	}
	var want map[string]string
	if json.Unmarshal(text, &want) == nil {
		got, err := rawjson.NewReader(text).Strings()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// TestKinds: a value of another kind is an error, and the error stays.
func TestKinds(t *testing.T) {
	t.Parallel()
	r := rawjson.NewReader([]byte(`{"a":{"b":1}}`))
	err := r.Object(func([]byte) error {
		_, err := r.String()
		return err
	})
	if err == nil || r.Skip() == nil || r.End() == nil {
		t.Errorf("error %v", err)
	}
	if _, err := rawjson.NewReader([]byte(`{"a":[]}`)).Strings(); err == nil {
		t.Error("an array passes for a string")
	}
	if err := rawjson.NewReader([]byte(`null`)).Array(func(int) error { return nil }); err != nil {
		t.Errorf("null as an array: %v", err)
	}
	forgets := func([]byte) error { return nil }
	if err := rawjson.NewReader([]byte(`{"a":1}`)).Object(forgets); err == nil {
		t.Error("a callback that consumes nothing passes")
	}
	if !rawjson.NewReader([]byte(` null`)).Null() || rawjson.NewReader([]byte(`0`)).Null() {
		t.Error("Null is wrong")
	}
}

// TestNothingIsAllocated for what is only passed over.
func TestNothingIsAllocated(t *testing.T) {
	text := []byte(`{"metadata":{"labels":{"a":"b"},"managedFields":[{"f:a":{"f:b":{}}}]},"spec":{"containers":[{"name":"a","env":[{"name":"x","value":"1"}]}],"n":-1.5e3}}`)
	if got := testing.AllocsPerRun(100, func() {
		if rawjson.NewReader(text).Skip() != nil {
			t.Error("does not pass")
		}
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
