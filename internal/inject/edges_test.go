package inject_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// TestOnlyTheWholePrefixCounts: an annotation whose name merely begins like ours,
// or has its slash in the same place, is somebody else's.
func TestOnlyTheWholePrefixCounts(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"eks.amazonaws.com", "eks.amazonaws.com-role-arn", "xks.amazonaws.com/role-arn",
		"eks.amazonaws.co/role-arn", "eks.amazonaws.comm/role-arn",
	} {
		if account := inject.ReadAccount(map[string]string{key: role}, inject.Defaults()); account.Role != "" {
			t.Errorf("%s gives the role %s", key, account.Role)
		}
	}
}

// TestKnownAccounts: an account is missing if no source has it, and has an identity
// if any of them gives one.
func TestKnownAccounts(t *testing.T) {
	t.Parallel()
	with, without := &inject.Account{Role: role}, &inject.Account{}
	for _, row := range []struct {
		name                 string
		known                inject.Known
		missing, hasIdentity bool
	}{
		{"nothing known", inject.Known{}, true, false},
		{"an account without a role", inject.Known{Account: without}, false, false},
		{"an account with a role", inject.Known{Account: with}, false, true},
		{"an entry without a role", inject.Known{Config: without}, false, false},
		{"an entry with a role", inject.Known{Config: with}, false, true},
		{"both, and no role", inject.Known{Account: without, Config: without}, false, false},
		{"both, and the entry's role", inject.Known{Account: without, Config: with}, false, true},
		{"Pod Identity alone", inject.Known{PodIdentity: true}, true, true},
		{"Pod Identity and an account without a role", inject.Known{PodIdentity: true, Account: without}, false, true},
	} {
		settings := inject.Defaults()
		chosen := inject.Choose(row.known, &settings)
		if got := row.known.Missing(); got != row.missing {
			t.Errorf("%s: missing %t", row.name, got)
		}
		if got := row.known.HasIdentity(); got != row.hasIdentity || got != (chosen.Role != "" || chosen.Container) {
			t.Errorf("%s: has an identity: %t, and %+v is chosen", row.name, got, chosen)
		}
	}
}

// TestRolesOfConfig: only what is not a role is reported.
func TestRolesOfConfig(t *testing.T) {
	t.Parallel()
	for text, malformed := range map[string]bool{role: false, "": false, "junk": true} {
		document := fmt.Sprintf(`{"n/s":{"RoleARN":%q}}`, text)
		config, _, err := inject.ParseConfig([]byte(document), inject.Defaults())
		if err != nil {
			t.Fatal(err)
		}
		account, _ := config.Find(inject.Name{Namespace: "n", ServiceAccount: "s"})
		if account == nil || account.Malformed != malformed || (len(account.Warnings) > 0) != malformed {
			t.Errorf("role %q: %+v", text, account)
		}
	}
}

// TestHeadNamesThePod by its name or, before it has one, by what it will begin with.
func TestHeadNamesThePod(t *testing.T) {
	t.Parallel()
	for meta, want := range map[string]string{
		`"name":"p"`:                         "p",
		`"generateName":"p-"`:                "p-",
		`"name":"p","generateName":"other-"`: "p",
		``:                                   "",
	} {
		head, err := inject.ReadHead(rawjson.NewReader(podOf(meta, oneContainer)))
		if err != nil || head.Name != want {
			t.Errorf("%s: %+v, %v, want %q", meta, head, err, want)
		}
	}
}

// TestMoreThanOnePod: what follows a pod makes the text no pod.
func TestMoreThanOnePod(t *testing.T) {
	t.Parallel()
	pod := append(podOf("", oneContainer), "{}"...)
	if result, err := inject.Pod(pod, inject.Account{Role: role}, inject.Defaults()); err == nil {
		t.Errorf("%s: %+v", pod, result)
	}
}

