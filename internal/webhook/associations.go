package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

// associationRate is what requests for associations may cost an API server, however
// many pods there are. They take turns as reads of accounts do: who asks for many that
// there are not waits for themselves. Reviews of one source that wait share the next read
// of their account.
const (
	associationRate, associationBurst = 1000, 1000
	associationsOfSource              = 32 // at a time
)

// Associations finds the PodIdentityAssociations of service accounts. A watch
// lags behind; so that the first pod after an association is created has it, that
// an account has none of its own is only believed of an answer that the API server began
// after the pod's review had come in. An association for one account has that account's
// name, so that it is one object which is asked for, however many there are. Patterns
// count once the watch has told of them.
type Associations struct {
	follow.Source[*association.Set]
	// read is for what the source does not have yet; nil if it is never behind. It
	// returns nil for no object of the name.
	read   func(ctx context.Context, namespace, name string) (*v1alpha1.PodIdentityAssociation, error)
	watch  *follow.Watch // nil if it is never behind
	run    func(context.Context) error
	grace  time.Duration
	flight singleflight.Group
	turns  *turns
}

// NewAssociations prepares it; Run follows. A read takes at most the grace
// period; 0 reads nothing, and takes what is followed as it is. The client's own
// limit of calls should be off.
func NewAssociations(
	client dynamic.Interface, grace time.Duration, now func() time.Time, log *slog.Logger,
) *Associations {
	followed := follow.Associations(client, now, log)
	return &Associations{
		Source: followed,
		read:   followed.Get,
		watch:  followed.Watched(),
		run:    followed.Run,
		grace:  grace,
		turns:  newTurns(associationRate, associationBurst, associationsOfSource),
	}
}

// EmbeddedAssociations are those of a plane without an API server, whose source
// has each change at once.
func EmbeddedAssociations(source follow.Source[*association.Set]) *Associations {
	return &Associations{Source: source}
}

// Run follows the associations until ctx is done.
func (a *Associations) Run(ctx context.Context) error { return a.run(ctx) }

// Watched is how the associations are followed; nil if they are not.
func (a *Associations) Watched() *follow.Watch { return a.watch }

// Of returns the association of a service account; nil if there is none. With an
// error nil says only that none is known; with errStill not even that.
func (a *Associations) Of(ctx context.Context, name inject.Name) (*v1alpha1.PodIdentityAssociation, error) {
	if a.watch != nil && !a.watch.Heard(follow.Fresh) {
		set, err := follow.Sure(ctx, a.Source, 0, name.Namespace)
		if err != nil {
			return nil, fmt.Errorf("PodIdentityAssociations: %w: %w", errStill, err)
		}
		return set.Of(name.Namespace, name.ServiceAccount), nil
	}
	if found := a.Known(name); found != nil || a.read == nil || a.grace <= 0 {
		return found, nil
	}
	// The read goes on for the others when the review that began it is given up.
	key := name.Namespace + "/" + name.ServiceAccount
	flight := sourceOf(ctx) + " " + key // another source's turn may come much later
	answer := a.flight.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.grace)
		defer cancel()
		return a.fetch(ctx, name, flight)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read the association of %s: %w", key, ctx.Err())
	case result := <-answer:
		if result.Err != nil {
			return nil, fmt.Errorf("read the association of %s: %w", key, result.Err)
		}
		if read, _ := result.Val.(*v1alpha1.PodIdentityAssociation); read != nil {
			// A pattern may have that name, too.
			found := association.NewSet([]*v1alpha1.PodIdentityAssociation{read}).Of(name.Namespace, name.ServiceAccount)
			if found != nil {
				return found, nil
			}
		}
		return a.Known(name), nil // the watch may have told of a pattern meanwhile
	}
}

// errStill is why a review is not answered: what was known of the cluster is too old to
// go by.
var errStill = errors.New("their watch stands still, and the API server does not say what there is")

// Known returns the association among those that are followed.
func (a *Associations) Known(name inject.Name) *v1alpha1.PodIdentityAssociation {
	return a.Current().Of(name.Namespace, name.ServiceAccount)
}

// fetch waits for its turn and reads. A review that comes while it waits gets its
// answer; one that comes later needs the next, since an association may have
// been created after this one was read.
func (a *Associations) fetch(
	ctx context.Context, name inject.Name, flight string,
) (*v1alpha1.PodIdentityAssociation, error) {
	done, err := a.turns.wait(ctx, sourceOf(ctx))
	if err != nil {
		return nil, err
	}
	defer done()
	a.flight.Forget(flight)
	return a.read(ctx, name.Namespace, name.ServiceAccount)
}
