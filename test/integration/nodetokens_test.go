package integration_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/test/freeport"
)

// instances are those of the nodes.
var instances = map[string]string{"n1": "i-0123456789abcdef0", "n2": "i-0123456789abcdef1"}

// putNodeRole is a role of instances, but that the user of the broker stands for
// EC2: it assumes the role with an instance's ID as the session's name.
func putNodeRole(state account.State, name string, ec2 *account.User) error {
	who := "arn:aws:iam::" + accountID + ":user/" + ec2.Name
	return state.PutRole(&account.Role{
		Name:       name,
		Path:       "/",
		ID:         account.NewRoleID(),
		MaxSession: 43200,
		Principals: map[string]string{who: ec2.ID},
		Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"AWS":"` + who + `"},"Action":"sts:AssumeRole"}]}`,
	})
}

// instanceSession is what the metadata service of an instance gives out.
func (w *brokerWorld) instanceSession(role, name string) aws.Credentials {
	w.t.Helper()
	client := sts.New(sts.Options{
		BaseEndpoint: aws.String(w.aws),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider(brokerKeyID, brokerSecret, ""),
	})
	got, err := client.AssumeRole(w.t.Context(), &sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/" + role),
		RoleSessionName: &name,
	})
	w.must(got, err)
	return aws.Credentials{
		AccessKeyID:     *got.Credentials.AccessKeyId,
		SecretAccessKey: *got.Credentials.SecretAccessKey,
		SessionToken:    *got.Credentials.SessionToken,
	}
}

func environmentOf(c aws.Credentials) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + c.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey,
		"AWS_SESSION_TOKEN=" + c.SessionToken,
	}
}

func (w *brokerWorld) presign(own aws.Credentials, cluster string, at time.Time) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(
		w.t.Context(),
		http.MethodGet,
		"https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60",
		nil,
	)
	w.must(r, err)
	r.Header.Set("X-K8s-Aws-Id", cluster)
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().
		PresignHTTP(w.t.Context(), own, r, hex.EncodeToString(empty[:]), "sts", "eu-west-1", at.UTC())
	w.must(signed, err)
	return callerid.Encode(signed).Reveal()
}

// awsAgent runs `serve agent` of a node with an instance's credentials, and
// returns how a pod's token is asked for there.
func (w *brokerWorld) awsAgent(node string, own aws.Credentials) (ask func(raw string) (int, string), log output) {
	w.t.Helper()
	credentials, probes, metrics := freeport.Address(w.t), freeport.Address(w.t), freeport.Address(w.t)
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	agent := startProgram(
		w.t, append(environmentOf(own), "NODE_NAME="+node), "serve", "agent", "-c", "prod", "-b", "127.0.0.1",
		"-p", port(credentials), "--probe-port", port(probes), "--ipv6", "off", "--metrics-address",
		"127.0.0.1", "--metrics-port", port(metrics), "--upstream", "broker", "--endpoint", w.url,
		"--broker-aws-token", "--region", "eu-west-1", "--upstream-ca-file", filepath.Join(w.serving, "ca.crt"),
		"--kubeconfig", w.c.Kubeconfig, "--pod-qps", "1000", "--foreground-deadline", "10s", "--ready-requires",
		"upstream",
	)
	untilReady(w.t, http.DefaultClient, "http://127.0.0.1:"+port(probes)+"/readyz", agent.ended, agent.log)
	return func(raw string) (int, string) {
		w.t.Helper()
		request, err := http.NewRequestWithContext(
			w.t.Context(), http.MethodGet, "http://"+credentials+"/v1/credentials", nil,
		)
		w.must(request, err)
		request.Header.Set("Authorization", raw)
		response, err := http.DefaultClient.Do(request)
		w.must(response, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		w.must(text, err)
		return response.StatusCode, string(text)
	}, agent.log
}

// TestNodeTokens: agents show their nodes by the role of the instance, to a broker
// on a real API server with the permissions of the guide.
func TestNodeTokens(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	w.write(filepath.Join(w.serving, "ca.crt"), string(w.ca.PEM()))
	nodes := w.c.Client.CoreV1().Nodes()
	for name, instance := range instances {
		_, err := nodes.Patch(
			t.Context(),
			name,
			"application/merge-patch+json",
			[]byte(`{"spec":{"providerID":"aws:///eu-west-1a/`+instance+`"}}`),
			metav1.PatchOptions{},
		)
		w.must(nil, err)
	}
	gate := newSTSGate(t, w.aws)
	stop := w.start(
		"--agent-auth", "aws-token", "--node-roles", "arn:aws:iam::"+accountID+":role/team/node",
		"--sts-endpoint", gate.url,
	)
	w.associate("cart-federated", "")
	first := w.pod("shop", "node-0", "cart-federated", "n1")
	raw := w.token(first, podIdentity)
	node1, node2 := w.instanceSession("node", instances["n1"]), w.instanceSession("node", instances["n2"])
	w.agents["n1"] = w.presign(node1, "prod", time.Now())
	w.eventually("the association is there", raw, "")

	t.Run("agents", func(t *testing.T) {
		w.t = t
		askFirst, logFirst := w.awsAgent("n1", node1)
		if status, text := askFirst(raw); status != http.StatusOK || !strings.Contains(text, "AccessKeyId") {
			t.Errorf("%d %s", status, text)
		}
		// Another node's agent gets nothing for this pod, and STS is not asked to.
		calls := len(gate.all())
		askSecond, logSecond := w.awsAgent("n2", node2)
		if status, text := askSecond(raw); status == http.StatusOK || !strings.Contains(text, "AccessDenied") {
			t.Errorf("another node's pod: %d %s", status, text)
		}
		if got := len(gate.all()); got != calls {
			t.Errorf("another node's pod: %d calls for sessions", got-calls)
		}
		if status, text := askSecond(
			w.token(w.pod("shop", "node-1", "cart-federated", "n2"), podIdentity),
		); status != http.StatusOK {
			t.Errorf("its own pod: %d %s", status, text)
		}
		for _, log := range []output{logFirst, logSecond} {
			if text := log.String(); strings.Contains(text, "aHR0cHM") || strings.Contains(text, "X-Amz-Signature") {
				t.Errorf("a token shows:\n%s", text)
			}
		}
	})
	t.Run("refused", func(t *testing.T) {
		w.t = t
		calls := len(gate.all())
		for _, row := range []struct{ name, token, code, message string }{
			{
				"another role",
				w.presign(w.instanceSession("other", instances["n1"]), "prod", time.Now()),
				"AccessDeniedException",
				"role/other is not a role of nodes",
			},
			{
				"another session name",
				w.presign(w.instanceSession("node", "somebody"), "prod", time.Now()),
				"AccessDeniedException",
				"not named for an EC2 instance",
			},
			{
				"an instance of another cluster",
				w.presign(w.instanceSession("node", "i-0aaaaaaaaaaaaaaaa"), "prod", time.Now()),
				"AccessDeniedException",
				"No node of the cluster",
			},
			{
				"for another cluster",
				w.presign(node1, "staging", time.Now()),
				"UnrecognizedClientException",
				"made for cluster prod",
			},
			{
				"16 minutes old",
				w.presign(node1, "prod", time.Now().Add(-16*time.Minute)),
				"UnrecognizedClientException",
				"is expired",
			},
			{
				"16 minutes ahead",
				w.presign(node1, "prod", time.Now().Add(16*time.Minute)),
				"UnrecognizedClientException",
				"in the future",
			},
			{
				"a user",
				w.presign(aws.Credentials{AccessKeyID: brokerKeyID, SecretAccessKey: brokerSecret}, "prod", time.Now()),
				"AccessDeniedException",
				"is not a session",
			},
			{
				"an agent's own account",
				w.token(w.pod("rolecall-system", "agent-x", "rolecall-agent", "n1"), "rolecall-broker"),
				"UnrecognizedClientException",
				"missing expected",
			},
		} {
			w.agents["row"] = row.token
			w.expect(row.name, w.ask("row", raw), row.code, row.message)
		}
		for _, call := range gate.all()[calls:] {
			t.Errorf("STS was asked for a session: %s", call.name)
		}
	})
	t.Run("aws eks get-token", func(t *testing.T) {
		w.t = t
		w.agents["cli"] = w.getToken(node1, "prod")
		w.expect("its token", w.ask("cli", raw), "", "")
		w.agents["cli"] = w.getToken(node1, "staging")
		w.expect(
			"its token for another cluster", w.ask("cli", raw), "UnrecognizedClientException", "made for cluster prod",
		)
	})
	w.t = t
	// A node that leaves takes its agent's right along, and one that comes has it.
	w.must(nil, nodes.Delete(t.Context(), "n1", metav1.DeleteOptions{}))
	w.eventually("the node is gone", raw, "AccessDeniedException")
	w.must(nodes.Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Spec:       corev1.NodeSpec{ProviderID: "aws:///eu-west-1a/" + instances["n1"]},
	}, metav1.CreateOptions{}))
	w.eventually("the node is back", w.token(w.pod("shop", "node-2", "cart-federated", "n1"), podIdentity), "")
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for what, text := range map[string]string{"log": w.log.String(), "audit": w.audit.String()} {
		for _, secret := range []string{
			"eyJ", "aHR0cHM", "X-Amz-Signature", node1.SessionToken, node1.SecretAccessKey, "forbidden",
		} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s shows %s", what, secret)
			}
		}
	}
	if !strings.Contains(
		w.audit.String(), `"caller":"arn:aws:sts::`+accountID+`:assumed-role/node/`+instances["n1"]+`"`,
	) {
		t.Error("the audit does not name the caller")
	}
}

// getToken is what the real client prints. It asks nobody: the token names AWS's
// own STS, whatever endpoint there is.
func (w *brokerWorld) getToken(own aws.Credentials, cluster string) string {
	t := w.t
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("the AWS CLI is needed and not there: %v", err)
		}
		t.Skipf("NOT TESTED: the AWS CLI is not on this machine (%v)", err)
	}
	command := exec.CommandContext(
		t.Context(), path, "eks", "get-token", "--cluster-name", cluster, "--region", "eu-west-1", "--output", "json",
	)
	command.Env = append(
		environmentOf(own), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=",
	)
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"} {
		if text, found := os.LookupEnv(name); found {
			command.Env = append(command.Env, name+"="+text)
		}
	}
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.Output()
	var answer struct{ Status struct{ Token string } }
	if err != nil || json.Unmarshal(out, &answer) != nil || answer.Status.Token == "" {
		t.Fatalf("aws eks get-token: %v %s", err, problems.String())
	}
	return answer.Status.Token
}
