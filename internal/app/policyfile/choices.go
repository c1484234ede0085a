package policyfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// Choices say which findings are printed, and which make the command fail.
type Choices struct {
	least, failOn string
	ignore        []string
	reasons       []suppression
}

// suppression is a rule that is not to be reported, and why.
type suppression struct {
	rule    policy.Rule
	reason  string
	matched bool
}

// never is a value of --fail-on.
const never = "never"

func severities() []string {
	var names []string
	for _, severity := range finding.Severities() {
		names = append(names, string(severity))
	}
	return names
}

// Flags adds the flags of the choices.
func (c *Choices) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.least, "min-severity", string(finding.Info),
		"print nothing that is less bad: "+strings.Join(severities(), ", "))
	f.StringVar(&c.failOn, "fail-on", string(finding.Security),
		"exit with 1 if something is at least so bad: "+strings.Join(severities(), ", ")+", "+never)
	f.StringArrayVar(&c.ignore, "ignore", nil,
		"CODE=REASON: do not report a rule's findings, such as RC2002='id is secret here'; may be repeated")
	for _, name := range []string{"min-severity", "fail-on"} {
		values := severities()
		if name == "fail-on" {
			values = append(values, never)
		}
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	var codes []string
	for _, rule := range policy.Rules() {
		codes = append(codes, rule.Code+"=\t"+rule.Name)
	}
	_ = cmd.RegisterFlagCompletionFunc("ignore", cobra.FixedCompletions(codes,
		cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

// check reads the choices.
func (c *Choices) check() error {
	if !slices.Contains(severities(), c.least) {
		return fault.New(fault.Usage, "--min-severity %q: want %s", c.least, strings.Join(severities(), ", "))
	}
	if c.failOn != never && !slices.Contains(severities(), c.failOn) {
		return fault.New(fault.Usage, "--fail-on %q: want %s, %s", c.failOn, strings.Join(severities(), ", "), never)
	}
	c.reasons = nil
	for _, text := range c.ignore {
		name, reason, _ := strings.Cut(text, "=")
		rule, known := policy.FindRule(name)
		switch {
		case !known:
			return fault.New(fault.Usage, "--ignore %q: there is no rule %q", text, name).
				Hint("want CODE=REASON with a code that a finding has, such as RC2002")
		case strings.TrimSpace(reason) == "":
			return fault.New(fault.Usage, "--ignore %q: no reason is given", text).
				Hint("--ignore '%s=why it is right here'", rule.Code)
		}
		c.reasons = append(c.reasons, suppression{rule: rule, reason: strings.TrimSpace(reason)})
	}
	return nil
}

// suppress marks the findings that are not to be reported.
func (c *Choices) suppress(findings []finding.Finding) {
	for i := range findings {
		for j := range c.reasons {
			if one := &c.reasons[j]; findings[i].Code == one.rule.Code {
				findings[i].Suppressed, one.matched = one.reason, true
				break
			}
		}
	}
}

// hide leaves out what is less bad than what is to be printed, and says how much that
// is.
func (c *Choices) hide(checked []Linted) (shown []Linted, hidden int) {
	least := finding.Severity(c.least).Rank()
	for _, one := range checked {
		before := len(one.Findings)
		one.Findings = slices.DeleteFunc(slices.Clone(one.Findings), func(f finding.Finding) bool {
			return f.Severity.Rank() > least
		})
		if one.Findings == nil {
			one.Findings = []finding.Finding{}
		}
		hidden += before - len(one.Findings)
		shown = append(shown, one)
	}
	return shown, hidden
}

// remarks are about choices that had no effect.
func (c *Choices) remarks(sys cli.System, hidden int) {
	for i := range c.reasons {
		if one := &c.reasons[i]; !one.matched {
			fmt.Fprintf(sys.Stderr, "--ignore %s: nothing was found by %s %s\n", c.ignore[i], one.rule.Code, one.rule.Name)
		}
	}
	if hidden > 0 {
		fmt.Fprintf(sys.Stderr, "%d not shown, less bad than --min-severity %s\n", hidden, c.least)
	}
}

// fails reports whether the findings make the command fail.
func (c *Choices) fails(findings []finding.Finding) bool {
	return c.failOn != never && finding.AnyAtLeast(findings, finding.Severity(c.failOn))
}
