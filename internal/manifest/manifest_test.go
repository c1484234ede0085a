package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

const account = `# who
apiVersion: v1
kind: ServiceAccount
metadata:
  name: s
  annotations:
    eks.amazonaws.com/role-arn: "arn:aws:iam::111122223333:role/r"
`

// kinds are the workloads, with what stands around the pod's spec.
var kinds = map[string]string{
	"Pod":                   "spec:\n%s",
	"Deployment":            "spec:\n  template:\n    spec:\n%s",
	"StatefulSet":           "spec:\n  template:\n    spec:\n%s",
	"DaemonSet":             "spec:\n  template:\n    spec:\n%s",
	"ReplicaSet":            "spec:\n  template:\n    spec:\n%s",
	"ReplicationController": "spec:\n  template:\n    spec:\n%s",
	"Job":                   "spec:\n  template:\n    spec:\n%s",
	"CronJob":               "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n%s",
	"PodTemplate":           "template:\n  spec:\n%s",
}

func workload(kind string) string {
	spec := `          # the account
          serviceAccountName: s
          containers:
          - name: a # first
            futureField: {x: [1, 2]}
`
	return fmt.Sprintf("kind: %s\nmetadata: {name: w}\n"+kinds[kind], kind, spec)
}

func inject1(t *testing.T, texts ...string) (string, []manifest.Outcome) {
	t.Helper()
	var sources []manifest.Source
	for i, text := range texts {
		sources = append(sources, manifest.Source{Name: fmt.Sprintf("f%d.yaml", i), Text: []byte(text)})
	}
	out, outcomes, err := manifest.Inject(sources, inject.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	return string(out), outcomes
}

func TestEveryKind(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		out, outcomes := inject1(t, account, workload(kind))
		if len(outcomes) != 1 || !outcomes[0].Injected || outcomes[0].Kind != kind {
			t.Errorf("%s: %+v", kind, outcomes)
		}
		for _, want := range []string{
			"# who", "# the account", "# first", "futureField: {x: [1, 2]}", "AWS_ROLE_ARN", "name: aws-iam-token",
			"expirationSeconds: 86400", "---",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: lacks %q:\n%s", kind, want, out)
			}
		}
		if again, outcomes := inject1(t, out); again != out || outcomes[0].Injected {
			t.Errorf("%s: a second run changes it", kind)
		}
	}
}

func TestUnchangedBytes(t *testing.T) {
	t.Parallel()
	odd := "\n# odd   spacing\r\nkind:    ConfigMap\ndata: {a:   'b'}\n...\n--- # separator\nkind: Pod\n" +
		"metadata: {name: p}\nspec:\n  serviceAccountName:   other\n"
	out, outcomes := inject1(t, odd)
	if diff := cmp.Diff(odd, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(outcomes) != 1 || outcomes[0].Injected ||
		!strings.Contains(outcomes[0].Reason, "default/other is not in these manifests") {
		t.Errorf("%+v", outcomes)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	list := "kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n" +
		"  spec: {serviceAccountName: s, containers: [{name: c}]}\n- kind: Service\n"
	out, outcomes := inject1(t, account, list)
	if len(outcomes) != 1 || !outcomes[0].Injected || !strings.Contains(out, "- kind: Service") {
		t.Errorf("%+v\n%s", outcomes, out)
	}
}

func TestJSONStaysJSON(t *testing.T) {
	t.Parallel()
	out, _ := inject1(t, `{"kind":"Pod","metadata":{"name":"p"},"spec":{"serviceAccountName":"s",`+
		`"containers":[{"name":"a","x":12345678901234}]}}`, account)
	if !strings.HasPrefix(out, `{"kind":"Pod"`) || !strings.Contains(out, "12345678901234") ||
		!strings.Contains(out, `"AWS_ROLE_ARN"`) {
		t.Errorf("%s", out)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"indentation", "a: b\n---\nkind: Pod\n  bad: x\n", "f.yaml:4: not valid YAML"},
		{"tab", "a:\n\t- b\n", "f.yaml:2:1: not valid YAML: a tab in the indentation"},
		{
			"annotation a number",
			"kind: ServiceAccount\nmetadata:\n  name: s\n  annotations:\n    x: 86400\n",
			`f.yaml:5:8: annotation "x" must be a string; put it in quotes`,
		},
		{
			"annotations a list",
			"kind: ServiceAccount\nmetadata:\n  name: s\n  annotations: []\n",
			"f.yaml:4:16: metadata.annotations must be a map",
		},
		{
			"account without name",
			"a: 1\n---\nkind: ServiceAccount\n",
			"f.yaml:3:1: a ServiceAccount without metadata.name",
		},
		{"no pod", "kind: Deployment\nmetadata: {name: d}\n", `Deployment "d" has no pod: want spec.template.spec`},
		{"containers a text", account + "---\nkind: Pod\nspec: {serviceAccountName: s, containers: x}\n", "decode pod"},
	} {
		out, _, err := manifest.Inject([]manifest.Source{{Name: "f.yaml", Text: []byte(row.text)}}, inject.Defaults())
		if err == nil || !strings.Contains(err.Error(), row.want) || fault.KindOf(err) != fault.Invalid ||
			len(out) != 0 {
			t.Errorf("%s: %q, error %v, want %q", row.name, out, err, row.want)
		}
	}
	if _, err := manifest.ReadFiles("does-not-exist"); fault.KindOf(err) != fault.NotFound ||
		len(fault.HintsOf(err)) == 0 {
		t.Errorf("missing file: %v", err)
	}
}
