// Package sources follows everywhere that mappings are written, and keeps the chain of
// them that logins are resolved by: the configuration file, a file that another program
// writes, the ConfigMap aws-auth, objects of ours and of aws-iam-authenticator (spec
// authenticator §5.1 to §5.5).
//
// Each source is ready, and fails, by itself. What was good stays when what comes next
// cannot be read, over restarts too, and that is said: in the log, in metrics, and in an
// Event where there is an object to say it of. What was taken away is gone at once.
//
// It does not read mappings (package access does) or serve.
package sources

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// Set is all sources. It is safe for concurrent use.
type Set struct {
	config  access.Config
	metrics *authenticator.Metrics
	log     *slog.Logger
	now     func() time.Time
	pin     bool
	// names tells the names of nodes.
	names func(ctx context.Context, instance string) (string, error)

	mu       sync.Mutex
	backends []access.Source // the peer's, in order
	sources  map[access.Source]*state
	chain    atomic.Pointer[access.Chain]
}

// state is what is known of a source.
type state struct {
	table   *access.Table
	synced  bool
	since   time.Time
	problem error // why it is not synced
}

// Config is what a Set is made of.
type Config struct {
	// Access says what names are reserved.
	Access access.Config
	// Backends are the sources of the peer, in the order in which they are asked.
	Backends []access.Source
	// Objects says whether our own kinds are sources.
	Objects bool
	// PinUserIDs makes the unique ids that entries of lists name count.
	PinUserIDs bool
	Names      func(ctx context.Context, instance string) (string, error)
	Metrics    *authenticator.Metrics
	Log        *slog.Logger
	Now        func() time.Time
}

// New makes a Set in which nobody is mapped yet.
func New(config Config) *Set {
	s := &Set{
		config: config.Access, metrics: config.Metrics, log: config.Log, now: config.Now, names: config.Names,
		pin:      config.PinUserIDs,
		backends: config.Backends, sources: map[access.Source]*state{},
	}
	for _, source := range config.Backends {
		s.sources[source] = &state{since: s.now()}
	}
	if config.Objects {
		for _, source := range []access.Source{access.AccessEntry, access.IdentityMapping, access.GroupMapping} {
			s.sources[source] = &state{since: s.now()}
		}
	}
	s.rebuild()
	return s
}

// order is that of people-cases: entries, mappings, what the peer is told, members last.
func (s *Set) order() []access.Source {
	return slices.Concat([]access.Source{access.AccessEntry, access.IdentityMapping}, s.backends,
		[]access.Source{access.GroupMapping})
}

// rebuild is called with the lock held, or before there is anybody else.
func (s *Set) rebuild() {
	var tables []*access.Table
	for _, source := range s.order() {
		if one := s.sources[source]; one != nil && one.table != nil {
			tables = append(tables, one.table)
		}
	}
	s.chain.Store(access.NewChain(s.config, tables...))
}

// Chain is the mappings that count now.
func (s *Set) Chain() *access.Chain { return s.chain.Load() }

// put replaces what a source says. confirmed says that the source itself was read, and
// not what was kept of it.
func (s *Set) put(
	source access.Source, mappings []access.Mapping, problems []access.Problem, confirmed bool,
) *access.Table {
	table := access.NewTable(source, mappings, problems...)
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sources[source]
	if one == nil { // a mode that is not in use now
		one = &state{since: s.now()}
		s.sources[source] = one
	}
	one.table = table
	if confirmed {
		one.synced, one.problem = true, nil
	}
	s.rebuild()
	return table
}

// fail says why a source is not synced.
func (s *Set) fail(source access.Source, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.sources[source]; one != nil && !one.synced {
		one.problem = err
	}
}

// setBackends changes which of the peer's sources count, and in which order.
func (s *Set) setBackends(backends []access.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backends = backends
	s.rebuild()
}

// Unready says which sources in use were not read yet, and why; nil if all were.
func (s *Set) Unready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, source := range s.order() {
		one := s.sources[source]
		switch {
		case one == nil || one.synced:
		case one.problem != nil:
			all = append(all, fmt.Sprintf("%s is not read yet: %v", source, one.problem))
		default:
			all = append(all, fmt.Sprintf("%s is not read yet", source))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "%s", strings.Join(all, "; "))
}

// Resolve says who an identity is in the cluster.
func (s *Set) Resolve(ctx context.Context, who *callerid.Identity) (*access.User, *authenticator.Refusal) {
	chain := s.chain.Load()
	user, refused := chain.Resolve(who, func(instance string) (string, error) {
		return s.names(ctx, instance)
	})
	if refused == nil {
		return user, nil
	}
	var hints []string
	if err := s.Unready(); err != nil && refused.Reason == access.NotMapped {
		hints = append(hints, err.Error())
	}
	hints = append(hints, fault.HintsOf(refused.Cause)...)
	if near := chain.Nearest(who); len(near) > 0 {
		hints = append(hints, near[0].Text+". "+near[0].Edit)
	}
	return nil, authenticator.RefusedBy(refused.Reason, hints, "%s", refused.Text)
}

// waitFor is after which a source that cannot be read is said.
const waitFor = 10 * time.Second

// Watch says once of each source that could not be read for ten seconds, until ctx is
// done.
func (s *Set) Watch(ctx context.Context) error {
	said := map[access.Source]bool{}
	for {
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		for source, problem := range s.late() {
			if said[source] {
				continue
			}
			said[source] = true
			s.log.Error("source of mappings cannot be read; it maps nobody, and the others serve", "source", source,
				"error", problem, "hints", fault.HintsOf(problem))
		}
	}
}

func (s *Set) late() map[access.Source]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := map[access.Source]error{}
	for source, one := range s.sources {
		if !one.synced && s.now().Sub(one.since) >= waitFor && slices.Contains(s.order(), source) {
			late[source] = one.problem
		}
	}
	return late
}

// teller tells what is wrong with what a source says, and counts it. What was said before
// is not said again.
type teller struct {
	set  *Set
	said map[string]bool
}

func (t *teller) tell(source access.Source, table *access.Table) {
	problems := slices.Clone(table.Problems())
	for _, double := range table.Duplicates() {
		problems = append(problems, access.Problem{
			Origin: double.Hidden.Origin,
			Text:   double.Hidden.Match.String() + " is mapped twice: " + double.Counts.String() + " counts",
		})
	}
	t.set.metrics.Problems.WithLabelValues(string(source)).Set(float64(len(problems)))
	now := map[string]bool{}
	for i := range problems {
		text := problems[i].Error()
		now[text] = true
		if t.said[text] || len(now) > maxSaid {
			continue
		}
		say, words := t.set.log.Warn, "mapping counts, but"
		if problems[i].Refused {
			say, words = t.set.log.Error, "mapping does not count"
		}
		attributes := []any{"source", source, "problem", problems[i].Error()}
		if problems[i].Hint != "" {
			attributes = append(attributes, "hints", []string{problems[i].Hint})
		}
		say(words, attributes...)
	}
	t.said = now
}

// maxSaid bounds the lines about one source.
const maxSaid = 100

func (s *Set) teller() *teller { return &teller{s, map[string]bool{}} }

func (s *Set) good(source access.Source, key string) {
	s.metrics.GoodAt.WithLabelValues(string(source), key).Set(float64(s.now().Unix()))
}
