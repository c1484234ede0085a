package flags

import (
	"crypto/elliptic"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// KeyKinds are the keys that can be made; AWS accepts their signatures.
var KeyKinds = []string{"rsa2048", "rsa3072", "rsa4096", "p256"}

func KeyKind(cmd *cobra.Command, kind *string, preset, help string) {
	cmd.Flags().StringVar(kind, "kind", preset, help)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(KeyKinds, cobra.ShellCompDirectiveNoFileComp))
}

func NewKey(kind string) (*token.Key, error) {
	switch kind {
	case "rsa2048":
		return token.GenerateRSA(2048)
	case "rsa3072":
		return token.GenerateRSA(3072)
	case "rsa4096":
		return token.GenerateRSA(4096)
	case "p256":
		return token.GenerateEC(elliptic.P256())
	}
	return nil, fault.New(fault.Usage, "kind of key %q: want rsa2048, rsa3072, rsa4096 or p256", kind)
}
