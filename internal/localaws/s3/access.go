package s3

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// allow decides one action: by the caller's policies and the bucket's, and if
// they say nothing, by the access control list. An explicit deny is final.
func (c *call) allow(action string, on scope) error {
	target, err := c.target(on)
	if err != nil {
		return err
	}
	err = c.Allow("s3:"+action, target)
	refused, ok := errors.AsType[*wire.Error](err)
	if err == nil || !ok || refused.Explanation == nil ||
		refused.Explanation.Decision == policy.ExplicitDeny.String() || c.bucket == nil {
		return err
	}
	granted, blocked := c.granted(action)
	if granted != "" && !blocked {
		if target.Policy, err = c.Accounts.Parse(policy.Resource, "access control list", granted); err != nil {
			return err
		}
		if c.Allow("s3:"+action, target) == nil {
			return nil
		}
	}
	switch {
	case blocked:
		refused.Reason += "; an access control list would allow it, but the bucket's public access block ignores it"
	case c.restricted():
		refused.Reason += "; the bucket policy is public, and the public access block restricts such a bucket to " +
			"its own account"
	}
	return refused
}

// target is what policies see.
func (c *call) target(on scope) (service.Target, error) {
	target := service.Target{ARN: "arn:aws:s3:::*", Context: c.context()}
	if on == onAll {
		return target, nil
	}
	target.ARN = "arn:aws:s3:::" + c.name
	if on == onObject {
		target.ARN += "/" + c.key
		if c.object != nil {
			for _, tag := range c.object.Tags {
				target.Context["s3:ExistingObjectTag/"+tag.Key] = tag.Value
			}
		}
	}
	// A bucket that is to be created counts as the caller's, even if it exists already.
	if c.bucket == nil || c.Operation == "CreateBucket" {
		return target, nil
	}
	target.Owner = c.bucket.Account
	if c.bucket.Policy == "" || c.restricted() {
		return target, nil
	}
	var err error
	target.Policy, err = c.Accounts.Parse(policy.Resource, "bucket policy of "+c.name, c.bucket.Policy)
	return target, err
}

// restricted: a public bucket policy does nothing for others where public access
// is restricted.
func (c *call) restricted() bool {
	return c.bucket != nil && c.bucket.Block != nil && c.bucket.Block.RestrictPublicBuckets && c.bucket.Policy != "" &&
		c.Caller.Principal.Account != c.bucket.Account && isPublic(c.bucket.Policy)
}

// headerKeys are headers that are condition keys.
var headerKeys = []string{
	"x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-metadata-directive", "x-amz-storage-class",
	"x-amz-server-side-encryption",
	"x-amz-grant-read", "x-amz-grant-write", "x-amz-grant-read-acp", "x-amz-grant-write-acp",
	"x-amz-grant-full-control", "x-amz-object-ownership",
}

// context holds S3's condition keys of the call.
func (c *call) context() map[string]string {
	keys := map[string]string{"s3:ResourceAccount": c.owner()}
	for _, name := range headerKeys {
		if c.HTTP.Header.Get(name) != "" {
			keys["s3:"+name] = c.HTTP.Header.Get(name)
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if c.HTTP.Method == http.MethodPut && c.header(name) != "" {
			keys["s3:"+strings.ToLower(name)] = c.header(name)
		}
	}
	if withTags(c) {
		tags, _ := tagsOfHeader(c.header("X-Amz-Tagging")) // errors in them are reported later
		for _, tag := range tags {
			keys["s3:RequestObjectTag/"+tag.Key] = tag.Value
		}
	}
	if c.Signature.Version != "" {
		keys["s3:signatureversion"], keys["s3:authType"] = c.Signature.Version, "REST-HEADER"
		if c.Signature.InQuery {
			keys["s3:authType"] = "REST-QUERY-STRING"
		}
	}
	switch c.Operation {
	case "ListObjects", "ListObjectsV2", "ListMultipartUploads":
		for _, name := range []string{"prefix", "delimiter", "max-keys"} {
			if c.query.Has(name) {
				keys["s3:"+name] = c.query.Get(name)
			}
		}
	}
	maps.Copy(keys, c.keys)
	return keys
}

func (c *call) owner() string {
	if c.bucket != nil {
		return c.bucket.Account
	}
	if c.Account != nil {
		return c.Account.ID
	}
	return ""
}

// Groups of access control lists.
const (
	allUsers      = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticated = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	logDelivery   = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

// permissions are what a list must grant for an action, and on what.
var permissions = map[string]struct {
	on    scope
	grant string
}{
	"ListBucket": {onBucket, "READ"}, "ListBucketMultipartUploads": {onBucket, "READ"},
	"PutObject": {onBucket, "WRITE"}, "DeleteObject": {onBucket, "WRITE"},
	"GetBucketAcl": {onBucket, "READ_ACP"}, "PutBucketAcl": {onBucket, "WRITE_ACP"},
	"GetObject": {onObject, "READ"}, "GetObjectAcl": {onObject, "READ_ACP"}, "PutObjectAcl": {onObject, "WRITE_ACP"},
}

// granted is what the access control list grants the caller for an action, as a
// policy; empty if nothing. blocked says that the public access block removes
// it.
func (c *call) granted(action string) (text string, blocked bool) {
	wanted, found := permissions[action]
	if !found || c.ownership() == bucketOwnerEnforced {
		return "", false
	}
	grants := c.bucket.Grants
	if wanted.on == onObject {
		if c.object == nil {
			return "", false
		}
		grants = c.object.Grants
	}
	own := c.Caller.Principal.Account
	anonymous := c.Caller.Principal.Kind == policy.Anonymous
	ignore := c.bucket.Block != nil && c.bucket.Block.IgnorePublicAcls
	principal := ""
	for _, grant := range grants {
		isGroup := grant.Grantee == allUsers || (grant.Grantee == authenticated && !anonymous)
		switch {
		case grant.Permission != wanted.grant && grant.Permission != "FULL_CONTROL":
		case isGroup && ignore:
			blocked = true
		case isGroup:
			principal = "*"
		case own != "" && grant.Grantee == canonicalID(own):
			principal = cmp.Or(principal, own)
		}
	}
	if principal == "" {
		return "", blocked
	}
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"AWS": principal}, "Action": "s3:" + action, "Resource": "*",
	}})
	if err != nil {
		return "", false // texts can be encoded
	}
	return string(document), false
}

// Ways of ownership.
const (
	bucketOwnerEnforced  = "BucketOwnerEnforced"
	bucketOwnerPreferred = "BucketOwnerPreferred"
	objectWriter         = "ObjectWriter"
)

// ownership of a bucket without controls is what it was before they existed.
func (c *call) ownership() string { return cmp.Or(c.bucket.Ownership, objectWriter) }

// owned is the bucket's owner as lists show it.
func (c *call) owned() ownerXML { return ownerXML{ID: canonicalID(c.bucket.Account)} }

// blocks reports a part of the public access block.
func blocks(b *Bucket, which func(*PublicAccessBlock) bool) bool {
	return b.Block != nil && which(b.Block)
}
