package store_test

import (
	"context"
	"crypto/elliptic"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/token"
)

const url = "https://issuer.example/c1"

// TestStores holds every store to the same promises.
func TestStores(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(*testing.T) store.Store
	}{
		{"directory", func(t *testing.T) store.Store { return store.Directory{Path: t.TempDir() + "/new"} }},
		{"ConfigMap", func(*testing.T) store.Store {
			return store.ConfigMap{Client: fake.NewClientset().CoreV1().ConfigMaps("rolecall"), Name: "issuer"}
		}},
		{"bucket", newBucket},
	} {
		t.Run(row.name, func(t *testing.T) { storeContract(t, row.make(t)) })
	}
}

func storeContract(t *testing.T, place store.Store) {
	ctx := t.Context()
	object := func(text string) document.Object {
		return document.Object{
			Name:         "openid/v1/jwks",
			Text:         []byte(text),
			ContentType:  "application/json",
			CacheControl: "max-age=1",
		}
	}
	if got, err := place.Read(ctx, "openid/v1/jwks"); err != nil || got.Version != "" {
		t.Fatalf("nothing is stored, but is read as %+v, %v", got, err)
	}
	if err := place.Write(ctx, document.Write{Object: object("lost"), Replaces: "never"}); !errors.Is(err,
		document.ErrChanged) {
		t.Errorf("what is not there is replaced: %v", err)
	}
	if err := place.Write(ctx, document.Write{Object: object("first")}); err != nil {
		t.Fatal(err)
	}
	first, err := place.Read(ctx, "openid/v1/jwks")
	if err != nil || string(first.Text) != "first" || first.Version == "" {
		t.Fatalf("read %+v, %v", first, err)
	}
	if err := place.Write(ctx, document.Write{Object: object("lost")}); !errors.Is(err, document.ErrChanged) {
		t.Errorf("what is there is overwritten as if it were not: %v", err)
	}
	if err := place.Write(ctx, document.Write{Object: object("second"), Replaces: first.Version}); err != nil {
		t.Fatal(err)
	}
	if err := place.Write(ctx, document.Write{Object: object("lost"), Replaces: first.Version}); !errors.Is(err,
		document.ErrChanged) {
		t.Errorf("an old version is replaced: %v", err)
	}
	// A neighbour does not disturb.
	if err := place.Write(ctx, document.Write{Object: document.Object{
		Name: ".well-known/openid-configuration",
		Text: []byte("d"),
	}}); err != nil {
		t.Fatal(err)
	}
	if got, err := place.Read(ctx, "openid/v1/jwks"); err != nil || string(got.Text) != "second" {
		t.Errorf("read %+v, %v", got, err)
	}
}

// fakeS3 is as much of S3 as a publisher needs, one bucket by path.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string][]byte
	headers map[string]http.Header
	calls   []string
	owners  []string // that each call expects
}

func (s *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := r.Method + " " + r.URL.Path
	if r.URL.RawQuery != "" && !strings.HasPrefix(r.URL.RawQuery, "x-id=") {
		call += "?" + strings.TrimSuffix(r.URL.RawQuery, "=")
	}
	s.calls, s.owners = append(s.calls, call), append(s.owners, r.Header.Get("X-Amz-Expected-Bucket-Owner"))
	text, found := s.objects[call[strings.Index(call, " ")+1:]]
	tag := func(text []byte) string { sum := md5.Sum(text); return `"` + hex.EncodeToString(sum[:]) + `"` }
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
	}
	name := call[strings.Index(call, " ")+1:]
	switch {
	case r.Method == http.MethodGet && !found && strings.HasSuffix(name, "?policy"):
		refuse(http.StatusNotFound, "NoSuchBucketPolicy")
	case r.Method == http.MethodGet && !found:
		refuse(http.StatusNotFound, "NoSuchKey")
	case r.Method == http.MethodGet:
		for _, header := range []string{"Content-Type", "Cache-Control"} {
			w.Header().Set(header, s.headers[name].Get(header))
		}
		w.Header().Set("ETag", tag(text))
		_, _ = w.Write(text)
	case r.Method == http.MethodPut:
		none, match := r.Header.Get("If-None-Match"), r.Header.Get("If-Match")
		switch {
		case none == "*" && found, match != "" && found && match != tag(text):
			refuse(http.StatusPreconditionFailed, "PreconditionFailed")
			return
		case match != "" && !found:
			refuse(http.StatusNotFound, "NoSuchKey")
			return
		}
		body, _ := io.ReadAll(r.Body)
		s.objects[name], s.headers[name] = body, r.Header.Clone()
		w.Header().Set("ETag", tag(body))
	}
}

