package localaws_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// attach gives a role one of AWS's managed policies.
func (w *world) attach(role, arn string) {
	w.t.Helper()
	if err := w.accounts.Default().Update(func(state account.State) error {
		found, err := state.Role(role)
		if err != nil {
			return err
		}
		found.Attached = append(found.Attached, arn)
		return state.PutRole(found)
	}); err != nil {
		w.t.Fatal(err)
	}
}

const denyNothing = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:GetUser","Resource":"*"}]}`

// TestS3ReadOnly is seed 000: the managed policy lets a role list and get.
func TestS3ReadOnly(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, admin := t.Context(), w.bucket("data")
	if err := w.put(admin, "data", "k", "content"); err != nil {
		t.Fatal(err)
	}
	creds := w.session("reader", denyNothing)
	w.attach("reader", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	reader := w.s3Client(creds)
	_, err := reader.ListBuckets(ctx, &s3.ListBucketsInput{})
	wantCode(t, "list buckets", err, "")
	_, err = reader.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("data")})
	wantCode(t, "list", err, "")
	_, err = reader.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("data"), Key: aws.String("k")})
	wantCode(t, "get", err, "")
	_, err = reader.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("data"), Key: aws.String("none")})
	wantCode(t, "get of nothing, may list", err, "NoSuchKey")
	err = w.put(reader, "data", "k", "mine")
	refusedWith(
		t, "put", err, "AccessDenied",
		`User: arn:aws:sts::111122223333:assumed-role/reader/s1 is not authorized to perform: s3:PutObject on `+
			`resource: "arn:aws:s3:::data/k" because no identity-based policy allows the s3:PutObject action`,
	)
	_, err = reader.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("data"), Key: aws.String("k")})
	wantCode(t, "delete", err, "AccessDenied")
	gone, err := reader.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: aws.String("data"),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("k")}}},
	})
	if err != nil || len(gone.Errors) != 1 || *gone.Errors[0].Code != "AccessDenied" {
		t.Errorf("delete many: %+v %v", gone, err)
	}
	_, err = reader.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("mine")})
	wantCode(t, "create", err, "AccessDenied")
}

