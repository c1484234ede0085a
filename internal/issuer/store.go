package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/publication"
)

// Store is a place for published documents.
type Store interface {
	// Read returns what is stored under a name; its Version is empty if there is
	// nothing.
	Read(ctx context.Context, name string) (publication.Object, error)
	// Write replaces the version that was read. If it is another one by now it
	// returns publication.ErrChanged.
	Write(ctx context.Context, write publication.Write) error
}

// Directory is a folder that an HTTPS server serves, `rolecall serve issuer` for
// one. It keeps no headers.
type Directory struct{ Path string }

// Read returns a file, its version being its content's hash.
func (d Directory) Read(_ context.Context, name string) (publication.Object, error) {
	text, err := os.ReadFile(d.file(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return publication.Object{Name: name}, nil
	case err != nil:
		return publication.Object{}, fmt.Errorf("read %s: %w", name, err)
	}
	return publication.Object{Name: name, Text: text, Version: version(text)}, nil
}

// Write replaces a file so that a reader sees the old text or the new.
func (d Directory) Write(ctx context.Context, write publication.Write) error {
	now, err := d.Read(ctx, write.Object.Name)
	if err != nil {
		return err
	}
	if now.Version != write.Replaces {
		return publication.ErrChanged
	}
	path := d.file(write.Object.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // public documents
		return fmt.Errorf("write %s: %w", write.Object.Name, err)
	}
	if err := atomicfile.Write(path, write.Object.Text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", write.Object.Name, err)
	}
	return nil
}

func (d Directory) file(name string) string { return filepath.Join(d.Path, filepath.FromSlash(name)) }

func version(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// configMapKey is the name of a document as a key of a ConfigMap, which has no
// slashes.
func configMapKey(name string) string { return strings.ReplaceAll(name, "/", "_") }
