// Package manifest reads Kubernetes manifests as files of YAML or JSON, and
// injects the workloads in them as the webhook would, keeping everything that
// is not changed as it stands: comments, order, number texts, unknown fields.
//
// It talks to no cluster: service accounts are those of the same files.
package manifest

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/rolecall/rolecall/internal/fault"
)

// Source is one file's text and the name errors give it.
type Source struct {
	Name string
	Text []byte
}

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 20

// ReadFiles reads a file, or the *.yaml, *.yml and *.json files of a folder.
func ReadFiles(path string) ([]Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read manifests: %w", err).Hint("give a file or a folder of YAML or JSON manifests")
	}
	if !info.IsDir() {
		return readAll([]string{path})
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read manifests: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if extension := filepath.Ext(entry.Name()); !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, extension) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	return readAll(files)
}

func readAll(files []string) ([]Source, error) {
	var sources []Source
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read manifests: %w", err)
		}
		if len(text) > maxFile {
			return nil, fault.New(fault.Invalid, "%s is larger than %d bytes", file, maxFile)
		}
		sources = append(sources, Source{Name: file, Text: text})
	}
	return sources, nil
}
