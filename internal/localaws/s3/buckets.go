package s3

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func serviceOperations() map[string]operation {
	return map[string]operation{
		"ListBuckets": {needs: []need{{action: "ListAllMyBuckets", on: onAll}}, do: listBuckets, noBucket: true},
	}
}

func bucketOperations() map[string]operation {
	list := []need{{action: "ListBucket"}}
	return map[string]operation{
		"CreateBucket": {
			needs: []need{
				{action: "CreateBucket"},
				{action: "PutBucketAcl", when: withACL},
				{
					action: "PutBucketOwnershipControls",
					when:   func(c *call) bool { return c.header("X-Amz-Object-Ownership") != "" },
				},
			},
			do: createBucket, noBucket: true,
		},
		"HeadBucket":          {needs: list, do: headBucket},
		"DeleteBucket":        {needs: []need{{action: "DeleteBucket"}}, do: deleteBucket},
		"ListObjects":         {needs: list, do: listObjects},
		"ListObjectsV2":       {needs: list, do: listObjectsV2},
		"GetBucketLocation":   {needs: []need{{action: "GetBucketLocation"}}, do: getLocation},
		"GetBucketVersioning": {needs: []need{{action: "GetBucketVersioning"}}, do: getVersioning},
		"DeleteObjects":       {do: deleteObjects},
	}
}

// createBucket creates a bucket as S3 has done since April 2023: no lists, no
// public access.
func createBucket(c *call) (any, error) {
	if c.Caller.Principal.Kind == policy.Anonymous {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	made, err := c.newBucket()
	if err != nil {
		return nil, err
	}
	err = c.Account.Update(func(state account.State) error {
		existing, err := optional(readBucket(state, c.name))
		switch {
		case err != nil:
			return err
		case existing == nil:
			return writeBucket(state, made)
		case existing.Account != c.Account.ID:
			return refuse(
				http.StatusConflict, "BucketAlreadyExists",
				"The requested bucket name is not available. The bucket namespace is shared by all users of the "+
					"system. Please select a different name and try again.",
			)
		case existing.Region != "" || made.Region != "":
			return refuse(
				http.StatusConflict, "BucketAlreadyOwnedByYou",
				"Your previous request to create the named bucket succeeded and you already own it.",
			)
		}
		existing.Grants = made.Grants // in us-east-1 making it again is not an error
		return writeBucket(state, existing)
	})
	if err != nil {
		return nil, err
	}
	return &wire.Raw{
		Header: http.Header{"Location": {"/" + c.name}, "X-Amz-Bucket-Arn": {"arn:aws:s3:::" + c.name}},
	}, nil
}

func (c *call) newBucket() (*Bucket, error) {
	made := &Bucket{
		Name: c.name, Account: c.Account.ID, Created: c.Time.UTC(), Ownership: bucketOwnerEnforced,
		Block: &PublicAccessBlock{
			BlockPublicAcls:       true,
			IgnorePublicAcls:      true,
			BlockPublicPolicy:     true,
			RestrictPublicBuckets: true,
		},
	}
	var given struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
		Tags               []account.Tag `xml:"Tags>Tag"`
	}
	if len(c.Body) > 0 {
		if err := parseXML(c.Body, &given); err != nil {
			return nil, err
		}
	}
	var err error
	if made.Region, err = location(given.LocationConstraint, c.Region); err != nil {
		return nil, err
	}
	if made.Tags = given.Tags; checkTags(made.Tags, maxBucketTags) != nil {
		return nil, checkTags(made.Tags, maxBucketTags)
	}
	if way := c.header("X-Amz-Object-Ownership"); way != "" {
		if !validOwnership(way) {
			return nil, invalidArgument("Invalid x-amz-object-ownership header: " + way)
		}
		made.Ownership = way
	}
	list, err := aclOfHeaders(c.HTTP.Header)
	if err != nil {
		return nil, err
	}
	made.Grants = list.grants
	switch {
	case made.Ownership == bucketOwnerEnforced && len(list.grants) > 0:
		return nil, badRequest(
			"InvalidBucketAclWithObjectOwnership",
			"Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
		)
	case isPublicACL(list.grants):
		return nil, badRequest(
			"InvalidBucketAclWithBlockPublicAccessError",
			"Bucket cannot have public ACLs set with BlockPublicAccess enabled",
		)
	}
	return made, nil
}

