package broker_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// The names of spec podidentity §22.
const (
	accountID    = "111122223333"
	otherAccount = "444455556666"
	region       = "eu-west-1"
	issuerHost   = "oidc.example.com"
	clusterURL   = "https://" + issuerHost + "/prod"   // issuer of the cluster's tokens
	brokerURL    = "https://" + issuerHost + "/broker" // issuer of minted ones
	podUID       = "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002"
	accountUID   = "a7c1b9d8-3333-4e5a-b2b2-6f6f4d1c0003"
	agentUID     = "a7c1b9d8-3333-4e5a-b2b2-6f6f4d1c0009"
	agentPodUID  = "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0009"
	roleCart     = "arn:aws:iam::" + accountID + ":role/cart"
	brokerKeyID  = "AKIABROKERBROKER0001"
	brokerSecret = "broker-secret-broker-secret-broker-secr"
)

// TestMain gives this process the AWS identity that mode BrokerRole uses.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": brokerKeyID, "AWS_SECRET_ACCESS_KEY": brokerSecret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// keys are made once: finding primes takes longer than most tests.
var (
	clusterKey = sync.OnceValues(func() (*token.Key, error) { return token.GenerateRSA(2048) })
	strangeKey = sync.OnceValues(func() (*token.Key, error) { return token.GenerateRSA(2048) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// world is a broker between a cluster that is made up and a local AWS.
type world struct {
	t          testing.TB
	client     *fake.Clientset
	broker     *broker.Broker
	objects    *workload.Objects
	keys       *workload.Keys
	set        *follow.Value[*association.Set]
	grants     *follow.Value[*grant.Set]
	changes    *broker.Changes
	accounts   *account.Set
	aws        string
	url        string
	audit, log *lockedbuffer.Buffer
	draining   chan struct{}
	config     broker.Config
	refused    []broker.PodRefusal

	mu    sync.Mutex
	now   time.Time
	calls []url.Values // of STS
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

type settings struct {
	verify workload.Mode
	agents broker.AgentMode
	mode   v1alpha1.AssociationMode
	limits broker.Limits
	cache  bool
	edit   func(*broker.Config)
	minted *token.Key
	// issuer is the cluster's, clusterURL if nil; further are other ones.
	issuer  func() string
	further []follow.Further
}

// patience is longer than a busy machine takes for anything.
const patience = 5 * time.Minute

// podLabels are those that associations may use; cart-0 has the first of them,
// and another.
var podLabels = []string{"example.com/team", "tier"}

// newWorld has the pod shop/cart-0 on node n1, an agent on each of n1 and n2,
// the role cart, and no association.
func newWorld(t testing.TB, s settings) *world {
	t.Helper()
	w := &world{
		t:        t,
		now:      time.Now().UTC().Truncate(time.Second),
		audit:    &lockedbuffer.Buffer{},
		log:      &lockedbuffer.Buffer{},
		draining: make(chan struct{}),
		set:      follow.NewValue(&association.Set{}),
		grants:   follow.NewValue(&grant.Set{}),
		changes:  broker.NewChanges(),
	}
	w.set.MarkSynced()
	w.grants.MarkSynced()
	key := must(clusterKey())
	if s.minted == nil {
		s.minted = must(strangeKey())
	}
	w.startAWS(s.minted)
	w.client = fake.NewClientset(
		account1("shop", "cart", accountUID), account1("rolecall", "agent", agentUID),
		newPod("shop", "cart-0", podUID, "cart", "n1"), newPod(
			"rolecall", "agent-1", agentPodUID, "agent", "n1",
		), newPod(
			"rolecall", "agent-2", "agent-2-uid", "agent", "n2",
		),
	)
	w.objects = workload.NewObjects(w.client, w.clock, podLabels...)
	w.keys = workload.NewKeys(func(context.Context) (string, []byte, error) {
		text, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
		if s.issuer != nil {
			return s.issuer(), text, err
		}
		return clusterURL, text, err
	}, w.clock, s.further...)
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.run(w.objects.Run)
	w.run(func(ctx context.Context) error { return w.keys.Run(ctx, log) })
	for _, synced := range append(w.objects.Synced(), w.keys.Synced()) {
		<-synced
	}
	if s.verify == "" {
		s.verify = workload.JWKS
	}
	if s.agents == "" {
		s.agents = broker.ServiceAccountToken
	}
	if s.mode == "" {
		s.mode = v1alpha1.Federated
	}
	if s.limits == (broker.Limits{}) {
		s.limits = broker.Limits{
			NodeRate:     1e6,
			NodeBurst:    1e6,
			PodRate:      1e6,
			PodBurst:     1e6,
			FailureRate:  1e6,
			FailureBurst: 1e6,
		}
	}
	tokens := &workload.Verifier{
		Mode:      s.verify,
		Keys:      w.keys,
		Objects:   w.objects,
		Review:    &workload.Reviewer{Client: w.client},
		Disagreed: func() {},
		Now:       w.clock,
	}
	registry := prometheus.NewRegistry()
	cluster := &association.Cluster{Name: "prod", Partition: "aws", Region: region, Account: accountID}
	keyFile := t.TempDir() + "/key.pem"
	if err := os.WriteFile(keyFile, must(s.minted.PEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	config := broker.Config{
		Cluster:      cluster,
		Tokens:       tokens,
		Objects:      w.objects,
		Associations: w.set,
		Grants:       w.grants,
		Changes:      w.changes,
		Limits:       s.limits,
		Agents: &broker.Agents{
			Mode:     s.agents,
			Account:  "rolecall/agent",
			Audience: "rolecall-broker",
			Tokens:   tokens,
			Now:      w.clock,
		},
		Sessions: &session.Taker{
			Roles: must(
				awsapi.NewRoles(t.Context(), awsapi.RolesConfig{Region: region, Endpoint: w.aws, Own: true}),
			),
			Plane: sessionplan.Plane{
				Cluster: *cluster, Mode: s.mode, PodLabels: podLabels, Choices: association.Choices(),
			},
			Minter:  &session.Minter{Issuer: brokerURL, Key: must(session.OpenKey(keyFile, log)), Now: w.clock},
			Pace:    session.NewPace(1e6, 1e6, w.clock),
			Metrics: session.NewMetrics(registry),
			Now:     w.clock,
			Total:   patience,
		},
		Audit:    door.NewAudit(w.audit, func(err error) { t.Error(err) }),
		Refused:  func(r broker.PodRefusal) { w.mu.Lock(); defer w.mu.Unlock(); w.refused = append(w.refused, r) },
		Cache:    s.cache,
		Deadline: patience,
		Metrics:  registry,
		Log:      log,
		Now:      w.clock,
	}
	if s.edit != nil {
		s.edit(&config)
	}
	w.config = config
	w.broker = broker.New(config)
	mux := http.NewServeMux()
	w.broker.Routes(mux, w.draining)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	t.Cleanup(w.checkSecrets)
	return w
}

// again is the same with an AWS client that is made now.
func (w *world) again(t *testing.T) *world {
	t.Helper()
	config := w.config
	taker := &session.Taker{
		Plane:   config.Sessions.Plane,
		Minter:  config.Sessions.Minter,
		Pace:    config.Sessions.Pace,
		Metrics: config.Sessions.Metrics,
		Now:     w.clock,
		Total:   patience,
	}
	taker.Roles = must(awsapi.NewRoles(t.Context(), awsapi.RolesConfig{Region: region, Endpoint: w.aws, Own: true}))
	config.Sessions, config.Metrics = taker, prometheus.NewRegistry()
	w.broker = broker.New(config)
	mux := http.NewServeMux()
	w.broker.Routes(mux, w.draining)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.taken()
	return w
}

// serveTLS serves the broker over TLS, too.
func (w *world) serveTLS(config *tls.Config) *httptest.Server {
	mux := http.NewServeMux()
	w.broker.Routes(mux, w.draining)
	server := httptest.NewUnstartedServer(mux)
	server.TLS = config
	server.StartTLS()
	w.t.Cleanup(server.Close)
	return server
}

// checkSecrets is spec podidentity row H15: no token and no key in the log or the audit.
func (w *world) checkSecrets() {
	for name, text := range map[string]string{"log": w.log.String(), "audit": w.audit.String()} {
		for _, secret := range []string{"eyJ", brokerSecret, "FwoGZX", "IQoJ"} {
			if strings.Contains(text, secret) {
				w.t.Errorf("the %s shows a secret (%s…):\n%s", name, secret, text)
			}
		}
	}
}

func (w *world) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// startAWS serves a local AWS that both issuers' providers are registered in,
// and notes what STS is asked.
func (w *world) startAWS(minted *token.Key) {
	t := w.t
	authority := must(pki.NewAuthority("test", time.Now(), time.Hour))
	serving := must(authority.ServingConfig(time.Now(), time.Hour, issuerHost))
	documents := map[string]*token.Key{"/prod": must(clusterKey()), "/broker": minted}
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if before, ok := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration"); ok {
			fmt.Fprintf(
				rw, `{"issuer":"https://%s%s","jwks_uri":"https://%s%s/keys.json"}`, issuerHost, before, issuerHost,
				before,
			)
			return
		}
		key := documents[strings.TrimSuffix(r.URL.Path, "/keys.json")]
		if key == nil {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(must(token.MarshalJWKS([]crypto.PublicKey{key.Public()})))
	}))
	issuer.TLS = serving
	issuer.StartTLS()
	t.Cleanup(issuer.Close)
	accounts := must(account.NewSet(account.NewMemory(), []string{accountID, otherAccount}, w.now))
	local := localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      w.clock,
		Faults:   true,
		Region:   region,
		Log:      slog.New(slog.DiscardHandler),
		Issuers: sts.IssuerAccess{
			Endpoints: map[string]string{issuerHost: issuer.Listener.Addr().String()},
			RootCAs:   authority.Pool(),
		},
	})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if form, err := url.ParseQuery(string(body)); err == nil && strings.HasPrefix(
			form.Get("Action"), "AssumeRole",
		) {
			form.Set("signed-by", r.Header.Get("Authorization"))
			w.mu.Lock()
			w.calls = append(w.calls, form)
			w.mu.Unlock()
		}
		local.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.aws, w.accounts = server.URL, accounts
	w.in(accountID, func(state account.State) error {
		for _, name := range []string{"prod", "broker"} {
			id := issuerHost + "/" + name
			if err := state.PutProvider(
				&account.Provider{
					IssuerID:  id,
					ClientIDs: []string{"sts.amazonaws.com", broker.Audience},
					Created:   w.now,
				},
			); err != nil {
				return err
			}
		}
		user := &account.User{
			Name:    "broker",
			Path:    "/",
			ID:      account.NewUserID(),
			Created: w.now,
			Permissions: account.Permissions{Policies: []account.Document{{
				Name: "take",
				Text: allow(`["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`, "*"),
			}}},
		}
		if err := state.PutUser(user); err != nil {
			return err
		}
		return state.PutKey(
			&account.AccessKey{
				ID:      brokerKeyID,
				Secret:  credential.NewSecret(brokerSecret),
				Account: accountID,
				User:    "broker",
				Created: w.now,
			},
		)
	})
	w.role("cart", trustAll, 43200)
}

func (w *world) in(id string, f func(account.State) error) {
	w.t.Helper()
	found, ok := w.accounts.Find(id)
	if !ok {
		w.t.Fatalf("no account %s", id)
	}
	if err := found.Update(f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) role(name, trust string, maxSession int, permissions ...string) {
	w.t.Helper()
	role := &account.Role{
		Name:       name,
		Path:       "/",
		ID:         account.NewRoleID(),
		Trust:      trust,
		MaxSession: maxSession,
		Created:    w.now,
	}
	for i, text := range permissions {
		role.Policies = append(role.Policies, account.Document{Name: fmt.Sprint(i), Text: text})
	}
	w.in(accountID, func(state account.State) error { return state.PutRole(role) })
}

func allow(actions, resource string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"` +
		resource + `"}]}`
}

// The statements of a role that is assumed in each of the three modes, as the
// guide has them.
const (
	trustMinted = `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::` + accountID + `:oidc-provider/` +
		issuerHost + `/broker"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],` +
		`"Condition":{"StringEquals":{"` + issuerHost + `/broker:sub":"system:serviceaccount:shop:cart","` +
		issuerHost + `/broker:aud":"sts.amazonaws.com"}}}`
	trustOwnToken = `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::` + accountID + `:oidc-provider/` +
		issuerHost + `/prod"},"Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Condition":{"StringEquals":{"` + issuerHost + `/prod:sub":"system:serviceaccount:shop:cart","` + issuerHost +
		`/prod:aud":"pods.eks.amazonaws.com"}}}`
	trustBroker = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID +
		`:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],` +
		`"Condition":{"StringEquals":{"sts:ExternalId":"eu-west-1/111122223333/prod/shop/cart",` +
		`"aws:RequestTag/kubernetes-namespace":"shop","aws:RequestTag/kubernetes-service-account":"cart",` +
		`"aws:RequestTag/eks-cluster-arn":"arn:aws:eks:eu-west-1:111122223333:cluster/prod"}}}`
	trustAll = `{"Version":"2012-10-17","Statement":[` + trustMinted + `,` + trustOwnToken + `,` + trustBroker + `]}`
)

func account1(namespace, name, uid string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}}
}

