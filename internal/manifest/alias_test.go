package manifest_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
)

// aliases are documents in which pods share parts. The variable names of each
// container, in order, are what must come of them.
var aliases = []struct{ name, text, want string }{
	{
		"list used twice in a pod",
		podHead + "  containers:\n  - name: a\n    env: &e\n    - name: X\n  - name: b\n    env: *e\n",
		"a=X+ b=X+",
	},
	{
		"list used in a pod without a role",
		"kind: List\nitems:\n- kind: Pod\n  spec:\n    serviceAccountName: s\n    containers:\n    - name: a\n" +
			"      env: &e [{name: X}]\n" +
			"- kind: Pod\n  spec:\n    containers:\n    - {name: b, env: *e}\n    - name: c\n      env: *e\n",
		"a=X+ b=X c=X",
	},
	{
		"list from a pod without a role",
		"kind: List\nitems:\n- kind: Pod\n  spec:\n    containers:\n    - name: a\n      env: &e [{name: X}]\n" +
			"- kind: Pod\n  spec:\n    serviceAccountName: s\n    containers:\n    - {name: b, env: *e}\n",
		"a=X b=X+",
	},
	{
		"merged container",
		podHead + "  containers:\n  - &c\n    name: a\n    env:\n    - name: X\n  - <<: *c\n    name: b\n" +
			"  initContainers:\n  - <<: [*c]\n    name: c\n",
		"a=X+ b=X+ c=X+",
	},
	{
		"merged container without variables", podHead + "  x: &c {image: i}\n  containers:\n  - <<: *c\n    name: a\n",
		"a=+",
	},
	{
		"merged spec",
		"kind: List\nx: &p\n  serviceAccountName: s\n  containers:\n  - name: a\nitems:\n- kind: Pod\n  spec:\n" +
			"    <<: *p\n- kind: Pod\n  spec:\n    <<: *p\n    serviceAccountName: other\n",
		"a=+ a=",
	},
	{
		"merged metadata and service account",
		"x: &m {a: b}\ny: &s {serviceAccountName: s}\nkind: Pod\nspec:\n  <<: *s\n  containers:\n  - name: a\n",
		"a=+",
	},
	{
		"whole pod twice",
		"kind: List\nitems:\n- &p\n  kind: Pod\n  spec:\n    serviceAccountName: s\n    containers:\n" +
			"    - name: a\n- *p\n",
		"a=+ a=+",
	},
	{
		"anchor within what is copied",
		podHead + "  containers:\n  - &c\n    name: a\n    env: &e\n    - name: X\n  - *c\n  - name: d\n    env: *e\n",
		"a=X+ a=X+ d=X+",
	},
	{
		"anchor of one name twice",
		"kind: List\nx: &e [{name: X}]\nitems:\n- kind: Pod\n  spec:\n    serviceAccountName: s\n    containers:\n" +
			"    - {name: a, env: *e}\n- &e\n  kind: Pod\n" +
			"  spec: {serviceAccountName: s, containers: [{name: b}]}\n- *e\n",
		"a=X+ b=+ b=+",
	},
}

func TestAliases(t *testing.T) {
	t.Parallel()
	for _, row := range aliases {
		out := injected(t, row.text)
		if diff := cmp.Diff(row.want, variables(t, out)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s\n%s", row.name, diff, out)
		}
		if diff := cmp.Diff(strip(value(t, row.text)), strip(value(t, out))); diff != "" {
			t.Errorf("%s: something else changed (-want +got):\n%s\n%s", row.name, diff, out)
		}
		if again := injected(t, out); again != out {
			t.Errorf("%s: a second run changes it (-once +twice):\n%s", row.name, cmp.Diff(out, again))
		}
		if strings.Contains(out, "!!merge") {
			t.Errorf("%s: a tag that nobody wrote:\n%s", row.name, out)
		}
	}
}

