package s3

import (
	"bytes"
	"cmp"
	"crypto/md5" // what ETags are made of
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// Limits of multipart uploads.
const (
	minPart  = 5 << 20 // of all parts but the last
	maxParts = 10000
)

func uploadOperations() map[string]operation {
	put := []need{{"PutObject", onObject, nil}}
	return map[string]operation{
		"CreateMultipartUpload":   {needs: putNeeds(), do: createUpload},
		"UploadPart":              {needs: put, do: uploadPart, content: true},
		"UploadPartCopy":          {needs: put, do: uploadPartCopy},
		"CompleteMultipartUpload": {needs: put, do: completeUpload},
		"AbortMultipartUpload":    {needs: []need{{"AbortMultipartUpload", onObject, nil}}, do: abortUpload},
		"ListParts":               {needs: []need{{"ListMultipartUploadParts", onObject, nil}}, do: listParts},
		"ListMultipartUploads":    {needs: []need{{action: "ListBucketMultipartUploads"}}, do: listUploads},
	}
}

type uploadXML struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
	Bucket, Key, UploadId string
}

func createUpload(c *call) (any, error) {
	o, err := c.described()
	if err != nil {
		return nil, err
	}
	algorithm := strings.ToUpper(c.header("X-Amz-Checksum-Algorithm"))
	kind := strings.ToUpper(c.header("X-Amz-Checksum-Type"))
	if algorithm != "" && algorithms[algorithm] == nil {
		return nil, badRequest(
			"InvalidRequest",
			"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, "+
				"CRC32C, CRC64NVME, SHA1, SHA256]",
		)
	}
	o.Checksum = Checksum{Algorithm: cmp.Or(algorithm, defaultAlgorithm)}
	o.Checksum.Composite = kind != "FULL_OBJECT" && o.Checksum.Algorithm != defaultAlgorithm
	upload := &Upload{
		ID:      strings.ReplaceAll(uuid.NewString()+uuid.NewString(), "-", ""),
		Started: c.Time.UTC(),
		Object:  *o,
	}
	if err := c.change(func(state account.State, _ *Bucket) error {
		return writeUpload(state, c.name, upload)
	}); err != nil {
		return nil, err
	}
	return uploadXML{Bucket: c.name, Key: c.key, UploadId: upload.ID}, nil
}

// upload finds the upload of the call.
func (c *call) upload(state account.State) (*Upload, error) {
	found, err := optional(readUpload(state, c.name, c.key, c.query.Get("uploadId")))
	if err == nil && found == nil {
		err = noSuchUpload()
	}
	return found, err
}

func uploadPart(c *call) (any, error) {
	if c.HTTP.ContentLength < 0 {
		return nil, refuse(
			http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.",
		)
	}
	sent, err := c.checkBody("")
	if err != nil {
		return nil, err
	}
	part, err := c.keepPart(c.Body, sent)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Etag": {quote(part.ETag)}, "X-Amz-Server-Side-Encryption": {"AES256"}}
	if sent.Value != "" {
		header.Set(checksumHeader(sent.Algorithm), sent.Value)
	}
	return &wire.Raw{Header: header}, nil
}

// keepPart keeps a part with a checksum of the upload's algorithm.
func (c *call) keepPart(body []byte, sent Checksum) (*Part, error) {
	number, err := strconv.Atoi(c.query.Get("partNumber"))
	if err != nil || number < 1 || number > maxParts {
		return nil, invalidArgument("Part number must be an integer between 1 and 10000, inclusive")
	}
	if len(body) > MaxObject {
		return nil, tooLarge()
	}
	part := &Part{
		Number:   number,
		Size:     int64(len(body)),
		ETag:     etag(body),
		Modified: c.Time.UTC().Truncate(time.Second),
	}
	return part, c.Accounts.Update(func(state account.State) error {
		upload, err := c.upload(state)
		if err != nil {
			return err
		}
		if err := c.fits(state, upload.ID, part); err != nil {
			return err
		}
		algorithm := upload.Object.Checksum.Algorithm
		if sent.Algorithm != "" && sent.Algorithm != algorithm && upload.Object.Checksum.Composite {
			return badRequest(
				"InvalidRequest",
				"Checksum Type mismatch occurred, expected checksum Type: "+strings.ToLower(algorithm)+
					", actual checksum Type: "+strings.ToLower(sent.Algorithm),
			)
		}
		part.Checksum = Checksum{Algorithm: algorithm, Value: sum(algorithm, body)}
		return writePart(state, c.name, upload.ID, part, body)
	})
}

// fits: all parts together are no larger than an object.
func (c *call) fits(state account.State, upload string, added *Part) error {
	parts, err := partsOf(state, c.name, upload)
	total := added.Size
	for _, part := range parts {
		if part.Number != added.Number {
			total += part.Size
		}
	}
	if err == nil && total > MaxObject {
		return tooLarge()
	}
	return err
}