func newPod(namespace, name, uid, account, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      name,
			UID:       types.UID(uid),
			Labels:    map[string]string{"example.com/team": "red", "owner": "me"},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: account,
			NodeName:           node,
		}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// associate gives shop/cart a role.
func (w *world) associate(edits ...func(*v1alpha1.PodIdentityAssociation)) {
	a := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         "shop",
			Name:              "cart",
			UID:               "association-uid",
			Generation:        1,
			CreationTimestamp: metav1.NewTime(w.now),
		},
		Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: "cart", RoleARN: roleCart},
	}
	for _, edit := range edits {
		edit(a)
	}
	w.set.Set(association.NewSet([]*v1alpha1.PodIdentityAssociation{a}))
}

// claims are T's of spec podidentity §22, changed by edits; nil removes.
func (w *world) claims(edits map[string]any) []byte {
	now := w.clock().Unix()
	all := map[string]any{
		"aud": []string{broker.Audience}, "exp": now + 86400, "iat": now, "nbf": now, "iss": clusterURL,
		"jti": "0b6b7a52-8a39-4f57-8c64-3d1f0f6c9a11",
		"sub": "system:serviceaccount:shop:cart", "kubernetes.io": workloadOf(
			"shop", "cart", accountUID, "cart-0", podUID, "n1",
		),
	}
	for name, value := range edits {
		if value == nil {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	return must(json.Marshal(all))
}

func workloadOf(namespace, account, accountUID, pod, uid, node string) map[string]any {
	all := map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": accountUID}}
	if pod != "" {
		all["pod"] = map[string]any{"name": pod, "uid": uid}
	}
	if node != "" {
		all["node"] = map[string]any{"name": node, "uid": "6f9c2f0e-1111-4c1e-9a55-0a5f4d1c0001"}
	}
	return all
}

// token is a pod's, changed by edits.
func (w *world) token(edits map[string]any) string {
	return must(token.Sign(must(clusterKey()), w.claims(edits))).Reveal()
}

// agent is the token of the agent of a node.
func (w *world) agent(node string) string {
	pod, uid := "agent-1", agentPodUID
	if node == "n2" {
		pod, uid = "agent-2", "agent-2-uid"
	}
	return w.token(
		map[string]any{
			"aud":           []string{"rolecall-broker"},
			"sub":           "system:serviceaccount:rolecall:agent",
			"kubernetes.io": workloadOf("rolecall", "agent", agentUID, pod, uid, node),
		},
	)
}

// answer is what the broker said.
type answer struct {
	status    int
	code      string
	message   string
	requestID string
	version   string
	body      wireAnswer
}

type wireAnswer struct {
	Subject     struct{ Namespace, ServiceAccount string }
	Audience    string
	Association struct{ AssociationArn, AssociationID string } `json:"podIdentityAssociation"`
	User        struct{ Arn, AssumeRoleID string }             `json:"assumedRoleUser"`
	Credentials struct {
		AccessKeyID, SecretAccessKey, SessionToken string
		Expiration                                 json.Number
	}
}

// ask is what the agent of node n1 sends for a pod's token.
func (w *world) ask(raw string) answer {
	w.t.Helper()
	return w.askAs("Bearer "+w.agent("n1"), raw)
}

func (w *world) askAs(authorization, raw string) answer {
	w.t.Helper()
	return w.post(authorization, "prod", string(must(json.Marshal(map[string]string{"token": raw}))))
}

func (w *world) post(authorization, cluster, body string) answer {
	w.t.Helper()
	request := must(
		http.NewRequestWithContext(
			w.t.Context(), http.MethodPost, w.url+"/clusters/"+cluster+"/assume-role-for-pod-identity",
			strings.NewReader(body),
		),
	)
	request.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	return w.do(request)
}

func (w *world) do(request *http.Request) answer {
	w.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text := must(io.ReadAll(response.Body))
	got := answer{
		status:    response.StatusCode,
		code:      response.Header.Get("X-Amzn-Errortype"),
		requestID: response.Header.Get("X-Amzn-Requestid"),
		version:   response.Header.Get("X-Rolecall-Association-Version"),
	}
	if got.status == http.StatusOK {
		if err := json.Unmarshal(text, &got.body); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
		return got
	}
	var said struct{ Message string }
	_ = json.Unmarshal(text, &said)
	got.message = said.Message
	return got
}

// taken are the calls of STS so far, and forgets them.
func (w *world) taken() []url.Values {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// asked is how often STS was asked since.
func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// records are the audit's, and there must be so many.
func (w *world) records(want int) []map[string]any {
	w.t.Helper()
	var all []map[string]any
	for line := range strings.Lines(w.audit.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, record)
	}
	if len(all) != want {
		w.t.Fatalf("%d records, want %d:\n%s", len(all), want, w.audit)
	}
	return all
}
