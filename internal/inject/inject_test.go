package inject_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/test/injectcase"
)

const role = "arn:aws:iam::111122223333:role/r"

// podOf makes a pod with members of its metadata and spec.
func podOf(meta, spec string) []byte {
	return fmt.Appendf(nil, `{"metadata":{%s},"spec":{%s}}`, meta, spec)
}

const (
	oneContainer = `"containers":[{"name":"a"}]`
	mountPath    = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
)

func mustPod(t testing.TB, pod []byte, annotations map[string]string, settings inject.Settings) *inject.Result {
	t.Helper()
	if annotations == nil {
		annotations = map[string]string{"eks.amazonaws.com/role-arn": role}
	}
	result, err := inject.Pod(pod, inject.ReadAccount(annotations, settings), settings)
	if err != nil {
		t.Fatalf("%s: %v", pod, err)
	}
	return result
}

// TestSurgicalPatch writes out what the default mode sends.
func TestSurgicalPatch(t *testing.T) {
	t.Parallel()
	settings := inject.Defaults()
	settings.Region, settings.RegionalSTS = "eu-west-1", true
	pod := podOf(`"name":"p"`,
		`"volumes":[{"name":"v"}],"containers":[{"name":"a"},{"name":"b","env":[{"name":"AWS_REGION"}],`+
			`"volumeMounts":[]}],"initContainers":[{"name":"i","env":null}]`)
	got := string(encode(t, mustPod(t, pod, nil, settings).Patch))
	const (
		sts    = `{"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"regional"}`
		region = `{"name":"AWS_DEFAULT_REGION","value":"eu-west-1"},{"name":"AWS_REGION","value":"eu-west-1"}`
		arn    = `{"name":"AWS_ROLE_ARN","value":"` + role + `"}`
		file   = `{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"` + mountPath + `/token"}`
		mount  = `{"name":"aws-iam-token","readOnly":true,"mountPath":"` + mountPath + `"}`
	)
	want := `[{"op":"add","path":"/spec/volumes/0","value":{"name":"aws-iam-token",` +
		`"projected":{"sources":[{"serviceAccountToken":{"audience":"sts.amazonaws.com","expirationSeconds":86400,` +
		`"path":"token"}}]}}},` +
		`{"op":"add","path":"/spec/containers/0/env","value":[` + sts + `,` + region + `,` + arn + `,` + file + `]},` +
		`{"op":"add","path":"/spec/containers/0/volumeMounts","value":[` + mount + `]},` +
		`{"op":"add","path":"/spec/containers/1/env/-","value":` + sts + `},` +
		`{"op":"add","path":"/spec/containers/1/env/-","value":` + arn + `},` +
		`{"op":"add","path":"/spec/containers/1/env/-","value":` + file + `},` +
		`{"op":"add","path":"/spec/containers/1/volumeMounts/-","value":` + mount + `},` +
		`{"op":"add","path":"/spec/initContainers/0/env","value":[` + sts + `,` + region + `,` + arn + `,` + file +
		`]},` +
		`{"op":"add","path":"/spec/initContainers/0/volumeMounts","value":[` + mount + `]}]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWarnings: what the pod's author must know is said, by annotation, volume
// or container.
func TestWarnings(t *testing.T) {
	t.Parallel()
	account := func(name, text string) map[string]string {
		return map[string]string{"eks.amazonaws.com/role-arn": role, "eks.amazonaws.com/" + name: text}
	}
	podAnnotation := func(name, text string) string {
		return fmt.Sprintf(`"annotations":{"eks.amazonaws.com/%s":%q}`, name, text)
	}
	for _, row := range []struct {
		name, meta, spec string
		account          map[string]string
		want             string // "" for no warning at all
	}{
		{name: "nothing to say"},
		{name: "not an ARN", account: account("role-arn", "junk"), want: `role-arn: "junk" is not a role ARN`},
		{
			name:    "a user's ARN",
			account: account("role-arn", "arn:aws:iam::111122223333:user/u"),
			want:    "is not a role ARN",
		},
		{
			name:    "a path without a name",
			account: account("role-arn", "arn:aws:iam::111122223333:role/a/"),
			want:    "no name follows the last slash; it is injected as it is",
		},
		{
			name:    "a name of 65 characters",
			account: account("role-arn", "arn:aws:iam::111122223333:role/"+strings.Repeat("n", 65)),
			want:    "the name has more than 64 characters",
		},
		{
			name:    "a blank at the end",
			account: account("role-arn", role+" "),
			want:    "a name consists of letters",
		},
		{
			name:    "ARN with a path and another partition",
			account: account("role-arn", "arn:aws-us-gov:iam::111122223333:role/a/b@c"),
		},
		{
			name:    "bool",
			account: account("sts-regional-endpoints", "yes"),
			want:    `"yes" is neither true nor false; false is used`,
		},
		{
			name:    "account's expiration",
			account: account("token-expiration", "1h"),
			want:    `"1h" is not a number of seconds; 86400 is used`,
		},
		{
			name: "pod's expiration",
			meta: podAnnotation("token-expiration", "soon"),
			want: `"soon" is not a number of seconds`,
		},
		{name: "skip list", meta: podAnnotation("skip-containers", `a"b`), want: "no container is skipped"},
		{
			name: "foreign volume",
			spec: `"volumes":[{"name":"aws-iam-token","secret":{}}]`,
			want: "holds no service-account token",
		},
		{
			name: "foreign projection",
			spec: `"volumes":[{"name":"aws-iam-token",` +
				`"projected":{"sources":[{"serviceAccountToken":{"path":"other"}},{"secret":{}}]}}]`,
			want: "holds no service-account token",
		},
		{
			name: "our volume",
			spec: `"volumes":[{"name":"aws-iam-token",` +
				`"projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}]`,
		},
		{
			name: "foreign mount",
			spec: `"containers":[{"name":"a","volumeMounts":[{"name":"v",` +
				`"mountPath":"/var/run/secrets//eks.amazonaws.com/serviceaccount/"}]}]`,
			want: `container "a" mounts "v"`,
		},
		{
			name: "foreign mount on Windows",
			spec: `"containers":[{"name":"a","volumeMounts":[{"name":"v",` +
				`"mountPath":"C:\\var\\run\\secrets\\eks.amazonaws.com\\serviceaccount"}]}]`,
			want: `container "a" mounts "v"`,
		},
		{
			name: "our volume elsewhere",
			spec: `"containers":[{"name":"a","volumeMounts":[{"name":"aws-iam-token","mountPath":"/x"}]}]`,
			want: "the SDK looks for the token at",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			spec := row.spec
			if !strings.Contains(spec, `"containers"`) {
				spec = strings.TrimPrefix(spec+","+oneContainer, ",")
			}
			got := strings.Join(mustPod(t, podOf(row.meta, spec), row.account, inject.Defaults()).Warnings, "\n")
			if !strings.Contains(got, row.want) || (row.want == "") != (got == "") {
				t.Errorf("warnings %q, want %q", got, row.want)
			}
		})
	}
}

