package app

import (
	"bytes"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// walk visits every command of the tree, hidden ones too.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, below := range cmd.Commands() {
		walk(below, visit)
	}
}

// run executes a command line in a process that people call by a name.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, problems bytes.Buffer
	system := NewSystem()
	system.Name, system.Stdout, system.Stderr = name, &out, &problems
	code = Run(t.Context(), system, args)
	return out.String(), problems.String(), code
}

// TestCommands: every command says what it does, and is shown at work.
func TestCommands(t *testing.T) {
	t.Parallel()
	root := newRoot(cli.NewSystem())
	walk(root, func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		switch {
		case cmd.Short == "" || strings.HasSuffix(cmd.Short, "."):
			t.Errorf("%s: Short is %q, want a sentence without its full stop", path, cmd.Short)
		case cmd.Runnable() && cmd.Example == "":
			t.Errorf("%s has no example", path)
		case cmd != root && cmd.Parent() == root && cmd.GroupID == "" &&
			!slices.Contains([]string{"completion", "help", "version"}, cmd.Name()):
			t.Errorf("%s is in no group", path)
		}
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > 120 {
				t.Errorf("%s: a line of its help has %d columns: %s", path, len(line), line)
			}
		}
	})
}

// TestNames: no two commands of one parent answer to the same word.
func TestNames(t *testing.T) {
	t.Parallel()
	walk(newRoot(cli.NewSystem()), func(cmd *cobra.Command) {
		seen := map[string]string{}
		for _, below := range cmd.Commands() {
			for _, word := range append([]string{below.Name()}, below.Aliases...) {
				if other := seen[word]; other != "" {
					t.Errorf("%s %s is %s and %s", cmd.CommandPath(), word, other, below.Name())
				}
				seen[word] = below.Name()
			}
		}
	})
}

// TestExamples: what examples call exists, with the flags that they give it.
func TestExamples(t *testing.T) {
	t.Parallel()
	checked := 0
	walk(newRoot(cli.NewSystem()), func(cmd *cobra.Command) {
		for _, words := range calls(cmd.Example) {
			checked++
			if err := understood(words); err != nil {
				t.Errorf("%s: the example %q: %v", cmd.CommandPath(), strings.Join(words, " "), err)
			}
		}
	})
	if checked < 40 {
		t.Errorf("%d calls in all examples", checked)
	}
}

// TestExamplesNotices: an example with a word that does not exist is seen.
func TestExamplesNotices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, example string
		fails         bool
	}{
		{"as it should be", "  rolecall association list -A", false},
		{"a command that does not exist", "  rolecall association lost", true},
		{"a flag that does not exist", "  rolecall association list --everywhere", true},
		{"a value that is not one", "  rolecall issuer publish --read-back soon", true},
		{"flags that exclude each other", "  rolecall association list -A -n shop", true},
		{"an argument too many", "  rolecall up now", true},
		{"behind a pipe", "  cat a |\n    rolecall trust lint --no -", true},
		{"continued on the next line", "  rolecall up \\\n    --no", true},
	} {
		all := calls(row.example)
		if len(all) != 1 {
			t.Errorf("%s: got %q, want one call", row.name, all)
			continue
		}
		if err := understood(all[0]); (err != nil) != row.fails {
			t.Errorf("%s: got %v, want an error: %t", row.name, err, row.fails)
		}
	}
}

// calls returns the words of each call of this program in a text that a shell would run.
func calls(text string) [][]string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	var all [][]string
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, " #")
		for _, command := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|;()", r) }) {
			words := strings.Fields(command)
			if len(words) > 0 && words[0] == cli.Name {
				all = append(all, words[1:])
			}
		}
	}
	return all
}

// understood does with a command line what comes before running it.
func understood(words []string) error {
	for i := range words {
		words[i] = strings.Trim(words[i], `"'`)
	}
	root := newRoot(cli.NewSystem())
	if err := cli.FindCommand(root, words); err != nil {
		return err
	}
	found, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	found.InitDefaultHelpFlag()
	if err := found.ParseFlags(rest); err != nil {
		return err
	}
	if err := found.ValidateArgs(found.Flags().Args()); err != nil {
		return err
	}
	return found.ValidateFlagGroups()
}

// TestKubectl: as a plugin of kubectl, usage, help, hints and examples call the program as
// people have to.
func TestKubectl(t *testing.T) {
	t.Parallel()
	const plugin = "kubectl rolecall"
	walk(newRoot(cli.NewSystem()), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		help, _, code := run(t, plugin, append(path, "--help")...)
		if code != 0 {
			t.Errorf("%v: code %d", path, code)
		}
		for _, word := range []string{"  ", "\"", "`", "("} {
			if strings.Contains(help, word+"rolecall ") || strings.Contains(help, "kubectl kubectl") {
				t.Errorf("%v: the help says rolecall, not kubectl rolecall:\n%s", path, help)
				break
			}
		}
		if !strings.Contains(help, plugin) {
			t.Errorf("%v: the help does not say kubectl rolecall:\n%s", path, help)
		}
	})
	_, problems, code := run(t, plugin, "issuer", "verfy")
	want := "rolecall: unknown command \"verfy\" for \"kubectl rolecall issuer\"\nhint: did you mean verify?\n"
	if problems != want || code != 2 {
		t.Errorf("unknown command, code %d:\ngot  %q\nwant %q", code, problems, want)
	}
	_, problems, _ = run(t, plugin, "can")
	if !strings.Contains(problems, "\nhint: kubectl rolecall can --principal ") {
		t.Errorf("the hint is not for kubectl: %s", problems)
	}
	_, problems, _ = run(t, "", "can")
	if !strings.Contains(problems, "\nhint: rolecall can --principal ") {
		t.Errorf("the hint is not for the program: %s", problems)
	}
}