// TestS3Actions: each call needs the actions that AWS documents for it.
func TestS3Actions(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, admin := t.Context(), w.bucket("data")
	for _, key := range []string{"home/a", "other/a"} {
		if err := w.put(admin, "data", key, "content", func(in *s3.PutObjectInput) {
			in.Tagging = aws.String("team=" + key[:1])
		}); err != nil {
			t.Fatal(err)
		}
	}
	bucket := aws.String("data")
	get := func(key string) func(*s3.Client) error {
		return func(c *s3.Client) error {
			_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
			return err
		}
	}
	list := func(prefix string) func(*s3.Client) error {
		return func(c *s3.Client) error {
			_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &prefix})
			return err
		}
	}
	put := func(edits ...func(*s3.PutObjectInput)) func(*s3.Client) error {
		return func(c *s3.Client) error { return w.put(c, "data", "new", "content", edits...) }
	}
	withList := func(in *s3.PutObjectInput) { in.ACL = "bucket-owner-full-control" }
	copyTo := func(c *s3.Client) error {
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{
			Bucket:     bucket,
			Key:        aws.String("copy"),
			CopySource: aws.String("data/home/a"),
		})
		return err
	}
	const object, all = `"arn:aws:s3:::data/*"`, `"arn:aws:s3:::data"`
	condition := func(action, resource, condition string) string {
		return strings.Replace(allow(action, resource), `"Resource"`, `"Condition":{`+condition+`},"Resource"`, 1)
	}
	for i, row := range []struct {
		name, permissions string
		do                func(*s3.Client) error
		code              string
	}{
		{"get", allow(`"s3:GetObject"`, object), get("home/a"), ""},
		{"get of nothing", allow(`"s3:GetObject"`, object), get("none"), "AccessDenied"},
		{"get of a bucket's name only", allow(`"s3:GetObject"`, all), get("home/a"), "AccessDenied"},
		{"list is not get", allow(`"s3:GetObject"`, object), list(""), "AccessDenied"},
		{"list", allow(`"s3:ListBucket"`, all), list(""), ""},
		{
			name:        "list of the own prefix",
			permissions: condition(`"s3:ListBucket"`, all, `"StringLike":{"s3:prefix":"home/*"}`),
			do:          list("home/"),
		},
		{
			name:        "list of another prefix",
			permissions: condition(`"s3:ListBucket"`, all, `"StringLike":{"s3:prefix":"home/*"}`),
			do:          list("other/"),
			code:        "AccessDenied",
		},
		{
			name:        "get by tag",
			permissions: condition(`"s3:GetObject"`, object, `"StringEquals":{"s3:ExistingObjectTag/team":"h"}`),
			do:          get("home/a"),
		},
		{
			name:        "get by another tag",
			permissions: condition(`"s3:GetObject"`, object, `"StringEquals":{"s3:ExistingObjectTag/team":"h"}`),
			do:          get("other/a"),
			code:        "AccessDenied",
		},
		{"put", allow(`"s3:PutObject"`, object), put(), ""},
		{"put with a list", allow(`"s3:PutObject"`, object), put(withList), "AccessDenied"},
		{"put with a list, allowed", allow(`["s3:PutObject","s3:PutObjectAcl"]`, object), put(withList), ""},
		{
			name:        "put with tags",
			permissions: allow(`"s3:PutObject"`, object),
			do:          put(func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=b") }),
			code:        "AccessDenied",
		},
		{
			name: "put with the right tag",
			permissions: strings.Replace(
				allow(`["s3:PutObject","s3:PutObjectTagging"]`, object), `"Resource"`,
				`"Condition":{"StringEquals":{"s3:RequestObjectTag/a":"b"}},"Resource"`, 1,
			),
			do: put(func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=b") }),
		},
		{
			name: "put with a wrong tag",
			permissions: strings.Replace(
				allow(`["s3:PutObject","s3:PutObjectTagging"]`, object), `"Resource"`,
				`"Condition":{"StringEquals":{"s3:RequestObjectTag/a":"b"}},"Resource"`, 1,
			),
			do:   put(func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=c") }),
			code: "AccessDenied",
		},
		{"copy", allow(`["s3:PutObject","s3:GetObject","s3:PutObjectTagging"]`, object), copyTo, ""},
		{"copy without get", allow(`"s3:PutObject"`, object), copyTo, "AccessDenied"},
		{"copy without put", allow(`"s3:GetObject"`, object), copyTo, "AccessDenied"},
	} {
		client := w.s3Client(w.session("r"+string(rune('a'+i)), row.permissions))
		wantCode(t, row.name, row.do(client), row.code)
	}
	head := func(c *s3.Client) error {
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("home/a")})
		return err
	}
	wantCode(t, "head is get", head(w.s3Client(w.session("header", allow(`"s3:GetObject"`, object)))), "")
	wantCode(
		t, "there is no HeadObject", head(w.s3Client(w.session("nohead", allow(`"s3:HeadObject"`, object)))),
		"Forbidden",
	)
}

// anonymous reads without any signature.
func (w *world) anonymous(path string) (int, string, http.Header) {
	w.t.Helper()
	response, err := http.DefaultClient.Do(w.request(http.MethodGet, path, ""))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}

