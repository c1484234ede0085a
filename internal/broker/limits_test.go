package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/follow"
)

// fault asks the local AWS to fail.
func (w *world) fault(text string) {
	w.t.Helper()
	request := must(
		http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.aws+"/_rolecall/faults", strings.NewReader(text)),
	)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode >= 300 {
		w.t.Fatal(err, response)
	}
	response.Body.Close()
}

// TestSTSFails is the table of spec podidentity §19.7 for failures that roles do
// not bring about, and how often STS is asked.
func TestSTSFails(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		fault   string
		code    string
		calls   int
		message string
	}{
		{"it throttles", `{"kind":"throttle","service":"sts"}`, "ThrottlingException", 1, "STS throttles"},
		{"it fails each time", `{"kind":"error","service":"sts"}`, "InternalServerException", 3, "STS fails"},
		{"it fails twice", `{"kind":"error","service":"sts","count":2}`, "", 3, ""},
		{"it is away once", `{"kind":"error","service":"sts","status":503,"count":1}`, "", 2, ""},
		{
			"it cannot read the issuer's keys", `{"kind":"jwks","service":"sts"}`, "ServiceUnavailableException", 1,
			"provider of the issuer cannot be used",
		},
		{
			"its clock differs", `{"kind":"skew","service":"sts","delay":"20m"}`, "ServiceUnavailableException", 1,
			"not accepted by STS",
		},
	} {
		w := newWorld(t, settings{})
		w.associate()
		w.fault(row.fault)
		got := w.ask(w.token(nil))
		if got.code != row.code || !strings.Contains(got.message, row.message) {
			t.Errorf("%s: %d %s %s", row.name, got.status, got.code, got.message)
		}
		if calls := w.taken(); len(calls) != row.calls {
			t.Errorf("%s: %d calls, want %d", row.name, len(calls), row.calls)
		}
	}
}

// TestNoSTS: nobody answers within the broker's own deadline. STS would answer, and
// well, after 20 s.
func TestNoSTS(t *testing.T) {
	t.Parallel()
	w := newWorld(
		t, settings{edit: func(c *broker.Config) { c.Deadline, c.Sessions.Total = 0, 0 }},
	)
	w.associate()
	w.fault(`{"kind":"latency","service":"sts","delay":"20s"}`)
	got := w.ask(w.token(nil))
	if got.status != http.StatusServiceUnavailable || got.code != "ServiceUnavailableException" {
		t.Errorf("%+v", got)
	}
}

// TestSlowSTS: STS answers after 5 s, and a request is answered within 4. Who asks again
// gets what the first call came to, a session or a refusal, and makes none of their own.
func TestSlowSTS(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, role, code string
		status           int
	}{
		{"a session", "cart", "", http.StatusOK},
		{"a refusal", "nobody", "AccessDeniedException", http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(
				t, settings{edit: func(c *broker.Config) { c.Deadline, c.Sessions.Total = 0, 0 }},
			)
			w.associate(func(a *v1alpha1.PodIdentityAssociation) {
				a.Spec.RoleARN = "arn:aws:iam::" + accountID + ":role/" + row.role
			})
			w.fault(`{"kind":"latency","service":"sts","delay":"5s"}`)
			first := w.ask(w.token(nil))
			if first.status != http.StatusServiceUnavailable || !strings.Contains(first.message, "ask again") {
				t.Errorf("first: %+v", first)
			}
			for w.broker.Left() == 0 {
				time.Sleep(time.Millisecond)
			}
			// Two calls: that STS takes so long was not known.
			if calls := w.taken(); len(calls) > 2 {
				t.Errorf("%d calls", len(calls))
			}
			again := w.ask(w.token(nil))
			if calls := w.taken(); again.status != row.status || again.code != row.code || len(calls) != 0 {
				t.Errorf("again: %+v, %d calls", again, len(calls))
			}
			if w.broker.Left() != 0 || w.broker.Flying() != 0 {
				t.Errorf("%d left, %d flying", w.broker.Left(), w.broker.Flying())
			}
		})
	}
}

