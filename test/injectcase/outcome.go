package injectcase

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

// Outcome is what becomes of a pod: Nothing, or all else.
type Outcome struct {
	Nothing bool
	// Label is where the label of Pod Identity is set: "of a pod without labels",
	// "beside others", or nowhere.
	Label string
	// At most one of the two tokens is mounted.
	WebIdentityToken, PodIdentityToken *Token
	// Containers have what is appended to each, in this order: a variable's name, with
	// "=VALUE" where it is not the usual one, or "mount", with "=PATH" likewise.
	Containers map[string][]string
}

// Token is a projected service-account token.
type Token struct {
	// Volume is where it is put: "of a pod without volumes" or "before others".
	Volume   string
	Audience string
	// ExpirationSeconds is its lifetime; with Jitter it is what a test has chosen.
	ExpirationSeconds int64
	Jitter            bool
}

// Operations is what an outcome stands for, in the reference's form: whole lists.
// jittered is the lifetime of tokens with Jitter.
func (c *Case) Operations(t testing.TB, outcome *Outcome, jittered int64) []inject.Operation {
	t.Helper()
	if outcome.Nothing {
		return nil
	}
	var operations []inject.Operation
	var pod struct {
		Spec map[string]any
	}
	decoder := json.NewDecoder(bytes.NewReader(c.Pod))
	decoder.UseNumber()
	if err := decoder.Decode(&pod); err != nil {
		t.Fatal(err)
	}
	switch outcome.Label {
	case "":
	case "of a pod without labels":
		operations = append(operations, inject.Operation{
			Op:    "add",
			Path:  "/metadata/labels",
			Value: map[string]any{"eks.amazonaws.com/pod-identity": "enabled"},
		})
	case "beside others":
		operations = append(operations, inject.Operation{
			Op:    "add",
			Path:  "/metadata/labels/eks.amazonaws.com~1pod-identity",
			Value: "enabled",
		})
	default:
		t.Fatalf("%s: label %q", c.Name, outcome.Label)
	}
	if token := outcome.WebIdentityToken; token != nil {
		operations = append(operations, volume(t, token.Volume, "aws-iam-token", "token", token.Audience,
			token.ExpirationSeconds))
	}
	if token := outcome.PodIdentityToken; token != nil {
		seconds := token.ExpirationSeconds
		if token.Jitter {
			seconds = jittered
		}
		operations = append(operations, volume(t, token.Volume, "eks-pod-identity-token", "eks-pod-identity-token",
			"pods.eks.amazonaws.com", seconds))
	}
	for name, gets := range outcome.Containers {
		c.change(t, outcome.PodIdentityToken != nil, pod.Spec, name, gets)
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

func volume(t testing.TB, where, name, file, audience string, seconds int64) inject.Operation {
	t.Helper()
	source := map[string]any{"path": file, "expirationSeconds": seconds}
	if audience != "" {
		source["audience"] = audience
	}
	volume := map[string]any{
		"name":      name,
		"projected": map[string]any{"sources": []any{map[string]any{"serviceAccountToken": source}}},
	}
	switch where {
	case "of a pod without volumes":
		return inject.Operation{Op: "add", Path: "/spec/volumes", Value: []any{volume}}
	case "before others":
		return inject.Operation{Op: "add", Path: "/spec/volumes/0", Value: volume}
	}
	t.Fatalf("volume %q", where)
	return inject.Operation{}
}

// change gives the container of a name what an outcome says.
func (c *Case) change(t testing.TB, podIdentity bool, spec map[string]any, name string, gets []string) {
	t.Helper()
	for _, list := range []string{"containers", "initContainers"} {
		items, _ := spec[list].([]any)
		for _, item := range items {
			if container := item.(map[string]any); container["name"] == name {
				for _, one := range gets {
					c.changeOne(t, podIdentity, container, one)
				}
				return
			}
		}
	}
	t.Fatalf("%s: no container %q", c.Name, name)
}

const (
	webMount       = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
	containerMount = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
)

func (c *Case) changeOne(t testing.TB, podIdentity bool, container map[string]any, text string) {
	t.Helper()
	name, value, given := strings.Cut(text, "=")
	usual := map[string]string{
		"AWS_STS_REGIONAL_ENDPOINTS":             "regional",
		"AWS_DEFAULT_REGION":                     c.Settings.Region,
		"AWS_REGION":                             c.Settings.Region,
		"AWS_ROLE_ARN":                           Role,
		"AWS_WEB_IDENTITY_TOKEN_FILE":            webMount + "/token",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI":     "http://169.254.170.23/v1/credentials",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": containerMount + "/eks-pod-identity-token",
	}
	volume, mount := "aws-iam-token", webMount
	if podIdentity {
		volume, mount = "eks-pod-identity-token", containerMount
	}
	member, added := "env", map[string]any{}
	switch one, found := usual[name]; {
	case name == "mount":
		if !given {
			value = mount
		}
		member, added = "volumeMounts", map[string]any{"name": volume, "readOnly": true, "mountPath": value}
	case !found:
		t.Fatalf("%s: a container gets %q", c.Name, text)
	default:
		if !given {
			value = one
		}
		added["name"], added["value"] = name, value
	}
	list, _ := container[member].([]any)
	container[member] = append(list, added)
}
