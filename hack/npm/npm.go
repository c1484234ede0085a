// Package npm fetches the packages of data that generated files come from, for the
// commands that write those. It needs npm and tar, and knows nothing of what is in a
// package.
package npm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is one package at its pinned version.
type Package struct{ Name, Version string }

// String is the package as npm names it.
func (p Package) String() string { return p.Name + "@" + p.Version }

// Folder returns the folder of the unpacked package: the given one, or if that is empty
// one below cache, which it is fetched into once. A package of another name or version
// is refused, so that a generated file never says a version that it is not from.
func (p Package) Folder(ctx context.Context, unpacked, cache string, log io.Writer) (string, error) {
	if unpacked == "" {
		var err error
		if unpacked, err = p.fetch(ctx, cache, log); err != nil {
			return "", fmt.Errorf("fetch %s: %w", p, err)
		}
	}
	var found Package
	if err := ReadJSON(filepath.Join(unpacked, "package.json"), &found); err != nil {
		return "", err
	}
	if found != p {
		return "", fmt.Errorf("%s holds %s, want %s", unpacked, found, p)
	}
	return unpacked, nil
}

func (p Package) fetch(ctx context.Context, cache string, log io.Writer) (string, error) {
	// npm writes the archive of @scope/name as scope-name.
	plain := strings.ReplaceAll(strings.TrimPrefix(p.Name, "@"), "/", "-")
	dir := filepath.Join(cache, plain, p.Version)
	unpacked := filepath.Join(dir, "package")
	if _, err := os.Stat(filepath.Join(unpacked, "package.json")); err == nil {
		return unpacked, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, command := range [][]string{
		{"npm", "pack", "--silent", "--pack-destination", dir, p.String()},
		{"tar", "-xzf", filepath.Join(dir, plain+"-"+p.Version+".tgz"), "-C", dir},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(command, " "), err)
		}
	}
	return unpacked, nil
}

// ReadJSON reads a file of a package.
func ReadJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
