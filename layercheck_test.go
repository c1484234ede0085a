package rolecall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/rolecall/rolecall"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

// graph is every package of the tree, and of the modules that it needs, by import
// path; those of ours by path relative to the module. Test files are not looked at.
type graph map[string]pkg

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, violation := range readGraph(t).violations() {
		t.Error(violation)
	}
}

// TestLayersNotices: one import more is seen. A check that cannot fail proves
// nothing.
func TestLayersNotices(t *testing.T) {
	t.Parallel()
	tree := readGraph(t)
	for _, row := range []struct{ from, to, want string }{
		{"internal/inject", "net/http", "internal/inject must not import net/http"},
		{"internal/inject", "internal/sigv4", "internal/inject must not import internal/sigv4"},
		{"internal/trust", "internal/sigv4", "internal/trust must not reach net/http, through internal/sigv4"},
		{"internal/policy", "math/rand/v2", "internal/policy must not import math/rand/v2"},
		{"internal/policy", "math/rand/v2", "internal/trust must not reach math/rand/v2, through internal/policy"},
		{"internal/policy", "log/slog", "internal/policy must not import log/slog"},
		{"internal/policy", "os", "internal/policy must not import os"},
		{"internal/policy", "github.com/spf13/cobra", "internal/policy must not import github.com/spf13/cobra"},
		{"internal/policy", "internal/webhook", "a layer further out"},
		{"internal/keystore", "net/http", "internal/keystore must not import net/http"},
		{"api/v1alpha1", "net/http", "api/v1alpha1 must not import net/http"},
		{"api/v1alpha1", "internal/arn", "api/v1alpha1 must not import internal/arn"},
		{"k8s.io/apimachinery/pkg/runtime", "example.com/spy", "must not reach the module example.com/spy"},
		{"k8s.io/apimachinery/pkg/runtime", "os/exec", "internal/grant must not reach os/exec, through api/v1alpha1"},
		{"github.com/go-jose/go-jose/v4", "net/http", "internal/token must not reach net/http, through github.com/"},
		{"sigs.k8s.io/json", "os", "internal/inject must not reach os, through sigs.k8s.io/json"},
		{"internal/identify", "internal/grant", "internal/identify must not reach net/http, through internal/grant"},
		{"internal/identify", "internal/grant", "internal/identify must not reach the module golang.org/x/net"},
		{"internal/webhook", "internal/issuer/server", "internal/webhook must not import internal/issuer/server"},
		{"internal/signer", "internal/broker/session", "internal/signer must not import internal/broker/session"},
		{"internal/controller/association", "internal/webhook", "association must not import internal/webhook"},
		{"internal/app/trustcmd", "internal/app/issuercmd", "trustcmd must not import internal/app/issuercmd"},
		{"internal/app/local", "internal/app/serve", "internal/app/local must not import internal/app/serve"},
		{"internal/app/flags", "internal/app/policyfile", "flags must not import internal/app/policyfile"},
		{"internal/app/cli", "internal/app/flags", "a layer further out"},
		{"internal/app/serve", "internal/app", "a layer further out"},
		{"internal/app/nouncmd", "fmt", "internal/app/nouncmd is in no layer"},
		{"internal/webhook", "internal/app", "nothing builds on commands"},
		{"internal/webhook", "github.com/aws/aws-sdk-go-v2/aws", "internal/webhook must not import github.com/aws/"},
		{"internal/webhook", "go.etcd.io/bbolt", "internal/webhook must not import go.etcd.io/bbolt"},
		{"internal/app", "go.etcd.io/bbolt", "internal/app must not import go.etcd.io/bbolt"},
		{"internal/webhook", "os/exec", "internal/webhook must not import os/exec"},
		{"internal/localaws/sts", "internal/inject", "internal/localaws/sts must not reach internal/inject"},
		{"internal/localaws/sts", "internal/webhook", "internal/localaws/sts must not import internal/webhook"},
		{"internal/broker", "internal/localaws/sts", "the product works without its emulator"},
		{"internal/issuer/server", "internal/awsapi", "sees no session"},
		{"internal/issuer/server", "internal/issuer/accounts", "sees no session"},
		{"internal/controller/issuer", "internal/issuer/desk", "must not import internal/issuer/desk"},
		{"internal/issuer/plan", "os", "internal/issuer/plan must not import os"},
		{"internal/broker", "test/freeport", "a layer further out"},
		{"internal/helpers", "fmt", "internal/helpers is in no layer"},
		{"pkg/helpers", "fmt", "pkg/helpers is in no layer"},
		{"internal/app", "pkg/helpers", "pkg/helpers, which is in no layer"},
		{"internal/webhook", "internal/helpers", "internal/helpers, which is in no layer"},
	} {
		changed := maps.Clone(tree)
		from, known := changed[row.from]
		if !known && !strings.HasSuffix(row.want, "is in no layer") {
			t.Errorf("there is no package %s any more: give this row another one", row.from)
		}
		from.Imports = append(slices.Clone(from.Imports), row.to)
		changed[row.from] = from
		if _, known := changed[row.to]; !known {
			changed[row.to] = pkg{}
		}
		if found := changed.violations(); !strings.Contains(strings.Join(found, "\n"), row.want) {
			t.Errorf("%s importing %s is not noticed: got %q, want %q", row.from, row.to, found, row.want)
		}
	}
}

