package plane_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app/local/plane"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/boltstore"
)

// prepare has a pod of default/s3-reader, which has a role by annotation only.
func prepare(ctx context.Context, t *testing.T, p *plane.Plane, via plane.Via) (*plane.Workload, error) {
	t.Helper()
	pod, err := plane.MinimalPod("s3-reader")
	if err != nil {
		t.Fatal(err)
	}
	return plane.NewClient(p.Endpoints()).Prepare(ctx, "default", pod, t.TempDir(), via)
}

func mustPrepare(t *testing.T, p *plane.Plane, via plane.Via) *plane.Workload {
	t.Helper()
	w, err := prepare(t.Context(), t, p, via)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func has(w *plane.Workload, variable string) bool {
	return slices.ContainsFunc(w.Env, func(one string) bool { return strings.HasPrefix(one, variable+"=") })
}

// TestTemporary: the association of an account that has none is there until the
// last pod that needs it is gone, in whatever order they go, and makes no
// difference to pods that did not ask for it.
func TestTemporary(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	defer stop(t, p)
	first, second := mustPrepare(t, p, plane.ViaPodIdentity), mustPrepare(t, p, plane.ViaPodIdentity)
	ordinary := mustPrepare(t, p, plane.ViaWebhook)
	for _, w := range []*plane.Workload{first, second} {
		if !w.Associated() || !has(w, "AWS_CONTAINER_CREDENTIALS_FULL_URI") || has(w, "AWS_ROLE_ARN") {
			t.Errorf("via Pod Identity: %v %q", w.Associated(), w.Env)
		}
	}
	if ordinary.Associated() || !has(ordinary, "AWS_ROLE_ARN") || has(ordinary, "AWS_CONTAINER_CREDENTIALS_FULL_URI") {
		t.Errorf("beside them: %v %q", ordinary.Associated(), ordinary.Env)
	}
	if err := errors.Join(first.Close(t.Context()), ordinary.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if !p.HasAssociation("default", "s3-reader") {
		t.Error("gone with the first of two")
	}
	if err := first.Close(t.Context()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("closed twice: %v", err)
	}
	if !p.HasAssociation("default", "s3-reader") {
		t.Error("gone with a second Close of the first")
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if p.HasAssociation("default", "s3-reader") {
		t.Error("still there after the last")
	}
}

// TestTemporaryAtOnce: neither many at a time nor one that is given up leave
// anything behind.
func TestTemporaryAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	defer stop(t, p)
	const many = 8
	results := make(chan error, many)
	for range many {
		go func() {
			w, err := prepare(t.Context(), t, p, plane.ViaPodIdentity)
			if err == nil {
				if !has(w, "AWS_CONTAINER_CREDENTIALS_FULL_URI") || !p.HasAssociation("default", "s3-reader") {
					err = errors.New("no association while the pod is there")
				}
				err = errors.Join(err, w.Close(t.Context()))
			}
			results <- err
		}()
	}
	for range many {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if p.HasAssociation("default", "s3-reader") {
		t.Error("still there after the last")
	}
	given, giveUp := context.WithCancel(t.Context())
	p.OnAssociation(giveUp)
	if _, err := prepare(given, t, p, plane.ViaPodIdentity); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if p.HasAssociation("default", "s3-reader") {
		t.Error("still there after one was given up")
	}
}

// TestTemporaryChanged: an association that a user has changed meanwhile is theirs.
func TestTemporaryChanged(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	defer stop(t, p)
	w := mustPrepare(t, p, plane.ViaPodIdentity)
	p.ChangeAssociation(t, "default", "s3-reader")
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if again := mustPrepare(t, p, plane.ViaPodIdentity); again.Associated() {
		t.Error("the user's association is taken for a temporary one")
	}
	if ordinary := mustPrepare(t, p, plane.ViaWebhook); !has(ordinary, "AWS_CONTAINER_CREDENTIALS_FULL_URI") {
		t.Errorf("the webhook does not know it: %q", ordinary.Env)
	}
}

// TestTemporaryKilled: a plane that was killed leaves it in its folder, and the
// next one removes it; what a user has made stays.
func TestTemporaryKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	mustPrepare(t, p, plane.ViaPodIdentity) // never closed
	stop(t, p)
	store, err := boltstore.Open(filepath.Join(dir, "associations.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if store.Current().Of("default", "s3-reader") == nil {
		t.Error("nothing was left: the test shows nothing")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	p = start(t, dir)
	defer stop(t, p)
	if p.HasAssociation("default", "s3-reader") || !p.HasAssociation("default", "config-reader") {
		t.Error("after a restart")
	}
}
