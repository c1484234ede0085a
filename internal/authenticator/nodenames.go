package authenticator

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
)

// NodeNames knows the private DNS names of EC2 instances, which are the names of the nodes
// that they are. The first name of an instance is kept as long as the instance lives, over
// restarts too: the node is known by it, whatever EC2 says when a network's options have
// changed. Asking is shared, in batches, and limited.
type NodeNames struct {
	NodeNamesConfig
	limiter *rate.Limiter
	wake    chan struct{}

	mu      sync.Mutex
	known   map[string]nodeName
	unknown map[string]time.Time // until when nobody asks again
	waiting map[string][]chan named
}

// NodeNamesConfig is what NodeNames are made of.
type NodeNamesConfig struct {
	// Static are names that the operator gives; they count before all others.
	Static func() map[string]string
	// Ask asks EC2; nil if there is none to ask. What is not in the answer does not exist.
	Ask func(ctx context.Context, ids []string) (map[string]string, error)
	// QPS and Burst bound the calls of Ask.
	QPS   float64
	Burst int
	// File keeps what is known; empty for none.
	File    string
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// nodeName is what is known of an instance.
type nodeName struct {
	Name string `json:"name"`
	// Seen is when EC2 last said so.
	Seen time.Time `json:"seen"`
}

type named struct {
	name string
	err  error
}

const (
	nameFor     = time.Hour        // a name counts without asking
	unknownFor  = 30 * time.Second // an instance that EC2 does not know
	batch       = 100
	maxNames    = 20000
	forgetAfter = 14 * 24 * time.Hour // an instance that nobody asked about
)

// ErrNoInstance is that EC2 does not know an instance, or that it has no name any more.
var ErrNoInstance = errors.New("EC2 does not know the instance, or it has ended")

// NewNodeNames reads what was known before. A file that cannot be read is said, and EC2
// asked again.
func NewNodeNames(config NodeNamesConfig) *NodeNames {
	n := &NodeNames{
		NodeNamesConfig: config, limiter: rate.NewLimiter(rate.Limit(config.QPS), config.Burst),
		wake: make(chan struct{}, 1), known: map[string]nodeName{}, unknown: map[string]time.Time{},
		waiting: map[string][]chan named{},
	}
	if config.File == "" {
		return n
	}
	text, err := os.ReadFile(config.File)
	if err == nil {
		err = json.Unmarshal(text, &n.known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		config.Log.Error("names of nodes not read, EC2 is asked for them again", "file", config.File, "error", err)
	}
	if n.known == nil {
		n.known = map[string]nodeName{}
	}
	return n
}

// Name returns the private DNS name of an instance.
func (n *NodeNames) Name(ctx context.Context, id string) (string, error) {
	if n.Static != nil {
		if name := n.Static()[id]; name != "" {
			return name, nil
		}
	}
	answer, name, err := n.look(id)
	if answer == nil {
		return name, err
	}
	select {
	case got := <-answer:
		return got.name, got.err
	case <-ctx.Done():
		return "", fault.New(fault.Unavailable, "EC2 did not answer in time: %w", ctx.Err())
	}
}

// look returns what is known, or where the answer will come.
func (n *NodeNames) look(id string) (answer chan named, name string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.Now()
	known, found := n.known[id]
	switch {
	case found && now.Sub(known.Seen) < nameFor:
		return nil, known.Name, nil
	case n.Ask == nil && found:
		return nil, known.Name, nil
	case n.Ask == nil:
		return nil, "", fault.New(fault.NotFound, "no name is known of the instance %s, and there is no EC2 to ask", id).
			Hint("give the server credentials that may use ec2:DescribeInstances, or the names with --node-names")
	case now.Before(n.unknown[id]):
		return nil, "", ErrNoInstance
	case len(n.waiting) >= maxNames:
		return nil, "", errors.New("too many instances are asked about")
	}
	answer = make(chan named, 1)
	n.waiting[id] = append(n.waiting[id], answer)
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return answer, "", nil
}

// Run asks EC2 until ctx is done: while one question is on its way the next ones come
// together.
func (n *NodeNames) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		}
		for {
			ids := n.next()
			if len(ids) == 0 {
				break
			}
			err := n.limiter.Wait(ctx)
			var names map[string]string
			if err == nil {
				n.Metrics.Describes.Inc()
				names, err = n.Ask(ctx, ids)
			}
			n.take(ids, names, err)
			if ctx.Err() != nil {
				return nil //nolint:nilerr // err is told to those who wait
			}
		}
	}
}

// next are the instances to ask about.
func (n *NodeNames) next() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []string
	for id := range n.waiting {
		if ids = append(ids, id); len(ids) == batch {
			break
		}
	}
	return ids
}

// take tells those who wait.
func (n *NodeNames) take(ids []string, names map[string]string, failed error) {
	n.mu.Lock()
	now, changed := n.Now(), false
	for _, id := range ids {
		known, found := n.known[id]
		got := named{known.Name, nil}
		switch name := names[id]; {
		case failed != nil && found: // EC2's trouble is no reason to forget a node
		case failed != nil:
			got = named{"", failed}
		case name == "":
			delete(n.known, id)
			n.unknown[id], changed = now.Add(unknownFor), changed || found
			got = named{"", ErrNoInstance}
		case found:
			if known.Name != name {
				n.Log.Warn("EC2 has another name for an instance; the first one is kept while it lives",
					"instance", id, "kept", known.Name, "said", name)
			}
			n.known[id] = nodeName{known.Name, now}
			changed = true
		default:
			n.known[id], changed = nodeName{name, now}, true
			got.name = name
		}
		for _, answer := range n.waiting[id] {
			answer <- got
		}
		delete(n.waiting, id)
	}
	n.forget(now)
	kept := maps.Clone(n.known)
	n.mu.Unlock()
	if changed {
		n.write(kept)
	}
}

// forget makes room. It is called with the lock held.
func (n *NodeNames) forget(now time.Time) {
	maps.DeleteFunc(n.unknown, func(_ string, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(n.known, func(_ string, one nodeName) bool { return now.Sub(one.Seen) > forgetAfter })
	for id := range n.known {
		if len(n.known) <= maxNames {
			break
		}
		delete(n.known, id)
	}
}

func (n *NodeNames) write(known map[string]nodeName) {
	if n.File == "" {
		return
	}
	text, err := json.Marshal(known)
	if err == nil {
		err = atomicfile.Write(n.File, text, 0o600)
	}
	if err != nil {
		n.Log.Error("names of nodes not kept for a restart", "file", n.File, "error", err)
	}
}
