package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// Limits of tags.
const (
	maxBucketTags = 50
	maxObjectTags = 10
)

func checkTags(tags []account.Tag, limit int) error {
	if len(tags) > limit {
		return badRequest("BadRequest", "Object tags cannot be greater than 10")
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case seen[tag.Key]:
			return badRequest("InvalidTag", "Cannot provide multiple Tags with the same key")
		case tag.Key == "" || len(tag.Key) > 128:
			return badRequest("InvalidTag", "The TagKey you have provided is invalid")
		case len(tag.Value) > 256:
			return badRequest("InvalidTag", "The TagValue you have provided is invalid")
		case strings.HasPrefix(arn.FoldKey(tag.Key), "aws:"):
			return badRequest("InvalidTag", "System tags cannot be added/updated by requester")
		}
		seen[tag.Key] = true
	}
	return nil
}

// tagsOfHeader reads X-Amz-Tagging: tags as a query.
func tagsOfHeader(text string) ([]account.Tag, error) {
	parsed, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalidArgument(
			"The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag " +
				"name duplicates.",
		)
	}
	var tags []account.Tag
	for key, values := range parsed {
		for _, value := range values {
			tags = append(tags, account.Tag{Key: key, Value: value})
		}
	}
	slices.SortFunc(tags, func(a, b account.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags, checkTags(tags, maxObjectTags)
}

// withTags reports whether a call tags an object in a header.
func withTags(c *call) bool { return c.header("X-Amz-Tagging") != "" }

type taggingXML struct {
	XMLName xml.Name      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
	Tags    []account.Tag `xml:"TagSet>Tag"`
}

func parseTags(body []byte, limit int) ([]account.Tag, error) {
	var given struct {
		XMLName xml.Name      `xml:"Tagging"`
		Tags    []account.Tag `xml:"TagSet>Tag"`
	}
	if err := parseXML(body, &given); err != nil {
		return nil, err
	}
	return given.Tags, checkTags(given.Tags, limit)
}

func getBucketTags(c *call) (any, error) {
	if len(c.bucket.Tags) == 0 {
		return nil, refuse(http.StatusNotFound, "NoSuchTagSet", "The TagSet does not exist")
	}
	return taggingXML{Tags: c.bucket.Tags}, nil
}

func putBucketTags(c *call) (any, error) {
	tags, err := parseTags(c.Body, maxBucketTags)
	if err != nil {
		return nil, err
	}
	return c.edit(func(b *Bucket) { b.Tags = tags })
}

func deleteBucketTags(c *call) (any, error) {
	return c.edit(func(b *Bucket) { b.Tags = nil })
}

func getObjectTags(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	return taggingXML{Tags: c.object.Tags}, nil
}

func putObjectTags(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	tags, err := parseTags(c.Body, maxObjectTags)
	if err != nil {
		return nil, err
	}
	return nil, c.changeObject(func(o *Object) { o.Tags = tags })
}

func deleteObjectTags(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	return done(), c.changeObject(func(o *Object) { o.Tags = nil })
}
