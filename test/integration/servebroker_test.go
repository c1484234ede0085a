package integration_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localsts "github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

const (
	mintedURL    = "https://" + issuerHost + "/broker"
	brokerKeyID  = "AKIABROKERBROKER0001"
	brokerSecret = "broker-secret-broker-secret-broker-secr"
	userKeyID    = "AKIAUSERUSERUSER0001"
	userSecret   = "user-secret-user-secret-user-secret-use"
)

// brokerWorld is a real API server, a local AWS, and a broker between them that
// may do in the cluster only what its guide lists.
type brokerWorld struct {
	t       *testing.T
	c       *cluster.Cluster
	objects dynamic.Interface
	aws     string
	limited string // kubeconfig
	minted  string // key file
	serving string // folder of the serving certificate
	table   string
	ca      *pki.Authority
	client  *http.Client

	url             string
	probes, metrics string // addresses
	log, audit      output
	agents          map[string]string // tokens by node
}

func newBrokerWorld(t *testing.T) *brokerWorld {
	t.Helper()
	w := &brokerWorld{
		t:       t,
		c:       cluster.Start(t, cluster.Options{Issuer: issuerURL}),
		serving: t.TempDir(),
		agents:  map[string]string{},
	}
	var err error
	if w.objects, err = dynamic.NewForConfig(w.c.Config); err != nil {
		t.Fatal(err)
	}
	installCRDs(t, w.objects)
	ctx := t.Context()
	for _, name := range []string{"shop", "rolecall-system"} {
		w.must(w.c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{"n1", "n2"} {
		w.must(w.c.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{
		"shop/cart-federated", "shop/cart-brokerrole", "shop/cart-passthrough", "shop/stranger",
		"rolecall-system/rolecall-agent", "rolecall-system/rolecall-broker",
	} {
		namespace, name, _ := strings.Cut(name, "/")
		w.must(w.c.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, node := range []string{"n1", "n2"} {
		w.agents[node] = w.token(w.pod("rolecall-system", "agent-"+node, "rolecall-agent", node), "rolecall-broker")
	}
	applyGuide(t, w.c, "broker.md", "rbac")
	w.limited = kubeconfigOf(t, w.c, "rolecall-broker")
	w.startAWS()
	w.ca = writeServingPair(t, w.serving)
	w.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.ca.Pool()}},
	}
	w.table = filepath.Join(t.TempDir(), "keys.yaml")
	w.write(
		w.table,
		"keys:\n- {accessKeyId: "+userKeyID+", secretAccessKey: "+userSecret+", "+
			"user: terraform, groups: [\"system:masters\"]}\n",
	)
	return w
}

func (w *brokerWorld) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *brokerWorld) write(file, text string) {
	w.t.Helper()
	w.must(nil, os.WriteFile(file, []byte(text), 0o600))
}

// pod runs on a node, as far as the API server knows.
func (w *brokerWorld) pod(namespace, name, account, node string) *corev1.Pod {
	w.t.Helper()
	pod := newPod(name, account)
	pod.Spec.NodeName = node
	made, err := w.c.Client.CoreV1().Pods(namespace).Create(w.t.Context(), pod, metav1.CreateOptions{})
	w.must(made, err)
	return made
}

// token asks as a kubelet does; nil is a token that is bound to no pod.
func (w *brokerWorld) token(pod *corev1.Pod, audience string) string {
	w.t.Helper()
	return boundTokenIn(w.t, w.c, pod.Namespace, pod.Spec.ServiceAccountName, pod, audience)
}

// serveIssuers serves the documents of the cluster's issuer and of the broker's own,
// and returns the file of the latter's new key.
func serveIssuers(
	t testing.TB, c *cluster.Cluster,
) (keyFile string, authority *pki.Authority, published *httptest.Server) {
	t.Helper()
	key, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	keyFile = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ofCluster, err := server.NewDocuments(c.Issuer, []crypto.PublicKey{c.Key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	ofBroker, err := server.NewDocuments(mintedURL, []crypto.PublicKey{key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	authority, published = serveTLS(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/broker/") {
			ofBroker.ServeHTTP(rw, r)
			return
		}
		ofCluster.ServeHTTP(rw, r)
	}), issuerHost)
	return keyFile, authority, published
}

// startAWS has the role cart, which each account may assume in its own mode, and
// a parameter that sessions of namespace shop may read.
func (w *brokerWorld) startAWS() {
	t := w.t
	minted, authority, published := serveIssuers(t, w.c)
	w.minted = minted
	accounts, err := account.NewSet(account.NewMemory(), []string{accountID}, time.Now())
	w.must(nil, err)
	local := localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      discard,
		Region:   "eu-west-1",
		Issuers: localsts.IssuerAccess{
			Endpoints: map[string]string{issuerHost: published.Listener.Addr().String()},
			RootCAs:   authority.Pool(),
		},
	})
	server := httptest.NewServer(local)
	t.Cleanup(server.Close)
	w.aws = server.URL
	statement := func(principal, actions, condition string) string {
		return `{"Effect":"Allow","Principal":{` + principal + `},"Action":[` + actions + `],` +
			`"Condition":{"StringEquals":{` + condition + `}}}`
	}
	federated := func(id string) string {
		return `"Federated":"arn:aws:iam::` + accountID + `:oidc-provider/` + id + `"`
	}
	trust := `{"Version":"2012-10-17","Statement":[` +
		statement(
			federated(issuerHost+"/broker"),
			`"sts:AssumeRoleWithWebIdentity","sts:TagSession"`,
			`"`+issuerHost+`/broker:sub":"system:serviceaccount:shop:cart-federated",`+
				`"`+issuerHost+`/broker:aud":"sts.amazonaws.com"`,
		) + `,` +
		statement(
			federated(issuerID),
			`"sts:AssumeRoleWithWebIdentity"`,
			`"`+issuerID+`:sub":"system:serviceaccount:shop:cart-passthrough",`+
				`"`+issuerID+`:aud":"pods.eks.amazonaws.com"`,
		) + `,` +
		statement(`"AWS":"arn:aws:iam::`+accountID+`:user/broker"`, `"sts:AssumeRole","sts:TagSession"`,
			`"sts:ExternalId":"eu-west-1/`+accountID+`/prod/shop/cart-brokerrole",`+
				`"aws:RequestTag/eks-cluster-arn":"arn:aws:eks:eu-west-1:`+accountID+`:cluster/prod",`+
				`"aws:RequestTag/kubernetes-namespace":"shop",`+
				`"aws:RequestTag/kubernetes-service-account":"cart-brokerrole"`) + `]}`
	read := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:GetParameter",` +
		`"Resource":"arn:aws:ssm:eu-west-1:` + accountID + `:parameter/${aws:PrincipalTag/kubernetes-namespace}/*"}]}`
	mine, _ := accounts.Find(accountID)
	w.must(nil, mine.Update(func(state account.State) error {
		user := &account.User{Name: "broker", Path: "/", ID: account.NewUserID()}
		return errors.Join(
			state.PutProvider(&account.Provider{IssuerID: issuerID, ClientIDs: []string{"pods.eks.amazonaws.com"}}),
			state.PutProvider(&account.Provider{
				IssuerID:  issuerHost + "/broker",
				ClientIDs: []string{"sts.amazonaws.com"},
			}),
			state.PutUser(user),
			state.PutKey(&account.AccessKey{
				ID:      brokerKeyID,
				Secret:  credential.NewSecret(brokerSecret),
				Account: accountID,
				User:    "broker",
			}),
			state.PutRole(&account.Role{
				Name:        "cart",
				Path:        "/",
				ID:          account.NewRoleID(),
				Trust:       trust,
				MaxSession:  43200,
				Principals:  map[string]string{"arn:aws:iam::" + accountID + ":user/broker": user.ID},
				Permissions: account.Permissions{Policies: []account.Document{{Name: "read", Text: read}}},
			}),
			putNodeRole(state, "node", user),
			putNodeRole(state, "other", user),
		)
	}))
	admin, err := local.Admin()
	w.must(nil, err)
	_, err = w.ssm(admin).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name:  aws.String("/shop/price"),
		Value: aws.String("7"),
		Type:  ssmtypes.ParameterTypeString,
	})
	w.must(nil, err)
}