// TestS3Public publishes an issuer's documents in both ways of spec
// issuer-and-sts §5, and sees that neither works by accident.
func TestS3Public(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, admin := t.Context(), w.bucket("issuer")
	const doc = ".well-known/openid-configuration"
	const public = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",` +
		`"Resource":"arn:aws:s3:::issuer/.well-known/*"}]}`
	put := func(acl types.ObjectCannedACL) error {
		return w.put(admin, "issuer", doc, "{}", func(in *s3.PutObjectInput) {
			in.ACL, in.ContentType = acl, aws.String("application/json")
		})
	}
	policy := func(text string) error {
		_, err := admin.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("issuer"), Policy: &text})
		return err
	}
	block := func(acls, ignore, policies, restrict bool) {
		t.Helper()
		_, err := admin.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
			Bucket: aws.String("issuer"),
			PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls:       &acls,
				IgnorePublicAcls:      &ignore,
				BlockPublicPolicy:     &policies,
				RestrictPublicBuckets: &restrict,
			},
		})
		wantCode(t, "block", err, "")
	}
	owner := func(way types.ObjectOwnership) {
		t.Helper()
		_, err := admin.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{
			Bucket:            aws.String("issuer"),
			OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: way}}},
		})
		wantCode(t, "ownership", err, "")
	}
	read := func(name string, want int) {
		t.Helper()
		status, body, header := w.anonymous("issuer/" + doc)
		if status != want {
			t.Errorf("%s: %d %s, want %d", name, status, body, want)
		}
		if status == http.StatusOK && (body != "{}" || header.Get("Content-Type") != "application/json") {
			t.Errorf("%s: %q %v", name, body, header)
		}
	}
	wantCode(t, "put", put(""), "")
	read("a new bucket", 403)
	wantCode(t, "a list in a new bucket", put("public-read"), "AccessControlListNotSupported")
	wantCode(t, "a public policy in a new bucket", policy(public), "AccessDenied")

	block(true, true, false, false)
	wantCode(t, "policy", policy(public), "")
	read("by policy", 200)
	if status, _, _ := w.anonymous("issuer/none"); status != 403 {
		t.Errorf("what is not there, of a bucket that cannot be listed: %d", status)
	}
	if status, body, _ := w.anonymous("issuer"); status != 403 ||
		!strings.Contains(body, "<Code>AccessDenied</Code><Message>Access Denied</Message>") {
		t.Errorf("list: %d %s", status, body)
	}
	if status, body, _ := w.anonymous("nobody/x"); status != 404 || !strings.Contains(body, "NoSuchBucket") {
		t.Errorf("no bucket: %d %s", status, body)
	}
	state, err := admin.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: aws.String("issuer")})
	if err != nil || !*state.PolicyStatus.IsPublic {
		t.Errorf("status: %+v %v", state, err)
	}
	block(true, true, true, true)
	read("restricted", 403)
	block(true, true, true, false)
	read("blocked policies are new ones only", 200)
	_, err = admin.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: aws.String("issuer")})
	wantCode(t, "delete policy", err, "")
	read("without policy", 403)

	owner(types.ObjectOwnershipBucketOwnerPreferred)
	wantCode(t, "blocked list", put("public-read"), "AccessDenied")
	block(false, false, false, false)
	wantCode(t, "list", put("public-read"), "")
	read("by list", 200)
	block(false, true, false, false)
	read("list ignored", 403)
	block(false, false, false, false)
	wantCode(
		t, "deny",
		policy(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",`+
				`"Resource":"arn:aws:s3:::issuer/*",`+
				`"Condition":{"StringEquals":{"aws:PrincipalAccount":"anonymous"}}}]}`,
		),
		"",
	)
	read("a deny is final", 403)
	_, err = admin.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: aws.String("issuer")})
	wantCode(t, "delete policy", err, "")
	owner(types.ObjectOwnershipBucketOwnerEnforced)
	read("lists are off", 403)
	owner(types.ObjectOwnershipObjectWriter)
	read("and on again", 200)
	wantCode(t, "private again", put("private"), "")
	read("private", 403)
	if err := w.put(w.s3Client(credential.AWS{}), "issuer", "x", "mine"); codeOf(err) != "AccessDenied" {
		t.Errorf("anonymous put: %v", err)
	}
	for _, row := range []struct{ name, text, code string }{
		{"another bucket's", strings.ReplaceAll(public, "issuer", "other"), "MalformedPolicy"},
		{"no principal", strings.Replace(public, `"Principal":"*",`, "", 1), "MalformedPolicy"},
		{"no JSON", "{", "MalformedPolicy"},
		{
			name: "nobody there",
			text: strings.Replace(public, `"*"`, `{"AWS":"arn:aws:iam::111122223333:role/none"}`, 1),
			code: "MalformedPolicy",
		},
	} {
		wantCode(t, row.name, policy(row.text), row.code)
	}
}