func (g graph) violations() []string {
	var found []string
	used := map[string]bool{}
	for room := range g {
		if !isOurs(room) {
			continue
		}
		at, pattern := layerOf(room)
		used[pattern] = true
		if at < 0 {
			found = append(found, room+" is in no layer; give it a line in layers_test.go")
			continue
		}
		found = append(found, g.direct(room, at)...)
		if layers[at].closed {
			found = append(found, g.reached(room, at)...)
		}
		if layers[at].ours != nil {
			found = append(found, g.reachedOurs(room, at)...)
		}
	}
	for _, l := range layers {
		for _, room := range l.rooms {
			if !used[room] {
				found = append(found, fmt.Sprintf("layers_test.go: no package is %s", room))
			}
		}
	}
	for _, e := range exceptions {
		if !slices.ContainsFunc(g[e.room].Imports, func(to string) bool { return within(to, e.may...) }) {
			found = append(found, fmt.Sprintf("layers_test.go: %s imports none of %q", e.room, e.may))
		}
	}
	found = append(found, g.idle()...)
	slices.Sort(found)
	return slices.Compact(found)
}

// direct judges a room's own imports.
func (g graph) direct(room string, at int) []string {
	var found []string
	for _, to := range g[room].Imports {
		if why := forbidden(room, to, at); why != "" {
			found = append(found, fmt.Sprintf("%s must not import %s: %s", room, to, why))
		}
	}
	return found
}

func forbidden(room, to string, at int) string {
	if !isOurs(to) {
		if allows(room, at, to) {
			return ""
		}
		return fmt.Sprintf("the layer %q may not, and no exception says why it does", layers[at].name)
	}
	for _, u := range users {
		if within(to, u.of) && !within(room, u.only...) {
			return u.why
		}
	}
	target, _ := layerOf(to)
	switch {
	case target < 0:
		return "it is " + to + ", which is in no layer"
	case target > at:
		return "it is a layer further out"
	case target == at && !sameHouse(room, to) && !excepted(room, to, false):
		return "rooms of one layer do not know each other"
	}
	return ""
}

// reached judges what a room gets by way of others: by rooms of ours, what these
// import; by modules, which other modules.
func (g graph) reached(room string, at int) []string {
	var found []string
	// via is the chain of packages by which one was found.
	via, queue := map[string][]string{room: nil}, []string{room}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, to := range g[from].Imports {
			if isStandard(to) && !isOurs(from) {
				if module := g.moduleOf(from); !within(to, ordinary...) && !allows(room, at, to) &&
					!within(to, brings(room, module)...) {
					steps := strings.Join(append(slices.Clone(via[from]), from)[1:], ", ")
					found = append(found, fmt.Sprintf("%s must not reach %s, through %s", room, to, steps))
				}
				continue
			}
			if _, seen := via[to]; seen {
				continue
			}
			chain := append(slices.Clone(via[from]), from)
			via[to] = chain
			what := ""
			switch {
			case isOurs(from) && from != room && !isOurs(to) && !allows(room, at, to) && !excepted(from, to, true):
				what = to
			case !isOurs(from) && g.moduleOf(to) != g.moduleOf(from) && !carries(room, g.moduleOf(to)):
				what = "the module " + g.moduleOf(to)
			}
			if what != "" {
				steps := strings.Join(chain[1:], ", ")
				found = append(found, fmt.Sprintf("%s must not reach %s, through %s", room, what, steps))
			}
			queue = append(queue, to)
		}
	}
	return found
}

// brings returns what of the standard library a module may use in a closed room
// beyond the ordinary.
func brings(room, module string) []string {
	var all []string
	for _, c := range carried {
		if slices.Contains(c.rooms, room) {
			all = append(all, c.brings[module]...)
		}
	}
	return all
}

// carries reports whether a closed room may be brought a module by another one.
func carries(room, module string) bool {
	for _, c := range carried {
		if _, ok := c.brings[module]; ok && slices.Contains(c.rooms, room) {
			return true
		}
	}
	return false
}

// idle are the lines of carried that nothing needs.
func (g graph) idle() []string {
	var found []string
	for _, c := range carried {
		for _, room := range c.rooms {
			if !g.reaches(room, func(from, _ string) bool { return g.moduleOf(from) == c.with }) {
				found = append(found, fmt.Sprintf("layers_test.go: %s does not reach %s", room, c.with))
			}
		}
		for module, packages := range c.brings {
			if !g.reaches(c.rooms[0], func(from, _ string) bool { return g.moduleOf(from) == module }) {
				found = append(found, fmt.Sprintf("layers_test.go: %s does not bring %s", c.with, module))
			}
			for _, std := range packages {
				uses := func(from, to string) bool { return g.moduleOf(from) == module && within(to, std) }
				if !g.reaches(c.rooms[0], uses) {
					found = append(found, fmt.Sprintf("layers_test.go: %s does not use %s", module, std))
				}
			}
		}
	}
	return found
}

