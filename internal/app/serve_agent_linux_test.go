package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/vishvananda/netlink"

	"github.com/rolecall/rolecall/internal/token"
)

// TestServeAgent runs the agent as a node does, on the protocol's own addresses
// and port 80, in a network namespace of its own: this test starts itself there.
func TestServeAgent(t *testing.T) {
	if os.Getenv("ROLECALL_TEST_NAMESPACE") == "" {
		inNamespace(t)
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	node := startNode(t)
	t.Run("probes and metrics", node.testProbes)
	t.Run("SDK for Go v2", node.testGo)
	t.Run("AWS CLI v1", node.testCLI)
	t.Run("boto3", node.testBoto3)
	t.Run("SDK for JavaScript v3", node.testJavaScript)
	t.Run("refusal as the CLI shows it", node.testRefusal)
	t.Run("head of 100 KB", node.testLongHeader)
	t.Run("bodies are not read", node.testBody)
	t.Run("drain", node.testDrain) // it ends the agent
	t.Run("rolling replacement", node.testReplacement)
	t.Run("killed while asking", node.testKilled)
}

// patience only ends a broken test: longer than a busy machine takes for anything.
const patience = 3 * time.Minute

func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestServeAgent$", "-test.v")
	cmd.Env = append(os.Environ(), "ROLECALL_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("NOT TESTED: no network namespace: %v", err)
	}
	t.Logf("in the namespace:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}

// node is a machine with an agent, an EKS Auth and an STS.
type node struct {
	agent *exec.Cmd
	logs  *bytes.Buffer
	ended chan error
	aws   *httptest.Server
	// asked is sent to, and answer waited for, on each call of EKS Auth while
	// held is true.
	held          atomic.Bool
	asked, answer chan struct{}
	token         string // file
}

const podUID = "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002"

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{
		logs:   &bytes.Buffer{},
		ended:  make(chan error, 1),
		asked:  make(chan struct{}),
		answer: make(chan struct{}),
		token:  filepath.Join(t.TempDir(), "token"),
	}
	n.aws = httptest.NewServer(http.HandlerFunc(n.serveAWS))
	t.Cleanup(n.aws.Close)
	n.agent = exec.CommandContext(t.Context(), "rolecall", "serve", "agent", "server", "-c", "prod", "-p", "80",
		"--probe-port", "2703",
		"--metrics-port", "2705", "-v", "trace", "--max-service-qps", "3",
		"--max-credential-retention-before-renewal", "3h",
		"--max-cache-size=2000")
	n.agent.Env = []string{
		"PATH=" + os.Getenv("PATH"), "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIANODENODENODENODE",
		"AWS_SECRET_ACCESS_KEY=node-secret",
		"AWS_ENDPOINT_URL_EKS_AUTH=" + n.aws.URL,
		"HTTP_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1", // probes must go through no proxy
	}
	n.agent.Stdout, n.agent.Stderr = n.logs, n.logs
	if err := n.agent.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.ended <- n.agent.Wait() }()
	t.Cleanup(func() { _ = n.agent.Process.Kill() })
	key, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := token.Mint(key, &token.Claims{
		Issuer:    "https://oidc.example.com/prod",
		Subject:   "system:serviceaccount:shop:cart",
		Audiences: []string{"pods.eks.amazonaws.com"},
		IssuedAt:  now, NotBefore: now, Expiry: now.Add(time.Hour), ID: "x",
		Workload: token.Workload{
			Namespace:      "shop",
			ServiceAccount: token.Reference{Name: "cart"},
			Pod:            &token.Reference{Name: "cart-0", UID: podUID},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.token, []byte(signed.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if status, _ := ask(t, "http://127.0.0.1:2703/readyz", ""); status == http.StatusOK {
			return n
		}
		select {
		case err := <-n.ended:
			t.Fatalf("the agent ended: %v\n%s", err, n.logs)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("the agent is not ready\n%s", n.logs)
	return nil
}

// serveAWS is EKS Auth, and an STS that answers anybody who signs with the key EKS
// Auth gave.
func (n *node) serveAWS(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/clusters/prod/assume-role-for-pod-identity" {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		if n.held.Load() {
			n.asked <- struct{}{}
			<-n.answer
		}
		expires, _ := json.Marshal(time.Now().Add(6 * time.Hour).Unix())
		_, _ = io.WriteString(w, `{"subject":{"namespace":"shop","serviceAccount":"cart"},`+
			`"audience":"pods.eks.amazonaws.com","podIdentityAssociation":{"associationArn":`+
			`"arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/a-0123456789abcdefg",`+
			`"associationId":"a-0123456789abcdefg"},`+
			`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0",`+
			`"assumeRoleId":"AROAEXAMPLE:eks-prod-cart-0"},`+
			`"credentials":{"accessKeyId":"ASIAEXAMPLEKEYID0001","secretAccessKey":"secret/+=",`+
			`"sessionToken":"session/+=","expiration":`+string(expires)+`.5}}`)
		return
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=ASIAEXAMPLEKEYID0001/") ||
		r.Header.Get("X-Amz-Security-Token") != "session/+=" {
		http.Error(w, "<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>",
			http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`+
		`<GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0</Arn>`+
		`<UserId>AROAEXAMPLE:eks-prod-cart-0</UserId><Account>111122223333</Account></GetCallerIdentityResult>`+
		`<ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></GetCallerIdentityResponse>`)
}

func ask(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", token)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// podEnv is what the webhook gives a container.
func (n *node) podEnv(uri string) []string {
	return []string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + uri, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + n.token,
		"AWS_REGION=eu-west-1",
		"AWS_DEFAULT_REGION=eu-west-1", "AWS_ENDPOINT_URL_STS=" + n.aws.URL, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
	}
}

var credentialURIs = []string{"http://169.254.170.23/v1/credentials", "http://[fd00:ec2::23]/v1/credentials"}

func (n *node) testProbes(t *testing.T) {
	for _, url := range []string{
		"http://127.0.0.1:2703/healthz",
		"http://[::1]:2703/readyz",
		"http://127.0.0.1:2705/healthz",
	} {
		if status, text := ask(t, url, ""); status != 200 || text != "ok" {
			t.Errorf("%s: %d %s", url, status, text)
		}
	}
	_, text := ask(t, "http://127.0.0.1:2705/metrics", "")
	for _, sample := range []string{
		"rolecall_agent_cache_entries 0",
		"rolecall_agent_link_info{type=",
		"rolecall_agent_build_info{",
	} {
		if !strings.Contains(text, sample) {
			t.Errorf("the metrics lack %s", sample)
		}
	}
}

func (n *node) testGo(t *testing.T) {
	for _, uri := range credentialURIs {
		for _, pair := range n.podEnv(uri) {
			name, value, _ := strings.Cut(pair, "=")
			t.Setenv(name, value)
		}
		loaded, err := config.LoadDefaultConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := loaded.Credentials.Retrieve(t.Context())
		if err != nil {
			t.Fatalf("%v\n%s", err, n.logs)
		}
		if got.AccessKeyID != "ASIAEXAMPLEKEYID0001" || got.SecretAccessKey != "secret/+=" ||
			got.SessionToken != "session/+=" || got.AccountID != "111122223333" || !got.CanExpire ||
			time.Until(got.Expires) < 5*time.Hour {
			t.Errorf("%s: got key %s of %s until %s", uri, got.AccessKeyID, got.AccountID, got.Expires)
		}
		who, err := sts.NewFromConfig(loaded).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || *who.Arn != "arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0" {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// missing skips a test of a client, or fails it where clients are known to be
// there (ROLECALL_REQUIRE_CLIENTS=1, as in CI).
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
		t.Fatal(what)
	}
	t.Skip("NOT TESTED: " + what)
}

func (n *node) run(t *testing.T, uri string, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name+" is not on this machine")
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = n.podEnv(uri)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (n *node) testCLI(t *testing.T) {
	for _, uri := range credentialURIs {
		out, err := n.run(t, uri, "aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text")
		if err != nil || strings.TrimSpace(out) != "arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0" {
			t.Errorf("%s: %v %s", uri, err, out)
		}
	}
}

func (n *node) testBoto3(t *testing.T) {
	if out, err := n.run(t, credentialURIs[0], "python3", "-c", "import boto3"); err != nil {
		missing(t, "no boto3: "+out)
	}
	out, err := n.run(t, credentialURIs[1], "python3", "-c", `import boto3
c = boto3.Session().get_credentials()
print(c.method, c.account_id, boto3.client("sts").get_caller_identity()["Arn"])`)
	const want = "container-role 111122223333 arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0"
	if err != nil || strings.TrimSpace(out) != want {
		t.Errorf("%v %s", err, out)
	}
}

// testJavaScript runs with the packages that make clients-js installs. Of all
// SDKs this one waits least, a second.
func (n *node) testJavaScript(t *testing.T) {
	packages := os.Getenv("ROLECALL_CLIENTS_JS")
	if packages == "" {
		t.Skip("NOT TESTED: make clients-js runs it")
	}
	for _, uri := range credentialURIs {
		out, err := n.run(t, uri, "env", "NODE_PATH="+filepath.Join(packages, "node_modules"), "node", "-e", `
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');
const client = new STSClient({});
client.send(new GetCallerIdentityCommand({})).then(
  who => console.log(who.Arn), e => { console.log(e); process.exit(1); });`)
		// after warnings of old versions
		if err != nil || !strings.HasSuffix(out, "arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0\n") {
			t.Errorf("%s: %v %s", uri, err, out)
		}
	}
}

func (n *node) testRefusal(t *testing.T) {
	out, err := n.run(t, "http://169.254.170.23/v1/credentials/", "aws", "sts", "get-caller-identity")
	if err == nil || !strings.Contains(out, "404 page not found") {
		t.Errorf("%v %s", err, out)
	}
	if status, text := ask(t, "http://169.254.170.23/v1/credentials",
		"abc"); status != 400 || !strings.Contains(text, "cannot be parsed") {
		t.Errorf("%d %s", status, text)
	}
}

func (n *node) testLongHeader(t *testing.T) {
	if status, text := ask(t, credentialURIs[0],
		strings.Repeat("a", 100<<10)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d %s", status, text)
	}
}

func (n *node) testBody(t *testing.T) {
	raw, err := os.ReadFile(n.token)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, credentialURIs[0],
		strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", string(raw))
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("status %d, closed %v", response.StatusCode, response.Close)
	}
}

// testDrain: who is being answered when the agent is told to stop gets the
// answer; the agent ends well, and removes its link (spec podidentity row D17).
func (n *node) testDrain(t *testing.T) {
	n.held.Store(true)
	raw, err := os.ReadFile(n.token)
	if err != nil {
		t.Fatal(err)
	}
	// The same claims with another signature are another token, and our EKS Auth
	// believes everything: this one makes a call.
	fresh := strings.TrimSpace(string(raw))
	fresh = fresh[:len(fresh)-8] + "AAAAAAAA"
	answered := make(chan int, 1)
	go func() {
		status, _ := ask(t, credentialURIs[0], fresh)
		answered <- status
	}()
	<-n.asked
	if err := n.agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It stops listening first; then EKS Auth answers.
	for status := 404; status != 0; status, _ = ask(t, "http://169.254.170.23/", "") {
	}
	close(n.answer)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request that was running: %d", status)
	}
	select {
	case err := <-n.ended:
		if err != nil {
			t.Errorf("the agent ended with %v and said\n%s", err, n.logs)
		}
	case <-time.After(patience):
		t.Error("the agent does not end")
	}
	if link, err := netlink.LinkByName("pod-id-link0"); err == nil {
		t.Errorf("the link %s is left", link.Attrs().Name)
	}
	for _, secret := range []string{strings.TrimSpace(string(raw)), fresh, "secret/+=", "session/+=", "node-secret"} {
		if strings.Contains(n.logs.String(), secret) {
			t.Errorf("%q shows in the logs:\n%s", secret, n.logs)
		}
	}
	if strings.Count(n.logs.String(), `"msg":"credentials fetched"`) != 2 {
		t.Errorf("want a line for each of two calls:\n%s", n.logs)
	}
}

// launch starts one more agent and waits until it is ready on its own port of
// probes.
func (n *node) launch(t *testing.T, logs *lockedLog, probes, metrics string, more ...string) *exec.Cmd {
	t.Helper()
	agent := n.begin(t, logs, probes, metrics, more...)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if status, _ := ask(t, "http://127.0.0.1:"+probes+"/readyz", ""); status == http.StatusOK {
			return agent
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the agent is not ready\n%s", logs)
	return nil
}

// begin starts an agent and waits for nothing.
func (n *node) begin(t *testing.T, logs *lockedLog, probes, metrics string, more ...string) *exec.Cmd {
	t.Helper()
	agent := exec.CommandContext(t.Context(), "rolecall", append([]string{
		"serve", "agent", "-c", "prod", "--probe-port", probes, "--metrics-port", metrics, "--metrics-address",
		"127.0.0.1",
	}, more...)...)
	agent.Env, agent.Stdout, agent.Stderr = n.agent.Env, logs, logs
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Kill() })
	return agent
}

// probed is what the exec probe of a pod says.
func probed(t *testing.T, socket, what string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(
		t.Context(), "rolecall", "serve", "agent", "probe", what, "--probe-socket", socket,
	).CombinedOutput()
	return string(out), err
}

func awaitProbe(t *testing.T, socket string, logs *lockedLog) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := probed(t, socket, "readyz"); err == nil {
			return
		}
	}
	t.Fatalf("the agent is not ready\n%s", logs)
}

// failsBesides starts an agent beside the one that runs, with its ports, that ends at once.
func (n *node) failsBesides(t *testing.T, flags []string) {
	t.Helper()
	said := &lockedLog{}
	socket := filepath.Join(t.TempDir(), "nowhere", "probes")
	broken := n.begin(t, said, "3000", "3001", append([]string{"--probe-socket", socket}, flags...)...)
	if err := broken.Wait(); err == nil || !strings.Contains(said.String(), "socket of the probes") {
		t.Errorf("it ended with %v\n%s", err, said)
	}
	if status, text := ask(t, "http://127.0.0.1:3000/readyz", ""); status != http.StatusOK {
		t.Errorf("the other agent: %d %s", status, text)
	}
	for _, what := range []string{"readyz", "healthz"} {
		if out, err := probed(t, socket, what); err == nil || !strings.Contains(out, "no agent answers on "+socket) {
			t.Errorf("%s of an agent that has ended: %v %s", what, err, out)
		}
	}
}

type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// testReplacement: a surge update overlaps two agents on the same addresses and ports, with
// some in between that cannot start; no request of 10,000 fails, each over a connection of its own (spec podidentity row D18). initialize
// is run twice before, as two init containers would (spec podidentity row G16), and --remove removes
// the link at the end.
func (n *node) testReplacement(t *testing.T) {
	n.held.Store(false)
	for range 2 {
		if out, err := exec.CommandContext(t.Context(), "rolecall", "serve", "agent",
			"initialize").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	raw, err := os.ReadFile(n.token)
	if err != nil {
		t.Fatal(err)
	}
	logs := &lockedLog{}
	flags := []string{
		"--init=false", "--reuse-port", "--pod-qps", "1e9", "--pod-burst", "1000000000", "--max-qps", "1e9",
	}
	// Each has the ports of the other, and a socket of its own.
	sockets := []string{filepath.Join(t.TempDir(), "probes"), filepath.Join(t.TempDir(), "probes")}
	launch := func(generation int) *exec.Cmd {
		socket := sockets[generation%2]
		agent := n.begin(t, logs, "3000", "3001", append([]string{"--probe-socket", socket}, flags...)...)
		awaitProbe(t, socket, logs)
		return agent
	}
	current := launch(0)
	const requests, clients = 10000, 4
	var asked, failed atomic.Int32
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for asked.Add(1) <= requests {
				if status, text := ask(t, credentialURIs[0],
					string(raw)); status != http.StatusOK && failed.Add(1) < 5 {
					t.Errorf("%d %s", status, text)
				}
			}
		})
	}
	generations := 1
	for asked.Load() < requests {
		// One that cannot start answers no probe of its own, though the other answers on
		// the port that both have; and it takes no request with it.
		n.failsBesides(t, flags)
		next := launch(generations)
		if err := current.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := current.Wait(); err != nil {
			t.Errorf("the old agent ended with %v", err)
		}
		current = next
		generations++
	}
	all.Wait()
	t.Logf("%d requests, %d agents one after the other, %d failed", requests, generations, failed.Load())
	if t.Failed() {
		t.Logf("the agents said:\n%s", logs)
	}
	if generations < 2 {
		t.Error("no agent was replaced")
	}
	if err := current.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := current.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := netlink.LinkByName("lo"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, err := exec.CommandContext(t.Context(), "rolecall", "serve", "agent", "initialize",
			"--remove").CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	}
	if link, err := netlink.LinkByName("pod-id-link0"); err == nil {
		t.Errorf("the link %s is left", link.Attrs().Name)
	}
}

// testKilled: an agent that is killed while it asks for a second pod has lost
// nothing of what its state file held: the next one serves the first pod though
// EKS Auth does not answer (spec podidentity rows D14, D15).
func (n *node) testKilled(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "rolecall") //nolint:usetesting // t.TempDir need not be in memory
	if err != nil {
		t.Skipf("NOT TESTED: nothing in memory: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	raw, err := os.ReadFile(n.token)
	if err != nil {
		t.Fatal(err)
	}
	logs := &lockedLog{}
	const at = "http://127.0.0.1:3080/v1/credentials"
	flags := []string{"-b", "127.0.0.1", "-p", "3080", "--state-file", filepath.Join(dir, "state")}
	first := n.launch(t, logs, "3000", "3001", flags...)
	status, credentials := ask(t, at, string(raw))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, credentials)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	// The second one is in the middle of a call when it is killed.
	n.asked, n.answer = make(chan struct{}), make(chan struct{})
	n.held.Store(true)
	second := n.launch(t, logs, "3000", "3001", flags...)
	other := strings.TrimSpace(string(raw))
	other = other[:len(other)-8] + "BBBBBBAA"
	answered := make(chan int, 1)
	go func() {
		status, _ := ask(t, at, other)
		answered <- status
	}()
	<-n.asked
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait()
	<-answered
	go func() { // EKS Auth goes on not answering
		for range n.asked {
		}
	}()
	n.launch(t, logs, "3000", "3001", flags...)
	if status, text := ask(t, at, string(raw)); status != http.StatusOK || text != credentials {
		t.Errorf("after the kill: %d %s", status, text)
	}
	if status, text := ask(t, at, other); status != http.StatusGatewayTimeout {
		t.Errorf("the second pod: %d %s", status, text)
	}
	n.held.Store(false)
	close(n.answer)
	for end := time.Now().Add(patience); ; {
		if status, _ := ask(t, at, other); status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the second pod has no credentials\n%s", logs)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
