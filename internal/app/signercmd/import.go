package signercmd

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/signer"
)

// signerImportConfig is what `signer import` needs.
type signerImportConfig struct {
	store    flags.KeyStore
	files    []string
	life     time.Duration
	excluded bool
}

func newSignerImport(sys cli.System) *cobra.Command {
	var c signerImportConfig
	cmd := &cobra.Command{
		Use:   "import --store FILE --kms-key-file FILE --key-file FILE...",
		Short: "Import the keys of a running cluster into a store",
		Long: `Import keys in PEM into a store, so that a cluster moves to the external signer and no
token fails. A store that does not exist is made: the first private key signs, as it
does for kube-apiserver, all others verify. Keys imported into a store that exists only
verify; their private halves are left out.

An imported key verifies for --max-token-expiration after it has signed last: a year by
default, as API servers give some tokens a year. Tokens in Secrets never expire: import
the keys that signed them with --max-token-expiration 0s; they stay until removed.`,
		Example: `  rolecall signer import --store /var/lib/rolecall/keys --kms-key-file /etc/rolecall/kms.key \
    --key-file /etc/kubernetes/pki/sa.key`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(c.files) == 0 {
				return fault.New(fault.Usage, "no key given").
					Hint("add --key-file FILE, for kubeadm /etc/kubernetes/pki/sa.key")
			}
			if c.life < 0 {
				return fault.New(fault.Usage, "--max-token-expiration %s: want no time, which is forever, or more",
					c.life)
			}
			return c.run(cmd.Context(), sys)
		},
	}
	c.store.Add(cmd)
	cmd.Flags().StringArrayVar(&c.files, "key-file", nil, "PEM file or folder of keys; may be repeated")
	cli.CompleteFiles(cmd, "key-file", "pem", "key", "pub")
	cmd.Flags().DurationVar(&c.life, "max-token-expiration", 366*24*time.Hour, flags.TokenLifeHelp)
	cmd.Flags().BoolVar(&c.excluded, "exclude-from-discovery", false,
		"keep the keys that verify only out of the published set")
	return cmd
}

func (c *signerImportConfig) run(ctx context.Context, sys cli.System) error {
	now := sys.Now()
	set, err := (&signer.Files{Paths: c.files, Now: sys.Now}).Read(ctx)
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.store.Path); err == nil {
		return changeStore(ctx, sys, &c.store,
			func(contents *keystore.Contents) error { return c.add(contents, set.Keys, now, false) })
	}
	contents := &keystore.Contents{}
	if err := c.add(contents, set.Keys, now, true); err != nil {
		return err
	}
	store, err := c.store.Make()
	if err != nil {
		return err
	}
	if err := store.Create(ctx, contents); err != nil {
		return err
	}
	return printKeys(sys, contents, "table")
}

// add puts the key that signs first, as contents without one are not sound.
func (c *signerImportConfig) add(contents *keystore.Contents, keys []signer.Key, now time.Time, signs bool) error {
	var verify []keystore.Key
	for _, key := range keys {
		one := keystore.Key{Created: now, TokenLife: c.life}
		one.Public.ID, one.Public.Public = key.ID, key.Public
		if signs && key.Private != nil {
			signs = false
			one.Private, one.SignsFrom, one.SwitchedAt = key.Private, now, now
			if err := contents.Add(one); err != nil {
				return err
			}
			continue
		}
		one.Excluded = c.excluded
		if c.life > 0 {
			one.VerifyUntil = now.Add(c.life + keystore.Leeway)
		}
		verify = append(verify, one)
	}
	if signs {
		return fault.New(fault.Invalid, "none of the files holds a private key, and there is no store yet").
			Hint("for kubeadm the private key is /etc/kubernetes/pki/sa.key")
	}
	for _, one := range verify {
		if err := contents.Add(one); err != nil {
			return err
		}
	}
	return nil
}