func (w *brokerWorld) ssm(c credential.AWS) *ssm.Client {
	return ssm.New(ssm.Options{
		BaseEndpoint: aws.String(w.aws),
		Region:       "eu-west-1",
		Credentials: credentials.NewStaticCredentialsProvider(
			c.AccessKeyID, c.SecretKey.Reveal(), c.SessionToken.Reveal(),
		),
	})
}

// start runs `serve broker` with further flags until what is returned is called.
func (w *brokerWorld) start(more ...string) (stop func() int) {
	w.t.Helper()
	server, t := w.startBehind(more...), w.t
	return func() int { t.Helper(); return server.stop(t) }
}

// startBehind is start, for who does more with the program than stop it.
func (w *brokerWorld) startBehind(more ...string) *program {
	w.t.Helper()
	listen := freeport.Address(w.t)
	w.probes, w.metrics = freeport.Address(w.t), freeport.Address(w.t)
	server := startProgram(
		w.t,
		[]string{"AWS_ACCESS_KEY_ID=" + brokerKeyID, "AWS_SECRET_ACCESS_KEY=" + brokerSecret},
		append([]string{
			"serve", "broker", "--cluster-name", "prod", "--region", "eu-west-1", "--account", accountID,
			"--listen", listen, "--probe-listen", w.probes, "--metrics-listen", w.metrics,
			"--tls-cert", filepath.Join(w.serving, "tls.crt"), "--tls-key", filepath.Join(w.serving, "tls.key"),
			"--kubeconfig", w.limited, "--access-keys", w.table, "--issuer", mintedURL, "--signing-key", w.minted,
			"--allowed-modes", "federated,broker-role,pass-through",
			"--sts-endpoint", w.aws, "--shutdown-delay", "0s", "--log-format", "json", "--log-level", "debug",
		}, more...)...)
	w.url, w.log, w.audit = "https://"+listen, server.log, server.stdout
	untilReady(w.t, http.DefaultClient, "http://"+w.probes+"/readyz", server.ended, server.log)
	return server
}

