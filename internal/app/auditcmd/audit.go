// Package auditcmd has the commands of `rolecall audit`, which look whether an audit log is
// complete.
//
// It judges nothing itself: what a chain of records proves is in internal/auditchain.
package auditcmd

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/auditchain"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding/report"
)

// New returns `rolecall audit`.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "audit",
		Aliases: []string{"audits"},
		Short:   "Check the audit log of a broker",
		Example: `  rolecall audit verify /var/log/rolecall/audit.json`,
	}, newAuditVerify(sys))
}

func newAuditVerify(sys cli.System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Find lines of a chained audit that were changed, taken out or moved",
		Long: `Check a file of audit records that serve broker --audit-chain wrote. Lines of several
replicas, and of a broker that was started again, may stand mixed in it. FILE may be -
for standard input.

Every chain is printed with its last number and hash. Lines that are missing at the end
cannot be seen in the file: keep the last hash elsewhere, and compare.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage.`,
		Example: `  rolecall audit verify /var/log/rolecall/audit.json
  cat audit.json.2 audit.json.1 audit.json | rolecall audit verify -`,
		Args: func(_ *cobra.Command, files []string) error {
			if len(files) != 1 {
				return fault.New(fault.Usage, "want one file, got %d", len(files)).
					Hint("name a file, or - for standard input; cat joins files that were rotated")
			}
			return nil
		},
	}
	var output *string
	cmd.RunE = func(_ *cobra.Command, files []string) error { return verifyAudit(sys, *output, files[0]) }
	output = cli.Output(cmd, report.Formats()...)
	return cmd
}

func verifyAudit(sys cli.System, output, name string) error {
	in, called := sys.Stdin, "standard input"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fault.New(fault.Usage, "open the audit: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		in, called = file, name
	}
	verified, err := auditchain.Verify(in)
	if err != nil {
		return fault.New(fault.Unavailable, "read %s: %w", called, err)
	}
	for i := range verified.Findings {
		verified.Findings[i].File = called
	}
	if err := printAudit(sys.Stdout, output, verified); err != nil {
		return err
	}
	switch {
	case len(verified.Findings) > 0 || verified.Cut:
		failed := fault.New(fault.Invalid, "%s is not as it was written: %s", called, report.Summary(verified.Findings))
		if startsLate(verified) {
			failed = failed.Hint("a file that was rotated misses the records before: " +
				"join the files with cat, the oldest first, and verify -")
		}
		return failed
	case verified.Lines == 0:
		return fault.New(fault.Invalid, "%s is empty", called).
			Hint("a broker writes a chained audit with --audit-chain")
	}
	return nil
}

func startsLate(verified *auditchain.Report) bool {
	for _, chain := range verified.Chains {
		if chain.First > 1 {
			return true
		}
	}
	return false
}

func printAudit(out io.Writer, output string, verified *auditchain.Report) error {
	if err := report.Print(out, output, verified.Findings, verified); err != nil || output != report.Table {
		return err
	}
	if verified.Cut {
		if _, err := fmt.Fprintf(out, "line %d: not read any further\n", verified.Lines); err != nil {
			return err
		}
	}
	for _, c := range verified.Chains {
		_, err := fmt.Fprintf(out, "chain %s: records %d to %d, last hash %s\n", c.Start, c.First, c.Last, c.Hash)
		if err != nil {
			return err
		}
	}
	return nil
}
