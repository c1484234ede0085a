package localaws_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/credential"
)

func (w *world) s3Client(c credential.AWS, options ...func(*s3.Options)) *s3.Client {
	o := s3.Options{
		Region:                     "us-east-1",
		BaseEndpoint:               aws.String(w.url),
		Credentials:                w.provider(c),
		UsePathStyle:               true,
		RetryMaxAttempts:           1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}
	if c.AccessKeyID == "" {
		o.Credentials = aws.AnonymousCredentials{}
	}
	return s3.New(o, options...)
}

// bucket makes one with the administrator's client.
func (w *world) bucket(name string) *s3.Client {
	w.t.Helper()
	client := w.s3Client(w.admin)
	if _, err := client.CreateBucket(w.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		w.t.Fatal(err)
	}
	return client
}

func (w *world) put(client *s3.Client, bucket, key, content string, edits ...func(*s3.PutObjectInput)) error {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}
	for _, edit := range edits {
		edit(in)
	}
	_, err := client.PutObject(w.t.Context(), in)
	return err
}

func codeOf(err error) string {
	if refused, ok := errors.AsType[smithy.APIError](err); ok {
		return refused.ErrorCode()
	}
	return fmt.Sprint(err)
}

// wantCode checks the code of an error; empty wants none.
func wantCode(t *testing.T, name string, err error, code string) {
	t.Helper()
	if (code == "") != (err == nil) || (err != nil && codeOf(err) != code) {
		t.Errorf("%s: %v, want %q", name, err, code)
	}
}

func newS3World(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.realTime()
	return w
}

