package agent_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/token"
)

// TestSuccess pins the bytes that SDKs read, and those the service is sent
// (spec podidentity rows G1, G2).
func TestSuccess(t *testing.T) {
	t.Parallel()
	expiry := time.Now().Add(6 * time.Hour).Truncate(time.Second)
	service := newEKSAuth(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(
			w,
			strings.Replace(
				sessionText("shop", "cart", expiry), fmt.Sprint(expiry.Unix()), fmt.Sprintf("%d.75", expiry.Unix()), 1,
			),
		)
	})
	r := newRig(t, service.client(t), nil)
	raw := cart(time.Now()).mint(t)
	got := r.get(raw)
	want := `{"AccessKeyId":"ASIAEXAMPLEKEYID0001","SecretAccessKey":"secret/+=Key","Token":"session/+=Token",` +
		`"AccountId":"111122223333","Expiration":"` +
		expiry.UTC().Format("2006-01-02T15:04:05Z") + `"}`
	if got.Code != http.StatusOK || got.Body.String() != want {
		t.Errorf("got %d %s, want %s", got.Code, got.Body, want)
	}
	if diff := cmp.Diff(http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Content-Length": {fmt.Sprint(len(want))},
	}, got.Header()); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if again := r.get(raw); again.Body.String() != want {
		t.Errorf("the second answer differs: %s", again.Body)
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	if service.calls != 1 || service.tokens[0] != raw ||
		service.seen[0].URL.Path != "/clusters/prod/assume-role-for-pod-identity" {
		t.Errorf("%d calls, path %s", service.calls, service.seen[0].URL.Path)
	}
	scope := time.Now().UTC().Format("20060102") + "/eu-west-1/eks-auth/aws4_request"
	if signed := service.seen[0].Header.Get("Authorization"); !strings.Contains(signed, scope) {
		t.Errorf("signature %q lacks the scope %s", signed, scope)
	}
}

