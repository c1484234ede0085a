package desk_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/desk"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/apiservers"
)

const (
	host      = "issuer.example"
	issuerURL = "https://" + host + "/c1"
)

// office is a desk with two API servers and a folder that is served as the issuer.
type office struct {
	*desk.Desk
	t       *testing.T
	now     time.Time
	servers []*apiservers.Server
	told    []desk.Published
	public  string // the folder that is served
}

func open(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, now: time.Now().Truncate(time.Second), public: t.TempDir()}
	clock := func() time.Time { return o.now }
	object := &v1alpha1.Issuer{}
	object.APIVersion, object.Kind, object.Name = v1alpha1.GroupVersion.String(), "Issuer", "c1"
	object.Spec.URL = issuerURL
	object.Spec.Publish.Directory = &v1alpha1.Directory{Path: o.public}
	o.Desk = &desk.Desk{
		Folder: desk.Folder(filepath.Join(t.TempDir(), "i")),
		Issuer: object,
		Store:  store.Directory{Path: o.public},
		Now:    clock,
		Tell:   func(done desk.Published) { o.told = append(o.told, done) },
	}
	if _, err := o.Folder.EnsureKeys(newKey); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Serving(time.Now(), time.Hour, host)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files, err := server.OpenFiles(o.public, time.Minute, slog.New(slog.DiscardHandler))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	web.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	web.StartTLS()
	t.Cleanup(web.Close)
	o.Reader = observe.NewReader(observe.Access{
		Endpoints: map[string]string{host: web.Listener.Addr().String()},
		RootCAs:   authority.Pool(),
	})
	for range 2 {
		one := apiservers.Start(t, issuerURL, o.key(plan.Signing), clock)
		reached, err := observe.NewAPIServer(one.Config())
		if err != nil {
			t.Fatal(err)
		}
		o.servers, o.Servers = append(o.servers, one), append(o.Servers, reached)
	}
	if _, err := o.Publish(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return o
}

func newKey() (*token.Key, error) { return token.GenerateEC(elliptic.P256()) }

