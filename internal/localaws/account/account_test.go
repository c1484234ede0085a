package account_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// TestStores is the contract that every store keeps.
func TestStores(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) account.Store{
		"memory": func(*testing.T) account.Store { return account.NewMemory() },
		"bbolt": func(t *testing.T) account.Store {
			store, err := account.Open(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return store
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			t.Cleanup(func() { _ = store.Close() })
			contract(t, store)
		})
	}
}

func contract(t *testing.T, store account.Store) {
	t.Helper()
	broken := errors.New("broken")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Update(func(tx account.Writer) error {
		return errors.Join(
			tx.Put("k", "b", []byte("2")), tx.Put("k", "a", []byte("1")), tx.Put("other", "a", []byte("x")),
		)
	}))
	if err := store.Update(func(tx account.Writer) error {
		_ = tx.Put("k", "c", []byte("3"))
		_ = tx.Delete("k", "a")
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("Update = %v, want its function's error", err)
	}
	var seen []string
	must(store.View(func(tx account.Reader) error {
		if tx.Get("k", "none") != nil || tx.Get("none", "a") != nil {
			t.Error("what is not there is found")
		}
		return tx.Each("k", func(key string, value []byte) error {
			seen = append(seen, key+string(value))
			return nil
		})
	}))
	if diff := cmp.Diff([]string{"a1", "b2"}, seen); diff != "" {
		t.Errorf("after an update that failed: mismatch (-want +got):\n%s", diff)
	}
	for start, want := range map[string]string{"": "ab", "a": "ab", "aa": "b", "b": "b", "c": ""} {
		got := ""
		must(store.View(func(tx account.Reader) error {
			if tx.Count("k") != 2 || tx.Count("none") != 0 {
				t.Errorf("%d keys, %d of nothing", tx.Count("k"), tx.Count("none"))
			}
			return errors.Join(tx.From("none", "", nil), tx.From("k", start, func(key string, _ []byte) error {
				got += key
				return nil
			}))
		}))
		if got != want {
			t.Errorf("from %q come %q, want %q", start, got, want)
		}
	}
	must(store.Update(func(tx account.Writer) error {
		err := errors.Join(tx.Delete("k", "a"), tx.Delete("k", "none"), tx.Delete("none", "x"))
		if tx.Count("k") != 1 {
			t.Errorf("%d keys after a deletion", tx.Count("k"))
		}
		return err
	}))
	must(store.View(func(tx account.Reader) error {
		if tx.Get("k", "a") != nil {
			t.Error("what was deleted is found")
		}
		return nil
	}))
}

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// TestRestart: keys, roles and sessions survive on the same folder, and are
// worth nothing on another.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, admin, store := openAccount(t, dir)
	if err := first.Update(func(state account.State) error {
		return state.PutRole(&account.Role{Name: "R", Path: "/", Trust: "{ }", ID: "AROA"})
	}); err != nil {
		t.Fatal(err)
	}
	issued, err := first.Default().IssueSession(account.Session{
		RoleName: "R",
		Name:     "s",
		Expires:  now.Add(time.Hour),
		Issued:   now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	second, again, _ := openAccount(t, dir)
	if again.AccessKeyID != admin.AccessKeyID || !again.SecretKey.Equal(admin.SecretKey) {
		t.Error("the administrator's key has changed")
	}
	if err := second.Default().View(func(state account.State) error {
		role, err := state.Role("r")
		if err == nil && (role.Name != "R" || role.Trust != "{ }") {
			t.Errorf("role %+v", role)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if _, err := second.OpenSession(
		issued.AccessKeyID, issued.SessionToken, now.Add(time.Hour-time.Second),
	); err != nil {
		t.Errorf("the session is not accepted after a restart: %v", err)
	}
	if _, err := second.OpenSession(
		issued.AccessKeyID, issued.SessionToken, now.Add(time.Hour),
	); !errors.Is(err, account.ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	other, _, _ := openAccount(t, t.TempDir())
	for name, err := range map[string]error{
		"another folder":  opened(other, issued.AccessKeyID, issued.SessionToken),
		"another key id":  opened(second, "ASIAOTHER", issued.SessionToken),
		"no token":        opened(second, issued.AccessKeyID, credential.Secret{}),
		"a token cut off": opened(second, issued.AccessKeyID, credential.NewSecret(issued.SessionToken.Reveal()[:60])),
	} {
		if !errors.Is(err, account.ErrBadToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "aws.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func opened(a *account.Set, id string, token credential.Secret) error {
	_, err := a.OpenSession(id, token, now)
	return err
}

func TestTwoProcessesOnOneFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openAccount(t, dir)
	_, err := account.Open(t.Context(), dir)
	if fault.KindOf(err) != fault.Conflict || len(fault.HintsOf(err)) == 0 {
		t.Errorf("second open: %v", err)
	}
}

func openAccount(t *testing.T, dir string) (*account.Set, credential.AWS, account.Store) {
	t.Helper()
	store, err := account.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	set, err := account.NewSet(store, []string{"111122223333"}, now)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := set.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	return set, admin, store
}

// TestAccountOfKey: the ids of keys name their account, whatever its number.
func TestAccountOfKey(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"000000000000", "000000000001", "111122223333", "999999999999"} {
		set, err := account.NewSet(account.NewMemory(), []string{number}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		key := set.Default().NewKey("u", time.Now())
		if got := account.AccountOfKey(key.ID); got != number || len(key.ID) != 20 ||
			!strings.HasPrefix(key.ID, "AKIA") {
			t.Errorf("%s: key %s names %q", number, key.ID, got)
		}
	}
	// Known ids and accounts, and ids that name none.
	for id, want := range map[string]string{
		"ASIAQNZGKIQY56JQ7WML":  "029608264753",
		"AKIAIOSFODNN7EXAMPLE":  "",
		"AKIA":                  "",
		"":                      "",
		"AKIAQ1111111111111111": "",
	} {
		if got := account.AccountOfKey(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// TestMessages: a sealed message opens for its own account, and a session token
// is none.
func TestMessages(t *testing.T) {
	t.Parallel()
	set, err := account.NewSet(account.NewMemory(), []string{"111122223333", "444455556666"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own := set.Default()
	other, _ := set.Find("444455556666")
	sealed := own.SealMessage([]byte("text"))
	if text, err := own.OpenMessage(sealed); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	credentials, err := own.IssueSession(account.Session{RoleName: "r", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "x", sealed + "\n", sealed[1:],
		strings.TrimPrefix(credentials.SessionToken.Reveal(), "RolecallLocal//"),
	} {
		if _, err := own.OpenMessage(bad); !errors.Is(err, account.ErrBadMessage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := other.OpenMessage(sealed); !errors.Is(err, account.ErrBadMessage) {
		t.Errorf("another account: %v", err)
	}
}