// TestRequests are the checks before the upstream, in their order; none of the
// refused makes a call.
func TestRequests(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := cart(now).mint(t)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	method := func(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }
	path := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.URL.Path, r.URL.RawPath = strings.Replace(name, "%2f", "/", 1), name }
	}
	for _, row := range []struct {
		name   string
		token  string
		change func(*http.Request)
		status int
		body   string // a part of it
	}{
		{"bearer", "Bearer " + good, nil, 200, "ASIA"},
		{"bearer in capitals, blanks", "  BEARER   " + good + "\t", nil, 200, "ASIA"},
		{"post", good, method("POST"), 200, "ASIA"},
		{"head", good, method("HEAD"), 200, ""},
		{"put", good, method("PUT"), 405, "Method Not Allowed"},
		{"delete", good, method("DELETE"), 405, ""},
		{"options", good, method("OPTIONS"), 405, ""},
		{"ipv6 host", good, host("[fd00:ec2::23]"), 200, ""},
		{"ipv6 host and port", good, host("[fd00:ec2::23]:80"), 200, ""},
		{"ipv6 host without brackets", good, host("fd00:ec2::23"), 200, ""},
		{"ipv6 host in capitals", good, host("[FD00:EC2::23]"), 200, ""},
		{"ipv6 host, long", good, host("[fd00:0ec2:0:0::23]"), 200, ""},
		{"host and port", good, host("169.254.170.23:80"), 200, ""},
		{"bind host", good, host("127.0.0.1:8080"), 200, ""},
		{
			"host with a zone",
			good,
			host("[fd00:ec2::23%eth0]"),
			403,
			"Access Denied. Called agent through invalid address, please use either [169.254.170.23 fd00:ec2::23 " +
				"127.0.0.1] address not [fd00:ec2::23%eth0]",
		},
		{"mapped address", good, host("[::ffff:169.254.170.23]"), 403, "Access Denied"},
		{"rebound name", good, host("evil.example"), 403, "evil.example"},
		{"instance metadata", good, host("169.254.169.254"), 403, "AccessDenied"},
		{"localhost", good, host("localhost"), 403, ""},
		{"no host", good, host(""), 403, ""},
		{"broken host", good, host("[169.254.170.23"), 403, ""},
		{"decimal host", good, host("2852039191"), 403, ""},
		{"bad host comes before no token", "", host("evil.example"), 403, ""},
		{"no token", "", nil, 400, "Service account token cannot be empty"},
		{"only bearer", "Bearer ", nil, 400, ""},
		{"no JWT", "abc", nil, 400, "Service account token cannot be parsed: token is malformed"},
		{"three parts", "a.b.c", nil, 400, "cannot be parsed"},
		{"four parts", good + ".x", nil, 400, "cannot be parsed"},
		{"too long", strings.Repeat("a", 21000), nil, 400, "cannot be parsed"},
		{
			"expired", sign(t, `{"sub":"x","exp":1}`), nil, 400,
			"Service account token failed basic claim validations: token is expired",
		},
		{"no expiry", sign(t, `{"sub":"x"}`), nil, 400, "InvalidTokenException"},
		{"expiry is null", sign(t, `{"exp":null}`), nil, 400, "exp"},
		{"expiry is text", sign(t, `{"exp":"9999999999"}`), nil, 400, "cannot be parsed"},
		{"expiry beyond all times", sign(t, `{"exp":1e300}`), nil, 200, ""},
		{"soon valid", sign(t, fmt.Sprintf(`{"exp":%d,"nbf":%d}`, now.Unix()+900, now.Unix()+30)), nil, 200, ""},
		{
			"not yet valid", sign(t, fmt.Sprintf(`{"exp":%d,"nbf":%d}`, now.Unix()+900, now.Unix()+600)), nil, 400,
			"token is not valid yet",
		},
		{"query", good, func(r *http.Request) { r.URL.RawQuery = "x=1" }, 200, ""},
		{"double slash", good, path("//v1/credentials"), 200, ""},
		{"dots", good, path("/v1/../v1/credentials"), 200, ""},
		{"slash at the end", good, path("/v1/credentials/"), 404, "404 page not found\n"},
		{"capital", good, path("/V1/credentials"), 404, "404 page not found\n"},
		{"escaped slash", good, path("/v1/credentials%2f"), 404, "404 page not found\n"},
		{"root", good, path("/"), 404, "404 page not found\n"},
		{
			"unknown path comes before bad host", "", func(r *http.Request) { r.URL.Path, r.Host = "/x", "evil" }, 404,
			"",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			service := newEKSAuth(t, grant(6*time.Hour))
			r := newRig(t, service.client(t), nil)
			var changes []func(*http.Request)
			if row.change != nil {
				changes = append(changes, row.change)
			}
			got := r.get(row.token, changes...)
			if got.Code != row.status || !strings.Contains(got.Body.String(), row.body) {
				t.Errorf("got %d %q, want %d %q", got.Code, got.Body, row.status, row.body)
			}
			if calls := service.count(); (calls == 1) != (row.status == 200) {
				t.Errorf("%d calls", calls)
			}
			if row.status >= 400 && row.status < 404 {
				members := answerOf(t, got, row.status)
				if len(members) != 4 || members["code"] != members["Code"] ||
					members["message"] != members["Message"] || members["code"] == "" {
					t.Errorf("members %v", members)
				}
			}
		})
	}
}

