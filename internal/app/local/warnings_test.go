package local

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/manifest"
	"github.com/rolecall/rolecall/internal/webhook"
)

// Parts that accounts, pods and containers are made of; the warnings that each must give
// beside a role are in TestWarnings.
var (
	accountAnnotations = []string{
		`"eks.amazonaws.com/role-arn":"arn:aws:iam::111122223333:role/app"`,
		`"eks.amazonaws.com/role-arn":"arn:aws:iam::111122223333:role/a/"`,
		`"eks.amazonaws.com/role-arn":" "`,
		`"eks.amazonaws.com/role_arn":"arn:aws:iam::111122223333:role/app"`,
		`"eks.amazon.com/role-arn":"app"`,
		`"eks.amazonaws.com/audience":"sts amazonaws com"`,
		`"eks.amazonaws.com/token-expiration":"1h"`,
		`"eks.amazonaws.com/region":"-"`,
		`"eks.amazonaws.com/role-session-name":"a b"`,
		`"example.com/owner":"team"`,
	}
	podAnnotations = []string{
		`"eks.amazonaws.com/role-arn":"arn:aws:iam::111122223333:role/other"`,
		`"eks.amazonaws.com/roleArn":"arn:aws:iam::111122223333:role/other"`,
		`"eks.amazonaws.com/skip-containers":"b"`,
		`"eks.amazonaws.com/token-expiration":"soon"`,
	}
	environments = []string{
		`{"name":"AWS_ROLE_ARN","value":"x"}`, `{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/x"}`,
		`{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"x"}`,
		`{"name":"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE","value":"/x"}`,
		`{"name":"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI","value":"x"}`,
		`{"name":"AWS_ACCESS_KEY_ID","valueFrom":{"secretKeyRef":{"name":"k","key":"id"}}}`,
		`{"name":"AWS_PROFILE","value":"dev"}`, `{"name":"AWS_CONFIG_FILE","value":"/c"}`,
		`{"name":"AWS_SHARED_CREDENTIALS_FILE","value":"/c"}`, `{"name":"AWS_EC2_METADATA_DISABLED","value":"true"}`,
		`{"name":"AWS_REGION","value":"eu-west-1"}`, `{"name":"PORT","value":"80"}`,
	}
	sources = []string{
		`{"secretRef":{"name":"aws-credentials"}}`, `{"configMapRef":{"name":"settings"}}`,
		`{"prefix":"AWS_","configMapRef":{"name":"x"}}`,
	}
)

func some(random *rand.Rand, from []string) string {
	var chosen []string
	for _, one := range from {
		if random.IntN(4) == 0 {
			chosen = append(chosen, one)
		}
	}
	return strings.Join(chosen, ",")
}

// warnings are those of a pod and its account by both ways.
func warnings(t *testing.T, account, pod string, associated, paused bool) (byFile, byWebhook []string) {
	t.Helper()
	text := `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"app","annotations":{` + account + `}}}` + "\n---\n"
	if associated {
		text += fmt.Sprintf(
			`{"apiVersion":"rolecall.io/v1alpha1","kind":"PodIdentityAssociation","metadata":{"name":"app"},`+
				`"spec":{"serviceAccountName":"app","roleARN":"arn:aws:iam::111122223333:role/app","paused":%t}}`,
			paused,
		) + "\n---\n"
	}
	settings := inject.Defaults()
	_, outcomes, err := manifest.Inject([]manifest.Source{{Name: "f", Text: []byte(text + pod)}}, settings)
	if err != nil || len(outcomes) != 1 {
		t.Fatalf("%v, %v\n%s", outcomes, err, text+pod)
	}
	var annotations map[string]string
	if err := json.Unmarshal([]byte("{"+account+"}"), &annotations); err != nil {
		t.Fatal(err)
	}
	config := webhook.Config{
		Settings: settings,
		ServiceAccounts: webhook.NewStatic(map[inject.Name]map[string]string{
			{Namespace: "default", ServiceAccount: "app"}: annotations,
		}, settings),
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	if associated {
		a := &v1alpha1.PodIdentityAssociation{
			Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: "app", Paused: paused},
		}
		a.Namespace, a.Name = "default", "app"
		config.Associations = webhook.EmbeddedAssociations(follow.Fixed[*association.Set]{
			Content: association.NewSet([]*v1alpha1.PodIdentityAssociation{a}),
		})
	}
	handler, err := webhook.New(config)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate", strings.NewReader(
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"default","operation":"CREATE",`+
			`"resource":{"version":"v1","resource":"pods"},"object":`+pod+`}}`,
	))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var review struct {
		Response struct {
			Warnings []string `json:"warnings"`
			Patch    []byte   `json:"patch"`
		} `json:"response"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil {
		t.Fatalf("%s: %v", recorder.Body, err)
	}
	if patched := len(review.Response.Patch) > 0; patched != outcomes[0].Injected {
		t.Errorf("injected by the webhook %t, in a file %t\n%s", patched, outcomes[0].Injected, text+pod)
	}
	return outcomes[0].Warnings, review.Response.Warnings
}

