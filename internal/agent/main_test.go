package agent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

const (
	audience = "pods.eks.amazonaws.com"
	issuer   = "https://oidc.example.com/prod"
	// What must show nowhere.
	secretKey    = "secret/+=Key"
	sessionToken = "session/+=Token"
)

// TestMain gives the process what a node's environment would: the agent's own
// credentials, and nothing of the machine's configuration.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIANODENODENODENODE", "AWS_SECRET_ACCESS_KEY": "node-secret", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL": "", "AWS_PROFILE": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// pod is a pod's token in the making.
type pod struct {
	namespace, account, name, uid string
	audience, node                string
	issued                        time.Time
	life                          time.Duration
	notBefore                     time.Duration // after issued
}

func cart(now time.Time) pod {
	return pod{
		namespace: "shop",
		account:   "cart",
		name:      "cart-0",
		uid:       "u1",
		audience:  audience,
		node:      "n1",
		issued:    now,
		life:      24 * time.Hour,
	}
}

// claims are those kube-apiserver writes.
func (p pod) claims() *token.Claims {
	claims := &token.Claims{
		Issuer: issuer, Subject: token.ServiceAccountSubject(p.namespace, p.account), Audiences: []string{p.audience},
		IssuedAt: p.issued, NotBefore: p.issued.Add(p.notBefore), Expiry: p.issued.Add(p.life), ID: rand.Text(),
		Workload: token.Workload{
			Namespace:      p.namespace,
			ServiceAccount: token.Reference{Name: p.account, UID: "sa-" + p.account},
		},
	}
	if p.uid != "" {
		claims.Workload.Pod = &token.Reference{Name: p.name, UID: p.uid}
		claims.Workload.Node = &token.Reference{Name: p.node, UID: "node-" + p.node}
	}
	return claims
}

var clusterKey = sync.OnceValue(newKey)

func newKey() *token.Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	key, err := token.NewKey(private)
	if err != nil {
		panic(err)
	}
	return key
}

// mint signs with the cluster's key.
func (p pod) mint(t testing.TB) string { t.Helper(); return p.sign(t, clusterKey()) }

func (p pod) sign(t testing.TB, key *token.Key) string {
	t.Helper()
	signed, err := token.Mint(key, p.claims())
	if err != nil {
		t.Fatal(err)
	}
	return signed.Reveal()
}

func clusterJWKS(context.Context) (string, []byte, error) {
	document, err := token.MarshalJWKS([]crypto.PublicKey{clusterKey().Public()})
	return issuer, document, err
}

// rig is an agent before a fake upstream.
type rig struct {
	*agent.Agent
	registry *prometheus.Registry
	logs     *lockedbuffer.Buffer
}

func newRig(t testing.TB, upstream agent.Upstream, change func(*agent.Config)) *rig {
	t.Helper()
	r := &rig{registry: prometheus.NewRegistry(), logs: &lockedbuffer.Buffer{}}
	config := agent.Defaults()
	config.Cluster, config.Upstream, config.Node = "prod", upstream, "n1"
	config.AllowedHosts = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	config.Metrics, config.Now = r.registry, time.Now
	config.Log = slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(&config)
	}
	var err error
	if r.Agent, err = agent.New(config); err != nil {
		t.Fatal(err)
	}
	return r
}

// answered is an answer.
type answered = httptest.ResponseRecorder

func (r *rig) log() *slog.Logger { return slog.New(slog.NewJSONHandler(r.logs, nil)) }

// get asks without a network.
func (r *rig) get(token string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(
		context.Background(), http.MethodGet, "http://169.254.170.23/v1/credentials", nil,
	)
	if token != "" {
		request.Header.Set("Authorization", token)
	}
	for _, one := range change {
		one(request)
	}
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, request)
	return answer
}