// TestFlightsAreBounded: beyond the bound pods are told to come later, and those whose
// flight is under way still join it.
func TestFlightsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate()
	leave := w.broker.FillFlights(1)
	w.fault(`{"kind":"latency","service":"sts","delay":"1s","count":1}`)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if got := w.ask(w.token(nil)); got.status != http.StatusOK {
				t.Errorf("%+v", got)
			}
		})
	}
	both.Wait()
	leave()
	leave = w.broker.FillFlights(0)
	w.taken()
	if got := w.ask(w.token(nil)); got.code != "ThrottlingException" || len(w.taken()) != 0 {
		t.Errorf("no place: %+v", got)
	}
	leave()
	if got := w.ask(w.token(nil)); got.status != http.StatusOK {
		t.Errorf("place again: %+v", got)
	}
}

// TestThrottleCools is spec podidentity row S11: while STS throttles, a pod makes no more than
// three calls a second, however often its agent asks.
func TestThrottleCools(t *testing.T) {
	t.Parallel()
	limits := broker.DefaultLimits()
	limits.NodeRate, limits.NodeBurst = 1e6, 1e6
	w := newWorld(t, settings{limits: limits})
	w.associate()
	w.fault(`{"kind":"throttle","service":"sts"}`)
	for second := range 5 {
		for range 20 {
			if got := w.ask(w.token(nil)); got.code != "ThrottlingException" {
				t.Fatalf("%+v", got)
			}
		}
		if calls := w.taken(); len(calls) > 3 || len(calls) == 0 {
			t.Errorf("second %d: %d calls", second, len(calls))
		}
		w.advance(time.Second)
	}
}

// TestLimits is spec podidentity §19.8.
func TestLimits(t *testing.T) {
	t.Parallel()
	ask := func(w *world, authorization string, count int) (good int) {
		for range count {
			if got := w.askAs(authorization, w.token(nil)); got.status == http.StatusOK {
				good++
			} else if got.code != "ThrottlingException" && authorization != "Bearer x" {
				t.Fatalf("%+v", got)
			}
		}
		return good
	}
	pods := broker.DefaultLimits()
	pods.NodeRate, pods.NodeBurst = 1e6, 1e6
	w := newWorld(t, settings{limits: pods})
	w.associate()
	if good := ask(w, "Bearer "+w.agent("n1"), 9); good != 5 {
		t.Errorf("%d sessions of a pod at once", good)
	}
	w.advance(2 * time.Second)
	if good := ask(w, "Bearer "+w.agent("n1"), 9); good != 2 {
		t.Errorf("%d sessions of a pod in two seconds", good)
	}
	nodes := broker.DefaultLimits()
	nodes.PodRate, nodes.PodBurst = 1e6, 1e6
	w = newWorld(t, settings{limits: nodes})
	w.associate()
	if good := ask(w, "Bearer "+w.agent("n1"), 120); good != 100 {
		t.Errorf("%d sessions of a node at once", good)
	}
	if got := w.askAs("Bearer "+w.agent("n2"), w.token(nil)); got.code != "AccessDeniedException" {
		t.Errorf("another node: %+v", got) // it is not limited, only not the pod's
	}
	w = newWorld(t, settings{limits: broker.DefaultLimits()})
	w.associate()
	ask(w, "Bearer x", 60)
	if got := w.ask(w.token(nil)); got.code != "ThrottlingException" {
		t.Errorf("after 60 strangers of the address: %+v", got)
	}
	w.advance(time.Second)
	if got := w.ask(w.token(nil)); got.status != http.StatusOK {
		t.Errorf("a second later: %+v", got)
	}
}