// TestVersion: a version for people, and all of the build for programs.
func TestVersion(t *testing.T) {
	t.Parallel()
	version := cli.Version()
	if out, _, code := run(t, "", "--version"); out != "rolecall version "+version+"\n" || code != 0 {
		t.Errorf("--version: got %q, code %d", out, code)
	}
	if out, _, code := run(t, "", "version"); out != version+"\n" || code != 0 {
		t.Errorf("version: got %q, code %d", out, code)
	}
	out, _, _ := run(t, "", "version", "-o", "json")
	var build cli.Build
	if err := json.Unmarshal([]byte(out), &build); err != nil {
		t.Fatal(err)
	}
	if build != cli.CurrentBuild() || build.GoVersion != runtime.Version() ||
		build.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("version -o json: got %+v, want %+v", build, cli.CurrentBuild())
	}
	out, _, _ = run(t, "", "version", "-o", "yaml")
	if !strings.Contains(out, "goVersion: "+runtime.Version()+"\n") {
		t.Errorf("version -o yaml: got %s", out)
	}
	if _, _, code := run(t, "", "version", "-o", "xml"); code != 2 {
		t.Errorf("version -o xml: code %d, want 2", code)
	}
}

// enumerated are flags that take one of a few words, by the command that they belong to.
var enumerated = map[string][]string{
	"association list --via":             {"kubernetes", "eks"},
	"association list --output":          {"table", "wide", "json", "yaml", "name"},
	"can --output":                       {"table", "json"},
	"inject --filename":                  nil,
	"issuer init --for":                  {"kubeadm", "capi", "kops", "k3s", "rke2", "talos", "eks-anywhere"},
	"issuer init --style":                {"virtual", "path", "dualstack"},
	"issuer init --kind":                 {"rsa2048", "rsa3072", "rsa4096", "p256"},
	"run --via":                          {"irsa", "pod-identity"},
	"serve agent --upstream":             {"eks-auth", "broker"},
	"serve agent --verbosity":            {"error", "warn", "info", "debug"},
	"serve agent --ipv6":                 {"auto", "require", "off"},
	"serve agent --pod-liveness":         {"auto", "on", "off"},
	"serve agent --error-format":         {"json", "text"},
	"serve agent initialize --ipv6":      {"auto", "require", "off"},
	"serve aws --sts-errors":             {"current", "legacy"},
	"serve broker --agent-auth":          {"sa-token", "mtls", "aws-token", "sigv4", "none"},
	"serve broker --mode":                {"federated", "broker-role", "pass-through"},
	"serve broker --verify":              {"auto", "tokenreview", "jwks", "both"},
	"serve controller --log-level":       {"debug", "info", "warn", "error"},
	"serve webhook --log-format":         {"text", "json"},
	"serve webhook --node-role-fallback": {"allow", "warn", "deny"},
	"serve webhook --tls-min-version":    {"1.0", "1.1", "1.2", "1.3"},
	"signer init --kind":                 {"rsa2048", "rsa3072", "rsa4096", "p256"},
	"trust generate --pod-identity":      {"eks", "federated", "broker", "target"},
	"serve broker --access-keys":         nil,
	"serve signer --key-file":            nil,
	"version --output":                   {"text", "json", "yaml"},
}

// TestEnumeratedFlags: shells are offered the words of a flag that takes one of a few, and
// files where a flag takes a file.
func TestEnumeratedFlags(t *testing.T) {
	t.Parallel()
	for flag, want := range enumerated {
		out, _, _ := run(t, "", append([]string{cobra.ShellCompRequestCmd}, append(strings.Fields(flag), "")...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		got, directive := lines[:len(lines)-1], lines[len(lines)-1]
		if want == nil {
			if directive != ":8" {
				t.Errorf("%s: got directive %s, want :8, files by extension", flag, directive)
			}
			continue
		}
		if !slices.Equal(got, want) || directive != ":4" {
			t.Errorf("%s: got %q %s, want %q :4", flag, got, directive, want)
		}
	}
}

// TestCompletionScripts: every shell has one.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, problems, code := run(t, "", "completion", shell)
		if code != 0 || problems != "" || !strings.Contains(out, cobra.ShellCompRequestCmd) {
			t.Errorf("%s: code %d, %d bytes, %s", shell, code, len(out), problems)
		}
	}
}
