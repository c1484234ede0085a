package boltfile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rolecall/rolecall/internal/boltfile"
	"github.com/rolecall/rolecall/internal/fault"
)

// made is a file of two buckets with 300 pairs each.
func made(t *testing.T) (path string, whole []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	db, err := boltfile.Open(path, "folder")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"roles", "users"} {
			bucket, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range 300 {
				if err := bucket.Put(fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte(name), 20)); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if whole, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return path, whole
}

// count is how many pairs a file has; an error is one that Open gives.
func count(path string) (pairs int, err error) {
	db, err := boltfile.Open(path, "folder")
	if err != nil {
		return 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(_, value []byte) error {
				if len(value) != 100 {
					return fmt.Errorf("a value of %d bytes", len(value))
				}
				pairs++
				return nil
			})
		})
	})
	if closed := db.Close(); err == nil {
		err = closed
	}
	return pairs, err
}

// TestDamage: whatever page is overwritten, and wherever the file is cut off, there is an
// error that says what to do, never a panic; what is salvaged is a file again, and the
// damaged one is kept as it was.
func TestDamage(t *testing.T) {
	t.Parallel()
	_, whole := made(t)
	size := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	salvaged, most := 0, 0
	for page := range len(whole) / size {
		for name, damage := range map[string][]byte{
			"noise":   noise,
			"zeros":   make([]byte, size),
			"half":    append(bytes.Clone(whole[page*size:page*size+16]), noise[16:]...),
			"cut off": nil,
		} {
			text := bytes.Clone(whole)
			if damage == nil {
				text = text[:page*size+size/2]
			} else {
				copy(text[page*size:], damage)
			}
			// Each has a file of its own: its lock stays with what failed.
			path := filepath.Join(t.TempDir(), "a.db")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			pairs, err := count(path)
			if err == nil {
				if pairs > 600 {
					t.Errorf("page %d, %s: %d pairs", page, name, pairs)
				}
				continue // a page that is free, or of the older of two states
			}
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "damaged") ||
				len(fault.HintsOf(err)) == 0 {
				t.Errorf("page %d, %s: %v", page, name, err)
			}
			copied := filepath.Join(t.TempDir(), "a.db")
			if err := os.WriteFile(copied, text, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := boltfile.Salvage(copied)
			if err != nil {
				if fault.KindOf(err) != fault.Invalid || len(fault.HintsOf(err)) == 0 {
					t.Errorf("page %d, %s, salvage: %v", page, name, err)
				}
				continue
			}
			salvaged++
			kept, err := os.ReadFile(got.Kept)
			if err != nil || !bytes.Equal(kept, text) {
				t.Errorf("page %d, %s: the damaged file is not kept: %v", page, name, err)
			}
			db, err := boltfile.Open(copied, "folder")
			if err != nil {
				t.Errorf("page %d, %s: salvaged, and then %v", page, name, err)
				continue
			}
			_ = db.Close()
			most = max(most, got.Pairs)
		}
	}
	if salvaged == 0 || most < 400 {
		t.Errorf("%d files salvaged, at most %d pairs", salvaged, most)
	}
}

// TestSalvageWhole: a file that is whole has all its pairs afterwards, and one that is not
// there is not made.
func TestSalvageWhole(t *testing.T) {
	t.Parallel()
	path, _ := made(t)
	got, err := boltfile.Salvage(path)
	if err != nil || got.Pairs != 600 || !got.All || len(got.Damaged) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if pairs, err := count(path); pairs != 600 || err != nil {
		t.Errorf("%d pairs, %v", pairs, err)
	}
	missing := filepath.Join(t.TempDir(), "b.db")
	if got, err := boltfile.Salvage(missing); err != nil || got.Kept != "" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made")
	}
}
