package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/test/flagpage"
)

const issuerFlagsPage = "../../docs/reference/issuer-flags.md"

// TestIssuerFlagsPage: the page lists every command of an issuer with exactly the
// flags it has, and their defaults.
func TestIssuerFlagsPage(t *testing.T) {
	t.Parallel()
	flagpage.Check(t, issuerFlagsPage, map[string]string{"flags": issuerFlagTables(t)})
}

func issuerFlagTables(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	write := func(c *cobra.Command) {
		fmt.Fprintf(&text, "\n### `%s`\n\n%s.\n\n| flag | default | meaning |\n|---|---|---|\n",
			c.CommandPath(), c.Short)
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
	root := newRoot(cli.NewSystem())
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
