package localaws_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

func readAll(t testing.TB, response *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// own sends JSON to one of our own paths.
func (w *world) own(method, path, body string) answer {
	w.t.Helper()
	r := w.request(method, "_rolecall/"+path, body)
	r.Header.Set("Content-Type", "application/json")
	return w.do(r)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whoami := url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}
	ask := func(header string) answer {
		body := whoami.Encode()
		r := w.request(http.MethodPost, "", body)
		w.sign(r, w.admin, "sts", body, w.clock())
		if header != "" {
			r.Header.Set("X-Rolecall-Fault", header)
		}
		return w.do(r)
	}
	for _, row := range []struct {
		header  string
		status  int
		code    string
		message string
	}{
		{"", 200, "", ""},
		{"throttle", 400, "Throttling", "Rate exceeded"},
		{"error", 500, "InternalFailure", ""},
		{"error;status=503", 503, "ServiceUnavailable", ""},
		{"latency;delay=1ms, error;status=504", 504, "ServiceUnavailable", ""},
		{"latency;delay=1ms", 200, "", ""},
		{"skew;delay=20m", 403, "SignatureDoesNotMatch", "Signature expired: "},
		{"skew;delay=-20m", 403, "SignatureDoesNotMatch", "Signature not yet current: "},
		{"expired", 403, "ExpiredToken", "The security token included in the request is expired"},
		{"nonsense", 400, "InvalidParameterValue", "X-Rolecall-Fault: kind"},
		{"latency;delay=1h", 400, "InvalidParameterValue", "X-Rolecall-Fault: delay"},
		{"throttle;status=200", 400, "InvalidParameterValue", "X-Rolecall-Fault: status"},
	} {
		w.expect(row.header, ask(row.header), row.status, row.code, row.message)
	}
	if got := w.own(
		"POST", "faults", `{"kind":"throttle","service":"sts","action":"GetCaller*","count":2}`,
	); got.status != http.StatusCreated || !strings.Contains(got.body, `"id":"1"`) {
		t.Errorf("add: %s", got.body)
	}
	if got := w.assume(w.token(w.key, nil), nil); got.status != http.StatusOK {
		t.Errorf("another action: %s", got.body)
	}
	for i, want := range []int{400, 400, 200} {
		if got := ask(""); got.status != want {
			t.Errorf("call %d: %d, want %d", i, got.status, want)
		}
	}
	w.own("POST", "faults", `{"kind":"jwks"}`)
	w.expect("jwks", w.assume(w.token(w.key, nil), nil), 400, "InvalidIdentityToken", noKey)
	if got := w.own("GET", "faults", ""); !strings.Contains(got.body, `{"faults":[{"id":"2","kind":"jwks"}]}`) {
		t.Errorf("list: %s", got.body)
	}
	if got := w.own("DELETE", "faults/2", ""); got.status != http.StatusNoContent {
		t.Errorf("delete: %d", got.status)
	}
	if got := w.assume(w.token(w.key, nil), nil); got.status != http.StatusOK {
		t.Errorf("after all: %s", got.body)
	}
	for _, bad := range []string{
		`{"kind":"x"}`, `{"kind":"throttle","often":1}`, `{"kind":"throttle"} {}`, `[]`,
		`{"kind":"throttle","service":"[a"}`,
	} {
		if got := w.own("POST", "faults", bad); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, got.status, got.body)
		}
	}
	form := w.request("POST", "_rolecall/faults", `{"kind":"throttle"}`)
	if got := w.do(form); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form: %d %s", got.status, got.body)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	if got := w.own(
		"POST", "clock", `{"advance":"1h"}`,
	); !strings.Contains(got.body, `"now":"2026-09-01T13:00:00Z","offset":"1h0m0s"`) {
		t.Errorf("advance: %s", got.body)
	}
	w.advance(time.Hour) // the caller's clock goes along
	w.own("POST", "clock", `{"set":"2026-09-01T13:00:00Z"}`)
	w.expect(
		"an hour later", w.signed(session, "sts", url.Values{"Action": {"GetCallerIdentity"}}), 403, "ExpiredToken", "",
	)
	if got := w.own("DELETE", "clock", ""); !strings.Contains(got.body, `"offset":"0s"`) {
		t.Errorf("reset: %s", got.body)
	}
	if got := w.own("POST", "clock", `{"advance":"soon"}`); got.status != http.StatusBadRequest {
		t.Errorf("nonsense: %s", got.body)
	}
}

// TestNoFaultsByDefault: nothing that callers send makes a server fail that was
// not started for it.
func TestNoFaultsByDefault(t *testing.T) {
	t.Parallel()
	accounts, err := account.NewSet(account.NewMemory(), []string{accountID}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      func() time.Time { return epoch },
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	w := &world{t: t, url: server.URL, now: epoch}
	if w.admin, err = accounts.Default().AdminKey(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"faults", "clock"} {
		if got := w.own("POST", path, `{"kind":"throttle"}`); got.status != http.StatusNotFound ||
			!strings.Contains(got.body, "--faults") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	body := "Action=GetCallerIdentity&Version=2011-06-15"
	r := w.request(http.MethodPost, "", body)
	w.sign(r, w.admin, "sts", body, epoch)
	r.Header.Set("X-Rolecall-Fault", "throttle")
	if got := w.do(r); got.status != http.StatusOK {
		t.Errorf("the header counts: %s", got.body)
	}
}