// TestS3OtherAccount: both sides must say yes.
func TestS3OtherAccount(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, admin := t.Context(), w.bucket("shared")
	if err := w.put(admin, "shared", "k", "content"); err != nil {
		t.Fatal(err)
	}
	other, _ := w.accounts.Find(otherAccount)
	key, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	theirs := w.s3Client(key)
	get := func() error {
		_, err := theirs.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("shared"), Key: aws.String("k")})
		return err
	}
	wantCode(t, "no policy", get(), "AccessDenied")
	_, err = admin.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket: aws.String("shared"),
		Policy: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + otherAccount +
				`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*"}]}`,
		),
	})
	wantCode(t, "policy", err, "")
	wantCode(t, "both say yes", get(), "")
	wantCode(t, "put", w.put(theirs, "shared", "k", "x"), "AccessDenied")
}

// TestS3Presigned: URLs of both signature versions, as long as they say.
func TestS3Presigned(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	admin := w.bucket("signed")
	if err := w.put(admin, "signed", "k", "content"); err != nil {
		t.Fatal(err)
	}
	signed, err := s3.NewPresignClient(admin).PresignGetObject(t.Context(), &s3.GetObjectInput{
		Bucket: aws.String("signed"),
		Key:    aws.String("k"),
	}, s3.WithPresignExpires(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name, url string, want int) {
		t.Helper()
		if status, body, _ := w.anonymous(strings.TrimPrefix(url, w.url+"/")); status != want ||
			(want == 200 && body != "content") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	read("now", signed.URL, 200)
	read("another key", strings.Replace(signed.URL, "/k?", "/l?", 1), 403)
	w.advance(59 * time.Minute)
	read("later", signed.URL, 200)
	w.advance(2 * time.Minute)
	read("too late", signed.URL, 403)
}

// TestS3Hosts: a bucket may stand in the host name.
func TestS3Hosts(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	admin := w.bucket("hosted")
	_, err := admin.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{
		Bucket:                         aws.String("hosted"),
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{},
	})
	wantCode(t, "block", err, "")
	_, err = admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{
		Bucket: aws.String("hosted"),
		Policy: aws.String(
			`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",` +
				`"Resource":"arn:aws:s3:::hosted/*"}]}`,
		),
	})
	wantCode(t, "policy", err, "")
	wantCode(t, "put", w.put(admin, "hosted", "k", "content"), "")
	for _, row := range []struct{ host, path string }{
		{"hosted.s3.eu-west-1.amazonaws.com", "k"},
		{"hosted.s3.localhost:4566", "k"},
		{"s3.amazonaws.com", "hosted/k"},
		{"", "hosted/k"},
		{"", "hosted.s3.us-east-1.amazonaws.com/k"},
	} {
		r := w.request(http.MethodGet, row.path, "")
		if row.host != "" {
			r.Host = row.host
		}
		if got := w.do(r); got.status != 200 || got.body != "content" {
			t.Errorf("%s /%s: %d %s", row.host, row.path, got.status, got.body)
		}
	}
	r := w.request(http.MethodGet, "k", "")
	r.Host = "hosted.localhost:4566"
	w.sign(r, w.admin, "s3", "", time.Now())
	if got := w.do(r); got.status != 200 || got.body != "content" {
		t.Errorf("%s: %d %s", r.Host, got.status, got.body)
	}
}
