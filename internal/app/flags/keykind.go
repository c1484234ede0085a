package flags

import (
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/token"
)

// KeyKind adds --kind, which kind of key is made; preset may be empty.
func KeyKind(cmd *cobra.Command, kind *string, preset token.Kind, help string) {
	cmd.Flags().StringVar(kind, "kind", string(preset), help)
	var names []string
	for _, one := range token.Kinds() {
		names = append(names, string(one))
	}
	cli.CompleteFlag(cmd, "kind", names...)
}

// NewKey makes a key of a kind that a flag names.
func NewKey(kind string) (*token.Key, error) {
	if !token.Kind(kind).IsValid() {
		return nil, cli.Usage("kind of key %q: want %s", kind, token.KindChoice())
	}
	return token.Generate(token.Kind(kind))
}
