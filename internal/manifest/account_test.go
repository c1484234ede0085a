package manifest_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// accountOf is an account with a role of its own name.
func accountOf(namespace, name, role string) string {
	return "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  namespace: " + namespace + "\n  name: " + name +
		"\n  annotations:\n    eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/" + role + "\n---\n"
}

func TestWhichAccount(t *testing.T) {
	t.Parallel()
	accounts := accountOf("default", "default", "d") + accountOf("default", "s", "s") + accountOf("other", "s", "o")
	for _, row := range []struct{ name, pod, role string }{
		{"name", "metadata: {name: p}\nspec: {serviceAccountName: s, containers: [{name: a}]}\n", "role/s"},
		{"none", "spec: {containers: [{name: a}]}\n", "role/d"},
		{"null", "spec: {serviceAccountName: null, containers: [{name: a}]}\n", "role/d"},
		{"old field", "spec: {serviceAccount: s, containers: [{name: a}]}\n", "role/s"},
		{
			"old field and empty",
			"spec: {serviceAccountName: '', serviceAccount: s, containers: [{name: a}]}\n",
			"role/s",
		},
		{"both", "spec: {serviceAccountName: s, serviceAccount: t, containers: [{name: a}]}\n", "role/s"},
		{"both, unknown first", "spec: {serviceAccountName: t, serviceAccount: s, containers: [{name: a}]}\n", ""},
		{
			"namespace",
			"metadata: {namespace: other}\nspec: {serviceAccountName: s, containers: [{name: a}]}\n",
			"role/o",
		},
		{
			"namespace without the account",
			"metadata: {namespace: third}\nspec: {serviceAccountName: s, containers: [{name: a}]}\n",
			"",
		},
		{
			"namespace null",
			"metadata: {namespace: ~}\nspec: {serviceAccountName: s, containers: [{name: a}]}\n",
			"role/s",
		},
	} {
		out, outcomes := inject1(t, accounts, "kind: Pod\n"+row.pod)
		got := ""
		if _, after, found := strings.Cut(out, "AWS_ROLE_ARN"); found {
			got, _, _ = strings.Cut(after[strings.Index(after, "role/"):], `"`)
			got, _, _ = strings.Cut(got, "\n")
		}
		if got != row.role || outcomes[0].Injected != (row.role != "") {
			t.Errorf("%s: got %q, want %q: %+v", row.name, got, row.role, outcomes)
		}
	}
}

func TestAccountTwice(t *testing.T) {
	t.Parallel()
	pod := "kind: Pod\nmetadata: {generateName: job-}\nspec: {serviceAccountName: s, containers: [{name: a}]}\n"
	out, outcomes := inject1(t, pod, accountOf("default", "s", "first"), accountOf("default", "s", "last"))
	want := "service account default/s is at f1.yaml:1 and at f2.yaml:1, with different annotations; the last one wins"
	if outcome := outcomes[0]; !strings.Contains(out, `"arn:aws:iam::111122223333:role/last"`) ||
		outcome.Name != "job-" ||
		len(outcome.Warnings) != 1 ||
		outcome.Warnings[0] != want {
		t.Errorf("%+v\n%s", outcome, out)
	}
	if _, outcomes := inject1(t, pod, account, account); len(outcomes[0].Warnings) > 0 {
		t.Errorf("the same account twice: %+v", outcomes[0])
	}
}

// Annotations as kubectl reads them, which is YAML 1.1: the API server refuses
// what is not a string there.
func TestAnnotationsAreTexts(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`"86400"`:        "",
		`'86400'`:        "",
		"x":              "",
		"2026-01-02":     "",
		"":               "",
		"~":              "",
		"|\n      86400": "",
		`"yes"`:          "",
		"!!str 86400":    "",
		"1h":             "",
		"86400":          "7:8",
		"1e3":            "7:8",
		"true":           "7:8",
		"yes":            "7:8",
		"off":            "7:8",
		"[a]":            "7:8",
		"{a: b}":         "7:8",
		"0x10":           "7:8",
	} {
		for _, text := range []string{
			"kind: ServiceAccount\nmetadata:\n  # x\n\n  name: t\n  annotations:\n    x: " + value + "\n",
			"kind: Pod\nspec: {serviceAccountName: s}\n# x\nmetadata:\n  annotations:\n    x: " + value + "\n",
			"kind: Pod\nspec: {serviceAccountName: s}\n# x\nmetadata:\n  labels:\n    x: " + value + "\n",
		} {
			_, _, err := manifest.Inject([]manifest.Source{
				{Name: "a", Text: []byte(account)},
				{Name: "f.yaml", Text: []byte(text)},
			}, inject.Defaults())
			place := want
			if strings.HasPrefix(text, "kind: Pod") && want != "" {
				place = "6:8"
			}
			switch {
			case want == "" && err != nil:
				t.Errorf("%s is refused: %v", value, err)
			case want != "" && (err == nil ||
				!strings.HasPrefix(err.Error(), "f.yaml:"+place+": ") ||
				!strings.Contains(err.Error(), `"x" must be a string; put it in quotes`)):
				t.Errorf("%s at %s: %v", value, place, err)
			}
		}
	}
}

