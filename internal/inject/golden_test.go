package inject_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/test/injectcase"
)

func run(t testing.TB, c *injectcase.Case, pod []byte, conformance bool, jitter int64) *inject.Result {
	t.Helper()
	settings := c.Set(conformance)
	head, err := inject.ReadHead(rawjson.NewReader(pod))
	if err != nil {
		t.Fatal(err)
	}
	result, err := inject.Pod(pod, inject.Choose(c.Known(t, settings, head.ServiceAccount, jitter), &settings),
		settings)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestConformance compares operations, their order and paths included, with
// what the case's outcome stands for.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range injectcase.Read(t) {
		t.Run(c.What+" ("+c.Name+")", func(t *testing.T) {
			t.Parallel()
			for _, jitter := range []int64{0, 1, inject.MaxJitter} {
				got := toAny(t, run(t, &c, c.Pod, true, jitter).Patch)
				want := toAny(t, c.Operations(t, &c.Want, 86400-jitter))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%+v of %s (-want +got):\n%s", c.Want, c.Pod, diff)
				}
			}
		})
	}
}

// TestDefaultMode compares the patched pods: but for the quirks that are fixed,
// the surgical patch makes the pod that the reference makes.
func TestDefaultMode(t *testing.T) {
	t.Parallel()
	for _, c := range injectcase.Read(t) {
		t.Run(c.What+" ("+c.Name+")", func(t *testing.T) {
			t.Parallel()
			want := c.Expect(false)
			result := run(t, &c, c.Pod, false, 5)
			if (len(result.Patch) > 0) == want.Nothing || (result.Method != "") == want.Nothing ||
				result.Reason == "" {
				t.Fatalf("patch %v, method %q, reason %q; want %+v", result.Patch, result.Method, result.Reason, want)
			}
			got := toAny(t, json.RawMessage(applyPatch(t, c.Pod, result.Patch)))
			if diff := cmp.Diff(toAny(t, json.RawMessage(applyPatch(t, c.Pod, c.Operations(t, want, 86395)))),
				got); diff != "" {
				t.Errorf("%+v of %s (-want +got):\n%s", want, c.Pod, diff)
			}
			for _, operation := range result.Patch {
				if operation.Path == "/spec/containers" || operation.Path == "/spec/initContainers" {
					t.Errorf("a whole list is replaced: %s", operation.Path)
				}
			}
		})
	}
}

// TestTwiceIsOnce is spec webhook §15 row 73: the output put in again changes nothing,
// another random lifetime included.
func TestTwiceIsOnce(t *testing.T) {
	t.Parallel()
	for _, c := range injectcase.Read(t) {
		for _, conformance := range []bool{true, false} {
			once := applyPatch(t, c.Pod, run(t, &c, c.Pod, conformance, 7).Patch)
			again := run(t, &c, once, conformance, 8)
			if diff := cmp.Diff(toAny(t, json.RawMessage(once)),
				toAny(t, json.RawMessage(applyPatch(t, once, again.Patch)))); diff != "" {
				t.Errorf("%s (%s), conformance %t (-once +twice):\n%s", c.What, c.Name, conformance, diff)
			}
			if !conformance && len(again.Patch) != 0 {
				t.Errorf("%s (%s): a second run says %v", c.What, c.Name, again.Patch)
			}
		}
	}
}

// TestDeterministic: replicas of a webhook must answer alike.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	for _, c := range injectcase.Read(t) {
		for _, conformance := range []bool{true, false} {
			first, again := encode(t, run(t, &c, c.Pod, conformance, 1)), encode(t, run(t, &c, c.Pod, conformance, 1))
			if !bytes.Equal(first, again) {
				t.Errorf("%s: %s and %s", c.Name, first, again)
			}
		}
	}
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// toAny makes JSON values comparable; numbers keep their digits.
func toAny(t testing.TB, value any) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(encode(t, value)))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func applyPatch(t testing.TB, pod []byte, operations []inject.Operation) []byte {
	t.Helper()
	if len(operations) == 0 {
		return pod
	}
	patch, err := jsonpatch.DecodePatch(encode(t, operations))
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(pod)
	if err != nil {
		t.Fatalf("apply %s to %s: %v", fmt.Sprint(operations), pod, err)
	}
	return patched
}
