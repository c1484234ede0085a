package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

func newSigner(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "signer",
		Short: "Make and change the key store of the external signer",
		Long: `Make and change the encrypted store of "rolecall serve signer". A signer that runs
follows each change within a second; nothing has to be restarted.`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSignerInit(sys), newSignerImport(sys), newSignerKeys(sys), newSignerRotate(sys), newSignerRemove(sys))
	return cmd
}

// storeFlags say which store, and which key it is encrypted under.
type storeFlags struct{ path, kmsKey string }

func (c *storeFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.path, "store", "", "encrypted file of keys")
	cmd.Flags().StringVar(&c.kmsKey, "kms-key-file", "", "file of the 32 bytes under which the store is encrypted, mode 0600")
}

func (c *storeFlags) check() error {
	if c.path == "" || c.kmsKey == "" {
		return fault.New(fault.Usage, "want a store and its key").Hint("add --store FILE and --kms-key-file FILE")
	}
	return nil
}

func (c *storeFlags) open() (*keystore.Store, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	kms, err := keystore.OpenLocal(c.kmsKey)
	if err != nil {
		return nil, c.noKey(err)
	}
	return c.store(kms), nil
}

func (c *storeFlags) store(kms keystore.KMS) *keystore.Store {
	return &keystore.Store{Path: c.path, KMS: kms, Flags: c.words()}
}

// words are the flags as they were given, for commands in hints, or what to put
// in their place.
func (c *storeFlags) words() string {
	if c.check() != nil {
		return "--store FILE --kms-key-file FILE"
	}
	return "--store " + fault.Quote(c.path) + " --kms-key-file " + fault.Quote(c.kmsKey)
}

// noKey says what to do when the key file is not there: a new one is of use to a
// new store only.
func (c *storeFlags) noKey(err error) error {
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	if _, statErr := os.Stat(c.path); statErr == nil {
		return fault.New(fault.NotFound, "there is a store %s, but no key file %s", c.path, c.kmsKey).Hint("put back the key file that the store was made with: a new one cannot decrypt it")
	}
	return fault.New(fault.NotFound, "%w", err).Hint("`rolecall signer init %s` makes a store and its key", c.words())
}

// make is open for a store that is not there yet; its key file is made if that
// is not there either.
func (c *storeFlags) make() (*keystore.Store, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.kmsKey); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(c.path); err == nil {
			return c.open()
		}
		kms, err := keystore.CreateLocal(c.kmsKey)
		if err != nil {
			return nil, err
		}
		return c.store(kms), nil
	}
	return c.open()
}

func publishForFlag(cmd *cobra.Command, publishFor *time.Duration) {
	cmd.Flags().DurationVar(publishFor, "publish-for", rotation.Defaults().CacheFor, "how long a new key is published before it signs: the longest time that readers of the published keys keep them")
}

const tokenLifeHelp = "longest life of the key's tokens, for which it goes on to verify when another one signs"

func kindFlag(cmd *cobra.Command, kind *string, preset token.Kind, help string) {
	cmd.Flags().StringVar(kind, "kind", string(preset), help)
	var names []string
	for _, one := range token.Kinds() {
		names = append(names, string(one))
	}
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

func newKeyOf(kind string) (*token.Key, error) {
	if !token.Kind(kind).IsValid() {
		return nil, fault.New(fault.Usage, "kind of key %q: want %s", kind, token.KindChoice())
	}
	return token.Generate(token.Kind(kind))
}

func newSignerInit(sys System) *cobra.Command {
	var store storeFlags
	var kind string
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "init --store FILE --kms-key-file FILE",
		Short: "Make a store with a new key, for a new cluster",
		Long: `Make a store with a new key, and the file it is encrypted under if that is not there.
A cluster that runs already has a key: take it with "rolecall signer import".`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := newKeyOf(kind)
			if err != nil {
				return err
			}
			made, err := store.make()
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
	store.flags(cmd)
	kindFlag(cmd, &kind, token.DefaultKind, token.KindChoice())
	cmd.Flags().DurationVar(&life, "max-token-expiration", 24*time.Hour, tokenLifeHelp)
	return cmd
}

func newSignerKeys(sys System) *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "keys --store FILE --kms-key-file FILE",
		Short: "List the keys of a store and their phases",
		Args:  noArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opened, err := store.open()
		if err != nil {
			return err
		}
		contents, err := opened.Load(cmd.Context())
		if err != nil {
			return err
		}
		return printKeys(sys, contents, *output)
	}
	store.flags(cmd)
	output = outputFlag(cmd, "table", "json")
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

func printKeys(sys System, contents *keystore.Contents, output string) error {
	reports := make([]keyReport, 0, len(contents.Keys))
	for _, key := range contents.Keys {
		report := keyReport{
			KID: key.Public.ID, Phase: contents.PhaseOf(key.Public.ID), Algorithm: key.Public.Algorithm(), Excluded: key.Excluded,
			Created: key.Created, SignsFrom: key.SignsFrom, SwitchedAt: key.SwitchedAt,
		}
		// The signer knows its grace; it is seconds, and days are at stake here.
		report.VerifyUntil, _ = contents.Ends(key.Public.ID, 0, 0)
		reports = append(reports, report)
	}
	if output == "json" {
		return printJSON(sys.Stdout, reports)
	}
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KID\tPHASE\tALGORITHM\tSIGNS FROM\tVERIFIES UNTIL")
	for _, one := range reports {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.KID, one.Phase, one.Algorithm, moment(one.SignsFrom), moment(one.VerifyUntil))
	}
	return table.Flush()
}

func moment(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

func newSignerRotate(sys System) *cobra.Command {
	var store storeFlags
	var kind string
	var publishFor, life time.Duration
	cmd := &cobra.Command{
		Use:   "rotate --store FILE --kms-key-file FILE",
		Short: "Make the next key, which signs when everybody knows it",
		Long: `Make the next key. It is served at once, signs after --publish-for and when every API
server has fetched it, and the key of now goes when the last of its tokens has ended.
The signer that runs does all of this.

If a key has leaked: rotate with --publish-for 0s, wait until "rolecall signer keys"
shows that the new one signs, then remove the old one. Its tokens fail from then on.`,
		Args: noArguments,
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
	store.flags(cmd)
	kindFlag(cmd, &kind, "", token.KindChoice()+" (default: as the key that signs)")
	cmd.Flags().DurationVar(&life, "max-token-expiration", 24*time.Hour, tokenLifeHelp)
	publishForFlag(cmd, &publishFor)
	return cmd
}

func nextKeyFor(contents *keystore.Contents, kind string) (*token.Key, error) {
	if kind != "" {
		return newKeyOf(kind)
	}
	return token.GenerateLike(contents.Signing().Public.Public)
}

func newSignerRemove(sys System) *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "remove KID --store FILE --kms-key-file FILE",
		Short: "Drop a key at once: its tokens fail from then on",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "want one key id").Hint("`rolecall signer keys %s` lists them", store.words())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeStore(cmd.Context(), sys, &store, func(contents *keystore.Contents) error { return contents.Remove(args[0]) })
		},
	}
	store.flags(cmd)
	return cmd
}

// changeStore changes a store and prints what it holds then.
func changeStore(ctx context.Context, sys System, flags *storeFlags, change func(*keystore.Contents) error) error {
	store, err := flags.open()
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