func TestUnusualInput(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":            "",
		"empty lines":        "\n\n",
		"comments":           "# a\n# b\n",
		"comments between":   "# a\n---\n# b\n--- # c\n---\n",
		"null":               "null\n",
		"a text":             "just text\n",
		"a list":             "- kind: Pod\n",
		"list of nothing":    "kind: List\nitems: null\n",
		"list without items": "apiVersion: v1\nkind: List\n",
		"list of mixed":      "kind: List\nitems: [{kind: Service}, null, 1, [a], {kind: ConfigMap}]\n",
		"windows": "--- # x\r\nkind: ConfigMap\r\ndata:\r\n  a: |\r\n    x\r\n    --- \r\n---\r\n" +
			"kind: Service\r\n",
		"tabs":                 "kind:\tConfigMap\t# x\ndata: {\ta:\tb }\n",
		"mark":                 "\uFEFFkind: ConfigMap\n",
		"mark and separator":   "\uFEFF---\nkind: ConfigMap\n---\nkind: Service",
		"end and no separator": "kind: ConfigMap\n...\nkind: Service\n... # end\n# after\n",
		"end and separator":    "kind: ConfigMap\n...\n---\nkind: Service\n...\n",
		"directive":            "# a\n%YAML 1.1\n# b\n---\nkind: ConfigMap\n",
		"content on separator": "--- {kind: ConfigMap}\n--- |\n text\n",
		"block scalar":         "kind: ConfigMap\ndata:\n  a: |\n    ---\n    kind: Pod\n    ...\n  b: >-\n    --- x\n",
		"json":                 "{\"kind\":\"ConfigMap\",\"x\":[1.0,\"\\ud83d\\ude00\"]}\n{\"kind\":\"Service\"}",
		"json with tabs":       "\t{\n\t\t\"kind\": \"ConfigMap\"\n\t}\n",
		"json and yaml":        "{\"kind\":\"ConfigMap\"}\n---\nkind: Service\n--- \n{\"kind\":\"Service\"}\n",
		"keys twice":           "kind: ConfigMap\ndata: {a: b, a: c}\n",
		"another's Job":        "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {tasks: []}\n",
		"another's account":    "apiVersion: example.com/v1\nkind: ServiceAccount\n",
		"no such account":      "kind: Pod\nspec: {serviceAccountName: x, containers: [{name: a, name: b}]}\n",
		"no role": "kind: ServiceAccount\nmetadata: {name: n}\n---\nkind: Pod\n" +
			"spec:   {serviceAccountName: n, x: 1.0, x: .nan}",
		"aliases of nothing": "kind: ConfigMap\ndata: &a {a: b}\nx: *a\ny: {<<: *a}\n",
	} {
		out, _, err := manifest.Inject([]manifest.Source{{Name: "f.yaml", Text: []byte(text)}}, inject.Defaults())
		if err != nil || string(out) != text {
			t.Errorf("%s: %q became %q, %v", name, text, out, err)
		}
	}
}

func TestInvalidInput(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{
			"key twice",
			account + "---\n" + podHead + "  containers:\n  - name: a\n    env: []\n    env: []\n",
			`f.yaml:15:5: duplicate key "env", first on line 14`,
		},
		{
			"key twice in JSON",
			`{"kind":"ServiceAccount","metadata":{"name":"a","name":"b"}}`,
			`f.yaml:1:49: duplicate key "name", first on line 1`,
		},
		{
			"key twice in an account",
			"kind: ServiceAccount\nmetadata: {name: a, name: b}\n",
			`f.yaml:2:21: duplicate key "name", first on line 2`,
		},
		{
			"JSON number",
			"{}\n{\"kind\":\"ServiceAccount\",\n\"metadata\":{\"name\":\"a\",\"annotations\":{\n\t\"é\":86400}}}",
			`f.yaml:4:6: annotation "é" must be a string`,
		},
		{"spec null", "a: b\n---\n# x\nkind: Pod\nspec:\n", `f.yaml:4:1: Pod "" has no pod: want spec`},
		{
			"tab",
			"a: b\n---\nkind: Pod\nspec:\n  a: b\n\tc: d\n",
			"f.yaml:6:1: not valid YAML: a tab in the indentation, want spaces",
		},
		{"UTF-16", "\xff\xfek\x00", "f.yaml:1:1: the text is UTF-16, want UTF-8"},
		{"JSON broken off", "{\"kind\": \"Pod\",\n", "f.yaml:"},
	} {
		out, _, err := manifest.Inject([]manifest.Source{{Name: "f.yaml", Text: []byte(row.text)}}, inject.Defaults())
		if err == nil || !strings.HasPrefix(err.Error(), row.want) || fault.KindOf(err) != fault.Invalid ||
			len(out) != 0 {
			t.Errorf("%s: %q, error %v, want %q", row.name, out, err, row.want)
		}
	}
}
