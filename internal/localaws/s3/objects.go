package s3

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func objectOperations() map[string]operation {
	one := func(action string, do func(*call) (any, error)) operation {
		return operation{needs: []need{{action: action, on: onObject}}, do: do}
	}
	return map[string]operation{
		"PutObject": {
			needs: append(putNeeds(), need{
				action: "GetObject",
				on:     onObject,
				when:   func(c *call) bool { return c.header("If-Match") != "" },
			}),
			do: putObject, content: true,
		},
		"CopyObject":          {needs: putNeeds(), do: copyObject},
		"GetObject":           one("GetObject", getObject),
		"HeadObject":          one("GetObject", getObject),
		"DeleteObject":        one("DeleteObject", deleteObject),
		"GetObjectAcl":        one("GetObjectAcl", getObjectACL),
		"PutObjectAcl":        one("PutObjectAcl", putObjectACL),
		"GetObjectTagging":    one("GetObjectTagging", getObjectTags),
		"PutObjectTagging":    one("PutObjectTagging", putObjectTags),
		"DeleteObjectTagging": one("DeleteObjectTagging", deleteObjectTags),
	}
}

// putNeeds are the actions needed to create an object.
func putNeeds() []need {
	return []need{
		{"PutObject", onObject, nil},
		{"PutObjectAcl", onObject, withACL},
		{"PutObjectTagging", onObject, withTags},
	}
}

// there refuses calls for an object that does not exist: callers who may not
// list are not told so.
func (c *call) there() error {
	if c.object != nil {
		return nil
	}
	if err := c.allow("ListBucket", onBucket); err != nil {
		return err
	}
	return noSuchKey()
}

// kept are the headers that are returned as they came.
var kept = []string{
	"Cache-Control",
	"Content-Disposition",
	"Content-Encoding",
	"Content-Language",
	"Content-Type",
	"Expires",
	"X-Amz-Website-Redirect-Location",
	"X-Amz-Storage-Class",
}

const maxMetadata = 2 << 10

