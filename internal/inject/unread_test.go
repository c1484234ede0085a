package inject_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/inject"
)

const roleARN = "arn:aws:iam::111122223333:role/r"

// TestLooksLikeRole: what people write for the role's annotation, and what they do not
// mean by it.
func TestLooksLikeRole(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		key, value string
		want       bool
	}{
		{"eks.amazonaws.com/role-arn", "", true},
		{"eks.amazonaws.com/role_arn", "", true},
		{"eks.amazonaws.com/rolearn", "x", true},
		{"eks.amazon.com/role-arn", "x", true},
		{"role-arn", "x", true},
		{"iam.amazonaws.com/ROLE.ARN", "x", true},
		{"example.com/iam-role-arn", "x", true},
		{"example.com/aws-role-arn", "x", true},
		{"example.com/eks-role-arn", "x", true},
		{"eks-amazonaws-com-role-arn", "x", true},
		{"iam.amazonaws.com/role", roleARN, true},
		{"iam.amazonaws.com/role", " " + roleARN + "\n", true},
		{"iam.amazonaws.com/role", "r", false},
		{"notes", "see arn:aws:iam::111122223333:role/r and more", false},
		{"example.com/my-role-arn", "x", false},
		{"role-arn/of-what", "x", false},
		{"example.com/role", ":role/", false},
	} {
		if got := inject.LooksLikeRole(row.key, row.value); got != row.want {
			t.Errorf("%q: %q is %t", row.key, row.value, got)
		}
	}
}

// TestUnread: the annotations of a pod without an identity that were meant to give it one,
// those of its account first.
func TestUnread(t *testing.T) {
	t.Parallel()
	const (
		right  = "eks.amazonaws.com/role-arn"
		ofPod  = "annotation " + right + " of a pod is not read; it belongs on the service account"
		unread = "annotation %s is not read; a service account's role is " + right
	)
	not := func(keys ...string) (all []string) {
		for _, key := range keys {
			all = append(all, fmt.Sprintf(unread, key))
		}
		return all
	}
	for _, row := range []struct {
		name, pod string
		account   map[string]string // nil: there is none
		want      []string
	}{
		{name: "nothing", pod: `{"metadata":{"annotations":{"a":"b"}}}`},
		{name: "of the pod", pod: `{"metadata":{"annotations":{"` + right + `":"` + roleARN + `"}}}`, want: []string{ofPod}},
		{
			name: "of the pod, empty", pod: `{"metadata":{"annotations":{"` + right + `":""}}}`, want: []string{ofPod},
		},
		{
			name: "of the pod, misspelt", pod: `{"metadata":{"annotations":{"eks.amazonaws.com/Role_ARN":"x"}}}`,
			want: not("eks.amazonaws.com/Role_ARN"),
		},
		{
			name: "of the pod, by its value", pod: `{"metadata":{"annotations":{"x":"` + roleARN + `"}}}`, want: not("x"),
		},
		{
			name: "of the pod, without hyphen", pod: `{"metadata":{"annotations":{"rolearn":"x"}}}`, want: not("rolearn"),
		},
		{name: "the text elsewhere", pod: `{"spec":{"role-arn":"x"},"metadata":{}}`},
		{name: "after other members", pod: `{"a":[{}],"metadata":{"annotations":{"role-arn":"x"}}}`, want: not("role-arn")},
		{name: "roles, and no more", pod: `{"metadata":{"annotations":{"roles":"role"}}}`},
		{name: "the end of the text", pod: `{"metadata":{},"x":"role-ar"`},
		{
			name: "with the label that skips it",
			pod: `{"metadata":{"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":""},` +
				`"annotations":{"role-arn":"x"}}}`,
		},
		{name: "no JSON", pod: `{"metadata":{"annotations":{"role-arn":"x"`},
		{
			name: "of the account", pod: `{}`, account: map[string]string{"role-arn": "x", "b": roleARN, "c": "d"},
			want: not("b", "role-arn"),
		},
		{
			name: "of both", pod: `{"metadata":{"annotations":{"role-arn":"x"}}}`, account: map[string]string{"b": roleARN},
			want: not("b", "role-arn"),
		},
		{name: "the account's own is read", pod: `{}`, account: map[string]string{right: roleARN, "b": roleARN}},
	} {
		var account *inject.Account
		if row.account != nil {
			read := inject.ReadAccount(row.account, inject.Defaults())
			account = &read
		}
		got := inject.Unread([]byte(row.pod), account, inject.Defaults())
		if strings.Join(got, "\n") != strings.Join(row.want, "\n") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestAccountWarnings: values of annotations that are taken as they are, though they do
// not work, and the least lifetime.
func TestAccountWarnings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, value, want string
	}{
		{"audience", "sts.amazonaws.com", ""},
		{"audience", "a b", "has blanks in it"},
		{"audience", "a\u00a0", "has blanks in it"},
		{"audience", "a\n", "has blanks in it"},
		{"token-expiration", "600", ""},
		{"token-expiration", "599", "is below the least that API servers take; 600 is used"},
		{"token-expiration", "ten", "is not a number of seconds"},
	} {
		account := inject.ReadAccount(map[string]string{
			"eks.amazonaws.com/role-arn": roleARN, "eks.amazonaws.com/" + row.name: row.value,
		}, inject.Defaults())
		got := strings.Join(account.Warnings, "\n")
		if row.want == "" && got != "" || !strings.Contains(got, row.want) {
			t.Errorf("%s %q: %q, want %q", row.name, row.value, got, row.want)
		}
	}
}

