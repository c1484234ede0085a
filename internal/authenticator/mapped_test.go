package authenticator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/authenticator/sources"
	"github.com/rolecall/rolecall/internal/callerid"
)

// mapped is a world whose configuration file has the mappings above.
func mapped(t testing.TB, change func(*authenticator.Config), scrubbed ...string) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(mappings), 0o600); err != nil {
		t.Fatal(err)
	}
	metrics, err := authenticator.Register(prometheus.NewRegistry(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	set := sources.New(sources.Config{
		Access:   access.Config{ReservedUsernames: map[access.Source][]string{access.MountedFile: {"eks:", "eks."}}},
		Backends: []access.Source{access.MountedFile}, Metrics: metrics, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Names: func(_ context.Context, id string) (string, error) {
			if id == "i-0c6f21bf1f24f9708" {
				return "ip-172-31-27-14", nil
			}
			return "", errors.New("EC2 is away")
		},
	})
	if _, err := set.MountedFile(path); err != nil {
		t.Fatal(err)
	}
	return newWorld(t, options{resolve: set.Resolve, change: change, scrubbed: scrubbed})
}

const mappings = `server:
  mapRoles:
  - {rolearn: "arn:aws:iam::123456789012:ROLE/test", username: "test-user", groups: [one, two]}
  - {rolearn: "arn:aws:iam::123456789012:role/team/Dev", username: "dev:{{SessionName}}:{{SessionNameRaw}}"}
  - {rolearn: "arn:aws:iam::123456789012:role/node", username: "system:node:{{EC2PrivateDNSName}}", groups: ["system:nodes"]}
  - {rolearn: "arn:aws:iam::123456789012:role/eks", username: "{{SessionName}}"}
  - {rolearn: "arn:aws:iam::123456789012:role/literal", username: "a-{{Foo}}-{{AccountID}}"}
  - {rolearn: "arn:aws:iam::123456789012:role/reserved", username: "eks:admin"}
  mapAccounts: ["444455556666"]
`

// TestMapped are rows of spec authenticator §11 that need mappings, through HTTP: who is
// let in as whom, and by which reason others are not.
func TestMapped(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, says, username, groups, reason string }{
		{"M5, M6", assumed("Test", "s"), "test-user", "one two", ""},
		{"M7", assumed("Dev", "jdoe@example.com"), "dev:jdoe-example.com:jdoe@example.com", "", ""},
		{"M9", answerOf("arn:aws:iam::444455556666:user/x/Y", "444455556666", "AIDAY"), "arn:aws:iam::444455556666:user/x/Y", "", ""},
		{"M14", assumed("node", "i-aaaaa"), "", "", "unfillable"},
		{"M15", assumed("node", "i-0c6f21bf1f24f9708"), "system:node:ip-172-31-27-14", "system:nodes", ""},
		{"EC2 is away", assumed("node", "i-0c6f21bf1f24f9709"), "", "", "node_unknown"},
		{"M16", assumed("literal", "s"), "a-{{Foo}}-123456789012", "", ""},
		{"M17", assumed("reserved", "x"), "", "", "reserved_name"},
		{"M17, by the session's name", assumed("eks", "eks.x"), "", "", "reserved_name"},
		{"nobody", assumed("other", "s"), "", "", "not_mapped"},
		{"a user of a role's name", answerOf("arn:aws:iam::123456789012:user/test", account, "AIDAT"), "", "", "not_mapped"},
		{"a role of another account", answerOf("arn:aws:sts::999999999999:assumed-role/test/s", "999999999999", "A:s"), "", "", "not_mapped"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := mapped(t, nil)
			w.says(200, row.says)
			r := w.ask(t, tokenOf(stsHost+"/?"+query(time.Now())))
			if user := r.review.Status.User; user.Username != row.username || strings.Join(user.Groups, " ") != row.groups ||
				(r.code == 200) != (row.reason == "") {
				t.Errorf("%d %s", r.code, r.text)
			}
			if row.reason == "" {
				return
			}
			if r.code != 403 || w.counted(t, "rolecall_authenticator_refusals_total", "reason", row.reason) != 1 ||
				w.counted(t, "aws_iam_authenticator_authenticate_latency_seconds", "result", "uknown_user") != 1 ||
				!strings.Contains(w.log.String(), "reason="+row.reason) {
				t.Errorf("%d\n%s", r.code, w.log)
			}
		})
	}
}

