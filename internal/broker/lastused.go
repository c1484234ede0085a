package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// LastUsed notes in associations' status that sessions were handed out, once an
// hour (spec podidentity §19.5). It is for people: an update that comes too
// fast, or loses to another writer, is made up for by the next session.
type LastUsed struct {
	Store association.Store
	Log   *slog.Logger
	Now   func() time.Time

	queue chan *v1alpha1.PodIdentityAssociation
}

const usedQueue = 256

// NewLastUsed prepares it; Run writes.
func NewLastUsed(store association.Store, log *slog.Logger, now func() time.Time) *LastUsed {
	return &LastUsed{Store: store, Log: log, Now: now, queue: make(chan *v1alpha1.PodIdentityAssociation, usedQueue)}
}

// Used takes an association as it is followed. It does not block.
func (l *LastUsed) Used(a *v1alpha1.PodIdentityAssociation) {
	status := a.Status
	if !association.Touch(&status, l.Now()) {
		return
	}
	select {
	case l.queue <- a:
	default:
	}
}

// Run writes until ctx is done.
func (l *LastUsed) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case used := <-l.queue:
			if err := l.write(ctx, used); err != nil && ctx.Err() == nil {
				l.Log.Warn(
					"use of an association not recorded", "namespace", used.Namespace, "name", used.Name, "error", err,
				)
			}
		}
	}
}

// write reads the object first: another replica may have noted it, and many
// sessions of one association wait here at a time.
func (l *LastUsed) write(ctx context.Context, used *v1alpha1.PodIdentityAssociation) error {
	ctx, cancel := context.WithTimeout(ctx, handlerDeadline)
	defer cancel()
	now, err := l.Store.Get(ctx, used.Namespace, used.Name)
	if err == nil && now.UID == used.UID && association.Touch(&now.Status, l.Now()) {
		_, err = l.Store.UpdateStatus(ctx, now)
	}
	if kind := fault.KindOf(err); err != nil && (kind == fault.Conflict || kind == fault.NotFound) {
		return nil
	}
	return err
}