// TestMalformedRolesAreInjected is spec webhook §14 Q6: whatever the annotation
// says, the pod gets it, and its author a warning.
func TestMalformedRolesAreInjected(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"junk", "arn:aws:iam::111122223333:role/a/", "arn:aws:iam::111122223333:role//a",
		"arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:role/a*", "arn:aws:iam::1111:role/a",
		"arn:aws:iam::111122223333:user/a", " " + role, role + "\n",
	} {
		pod := podOf("", oneContainer)
		result := mustPod(t, pod, map[string]string{"eks.amazonaws.com/role-arn": text}, inject.Defaults())
		if got := variables(t, applyPatch(t, pod, result.Patch)); !slices.Contains(got, "AWS_ROLE_ARN="+text) {
			t.Errorf("%q is not injected: %q", text, got)
		}
		if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "is not a role ARN") {
			t.Errorf("%q: warnings %q", text, result.Warnings)
		}
	}
}

// TestForeignMountIsNotDoubled: the API server refuses a pod with one path
// mounted twice (spec webhook row Q10).
func TestForeignMountIsNotDoubled(t *testing.T) {
	t.Parallel()
	for _, at := range []string{mountPath, mountPath + "/", strings.Replace(mountPath, "/run/", "/run/./", 1)} {
		pod := podOf("", fmt.Sprintf(`"containers":[{"name":"a","volumeMounts":[{"name":"v","mountPath":%q}]}]`, at))
		if patched := string(applyPatch(t, pod,
			mustPod(t, pod, nil, inject.Defaults()).Patch)); strings.Contains(patched, "aws-iam-token") {
			t.Errorf("%s: %s", at, patched)
		}
	}
}

// TestOwnTokenFile is Q9: a container with everything of its own gets the mount
// only if its token file is ours.
func TestOwnTokenFile(t *testing.T) {
	t.Parallel()
	for file, mounted := range map[string]bool{mountPath + "/token": true, "/my/token": false} {
		pod := podOf("", fmt.Sprintf(`"containers":[{"name":"a","env":[{"name":"AWS_ROLE_ARN","value":"x"},`+
			`{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":%q},{"name":"AWS_REGION"},`+
			`{"name":"AWS_STS_REGIONAL_ENDPOINTS"}]}]`, file))
		if got := len(mustPod(t, pod, nil, inject.Defaults()).Patch) > 0; got != mounted {
			t.Errorf("token file %s: patched %t", file, got)
		}
	}
}

