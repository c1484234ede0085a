package desk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/issuer/desk"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// TestForeignKeys: a key that somebody else has published is seen by looking, before and
// during a rotation, and goes when our own are published, which is told.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	o := open(t)
	stranger, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.public, document.JWKSPath)
	spoil := func() {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := token.ReadJWKS(text)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = token.MarshalKeys(append(keys, public), false); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, when := range []string{"before a rotation", "when a key was made", "when both are published"} {
		spoil()
		status, err := o.Status(t.Context(), desk.Waits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{public.ID}, status.Unserved); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if _, err := o.Publish(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if last := o.told[len(o.told)-1]; !cmp.Equal(last.Removed, []string{public.ID}) {
			t.Errorf("%s: told %+v", when, last)
		}
		if status, err = o.Status(t.Context(), desk.Waits{}); err != nil || len(status.Unserved) > 0 {
			t.Errorf("%s: ours are foreign: %q, %v", when, status.Unserved, err)
		}
		if _, err := o.advance(false); err != nil && !errors.Is(err, rotation.ErrUnsafe) {
			t.Fatal(err)
		}
	}
}

// TestStatusIsTrue: no time is made up where none has been written down, and a reason is
// that of what failed first.
func TestStatusIsTrue(t *testing.T) {
	t.Parallel()
	o := open(t)
	status, err := o.Status(t.Context(), desk.Waits{})
	if err != nil || !status.State.Since.IsZero() {
		t.Errorf("stable since %s, %v", status.State.Since, err)
	}
	begun := o.now
	if _, err := o.advance(false); err != nil {
		t.Fatal(err)
	}
	o.now = o.now.Add(time.Hour)
	if status, err = o.Status(t.Context(), desk.Waits{}); err != nil || !status.State.Since.Equal(begun) {
		t.Errorf("begun at %s, said to be %s, %v", begun, status.State.Since, err)
	}
	o.Issuer.Spec.URL = "https://nowhere.invalid/c1"
	status, err = o.Status(t.Context(), desk.Waits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(status.Gate.Waiting, status.Facts.PublishedErr.Error()) {
		if strings.Contains(text, "leads to no key set") {
			t.Errorf("the document that could not be read is said to lead nowhere: %s", text)
		}
	}
	if said := status.Facts.PublishedErr.Error(); !strings.Contains(said, "DNS") ||
		!strings.Contains(said, "nowhere.invalid") {
		t.Errorf("DNS is not named: %s", said)
	}
}
