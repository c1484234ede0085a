package authenticator_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/identify"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

const cluster = "demo"

// stub is an STS that answers as it is told, on loopback.
type stub struct {
	mu     sync.Mutex
	status int
	header http.Header
	body   string
	asked  []*http.Request
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	maps.Copy(w.Header(), s.header)
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.body)
}

func (s *stub) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *stub) says(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body, s.header = status, body, nil
}

func answerOf(arn, account, id string) string {
	return fmt.Sprintf(`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":%q,"Arn":%q,"UserId":%q},`+
		`"ResponseMetadata":{"RequestId":"r-1"}}}`, account, arn, id)
}

const account = "123456789012"

var (
	alice    = answerOf("arn:aws:iam::"+account+":user/Alice", account, "AIDAALICE")
	adminAs  = func(session string) string { return assumed("Admin", session) }
	stsError = func(code string) string {
		return `{"Error":{"Code":"` + code + `","Message":"m","Type":"Sender"},"RequestId":"r"}`
	}
)

func assumed(role, session string) string {
	return answerOf("arn:aws:sts::"+account+":assumed-role/"+role+"/"+session, account, "AROAX:"+session)
}

// world is a server in front of the stub.
type world struct {
	*stub
	*httptest.Server
	log      *lockedbuffer.Buffer
	registry *prometheus.Registry
	now      func() time.Time
}

