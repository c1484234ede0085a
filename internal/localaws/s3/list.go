package s3

import (
	"cmp"
	"encoding/xml"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// maxPage is the longest page.
const maxPage = 1000

type contentXML struct {
	Key               string
	LastModified      wire.MilliTime
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              int64
	Owner             *ownerXML `xml:",omitempty"`
	StorageClass      string
}

type prefixXML struct{ Prefix string }

// page is one page of keys, with what is below a delimiter rolled up.
type page struct {
	objects  []*Object
	prefixes []string
	// last is the last key or prefix, if there is more.
	last string
}

// collect walks the keys after a key or a rolled-up prefix.
func (c *call) collect(prefix, delimiter, after string, size int) (page, error) {
	var p page
	if size == 0 {
		return p, nil
	}
	last := ""
	err := c.Accounts.View(func(state account.State) error {
		return eachObject(state, c.name, prefix, after, func(o *Object) bool {
			if o.Key <= after {
				return true
			}
			rolled := rollUp(o.Key, prefix, delimiter)
			if rolled != "" && (rolled == after || (len(p.prefixes) > 0 && p.prefixes[len(p.prefixes)-1] == rolled)) {
				return true
			}
			if len(p.objects)+len(p.prefixes) == size {
				p.last = last
				return false
			}
			if last = cmp.Or(rolled, o.Key); rolled != "" {
				p.prefixes = append(p.prefixes, rolled)
			} else {
				p.objects = append(p.objects, o)
			}
			return true
		})
	})
	return p, err
}

// rollUp is the common prefix that a key is counted under; empty if none.
func rollUp(key, prefix, delimiter string) string {
	if delimiter == "" {
		return ""
	}
	rest := strings.TrimPrefix(key, prefix)
	if i := strings.Index(rest, delimiter); i >= 0 {
		return prefix + rest[:i+len(delimiter)]
	}
	return ""
}

// encoding returns how a list writes keys.
func (c *call) encoding() (func(string) string, error) {
	switch c.query.Get("encoding-type") {
	case "":
		return func(text string) string { return text }, nil
	case "url":
		return escape, nil
	}
	return nil, invalidArgument("Invalid Encoding Method specified in Request")
}

func contents(p page, encode func(string) string, owner *ownerXML) ([]contentXML, []prefixXML) {
	var shown []contentXML
	for _, o := range p.objects {
		shown = append(shown, contentXML{
			Key:               encode(o.Key),
			LastModified:      wire.MilliTime(o.Modified),
			ETag:              quote(o.ETag),
			Size:              o.Size,
			Owner:             owner,
			ChecksumAlgorithm: o.Checksum.Algorithm,
			ChecksumType:      checksumType(o.Checksum),
			StorageClass:      cmp.Or(o.Headers["X-Amz-Storage-Class"], "STANDARD"),
		})
	}
	var prefixes []prefixXML
	for _, prefix := range p.prefixes {
		prefixes = append(prefixes, prefixXML{encode(prefix)})
	}
	return shown, prefixes
}

type listXML struct {
	XMLName        xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name           string
	Prefix         string
	Marker         *string      `xml:",omitempty"`
	NextMarker     string       `xml:",omitempty"`
	Token          string       `xml:"ContinuationToken,omitempty"`
	NextToken      string       `xml:"NextContinuationToken,omitempty"`
	StartAfter     string       `xml:",omitempty"`
	KeyCount       *int         `xml:",omitempty"`
	MaxKeys        int          `xml:"MaxKeys"`
	Delimiter      string       `xml:",omitempty"`
	EncodingType   string       `xml:",omitempty"`
	IsTruncated    bool         `xml:"IsTruncated"`
	Contents       []contentXML `xml:"Contents"`
	CommonPrefixes []prefixXML  `xml:"CommonPrefixes"`
}

// list is what both versions have in common.
func (c *call) list(after string, owner *ownerXML) (listXML, page, error) {
	encode, err := c.encoding()
	if err != nil {
		return listXML{}, page{}, err
	}
	size, err := number(c.query.Get("max-keys"), maxPage, 0, maxPage)
	if err != nil {
		return listXML{}, page{}, err
	}
	prefix, delimiter := c.query.Get("prefix"), c.query.Get("delimiter")
	p, err := c.collect(prefix, delimiter, after, size)
	if err != nil {
		return listXML{}, page{}, err
	}
	result := listXML{
		Name:         c.name,
		Prefix:       encode(prefix),
		MaxKeys:      size,
		Delimiter:    encode(delimiter),
		EncodingType: c.query.Get("encoding-type"),
		IsTruncated:  p.last != "",
	}
	result.Contents, result.CommonPrefixes = contents(p, encode, owner)
	return result, p, nil
}

func listObjects(c *call) (any, error) {
	marker, owner := c.query.Get("marker"), c.owned()
	result, p, err := c.list(marker, &owner)
	if err != nil {
		return nil, err
	}
	encode, err := c.encoding()
	if err != nil {
		return nil, err
	}
	marker = encode(marker)
	result.Marker = &marker
	if c.query.Get("delimiter") != "" {
		result.NextMarker = encode(p.last)
	}
	return result, nil
}

func listObjectsV2(c *call) (any, error) {
	if c.query.Get("list-type") != "2" {
		return nil, invalidArgument("Invalid List Type specified in Request")
	}
	var owner *ownerXML
	if c.query.Get("fetch-owner") == "true" {
		owner = &ownerXML{ID: canonicalID(c.bucket.Account)}
	}
	after, err := openToken(c.query.Get("continuation-token"))
	if err != nil {
		return nil, err
	}
	result, p, err := c.list(cmp.Or(after, c.query.Get("start-after")), owner)
	if err != nil {
		return nil, err
	}
	encode, err := c.encoding()
	if err != nil {
		return nil, err
	}
	count := len(p.objects) + len(p.prefixes)
	result.KeyCount, result.Token = &count, c.query.Get("continuation-token")
	result.StartAfter = encode(c.query.Get("start-after"))
	if p.last != "" {
		result.NextToken = sealToken(p.last)
	}
	return result, nil
}
