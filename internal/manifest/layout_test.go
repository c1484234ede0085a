package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// marks stand for what injection adds, so that the rows show where it goes.
var marks = strings.NewReplacer(
	"ENV4", "    - name: AWS_ROLE_ARN\n      value: arn:aws:iam::111122223333:role/r\n"+
		"    - name: AWS_WEB_IDENTITY_TOKEN_FILE\n"+
		"      value: /var/run/secrets/eks.amazonaws.com/serviceaccount/token\n",
	"MOUNT4", "    volumeMounts:\n    - name: aws-iam-token\n      readOnly: true\n"+
		"      mountPath: /var/run/secrets/eks.amazonaws.com/serviceaccount\n",
	"ITEM2", "  - name: aws-iam-token\n    projected:\n      sources:\n      - serviceAccountToken:\n"+
		"          audience: sts.amazonaws.com\n          expirationSeconds: 86400\n"+
		"          path: token\n",
	"FITEMS", `[{name: "AWS_ROLE_ARN", value: "arn:aws:iam::111122223333:role/r"}, {name: `+
		`"AWS_WEB_IDENTITY_TOKEN_FILE", value: `+
		`"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}]`,
	"FENV", `[{name: "AWS_ROLE_ARN", value: "arn:aws:iam::111122223333:role/r"}, {name: `+
		`"AWS_WEB_IDENTITY_TOKEN_FILE", value: `+
		`"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}]`,
	"FMOUNT", `[{name: "aws-iam-token", readOnly: true, mountPath: `+
		`"/var/run/secrets/eks.amazonaws.com/serviceaccount"}]`,
	"FVOLUME", `{name: "aws-iam-token", projected: {sources: [{serviceAccountToken: {audience: "sts.amazonaws.com",`+
		` expirationSeconds: 86400, path: "token"}}]}}`,
	"JENV", `[{"name":"AWS_ROLE_ARN","value":"arn:aws:iam::111122223333:role/r"},`+
		`{"name":"AWS_WEB_IDENTITY_TOKEN_FILE",`+
		`"value":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}]`,
	"JMOUNT", `{"name":"aws-iam-token","readOnly":true,`+
		`"mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"}`,
	"JVOLUME", `{"name":"aws-iam-token",`+
		`"projected":{"sources":[{"serviceAccountToken":{"audience":"sts.amazonaws.com",`+
		`"expirationSeconds":86400,"path":"token"}}]}}`,
)

const podHead = "kind: Pod\nspec:\n  serviceAccountName: s\n"

