package integration_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localsts "github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// fleetAWS is what is outside of a bubble, where the clock is another: AWS, on
// the bubble's clock as of its last call, and the issuer's documents.
type fleetAWS struct {
	*stsGate
	clock  atomic.Int64 // the bubble's
	minted *token.Key
	down   atomic.Bool
	// limit throttles what is beyond it; nil nothing, and always throttles all.
	limit  *rate.Limiter
	always atomic.Bool
}

func newFleetAWS(t testing.TB) *fleetAWS {
	t.Helper()
	f := &fleetAWS{}
	at := func() time.Time { return time.Unix(0, f.clock.Load()) }
	var err error
	if f.minted, err = token.GenerateEC(elliptic.P256()); err != nil {
		t.Fatal(err)
	}
	documents, err := server.NewDocuments(mintedURL, []crypto.PublicKey{f.minted.Public()})
	if err != nil {
		t.Fatal(err)
	}
	authority, published := serveTLS(t, documents, issuerHost)
	accounts, err := account.NewSet(account.NewMemory(), []string{accountID}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"Federated":"arn:aws:iam::` + accountID + `:oidc-provider/` + issuerHost + `/broker"},` +
		`"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession"],` +
		`"Condition":{"StringEquals":{"` + issuerHost + `/broker:sub":"system:serviceaccount:shop:cart",` +
		`"` + issuerHost + `/broker:aud":"sts.amazonaws.com"}}}]}`
	mine, _ := accounts.Find(accountID)
	if err := mine.Update(func(state account.State) error {
		return errors.Join(
			state.PutProvider(&account.Provider{
				IssuerID:  issuerHost + "/broker",
				ClientIDs: []string{"sts.amazonaws.com"},
			}),
			state.PutRole(&account.Role{
				Name:       "cart",
				Path:       "/",
				ID:         account.NewRoleID(),
				Trust:      trust,
				MaxSession: 43200,
			}))
	}); err != nil {
		t.Fatal(err)
	}
	local := localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      at,
		Log:      discard,
		Region:   "eu-west-1",
		Faults:   true,
		Issuers: localsts.IssuerAccess{
			Endpoints: map[string]string{issuerHost: published.Listener.Addr().String()},
			RootCAs:   authority.Pool(),
		},
	})
	f.stsGate = &stsGate{now: at, aws: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // one that is open holds a bubble's clock
		switch {
		case f.down.Load():
			r.Header.Set("X-Rolecall-Fault", "error;status=503")
		case f.always.Load(), f.limit != nil && !f.limit.AllowN(at(), 1):
			r.Header.Set("X-Rolecall-Fault", "throttle")
		}
		local.ServeHTTP(w, r)
	})}
	server := httptest.NewUnstartedServer(f.stsGate)
	// A call that is given up while it connects leaves a connection without a
	// request, which holds the clock, too.
	server.Config.ReadHeaderTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// now is the bubble's clock, which AWS goes by.
func (f *fleetAWS) now() time.Time {
	now := time.Now()
	f.clock.Store(now.UnixNano())
	return now
}

// fleet is a broker and the agents of many nodes, in a bubble.
type fleet struct {
	t       testing.TB
	aws     *fleetAWS
	key     *token.Key // of the cluster
	objects *workload.Objects
	mux     *http.ServeMux
	broker  atomic.Pointer[http.ServeMux] // mux, or nil while it is down
	agents  []*agent.Agent
	audit   *lockedbuffer.Buffer
	calls   atomic.Int64 // of the broker
}

// inFleet runs a test on a clock of its own, with a broker and agents on so many
// nodes.
func inFleet(t *testing.T, aws *fleetAWS, nodes int, perSecond float64, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f, stop := newFleet(t, aws, nodes, perSecond)
		defer stop()
		test(t, f)
	})
}

// newFleet runs until stop is called.
func newFleet(t testing.TB, aws *fleetAWS, nodes int, perSecond float64) (f *fleet, stop func()) {
	t.Helper()
	f = &fleet{t: t, aws: aws, audit: &lockedbuffer.Buffer{}}
	var err error
	if f.key, err = token.GenerateEC(elliptic.P256()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	f.startBroker(ctx, &running, perSecond)
	for i := range nodes {
		name := fmt.Sprint("n", i)
		uid := f.place("rolecall-system", "agent-"+name, "rolecall-agent", name)
		config := agent.Defaults()
		config.Cluster, config.Node = "prod", name
		config.Metrics, config.Log, config.Now = prometheus.NewRegistry(), discard, time.Now
		config.Upstream = &straight{
			f,
			"Bearer " + f.mint("rolecall-broker", "rolecall-system", "agent-"+name, uid, "rolecall-agent", name),
			fmt.Sprintf("10.1.%d.%d:1", i/250, i%250),
		}
		one, err := agent.New(config)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = one.Run(ctx) })
		f.agents = append(f.agents, one)
	}
	return f, func() { cancel(); running.Wait() }
}

func (f *fleet) startBroker(ctx context.Context, running *sync.WaitGroup, perSecond float64) {
	f.t.Helper()
	set, grants := follow.NewValue(association.NewSet([]*v1alpha1.PodIdentityAssociation{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "association-uid", Generation: 1},
		Spec: v1alpha1.PodIdentityAssociationSpec{
			ServiceAccountName: "cart",
			RoleARN:            cartARN,
			Mode:               v1alpha1.Federated,
		},
	}})), follow.NewValue(&grant.Set{})
	set.MarkSynced()
	grants.MarkSynced()
	f.objects = workload.NewEmbedded(f.aws.now)
	for _, name := range []string{"shop/cart", "rolecall-system/rolecall-agent"} {
		namespace, account, _ := strings.Cut(name, "/")
		if err := f.objects.PutServiceAccount(&corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account, UID: types.UID("uid-" + account)},
		}); err != nil {
			f.t.Fatal(err)
		}
	}
	keys := workload.NewKeys(func(context.Context) (string, []byte, error) {
		text, err := token.MarshalJWKS([]crypto.PublicKey{f.key.Public()})
		return issuerURL, text, err
	}, f.aws.now)
	running.Go(func() { _ = keys.Run(ctx, discard) })
	<-keys.Synced()
	roles, err := awsapi.NewRoles(ctx, awsapi.RolesConfig{Region: "eu-west-1", Endpoint: f.aws.url})
	if err != nil {
		f.t.Fatal(err)
	}
	cluster := &association.Cluster{Name: "prod", Partition: "aws", Region: "eu-west-1", Account: accountID}
	tokens := &workload.Verifier{
		Mode:      workload.JWKS,
		Keys:      keys,
		Objects:   f.objects,
		Disagreed: func() {},
		Now:       f.aws.now,
	}
	metrics := prometheus.NewRegistry()
	made := broker.New(broker.Config{
		Cluster:      cluster,
		Tokens:       tokens,
		Objects:      f.objects,
		Associations: set,
		Grants:       grants,
		Changes:      broker.NewChanges(),
		Limits:       broker.DefaultLimits(),
		Agents: &broker.Agents{
			Mode:     broker.ServiceAccountToken,
			Account:  "rolecall-system/rolecall-agent",
			Audience: "rolecall-broker",
			Tokens:   tokens,
			Now:      f.aws.now,
		},
		Sessions: &session.Taker{
			Roles:   roles,
			Plane:   sessionplan.Plane{Cluster: *cluster, Mode: v1alpha1.Federated},
			Minter:  &session.Minter{Issuer: mintedURL, Key: follow.Hold(f.aws.minted), Now: f.aws.now},
			Pace:    session.NewPace(perSecond, int(perSecond), f.aws.now),
			Metrics: session.NewMetrics(metrics),
			Now:     f.aws.now,
		},
		Audit:   door.NewAudit(f.audit, func(err error) { f.t.Error(err) }),
		Metrics: metrics,
		Log:     slog.New(slog.DiscardHandler),
		Now:     f.aws.now,
	})
	mux := http.NewServeMux()
	made.Routes(mux, nil)
	f.mux = mux
	f.broker.Store(mux)
}

// place has a pod be on a node, and returns its UID.
func (f *fleet) place(namespace, name, account, node string) string {
	f.t.Helper()
	uid := "uid-" + name
	if err := f.objects.PutPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)},
		Spec:       corev1.PodSpec{ServiceAccountName: account, NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}); err != nil {
		f.t.Fatal(err)
	}
	return uid
}

func (f *fleet) mint(audience, namespace, name, uid, account, node string) string {
	f.t.Helper()
	now := time.Now()
	signed, err := token.Mint(f.key, &token.Claims{
		Issuer:    issuerURL,
		Subject:   token.ServiceAccountSubject(namespace, account),
		Audiences: []string{audience},
		IssuedAt:  now,
		NotBefore: now,
		Expiry:    now.Add(24 * time.Hour),
		ID:        name,
		Workload: token.Workload{
			Namespace:      namespace,
			ServiceAccount: token.Reference{Name: account, UID: "uid-" + account},
			Pod:            &token.Reference{Name: name, UID: uid},
			Node:           &token.Reference{Name: node, UID: "uid-" + node},
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return signed.Reveal()
}

// fleetPod is a pod's program, which asks its node's agent.
type fleetPod struct {
	name, raw, address string
	agent              *agent.Agent
}

// pods are so many, spread over the nodes.
func (f *fleet) pods(count int) []*fleetPod {
	f.t.Helper()
	all := make([]*fleetPod, count)
	for i := range all {
		name, node := fmt.Sprintf("p-%05d", i), i%len(f.agents)
		at := fmt.Sprint("n", node)
		all[i] = &fleetPod{
			name,
			f.mint(podIdentity, "shop", name, f.place("shop", name, "cart", at), "cart", at),
			fmt.Sprintf("10.2.%d.%d:1", i/250, i%250),
			f.agents[node],
		}
	}
	return all
}

func (p *fleetPod) ask() (status int, key string, expires time.Time) {
	request := httptest.NewRequestWithContext(
		context.Background(), http.MethodGet, "http://169.254.170.23/v1/credentials", nil,
	)
	request.Header.Set("Authorization", p.raw)
	request.RemoteAddr = p.address
	recorder := httptest.NewRecorder()
	p.agent.ServeHTTP(recorder, request)
	var body struct {
		AccessKeyID string `json:"AccessKeyId"`
		Expiration  time.Time
	}
	_ = json.Unmarshal(recorder.Body.Bytes(), &body)
	return recorder.Code, body.AccessKeyID, body.Expiration
}

// until asks as SDKs and the programs above them do, each second, until there is
// an answer.
func (p *fleetPod) until() (key string) {
	for {
		status, key, _ := p.ask()
		if status == http.StatusOK {
			return key
		}
		time.Sleep(time.Second)
	}
}

// given are the pods that sessions were given to, by access key, as STS was
// asked for them.
func (f *fleet) given() map[string]string {
	given := map[string]string{}
	for _, call := range f.aws.all() {
		if call.key != "" {
			given[call.key] = strings.TrimPrefix(call.name, "eks-prod-")[:len("p-00000")]
		}
	}
	return given
}

// straight is an agent's way to the broker's handler, without a network: what
// waits for one keeps a bubble's clock from moving.
type straight struct {
	f                      *fleet
	authorization, address string
}

func (s *straight) Ready(context.Context) error { return nil }

func (s *straight) AssumeRoleForPodIdentity(
	ctx context.Context, cluster string, raw credential.Secret,
) (*awsapi.PodSession, error) {
	at := s.f.broker.Load()
	if at == nil {
		return nil, errors.New("connection refused")
	}
	s.f.calls.Add(1)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // as of the real client
	defer cancel()
	text, err := json.Marshal(map[string]string{"token": raw.Reveal()})
	if err != nil {
		return nil, err
	}
	request := httptest.NewRequestWithContext(
		ctx, http.MethodPost, "/clusters/"+cluster+"/assume-role-for-pod-identity", bytes.NewReader(text),
	)
	request.Header.Set("Authorization", s.authorization)
	request.RemoteAddr = s.address
	recorder := httptest.NewRecorder()
	at.ServeHTTP(recorder, request)
	switch {
	case ctx.Err() != nil && recorder.Code != http.StatusOK: // what came in the last instant came
		return nil, ctx.Err()
	case s.f.broker.Load() != at:
		return nil, io.ErrUnexpectedEOF // it died meanwhile
	case recorder.Code != http.StatusOK:
		return nil, &awsapi.Error{
			Operation: "broker",
			Code:      recorder.Header().Get("X-Amzn-Errortype"),
			Status:    recorder.Code,
			Message:   recorder.Body.String(),
		}
	}
	var body struct {
		Subject     struct{ Namespace, ServiceAccount string }
		Association struct{ AssociationID string } `json:"podIdentityAssociation"`
		User        struct{ Arn string }           `json:"assumedRoleUser"`
		Credentials struct {
			AccessKeyID, SecretAccessKey, SessionToken string
			Expiration                                 int64
		}
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		return nil, err
	}
	c := body.Credentials
	return &awsapi.PodSession{
		Namespace:      body.Subject.Namespace,
		ServiceAccount: body.Subject.ServiceAccount,
		AssociationID:  body.Association.AssociationID,
		Version:        1,
		RoleARN:        body.User.Arn,
		Credentials: credential.AWS{
			AccessKeyID:  c.AccessKeyID,
			SecretKey:    credential.NewSecret(c.SecretAccessKey),
			SessionToken: credential.NewSecret(c.SessionToken),
			Expires:      time.Unix(c.Expiration, 0).UTC(),
		},
	}, nil
}

// begin has all pods ask at once until each has a session, which must be its own.
// It returns how long the last one waited, and how many sessions STS gave.
func (f *fleet) begin(pods []*fleetPod) (took time.Duration, sessions int) {
	f.t.Helper()
	keys := make([]string, len(pods))
	began := time.Now()
	var asking sync.WaitGroup
	for i, pod := range pods {
		asking.Go(func() { keys[i] = pod.until() })
	}
	asking.Wait()
	took = time.Since(began)
	given := f.given()
	for i, key := range keys {
		if given[key] != pods[i].name {
			f.t.Fatalf("%s has the session of %q", pods[i].name, given[key])
		}
	}
	return took, len(given)
}

// TestColdStart is spec podidentity row S13: pods that start together, 100 on each node, with 50 s
// worth of calls at STS's rate. Each gets a session of its own, for one successful
// call.
func TestColdStart(t *testing.T) {
	t.Parallel()
	aws := newFleetAWS(t)
	aws.limit = rate.NewLimiter(200, 200)
	inFleet(t, aws, 100, 200, func(t *testing.T, f *fleet) {
		took, sessions := f.begin(f.pods(10000))
		if took > 75*time.Second || sessions != 10000 {
			t.Errorf("%d sessions, the last pod waited %s", sessions, took)
		}
		t.Logf("10,000 pods in %s; the broker was asked %d times", took.Round(time.Second), f.calls.Load())
	})
}

// TestThrottledBySTS is spec podidentity row S11: while STS throttles, no pod makes more than three
// calls in any second, however often it asks; when it stops, all have sessions.
func TestThrottledBySTS(t *testing.T) {
	t.Parallel()
	aws := newFleetAWS(t)
	aws.always.Store(true)
	inFleet(t, aws, 1, 1000, func(t *testing.T, f *fleet) {
		pods := f.pods(20)
		until := time.Now().Add(30 * time.Second)
		var asking sync.WaitGroup
		for _, pod := range pods {
			asking.Go(func() {
				for time.Now().Before(until) {
					if status, _, _ := pod.ask(); status != http.StatusTooManyRequests &&
						status != http.StatusGatewayTimeout {
						t.Errorf("status %d", status)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		asking.Wait()
		for _, pod := range pods {
			times := aws.askedFor(pod.name)
			for i := 3; i < len(times); i++ {
				if times[i].Sub(times[i-3]) < time.Second {
					t.Fatalf("%s: four calls within %s", pod.name, times[i].Sub(times[i-3]))
				}
			}
			if len(times) == 0 {
				t.Errorf("STS was not asked for %s", pod.name)
			}
		}
		aws.always.Store(false)
		took, sessions := f.begin(pods)
		if sessions != len(pods) {
			t.Errorf("%d sessions for %d pods", sessions, len(pods))
		}
		t.Logf("%s after the throttling all have sessions", took.Round(time.Second))
	})
}

// TestTenMinutes: 500 pods have sessions while the broker is away for ten minutes,
// or STS is (spec podidentity row S12), as renewals fall due. None is refused, and afterwards all are
// renewed at the pace of renewals.
func TestTenMinutes(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(f *fleet, down bool){
		"broker": func(f *fleet, down bool) {
			if down {
				f.broker.Store(nil)
			} else {
				f.broker.Store(f.mux)
			}
		},
		"STS": func(f *fleet, down bool) { f.aws.down.Store(down) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			aws := newFleetAWS(t)
			const nodes = 5
			inFleet(t, aws, nodes, 100, func(t *testing.T, f *fleet) {
				pods := f.pods(500)
				f.begin(pods)
				time.Sleep(2*time.Hour + 35*time.Minute) // renewals are due from 2 h 24 min to 3 h
				down(f, true)
				for range 10 {
					time.Sleep(time.Minute)
					for _, pod := range pods {
						began := time.Now()
						if status, _, expires := pod.ask(); status != http.StatusOK ||
							time.Until(expires) < time.Hour ||
							time.Since(began) != 0 {
							t.Fatalf("%s: status %d after %s", pod.name, status, time.Since(began))
						}
					}
				}
				down(f, false)
				back, asked := time.Now(), len(aws.all())
				time.Sleep(time.Hour)
				aws.mu.Lock()
				times := aws.asked[asked:]
				aws.mu.Unlock()
				const most = nodes * 3 * 2 // renewals a second of all nodes, as two seconds may have them
				for i := most; i < len(times); i++ {
					if times[i].at.Sub(times[i-most].at) < time.Second {
						t.Fatalf("%d calls within %s", most+1, times[i].at.Sub(times[i-most].at))
					}
				}
				for _, pod := range pods {
					if _, _, expires := pod.ask(); expires.Before(back.Add(3 * time.Hour)) {
						t.Fatalf("%s was not renewed: %s left", pod.name, time.Until(expires))
					}
				}
			})
		})
	}
}

// BenchmarkColdStart is how long 10,000 pods on 100 nodes take with one broker
// when STS takes all that comes: agents, broker and STS on this machine.
func BenchmarkColdStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f, stop := newFleet(b, newFleetAWS(b), 100, 1e6)
		pods := f.pods(10000)
		b.StartTimer()
		took, sessions := f.begin(pods)
		b.StopTimer()
		stop()
		// More than one where this machine cannot keep up with agents' deadlines.
		b.ReportMetric(float64(sessions)/float64(len(pods)), "sessions/pod")
		b.ReportMetric(took.Seconds(), "s/cold-start")
		b.ReportMetric(float64(len(pods))/took.Seconds(), "pods/s")
		b.StartTimer()
	}
}
