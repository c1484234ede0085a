package authenticator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// ec2 knows instances, and counts.
type ec2 struct {
	mu      sync.Mutex
	names   map[string]string
	err     error
	asked   [][]string
	release chan struct{}
}

func (e *ec2) ask(_ context.Context, ids []string) (map[string]string, error) {
	e.mu.Lock()
	e.asked = append(e.asked, slices.Sorted(slices.Values(ids)))
	release := e.release
	e.mu.Unlock()
	if release != nil {
		<-release
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	found := map[string]string{}
	for _, id := range ids {
		if name := e.names[id]; name != "" {
			found[id] = name
		}
	}
	return found, nil
}

func nodeNames(t *testing.T, e *ec2, file string, log *lockedbuffer.Buffer) *authenticator.NodeNames {
	t.Helper()
	metrics, err := authenticator.Register(prometheus.NewRegistry(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	config := authenticator.NodeNamesConfig{
		QPS: 1000, Burst: 1000, File: file, Metrics: metrics, Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now,
		Static: func() map[string]string { return map[string]string{"i-static": "rack-1.example.com"} },
	}
	if e != nil {
		config.Ask = e.ask
	}
	n := authenticator.NewNodeNames(config)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return n
}

// TestFirstNameIsKept while the instance lives, whatever EC2 says later and over a
// restart; a name is asked for again after an hour, and what is not there after half a
// minute.
func TestFirstNameIsKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nodes.json")
	synctest.Test(t, func(t *testing.T) {
		log := &lockedbuffer.Buffer{}
		e := &ec2{names: map[string]string{"i-a": "ip-10-0-0-1.ec2.internal"}}
		n := nodeNames(t, e, file, log)
		want := func(n *authenticator.NodeNames, id, name string, asked int) {
			t.Helper()
			got, err := n.Name(t.Context(), id)
			if got != name || (err == nil) != (name != "") || len(e.asked) != asked {
				t.Errorf("%s: %q, %v, EC2 asked %v; want %q after %d", id, got, err, e.asked, name, asked)
			}
		}
		want(n, "i-a", "ip-10-0-0-1.ec2.internal", 1)
		want(n, "i-a", "ip-10-0-0-1.ec2.internal", 1)
		want(n, "i-static", "rack-1.example.com", 1)
		want(n, "i-none", "", 2)
		want(n, "i-none", "", 2)
		time.Sleep(30 * time.Second)
		want(n, "i-none", "", 3)
		e.names["i-a"] = "ip-10-0-0-1.corp.example"
		time.Sleep(time.Hour)
		want(n, "i-a", "ip-10-0-0-1.ec2.internal", 4)
		if !strings.Contains(log.String(), "the first one is kept") {
			t.Errorf("nothing is said of the other name: %s", log)
		}
		time.Sleep(time.Hour)
		e.err = errors.New("EC2 is away")
		want(n, "i-a", "ip-10-0-0-1.ec2.internal", 5)
		again := nodeNames(t, e, file, log)
		want(again, "i-a", "ip-10-0-0-1.ec2.internal", 6)
		e.err = nil
		delete(e.names, "i-a") // it ended
		want(again, "i-a", "", 7)
		e.names["i-a"] = "ip-10-0-0-9.ec2.internal"
		time.Sleep(30 * time.Second)
		want(again, "i-a", "ip-10-0-0-9.ec2.internal", 8)
	})
}

// TestNamesInBatches: who asks about one instance shares a question, and who asks while
// one is on its way comes with the next; EC2's trouble is told to all of them.
func TestNamesInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &ec2{names: map[string]string{}, release: make(chan struct{}, 100)}
		n := nodeNames(t, e, "", &lockedbuffer.Buffer{})
		results := make(chan error, 1000)
		ask := func(id string) {
			go func() { _, err := n.Name(t.Context(), id); results <- err }()
		}
		ask("i-first")
		synctest.Wait()
		e.names["i-first"] = "first"
		for i := range 150 {
			id := fmt.Sprint("i-", i)
			e.names[id] = id
			ask(id)
			ask(id)
		}
		synctest.Wait()
		for range 3 {
			e.release <- struct{}{}
		}
		for range 301 {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		sizes := []int{}
		for _, ids := range e.asked {
			sizes = append(sizes, len(ids))
		}
		if !slices.Equal(sizes, []int{1, 100, 50}) {
			t.Errorf("questions of %v instances", sizes)
		}
		e.err = errors.New("EC2 is away")
		e.release <- struct{}{}
		if _, err := n.Name(t.Context(), "i-new"); err == nil {
			t.Error("a name came of nowhere")
		}
	})
}

// TestWithoutEC2 there are the operator's names, and an error that says what to do.
func TestWithoutEC2(t *testing.T) {
	t.Parallel()
	n := nodeNames(t, nil, "", &lockedbuffer.Buffer{})
	if name, err := n.Name(t.Context(), "i-static"); name != "rack-1.example.com" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := n.Name(t.Context(), "i-other"); err == nil || !strings.Contains(err.Error(), "no EC2 to ask") {
		t.Errorf("%v", err)
	}
}