// layouts are pods and what becomes of them: the marks are all that is new.
var layouts = []struct{ name, text, want string }{
	{
		"block", podHead + "  containers:\n  - name: a\n    env:\n    - {name:  X}   # x\n\n# end\n",
		podHead + "  containers:\n  - name: a\n    env:\n    - {name:  X}   # x\nENV4MOUNT4  volumes:\nITEM2\n# end\n",
	},
	{
		"several containers",
		podHead + "  containers:\n  - name: a\n  # second\n  - name: b\n    env:   []   # none\n  initContainers:\n" +
			"  -   name: c\n",
		podHead + "  containers:\n  - name: a\n    env:\nENV4MOUNT4  # second\n  - name: b\n    env:   # none\n" +
			"ENV4MOUNT4  initContainers:\n  -   name: c\n      env:\n" +
			indent("ENV4MOUNT4") + "  volumes:\nITEM2",
	},
	{
		"volumes",
		podHead + "  volumes:\n  # mine\n  - name: v\n    emptyDir: {}\n  containers:\n  - name: a\n    env:\n" +
			"    volumeMounts: ~\n",
		podHead + "  volumes:\nITEM2  # mine\n  - name: v\n    emptyDir: {}\n  containers:\n  - name: a\n    env:\n" +
			"ENV4MOUNT4",
	},
	{
		"texts",
		podHead + "  containers:\n  - name: a\n    args:\n    - |\n      ---\n      # no comment\n\n    - \"two\n" +
			"      lines\"\n  - name: b\n    command: [x,\n      y]\n    tail: |+\n      kept\n\n",
		podHead + "  containers:\n  - name: a\n    args:\n    - |\n      ---\n      # no comment\n\n    - \"two\n" +
			"      lines\"\n    env:\nENV4MOUNT4" +
			"  - name: b\n    command: [x,\n      y]\n    tail: |+\n      kept\n\n    env:\nENV4MOUNT4  volumes:\n" +
			"ITEM2",
	},
	{
		"no last line end", podHead + "  containers:\n  - name: a",
		podHead + "  containers:\n  - name: a\n    env:\nENV4MOUNT4  volumes:\nITEM2\b",
	},
	{
		"document end",
		"%YAML 1.1\n---\n" + podHead + "  containers:\n  - name: a\n... # over\n---\n",
		"%YAML 1.1\n---\n" + podHead + "  containers:\n  - name: a\n    env:\nENV4MOUNT4  volumes:\n" +
			"ITEM2... # over\n---\n",
	},
	{
		"byte order mark", "\uFEFF--- # x\n" + podHead + "  containers:\n  - name: é\n    env: [] \n",
		"\uFEFF--- # x\n" + podHead + "  containers:\n  - name: é\n    env: \nENV4MOUNT4  volumes:\nITEM2",
	},
	{
		"flow",
		"{kind: Pod, spec: {serviceAccountName: s, containers: [ {name: don't, args: ['}', \"]\\\"\"]}, # }\n" +
			" {name: b, env: [],} ] }}\n",
		"{kind: Pod, spec: {serviceAccountName: s, containers: [ {name: don't, args: ['}', \"]\\\"\"], env: FENV, " +
			"volumeMounts: FMOUNT}, # }\n" +
			" {name: b, env: FITEMS, volumeMounts: FMOUNT} ], volumes: [FVOLUME] }}\n",
	},
	{
		"flow with commas at the end",
		"{kind: Pod, spec: {serviceAccountName: s, containers: [{name: a,},],}}\n",
		"{kind: Pod, spec: {serviceAccountName: s, containers: [{name: a, env: FENV, volumeMounts: FMOUNT},], " +
			"volumes: [FVOLUME]}}\n",
	},
	{
		"flow over lines",
		"{\n  kind: Pod,\n  spec: {\n    serviceAccountName: s, # s\n    containers: [\n      {name: a}, # a\n" +
			"    ] # c\n  }\n}\n",
		"{\n  kind: Pod,\n  spec: {\n    serviceAccountName: s, # s\n    containers: [\n" +
			"      {name: a, env: FENV, volumeMounts: FMOUNT}, # a\n    ],\n" +
			"    volumes: [FVOLUME] # c\n  }\n}\n",
	},
	{
		"json over lines",
		"{\n    \"kind\": \"Pod\",\n    \"spec\": {\n        \"serviceAccountName\": \"s\",\n" +
			"        \"volumes\": [],\n        \"containers\": [\n            {\n" +
			"                \"name\": \"a\",\n                \"env\": [],\n" +
			"                \"volumeMounts\": [{\"name\": \"aws-iam-token\"}]\n            }\n" +
			"        ]\n    }\n}\n",
		`{
    "kind": "Pod",
    "spec": {
        "serviceAccountName": "s",
        "volumes": [
            {
                "name": "aws-iam-token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": "sts.amazonaws.com",
                                "expirationSeconds": 86400,
                                "path": "token"
                            }
                        }
                    ]
                }
            }
        ],
        "containers": [
            {
                "name": "a",
                "env": [
                    {
                        "name": "AWS_ROLE_ARN",
                        "value": "arn:aws:iam::111122223333:role/r"
                    },
                    {
                        "name": "AWS_WEB_IDENTITY_TOKEN_FILE",
                        "value": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
                    }
                ],
                "volumeMounts": [{"name": "aws-iam-token"}]
            }
        ]
    }
}
`,
	},
	{
		"flow in block",
		"kind: Pod\nspec: {serviceAccountName: s, volumes: [{name: v}], containers: [{name: a}]}\n",
		"kind: Pod\nspec: {serviceAccountName: s, volumes: [FVOLUME, {name: v}], containers: [{name: a, env: FENV, " +
			"volumeMounts: FMOUNT}]}\n",
	},
	{
		"json",
		`{"kind":"Pod","z":1.0,"a":123456789012345678901,"s":"\ud83d\ude00\/","spec":{"serviceAccountName":"s",` +
			`"volumes":null,"containers":[{"name":"a","volumeMounts":[]}]}}`,
		`{"kind":"Pod","z":1.0,"a":123456789012345678901,"s":"\ud83d\ude00\/","spec":{"serviceAccountName":"s",` +
			`"volumes":[JVOLUME],"containers":[{"name":"a","volumeMounts":[JMOUNT],"env":JENV}]}}`,
	},
	{
		"json in a row",
		`{"kind":"Service"} {"kind":"Pod","spec":{"serviceAccountName":"s","containers":[{"name":"a"}]}}` + "\n",
		`{"kind":"Service"} {"kind":"Pod","spec":{"serviceAccountName":"s","containers":[{"name":"a","env":JENV,` +
			`"volumeMounts":[JMOUNT]}],"volumes":[JVOLUME]}}` + "\n",
	},
}

