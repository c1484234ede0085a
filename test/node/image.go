package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"runtime"
)

type entry struct {
	name string
	mode int64
	data []byte
}

// writeImage makes an archive, as `docker save` does, of an image with programs at
// its root, the last of which is its entry point.
func writeImage(file, name string, programs ...string) error {
	layer := []entry{}
	for _, program := range programs {
		data, err := os.ReadFile(path.Clean(program))
		if err != nil {
			return err
		}
		layer = append(layer, entry{path.Base(program), 0o755, data})
	}
	files, err := archive(layer)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + path.Base(programs[len(programs)-1])}},
		"rootfs": map[string]any{
			"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(files))},
		},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{
		{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}},
	})
	if err != nil {
		return err
	}
	all, err := archive([]entry{
		{"config.json", 0o644, config}, {"layer.tar", 0o644, files}, {"manifest.json", 0o644, manifest},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, all, 0o600)
}

func archive(entries []entry) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)),
		}); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
