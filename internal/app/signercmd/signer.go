// Package signercmd has the commands of `rolecall signer`, which make and change the key
// store of the external signer.
//
// It signs nothing and has no rules of its own: the life of keys is in internal/keystore.
package signercmd

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/token"
)

// New returns the command with all below it.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "signer",
		Aliases: []string{"signers"},
		Short:   "Manage the key store of the external signer",
		Long: `Make and change the encrypted store of "rolecall serve signer". A running signer follows
each change within a second; nothing has to be restarted.`,
		Example: `  rolecall signer init --store signer.keys --kms-key-file kms.key
  rolecall signer keys --store signer.keys --kms-key-file kms.key`,
	}, newSignerInit(sys), newSignerImport(sys), newSignerKeys(sys), newSignerRotate(sys),
		newSignerRemove(sys))
}

func newSignerInit(sys cli.System) *cobra.Command {
	var store flags.KeyStore
	var kind string
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "init --store FILE --kms-key-file FILE",
		Short: "Make a store with a new key, for a new cluster",
		Long: `Make a store with a new key, and the key file that it is encrypted under if that does
not exist. A running cluster has a key already: "rolecall signer import" uses it.`,
		Example: `  rolecall signer init --store /var/lib/rolecall/keys --kms-key-file /etc/rolecall/kms.key
  rolecall signer init --store signer.keys --kms-key-file kms.key --kind p256`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := flags.NewKey(kind)
			if err != nil {
				return err
			}
			made, err := store.Make()
			if err != nil {
				return err
			}
			contents := &keystore.Contents{}
			if err := contents.Rotate(key, sys.Now(), sys.Now(), life); err != nil {
				return err
			}
			if err := made.Create(cmd.Context(), contents); err != nil {
				return err
			}
			return printKeys(sys, contents, "table")
		},
	}
	store.Add(cmd)
	flags.KeyKind(cmd, &kind, token.DefaultKind, token.KindChoice())
	cmd.Flags().DurationVar(&life, "max-token-expiration", 24*time.Hour, flags.TokenLifeHelp)
	return cmd
}

func newSignerKeys(sys cli.System) *cobra.Command {
	var store flags.KeyStore
	cmd := &cobra.Command{
		Use:     "keys --store FILE --kms-key-file FILE",
		Aliases: []string{"key", "list", "ls", "get"},
		Short:   "List the keys of a store and their phases",
		Example: `  rolecall signer keys --store signer.keys --kms-key-file kms.key
  rolecall signer keys --store signer.keys --kms-key-file kms.key -o json`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opened, err := store.Open()
		if err != nil {
			return err
		}
		contents, err := opened.Load(cmd.Context())
		if err != nil {
			return err
		}
		return printKeys(sys, contents, *output)
	}
	store.Add(cmd)
	output = cli.Output(cmd, "table", "json")
	return cmd
}

// keyReport is a key of a store for programs; it has no private half.
type keyReport struct {
	KID         string         `json:"kid"`
	Phase       keystore.Phase `json:"phase"`
	Algorithm   string         `json:"algorithm"`
	Excluded    bool           `json:"excludedFromDiscovery"`
	Created     time.Time      `json:"created"`
	SignsFrom   time.Time      `json:"signsFrom,omitzero"`
	SwitchedAt  time.Time      `json:"switchedAt,omitzero"`
	VerifyUntil time.Time      `json:"verifyUntil,omitzero"`
}