type brokerAnswer struct {
	status        int
	code, message string
	version       string
	body          struct {
		Association struct{ AssociationID string } `json:"podIdentityAssociation"`
		User        struct{ Arn string }           `json:"assumedRoleUser"`
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	}
}

// ask is what the agent of a node sends.
func (w *brokerWorld) ask(node, raw string) brokerAnswer {
	w.t.Helper()
	text, _ := json.Marshal(map[string]string{"token": raw})
	request, err := http.NewRequestWithContext(
		w.t.Context(),
		http.MethodPost,
		w.url+"/clusters/prod/assume-role-for-pod-identity",
		strings.NewReader(string(text)),
	)
	w.must(nil, err)
	request.Header.Set("Authorization", "Bearer "+w.agents[node])
	response, err := w.client.Do(request)
	w.must(nil, err)
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	w.must(nil, err)
	got := brokerAnswer{
		status:  response.StatusCode,
		code:    response.Header.Get("X-Amzn-Errortype"),
		version: response.Header.Get("X-Rolecall-Association-Version"),
	}
	if got.status == http.StatusOK {
		w.must(nil, json.Unmarshal(text, &got.body))
	} else {
		got.message = string(text)
	}
	return got
}

func (w *brokerWorld) expect(what string, got brokerAnswer, code, message string) {
	w.t.Helper()
	if got.code != code || (got.status == http.StatusOK) != (code == "") || !strings.Contains(got.message, message) {
		w.t.Errorf("%s: %d %s %s, want %s %s", what, got.status, got.code, got.message, code, message)
	}
}

// eventually asks until the answer has a code: what is followed arrives within a
// moment.
func (w *brokerWorld) eventually(what, raw, code string) brokerAnswer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		got := w.ask("n1", raw)
		if got.code == code {
			return got
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: still %d %s %s", what, got.status, got.code, got.message)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (w *brokerWorld) associations() dynamic.ResourceInterface {
	return w.objects.Resource(rolecallResource("podidentityassociations")).Namespace("shop")
}

func (w *brokerWorld) associate(account, spec string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	w.must(nil, yaml.Unmarshal([]byte(`{apiVersion: rolecall.io/v1alpha1, kind: PodIdentityAssociation, metadata: `+
		`{name: `+account+`}, spec: {serviceAccountName: `+account+`, `+
		`roleARN: "arn:aws:iam::`+accountID+`:role/cart"`+spec+`}}`), &object.Object))
	w.must(w.associations().Create(w.t.Context(), object, metav1.CreateOptions{}))
}

