package accounts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/document"
)

// pail is a bucket of a local AWS, and what init is asked to do with it.
type pail struct {
	t      *testing.T
	client *s3.Client
	target *v1alpha1.S3Target
	told   []string
}

func newPail(t *testing.T, prefix string) *pail {
	_, client := openAWS(t)
	return &pail{t: t, client: client, target: &v1alpha1.S3Target{Bucket: "keys", Region: "eu-west-1", Prefix: prefix}}
}

func (p *pail) ensure(change ...func(*accounts.BucketOptions)) error {
	p.told = nil
	options := accounts.BucketOptions{
		JWKSPath: document.JWKSPath, Now: time.Now(), Tell: func(step string) { p.told = append(p.told, step) },
	}
	for _, one := range change {
		one(&options)
	}
	return accounts.EnsureBucket(p.t.Context(), p.target, options)
}

func addStatement(o *accounts.BucketOptions) { o.AddStatement = true }

// theirs makes the bucket as somebody else does, who publishes by access control list.
func (p *pail) theirs(policy string) {
	p.t.Helper()
	ctx := p.t.Context()
	name := awssdk.String("keys")
	_, err := p.client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: name, ObjectOwnership: s3types.ObjectOwnershipObjectWriter,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
	})
	_, unblocked := p.client.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: name})
	err = errors.Join(err, unblocked)
	if policy != "" {
		_, set := p.client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: name, Policy: &policy})
		err = errors.Join(err, set)
	}
	_, put := p.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: name, Key: awssdk.String("other/openid/v1/jwks"), Body: strings.NewReader("{}"),
		ACL: s3types.ObjectCannedACLPublicRead,
	})
	if err = errors.Join(err, put); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pail) policy() string {
	p.t.Helper()
	got, err := p.client.GetBucketPolicy(p.t.Context(), &s3.GetBucketPolicyInput{Bucket: awssdk.String("keys")})
	if err != nil {
		return ""
	}
	return awssdk.ToString(got.Policy)
}

// settings is all of the bucket but its policy.
func (p *pail) settings() map[string]any {
	ctx, name := p.t.Context(), awssdk.String("keys")
	seen := map[string]any{}
	if got, err := p.client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name}); err == nil {
		seen["block"] = *got.PublicAccessBlockConfiguration
	}
	if got, err := p.client.GetBucketOwnershipControls(ctx,
		&s3.GetBucketOwnershipControlsInput{Bucket: name}); err == nil {
		seen["ownership"] = got.OwnershipControls.Rules
	}
	if got, err := p.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: name}); err == nil {
		seen["versions"] = got.Status
	}
	if got, err := p.client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name}); err == nil {
		seen["tags"] = got.TagSet
	}
	return seen
}

// sdk compares SDK types, which have a hidden member.
var sdk = cmp.FilterPath(func(p cmp.Path) bool { return strings.HasPrefix(p.Last().String(), ".noSmithy") }, cmp.Ignore())

// TestOwnBucket: a bucket that is made here is opened for two objects, and for those of
// another cluster when it shares it; doing it again does nothing.
func TestOwnBucket(t *testing.T) {
	p := newPail(t, "c1")
	if err := p.ensure(func(o *accounts.BucketOptions) { o.DryRun = true }); err != nil || len(p.told) == 0 {
		t.Errorf("a plan: %q, %v", p.told, err)
	}
	if _, err := p.client.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: awssdk.String("keys")}); err == nil {
		t.Fatal("the plan has made the bucket")
	}
	for range 2 {
		if err := p.ensure(); err != nil {
			t.Fatal(err)
		}
	}
	first := p.policy()
	p.target.Prefix = "c2"
	if err := p.ensure(); err != nil {
		t.Fatal(err)
	}
	for _, opened := range []string{"c1/.well-known/openid-configuration", "c2/openid/v1/jwks"} {
		if !strings.Contains(p.policy(), `:::keys/`+opened+`"`) {
			t.Errorf("%s is not open: %s", opened, p.policy())
		}
	}
	if !strings.HasPrefix(p.policy(), strings.TrimSuffix(first, "]}")) {
		t.Errorf("the first cluster's statement is another:\n%s\n%s", first, p.policy())
	}
}

