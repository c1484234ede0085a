package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// errQueueFull says that too many calls wait already.
var errQueueFull = errors.New("too many calls wait for the upstream")

// gate bounds the calls that run at a time, and those that wait. The sources
// that wait take turns, so that one with many tokens delays the others by one
// call and not by all of its own; renewals come last.
type gate struct {
	mu    sync.Mutex
	free  int
	queue int // places left to wait in

	order   []string // sources that wait, the next one first
	waiting map[string][]chan struct{}
	last    []chan struct{} // renewals
}

func newGate(places, queue int) *gate {
	return &gate{free: places, queue: queue, waiting: map[string][]chan struct{}{}}
}

// enter waits for a place and returns what gives it back. An empty source is a
// renewal: it is never refused for the length of the queue, since there are few
// of them.
func (g *gate) enter(ctx context.Context, source string) (leave func(), err error) {
	turn := make(chan struct{})
	if err := g.wait(source, turn); err != nil {
		return nil, err
	}
	select {
	case <-turn:
		return g.leave, nil
	case <-ctx.Done():
	}
	if !g.giveUp(source, turn) {
		g.leave() // the place came at the same moment
	}
	return nil, ctx.Err()
}

func (g *gate) wait(source string, turn chan struct{}) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.free > 0:
		g.free--
		close(turn)
	case source == "":
		g.last = append(g.last, turn)
	case g.queue == 0:
		return errQueueFull
	default:
		g.queue--
		if len(g.waiting[source]) == 0 {
			g.order = append(g.order, source)
		}
		g.waiting[source] = append(g.waiting[source], turn)
	}
	return nil
}

// leave hands the place to the next.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.order) > 0:
		source := g.order[0]
		g.order = g.order[1:]
		turns := g.waiting[source]
		g.queue++
		if len(turns) == 1 {
			delete(g.waiting, source)
		} else {
			g.waiting[source] = turns[1:]
			g.order = append(g.order, source)
		}
		close(turns[0])
	case len(g.last) > 0:
		close(g.last[0])
		g.last = g.last[1:]
	default:
		g.free++
	}
}

// giveUp leaves the queue; false if the turn had come.
func (g *gate) giveUp(source string, turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if source == "" {
		before := len(g.last)
		g.last = slices.DeleteFunc(g.last, func(one chan struct{}) bool { return one == turn })
		return len(g.last) < before
	}
	turns := g.waiting[source]
	at := slices.Index(turns, turn)
	if at < 0 {
		return false
	}
	g.queue++
	g.waiting[source] = slices.Delete(turns, at, at+1)
	if len(g.waiting[source]) == 0 {
		delete(g.waiting, source)
		g.order = slices.DeleteFunc(g.order, func(one string) bool { return one == source })
	}
	return true
}