func (o *office) read(name string) []byte {
	o.t.Helper()
	text, err := os.ReadFile(o.Folder.Path(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return text
}

func (o *office) key(name string) *token.Key {
	o.t.Helper()
	key, err := token.ParsePrivateKey(o.read(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

// roll restarts both API servers with the folder's files.
func (o *office) roll() {
	o.t.Helper()
	accepted, err := document.Keys(o.read(plan.Accepted))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, one := range o.servers {
		one.Roll(o.t, accepted, o.key(plan.Signing))
	}
}

func (o *office) advance(emergency bool) (*desk.Step, error) {
	return o.Advance(o.t.Context(), desk.Start{Emergency: emergency, NewKey: newKey})
}

// files are the names of what lies in the folder, but for its lock.
func (o *office) files() []string {
	o.t.Helper()
	entries, err := os.ReadDir(string(o.Folder))
	if err != nil {
		o.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			o.t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
		names = append(names, entry.Name())
	}
	return names
}

// TestRotation takes every step by hand: each is refused until what it waits for is done,
// says which files are needed, and leaves only what the next one needs.
func TestRotation(t *testing.T) {
	t.Parallel()
	o := open(t)
	old := o.key(plan.Signing).ID()
	for _, row := range []struct {
		phase rotation.Phase
		needs []string
		files []string
		then  func() // what lets the next step pass
	}{
		{
			rotation.KeyCreated,
			[]string{"next.key"},
			[]string{"next.key", "rotation.json", "sa.key", "sa.pub"},
			func() {},
		},
		{rotation.Published, nil, []string{"next.key", "rotation.json", "sa.key", "sa.pub"}, func() {
			o.refused("wait until")
			o.now = o.now.Add(2 * time.Hour)
		}},
		{rotation.Verifying, []string{"sa.pub"}, []string{"next.key", "rotation.json", "sa.key", "sa.pub"}, func() {
			o.refused("serves the new key")
			o.roll()
		}},
		{
			rotation.Signing,
			[]string{"sa.key", "sa.pub"},
			[]string{"next.key", "old.key", "rotation.json", "sa.key", "sa.pub"},
			func() {
				o.refused("signs with the new key")
				o.roll()
			},
		},
		{rotation.Draining, nil, []string{"next.key", "old.key", "rotation.json", "sa.key", "sa.pub"}, func() {
			o.refused("wait until")
			o.now = o.now.Add(25 * time.Hour)
		}},
		{rotation.Retiring, []string{"sa.pub"}, []string{
			"next.key", "old.key", "old.pub", "rotation.json", "sa.key",
			"sa.pub",
		}, func() {
			o.refused("has dropped the old key")
			o.roll()
		}},
		{rotation.Stable, nil, []string{"rotation.json", "sa.key", "sa.pub"}, func() {}},
	} {
		step, err := o.advance(false)
		if err != nil || step.State.Phase != row.phase || step.Do == "" || step.Sessions != nil {
			t.Fatalf("%s: %+v, %v", row.phase, step, err)
		}
		var needs []string
		for _, path := range step.Files {
			needs = append(needs, filepath.Base(path))
		}
		if diff := cmp.Diff(row.needs, needs); diff != "" {
			t.Errorf("%s needs (-want +got):\n%s", row.phase, diff)
		}
		if diff := cmp.Diff(row.files, o.files()); diff != "" {
			t.Errorf("files in %s (-want +got):\n%s", row.phase, diff)
		}
		row.then()
	}
	last := o.told[len(o.told)-1]
	if diff := cmp.Diff([]string{o.key(plan.Signing).ID()}, last.Keys); diff != "" || last.Keys[0] == old {
		t.Errorf("published in the end (-want +got):\n%s", diff)
	}
}

// refused wants the next step refused for a reason.
func (o *office) refused(why string) {
	o.t.Helper()
	if step, err := o.advance(false); !errors.Is(err, rotation.ErrUnsafe) || !strings.Contains(err.Error(), why) {
		o.t.Fatalf("want a refusal with %q: %+v, %v", why, step, err)
	}
}

// TestEmergency waits for no cache and no token, and says what ends the sessions that the
// leaked key may have taken, again until caches have run out.
func TestEmergency(t *testing.T) {
	t.Parallel()
	o := open(t)
	var phases []rotation.Phase
	var last *desk.Step
	for range 5 {
		step, err := o.advance(true)
		if err != nil {
			t.Fatal(err)
		}
		phases = append(phases, step.State.Phase)
		if sessions := step.Sessions; step.State.Phase == rotation.Retiring {
			if sessions == nil || len(sessions.Commands) != 1 ||
				!strings.Contains(sessions.Commands[0], "--role-name ROLE ") {
				t.Fatalf("sessions %+v", sessions)
			}
			if want := o.now.Add(2 * time.Hour); !sessions.Again.Equal(want) {
				t.Errorf("again at %s, want %s", sessions.Again, want)
			}
			o.now = o.now.Add(3 * time.Hour)
		}
		o.roll()
		last = step
	}
	want := []rotation.Phase{
		rotation.KeyCreated, rotation.Published, rotation.Signing, rotation.Retiring,
		rotation.Stable,
	}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if last.Sessions == nil || !last.Sessions.Again.IsZero() || len(last.State.Leaked) != 1 {
		t.Errorf("in the end %+v, %+v", last.State, last.Sessions)
	}
}

// TestAbort gives a rotation up with nothing of the new key left, as long as nobody signs
// with it.
func TestAbort(t *testing.T) {
	t.Parallel()
	o := open(t)
	if step, err := o.Abort(t.Context()); !errors.Is(err, rotation.ErrUnsafe) {
		t.Errorf("there is none: %+v, %v", step, err)
	}
	for range 2 {
		if _, err := o.advance(false); err != nil {
			t.Fatal(err)
		}
	}
	o.now = o.now.Add(2 * time.Hour)
	o.refused("wait until") // from now on, since both are seen now
	o.now = o.now.Add(2 * time.Hour)
	if _, err := o.advance(false); err != nil {
		t.Fatal(err)
	}
	coming := o.key(plan.Next).ID()
	step, err := o.Abort(t.Context())
	if err != nil || step.State.Phase != rotation.Stable {
		t.Fatalf("%+v, %v", step, err)
	}
	accepted, err := document.Keys(o.read(plan.Accepted))
	if err != nil || slices.Contains(document.IDs(accepted), coming) {
		t.Errorf("still accepted: %q, %v", document.IDs(accepted), err)
	}
	if diff := cmp.Diff([]string{"rotation.json", "sa.key", "sa.pub"}, o.files()); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if last := o.told[len(o.told)-1]; slices.Contains(last.Keys, coming) {
		t.Errorf("still published: %+v", last)
	}
}

// TestStatus: before a rotation the gate says whether one may start; in between it says
// what is waited for. Nothing changes by looking.
func TestStatus(t *testing.T) {
	t.Parallel()
	o := open(t)
	status, err := o.Status(t.Context(), desk.Waits{})
	if err != nil || !status.Gate.Open || len(status.Asked) != 2 || len(status.Facts.Published) != 1 {
		t.Fatalf("%+v, %v", status, err)
	}
	for range 2 {
		if _, err := o.advance(false); err != nil {
			t.Fatal(err)
		}
	}
	o.refused("wait until")
	before := o.read("rotation.json")
	for _, row := range []struct {
		name  string
		waits desk.Waits
		want  time.Duration
	}{
		{"the default", desk.Waits{}, 2 * time.Hour},
		{"as asked", desk.Waits{CacheFor: time.Minute}, time.Minute},
	} {
		status, err := o.Status(t.Context(), row.waits)
		if err != nil || !status.Gate.NotBefore.Equal(o.now.Add(row.want)) {
			t.Errorf("%s: %+v, %v", row.name, status.Gate, err)
		}
	}
	if string(o.read("rotation.json")) != string(before) {
		t.Error("looking has changed the state")
	}
}

// TestPublishUnasked: where no API server is asked, a published key goes only if somebody
// insists.
func TestPublishUnasked(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.Servers = nil
	other, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Folder.Accept([]token.PublicKey{public}); err != nil {
		t.Fatal(err)
	}
	_, err = o.Publish(t.Context(), false)
	if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "refuse to remove key") {
		t.Errorf("a key that others may sign with: %v", err)
	}
	documents, err := o.Publish(t.Context(), true)
	if diff := cmp.Diff([]string{public.ID}, document.IDs(documents.Keys)); diff != "" || err != nil {
		t.Errorf("published (-want +got):\n%s%v", diff, err)
	}
	if err := o.ReadBack(t.Context(), documents, time.Minute); err != nil {
		t.Errorf("readers do not find it: %v", err)
	}
	if err := os.Remove(o.Folder.Path(plan.Accepted)); err != nil {
		t.Fatal(err)
	}
	_, err = o.Publish(t.Context(), false)
	if hints := fault.HintsOf(err); fault.KindOf(err) != fault.NotFound ||
		!slices.Contains(hints, "add --kubeconfig FILE to take the keys from the API servers") {
		t.Errorf("without sa.pub: %v, %q", err, hints)
	}
}

// TestFolder: its issuer.yaml is an Issuer and is read as it was written; its first key is
// made once; one works in it at a time.
func TestFolder(t *testing.T) {
	t.Parallel()
	o := open(t)
	if _, err := o.Folder.Load(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("there is no issuer.yaml yet: %v", err)
	}
	if err := o.Folder.Save(o.Issuer); err != nil {
		t.Fatal(err)
	}
	loaded, err := o.Folder.Load()
	if diff := cmp.Diff(o.Issuer, loaded); diff != "" || err != nil {
		t.Errorf("issuer.yaml (-written +read):\n%s%v", diff, err)
	}
	for _, text := range []string{
		"", "kind: Issuer",
		"apiVersion: rolecall.io/v1alpha1\nkind: Issuer\nspec: {urls: x}",
	} {
		if err := o.Folder.Write("issuer.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if loaded, err := o.Folder.Load(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q is %+v, %v", text, loaded, err)
		}
	}
	if made, err := o.Folder.EnsureKeys(func() (*token.Key, error) {
		return nil,
			errors.New("a second key")
	}); made != "" || err != nil {
		t.Errorf("made again: %q, %v", made, err)
	}
	unlock, err := o.Folder.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Folder.Lock(); fault.KindOf(err) != fault.Conflict {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	if unlock, err = o.Folder.Lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := o.Folder.Write("rotation.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Folder.State(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("half a state: %v", err)
	}
	if _, err := desk.Folder(filepath.Join(string(o.Folder), "none")).Lock(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there is locked: %v", err)
	}
}
