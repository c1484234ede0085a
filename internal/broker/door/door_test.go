package door_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// rig is a door with one operation, whose callers say by a header who they are.
type rig struct {
	*door.Door
	registry *prometheus.Registry
	audit    lockedbuffer.Buffer
	now      time.Time
	done     int
	ended    []string
	http.HandlerFunc
}

func newRig(change func(*door.Operation[string])) *rig {
	r := &rig{registry: prometheus.NewRegistry(), now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	r.Door = door.New(door.Config{
		Cluster:      &association.Cluster{Name: "prod"},
		FailureRate:  1,
		FailureBurst: 2,
		Audit:        door.NewAudit(&r.audit, func(err error) { panic(err) }),
		Metrics:      r.registry,
		Log:          slog.New(slog.DiscardHandler),
		Now:          func() time.Time { return r.now },
	})
	op := door.Operation[string]{
		Name:     "Greet",
		Deadline: time.Minute,
		BadBody:  refusal.InvalidParameter,
		Decision: "greeted",
		Authenticate: func(_ context.Context, q *http.Request, _ []byte) (string, error) {
			switch who := q.Header.Get("Who"); who {
			case "":
				return "", refusal.New(refusal.MissingToken, "Who are you?")
			case "banned":
				return who, refusal.New(refusal.AccessDenied, "Not you.")
			case "later":
				return "", refusal.New(refusal.Unavailable, "Nobody can be asked.")
			default:
				return who, nil
			}
		},
		Note: func(record *door.Record, who string) { record.Caller = who },
		Do: func(_ context.Context, q *door.Request[string]) (any, error) {
			r.done++
			if string(q.Body) == "fail" {
				return nil, errors.New("secret cause")
			}
			return map[string]string{"hello": q.Who}, nil
		},
		Ended: func(_ *door.Request[string], refused *refusal.Error) {
			if refused == nil {
				r.ended = append(r.ended, "ok")
				return
			}
			r.ended = append(r.ended, string(refused.Code))
		},
	}
	if change != nil {
		change(&op)
	}
	r.HandlerFunc = door.Handler(r.Door, op)
	return r
}

func (r *rig) ask(who, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(
		context.Background(), http.MethodPost, "http://broker/", strings.NewReader(body),
	)
	request.Header.Set("Who", who)
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, request)
	return answer
}

// limited is how many requests a limit has refused.
func (r *rig) limited(t *testing.T, by string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, sample := range family.GetMetric() {
			if family.GetName() == "rolecall_broker_limited_total" && sample.GetLabel()[0].GetValue() == by {
				return sample.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestWayIn: of each step what it refuses, and that nothing is done then.
func TestWayIn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, who, body string
		status          int
		code, caller    string
		done            int
	}{
		{"somebody", "ann", "", 200, "", "ann", 1},
		{"nobody", "", "", 403, "MissingAuthenticationTokenException", "", 0},
		{"somebody who is refused has a name in the record", "banned", "", 400, "AccessDeniedException", "banned", 0},
		{"somebody who cannot be told", "later", "", 503, "ServiceUnavailableException", "", 0},
		{"a body as large as may be", "ann", strings.Repeat("x", 32<<10), 200, "", "ann", 1},
		{"a body that is too large", "ann", strings.Repeat("x", 32<<10+1), 400, "InvalidParameterException", "", 0},
		{"an operation that fails", "ann", "fail", 500, "InternalServerException", "ann", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(nil)
			got := r.ask(row.who, row.body)
			if got.Code != row.status || got.Header().Get("X-Amzn-Errortype") != row.code || r.done != row.done ||
				strings.Contains(
					got.Body.String(), "secret cause",
				) {
				t.Errorf("%d %s %s, done %d times", got.Code, got.Header().Get("X-Amzn-Errortype"), got.Body, r.done)
			}
			var record door.Record
			if err := json.Unmarshal([]byte(r.audit.String()), &record); err != nil {
				t.Fatalf("%q: %v", r.audit.String(), err)
			}
			decision := map[bool]string{true: "greeted", false: "refused"}[row.code == ""]
			if record.Decision != decision || record.Code != row.code || record.Caller != row.caller ||
				record.Event != "Greet" || record.Cluster != "prod" ||
				record.RequestID != got.Header().Get("X-Amzn-Requestid") {
				t.Errorf("record %+v", record)
			}
			if len(r.ended) != 1 || (r.ended[0] == "ok") != (row.code == "") {
				t.Errorf("ended %v", r.ended)
			}
		})
	}
}

// TestAddressesThatFail may not go on forever; what is nobody's fault does not
// count against them, and neither does what an operation refuses.
func TestAddressesThatFail(t *testing.T) {
	t.Parallel()
	r := newRig(nil)
	for range 10 {
		r.ask("later", "")
		r.ask("ann", "fail")
	}
	if got := r.ask("ann", ""); got.Code != http.StatusOK {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	r.ask("", "")
	r.ask("banned", "")
	done := r.done
	if got := r.ask("ann", ""); got.Code != http.StatusTooManyRequests || r.done != done ||
		r.limited(t, "source") != 1 {
		t.Errorf("after two failures: %d %s, %v counted", got.Code, got.Body, r.limited(t, "source"))
	}
	r.now = r.now.Add(time.Second)
	if got := r.ask("ann", ""); got.Code != http.StatusOK {
		t.Errorf("a second later: %d %s", got.Code, got.Body)
	}
}

// TestPlaces: no more are served at a time than there are places, and each is given
// back.
func TestPlaces(t *testing.T) {
	t.Parallel()
	places := limit.NewSlots(1)
	r := newRig(func(op *door.Operation[string]) { op.Places = places })
	for _, who := range []string{"ann", "", "ann"} {
		r.ask(who, "")
	}
	if len(r.ended) != 3 || r.ended[2] != "ok" {
		t.Fatalf("%v", r.ended)
	}
	places.Take()
	if got := r.ask("ann", ""); got.Code != http.StatusTooManyRequests || r.limited(t, "running") != 1 {
		t.Errorf("without a place: %d %s", got.Code, got.Body)
	}
}

// TestRecorded: an operation says what of it the audit has.
func TestRecorded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		recorded door.Recorded
		want     int
	}{
		{"everything", door.Everything, 2},
		{"refusals only", door.Refusals, 1},
		{"nothing", door.Nothing, 0},
	} {
		r := newRig(func(op *door.Operation[string]) { op.Recorded = row.recorded })
		r.ask("ann", "")
		r.ask("", "")
		if got := strings.Count(r.audit.String(), "\n"); got != row.want {
			t.Errorf("%s: %d records, want %d", row.name, got, row.want)
		}
	}
}

// TestOwnWords: an operation may say a refusal in its own words, in the answer and in
// the record.
func TestOwnWords(t *testing.T) {
	t.Parallel()
	r := newRig(func(op *door.Operation[string]) {
		op.Refusal = func(error) *refusal.Error { return refusal.New(refusal.InUse, "It is in use.") }
	})
	got := r.ask("ann", "fail")
	if got.Code != http.StatusConflict || !strings.Contains(r.audit.String(), "It is in use.") {
		body, _ := io.ReadAll(got.Body)
		t.Errorf("%d %s, record %s", got.Code, body, r.audit.String())
	}
}