func uploadPartCopy(c *call) (any, error) {
	_, body, err := c.source()
	if err != nil {
		return nil, err
	}
	if text := c.header("X-Amz-Copy-Source-Range"); text != "" {
		from, to, partial, err := byteRange(text, int64(len(body)))
		if err != nil || !partial {
			return nil, invalidArgument(
				"The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are " +
					"the zero-based offsets of the first and last bytes to copy",
			)
		}
		body = body[from:to]
	}
	part, err := c.keepPart(body, Checksum{})
	if err != nil {
		return nil, err
	}
	return struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyPartResult"`
		copyXML
	}{copyXML: copyXML{wire.MilliTime(part.Modified), quote(part.ETag)}}, nil
}

// completion is what a client says about a part when it completes an upload.
type completion struct {
	PartNumber                                                                                                  int
	ETag                                                                                                        string
	ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256, ChecksumSHA512, ChecksumMD5 string
}

// checksum returns the one that was given.
func (p *completion) checksum() string {
	return cmp.Or(
		p.ChecksumCRC32, p.ChecksumCRC32C, p.ChecksumCRC64NVME, p.ChecksumSHA1, p.ChecksumSHA256, p.ChecksumSHA512,
		p.ChecksumMD5,
	)
}

func parseCompletion(body []byte) ([]completion, error) {
	var given struct {
		XMLName xml.Name     `xml:"CompleteMultipartUpload"`
		Parts   []completion `xml:"Part"`
	}
	if err := parseXML(body, &given); err != nil {
		return nil, err
	}
	if len(given.Parts) == 0 || len(given.Parts) > maxParts {
		return nil, malformedXML()
	}
	if !slices.IsSortedFunc(given.Parts, func(a, b completion) int { return a.PartNumber - b.PartNumber }) {
		return nil, badRequest(
			"InvalidPartOrder",
			"The list of parts was not in ascending order. The parts list must be specified in order by part number.",
		)
	}
	return given.Parts, nil
}

type completedXML struct {
	XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location          string
	Bucket, Key, ETag string
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumSHA512    string `xml:",omitempty"`
	ChecksumMD5       string `xml:",omitempty"`
	ChecksumType      string
}

func completeUpload(c *call) (any, error) {
	given, err := parseCompletion(c.Body)
	if err != nil {
		return nil, err
	}
	var made Object
	err = c.Accounts.Update(func(state account.State) error {
		upload, err := c.upload(state)
		if err != nil {
			return err
		}
		body, err := c.assemble(state, upload, given)
		if err != nil {
			return err
		}
		before, err := optional(readObject(state, c.name, c.key))
		if err != nil {
			return err
		}
		if err := c.mayReplace(before); err != nil {
			return err
		}
		made = upload.Object
		made.Modified = c.Time.UTC().Truncate(time.Second)
		if want := c.header(checksumHeader(made.Checksum.Algorithm)); want != "" && !made.Checksum.Composite &&
			want != made.Checksum.Value {
			return badRequest(
				"BadDigest", "The "+made.Checksum.Algorithm+" you specified did not match the calculated checksum.",
			)
		}
		if err := writeObject(state, c.name, &made, body); err != nil {
			return err
		}
		return dropUpload(state, c.name, upload)
	})
	if err != nil {
		return nil, err
	}
	result := completedXML{
		Location:     "http://" + c.HTTP.Host + c.HTTP.URL.EscapedPath(),
		Bucket:       c.name,
		Key:          c.key,
		ETag:         quote(made.ETag),
		ChecksumType: checksumType(made.Checksum),
	}
	*map[string]*string{
		"CRC32":     &result.ChecksumCRC32,
		"CRC32C":    &result.ChecksumCRC32C,
		"CRC64NVME": &result.ChecksumCRC64NVME,
		"SHA1":      &result.ChecksumSHA1,
		"SHA256":    &result.ChecksumSHA256,
		"SHA512":    &result.ChecksumSHA512, "MD5": &result.ChecksumMD5,
	}[made.Checksum.Algorithm] = made.Checksum.Value
	return result, nil
}