// TestServeBroker is the whole way in each mode of verifying and of assuming
// roles, on a real API server with the permissions of the guide.
func TestServeBroker(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	modes := map[string]string{
		"cart-federated":   "Federated",
		"cart-brokerrole":  "BrokerRole",
		"cart-passthrough": "PassThrough",
	}
	for _, verify := range []string{"auto", "tokenreview", "jwks", "both"} {
		t.Run(verify, func(t *testing.T) {
			w.t = t
			stop := w.start("--verify", verify)
			for account, mode := range modes {
				w.associate(account, ", mode: "+mode)
				w.wholeWay(account+"-"+verify, account, mode)
			}
			w.hostile(verify)
			if code := stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			for what, text := range map[string]string{"log": w.log.String(), "audit": w.audit.String()} {
				if strings.Contains(text, "eyJ") || strings.Contains(text, brokerSecret) ||
					strings.Contains(text, userSecret) {
					t.Errorf("the %s shows a secret", what)
				}
				if strings.Contains(text, "forbidden") {
					t.Errorf("the %s says that something is forbidden:\n%s", what, text)
				}
			}
		})
	}
}

// TestBrokerReplicas: what one replica told an agent, another goes on from; a
// deleted association is refused by both.
func TestBrokerReplicas(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	stopFirst := w.start()
	first := w.url
	stopSecond := w.start("--verify", "both")
	second := w.url
	w.associate("cart-federated", "")
	raw := w.token(w.pod("shop", "replicas-0", "cart-federated", "n1"), podIdentity)
	for _, w.url = range []string{first, second} {
		w.eventually("session", raw, "")
	}
	cursor, items := w.poll(first, "")
	if len(items) != 1 || items[0]["version"] != 1.0 || items[0]["deleted"] != false {
		t.Fatalf("first poll: %s %v", cursor, items)
	}
	answered := make(chan []map[string]any, 1)
	go func() {
		_, items := w.poll(second, cursor)
		answered <- items
	}()
	w.must(
		w.associations().
			Patch(
				t.Context(), "cart-federated", types.MergePatchType,
				[]byte(`{"spec":{"durationSeconds":900}}`), metav1.PatchOptions{},
			),
	)
	if items := <-answered; len(items) != 1 || items[0]["version"] != 2.0 || items[0]["deleted"] != false {
		t.Errorf("changed: %v", items)
	}
	for _, w.url = range []string{first, second} {
		w.until("a session of the new version", func() bool { return w.ask("n1", raw).version == "2" })
	}
	cursor, _ = w.poll(second, "")
	w.must(
		w.associations().
			Patch(
				t.Context(), "cart-federated", types.MergePatchType,
				[]byte(`{"spec":{"paused":true}}`), metav1.PatchOptions{},
			),
	)
	if _, items := w.poll(first, cursor); len(items) != 1 || items[0]["deleted"] != true {
		t.Errorf("paused: %v", items)
	}
	cursor, _ = w.poll(first, "")
	w.must(nil, w.associations().Delete(t.Context(), "cart-federated", metav1.DeleteOptions{}))
	for _, replica := range []string{first, second} {
		if _, items := w.poll(replica, cursor); len(items) != 1 || items[0]["deleted"] != true {
			t.Errorf("deleted: %v", items)
		}
		w.url = replica
		w.expect("deleted", w.ask("n1", raw), "ResourceNotFoundException", "")
	}
	for _, stop := range []func() int{stopFirst, stopSecond} {
		if code := stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// poll asks for changes as the agent of n1.
func (w *brokerWorld) poll(replica, since string) (cursor string, items []map[string]any) {
	request, err := http.NewRequestWithContext(
		w.t.Context(), http.MethodGet, replica+"/rolecall/v1/changes?node=n1&since="+since, nil,
	)
	if err != nil {
		return err.Error(), nil
	}
	request.Header.Set("Authorization", "Bearer "+w.agents["n1"])
	response, err := w.client.Do(request)
	if err != nil {
		return err.Error(), nil
	}
	defer response.Body.Close()
	var answer struct {
		Cursor string
		Items  []map[string]any
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err.Error(), nil
	}
	return answer.Cursor, answer.Items
}

// wholeWay goes from the pod's token to an access that its tags decide, and back:
// no association or no pod, no session.
func (w *brokerWorld) wholeWay(name, account, mode string) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	pod := w.pod("shop", name, account, "n1")
	raw := w.token(pod, podIdentity)
	got := w.eventually(mode+": session", raw, "")
	want := "arn:aws:sts::" + accountID + ":assumed-role/cart/eks-prod-" + name[:12]
	if !strings.HasPrefix(got.body.User.Arn, want) || got.version != "1" {
		t.Errorf("%s: %+v", mode, got)
	}
	c := got.body.Credentials
	own := credential.AWS{
		AccessKeyID:  c.AccessKeyID,
		SecretKey:    credential.NewSecret(c.SecretAccessKey),
		SessionToken: credential.NewSecret(c.SessionToken),
	}
	who, err := sts.New(sts.Options{
		BaseEndpoint: aws.String(w.aws),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	}).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != got.body.User.Arn {
		t.Errorf("%s: caller %v, %v", mode, who, err)
	}
	_, err = w.ssm(own).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/shop/price")})
	if (err == nil) != (mode != "PassThrough") { // whose session has no tags
		t.Errorf("%s: read by tag: %v", mode, err)
	}
	_, err = w.ssm(own).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/other/price")})
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("%s: read of another namespace: %v", mode, err)
	}
	w.expect(mode+": from another node", w.ask("n2", raw), "AccessDeniedException", "n2")

	w.untilUsed(account)
	w.must(nil, w.associations().Delete(ctx, account, metav1.DeleteOptions{}))
	w.eventually(mode+": association deleted", raw, "ResourceNotFoundException")
	w.associate(account, ", mode: "+mode)
	w.eventually(mode+": association made again", raw, "")
	now := int64(0)
	w.must(nil, w.c.Client.CoreV1().Pods("shop").Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	w.eventually(mode+": pod deleted", raw, "InvalidTokenException")
	again := w.pod("shop", name, account, "n1")
	w.expect(mode+": the old pod's token", w.ask("n1", raw), "InvalidTokenException", "")
	w.eventually(mode+": the new pod's token", w.token(again, podIdentity), "")
	w.must(nil, w.c.Client.CoreV1().Pods("shop").Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	w.must(nil, w.associations().Delete(ctx, account, metav1.DeleteOptions{}))
}

// untilUsed waits until the association's status says that it was used.
func (w *brokerWorld) untilUsed(account string) {
	w.t.Helper()
	w.until("a time of use", func() bool {
		object, err := w.associations().Get(w.t.Context(), account, metav1.GetOptions{})
		w.must(nil, err)
		used, found, _ := unstructured.NestedString(object.Object, "status", "lastUsedTime")
		return found && used != ""
	})
}

// untilEvent waits for an Event of a pod.
func (w *brokerWorld) untilEvent(pod, words string) {
	w.t.Helper()
	w.until("an Event that says "+words, func() bool {
		events, err := w.c.Client.EventsV1().Events("shop").List(w.t.Context(), metav1.ListOptions{})
		w.must(nil, err)
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Reason == "FailedPodIdentity" && e.Regarding.Kind == "Pod" && e.Regarding.Name == pod &&
				strings.Contains(e.Note, words)
		})
	})
}

