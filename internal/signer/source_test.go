package signer_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/signer"
	"github.com/rolecall/rolecall/internal/token"
)

func privatePEM(t *testing.T, key signer.Key) string {
	t.Helper()
	text, err := key.Private.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func publicPEM(t *testing.T, key signer.Key) string {
	t.Helper()
	text, err := token.PublicPEM([]token.PublicKey{{ID: key.ID, Public: key.Public}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFiles: the order of files, halves of one key in two files, and a folder as
// Kubernetes mounts it.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, c := newKey(t), newKey(t), newKey(t)
	folder := filepath.Join(dir, "keys")
	if err := os.MkdirAll(filepath.Join(folder, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "..data", "x.key"), "not looked at", 0o600)
	write(t, filepath.Join(folder, "2.pub"), publicPEM(t, a)+publicPEM(t, c), 0o644)
	write(t, filepath.Join(folder, "1.key"), privatePEM(t, b), 0o640)
	single := write(t, filepath.Join(dir, "sa.key"), privatePEM(t, a), 0o600)
	files := &signer.Files{Paths: []string{folder, single}, Now: func() time.Time { return start }}
	set, err := files.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 3 || set.Keys[0].ID != b.ID || set.Keys[1].ID != a.ID || set.Keys[2].ID != c.ID {
		t.Fatalf("keys %v", set.Keys)
	}
	if set.Keys[0].Private == nil || set.Keys[1].Private == nil || set.Keys[2].Private != nil {
		t.Error("the wrong ones can sign")
	}
	if set.Keys[0].SignsAnyway.IsZero() || !set.Keys[1].SignsAnyway.IsZero() {
		t.Error("the first key of the start signs at once, and no other")
	}
	write(t, filepath.Join(folder, "0.key"), privatePEM(t, c), 0o600)
	if set, err = files.Read(t.Context()); err != nil || set.Keys[0].ID != c.ID || !set.Keys[0].SignsAnyway.IsZero() {
		t.Errorf("keys %v: %v; one that comes first later must be known first", set.Keys, err)
	}
}

func TestFilesRefuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := privatePEM(t, newKey(t))
	for name, row := range map[string]struct {
		text string
		mode os.FileMode
		want fault.Kind
	}{
		"empty":  {"", 0o600, fault.Invalid},
		"no PEM": {"hello", 0o600, fault.Invalid},
		"good, then broken": {
			text: good + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			mode: 0o600,
			want: fault.Invalid,
		},
		"encrypted": {
			text: good + "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
			mode: 0o600,
			want: fault.Invalid,
		},
		"everybody may read":  {good, 0o644, fault.Denied},
		"everybody may write": {good, 0o602, fault.Denied},
		"too long":            {good + strings.Repeat(" ", 1<<20), 0o600, fault.Invalid},
	} {
		path := write(t, filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), row.text, row.mode)
		if set, err := (&signer.Files{
			Paths: []string{path},
			Now:   time.Now,
		}).Read(t.Context()); fault.KindOf(err) != row.want {
			t.Errorf("%s: %v, %v", name, set.Keys, err)
		}
	}
	if _, err := (&signer.Files{
		Paths: []string{filepath.Join(dir, "none")},
		Now:   time.Now,
	}).Read(t.Context()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a file that is not there: %v", err)
	}
}

// stored is a store with a ring that follows it, and an API server that fetches.
type stored struct {
	*signer.Stored
	ring *signer.Ring
	log  *log
	stop func()
}

const (
	// Shorter than in production, since a follower looks every second.
	every   = time.Hour
	publish = 5 * time.Minute
	life    = 20 * time.Minute
)

// follow runs in a synctest bubble.
func follow(t *testing.T, store *keystore.Store) *stored {
	t.Helper()
	return followAs(t, store, false)
}

// followAs is follow for a signer that may be --read-only.
func followAs(t *testing.T, store *keystore.Store, readOnly bool) *stored {
	t.Helper()
	s := &stored{log: &log{}}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	s.Stored = &signer.Stored{
		Store:        store,
		RefreshHint:  hint,
		MaxTokenLife: life,
		RotateEvery:  every,
		PublishFor:   publish,
		Now:          time.Now,
		Log:          logger,
	}
	set, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.ring, err = signer.NewRing(set, hint); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	tend := s.Tend
	if readOnly {
		tend = nil
	}
	go func() { ended <- signer.Follow(ctx, s.ring, s, tend, time.Now, logger) }()
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return s
}

func newStore(t *testing.T, dir string) *keystore.Store {
	t.Helper()
	kms, err := keystore.CreateLocal(filepath.Join(dir, "kms"))
	if err != nil {
		t.Fatal(err)
	}
	store := &keystore.Store{Path: filepath.Join(dir, "keys"), KMS: kms}
	contents := &keystore.Contents{}
	if err := contents.Rotate(newKey(t).Private, time.Now(), time.Now(), life); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context(), contents); err != nil {
		t.Fatal(err)
	}
	return store
}

