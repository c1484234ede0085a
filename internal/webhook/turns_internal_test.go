package webhook

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/inject"
)

// asking is the context of a review that comes from an address.
func asking(ctx context.Context, address string) context.Context {
	request := (&http.Request{RemoteAddr: address}).WithContext(ctx)
	return withRequest(request)
}

// TestStrangersAskForAssociations: those who ask for accounts that there are not, on all
// connections that they may have, keep nobody from an association made a moment ago.
func TestStrangersAskForAssociations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := &v1alpha1.PodIdentityAssociation{}
		made.Namespace, made.Name, made.Spec.ServiceAccountName = "shop", "cart", "cart"
		associations := &Associations{
			Source: follow.Fixed[*association.Set]{Content: association.NewSet(nil)},
			read: func(ctx context.Context, namespace, name string) (*v1alpha1.PodIdentityAssociation, error) {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				if namespace == "shop" && name == "cart" {
					return made, nil
				}
				return nil, nil
			},
			grace: 500 * time.Millisecond,
			turns: newTurns(associationRate, associationBurst, associationsOfSource),
		}
		ctx, stop := context.WithCancel(t.Context())
		var strangers sync.WaitGroup
		for i := range 1024 {
			strangers.Go(func() {
				for n := i; ctx.Err() == nil; n += 1024 {
					_, _ = associations.Of(asking(ctx, "192.0.2.66:1"), inject.Name{
						Namespace: "shop", ServiceAccount: fmt.Sprint("nobody-", n),
					})
				}
			})
		}
		time.Sleep(5 * time.Second) // what is in store for bursts is used up
		for range 20 {
			found, err := associations.Of(asking(ctx, "192.0.2.1:1"), inject.Name{Namespace: "shop", ServiceAccount: "cart"})
			if err != nil || found == nil {
				t.Errorf("%v, %v", found, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		strangers.Wait()
		time.Sleep(time.Second) // for reads that nobody waits for
	})
}

// TestStrangersAskForGrants: those who have associations refused, as often as they like,
// keep nobody from having the grants read again.
func TestStrangersAskForGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		none := grant.NewSet(nil)
		handler := &Handler{rereads: newTurns(rereadRate, rereadBurst, rereadsOfSource)}
		handler.config.Writes = &Writes{Newest: func(context.Context) (*grant.Set, error) { return none, nil }}
		ctx, stop := context.WithCancel(t.Context())
		read := func(address string) error {
			ctx, cancel := context.WithTimeout(asking(ctx, address), newestTimeout)
			defer cancel()
			_, err := handler.newestGrants(ctx)
			return err
		}
		var strangers sync.WaitGroup
		for range 500 {
			strangers.Go(func() {
				for ctx.Err() == nil {
					_ = read("192.0.2.66:1")
				}
			})
		}
		time.Sleep(10 * time.Second)
		for range 5 {
			if err := read("192.0.2.1:1"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		stop()
		strangers.Wait()
	})
}
