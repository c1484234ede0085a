package awsapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/rolecall/rolecall/internal/issuer/document"
)

// maxObject bounds how much of an object is read.
const maxObject = 1 << 20

// Bucket is a prefix in an S3 bucket.
type Bucket struct {
	client               *s3.Client
	name, region, prefix string
}

// Bucket returns a prefix in a bucket of the account's region.
func (a *Account) Bucket(name, prefix string) *Bucket {
	client := s3.NewFromConfig(a.config, func(o *s3.Options) {
		// Only AWS has a host for each bucket: other endpoints and certificates
		// do not.
		o.UsePathStyle = o.BaseEndpoint != nil || a.config.BaseEndpoint != nil || strings.Contains(name, ".")
	})
	return &Bucket{client: client, name: name, region: a.config.Region, prefix: strings.Trim(prefix, "/")}
}

// Key returns the object's key of a name below the prefix.
func (b *Bucket) Key(name string) string {
	if b.prefix == "" {
		return name
	}
	return b.prefix + "/" + name
}

// Ensure creates the bucket unless it exists, versioned, so that what a mistaken
// publication overwrites can be recovered. Stores like S3 that keep no versions,
// such as a local AWS, are used without them.
func (b *Bucket) Ensure(ctx context.Context) error {
	input := &s3.CreateBucketInput{Bucket: aws.String(b.name)}
	if b.region != "us-east-1" { // the one region that must not be named
		input.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{
			LocationConstraint: s3types.BucketLocationConstraint(b.region),
		}
	}
	_, err := b.client.CreateBucket(ctx, input)
	if _, ours := errors.AsType[*s3types.BucketAlreadyOwnedByYou](err); err != nil && !ours {
		return classify(err)
	}
	_, err = b.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  aws.String(b.name),
		VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	if refused, ok := errors.AsType[*Error](classify(err)); ok && refused.Code == "NotImplemented" {
		return nil
	}
	return classify(err)
}

// OpenTo lets a bucket policy, but still no ACL, make objects public, and sets
// the policy.
func (b *Bucket) OpenTo(ctx context.Context, policy string) error {
	_, err := b.client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(b.name),
		PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
			BlockPublicPolicy: aws.Bool(false), RestrictPublicBuckets: aws.Bool(false),
		},
	})
	if err != nil {
		return classify(err)
	}
	_, err = b.client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket: aws.String(b.name),
		Policy: aws.String(policy),
	})
	return classify(err)
}

// Policy returns the bucket's policy, empty if it has none.
func (b *Bucket) Policy(ctx context.Context) (string, error) {
	answer, err := b.client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String(b.name)})
	if refused, ok := errors.AsType[*Error](classify(err)); ok && refused.Code == "NoSuchBucketPolicy" {
		return "", nil
	}
	if err != nil {
		return "", classify(err)
	}
	return aws.ToString(answer.Policy), nil
}

// Read returns an object, one without a Version if it does not exist.
func (b *Bucket) Read(ctx context.Context, name string) (document.Object, error) {
	answer, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(b.name), Key: aws.String(b.Key(name))})
	if _, missing := errors.AsType[*s3types.NoSuchKey](err); missing {
		return document.Object{Name: name}, nil
	}
	if err != nil {
		return document.Object{}, classify(err)
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
	return classify(err)
}