// TestContainersOfTheirOwn: what containers bring along, and whether any gets the identity.
func TestContainersOfTheirOwn(t *testing.T) {
	t.Parallel()
	const role, file = `{"name":"AWS_ROLE_ARN","value":"x"}`, `{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/t"}`
	for _, row := range []struct {
		name, containers string
		reason           string // ends so
		warning          string // nothing is warned of if it is empty
	}{
		{"nothing", `{"name":"a"}`, "injected role " + roleARN, ""},
		{
			"half", `{"name":"a","env":[` + role + `]}`, `no container gets the identity: container "a" has only AWS_ROLE_ARN of its own`,
			"sets AWS_ROLE_ARN itself and not AWS_WEB_IDENTITY_TOKEN_FILE",
		},
		{"half of one", `{"name":"a","env":[` + role + `]},{"name":"b"}`, "injected role " + roleARN, `container "a" sets AWS_ROLE_ARN`},
		{
			"both", `{"name":"a","env":[` + role + `,` + file + `]}`,
			`no container gets the identity: container "a" has AWS_WEB_IDENTITY_TOKEN_FILE of its own`, "",
		},
		{
			"no metadata service", `{"name":"a","env":[{"name":"AWS_EC2_METADATA_DISABLED","value":"true"}]}`,
			"injected role " + roleARN, "AWS_EC2_METADATA_DISABLED itself",
		},
		{
			"a Secret by its name", `{"name":"a","envFrom":[{"secretRef":{"name":"my-AWS-keys"}}]}`,
			"injected role " + roleARN, `from Secret "my-AWS-keys"`,
		},
		{
			"a prefix", `{"name":"a","envFrom":[{"prefix":"AWS_","configMapRef":{"name":"x"}}]}`,
			"injected role " + roleARN, `from ConfigMap "x"`,
		},
		{"other variables", `{"name":"a","envFrom":[{"prefix":"X_","configMapRef":{"name":"x"}}]}`, "injected role " + roleARN, ""},
	} {
		settings := inject.Defaults()
		account := inject.ReadAccount(map[string]string{"eks.amazonaws.com/role-arn": roleARN}, settings)
		pod := []byte(
			`{"metadata":{"name":"p"},"spec":{"serviceAccountName":"s","containers":[` + row.containers + `]}}`,
		)
		result, err := inject.Pod(pod, account, settings)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(result.Warnings, "\n")
		if result.Reason != row.reason || row.warning == "" && said != "" || !strings.Contains(said, row.warning) {
			t.Errorf("%s: %q, warnings %q", row.name, result.Reason, said)
		}
	}
}

