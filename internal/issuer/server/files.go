package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/token"
)

// maxDocument is what readers take, STS among them.
const maxDocument = 1 << 20

// Files serves published documents from a folder and follows it: documents that
// changed are read at the next request, so that publishing needs no restart;
// ones that nobody should read are logged, and the old ones stay.
type Files struct {
	dir, cacheControl string
	log               *slog.Logger

	mu      sync.Mutex // guards the rest
	current *folder
}

// folder is one state of it.
type folder struct {
	stamp     [2]stamp
	documents map[string]served // by path
}

// served is one document with its headers.
type served struct {
	contentType, tag string
	text             []byte
}

// stamp tells two states of a file apart without reading it.
type stamp struct {
	file string
	time time.Time
	size int64
}

// OpenFiles reads the folder once: as `issuer publish` writes it, or a ConfigMap
// mounted as a volume. maxAge is how long readers may keep what they read.
func OpenFiles(dir string, maxAge time.Duration, log *slog.Logger) (*Files, error) {
	f := &Files{dir: dir, log: log, cacheControl: fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds()))}
	state, err := f.load()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the documents to serve: %w", err).
			Hint("write them with `rolecall issuer publish`, or mount the ConfigMap that the controller writes")
	}
	f.current = state
	return f, nil
}

// AwaitFiles is OpenFiles for a folder in which nothing is published yet: until something is,
// readers are told to come back. Who publishes may want to read back what is served first.
func AwaitFiles(dir string, maxAge time.Duration, log *slog.Logger) (*Files, error) {
	f, err := OpenFiles(dir, maxAge, log)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f = &Files{dir: dir, log: log, cacheControl: fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds()))}
	info, missing := os.Stat(dir)
	if missing != nil || !info.IsDir() || !f.isEmpty() {
		return nil, err
	}
	log.Warn("nothing is published yet: readers are answered 503 until it is", "dir", dir)
	f.current = &folder{}
	return f, nil
}

// isEmpty: not even the discovery document is there.
func (f *Files) isEmpty() bool {
	_, err := os.Stat(f.path(document.DiscoveryPath))
	return errors.Is(err, fs.ErrNotExist)
}

// ServeHTTP answers GET and HEAD of the two documents, and /healthz.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	state := f.state()
	if state.documents == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "nothing is published yet", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/healthz" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	found, there := state.documents[r.URL.Path]
	if !there {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", found.contentType)
	w.Header().Set("Cache-Control", f.cacheControl)
	w.Header().Set("ETag", found.tag)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// It answers 304 to readers that have this one; no time, since two files
	// of different times may be the same.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.text))
}

// state returns the newest documents that are sound.
func (f *Files) state() *folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current.documents == nil && f.isEmpty() {
		return f.current
	}
	stamps, err := f.stamps(f.current.stamp[1].file)
	if err == nil && stamps == f.current.stamp {
		return f.current
	}
	state, err := f.load()
	if err != nil {
		f.log.Warn("published documents cannot be reloaded, the old ones stay", "dir", f.dir, "error", err)
		return f.current
	}
	f.log.Info("published documents reloaded", "dir", f.dir)
	f.current = state
	return state
}

// load reads the folder and checks what it would serve.
func (f *Files) load() (*folder, error) {
	discovery, err := f.read(document.DiscoveryPath)
	if err != nil {
		return nil, err
	}
	var links struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(discovery, &links); err != nil {
		return nil, fmt.Errorf("%s: %w", document.DiscoveryPath, err)
	}
	if err := token.CheckIssuer(links.Issuer); err != nil {
		return nil, err
	}
	base, err := url.Parse(links.Issuer)
	if err != nil {
		return nil, err
	}
	keys, err := url.Parse(links.JWKSURI)
	if err != nil {
		return nil, err
	}
	root := strings.TrimSuffix(base.Path, "/")
	name, below := strings.CutPrefix(keys.Path, root+"/")
	if !below || !filepath.IsLocal(name) || keys.Host != base.Host {
		return nil, fmt.Errorf("jwks_uri %s is not below the issuer %s", links.JWKSURI, links.Issuer)
	}
	jwks, err := f.read(name)
	if err != nil {
		return nil, err
	}
	if set, err := token.ReadJWKS(jwks); err != nil || len(set) == 0 {
		return nil, errors.Join(fmt.Errorf("%s holds no keys", name), err)
	}
	stamps, err := f.stamps(name)
	if err != nil {
		return nil, err
	}
	return &folder{stamp: stamps, documents: map[string]served{
		root + "/" + document.DiscoveryPath: newServed("application/json", discovery),
		root + "/" + name:                   newServed("application/jwk-set+json", jwks),
	}}, nil
}

func newServed(contentType string, text []byte) served {
	sum := sha256.Sum256(text)
	return served{contentType, `"` + hex.EncodeToString(sum[:16]) + `"`, text}
}

// path finds a document under its own name or as a key of a ConfigMap.
func (f *Files) path(name string) string {
	flat := filepath.Join(f.dir, store.ConfigMapKey(name))
	if _, err := os.Stat(flat); err == nil {
		return flat
	}
	return filepath.Join(f.dir, filepath.FromSlash(name))
}

func (f *Files) read(name string) ([]byte, error) {
	text, err := os.ReadFile(f.path(name))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("%s is longer than a megabyte", name)
	}
	return text, nil
}

func (f *Files) stamps(jwks string) (stamps [2]stamp, err error) {
	for i, name := range []string{document.DiscoveryPath, jwks} {
		info, err := os.Stat(f.path(name))
		if err != nil {
			return stamps, err
		}
		stamps[i] = stamp{name, info.ModTime(), info.Size()}
	}
	return stamps, nil
}
