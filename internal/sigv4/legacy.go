package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" // what the old signature is made of
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// AWS CLI and boto3 still presign URLs of S3 with Signature Version 2 in the
// older regions, us-east-1 among them, unless told otherwise.

// subresources are the parameters that an old signature covers.
var subresources = []string{
	"accelerate", "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
	"response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
	"analytics", "metrics", "inventory", "replication", "object-lock", "defaultObjectAcl",
}

func isLegacy(query url.Values) bool {
	return len(query["AWSAccessKeyId"]) == 1 && len(query["Signature"]) == 1 && len(query["Expires"]) == 1
}

func parseLegacy(query url.Values) (*Signed, error) {
	s := &Signed{
		AccessKeyID: query.Get("AWSAccessKeyId"), Service: s3, Presigned: true, Legacy: true,
		signature: query.Get("Signature"), time: query.Get("Expires"),
	}
	if tokens := query["x-amz-security-token"]; len(tokens) == 1 {
		s.SessionToken = credential.NewSecret(tokens[0])
	} else if len(tokens) > 1 {
		return nil, incomplete("There must be one x-amz-security-token parameter only.")
	}
	return s, nil
}

func (s *Signed) verifyLegacy(r *http.Request, secret credential.Secret, now time.Time) error {
	expires, err := strconv.ParseInt(s.time, 10, 64)
	switch {
	case err != nil:
		return &Error{http.StatusForbidden, "AccessDenied", "Invalid date (should be seconds since epoch): " + s.time}
	case now.Unix() > expires:
		return expired()
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return mismatch(noMatch)
	}
	want, err := base64.StdEncoding.DecodeString(s.signature)
	if err != nil {
		return mismatch(noMatch)
	}
	for _, path := range legacyPaths(r) {
		h := hmac.New(sha1.New, []byte(secret.Reveal()))
		h.Write([]byte(legacyText(r, query, s.time, path)))
		if subtle.ConstantTimeCompare(h.Sum(nil), want) == 1 {
			return nil
		}
	}
	return mismatch(noMatch)
}

// legacyPaths is the path preceded by the bucket, which may be in the host
// name.
func legacyPaths(r *http.Request) []string {
	path := r.URL.EscapedPath()
	paths := []string{path}
	if bucket, _, found := strings.Cut(r.Host, ".s3"); found {
		paths = append(paths, "/"+bucket+path)
	}
	return paths
}

// legacyText is what was signed. Parameters that begin with x-amz- count as
// headers.
func legacyText(r *http.Request, query url.Values, expires, path string) string {
	amz := map[string]string{}
	for name, values := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			amz[name] = strings.Join(values, ",")
		}
	}
	var names, covered []string
	for name, values := range query {
		if strings.HasPrefix(name, "x-amz-") {
			amz[name] = values[0]
		}
		if slices.Contains(subresources, name) {
			covered = append(covered, name)
		}
	}
	for name := range amz {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Sort(covered)
	lines := []string{r.Method, r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), expires}
	for _, name := range names {
		lines = append(lines, name+":"+amz[name])
	}
	for i, name := range covered {
		if value := query.Get(name); value != "" {
			covered[i] += "=" + value
		}
	}
	if len(covered) > 0 {
		path += "?" + strings.Join(covered, "&")
	}
	return strings.Join(append(lines, path), "\n")
}