// TestGivenCountsContainers that get the identity, and those that have it already.
func TestGivenCountsContainers(t *testing.T) {
	t.Parallel()
	const role, file = `{"name":"AWS_ROLE_ARN","value":"x"}`, `{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"`
	const (
		before = `{"name":"a","env":[` + role + `,` + file + mountPath + `/token"}]}`
		own    = `{"name":"b","env":[` + role + `,` + file + `/t"}]}`
		half   = `{"name":"c","env":[` + role + `]}`
		plain  = `{"name":"d"},{"name":"e"}`
	)
	for containers, want := range map[string]int{
		plain:  2,
		before: 1,
		own:    0,
		half:   0,
		before + `,` + own + `,` + half + `,` + plain: 3,
	} {
		result := mustPod(t, podOf("", `"containers":[`+containers+`]`), nil, inject.Defaults())
		if result.Given != want {
			t.Errorf("%s: given to %d, want %d", containers, result.Given, want)
		}
	}
}

// TestRoleOfAPodWithAnIdentity: a role on the pod is warned of if it is not the one that
// the pod gets, and what else looks like one is not.
func TestRoleOfAPodWithAnIdentity(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		annotations string
		want        bool
	}{
		{``, false},
		{`"eks.amazonaws.com/role-arn":"` + roleARN + `"`, false},
		{`"eks.amazonaws.com/role-arn":"` + roleARN + `2"`, true},
		{`"eks.amazonaws.com/role-arn":""`, true},
		{`"eks.amazonaws.com/role_arn":"` + roleARN + `2"`, false},
	} {
		pod := podOf(`"annotations":{`+row.annotations+`}`, oneContainer)
		said := strings.Join(mustPod(t, pod, nil, inject.Defaults()).Warnings, "\n")
		if (said != "") != row.want || row.want && !strings.Contains(said, "it belongs on the service account") {
			t.Errorf("%s: %q", row.annotations, said)
		}
	}
}

// TestMetadataServiceByAnnotation: a container's own word about the metadata service is
// warned of only if no annotation says that it is disabled or not.
func TestMetadataServiceByAnnotation(t *testing.T) {
	t.Parallel()
	const container = `"containers":[{"name":"a","env":[{"name":"AWS_EC2_METADATA_DISABLED","value":"true"}]}]`
	for annotation, want := range map[string]bool{
		`"eks.amazonaws.com/ec2-metadata-disabled":"true"`: false,
		`"eks.amazonaws.com/retry-mode":"standard"`:        true,
		``: true,
	} {
		pod := podOf(`"annotations":{`+annotation+`}`, container)
		said := strings.Join(mustPod(t, pod, nil, inject.Defaults()).Warnings, "\n")
		if (said != "") != want || want && !strings.Contains(said, "AWS_EC2_METADATA_DISABLED itself") {
			t.Errorf("%s: %q", annotation, said)
		}
	}
}

// TestLabelOfAPodWithoutMetadata, as the agent's tools expect it.
func TestLabelOfAPodWithoutMetadata(t *testing.T) {
	t.Parallel()
	settings := inject.Defaults()
	pod := []byte(`{"spec":{` + oneContainer + `}}`)
	account := inject.Choose(inject.Known{PodIdentity: true}, &settings)
	result, err := inject.Pod(pod, account, settings)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"op":"add","path":"/metadata","value":{"labels":{"eks.amazonaws.com/pod-identity":"enabled"}}}`
	if patch := string(encode(t, result.Patch)); !strings.Contains(patch, want) {
		t.Errorf("%s, want %s", patch, want)
	}
}