func podWith(annotations string, containers ...string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","annotations":{` + annotations + `}},` +
		`"spec":{"serviceAccountName":"app","containers":[` + strings.Join(containers, ",") + `]}}`
}

// TestSameWarnings: `inject -f` and the webhook say the same of the same pod.
func TestSameWarnings(t *testing.T) {
	t.Parallel()
	warned := 0
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		container := func(name string) string {
			return `{"name":"` + name + `","image":"i","env":[` + some(random, environments) + `],"envFrom":[` +
				some(random, sources) + `]}`
		}
		account := accountAnnotations[random.IntN(len(accountAnnotations))]
		if random.IntN(2) == 0 {
			account = some(random, slices.Delete(slices.Clone(accountAnnotations), 1, 3)) // one of each key
		}
		pod := podWith(some(random, podAnnotations), container("a"), container("b"))
		byFile, byWebhook := warnings(t, account, pod, random.IntN(3) == 0, random.IntN(2) == 0)
		if !slices.Equal(byFile, byWebhook) {
			t.Fatalf("seed %d: in a file\n%s\nby the webhook\n%s\n%s\n%s", seed, strings.Join(byFile, "\n"),
				strings.Join(byWebhook, "\n"), account, pod)
		}
		if len(byFile) > 0 {
			warned++
		}
	}
	if warned < 1000 {
		t.Errorf("only %d of 2000 pods give a warning", warned)
	}
}

