package integration_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

const (
	dataAccount  = "444455556666" // of the target role
	setupKeyID   = "AKIASETUPSETUPSE0001"
	setupSecret  = "setup-secret-setup-secret-setup-secret-s"
	dataKeyID    = "AKIADATADATADATA0001"
	clusterTagID = "eu-west-1/" + accountID + "/prod/shop/"
)

// podWorld is all that a pod's credentials come by, each in a process of its own:
// API server, webhook, broker, agent of node n1, and AWS.
type podWorld struct {
	*brokerWorld
	sts          *stsGate
	api          *cable // from the broker to the API server
	agentAt      string
	brokerListen string
	probes       string
	agentFlags   []string
	brokerFlags  []string
	hook         *program
	brokers      *program
	node         *program
	all          *programs
}

// programs are all that ever ran, and all that pods were ever given.
type programs struct {
	mu    sync.Mutex
	ran   []*program
	given []string // access keys
}

// of is the same world in a subtest.
func (w *podWorld) of(t *testing.T) *podWorld {
	inner, outer := *w.brokerWorld, *w
	inner.t, outer.brokerWorld = t, &inner
	return &outer
}

func newPodWorld(t *testing.T) *podWorld {
	t.Helper()
	w := &podWorld{all: &programs{}, brokerWorld: &brokerWorld{
		t:       t,
		c:       cluster.Start(t, cluster.Options{Issuer: issuerURL}),
		serving: t.TempDir(),
		agents:  map[string]string{},
	}}
	var err error
	w.objects, err = dynamic.NewForConfig(w.c.Config)
	w.must(nil, err)
	installCRDs(t, w.objects)
	core := w.c.Client.CoreV1()
	for _, name := range []string{"shop", "eks", "rolecall-system"} {
		w.must(core.Namespaces().Create(t.Context(), &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{"n1", "n2"} {
		w.must(core.Nodes().Create(t.Context(), &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{"rolecall-agent", "rolecall-broker"} {
		w.must(core.ServiceAccounts("rolecall-system").Create(t.Context(), &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{
		"federated", "brokerrole", "passthrough", "by-cli", "chain", "stray", "elsewhere", "granted", "fault",
	} {
		w.must(core.ServiceAccounts("shop").Create(t.Context(), &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	w.startSTS()
	w.ca = writeServingPair(t, w.serving)
	w.write(filepath.Join(w.serving, "ca.crt"), string(w.ca.PEM()))
	w.table = filepath.Join(t.TempDir(), "keys.yaml")
	w.write(
		w.table,
		"keys:\n- {accessKeyId: "+userKeyID+", secretAccessKey: "+userSecret+", "+
			"user: terraform, groups: [\"system:masters\"]}\n",
	)
	w.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.ca.Pool()}},
	}
	w.prepareBroker()
	w.prepareAgent()
	w.startBroker()
	w.startNode()
	w.startWebhook()
	waitUntilCalled(t, w.c)
	return w
}

func (w *podWorld) program(environment []string, arguments ...string) *program {
	w.t.Helper()
	p := startProgram(w.t, environment, arguments...)
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.all.ran = append(w.all.ran, p)
	return p
}

func (w *podWorld) prepareBroker() {
	applyGuide(w.t, w.c, "broker.md", "rbac")
	w.limited = kubeconfigOf(w.t, w.c, "rolecall-broker")
	w.api = newCable(w.t, strings.TrimPrefix(w.c.Config.Host, "https://"))
	text, err := os.ReadFile(w.limited)
	w.must(nil, err)
	w.write(w.limited, strings.ReplaceAll(string(text), w.c.Config.Host, "https://"+w.api.address()))
	w.brokerListen = freeport.Address(w.t)
	w.url, w.probes = "https://"+w.brokerListen, freeport.Address(w.t)
	w.brokerFlags = []string{
		"serve", "broker", "--cluster-name", "prod", "--region", "eu-west-1", "--account", accountID,
		"--listen", w.brokerListen, "--probe-listen", w.probes, "--metrics-listen", freeport.Address(w.t),
		"--tls-cert", filepath.Join(w.serving, "tls.crt"), "--tls-key", filepath.Join(w.serving, "tls.key"),
		"--kubeconfig", w.limited, "--access-keys", w.table, "--issuer", mintedURL, "--signing-key", w.minted,
		"--allowed-modes", "federated,broker-role,pass-through",
		"--sts-endpoint", w.sts.url, "--shutdown-delay", "0s", "--log-format", "json", "--log-level", "debug",
	}
}

func (w *podWorld) startBroker() {
	w.t.Helper()
	w.brokers = w.program(
		[]string{"AWS_ACCESS_KEY_ID=" + brokerKeyID, "AWS_SECRET_ACCESS_KEY=" + brokerSecret},
		w.brokerFlags...)
	untilReady(w.t, http.DefaultClient, "http://"+w.probes+"/readyz", w.brokers.ended, w.brokers.log)
}

// prepareAgent gives the agent of n1 what its pod has: an account that may follow
// pods, and a token for the broker, which kubelet got two hours ago.
func (w *podWorld) prepareAgent() {
	t := w.t
	applyGuide(t, w.c, "pod-identity-agent.md", "rbac")
	kubeconfig := limitedAgent(t, w.c)
	pod, err := w.c.Client.CoreV1().Pods("rolecall-system").Get(t.Context(), "agent-n1", metav1.GetOptions{})
	w.must(pod, err)
	w.agents["n1"] = w.old(w.token(pod, "rolecall-broker"))
	own := filepath.Join(t.TempDir(), "token")
	w.write(own, w.agents["n1"])
	credentials, probes := freeport.Address(t), freeport.Address(t)
	w.agentAt = "http://" + credentials
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	w.agentFlags = []string{
		"serve", "agent", "-c", "prod", "-b", "127.0.0.1", "-p", port(credentials), "--probe-port", port(probes),
		"--ipv6", "off", "--metrics-address", "127.0.0.1", "--metrics-port", port(freeport.Address(t)),
		"--upstream", "broker", "--endpoint", w.url, "--broker-token-file", own,
		"--upstream-ca-file", filepath.Join(w.serving, "ca.crt"), "--kubeconfig", kubeconfig, "--pod-liveness", "on",
		"--pod-qps", "1000", "--foreground-deadline", "10s",
	}
}

func (w *podWorld) startNode() {
	w.t.Helper()
	w.node = w.program([]string{"NODE_NAME=n1"}, w.agentFlags...)
	untilReady(
		w.t, http.DefaultClient,
		"http://127.0.0.1:"+w.agentFlags[slices.Index(w.agentFlags, "--probe-port")+1]+"/readyz", w.node.ended,
		w.node.log,
	)
}

func (w *podWorld) startWebhook() {
	address := freeport.Address(w.t)
	w.hook = w.program(
		nil, "serve", "webhook", "--listen", address, "--metrics-listen", freeport.Address(w.t), "--kubeconfig",
		w.c.Kubeconfig, "--webhook-url", "https://"+address+"/mutate", "--watch-associations",
		"--service-account-lookup-grace-period", "9s", "--aws-default-region", "eu-west-1", "--shutdown-delay",
		"0s", "--log-format", "json",
	)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for !isReady(ctx, address) {
		select {
		case code := <-w.hook.ended:
			w.t.Fatalf("ended with %d:\n%s", code, w.hook.log)
		case <-ctx.Done():
			w.t.Fatalf("not ready:\n%s", w.hook.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// old is a token as kubelet would have had it for two hours.
func (w *podWorld) old(raw string) string {
	w.t.Helper()
	decoded, err := token.Decode(raw)
	w.must(nil, err)
	text, err := json.Marshal(decoded.Claims)
	w.must(nil, err)
	var claims map[string]any
	w.must(nil, json.Unmarshal(text, &claims))
	claims["iat"], claims["nbf"], claims["exp"] = time.Now().
		Add(-2*time.Hour).
		Unix(),
		time.Now().
			Add(-2*time.Hour).
			Unix(),
		time.Now().
			Add(22*time.Hour).
			Unix()
	text, err = json.Marshal(claims)
	w.must(nil, err)
	signed, err := token.Sign(w.c.Key, text)
	w.must(nil, err)
	return signed.Reveal()
}

// startSTS runs a local AWS that trusts the cluster's issuer and the broker's,
// and notes what it is asked for sessions.
func (w *podWorld) startSTS() {
	t := w.t
	minted, authority, published := serveIssuers(t, w.c)
	w.minted = minted
	dir, listen := t.TempDir(), freeport.Address(t)
	w.write(filepath.Join(dir, "ca.pem"), string(authority.PEM()))
	w.write(filepath.Join(dir, "seed.yaml"), podIdentitySeed)
	local := w.program(
		nil, "serve", "aws", "--listen", listen, "--account", accountID, "--account", dataAccount, "--region",
		"eu-west-1", "--seed", filepath.Join(dir, "seed.yaml"), "--issuer-endpoint",
		issuerHost+"="+published.Listener.Addr().String(), "--issuer-ca", filepath.Join(dir, "ca.pem"),
		"--faults",
	)
	untilReady(t, http.DefaultClient, "http://"+listen+"/_rolecall/health", local.ended, local.log)
	w.aws = "http://" + listen
	w.sts = newSTSGate(t, w.aws)
	for id, secret := range map[string]string{setupKeyID: setupSecret, dataKeyID: setupSecret} {
		admin := w.ssm(credential.AWS{AccessKeyID: id, SecretKey: credential.NewSecret(secret)})
		for _, name := range []string{mayRead, otherNamespace, otherCluster} {
			_, err := admin.PutParameter(t.Context(), &ssm.PutParameterInput{
				Name:  &name,
				Value: aws.String("7"),
				Type:  ssmtypes.ParameterTypeString,
			})
			w.must(nil, err)
		}
	}
}

// Parameters that session tags decide about.
const (
	mayRead        = "/prod/shop/price"
	otherNamespace = "/prod/pay/price"
	otherCluster   = "/staging/shop/price"
)

const readByTags = `{Effect: Allow, Action: "ssm:GetParameter", Resource: ` +
	`"arn:aws:ssm:eu-west-1:*:parameter/${aws:PrincipalTag/eks-cluster-name}/` +
	`${aws:PrincipalTag/kubernetes-namespace}/*"}`

// podIdentitySeed has the trust policies of the guide: role cart is assumed in
// each of the modes, and assumes the role data of another account, which wants an
// external id.
const podIdentitySeed = `
accounts:
- id: "` + accountID + `"
  providers:
  - {url: "` + issuerURL + `", clientIDs: [pods.eks.amazonaws.com]}
  - {url: "` + mintedURL + `", clientIDs: [sts.amazonaws.com]}
  users:
  - name: setup
    attached: ["arn:aws:iam::aws:policy/AdministratorAccess"]
    accessKeys: [{id: ` + setupKeyID + `, secret: ` + setupSecret + `}]
  - {name: broker, accessKeys: [{id: ` + brokerKeyID + `, secret: ` + brokerSecret + `}]}
  roles:
  - &cart
    name: cart
    maxSession: 43200
    trust:
      Version: "2012-10-17"
      Statement:
      - Effect: Allow
        Principal: {Federated: "arn:aws:iam::` + accountID + `:oidc-provider/` + issuerHost + `/broker"}
        Action: [sts:AssumeRoleWithWebIdentity, sts:TagSession]
        Condition:
          StringEquals:
            ` + issuerHost + `/broker:aud: sts.amazonaws.com
            ` + issuerHost + `/broker:sub: [
              system:serviceaccount:shop:federated, system:serviceaccount:shop:by-cli,
              system:serviceaccount:shop:chain, system:serviceaccount:shop:stray,
              system:serviceaccount:shop:elsewhere, system:serviceaccount:shop:granted,
              system:serviceaccount:shop:fault]
      - Effect: Allow
        Principal: {Federated: "arn:aws:iam::` + accountID + `:oidc-provider/` + issuerID + `"}
        Action: sts:AssumeRoleWithWebIdentity
        Condition:
          StringEquals:
            "` + issuerID + `:aud": pods.eks.amazonaws.com
            "` + issuerID + `:sub": "system:serviceaccount:shop:passthrough"
      - Effect: Allow
        Principal: {AWS: "arn:aws:iam::` + accountID + `:user/broker"}
        Action: [sts:AssumeRole, sts:TagSession]
        Condition:
          StringEquals:
            sts:ExternalId: ` + clusterTagID + `brokerrole
            aws:RequestTag/eks-cluster-arn: arn:aws:eks:eu-west-1:` + accountID + `:cluster/prod
            aws:RequestTag/kubernetes-namespace: shop
            aws:RequestTag/kubernetes-service-account: brokerrole
    inline:
      read: {Version: "2012-10-17", Statement: [` + readByTags + `]}
      take:
        Version: "2012-10-17"
        Statement:
        - Effect: Allow
          Action: [sts:AssumeRole, sts:TagSession]
          Resource: "arn:aws:iam::` + dataAccount + `:role/data"
  - {<<: *cart, name: cart2}
- id: "` + dataAccount + `"
  users:
  - name: setup
    attached: ["arn:aws:iam::aws:policy/AdministratorAccess"]
    accessKeys: [{id: ` + dataKeyID + `, secret: ` + setupSecret + `}]
  roles:
  - name: data
    trust:
      Version: "2012-10-17"
      Statement:
      - Effect: Allow
        Principal: {AWS: "arn:aws:iam::` + accountID + `:root"}
        Action: [sts:AssumeRole, sts:TagSession]
        Condition:
          ArnEquals: {aws:PrincipalArn: "arn:aws:iam::` + accountID + `:role/cart"}
          StringEquals: {"sts:ExternalId": ` + clusterTagID + `chain}
    inline:
      read: {Version: "2012-10-17", Statement: [` + readByTags + `]}
`

// stsGate is before AWS: it notes the calls for sessions, and can hold them.
type stsGate struct {
	aws http.Handler
	url string // where newSTSGate serves it

	mu      sync.Mutex
	calls   []stsCall  // that were answered
	asked   []stsAsked // all
	now     func() time.Time
	holding chan struct{} // closed when calls may go on; nil if nothing holds them
	waiting int
}

type stsAsked struct {
	name string
	at   time.Time
}

// stsCall is a call and, if AWS gave a session, whose key.
type stsCall struct{ name, key, secret, token string }

func newSTSGate(t *testing.T, to string) *stsGate {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	g := &stsGate{now: time.Now, aws: &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: log.New(io.Discard, "", 0), // who asked may be gone
	}}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	t.Cleanup(g.release)
	g.url = server.URL
	return g
}

func (g *stsGate) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	form, err := url.ParseQuery(string(text))
	if err != nil || !strings.HasPrefix(form.Get("Action"), "AssumeRole") {
		g.aws.ServeHTTP(rw, r)
		return
	}
	name := form.Get("RoleSessionName")
	g.pass(r.Context(), name)
	recorder := httptest.NewRecorder()
	g.aws.ServeHTTP(recorder, r)
	var answer struct {
		Inner struct {
			Credentials struct {
				AccessKeyID     string `xml:"AccessKeyId"`
				SecretAccessKey string
				SessionToken    string
			}
		} `xml:",any"`
	}
	_ = xml.Unmarshal(recorder.Body.Bytes(), &answer) // a refusal has none
	c := answer.Inner.Credentials
	g.mu.Lock()
	g.calls = append(g.calls, stsCall{name, c.AccessKeyID, c.SecretAccessKey, c.SessionToken})
	g.mu.Unlock()
	maps.Copy(rw.Header(), recorder.Header())
	rw.WriteHeader(recorder.Code)
	_, _ = rw.Write(recorder.Body.Bytes())
}

func (g *stsGate) pass(ctx context.Context, name string) {
	g.mu.Lock()
	holding := g.holding
	g.asked = append(g.asked, stsAsked{name, g.now()})
	g.waiting++
	g.mu.Unlock()
	if holding != nil {
		select {
		case <-holding:
		case <-ctx.Done():
		}
	}
	g.mu.Lock()
	g.waiting--
	g.mu.Unlock()
}

func (g *stsGate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holding = make(chan struct{})
}

func (g *stsGate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holding != nil {
		close(g.holding)
		g.holding = nil
	}
}

// untilHeld waits until so many calls wait.
func (g *stsGate) untilHeld(t *testing.T, count int) {
	t.Helper()
	poll(
		t,
		func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.waiting >= count },
		func() { t.Fatal("STS is not asked") },
	)
}

// of are the calls for a pod.
func (g *stsGate) of(pod string) (calls []stsCall) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, call := range g.calls {
		if strings.HasPrefix(call.name, "eks-prod-"+cutName(pod)+"-") {
			calls = append(calls, call)
		}
	}
	return calls
}

func (g *stsGate) all() []stsCall {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// askedFor are the times it was asked for a pod, answered or not.
func (g *stsGate) askedFor(pod string) (times []time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, asked := range g.asked {
		if strings.HasPrefix(asked.name, "eks-prod-"+cutName(pod)+"-") {
			times = append(times, asked.at)
		}
	}
	return times
}

// cutName is the pod's name as session names have it.
func cutName(pod string) string { return pod[:min(12, len(pod))] }

// containedPod is a pod whose first container runs, as far as its files and
// variables go.
type containedPod struct {
	w           *podWorld
	pod         *corev1.Pod
	raw         string
	environment []string
}

// start creates a pod and does what a kubelet does with it: token, file,
// environment.
func (w *podWorld) start(name, account, node string) *containedPod {
	w.t.Helper()
	made := w.pod("shop", name, account, node)
	stored, err := w.c.Client.CoreV1().Pods("shop").Get(w.t.Context(), made.Name, metav1.GetOptions{})
	w.must(stored, err)
	p := &containedPod{w: w, pod: stored}
	source := p.checkInjected()
	answer, err := w.c.Client.CoreV1().
		ServiceAccounts("shop").
		CreateToken(w.t.Context(), account, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{
				Audiences:         []string{source.Audience},
				ExpirationSeconds: source.ExpirationSeconds,
				BoundObjectRef: &authenticationv1.BoundObjectReference{
					Kind:       "Pod",
					APIVersion: "v1",
					Name:       stored.Name,
					UID:        stored.UID,
				},
			},
		}, metav1.CreateOptions{})
	w.must(answer, err)
	p.raw = answer.Status.Token
	container := stored.Spec.Containers[0]
	mount := container.VolumeMounts[slices.IndexFunc(
		container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "eks-pod-identity-token" },
	)]
	// The container's file system is a folder here, and the node's address the
	// loopback's.
	root := w.t.TempDir()
	folder := filepath.Join(root, mount.MountPath)
	w.must(nil, os.MkdirAll(folder, 0o700))
	w.write(filepath.Join(folder, source.Path), p.raw)
	for _, variable := range container.Env {
		value := strings.Replace(variable.Value, "http://169.254.170.23/", w.agentAt+"/", 1)
		if strings.HasPrefix(value, mount.MountPath) {
			value = filepath.Join(root, value)
		}
		p.environment = append(p.environment, variable.Name+"="+value)
	}
	return p
}

// checkInjected compares the stored pod with spec podidentity §16.
func (p *containedPod) checkInjected() *corev1.ServiceAccountTokenProjection {
	t := p.w.t
	t.Helper()
	const mount = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
	if diff := cmp.Diff([]corev1.EnvVar{
		{Name: "AWS_DEFAULT_REGION", Value: "eu-west-1"},
		{Name: "AWS_REGION", Value: "eu-west-1"},
		{Name: "AWS_CONTAINER_CREDENTIALS_FULL_URI", Value: "http://169.254.170.23/v1/credentials"},
		{Name: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Value: mount + "/eks-pod-identity-token"},
	}, p.pod.Spec.Containers[0].Env); diff != "" || p.pod.Labels["eks.amazonaws.com/pod-identity"] != "enabled" {
		t.Fatalf(
			"%s is not injected: labels %v, variables (-want +got):\n%s\n%s", p.pod.Name, p.pod.Labels, diff,
			p.w.hook.log,
		)
	}
	volume := p.pod.Spec.Volumes[slices.IndexFunc(
		p.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "eks-pod-identity-token" },
	)]
	source := volume.Projected.Sources[0].ServiceAccountToken
	if source.Audience != podIdentity || source.Path != "eks-pod-identity-token" || *source.ExpirationSeconds < 79200 ||
		*source.ExpirationSeconds > 86400 {
		t.Errorf("the token of %s: %+v", p.pod.Name, source)
	}
	return source
}

// run starts a program in the container.
func (p *containedPod) run(path string, more []string, arguments ...string) (out string, problems string, err error) {
	command := exec.CommandContext(p.w.t.Context(), path, arguments...)
	command.Env = slices.Concat(
		p.environment,
		more,
		[]string{"AWS_ENDPOINT_URL=" + p.w.aws, "PATH=" + os.Getenv("PATH"), "HOME=" + p.w.t.TempDir(), "AWS_PAGER="},
	)
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV", "GOCOVERDIR"} {
		if text, found := os.LookupEnv(name); found {
			command.Env = append(command.Env, name+"="+text)
		}
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err
}

// program is one with the SDK for Go, which reads parameters.
func (p *containedPod) program(parameters ...string) podReport {
	t := p.w.t
	t.Helper()
	self, err := os.Executable()
	p.w.must(nil, err)
	out, problems, err := p.run(self, []string{programVariable + "=pod"}, parameters...)
	var report podReport
	if err != nil || json.Unmarshal([]byte(out), &report) != nil {
		t.Fatalf("%v: %s%s", err, out, problems)
	}
	return report
}

// cli is `aws sts get-caller-identity`; there is false without the AWS CLI.
func (p *containedPod) cli() (arn string, there bool) {
	t := p.w.t
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("the AWS CLI is needed and not there: %v", err)
		}
		t.Logf("NOT TESTED: the AWS CLI is not on this machine (%v)", err)
		return "", false
	}
	out, problems, err := p.run(path, nil, "sts", "get-caller-identity", "--query", "Arn", "--output", "text")
	if err != nil {
		t.Errorf("aws in %s: %v %s%s", p.pod.Name, err, out, problems)
	}
	return strings.TrimSpace(out), true
}

type nodeAnswer struct {
	status                                int
	AccessKeyID, Code, Message, AccountID string
}

// ask is what an SDK in the pod sends to the agent.
func (p *containedPod) ask() nodeAnswer {
	p.w.t.Helper()
	request, err := http.NewRequestWithContext(p.w.t.Context(), http.MethodGet, p.w.agentAt+"/v1/credentials", nil)
	p.w.must(nil, err)
	request.Header.Set("Authorization", p.raw)
	response, err := http.DefaultClient.Do(request)
	if err != nil { // there is no agent
		return nodeAnswer{Message: err.Error()}
	}
	defer response.Body.Close()
	got := nodeAnswer{status: response.StatusCode}
	var body struct {
		AccessKeyId, AccountId, Code, Message string
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(text, &body) != nil {
		p.w.t.Errorf("%s: %d %s %v", p.pod.Name, got.status, text, err)
	}
	got.AccessKeyID, got.AccountID, got.Code, got.Message = body.AccessKeyId, body.AccountId, body.Code, body.Message
	if got.status == http.StatusOK {
		p.w.all.mu.Lock()
		defer p.w.all.mu.Unlock()
		p.w.all.given = append(p.w.all.given, got.AccessKeyID)
	}
	return got
}

// until asks the agent until it gives the status.
func (p *containedPod) until(what string, status int) nodeAnswer {
	p.w.t.Helper()
	var got nodeAnswer
	poll(
		p.w.t,
		func() bool { got = p.ask(); return got.status == status },
		func() { p.w.t.Fatalf("%s: %s still gets %+v", what, p.pod.Name, got) },
	)
	return got
}

// mine: a session must be the pod's own, by what STS was asked for it.
func (p *containedPod) mine(key string) {
	p.w.t.Helper()
	if !slices.ContainsFunc(p.w.sts.of(p.pod.Name), func(c stsCall) bool { return c.key == key }) {
		p.w.t.Errorf("%s has the key %s of somebody else", p.pod.Name, key)
	}
}

// records are those of the audit that say something.
func (w *podWorld) records(says ...string) (found []map[string]any) {
	w.t.Helper()
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	for _, one := range w.all.ran {
		for line := range strings.Lines(one.stdout.String()) {
			if !strings.HasSuffix(line, "\n") { // it is being written
				continue
			}
			if !strings.HasPrefix(line, `{"time"`) ||
				slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(line, s) }) {
				continue
			}
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				w.t.Error(err)
			}
			found = append(found, record)
		}
	}
	return found
}

// checkSecrets is spec podidentity row H15.
func (w *podWorld) checkSecrets() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	secrets := []string{"eyJ", brokerSecret, userSecret}
	for _, call := range w.sts.all() {
		if call.key != "" {
			secrets = append(secrets, call.secret, call.token)
		}
	}
	for _, one := range w.all.ran[1:] { // AWS itself prints its administrators' keys
		text := one.stdout.String() + one.log.String()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				w.t.Errorf("a secret is shown: %s", fmt.Sprint(secret[:3], "…"))
			}
		}
	}
}
