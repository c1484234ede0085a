package webhook_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

// TestIdentitiesFile goes through the states of the file (spec webhook §8.1, row Q17),
// as a ConfigMap volume has it: behind links that the kubelet swaps.
func TestIdentitiesFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	log := slog.New(slog.DiscardHandler)
	if _, err := webhook.NewIdentitiesFile(filepath.Join(dir, "none", "x"),
		log); fault.KindOf(err) != fault.Invalid || len(fault.HintsOf(err)) == 0 {
		t.Errorf("no folder: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		file, err := webhook.NewIdentitiesFile(path, log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = file.Run(ctx) }()
		<-file.Synced()
		expect := func(what string, want ...string) {
			t.Helper()
			got := file.Current()
			for _, name := range want {
				if !got.Has(inject.Name{Namespace: "n", ServiceAccount: name}) {
					t.Errorf("%s: %v lacks %s", what, got, name)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		expect("missing at the start")
		swap(t, dir, "1", `{"identities":[{"namespace":"n","serviceAccount":"a"}]}`)
		if err := os.Symlink(filepath.Join("..data", "config.json"), path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("mounted", "a")
		swap(t, dir, "2",
			`{"identities":[{"namespace":"n","serviceAccount":"b"},{"namespace":"n","serviceAccount":"c"}]}`)
		time.Sleep(time.Second)
		expect("swapped", "b", "c")
		swap(t, dir, "3", `{"identities":[`)
		time.Sleep(time.Second)
		expect("malformed", "b", "c")
		swap(t, dir, "4", ``)
		time.Sleep(time.Second)
		expect("empty for a moment", "b", "c")
		time.Sleep(2 * time.Second)
		expect("empty")
		swap(t, dir, "5", `{"identities":[{"namespace":"n","serviceAccount":"d"}]}`)
		time.Sleep(time.Second)
		expect("back", "d")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		expect("deleted")
	})
}

// swap does what the kubelet does to a ConfigMap volume.
func swap(t *testing.T, dir, version, content string) {
	t.Helper()
	folder := filepath.Join(dir, "..v"+version)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(folder), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}
