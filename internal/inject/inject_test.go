package inject_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/rolecall/rolecall/internal/inject"
)

const role = "arn:aws:iam::111122223333:role/r"

// golden is a row of spec webhook §15: what is put in, and the result in its
// notation: V(audience,expiration) volume, a{RA,TF,m} container, +list and +0.
type golden struct {
	name     string
	account  map[string]string // annotations without prefix; nil is role only
	meta     string            // members of metadata
	spec     string            // members of spec besides containers; may hold its own containers
	a        string            // members of container a
	settings func(*inject.Settings)
	want     string
}

var goldens = []golden{
	{name: "1 base", want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "3 no annotations", account: map[string]string{}, want: "none"},
	{name: "4 empty role", account: map[string]string{"role-arn": ""}, want: "none"},
	{name: "5 junk role", account: map[string]string{"role-arn": "junk"}, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "7 region and STS", settings: func(s *inject.Settings) { s.Region, s.RegionalSTS = "eu-west-1", true }, want: "+list V(sts.amazonaws.com,86400) a{S,DR,RG,RA,TF,m}"},
	{name: "8 invalid bool", account: map[string]string{"role-arn": role, "sts-regional-endpoints": "yes"}, settings: func(s *inject.Settings) { s.RegionalSTS = true }, want: "+list V(sts.amazonaws.com,86400) a{S,RA,TF,m}"},
	{name: "9 F", account: map[string]string{"role-arn": role, "sts-regional-endpoints": "F"}, settings: func(s *inject.Settings) { s.RegionalSTS = true }, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "10 empty volumes", spec: `"volumes":[]`, want: "+0 V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "11 null volumes", spec: `"volumes":null`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "12 a volume", spec: `"volumes":[{"name":"v","emptyDir":{}}]`, want: "+0 V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "13 foreign volume", spec: `"volumes":[{"name":"aws-iam-token","emptyDir":{}}]`, want: "a{RA,TF,m}"},
	{name: "14 foreign mount", spec: `"volumes":[{"name":"v","emptyDir":{}}]`, a: `"volumeMounts":[{"name":"v","mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"}]`, want: "+0 V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "15 own token file", a: `"env":[{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/x"}]`, want: "+list V(sts.amazonaws.com,86400) a{m}"},
	{name: "16 has all", settings: func(s *inject.Settings) { s.Region, s.RegionalSTS = "r", true }, a: `"env":[{"name":"AWS_ROLE_ARN","value":"x"},{"name":"AWS_DEFAULT_REGION","value":"x"},{"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"legacy"}]`, want: "+list V(sts.amazonaws.com,86400) a{-}"},
	{name: "17 role and region", settings: func(s *inject.Settings) { s.Region = "r" }, a: `"env":[{"name":"AWS_ROLE_ARN","value":"x"},{"name":"AWS_REGION","value":"x"}]`, want: "+list V(sts.amazonaws.com,86400) a{m}"},
	{name: "18 region by valueFrom", settings: func(s *inject.Settings) { s.Region = "r" }, a: `"env":[{"name":"AWS_REGION","valueFrom":{"fieldRef":{"fieldPath":"x"}}}]`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "19 region by envFrom", settings: func(s *inject.Settings) { s.Region = "eu-west-1" }, a: `"envFrom":[{"configMapRef":{"name":"x"}}]`, want: "+list V(sts.amazonaws.com,86400) a{DR,RG,RA,TF,m}"},
	{name: "20 static key", a: `"env":[{"name":"AWS_ACCESS_KEY_ID","value":"x"}]`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "21 skip a", meta: skip("a"), spec: twoContainers, want: "+list V(sts.amazonaws.com,86400) a{-} b{RA,TF,m}"},
	{name: "22 no trimming", meta: skip("a, b"), spec: twoContainers, want: "+list V(sts.amazonaws.com,86400) a{-} b{RA,TF,m}"},
	{name: "23 case", meta: skip("A"), want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "24 parse error", meta: skip(`a"b,a`), want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "25 quoted", meta: skip(`"a"`), want: "+list V(sts.amazonaws.com,86400) a{-}"},
	{name: "26 second line", meta: skip("z\na"), want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "27 blank first line", meta: skip("\na"), want: "+list V(sts.amazonaws.com,86400) a{-}"},
	{name: "28 skip on the account", account: map[string]string{"role-arn": role, "skip-containers": "a"}, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "29 role on the pod", account: map[string]string{}, meta: `"annotations":{"eks.amazonaws.com/role-arn":"` + role + `"}`, want: "none"},
	{name: "30 pod wins", account: expires("7200"), meta: podExpires("900"), want: "+list V(sts.amazonaws.com,900) a{RA,TF,m}"},
	{name: "31 pod invalid", account: expires("7200"), meta: podExpires("1h"), want: "+list V(sts.amazonaws.com,7200) a{RA,TF,m}"},
	{name: "32 clamp", meta: podExpires("-5"), want: "+list V(sts.amazonaws.com,600) a{RA,TF,m}"},
	{name: "33 no upper clamp", meta: podExpires("4294967297"), want: "+list V(sts.amazonaws.com,4294967297) a{RA,TF,m}"},
	{name: "36 audience", account: map[string]string{"role-arn": role, "audience": "foo"}, want: "+list V(foo,86400) a{RA,TF,m}"},
	{name: "37 empty audience", account: map[string]string{"role-arn": role, "audience": ""}, want: "+list V(,86400) a{RA,TF,m}"},
	{
		name: "38 init, sidecar, ephemeral", spec: `"containers":[{"name":"a","image":"i"}],"initContainers":[{"name":"i1","image":"i"},{"name":"sc","image":"i","restartPolicy":"Always"}],"ephemeralContainers":[{"name":"dbg"}]`,
		want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m} i1{RA,TF,m} sc{RA,TF,m}",
	},
	{name: "39 windows", spec: `"nodeSelector":{"kubernetes.io/os":"windows"}`, want: `+list V(sts.amazonaws.com,86400) a{RA,TF=C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token,m}`},
	{name: "40 windows, old label", spec: `"nodeSelector":{"kubernetes.io/os":"linux","beta.kubernetes.io/os":"windows"}`, want: `+list V(sts.amazonaws.com,86400) a{RA,TF=C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token,m}`},
	{name: "41 os.name is not looked at", spec: `"os":{"name":"windows"}`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "42 hostNetwork", spec: `"hostNetwork":true`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "45 mount path with slash", settings: func(s *inject.Settings) { s.MountPath = "/tok/" }, want: "+list V(sts.amazonaws.com,86400) a{RA,TF=/tok/token,m=/tok/}"},
	{name: "46 unknown member", a: `"futureField":{"x":[1]}`, want: "+list V(sts.amazonaws.com,86400) a{RA,TF,m}"},
	{name: "48 no containers", spec: `"containers":null`, want: "+list V(sts.amazonaws.com,86400)"},
}

