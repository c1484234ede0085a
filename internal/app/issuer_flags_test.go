package app

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const issuerFlagsPage = "../../docs/reference/issuer-flags.md"

// TestIssuerFlagsPage: the page lists every command of an issuer with exactly the
// flags it has, and their defaults.
func TestIssuerFlagsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(issuerFlagsPage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- flags -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for flags", issuerFlagsPage)
	}
	want := before + begin + issuerFlagTables(t) + end + after
	if *update {
		if err := os.WriteFile(issuerFlagsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s is not what the flags are; run go test ./internal/app -run TestIssuerFlagsPage -update", issuerFlagsPage)
	}
}

func issuerFlagTables(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	write := func(c *cobra.Command) {
		fmt.Fprintf(&text, "\n### `%s`\n\n%s.\n\n| flag | default | meaning |\n|---|---|---|\n", c.CommandPath(), c.Short)
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { // sorted
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			shown := f.DefValue
			if shown != "" {
				shown = "`" + shown + "`"
			}
			fmt.Fprintf(&text, "| %s | %s | %s |\n", name, shown, strings.ReplaceAll(f.Usage, "|", `\|`))
		})
	}
	root := newRoot(NewSystem())
	commands := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && c.Flags().HasFlags() && c.Name() != "issuer" || c.CommandPath() == "rolecall serve issuer" {
			write(c)
			commands++
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	for _, path := range [][]string{{"issuer"}, {"serve", "issuer"}, {"serve", "controller"}} {
		c, _, err := root.Find(path)
		if err != nil {
			t.Fatal(err)
		}
		walk(c)
	}
	if commands != 9 {
		t.Errorf("%d commands have flags, want 9: is one new?", commands)
	}
	return text.String()
}
