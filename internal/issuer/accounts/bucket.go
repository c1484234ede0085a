package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
)

// BucketOptions say how a bucket is made ready.
type BucketOptions struct {
	// JWKSPath is where the keys are, below the prefix.
	JWKSPath string
	// Behind says that something else than S3 serves the bucket to readers, and may have a
	// way in of its own: a bucket that cannot be opened is told and no error.
	Behind bool
	// AddStatement lets one statement be added to the policy of a bucket that was not made
	// here.
	AddStatement bool
	// DryRun changes nothing.
	DryRun bool
	// Tell is told each thing that is going to be done, before any is.
	Tell func(step string)
	Now  time.Time
}

// EnsureBucket makes the bucket unless it is there, and opens exactly the two documents to
// anybody. Of a bucket that was not made here, which others may use, it changes one
// statement of the policy at most, and that only when asked; what else is missing is an
// error that says what the bucket's owner can do.
func EnsureBucket(ctx context.Context, target *v1alpha1.S3Target, options BucketOptions) error {
	place, err := openBucket(ctx, target)
	if err != nil {
		return err
	}
	w := &bucketWork{place: place, target: target, options: options}
	exists, err := place.Exists(ctx)
	switch {
	case err != nil:
		return w.denied("look at", err)
	case !exists:
		w.create()
	default:
		if err := w.complete(ctx); err != nil {
			return err
		}
	}
	for _, step := range w.steps {
		options.Tell(step.says)
	}
	if options.DryRun {
		return nil
	}
	for _, step := range w.steps {
		err := step.do(ctx)
		if err != nil && step.verb == "open" && options.Behind {
			options.Tell("note: " + w.denied(step.verb, err).Error() +
				"; what serves the bucket must have a way in of its own")
			return nil
		}
		if err != nil {
			return w.denied(step.verb, err)
		}
	}
	return nil
}

// bucketWork is what is to be done.
type bucketWork struct {
	place   *awsapi.Bucket
	target  *v1alpha1.S3Target
	options BucketOptions
	steps   []bucketStep
}

type bucketStep struct {
	says, verb string
	do         func(context.Context) error
}

func (w *bucketWork) step(verb, says string, do func(context.Context) error) {
	w.steps = append(w.steps, bucketStep{says: says, verb: verb, do: do})
}

func (w *bucketWork) objects() []string {
	return []string{w.place.Key(document.DiscoveryPath), w.place.Key(w.options.JWKSPath)}
}

// create makes a bucket as it should be: access control lists are off, and its policy opens
// two objects.
func (w *bucketWork) create() {
	w.step("make", fmt.Sprintf("make bucket %s in %s, marked by the tag %s", w.target.Bucket, w.target.Region,
		awsapi.MadeTag), w.place.Create)
	w.step("keep versions in", "keep versions of what is published", w.place.KeepVersions)
	w.step("open", "let its policy open objects, and ignore access control lists", func(ctx context.Context) error {
		return w.place.SetBlock(ctx, bucket.Block{BlockPublicACLs: true, IgnorePublicACLs: true})
	})
	w.open("")
}

// open adds the one statement.
func (w *bucketWork) open(policy string) {
	w.step("open", fmt.Sprintf("add one statement to its policy, which lets anybody read %s and %s, and nothing else",
		w.objects()[0], w.objects()[1]), func(ctx context.Context) error {
		now, err := w.place.Policy(ctx)
		if err != nil {
			return err
		}
		if now != policy {
			return errors.New("its policy has changed meanwhile: try again")
		}
		added, err := bucket.Add(now, w.target.Region, w.target.Bucket, w.objects())
		if err != nil {
			return err
		}
		return w.place.SetPolicy(ctx, added)
	})
}

