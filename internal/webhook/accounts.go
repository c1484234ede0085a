package webhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
	"unique"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

const (
	fetchTimeout = time.Second
	fetchAgain   = 50 * time.Millisecond
	// fetchRate bounds reads of accounts that the cache does not know, so that a storm of
	// pods is not a storm of reads (spec webhook §10.3). Who asks waits for their turn.
	fetchRate, fetchBurst = 200, 40
	fetchesOfSource       = 16 // at a time
)

// Accounts follows the service accounts of a cluster. Of each it keeps what its
// annotations say, parsed; of one without annotations only that it is there.
type Accounts struct {
	client   kubernetes.Interface
	settings inject.Settings
	grace    time.Duration
	plain    *inject.Account // shared by all accounts without annotations
	watch    *follow.Watch
	synced   chan struct{}
	once     sync.Once
	flight   singleflight.Group
	turns    *turns

	mu    sync.RWMutex
	known map[inject.Name]*inject.Account
}

// NewAccounts prepares the cache; Run fills it. The settings are the handler's:
// what annotations leave out is filled in as they are read. An account that it does not know
// is read from the API server for at most the grace period; 0 reads none. One that it does
// know is read if the API server was not heard of for too long.
func NewAccounts(
	client kubernetes.Interface, settings inject.Settings, grace time.Duration, now func() time.Time,
) *Accounts {
	plain := inject.ReadAccount(nil, settings)
	return &Accounts{
		client:   client,
		settings: settings,
		grace:    grace,
		plain:    &plain,
		watch:    follow.NewWatch("service accounts", now),
		synced:   make(chan struct{}),
		turns:    newTurns(fetchRate, fetchBurst, fetchesOfSource),
		known:    map[inject.Name]*inject.Account{},
	}
}

// Run follows the accounts until ctx is done.
func (a *Accounts) Run(ctx context.Context) error {
	accounts := a.client.CoreV1().ServiceAccounts("")
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return accounts.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return accounts.Watch(ctx, options)
		},
	}
	a.watch.Run(ctx, cache.ToListWatcherWithWatchListSemantics(source, a.client),
		&corev1.ServiceAccount{}, (*accountStore)(a))
	return nil
}

// Watched is how the accounts are followed.
func (a *Accounts) Watched() *follow.Watch { return a.watch }

// Synced is closed after the first complete list.
func (a *Accounts) Synced() <-chan struct{} { return a.synced }

// Lookup reads the cache, and on a miss the API server: an account that was
// made a moment ago must not make a pod go without its role. When the watch stands still
// it asks the API server about every account: one that it knows may be gone, or have
// another role.
func (a *Accounts) Lookup(ctx context.Context, name inject.Name, wait bool) (*inject.Account, error) {
	account, behind := a.get(name), !a.watch.Heard(follow.Fresh)
	if !wait || !behind && (account != nil || a.grace <= 0) {
		return account, nil
	}
	// Concurrent misses of one account share one read, and its answer; it goes
	// on when the review that began it is given up. Those of another source have one of
	// their own, which waits for its own turn.
	answer := a.flight.DoChan(
		sourceOf(ctx)+" "+name.String(),
		func() (any, error) { return a.fetch(context.WithoutCancel(ctx), name) },
	)
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read service account %s: %w", name, ctx.Err())
	case result := <-answer:
		account, _ := result.Val.(*inject.Account)
		if result.Err != nil && behind {
			return nil, fmt.Errorf("service accounts: %w: %w", errStill, result.Err)
		}
		return account, result.Err
	}
}

func (a *Accounts) get(name inject.Name) *inject.Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.known[name]
}

