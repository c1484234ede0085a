package identify_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/identify"
)

// TestQuestionsAtATime: STS is asked 64 questions at a time. Who comes then is told at
// once that it is too much, which is no verdict, and is heard when one of them ends.
func TestQuestionsAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.release = make(chan struct{})
		done := make(chan error, 64)
		for n := range 64 {
			token := signed(t, fmt.Sprint("AKIA", n), n, time.Now())
			go func() { _, err := w.Identify(context.WithoutCancel(t.Context()), token, "10.0.0.1"); done <- err }()
		}
		synctest.Wait()
		last := signed(t, "AKIALAST", 100, time.Now())
		began := time.Now()
		if _, err := w.Identify(t.Context(), last, "10.0.0.1"); err == nil || w.last() != identify.Limited ||
			w.count() != 64 || !time.Now().Equal(began) {
			t.Errorf("the 65th: %v, %s, after %d questions", err, w.last(), w.count())
		}
		close(w.release)
		for range 64 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if _, err := w.Identify(t.Context(), last, "10.0.0.1"); err != nil || w.last() != identify.Verified {
			t.Errorf("the 65th, when the others have ended: %v, %s", err, w.last())
		}
	})
}