func printKeys(sys cli.System, contents *keystore.Contents, output string) error {
	reports := make([]keyReport, 0, len(contents.Keys))
	for _, key := range contents.Keys {
		report := keyReport{
			KID:        key.Public.ID,
			Phase:      contents.PhaseOf(key.Public.ID),
			Algorithm:  key.Public.Algorithm(),
			Excluded:   key.Excluded,
			Created:    key.Created,
			SignsFrom:  key.SignsFrom,
			SwitchedAt: key.SwitchedAt,
		}
		// The signer knows its grace; it is seconds, and days are at stake here.
		report.VerifyUntil, _ = contents.Ends(key.Public.ID, 0, 0)
		reports = append(reports, report)
	}
	if output == "json" {
		return cli.PrintJSON(sys.Stdout, reports)
	}
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KID\tPHASE\tALGORITHM\tSIGNS FROM\tVERIFIES UNTIL")
	for _, one := range reports {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.KID, one.Phase, one.Algorithm, moment(one.SignsFrom),
			moment(one.VerifyUntil))
	}
	return table.Flush()
}

func moment(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

func newSignerRotate(sys cli.System) *cobra.Command {
	var store flags.KeyStore
	var kind string
	var publishFor, life time.Duration
	cmd := &cobra.Command{
		Use:   "rotate --store FILE --kms-key-file FILE",
		Short: "Make the next key, which signs once everybody knows it",
		Long: `Make the next key. It is served at once, and signs after --publish-for when every API
server has fetched it; the present key is dropped when the last of its tokens has
expired. The running signer does all of this.

If a key has leaked: rotate with --publish-for 0s, wait until "rolecall signer keys"
shows that the new one signs, then remove the old one. Its tokens fail from then on.`,
		Example: `  rolecall signer rotate --store signer.keys --kms-key-file kms.key
  rolecall signer rotate --store signer.keys --kms-key-file kms.key --publish-for 0s`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if publishFor < 0 {
				return fault.New(fault.Usage, "--publish-for %s: want no time or more", publishFor)
			}
			return changeStore(cmd.Context(), sys, &store, func(contents *keystore.Contents) error {
				key, err := nextKeyFor(contents, kind)
				if err != nil {
					return err
				}
				return contents.Rotate(key, sys.Now(), sys.Now().Add(publishFor), life)
			})
		},
	}
	store.Add(cmd)
	flags.KeyKind(cmd, &kind, "", token.KindChoice()+" (default: as the key that signs)")
	cmd.Flags().DurationVar(&life, "max-token-expiration", 24*time.Hour, flags.TokenLifeHelp)
	flags.PublishFor(cmd, &publishFor)
	return cmd
}

func nextKeyFor(contents *keystore.Contents, kind string) (*token.Key, error) {
	if kind != "" {
		return flags.NewKey(kind)
	}
	return token.GenerateLike(contents.Signing().Public.Public)
}

func newSignerRemove(sys cli.System) *cobra.Command {
	var store flags.KeyStore
	cmd := &cobra.Command{
		Use:     "remove KID --store FILE --kms-key-file FILE",
		Aliases: []string{"rm", "delete"},
		Short:   "Drop a key at once: its tokens fail from then on",
		Example: `  rolecall signer remove --store signer.keys --kms-key-file kms.key -- vX0sVn2p`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "want one key id").
					Hint("`rolecall signer keys %s` lists them", store.Words())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeStore(cmd.Context(), sys, &store, func(contents *keystore.Contents) error {
				return contents.Remove(args[0])
			})
		},
	}
	store.Add(cmd)
	cmd.ValidArgsFunction = cli.CompleteFound(func(ctx context.Context, args []string, _ string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil // it is named already
		}
		opened, err := store.Open()
		if err != nil {
			return nil, err
		}
		contents, err := opened.Load(ctx)
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(contents.Keys))
		for i := range contents.Keys {
			ids[i] = contents.Keys[i].Public.ID
		}
		return ids, nil
	})
	return cmd
}

// changeStore changes a store and prints what it holds then.
func changeStore(
	ctx context.Context, sys cli.System, flags *flags.KeyStore, change func(*keystore.Contents) error,
) error {
	store, err := flags.Open()
	if err != nil {
		return err
	}
	var changed *keystore.Contents
	if err := store.Update(ctx, func(contents *keystore.Contents) error {
		changed = contents
		return change(contents)
	}); err != nil {
		return err
	}
	return printKeys(sys, changed, "table")
}