// indent moves containers two to the right.
func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(marks.Replace(text)) {
		out.WriteString("  " + line)
	}
	return out.String()
}

func TestLayout(t *testing.T) {
	t.Parallel()
	for _, row := range layouts {
		want := marks.Replace(row.want)
		want = strings.ReplaceAll(want, "\n\b", "") // a mark's own line end is not wanted there
		for _, eol := range []string{"\n", "\r\n"} {
			text, want := strings.ReplaceAll(row.text, "\n", eol), strings.ReplaceAll(want, "\n", eol)
			got := injected(t, text)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, line ends %q (-want +got):\n%s", row.name, eol, diff)
			}
			if again := injected(t, got); again != got {
				t.Errorf("%s: a second run changes it (-once +twice):\n%s", row.name, cmp.Diff(got, again))
			}
		}
	}
}

// injected injects a text beside the account.
func injected(t *testing.T, text string) string {
	t.Helper()
	out, _, err := manifest.Inject([]manifest.Source{
		{Name: "p", Text: []byte(text)},
		{Name: "a", Text: []byte(account)},
	}, inject.Defaults())
	if err != nil {
		t.Fatalf("%s\n%s", err, text)
	}
	pods, found := strings.CutSuffix(string(out), account)
	if !found {
		t.Fatalf("the account is not at the end:\n%s", out)
	}
	pods = strings.TrimSuffix(pods, "---\n")
	if !strings.HasSuffix(text, "\n") {
		pods = strings.TrimSuffix(pods, "\n")
	}
	return pods
}

func TestConformanceChangesAsLittle(t *testing.T) {
	t.Parallel()
	text := podHead + "  containers:\n  - image: i # kept\n    name: a\n  - name: b\n    env:\n" +
		"    - name: AWS_ROLE_ARN\n      value: \"1.0\"\n"
	settings := inject.Defaults()
	settings.Conformance = true
	out, _, err := manifest.Inject([]manifest.Source{
		{Name: "a", Text: []byte(account)},
		{Name: "p", Text: []byte(text)},
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	want := account + "---\n" + marks.Replace(podHead+"  containers:\n  - image: i # kept\n    name: a\n    env:\n"+
		"ENV4MOUNT4  - name: b\n    env:\n    - name: AWS_ROLE_ARN\n      value: \"1.0\"\n"+
		"MOUNT4  volumes:\nITEM2")
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTextsThatLookLikeOthers(t *testing.T) {
	t.Parallel()
	for _, audience := range []string{
		"123", "yes", "n", "true", "null", "1:30", "a: b", "# x", "~", "-", "é\u2028", "\U0001F600",
	} {
		settings := inject.Defaults()
		settings.Audience = audience
		for _, pod := range []string{
			podHead + "  containers:\n  - name: a\n",
			"{kind: Pod, spec: {serviceAccountName: s, containers: [{name: a}]}}",
			`{"kind":"Pod","spec":{"serviceAccountName":"s","containers":[{"name":"a"}]}}`,
		} {
			out, _, err := manifest.Inject([]manifest.Source{
				{Name: "a", Text: []byte(account + "---\n")},
				{Name: "p", Text: []byte(pod)},
			}, settings)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Spec struct {
					Volumes []struct {
						Projected struct {
							Sources []struct{ ServiceAccountToken struct{ Audience string } }
						}
					}
				}
			}
			text := string(out)[strings.LastIndex(string(out), "---\n")+4:]
			if err := yaml.Unmarshal([]byte(text), &got); err != nil ||
				got.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience != audience {
				t.Errorf("%q became %+v, %v:\n%s", audience, got, err, text)
			}
		}
	}
}
