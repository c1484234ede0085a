package s3

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/service"
)

// FuzzXML: no document of a client's breaks a parser, and what passes keeps its
// limits.
func FuzzXML(f *testing.F) {
	for _, text := range []string{
		`<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>`,
		`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`,
		`<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`,
		`<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi="x" xsi:type="Group"><URI>` + allUsers +
			`</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`,
		`<!DOCTYPE x [<!ENTITY y "z">]><Delete>&y;</Delete>`, "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if objects, _, err := parseDeletions(body); err == nil && (len(objects) == 0 || len(objects) > maxPage) {
			t.Errorf("%d deletions", len(objects))
		}
		if parts, err := parseCompletion(body); err == nil && len(parts) == 0 {
			t.Error("no parts")
		}
		if tags, err := parseTags(body, maxObjectTags); err == nil && len(tags) > maxObjectTags {
			t.Errorf("%d tags", len(tags))
		}
		if list, err := parseACL(body, canonicalID("1")); err == nil && list.ownerOnly && isPublicACL(list.grants) {
			t.Error("a public list counts as the owner's only")
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-4", int64(11))
	f.Add("bytes=-99999999999999999999", int64(0))
	f.Add("bytes=999999999999999999-", int64(1))
	f.Fuzz(func(t *testing.T, text string, size int64) {
		if size < 0 {
			return
		}
		from, to, partial, err := byteRange(text, size)
		if err == nil && (from < 0 || to < from || to > size || (!partial && to-from != size)) {
			t.Errorf("%q of %d: %d to %d", text, size, from, to)
		}
	})
}

// FuzzRoute: whatever a path and a query say, there is one bucket and one key.
func FuzzRoute(f *testing.F) {
	f.Add("GET", "/bucket/key%2F", "list-type=2", "")
	f.Add("PUT", "/%zz", "acl&policy", "a/b")
	f.Fuzz(func(_ *testing.T, method, path, query, source string) {
		q := &service.Call{
			HTTP: &http.Request{
				Method: method,
				URL:    &url.URL{RawQuery: query},
				Header: http.Header{"X-Amz-Copy-Source": {source}},
			},
			Path: path,
		}
		_ = route(q)
		_, _, _ = parseSource(source)
		_, _ = tagsOfHeader(query)
		_, _ = openToken(source)
	})
}

func FuzzIsPublic(f *testing.F) {
	f.Add(
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},` +
			`"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/7"}}}}`,
	)
	f.Fuzz(func(_ *testing.T, text string) { _ = isPublic(text) })
}

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		principal, condition string
		want                 bool
	}{
		{`"*"`, `{}`, true},
		{`{"AWS":"*"}`, `{}`, true},
		{`{"AWS":["111122223333","*"]}`, `{}`, true},
		{`{"AWS":"111122223333"}`, `{}`, false},
		{`{"Service":"s3.amazonaws.com"}`, `{}`, false},
		{`"*"`, `{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`, false},
		{`"*"`, `{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`, true},
		{`"*"`, `{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}`, true},
		{`"*"`, `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, false},
		{`"*"`, `{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/0"]}}`, true},
		{`"*"`, `{"Bool":{"aws:SecureTransport":true}}`, true},
	} {
		text := `{"Statement":[{"Effect":"Allow","Principal":` + row.principal +
			`,"Action":"s3:GetObject","Resource":"*","Condition":` + row.condition + `}]}`
		if got := isPublic(text); got != row.want {
			t.Errorf("%s: %v", text, got)
		}
		if isPublic(strings.Replace(text, "Allow", "Deny", 1)) {
			t.Errorf("a deny is public: %s", text)
		}
	}
}

// TestClock: objects have the times of the call, to the second.
func TestClock(t *testing.T) {
	t.Parallel()
	o := &Object{ETag: "x", Modified: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("If-Modified-Since", httpTime(o.Modified))
	if got := conditions(r.Header, o); got != http.StatusNotModified {
		t.Errorf("the time that was given: %d", got)
	}
}
