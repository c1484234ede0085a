package broker

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/follow"
)

// maxChanges is how many changes of associations are remembered for agents that
// were away.
const maxChanges = 10000

// Changes is the log of changes of associations. Its cursor is the cluster's
// resourceVersion, which all replicas see alike, so that an agent may ask
// another one next time.
type Changes struct {
	mu sync.Mutex
	// log is in order of versions; everything after version from is in it.
	log    []change
	from   uint64
	latest uint64
	// known are the last of each association that is there, by namespace and id, and
	// patterns those of them that are patterns.
	known, patterns map[string]map[string]change
	more            chan struct{} // closed at the next change
}

// change is an association as of a version.
type change struct {
	version    uint64
	id         string
	generation int64
	namespace  string
	account    string // a pattern if it ends in a star, and pattern
	pattern    bool
	gone       bool // deleted, or paused: it gives nothing
}

// NewChanges is an empty log.
func NewChanges() *Changes {
	return &Changes{
		known: map[string]map[string]change{}, patterns: map[string]map[string]change{}, more: make(chan struct{}),
	}
}

// Changed takes a change from the follower of associations.
func (c *Changes) Changed(told follow.Change[*v1alpha1.PodIdentityAssociation]) {
	version, err := strconv.ParseUint(told.Version, 10, 64)
	if err != nil {
		return // no API server has such versions
	}
	a := told.Object
	one := change{
		version:    version,
		id:         association.ID(a),
		generation: a.Generation,
		namespace:  a.Namespace,
		account:    a.Spec.ServiceAccountName,
		pattern:    association.IsPattern(a),
		gone:       told.Deleted || a.Spec.Paused,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest == 0 {
		c.from = version // what was before the first list is not known
	}
	last, found := c.known[one.namespace][one.id]
	keep(c.known, one, !told.Deleted)
	keep(c.patterns, one, !told.Deleted && one.pattern)
	c.latest = max(c.latest, version)
	if !told.Deleted && found && last.generation == one.generation && last.gone == one.gone {
		return // only its status changed
	}
	c.append(one)
	if told.Deleted || !found || one.gone != last.gone {
		// It appeared or went, so that accounts may have got another one.
		c.overlapping(one)
	}
	close(c.more)
	c.more = make(chan struct{})
}

// keep puts the last of an association into an index, or takes it out.
func keep(index map[string]map[string]change, one change, there bool) {
	here := index[one.namespace]
	switch {
	case there && here == nil:
		index[one.namespace] = map[string]change{one.id: one}
	case there:
		here[one.id] = one
	case len(here) == 1 && here[one.id].id == one.id:
		delete(index, one.namespace)
	default:
		delete(here, one.id)
	}
}

// overlapping says that sessions of associations for some of the same accounts
// are to be dropped: which one an account has is decided again. Only a pattern can be for
// an account of another's, so for one of a name only patterns are looked at.
func (c *Changes) overlapping(one change) {
	others := c.patterns[one.namespace]
	if one.pattern {
		others = c.known[one.namespace]
	}
	for _, other := range others {
		if other.id != one.id && (covers(other, one.account) || covers(one, other.account)) {
			other.version, other.gone = one.version, true
			c.append(other)
		}
	}
}

// covers reports whether a pattern is for an account, or for accounts of another
// pattern.
func covers(p change, account string) bool {
	return p.pattern && strings.HasPrefix(strings.TrimSuffix(account, "*"), strings.TrimSuffix(p.account, "*"))
}

func (c *Changes) append(one change) {
	if len(c.log) >= maxChanges {
		half := len(c.log) / 2
		c.from = c.log[half-1].version
		c.log = append([]change(nil), c.log[half:]...)
	}
	c.log = append(c.log, one)
}

// since waits until something after the cursor is wanted, or ctx is done. A
// cursor from before what is remembered, or an empty one, gives all associations
// as they are now.
func (c *Changes) since(ctx context.Context, cursor string, wanted func(change) bool) (items []change, next string) {
	after, err := strconv.ParseUint(cursor, 10, 64)
	for {
		c.mu.Lock()
		more, latest := c.more, c.latest
		complete := err != nil || after < c.from
		if complete {
			for _, here := range c.known {
				items = slices.AppendSeq(items, maps.Values(here))
			}
		} else {
			for _, one := range c.log {
				if one.version > after {
					items = append(items, one)
				}
			}
		}
		c.mu.Unlock()
		items = slices.DeleteFunc(items, func(one change) bool { return !wanted(one) })
		if len(items) > 0 || complete {
			return items, strconv.FormatUint(latest, 10)
		}
		select {
		case <-more:
		case <-ctx.Done():
			// The cursor of when it was looked at: something may have come since.
			return nil, strconv.FormatUint(latest, 10)
		}
	}
}

// changesHandler is spec podidentity §19.6. An agent hears of its own node only.
func (b *Broker) changesHandler(draining <-chan struct{}) http.HandlerFunc {
	return door.Handler(b.door, door.Operation[Caller]{
		Name:         "Changes",
		Deadline:     pollHold,
		BadBody:      refusal.InvalidParameter,
		Recorded:     door.Nothing,
		Authenticate: b.Agents.authenticate,
		Note:         note,
		Do: func(
			ctx context.Context, q *door.Request[Caller],
		) (any, error) {
			return b.poll(ctx, q, draining)
		},
	})
}

type wireChanges struct {
	Cursor string       `json:"cursor"`
	Items  []wireChange `json:"items"`
}

type wireChange struct {
	ID      string `json:"associationId"`
	Version int64  `json:"version"`
	Deleted bool   `json:"deleted"`
}

// poll waits for changes, until it is time for the next poll.
func (b *Broker) poll(ctx context.Context, q *door.Request[Caller], draining <-chan struct{}) (any, error) {
	node := q.HTTP.URL.Query().Get("node")
	switch {
	case node == "" || len(node) > 253:
		return nil, refusal.New(refusal.InvalidParameter, "Want the parameter node.")
	case b.Agents.Mode != NoAuthentication && node != q.Who.Node:
		return nil, refusal.New(refusal.AccessDenied, "The node %q may not ask for node %q.", q.Who.Node, node)
	case !b.limits.node("changes "+node, b.Now()):
		return nil, b.door.Limited("node", "The node asks too often.")
	case !closed(b.Associations.Synced()):
		return nil, refusal.New(refusal.Unavailable, "The broker does not know the cluster's associations yet.")
	case !b.polling.Take(): // a place is for a minute, so that strangers have none
		return nil, b.door.Limited("polling", "The broker holds as many requests as it can.")
	}
	defer b.polling.Free()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	// The server's own deadlines are for requests that are answered at once.
	until := time.Now().Add(pollHold + pollWrite) //nolint:forbidigo // connections go by the real clock
	connection := http.NewResponseController(q.Writer)
	if err := errors.Join(
		connection.SetReadDeadline(until), connection.SetWriteDeadline(until),
	); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.Log.Debug("no later deadline for a poll", "error", err)
	}
	items, next := b.Changes.since(ctx, q.HTTP.URL.Query().Get("since"), b.usedOn(node))
	answer := &wireChanges{next, []wireChange{}}
	for _, one := range items {
		answer.Items = append(answer.Items, wireChange{one.id, one.generation, one.gone})
	}
	return answer, nil
}

// usedOn wants changes that pods of a node may have sessions of, as the pods are
// when it is asked. What is gone is always told: its pods may be gone, too.
func (b *Broker) usedOn(node string) func(change) bool {
	return func(one change) bool {
		if one.gone {
			return true
		}
		uses, known := b.Objects.UsesOn(
			node, one.namespace, func(account string) bool { return account == one.account || covers(one, account) },
		)
		return uses || !known
	}
}
