// Package manifest finds Kubernetes objects in files of YAML or JSON:
// workloads, service accounts, associations. It injects the workloads as the
// webhook would; package yamledit keeps everything else as it stands.
//
// It does not talk to a cluster: service accounts are those of the same files.
package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/yamledit"
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
		return nil, fault.New(fault.NotFound, "read manifests: %w", err).
			Hint("give a file or a folder of YAML or JSON manifests")
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
		if extension := filepath.Ext(entry.Name()); !entry.IsDir() &&
			slices.Contains([]string{".yaml", ".yml", ".json"}, extension) {
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

// openAll returns the documents of each source.
func openAll(sources []Source) ([][]*yamledit.Document, error) {
	var all [][]*yamledit.Document
	for _, source := range sources {
		documents, err := yamledit.Open(source.Name, source.Text)
		if err != nil {
			return nil, err
		}
		all = append(all, documents)
	}
	return all, nil
}

// object is a Kubernetes object in a document of a source.
type object struct {
	yamledit.Node
	source string
}

// objectsOf returns a document's object, or the items of a List.
func objectsOf(source string, d *yamledit.Document) []object {
	root := d.Root()
	if !root.Exists() {
		return nil
	}
	if !strings.HasSuffix(root.Get("kind").Scalar(), "List") {
		return []object{{root, source}}
	}
	var items []object
	for _, item := range root.Get("items").Items() {
		items = append(items, object{item, source})
	}
	return items
}

func (o object) kind() string { return o.Get("kind").Scalar() }

func (o object) name() string { return o.Get("metadata", "name").Scalar() }

func (o object) namespace() string {
	if namespace := o.Get("metadata", "namespace").Scalar(); namespace != "" {
		return namespace
	}
	return "default"
}

// place is where the object stands, FILE:LINE.
func (o object) place() string { return fmt.Sprintf("%s:%d", o.source, o.Line()) }

// builtIn reports whether the object is of one of Kubernetes' own groups: Job and
// Deployment are also names that others gave their kinds.
func (o object) builtIn(groups ...string) bool {
	version := o.Get("apiVersion").Scalar()
	group, _, found := strings.Cut(version, "/")
	if !found {
		group = ""
	}
	return slices.Contains(groups, group) || version == ""
}
