// Package tokencache keeps tokens and sessions of AWS on disk from one run of a
// credential plugin to the next, for nobody but the user whose they are.
//
// A file an entry, in a folder of its own. Readers take no lock and find a whole entry or
// none. What could have been read or written by somebody else is not used: links, files
// and folders of others, or that others may enter, entries under another name than
// their own. Whose an entry is, is the caller's to put into its key.
package tokencache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
)

// Key names an entry: a sum over all that makes it somebody's.
type Key [sha256.Size]byte

// Cache is a folder of entries, which is made when there is something to put in.
type Cache struct {
	dir string
	now func() time.Time
}

const (
	// least is how long an entry must be good for to be worth keeping.
	least = time.Minute
	// longest is how long one may be: twelve hours are the longest session of a role.
	longest  = 12*time.Hour + 5*time.Minute
	maxEntry = 64 << 10
	suffix   = ".json"
	// locks is into how many locks keys are divided, so that their files do not grow in
	// number.
	locks = 16
)

// New is a cache in a folder, which need not be there.
func New(dir string, now func() time.Time) *Cache { return &Cache{dir: dir, now: now} }

// entry is what a file holds.
type entry struct {
	Key   string          `json:"key"`
	Until time.Time       `json:"until"`
	Value json.RawMessage `json:"value"`
}

func (k Key) name() string { return hex.EncodeToString(k[:]) }

func (c *Cache) path(key Key) string { return filepath.Join(c.dir, key.name()+suffix) }

// Get reads an entry that is still good. An error says why one that is there is not used,
// or that none can be seen.
func (c *Cache) Get(key Key, into any) (bool, error) {
	text, err := c.read(key)
	if err != nil || text == nil {
		return false, err
	}
	var found entry
	if err := json.Unmarshal(text, &found); err != nil || found.Key != key.name() {
		return false, c.unusable(key, "is not one of its entries")
	}
	now := c.now()
	if !found.Until.After(now) || found.Until.After(now.Add(longest)) {
		return false, nil
	}
	if err := json.Unmarshal(found.Value, into); err != nil {
		return false, c.unusable(key, "is not one of its entries")
	}
	return true, nil
}

func (c *Cache) unusable(key Key, why string) error {
	return fault.New(fault.Invalid, "%s %s", c.path(key), why)
}

func (c *Cache) read(key Key) ([]byte, error) {
	if err := c.check(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	path := c.path(key)
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if why := whyNotPrivate(named, 0); why != "" {
		return nil, c.unusable(key, why)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if opened, err := file.Stat(); err != nil || !os.SameFile(named, opened) {
		return nil, c.unusable(key, "was exchanged while it was opened")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxEntry+1))
	if err == nil && len(text) > maxEntry {
		return nil, c.unusable(key, "is larger than any entry")
	}
	return text, err
}

// check refuses a folder that is not the user's alone.
func (c *Cache) check() error {
	info, err := os.Lstat(c.dir)
	if err != nil {
		return err
	}
	if why := whyNotPrivate(info, fs.ModeDir); why != "" {
		return fault.New(fault.Denied, "%s %s", c.dir, why)
	}
	return nil
}

// whyNotPrivate is what keeps a file, or with fs.ModeDir a folder, from being used.
func whyNotPrivate(info fs.FileInfo, kind fs.FileMode) string {
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		return "is a link"
	case info.Mode().Type() != kind:
		return "is no ordinary file or folder"
	case !isOwn(info):
		return "belongs to another user"
	case hasModes && info.Mode().Perm()&0o077 != 0:
		return fmt.Sprintf("is not private: mode %04o", info.Mode().Perm())
	}
	return ""
}

// make makes the folder if need be.
func (c *Cache) make() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	return c.check()
}

// Put keeps an entry until it is no longer good, unless that is soon. One that is there is
// replaced, whatever it is.
func (c *Cache) Put(key Key, until time.Time, value any) error {
	now := c.now()
	if !until.After(now.Add(least)) || until.After(now.Add(longest)) {
		return nil
	}
	held, err := json.Marshal(value)
	if err != nil {
		return err
	}
	text, err := json.Marshal(entry{Key: key.name(), Until: until.UTC(), Value: held})
	if err != nil {
		return err
	}
	if len(text) > maxEntry {
		return c.unusable(key, "would be larger than any entry")
	}
	if err := c.make(); err != nil {
		return err
	}
	if err := atomicfile.Write(c.path(key), text, 0o600); err != nil {
		return err
	}
	c.sweep(now)
	return nil
}

// sweep removes what was written longer ago than any entry is good for.
func (c *Cache) sweep(now time.Time) {
	entries, _ := os.ReadDir(c.dir)
	for _, one := range entries {
		if !strings.HasSuffix(one.Name(), suffix) && !strings.HasPrefix(one.Name(), atomicfile.Prefix) {
			continue
		}
		if info, err := one.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(now.Add(-longest)) {
			_ = os.Remove(filepath.Join(c.dir, one.Name()))
		}
	}
}

// TryLock keeps other processes from making what a key names at the same time. If one does,
// it is filelock.ErrHeld. No entry needs the lock to be read or written.
func (c *Cache) TryLock(key Key) (*filelock.Lock, error) {
	if err := c.make(); err != nil {
		return nil, err
	}
	return filelock.Try(filepath.Join(c.dir, fmt.Sprintf("%x.lock", key[0]%locks)))
}