// fetch asks until there is an answer, the cache has learnt it, or the grace
// period is over. That there is no such account is an answer.
func (a *Accounts) fetch(ctx context.Context, name inject.Name) (*inject.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.grace, fetchTimeout))
	answers := make(chan *inject.Account, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	var err error // of the last read; written before reading is done
	reading.Go(func() {
		for ctx.Err() == nil {
			var account *inject.Account
			var read error
			if account, read = a.read(ctx, name); read == nil || apierrors.IsNotFound(read) {
				answers <- account
				return
			}
			if err == nil || ctx.Err() == nil { // what went wrong, not that time was over
				err = read
			}
			pause(ctx, fetchAgain)
		}
	})
	again := time.NewTicker(fetchAgain)
	defer again.Stop()
	for {
		if account := a.get(name); account != nil && a.watch.Heard(follow.Fresh) {
			return account, nil
		}
		select {
		case account := <-answers:
			return account, nil
		case <-ctx.Done():
			reading.Wait()
			select {
			case account := <-answers: // just in time
				return account, nil
			default:
			}
			return nil, fmt.Errorf("read service account %s: %w", name, cmp.Or(err, ctx.Err()))
		case <-again.C:
		}
	}
}

func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// read reads an account when it is its source's turn.
func (a *Accounts) read(ctx context.Context, name inject.Name) (*inject.Account, error) {
	done, err := a.turns.wait(ctx, sourceOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("too many are asked for at a time: %w", err)
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	account, err := a.client.CoreV1().ServiceAccounts(name.Namespace).Get(ctx, name.ServiceAccount, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return a.parse(account), nil
}

func (a *Accounts) parse(account *corev1.ServiceAccount) *inject.Account {
	for key, value := range account.Annotations {
		if strings.HasPrefix(key, a.settings.Prefix) || inject.LooksLikeRole(key, value) {
			parsed := inject.ReadAccount(account.Annotations, a.settings)
			return &parsed
		}
	}
	return a.plain
}

// All returns what is known, for debugging.
func (a *Accounts) All() map[inject.Name]*inject.Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return maps.Clone(a.known)
}

// Clear forgets everything, for debugging: misses read through.
func (a *Accounts) Clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = map[inject.Name]*inject.Account{}
}

// accountStore is what the reflector fills.
type accountStore Accounts

// entry is what is left of an account while a list is being read. What is not
// overridden of the interface, one empty object answers for all.
type entry struct {
	metav1.Object
	name            inject.Name
	resourceVersion string
	account         *inject.Account
}

var nothing metav1.Object = &metav1.ObjectMeta{}

// GetResourceVersion is for the reflector's stores.
func (e *entry) GetResourceVersion() string { return e.resourceVersion }

// GetNamespace is for the reflector's keys.
func (e *entry) GetNamespace() string { return e.name.Namespace }

// GetName is for the reflector's keys.
func (e *entry) GetName() string { return e.name.ServiceAccount }

// Transformer makes lists small before they are complete.
func (s *accountStore) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if e := s.entry(object); e != nil {
			return e, nil
		}
		return object, nil
	}
}

func (s *accountStore) entry(object any) *entry {
	switch object := object.(type) {
	case *entry:
		return object
	case *corev1.ServiceAccount:
		// Namespaces repeat; one copy of each is kept.
		name := inject.Name{Namespace: unique.Make(object.Namespace).Value(), ServiceAccount: object.Name}
		return &entry{nothing, name, object.ResourceVersion, (*Accounts)(s).parse(object)}
	}
	return nil
}

// Add is an event of the watch.
func (s *accountStore) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *accountStore) Update(object any) error {
	if e := s.entry(object); e != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known[e.name] = e.account
	}
	return nil
}

// Delete is an event of the watch.
func (s *accountStore) Delete(object any) error {
	if account, ok := object.(metav1.Object); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.known, inject.Name{Namespace: account.GetNamespace(), ServiceAccount: account.GetName()})
	}
	return nil
}

// Replace is a list.
func (s *accountStore) Replace(objects []any, _ string) error {
	known := make(map[inject.Name]*inject.Account, len(objects))
	for _, object := range objects {
		if e := s.entry(object); e != nil {
			known[e.name] = e.account
		}
	}
	s.mu.Lock()
	s.known = known
	s.mu.Unlock()
	s.once.Do(func() { close(s.synced) })
	return nil
}

// Resync has nothing to do.
func (s *accountStore) Resync() error { return nil }

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
