package inject_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/rolecall/rolecall/internal/inject"
)

// golden is a row of spec webhook §15, as test/conformance/inject has it.
type golden struct {
	Name, What string
	Settings   struct {
		Prefix, Region, MountPath        string
		RegionalSTS                      bool
		ComposeAccount, ComposePartition string
	}
	// Account is nil if the service account is not known.
	Account map[string]string
	Pod     json.RawMessage
	// Want is in the specification's notation: V(audience,expiration) volume,
	// +list and +0 how it is added, a{RA,TF,m} what container a gets. Fixed is
	// the result where ours differs outside conformance mode.
	Want, Fixed string
}

func readGoldens(t testing.TB) []golden {
	t.Helper()
	text, err := os.ReadFile("../../test/conformance/inject/irsa.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []golden }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 59 {
		t.Fatalf("only %d cases", len(file.Cases))
	}
	return file.Cases
}

func (g *golden) settings(conformance bool) inject.Settings {
	s := inject.Defaults()
	s.Conformance, s.Region, s.RegionalSTS = conformance, g.Settings.Region, g.Settings.RegionalSTS
	s.ComposeAccount, s.ComposePartition = g.Settings.ComposeAccount, g.Settings.ComposePartition
	if g.Settings.Prefix != "" {
		s.Prefix = g.Settings.Prefix
	}
	if g.Settings.MountPath != "" {
		s.MountPath = g.Settings.MountPath
	}
	return s
}

func (g *golden) run(t testing.TB, pod []byte, conformance bool) *inject.Result {
	t.Helper()
	settings, annotations := g.settings(conformance), g.Account
	name, _, err := inject.ServiceAccountName(pod)
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		annotations = nil // row 43: a mirror pod's name stays unmatched
	}
	result, err := inject.Pod(pod, inject.ReadAccount(annotations, settings), settings)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestConformance compares operations, their order and paths included, with
// what the notation stands for.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, g := range readGoldens(t) {
		t.Run(g.Name+" "+g.What, func(t *testing.T) {
			t.Parallel()
			got := toAny(t, g.run(t, g.Pod, true).Patch)
			want := toAny(t, g.operations(t, g.Want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", g.Want, g.Pod, diff)
			}
		})
	}
}

// TestDefaultMode compares the patched pods: but for the quirks that are mended,
// the surgical patch makes the pod that the reference makes.
func TestDefaultMode(t *testing.T) {
	t.Parallel()
	for _, g := range readGoldens(t) {
		t.Run(g.Name+" "+g.What, func(t *testing.T) {
			t.Parallel()
			want := g.Want
			if g.Fixed != "" {
				want = g.Fixed
			}
			result := g.run(t, g.Pod, false)
			if (len(result.Patch) > 0) != (want != "none") || (result.Method == inject.WebIdentity) != (want != "none") || result.Reason == "" {
				t.Fatalf("patch %v, method %q, reason %q; want %s", result.Patch, result.Method, result.Reason, want)
			}
			got := toAny(t, json.RawMessage(applyPatch(t, g.Pod, result.Patch)))
			if diff := cmp.Diff(toAny(t, json.RawMessage(applyPatch(t, g.Pod, g.operations(t, want)))), got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", want, g.Pod, diff)
			}
			for _, operation := range result.Patch {
				if operation.Path == "/spec/containers" || operation.Path == "/spec/initContainers" {
					t.Errorf("a whole list is replaced: %s", operation.Path)
				}
			}
		})
	}
}

// TestTwiceIsOnce is row 73: the output put in again changes nothing.
func TestTwiceIsOnce(t *testing.T) {
	t.Parallel()
	for _, g := range readGoldens(t) {
		for _, conformance := range []bool{true, false} {
			once := applyPatch(t, g.Pod, g.run(t, g.Pod, conformance).Patch)
			again := g.run(t, once, conformance)
			if diff := cmp.Diff(toAny(t, json.RawMessage(once)), toAny(t, json.RawMessage(applyPatch(t, once, again.Patch)))); diff != "" {
				t.Errorf("%s, conformance %t (-once +twice):\n%s", g.Name, conformance, diff)
			}
			if !conformance && len(again.Patch) != 0 {
				t.Errorf("%s: a second run says %v", g.Name, again.Patch)
			}
		}
	}
}