type options struct {
	policy   callerid.Policy
	resolve  func(context.Context, *callerid.Identity) (*access.User, *authenticator.Refusal)
	change   func(*authenticator.Config)
	limits   *identify.Limits
	scrubbed []string
	endpoint string // of STS, instead of the stub
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	w := &world{stub: &stub{status: 200, body: alice}, log: &lockedbuffer.Buffer{}, registry: prometheus.NewRegistry(), now: time.Now}
	if o.policy.Partition == "" {
		o.policy = callerid.Policy{Partition: "aws", Regions: []string{"us-east-1"}}
	}
	metrics, err := authenticator.Register(w.registry, func(region string) bool {
		return arn.HasRegion(o.policy.Partition, region)
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.endpoint == "" {
		sts := httptest.NewServer(w.stub)
		t.Cleanup(sts.Close)
		o.endpoint = sts.URL
	}
	callers, err := awsapi.NewCallers(t.Context(), awsapi.CallersConfig{
		Cluster: cluster, Endpoint: o.endpoint, Answers: metrics.Answered,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	limits := authenticator.Limits()
	if o.limits != nil {
		limits = *o.limits
	}
	identities := identify.New(identify.Config{
		Policy: o.policy, Now: w.now, Observe: metrics.Token, Limits: &limits,
		Ask: authenticator.Observed(callers.Identify, metrics, o.scrubbed, log),
	})
	config := authenticator.Config{
		Cluster: cluster, Identify: identities.Identify, Resolve: o.resolve, Scrubbed: o.scrubbed, Metrics: metrics, Log: log, Now: w.now,
	}
	if config.Resolve == nil {
		config.Resolve = asThemselves
	}
	if o.change != nil {
		o.change(&config)
	}
	routes := http.NewServeMux()
	authenticator.New(config).Routes(routes, http.NotFoundHandler())
	w.Server = httptest.NewServer(routes)
	t.Cleanup(w.Close)
	return w
}

// asThemselves maps everybody to their own name.
func asThemselves(_ context.Context, who *callerid.Identity) (*access.User, *authenticator.Refusal) {
	return &access.User{Username: who.CanonicalARN, Groups: []string{"b", "a"}}, nil
}

type reply struct {
	code   int
	header http.Header
	text   string
	review authenticationv1.TokenReview
}

func (w *world) ask(t testing.TB, token string) reply {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": map[string]any{"token": token},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.send(t, http.MethodPost, authenticator.Path, string(body))
}

func (w *world) send(t testing.TB, method, path, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{code: response.StatusCode, header: response.Header, text: string(text)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &r.review); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return r
}

// counted is the value of a metric with these labels.
func (w *world) counted(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	next:
		for _, metric := range family.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, label := range metric.GetLabel() {
					found = found || label.GetName() == labels[i] && label.GetValue() == labels[i+1]
				}
				if !found {
					continue next
				}
			}
			if metric.Histogram != nil {
				return float64(metric.Histogram.GetSampleCount())
			}
			return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return 0
}

const stsHost = "https://sts.us-east-1.amazonaws.com"

// query is B of spec authenticator §11 at a time, with parameters replaced.
func query(at time.Time, edits ...string) string {
	text := ""
	for _, one := range [][2]string{
		{"Action", "GetCallerIdentity"},
		{"X-Amz-SignedHeaders", "host%3Bx-k8s-aws-id"},
		{"X-Amz-Expires", "60"},
		{"X-Amz-Date", at.UTC().Format("20060102T150405Z")},
	} {
		for i := 0; i < len(edits); i += 2 {
			if edits[i] == one[0] {
				one[1] = edits[i+1]
			}
		}
		if one[1] != "" {
			text += "&" + one[0] + "=" + one[1]
		}
	}
	return text[1:]
}

func tokenOf(url string) string { return callerid.Encode(url).Reveal() }

// signedFor is a token as the SDK makes it.
func signedFor(t testing.TB, cluster string, own aws.Credentials, at time.Time) string {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet,
		stsHost+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-K8s-Aws-Id", cluster)
	nothing := sha256.Sum256(nil)
	made, _, err := v4.NewSigner().PresignHTTP(context.WithoutCancel(t.Context()), own, request,
		hex.EncodeToString(nothing[:]), "sts", "us-east-1", at.UTC())
	if err != nil {
		t.Fatal(err)
	}
	return tokenOf(made)
}

// TestTokens are the rows of spec authenticator §11 through HTTP: status, label, reason,
// what the log says, and whether STS was asked at all.
func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := stsHost + "/?" + query(now)
	long := good + "&X-Amz-Security-Token=" + strings.Repeat("A", 4096)
	for _, row := range []struct {
		name, token    string
		status         int // of STS
		body           string
		partition      string
		code           int
		result, reason string
		says           string
		asked          bool
	}{
		{name: "T1", token: tokenOf(good), code: 200, result: "success", asked: true},
		{name: "T2 empty", token: "", code: 403, result: "invalid_token", reason: "malformed_token", says: "missing expected"},
		{name: "T3", token: strings.Repeat("\x00", 4097), code: 403, result: "invalid_token", reason: "malformed_token", says: "token is too large"},
		{name: "T4", token: tokenOf(long), code: 200, result: "success", asked: true},
		{name: "T5", token: callerid.Prefix + strings.Repeat("A", 16385-11), code: 403, result: "invalid_token", reason: "malformed_token", says: "token is too large: 16385 bytes, of at most 16384"},
		{name: "T6", token: "k8s-aws-v2.asdfasdfa", code: 403, result: "invalid_token", reason: "malformed_token", says: `missing expected \"k8s-aws-v1.\" prefix`},
		{name: "T7", token: "K8S-AWS-V1." + tokenOf(good)[11:], code: 403, result: "invalid_token", reason: "malformed_token", says: "missing expected"},
		{name: "T8", token: "k8s-aws-v1.decodingerror", code: 403, result: "invalid_token", reason: "malformed_token", says: "illegal base64 data"},
		{name: "T9", token: tokenOf(good) + "=", code: 403, result: "invalid_token", reason: "malformed_token", says: "padding"},
		{name: "T10", token: tokenOf(good)[:40] + "\n" + tokenOf(good)[40:], code: 403, result: "invalid_token", reason: "malformed_token", says: "illegal base64 data"},
		{name: "T11", token: callerid.Prefix + base64.RawStdEncoding.EncodeToString([]byte(good+"&X-Amz-Signature=~~~???>>>")), code: 403, result: "invalid_token", reason: "malformed_token", says: "illegal base64 data"},
		{name: "T12", token: tokenOf(":ab:cd.af:/asda"), code: 403, result: "invalid_token", reason: "malformed_token", says: "missing protocol scheme"},
		{name: "T13", token: tokenOf("http" + good[5:]), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected scheme"},
		{name: "T14", token: tokenOf("https://google.com/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "could not parse region"},
		{name: "T15", token: tokenOf("https://sts.us-east-1.amazonaws.com.evil.example/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected hostname"},
		{name: "T16", token: tokenOf(stsHost + ":443/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected hostname"},
		{name: "T17", token: tokenOf("https://a:b@sts.us-east-1.amazonaws.com/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T18", token: tokenOf("https://sts.us-east-1.amazonaws.com%2f@evil.example/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T19", token: tokenOf(stsHost + "/abc?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected path"},
		{name: "T20", token: tokenOf(stsHost + "?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected path"},
		{name: "T21", token: tokenOf(good + "#x"), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T22", token: tokenOf(good + "&NoInWhiteList=abc"), code: 403, result: "invalid_token", reason: "malformed_token", says: "non-whitelisted query parameter"},
		{name: "T23", token: tokenOf(stsHost + "/?action=get&action=post"), code: 403, result: "invalid_token", reason: "malformed_token", says: "multiple values not supported"},
		{name: "T24", token: tokenOf(good + "&X-Amz-Credential=a&x-amz-credential=eve"), code: 403, result: "invalid_token", reason: "malformed_token", says: "duplicate query parameter found:"},
		{name: "T25", token: tokenOf(good + "&ACTION=AssumeRole"), code: 403, result: "invalid_token", reason: "malformed_token", says: "duplicate query parameter found:"},
		{name: "T26", token: tokenOf(stsHost + "/?" + query(now, "Action", "NotGetCallerIdenity")), code: 403, result: "invalid_token", reason: "malformed_token", says: "unexpected action parameter"},
		{name: "T28", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-SignedHeaders", "host")), code: 403, result: "invalid_token", reason: "malformed_token", says: "did not sign the x-k8s-aws-id header"},
		{name: "T30", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-SignedHeaders", "host%3BX-K8S-AWS-ID")), code: 200, result: "success", asked: true},
		{name: "T31", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-SignedHeaders", "host%3Bx-%E2%84%AA8s-aws-id")), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T32", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-Expires", "901")), code: 403, result: "invalid_token", reason: "malformed_token", says: "invalid X-Amz-Expires parameter"},
		{name: "T33", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-Expires", "900")), code: 200, result: "success", asked: true},
		{name: "T34", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-Date", "xxxxxxx")), code: 403, result: "invalid_token", reason: "malformed_token", says: "error parsing X-Amz-Date parameter"},
		{name: "T35", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-Date", "19900422T010203Z")), code: 403, result: "invalid_token", reason: "expired", says: "X-Amz-Date parameter is expired"},
		{name: "T36 young enough", token: tokenOf(stsHost + "/?" + query(now.Add(-14*time.Minute))), code: 200, result: "success", asked: true},
		{name: "T36 too old", token: tokenOf(stsHost + "/?" + query(now.Add(-4*time.Hour-9*time.Minute))), code: 403, result: "invalid_token", reason: "expired", says: "signed 4 h 9 min ago"},
		{name: "T37", token: tokenOf(stsHost + "/?" + query(now, "X-Amz-Date", "")), code: 403, result: "invalid_token", reason: "malformed_token", says: "must be present"},
		{name: "T38", token: tokenOf(stsHost + "/?" + query(now.Add(6*time.Hour+time.Minute))), code: 403, result: "invalid_token", reason: "future", says: "in the future: signed 6 h"},
		{name: "T39", token: tokenOf(good + "&x=%gh"), code: 403, result: "invalid_token", reason: "malformed_token", says: "malformed query parameter"},
		{name: "T40", token: tokenOf(good), status: 403, body: stsError("SignatureDoesNotMatch"), code: 403, result: "sts_error", reason: "bad_signature", says: "made for another cluster than", asked: true},
		{name: "unknown key", token: tokenOf(good), status: 403, body: stsError("InvalidClientTokenId"), code: 403, result: "sts_error", reason: "credentials_invalid", says: "its role or user deleted", asked: true},
		{name: "session over", token: tokenOf(good), status: 403, body: stsError("ExpiredToken"), code: 403, result: "sts_error", reason: "credentials_invalid", says: "session that signed the token is over", asked: true},
		{name: "T42", token: tokenOf(good), status: 302, code: 403, result: "sts_error", reason: "sts_refused", says: "expected 200, got 302", asked: true},
		{name: "T43", token: tokenOf(good), status: 400, body: stsError("Throttling"), code: 429, result: "sts_throttling", reason: "throttled", says: "sts getCallerIdentity was throttled", asked: true},
		{name: "T44", token: tokenOf(good), status: 503, code: 429, result: "sts_throttling", reason: "throttled", asked: true},
		{name: "STS fails", token: tokenOf(good), status: 500, code: 403, result: "sts_error", reason: "sts_unavailable", says: "on us-east-1 endpoint", asked: true},
		{name: "T46", token: tokenOf(good), body: "<xml/>", code: 403, result: "sts_error", reason: "sts_refused", says: "cannot be read", asked: true},
		{name: "T47", token: tokenOf(good), body: "{}", code: 403, result: "sts_error", reason: "sts_refused", says: "arn '' is invalid", asked: true},
		{name: "T50", token: tokenOf(good), body: answerOf("arn:aws:sts::1:assumed-role/Admin", "1", "A:b"), code: 403, result: "sts_error", reason: "sts_refused", says: "does not have a role", asked: true},
		{name: "T51", token: tokenOf(good), body: answerOf("arn:aws:iam::1:role/Admin", "1", "not:vailid:userid"), code: 403, result: "sts_error", reason: "sts_refused", says: "malformed UserID", asked: true},
		{name: "T54", token: tokenOf(good), body: answerOf("arn:aws-cn:iam::1:user/a", "1", "A"), code: 403, result: "sts_error", reason: "sts_refused", says: "is not of partition aws", asked: true},
		{name: "T55", token: tokenOf(good), body: answerOf("arn:aws:iam::1:user/a", "2", "A"), code: 403, result: "sts_error", reason: "sts_refused", says: "names another account", asked: true},
		{name: "T56", partition: "aws-us-gov", token: tokenOf(good), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T57", token: tokenOf("https://sts.s3.amazonaws.com/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T58", token: tokenOf("https://sts-fips.us-east-1.api.aws/?" + query(now)), code: 200, result: "success", asked: true},
		{name: "T59", token: tokenOf("https://sts.cn-north-1.amazonaws.com.cn/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token"},
		{name: "T60", partition: "aws-us-gov", token: tokenOf("https://sts.amazonaws.com/?" + query(now)), code: 403, result: "invalid_token", reason: "malformed_token", says: "global endpoint unsupported"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := options{}
			if row.partition != "" {
				o.policy.Partition = row.partition
			}
			w := newWorld(t, o)
			if row.status != 0 {
				w.says(row.status, row.body)
			} else if row.body != "" {
				w.says(200, row.body)
			}
			if row.status == 302 {
				w.header = http.Header{"Location": {w.URL + "/elsewhere"}}
			}
			r := w.ask(t, row.token)
			if r.code != row.code || (w.count() > 0) != row.asked || r.review.Status.Authenticated != (row.code == 200) {
				t.Errorf("%d %s, STS asked %d times", r.code, r.text, w.count())
			}
			if got := r.header.Get("Content-Type"); got != "application/json; charset=UTF-8" {
				t.Errorf("Content-Type %q", got)
			}
			if n := w.counted(t, "aws_iam_authenticator_authenticate_latency_seconds", "result", row.result); n != 1 {
				t.Errorf("result %s counted %v times", row.result, n)
			}
			if row.code != 200 {
				want := `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","metadata":{},"spec":{},` +
					`"status":{"user":{},"error":"Unauthorized"}}` + "\n"
				if r.text != want {
					t.Errorf("%s", r.text)
				}
				if n := w.counted(t, "rolecall_authenticator_refusals_total", "reason", row.reason); n != 1 {
					t.Errorf("reason %s counted %v times", row.reason, n)
				}
			}
			log := w.log.String()
			if row.reason != "" && (strings.Count(log, "reason="+row.reason) != 1 || !strings.Contains(log, row.says)) {
				t.Errorf("the log says\n%s", log)
			}
			w.showsNothing(t, row.token)
		})
	}
}

// showsNothing fails if the log has anything of a token in it.
func (w *world) showsNothing(t testing.TB, token string) {
	t.Helper()
	log := w.log.String()
	for _, secret := range []string{"X-Amz-Signature", "X-Amz-Security-Token", "aHR0cHM6Ly9", "Action=GetCaller"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q:\n%s", secret, log)
		}
	}
	if len(token) > 64 && strings.Contains(log, token[11:]) {
		t.Errorf("the log shows the token:\n%s", log)
	}
}

// TestQuestionToSTS is what STS is sent (spec authenticator row T41).
func TestQuestionToSTS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	raw := query(time.Now()) + "&X-Amz-Security-Token=a%2Fb%2b%7E&X-Amz-Credential=AKIA%2Fx"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+authenticator.Path,
		strings.NewReader(`{"spec":{"token":"`+tokenOf(stsHost+"/?"+raw)+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-K8s-Aws-Id", "other")
	request.Header.Set("Authorization", "Bearer x")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	got := w.asked[0]
	if got.Method != http.MethodGet || got.URL.RawQuery != raw || got.Host != "sts.us-east-1.amazonaws.com" ||
		got.URL.Path != "/" || cmp.Diff(got.Header.Values("X-K8s-Aws-Id"), []string{cluster}) != "" ||
		got.Header.Get("Accept") != "application/json" || got.Header.Get("Authorization") != "" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
}

// TestUsers are what API servers are told of who is let in (spec authenticator §4.2).
func TestUsers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, says, want string }{
		{"T1 a user", alice, `"username":"arn:aws:iam::123456789012:user/Alice","uid":"aws-iam-authenticator:123456789012:AIDAALICE",` +
			`"groups":["b","a"],"extra":{"accessKeyId":["AKIA"],"arn":["arn:aws:iam::123456789012:user/Alice"],` +
			`"canonicalArn":["arn:aws:iam::123456789012:user/Alice"],"principalId":["AIDAALICE"],"sessionName":[""],` +
			`"sigs.k8s.io/aws-iam-authenticator/principalId":["AIDAALICE"]}`},
		{"T48 a session", adminAs("alice"), `"username":"arn:aws:iam::123456789012:role/Admin","uid":"aws-iam-authenticator:123456789012:AROAX",` +
			`"groups":["b","a"],"extra":{"accessKeyId":["AKIA"],"arn":["arn:aws:sts::123456789012:assumed-role/Admin/alice"],` +
			`"canonicalArn":["arn:aws:iam::123456789012:role/Admin"],"principalId":["AROAX"],"sessionName":["alice"],` +
			`"sigs.k8s.io/aws-iam-authenticator/principalId":["AROAX"]}`},
		{
			"T49 a session of a role with a path", answerOf("arn:aws:sts::1:assumed-role/Org/Team/Admin/S", "1", "AROAX:S"),
			`"canonicalArn":["arn:aws:iam::1:role/Org/Team/Admin"]`,
		},
		{
			"T52 a federated user", answerOf("arn:aws:sts::"+account+":federated-user/Bob", account, account+":Bob"),
			`"uid":"aws-iam-authenticator:123456789012:123456789012:Bob"`,
		},
		{"T53 root", answerOf("arn:aws:iam::"+account+":root", account, account), `"principalId":["123456789012"]`},
		{"an account of 13 digits", answerOf("arn:aws:iam::0123456789012:user/Al", "0123456789012", "A"), `"uid":"aws-iam-authenticator:0123456789012:A"`},
	} {
		w := newWorld(t, options{})
		w.says(200, row.says)
		r := w.ask(t, tokenOf(stsHost+"/?"+query(time.Now())+"&X-Amz-Credential=AKIA%2Fx"))
		if r.code != 200 || !strings.Contains(r.text, `"authenticated":true,"user":{`) || !strings.Contains(r.text, row.want) {
			t.Errorf("%s: %d %s\nwant %s", row.name, r.code, r.text, row.want)
		}
		if n := w.counted(t, "aws_iam_authenticator_sts_responses_total", "ResponseCode", "200", "StsRegion", "us-east-1"); n != 1 {
			t.Errorf("%s: %v answers counted", row.name, n)
		}
	}
}

// TestRequests are spec authenticator §4.1 and rows M1 to M4.
func TestRequests(t *testing.T) {
	t.Parallel()
	token := tokenOf(stsHost + "/?" + query(time.Now()))
	for _, row := range []struct {
		name, method, path, body string
		code                     int
		text                     string
	}{
		{"M1", "GET", "/authenticate", "", 405, "expected POST"},
		{"M1 put", "PUT", "/authenticate", "{}", 405, "expected POST"},
		{"M2 empty", "POST", "/authenticate", "", 400, "expected a request body to be a TokenReview"},
		{"M2", "POST", "/authenticate", "not valid json", 400, "expected a request body to be a TokenReview"},
		{"a list", "POST", "/authenticate", "[]", 400, "expected a request body to be a TokenReview"},
		{"null", "POST", "/authenticate", "null", 400, "expected a request body to be a TokenReview"},
		{"a string", "POST", "/authenticate", `"x"`, 400, "expected a request body to be a TokenReview"},
		{"cut off", "POST", "/authenticate", `{"spec":{"token":"x"`, 400, "expected a request body to be a TokenReview"},
		{"something after it", "POST", "/authenticate", `{} {}`, 400, "expected a request body to be a TokenReview"},
		{"a token that is a number", "POST", "/authenticate", `{"spec":{"token":1}}`, 400, "expected a request"},
		{"a spec that is a list", "POST", "/authenticate", `{"spec":[]}`, 400, "expected a request"},
		{"two tokens", "POST", "/authenticate", `{"spec":{"token":"` + token + `","token":"` + token + `"}}`, 400, "expected a request"},
		{"two specs", "POST", "/authenticate", `{"spec":{"token":"` + token + `"},"spec":{}}`, 400, "expected a request"},
		{"more than 1 MiB", "POST", "/authenticate", `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, 400, "expected a request"},
		{"M3", "POST", "/authenticate", `{}`, 403, `"status":{"user":{}`},
		{"a spec that is null", "POST", "/authenticate", `{"spec":null}`, 403, `"status":{"user":{}`},
		{"the token is not spec's", "POST", "/authenticate", `{"Spec":{"token":"` + token + `"}}`, 403, `"status":{"user":{}`},
		{
			"M4", "POST", "/authenticate", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`, 200,
			`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{},"status":{"authenticated":true`,
		},
		{
			"unknown members, and audiences", "POST", "/authenticate", `{"a":[{}],"spec":{"audiences":["x"],"b":null,"token":"` + token + `"},"status":{}}`, 200,
			`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1"`,
		},
		{"a version that nobody knows", "POST", "/authenticate", `{"apiVersion":"x/v9","kind":"Pod","spec":{"token":"` + token + `"}}`, 200, `"apiVersion":"authentication.k8s.io/v1beta1"`},
		{"a slash after it", "POST", "/authenticate/", `{}`, 404, ""},
		{"another path", "POST", "/", `{}`, 404, ""},
		{"healthz", "GET", "/healthz", "", 200, "ok"},
	} {
		w := newWorld(t, options{})
		r := w.send(t, row.method, row.path, row.body)
		if r.code != row.code || !strings.Contains(r.text, row.text) {
			t.Errorf("%s: %d %s", row.name, r.code, r.text)
		}
		if row.code == 400 || row.code == 405 {
			if n := w.counted(t, "aws_iam_authenticator_authenticate_latency_seconds", "result", "malformed_request"); n != 1 || w.count() > 0 {
				t.Errorf("%s: counted %v times, STS asked %d times", row.name, n, w.count())
			}
		}
		w.showsNothing(t, token)
	}
}

// TestAway: an STS that cannot be reached is a refusal that counts for its region (spec
// authenticator row T45).
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{endpoint: "http://" + freeport.Address(t)}) // where nobody listens
	token := tokenOf(stsHost + "/?" + query(time.Now()))
	if r := w.ask(t, token); r.code != 403 {
		t.Errorf("%d %s", r.code, r.text)
	}
	if n := w.counted(t, "aws_iam_authenticator_sts_connection_failures_total", "StsRegion", "us-east-1"); n == 0 {
		t.Error("no failure of a connection is counted")
	}
	if !strings.Contains(w.log.String(), "reason=sts_unavailable") {
		t.Error(w.log.String())
	}
	w.showsNothing(t, token)
}