// sign makes a token of the cluster with any payload.
func sign(t *testing.T, payload string) string {
	t.Helper()
	signed, err := token.Sign(clusterKey(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return signed.Reveal()
}

// TestUpstreamErrors are what the service, or something in its place, can
// answer over the wire (spec podidentity rows E1-E19).
func TestUpstreamErrors(t *testing.T) {
	t.Parallel()
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	without := func(member string) http.HandlerFunc {
		return body(
			200, strings.Replace(sessionText("shop", "cart", time.Now().Add(time.Hour)), `"`+member+`"`, `"x"`, 1),
		)
	}
	for _, row := range []struct {
		name        string
		respond     http.HandlerFunc
		status      int
		code        string
		message     string
		calls       int
		plainStatus int // when it differs
		plain       string
	}{
		{
			"no association",
			fail(
				404, "ResourceNotFoundException", "No association found",
			),
			404,
			"ResourceNotFoundException",
			"[6b1c0000-0000-4000-8000-000000000000]: (ResourceNotFoundException): No association found, fault: client",
			1,
			0,
			"[6b1c0000-0000-4000-8000-000000000000]: (ResourceNotFoundException): No association found, " +
				"fault: client\n",
		},
		{
			"denied", fail(400, "AccessDeniedException", "Unauthorized Exception!"), 400, "AccessDeniedException",
			"sts:TagSession", 1, 0, "",
		},
		{
			"denied to the agent",
			fail(
				400, "AccessDeniedException", "User: x is not authorized to perform: eks-auth:AssumeRoleForPodIdentity",
			),
			400, "AccessDeniedException", "The agent's own role must allow", 1, 0, "",
		},
		{
			"denied by a broker", fail(400, "AccessDeniedException", "The association is paused."), 400,
			"AccessDeniedException", "paused., fault: client", 1, 0, "",
		},
		{"invalid token", fail(400, "InvalidTokenException", "x"), 400, "InvalidTokenException", "", 1, 0, ""},
		{"expired token", fail(400, "ExpiredTokenException", "x"), 400, "ExpiredTokenException", "", 1, 0, ""},
		{
			"invalid parameter", fail(400, "InvalidParameterException", "x"), 400, "InvalidParameterException", "", 1,
			0, "",
		},
		{"invalid request", fail(400, "InvalidRequestException", "x"), 400, "InvalidRequestException", "", 1, 0, ""},
		{
			"node credentials", fail(403, "UnrecognizedClientException", "x"), 403, "UnrecognizedClientException",
			"node credentials", 1, 0, "",
		},
		{
			"node credentials expired", fail(403, "ExpiredTokenException", "x"), 403, "ExpiredTokenException",
			"node credentials", 1, 0, "",
		},
		{
			"internal", fail(500, "InternalServerException", "x"), 500, "InternalServerException", "fault: server", 3,
			0, "",
		},
		{
			"unavailable", fail(503, "ServiceUnavailableException", "x"), 503, "ServiceUnavailableException", "", 3, 0,
			"",
		},
		{
			"a page of a proxy", body(500, "<html>"), 500, "UnknownError", "(UnknownError): , fault: unknown", 3, 0,
			"[6b1c0000-0000-4000-8000-000000000000]: (UnknownError): , fault: unknown\n",
		},
		{
			"code in the body", body(400, `{"__type":"com.amazonaws.eksauth#InvalidRequestException","Message":"m"}`),
			400, "InvalidRequestException", "m", 1, 0, "",
		},
		{
			"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 503,
			"ServiceUnavailableException", "", 3, 500, "[]\n",
		},
		{"no JSON", body(200, "hello"), 502, "InternalServerException", "", 1, 500, ""},
		{
			"empty", body(200, "{}"), 502, "InternalServerException", "credentials or assumed role empty", 1, 500,
			"error getting credentials to cache: invalid response from server: credentials or assumed role empty\n",
		},
		{"without a key", without("accessKeyId"), 502, "InternalServerException", "", 1, 500, ""},
		{"without credentials", without("credentials"), 502, "InternalServerException", "", 1, 500, ""},
		{"without a role", without("assumedRoleUser"), 502, "InternalServerException", "", 1, 500, ""},
		{"without expiry", without("expiration"), 502, "InternalServerException", "", 1, 500, ""},
		{
			"expires at once", body(
				200, sessionText("shop", "cart", time.Now().Add(10*time.Second)),
			), 502, "InternalServerException", "", 1, 500,
			"fetched credentials are expired or will expire within the next 15 seconds\n",
		},
		{
			"expired", body(200, sessionText("shop", "cart", time.Now().Add(-time.Hour))), 502,
			"InternalServerException", "", 1, 500, "",
		},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, 502, "InternalServerException", "", 1, 500, ""},
		{"20 MiB", func(w http.ResponseWriter, _ *http.Request) {
			for range 20 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}, 502, "InternalServerException", "", 1, 500, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			service := newEKSAuth(t, row.respond)
			raw := cart(time.Now()).mint(t)
			start := time.Now()
			// a busy machine is no failure of the service
			patient := func(c *agent.Config) { c.ForegroundDeadline = 10 * time.Second }
			members := answerOf(t, newRig(t, service.client(t), patient).get(raw), row.status)
			if members["code"] != row.code || !strings.Contains(members["message"], row.message) {
				t.Errorf("got %v after %s", members, time.Since(start))
			}
			if row.name == "denied by a broker" && strings.Contains(members["message"], "must") {
				t.Errorf("advice that there is not: %v", members)
			}
			if calls := service.count(); calls != row.calls {
				t.Errorf("%d calls, want %d", calls, row.calls)
			}
			plain := newRig(t, service.client(t), func(c *agent.Config) { patient(c); c.PlainErrors = true }).get(raw)
			want := row.plainStatus
			if want == 0 {
				want = row.status
			}
			text := row.plain == "" || plain.Body.String() == row.plain
			if plain.Code != want || plain.Header().Get("Content-Type") != "text/plain; charset=utf-8" || !text {
				t.Errorf("plain: %d %q", plain.Code, plain.Body)
			}
		})
	}
}