func TestS3Objects(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, client := t.Context(), w.bucket("objects")
	key := "a b/ü+%2F//x"
	put, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:       aws.String("objects"),
		Key:          &key,
		Body:         strings.NewReader("hello world"),
		ContentType:  aws.String("application/json"),
		CacheControl: aws.String("no-cache"),
		Metadata:     map[string]string{"Name": "value"},
		Tagging:      aws.String("team=a&x="),
	})
	if err != nil || *put.ETag != `"5eb63bbbe01eeed093cb22bb8f5acdc3"` ||
		aws.ToString(put.ChecksumCRC32) != "DUoRhQ==" {
		t.Fatalf("put: %+v %v", put, err)
	}
	get := func(edit func(*s3.GetObjectInput)) (*s3.GetObjectOutput, string, error) {
		in := &s3.GetObjectInput{Bucket: aws.String("objects"), Key: &key, ChecksumMode: types.ChecksumModeEnabled}
		edit(in)
		out, err := client.GetObject(ctx, in)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = out.Body.Close() }()
		body, err := io.ReadAll(out.Body)
		return out, string(body), err
	}
	got, body, err := get(func(*s3.GetObjectInput) {})
	if err != nil || body != "hello world" || *got.ContentType != "application/json" ||
		*got.CacheControl != "no-cache" || got.Metadata["name"] != "value" ||
		*got.ETag != *put.ETag || aws.ToInt32(got.TagCount) != 2 || aws.ToString(got.ChecksumCRC32) != "DUoRhQ==" {
		t.Errorf("get: %+v %q %v", got, body, err)
	}
	for _, row := range []struct{ asked, want, code string }{
		{"bytes=0-4", "hello", ""},
		{"bytes=6-", "world", ""},
		{"bytes=-3", "rld", ""},
		{"bytes=-99", "hello world", ""},
		{"bytes=4-99", "o world", ""},
		{"bytes=5-2", "hello world", ""},
		{"bytes=0-1,3-4", "hello world", ""},
		{"lines=1-2", "hello world", ""},
		{"bytes=11-", "", "InvalidRange"},
		{"bytes=-0", "", "InvalidRange"},
	} {
		_, body, err := get(func(in *s3.GetObjectInput) { in.Range = aws.String(row.asked) })
		if wantCode(t, row.asked, err, row.code); body != row.want {
			t.Errorf("%s: %q, want %q", row.asked, body, row.want)
		}
	}
	for name, row := range map[string]struct {
		edit func(*s3.GetObjectInput)
		code string
	}{
		"If-Match": {func(in *s3.GetObjectInput) { in.IfMatch = put.ETag }, ""},
		"If-Match, another": {
			func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"x"`) },
			"PreconditionFailed",
		},
		"If-None-Match":          {func(in *s3.GetObjectInput) { in.IfNoneMatch = put.ETag }, "NotModified"},
		"If-None-Match, another": {func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String(`"x"`) }, ""},
		"If-Modified-Since": {
			func(in *s3.GetObjectInput) { in.IfModifiedSince = aws.Time(time.Now().Add(time.Hour)) },
			"NotModified",
		},
		"If-Modified-Since, then": {
			func(in *s3.GetObjectInput) { in.IfModifiedSince = aws.Time(time.Now().Add(-time.Hour)) },
			"",
		},
		"If-Unmodified-Since": {
			func(in *s3.GetObjectInput) { in.IfUnmodifiedSince = aws.Time(time.Now().Add(-time.Hour)) },
			"PreconditionFailed",
		},
	} {
		_, _, err := get(row.edit)
		if row.code == "NotModified" {
			var status interface{ HTTPStatusCode() int }
			if !errors.As(err, &status) || status.HTTPStatusCode() != http.StatusNotModified {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantCode(t, name, err, row.code)
	}
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("objects"), Key: &key})
	if err != nil || *head.ContentLength != 11 || head.Metadata["name"] != "value" {
		t.Errorf("head: %+v %v", head, err)
	}
	_, err = client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("objects"), Key: aws.String("none")})
	wantCode(t, "head of nothing", err, "NotFound")
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("objects"), Key: aws.String("none")})
	wantCode(t, "get of nothing", err, "NoSuchKey")
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("nobucket"), Key: aws.String("none")})
	wantCode(t, "no bucket", err, "NoSuchBucket")

	copied, err := client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket:     aws.String("objects"),
		Key:        aws.String("copy"),
		CopySource: aws.String("objects/" + url.PathEscape(key)),
	})
	if err != nil || *copied.CopyObjectResult.ETag != *put.ETag {
		t.Errorf("copy: %+v %v", copied, err)
	}
	tags, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
		Bucket: aws.String("objects"),
		Key:    aws.String("copy"),
	})
	if err != nil || len(tags.TagSet) != 2 || *tags.TagSet[0].Key != "team" {
		t.Errorf("tags: %+v %v", tags, err)
	}
	_, err = client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket:     aws.String("objects"),
		Key:        aws.String("copy"),
		CopySource: aws.String("objects/copy"),
	})
	wantCode(t, "onto itself", err, "InvalidRequest")
	_, err = client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket:            aws.String("objects"),
		Key:               aws.String("copy"),
		CopySource:        aws.String("objects/copy"),
		MetadataDirective: "REPLACE",
		ContentType:       aws.String("text/plain"),
	})
	wantCode(t, "onto itself with other data", err, "")

	for name, row := range map[string]struct {
		edit func(*s3.PutObjectInput)
		code string
	}{
		"only if there is none": {
			func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") },
			"PreconditionFailed",
		},
		"only if it is another": {
			func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"x"`) },
			"PreconditionFailed",
		},
		"a wrong MD5": {
			func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("XrY7u+Ae7tCTyyK7j1rNww==") },
			"BadDigest",
		},
		"no MD5": {
			func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("abc") },
			"InvalidDigest",
		},
		"a wrong SHA256": {
			func(in *s3.PutObjectInput) { in.ChecksumSHA256 = aws.String(strings.Repeat("A", 43) + "=") },
			"BadDigest",
		},
		"a key's encryption": {
			func(in *s3.PutObjectInput) { in.ServerSideEncryption = "aws:kms" },
			"NotImplemented",
		},
		"a list": {
			func(in *s3.PutObjectInput) { in.ACL = "public-read" },
			"AccessControlListNotSupported",
		},
		"the list that is as good": {func(in *s3.PutObjectInput) { in.ACL = "bucket-owner-full-control" }, ""},
		"eleven tags": {
			func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=") },
			"BadRequest",
		},
		"a long key": {
			func(in *s3.PutObjectInput) { in.Key = aws.String(strings.Repeat("k", 1025)) },
			"KeyTooLongError",
		},
		"metadata beyond the limit": {
			func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"a": strings.Repeat("b", 3000)} },
			"MetadataTooLarge",
		},
		"a checksum that is verified": {func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = "SHA256" }, ""},
		"another one":                 {func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = "CRC64NVME" }, ""},
	} {
		wantCode(t, name, w.put(client, "objects", "copy", "content", row.edit), row.code)
	}
	_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("objects")})
	wantCode(t, "not empty", err, "BucketNotEmpty")
	deleted, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: aws.String("objects"),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &key}, {Key: aws.String("never")}}},
	})
	if err != nil || len(deleted.Deleted) != 2 || len(deleted.Errors) != 0 {
		t.Errorf("delete: %+v %v", deleted, err)
	}
	_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("objects"), Key: aws.String("copy")})
	wantCode(t, "delete", err, "")
	_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("objects")})
	wantCode(t, "empty", err, "")
	_, err = client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("objects")})
	wantCode(t, "gone", err, "NotFound")
}