// TestDeterministic: replicas of a webhook must answer alike.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	for _, g := range readGoldens(t) {
		for _, conformance := range []bool{true, false} {
			first, again := encode(t, g.run(t, g.Pod, conformance)), encode(t, g.run(t, g.Pod, conformance))
			if !bytes.Equal(first, again) {
				t.Errorf("%s: %s and %s", g.Name, first, again)
			}
		}
	}
}

var word = regexp.MustCompile(`^(?:\+list|\+0|none|V\(([^,]*),(\d+)\)|(\w+)\{(.*)\})$`)

// operations is what a notation stands for, made without the package under test.
func (g *golden) operations(t *testing.T, notation string) []inject.Operation {
	t.Helper()
	var operations []inject.Operation
	var pod struct {
		Spec map[string]any
	}
	decoder := json.NewDecoder(bytes.NewReader(g.Pod))
	decoder.UseNumber()
	if err := decoder.Decode(&pod); err != nil {
		t.Fatal(err)
	}
	where := ""
	for text := range strings.FieldsSeq(notation) {
		match := word.FindStringSubmatch(text)
		switch {
		case match == nil:
			t.Fatalf("%s: notation %q", g.Name, text)
		case text == "none":
			return nil
		case text[0] == '+':
			where = text
		case match[2] != "":
			operations = append(operations, volumeOperation(t, where, match[1], match[2]))
		default:
			g.change(t, pod.Spec, match[3], strings.Split(match[4], ","))
		}
	}
	containers := pod.Spec["containers"]
	if containers == nil {
		containers = []any{}
	}
	operations = append(operations, inject.Operation{Op: "add", Path: "/spec/containers", Value: containers})
	if list, found := pod.Spec["initContainers"]; found {
		operations = append(operations, inject.Operation{Op: "add", Path: "/spec/initContainers", Value: list})
	}
	return operations
}

func volumeOperation(t *testing.T, where, audience, expiration string) inject.Operation {
	t.Helper()
	seconds, err := strconv.ParseInt(expiration, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]any{"path": "token", "expirationSeconds": seconds}
	if audience != "" {
		source["audience"] = audience
	}
	volume := map[string]any{"name": "aws-iam-token", "projected": map[string]any{"sources": []any{map[string]any{"serviceAccountToken": source}}}}
	if where == "+list" {
		return inject.Operation{Op: "add", Path: "/spec/volumes", Value: []any{volume}}
	}
	return inject.Operation{Op: "add", Path: "/spec/volumes/0", Value: volume}
}

// change gives the container of a name what the words of the notation say.
func (g *golden) change(t *testing.T, spec map[string]any, name string, words []string) {
	t.Helper()
	for _, list := range []string{"containers", "initContainers"} {
		items, _ := spec[list].([]any)
		for _, item := range items {
			if container := item.(map[string]any); container["name"] == name {
				for _, one := range words {
					g.changeOne(t, container, one)
				}
				return
			}
		}
	}
	t.Fatalf("%s: no container %q", g.Name, name)
}

func (g *golden) changeOne(t *testing.T, container map[string]any, text string) {
	t.Helper()
	short, value, given := strings.Cut(text, "=")
	defaults := map[string][2]string{
		"S":  {"AWS_STS_REGIONAL_ENDPOINTS", "regional"},
		"DR": {"AWS_DEFAULT_REGION", g.Settings.Region},
		"RG": {"AWS_REGION", g.Settings.Region},
		"RA": {"AWS_ROLE_ARN", role},
		"TF": {"AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"},
	}
	member, added := "env", map[string]any{}
	switch one, found := defaults[short]; {
	case short == "-":
		return
	case short == "m":
		if !given {
			value = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
		}
		member, added = "volumeMounts", map[string]any{"name": "aws-iam-token", "readOnly": true, "mountPath": value}
	case !found:
		t.Fatalf("%s: notation %q", g.Name, text)
	default:
		if !given {
			value = one[1]
		}
		added["name"], added["value"] = one[0], value
	}
	list, _ := container[member].([]any)
	container[member] = append(list, added)
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
