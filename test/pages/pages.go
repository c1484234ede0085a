// Package pages reads the commands of a page of documentation, for a test that
// runs them as a reader would and compares what the page shows of their output.
//
// It reads pages, runs scripts and judges output; it knows no programs.
//
// A block of console lines has commands after "$ ", continued where a line ends in a
// backslash, a pipe or inside single quotes, and their output below, where "…" stands for
// anything. A block of sh has commands and no output. What a reader need not see
// stands in comments of the page's source, each of which counts for the block
// behind it:
//
//	<!-- run: SHELL -->               runs before the block, for files and variables that the page assumes
//	<!-- server until: SHELL -->      the block's first command with "serve", else its first, goes on, and is ready when SHELL succeeds;
//	                                  what it prints on standard output is in the file $STARTED
//	<!-- not run: REASON -->          nobody runs the block, and why
package pages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Local are the pages that need this machine only, and Cluster those whose commands
// are for an API server. Paths are from the root of the tree.
var (
	Local = []string{
		"README.md", "docs/guide/local-aws.md", "docs/guide/pod-identity-walkthrough.md", "docs/guide/policies.md",
		"docs/guide/trust-policies.md", "docs/guide/authenticator.md", "docs/guide/token.md",
	}
	Cluster = []string{
		"docs/guide/access-entries.md", "docs/guide/associations.md", "docs/guide/broker.md",
		"docs/guide/cluster-access.md", "docs/guide/iam-groups.md", "docs/guide/issuer.md",
		"docs/guide/pod-identity-agent.md", "docs/guide/signer.md",
	}
)

// Command is one of a page.
type Command struct {
	// Line is that of the page where the command begins, from 1.
	Line int
	Text string
	// Shown is what the page says that it prints.
	Shown []string
	// Quiet is a command that must print nothing but Shown: of a block that shows
	// output of any of its commands. A block without output says nothing about it.
	Quiet bool
	// Hidden is a command of a comment: it must succeed, and may print.
	Hidden bool
	// Until succeeds when a command that is a server is ready; empty for others.
	Until string
}

// Skipped is a block that nobody runs.
type Skipped struct {
	// Line is that of the block's fence.
	Line   int
	Reason string
}

// Page is what a page has to run.
type Page struct {
	Commands []Command
	Skipped  []Skipped
}

var directives = []string{"run", "server until", "not run"}

// Read reads the commands of a file. A block that could not be understood, and a
// directive that counts for no block, are errors that name the line.
func Read(file string) (*Page, error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	page, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return page, nil
}

// directive is one that waits for its block.
type directive struct {
	line       int
	name, text string
}

func parse(text string) (*Page, error) {
	page, lines := &Page{}, strings.Split(text, "\n")
	var waiting []directive
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch name, rest := cutDirective(line); {
		case name != "":
			one := directive{line: i + 1, name: name, text: rest}
			for ; !strings.Contains(lines[i], "-->"); one.text += "\n" + lines[i] {
				if i++; i == len(lines) {
					return nil, fmt.Errorf("line %d: the comment has no end", one.line)
				}
			}
			one.text, _, _ = strings.Cut(one.text, "-->")
			if one.text = strings.TrimSpace(one.text); one.text == "" {
				return nil, fmt.Errorf("line %d: nothing behind %q", one.line, name)
			}
			waiting = append(waiting, one)
		case strings.HasPrefix(line, "```"):
			end := i + 1
			for end < len(lines) && !strings.HasPrefix(lines[end], "```") {
				end++
			}
			language := strings.TrimPrefix(line, "```")
			if language == "console" || language == "sh" {
				if err := page.add(waiting, i+1, lines[i+1:end], language); err != nil {
					return nil, err
				}
				waiting = nil
			}
			i = end
		}
	}
	if len(waiting) > 0 {
		return nil, fmt.Errorf("line %d: no block of commands behind %q", waiting[0].line, waiting[0].name)
	}
	return page, nil
}

func cutDirective(line string) (name, rest string) {
	for _, name := range directives {
		if rest, found := strings.CutPrefix(line, "<!-- "+name+":"); found {
			return name, rest
		}
	}
	return "", ""
}

// add takes a block whose fence is on the given line.
func (p *Page) add(waiting []directive, fence int, lines []string, language string) error {
	until := ""
	for _, one := range waiting {
		switch one.name {
		case "run":
			p.Commands = append(p.Commands, Command{Line: one.line, Text: one.text, Hidden: true})
		case "server until":
			until = one.text
		case "not run":
			p.Skipped = append(p.Skipped, Skipped{Line: fence, Reason: one.text})
			return nil
		}
	}
	commands, err := readBlock(fence, lines, language == "sh")
	if err != nil {
		return err
	}
	server := max(0, slices.IndexFunc(commands, func(c Command) bool { return strings.Contains(c.Text, " serve ") }))
	commands[server].Until = until
	shows := slices.ContainsFunc(commands, func(c Command) bool { return len(c.Shown) > 0 })
	for i := range commands {
		commands[i].Quiet = shows
	}
	p.Commands = append(p.Commands, commands...)
	return nil
}

