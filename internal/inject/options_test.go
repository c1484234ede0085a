package inject_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// TestOptions: Rolecall's own annotations become variables that SDKs honour, the
// pod's word before the account's, after the reference's variables.
func TestOptions(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, account, pod, env string
		set                     func(*inject.Settings)
		want                    string // NAME=VALUE of what follows the two credential variables, or of the region
	}{
		{name: "none"},
		{name: "region", account: "region=eu-west-1", want: "AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1"},
		{
			name:    "region over the flag",
			account: "region=eu-west-1",
			set:     region,
			want:    "AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1",
		},
		{
			name:    "the pod's region",
			account: "region=eu-west-1",
			pod:     "region=eu-west-2",
			want:    "AWS_DEFAULT_REGION=eu-west-2 AWS_REGION=eu-west-2",
		},
		{name: "the container's region", account: "region=eu-west-1", env: "AWS_REGION"},
		{name: "no region", account: "skip-region-injection=true", set: region},
		{name: "no region in a pod", pod: "skip-region-injection=1", set: region},
		{
			name:    "a region after all",
			account: "skip-region-injection=true",
			pod:     "skip-region-injection=false",
			set:     region,
			want:    "AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1",
		},
		{
			name:    "no such region",
			account: "region=EU west",
			set:     region,
			want:    "AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1",
		},
		{
			name:    "no such region: a hyphen",
			account: "region=-",
			set:     region,
			want:    "AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1",
		},
		{name: "no such region: a hyphen in a pod", pod: "region=-"},
		{name: "no such region: an empty one", account: "region="},
		{
			name:    "no such region of AWS, perhaps another's",
			account: "region=eu-wst-1",
			set:     region,
			want:    "AWS_DEFAULT_REGION=eu-wst-1 AWS_REGION=eu-wst-1",
		},
		{name: "session", account: "role-session-name=team-a", want: "AWS_ROLE_SESSION_NAME=team-a"},
		{name: "session of the pod", account: "role-session-name={pod}", want: "AWS_ROLE_SESSION_NAME=p1"},
		{name: "session by flag", set: sessions, want: "AWS_ROLE_SESSION_NAME=p1"},
		{name: "session of its own", set: sessions, pod: "role-session-name=mine", want: "AWS_ROLE_SESSION_NAME=mine"},
		{name: "session's characters", account: "role-session-name=a b/é", want: "AWS_ROLE_SESSION_NAME=a-b--"},
		{name: "the container's session", set: sessions, env: "AWS_ROLE_SESSION_NAME"},
		{
			name:    "SDK settings",
			account: "max-attempts=5,use-fips-endpoint=true,retry-mode=adaptive",
			pod: "max-attempts=7,ec2-metadata-disabled=true,sts-endpoint-url=https://sts.example:8443," +
				"sdk-app-id=app,use-dualstack-endpoint=false",
			want: "AWS_USE_FIPS_ENDPOINT=true AWS_RETRY_MODE=adaptive AWS_MAX_ATTEMPTS=7 " +
				"AWS_USE_DUALSTACK_ENDPOINT=false AWS_EC2_METADATA_DISABLED=true " +
				"AWS_ENDPOINT_URL_STS=https://sts.example:8443 AWS_SDK_UA_APP_ID=app",
		},
		{
			name: "not SDK settings",
			account: "max-attempts=0,use-fips-endpoint=yes,retry-mode=fast,sts-endpoint-url=sts,sdk-app-id=" +
				strings.Repeat("x", 51),
		},
		{
			name:    "the reference knows none of it",
			account: "region=eu-west-1,max-attempts=5,role-session-name=x",
			set:     func(s *inject.Settings) { s.Conformance, s.SessionFromPod = true, true },
		},
	} {
		settings := inject.Defaults()
		if row.set != nil {
			row.set(&settings)
		}
		container := `{"name":"a"}`
		if row.env != "" {
			container = fmt.Sprintf(`{"name":"a","env":[{"name":%q}]}`, row.env)
		}
		annotations := pairs(row.account)
		annotations["eks.amazonaws.com/role-arn"] = role
		pod := podOf(`"name":"p1","annotations":`+string(encode(t, pairs(row.pod))), `"containers":[`+container+`]`)
		result := mustPod(t, pod, annotations, settings)
		got := variables(t, applyPatch(t, pod, result.Patch))
		got = slices.DeleteFunc(got, func(s string) bool {
			return strings.HasPrefix(s, "AWS_ROLE_ARN=") || strings.HasPrefix(s, "AWS_WEB_IDENTITY") || s == row.env+"="
		})
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if warned := len(result.Warnings) > 0; warned != (strings.HasPrefix(row.name, "no such") ||
			strings.HasPrefix(row.name, "not ") || strings.Contains(row.name, "characters")) {
			t.Errorf("%s: warnings %q", row.name, result.Warnings)
		}
	}
}

