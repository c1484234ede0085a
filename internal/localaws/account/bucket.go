package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
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
	Ownership string `json:",omitempty"`
	Tags      []Tag  `json:",omitempty"`
}

// PublicAccessBlock says which public access is not given, whatever policies and
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
	// Headers are those that are given back, such as Content-Type.
	Headers  map[string]string `json:",omitempty"`
	Metadata map[string]string `json:",omitempty"`
	Grants   []Grant           `json:",omitempty"`
	Tags     []Tag             `json:",omitempty"`
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

// errStop ends a walk early.
var errStop = errors.New("stop")

// walk calls f for the values of a kind whose keys begin with prefix, from start
// on, until it returns false.
func walk[T any](s State, kind, prefix, start string, f func(*T) bool) error {
	err := s.reader.From(kind, max(prefix, start), func(key string, text []byte) error {
		if !strings.HasPrefix(key, prefix) {
			return errStop
		}
		value := new(T)
		if err := json.Unmarshal(text, value); err != nil {
			return fmt.Errorf("decode %s %q: %w", kind, key, err)
		}
		if !f(value) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// Bucket returns a bucket of any account, or ErrNotFound.
func (s State) Bucket(name string) (*Bucket, error) { return get[Bucket](s, kindBucket, name) }

// Buckets returns the account's buckets by name.
func (s State) Buckets() ([]*Bucket, error) {
	var own []*Bucket
	err := walk(s, kindBucket, "", "", func(b *Bucket) bool {
		if b.Account == s.account.ID {
			own = append(own, b)
		}
		return true
	})
	return own, err
}

// PutBucket creates or replaces a bucket.
func (s State) PutBucket(b *Bucket) error { return put(s, kindBucket, b.Name, b) }

// DeleteBucket removes a bucket, which must have no objects.
func (s State) DeleteBucket(name string) error { return s.writer.Delete(kindBucket, name) }

// Object returns an object, or ErrNotFound.
func (s State) Object(bucket, key string) (*Object, error) {
	return get[Object](s, kindObject+bucket, key)
}

// Objects calls f for the objects whose keys begin with prefix, by key from start
// on, until it returns false.
func (s State) Objects(bucket, prefix, start string, f func(*Object) bool) error {
	return walk(s, kindObject+bucket, prefix, start, f)
}

// Body returns an object's content, which must not be changed.
func (s State) Body(bucket, key string) []byte { return s.reader.Get(kindBody+bucket, key) }

// PutObject creates or replaces an object with its content.
func (s State) PutObject(bucket string, o *Object, body []byte) error {
	return errors.Join(s.UpdateObject(bucket, o), s.writer.Put(kindBody+bucket, o.Key, body))
}

// UpdateObject replaces what is known of an object.
func (s State) UpdateObject(bucket string, o *Object) error {
	return put(s, kindObject+bucket, o.Key, o)
}

// DeleteObject removes an object.
func (s State) DeleteObject(bucket, key string) error {
	return errors.Join(s.writer.Delete(kindObject+bucket, key), s.writer.Delete(kindBody+bucket, key))
}

func uploadKey(key, id string) string { return key + "\x00" + id }

func partKey(upload string, number int) string { return fmt.Sprintf("%s/%05d", upload, number) }

// Upload returns an upload, or ErrNotFound.
func (s State) Upload(bucket, key, id string) (*Upload, error) {
	return get[Upload](s, kindUpload+bucket, uploadKey(key, id))
}

// Uploads calls f for the uploads to keys that begin with prefix, by key, until
// it returns false.
func (s State) Uploads(bucket, prefix string, f func(*Upload) bool) error {
	return walk(s, kindUpload+bucket, prefix, "", f)
}

// PutUpload creates or replaces an upload.
func (s State) PutUpload(bucket string, u *Upload) error {
	return put(s, kindUpload+bucket, uploadKey(u.Object.Key, u.ID), u)
}

// Parts returns the parts of an upload by number.
func (s State) Parts(bucket, upload string) ([]*Part, error) {
	var parts []*Part
	err := walk(s, kindPart+bucket, upload+"/", "", func(p *Part) bool {
		parts = append(parts, p)
		return true
	})
	return parts, err
}

// PartBody returns a part's content, which must not be changed.
func (s State) PartBody(bucket, upload string, number int) []byte {
	return s.reader.Get(kindPartBody+bucket, partKey(upload, number))
}

// PutPart creates or replaces a part with its content.
func (s State) PutPart(bucket, upload string, p *Part, body []byte) error {
	key := partKey(upload, p.Number)
	return errors.Join(put(s, kindPart+bucket, key, p), s.writer.Put(kindPartBody+bucket, key, body))
}

// DeleteUpload removes an upload and its parts.
func (s State) DeleteUpload(bucket string, u *Upload) error {
	parts, err := s.Parts(bucket, u.ID)
	for _, part := range parts {
		key := partKey(u.ID, part.Number)
		err = errors.Join(err, s.writer.Delete(kindPart+bucket, key), s.writer.Delete(kindPartBody+bucket, key))
	}
	return errors.Join(err, s.writer.Delete(kindUpload+bucket, uploadKey(u.Object.Key, u.ID)))
}