// TestOneFlight: requests for one pod at a time make one call; the next, another.
func TestOneFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate()
	w.fault(`{"kind":"latency","service":"sts","delay":"1s","count":1}`)
	var group sync.WaitGroup
	var mu sync.Mutex
	keys := map[string]int{}
	for range 16 {
		group.Go(func() {
			got := w.ask(w.token(nil))
			mu.Lock()
			defer mu.Unlock()
			keys[got.body.Credentials.AccessKeyID]++
		})
	}
	group.Wait()
	if calls := w.taken(); len(keys) != len(calls) || keys[""] != 0 || len(calls) == 16 {
		t.Errorf("%d calls, keys %v", len(calls), keys)
	}
	w.records(16)
	if got := w.ask(w.token(nil)); got.status != http.StatusOK || len(w.taken()) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestCache: off, each request makes a call; on, a change of the association
// still does, and so does half of the session's life.
func TestCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{cache: true})
	w.associate()
	for _, step := range []struct {
		name  string
		do    func()
		calls int
		code  string
	}{
		{"first", func() {}, 1, ""},
		{"second", func() {}, 0, ""},
		{"changed", func() { w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.Generation = 2 }) }, 1, ""},
		{"made again", func() { w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.UID = "again" }) }, 1, ""},
		{
			"paused",
			func() { w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.UID, a.Spec.Paused = "again", true }) },
			0, "AccessDeniedException",
		},
		{"deleted", func() { w.set.Set(&association.Set{}) }, 0, "ResourceNotFoundException"},
		{"there again", func() { w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.UID = "again" }) }, 0, ""},
	} {
		step.do()
		got := w.ask(w.token(nil))
		if calls := w.taken(); len(calls) != step.calls || got.code != step.code {
			t.Errorf("%s: %d calls, %s", step.name, len(calls), got.code)
		}
	}
	// Half of the session's life later its entry is too old; the watch that stands
	// still meanwhile is another test's.
	w = newWorld(t, settings{cache: true})
	w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.Spec.DurationSeconds = 900 })
	w.ask(w.token(nil))
	w.advance(451 * time.Second)
	if got := w.ask(w.token(nil)); got.status != http.StatusOK || len(w.taken()) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestPace: throttling halves it once for each second, and it comes back.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pace := session.NewPace(100, 1, time.Now)
		expect := func(what string, want float64) {
			t.Helper()
			if got := pace.Rate(); got < want-0.01 || got > want+0.01 {
				t.Errorf("%s: %v a second, want %v", what, got, want)
			}
		}
		expect("begins", 100)
		for range 50 {
			pace.Throttled()
		}
		expect("one wave", 50)
		time.Sleep(2 * time.Second)
		expect("two seconds later", 60)
		pace.Throttled()
		expect("again", 30)
		time.Sleep(time.Minute)
		expect("a minute later", 100)
		for range 30 {
			pace.Throttled()
			time.Sleep(time.Second)
		}
		if got := pace.Rate(); got < 1 {
			t.Errorf("%v a second", got)
		}
		// A turn that comes too late is refused at once, not waited for.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		refusals := 0
		for range 1000 {
			if pace.Wait(ctx) != nil {
				refusals++
			}
		}
		if refusals == 0 || time.Since(began) > time.Second {
			t.Errorf("%d refusals in %s", refusals, time.Since(began))
		}
	})
}

// TestTurnLeavesTime: under load, a turn comes while there is time for the call.
func TestTurnLeavesTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pace := session.NewPace(20, 20, time.Now)
		var waiting sync.WaitGroup
		for range 200 {
			waiting.Go(func() {
				for range 5 {
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
					if err := pace.Wait(ctx); err == nil && time.Since(began) > 2*time.Second {
						t.Errorf("a turn after %s", time.Since(began))
					}
					cancel()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		waiting.Wait()
	})
}

// TestColdStart is spec podidentity row S13 without the network: 10,000 pods on 100 nodes that try
// again each second all have a turn within 75 s at 200 calls a second, each one.
func TestColdStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pace := session.NewPace(200, 200, time.Now)
		began := time.Now()
		var mu sync.Mutex
		var last time.Duration
		turns := 0
		var pods sync.WaitGroup
		for range 10000 {
			pods.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
					err := pace.Wait(ctx)
					cancel()
					if err == nil {
						mu.Lock()
						turns++
						last = max(last, time.Since(began))
						mu.Unlock()
						return
					}
					time.Sleep(time.Second)
				}
			})
		}
		pods.Wait()
		if turns != 10000 || last > 75*time.Second {
			t.Errorf("%d turns, the last after %s", turns, last)
		}
	})
}

