package agent

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

const (
	statePeriod = 30 * time.Second
	stateFormat = 1
	maxState    = 64 << 20
	// maxLife is more than the longest session that STS makes.
	maxLife = 13 * time.Hour
)

// savedState is the state file. It holds live credentials, and of tokens only
// what finds their session again: a token that is stolen from the file would
// outlive the sessions in it.
type savedState struct {
	Format  int          `json:"format"`
	Cluster string       `json:"cluster"`
	Entries []savedEntry `json:"entries"`
}

type savedEntry struct {
	Namespace      string          `json:"namespace,omitempty"`
	ServiceAccount string          `json:"serviceAccount,omitempty"`
	Pod            string          `json:"pod,omitempty"`
	PodUID         string          `json:"podUID,omitempty"`
	Answer         json.RawMessage `json:"answer"` // as the pod is given it
	Issued         time.Time       `json:"issued"`
	Expires        time.Time       `json:"expires"`
	RoleARN        string          `json:"roleARN,omitempty"`
	AssociationID  string          `json:"associationID,omitempty"`
	Version        int64           `json:"version,omitempty"`
	Tokens         []savedToken    `json:"tokens,omitempty"`
}

type savedToken struct {
	SHA256    []byte    `json:"sha256"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Expires   time.Time `json:"expires"`
}

// Restore reads what the previous agent wrote to the state file. Call it before
// Run. A file that others could have written or read is an error; one that
// cannot be understood, or belongs to another cluster, is ignored.
func (a *Agent) Restore() error {
	if a.config.StateFile == "" {
		return nil
	}
	if err := stateVolatile(a.config.StateFile); err != nil {
		return err
	}
	text, err := readState(a.config.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "state file: %w", err).Hint(
			"it must be a regular file of mode 0600 that belongs to the agent's user; " +
				"remove it, and find out who made it",
		)
	}
	state, err := parseState(text)
	if err != nil || state.Cluster != a.config.Cluster {
		a.config.Log.Warn("the state file is of no use", "error", err, "cluster", state.Cluster)
		return nil
	}
	now := a.config.Now()
	restored := 0
	for i := range state.Entries {
		// A broker may have said meanwhile that an association changed.
		if a.cache.restore(&state.Entries[i], now, a.config.Changes != nil) {
			restored++
		}
	}
	a.config.Log.Info(
		"sessions of the agent before this one", "restored", restored, "expired", len(state.Entries)-restored,
	)
	return nil
}

// saveLoop writes the state file from time to time. Run writes it once more at
// the end.
func (a *Agent) saveLoop(ctx context.Context) {
	for sleep(ctx, statePeriod) {
		a.saveState()
	}
}

// saveState writes the file if anything in it is new.
func (a *Agent) saveState() {
	text, err := json.Marshal(
		savedState{Format: stateFormat, Cluster: a.config.Cluster, Entries: a.cache.save(a.config.Now())},
	)
	sum := sha256.Sum256(text)
	if err == nil && sum == a.saved {
		return
	}
	if err == nil {
		err = writeState(a.config.StateFile, text)
	}
	if err != nil {
		a.config.Log.Warn("state file not written", "error", err)
		return
	}
	a.saved = sum
}

func parseState(text []byte) (savedState, error) {
	var state savedState
	if err := json.Unmarshal(text, &state); err != nil {
		return savedState{}, errors.New("not the JSON of a state file") // the error itself might quote it
	}
	if state.Format != stateFormat {
		return savedState{}, errors.New("in another format")
	}
	return state, nil
}

// save returns what is worth keeping, in a fixed order.
func (c *cache) save(now time.Time) []savedEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	tokens := map[entryKey][]savedToken{}
	for print, link := range c.tokens.All() {
		if now.Before(link.expiry) {
			tokens[link.key] = append(tokens[link.key], savedToken{print[:], link.notBefore, link.expiry})
		}
	}
	var entries []savedEntry
	for key, e := range c.entries.All() {
		if e.session.expires.Sub(now) <= c.policy.minServe {
			continue
		}
		s, of := e.session, tokens[key]
		slices.SortFunc(of, func(a, b savedToken) int { return slices.Compare(a.SHA256, b.SHA256) })
		entries = append(entries, savedEntry{
			Namespace: e.id.namespace, ServiceAccount: e.id.serviceAccount, Pod: e.id.pod, PodUID: e.id.podUID,
			Answer: json.RawMessage(s.body.Reveal()), Issued: s.issued, Expires: s.expires,
			RoleARN: s.roleARN, AssociationID: s.associationID, Version: s.version, Tokens: of,
		})
	}
	slices.SortFunc(entries, func(a, b savedEntry) int { return strings.Compare(string(a.Answer), string(b.Answer)) })
	return entries
}

// restore adds one entry, if it is still good. It has no token: the next
// request of its pod brings one, and until then it is not renewed.
func (c *cache) restore(saved *savedEntry, now time.Time, stale bool) bool {
	s, ok := saved.session(now)
	if !ok || c.entries.Size() == 0 || s.expires.Sub(now) <= c.policy.minServe {
		return false
	}
	id := identity{
		namespace:      saved.Namespace,
		serviceAccount: saved.ServiceAccount,
		pod:            saved.Pod,
		podUID:         saved.PodUID,
	}
	var links []savedToken
	for _, one := range saved.Tokens {
		if len(one.SHA256) == sha256.Size && now.Before(one.Expires) {
			links = append(links, one)
		}
	}
	key := keyOf(id, fingerprint{})
	if key.podUID == "" {
		if len(links) != 1 {
			return false // it belongs to one token
		}
		key = keyOf(id, fingerprint(links[0].SHA256))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{key: key, id: id, restored: true, lastUsed: now, session: s, stale: stale, limit: c.newLimit()}
	c.setDue(e, s.refreshAt(c.policy.fraction, c.policy.retention, c.policy.rand()))
	if stale {
		c.setDue(e, now)
	}
	c.entries.Put(key, e)
	for _, one := range links {
		c.tokens.Put(fingerprint(one.SHA256), accepted{key, one.NotBefore, one.Expires})
	}
	return true
}

// session reads the saved answer; ok is false for what this agent would not
// have written.
func (e *savedEntry) session(now time.Time) (*session, bool) {
	var answer wireSession
	if json.Unmarshal(e.Answer, &answer) != nil || answer.AccessKeyID == "" || answer.SecretAccessKey == "" ||
		answer.Token == "" ||
		e.Issued.After(e.Expires) || e.Expires.Sub(e.Issued) > maxLife ||
		answer.Expiration != e.Expires.UTC().Truncate(time.Second).Format(time.RFC3339) {
		return nil, false
	}
	if e.Expires.Sub(now) > maxLife {
		return nil, false // the clock was elsewhere
	}
	text, err := answer.encode()
	if err != nil {
		return nil, false
	}
	made := &session{
		issued:        e.Issued,
		expires:       e.Expires,
		roleARN:       e.RoleARN,
		associationID: e.AssociationID,
		version:       e.Version,
		keyTail:       tail(answer.AccessKeyID),
	}
	made.setBody(credential.NewSecret(text))
	return made, true
}
