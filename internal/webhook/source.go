package webhook

import (
	"context"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

// ServiceAccounts finds service accounts. Lookup is only called once Synced.
type ServiceAccounts interface {
	// Lookup returns what an account's annotations say; nil if there is no such
	// account. It may read through to the API server if wait is true.
	Lookup(ctx context.Context, name inject.Name, wait bool) (*inject.Account, error)
	// Synced is closed when all accounts that exist are known.
	Synced() <-chan struct{}
}

// Static is a fixed set of service accounts, for planes without an API server.
type Static map[inject.Name]*inject.Account

// NewStatic reads annotations by NAMESPACE/NAME.
func NewStatic(accounts map[inject.Name]map[string]string, settings inject.Settings) Static {
	static := Static{}
	for name, annotations := range accounts {
		account := inject.ReadAccount(annotations, settings)
		static[name] = &account
	}
	return static
}

// Lookup finds an account.
func (s Static) Lookup(_ context.Context, name inject.Name, _ bool) (*inject.Account, error) {
	return s[name], nil
}

// Synced is always closed.
func (s Static) Synced() <-chan struct{} { return follow.Closed() }