// metric is the value of one sample: name, then label values in their order.
func (r *rig) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, sample := range family.GetMetric() {
			var values []string
			for _, label := range sample.GetLabel() {
				values = append(values, label.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				return sample.GetCounter().GetValue() + sample.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// eksAuth is a service in the real wire form, told what to answer.
type eksAuth struct {
	*httptest.Server
	mu      sync.Mutex
	calls   int
	seen    []*http.Request
	tokens  []string
	respond http.HandlerFunc
}

func newEKSAuth(t testing.TB, respond http.HandlerFunc) *eksAuth {
	t.Helper()
	e := &eksAuth{respond: respond}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Token string }
		text, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(text, &body)
		e.mu.Lock()
		e.calls++
		e.seen = append(e.seen, r)
		e.tokens = append(e.tokens, body.Token)
		respond := e.respond
		e.mu.Unlock()
		w.Header().Set("X-Amzn-Requestid", "6b1c0000-0000-4000-8000-000000000000")
		r.Body = io.NopCloser(strings.NewReader(body.Token))
		respond(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *eksAuth) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (e *eksAuth) become(respond http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.respond = respond
}

func (e *eksAuth) client(t testing.TB) *awsapi.EKSAuth {
	t.Helper()
	client, err := awsapi.NewEKSAuth(
		t.Context(), awsapi.EKSAuthConfig{Region: "eu-west-1", Endpoint: e.URL, Now: time.Now},
	)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// grant answers with a session for whom the token names.
func grant(life time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		namespace, account := subjectOf(string(raw))
		_, _ = io.WriteString(w, sessionText(namespace, account, time.Now().Add(life)))
	}
}

func sessionText(namespace, account string, expires time.Time) string {
	return fmt.Sprintf(`{"subject":{"namespace":%q,"serviceAccount":%q},"audience":"pods.eks.amazonaws.com",`+
		`"podIdentityAssociation":{"associationArn":`+
		`"arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/a-0123456789abcdefg",`+
		`"associationId":"a-0123456789abcdefg"},`+
		`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/%s/eks-prod-x",`+
		`"assumeRoleId":"AROAEXAMPLEROLEID0001:eks-prod-x"},`+
		`"credentials":{"accessKeyId":"ASIAEXAMPLEKEYID0001","secretAccessKey":%q,"sessionToken":%q,"expiration":%d}}`,
		namespace, account, account, secretKey, sessionToken, expires.Unix())
}

func subjectOf(raw string) (namespace, account string) {
	decoded, err := token.Decode(raw)
	if err != nil {
		return "", ""
	}
	var subject string
	_ = json.Unmarshal(decoded.Claims["sub"], &subject)
	namespace, account, _ = token.ParseServiceAccountSubject(subject)
	return namespace, account
}

func fail(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-Errortype", code+":http://internal.amazon.com/coral/")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, message)
	}
}

// fakeUpstream is an upstream without a network, for tests of time.
type fakeUpstream struct {
	mu    sync.Mutex
	calls int
	seen  []string
	times []time.Time
	// answer makes the answer of a call; nil grants six hours.
	answer func(raw string, call int) (*awsapi.PodSession, error)
	delay  time.Duration
	ready  error
}

func (f *fakeUpstream) Ready(context.Context) error { return f.ready }

func (f *fakeUpstream) AssumeRoleForPodIdentity(
	ctx context.Context, _ string, raw credential.Secret,
) (*awsapi.PodSession, error) {
	f.mu.Lock()
	f.calls++
	call, answer, delay := f.calls, f.answer, f.delay
	f.seen = append(f.seen, raw.Reveal())
	f.times = append(f.times, time.Now())
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if answer == nil {
		return given(raw.Reveal(), 6*time.Hour), nil
	}
	return answer(raw.Reveal(), call)
}

func (f *fakeUpstream) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeUpstream) become(answer func(raw string, call int) (*awsapi.PodSession, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// given is a session whose key id tells one call from another.
func given(raw string, life time.Duration) *awsapi.PodSession {
	namespace, account := subjectOf(raw)
	return &awsapi.PodSession{
		Namespace: namespace, ServiceAccount: account, AssociationID: "a-0123456789abcdefg",
		RoleARN: "arn:aws:sts::111122223333:assumed-role/" + account + "/eks-prod-x",
		Credentials: credential.AWS{
			AccessKeyID: "ASIA" + rand.Text()[:16], SecretKey: credential.NewSecret(secretKey),
			SessionToken: credential.NewSecret(sessionToken + account), Expires: time.Now().Add(life),
		},
	}
}

func refuse(status int, code string) error {
	return &awsapi.Error{
		Operation: "EKS Auth: AssumeRoleForPodIdentity",
		Code:      code,
		Status:    status,
		Message:   "no",
		RequestID: "6b1c",
	}
}

// answerOf reads an answer, and fails the test if it is not the wanted status.
func answerOf(t testing.TB, got *httptest.ResponseRecorder, status int) map[string]string {
	t.Helper()
	if got.Code != status {
		t.Fatalf("status %d, want %d: %s", got.Code, status, got.Body)
	}
	members := map[string]string{}
	if err := json.Unmarshal(got.Body.Bytes(), &members); err != nil {
		t.Fatalf("%v: %s", err, got.Body)
	}
	return members
}

func expires(t testing.TB, got *httptest.ResponseRecorder) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05Z", answerOf(t, got, http.StatusOK)["Expiration"])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// signedByCluster verifies as the service would.
func signedByCluster(raw string) bool {
	set, err := token.NewKeySet(clusterKey().Public())
	if err != nil {
		panic(err)
	}
	verifier := token.Verifier{Issuer: issuer, Audiences: []string{audience}, Keys: set, Leeway: time.Minute}
	_, err = verifier.Verify(credential.NewSecret(raw), time.Now())
	return err == nil
}

func podOf(raw string) string {
	decoded, err := token.Decode(raw)
	if err != nil {
		return ""
	}
	var workload token.Workload
	_ = json.Unmarshal(decoded.Claims["kubernetes.io"], &workload)
	if workload.Pod == nil {
		return ""
	}
	return workload.Pod.UID
}
