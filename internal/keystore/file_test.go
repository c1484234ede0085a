package keystore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
)

func newStore(t testing.TB) (*keystore.Store, *keystore.Contents) {
	t.Helper()
	dir := t.TempDir()
	kms, err := keystore.CreateLocal(filepath.Join(dir, "kms.key"))
	if err != nil {
		t.Fatal(err)
	}
	contents, _ := newContents(t)
	store := &keystore.Store{Path: filepath.Join(dir, "keys"), KMS: kms}
	if err := store.Create(t.Context(), contents); err != nil {
		t.Fatal(err)
	}
	return store, contents
}

func TestStore(t *testing.T) {
	t.Parallel()
	store, contents := newStore(t)
	if info, err := os.Stat(store.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if err := store.Create(t.Context(), contents); fault.KindOf(err) != fault.Conflict {
		t.Errorf("created twice: %v", err)
	}
	text, err := store.Text()
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := contents.Keys[0].Private.PEM()
	if bytes.Contains(text, []byte("PRIVATE")) || bytes.Contains(text, secret[40:80]) {
		t.Error("the private key is readable in the file")
	}
	if err := store.Update(t.Context(), func(c *keystore.Contents) error {
		c.Switched(c.Keys[0].Public.ID, start)
		return c.Rotate(newKey(t), start, start.Add(day), day)
	}); err != nil {
		t.Fatal(err)
	}
	loaded, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Generation != 2 || len(loaded.Keys) != 2 || !loaded.Keys[1].SwitchedAt.Equal(start) ||
		loaded.Keys[0].TokenLife != day || loaded.Keys[1].Private.ID() != contents.Keys[0].Private.ID() {
		t.Errorf("read back %+v", loaded)
	}
	before, _ := store.Text()
	if err := store.Update(t.Context(), func(*keystore.Contents) error { return keystore.Unchanged }); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if err := store.Update(t.Context(), func(c *keystore.Contents) error { c.Keys = nil; return refused }); !errors.Is(err, refused) {
		t.Errorf("refused change: %v", err)
	}
	if err := store.Update(t.Context(), func(c *keystore.Contents) error { c.Keys = nil; return nil }); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a store without keys was written: %v", err)
	}
	if after, _ := store.Text(); !bytes.Equal(before, after) {
		t.Error("a change that changes nothing was written")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(store.Path), atomicfile.Prefix+"*"))
	if len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// TestWriters: of many concurrent changes none is lost, and readers never see
// half of one.
func TestWriters(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	var writers sync.WaitGroup
	for range 4 {
		other := &keystore.Store{Path: store.Path, KMS: store.KMS}
		writers.Go(func() {
			for range 10 {
				if err := other.Update(t.Context(), func(*keystore.Contents) error { return nil }); err != nil {
					t.Error(err)
				}
				if _, err := other.Load(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if contents, err := store.Load(t.Context()); err != nil || contents.Generation != 41 {
		t.Errorf("generation %d after 40 changes: %v", contents.Generation, err)
	}
}

// TestHostileStore: no part of the file can be changed on its own.
func TestHostileStore(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	good, _ := store.Text()
	older := good
	if err := store.Update(t.Context(), func(*keystore.Contents) error { return nil }); err != nil {
		t.Fatal(err)
	}
	good, _ = store.Text()
	other, err := keystore.CreateLocal(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.Decode(t.Context(), other,
		good); fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), other.Name()) {
		t.Errorf("another KMS key: %v", err)
	}
	edit := func(change func(file map[string]any)) []byte {
		var file map[string]any
		if err := json.Unmarshal(good, &file); err != nil {
			t.Fatal(err)
		}
		change(file)
		text, _ := json.Marshal(file)
		return text
	}
	var old map[string]any
	_ = json.Unmarshal(older, &old)
	for name, text := range map[string][]byte{
		"empty":            nil,
		"cut":              good[:len(good)/2],
		"two":              append(bytes.Clone(good), good...),
		"too long":         bytes.Repeat([]byte(" "), 5<<20),
		"other format":     edit(func(f map[string]any) { f["format"] = "rolecall.io/keystore/v2" }),
		"unknown member":   edit(func(f map[string]any) { f["hint"] = "x" }),
		"generation":       edit(func(f map[string]any) { f["generation"] = 7 }),
		"negative":         edit(func(f map[string]any) { f["generation"] = -1 }),
		"other kms":        edit(func(f map[string]any) { f["kms"] = "local:0" }),
		"older keys":       edit(func(f map[string]any) { f["sealed"] = old["sealed"] }),
		"older data key":   edit(func(f map[string]any) { f["dataKey"] = old["dataKey"] }),
		"older both":       edit(func(f map[string]any) { f["dataKey"], f["sealed"] = old["dataKey"], old["sealed"] }),
		"no data key":      edit(func(f map[string]any) { f["dataKey"] = "" }),
		"no keys":          edit(func(f map[string]any) { f["sealed"] = "" }),
		"not even base64":  edit(func(f map[string]any) { f["sealed"] = "%" }),
		"null":             []byte("null"),
		"another document": []byte("[]"),
	} {
		if contents, err := keystore.Decode(t.Context(), store.KMS, text); err == nil {
			t.Errorf("%s: read as %v", name, contents)
		}
	}
	if _, err := keystore.Decode(t.Context(), store.KMS, good); err != nil {
		t.Error(err)
	}
}

func TestLocalKMS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "kms.key")
	made, err := keystore.CreateLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.CreateLocal(path); fault.KindOf(err) != fault.Conflict {
		t.Errorf("made twice: %v", err)
	}
	opened, err := keystore.OpenLocal(path)
	if err != nil || opened.Name() != made.Name() {
		t.Fatalf("opened %v: %v", opened, err)
	}
	dataKey := bytes.Repeat([]byte{7}, keystore.KeySize)
	wrapped, err := made.Wrap(t.Context(), dataKey)
	if err != nil || bytes.Contains(wrapped, dataKey[:8]) {
		t.Errorf("wrapped %x: %v", wrapped, err)
	}
	if again, _ := made.Wrap(t.Context(), dataKey); bytes.Equal(again, wrapped) {
		t.Error("the same nonce twice")
	}
	if got, err := opened.Unwrap(t.Context(), wrapped); err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("unwrapped %x: %v", got, err)
	}
	wrapped[len(wrapped)-1] ^= 1
	for _, hostile := range [][]byte{wrapped, nil, wrapped[:5]} {
		if _, err := opened.Unwrap(t.Context(), hostile); err == nil {
			t.Errorf("%x was unwrapped", hostile)
		}
	}
	key, _ := os.ReadFile(path)
	write := func(name string, text []byte, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, text, 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, row := range map[string]struct {
		path string
		want fault.Kind
	}{
		"missing":        {filepath.Join(dir, "none"), fault.NotFound},
		"group may read": {write("group", key, 0o640), fault.Denied},
		"all may read":   {write("all", key, 0o604), fault.Denied},
		"short":          {write("short", key[:31], 0o600), fault.Invalid},
		"with line end":  {write("long", append(bytes.Clone(key), '\n'), 0o600), fault.Invalid},
		"a folder":       {dir, fault.Invalid},
	} {
		if _, err := keystore.OpenLocal(row.path); fault.KindOf(err) != row.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
