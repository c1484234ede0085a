// Package store keeps published documents where readers find them: in a folder, a
// ConfigMap or an S3 bucket, replacing only what was read.
//
// It does not make the documents or choose their keys, and does not serve them.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
	"github.com/rolecall/rolecall/internal/issuer/document"
)

// Store is a place for published documents.
type Store interface {
	// Read returns what is stored under a name; its Version is empty if there is
	// nothing.
	Read(ctx context.Context, name string) (document.Object, error)
	// Write replaces the version that was read. If it is another one by now it
	// returns document.ErrChanged.
	Write(ctx context.Context, write document.Write) error
}

// Directory is a folder that an HTTPS server serves, `rolecall serve issuer` for
// one. It keeps no headers.
type Directory struct{ Path string }

// Read returns a file, its version being its content's hash.
func (d Directory) Read(_ context.Context, name string) (document.Object, error) {
	text, err := os.ReadFile(d.file(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return document.Object{Name: name}, nil
	case err != nil:
		return document.Object{}, fmt.Errorf("read %s: %w", name, err)
	}
	return document.Object{Name: name, Text: text, Version: version(text)}, nil
}

// Write replaces a file so that a reader sees the old text or the new.
func (d Directory) Write(ctx context.Context, write document.Write) error {
	path := d.file(write.Object.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // public documents
		return fmt.Errorf("write %s: %w", write.Object.Name, err)
	}
	// One publisher at a time, where folders can be locked.
	if lock, err := filelock.AcquireFolder(filepath.Dir(path)); err == nil {
		defer func() { _ = lock.Release() }()
		if err := atomicfile.Sweep(path); err != nil {
			return fmt.Errorf("remove what a killed publisher has left: %w", err)
		}
	}
	now, err := d.Read(ctx, write.Object.Name)
	if err != nil {
		return err
	}
	if now.Version != write.Replaces {
		return document.ErrChanged
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

// Open returns the place that a spec names. bucket opens it in S3, and cluster is asked for
// a client if it is a ConfigMap.
func Open(
	ctx context.Context,
	target *v1alpha1.PublishTarget,
	bucket func(context.Context, *v1alpha1.S3Target) (Store, error),
	cluster func() (kubernetes.Interface, error),
) (Store, error) {
	switch {
	case target.S3 != nil:
		return bucket(ctx, target.S3)
	case target.ConfigMap != nil:
		client, err := cluster()
		if err != nil {
			return nil, err
		}
		maps := client.CoreV1().ConfigMaps(target.ConfigMap.Namespace)
		return ConfigMap{Client: maps, Name: target.ConfigMap.Name}, nil
	case target.Directory != nil:
		return Directory{Path: target.Directory.Path}, nil
	}
	return nil, fault.New(fault.Invalid, "spec.publish names no place").
		Hint("want one of s3, configMap and directory")
}

// ConfigMapKey is the name of a document as a key of a ConfigMap, which has no
// slashes.
func ConfigMapKey(name string) string { return strings.ReplaceAll(name, "/", "_") }