func TestS3Buckets(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, client := t.Context(), w.s3Client(w.admin)
	ireland := w.s3Client(w.admin, func(o *s3.Options) { o.Region = "eu-west-1" })
	other, _ := w.accounts.Find(otherAccount)
	key, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	in := func(region string) *types.CreateBucketConfiguration {
		return &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	for _, row := range []struct {
		name, bucket string
		client       *s3.Client
		where        *types.CreateBucketConfiguration
		code         string
	}{
		{"us-east-1", "here", client, nil, ""},
		{"again", "here", client, nil, ""},
		{"another region", "there", ireland, in("eu-west-1"), ""},
		{"again there", "there", ireland, in("eu-west-1"), "BucketAlreadyOwnedByYou"},
		{"of another account", "there", w.s3Client(key), nil, "BucketAlreadyExists"},
		{"no region there", "elsewhere", ireland, nil, "IllegalLocationConstraintException"},
		{"another's region", "elsewhere", ireland, in("eu-west-2"), "IllegalLocationConstraintException"},
		{"us-east-1 named", "elsewhere", client, in("us-east-1"), "InvalidLocationConstraint"},
		{"capitals", "Elsewhere", client, nil, "InvalidBucketName"},
		{"an address", "192.168.1.1", client, nil, "InvalidBucketName"},
		{"two dots", "a..b", client, nil, "InvalidBucketName"},
	} {
		_, err := row.client.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket:                    &row.bucket,
			CreateBucketConfiguration: row.where,
		})
		wantCode(t, row.name, err, row.code)
	}
	list, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 || *list.Buckets[1].Name != "there" ||
		aws.ToString(list.Buckets[1].BucketRegion) != "eu-west-1" {
		t.Errorf("list: %+v %v", list, err)
	}
	where, err := client.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String("there")})
	if err != nil || where.LocationConstraint != "eu-west-1" {
		t.Errorf("location: %+v %v", where, err)
	}
	block, err := client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String("here")})
	if err != nil || !*block.PublicAccessBlockConfiguration.BlockPublicAcls ||
		!*block.PublicAccessBlockConfiguration.RestrictPublicBuckets {
		t.Errorf("block: %+v %v", block, err)
	}
	own, err := client.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: aws.String("here")})
	if err != nil || own.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("ownership: %+v %v", own, err)
	}
	list2, err := client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String("here")})
	if err != nil || len(list2.Grants) != 1 || list2.Grants[0].Permission != "FULL_CONTROL" ||
		len(*list2.Owner.ID) != 64 {
		t.Errorf("acl: %+v %v", list2, err)
	}
	_, err = client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{
		Bucket:  aws.String("here"),
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}},
	})
	wantCode(t, "tag", err, "")
	tags, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String("here")})
	if err != nil || *tags.TagSet[0].Value != "b" {
		t.Errorf("tags: %+v %v", tags, err)
	}
	_, err = client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String("there")})
	wantCode(t, "no tags", err, "NoSuchTagSet")
	_, err = client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String("here")})
	wantCode(t, "no policy", err, "NoSuchBucketPolicy")
	version, err := client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String("here")})
	if err != nil || version.Status != "" {
		t.Errorf("versioning: %+v %v", version, err)
	}
}

