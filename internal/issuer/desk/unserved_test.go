package desk_test

import (
	"errors"
	"io/fs"
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

// strangersKey is a key that no API server has.
func strangersKey(t *testing.T) token.PublicKey {
	t.Helper()
	stranger, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// seesAndRemoves checks that a published key is named as one that nobody serves, and goes
// when ours are published, which is told.
func (o *office) seesAndRemoves(when string, public token.PublicKey) {
	t := o.t
	t.Helper()
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
}

// TestForeignKeys: a key that somebody else has published is seen by looking, before and
// during a rotation, and goes when our own are published, which is told.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	o := open(t)
	public := strangersKey(t)
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
		o.seesAndRemoves(when, public)
		if _, err := o.advance(false); err != nil && !errors.Is(err, rotation.ErrUnsafe) {
			t.Fatal(err)
		}
	}
}

// TestHiddenKeys: a key of somebody else is seen also where it stands under no kid, under an
// empty one, or under one that an API server serves, beside or in place of the server's own.
func TestHiddenKeys(t *testing.T) {
	t.Parallel()
	o := open(t)
	public := strangersKey(t)
	file := filepath.Join(o.public, document.JWKSPath)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := token.MarshalKeys([]token.PublicKey{public}, false)
	if err != nil {
		t.Fatal(err)
	}
	entry := strings.TrimSuffix(strings.TrimPrefix(string(theirs), `{"keys":[`), `]}`)
	ours, err := token.ReadJWKS(text)
	if err != nil {
		t.Fatal(err)
	}
	named := func(kid string) string { return strings.Replace(entry, public.ID, kid, 1) }
	beside := func(entry string) string { return strings.TrimSuffix(string(text), `]}`) + `,` + entry + `]}` }
	for name, spoilt := range map[string]string{
		"an empty kid":     beside(named("")),
		"no kid":           beside(strings.Replace(entry, `"kid":"`+public.ID+`",`, "", 1)),
		"for encryption":   beside(strings.Replace(named(""), `"use":"sig"`, `"use":"enc"`, 1)),
		"in place of ours": `{"keys":[` + named(ours[0].ID) + `]}`,
	} {
		if err := os.WriteFile(file, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		o.seesAndRemoves(name, public)
	}
	// Which of two counts is the reader's choice: nobody says that it is sound.
	if err := os.WriteFile(file, []byte(`{"keys":[`+entry+`],"Keys"`+strings.TrimPrefix(string(text), `{"keys"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, err := o.Status(t.Context(), desk.Waits{})
	if err != nil || status.Facts.PublishedErr == nil {
		t.Errorf("two members keys: %+v, %v", status, err)
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

// TestLeftovers: what a killed command has left behind goes when the next one begins, and not
// while another works.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	o := open(t)
	leftovers := []string{
		".rolecall-sa.key-1", ".rolecall-next.key-22", ".rolecall-rotation.json-3",
		".rolecall-issuer.yaml-4", ".rolecall-kubeadm.yaml-5", ".rolecall-6",
	}
	for _, name := range leftovers {
		if err := os.WriteFile(o.Folder.Path(name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	published := filepath.Join(o.public, "openid/v1/.rolecall-jwks-1")
	if err := os.WriteFile(published, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	there := func() int {
		found, err := filepath.Glob(o.Folder.Path(".rolecall-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	unlock, err := o.Folder.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if left := there(); left != 0 {
		t.Errorf("%d are left", left)
	}
	// Another that is refused touches nothing of what this one writes.
	if err := os.WriteFile(o.Folder.Path(".rolecall-sa.key-7"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Folder.Lock(); err == nil || there() != 1 {
		t.Errorf("beside one that works: %v, %d left", err, there())
	}
	unlock()
	// A publication sweeps where it writes.
	public := strangersKey(t)
	text, err := token.MarshalKeys([]token.PublicKey{public}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.public, document.JWKSPath), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Publish(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(published); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where it is published: %v", err)
	}
}