// TestReferenceReadsNoOptions, not even those of the pod.
func TestReferenceReadsNoOptions(t *testing.T) {
	t.Parallel()
	settings := inject.Defaults()
	settings.Conformance = true
	pod := podOf(`"annotations":{"eks.amazonaws.com/region":"eu-west-1"}`, oneContainer)
	if patch := string(encode(t, mustPod(t, pod, nil, settings).Patch)); strings.Contains(patch, "eu-west-1") {
		t.Errorf("%s", patch)
	}
}

// TestOurVolumeBehindAnother is found, and not added again.
func TestOurVolumeBehindAnother(t *testing.T) {
	t.Parallel()
	pod := podOf("",
		`"volumes":[{"name":"v"},{"name":"aws-iam-token","projected":{"sources":[{"serviceAccountToken":{`+
			`"path":"token"}}]}}],`+oneContainer)
	if patch := string(encode(t,
		mustPod(t, pod, nil, inject.Defaults()).Patch)); strings.Contains(patch, "/spec/volumes") {
		t.Errorf("%s", patch)
	}
}

// TestWhatAContainerHasItself: only one that has all of it is not touched.
func TestWhatAContainerHasItself(t *testing.T) {
	t.Parallel()
	const own = `{"name":"AWS_ROLE_ARN","value":"x"},{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/my/token"}`
	for _, row := range []struct {
		name, env   string
		conformance bool
		added       string // a variable that is added, or none
	}{
		{"all but credentials", `{"name":"AWS_REGION"},{"name":"AWS_STS_REGIONAL_ENDPOINTS"}`, true, "AWS_ROLE_ARN"},
		{
			name:  "all but credentials, in our way",
			env:   `{"name":"AWS_REGION"},{"name":"AWS_STS_REGIONAL_ENDPOINTS"}`,
			added: "AWS_ROLE_ARN",
		},
		{"all but the region", own + `,{"name":"AWS_STS_REGIONAL_ENDPOINTS"}`, true, "AWS_REGION"},
		{"all but the region, in our way", own + `,{"name":"AWS_STS_REGIONAL_ENDPOINTS"}`, false, "AWS_REGION"},
		{"all but the endpoints", own + `,{"name":"AWS_REGION"}`, true, "AWS_STS_REGIONAL_ENDPOINTS"},
		{"all", own + `,{"name":"AWS_REGION"},{"name":"AWS_STS_REGIONAL_ENDPOINTS"}`, false, ""},
	} {
		settings := inject.Defaults()
		settings.Conformance, settings.Region, settings.RegionalSTS = row.conformance, "eu-west-1", true
		pod := podOf("", `"containers":[{"name":"a","env":[`+row.env+`]}]`)
		had := variables(t, pod)
		var added []string
		for _, one := range variables(t, applyPatch(t, pod, mustPod(t, pod, nil, settings).Patch))[len(had):] {
			name, _, _ := strings.Cut(one, "=")
			added = append(added, name)
		}
		if got := strings.Join(added, " "); (row.added == "") != (got == "") || !strings.Contains(got, row.added) {
			t.Errorf("%s: added %q, want %q", row.name, got, row.added)
		}
	}
}

// TestForeignCredentialsAreTold: they are reported where the SDK would prefer them
// to the agent's, and only there.
func TestForeignCredentialsAreTold(t *testing.T) {
	t.Parallel()
	const webIdentity = `"env":[{"name":"AWS_ROLE_ARN","value":"x"}]`
	const agent = `"env":[{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"x"}]`
	for _, row := range []struct {
		name, env string
		identity  bool
		warned    bool
	}{
		{"web identity beside the agent", webIdentity, true, true},
		{"nothing beside the agent", `"env":[]`, true, false},
		{"the agent beside web identity", agent, false, false},
		{"nothing beside web identity", `"env":[]`, false, false},
	} {
		settings := inject.Defaults()
		known := inject.Known{
			PodIdentity: row.identity,
			Account:     &inject.Account{Role: role, Audience: "x", Expiration: 600},
		}
		result, err := inject.Pod(podOf("",
			`"containers":[{"name":"a",`+row.env+`}]`), inject.Choose(known, &settings), settings)
		if err != nil || (len(result.Warnings) > 0) != row.warned {
			t.Errorf("%s: %+v, %v", row.name, result, err)
		}
	}
}