// complete does for a bucket that is there what may be done.
func (w *bucketWork) complete(ctx context.Context) error {
	made := w.place.Made(ctx)
	if !made {
		w.options.Tell("write " + strings.Join(w.objects(), " and ") + " to bucket " + w.target.Bucket +
			", which was not made here; its settings stay as they are")
	}
	// One who may not look is told nothing.
	if kept, err := w.place.Versions(ctx); err == nil && kept == "" {
		if made {
			w.step("keep versions in", "keep versions of what is published", w.place.KeepVersions)
		} else {
			w.options.Tell("note: the bucket keeps no versions, so that what is overwritten is lost; its owner turns " +
				"them on: aws s3api put-bucket-versioning --bucket " + w.target.Bucket +
				" --versioning-configuration Status=Enabled")
		}
	}
	access := bucket.Access{}
	var err error
	if access.Policy, err = w.place.Policy(ctx); err != nil {
		return w.denied("read the policy of", err)
	}
	if access.Block, err = w.place.Block(ctx); err != nil {
		return w.denied("read the public access block of", err)
	}
	closed := w.closed(access)
	switch {
	case closed == nil:
		return nil
	case w.options.Behind && !w.options.AddStatement:
		w.options.Tell("note: " + closed.Error() + "; what serves the bucket must have a way in of its own")
		return nil
	}
	if blocked := access.Block.BlockPublicPolicy || access.Block.RestrictPublicBuckets; blocked {
		if !made {
			return w.missing(closed, access)
		}
		access.Block.BlockPublicPolicy, access.Block.RestrictPublicBuckets = false, false
		block := access.Block
		w.step("open", "let its policy open objects", func(ctx context.Context) error {
			return w.place.SetBlock(ctx, block)
		})
	}
	if closed = w.closed(access); closed == nil {
		return nil
	}
	if !made && !w.options.AddStatement {
		return w.missing(closed, access)
	}
	// What a Deny refuses, or nobody can judge, is not opened by one statement more.
	added, err := bucket.Add(access.Policy, w.target.Region, w.target.Bucket, w.objects())
	if err != nil {
		return w.missing(err, access)
	}
	if closed := w.closed(bucket.Access{Policy: added, Block: access.Block}); closed != nil {
		return w.missing(closed, access)
	}
	w.open(access.Policy)
	return nil
}

// closed is why anybody cannot read one of the objects.
func (w *bucketWork) closed(access bucket.Access) error {
	for _, key := range w.objects() {
		place := bucket.Place{
			Region: w.target.Region, Owner: w.place.Owner(), Bucket: w.target.Bucket, Key: key,
		}
		if err := access.Open(place, w.options.Now); err != nil {
			return fmt.Errorf("anybody cannot read %s: %w", key, err)
		}
	}
	return nil
}

// missing says what a bucket of others lacks, and how its owner would give it.
func (w *bucketWork) missing(why error, access bucket.Access) error {
	name := w.target.Bucket
	refused := fault.New(fault.Conflict, "bucket %s was not made here and is left as it is: %w", name, why)
	if access.Block.BlockPublicPolicy || access.Block.RestrictPublicBuckets {
		refused = refused.Hint("its owner lets its policy open objects: aws s3api put-public-access-block --bucket %s "+
			"--expected-bucket-owner %s --public-access-block-configuration BlockPublicAcls=%t,IgnorePublicAcls=%t,"+
			"BlockPublicPolicy=false,RestrictPublicBuckets=false", name, w.place.Owner(), access.Block.BlockPublicACLs,
			access.Block.IgnorePublicACLs)
	}
	ours, err := bucket.Policy(w.target.Region, name, w.objects())
	switch {
	case errors.Is(why, bucket.ErrDenied):
		return refused.Hint("its owner takes the two objects out of what that statement denies, or another bucket is used")
	case errors.Is(why, bucket.ErrUnread) || err != nil:
		return refused.Hint("add to its policy: %s", ours)
	case access.Policy == "":
		refused = refused.Hint("its owner sets a policy: aws s3api put-bucket-policy --bucket %s --expected-bucket-owner "+
			"%s --policy '%s'", name, w.place.Owner(), ours)
	default:
		refused = refused.Hint("add to its policy: %s", ours)
	}
	return refused.Hint("--add-statement adds that one statement to its policy, and changes nothing else of the bucket")
}

// denied is the refusal of S3.
func (w *bucketWork) denied(verb string, err error) error {
	refused := fault.New(fault.Denied, "%s bucket %s: %w", verb, w.target.Bucket, err)
	if api, ok := errors.AsType[*awsapi.Error](err); ok {
		switch {
		case api.Code == "BucketAlreadyExists":
			return refused.Hint("another account owns the bucket: choose another name")
		case verb == "open":
			return refused.Hint("if the account blocks public buckets, put CloudFront in front and give its address " +
				"with --url")
		case api.Status == 403:
			return refused.Hint("if another account owns it, and shall: --bucket-owner ACCOUNT")
		}
	}
	return refused
}

// CheckBucket says why the keys cannot be read from a bucket as one of the account that must
// own it, and whether S3 has refused it; empty if they can.
func CheckBucket(ctx context.Context, target *v1alpha1.S3Target, jwksPath string) (why string, denied bool) {
	place, err := openBucket(ctx, target)
	if err == nil {
		_, err = place.Read(ctx, jwksPath)
	}
	if err == nil {
		return "", false
	}
	refused, ok := errors.AsType[*awsapi.Error](err)
	return err.Error(), ok && refused.Code == "AccessDenied" && strings.HasPrefix(refused.Operation, "S3:")
}