// TestSigned is mode sigv4: a key of the table, of a node.
func TestSigned(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(
		"keys: [{accessKeyId: AKIANODE1, secretAccessKey: s1, node: n1}, {accessKeyId: AKIANODE2, secretAccessKey: " +
			"s2, node: n2}, {accessKeyId: AKIAUSER, secretAccessKey: s3, user: u}]",
	)
	w := newWorld(t, settings{agents: broker.Signature, edit: func(c *broker.Config) {
		keys, err := door.OpenKeyTable(table, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c.Agents.Keys = keys
	}})
	w.associate()
	ask := func(id, secret, service string, change func(*http.Request)) answer {
		body := string(must(json.Marshal(map[string]string{"token": w.token(nil)})))
		request := must(
			http.NewRequestWithContext(
				t.Context(), http.MethodPost, w.url+"/clusters/prod/assume-role-for-pod-identity",
				strings.NewReader(body),
			),
		)
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(
			t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, request, hex.EncodeToString(sum[:]),
			service, region, w.clock(),
		); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(request)
		}
		return w.do(request)
	}
	for _, row := range []struct {
		name, id, secret, service string
		change                    func(*http.Request)
		code                      string
	}{
		{"the node's key", "AKIANODE1", "s1", "eks-auth", nil, ""},
		{"another node's key", "AKIANODE2", "s2", "eks-auth", nil, "AccessDeniedException"},
		{"a user's key", "AKIAUSER", "s3", "eks-auth", nil, "AccessDeniedException"},
		{"another secret", "AKIANODE1", "s2", "eks-auth", nil, "InvalidSignatureException"},
		{"unknown key", "AKIANODE9", "s1", "eks-auth", nil, "UnrecognizedClientException"},
		{"another service", "AKIANODE1", "s1", "eks", nil, "InvalidSignatureException"},
		{
			"an old signature", "AKIANODE1", "s1", "eks-auth",
			func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }, "InvalidSignatureException",
		},
		{
			"no signature", "AKIANODE1", "s1", "eks-auth", func(r *http.Request) { r.Header.Del("Authorization") },
			"MissingAuthenticationTokenException",
		},
	} {
		t.Run(row.name, func(*testing.T) {
			message := ""
			if row.id == "AKIAUSER" {
				message = "does not belong to a node"
			}
			w.expect(ask(row.id, row.secret, row.service, row.change), row.code, message)
		})
	}
	write("keys: [{accessKeyId: AKIANODE1, secretAccessKey: other-secret, node: n1}]")
	w.expect(ask("AKIANODE1", "s1", "eks-auth", nil), "InvalidSignatureException", "")
	w.expect(ask("AKIANODE1", "other-secret", "eks-auth", nil), "", "")
	write("keys: [{")
	w.expect(ask("AKIANODE1", "other-secret", "eks-auth", nil), "", "")
}

// polled is an answer of the changes.
type polled struct {
	Cursor string
	Items  []struct {
		AssociationID string
		Version       int64
		Deleted       bool
	}
}

