package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// People and what they sign with.
var people = map[string]aws.Credentials{
	"alice":   {AccessKeyID: "AKIAALICEALICEALICE1", SecretAccessKey: "alice-secret-alice-secret-alice-secret-1"},
	"bob":     {AccessKeyID: "AKIABOBBOBBOBBOBBOB1", SecretAccessKey: "bob-secret-bob-secret-bob-secret-bob-se1"},
	"mallory": {AccessKeyID: "AKIAMALLORYMALLORY01", SecretAccessKey: "mallory-secret-mallory-secret-mallory-s1"},
}

// loginPatience is for what takes a second at most.
const loginPatience = 40 * time.Second

// loginWorld is a real API server that asks `serve authenticator`, which asks a local STS.
type loginWorld struct {
	t           *testing.T
	whole       *testing.T // of which t is a part: what is started lives as long
	c           *cluster.Cluster
	dir, aws    string
	port        string
	health      string
	server      *program
	objects     dynamic.Interface
	environment []string
	arguments   []string
}

func newLoginWorld(t *testing.T, more ...string) *loginWorld {
	t.Helper()
	w := &loginWorld{t: t, whole: t, dir: t.TempDir()}
	_, w.port, _ = strings.Cut(freeport.Address(t), ":")
	_, w.health, _ = strings.Cut(freeport.Address(t), ":")
	w.startSTS()
	// As an operator begins: the pair and the kubeconfig first, then the API server.
	var out, problems bytes.Buffer
	code, err := runCommand(t.Context(), nil, &out, &problems, "authenticator", "init", "-i", "prod", "--dir", w.dir,
		"--port", w.port)
	if code != 0 || err != nil {
		t.Fatalf("init: %d %v %s", code, err, &problems)
	}
	w.c = cluster.Start(t, cluster.Options{APIServerArgs: []string{
		"--authentication-token-webhook-config-file=" + filepath.Join(w.dir, "kubeconfig.yaml"),
		"--authentication-token-webhook-version=v1",
		// What API servers remember would hide what the server does, where it is that which is looked at.
		"--authentication-token-webhook-cache-ttl=10s",
	}})
	if w.objects, err = dynamic.NewForConfig(w.c.Config); err != nil {
		t.Fatal(err)
	}
	installCRDs(t, w.objects)
	w.arguments = append([]string{
		"serve", "authenticator", "-i", "prod", "--backend-mode", "EKSConfigMap", "--state-dir", w.dir,
		"--generate-kubeconfig", filepath.Join(w.dir, "kubeconfig.yaml"), "--port", w.port, "--health-port", w.health,
		"--kubeconfig", w.c.Kubeconfig, "--sts-endpoint", w.aws, "--shutdown-delay", "0s",
	}, more...)
	w.start()
	return w
}

func (w *loginWorld) startSTS() {
	w.t.Helper()
	seed := "accounts:\n- id: \"" + accountID + "\"\n  users:\n"
	for name, own := range people {
		seed += fmt.Sprintf("  - {name: %s, path: /people/, accessKeys: [{id: %s, secret: %s}]}\n", name, own.AccessKeyID,
			own.SecretAccessKey)
	}
	file := filepath.Join(w.dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		w.t.Fatal(err)
	}
	address := freeport.Address(w.t)
	sts := startProgram(w.t, nil, "serve", "aws", "--account", accountID, "--seed", file, "--listen", address)
	w.aws = "http://" + address
	untilServed := time.Now().Add(loginPatience)
	for {
		response, err := http.Get(w.aws) //nolint:noctx // a test's own server
		if err == nil {
			_ = response.Body.Close()
			return
		}
		select {
		case code := <-sts.ended:
			w.t.Fatalf("the local AWS ended with %d: %s", code, sts.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(untilServed) {
			w.t.Fatal("the local AWS does not serve")
		}
	}
}

func (w *loginWorld) start() {
	w.t.Helper()
	w.server = startProgram(w.whole, w.environment, w.arguments...)
	untilReady(w.t, http.DefaultClient, "http://127.0.0.1:"+w.health+"/readyz", w.server.ended, w.server.log)
}

// kill ends the server at once.
func (w *loginWorld) kill() {
	w.t.Helper()
	_ = w.server.process.Kill()
	<-w.server.ended
}

// tokenOf is a token of somebody for a cluster.
func (w *loginWorld) tokenOf(who, cluster string, at time.Time) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), http.MethodGet,
		"https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("X-K8s-Aws-Id", cluster)
	nothing := sha256.Sum256(nil)
	made, _, err := v4.NewSigner().PresignHTTP(context.WithoutCancel(w.t.Context()), people[who], request,
		hex.EncodeToString(nothing[:]), "sts", "eu-west-1", at.UTC())
	if err != nil {
		w.t.Fatal(err)
	}
	return callerid.Encode(made).Reveal()
}

