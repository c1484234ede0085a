package boltstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/boltstore"
	"github.com/rolecall/rolecall/test/storecontract"
)

func TestContract(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) *boltstore.Store{
		"memory": func(*testing.T) *boltstore.Store { return boltstore.Memory(time.Now) },
		"file": func(t *testing.T) *boltstore.Store {
			t.Helper()
			return openFile(t, filepath.Join(t.TempDir(), "a", "b.db"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			storecontract.Run(t, store, func() {
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		})
		t.Run(name+", EKS", func(t *testing.T) {
			t.Parallel()
			storecontract.RunService(t, open(t))
		})
	}
}

func openFile(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	store, err := boltstore.Open(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // some tests have closed it
	return store
}

// TestFile: what was written is there again, and no resourceVersion comes twice.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.db")
	first := openFile(t, path)
	cart, err := first.Create(t.Context(), storecontract.New("shop", "cart"))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := first.Create(t.Context(), storecontract.New("shop", "gone"))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Delete(t.Context(), "shop", "gone", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(path, time.Now); fault.KindOf(err) != fault.Conflict || len(fault.HintsOf(err)) == 0 ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("a second process: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
	second := openFile(t, path)
	got, err := second.Get(t.Context(), "shop", "cart")
	if err != nil || got.UID != cart.UID || got.ResourceVersion != cart.ResourceVersion ||
		!got.CreationTimestamp.Equal(&cart.CreationTimestamp) {
		t.Errorf("after opening again: %+v, %v", got, err)
	}
	if second.Current().Of("shop", "cart") == nil {
		t.Error("what was in the file is not seen")
	}
	next, err := second.Create(t.Context(), storecontract.New("shop", "next"))
	if err != nil || next.ResourceVersion == gone.ResourceVersion {
		t.Errorf("resourceVersion %q again, %v", next.ResourceVersion, err)
	}
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	noFile, damaged, moved := filepath.Join(dir, "text"), filepath.Join(dir, "damaged"), filepath.Join(dir, "moved")
	if err := os.WriteFile(noFile, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, value := range map[string]string{
		damaged: "{",
		moved:   `{"metadata":{"namespace":"shop","name":"other"}}`,
	} {
		if err := openFile(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		put(t, path, value)
	}
	for _, path := range []string{noFile, damaged, moved} {
		if _, err := boltstore.Open(path, time.Now); fault.KindOf(err) != fault.Invalid ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if _, err := boltstore.Open(dir, time.Now); err == nil {
		t.Error("a folder was opened")
	}
}

// put writes an object past the store.
func put(t *testing.T, path, value string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("podidentityassociations")).Put([]byte("shop/cart"), []byte(value))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCurrent: a change is seen when the call returns, and a set that was taken
// stays what it was.
func TestCurrent(t *testing.T) {
	t.Parallel()
	store := boltstore.Memory(time.Now)
	select {
	case <-store.Synced():
	default:
		t.Error("not synced")
	}
	before := store.Current()
	created, err := store.Create(t.Context(), storecontract.New("shop", "cart"))
	if err != nil {
		t.Fatal(err)
	}
	during := store.Current()
	seen := during.ByID(association.ID(created))
	if before.Len() != 0 || seen == nil || during.Of("shop", "cart") != seen {
		t.Errorf("before %d, then %v", before.Len(), seen)
	}
	created.Spec.RoleARN += "2"
	if _, err := store.Update(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	if seen.Spec.RoleARN != storecontract.Role ||
		store.Current().Of("shop", "cart").Spec.RoleARN != storecontract.Role+"2" {
		t.Error("a set changed, or the new one does not show the update")
	}
	if err := store.Delete(t.Context(), "shop", "cart", ""); err != nil {
		t.Fatal(err)
	}
	if store.Current().Len() != 0 || during.Len() != 1 {
		t.Error("the deletion is not seen, or seen where it must not be")
	}
}
