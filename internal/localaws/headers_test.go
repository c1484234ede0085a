package localaws_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what the old signature is made of
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/rolecall/rolecall/internal/credential"
)

// legacyURL signs a URL of S3 with Version 2. resource is what was signed,
// target what the URL asks for.
func (w *world) legacyURL(method, resource, target string) string {
	expires := strconv.FormatInt(w.clock().Add(time.Hour).Unix(), 10)
	h := hmac.New(sha1.New, []byte(w.admin.SecretKey.Reveal()))
	h.Write([]byte(method + "\n\n\n" + expires + "\n" + resource))
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + url.Values{
		"AWSAccessKeyId": {w.admin.AccessKeyID}, "Expires": {expires},
		"Signature": {base64.StdEncoding.EncodeToString(h.Sum(nil))},
	}.Encode()
}

// TestUnsignedHeadersDoNothing: who gets a signed request cannot make it do
// something else by a header that nobody signed.
func TestUnsignedHeadersDoNothing(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	admin := w.bucket("vault")
	wantCode(t, "put", w.put(admin, "vault", "secret", "the secret"), "")
	presign := s3.NewPresignClient(admin)
	content := func(key string) string {
		out, err := admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("vault"), Key: &key})
		if err != nil {
			return codeOf(err)
		}
		defer func() { _ = out.Body.Close() }()
		body, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, header := range []string{
		"X-Amz-Copy-Source: vault/secret", "x-amz-copy-source: vault/secret", "X-Amz-Acl: public-read",
		"X-Amz-Grant-Read: uri=http://acs.amazonaws.com/groups/global/AllUsers", "X-Amz-Tagging: a=b",
		"X-Amz-Meta-Owner: me", "X-Amz-Website-Redirect-Location: https://example.com", "Content-MD5: AAAA",
		"X-Amz-Storage-Class: GLACIER", "X-Amz-Date: 20260101T000000Z", "X-Amz-Security-Token: x",
	} {
		name, value, _ := strings.Cut(header, ": ")
		out, err := presign.PresignPutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("vault"), Key: aws.String("public"),
		})
		if err != nil {
			t.Fatal(err)
		}
		inQuery := w.request(http.MethodPut, strings.TrimPrefix(out.URL, w.url+"/"), "")
		inHeader := w.request(http.MethodPut, "vault/public", "")
		w.sign(inHeader, w.admin, "s3", "", w.clock())
		for way, r := range map[string]*http.Request{"in the query": inQuery, "in the header": inHeader} {
			if way == "in the header" && (name == "X-Amz-Date" || name == "X-Amz-Security-Token") {
				continue // which change what was signed
			}
			r.Header[name] = []string{value}
			got := w.do(r)
			if got.status != http.StatusForbidden || !strings.Contains(got.body, "<Code>AccessDenied</Code>"+
				"<Message>There were headers present in the request which were not signed</Message>"+
				"<HeadersNotSigned>"+strings.ToLower(name)+"</HeadersNotSigned>") {
				t.Errorf("%s, signed %s: %d %s", name, way, got.status, got.body)
			}
		}
		if got := content("public"); got != "NoSuchKey" {
			t.Fatalf("%s: something was written: %s", name, got)
		}
	}
	r := w.request(http.MethodPut, "vault/public", "")
	r.Header["X_amz_copy_source"] = []string{"vault/secret"} // which is no header of AWS's
	w.sign(r, w.admin, "s3", "", w.clock())
	if got := w.do(r); got.status != http.StatusOK || content("public") != "" {
		t.Errorf("with underscores: %d %s, wrote %q", got.status, got.body, content("public"))
	}
	r = w.request(http.MethodPut, "vault/copy", "")
	r.Header.Set("X-Amz-Copy-Source", "vault/public,vault/secret")
	w.sign(r, w.admin, "s3", "", w.clock())
	r.Header["X-Amz-Copy-Source"] = []string{"vault/public", "vault/secret"}
	if got := w.do(r); got.status != http.StatusNotFound || content("copy") != "NoSuchKey" {
		t.Errorf("a signed header in two lines: %d %s, wrote %q", got.status, got.body, content("copy"))
	}
}