// as is a client with a token.
func (w *loginWorld) as(token string) kubernetes.Interface {
	w.t.Helper()
	config := rest.AnonymousClientConfig(w.c.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// whoami is the user that a token is.
func (w *loginWorld) whoami(token string) (authenticationv1.UserInfo, error) {
	review, err := w.as(token).AuthenticationV1().SelfSubjectReviews().Create(context.WithoutCancel(w.t.Context()),
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func (w *loginWorld) putAWSAuth(users string) {
	w.t.Helper()
	maps := w.c.Client.CoreV1().ConfigMaps("kube-system")
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-auth"}, Data: map[string]string{"mapUsers": users},
	}
	_, err := maps.Create(w.t.Context(), object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = maps.Update(w.t.Context(), object, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func mapUser(name, username string) string {
	return "- {userarn: 'arn:aws:iam::" + accountID + ":user/people/" + name + "', username: '" + username + "', groups: [readers]}\n"
}

// until waits for somebody to be a user; empty for nobody. Each time it is another token,
// so that nothing that the API server remembers counts.
func (w *loginWorld) until(who, want string) {
	w.t.Helper()
	for n, end := 0, time.Now().Add(loginPatience); ; n++ {
		got, err := w.whoami(w.tokenOf(who, "prod", time.Now().Add(-time.Duration(n)*time.Second)))
		if got.Username == want && (err == nil || want == "" && apierrors.IsUnauthorized(err)) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s is %q, %v; want %q\n%s", who, got.Username, err, want, w.server.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestLogins: people log in to a real API server, by kubectl with a token of the AWS CLI
// and by tokens of others; mappings count without a restart; RBAC decides what they may.
func TestLogins(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t)
	w.until("alice", "")
	if log := w.server.log.String(); !strings.Contains(log, "reason=not_mapped") {
		t.Errorf("the log does not say why:\n%s", log)
	}
	w.putAWSAuth(mapUser("alice", "alice") + mapUser("bob", "bob-{{AccountID}}"))
	w.until("alice", "alice")
	w.until("bob", "bob-"+accountID)
	w.until("mallory", "")
	user, err := w.whoami(w.tokenOf("alice", "prod", time.Now()))
	if err != nil || strings.Join(user.Groups, " ") != "readers system:authenticated" ||
		!strings.HasPrefix(user.UID, "aws-iam-authenticator:"+accountID+":AIDA") ||
		len(user.Extra["arn"]) != 1 || user.Extra["arn"][0] != "arn:aws:iam::"+accountID+":user/people/alice" {
		t.Errorf("%+v, %v", user, err)
	}
	t.Run("refused", func(t *testing.T) {
		w.t = t
		for name, row := range map[string]struct{ token, reason string }{
			"another cluster's":      {w.tokenOf("alice", "staging", time.Now()), "bad_signature"},
			"an old one":             {w.tokenOf("alice", "prod", time.Now().Add(-20*time.Minute)), "expired"},
			"one of a wrong clock":   {w.tokenOf("alice", "prod", time.Now().Add(time.Hour)), "future"},
			"one that was cut short": {w.tokenOf("alice", "prod", time.Now())[:300], "malformed_token"},
			"not one":                {"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "malformed_token"},
		} {
			_, err := w.whoami(row.token)
			if !apierrors.IsUnauthorized(err) || !strings.Contains(w.server.log.String(), "reason="+row.reason) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("RBAC", func(t *testing.T) {
		w.t = t
		pods := func(who string) error {
			_, err := w.as(w.tokenOf(who, "prod", time.Now())).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
			return err
		}
		if err := pods("alice"); !apierrors.IsForbidden(err) {
			t.Errorf("without a binding: %v", err)
		}
		w.kubectl("create", "clusterrole", "readers", "--verb=list", "--resource=pods")
		w.kubectl("create", "clusterrolebinding", "readers", "--clusterrole=readers", "--group=readers")
		for end := time.Now().Add(loginPatience); pods("alice") != nil; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(pods("alice"))
			}
		}
	})
	t.Run("objects", func(t *testing.T) {
		w.t = t
		mapping := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1", "kind": "IdentityMapping", "metadata": map[string]any{"name": "mallory"},
			"spec": map[string]any{
				"principal": map[string]any{"arn": "arn:aws:iam::" + accountID + ":user/people/mallory"}, "username": "mallory",
			},
		}}
		kind := w.objects.Resource(rolecallResource("identitymappings"))
		if _, err := kind.Create(t.Context(), mapping, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until("mallory", "mallory")
		if err := kind.Delete(t.Context(), "mallory", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until("mallory", "")
	})
	t.Run("a broken aws-auth", func(t *testing.T) {
		w.t = t
		w.putAWSAuth("- userarn: x\n  username: {{SessionName}}\n")
		for end := time.Now().Add(loginPatience); !strings.Contains(w.server.log.String(), "what it said before counts"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("nothing is said\n%s", w.server.log)
			}
		}
		w.until("alice", "alice")
		w.kill()
		w.start()
		w.until("alice", "alice")
		w.untilEvent("LastGoodKept")
	})
	t.Run("the AWS CLI", func(t *testing.T) {
		w.t = t
		w.putAWSAuth(mapUser("alice", "alice"))
		w.awsCLI()
	})
	if log := w.server.log.String(); strings.Contains(log, "X-Amz-Signature") || strings.Contains(log, "k8s-aws-v1.") {
		t.Errorf("the log shows a token\n%s", log)
	}
}

func (w *loginWorld) kubectl(args ...string) {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), w.c.Kubectl, append([]string{"--kubeconfig", w.c.Kubeconfig}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		w.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (w *loginWorld) untilEvent(reason string) {
	w.t.Helper()
	for end := time.Now().Add(loginPatience); ; time.Sleep(50 * time.Millisecond) {
		events, err := w.c.Client.CoreV1().Events("kube-system").List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range events.Items {
			if events.Items[i].Reason == reason && events.Items[i].InvolvedObject.Name == "aws-auth" {
				return
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("no event %s", reason)
		}
	}
}

// awsCLI has kubectl log in with `aws eks get-token`.
func (w *loginWorld) awsCLI() {
	w.t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		w.t.Skip("there is no AWS CLI")
	}
	kubeconfig := filepath.Join(w.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args: [--region, eu-west-1, eks, get-token, --cluster-name, prod, --output, json]
      env:
      - {name: AWS_ACCESS_KEY_ID, value: %s}
      - {name: AWS_SECRET_ACCESS_KEY, value: %s}
      - {name: AWS_CONFIG_FILE, value: %q}
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, w.c.Config.Host, w.c.Config.CAFile, people["alice"].AccessKeyID, people["alice"].SecretAccessKey, os.DevNull)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	out, err := exec.CommandContext(w.t.Context(), w.c.Kubectl, "--kubeconfig", kubeconfig, "auth", "whoami").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "alice") {
		w.t.Errorf("kubectl auth whoami: %v\n%s", err, out)
	}
}

// TestServerKilledUnderLoad: what the API server remembers is lost with no server, and all
// log in again when it is back; two servers answer alike.
func TestServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t)
	w.putAWSAuth(mapUser("alice", "alice") + mapUser("bob", "bob"))
	w.until("alice", "alice")
	token := w.tokenOf("alice", "prod", time.Now())
	if _, err := w.whoami(token); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	var load sync.WaitGroup
	failed := make(chan error, 1000)
	w.kill()
	for range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := w.whoami(token); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	load.Wait()
	select {
	case err := <-failed:
		t.Errorf("a login that the API server remembers is lost: %v", err)
	default:
	}
	if _, err := w.whoami(w.tokenOf("bob", "prod", time.Now())); err == nil {
		t.Error("somebody logs in while there is no server")
	}
	w.start()
	w.until("bob", "bob")
	if _, err := w.whoami(token); err != nil {
		t.Errorf("after the server is back: %v", err)
	}
	// Another replica, with the same pair and cluster.
	_, port, _ := strings.Cut(freeport.Address(t), ":")
	_, health, _ := strings.Cut(freeport.Address(t), ":")
	second := *w
	second.arguments = append([]string{}, w.arguments...)
	second.arguments = append(second.arguments, "--port", port, "--health-port", health, "--kubeconfig-pregenerated")
	second.health = health
	second.start()
	for _, replica := range []string{w.port, port} {
		for who, want := range map[string]int{"alice": http.StatusOK, "mallory": http.StatusForbidden} {
			if code, err := w.review(replica, w.tokenOf(who, "prod", time.Now())); code != want || err != nil {
				t.Errorf("%s at %s: %d, %v", who, replica, code, err)
			}
		}
	}
}

// review asks a server itself.
func (w *loginWorld) review(port, token string) (int, error) {
	client, err := rest.HTTPClientFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(w.dir, "cert.pem")}})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://localhost:"+port+"/authenticate",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","spec":{"token":"`+token+`"}}`))
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, errors.Join(response.Body.Close())
}
