package s3

import (
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// Buckets of all accounts by name and, below each bucket's name, what is in it:
// objects and their content by key, uploads by uploadKey, parts and their
// content by partKey.
var (
	bucketTable   = account.Table{Name: "bucket", Shared: true}
	objectTable   = account.Table{Name: "object", Shared: true}
	bodyTable     = account.Table{Name: "body", Shared: true}
	uploadTable   = account.Table{Name: "upload", Shared: true}
	partTable     = account.Table{Name: "part", Shared: true}
	partBodyTable = account.Table{Name: "partbody", Shared: true}
)

// Bucket is a bucket of S3. Names are unique among all accounts.
type Bucket struct {
	Name, Account, Region string
	Created               time.Time
	// Policy is the bucket policy, byte for byte as it was given.
	Policy string `json:",omitempty"`
	// Grants are the access control list, but for the owner's own.
	Grants []Grant `json:",omitempty"`
	// Block is nil if there is no public access block.
	Block *PublicAccessBlock `json:",omitempty"`
	// Ownership is empty if there are no ownership controls.
	Ownership string        `json:",omitempty"`
	Tags      []account.Tag `json:",omitempty"`
}

// PublicAccessBlock says which public access is denied, whatever policies and
// lists say.
type PublicAccessBlock struct {
	BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets bool
}

// Grant is one line of an access control list.
type Grant struct {
	// Grantee is a canonical user id or a group's URI.
	Grantee, Permission string
}

// Object is an object of S3, without its content.
type Object struct {
	Key      string
	Size     int64
	ETag     string // without quotes
	Modified time.Time
	// Headers are those that are returned, such as Content-Type.
	Headers  map[string]string `json:",omitempty"`
	Metadata map[string]string `json:",omitempty"`
	Grants   []Grant           `json:",omitempty"`
	Tags     []account.Tag     `json:",omitempty"`
	Checksum Checksum
	// Parts is how many parts it was uploaded in; 0 if in one piece.
	Parts int `json:",omitempty"`
}

// Checksum is a checksum in base64, with its algorithm as AWS writes it.
type Checksum struct {
	Algorithm, Value string
	// Composite says that it is one of the parts' checksums.
	Composite bool `json:",omitempty"`
}

// Upload is a multipart upload that is not complete yet.
type Upload struct {
	ID      string
	Started time.Time
	// Object is what it will be; its checksum's value is not known yet.
	Object Object
}

// Part is one part of an upload, without its content.
type Part struct {
	Number   int
	Size     int64
	ETag     string
	Modified time.Time
	Checksum Checksum
}

func bucketRecords(s account.State) account.Records[Bucket] {
	return account.In[Bucket](s, bucketTable)
}

// readBucket returns a bucket of any account, or account.ErrNotFound.
func readBucket(s account.State, name string) (*Bucket, error) { return bucketRecords(s).Get(name) }

// bucketsOf returns the buckets of the state's account by name.
func bucketsOf(s account.State) ([]*Bucket, error) {
	var own []*Bucket
	err := bucketRecords(s).Walk("", "", func(b *Bucket) bool {
		if b.Account == s.Account().ID {
			own = append(own, b)
		}
		return true
	})
	return own, err
}

// writeBucket creates or replaces a bucket.
func writeBucket(s account.State, b *Bucket) error { return bucketRecords(s).Put(b.Name, b) }

// dropBucket removes a bucket, which must have no objects.
func dropBucket(s account.State, name string) error { return bucketRecords(s).Delete(name) }

func objectRecords(s account.State, bucket string) account.Records[Object] {
	return account.In[Object](s, objectTable, bucket)
}

// readObject returns an object, or account.ErrNotFound.
func readObject(s account.State, bucket, key string) (*Object, error) {
	return objectRecords(s, bucket).Get(key)
}

// eachObject calls f for the objects whose keys begin with prefix, by key from
// start on, until it has enough.
func eachObject(s account.State, bucket, prefix, start string, f func(*Object) (more bool)) error {
	return objectRecords(s, bucket).Walk(prefix, start, f)
}

// bodyOf returns an object's content, which must not be changed.
func bodyOf(s account.State, bucket, key string) []byte { return bodyTable.Bytes(s, bucket).Get(key) }

// writeObject creates or replaces an object with its content.
func writeObject(s account.State, bucket string, o *Object, body []byte) error {
	return errors.Join(rewriteObject(s, bucket, o), bodyTable.Bytes(s, bucket).Put(o.Key, body))
}

// rewriteObject replaces what is known of an object.
func rewriteObject(s account.State, bucket string, o *Object) error {
	return objectRecords(s, bucket).Put(o.Key, o)
}

// dropObject removes an object.
func dropObject(s account.State, bucket, key string) error {
	return errors.Join(objectRecords(s, bucket).Delete(key), bodyTable.Bytes(s, bucket).Delete(key))
}

func uploadKey(key, id string) string { return key + "\x00" + id }

func uploadRecords(s account.State, bucket string) account.Records[Upload] {
	return account.In[Upload](s, uploadTable, bucket)
}

// readUpload returns an upload, or account.ErrNotFound.
func readUpload(s account.State, bucket, key, id string) (*Upload, error) {
	return uploadRecords(s, bucket).Get(uploadKey(key, id))
}

// eachUpload calls f for the uploads to keys that begin with prefix, by key,
// until it has enough.
func eachUpload(s account.State, bucket, prefix string, f func(*Upload) (more bool)) error {
	return uploadRecords(s, bucket).Walk(prefix, "", f)
}

// writeUpload creates or replaces an upload.
func writeUpload(s account.State, bucket string, u *Upload) error {
	return uploadRecords(s, bucket).Put(uploadKey(u.Object.Key, u.ID), u)
}

func partKey(upload string, number int) string { return fmt.Sprintf("%s/%05d", upload, number) }

func partRecords(s account.State, bucket string) account.Records[Part] {
	return account.In[Part](s, partTable, bucket)
}

// partsOf returns the parts of an upload by number.
func partsOf(s account.State, bucket, upload string) ([]*Part, error) {
	var parts []*Part
	err := partRecords(s, bucket).Walk(upload+"/", "", func(p *Part) bool {
		parts = append(parts, p)
		return true
	})
	return parts, err
}

// partBody returns a part's content, which must not be changed.
func partBody(s account.State, bucket, upload string, number int) []byte {
	return partBodyTable.Bytes(s, bucket).Get(partKey(upload, number))
}

// writePart creates or replaces a part with its content.
func writePart(s account.State, bucket, upload string, p *Part, body []byte) error {
	key := partKey(upload, p.Number)
	return errors.Join(partRecords(s, bucket).Put(key, p), partBodyTable.Bytes(s, bucket).Put(key, body))
}

// dropUpload removes an upload and its parts.
func dropUpload(s account.State, bucket string, u *Upload) error {
	parts, err := partsOf(s, bucket, u.ID)
	for _, part := range parts {
		key := partKey(u.ID, part.Number)
		err = errors.Join(err, partRecords(s, bucket).Delete(key), partBodyTable.Bytes(s, bucket).Delete(key))
	}
	return errors.Join(err, uploadRecords(s, bucket).Delete(uploadKey(u.Object.Key, u.ID)))
}