// TestUnsignedTarget: an operation that nobody signed is not done.
func TestUnsignedTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request(http.MethodPost, "", `{"Name":"p"}`)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	w.sign(r, w.admin, "ssm", `{"Name":"p"}`, w.clock())
	r.Header.Set("X-Amz-Target", "AmazonSSM.DeleteParameter")
	if got := w.do(r); got.status != http.StatusBadRequest ||
		!strings.Contains(got.body, `"InvalidSignatureException"`) ||
		!strings.Contains(got.body, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestLegacyURLs: an old signature covers neither the host nor most parameters,
// so that neither may change what a URL does.
func TestLegacyURLs(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	for _, name := range []string{"mine", "yours"} {
		wantCode(t, "put", w.put(w.bucket(name), name, "mine/k", "content of "+name), "")
	}
	for _, row := range []struct {
		name, resource, target, host string
		status                       int
		has                          string
	}{
		{"an object", "/mine/mine/k", "mine/mine/k", "", 200, "content of mine"},
		{"an object by host", "/mine/mine/k", "mine/k", "mine.s3.localhost", 200, "content of mine"},
		{"an object by this machine's host", "/mine/mine/k", "mine/k", "mine.localhost", 200, "content of mine"},
		{"another bucket's host", "/mine/k", "mine/k", "yours.s3.localhost", 403, "SignatureDoesNotMatch"},
		{"another bucket's host here", "/mine/k", "mine/k", "yours.localhost", 403, "SignatureDoesNotMatch"},
		{"a list", "/mine/", "mine/?prefix=mine", "", 200, "<Key>mine/k</Key>"},
		{"a list in its other form", "/mine/", "mine/?list-type=2", "", 200, "<KeyCount>1</KeyCount>"},
		{"a part that is signed", "/mine/?acl", "mine/?acl", "", 200, "AccessControlPolicy"},
		{"a part that is not covered", "/mine/", "mine/?acl", "", 403, "SignatureDoesNotMatch"},
		{"a part that is never covered", "/mine/", "mine/?publicAccessBlock", "", 403, "SignatureDoesNotMatch"},
		{"another one", "/mine/", "mine/?ownershipControls", "", 403, "SignatureDoesNotMatch"},
	} {
		r := w.request(http.MethodGet, w.legacyURL("GET", row.resource, row.target), "")
		if row.host != "" {
			r.Host = row.host
		}
		if got := w.do(r); got.status != row.status || !strings.Contains(got.body, row.has) {
			t.Errorf("%s: %d %s", row.name, got.status, got.body)
		}
	}
}

// TestHowItIsSigned: the condition keys say how a request is signed, not what its
// query looks like.
func TestHowItIsSigned(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	admin := w.bucket("ways")
	wantCode(t, "put", w.put(admin, "ways", "k", "content"), "")
	presigned, err := s3.NewPresignClient(admin).PresignGetObject(t.Context(), &s3.GetObjectInput{
		Bucket: aws.String("ways"), Key: aws.String("k"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ key, value, refused string }{
		{"s3:authType", "REST-HEADER", "header"},
		{"s3:authType", "REST-QUERY-STRING", "presigned old"},
		{"s3:signatureversion", "AWS4-HMAC-SHA256", "header presigned"},
		{"s3:signatureversion", "AWS", "old"},
	} {
		_, err := admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{
			Bucket: aws.String("ways"),
			Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",` +
				`"Action":"s3:GetObject","Resource":"arn:aws:s3:::ways/*",` +
				`"Condition":{"StringEquals":{"` + row.key + `":"` + row.value + `"}}}]}`),
		})
		wantCode(t, "policy", err, "")
		for way, target := range map[string]string{
			"header": "ways/k?X-Amz-Signature=x&AWSAccessKeyId=x", "presigned": strings.TrimPrefix(presigned.URL, w.url+"/"),
			"old": w.legacyURL("GET", "/ways/k", "ways/k"),
		} {
			r := w.request(http.MethodGet, target, "")
			if way == "header" {
				w.sign(r, w.admin, "s3", "", w.clock())
			}
			want := http.StatusOK
			if strings.Contains(row.refused, way) {
				want = http.StatusForbidden
			}
			if got := w.do(r); got.status != want {
				t.Errorf("%s %s, %s: %d %s", row.key, row.value, way, got.status, got.body)
			}
		}
	}
}

// open sends the head of a request, with the body's length, and no body.
func (w *world) open(r *http.Request, length int64) net.Conn {
	w.t.Helper()
	address := strings.TrimPrefix(w.url, "http://")
	conn, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // far more than it takes
		w.t.Fatal(err)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), address)
	if length >= 0 {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", length)
	} else {
		head.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if err := r.Header.Write(&head); err != nil {
		w.t.Fatal(err)
	}
	head.WriteString("\r\n")
	if _, err := conn.Write(head.Bytes()); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// reply is the answer on a connection.
type reply struct {
	status int
	closes bool
	text   string // the code that a header says, and the body
}

// answered reads the answer of a connection.
func answered(t *testing.T, name string, conn net.Conn, r *http.Request) reply {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Errorf("%s: no answer: %v", name, err)
		return reply{}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return reply{response.StatusCode, response.Close, response.Header.Get("X-Amzn-Errortype") + string(body)}
}

// TestHeadDecides: what the head of a request shows to be refused is refused
// while no byte of the body has come.
func TestHeadDecides(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	w.bucket("heads")
	unknown := credential.AWS{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretKey: w.admin.SecretKey}
	wrong := credential.AWS{AccessKeyID: w.admin.AccessKeyID, SecretKey: credential.NewSecret("wrong")}
	other, _ := w.accounts.Find(otherAccount)
	stranger, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	old := w.clock().Add(-time.Hour)
	for _, row := range []struct {
		name, method, path, service, target, claimed string
		key                                          credential.AWS
		at                                           time.Time
		status                                       int
		code                                         string
	}{
		{name: "unsigned", method: "PUT", path: "heads/k", status: 403, code: "AccessDenied"},
		{name: "unsigned, no such bucket", method: "PUT", path: "nobodys/k", status: 404, code: "NoSuchBucket"},
		{
			name: "unsigned part", method: "PUT", path: "heads/k?partNumber=1&uploadId=x",
			status: 403, code: "AccessDenied",
		},
		{name: "unsigned policy", method: "PUT", path: "heads?policy", status: 403, code: "AccessDenied"},
		{
			name: "unknown key", method: "PUT", path: "heads/k", service: "s3", key: unknown,
			status: 403, code: "InvalidAccessKeyId",
		},
		{
			name: "wrong secret", method: "PUT", path: "heads/k", service: "s3", key: wrong,
			status: 403, code: "SignatureDoesNotMatch",
		},
		{
			name: "wrong secret, unsigned body", method: "PUT", path: "heads/k", service: "s3", key: wrong,
			claimed: "UNSIGNED-PAYLOAD", status: 403, code: "SignatureDoesNotMatch",
		},
		{
			name: "wrong secret, chunks", method: "PUT", path: "heads/k", service: "s3", key: wrong,
			claimed: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", status: 403, code: "SignatureDoesNotMatch",
		},
		{
			name: "late", method: "PUT", path: "heads/k", service: "s3", key: w.admin, at: old,
			status: 403, code: "RequestTimeTooSkewed",
		},
		{
			name: "not allowed", method: "PUT", path: "heads/k", service: "s3", key: stranger,
			status: 403, code: "AccessDenied",
		},
		{
			name: "too large", method: "PUT", path: "heads/k", service: "s3", key: w.admin, claimed: "UNSIGNED-PAYLOAD",
			status: 400, code: "EntityTooLarge",
		},
		{
			name: "too large a document", method: "PUT", path: "heads?policy", service: "s3", key: w.admin,
			status: 400, code: "EntityTooLarge",
		},
		{
			name: "ssm, unsigned", method: "POST", target: "AmazonSSM.GetParameter",
			status: 400, code: "MissingAuthenticationTokenException",
		},
		{
			name: "ssm, unknown key", method: "POST", target: "AmazonSSM.GetParameter", service: "ssm", key: unknown,
			status: 400, code: "UnrecognizedClientException",
		},
		{
			name: "eks, unknown key", method: "POST", path: "clusters", service: "eks", key: unknown,
			status: 403, code: "UnrecognizedClientException",
		},
		{
			name: "eks, too large", method: "POST", path: "clusters", service: "eks", key: w.admin,
			status: 413, code: "RequestEntityTooLargeException",
		},
		{
			name: "not emulated, unknown key", method: "POST", target: "DynamoDB_20120810.GetItem", service: "dynamodb",
			key: unknown, status: 400, code: "UnrecognizedClientException",
		},
		{
			name: "sts, too large", method: "POST", service: "sts", key: w.admin,
			status: 413, code: "RequestEntityTooLarge",
		},
		{
			name: "iam, too large", method: "POST", service: "iam", key: w.admin,
			status: 413, code: "RequestEntityTooLarge",
		},
	} {
		for _, length := range []int64{65<<20 + 1<<20 + 1, 1000, -1} {
			if strings.Contains(row.name, "too large") && length < 1<<20 {
				continue
			}
			r := w.request(row.method, row.path, "")
			if row.target != "" {
				r.Header.Set("X-Amz-Target", row.target)
				r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			}
			if row.claimed != "" {
				r.Header.Set("X-Amz-Content-Sha256", row.claimed)
			}
			if row.key.AccessKeyID != "" {
				at := row.at
				if at.IsZero() {
					at = w.clock()
				}
				if row.claimed == "" {
					w.sign(r, row.key, row.service, "", at)
				} else {
					w.signHash(r, row.key, row.service, "us-east-1", row.claimed, at)
				}
			}
			name := fmt.Sprintf("%s, %d bytes", row.name, length)
			got := answered(t, name, w.open(r, length), r)
			if got.status == 0 {
				return
			}
			if got.status != row.status || !strings.Contains(got.text, row.code) || !got.closes {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

// TestRefusedWhileSending: a client that sends all of its body before it reads
// gets the answer, and one that asks before it sends is told not to.
func TestRefusedWhileSending(t *testing.T) {
	t.Parallel()
	w := newS3World(t)
	w.bucket("sent")
	r := w.request(http.MethodPut, "sent/k", "")
	content := bytes.Repeat([]byte("x"), 16<<20)
	conn := w.open(r, int64(len(content)))
	if _, err := conn.Write(content); err != nil {
		t.Errorf("send: %v", err)
	}
	if got := answered(t, "sent", conn, r); got.status != http.StatusForbidden {
		t.Errorf("%+v", got)
	}
	r.Header.Set("Expect", "100-continue")
	if got := answered(t, "asked", w.open(r, 60<<20), r); got.status != http.StatusForbidden {
		t.Errorf("asked first: %+v", got)
	}
	r = w.request(http.MethodPut, "sent/k", "")
	r.Header.Set("Expect", "100-continue")
	w.sign(r, w.admin, "s3", "content", w.clock())
	conn = w.open(r, 7)
	reader := bufio.NewReader(conn)
	if line, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("allowed: %q %v", line, err)
	}
	if _, err := conn.Write([]byte("content")); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(reader, r); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("allowed: %v %v", response, err)
	} else {
		_ = response.Body.Close()
	}
}
