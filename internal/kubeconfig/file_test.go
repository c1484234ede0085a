package kubeconfig_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/kubeconfig"
)

// TestPaths: the files that are meant, as the AWS CLI and kubectl understand KUBECONFIG.
func TestPaths(t *testing.T) {
	t.Parallel()
	list := string(filepath.ListSeparator)
	for _, c := range []struct {
		flag, variable string
		want           []string
	}{
		{"", "", []string{"/home/a/.kube/config"}},
		{"", list + " " + list, []string{"/home/a/.kube/config"}},
		{"", "/x" + list + list + "/y", []string{"/x", "/y"}},
		{"", "~/z", []string{"/home/a/z"}},
		{"~/f", "/x", []string{"/home/a/f"}},
	} {
		found, err := kubeconfig.Paths(c.flag, c.variable, "/home/a")
		if err != nil || strings.Join(found, " ") != strings.Join(c.want, " ") {
			t.Errorf("%q, %q: %v, %v", c.flag, c.variable, found, err)
		}
	}
	if _, err := kubeconfig.Paths("", "", ""); fault.KindOf(err) != fault.Usage {
		t.Errorf("without a home: %v", err)
	}
}

// TestChoose: the file that has the cluster, else the first; a broken one is passed over
// unless it is the one to write (spec authenticator row K4).
func TestChoose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("a"), "clusters: []\n")
	write(t, path("b"), "clusters: [{name: b, cluster: {}}]\n")
	write(t, path("broken"), "clusters: foo\n")
	has := func(t *kubeconfig.Text) bool { return t.Has("b") }
	for _, c := range []struct {
		paths   []string
		want    string
		skipped int
	}{
		{[]string{"a", "b"}, "b", 0},
		{[]string{"broken", "b"}, "b", 1},
		{[]string{"a", "nothing"}, "a", 0},
		{[]string{"nothing", "a"}, "nothing", 0},
	} {
		var paths []string
		for _, name := range c.paths {
			paths = append(paths, path(name))
		}
		skipped := 0
		file, err := kubeconfig.Choose(paths, has, func(error) { skipped++ })
		if err != nil || file.Path != path(c.want) || skipped != c.skipped {
			t.Errorf("%v: %v, %v, passed over %d", c.paths, file, err, skipped)
		}
	}
	if _, err := kubeconfig.Choose([]string{path("broken")}, has, func(error) {}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the broken one is to be written: %v", err)
	}
}

// TestSave: modes, links and folders are as with the AWS CLI, and the file is whole at
// any time.
func TestSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	save := func(path string) {
		t.Helper()
		file, err := kubeconfig.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Put(entry("a"), false); err != nil {
			t.Fatal(err)
		}
		if err := file.Save(); err != nil {
			t.Fatal(err)
		}
	}
	made := filepath.Join(dir, "new", "folder", "config")
	save(made)
	if mode(t, made) != 0o600 || mode(t, filepath.Dir(made)) != 0o700 {
		t.Errorf("modes %o, %o", mode(t, made), mode(t, filepath.Dir(made)))
	}
	open := filepath.Join(dir, "open")
	write(t, open, "apiVersion: v1\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	link, dangling := filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
	for name, to := range map[string]string{link: open, dangling: "target"} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	save(link)
	save(dangling)
	for _, path := range []string{link, dangling} {
		if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any longer", path)
		}
	}
	if mode(t, open) != 0o644 {
		t.Errorf("the mode became %o", mode(t, open))
	}
	if _, err := clientcmd.LoadFromFile(filepath.Join(dir, "target")); err != nil {
		t.Error(err)
	}
	if _, err := kubeconfig.Open(dir); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a folder: %v", err)
	}
}

// TestLock: kubectl's lock is ours, both ways; a change by one of two at a time is never
// lost.
func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	release, err := kubeconfig.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	options := clientcmd.NewDefaultPathOptions()
	options.LoadingRules.ExplicitPath = path
	config := api.NewConfig()
	config.CurrentContext = "kubectl"
	if err := clientcmd.ModifyConfig(options, *config, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kubectl changes what is locked: %v", err)
	}
	if _, err := kubeconfig.Lock(path); fault.KindOf(err) != fault.Conflict || len(fault.HintsOf(err)) == 0 {
		t.Errorf("a held lock: %v", err)
	}
	release()

	var group sync.WaitGroup
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, name := range names {
		group.Go(func() {
			release, err := kubeconfig.Lock(path)
			for ; fault.KindOf(err) == fault.Conflict; release, err = kubeconfig.Lock(path) {
				runtime.Gosched()
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			file, err := kubeconfig.Open(path)
			if err == nil {
				_, err = file.Put(entry(name), true)
			}
			if err == nil {
				err = file.Save()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	config, err = clientcmd.LoadFromFile(path)
	if err != nil || len(config.Clusters) != len(names) {
		t.Errorf("%d of %d clusters are there, %v", len(config.Clusters), len(names), err)
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock is left: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
