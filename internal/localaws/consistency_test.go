package localaws_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/rolecall/rolecall/internal/localaws"
)

// TestConsistencyDelay: what IAM is told holds for everybody after the delay, and
// not before; IAM itself does not forget it.
func TestConsistencyDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *localaws.Config) { c.ConsistencyDelay = 10 * time.Second })
	raw := func() string {
		now := w.clock()
		return w.token(w.key, map[string]any{"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	}
	get := url.Values{"Action": {"GetRole"}, "RoleName": {"R"}}
	w.expect(
		"read before", w.signed(w.admin, "iam", get), http.StatusNotFound, "NoSuchEntity",
		"The role with name R cannot be found.",
	)
	w.expect("taken before", w.assume(raw(), nil), http.StatusBadRequest, "InvalidIdentityToken", generic)
	if got := w.signed(w.admin, "iam", url.Values{"Action": {"ListRoles"}}); strings.Contains(got.body, "<RoleName>") {
		t.Errorf("listed before: %s", got.body)
	}
	w.expect("made twice", w.signed(w.admin, "iam", url.Values{
		"Action":                   {"CreateRole"},
		"RoleName":                 {"r"},
		"AssumeRolePolicyDocument": {serviceTrust},
	}), http.StatusConflict, "EntityAlreadyExists", "Role with name r already exists.")
	w.advance(10 * time.Second)
	session := credentialsIn(t, w.assume(raw(), nil))

	w.mustAdmin(url.Values{
		"Action":         {"PutRolePolicy"},
		"RoleName":       {"R"},
		"PolicyName":     {"p"},
		"PolicyDocument": {allow(`"iam:GetRole"`, `"*"`)},
	})
	w.expect("policy before", w.signed(session, "iam", get), http.StatusForbidden, "AccessDenied", "")
	w.advance(9 * time.Second)
	w.mustAdmin(url.Values{"Action": {"DeleteRolePolicy"}, "RoleName": {"R"}, "PolicyName": {"p"}})
	w.expect("policy just before", w.signed(session, "iam", get), http.StatusForbidden, "AccessDenied", "")
	w.advance(time.Second)
	if got := w.signed(session, "iam", get); got.status != http.StatusOK {
		t.Errorf("policy after, its deletion not: %s", got.body)
	}
	w.advance(9 * time.Second)
	w.expect("deletion after", w.signed(session, "iam", get), http.StatusForbidden, "AccessDenied", "")

	w.mustAdmin(url.Values{"Action": {"DeleteRole"}, "RoleName": {"R"}})
	w.mustAdmin(url.Values{"Action": {"CreateRole"}, "RoleName": {"Q"}, "AssumeRolePolicyDocument": {serviceTrust}})
	listed := func(want string) {
		t.Helper()
		got := w.signed(w.admin, "iam", url.Values{"Action": {"ListRoles"}})
		if strings.Count(got.body, "<RoleName>") != 1 || !strings.Contains(got.body, "<RoleName>"+want+"<") {
			t.Errorf("want %s: %s", want, got.body)
		}
		got = w.signed(w.admin, "iam", url.Values{"Action": {"GetAccountSummary"}})
		if !strings.Contains(got.body, "<key>Roles</key><value>1</value>") {
			t.Errorf("summary: %s", got.body)
		}
	}
	listed("R")
	// The clock that others move counts too.
	if got := w.own(http.MethodPost, "clock", `{"advance":"11s"}`); got.status != http.StatusOK {
		t.Fatal(got.body)
	}
	listed("Q")
}

// TestConsistencyDelayOfIAMOnly: a bucket is there at once, whatever it is called.
func TestConsistencyDelayOfIAMOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *localaws.Config) { c.ConsistencyDelay = time.Hour })
	w.realTime()
	ctx, client := t.Context(), w.s3Client(w.admin)
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: new("policy")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: new("policy"),
		Key:    new("k"),
		Body:   strings.NewReader("text"),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("policy"), Key: new("k")}); err != nil {
		t.Error(err)
	}
}