func readBlock(fence int, lines []string, all bool) (found []Command, err error) {
	open := false
	for number, line := range lines {
		text, isCommand := strings.CutPrefix(line, "$ ")
		if all {
			text, isCommand = line, true
		}
		last := len(found) - 1
		switch {
		case open:
			found[last].Text += "\n" + line
		case isCommand && all && strings.TrimSpace(line) == "":
			continue
		case isCommand:
			found = append(found, Command{Line: fence + 1 + number, Text: text})
			last++
		case last < 0:
			return nil, fmt.Errorf("line %d: output before any command: want \"$ COMMAND\"", fence+1+number)
		default:
			found[last].Shown = append(found[last].Shown, line)
			continue
		}
		open = strings.HasSuffix(found[last].Text, `\`) || strings.HasSuffix(found[last].Text, "|") ||
			strings.Count(found[last].Text, "'")%2 == 1
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("line %d: the block has no command", fence)
	}
	return found, nil
}

// Script is a shell's script that runs the page in order, in one shell, for
// variables and jobs. Output and exit codes are left in dir for Check. It ends what it
// started.
func (p *Page) Script(dir string) string {
	var script strings.Builder
	// A page may stop its servers itself. What is started by one of them goes with it.
	script.WriteString("servers=; trap 'kill $servers $(jobs -p) 2>/dev/null' EXIT\n")
	for i, one := range p.Commands {
		out := fmt.Sprintf("%s/out.%d", dir, i)
		if one.Until == "" {
			fmt.Fprintf(&script, "{ :\n%s\n} >%s 2>&1; echo $? >%s/code.%d\n", one.Text, out, dir, i)
			continue
		}
		fmt.Fprintf(&script, "STARTED=%s/started.%d; { exec %s\n} >$STARTED 2>%s & servers=\"$servers $!\"\n",
			dir, i, one.Text, out)
		fmt.Fprintf(&script, `tries=0; code=0
until { %s
} >>%s.until 2>&1; do
  kill -0 ${servers##* } 2>/dev/null && [ $((tries += 1)) -lt 600 ] || { code=1; break; }
  sleep 0.1
done; echo $code >%s/code.%d
`, one.Until, out, dir, i)
	}
	return script.String()
}

// Check compares what Script has left in dir with the page. Where the page shows
// output it is compared, whatever the exit code; else the command must succeed, and
// print nothing if its block shows output of others.
func (p *Page) Check(dir string) error {
	var all []error
	for i, one := range p.Commands {
		if err := one.check(dir, i); err != nil {
			all = append(all, fmt.Errorf("line %d: %s\n%w", one.Line, one.Text, err))
		}
	}
	return errors.Join(all...)
}

func (c Command) check(dir string, i int) error {
	code, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("code.%d", i)))
	if err != nil {
		return errors.New("did not run")
	}
	out, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("out.%d", i)))
	if err != nil {
		return err
	}
	shown := strings.Join(c.Shown, "\n")
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(shown)), "…", "(?s:.*)") + "$"
	switch failed := strings.TrimSpace(string(code)) != "0"; {
	case failed && (c.Hidden || c.Until != "" || shown == ""):
		return fmt.Errorf("failed:\n%s", out)
	case shown == "" && (c.Until != "" || !c.Quiet || c.ends()):
		return nil
	case shown == "" && len(out) > 0:
		return fmt.Errorf("prints what the page does not show; show it, or … for what differs:\n%s", out)
	case shown != "" && !regexp.MustCompile(pattern).MatchString(strings.TrimSpace(string(out))):
		return fmt.Errorf("prints\n%s\nwant\n%s", out, shown)
	}
	return nil
}

// ends reports whether a shell says on its own that jobs have ended.
func (c Command) ends() bool { return strings.Contains(c.Text, "wait") }

// Block is the code block behind a mark of a page, "<!-- mark -->".
func Block(file, mark string) (string, error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return "", err
	}
	_, after, found := strings.Cut(string(text), "<!-- "+mark+" -->\n```")
	block, _, closed := strings.Cut(after, "```\n")
	if !found || !closed {
		return "", fmt.Errorf("%s has no block %s", file, mark)
	}
	_, block, _ = strings.Cut(block, "\n") // the block's language
	return block, nil
}
