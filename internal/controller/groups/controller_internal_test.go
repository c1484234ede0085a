package groups

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

const own = "111122223333"

// scripted is an AWS whose IAM answers as a test says, page by page.
type scripted struct {
	mu sync.Mutex
	// groups are the members' names, by group.
	groups map[string][]string
	// page is how many members a page has; id and account are those of groups and users.
	page        int
	id, account string
	// spoil changes the answer about a page, from 1, or answers instead and returns "".
	spoil func(page int, w http.ResponseWriter, body string) string

	calls atomic.Int32
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = r.ParseForm()
	s.calls.Add(1)
	switch action := r.Form.Get("Action"); action {
	case "GetCallerIdentity":
		fmt.Fprintf(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::%s:user/c</Arn>`+
			`<UserId>AIDAC</UserId><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, own, own)
	case "GetGroup":
		s.getGroup(w, r)
	default:
		refuse(w, 400, "InvalidAction")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error>`+
		`<RequestId>r-%d</RequestId></ErrorResponse>`, code, time.Now().UnixNano())
}

func (s *scripted) getGroup(w http.ResponseWriter, r *http.Request) {
	group, first := r.Form.Get("GroupName"), 0
	all, there := s.groups[group]
	if !there {
		refuse(w, 404, "NoSuchEntity")
		return
	}
	_, _ = fmt.Sscanf(r.Form.Get("Marker"), "m%d", &first)
	last := min(len(all), first+s.page)
	var users strings.Builder
	for _, name := range all[first:last] {
		m := member(name)
		fmt.Fprintf(&users, `<member><UserName>%s</UserName><UserId>%s</UserId><Path>/</Path><Arn>%s</Arn>`+
			`<CreateDate>2026-01-01T00:00:00Z</CreateDate></member>`, name, m.UserID, m.ARN)
	}
	body := fmt.Sprintf(`<GetGroupResponse><GetGroupResult><Group><Path>/</Path><GroupName>%s</GroupName>`+
		`<GroupId>%s</GroupId><Arn>arn:aws:iam::%s:group/%s</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Group>`+
		`<Users>%s</Users><IsTruncated>%v</IsTruncated><Marker>m%d</Marker></GetGroupResult></GetGroupResponse>`,
		group, s.id, s.account, group, users.String(), last < len(all), last)
	if s.spoil != nil {
		body = s.spoil(1+first/s.page, w, body)
	}
	_, _ = w.Write([]byte(body))
}

func (s *scripted) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// many are the names of users.
func many(count int) (names []string) {
	for i := range count {
		names = append(names, fmt.Sprintf("u%04d", i))
	}
	return names
}

type world struct {
	t      *testing.T
	aws    *scripted
	r      *Reconciler
	events *events.FakeRecorder
	now    time.Time
	writes int
}

func newWorld(t *testing.T, members ...string) *world {
	t.Helper()
	w := &world{t: t, now: noon, events: events.NewFakeRecorder(1000), aws: &scripted{
		groups: map[string][]string{"devs": members}, page: 100, id: "AGPAONE", account: own,
	}}
	server := httptest.NewServer(w.aws)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "",
	} {
		t.Setenv(name, value)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.GroupMapping{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(
			ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption,
		) error {
			w.writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		}}).Build()
	metrics := NewMetrics(prometheus.NewRegistry())
	now := func() time.Time { return w.now }
	w.r = &Reconciler{
		Client: client, Events: w.events, Metrics: metrics, Log: slog.New(slog.DiscardHandler),
		Every: time.Minute, RemovalDelay: 15 * time.Second, Now: now,
		Reader: &Reader{
			Budget: rate.NewLimiter(rate.Inf, 1), Every: time.Minute, Metrics: metrics, Now: now, Roles: map[string]string{},
		},
	}
	w.create("devs", v1alpha1.GroupMappingSpec{IAMGroup: "devs", Groups: []string{"developers"}})
	return w
}

func (w *world) create(name string, spec v1alpha1.GroupMappingSpec) {
	w.t.Helper()
	if err := w.r.Client.Create(w.t.Context(), &v1alpha1.GroupMapping{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}, Spec: spec,
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(name string) *v1alpha1.GroupMapping {
	w.t.Helper()
	var object v1alpha1.GroupMapping
	if err := w.r.Client.Get(w.t.Context(), types.NamespacedName{Name: name}, &object); err != nil {
		w.t.Fatal(err)
	}
	return &object
}

// sync has a mapping read now, and lets the time pass after which it is read again.
func (w *world) sync(name string) *v1alpha1.GroupMapping {
	w.t.Helper()
	result, err := w.r.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: name}})
	if err != nil || result.RequeueAfter <= 0 {
		w.t.Fatalf("again after %s: %v", result.RequeueAfter, err)
	}
	object := w.get(name)
	w.now = w.now.Add(result.RequeueAfter)
	return object
}

func (w *world) want(object *v1alpha1.GroupMapping, members int, ready, held string) {
	w.t.Helper()
	is := func(kind string) string { return meta.FindStatusCondition(object.Status.Conditions, kind).Reason }
	if len(object.Status.Members) != members || int(object.Status.MemberCount) != members ||
		is(ConditionReady) != ready || is(ConditionHeld) != held {
		w.t.Errorf("%d members (memberCount %d), Ready %s, RemovalsHeld %s; want %d, %s, %s",
			len(object.Status.Members), object.Status.MemberCount, is(ConditionReady), is(ConditionHeld), members, ready, held)
	}
}

// TestAllPages: those on later pages are members as much as those on the first.
func TestAllPages(t *testing.T) {
	w := newWorld(t, many(250)...)
	object := w.sync("devs")
	w.want(object, 250, reasonSynced, reasonNobodyMissing)
	if object.Status.GroupARN != "arn:aws:iam::111122223333:group/devs" || object.Status.GroupID != "AGPAONE" ||
		object.Status.LastSyncTime == nil || object.Status.ObservedGeneration != 1 {
		t.Errorf("%+v", object.Status)
	}
}

// TestNothingOfAPart: whatever is wrong with an answer, or with one of its pages, nobody
// comes and nobody goes, however often it is asked; what is wrong is said. When it is over,
// what is true counts.
func TestNothingOfAPart(t *testing.T) {
	answer := func(status int, code string) func(http.ResponseWriter, string) string {
		return func(w http.ResponseWriter, _ string) string { refuse(w, status, code); return "" }
	}
	swap := func(old, by string) func(http.ResponseWriter, string) string {
		return func(_ http.ResponseWriter, body string) string {
			if !strings.Contains(body, old) {
				panic(old)
			}
			return strings.ReplaceAll(body, old, by)
		}
	}
	for name, row := range map[string]struct {
		page   int
		spoil  func(http.ResponseWriter, string) string
		reason string
	}{
		"500 on the first page":       {1, answer(500, "ServiceFailure"), reasonUnavailable},
		"500 on a later page":         {2, answer(500, "ServiceFailure"), reasonUnavailable},
		"503":                         {3, answer(503, "ServiceUnavailable"), reasonUnavailable},
		"throttled":                   {2, answer(400, "Throttling"), reasonThrottled},
		"throttled in other words":    {1, answer(429, "TooManyRequestsException"), reasonThrottled},
		"denied":                      {1, answer(403, "AccessDenied"), reasonDenied},
		"denied later":                {2, answer(403, "AccessDenied"), reasonDenied},
		"expired keys":                {1, answer(403, "ExpiredToken"), reasonDenied},
		"gone while it was read":      {2, answer(404, "NoSuchEntity"), reasonNoGroup},
		"nonsense":                    {2, func(http.ResponseWriter, string) string { return "<html>sign in</html>" }, reasonUnavailable},
		"cut off":                     {2, func(_ http.ResponseWriter, b string) string { return b[:len(b)/2] }, reasonUnavailable},
		"more, and no marker":         {1, swap("<Marker>m100</Marker>", ""), reasonPartial},
		"the same marker again":       {2, swap("<Marker>m200</Marker>", "<Marker>m100</Marker>"), reasonPartial},
		"another group":               {1, swap(":group/devs", ":group/ops"), reasonPartial},
		"another group's second page": {2, swap("AGPAONE", "AGPATWO"), reasonPartial},
		"no id of the group":          {1, swap("AGPAONE", ""), reasonPartial},
		"another account's group":     {1, swap("iam::111122223333:group", "iam::444455556666:group"), reasonWrongAccount},
		"another account's user":      {3, swap("iam::111122223333:user", "iam::444455556666:user"), reasonPartial},
		"a role as member":            {1, swap(":user/", ":role/"), reasonPartial},
		"a user without id":           {1, swap("<UserId>AIDA", "<UserId>"), reasonPartial},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, many(250)...)
			w.sync("devs")
			w.aws.change(func() {
				w.aws.groups["devs"] = append(many(250)[10:], "new1")
				w.aws.spoil = func(page int, out http.ResponseWriter, body string) string {
					if page == row.page {
						return row.spoil(out, body)
					}
					return body
				}
			})
			rounds := 4
			if row.reason == reasonNoGroup {
				rounds = 1 // what IAM says of groups that are gone it says more than once
			}
			held := reasonNobodyMissing
			if row.reason == reasonNoGroup {
				held = reasonGroupGone
			}
			for range rounds {
				object := w.sync("devs")
				w.want(object, 250, row.reason, held)
			}
			w.aws.change(func() { w.aws.spoil = nil })
			for range 6 {
				w.sync("devs")
			}
			w.want(w.get("devs"), 241, reasonSynced, reasonNobodyMissing)
		})
	}
}

// TestRemovedWithinThePeriod: one who left the group just after it was read no longer counts
// when a period has passed, and two reads have said so.
func TestRemovedWithinThePeriod(t *testing.T) {
	for range 20 { // the pauses are random
		w := newWorld(t, "a", "b", "c")
		w.sync("devs")
		w.now = w.now.Add(-time.Second)
		left := noon
		w.aws.change(func() { w.aws.groups["devs"] = []string{"a", "b"} })
		w.now = w.now.Add(time.Second)
		object := w.sync("devs")
		w.want(object, 3, reasonSynced, reasonConfirming)
		object = w.sync("devs")
		w.want(object, 2, reasonSynced, reasonNobodyMissing)
		at := object.Status.LastSyncTime.Time
		if took := at.Sub(left); took > time.Minute {
			t.Fatalf("it took %s", took)
		}
	}
}

// TestGroupGone: members of a group that is gone go when IAM has said so three times.
func TestGroupGone(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.sync("devs")
	w.aws.change(func() { delete(w.aws.groups, "devs") })
	start := w.now
	for i := range 10 {
		object := w.sync("devs")
		if len(object.Status.Members) == 0 {
			if i < goneReads-1 {
				t.Errorf("gone after %d answers", i+1)
			}
			w.want(object, 0, reasonNoGroup, reasonNobodyMissing)
			return
		}
		w.want(object, 2, reasonNoGroup, reasonGroupGone)
	}
	t.Errorf("still there after %s", w.now.Sub(start))
}

// TestAnotherGroup: members of the group that a spec named before count no longer at once,
// whatever IAM says of the other.
func TestAnotherGroup(t *testing.T) {
	for _, there := range []bool{true, false} {
		w := newWorld(t, "a", "b")
		w.sync("devs")
		object := w.get("devs")
		object.Spec.IAMGroup = "ops"
		if err := w.r.Client.Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if there {
			w.aws.change(func() { w.aws.groups["ops"] = []string{"c"} })
			object = w.sync("devs")
			w.want(object, 1, reasonSynced, reasonNobodyMissing)
			continue
		}
		w.aws.change(func() {
			w.aws.groups["ops"] = []string{"c"}
			w.aws.spoil = func(_ int, out http.ResponseWriter, _ string) string { refuse(out, 500, "ServiceFailure"); return "" }
		})
		object = w.sync("devs")
		w.want(object, 0, reasonUnavailable, reasonNobodyMissing)
	}
}

// TestGroupReplaced: a group that was deleted and made again is said.
func TestGroupReplaced(t *testing.T) {
	w := newWorld(t, "a")
	w.sync("devs")
	w.aws.change(func() { w.aws.id = "AGPATWO" })
	object := w.sync("devs")
	w.want(object, 1, reasonSynced, reasonNobodyMissing)
	if said := w.said(); !strings.Contains(said, "GroupReplaced") || !strings.Contains(said, "AGPATWO, and was AGPAONE") {
		t.Error(said)
	}
}

func (w *world) said() string {
	var all []string
	for {
		select {
		case text := <-w.events.Events:
			all = append(all, text)
		default:
			return strings.Join(all, "\n")
		}
	}
}

// TestTooManyMembers: a group that has more members than an object holds is an error, and
// those who were in it stay. Who leaves makes room for those who come.
func TestTooManyMembers(t *testing.T) {
	w := newWorld(t, many(maxMembers)...)
	w.aws.page = 1000
	object := w.sync("devs")
	w.want(object, maxMembers, reasonSynced, reasonNobodyMissing)
	w.aws.change(func() { w.aws.groups["devs"] = many(maxMembers + 1) })
	object = w.sync("devs")
	w.want(object, maxMembers, reasonTooMany, reasonNobodyMissing)
	w.aws.change(func() { w.aws.groups["devs"] = many(maxMembers + 1)[1:] })
	object = w.sync("devs")
	w.want(object, maxMembers, reasonTooMany, reasonConfirming)
	w.sync("devs")
	object = w.sync("devs")
	w.want(object, maxMembers, reasonSynced, reasonNobodyMissing)
	if slices.ContainsFunc(object.Status.Members, func(m v1alpha1.GroupMember) bool { return m == member("u0000") }) ||
		!slices.Contains(object.Status.Members, member("u5000")) {
		t.Error("who left counts, or who came does not")
	}
}

// TestQuiet: reads that find nothing new write nothing, but for the time, now and then.
func TestQuiet(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.sync("devs")
	w.writes = 0
	end := w.now.Add(stampEvery - 2*time.Minute)
	for w.now.Before(end) {
		w.sync("devs")
	}
	if w.writes != 0 {
		t.Errorf("%d writes of nothing new", w.writes)
	}
	for w.now.Before(end.Add(4 * time.Minute)) {
		w.sync("devs")
	}
	if w.writes != 1 {
		t.Errorf("%d writes of the time, want 1", w.writes)
	}
	w.aws.change(func() {
		w.aws.spoil = func(_ int, out http.ResponseWriter, _ string) string { refuse(out, 400, "Throttling"); return "" }
	})
	w.writes = 0
	for range 10 {
		w.sync("devs")
	}
	if w.writes != 1 {
		t.Errorf("%d writes of an outage, want 1", w.writes)
	}
}

// TestThrottledIsLeftAlone: an account that throttles is asked less and less often, by all
// mappings together.
func TestThrottledIsLeftAlone(t *testing.T) {
	w := newWorld(t, "a")
	for _, name := range []string{"two", "three"} {
		w.create(name, v1alpha1.GroupMappingSpec{IAMGroup: "devs", Groups: []string{"x"}})
	}
	w.sync("devs")
	w.aws.change(func() {
		w.aws.spoil = func(_ int, out http.ResponseWriter, _ string) string { refuse(out, 400, "Throttling"); return "" }
	})
	w.aws.calls.Store(0)
	start := w.now
	for w.now.Before(start.Add(30 * time.Minute)) {
		now := w.now
		for _, name := range []string{"devs", "two", "three"} {
			w.now = now
			w.sync(name)
		}
		w.now = now.Add(time.Second)
	}
	if calls := w.aws.calls.Load(); calls < 8 || calls > 25 {
		t.Errorf("%d calls in half an hour of throttling", calls)
	}
	w.want(w.get("two"), 0, reasonThrottled, reasonNobodyMissing)
	w.want(w.get("devs"), 1, reasonThrottled, reasonNobodyMissing)
}

// TestOtherAccounts: a group of an account that nobody named a role for is not read with
// credentials of another, and says what to add; an account whose role is not to be had does
// not touch others.
func TestOtherAccounts(t *testing.T) {
	w := newWorld(t, "a")
	w.r.Reader.Roles["444455556666"] = "arn:aws:iam::444455556666:role/groups"
	w.create("unnamed", v1alpha1.GroupMappingSpec{IAMGroup: "devs", Account: "777788889999", Groups: []string{"x"}})
	w.create("broken", v1alpha1.GroupMappingSpec{IAMGroup: "devs", Account: "444455556666", Groups: []string{"x"}})
	w.create("named", v1alpha1.GroupMappingSpec{IAMGroup: "devs", Account: own, Groups: []string{"x"}})
	object := w.sync("unnamed")
	w.want(object, 0, reasonNotNamed, reasonNobodyMissing)
	if text := object.Status.Conditions[0].Message; !strings.Contains(text, "--group-account-role 777788889999=ROLE_ARN") {
		t.Error(text)
	}
	object = w.sync("broken") // this STS assumes no roles
	w.want(object, 0, reasonDenied, reasonNobodyMissing)
	object = w.sync("named")
	w.want(object, 1, reasonSynced, reasonNobodyMissing)
	object = w.sync("devs")
	w.want(object, 1, reasonSynced, reasonNobodyMissing)
}

// TestHungAccount: while AWS of one account does not answer, groups of another are read.
func TestHungAccount(t *testing.T) {
	w := newWorld(t, "a")
	w.sync("devs")
	a := w.r.Reader.account("444455556666")
	w.r.Reader.Roles["444455556666"] = "arn:aws:iam::444455556666:role/groups"
	a.turn.Lock() // as while it is read
	w.create("hung", v1alpha1.GroupMappingSpec{IAMGroup: "devs", Account: "444455556666", Groups: []string{"x"}})
	result, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: "hung"}})
	if err != nil || result.RequeueAfter > time.Second || result.RequeueAfter <= 0 {
		t.Errorf("%+v, %v", result, err)
	}
	object := w.sync("devs")
	w.want(object, 1, reasonSynced, reasonNobodyMissing)
}

// TestBudget: all mappings together make no more calls than the budget has, and one that
// finds it spent says so.
func TestBudget(t *testing.T) {
	w := newWorld(t, "a")
	w.sync("devs")
	w.r.Reader.Budget = rate.NewLimiter(rate.Every(time.Hour), 1)
	w.sync("devs")
	object := w.sync("devs")
	w.want(object, 1, reasonBudget, reasonNobodyMissing)
	if text := object.Status.Conditions[0].Message; !strings.Contains(text, "--group-calls-per-second") {
		t.Error(text)
	}
}

// TestNoCredentials says that there are none.
func TestNoCredentials(t *testing.T) {
	w := newWorld(t, "a")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	object := w.sync("devs")
	w.want(object, 0, reasonNoCredentials, reasonNobodyMissing)
}
