package flags

import (
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/sts"
)

// DefaultAWSAddress is where tools for local AWS emulators look first.
const DefaultAWSAddress = "127.0.0.1:4566"

// STSErrors adds --sts-errors, the words in which STS refuses web identities.
func STSErrors(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "sts-errors", "current",
		"words in which STS refuses web identities: current, or legacy as before mid-2026")
	cli.CompleteFlag(cmd, "sts-errors", "current", "legacy")
}

// ParseSTSErrors reads what --sts-errors says.
func ParseSTSErrors(text string) (sts.Errors, error) {
	words, err := sts.ParseErrors(text)
	if err != nil {
		return words, fault.New(fault.Usage, "--sts-errors: %w", err)
	}
	return words, nil
}

// Explainer returns what prints refusals to w, one whole block at a time; nil if
// nobody wants them.
func Explainer(w io.Writer, wanted bool) func(localaws.Decision) {
	if !wanted {
		return nil
	}
	var mu sync.Mutex
	return func(decision localaws.Decision) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, decision.Text())
	}
}

// Exports are the variables that make a program an administrator of a local AWS, for a
// process's environment; those of the person who starts it are hidden.
func Exports(endpoint, region string, admin credential.AWS) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + admin.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + admin.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN=", "AWS_PROFILE=",
	}
}

// PrintExports writes what a shell evaluates to become the administrator.
func PrintExports(sys cli.System, endpoint, region string, admin credential.AWS) {
	fmt.Fprintf(sys.Stdout, `export AWS_ENDPOINT_URL=%s
export AWS_REGION=%s
export AWS_DEFAULT_REGION=%s
export AWS_ACCESS_KEY_ID=%s
export AWS_SECRET_ACCESS_KEY=%s
unset AWS_SESSION_TOKEN AWS_PROFILE
`, endpoint, region, region, admin.AccessKeyID, admin.SecretKey.Reveal())
}
