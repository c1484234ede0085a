package s3

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// source finds the object that a copy reads, if the caller may and the call's
// conditions hold, and returns its content.
func (c *call) source() (*Object, []byte, error) {
	name, key, err := parseSource(c.header("X-Amz-Copy-Source"))
	if err != nil {
		return nil, nil, err
	}
	from, err := c.other(name, key)
	if err != nil {
		return nil, nil, err
	}
	if err := from.allow("GetObject", onObject); err != nil {
		return nil, nil, err
	}
	if err := from.there(); err != nil {
		return nil, nil, err
	}
	asked := http.Header{}
	for _, condition := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if text := c.header("X-Amz-Copy-Source-" + condition); text != "" {
			asked.Set(condition, text)
		}
	}
	if conditions(asked, from.object) != 0 {
		return nil, nil, preconditionFailed()
	}
	body, err := from.content()
	return from.object, body, err
}

// parseSource reads BUCKET/KEY, percent-encoded, perhaps with a slash before it.
func parseSource(text string) (bucket, key string, err error) {
	path, query, _ := strings.Cut(text, "?")
	path, err = url.PathUnescape(path)
	bucket, key, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err != nil || !found || bucket == "" || key == "" {
		return "", "", invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	if version, found := strings.CutPrefix(query, "versionId="); found && version != "null" {
		return "", "", badRequest("NoSuchVersion", "The specified version does not exist.")
	}
	return bucket, key, nil
}

type copyXML struct {
	LastModified wire.MilliTime
	ETag         string
}

func copyObject(c *call) (any, error) {
	source, body, err := c.source()
	if err != nil {
		return nil, err
	}
	o, err := c.described()
	if err != nil {
		return nil, err
	}
	switch directive := c.header("X-Amz-Metadata-Directive"); {
	case directive == "REPLACE":
	case directive != "" && directive != "COPY":
		return nil, invalidArgument("Unknown metadata directive.")
	case source.Key == c.key && c.bucket != nil && c.isOnto() && c.header("X-Amz-Storage-Class") == "":
		return nil, badRequest(
			"InvalidRequest",
			"This copy request is illegal because it is trying to copy an object to itself without changing the "+
				"object's metadata, storage class, website redirect location or encryption attributes.",
		)
	default:
		class := o.Headers["X-Amz-Storage-Class"]
		o.Metadata, o.Headers = source.Metadata, map[string]string{}
		maps.Copy(o.Headers, source.Headers)
		delete(o.Headers, "X-Amz-Storage-Class")
		if class != "" {
			o.Headers["X-Amz-Storage-Class"] = class
		}
	}
	if c.header("X-Amz-Tagging-Directive") != "REPLACE" {
		o.Tags = source.Tags
	}
	algorithm := strings.ToUpper(c.header("X-Amz-Checksum-Algorithm"))
	if algorithm == "" {
		algorithm = source.Checksum.Algorithm
	}
	if algorithms[algorithm] == nil {
		return nil, badRequest(
			"InvalidRequest",
			"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, "+
				"CRC32C, CRC64NVME, SHA1, SHA256]",
		)
	}
	o.Size, o.ETag, o.Checksum = int64(len(body)), etag(body), Checksum{
		Algorithm: algorithm,
		Value:     sum(algorithm, body),
	}
	if err := c.store(o, body); err != nil {
		return nil, err
	}
	return struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyObjectResult"`
		copyXML
	}{copyXML: copyXML{wire.MilliTime(o.Modified), quote(o.ETag)}}, nil
}

// isOnto reports whether an object is copied onto itself.
func (c *call) isOnto() bool {
	bucket, key, err := parseSource(c.header("X-Amz-Copy-Source"))
	return err == nil && bucket == c.name && key == c.key
}
