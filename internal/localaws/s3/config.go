package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func configOperations() map[string]operation {
	one := func(action string, do func(*call) (any, error)) operation {
		return operation{needs: []need{{action: action}}, do: do}
	}
	return map[string]operation{
		"GetBucketPolicy":               one("GetBucketPolicy", getPolicy),
		"PutBucketPolicy":               one("PutBucketPolicy", putPolicy),
		"DeleteBucketPolicy":            one("DeleteBucketPolicy", deletePolicy),
		"GetBucketPolicyStatus":         one("GetBucketPolicyStatus", getPolicyStatus),
		"GetBucketAcl":                  one("GetBucketAcl", getBucketACL),
		"PutBucketAcl":                  one("PutBucketAcl", putBucketACL),
		"GetPublicAccessBlock":          one("GetBucketPublicAccessBlock", getBlock),
		"PutPublicAccessBlock":          one("PutBucketPublicAccessBlock", putBlock),
		"DeletePublicAccessBlock":       one("PutBucketPublicAccessBlock", deleteBlock),
		"GetBucketOwnershipControls":    one("GetBucketOwnershipControls", getOwnership),
		"PutBucketOwnershipControls":    one("PutBucketOwnershipControls", putOwnership),
		"DeleteBucketOwnershipControls": one("PutBucketOwnershipControls", deleteOwnership),
		"GetBucketTagging":              one("GetBucketTagging", getBucketTags),
		"PutBucketTagging":              one("PutBucketTagging", putBucketTags),
		"DeleteBucketTagging":           one("PutBucketTagging", deleteBucketTags),
	}
}

// edit changes the bucket and answers with an empty body.
func (c *call) edit(f func(*Bucket)) (any, error) {
	return done(), c.change(func(_ account.State, b *Bucket) error {
		f(b)
		return nil
	})
}

// blockedBy is the refusal by a public access block.
func (c *call) blockedBy(setting, what string) error {
	return wire.Errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: s3:%s on "+
		"resource: \"arn:aws:s3:::%s\" because %s by the %s setting in S3 Block Public Access.",
		c.Caller.Principal.ARN, c.Operation, strings.TrimSuffix(c.name+"/"+c.key, "/"), what,
		setting).Because("the bucket's public access block has %s", setting)
}

// maxPolicy is the largest bucket policy in bytes.
const maxPolicy = 20 << 10

func getPolicy(c *call) (any, error) {
	if c.bucket.Policy == "" {
		return nil, refuse(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return &wire.Raw{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(c.bucket.Policy)}, nil
}

func putPolicy(c *call) (any, error) {
	text := string(c.Body)
	if len(text) > maxPolicy {
		return nil, badRequest("PolicyTooLarge", "Your policy exceeds the maximum allowed document size.")
	}
	parsed, err := c.Accounts.Parse(policy.Resource, "bucket policy of "+c.name, text)
	if refused, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return nil, wire.Errorf(
			http.StatusBadRequest, "MalformedPolicy", "%s", policyFault(refused),
		).Because("line %d, column %d: %s", refused.Line, refused.Column, refused.Detail)
	}
	if err != nil {
		return nil, err
	}
	if err := c.checkPolicy(text); err != nil {
		return nil, err
	}
	return done(), c.change(func(state account.State, b *Bucket) error {
		_, missing, err := state.Principals(parsed.Entities())
		if errors.Is(err, account.ErrNotFound) {
			return wire.Errorf(
				http.StatusBadRequest, "MalformedPolicy", "Invalid principal in policy",
			).Because("there is no %s", missing)
		}
		b.Policy = text
		return err
	})
}

// policyFault is S3's wording, which is IAM's except for these cases.
func policyFault(e *policy.SyntaxError) string {
	switch {
	case strings.Contains(e.Message, "rincipal"):
		return "Invalid principal in policy"
	case strings.Contains(e.Message, "JSON") || strings.Contains(e.Message, "Syntax"):
		return "Policies must be valid JSON and the first byte must be '{'"
	}
	return e.Message
}

// checkPolicy checks what only S3 checks.
func (c *call) checkPolicy(text string) error {
	own := "arn:aws:s3:::" + c.name
	for _, one := range statements(text) {
		if len(one.Principal) == 0 && len(one.NotPrincipal) == 0 {
			return badRequest("MalformedPolicy", "Missing required field Principal")
		}
		for _, pattern := range append(one.Resource, one.NotResource...) {
			if pattern != own && !strings.HasPrefix(pattern, own+"/") && !strings.HasPrefix(pattern, own+"*") &&
				pattern != "*" {
				return badRequest("MalformedPolicy", "Policy has invalid resource")
			}
		}
	}
	if isPublic(text) && blocks(c.bucket, func(b *PublicAccessBlock) bool { return b.BlockPublicPolicy }) {
		return c.blockedBy("BlockPublicPolicy", "public policies are prevented")
	}
	return nil
}

func deletePolicy(c *call) (any, error) { return c.edit(func(b *Bucket) { b.Policy = "" }) }

func getPolicyStatus(c *call) (any, error) {
	if c.bucket.Policy == "" {
		return getPolicy(c)
	}
	return struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PolicyStatus"`
		IsPublic bool
	}{IsPublic: isPublic(c.bucket.Policy)}, nil
}

type blockXML struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PublicAccessBlockConfiguration"`
	PublicAccessBlock
}

func getBlock(c *call) (any, error) {
	if c.bucket.Block == nil {
		return nil, refuse(
			http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration",
			"The public access block configuration was not found",
		)
	}
	return blockXML{PublicAccessBlock: *c.bucket.Block}, nil
}

func putBlock(c *call) (any, error) {
	var given struct {
		XMLName xml.Name `xml:"PublicAccessBlockConfiguration"`
		PublicAccessBlock
	}
	if err := parseXML(c.Body, &given); err != nil {
		return nil, err
	}
	_, err := c.edit(func(b *Bucket) { b.Block = &given.PublicAccessBlock })
	return nil, err
}

func deleteBlock(c *call) (any, error) { return c.edit(func(b *Bucket) { b.Block = nil }) }

func validOwnership(way string) bool {
	return way == bucketOwnerEnforced || way == bucketOwnerPreferred || way == objectWriter
}

type ownershipXML struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ OwnershipControls"`
	Ways    []string `xml:"Rule>ObjectOwnership"`
}

func getOwnership(c *call) (any, error) {
	if c.bucket.Ownership == "" {
		return nil, refuse(
			http.StatusNotFound, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found",
		)
	}
	return ownershipXML{Ways: []string{c.bucket.Ownership}}, nil
}

func putOwnership(c *call) (any, error) {
	var given struct {
		XMLName xml.Name `xml:"OwnershipControls"`
		Ways    []string `xml:"Rule>ObjectOwnership"`
	}
	if err := parseXML(c.Body, &given); err != nil {
		return nil, err
	}
	if len(given.Ways) != 1 || !validOwnership(given.Ways[0]) {
		return nil, malformedXML()
	}
	if given.Ways[0] == bucketOwnerEnforced && len(c.bucket.Grants) > 0 {
		return nil, badRequest(
			"InvalidBucketAclWithObjectOwnership",
			"Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
		)
	}
	_, err := c.edit(func(b *Bucket) { b.Ownership = given.Ways[0] })
	return nil, err
}

func deleteOwnership(c *call) (any, error) {
	return c.edit(func(b *Bucket) { b.Ownership = "" })
}