func startS3(t *testing.T) (*awsapi.Account, *fakeS3) {
	t.Helper()
	s := &fakeS3{objects: map[string][]byte{}, headers: map[string]http.Header{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	account, err := awsapi.OpenAccount(t.Context(), "eu-west-1", "")
	if err != nil {
		t.Fatal(err)
	}
	return account, s
}

func newBucket(t *testing.T) store.Store {
	account, _ := startS3(t)
	return account.Bucket("keys", "c1", "111122223333")
}

// TestBucketIsMade: in which order, and how open; each call names the account that must own
// the bucket, but the one that makes it.
func TestBucketIsMade(t *testing.T) {
	account, s := startS3(t)
	place := account.Bucket("keys", "c1", "111122223333")
	if err := errors.Join(place.Create(t.Context()), place.KeepVersions(t.Context())); err != nil {
		t.Fatal(err)
	}
	if policy, err := place.Policy(t.Context()); policy != "" || err != nil {
		t.Errorf("policy %q, %v", policy, err)
	}
	block := bucket.Block{BlockPublicACLs: true, IgnorePublicACLs: true}
	policy := `{"Version":"2012-10-17"}`
	if err := errors.Join(place.SetBlock(t.Context(), block), place.SetPolicy(t.Context(), policy)); err != nil {
		t.Fatal(err)
	}
	if got, err := place.Policy(t.Context()); got != policy || err != nil {
		t.Errorf("policy %q, %v", got, err)
	}
	if got, err := place.Block(t.Context()); got != block || err != nil {
		t.Errorf("block %+v, %v", got, err)
	}
	storeContract(t, place)
	if there, err := place.Exists(t.Context()); !there || err != nil {
		t.Errorf("it is there: %t, %v", there, err)
	}
	_, _ = place.Versions(t.Context())
	_ = place.Made(t.Context())
	want := []string{
		"PUT /keys", "PUT /keys?tagging", "PUT /keys?versioning", "GET /keys?policy", "PUT /keys?publicAccessBlock",
		"PUT /keys?policy", "GET /keys?policy",
	}
	if diff := cmp.Diff(want, s.calls[:len(want)]); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	for i, call := range s.calls {
		if owner := s.owners[i]; owner != "111122223333" && call != "PUT /keys" {
			t.Errorf("%s expects the owner %q", call, owner)
		}
	}
}

func documents(t *testing.T, keys ...token.PublicKey) document.Documents {
	t.Helper()
	made, err := document.New(url, keys, document.Options{MaxAge: 300})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newPublicKey(t *testing.T) token.PublicKey {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestPublish(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	k1, k2 := newPublicKey(t), newPublicKey(t)
	place := store.Directory{Path: t.TempDir()}
	done, err := store.Publish(ctx, place, documents(t, k1), []string{k1.ID})
	if diff := cmp.Diff([]string{document.DiscoveryPath, document.JWKSPath}, done.Written); diff != "" || err != nil {
		t.Errorf("%v (-want +got): %s", err, diff)
	}
	if done, err = store.Publish(ctx, place, documents(t, k1), nil); len(done.Written) != 0 || err != nil {
		t.Errorf("the same again writes %v, %v", done.Written, err)
	}
	if _, err = store.Publish(ctx, place, documents(t, k2), []string{k1.ID}); err == nil ||
		!strings.Contains(err.Error(), "without "+k1.ID) {
		t.Errorf("a signing key is dropped: %v", err)
	}
	// Another publisher is faster, once: its keys are seen, ours are written.
	if done, err = store.Publish(ctx, &racing{Store: place, times: 1}, documents(t, k2, k1),
		nil); len(done.Written) != 1 || err != nil {
		t.Errorf("after a race: %v, %v", done.Written, err)
	}
	if _, err = store.Publish(ctx, &racing{Store: place, times: 9}, documents(t, k2), nil); !errors.Is(err,
		document.ErrChanged) {
		t.Errorf("a race without end: %v", err)
	}
}

// racing refuses the first writes as if somebody else had been faster.
type racing struct {
	store.Store
	times int
}

func (r *racing) Write(ctx context.Context, write document.Write) error {
	if r.times--; r.times >= 0 {
		return document.ErrChanged
	}
	return r.Store.Write(ctx, write)
}