const twoContainers = `"containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]`

func skip(names string) string {
	return fmt.Sprintf(`"annotations":{"eks.amazonaws.com/skip-containers":%q}`, names)
}

func podExpires(text string) string {
	return fmt.Sprintf(`"annotations":{"eks.amazonaws.com/token-expiration":%q}`, text)
}

func expires(text string) map[string]string {
	return map[string]string{"role-arn": role, "token-expiration": text}
}

func (g *golden) pod() []byte {
	spec := g.spec
	if !strings.Contains(spec, `"containers"`) {
		a := `{"name":"a","image":"i"`
		if g.a != "" {
			a += "," + g.a
		}
		spec = strings.Trim(spec+`,"containers":[`+a+`}]`, ",")
	}
	return []byte(`{"metadata":{"name":"p",` + strings.TrimPrefix(g.meta+`,"x":1`, ",") + `},"spec":{"serviceAccountName":"s",` + spec + `}}`)
}

func (g *golden) annotations(settings inject.Settings) map[string]string {
	if g.account == nil {
		return map[string]string{settings.Prefix + "/role-arn": role}
	}
	annotations := map[string]string{}
	for name, text := range g.account {
		annotations[settings.Prefix+"/"+name] = text
	}
	return annotations
}

func (g *golden) run(t *testing.T, conformance bool) (pod []byte, result *inject.Result, settings inject.Settings) {
	t.Helper()
	settings = inject.Defaults()
	settings.Conformance = conformance
	if g.settings != nil {
		g.settings(&settings)
	}
	result, err := inject.Pod(g.pod(), inject.ReadAccount(g.annotations(settings), settings), settings)
	if err != nil {
		t.Fatalf("%s: %v", g.name, err)
	}
	return g.pod(), result, settings
}