// TestWarnings: each thing that keeps a pod or a container from its identity is said, by
// both.
func TestWarnings(t *testing.T) {
	t.Parallel()
	role := accountAnnotations[0]
	plain := `{"name":"a"}`
	env := func(text string) string { return `{"name":"a","env":[` + text + `]}` }
	for _, row := range []struct {
		name, account, pod string
		associated         bool
		want               string // in one warning; none if empty
	}{
		{"nothing", role, podWith("", plain), false, ""},
		{"nothing for us", `"a/b":"c"`, podWith("", plain), false, ""},
		{"role and no token file", role, podWith("", env(environments[0])), false, "sets AWS_ROLE_ARN itself and not AWS_WEB_IDENTITY_TOKEN_FILE"},
		{"token file and no role", role, podWith("", env(environments[1])), false, "sets AWS_WEB_IDENTITY_TOKEN_FILE itself and not AWS_ROLE_ARN"},
		{"both of its own", role, podWith("", env(environments[0]+","+environments[1])), false, ""},
		{"URI and no token file", "", podWith("", env(environments[2])), true, "sets AWS_CONTAINER_CREDENTIALS_FULL_URI itself and not"},
		{"token file and no URI", "", podWith("", env(environments[3])), true, "and not AWS_CONTAINER_CREDENTIALS_FULL_URI"},
		{"relative URI", "", podWith("", env(environments[4])), true, "RELATIVE_URI itself; SDKs use that"},
		{"static keys", role, podWith("", env(environments[5])), false, "AWS_ACCESS_KEY_ID itself; SDKs use these keys"},
		{"profile", role, podWith("", env(environments[6])), false, "AWS_PROFILE itself"},
		{"config file", role, podWith("", env(environments[7])), false, "AWS_CONFIG_FILE itself"},
		{"credentials file", role, podWith("", env(environments[8])), false, "AWS_SHARED_CREDENTIALS_FILE itself"},
		{"no metadata service", role, podWith("", env(environments[9])), false, "AWS_EC2_METADATA_DISABLED itself"},
		{"envFrom", role, podWith("", `{"name":"a","envFrom":[`+sources[0]+`]}`), false, `from Secret "aws-credentials"`},
		{"envFrom by prefix", role, podWith("", `{"name":"a","envFrom":[`+sources[2]+`]}`), false, `from ConfigMap "x"`},
		{"envFrom of others", role, podWith("", `{"name":"a","envFrom":[`+sources[1]+`]}`), false, ""},
		{"slash at the end", accountAnnotations[1], podWith("", plain), false, "no name follows the last slash"},
		{"blank role", accountAnnotations[2], podWith("", plain), false, "is not a role ARN"},
		{"underscore", accountAnnotations[3], podWith("", plain), false, "annotation eks.amazonaws.com/role_arn is not read"},
		{"another domain", accountAnnotations[4], podWith("", plain), false, "annotation eks.amazon.com/role-arn is not read"},
		{"no slash", `"eks.amazonaws.com.role-arn":"x"`, podWith("", plain), false, "eks.amazonaws.com.role-arn is not read"},
		{"no domain", `"role-arn":"x"`, podWith("", plain), false, "annotation role-arn is not read"},
		{"capitals", `"eks.amazonaws.com/Role-ARN":"x"`, podWith("", plain), false, "Role-ARN is not read"},
		{"anything with a role", `"a.com/assume":"arn:aws:iam::111122223333:role/app"`, podWith("", plain), false, "a.com/assume is not read"},
		{"beside the right one", role + `,` + accountAnnotations[4], podWith("", plain), false, ""},
		{"beside an association", accountAnnotations[4], podWith("", plain), true, ""},
		{"audience with blanks", role + `,` + accountAnnotations[5], podWith("", plain), false, "has blanks in it"},
		{"expiration", role + `,` + accountAnnotations[6], podWith("", plain), false, "is not a number of seconds"},
		{
			"short expiration", role + `,"eks.amazonaws.com/token-expiration":"60"`, podWith("", plain), false,
			"token-expiration 60 is below the least that API servers take; 600 is used",
		},
		{
			"short expiration of the pod", role, podWith(`"eks.amazonaws.com/token-expiration":"-1"`, plain), false,
			"token-expiration -1 is below the least that API servers take; 600 is used",
		},
		{"least expiration", role + `,"eks.amazonaws.com/token-expiration":"600"`, podWith("", plain), false, ""},
		{"region", role + `,` + accountAnnotations[7], podWith("", plain), false, "is not a region"},
		{"session name", role + `,` + accountAnnotations[8], podWith("", plain), false, "is not a session name"},
		{"on the pod", "", podWith(podAnnotations[0], plain), false, "it belongs on the service account"},
		{"on the pod too, another", role, podWith(podAnnotations[0], plain), false, "it belongs on the service account"},
		{"on the pod too, the same", role, podWith(role, plain), false, ""},
		{"nearly, on the pod", "", podWith(podAnnotations[1], plain), false, "roleArn is not read"},
	} {
		byFile, byWebhook := warnings(t, row.account, row.pod, row.associated, false)
		if !slices.Equal(byFile, byWebhook) {
			t.Errorf("%s: in a file %q, by the webhook %q", row.name, byFile, byWebhook)
		}
		said := slices.ContainsFunc(byFile, func(w string) bool { return strings.Contains(w, row.want) })
		if row.want == "" && len(byFile) > 0 || row.want != "" && !said {
			t.Errorf("%s: %q, want %q", row.name, byFile, row.want)
		}
	}
}

// TestNothingDeclared: a file in which nothing is for a plane is named, with what was
// looked at; others are not.
func TestNothingDeclared(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "looked at 0 objects in 1 file",
		"kind: Pod\n---\nkind: Pod\n":   "looked at 2 objects in 1 file",
		"kind: List\nitems: [{a: 1}]\n": "looked at 1 object in 1 file",
		"kind: ServiceAccount\n":        "",
		"apiVersion: rolecall.io/v1alpha1\nkind: PodIdentityAssociation\n": "",
		"apiVersion: other.io/v1\nkind: PodIdentityAssociation\n":          "looked at 1 object in 1 file",
	} {
		file := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stderr := &strings.Builder{}
		if err := nothingDeclared(cli.System{Stderr: stderr}, []string{file}); err != nil {
			t.Fatal(err)
		}
		said := stderr.String()
		if (said != "") != (want != "") || !strings.Contains(said, want) ||
			want != "" && !strings.Contains(said, file) {
			t.Errorf("%q: %q, want %q", text, said, want)
		}
	}
}