// TestMappingsAtEveryLogin: what STS said counts for a minute, what the mappings say for
// no time at all.
func TestMappingsAtEveryLogin(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	name := "first"
	w := newWorld(t, options{resolve: func(context.Context, *callerid.Identity) (*access.User, *authenticator.Refusal) {
		mu.Lock()
		defer mu.Unlock()
		if name == "" {
			return nil, authenticator.RefusedBy(access.NotMapped, nil, "taken away")
		}
		return &access.User{Username: name}, nil
	}})
	token := tokenOf(stsHost + "/?" + query(time.Now()))
	for _, name = range []string{"first", "second", "", "third"} {
		r := w.ask(t, token)
		if r.review.Status.User.Username != name || r.review.Status.Authenticated != (name != "") {
			t.Errorf("%q: %s", name, r.text)
		}
	}
	if w.count() != 1 {
		t.Errorf("STS was asked %d times", w.count())
	}
}

// TestScrubbed: of some accounts neither API servers nor the log are told who it was (spec
// authenticator row M18).
func TestScrubbed(t *testing.T) {
	t.Parallel()
	w := mapped(t, nil, account)
	for i, row := range []struct{ says, want string }{
		{assumed("test", "secret-session"), `"user":{"username":"test-user","uid":"aws-iam-authenticator:administrative:test-user","groups":["one","two"]}}}`},
		{assumed("other", "secret-session"), `"status":{"user":{},"error":"Unauthorized"}`},
	} {
		w.says(200, row.says)
		if r := w.ask(t, tokenOf(fmt.Sprintf("%s/?%s&X-Amz-Signature=%d", stsHost, query(time.Now()), i))); !strings.Contains(r.text, row.want) {
			t.Errorf("%s", r.text)
		}
	}
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "access") && (strings.Contains(line, "secret-session") || strings.Contains(line, "role/") || strings.Contains(line, "AROAX")) {
			t.Errorf("the log shows who it was: %s", line)
		}
	}
}

// TestTellWhy: a caller is told no more than no, but where the operator wants it.
func TestTellWhy(t *testing.T) {
	t.Parallel()
	w := mapped(t, func(c *authenticator.Config) { c.TellWhy = true })
	w.says(200, assumed("other", "s"))
	if r := w.ask(t, tokenOf(stsHost+"/?"+query(time.Now()))); !strings.HasPrefix(r.review.Status.Error, "not_mapped: arn:aws:iam::123456789012:role/other") {
		t.Errorf("%s", r.text)
	}
	if r := w.ask(t, "k8s-aws-v1.x"); !strings.HasPrefix(r.review.Status.Error, "malformed_token: ") {
		t.Errorf("%s", r.text)
	}
}

// TestCacheDenials: only what can never become good is answered so that API servers
// remember it, which they do with status 200 and without an error.
func TestCacheDenials(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, row := range []struct {
		name, token string
		status      int
		body        string
		code        int
	}{
		{"malformed", "k8s-aws-v1.x", 200, alice, 200},
		{"expired", tokenOf(stsHost + "/?" + query(now.Add(-time.Hour))), 200, alice, 200},
		{"in the future", tokenOf(stsHost + "/?" + query(now.Add(time.Hour))), 200, alice, 403},
		{"refused by STS", tokenOf(stsHost + "/?" + query(now)), 403, stsError("SignatureDoesNotMatch"), 403},
		{"throttled", tokenOf(stsHost + "/?" + query(now)), 400, stsError("Throttling"), 429},
		{"not mapped", tokenOf(stsHost + "/?" + query(now)), 200, assumed("other", "s"), 403},
	} {
		w := mapped(t, func(c *authenticator.Config) { c.CacheDenials = true })
		w.says(row.status, row.body)
		r := w.ask(t, row.token)
		if r.code != row.code || r.review.Status.Authenticated || (r.review.Status.Error == "") != (row.code == 200) {
			t.Errorf("%s: %d %s", row.name, r.code, r.text)
		}
	}
}

// TestStorm: however many log in with however many tokens at once, STS is asked once about
// each.
func TestStorm(t *testing.T) {
	t.Parallel()
	const tokens, clients, logins = 50, 32, 5000
	w := newWorld(t, options{})
	made := make([]string, tokens)
	for i := range made {
		made[i] = tokenOf(fmt.Sprintf("%s/?%s&X-Amz-Credential=AKIA%d%%2Fx", stsHost, query(time.Now()), i))
	}
	var all sync.WaitGroup
	failed := make(chan string, logins)
	for client := range clients {
		all.Go(func() {
			for i := client; i < logins; i += clients {
				if r := w.ask(t, made[i%tokens]); r.code != 200 {
					failed <- r.text
				}
			}
		})
	}
	all.Wait()
	if len(failed) > 0 {
		t.Errorf("%d are refused, one with %s", len(failed), <-failed)
	}
	if w.count() != tokens {
		t.Errorf("STS was asked %d times about %d tokens", w.count(), tokens)
	}
}