// reaches reports whether there is an import of that kind on the way from a room.
func (g graph) reaches(room string, is func(from, to string) bool) bool {
	seen, queue := map[string]bool{room: true}, []string{room}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, to := range g[from].Imports {
			if is(from, to) {
				return true
			}
			if !seen[to] && !isStandard(to) {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	return false
}

// reachedOurs holds a room to the rooms of ours that its layer names.
func (g graph) reachedOurs(room string, at int) []string {
	var found []string
	seen := map[string]bool{}
	var walk func(from string, chain []string)
	walk = func(from string, chain []string) {
		for _, to := range g[from].Imports {
			if !isOurs(to) || seen[to] {
				continue
			}
			seen[to] = true
			if within(to, layers[at].ours...) {
				walk(to, append(slices.Clone(chain), to))
				continue
			}
			complaint := append([]string{room + " must not reach " + to}, chain...)
			found = append(found, strings.Join(complaint, ", through "))
		}
	}
	walk(room, nil)
	return found
}

// allows reports whether a room's layer, or an exception, lets it import what is
// not ours.
func allows(room string, at int, to string) bool {
	allowed := layers[at].modules
	if isStandard(to) {
		allowed = layers[at].std
	}
	return within(to, allowed...) || excepted(room, to, false)
}

// moduleOf names a package's module.
func (g graph) moduleOf(path string) string {
	if p := g[path]; p.Module != nil {
		return p.Module.Path
	}
	return path
}

func excepted(room, to string, sealedOnly bool) bool {
	for _, e := range exceptions {
		if e.room == room && (e.sealed || !sealedOnly) && within(to, e.may...) {
			return true
		}
	}
	return false
}

func sameHouse(a, b string) bool {
	return slices.ContainsFunc(houses, func(house string) bool { return within(a, house) && within(b, house) })
}

// layerOf returns a room's layer and the pattern that says so: the longest that
// fits, so that a room can stand further in or out than the tree it is in. It
// returns -1 if none does.
func layerOf(room string) (at int, pattern string) {
	at = -1
	for i, l := range layers {
		for _, p := range l.rooms {
			if within(room, p) && len(p) > len(pattern) {
				at, pattern = i, p
			}
		}
	}
	return at, pattern
}

// within reports whether a path is one of the patterns, or in the tree that one
// of them ("x/...") is.
func within(path string, patterns ...string) bool {
	for _, pattern := range patterns {
		base, isTree := strings.CutSuffix(pattern, "...")
		base = strings.TrimSuffix(base, "/")
		if path == base || isTree && (base == "" || strings.HasPrefix(path, base+"/")) {
			return true
		}
	}
	return false
}

// isOurs reports whether a package is of this module, wherever in it: its path, which is
// relative to the module, does not begin with a domain, and it is not a standard one.
func isOurs(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && !isStandard(path)
}

// isStandard reports whether a package is of the standard library.
func isStandard(path string) bool { return path == "C" || standard()[path] }

var standard = sync.OnceValue(func() map[string]bool {
	out, err := exec.Command("go", "list", "std").Output()
	if err != nil {
		panic(err)
	}
	all := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(path, "internal/") { // its own, which nobody else can import
			all[path] = true
		}
	}
	return all
})

// readGraph asks the Go toolchain, once for all tests, what is built here, and for our own
// packages also what the release is built with and what other systems are: a file that is
// left out here may ship.
func readGraph(t *testing.T) graph {
	t.Helper()
	all, err := builtGraph()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d packages found", len(all))
	}
	return all
}

var builtGraph = sync.OnceValues(func() (graph, error) {
	all := graph{}
	err := all.list("", "-deps", "-json=ImportPath,Imports,Standard,Module", "./...")
	err = errors.Join(err, all.list("", "-json=ImportPath,Imports", "-tags", "grpcnotrace", "./..."))
	for _, system := range []string{"GOOS=darwin", "GOOS=windows"} {
		err = errors.Join(err, all.list(system, "-e", "-json=ImportPath,Imports", "./..."))
	}
	return all, err
})

// list adds what go list says, with a variable of its environment set.
func (g graph) list(variable string, arguments ...string) error {
	command := exec.CommandContext(context.Background(), "go", append([]string{"list"}, arguments...)...)
	command.Env = append(os.Environ(), variable)
	out, err := command.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%s: %s", command, failed.Stderr)
	} else if err != nil {
		return err
	}
	ours := func(path string) string { return strings.TrimPrefix(path, module+"/") }
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.ImportPath == module || p.Standard {
			continue // the root holds tests only; what the standard library imports is its own
		}
		known := g[ours(p.ImportPath)]
		for _, to := range p.Imports {
			if to = ours(to); !slices.Contains(known.Imports, to) {
				known.Imports = append(known.Imports, to)
			}
		}
		known.ImportPath = p.ImportPath
		if p.Module != nil {
			known.Module = p.Module
		}
		g[ours(p.ImportPath)] = known
	}
}
