package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// TestGateIsFair: sources take turns, whatever one of them has waiting; renewals
// come last; a caller that gives up takes no place.
func TestGateIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 10)
		leave, err := g.enter(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		join := func(ctx context.Context, source, name string) {
			go func() {
				if leave, err := g.enter(ctx, source); err == nil {
					order = append(order, name)
					leave()
				}
			}()
			synctest.Wait()
		}
		join(t.Context(), "", "renewal")
		impatient, giveUp := context.WithCancel(t.Context())
		for _, name := range []string{"a1", "a2", "a3"} {
			join(t.Context(), "a", name)
		}
		join(impatient, "a", "gave up")
		join(impatient, "", "renewal gave up")
		join(t.Context(), "b", "b1")
		join(t.Context(), "c", "c1")
		giveUp()
		synctest.Wait()
		leave()
		synctest.Wait()
		if want := []string{"a1", "b1", "c1", "a2", "a3", "renewal"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if g.free != 1 || g.queue != 10 || len(g.waiting) != 0 || len(g.order) != 0 || len(g.last) != 0 {
			t.Errorf("afterwards %+v", g)
		}
	})
}

func TestGateIsFull(t *testing.T) {
	t.Parallel()
	g := newGate(1, 0)
	leave, err := g.enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	if _, err := g.enter(t.Context(), "b"); !errors.Is(err, errQueueFull) {
		t.Errorf("got %v", err)
	}
}