func region(s *inject.Settings) { s.Region = "us-east-1" }

func sessions(s *inject.Settings) { s.SessionFromPod = true }

func pairs(text string) map[string]string {
	annotations := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			annotations["eks.amazonaws.com/"+name] = value
		}
	}
	return annotations
}

// variables returns NAME=VALUE of the first container.
func variables(t *testing.T, pod []byte) []string {
	t.Helper()
	var list []string
	spec := toAny(t, jsonText(pod)).(map[string]any)["spec"].(map[string]any)
	env, _ := spec["containers"].([]any)[0].(map[string]any)["env"].([]any)
	for _, one := range env {
		variable := one.(map[string]any)
		value, _ := variable["value"].(string)
		if from, found := variable["valueFrom"]; found {
			value = fmt.Sprint(from)
		}
		list = append(list, fmt.Sprintf("%s=%s", variable["name"], value))
	}
	return list
}

type jsonText []byte

func (j jsonText) MarshalJSON() ([]byte, error) { return j, nil }

// TestSessionNames: whatever a pod is called, STS accepts the session's name.
func TestSessionNames(t *testing.T) {
	t.Parallel()
	valid := regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	settings := inject.Defaults()
	settings.SessionFromPod = true
	for _, name := range []string{
		"a", "p1", "web-5d8f7b9c4-x2x7k", strings.Repeat("n", 64),
		strings.Repeat("n.", 126) + "n",
	} {
		pod := podOf(fmt.Sprintf(`"name":%q`, name), oneContainer)
		all := variables(t, applyPatch(t, pod, mustPod(t, pod, nil, settings).Patch))
		got, _ := strings.CutPrefix(all[len(all)-1], "AWS_ROLE_SESSION_NAME=")
		if !valid.MatchString(got) || !strings.HasPrefix(name, strings.TrimPrefix(got, "pod-")) {
			t.Errorf("%s: %q", name, got)
		}
	}
	pod := podOf(`"generateName":"web-"`, oneContainer)
	all := variables(t, applyPatch(t, pod, mustPod(t, pod, nil, settings).Patch))
	if want := "AWS_ROLE_SESSION_NAME=map[fieldRef:map[fieldPath:metadata.name]]"; all[len(all)-1] != want {
		t.Errorf("generated name: %q, want %q", all, want)
	}
}