// TestBucketOfOthers: of a bucket that was not made here nothing changes, and with leave one
// statement; what is missing is said with the command that would help.
func TestBucketOfOthers(t *testing.T) {
	const (
		deny   = `{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::keys/*"}`
		denied = `{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::keys/prod/*"}`
		near   = `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::keys/nonprod/*"}`
		wide   = `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::keys/*"}`
	)
	document := func(one string) string { return `{"Version": "2012-10-17", "Statement": [` + one + `]}` }
	restrict := func(ctx context.Context, client *s3.Client) error {
		_, err := client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
			Bucket: awssdk.String("keys"), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
				BlockPublicAcls: awssdk.Bool(false), IgnorePublicAcls: awssdk.Bool(false),
				BlockPublicPolicy: awssdk.Bool(true), RestrictPublicBuckets: awssdk.Bool(true),
			},
		})
		return err
	}
	for _, row := range []struct {
		name, policy string
		blocked      bool
		add          bool
		want         string // of the policy: "same", "added"; else a part of what is said
	}{
		{"no policy", "", false, false, "aws s3api put-bucket-policy --bucket keys"},
		{"no policy, with leave", "", false, true, "added"},
		{"a policy", document(deny), false, false, "add to its policy: {"},
		{"a policy, with leave", document(deny), false, true, "added"},
		{"open for a name like it", document(near), false, false, "add to its policy: {"},
		{"open for a name like it, with leave", document(near), false, true, "added"},
		{"open already", document(wide), false, false, "same"},
		{"open already, with leave", document(wide), false, true, "same"},
		{"denied", document(wide + "," + denied), false, true, "its owner takes the two objects out"},
		{"blocked", "", true, true, "BlockPublicAcls=false,IgnorePublicAcls=false,BlockPublicPolicy=false,RestrictPublicBuckets=false"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPail(t, "prod")
			p.theirs(row.policy)
			if row.blocked {
				if err := restrict(t.Context(), p.client); err != nil {
					t.Fatal(err)
				}
			}
			before := p.settings()
			var change []func(*accounts.BucketOptions)
			if row.add {
				change = append(change, addStatement)
			}
			err := p.ensure(change...)
			said := strings.Join(append(fault.HintsOf(err), p.told...), "\n")
			if err != nil {
				said += err.Error()
			}
			switch row.want {
			case "same":
				if err != nil || p.policy() != row.policy {
					t.Errorf("%v: %s", err, p.policy())
				}
			case "added":
				if err != nil || !strings.Contains(p.policy(), strings.TrimSuffix(row.policy, "]}")) ||
					!strings.Contains(p.policy(), `:::keys/prod/openid/v1/jwks"`) {
					t.Errorf("%v: %s", err, p.policy())
				}
				if err := p.ensure(); err != nil {
					t.Errorf("again, without leave: %v", err)
				}
			default:
				if err == nil || !strings.Contains(said, row.want) || p.policy() != row.policy {
					t.Errorf("want %q: %s\n%s", row.want, said, p.policy())
				}
			}
			if diff := cmp.Diff(before, p.settings(), sdk); diff != "" {
				t.Errorf("its settings have changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestBucketOfAnotherAccount: nothing is written to it or read from it, and the reason is
// said.
func TestBucketOfAnotherAccount(t *testing.T) {
	p := newPail(t, "c1")
	if err := p.ensure(); err != nil {
		t.Fatal(err)
	}
	p.target.Owner = "444455556666"
	if err := p.ensure(); err == nil || !strings.Contains(err.Error(), "account 444455556666 does not own bucket keys") {
		t.Errorf("made ready: %v", err)
	}
	place, err := accounts.Bucket(t.Context(), p.target)
	if err != nil {
		t.Fatal(err)
	}
	object := document.Object{Name: document.JWKSPath, Text: []byte("{}")}
	for what, err := range map[string]error{
		"written": place.Write(t.Context(), document.Write{Object: object}),
		"read":    func() error { _, err := place.Read(t.Context(), document.JWKSPath); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "account 444455556666 does not own bucket keys") {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.target.Owner = owner
	if err := p.ensure(); err != nil {
		t.Errorf("its own: %v", err)
	}
}
