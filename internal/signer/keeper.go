package signer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/token"
)

// Source is where keys come from: Files or Stored.
type Source interface {
	// Read returns the keys as they are now. After an error those that were read
	// before stay in use.
	Read(ctx context.Context) (Set, error)
}

// Follow keeps a ring up to date with its source, checking every second, until
// ctx is done. What cannot be read is reported and changes nothing. With a
// store that this process may change, after is Tend; otherwise it is nil.
func Follow(ctx context.Context, ring *Ring, source Source, after func(context.Context, Status) error, now func() time.Time, log *slog.Logger) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	said := reporter{log: log}
	for {
		set, err := source.Read(ctx)
		if err == nil {
			err = ring.Replace(set)
		}
		status := ring.Look(now())
		if err == nil && after != nil {
			err = after(ctx, status)
		}
		said.say(status, err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// reporter logs what is new, and what stays wrong once a minute.
type reporter struct {
	log    *slog.Logger
	last   Status
	failed string
	count  int
}

func (r *reporter) say(status Status, err error) {
	switch {
	case err != nil && (err.Error() != r.failed || r.count%60 == 0):
		r.log.Error("keys cannot be read or renewed, those in use stay", "error", err, "signing", status.Signing)
		r.failed, r.count = err.Error(), 1
	case err != nil:
		r.count++
	case r.failed != "":
		r.log.Info("keys can be read again")
		r.failed = ""
	}
	if status.Signing != r.last.Signing {
		r.log.Info("signing key", "kid", status.Signing, "before", r.last.Signing)
	}
	if status.Keys != r.last.Keys {
		r.log.Info("keys", "count", status.Keys)
	}
	if status.Due != r.last.Due && status.Due != "" {
		r.log.Info("a key waits until every API server has fetched it", "kid", status.Due, "lacking", status.Lacking, "clients", status.Clients)
	}
	r.last = status
}

// Stored are keys of an encrypted store.
type Stored struct {
	Store *keystore.Store
	// RefreshHint is how often API servers fetch the keys.
	RefreshHint time.Duration
	// MaxTokenLife is the longest life of the tokens that are signed.
	MaxTokenLife time.Duration
	// RotateEvery is how long a key signs before the next one is made; zero means
	// forever.
	RotateEvery time.Duration
	// PublishFor is how long a new key is published before it may sign.
	PublishFor time.Duration
	Now        func() time.Time
	Log        *slog.Logger

	text     string
	contents *keystore.Contents
	opened   time.Time // of the first Read
}

// Grace is how long a process may go on signing with a key after another process
// has begun to sign with the next one.
func (s *Stored) Grace() time.Duration { return 2*s.RefreshHint + 10*time.Second }

// Read decrypts the store if it has changed. A store older than the last one
// read is refused: removed keys would come back, and new ones would be
// forgotten.
func (s *Stored) Read(ctx context.Context) (Set, error) {
	text, err := s.Store.Text()
	if err != nil {
		return Set{}, err
	}
	if s.contents == nil || string(text) != s.text {
		contents, err := keystore.Decode(ctx, s.Store.KMS, text)
		if err != nil {
			return Set{}, fault.New(fault.KindOf(err), "read %s: %w", s.Store.Path, err)
		}
		if s.contents != nil && contents.Generation < s.contents.Generation {
			return Set{}, fault.New(fault.Conflict, "%s has generation %d: %d was read before", s.Store.Path, contents.Generation, s.contents.Generation).Hint("the file was replaced by an old copy; put the newest one back, or restart the signer if the old one is meant")
		}
		s.contents, s.text = contents, string(text)
	}
	if s.opened.IsZero() {
		s.opened = s.Now()
	}
	return s.set(), nil
}

func (s *Stored) set() Set {
	set := Set{ReadAt: s.Now()}
	for _, key := range s.contents.Keys {
		one := Key{ID: key.Public.ID, Public: key.Public.Public, Excluded: key.Excluded, SignsFrom: key.SignsFrom}
		if !key.SignsFrom.IsZero() {
			one.Private = key.Private
		}
		// A key that signed before this process began goes on at once: a restart
		// must not bring an older one back. That another process has begun to
		// sign with a key since then does not mean that our clients know it.
		switch {
		case key.SwitchedAt.IsZero():
		case key.SwitchedAt.After(s.opened):
			one.SignsAnyway = key.SwitchedAt.Add(s.Grace())
		default:
			one.SignsAnyway = key.SwitchedAt
		}
		set.Keys = append(set.Keys, one)
	}
	return set
}

// Tend records which key signs, makes the next one when it is time, and drops
// those whose last token has expired.
func (s *Stored) Tend(ctx context.Context, status Status) error {
	now := s.Now()
	if due := s.tend(s.contents.Clone(), status, now); !due.any() {
		return nil
	}
	var done changes
	err := s.Store.Update(ctx, func(newest *keystore.Contents) error {
		// Somebody else may have done it meanwhile.
		if done = s.tend(newest, status, now); !done.any() {
			return keystore.Unchanged
		}
		if !done.make {
			return nil
		}
		next, err := another(newest.Signing())
		if err != nil {
			return err
		}
		done.made = next.ID()
		return newest.Rotate(next, now, now.Add(s.PublishFor), s.MaxTokenLife)
	})
	if err != nil {
		return errors.Join(errors.New("change the key store"), err)
	}
	if done.switched {
		s.Log.Info("key signs", "kid", status.Signing)
	}
	if done.made != "" {
		s.Log.Info("new key", "kid", done.made, "signsFrom", now.Add(s.PublishFor).UTC())
	}
	for _, kid := range done.gone {
		s.Log.Info("key dropped", "kid", kid, obs.KeyReason, "the last of its tokens has expired")
	}
	return nil
}

type changes struct {
	switched, make bool
	gone           []string
	made           string
}

func (c changes) any() bool { return c.switched || c.make || len(c.gone) > 0 }

// tend changes the contents except for the new key, which takes a while to
// make.
func (s *Stored) tend(contents *keystore.Contents, status Status, now time.Time) changes {
	done := changes{switched: contents.Switched(status.Signing, now)}
	done.gone = contents.Prune(now, s.MaxTokenLife, s.Grace())
	signing := contents.Signing()
	// The next one is made ahead, so that a key signs for RotateEvery.
	done.make = s.RotateEvery > 0 && contents.Next() == "" && signing != nil && !signing.SignsFrom.Add(s.RotateEvery-s.PublishFor).After(now)
	return done
}

// another makes a key of the same kind.
func another(like *keystore.Key) (*token.Key, error) { return token.GenerateLike(like.Public.Public) }