// TestWithoutAssociation: an answer that does not name its association is good
// all the same, and said (spec podidentity row E12); AWS's agent dies of it.
func TestWithoutAssociation(t *testing.T) {
	t.Parallel()
	service := newEKSAuth(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(
			w,
			strings.Replace(sessionText("shop", "cart", time.Now().Add(time.Hour)), "podIdentityAssociation", "x", 1),
		)
	})
	r := newRig(t, service.client(t), nil)
	answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
	if !strings.Contains(r.logs.String(), "without an association") {
		t.Error("nothing is said")
	}
}

// TestRefusedConnection: no server at all (spec podidentity row E7).
func TestRefusedConnection(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := newEKSAuth(t, grant(time.Hour))
	service.URL = "http://" + listener.Addr().String()
	_ = listener.Close()
	members := answerOf(
		t, newRig(t, service.client(t), nil).get(cart(time.Now()).mint(t)), http.StatusServiceUnavailable,
	)
	if members["code"] != "ServiceUnavailableException" {
		t.Errorf("got %v", members)
	}
}

// TestSecretsNowhere: what the agent writes holds neither tokens nor keys (spec podidentity row H15).
func TestSecretsNowhere(t *testing.T) {
	t.Parallel()
	service := newEKSAuth(t, grant(6*time.Hour))
	r := newRig(t, service.client(t), nil)
	raw := cart(time.Now()).mint(t)
	answers := []*httptest.ResponseRecorder{}
	answerOf(t, r.get(raw), http.StatusOK)
	service.become(fail(400, "InvalidTokenException", "no"))
	other := cart(time.Now())
	other.uid = "u2"
	bad := other.mint(t)
	answers = append(
		answers, r.get(bad), r.get(bad), r.get(raw, func(q *http.Request) { q.Host = "evil" }), r.get(raw+"x"),
	)
	said := r.logs.String()
	for _, answer := range answers {
		said += answer.Body.String()
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	said += fmt.Sprint(families)
	for _, secret := range []string{
		raw, bad, strings.Split(raw, ".")[2], strings.Split(raw, ".")[1], secretKey, sessionToken, "node-secret",
	} {
		if strings.Contains(said, secret) {
			t.Errorf("%q shows in %s", secret, said)
		}
	}
	if !strings.Contains(said, "EKEYID0001"[6:]) || !strings.Contains(said, "InvalidTokenException") {
		t.Errorf("the logs say too little: %s", said)
	}
}