func TestAnchorStays(t *testing.T) {
	t.Parallel()
	out := injected(t, "# head\n--- # x\nkind: List\nitems:\n- kind: Pod\n  spec:\n    serviceAccountName: s\n"+
		"    containers:\n    - name: a\n      env: &e\n      - name: X # why\n"+
		"- kind: Pod\n  spec:\n    containers:\n    - name: b\n      env: *e\n    - name: c\n      env: *e\n...\n")
	for _, want := range []string{
		"name: b\n      env: &e\n      - name: X", "name: c\n      env: *e\n", "# why", "\n...\n", "# head",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if strings.Count(out, "# x") != 1 || strings.Count(out, "# head") != 1 {
		t.Errorf("comments of the separator:\n%s", out)
	}
}

// Each map merges the one before twice: this ends only if they are not all
// looked at.
func TestMergesOfMerges(t *testing.T) {
	t.Parallel()
	text := "m0: &m0 {a: b}\n"
	for i := range 60 {
		text += strings.NewReplacer("NEW", strconv.Itoa(i+1), "OLD", strconv.Itoa(i)).
			Replace("mNEW: &mNEW {<<: [*mOLD, *mOLD]}\n")
	}
	out, outcomes := inject1(t, account, text+podHead+"  <<: *m60\n  containers:\n  - name: a\n")
	if !outcomes[0].Injected || !strings.Contains(out, "  <<: *m60\n") {
		t.Errorf("%+v\n%s", outcomes, out)
	}
}

func TestAliasesThatCannotBe(t *testing.T) {
	t.Parallel()
	laughs := "x: &a0 [l]\n"
	for i := range 9 {
		name := string(rune('0' + i))
		next := string(rune('1' + i))
		laughs += "y" + next + ": &a" + next + " [" + strings.Repeat("*a"+name+",", 10) + "]\n"
	}
	for _, row := range []struct{ name, text, want string }{
		{
			"cycle",
			"kind: Pod\nspec: &s\n  containers: [*s]\n",
			"f.yaml:3:16: not valid: the alias *s is part of what it refers to",
		},
		{"growth", account + "---\n" + laughs + podHead + "  x: *a9\n", "its aliases make it too large"},
		{
			"merge of a text",
			account + "---\n" + podHead + "  <<: no\n",
			"f.yaml:12:7: << merges maps, and this is not a map",
		},
	} {
		_, _, err := manifest.Inject([]manifest.Source{{Name: "f.yaml", Text: []byte(row.text)}}, inject.Defaults())
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

// value is what kubectl reads.
func value(t *testing.T, text string) any {
	t.Helper()
	var got any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%s\n%s", err, text)
	}
	return got
}

// variables names each container and its variables; + is an injected pair.
func variables(t *testing.T, text string) string {
	t.Helper()
	var found []string
	var walk func(any)
	walk = func(one any) {
		object, _ := one.(map[string]any)
		for _, item := range asList(object["items"]) {
			walk(item)
		}
		spec, _ := object["spec"].(map[string]any)
		for _, item := range append(asList(spec["containers"]), asList(spec["initContainers"])...) {
			container := item.(map[string]any)
			names := ""
			for _, variable := range asList(container["env"]) {
				names += variable.(map[string]any)["name"].(string)
			}
			found = append(
				found,
				container["name"].(string)+"="+strings.ReplaceAll(
					names, "AWS_ROLE_ARNAWS_WEB_IDENTITY_TOKEN_FILE", "+",
				),
			)
		}
	}
	walk(value(t, text))
	return strings.Join(found, " ")
}

func asList(value any) []any {
	list, _ := value.([]any)
	return list
}

// strip takes away what injection adds, wherever it is, and lists of nothing
// in its places.
func strip(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			value[name] = strip(inner)
			mayBeNew := name == "env" || name == "volumeMounts" || name == "volumes"
			if mayBeNew && (value[name] == nil || len(asList(value[name])) == 0) {
				delete(value, name)
			}
		}
	case []any:
		kept := []any{}
		for _, item := range value {
			name, _ := asMap(item)["name"].(string)
			if name != "AWS_ROLE_ARN" && name != "AWS_WEB_IDENTITY_TOKEN_FILE" && name != "aws-iam-token" {
				kept = append(kept, strip(item))
			}
		}
		return kept
	}
	return value
}

func asMap(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}
