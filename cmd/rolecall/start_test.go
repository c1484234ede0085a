package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/test/inittrace"
)

// Bounds of what is allocated before main. They are a little above what is: who
// breaks one makes every call of kubectl dearer, and should know why.
const (
	mostBytes       = 4_400_000
	mostAllocations = 34_000
	mostOfOurs      = 20_000 // bytes, of each of our own packages
)

// heavy are packages that cost every command much and were linked in once, with
// what is used instead.
var heavy = map[string]string{
	"github.com/aws/aws-sdk-go-v2/service/ssm/schemas": "go.mod keeps the last version without",
	"github.com/aws/aws-sdk-go-v2/service/eks/schemas": "go.mod keeps the last version without",
	"github.com/xeipuuv/gojsonschema":                  "internal/finding/report writes SARIF by itself",
	"html/template":                                    "build with -tags grpcnotrace: templates keep every exported method of every type",
}

// asProgram makes this test's program end where main would begin.
const asProgram = "ROLECALL_TEST_START"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestStart: the program of this test initialises what rolecall does, and a few
// packages for testing.
func TestStart(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), asProgram+"=1")
	all, err := inittrace.Run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, p := range all {
		if !strings.HasPrefix(p.Path, "github.com/rolecall/rolecall/") {
			continue
		}
		ours++
		if p.Bytes > mostOfOurs {
			t.Errorf(
				"%s allocates %d bytes before main, more than %d: make it when it is used",
				p.Path,
				p.Bytes,
				mostOfOurs,
			)
		}
	}
	if ours == 0 {
		t.Error("no package of ours is in the trace")
	}
	if size, allocations := inittrace.Total(all); size > mostBytes || allocations > mostAllocations {
		t.Errorf("%d bytes in %d allocations before main, more than %d in %d: `make compare-start` shows whose",
			size, allocations, mostBytes, mostAllocations)
	}
}

func TestNotLinked(t *testing.T) {
	t.Parallel()
	listed, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "grpcnotrace", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(string(listed))
	if !slices.Contains(all, "github.com/rolecall/rolecall/internal/awsapi") {
		t.Error("the list of packages is not that of rolecall")
	}
	for path, instead := range heavy {
		if slices.Contains(all, path) {
			t.Errorf("%s is linked in: %s", path, instead)
		}
	}
}