func TestS3Lists(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, client := t.Context(), w.bucket("lists")
	for _, key := range []string{"a/1", "a/2", "b", "c/d/1", "c/e", "z & <x>"} {
		if err := w.put(client, "lists", key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		prefix, delimiter, after string
		size                     int32
		want                     string
	}{
		{"", "", "", 1000, "a/1 a/2 b c/d/1 c/e z & <x>"},
		{"", "", "", 2, "a/1 a/2 | b c/d/1 | c/e z & <x>"},
		{"", "/", "", 1000, "b z & <x> a/ c/"},
		{"", "/", "", 1, "a/ | b | c/ | z & <x>"},
		{"c/", "/", "", 1000, "c/e c/d/"},
		{"c/", "", "", 1, "c/d/1 | c/e"},
		{"", "", "b", 1000, "c/d/1 c/e z & <x>"},
		{"nothing", "", "", 1000, ""},
	} {
		var pages, pages1 []string
		pager := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{
			Bucket:     aws.String("lists"),
			Prefix:     &row.prefix,
			Delimiter:  &row.delimiter,
			StartAfter: &row.after,
			MaxKeys:    &row.size,
		})
		for pager.HasMorePages() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, names(page.Contents, page.CommonPrefixes))
			if int(*page.KeyCount) != len(page.Contents)+len(page.CommonPrefixes) {
				t.Errorf("%+v: key count %d", row, *page.KeyCount)
			}
		}
		marker := row.after
		for {
			page, err := client.ListObjects(ctx, &s3.ListObjectsInput{
				Bucket:       aws.String("lists"),
				Prefix:       &row.prefix,
				Delimiter:    &row.delimiter,
				Marker:       &marker,
				MaxKeys:      &row.size,
				EncodingType: types.EncodingTypeUrl,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range page.Contents {
				text, _ := url.QueryUnescape(*page.Contents[i].Key)
				page.Contents[i].Key = &text
			}
			pages1 = append(pages1, names(page.Contents, page.CommonPrefixes))
			if !*page.IsTruncated {
				break
			}
			if marker = aws.ToString(page.NextMarker); marker == "" {
				marker = *page.Contents[len(page.Contents)-1].Key
			}
			marker, _ = url.QueryUnescape(marker)
		}
		if got := strings.Join(pages, " | "); got != row.want || strings.Join(pages1, " | ") != row.want {
			t.Errorf("%+v: %q and %q", row, got, strings.Join(pages1, " | "))
		}
	}
	_, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket:            aws.String("lists"),
		ContinuationToken: aws.String("x"),
	})
	wantCode(t, "a token of one's own", err, "InvalidArgument")
}

func names(contents []types.Object, prefixes []types.CommonPrefix) string {
	var all []string
	for _, one := range contents {
		all = append(all, *one.Key)
	}
	for _, one := range prefixes {
		all = append(all, *one.Prefix)
	}
	return strings.Join(all, " ")
}

func TestS3Multipart(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	ctx, client := t.Context(), w.bucket("parts")
	bucket, key := aws.String("parts"), aws.String("big")
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket:            bucket,
		Key:               key,
		ContentType:       aws.String("text/plain"),
		ChecksumAlgorithm: "CRC32",
	})
	if err != nil {
		t.Fatal(err)
	}
	first, second := bytes.Repeat([]byte("a"), 5<<20), []byte("end")
	var parts []types.CompletedPart
	for i, body := range [][]byte{first, second} {
		part, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket:     bucket,
			Key:        key,
			UploadId:   upload.UploadId,
			PartNumber: aws.Int32(int32(i + 1)),
			Body:       bytes.NewReader(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{
			PartNumber:    aws.Int32(int32(i + 1)),
			ETag:          part.ETag,
			ChecksumCRC32: part.ChecksumCRC32,
		})
	}
	listed, err := client.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: upload.UploadId})
	if err != nil || len(listed.Parts) != 2 || *listed.Parts[0].Size != 5<<20 {
		t.Errorf("parts: %+v %v", listed, err)
	}
	open, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	if err != nil || len(open.Uploads) != 1 || *open.Uploads[0].UploadId != *upload.UploadId {
		t.Errorf("uploads: %+v %v", open, err)
	}
	complete := func(parts []types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
		return client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket:          bucket,
			Key:             key,
			UploadId:        upload.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	_, err = complete([]types.CompletedPart{parts[1], parts[0]})
	wantCode(t, "order", err, "InvalidPartOrder")
	_, err = complete([]types.CompletedPart{{PartNumber: aws.Int32(1), ETag: aws.String("x")}})
	wantCode(t, "another tag", err, "InvalidPart")
	done, err := complete(parts)
	if err != nil || !strings.HasSuffix(*done.ETag, `-2"`) ||
		!strings.HasSuffix(aws.ToString(done.ChecksumCRC32), "-2") {
		t.Fatalf("complete: %+v %v", done, err)
	}
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(body, slices.Concat(first, second)) || *got.ContentType != "text/plain" {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	_, err = complete(parts)
	wantCode(t, "twice", err, "NoSuchUpload")
	_, err = client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket:   bucket,
		Key:      key,
		UploadId: upload.UploadId,
	})
	wantCode(t, "abort", err, "NoSuchUpload")
}
