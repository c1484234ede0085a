package tokencmd

import (
	"encoding/json"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// maxGiven is far above any token: what is longer is refused by those who read tokens.
const maxGiven = 1 << 20

// given reads the token that a command is about: its argument, or standard input. An
// ExecCredential stands for the token in it.
func given(sys cli.System, args []string) (credential.Secret, error) {
	text := ""
	if len(args) == 1 && args[0] != "-" {
		text = args[0]
	} else {
		if file, ok := sys.Stdin.(*os.File); ok && len(args) == 0 && term.IsTerminal(int(file.Fd())) {
			return credential.Secret{}, cli.Usage("which token?").
				Hint("rolecall token --cluster-name CLUSTER | rolecall token inspect")
		}
		read, err := io.ReadAll(io.LimitReader(sys.Stdin, maxGiven))
		if err != nil {
			return credential.Secret{}, fault.New(fault.Unavailable, "read the token: %w", err)
		}
		text = string(read)
	}
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") {
		return credential.NewSecret(text), nil
	}
	var answer execCredential
	if json.Unmarshal([]byte(text), &answer) != nil || answer.Status.Token == "" {
		return credential.Secret{}, fault.New(fault.Invalid, "that is JSON, and no ExecCredential with a token in it")
	}
	return credential.NewSecret(answer.Status.Token), nil
}
