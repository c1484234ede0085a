package awsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
)

// maxObject bounds how much of an object is read.
const maxObject = 1 << 20

// Bucket is a prefix in an S3 bucket that an account owns: each call names the account, and
// S3 refuses those that reach the bucket of another one, as somebody can make who comes by a
// name that was given up.
type Bucket struct {
	client               *s3.Client
	name, region, prefix string
	owner                string
}

// Bucket returns a prefix in a bucket of the account's region. owner is the account that
// must own it.
func (a *Account) Bucket(name, prefix, owner string) *Bucket {
	client := s3.NewFromConfig(a.config, func(o *s3.Options) {
		// Only AWS has a host for each bucket: other endpoints and certificates
		// do not.
		o.UsePathStyle = o.BaseEndpoint != nil || a.config.BaseEndpoint != nil || strings.Contains(name, ".")
	})
	return &Bucket{
		client: client, name: name, region: a.config.Region, prefix: strings.Trim(prefix, "/"), owner: owner,
	}
}

// Owner is the account that must own the bucket.
func (b *Bucket) Owner() string { return b.owner }

// Key returns the object's key of a name below the prefix.
func (b *Bucket) Key(name string) string {
	if b.prefix == "" {
		return name
	}
	return b.prefix + "/" + name
}

// Exists reports whether there is the bucket, and the account owns it.
func (b *Bucket) Exists(ctx context.Context) (bool, error) {
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{
		Bucket:              aws.String(b.name),
		ExpectedBucketOwner: aws.String(b.owner),
	})
	refused, ok := errors.AsType[*Error](classify(err))
	if ok && refused.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, b.explain(err)
}

// MadeTag marks a bucket that Create has made.
const MadeTag = "rolecall.io/made-by"

// Create makes the bucket, which must not exist (S3 takes a second call for a wish to reset
// it), and marks it.
func (b *Bucket) Create(ctx context.Context) error {
	input := &s3.CreateBucketInput{Bucket: aws.String(b.name)}
	if b.region != "us-east-1" { // the one region that must not be named
		input.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{
			LocationConstraint: s3types.BucketLocationConstraint(b.region),
		}
	}
	if _, err := b.client.CreateBucket(ctx, input); err != nil {
		return classify(err)
	}
	_, err := b.client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
		Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: aws.String(MadeTag), Value: aws.String("rolecall")}}},
	})
	return b.explain(err)
}

// Made reports whether Create has made the bucket. A bucket whose tags may not be read
// counts as somebody else's.
func (b *Bucket) Made(ctx context.Context) bool {
	answer, err := b.client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
	})
	return err == nil && slices.ContainsFunc(answer.TagSet, func(tag s3types.Tag) bool {
		return aws.ToString(tag.Key) == MadeTag && aws.ToString(tag.Value) == "rolecall"
	})
}

// KeepVersions lets the bucket keep versions, so that what a mistaken publication
// overwrites can be recovered. Stores like S3 that keep none, such as a local AWS, are used
// without them.
func (b *Bucket) KeepVersions(ctx context.Context) error {
	_, err := b.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
		VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	if refused, ok := errors.AsType[*Error](classify(err)); ok && refused.Code == "NotImplemented" {
		return nil
	}
	return b.explain(err)
}

// Versions reports how the bucket keeps versions: "Enabled", "Suspended", or empty if that
// was never asked for.
func (b *Bucket) Versions(ctx context.Context) (string, error) {
	answer, err := b.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
	})
	if err != nil {
		return "", b.explain(err)
	}
	return string(answer.Status), nil
}

