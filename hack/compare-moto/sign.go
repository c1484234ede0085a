package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

type accessKey struct{ id, secret string }

// sign signs a POST to the root by AWS's Signature Version 4. The SDK would do,
// but only one room of this repository may import it.
func (k accessKey) sign(r *http.Request, body []byte, service string, now time.Time) {
	stamp := now.Format("20060102T150405Z")
	scope := stamp[:8] + "/us-east-1/" + service + "/aws4_request"
	const headers = "content-type;host;x-amz-date"
	r.Header.Set("X-Amz-Date", stamp)
	canonical := strings.Join([]string{
		"POST", "/", "", "content-type:" + r.Header.Get("Content-Type"), "host:" + r.URL.Host, "x-amz-date:" + stamp,
		"", headers, hash(body),
	}, "\n")
	key := []byte("AWS4" + k.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hash([]byte(canonical)))
	r.Header.Set(
		"Authorization",
		"AWS4-HMAC-SHA256 Credential="+k.id+"/"+scope+", SignedHeaders="+headers+", Signature="+
			hex.EncodeToString(signature),
	)
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
