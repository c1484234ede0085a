package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/callerid"
)

const (
	instance1  = "i-0123456789abcdef0"
	instance2  = "i-0123456789abcdef1"
	trustOfAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"AWS":"arn:aws:iam::` + accountID + `:root"},"Action":"sts:AssumeRole"}]}`
)

// nodeWorld is a broker that takes tokens of the role team/node, whose STS can be
// counted and cut off.
type nodeWorld struct {
	*world
	nodes *workload.Nodes
	asked atomic.Int32 // questions whose a token is
	gone  atomic.Bool  // STS
	// twist changes what STS answers, if it is there.
	twist atomic.Pointer[strings.Replacer]
}

func newNodeWorld(t *testing.T, s settings) *nodeWorld {
	t.Helper()
	s.agents = broker.AWSToken
	w := &nodeWorld{world: newWorld(t, s)}
	w.associate()
	w.role("node", trustOfAll, 43200)
	w.role("other", trustOfAll, 43200)
	target := must(url.Parse(w.aws))
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(r *http.Response) error {
			if twist := w.twist.Load(); twist != nil {
				body, err := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(twist.Replace(string(body))))
				r.ContentLength = -1
				r.Header.Del("Content-Length")
				return err
			}
			return nil
		},
	}
	gate := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if w.gone.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(rw, r)
	}))
	t.Cleanup(gate.Close)
	for name, id := range map[string]string{
		"n1": "aws:///eu-west-1a/" + instance1,
		"n2": "aws:///eu-west-1b/" + instance2,
		"n3": "",
		"n4": "azure:///subscriptions/i-0123456789abcdef4",
		"n5": "aws:///eu-west-1a/x" + instance1,
	} {
		w.node(name, id)
	}
	w.nodes = workload.NewNodes(w.client, s.verify, w.clock)
	w.run(w.nodes.Run)
	<-w.nodes.Synced()
	w.config.Agents.Nodes = broker.NewNodeTokens(broker.NodeTokensConfig{
		Cluster: "prod", Policy: callerid.Policy{
			Partition: "aws",
			Regions:   []string{region},
		}, Roles: []arn.Role{must(arn.ParseRole("arn:aws:iam::" + accountID + ":role/team/node"))},
		Callers: must(
			awsapi.NewCallers(t.Context(), awsapi.CallersConfig{Cluster: "prod", Endpoint: gate.URL}),
		), Nodes: w.nodes, Metrics: prometheus.NewRegistry(), Now: w.clock,
	})
	return w
}

func (w *nodeWorld) node(name, providerID string) {
	w.t.Helper()
	must(
		w.client.CoreV1().Nodes().Create(
			w.t.Context(),
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: providerID}},
			metav1.CreateOptions{},
		),
	)
}

// session is a role's, as an instance profile would have it.
func (w *nodeWorld) session(role, name string) aws.Credentials {
	w.t.Helper()
	client := sts.New(
		sts.Options{
			BaseEndpoint: aws.String(w.aws),
			Region:       region,
			Credentials:  credentials.NewStaticCredentialsProvider(brokerKeyID, brokerSecret, ""),
		},
	)
	got := must(
		client.AssumeRole(
			w.t.Context(),
			&sts.AssumeRoleInput{
				RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/" + role),
				RoleSessionName: aws.String(name),
			},
		),
	)
	w.taken()
	return aws.Credentials{
		AccessKeyID:     *got.Credentials.AccessKeyId,
		SecretAccessKey: *got.Credentials.SecretAccessKey,
		SessionToken:    *got.Credentials.SessionToken,
	}
}

// presign makes a token, changed by edits of what is signed.
func (w *nodeWorld) presign(own aws.Credentials, edits ...func(*http.Request)) string {
	w.t.Helper()
	r := must(
		http.NewRequestWithContext(
			w.t.Context(), http.MethodGet,
			"https://sts."+region+".amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil,
		),
	)
	r.Header.Set("X-K8s-Aws-Id", "prod")
	for _, edit := range edits {
		edit(r)
	}
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(
		w.t.Context(), own, r, hex.EncodeToString(empty[:]), "sts", region, w.clock(),
	)
	if err != nil {
		w.t.Fatal(err)
	}
	return callerid.Encode(signed).Reveal()
}

func (w *nodeWorld) of(instance string) string {
	return "Bearer " + w.presign(w.session("node", instance))
}

// TestNodeTokens is spec podidentity §19.3, mode aws-token: who may ask, and for
// which node.
func TestNodeTokens(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	pod := w.token(nil)
	const refused, denied = "UnrecognizedClientException", "AccessDeniedException"
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	at := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.URL = must(url.Parse(address)); r.Host = r.URL.Host }
	}
	wrong := w.session("node", instance1)
	wrong.SecretAccessKey += "x"
	user := aws.Credentials{AccessKeyID: brokerKeyID, SecretAccessKey: brokerSecret}
	for _, row := range []struct{ name, authorization, code, message string }{
		{"good", w.of(instance1), "", ""}, // expect counts the sessions asked for, too
		{
			"the node of another instance", w.of(instance2), denied,
			`runs on node "n1", the request comes from node "n2"`,
		},
		{
			"another role", "Bearer " + w.presign(w.session("other", instance1)), denied,
			"The role arn:aws:iam::" + accountID + ":role/other is not a role of nodes",
		},
		{"a user", "Bearer " + w.presign(user), denied, "user/broker is not a session"},
		{
			"a session with another name", "Bearer " + w.presign(w.session("node", "n1")), denied,
			"not named for an EC2 instance",
		},
		{
			"an instance ID and more", "Bearer " + w.presign(w.session("node", instance1+"x")), denied,
			"not named for an EC2 instance",
		},
		{
			"an instance of no node", w.of("i-0aaaaaaaaaaaaaaaa"), denied,
			"No node of the cluster has the instance ID i-0aaaaaaaaaaaaaaaa",
		},
		{"an instance of another cloud", w.of("i-0123456789abcdef4"), denied, "No node of the cluster"},
		{
			"T40 for another cluster",
			"Bearer " + w.presign(w.session("node", instance1), header("X-K8s-Aws-Id", "other")), refused,
			"must be made for cluster prod",
		},
		{"wrong secret", "Bearer " + w.presign(wrong), refused, "STS does not accept"},
		{
			"another action",
			"Bearer " + w.presign(
				user,
				at("https://sts."+region+".amazonaws.com/?Action=GetSessionToken&Version=2011-06-15&X-Amz-Expires=60"),
			),
			refused, "unexpected action parameter",
		},
		{
			"another host",
			"Bearer " + w.presign(user, at("https://sts.example.com/?Action=GetCallerIdentity&X-Amz-Expires=60")),
			refused, "unexpected hostname",
		},
		{
			"another region's STS",
			"Bearer " + w.presign(
				w.session("node", instance1),
				at("https://sts.us-east-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60"),
			),
			"", "",
		},
		{
			"another partition's STS",
			"Bearer " + w.presign(
				user, at("https://sts.us-gov-west-1.amazonaws.com/?Action=GetCallerIdentity&X-Amz-Expires=60"),
			),
			refused, "does not support hostname",
		},
		{
			"the cluster not signed",
			"Bearer " + w.presign(user, func(r *http.Request) { r.Header.Del("X-K8s-Aws-Id") }), refused,
			"client did not sign",
		},
		{"nobody", "", "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"an AWS signature", "AWS4-HMAC-SHA256 Credential=x", refused, ""},
		{"a service account's token", "Bearer " + w.agent("n1"), refused, "missing expected"},
		{"the pod's token", "Bearer " + pod, refused, "missing expected"},
		{"garbage", "Bearer k8s-aws-v1.AAAA", refused, "not properly formatted"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			w.expect(w.askAs(row.authorization, pod), row.code, row.message)
			if text := w.log.String() + w.audit.String(); strings.Contains(
				text, "X-Amz-Signature",
			) || strings.Contains(text, "aHR0cHM") || strings.Contains(text, "Security-Token") {
				t.Errorf("a token shows:\n%s", text)
			}
		})
	}
}

// TestNodesComeAndGo: a deleted node is none, nor is one whose instance ID another
// one has; a node that joins is one at once.
func TestNodesComeAndGo(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	pod, agent := w.token(nil), w.of(instance1)
	w.expect(w.askAs(agent, pod), "", "")
	remove := func(name string) {
		if err := w.client.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.node("twin", "aws:///eu-west-1c/"+instance1)
	w.until("AccessDeniedException", "The nodes n1, twin all have the instance ID", agent, pod)
	remove("twin")
	w.until("", "", agent, pod)
	remove("n1")
	w.until("AccessDeniedException", "No node of the cluster has the instance ID", agent, pod)
	w.node("n1", "")
	w.until("AccessDeniedException", "No node of the cluster has the instance ID", agent, pod)
	must(
		w.client.CoreV1().Nodes().Update(
			t.Context(),
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n1"},
				Spec:       corev1.NodeSpec{ProviderID: "aws:///eu-west-1a/" + instance1},
			},
			metav1.UpdateOptions{},
		),
	)
	w.until("", "", agent, pod)
	if asked := w.asked.Load(); asked != 1 {
		t.Errorf("%d questions for one token", asked)
	}
}

// until asks until the answer is as wanted: what is followed takes a moment.
func (w *nodeWorld) until(code, message, agent, pod string) {
	w.t.Helper()
	for {
		got := w.askAs(agent, pod)
		if got.code == code && strings.Contains(got.message, message) {
			return
		}
		if w.t.Context().Err() != nil {
			w.t.Fatalf("%+v, want %s %s", got, code, message)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestNodesStandStill: nodes of a watch that stands still are read; without an API
// server they count for as long as pods do.
func TestNodesStandStill(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		verify workload.Mode
		after  time.Duration
		get    error // of the API server
		node   *corev1.Node
		code   string
		reads  int32
	}{
		{workload.JWKS, 9 * time.Minute, nil, nil, "", 0},
		{workload.Auto, 61 * time.Second, nil, nil, "", 1},
		{workload.Auto, 61 * time.Second, errors.New("away"), nil, "ServiceUnavailableException", 1},
		{
			workload.Auto, 61 * time.Second, apierrors.NewNotFound(corev1.Resource("nodes"), "n1"), nil,
			"AccessDeniedException", 1,
		},
		{
			workload.Auto, 61 * time.Second, nil,
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n1"},
				Spec:       corev1.NodeSpec{ProviderID: "aws:///a/" + instance2},
			},
			"AccessDeniedException", 1,
		},
	} {
		w := newNodeWorld(t, settings{verify: row.verify})
		var reads atomic.Int32
		w.client.PrependReactor("get", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			reads.Add(1)
			return row.get != nil || row.node != nil, row.node, row.get
		})
		session := w.session("node", instance1)
		unknown := w.session("node", "i-0aaaaaaaaaaaaaaaa")
		w.advance(row.after)
		// The poll, which no pod's token is part of: pods are stale, too.
		code := w.pollAs("n1", "Bearer "+w.presign(session))
		if code != row.code || reads.Load() != row.reads {
			t.Errorf("%+v: %q after %d reads", row, code, reads.Load())
		}
		if code := w.pollAs(
			"n1", "Bearer "+w.presign(unknown),
		); row.verify == workload.Auto && code != "ServiceUnavailableException" {
			t.Errorf("%+v: %q for an instance that is not known", row, code)
		}
	}
}

// pollAs asks for changes and gives up waiting for them.
func (w *nodeWorld) pollAs(node, authorization string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	request := must(http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/rolecall/v1/changes?node="+node, nil))
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	return w.do(request).code
}

// TestNodeTokenPolls: the poll is authenticated in the same way.
func TestNodeTokenPolls(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	for _, row := range []struct{ name, node, authorization, code string }{
		{"its own node", "n1", w.of(instance1), ""},
		{"another node", "n2", w.of(instance1), "AccessDeniedException"},
		{"another role", "n1", "Bearer " + w.presign(w.session("other", instance1)), "AccessDeniedException"},
		{"nobody", "n1", "", "MissingAuthenticationTokenException"},
	} {
		if code := w.pollAs(row.node, row.authorization); code != row.code {
			t.Errorf("%s: %q, want %q", row.name, code, row.code)
		}
	}
}

// TestNodeTokensAreKept for five minutes, and never longer than STS accepts
// them.
func TestNodeTokensAreKept(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	agent := w.of(instance1)
	for _, step := range []struct {
		after time.Duration
		asked int32
		code  string
	}{
		{0, 1, ""},
		{5*time.Minute - time.Second, 1, ""},
		{time.Second, 2, ""},
		{7 * time.Minute, 3, ""}, // the twelfth: it counts for three more
		{3*time.Minute - time.Second, 3, ""},
		{2 * time.Second, 3, "UnrecognizedClientException"}, // 15 minutes and a second: a replay
	} {
		w.advance(step.after)
		if code := w.pollAs("n1", agent); code != step.code || w.asked.Load() != step.asked {
			t.Errorf("%+v: %q, asked %d times", step, code, w.asked.Load())
		}
	}
	w.expect(w.askAs(agent, w.token(nil)), "UnrecognizedClientException", "X-Amz-Date parameter is expired")
}

// TestNodesNotRead: before the nodes are read there is no verdict about one.
func TestNodesNotRead(t *testing.T) {
	t.Parallel()
	nodes := workload.NewNodes(newWorld(t, settings{}).client, workload.Auto, time.Now)
	_, err := nodes.OfInstance(t.Context(), instance1)
	refused := refusal.Of(err)
	if refused.Code != refusal.Unavailable || !strings.Contains(refused.Message, "not known yet") {
		t.Errorf("%v", err)
	}
}

// TestSTSContradictsItself: the instance is in the ARN and in the user's ID. If they
// name two, the caller is neither.
func TestSTSContradictsItself(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	pod := w.token(nil)
	for name, twist := range map[string]*strings.Replacer{
		"another instance in the ARN": strings.NewReplacer("role/node/"+instance1, "role/node/"+instance2),
		"more before it in the ARN":   strings.NewReplacer("role/node/"+instance1, "role/node/x"+instance1),
		"another instance in the ID":  strings.NewReplacer(":"+instance1, ":"+instance2),
	} {
		t.Run(name, func(*testing.T) {
			w.twist.Store(twist)
			w.expect(w.askAs(w.of(instance1), pod), "AccessDeniedException", "not named for an EC2 instance")
		})
	}
	w.twist.Store(nil)
	w.expect(w.askAs(w.of(instance1), pod), "", "")
}

// TestSTSCannotSay: no answer of STS is no verdict, is not kept, and nothing that
// was known is forgotten for it.
func TestSTSCannotSay(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{edit: func(c *broker.Config) { c.Deadline = 0 }})
	pod, first, second := w.token(nil), w.of(instance1), w.of(instance1)
	w.expect(w.askAs(first, pod), "", "")
	w.gone.Store(true)
	w.expect(w.askAs(second, pod), "ServiceUnavailableException", "STS cannot be asked")
	w.expect(w.askAs(first, pod), "", "")
	w.gone.Store(false)
	w.advance(time.Second)
	w.expect(w.askAs(second, pod), "", "")
	throttled := w.of(instance1)
	w.fault(`{"kind":"throttle","service":"sts","action":"GetCallerIdentity"}`)
	w.expect(w.askAs(throttled, pod), "ThrottlingException", "STS is asked too often")
}

// TestGarbageAsksLittle: who has no credentials cannot make the broker flood STS,
// nor keep a node from being heard.
func TestGarbageAsksLittle(t *testing.T) {
	t.Parallel()
	w := newNodeWorld(t, settings{})
	pod, node := w.token(nil), w.session("node", instance1)
	for i := range 200 {
		forged := node
		forged.SecretAccessKey = strings.Repeat("x", i+1)
		if got := w.askAs(
			"Bearer "+w.presign(forged), pod,
		); got.code != "UnrecognizedClientException" && got.code != "ThrottlingException" {
			t.Fatalf("%+v", got)
		}
	}
	if asked := w.asked.Load(); asked > 5 {
		t.Errorf("%d questions about one access key", asked)
	}
	// The same bad one is not asked about again in a second.
	w.advance(time.Minute)
	before := w.asked.Load()
	forged := node
	forged.SecretAccessKey = "forged"
	bad := "Bearer " + w.presign(forged)
	for range 50 {
		w.expect(w.askAs(bad, pod), "UnrecognizedClientException", "")
	}
	if asked := w.asked.Load() - before; asked != 1 {
		t.Errorf("%d questions about one token", asked)
	}
	w.advance(time.Second)
	w.expect(w.askAs(bad, pod), "UnrecognizedClientException", "")
	if asked := w.asked.Load() - before; asked != 2 {
		t.Errorf("%d questions about one token, want one more after a second", asked)
	}
	w.expect(w.askAs("Bearer "+w.presign(node), pod), "", "")
}