func (p polled) String() string {
	var all []string
	for _, item := range p.Items {
		all = append(all, fmt.Sprintf("%s@%d%t", item.AssociationID, item.Version, item.Deleted))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (w *world) poll(ctx context.Context, node, as, since string) (polled, string) {
	w.t.Helper()
	request := must(
		http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/rolecall/v1/changes?node="+node+"&since="+since, nil),
	)
	request.Header.Set("Authorization", "Bearer "+w.agent(as))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return polled{}, err.Error()
	}
	defer response.Body.Close()
	var got polled
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		w.t.Fatal(err)
	}
	return got, response.Header.Get("X-Amzn-Errortype")
}

func changeOf(
	version, name, account string, generation int64, edit func(*follow.Change[*v1alpha1.PodIdentityAssociation]),
) follow.Change[*v1alpha1.PodIdentityAssociation] {
	change := follow.Change[*v1alpha1.PodIdentityAssociation]{
		Version: version,
		Object: &v1alpha1.PodIdentityAssociation{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Generation: generation},
			Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: account, RoleARN: roleCart},
		},
	}
	if edit != nil {
		edit(&change)
	}
	return change
}

// TestChanges is spec podidentity §19.6.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ctx := t.Context()
	id := func(name string) string {
		return association.ID(&v1alpha1.PodIdentityAssociation{ObjectMeta: metav1.ObjectMeta{UID: types.UID(name)}})
	}
	expect := func(what string, got polled, cursor, items string) {
		t.Helper()
		if got.Cursor != cursor || got.String() != items {
			t.Errorf("%s: cursor %s, items %q, want %s, %q", what, got.Cursor, got, cursor, items)
		}
	}
	deleted := func(c *follow.Change[*v1alpha1.PodIdentityAssociation]) { c.Deleted = true }
	got, _ := w.poll(ctx, "n1", "n1", "")
	expect("nothing yet", got, "0", "")
	w.changes.Changed(changeOf("100", "cart", "cart", 1, nil))
	w.changes.Changed(changeOf("100", "unused", "unused", 1, nil))
	got, _ = w.poll(ctx, "n1", "n1", "")
	expect("first", got, "100", id("cart")+"@1false")
	got, _ = w.poll(ctx, "n2", "n2", "")
	expect("a node without its pods", got, "100", "")

	next := make(chan polled)
	poll := func(node, since string) {
		go func() {
			got, _ := w.poll(ctx, node, node, since)
			next <- got
		}()
	}
	poll("n1", "100")
	w.changes.Changed(changeOf("101", "cart", "cart", 1, nil)) // its status only
	w.changes.Changed(changeOf("102", "unused", "unused", 2, nil))
	w.changes.Changed(changeOf("103", "cart", "cart", 2, nil))
	expect("changed", <-next, "103", id("cart")+"@2false")
	got, _ = w.poll(ctx, "n1", "n1", "102")
	expect("the same from another replica", got, "103", id("cart")+"@2false")
	w.changes.Changed(
		changeOf(
			"104", "cart", "cart", 3,
			func(c *follow.Change[*v1alpha1.PodIdentityAssociation]) { c.Object.Spec.Paused = true },
		),
	)
	got, _ = w.poll(ctx, "n1", "n1", "103")
	expect("paused", got, "104", id("cart")+"@3true")
	w.changes.Changed(changeOf("105", "cart", "cart", 3, deleted))
	got, _ = w.poll(ctx, "n2", "n2", "104")
	expect("deleted, told to all", got, "105", id("cart")+"@3true")

	// An exact association in place of a pattern, and the pattern again.
	pattern := func(c *follow.Change[*v1alpha1.PodIdentityAssociation]) { c.Object.Spec.AllowPatterns = true }
	w.changes.Changed(changeOf("106", "all", "ca*", 1, pattern))
	got, _ = w.poll(ctx, "n1", "n1", "105")
	expect("a pattern", got, "106", id("all")+"@1false")
	w.changes.Changed(changeOf("107", "cart", "cart", 1, nil))
	got, _ = w.poll(ctx, "n1", "n1", "106")
	want := []string{id("all") + "@1true", id("cart") + "@1false"}
	slices.Sort(want)
	expect("one of its accounts has its own", got, "107", strings.Join(want, " "))

	for name, row := range map[string]struct{ node, as, code string }{
		"another node": {"n2", "n1", "AccessDeniedException"}, "no node": {"", "n1", "InvalidParameterException"},
	} {
		if _, code := w.poll(ctx, row.node, row.as, "1"); code != row.code {
			t.Errorf("%s: %s", name, code)
		}
	}
	// Draining ends a poll with the cursor it had.
	poll("n1", "107")
	close(w.draining)
	expect("draining", <-next, "107", "")
}