// assemble joins the parts that the client names, and completes the upload's
// object.
func (c *call) assemble(state account.State, upload *Upload, given []completion) ([]byte, error) {
	parts, err := partsOf(state, c.name, upload.ID)
	if err != nil {
		return nil, err
	}
	byNumber := map[int]*Part{}
	for _, part := range parts {
		byNumber[part.Number] = part
	}
	var body, digests, sums bytes.Buffer
	for i, one := range given {
		part := byNumber[one.PartNumber]
		if part == nil || strings.Trim(one.ETag, `"`) != part.ETag ||
			(i > 0 && given[i-1].PartNumber == one.PartNumber) {
			return nil, badRequest(
				"InvalidPart",
				"One or more of the specified parts could not be found.  The part may not have been uploaded, or "+
					"the specified entity tag may not match the part's entity tag.",
			)
		}
		if sent := one.checksum(); sent != "" && upload.Object.Checksum.Composite && sent != part.Checksum.Value {
			return nil, badRequest(
				"InvalidPart",
				"One or more of the specified parts could not be found.  The part may not have been uploaded, or "+
					"the specified entity tag may not match the part's entity tag.",
			)
		}
		if i < len(given)-1 && part.Size < minPart {
			return nil, badRequest("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		_, _ = body.Write(partBody(state, c.name, upload.ID, part.Number)) // a buffer takes all
		digest, err := hex.DecodeString(part.ETag)
		if err != nil {
			return nil, err
		}
		_, _ = digests.Write(digest)
		value, err := base64.StdEncoding.DecodeString(part.Checksum.Value)
		if err != nil {
			return nil, err
		}
		_, _ = sums.Write(value)
	}
	o, count := &upload.Object, "-"+strconv.Itoa(len(given))
	digest := md5.Sum(digests.Bytes())
	o.Size, o.ETag, o.Parts = int64(body.Len()), hex.EncodeToString(digest[:])+count, len(given)
	if o.Checksum.Composite {
		o.Checksum.Value = sum(o.Checksum.Algorithm, sums.Bytes()) + count
	} else {
		o.Checksum.Value = sum(o.Checksum.Algorithm, body.Bytes())
	}
	return body.Bytes(), nil
}

func abortUpload(c *call) (any, error) {
	return done(), c.Accounts.Update(func(state account.State) error {
		upload, err := c.upload(state)
		if err != nil {
			return err
		}
		return dropUpload(state, c.name, upload)
	})
}

type partXML struct {
	PartNumber   int
	LastModified wire.MilliTime
	ETag         string
	Size         int64
}

type partsXML struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket, Key, UploadId string
	Initiator, Owner      ownerXML
	StorageClass          string
	PartNumberMarker      int
	NextPartNumberMarker  int
	MaxParts              int
	IsTruncated           bool
	Parts                 []partXML `xml:"Part"`
}

func listParts(c *call) (any, error) {
	size, err := number(c.query.Get("max-parts"), maxPage, 0, maxPage)
	if err != nil {
		return nil, err
	}
	after, err := number(c.query.Get("part-number-marker"), 0, 0, maxParts)
	if err != nil {
		return nil, err
	}
	result := partsXML{
		Bucket:           c.name,
		Key:              c.key,
		UploadId:         c.query.Get("uploadId"),
		Initiator:        c.owned(),
		Owner:            c.owned(),
		StorageClass:     "STANDARD",
		PartNumberMarker: after,
		MaxParts:         size,
	}
	return &result, c.Accounts.View(func(state account.State) error {
		upload, err := c.upload(state)
		if err != nil {
			return err
		}
		parts, err := partsOf(state, c.name, upload.ID)
		for _, part := range parts {
			if part.Number <= after {
				continue
			}
			if len(result.Parts) == size {
				result.IsTruncated = true
				break
			}
			result.Parts = append(result.Parts, partXML{
				PartNumber:   part.Number,
				LastModified: wire.MilliTime(part.Modified),
				ETag:         quote(part.ETag),
				Size:         part.Size,
			})
			result.NextPartNumberMarker = part.Number
		}
		return err
	})
}

type openUploadXML struct {
	Key, UploadId    string
	Initiator, Owner ownerXML
	StorageClass     string
	Initiated        wire.MilliTime
}

type uploadsXML struct {
	XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          string
	UploadIdMarker     string
	NextKeyMarker      string
	NextUploadIdMarker string
	Prefix             string
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Uploads            []openUploadXML `xml:"Upload"`
}

func listUploads(c *call) (any, error) {
	encode, err := c.encoding()
	if err != nil {
		return nil, err
	}
	size, err := number(c.query.Get("max-uploads"), maxPage, 1, maxPage)
	if err != nil {
		return nil, err
	}
	key, id := c.query.Get("key-marker"), c.query.Get("upload-id-marker")
	result := uploadsXML{
		Bucket:         c.name,
		KeyMarker:      encode(key),
		UploadIdMarker: id,
		Prefix:         encode(c.query.Get("prefix")),
		EncodingType:   c.query.Get("encoding-type"),
		MaxUploads:     size,
	}
	return &result, c.Accounts.View(func(state account.State) error {
		return eachUpload(state, c.name, c.query.Get("prefix"), func(u *Upload) bool {
			if u.Object.Key < key || (u.Object.Key == key && (id == "" || u.ID <= id)) {
				return true
			}
			if len(result.Uploads) == size {
				result.IsTruncated = true
				return false
			}
			result.Uploads = append(result.Uploads, openUploadXML{
				Key:          encode(u.Object.Key),
				UploadId:     u.ID,
				Initiator:    c.owned(),
				Owner:        c.owned(),
				StorageClass: "STANDARD",
				Initiated:    wire.MilliTime(u.Started),
			})
			result.NextKeyMarker, result.NextUploadIdMarker = encode(u.Object.Key), u.ID
			return true
		})
	})
}