// TestRotateEvery lets hours pass: each key is published before it signs, signs
// for its time, and verifies until its last token has expired.
func TestRotateEvery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := follow(t, newStore(t, dir))
		client := &signer.Client{}
		firstSeen, signedFrom, signedTo, lastSeen := map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}
		var order []string
		for range 220 * 6 {
			time.Sleep(10 * time.Second)
			keys, _ := s.ring.Fetch(client, time.Now())
			for _, key := range keys {
				if firstSeen[key.ID].IsZero() {
					firstSeen[key.ID] = time.Now()
				}
				lastSeen[key.ID] = time.Now()
			}
			key, err := s.ring.Choose(client, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if signedFrom[key.ID()].IsZero() {
				signedFrom[key.ID()] = time.Now()
				order = append(order, key.ID())
			}
			signedTo[key.ID()] = time.Now()
			if !lastSeen[key.ID()].Equal(time.Now()) {
				t.Fatalf("%s signs but is not served", key.ID())
			}
		}
		s.stop()
		if len(order) != 4 {
			t.Fatalf("%d keys signed, want 4: %s", len(order), s.log)
		}
		for i, id := range order {
			if i > 0 && signedFrom[id].Sub(firstSeen[id]) < publish-time.Minute {
				t.Errorf("key %d was published for %s before it signed", i, signedFrom[id].Sub(firstSeen[id]))
			}
			if i == 1 || i == 2 { // not cut off by the ends of the test
				if signed := signedTo[id].Sub(signedFrom[id]); (signed - every).Abs() > 5*time.Minute {
					t.Errorf("key %d signed for %s", i, signed)
				}
			}
			if i < 3 {
				if after := lastSeen[id].Sub(signedTo[id]); after < life+keystore.Leeway-time.Minute ||
					after > life+keystore.Leeway+5*time.Minute {
					t.Errorf("key %d verified for %s after it had signed last", i, after)
				}
			}
		}
	})
}

// TestHeldBack: while an API server does not fetch, the key that it knows goes
// on signing, and stays.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := follow(t, newStore(t, dir))
		client := &signer.Client{}
		s.ring.Fetch(client, time.Now())
		before, err := s.ring.Choose(client, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * every)
		if after, err := s.ring.Choose(client, time.Now()); err != nil || after.ID() != before.ID() {
			t.Errorf("%v signs (%v), and the API server knows %v only", after, err, before)
		}
		if said := s.log.String(); !strings.Contains(said, "a key waits until every API server has fetched it") {
			t.Errorf("log: %s", said)
		}
		s.ring.Fetch(client, time.Now())
		time.Sleep(2 * hint)
		if after, err := s.ring.Choose(client, time.Now()); err != nil || after.ID() == before.ID() {
			t.Errorf("%v signs on: %v", after, err)
		}
		s.stop()
	})
}

// TestBrokenStore: what cannot be read, or is older than what is in use, changes
// nothing and is reported.
func TestBrokenStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, dir)
		first, err := store.Text()
		if err != nil {
			t.Fatal(err)
		}
		s := follow(t, store)
		time.Sleep(5 * time.Second) // the first key's switch is written down: generation 2
		before := s.ring.Look(time.Now())
		for text, want := range map[string]string{"": "this is not a key store", string(first): "generation 1"} {
			newest, err := store.Text()
			if err != nil {
				t.Fatal(err)
			}
			write(t, store.Path, text, 0o600)
			time.Sleep(2 * time.Second)
			if now := s.ring.Look(time.Now()); now.Signing != before.Signing || now.Keys != 1 {
				t.Errorf("status %+v", now)
			}
			if said := s.log.String(); !strings.Contains(said, want) {
				t.Errorf("log: %s, want %q", said, want)
			}
			write(t, store.Path, string(newest), 0o600)
			time.Sleep(2 * time.Second)
		}
		if err := os.Remove(store.Path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if now := s.ring.Look(time.Now()); now.Signing != before.Signing {
			t.Errorf("status %+v", now)
		}
		s.stop()
	})
}

// TestFollower: of two signers on copies of one store, the one that only follows
// switches too, and a restarted one never goes back.
func TestFollower(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, dir)
		writer, follower := follow(t, store), followAs(t, store, true)
		client, deaf := &signer.Client{}, &signer.Client{}
		old, err := follower.ring.Choose(deaf, time.Now()) // it never fetches
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(every + time.Minute)
		writer.ring.Fetch(client, time.Now())
		time.Sleep(2 * hint)
		next, err := writer.ring.Choose(client, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if now, err := follower.ring.Choose(deaf, time.Now()); err != nil || now.ID() != old.ID() {
			t.Errorf("%v signs (%v) for a client that does not know it", now, err)
		}
		time.Sleep(follower.Grace())
		if now, err := follower.ring.Choose(deaf, time.Now()); err != nil || now.ID() != next.ID() {
			t.Errorf("%v signs on (%v), and its end is counted from the switch", now, err)
		}
		writer.stop()
		follower.stop()
		restarted := follow(t, store)
		if now, err := restarted.ring.Choose(&signer.Client{}, time.Now()); err != nil || now.ID() != next.ID() {
			t.Errorf("after a restart %v signs (%v), want %v", now, err, next)
		}
		restarted.stop()
	})
}