// TestChangesOfNewPods: which pods a node has is looked at when something changes,
// not when the agent begins to ask.
func TestChangesOfNewPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	wanted := broker.UsedOn(w.broker, "n3", "shop", "cart")
	if wanted() {
		t.Error("a node without pods")
	}
	if _, err := w.client.CoreV1().Pods("shop").Create(
		t.Context(), newPod("shop", "cart-3", "uid-3", "cart", "n3"), metav1.CreateOptions{},
	); err != nil {
		t.Fatal(err)
	}
	w.follow()
	if !wanted() {
		t.Error("a pod that came meanwhile")
	}
}

// TestChangesForget: an agent that was away for too long hears of all there is.
func TestChangesForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{agents: broker.NoAuthentication})
	w.changes.Changed(changeOf("100", "cart", "cart", 1, nil))
	for i := range 25000 {
		w.changes.Changed(changeOf(fmt.Sprint(101+i), "cart", "cart", int64(2+i), nil))
	}
	got, _ := w.poll(t.Context(), "n1", "n1", "100")
	if len(got.Items) != 1 || got.Items[0].Version != 25001 || got.Cursor != "25100" {
		t.Errorf("%s %s", got.Cursor, got)
	}
	got, _ = w.poll(t.Context(), "n1", "n1", "25098")
	if len(got.Items) != 2 {
		t.Errorf("%s", got)
	}
}

// TestPollOutlivesDeadlines: a server's own deadlines end no poll, over HTTP/1.1
// and HTTP/2.
func TestPollOutlivesDeadlines(t *testing.T) {
	t.Parallel()
	for _, newer := range []bool{false, true} {
		w := newWorld(t, settings{})
		w.changes.Changed(changeOf("100", "cart", "cart", 1, nil))
		mux := http.NewServeMux()
		w.broker.Routes(mux, w.draining)
		var reached atomic.Bool
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !reached.Swap(true) {
				timer := time.AfterFunc(
					400*time.Millisecond, func() { w.changes.Changed(changeOf("101", "cart", "cart", 2, nil)) },
				)
				t.Cleanup(func() { timer.Stop() })
			}
			mux.ServeHTTP(rw, r)
		}))
		server.EnableHTTP2 = newer
		server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
		server.StartTLS()
		t.Cleanup(server.Close)
		request := must(
			http.NewRequestWithContext(
				t.Context(), http.MethodGet, server.URL+"/rolecall/v1/changes?node=n1&since=100", nil,
			),
		)
		request.Header.Set("Authorization", "Bearer "+w.agent("n1"))
		response, err := server.Client().Do(request)
		// the deadlines are of the handshake, too, which a busy machine may not make
		for err != nil && !reached.Load() {
			response, err = server.Client().Do(request)
		}
		if err != nil {
			t.Fatalf("HTTP/2 %t: %v", newer, err)
		}
		var got polled
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Cursor != "101" ||
			len(got.Items) != 1 || response.ProtoMajor != map[bool]int{false: 1, true: 2}[newer] {
			t.Errorf("HTTP/2 %t: %+v, %v", newer, got, err)
		}
		response.Body.Close()
	}
}