// Block returns the bucket's public access block.
func (b *Bucket) Block(ctx context.Context) (bucket.Block, error) {
	answer, err := b.client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
	})
	if refused, ok := errors.AsType[*Error](classify(err)); ok &&
		refused.Code == "NoSuchPublicAccessBlockConfiguration" {
		return bucket.Block{}, nil
	}
	if err != nil || answer.PublicAccessBlockConfiguration == nil {
		return bucket.Block{}, b.explain(err)
	}
	there := answer.PublicAccessBlockConfiguration
	return bucket.Block{
		BlockPublicACLs: aws.ToBool(there.BlockPublicAcls), IgnorePublicACLs: aws.ToBool(there.IgnorePublicAcls),
		BlockPublicPolicy:     aws.ToBool(there.BlockPublicPolicy),
		RestrictPublicBuckets: aws.ToBool(there.RestrictPublicBuckets),
	}, nil
}

// SetBlock replaces the bucket's public access block.
func (b *Bucket) SetBlock(ctx context.Context, block bucket.Block) error {
	_, err := b.client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
		PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(block.BlockPublicACLs), IgnorePublicAcls: aws.Bool(block.IgnorePublicACLs),
			BlockPublicPolicy:     aws.Bool(block.BlockPublicPolicy),
			RestrictPublicBuckets: aws.Bool(block.RestrictPublicBuckets),
		},
	})
	return b.explain(err)
}

// SetPolicy replaces the bucket's policy.
func (b *Bucket) SetPolicy(ctx context.Context, policy string) error {
	_, err := b.client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
		Policy: aws.String(policy),
	})
	return b.explain(err)
}

// explain adds to a refusal what S3 does not say: that another account may own the bucket.
func (b *Bucket) explain(err error) error {
	err = classify(err)
	refused, ok := errors.AsType[*Error](err)
	if ok && (refused.Status == http.StatusForbidden || refused.Code == "AccessDenied") {
		return fmt.Errorf("account %s does not own bucket %s, or these credentials may not do this: %w",
			b.owner, b.name, err)
	}
	return err
}

// Policy returns the bucket's policy, empty if it has none.
func (b *Bucket) Policy(ctx context.Context) (string, error) {
	answer, err := b.client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner),
	})
	if refused, ok := errors.AsType[*Error](classify(err)); ok && refused.Code == "NoSuchBucketPolicy" {
		return "", nil
	}
	if err != nil {
		return "", b.explain(err)
	}
	return aws.ToString(answer.Policy), nil
}

// Read returns an object, one without a Version if it does not exist.
func (b *Bucket) Read(ctx context.Context, name string) (document.Object, error) {
	answer, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: aws.String(b.name), ExpectedBucketOwner: aws.String(b.owner), Key: aws.String(b.Key(name)),
	})
	if _, missing := errors.AsType[*s3types.NoSuchKey](err); missing {
		return document.Object{Name: name}, nil
	}
	if err != nil {
		return document.Object{}, b.explain(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxObject))
	if err != nil {
		return document.Object{}, err
	}
	return document.Object{
		Name: name, Text: text, ContentType: aws.ToString(answer.ContentType),
		CacheControl: aws.ToString(answer.CacheControl), Version: aws.ToString(answer.ETag),
	}, nil
}

// Write replaces only the version that was read: S3 compares them.
func (b *Bucket) Write(ctx context.Context, write document.Write) error {
	input := &s3.PutObjectInput{
		Bucket: aws.String(b.name), Key: aws.String(b.Key(write.Object.Name)), Body: bytes.NewReader(write.Object.Text),
		ContentType: aws.String(write.Object.ContentType), CacheControl: aws.String(write.Object.CacheControl),
		ExpectedBucketOwner:  aws.String(b.owner),
		ServerSideEncryption: s3types.ServerSideEncryptionAes256, // KMS objects cannot be read anonymously
	}
	if write.Replaces == "" {
		input.IfNoneMatch = aws.String("*")
	} else {
		input.IfMatch = aws.String(write.Replaces)
	}
	_, err := b.client.PutObject(ctx, input)
	// An object that has been deleted meanwhile is NoSuchKey.
	refused, ok := errors.AsType[*Error](classify(err))
	if ok && (refused.Status == http.StatusPreconditionFailed ||
		refused.Code == "ConditionalRequestConflict" || refused.Code == "NoSuchKey") {
		return document.ErrChanged
	}
	return b.explain(err)
}
