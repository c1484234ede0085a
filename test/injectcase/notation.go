package injectcase

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

var word = regexp.MustCompile(`^(?:\+list|\+0|none|L\+|L~|V\(([^,]*),(\d+)\)|W\((\w+)\)|(\w+)\{(.*)\})$`)

// Operations is what a notation stands for, in the reference's form: whole
// lists. jittered is the lifetime that W(jitter) stands for.
func (c *Case) Operations(t testing.TB, notation string, jittered int64) []inject.Operation {
	t.Helper()
	var operations []inject.Operation
	var pod struct {
		Spec map[string]any
	}
	decoder := json.NewDecoder(bytes.NewReader(c.Pod))
	decoder.UseNumber()
	if err := decoder.Decode(&pod); err != nil {
		t.Fatal(err)
	}
	where := ""
	for text := range strings.FieldsSeq(notation) {
		match := word.FindStringSubmatch(text)
		switch {
		case match == nil:
			t.Fatalf("%s: notation %q", c.Name, text)
		case text == "none":
			return nil
		case text == "L+":
			operations = append(operations, inject.Operation{
				Op:    "add",
				Path:  "/metadata/labels",
				Value: map[string]any{"eks.amazonaws.com/pod-identity": "enabled"},
			})
		case text == "L~":
			operations = append(operations, inject.Operation{
				Op:    "add",
				Path:  "/metadata/labels/eks.amazonaws.com~1pod-identity",
				Value: "enabled",
			})
		case text[0] == '+':
			where = text
		case match[2] != "":
			operations = append(operations, volume(t, where, "aws-iam-token", "token", match[1], match[2]))
		case match[3] != "":
			if match[3] == "jitter" {
				match[3] = strconv.FormatInt(jittered, 10)
			}
			operations = append(
				operations,
				volume(
					t, where, "eks-pod-identity-token", "eks-pod-identity-token", "pods.eks.amazonaws.com", match[3],
				),
			)
		default:
			c.change(t, notation, pod.Spec, match[4], strings.Split(match[5], ","))
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

func volume(t testing.TB, where, name, file, audience, expiration string) inject.Operation {
	t.Helper()
	seconds, err := strconv.ParseInt(expiration, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]any{"path": file, "expirationSeconds": seconds}
	if audience != "" {
		source["audience"] = audience
	}
	volume := map[string]any{
		"name":      name,
		"projected": map[string]any{"sources": []any{map[string]any{"serviceAccountToken": source}}},
	}
	if where == "+list" {
		return inject.Operation{Op: "add", Path: "/spec/volumes", Value: []any{volume}}
	}
	return inject.Operation{Op: "add", Path: "/spec/volumes/0", Value: volume}
}

// change gives the container of a name what the words of the notation say.
func (c *Case) change(t testing.TB, notation string, spec map[string]any, name string, words []string) {
	t.Helper()
	for _, list := range []string{"containers", "initContainers"} {
		items, _ := spec[list].([]any)
		for _, item := range items {
			if container := item.(map[string]any); container["name"] == name {
				for _, one := range words {
					c.changeOne(t, strings.Contains(notation, "W("), container, one)
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
	short, value, given := strings.Cut(text, "=")
	defaults := map[string][2]string{
		"S":  {"AWS_STS_REGIONAL_ENDPOINTS", "regional"},
		"DR": {"AWS_DEFAULT_REGION", c.Settings.Region},
		"RG": {"AWS_REGION", c.Settings.Region},
		"RA": {"AWS_ROLE_ARN", Role},
		"TF": {"AWS_WEB_IDENTITY_TOKEN_FILE", webMount + "/token"},
		"U":  {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"},
		"AT": {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", containerMount + "/eks-pod-identity-token"},
	}
	volume, mount := "aws-iam-token", webMount
	if podIdentity {
		volume, mount = "eks-pod-identity-token", containerMount
	}
	member, added := "env", map[string]any{}
	switch one, found := defaults[short]; {
	case short == "-":
		return
	case short == "m":
		if !given {
			value = mount
		}
		member, added = "volumeMounts", map[string]any{"name": volume, "readOnly": true, "mountPath": value}
	case !found:
		t.Fatalf("%s: notation %q", c.Name, text)
	default:
		if !given {
			value = one[1]
		}
		added["name"], added["value"] = one[0], value
	}
	list, _ := container[member].([]any)
	container[member] = append(list, added)
}