// TestLeft: an agent that leaves before STS answers finds the session at its next
// try; that is one session, given once, and of the association as it is.
func TestLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	leave := func() {
		t.Helper()
		w.associate()
		w.fault(`{"kind":"latency","service":"sts","delay":"500ms","count":1}`)
		ctx, cancel := context.WithCancel(t.Context())
		request := must(
			http.NewRequestWithContext(
				ctx, http.MethodPost, w.url+"/clusters/prod/assume-role-for-pod-identity",
				strings.NewReader(`{"token":"`+w.token(nil)+`"}`),
			),
		)
		request.Header.Set("Authorization", "Bearer "+w.agent("n1"))
		ended := make(chan error, 1)
		go func() {
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				response.Body.Close()
			}
			ended <- err
		}()
		for w.asked() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("it was answered")
		}
		for w.broker.Left() == 0 {
			time.Sleep(time.Millisecond)
		}
		w.taken()
	}
	leave()
	first := w.ask(w.token(nil))
	if calls := w.taken(); first.status != http.StatusOK || len(calls) != 0 {
		t.Errorf("next try: %+v, %d calls", first, len(calls))
	}
	second := w.ask(w.token(nil))
	if calls := w.taken(); second.status != http.StatusOK || len(calls) != 1 ||
		second.body.Credentials.AccessKeyID == first.body.Credentials.AccessKeyID || w.broker.Left() != 0 {
		t.Errorf("one more: %+v, %d calls, %d left", second, len(calls), w.broker.Left())
	}
	for name, change := range map[string]func(*v1alpha1.PodIdentityAssociation){
		"changed":    func(a *v1alpha1.PodIdentityAssociation) { a.Generation = 2 },
		"made again": func(a *v1alpha1.PodIdentityAssociation) { a.UID = "again" },
	} {
		leave()
		w.associate(change)
		if got := w.ask(w.token(nil)); got.status != http.StatusOK || len(w.taken()) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
		w.associate()
		w.ask(w.token(nil)) // finds what is left
	}
	leave()
	w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.Spec.Paused = true })
	if got := w.ask(w.token(nil)); got.code != "AccessDeniedException" {
		t.Errorf("paused: %+v", got)
	}
}

// TestPollsAreLimited: what a limit refuses of a poll is counted as of any request.
func TestPollsAreLimited(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, limit string
		limits      broker.Limits
		stranger    bool // asks first, and fails
	}{
		{
			"polls of a node", "node",
			broker.Limits{NodeRate: 1, NodeBurst: 1, PodRate: 1, PodBurst: 1, FailureRate: 1, FailureBurst: 1},
			false,
		},
		{
			"strangers of an address", "source",
			broker.Limits{NodeRate: 1, NodeBurst: 9, PodRate: 1, PodBurst: 1, FailureRate: 1, FailureBurst: 1},
			true,
		},
	} {
		registry := prometheus.NewRegistry()
		w := newWorld(t, settings{limits: row.limits, edit: func(c *broker.Config) { c.Metrics = registry }})
		poll := func(authorization, want string) {
			request := must(
				http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/rolecall/v1/changes?node=n1", nil),
			)
			request.Header.Set("Authorization", authorization)
			if got := w.do(request); got.code != want {
				t.Errorf("%s: %d %s %s, want %q", row.name, got.status, got.code, got.message, want)
			}
		}
		if row.stranger {
			poll("Bearer x", "UnrecognizedClientException")
		} else {
			poll("Bearer "+w.agent("n1"), "")
		}
		poll("Bearer "+w.agent("n1"), "ThrottlingException")
		if got := counted(t, registry, "rolecall_broker_limited_total", row.limit); got != 1 {
			t.Errorf("%s: %v counted, want 1", row.name, got)
		}
	}
}

// counted is a counter with one label of a value.
func counted(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	for _, family := range must(registry.Gather()) {
		for _, sample := range family.GetMetric() {
			if family.GetName() == name && sample.GetLabel()[0].GetValue() == label {
				return sample.GetCounter().GetValue()
			}
		}
	}
	return 0
}
