package webhook

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

const (
	identitiesEvery = 250 * time.Millisecond
	// identitiesSettle is for how long a file must be empty or missing before
	// that is believed: some writers truncate first (spec webhook row Q18).
	identitiesSettle = 2 * time.Second
)

// IdentitiesFile follows a file of identities (spec webhook §8.1). The file is
// looked at, not watched: that follows the swapped links of ConfigMap volumes,
// and every file system.
type IdentitiesFile struct {
	*follow.Value[inject.Identities]
	path string
	log  *slog.Logger

	last     []byte        // what was read last
	emptyFor time.Duration // for how long there has been nothing
	fresh    bool          // nothing was read yet
}

// NewIdentitiesFile prepares it; Run follows. The file need not be there, its
// folder must.
func NewIdentitiesFile(path string, log *slog.Logger) (*IdentitiesFile, error) {
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fault.New(fault.Invalid, "follow the identities file: %w", err).
			Hint("mount the folder of %s, even if the file comes later", path)
	}
	return &IdentitiesFile{follow.NewValue(inject.Identities{}), path, log, nil, 0, true}, nil
}

// Run follows the file until ctx is done.
func (f *IdentitiesFile) Run(ctx context.Context) error {
	ticker := time.NewTicker(identitiesEvery)
	defer ticker.Stop()
	for {
		f.look()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *IdentitiesFile) look() {
	text, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Error("identities file not read, the last identities stay", "file", f.path, "error", err)
		return
	}
	first := f.fresh
	f.fresh = false
	if len(text) == 0 && len(f.last) > 0 {
		if f.emptyFor += identitiesEvery; f.emptyFor < identitiesSettle {
			return
		}
	}
	f.emptyFor = 0
	if bytes.Equal(text, f.last) && !first {
		return
	}
	f.last = text
	if identities, err := inject.ParseIdentities(text); err != nil {
		f.log.Error("identities file not read, the last identities stay", "file", f.path, "error", err)
	} else {
		f.Set(identities)
	}
	f.MarkSynced()
}
