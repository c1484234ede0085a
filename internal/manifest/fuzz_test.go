package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// FuzzInject: the output can be read, has all that the input had, and injecting
// it again changes nothing; what gets no role keeps its bytes.
func FuzzInject(f *testing.F) {
	for _, row := range layouts {
		f.Add([]byte(row.text))
	}
	for _, row := range aliases {
		f.Add([]byte(row.text))
	}
	for kind := range kinds {
		f.Add([]byte(workload(kind)))
	}
	f.Add([]byte("--- x\n...\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		after, injected, ok := run(t, text)
		if !ok {
			return
		}
		if !injected {
			if !bytes.Equal(after, text) {
				t.Fatalf("nothing was injected, but %q became %q", text, after)
			}
			return
		}
		again, injected, ok := run(t, after)
		if !ok || injected {
			t.Fatalf(
				"a second run: read %t, changes %t\n%s\n---- became\n%s\n---- and\n%s", ok, injected, text,
				after, again,
			)
		}
		before, readable := contents(text)
		if !readable {
			return
		}
		got, readable := contents(after)
		if !readable {
			t.Fatalf("%q became %q, which cannot be read", text, after)
		}
		if !reflect.DeepEqual(strip(before), strip(got)) {
			t.Fatalf("%q\nbecame %q:\n%v\n%v", text, after, strip(before), strip(got))
		}
	})
}

// run injects a text beside the account, which comes behind it.
func run(t *testing.T, text []byte) (after []byte, injected, ok bool) {
	out, outcomes, err := manifest.Inject([]manifest.Source{
		{Name: "f", Text: text},
		{Name: "a", Text: []byte(account)},
	}, inject.Defaults())
	if err != nil {
		// Odd anchors, tags and keys that the encoder cannot write again end in an
		// error, never in another text.
		if fault.KindOf(err) == fault.Internal && !bytes.ContainsAny(text, "&*!?") {
			t.Fatalf("%q: %v", text, err)
		}
		return nil, false, false
	}
	for _, outcome := range outcomes {
		injected = injected || outcome.Injected
	}
	after, found := bytes.CutSuffix(out, []byte(account))
	if !found {
		t.Fatalf("the account is not at the end:\n%s", out)
	}
	if len(text) > 0 {
		after = bytes.TrimSuffix(after, []byte("---\n"))
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		after = bytes.TrimSuffix(after, []byte("\n"))
	}
	return after, injected, true
}

// contents reads all documents, without our own reader.
func contents(text []byte) (any, bool) {
	var all []any
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	for {
		var one any
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false
		}
		all = append(all, one)
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		return nil, false
	}
	var plain any
	err = json.Unmarshal(encoded, &plain)
	return plain, err == nil
}