// TestNoFieldIsLost: whatever Kubernetes adds to pods, and wherever, is there
// after the patch, byte for byte (but for <, > and &, which the library that the
// API server patches with writes as escapes).
func TestNoFieldIsLost(t *testing.T) {
	t.Parallel()
	unknown, marks := 0, []string{}
	future := func() string {
		unknown++
		mark := fmt.Sprintf(`"future%d":{"n":1.50e+01,"big":123456789012345678901234567890,"u":"\u00e9","l":[null,`+
			`{}],"Name":"x"}`, unknown)
		marks = append(marks, mark)
		return mark
	}
	pod := fmt.Sprintf(`{%s,"metadata":{"name":"p",%s,"labels":{"a":"b"},"annotations":{"c":"d"}},
		"spec":{"serviceAccountName":"s",%s,
		"volumes":[{"name":"v",%s,"projected":{%s,"sources":[{"newSource":{%s}}]}}],
		"os":{%s},"affinity":{%s,"nodeAffinity":{%s}},"nodeSelector":{"x":"y"},
		"containers":[{"name":"a",%s,"env":[{"name":"X",%s,"valueFrom":{%s}}],
			"volumeMounts":[{"name":"v","mountPath":"/v",%s}],"resources":{%s}},{"name":"b",%s}],
		"initContainers":[{"name":"i","restartPolicy":"Always",%s,"livenessProbe":{"grpc":{"port":1,%s}}}],
		"ephemeralContainers":[{"name":"e",%s}]},"status":{%s}}`,
		future(), future(), future(), future(), future(), future(), future(), future(), future(), future(), future(),
		future(), future(), future(), future(), future(), future(), future(), future())
	settings := inject.Defaults()
	settings.Region, settings.RegionalSTS, settings.SessionFromPod = "eu-west-1", true, true
	for _, account := range []inject.Account{
		{Role: role, Audience: "x", Expiration: 600, RegionalSTS: true},
		{Container: true, Audience: "x", Expiration: 86400, RegionalSTS: true},
	} {
		result, err := inject.Pod([]byte(pod), account, settings)
		if err != nil || len(result.Patch) == 0 {
			t.Fatalf("%v, error %v", result, err)
		}
		patched := string(applyPatch(t, []byte(pod), result.Patch))
		for _, mark := range marks {
			if strings.Count(patched, mark) != 1 {
				t.Errorf("%s is lost", mark)
			}
		}
		// What was added, taken away again, leaves the pod as it was.
		if got, want := toAny(t,
			jsonText(without(t, patched))), toAny(t, jsonText(without(t, pod))); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

// without removes from a pod what the webhook may add.
func without(t *testing.T, pod string) []byte {
	t.Helper()
	content := toAny(t, jsonText(pod)).(map[string]any)
	delete(content["metadata"].(map[string]any)["labels"].(map[string]any), "eks.amazonaws.com/pod-identity")
	spec := content["spec"].(map[string]any)
	named := func(prefixes ...string) func(any) bool {
		return func(one any) bool {
			name, _ := one.(map[string]any)["name"].(string)
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		}
	}
	spec["volumes"] = slices.DeleteFunc(spec["volumes"].([]any), named("aws-iam", "eks-pod"))
	for _, list := range []string{"containers", "initContainers"} {
		for _, one := range spec[list].([]any) {
			container := one.(map[string]any)
			for _, member := range []string{"env", "volumeMounts"} {
				items, _ := container[member].([]any)
				if items = slices.DeleteFunc(items, named("AWS_", "aws-iam", "eks-pod")); len(items) == 0 {
					delete(container, member)
				} else {
					container[member] = items
				}
			}
		}
	}
	return encode(t, content)
}

// FuzzHead: the head agrees with what the whole pod is read as.
func FuzzHead(f *testing.F) {
	f.Add([]byte(
		`{"metadata":{"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":""}},"spec":{"serviceAccountName":"s"}}`,
	))
	f.Add([]byte(`{"metadata":{"name":"p","generateName":"q"},"spec":null}`))
	f.Fuzz(func(t *testing.T, pod []byte) {
		head, err := inject.ReadHead(rawjson.NewReader(pod))
		result, whole := inject.Pod(pod, inject.Account{Role: role}, inject.Defaults())
		if whole == nil && err != nil {
			t.Errorf("%s: the pod reads, its head does not: %v", pod, err)
		}
		if whole == nil && head.Skip != strings.Contains(result.Reason, "has the label") &&
			!strings.Contains(string(pod), `"labels"`) {
			t.Errorf("%s: skip %t, %q", pod, head.Skip, result.Reason)
		}
	})
}
