package flags

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/rotation"
)

// KeyStore says which store of keys is meant, and which key it is encrypted under.
type KeyStore struct{ Path, kmsKey string }

// Add adds --store and --kms-key-file.
func (c *KeyStore) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Path, "store", "", "encrypted file of keys")
	cmd.Flags().StringVar(&c.kmsKey, "kms-key-file", "",
		"file of the 32 bytes under which the store is encrypted, mode 0600")
}

func (c *KeyStore) check() error {
	if c.Path == "" || c.kmsKey == "" {
		return fault.New(fault.Usage, "a store and its key are required").
			Hint("add --store FILE and --kms-key-file FILE")
	}
	return nil
}

// Open opens the store, which must exist.
func (c *KeyStore) Open() (*keystore.Store, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	kms, err := keystore.OpenLocal(c.kmsKey)
	if err != nil {
		return nil, c.noKey(err)
	}
	return c.store(kms), nil
}

func (c *KeyStore) store(kms keystore.KMS) *keystore.Store {
	return &keystore.Store{Path: c.Path, KMS: kms, Flags: c.Words()}
}

// Words are the flags as they were given, for commands in hints, or what to put
// in their place.
func (c *KeyStore) Words() string {
	if c.check() != nil {
		return "--store FILE --kms-key-file FILE"
	}
	return "--store " + fault.Quote(c.Path) + " --kms-key-file " + fault.Quote(c.kmsKey)
}

// noKey says what to do when the key file does not exist: a new one is of use to a
// new store only.
func (c *KeyStore) noKey(err error) error {
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	if _, statErr := os.Stat(c.Path); statErr == nil {
		return fault.New(fault.NotFound, "there is a store %s, but no key file %s", c.Path, c.kmsKey).
			Hint("put back the key file that the store was made with: a new one cannot decrypt it")
	}
	return fault.New(fault.NotFound, "%w", err).Hint("`rolecall signer init %s` makes a store and its key", c.Words())
}

// Make is Open for a store that does not exist yet; its key file is made if that does
// not exist either.
func (c *KeyStore) Make() (*keystore.Store, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.kmsKey); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(c.Path); err == nil {
			return c.Open()
		}
		kms, err := keystore.CreateLocal(c.kmsKey)
		if err != nil {
			return nil, err
		}
		return c.store(kms), nil
	}
	return c.Open()
}

// PublishFor adds --publish-for, how long a new key waits before it signs.
func PublishFor(cmd *cobra.Command, publishFor *time.Duration) {
	cmd.Flags().DurationVar(publishFor, "publish-for", rotation.Defaults().CacheFor,
		"how long a new key is published before it signs: the longest time that readers keep the published keys")
}

// TokenLifeHelp is the help of --max-token-expiration.
const TokenLifeHelp = "longest life of the key's tokens, for which it goes on to verify when another one signs"
