package sigv4

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// amzPrefix begins the headers that are AWS's own.
const amzPrefix = "x-amz-"

// verifyCovered refuses a request with a header that counts and is not signed:
// the host, and all that are AWS's own. The body's hash alone may stand in a
// header that is not signed, since the signature covers it anyway.
func (s *Signed) verifyCovered(r *http.Request) error {
	missing := s.notCovered(r.Header)
	if len(missing) == 0 {
		return nil
	}
	if s.Service == s3 {
		return &Error{
			http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed",
			strings.Join(missing, ", "),
		}
	}
	shown := "'" + http.CanonicalHeaderKey(missing[0]) + "'"
	if missing[0] == "host" {
		shown = "'Host' or ':authority'"
	}
	return mismatch("%s must be a 'SignedHeader' in the AWS Authorization.", shown)
}

// notCovered names the headers that must be signed and are not, in lower case
// and sorted.
func (s *Signed) notCovered(header http.Header) []string {
	missing := []string{}
	add := func(name string) {
		if !slices.Contains(s.signedHeaders, name) {
			missing = append(missing, name)
		}
	}
	add("host")
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch name = strings.ToLower(name); {
		case name == strings.ToLower(contentSHA256):
		case strings.HasPrefix(name, amzPrefix), s.Service == s3 && name == "content-md5":
			add(name)
		case s.Service == s3 && name == "if-range" && slices.Contains(s.signedHeaders, "range"):
			add(name) // which says whether the range counts
		}
	}
	slices.Sort(missing)
	return missing
}

// Header returns the request's headers as they were signed: a signed one that
// came in several lines has one value, since the signature does not tell lines
// from commas, and what an old signature covers as parameters are headers too.
func (s *Signed) Header(r *http.Request) http.Header {
	header := r.Header.Clone()
	if s.Legacy {
		amz, _ := legacyHeaders(r.Header, r.URL.Query())
		for name, value := range amz {
			header.Set(name, value)
		}
		return header
	}
	for _, name := range s.signedHeaders {
		if value, _ := headerValue(r, name); len(header.Values(name)) > 1 {
			header.Set(name, value)
		}
	}
	return header
}

// Covers reports whether the signature covers a parameter of the query. Version
// 4 covers all of them, Version 2 those that select a part of a bucket or an
// object.
func (s *Signed) Covers(parameter string) bool {
	return !s.Legacy || slices.Contains(subresources, parameter) || strings.HasPrefix(parameter, amzPrefix)
}
