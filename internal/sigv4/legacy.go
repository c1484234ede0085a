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
	"accelerate", "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
	"requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding",
	"response-content-language", "response-content-type",
	"response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId",
	"uploads", "versionId", "versioning", "versions", "website",
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
		return refused(
			http.StatusForbidden, "AccessDenied", "Invalid date (should be seconds since epoch): "+s.time,
		)
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
	amz, once := legacyHeaders(r.Header, query)
	if !once {
		return mismatch(noMatch)
	}
	h := hmac.New(sha1.New, []byte(secret.Reveal()))
	h.Write([]byte(legacyText(r, query, amz, s.time, s.legacyPath(r))))
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return mismatch(noMatch)
	}
	return nil
}

// legacyPath is the path preceded by the bucket, if that is in the host name.
func (s *Signed) legacyPath(r *http.Request) string {
	if s.HostBucket != "" {
		return "/" + s.HostBucket + r.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// legacyHeaders are the headers that an old signature covers, by their names in
// lower case: those of AWS's own, and parameters that stand for one. once is
// false if both say the same one, since only one of them would be signed.
func legacyHeaders(header http.Header, query url.Values) (amz map[string]string, once bool) {
	amz = map[string]string{}
	for name, values := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, amzPrefix) {
			amz[name] = strings.Join(values, ",")
		}
	}
	for name, values := range query {
		if !strings.HasPrefix(name, amzPrefix) {
			continue
		}
		if _, twice := amz[name]; twice || len(values) > 1 {
			return nil, false
		}
		amz[name] = values[0]
	}
	return amz, true
}

// legacyText is what was signed.
func legacyText(r *http.Request, query url.Values, amz map[string]string, expires, path string) string {
	var names, covered []string
	for name := range query {
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