// TestWindowsByAffinity is Q14: only if every term leads to Windows.
func TestWindowsByAffinity(t *testing.T) {
	t.Parallel()
	term := func(values string) string {
		return `{"matchExpressions":[{"key":"kubernetes.io/os","operator":"In","values":[` + values + `]}]}`
	}
	for terms, windows := range map[string]bool{
		term(`"windows"`):                           true,
		term(`"windows","linux"`):                   false,
		term(`"windows"`) + "," + term(`"linux"`):   false,
		term(`"windows"`) + "," + term(`"windows"`): true,
		"": false,
	} {
		pod := podOf("", oneContainer+`,"affinity":{"nodeAffinity":{`+
			`"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[`+terms+`]}}}`)
		if got := strings.Contains(string(encode(t, mustPod(t, pod, nil, inject.Defaults()).Patch)),
			`C:\\var`); got != windows {
			t.Errorf("%s: Windows %t", terms, got)
		}
	}
}

// TestCompose is spec webhook §7.3 and Q16.
func TestCompose(t *testing.T) {
	t.Parallel()
	settings := inject.Defaults()
	settings.ComposeAccount, settings.ComposePartition = "111122223333", "aws-cn"
	for written, want := range map[string]string{
		"r":      "arn:aws-cn:iam::111122223333:role/r",
		"team/r": "arn:aws-cn:iam::111122223333:role/team/r",
		role:     role,
		"":       "",
	} {
		account := inject.ReadAccount(map[string]string{"eks.amazonaws.com/role-arn": written}, settings)
		if account.Role != want || account.Malformed || len(account.Warnings) != 0 {
			t.Errorf("%q: %+v, want %q", written, account, want)
		}
	}
	if account := inject.ReadAccount(map[string]string{
		"eks.amazonaws.com/role-arn": "no spaces",
	}, settings); !account.Malformed {
		t.Errorf("%+v is not malformed", account)
	}
}

func TestSkipLabel(t *testing.T) {
	t.Parallel()
	pod := podOf(`"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":""}`, oneContainer)
	if result := mustPod(t, pod, nil,
		inject.Defaults()); len(result.Patch) != 0 || !strings.Contains(result.Reason, inject.SkipLabel) {
		t.Errorf("%+v", result)
	}
	if head, err := inject.ReadHead(rawjson.NewReader(pod)); err != nil || !head.Skip {
		t.Errorf("head %+v, error %v", head, err)
	}
}

// TestNotAPod: what cannot be understood is an error, never half a patch.
func TestNotAPod(t *testing.T) {
	t.Parallel()
	for _, pod := range []string{
		"", "x", "[]", `"x"`, `{"spec":[]}`, `{"spec":{"containers":{}}}`, `{"spec":{"containers":[null]}}`,
		`{"spec":{"containers":["a"]}}`, `{"spec":{"containers":[{"env":{}}]}}`,
		`{"spec":{"containers":[{"env":[1]}]}}`, `{"spec":{"initContainers":[null]}}`, `{"spec":{"volumes":{}}}`,
	} {
		result, err := inject.Pod([]byte(pod), inject.Account{Role: role}, inject.Defaults())
		if err == nil || result != nil || !strings.HasPrefix(err.Error(), "decode pod: ") {
			t.Errorf("%s: %+v, error %v", pod, result, err)
		}
	}
}

func FuzzPod(f *testing.F) {
	for _, g := range injectcase.Read(f) {
		f.Add([]byte(g.Pod))
	}
	f.Fuzz(func(t *testing.T, pod []byte) {
		for _, conformance := range []bool{false, true} {
			settings := inject.Defaults()
			settings.Conformance = conformance
			result, err := inject.Pod(pod, inject.Account{Role: role, Audience: "x", Expiration: 600}, settings)
			if err == nil && len(result.Patch) > 0 && hasSpec(pod) {
				applyPatch(t, pod, result.Patch)
			}
		}
	})
}

// hasSpec: in conformance mode, a pod without spec gets operations that need it.
func hasSpec(pod []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(pod, &members) != nil {
		return false
	}
	spec := members["spec"]
	return len(spec) > 0 && spec[0] == '{'
}

func FuzzReadAccount(f *testing.F) {
	f.Add(role, "600", "true")
	f.Add("x", "-1", "")
	f.Fuzz(func(t *testing.T, arn, expiration, regional string) {
		annotations := map[string]string{
			"eks.amazonaws.com/role-arn":               arn,
			"eks.amazonaws.com/token-expiration":       expiration,
			"eks.amazonaws.com/sts-regional-endpoints": regional,
		}
		account := inject.ReadAccount(annotations, inject.Defaults())
		if account.Expiration < 600 || account.Role != arn || (account.Malformed && len(account.Warnings) == 0) {
			t.Errorf("%q: %+v", annotations, account)
		}
	})
}

func BenchmarkPod(b *testing.B) {
	pod := injectcase.Read(b)[0].Pod
	settings := inject.Defaults()
	account := inject.ReadAccount(map[string]string{"eks.amazonaws.com/role-arn": role}, settings)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inject.Pod(pod, account, settings); err != nil {
			b.Fatal(err)
		}
	}
}