// described reads what a call says about the object it creates.
func (c *call) described() (*Object, error) {
	o := &Object{
		Key:      c.key,
		Modified: c.Time.UTC().Truncate(time.Second),
		Headers:  map[string]string{},
		Metadata: map[string]string{},
	}
	for _, name := range kept {
		if text := c.header(name); text != "" {
			o.Headers[name] = text
		}
	}
	encodings := strings.Split(o.Headers["Content-Encoding"], ",")
	if strings.TrimSpace(encodings[0]) == "aws-chunked" {
		o.Headers["Content-Encoding"] = strings.TrimSpace(strings.Join(encodings[1:], ","))
	}
	if o.Headers["Content-Encoding"] == "" {
		delete(o.Headers, "Content-Encoding")
	}
	if o.Headers["Content-Type"] == "" {
		o.Headers["Content-Type"] = "binary/octet-stream"
	}
	if o.Headers["X-Amz-Storage-Class"] == "STANDARD" {
		delete(o.Headers, "X-Amz-Storage-Class")
	}
	size := 0
	for name, values := range c.HTTP.Header {
		if key, found := strings.CutPrefix(name, "X-Amz-Meta-"); found {
			o.Metadata[strings.ToLower(key)] = strings.Join(values, ",")
			size += len(key) + len(o.Metadata[strings.ToLower(key)])
		}
	}
	if size > maxMetadata {
		return nil, badRequest("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
	}
	if way := c.header("X-Amz-Server-Side-Encryption"); (way != "" && way != "AES256") ||
		c.header("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" {
		return nil, refuse(
			http.StatusNotImplemented, "NotImplemented",
			"allowed, but not emulated: encryption with other keys than S3's own",
		)
	}
	var err error
	if o.Tags, err = tagsOfHeader(c.header("X-Amz-Tagging")); err != nil {
		return nil, err
	}
	o.Grants, err = c.newACL()
	return o, err
}

func putObject(c *call) (any, error) {
	if c.HTTP.ContentLength < 0 {
		return nil, refuse(
			http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.",
		)
	}
	if len(c.Body) > MaxObject {
		return nil, tooLarge()
	}
	o, err := c.described()
	if err != nil {
		return nil, err
	}
	if o.Checksum, err = c.checkBody(defaultAlgorithm); err != nil {
		return nil, err
	}
	o.Size, o.ETag = int64(len(c.Body)), etag(c.Body)
	if err := c.store(o, c.Body); err != nil {
		return nil, err
	}
	header := made(o)
	showChecksum(header, o.Checksum)
	return &wire.Raw{Header: header}, nil
}

func made(o *Object) http.Header {
	return http.Header{"Etag": {quote(o.ETag)}, "X-Amz-Server-Side-Encryption": {"AES256"}}
}

func quote(tag string) string { return `"` + tag + `"` }

// store keeps an object, if the call's conditions hold.
func (c *call) store(o *Object, body []byte) error {
	return c.Accounts.Update(func(state account.State) error {
		bucket, err := optional(readBucket(state, c.name))
		if err != nil {
			return err
		}
		if bucket == nil {
			return noSuchBucket()
		}
		before, err := optional(readObject(state, c.name, c.key))
		if err != nil {
			return err
		}
		if err := c.mayReplace(before); err != nil {
			return err
		}
		return writeObject(state, c.name, o, body)
	})
}

// mayReplace checks a write's conditions.
func (c *call) mayReplace(before *Object) error {
	none, match := c.header("If-None-Match"), c.header("If-Match")
	switch {
	case none != "" && none != "*":
		return refuse(
			http.StatusNotImplemented, "NotImplemented",
			"A header you provided implies functionality that is not implemented",
		)
	case none != "" && before != nil:
		return preconditionFailed()
	case match != "" && before == nil:
		return noSuchKey()
	case match != "" && !matches(match, before.ETag):
		return preconditionFailed()
	}
	return nil
}

func getObject(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	if id := c.query.Get("versionId"); id != "" && id != "null" {
		return nil, badRequest("NoSuchVersion", "The specified version does not exist.")
	}
	if part := c.query.Get("partNumber"); part != "" && (part != "1" || c.object.Parts > 1) {
		return nil, refuse(
			http.StatusNotImplemented, "NotImplemented", "allowed, but not emulated: reading one part of an object",
		)
	}
	header := c.describe()
	if status := conditions(c.HTTP.Header, c.object); status != 0 {
		if status == http.StatusPreconditionFailed {
			return nil, preconditionFailed()
		}
		return &wire.Raw{
			Status: status,
			Header: http.Header{"Etag": header["Etag"], "Last-Modified": header["Last-Modified"]},
		}, nil
	}
	if err := c.override(header); err != nil {
		return nil, err
	}
	from, to, partial, err := byteRange(c.header("Range"), c.object.Size)
	if err != nil {
		return nil, err
	}
	answer := &wire.Raw{Header: header}
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	switch {
	case partial:
		answer.Status = http.StatusPartialContent
		header.Set(
			"Content-Range",
			"bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(to-1, 10)+"/"+
				strconv.FormatInt(c.object.Size, 10),
		)
	case c.header("X-Amz-Checksum-Mode") == "ENABLED":
		showChecksum(header, c.object.Checksum)
	}
	if c.HTTP.Method == http.MethodHead {
		return answer, nil
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	answer.Body = body[from:to]
	return answer, nil
}

// content returns the content of the object that was looked up and decided
// about; it may have been replaced since.
func (c *call) content() (body []byte, err error) {
	err = c.Accounts.View(func(state account.State) error {
		now, err := optional(readObject(state, c.name, c.key))
		if err != nil {
			return err
		}
		if now == nil || now.ETag != c.object.ETag {
			return refuse(
				http.StatusConflict, "OperationAborted",
				"A conflicting conditional operation is currently in progress against this resource. Please try again.",
			)
		}
		body = bodyOf(state, c.name, c.key)
		return nil
	})
	return body, err
}

// describe are the headers of an object.
func (c *call) describe() http.Header {
	o := c.object
	header := http.Header{
		"Etag":                         {quote(o.ETag)},
		"Last-Modified":                {httpTime(o.Modified)},
		"Accept-Ranges":                {"bytes"},
		"X-Amz-Server-Side-Encryption": {"AES256"},
	}
	for name, text := range o.Headers {
		header.Set(name, text)
	}
	for key, text := range o.Metadata {
		header["x-amz-meta-"+key] = []string{text} // S3 gives names in lower case
	}
	if len(o.Tags) > 0 {
		header.Set("X-Amz-Tagging-Count", strconv.Itoa(len(o.Tags)))
	}
	return header
}

// overrides are the parameters that replace headers of an answer.
var overrides = map[string]string{
	"response-content-type":        "Content-Type",
	"response-content-language":    "Content-Language",
	"response-expires":             "Expires",
	"response-cache-control":       "Cache-Control",
	"response-content-disposition": "Content-Disposition",
	"response-content-encoding":    "Content-Encoding",
}

func (c *call) override(header http.Header) error {
	for parameter, name := range overrides {
		if !c.query.Has(parameter) {
			continue
		}
		if c.Caller.Principal.Kind == policy.Anonymous {
			return badRequest(
				"InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.",
			)
		}
		header.Set(name, c.query.Get(parameter))
	}
	return nil
}

// conditions returns the status that the conditions of a read lead to; 0 if they
// hold (RFC 9110 §13.2.2).
func conditions(h http.Header, o *Object) int {
	modified := o.Modified.Truncate(time.Second)
	if match := h.Get("If-Match"); match != "" {
		if !matches(match, o.ETag) {
			return http.StatusPreconditionFailed
		}
	} else if since, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(since) {
		return http.StatusPreconditionFailed
	}
	if none := h.Get("If-None-Match"); none != "" {
		if matches(none, o.ETag) {
			return http.StatusNotModified
		}
	} else if since, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(since) {
		return http.StatusNotModified
	}
	return 0
}

// matches compares a list of entity tags with one.
func matches(list, tag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.Trim(strings.TrimPrefix(strings.TrimSpace(one), "W/"), `"`)
		if one == "*" || one == tag {
			return true
		}
	}
	return false
}

var rangePattern = lazyregexp.New(`^bytes=([0-9]{0,18})-([0-9]{0,18})$`)

// byteRange reads a Range header: from up to, not including, to. Anything but a
// single range of bytes counts as none.
func byteRange(text string, size int64) (from, to int64, partial bool, err error) {
	found := rangePattern.FindStringSubmatch(text)
	if found == nil || found[1]+found[2] == "" {
		return 0, size, false, nil
	}
	start, end := digits(found[1]), digits(found[2])
	switch {
	case found[1] == "": // the last bytes
		start, end = size-min(end, size), size-1
	case found[2] == "":
		end = size - 1
	case end < start:
		return 0, size, false, nil
	}
	if start >= size {
		return 0, 0, false, refuse(
			http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable",
		)
	}
	return start, min(end, size-1) + 1, true, nil
}

func digits(text string) (value int64) {
	for _, digit := range text {
		value = value*10 + int64(digit-'0')
	}
	return value
}

func deleteObject(c *call) (any, error) {
	return done(), c.Accounts.Update(func(state account.State) error { return dropObject(state, c.name, c.key) })
}

// escape is how lists write keys if they are asked to.
func escape(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(text), "%2F", "/"), "%2A", "*")
}
