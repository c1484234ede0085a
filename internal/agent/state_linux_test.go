package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/fault"
)

// inMemory is a folder on tmpfs.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "rolecall") //nolint:usetesting // t.TempDir need not be in memory
	if err != nil {
		t.Skipf("NOT TESTED: nothing in memory: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func keeping(file string) func(*agent.Config) {
	return func(c *agent.Config) { c.StateFile = file }
}

// run lets an agent work, and ends it as SIGTERM does.
func run(t *testing.T, r *rig, work func()) {
	t.Helper()
	if err := r.Restore(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	synctest.Wait()
	work()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestStateFile: an agent that starts while the upstream is down serves what the
// one before it had, to the very tokens that were accepted and, with local keys,
// to rotated ones; nothing to others. Then it renews with the token that the pod
// brings (spec podidentity row D15).
func TestStateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(inMemory(t), "state")
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{}
		raw := cart(time.Now()).mint(t)
		unbound := cart(time.Now())
		unbound.uid = ""
		plain := unbound.mint(t)
		first := answerOf(t, newestOf(t, file, upstream, raw, plain), http.StatusOK)["AccessKeyId"]
		run(t, newRig(t, upstream, keeping(file)), func() {}) // restored and written again
		upstream.become(down)
		time.Sleep(time.Hour)
		run(t, newRig(t, upstream, func(c *agent.Config) { c.StateFile = file; withKeys(c) }), func() {})
		second := newRig(t, upstream, func(c *agent.Config) { c.StateFile = file; withKeys(c) })
		run(t, second, func() {
			before := upstream.count()
			if got := answerOf(t, second.get(raw), http.StatusOK)["AccessKeyId"]; got != first {
				t.Errorf("key %s, want %s", got, first)
			}
			answerOf(t, second.get(plain), http.StatusOK)
			answerOf(t, second.get(cart(time.Now()).mint(t)), http.StatusOK)
			if upstream.count() != before {
				t.Errorf("%d calls", upstream.count()-before)
			}
			answerOf(t, second.get(cart(time.Now()).sign(t, newKey())), http.StatusServiceUnavailable)
			other := unbound.mint(t)
			answerOf(t, second.get(other), http.StatusServiceUnavailable)
			upstream.become(nil)
			time.Sleep(2*time.Hour + time.Minute)
			if got := answerOf(t, second.get(raw), http.StatusOK)["AccessKeyId"]; got == first {
				t.Error("not renewed")
			}
		})
		// Everything in it ends.
		time.Sleep(7 * time.Hour)
		third := newRig(t, upstream, keeping(file))
		run(t, third, func() {
			if entries := third.metric(t, "rolecall_agent_cache_entries"); entries != 0 {
				t.Errorf("%v entries of sessions that ended", entries)
			}
		})
	})
}

// newestOf runs an agent whose state file appears within the period and holds no
// token; it returns the first answer.
func newestOf(t *testing.T, file string, upstream *fakeUpstream, raw, plain string) (first *answered) {
	t.Helper()
	r := newRig(t, upstream, keeping(file))
	run(t, r, func() {
		first = r.get(raw)
		answerOf(t, r.get(plain), http.StatusOK)
		time.Sleep(29 * time.Second)
		if _, err := os.Stat(file); err == nil {
			t.Error("written before its time")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{raw, plain} {
		sum := sha256.Sum256([]byte(token))
		for part := range strings.SplitSeq(token, ".") {
			if bytes.Contains(text, []byte(part)) {
				t.Error("the file holds a token")
			}
		}
		if !bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(sum[:]))) {
			t.Error("the file does not hold the token's hash")
		}
	}
	if strings.Contains(r.logs.String(), secretKey) {
		t.Error("the log shows a key")
	}
	return first
}

// TestStateOfEndedPods: what a pod had that ended while there was no agent is
// dropped as soon as the node's pods are known.
func TestStateOfEndedPods(t *testing.T) {
	t.Parallel()
	file := filepath.Join(inMemory(t), "state")
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{}
		raw := cart(time.Now()).mint(t)
		first := newRig(t, upstream, keeping(file))
		run(t, first, func() { answerOf(t, first.get(raw), http.StatusOK) })
		pods, err := agent.NewPods(fake.NewClientset(), "n1", time.Now)
		if err != nil {
			t.Fatal(err)
		}
		upstream.become(always(refuse(http.StatusBadRequest, "InvalidTokenException")))
		second := newRig(t, upstream, func(c *agent.Config) { c.StateFile, c.Pods = file, pods })
		run(t, second, func() {
			answerOf(t, second.get(raw), http.StatusOK) // nothing is known of pods yet
			watching, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- pods.Run(watching, second.log()) }()
			time.Sleep(2 * time.Second)
			answerOf(t, second.get(raw), http.StatusBadRequest)
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	})
}