// TestTokenMountedElsewhere is reported, unless it is where it belongs or not
// needed.
func TestTokenMountedElsewhere(t *testing.T) {
	t.Parallel()
	const volume = `"volumes":[{"name":"aws-iam-token","projected":{"sources":[{"serviceAccountToken":{` +
		`"path":"token"}}]}}],`
	const own = `,"env":[{"name":"AWS_ROLE_ARN","value":"x"},{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/x/token"}]`
	for _, row := range []struct {
		name, at, env string
		conformance   bool
		warned        bool
	}{
		{"where it belongs", mountPath, "", false, false},
		{"elsewhere", "/x", "", false, true},
		{"elsewhere, with credentials of its own", "/x", own, false, false},
		{"elsewhere, in the reference's way", "/x", "", true, false},
	} {
		settings := inject.Defaults()
		settings.Conformance = row.conformance
		pod := podOf("",
			volume+`"containers":[{"name":"a","volumeMounts":[{"name":"aws-iam-token","mountPath":"`+row.at+`"}]`+
				row.env+`}]`)
		if result := mustPod(t, pod, nil, settings); (len(result.Warnings) > 0) != row.warned ||
			(result.Missed != "") != row.warned {
			t.Errorf("%s: %+v", row.name, result)
		}
	}
}

// TestEdgesOfOptions: what is just inside an option's bounds is injected, what is
// just outside is reported.
func TestEdgesOfOptions(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		option, value string
		taken         bool
	}{
		{"max-attempts", "1", true},
		{"max-attempts", "100", true},
		{"max-attempts", "101", false},
		{"sdk-app-id", strings.Repeat("x", 50), true},
		{"sdk-app-id", "", false},
		{"sts-endpoint-url", "http://sts.example", true},
		{"sts-endpoint-url", "https:///sts", false},
		{"sts-endpoint-url", "ftp://sts.example", false},
		{"sts-endpoint-url", "http://[", false},
		{"region", "", false},
		{"region", strings.Repeat("a", 41), false},
		{"role-session-name", "azAZ09_+=,.@-", true},
		{"role-session-name", "a:b", false},
	} {
		annotations := map[string]string{
			"eks.amazonaws.com/role-arn":      role,
			"eks.amazonaws.com/" + row.option: row.value,
		}
		result := mustPod(t, podOf("", oneContainer), annotations, inject.Defaults())
		taken := row.value != "" && strings.Contains(string(encode(t, result.Patch)), `"`+row.value+`"`)
		if taken != row.taken || (len(result.Warnings) == 0) != row.taken {
			t.Errorf("%s %q: injected %t, warnings %q", row.option, row.value, taken, result.Warnings)
		}
	}
}

// TestOtherAffinities lead to no one system.
func TestOtherAffinities(t *testing.T) {
	t.Parallel()
	for expression, windows := range map[string]bool{
		`"key":"kubernetes.io/os","operator":"In","values":["windows"]`:      true,
		`"key":"beta.kubernetes.io/os","operator":"In","values":["windows"]`: true,
		`"key":"kubernetes.io/os","operator":"NotIn","values":["windows"]`:   false,
		`"key":"example.com/os","operator":"In","values":["windows"]`:        false,
	} {
		pod := podOf("", oneContainer+`,"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":`+
			`{"nodeSelectorTerms":[{"matchExpressions":[{`+expression+`}]}]}}}`)
		if got := strings.Contains(string(encode(t, mustPod(t, pod, nil, inject.Defaults()).Patch)),
			`C:\\var`); got != windows {
			t.Errorf("%s: Windows %t", expression, got)
		}
	}
}
