package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
)

// canned are the access control lists that have names, without the owner's part.
// Those of object owners need no list here: the bucket's owner owns the objects.
var canned = map[string][]Grant{
	"private":            {},
	"public-read":        {{Grantee: allUsers, Permission: "READ"}},
	"public-read-write":  {{Grantee: allUsers, Permission: "READ"}, {Grantee: allUsers, Permission: "WRITE"}},
	"authenticated-read": {{Grantee: authenticated, Permission: "READ"}},
	"log-delivery-write": {
		{Grantee: logDelivery, Permission: "WRITE"},
		{Grantee: logDelivery, Permission: "READ_ACP"},
	},
	"aws-exec-read":             {},
	"bucket-owner-read":         {},
	"bucket-owner-full-control": {},
}

// grantHeaders are the headers that grant, by permission.
var grantHeaders = map[string]string{
	"X-Amz-Grant-Full-Control": "FULL_CONTROL",
	"X-Amz-Grant-Read":         "READ",
	"X-Amz-Grant-Read-Acp":     "READ_ACP",
	"X-Amz-Grant-Write":        "WRITE",
	"X-Amz-Grant-Write-Acp":    "WRITE_ACP",
}

// acl is the access control list that a call specifies; given is false if it
// specifies none.
type acl struct {
	grants []Grant
	given  bool
	// ownerOnly lists are accepted even if the bucket has no lists.
	ownerOnly bool
}

// withACL reports whether a call has an access control list in its headers.
func withACL(c *call) bool {
	if c.header("X-Amz-Acl") != "" {
		return true
	}
	for name := range grantHeaders {
		if c.header(name) != "" {
			return true
		}
	}
	return false
}

func aclOfHeaders(h http.Header) (acl, error) {
	name := h.Get("X-Amz-Acl")
	found := acl{given: name != "", ownerOnly: name == "bucket-owner-full-control"}
	if name != "" {
		grants, known := canned[name]
		if !known {
			return acl{}, invalidArgument("")
		}
		found.grants = grants
	}
	for header, permission := range grantHeaders {
		if h.Get(header) == "" {
			continue
		}
		if name != "" {
			return acl{}, badRequest("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
		}
		found.given = true
		for one := range strings.SplitSeq(h.Get(header), ",") {
			kind, who, ok := strings.Cut(strings.TrimSpace(one), "=")
			who = strings.Trim(who, `"`)
			if !ok || !validGrantee(kind, who) {
				return acl{}, invalidArgument("Argument format not recognized")
			}
			found.grants = append(found.grants, Grant{Grantee: who, Permission: permission})
		}
	}
	return found, nil
}

func validGrantee(kind, who string) bool {
	switch kind {
	case "id":
		return len(who) == 64
	case "uri":
		return who == allUsers || who == authenticated || who == logDelivery
	}
	return false
}

type ownerXML struct {
	ID string
}

type granteeXML struct {
	XSI  string `xml:"xmlns:xsi,attr"`
	Type string `xml:"xsi:type,attr"`
	ID   string `xml:",omitempty"`
	URI  string `xml:",omitempty"`
}

type grantXML struct {
	Grantee    granteeXML
	Permission string
}

type aclXML struct {
	XMLName xml.Name   `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccessControlPolicy"`
	Owner   ownerXML   `xml:"Owner"`
	Grants  []grantXML `xml:"AccessControlList>Grant"`
}

// show is a list as S3 shows it: the owner first.
func (c *call) show(grants []Grant) any {
	shown := aclXML{Owner: c.owned()}
	for _, grant := range append([]Grant{{Grantee: c.owned().ID, Permission: "FULL_CONTROL"}}, grants...) {
		grantee := granteeXML{
			XSI:  "http://www.w3.org/2001/XMLSchema-instance",
			Type: "CanonicalUser",
			ID:   grant.Grantee,
		}
		if strings.HasPrefix(grant.Grantee, "http://") {
			grantee.Type, grantee.ID, grantee.URI = "Group", "", grant.Grantee
		}
		shown.Grants = append(shown.Grants, grantXML{grantee, grant.Permission})
	}
	return shown
}

// parseACL reads a list in XML. The owner's own grant is not kept.
func parseACL(body []byte, owner string) (acl, error) {
	var given struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Grants  []struct {
			Grantee    struct{ ID, URI, EmailAddress string }
			Permission string
		} `xml:"AccessControlList>Grant"`
	}
	if err := parseXML(body, &given); err != nil {
		return acl{}, err
	}
	found := acl{given: true, ownerOnly: true}
	for _, grant := range given.Grants {
		if !validGrantee("id", grant.Grantee.ID) && !validGrantee("uri", grant.Grantee.URI) {
			return acl{}, invalidArgument("Invalid id")
		}
		switch grant.Permission {
		case "FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP":
		default:
			return acl{}, malformedXML()
		}
		if grant.Grantee.ID == owner && grant.Permission == "FULL_CONTROL" {
			continue
		}
		found.ownerOnly = false
		found.grants = append(found.grants, Grant{
			Grantee:    grant.Grantee.ID + grant.Grantee.URI,
			Permission: grant.Permission,
		})
	}
	return found, nil
}

func isPublicACL(grants []Grant) bool {
	for _, grant := range grants {
		if grant.Grantee == allUsers || grant.Grantee == authenticated {
			return true
		}
	}
	return false
}

// checkACL refuses a list if the bucket has none, and one that public access
// blocks do not allow.
func (c *call) checkACL(given acl) error {
	switch {
	case !given.given:
		return nil
	case c.ownership() == bucketOwnerEnforced && !given.ownerOnly:
		return noACLs()
	case isPublicACL(given.grants) && blocks(c.bucket, func(b *PublicAccessBlock) bool { return b.BlockPublicAcls }):
		return c.blockedBy("BlockPublicAcls", "public access control lists (ACLs) are prevented")
	}
	return nil
}

// newACL reads the list of an object that is about to be made.
func (c *call) newACL() ([]Grant, error) {
	given, err := aclOfHeaders(c.HTTP.Header)
	if err != nil {
		return nil, err
	}
	return given.grants, c.checkACL(given)
}

// readACL reads the list of a call that puts one, from its headers or its body.
func (c *call) readACL() ([]Grant, error) {
	given, err := aclOfHeaders(c.HTTP.Header)
	if err == nil && !given.given {
		given, err = parseACL(c.Body, canonicalID(c.bucket.Account))
	}
	if err != nil {
		return nil, err
	}
	return given.grants, c.checkACL(given)
}

func getBucketACL(c *call) (any, error) { return c.show(c.bucket.Grants), nil }

func putBucketACL(c *call) (any, error) {
	grants, err := c.readACL()
	if err != nil {
		return nil, err
	}
	return nil, c.change(func(_ account.State, b *Bucket) error {
		b.Grants = grants
		return nil
	})
}

func getObjectACL(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	return c.show(c.object.Grants), nil
}

func putObjectACL(c *call) (any, error) {
	if err := c.there(); err != nil {
		return nil, err
	}
	grants, err := c.readACL()
	if err != nil {
		return nil, err
	}
	return nil, c.changeObject(func(o *Object) { o.Grants = grants })
}