// TestStateOfBroker: an association may have changed while there was no agent,
// so the first request asks; if the broker is down, it gets what there is.
func TestStateOfBroker(t *testing.T) {
	t.Parallel()
	file := filepath.Join(inMemory(t), "state")
	b := newBroker()
	synctest.Test(t, func(t *testing.T) {
		b.wake = make(chan struct{})
		with := func(c *agent.Config) { c.StateFile, c.Changes = file, b }
		raw := cart(time.Now()).mint(t)
		first := newRig(t, b, with)
		run(t, first, func() { roleOf(t, first, raw) })
		b.versions["a-cart"] = 2
		granting := b.answer
		b.become(down)
		second := newRig(t, b, with)
		run(t, second, func() {
			if role := roleOf(t, second, raw); role != "1" {
				t.Errorf("version %s", role)
			}
		})
		b.become(granting)
		third := newRig(t, b, with)
		run(t, third, func() {
			if role := roleOf(t, third, raw); role != "2" {
				t.Errorf("version %s", role)
			}
		})
	})
}

// TestStateRefused: a file that somebody else could have written or read, or
// that lies on a disk, keeps the agent from starting.
func TestStateRefused(t *testing.T) {
	t.Parallel()
	good := []byte(`{"format":1,"cluster":"prod","entries":[]}`)
	for name, prepare := range map[string]func(file string) error{
		"group may read":  func(file string) error { return os.Chmod(file, 0o640) },
		"others may read": func(file string) error { return os.Chmod(file, 0o604) },
		"symbolic link": func(file string) error {
			if err := os.Rename(file, file+".real"); err != nil {
				return err
			}
			return os.Symlink(file+".real", file)
		},
		"hard link": func(file string) error { return os.Link(file, file+".other") },
		"another's": func(file string) error { return os.Chown(file, 65534, 65534) },
		"folder":    func(file string) error { _ = os.Remove(file); return os.Mkdir(file, 0o700) },
		"pipe":      func(file string) error { _ = os.Remove(file); return syscall.Mkfifo(file, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(inMemory(t), "state")
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := newRig(t, &fakeUpstream{}, keeping(file)).Restore(); err != nil {
				t.Fatalf("a good file: %v", err)
			}
			if err := prepare(file); err != nil {
				t.Skipf("NOT TESTED: %v", err)
			}
			if err := newRig(t, &fakeUpstream{}, keeping(file)).Restore(); fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := newRig(t, &fakeUpstream{}, keeping("/proc/self/state")).Restore(); fault.KindOf(err) != fault.Usage {
		t.Errorf("not in memory: %v", err)
	}
	if err := newRig(
		t, &fakeUpstream{}, keeping("/dev/shm/no/such/folder"),
	).Restore(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no folder: %v", err)
	}
}

// TestStateOfNoUse: what cannot be understood is as good as no file.
func TestStateOfNoUse(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	now := time.Now().UTC().Truncate(time.Second)
	at := func(after time.Duration) string { return now.Add(after).Format(time.RFC3339) }
	entry := func(issued, expires time.Duration, answer string) string {
		return `{"format":1,"cluster":"prod","entries":[{"podUID":"u1","namespace":"shop",` +
			`"serviceAccount":"cart","issued":"` + at(issued) + `","expires":"` + at(expires) +
			`","answer":` + answer + `}]}`
	}
	answer := func(expires time.Duration) string {
		return `{"AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t","AccountId":"111122223333","Expiration":"` +
			at(expires) + `"}`
	}
	for name, row := range map[string]struct {
		text    string
		entries float64
	}{
		"good":    {entry(-time.Hour, time.Hour, answer(time.Hour)), 1},
		"empty":   {"", 0},
		"no JSON": {"hello", 0},
		"other format": {
			strings.Replace(entry(-time.Hour, time.Hour, answer(time.Hour)), `"format":1`, `"format":2`, 1), 0,
		},
		"other cluster": {
			strings.Replace(entry(-time.Hour, time.Hour, answer(time.Hour)), `"prod"`, `"test"`, 1), 0,
		},
		"ended":              {entry(-time.Hour, -time.Second, answer(-time.Second)), 0},
		"about to end":       {entry(-time.Hour, 10*time.Second, answer(10*time.Second)), 0},
		"too long a life":    {entry(-time.Hour, 48*time.Hour, answer(48*time.Hour)), 0},
		"from the future":    {entry(20*time.Hour, 26*time.Hour, answer(26*time.Hour)), 0},
		"other expiry":       {entry(-time.Hour, time.Hour, answer(2*time.Hour)), 0},
		"no key":             {entry(-time.Hour, time.Hour, `{}`), 0},
		"answer is not JSON": {entry(-time.Hour, time.Hour, `"x"`), 0},
		"no pod, no token": {
			strings.Replace(entry(-time.Hour, time.Hour, answer(time.Hour)), `"podUID":"u1",`, "", 1), 0,
		},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, &fakeUpstream{}, keeping(file))
		if err := r.Restore(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if entries := r.metric(t, "rolecall_agent_cache_entries"); entries != row.entries {
			t.Errorf("%s: %v entries", name, entries)
		}
	}
}