func (w *brokerWorld) until(what string, there func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for !there() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("there is not %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// hostile are tokens that the API server itself made, or that somebody made who
// has its key.
func (w *brokerWorld) hostile(verify string) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	w.associate("cart-federated", "")
	pod := w.pod("shop", "hostile-"+verify, "cart-federated", "n1")
	raw := w.token(pod, podIdentity)
	w.eventually("good", raw, "")
	var claims map[string]any
	decoded, err := token.Decode(raw)
	w.must(nil, err)
	all, _ := json.Marshal(decoded.Claims)
	sign := func(edit func(map[string]any)) string {
		claims = nil
		w.must(nil, json.Unmarshal(all, &claims))
		edit(claims)
		text, _ := json.Marshal(claims)
		signed, err := token.Sign(w.c.Key, text)
		w.must(nil, err)
		return signed.Reveal()
	}
	w.expect("signed again", w.ask("n1", sign(func(map[string]any) {})), "", "")
	w.expect(
		"expired 5 s ago",
		w.ask("n1", sign(func(c map[string]any) { c["exp"] = time.Now().Unix() - 5 })),
		"ExpiredTokenException",
		"",
	)
	w.expect(
		"expired an hour ago",
		w.ask("n1", sign(func(c map[string]any) { c["exp"] = time.Now().Unix() - 3600 })),
		"ExpiredTokenException",
		"",
	)
	w.expect(
		"not yet",
		w.ask("n1", sign(func(c map[string]any) { c["nbf"] = time.Now().Unix() + 600 })),
		"InvalidTokenException",
		"",
	)
	w.expect(
		"another issuer",
		w.ask("n1", sign(func(c map[string]any) { c["iss"] = mintedURL })),
		"InvalidTokenException",
		"",
	)
	w.expect("another audience", w.ask("n1", w.token(pod, "sts.amazonaws.com")), "InvalidTokenException", "")
	w.expect("the API server's audience", w.ask("n1", w.token(pod, "")), "InvalidTokenException", "")
	w.expect(
		"not bound",
		w.ask("n1", boundTokenIn(t, w.c, "shop", "cart-federated", nil, podIdentity)),
		"InvalidTokenException",
		"not bound",
	)
	w.expect(
		"another's subject",
		w.ask("n1", sign(func(c map[string]any) { c["sub"] = "system:serviceaccount:shop:stranger" })),
		"InvalidTokenException",
		"",
	)
	w.expect("another UID of the pod", w.ask("n1", sign(func(c map[string]any) {
		c["kubernetes.io"].(map[string]any)["pod"].(map[string]any)["uid"] = "x"
	})), "InvalidTokenException", "")
	w.expect("another UID of the account", w.ask("n1", sign(func(c map[string]any) {
		c["kubernetes.io"].(map[string]any)["serviceaccount"].(map[string]any)["uid"] = "x"
	})), "InvalidTokenException", "")
	w.expect(
		"another node",
		w.ask("n1", w.token(w.pod("shop", "elsewhere-"+verify, "cart-federated", "n2"), podIdentity)),
		"AccessDeniedException",
		"n2",
	)
	w.expect(
		"no association",
		w.ask("n1", w.token(w.pod("shop", "stranger-"+verify, "stranger", "n1"), podIdentity)),
		"ResourceNotFoundException",
		"",
	)
	w.untilEvent("stranger-"+verify, "No association found")
	parts := strings.Split(raw, ".")
	w.expect(
		"changed",
		w.ask("n1", parts[0]+"."+strings.Split(sign(func(c map[string]any) { c["jti"] = "x" }), ".")[1]+"."+parts[2]),
		"InvalidTokenException",
		"",
	)
	strange, err := token.GenerateRSA(2048)
	w.must(nil, err)
	signed, err := token.Sign(strange, all)
	w.must(nil, err)
	w.expect("another key", w.ask("n1", signed.Reveal()), "InvalidTokenException", "")
	w.expect(
		"another key with the cluster's kid",
		w.ask("n1", parts[0]+"."+strings.SplitN(signed.Reveal(), ".", 2)[1]),
		"InvalidTokenException",
		"",
	)
	pod.Status.Phase = corev1.PodSucceeded
	w.must(w.c.Client.CoreV1().Pods("shop").UpdateStatus(ctx, pod, metav1.UpdateOptions{}))
	w.eventually("succeeded", raw, "InvalidTokenException")
	w.must(nil, w.associations().Delete(ctx, "cart-federated", metav1.DeleteOptions{}))
}

// boundTokenIn asks as a kubelet does; without a pod the token is not bound, and
// without an audience it is the API server's own.
func boundTokenIn(
	t *testing.T, c *cluster.Cluster, namespace, account string, pod *corev1.Pod, audience string,
) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			APIVersion: "v1",
			Kind:       "Pod",
			Name:       pod.Name,
			UID:        pod.UID,
		}
	}
	made, err := c.Client.CoreV1().
		ServiceAccounts(namespace).
		CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Status.Token
}