// location is the region in which a bucket is created; empty means us-east-1.
func location(constraint, region string) (string, error) {
	if region == "us-east-1" {
		region = ""
	}
	switch constraint {
	case "us-east-1":
		return "", badRequest("InvalidLocationConstraint", "The specified location-constraint is not valid")
	case "EU":
		constraint = "eu-west-1"
	case "":
		constraint = "unspecified"
		if region == "" {
			return "", nil
		}
	}
	if region != "" && constraint != region {
		return "", badRequest(
			"IllegalLocationConstraintException",
			"The "+constraint+" location constraint is incompatible for the region specific endpoint this request "+
				"was sent to.",
		)
	}
	return constraint, nil
}

func headBucket(c *call) (any, error) {
	return &wire.Raw{
		Header: http.Header{
			"X-Amz-Bucket-Region":      {regionOf(c.bucket)},
			"X-Amz-Bucket-Arn":         {"arn:aws:s3:::" + c.name},
			"X-Amz-Access-Point-Alias": {"false"},
			"Content-Type":             {"application/xml"},
		},
	}, nil
}

func deleteBucket(c *call) (any, error) {
	err := c.Accounts.Update(func(state account.State) error {
		empty := true
		if err := eachObject(state, c.name, "", "", func(*Object) bool {
			empty = false
			return false
		}); err != nil {
			return err
		}
		if !empty {
			return refuse(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty")
		}
		var open []*Upload
		if err := eachUpload(state, c.name, "", func(u *Upload) bool {
			open = append(open, u)
			return true
		}); err != nil {
			return err
		}
		for _, upload := range open {
			if err := dropUpload(state, c.name, upload); err != nil {
				return err
			}
		}
		return dropBucket(state, c.name)
	})
	return done(), err
}

type bucketXML struct {
	Name         string
	CreationDate wire.MilliTime
	BucketRegion string
	BucketArn    string
}

type listBucketsXML struct {
	XMLName           xml.Name    `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner             ownerXML    `xml:"Owner"`
	Buckets           []bucketXML `xml:"Buckets>Bucket"`
	Prefix            string      `xml:",omitempty"`
	ContinuationToken string      `xml:",omitempty"`
}

func listBuckets(c *call) (any, error) {
	size, err := number(c.query.Get("max-buckets"), 10000, 1, 10000)
	if err != nil {
		return nil, err
	}
	after, err := openToken(c.query.Get("continuation-token"))
	if err != nil {
		return nil, err
	}
	result := listBucketsXML{Owner: ownerXML{ID: canonicalID(c.Account.ID)}, Prefix: c.query.Get("prefix")}
	var own []*Bucket
	if err := c.Account.View(func(state account.State) (err error) {
		own, err = bucketsOf(state)
		return err
	}); err != nil {
		return nil, err
	}
	for _, b := range own {
		region := c.query.Get("bucket-region")
		if !strings.HasPrefix(b.Name, result.Prefix) || b.Name <= after || (region != "" && region != regionOf(b)) {
			continue
		}
		if len(result.Buckets) == size {
			result.ContinuationToken = sealToken(result.Buckets[size-1].Name)
			break
		}
		result.Buckets = append(result.Buckets, bucketXML{
			Name:         b.Name,
			CreationDate: wire.MilliTime(b.Created),
			BucketRegion: regionOf(b),
			BucketArn:    "arn:aws:s3:::" + b.Name,
		})
	}
	return result, nil
}

// Tokens of pages are opaque to callers.
func sealToken(text string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + text)) }

func openToken(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(text) == 0 || text[0] != '1' {
		return "", invalidArgument("The continuation token provided is incorrect")
	}
	return string(text[1:]), nil
}

// number reads a parameter that limits a page; larger ones count as high.
func number(text string, fallback, low, high int) (int, error) {
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.ParseInt(text, 10, 32)
	if err != nil || int(value) < low {
		return 0, invalidArgument("Provided " + strconv.Quote(text) + " is not an integer or within integer range")
	}
	return min(int(value), high), nil
}

func getLocation(c *call) (any, error) {
	return struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: c.bucket.Region}, nil
}

func getVersioning(*call) (any, error) {
	return struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
	}{}, nil
}

// httpTime is a time as headers have it.
func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

var namePattern = lazyregexp.New(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// validName is S3's rule for the names of buckets.
func validName(name string) bool {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") || strings.HasPrefix(name, "xn--") ||
		strings.HasSuffix(name, "-s3alias") || strings.HasSuffix(name, "--ol-s3") || strings.HasSuffix(name, "--x-s3") {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}