// TestGoldenConformance holds us to the reference's results, quirks included.
func TestGoldenConformance(t *testing.T) {
	t.Parallel()
	for _, g := range goldens {
		pod, result, settings := g.run(t, true)
		if got := describe(t, pod, result, settings); got != g.want {
			t.Errorf("%s:\n got %s\nwant %s", g.name, got, g.want)
		}
	}
}

// TestSurgicalAgrees: but for the quirks that are mended, the default mode makes
// the same pod.
func TestSurgicalAgrees(t *testing.T) {
	t.Parallel()
	mended := map[string]string{
		"13 foreign volume":           "none",
		"14 foreign mount":            "+0 V(sts.amazonaws.com,86400) a{RA,TF}",
		"16 has all":                  "+list V(sts.amazonaws.com,86400) a{m}",
		"22 no trimming":              "none",
		"25 quoted":                   "none",
		"27 blank first line":         "none",
		"41 os.name is not looked at": `+list V(sts.amazonaws.com,86400) a{RA,TF=C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token,m}`,
		"48 no containers":            "none",
	}
	for _, g := range goldens {
		pod, result, settings := g.run(t, false)
		want := g.want
		if other, found := mended[g.name]; found {
			want = other
		}
		if g.name == "14 foreign mount" {
			want = "a{RA,TF}" // nobody would use the volume
		}
		if got := describe(t, pod, result, settings); got != want {
			t.Errorf("%s:\n got %s\nwant %s", g.name, got, want)
		}
	}
}

// TestTwiceIsOnce is row 73.
func TestTwiceIsOnce(t *testing.T) {
	t.Parallel()
	for _, g := range goldens {
		pod, first, settings := g.run(t, false)
		again, err := inject.Pod(apply(t, pod, first), inject.ReadAccount(g.annotations(settings), settings), settings)
		if err != nil {
			t.Fatal(err)
		}
		if len(first.Patch) > 0 && len(again.Patch) != 0 {
			t.Errorf("%s: a second run changes %v", g.name, again.Patch)
		}
	}
}

func TestExpirationValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"3600": 3600, "599": 600, "0": 600, "-1": 600, "+700": 700,
		" 700": 86400, "700s": 86400, "1e3": 86400, "0x400": 86400, "3_600": 86400, "": 86400, "99999999999999999999": 86400,
	} {
		account := inject.ReadAccount(map[string]string{"eks.amazonaws.com/role-arn": role, "eks.amazonaws.com/token-expiration": text}, inject.Defaults())
		if account.Expiration != want || (want == 86400) != (len(account.Warnings) == 1) {
			t.Errorf("%q: %d with warnings %q, want %d", text, account.Expiration, account.Warnings, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		g    golden
		want string
	}{
		{golden{account: map[string]string{"role-arn": "junk"}}, `role-arn "junk" is no role's ARN`},
		{golden{meta: skip(`a"b`)}, "cannot be read"},
		{golden{meta: podExpires("soon")}, "no number of seconds"},
		{goldens[10], "holds no service-account token"},
	} {
		_, result, _ := row.g.run(t, false)
		if !strings.Contains(strings.Join(result.Warnings, "\n"), row.want) {
			t.Errorf("warnings %q lack %q", result.Warnings, row.want)
		}
	}
}

func TestSkipLabel(t *testing.T) {
	t.Parallel()
	g := golden{meta: `"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":""}`}
	if _, result, _ := g.run(t, false); len(result.Patch) != 0 {
		t.Errorf("patched: %v", result.Patch)
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	g := golden{
		meta:     `"annotations":{"x.io/token-expiration":"1000","eks.amazonaws.com/skip-containers":"a"}`,
		settings: func(s *inject.Settings) { s.Prefix = "x.io" },
	}
	pod, result, settings := g.run(t, true)
	if got, want := describe(t, pod, result, settings), "+list V(sts.amazonaws.com,1000) a{RA,TF,m}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzPod(f *testing.F) {
	for _, g := range goldens {
		f.Add(g.pod())
	}
	f.Fuzz(func(t *testing.T, pod []byte) {
		result, err := inject.Pod(pod, inject.Account{Role: role, Audience: "x", Expiration: 600}, inject.Defaults())
		if err == nil && len(result.Patch) > 0 {
			apply(t, pod, result)
		}
	})
}

func BenchmarkPod(b *testing.B) {
	pod := goldens[0].pod()
	account := inject.ReadAccount(map[string]string{"eks.amazonaws.com/role-arn": role}, inject.Defaults())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inject.Pod(pod, account, inject.Defaults()); err != nil {
			b.Fatal(err)
		}
	}
}

func apply(t *testing.T, pod []byte, result *inject.Result) []byte {
	t.Helper()
	if len(result.Patch) == 0 {
		return pod
	}
	text, err := json.Marshal(result.Patch)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(pod)
	if err != nil {
		t.Fatalf("apply %s to %s: %v", text, pod, err)
	}
	return patched
}

type anyContainer map[string]any

// describe puts a result into the notation of the golden table, and checks that
// nothing else of the pod has changed.
func describe(t *testing.T, pod []byte, result *inject.Result, settings inject.Settings) string {
	t.Helper()
	if len(result.Patch) == 0 {
		return "none"
	}
	var words []string
	var before, after struct {
		Spec map[string]any
	}
	for text, into := range map[string]any{string(pod): &before, string(apply(t, pod, result)): &after} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, op := range result.Patch {
		switch op.Path {
		case "/spec/volumes":
			words = append(words, "+list")
		case "/spec/volumes/0":
			words = append(words, "+0")
		}
	}
	if len(words) > 0 {
		volume := after.Spec["volumes"].([]any)[0].(map[string]any)
		source := volume["projected"].(map[string]any)["sources"].([]any)[0].(map[string]any)["serviceAccountToken"].(map[string]any)
		audience, _ := source["audience"].(string)
		words = append(words, fmt.Sprintf("V(%s,%.0f)", audience, source["expirationSeconds"]))
		if volume["name"] != "aws-iam-token" || source["path"] != "token" {
			t.Errorf("volume %v", volume)
		}
	}
	for _, list := range []string{"containers", "initContainers"} {
		old, _ := before.Spec[list].([]any)
		now, _ := after.Spec[list].([]any)
		for i := range old {
			words = append(words, describeContainer(t, old[i].(map[string]any), now[i].(map[string]any), settings))
		}
	}
	if diff := cmp.Diff(before.Spec["ephemeralContainers"], after.Spec["ephemeralContainers"]); diff != "" {
		t.Errorf("ephemeral containers changed: %s", diff)
	}
	return strings.Join(words, " ")
}

func describeContainer(t *testing.T, before, after anyContainer, settings inject.Settings) string {
	t.Helper()
	oldEnv, _ := before["env"].([]any)
	env, _ := after["env"].([]any)
	if diff := cmp.Diff(oldEnv, env[:len(oldEnv)]); diff != "" && len(oldEnv) > 0 {
		t.Errorf("variables that were there changed: %s", diff)
	}
	var words []string
	short := map[string]string{
		"AWS_STS_REGIONAL_ENDPOINTS=regional": "S", "AWS_DEFAULT_REGION=" + settings.Region: "DR", "AWS_REGION=" + settings.Region: "RG",
		"AWS_ROLE_ARN=" + role: "RA", "AWS_ROLE_ARN=junk": "RA",
		"AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token": "TF",
	}
	for _, one := range env[len(oldEnv):] {
		variable := one.(map[string]any)
		text := variable["name"].(string) + "=" + variable["value"].(string)
		if word, found := short[text]; found {
			words = append(words, word)
		} else {
			words = append(words, strings.Replace(text, "AWS_WEB_IDENTITY_TOKEN_FILE", "TF", 1))
		}
	}
	oldMounts, _ := before["volumeMounts"].([]any)
	mounts, _ := after["volumeMounts"].([]any)
	for _, one := range mounts[len(oldMounts):] {
		mount := one.(map[string]any)
		switch {
		case mount["name"] != "aws-iam-token" || mount["readOnly"] != true:
			t.Errorf("mount %v", mount)
		case mount["mountPath"] == "/var/run/secrets/eks.amazonaws.com/serviceaccount":
			words = append(words, "m")
		default:
			words = append(words, fmt.Sprint("m=", mount["mountPath"]))
		}
	}
	for _, changed := range []string{"env", "volumeMounts"} {
		delete(before, changed)
		delete(after, changed)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other members changed: %s", diff)
	}
	if words == nil {
		words = []string{"-"}
	}
	return before["name"].(string) + "{" + strings.Join(words, ",") + "}"
}
