package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// The programs of a control plane.
const (
	etcd      = "etcd"
	apiServer = "kube-apiserver"
)

// Programs is where etcd and kube-apiserver are.
type Programs struct{ Etcd, APIServer string }

// builder is what builds both in a checkout of this product.
const builder = "hack/controlplane.sh"

// Find looks for the programs: in a folder that is named, else where
// KUBEBUILDER_ASSETS says, where a checkout of this product that one stands in keeps those
// it has built, where envtest keeps its own, and on the PATH. In a checkout in which they
// are not built they are built, with Go, which takes some minutes once; log is told.
func Find(ctx context.Context, named string, getenv func(string) string, log io.Writer) (Programs, error) {
	if named != "" {
		found, err := in(named)
		if err != nil {
			return found, fault.New(fault.Usage, "%w", err).Hint("name the folder that holds both")
		}
		return found, nil
	}
	checkout := checkoutRoot()
	for _, dir := range places(checkout, getenv) {
		if found, err := in(dir); err == nil {
			return found, nil
		}
	}
	var found Programs
	var err, alsoErr error
	found.Etcd, err = exec.LookPath(etcd)
	found.APIServer, alsoErr = exec.LookPath(apiServer)
	if err == nil && alsoErr == nil {
		return found, nil
	}
	if _, err := exec.LookPath("go"); checkout != "" && err == nil {
		return build(ctx, checkout, log)
	}
	return Programs{}, fault.New(fault.Usage, "neither etcd nor kube-apiserver is on this machine, or only one of them").
		Hint("go run sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use -p path   # prints a folder for --cluster-programs").
		Hint("in a checkout of rolecall: make controlplane")
}

// places are folders that hold both programs on machines of those who develop.
func places(checkout string, getenv func(string) string) []string {
	var dirs []string
	if assets := getenv("KUBEBUILDER_ASSETS"); assets != "" {
		dirs = append(dirs, assets)
	}
	for _, cache := range []string{getenv("ROLECALL_CACHE"), joined(checkout, ".cache")} {
		if cache != "" {
			dirs = append(dirs, newest(filepath.Join(cache, "controlplane", "*"))...)
		}
	}
	if data := getenv("XDG_DATA_HOME"); data != "" {
		dirs = append(dirs, newest(filepath.Join(data, "kubebuilder-envtest", "k8s", "*"))...)
	} else if home := getenv("HOME"); home != "" {
		dirs = append(dirs, newest(filepath.Join(home, ".local", "share", "kubebuilder-envtest", "k8s", "*"))...)
	}
	return append(dirs, "/usr/local/kubebuilder/bin")
}

// newest are the folders that a pattern finds, the last name first.
func newest(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	slices.Sort(found)
	slices.Reverse(found)
	return found
}

func joined(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// in is the programs of a folder.
func in(dir string) (Programs, error) {
	found := Programs{filepath.Join(dir, etcd), filepath.Join(dir, apiServer)}
	for _, path := range []string{found.Etcd, found.APIServer} {
		info, err := os.Stat(path)
		if err != nil {
			return found, err
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return found, fmt.Errorf("%s is no program", path)
		}
	}
	return found, nil
}

// checkoutRoot is the checkout of this product that one stands in; empty outside of one.
func checkoutRoot() string {
	dir, err := os.Getwd()
	for err == nil {
		text, readErr := os.ReadFile(filepath.Join(dir, "go.mod"))
		if readErr == nil && strings.HasPrefix(string(text), "module github.com/rolecall/rolecall\n") {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// build has a checkout build its control plane; the builder prints the folder.
func build(ctx context.Context, checkout string, log io.Writer) (Programs, error) {
	command := exec.CommandContext(ctx, filepath.Join(checkout, filepath.FromSlash(builder)))
	command.Dir, command.Stderr = checkout, log
	out, err := command.Output()
	if err != nil {
		return Programs{}, fault.New(fault.Unavailable, "%s: %w", builder, err).
			Hint("it builds etcd and kube-apiserver from their Go modules; what it printed says why it could not")
	}
	return in(strings.TrimSpace(string(out)))
}
