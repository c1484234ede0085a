// Package s3 is local AWS's Simple Storage Service: buckets and objects, who may
// read them, and what S3 answers to its clients and to the public.
//
// It knows no versions, encryption keys, websites or storage classes, and keeps
// objects no larger than MaxObject.
package s3

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// MaxObject is the largest object in bytes, in one piece or in parts.
const MaxObject = 64 << 20

// framing is what chunks may add to a body.
const framing = 1 << 20

// namespace is that of S3's XML.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// New returns S3. It keeps nothing itself: each call brings the accounts.
func New() *service.Service {
	s := &service.Service{
		Name: "s3", Protocol: wire.S3, Namespace: namespace, Unsigned: true,
		Route: route, Operations: map[string]service.Operation{},
		Tables: []account.Table{bucketTable, objectTable, bodyTable, uploadTable, partTable, partBodyTable},
	}
	for _, table := range []map[string]operation{
		serviceOperations(), bucketOperations(), configOperations(), objectOperations(), uploadOperations(),
	} {
		for name, one := range table {
			s.Operations[name] = service.Operation{
				Access: service.ByItself, Before: one.before, MaxBody: one.maxBody(), Do: one.serve,
			}
		}
	}
	return s
}

// operation is one operation of S3.
type operation struct {
	// needs lists the actions that must be allowed before do is called.
	needs []need
	do    func(*call) (any, error)
	// noBucket says that the bucket need not be there.
	noBucket bool
	// content says that the body is the content of an object, not a document.
	content bool
}

func (o operation) maxBody() int64 {
	if o.content {
		return MaxObject + framing
	}
	return maxXML + framing
}

// need is one action that a call needs.
type need struct {
	action string
	on     scope
	// if says whether this call needs it; nil is always.
	when func(*call) bool
}

// scope is what an action works on.
type scope int

const (
	onBucket scope = iota
	onObject
	onAll
)

// call is one call, with what it is about.
type call struct {
	*service.Call
	name, key string
	query     url.Values
	bucket    *Bucket // nil if there is none
	object    *Object // the key's; nil if there is none
	// keys are more condition keys.
	keys map[string]string
}

func (o operation) serve(q *service.Call) (any, error) {
	c, err := o.allowed(q)
	if err != nil {
		return nil, err
	}
	return o.do(c)
}

// before decides by what is known without the body.
func (o operation) before(q *service.Call) error {
	_, err := o.allowed(q)
	return err
}

// allowed finds out what a call is about, and decides the actions that it needs.
func (o operation) allowed(q *service.Call) (*call, error) {
	c, err := read(q)
	if err != nil {
		return nil, err
	}
	if !o.noBucket && c.bucket == nil {
		return nil, noSuchBucket()
	}
	if err := c.expectOwner(); err != nil {
		return nil, err
	}
	for _, one := range o.needs {
		if one.when != nil && !one.when(c) {
			continue
		}
		if err := c.allow(one.action, one.on); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// read finds out what a call is about.
func read(q *service.Call) (*call, error) {
	c := &call{Call: q, keys: map[string]string{}}
	var err error
	if c.query, err = url.ParseQuery(q.HTTP.URL.RawQuery); err != nil {
		return nil, wire.Errorf(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	if selected := marker(c.query); selected != "list-type" && q.Signature.Covers != nil &&
		!q.Signature.Covers(selected) && selected != "" {
		return nil, refuse(
			http.StatusForbidden, "SignatureDoesNotMatch",
			"The signature does not cover the parameter "+selected+", which selects what the request does.",
		)
	}
	if c.name, c.key, err = resource(q); err != nil {
		return nil, err
	}
	return c, c.find()
}

// find looks up bucket and object.
func (c *call) find() error {
	if c.name == "" {
		return nil
	}
	if !validName(c.name) {
		return wire.Errorf(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.").
			Because("a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens; here %q", c.name)
	}
	if len(c.key) > 1024 {
		return wire.Errorf(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	return c.Accounts.View(func(state account.State) (err error) {
		if c.bucket, err = optional(readBucket(state, c.name)); err != nil || c.bucket == nil || c.key == "" {
			return err
		}
		c.object, err = optional(readObject(state, c.name, c.key))
		return err
	})
}

// other is the same call for another bucket and object: a copy's source.
func (c *call) other(name, key string) (*call, error) {
	o := *c
	o.name, o.key, o.bucket, o.object, o.keys = name, key, nil, nil, maps.Clone(c.keys)
	if err := o.find(); err != nil {
		return nil, err
	}
	if o.bucket == nil {
		return nil, noSuchBucket()
	}
	return &o, nil
}

// optional turns ErrNotFound into nil.
func optional[T any](found *T, err error) (*T, error) {
	if errors.Is(err, account.ErrNotFound) {
		return nil, nil //nolint:nilnil // nil says that there is none
	}
	return found, err
}

// change changes the bucket, all or nothing.
func (c *call) change(f func(account.State, *Bucket) error) error {
	return c.Accounts.Update(func(state account.State) error {
		bucket, err := optional(readBucket(state, c.name))
		if err != nil {
			return err
		}
		if bucket == nil {
			return noSuchBucket()
		}
		if err := f(state, bucket); err != nil {
			return err
		}
		return writeBucket(state, bucket)
	})
}

// changeObject changes the object, all or nothing.
func (c *call) changeObject(f func(*Object)) error {
	return c.Accounts.Update(func(state account.State) error {
		object, err := optional(readObject(state, c.name, c.key))
		if err != nil {
			return err
		}
		if object == nil {
			return noSuchKey()
		}
		f(object)
		return rewriteObject(state, c.name, object)
	})
}

func (c *call) header(name string) string { return c.HTTP.Header.Get(name) }

// canonicalID is an account's canonical user id: of S3's form, always the same
// for an account, not the one that AWS has.
func canonicalID(id string) string {
	sum := sha256.Sum256([]byte("canonical user " + id))
	return hex.EncodeToString(sum[:])
}

// resource reads bucket and key from host and path.
func resource(q *service.Call) (bucket, key string, err error) {
	bucket, key = q.HostPrefix, strings.TrimPrefix(q.Path, "/")
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
	}
	bucket, err = url.PathUnescape(bucket)
	key, err2 := url.PathUnescape(key)
	if errors.Join(err, err2) != nil {
		return "", "", wire.Errorf(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	return bucket, key, nil
}

// regionOf is the bucket's region as clients know it.
func regionOf(b *Bucket) string { return cmp.Or(b.Region, "us-east-1") }

// maxXML is the largest body that is a document: that of a thousand deletions.
const maxXML = 2 << 20

// parseXML reads one document; unknown elements are ignored.
func parseXML(body []byte, into any) error {
	if len(body) > maxXML {
		return malformedXML()
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(into); err != nil {
		return malformedXML()
	}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		_, isElement := token.(xml.StartElement)
		if err != nil || isElement {
			return malformedXML()
		}
	}
}

// done is an empty answer.
func done() *wire.Raw { return &wire.Raw{Status: http.StatusNoContent} }