// TestOverload: one access key that is asked about too often is answered so that API
// servers do not ask again, and costs nobody else.
func TestOverload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.says(403, stsError("SignatureDoesNotMatch"))
	codes := map[int]int{}
	for i := range 100 {
		r := w.ask(t, tokenOf(fmt.Sprintf("%s/?%s&X-Amz-Credential=AKIAVICTIM%%2Fx&X-Amz-Signature=%d", stsHost, query(time.Now()), i)))
		codes[r.code]++
		if r.header.Get("Retry-After") != "" {
			t.Fatalf("asked to try again: %v", r.header)
		}
	}
	if codes[403] < 40 || codes[503] == 0 || codes[403]+codes[503] != 100 {
		t.Errorf("answers %v", codes)
	}
	w.says(200, alice)
	if r := w.ask(t, tokenOf(stsHost+"/?"+query(time.Now())+"&X-Amz-Credential=AKIAOTHER%2Fx")); r.code != 200 {
		t.Errorf("another key: %d", r.code)
	}
}

// TestClientCertificates: callers without one are not answered if one is needed.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{change: func(c *authenticator.Config) { c.NeedsClient = true }})
	if r := w.ask(t, tokenOf(stsHost+"/?"+query(time.Now()))); r.code != http.StatusUnauthorized || w.count() != 0 {
		t.Errorf("%d %s", r.code, r.text)
	}
}

// FuzzAuthenticate: whatever is posted, the answer is one that API servers can read, says
// yes only to a token that STS was asked about for this cluster and host, and the log shows
// nothing of it.
func FuzzAuthenticate(f *testing.F) {
	own := aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}
	good := signedFor(f, cluster, own, time.Now())
	for _, seed := range []string{
		`{"spec":{"token":"` + good + `"}}`, `{}`, `{"apiVersion":"authentication.k8s.io/v1","spec":{"token":""}}`,
		`{"spec":{"token":"` + good[:50] + `"}}`, `{"spec":{"token":"k8s-aws-v1."}}`, `[1]`, `{"spec":{"token":"` + strings.Repeat("A", 5000) + `"}}`,
		`{"spec":{"token":"` + tokenOf(stsHost+"/?"+query(time.Now())+"&ACTION=AssumeRole") + `"}}`,
		`{"spec":{"token":"` + tokenOf("https://sts.us-east-1.amazonaws.com.evil.example/?"+query(time.Now())) + `"}}`,
	} {
		f.Add([]byte(seed))
	}
	w := newWorld(f, options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		before := w.count()
		r := w.send(t, http.MethodPost, authenticator.Path, string(body))
		if !slices.Contains([]int{200, 400, 403, 429, 503}, r.code) {
			t.Fatalf("status %d", r.code)
		}
		if (r.code == 200) != r.review.Status.Authenticated {
			t.Fatalf("%d %s", r.code, r.text)
		}
		if r.code == 200 {
			var asked struct{ Spec struct{ Token string } }
			if err := json.Unmarshal(body, &asked); err != nil || !strings.HasPrefix(asked.Spec.Token, callerid.Prefix) {
				t.Fatalf("yes to %q", body)
			}
		}
		for _, q := range w.asked[before:] {
			if q.Host != "sts.us-east-1.amazonaws.com" && !strings.HasPrefix(q.Host, "sts.") && !strings.HasPrefix(q.Host, "sts-fips.") ||
				q.URL.Query().Get("Action") != "GetCallerIdentity" || q.Header.Get("X-K8s-Aws-Id") != cluster {
				t.Fatalf("asked %s %s", q.Host, q.URL)
			}
		}
		w.showsNothing(t, "")
	})
}

// BenchmarkAuthenticate is a login whose token is known, and one of many at once.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, options{})
	token := tokenOf(stsHost + "/?" + query(time.Now()))
	body := `{"apiVersion":"authentication.k8s.io/v1","spec":{"token":"` + token + `"}}`
	handler := w.Config.Handler
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, authenticator.Path, strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			answer := &discard{header: http.Header{}}
			handler.ServeHTTP(answer, request)
			if answer.code != http.StatusOK {
				b.Errorf("status %d", answer.code)
				return
			}
		}
	})
}

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(code int)        { d.code = code }
