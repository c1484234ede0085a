//go:build e2e

package node_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/checkout"
	"github.com/rolecall/rolecall/test/node"
	"github.com/rolecall/rolecall/test/pages"
)

const (
	system      = "rolecall-system"
	agentName   = "rolecall-agent"
	credentials = "http://169.254.170.23/v1/credentials"
	audience    = "pods.eks.amazonaws.com"
)

// agents are the guide's DaemonSet on a node.
type agents struct {
	*node.Node
	t      *testing.T
	broker string // URL
}

// newAgents installs what the guide says, with a broker that grants everything to
// tokens that the API server accepts.
func newAgents(t *testing.T) *agents {
	t.Helper()
	a := &agents{Node: node.Start(t), t: t}
	broker := httptest.NewUnstartedServer(http.HandlerFunc(a.serveBroker))
	broker.EnableHTTP2 = true
	broker.StartTLS()
	t.Cleanup(func() { broker.CloseClientConnections(); broker.Close() })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: broker.Certificate().Raw})
	a.broker = broker.URL
	for _, name := range []string{system, "shop"} {
		must(t)(a.Client.CoreV1().Namespaces().Create(
			t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{},
		))
	}
	must(t)(a.Client.CoreV1().ServiceAccounts("shop").Create(
		t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "cart"}}, metav1.CreateOptions{},
	))
	must(t)(a.Client.CoreV1().ConfigMaps(system).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-broker-ca"}, Data: map[string]string{"ca.crt": string(ca)},
	}, metav1.CreateOptions{}))
	role, binding := &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}
	a.guide("rbac", role, binding)
	must(t)(a.Client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}))
	must(t)(a.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}))
	account, set := &corev1.ServiceAccount{}, &appsv1.DaemonSet{}
	a.guide("deploy", account, set)
	must(t)(a.Client.CoreV1().ServiceAccounts(system).Create(t.Context(), account, metav1.CreateOptions{}))
	a.guide("surge", set)
	a.fit(&set.Spec.Template.Spec)
	must(t)(a.Client.AppsV1().DaemonSets(system).Create(
		t.Context(), set, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict},
	))
	return a
}

func must(t *testing.T) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// guide puts the documents of a block of the guide into objects: as kubectl apply does
// into empty ones, and as kubectl patch does into others.
func (a *agents) guide(mark string, objects ...any) {
	a.t.Helper()
	root, err := checkout.Root()
	must(a.t)(root, err)
	block, err := pages.Block(filepath.Join(root, "docs/guide/pod-identity-agent.md"), mark)
	must(a.t)(block, err)
	documents := strings.Split(block, "---\n")
	if len(documents) != len(objects) {
		a.t.Fatalf("the block %s has %d documents", mark, len(documents))
	}
	for i, document := range documents {
		patch, err := yaml.YAMLToJSON([]byte(document))
		must(a.t)(patch, err)
		before, err := json.Marshal(objects[i])
		must(a.t)(before, err)
		after, err := strategicpatch.StrategicMergePatch(before, patch, objects[i])
		must(a.t)(after, err)
		reflect.ValueOf(objects[i]).Elem().SetZero() // else what the patch takes away stays
		must(a.t)(nil, json.Unmarshal(after, objects[i]))
	}
}

// fit changes what is of the reader's cluster, and bounds that one pod here would meet.
func (a *agents) fit(pod *corev1.PodSpec) {
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			containers[i].Image, containers[i].ImagePullPolicy = node.Image, corev1.PullNever
			containers[i].Command = []string{"/rolecall"} // the image's entry point
		}
	}
	agent := &pod.Containers[0]
	agent.Env = append(agent.Env, a.APIServerEnv()...)
	for i, arg := range agent.Args {
		if strings.HasPrefix(arg, "--endpoint=") {
			agent.Args[i] = "--endpoint=" + a.broker
		}
	}
	agent.Args = append(agent.Args, "--pod-qps=1e9", "--pod-burst=1000000000", "--max-qps=1e9")
}

// serveBroker answers in the broker's form.
func (a *agents) serveBroker(w http.ResponseWriter, r *http.Request) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if a.review(r.Context(), bearer, "rolecall-broker") != "system:serviceaccount:"+system+":"+agentName {
		w.Header().Set("X-Amzn-Errortype", "UnrecognizedClientException")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.URL.Path == "/rolecall/v1/changes" { // none
		<-r.Context().Done()
		return
	}
	var body struct{ Token string }
	if err := json.NewDecoder(io.LimitReader(r.Body, 32<<10)).Decode(&body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	account, ok := strings.CutPrefix(a.review(r.Context(), body.Token, audience), "system:serviceaccount:shop:")
	if !ok {
		w.Header().Set("X-Amzn-Errortype", "InvalidTokenException")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// A session token is about that long.
	_, _ = fmt.Fprintf(w, `{"subject":{"namespace":"shop","serviceAccount":%q},`+
		`"podIdentityAssociation":{"associationId":"a-0123456789abcdefg"},`+
		`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/x/y"},`+
		`"credentials":{"accessKeyId":"ASIAEXAMPLEKEYID0001",`+
		`"secretAccessKey":"s","sessionToken":%q,"expiration":%d}}`,
		account, strings.Repeat("t", 900), time.Now().Add(6*time.Hour).Unix())
}

// review is the user of a token, empty if the API server does not accept it.
func (a *agents) review(ctx context.Context, token, audience string) string {
	answer, err := a.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil || !answer.Status.Authenticated || len(answer.Status.Audiences) != 1 {
		return ""
	}
	return answer.Status.User.Username
}

// roll changes the template, which makes a generation of its own.
func (a *agents) roll(change func(agent *corev1.Container)) {
	a.t.Helper()
	must(a.t)(nil, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		sets := a.Client.AppsV1().DaemonSets(system)
		set, err := sets.Get(a.t.Context(), agentName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&set.Spec.Template.Spec.Containers[0])
		_, err = sets.Update(a.t.Context(), set, metav1.UpdateOptions{})
		return err
	}))
}

// pods are the agent's.
func (a *agents) pods() []corev1.Pod {
	a.t.Helper()
	list, err := a.Client.CoreV1().Pods(system).List(a.t.Context(), metav1.ListOptions{})
	must(a.t)(list, err)
	return list.Items
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// untilOne waits until one pod is left, of another generation than before, and is ready.
func (a *agents) untilOne(before types.UID) corev1.Pod {
	a.t.Helper()
	var one corev1.Pod
	a.Until("a new agent has replaced the old one", func(context.Context) error {
		pods := a.pods()
		serving := 0
		for i := range pods {
			if ready(&pods[i]) {
				serving++
			}
		}
		if before != "" && serving == 0 {
			a.t.Fatal("no agent is ready, though one was")
		}
		if len(pods) != 1 || pods[0].UID == before || serving != 1 {
			return fmt.Errorf("%d pods, %d of them ready", len(pods), serving)
		}
		one = pods[0]
		return nil
	})
	return one
}

// ask is what somebody on the node is answered, over a connection of its own.
func ask(ctx context.Context, url, token string) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return err
}

// newPod is one of shop/cart's; what it does is args.
func newPod(name string, args ...string) *corev1.Pod {
	lifetime := int64(3600)
	const folder = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Spec: corev1.PodSpec{
			NodeName: node.Name, ServiceAccountName: "cart", AutomountServiceAccountToken: new(bool),
			Containers: []corev1.Container{{
				Name: "main", Image: node.Image, ImagePullPolicy: corev1.PullNever, Args: args,
				Env: []corev1.EnvVar{
					{Name: "AWS_CONTAINER_CREDENTIALS_FULL_URI", Value: credentials},
					{Name: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Value: folder + "/eks-pod-identity-token"},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: folder}},
			}},
			Volumes: []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
					ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
						Audience: audience, ExpirationSeconds: &lifetime, Path: "eks-pod-identity-token",
					},
				}}},
			}}},
		},
	}
}

func (a *agents) createPod(pod *corev1.Pod) *corev1.Pod {
	a.t.Helper()
	made, err := a.Client.CoreV1().Pods(pod.Namespace).Create(a.t.Context(), pod, metav1.CreateOptions{})
	must(a.t)(made, err)
	return made
}

// token is one of a pod's.
func (a *agents) token(pod *corev1.Pod) string {
	a.t.Helper()
	made, err := a.Client.CoreV1().ServiceAccounts("shop").CreateToken(
		a.t.Context(), "cart", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{audience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{
				APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
			},
		}}, metav1.CreateOptions{},
	)
	must(a.t)(made, err)
	return made.Status.Token
}

// clients are a pod, and somebody on the node, who ask all the time.
type clients struct {
	a             *agents
	pod           *corev1.Pod
	stop          context.CancelFunc
	asked, failed atomic.Int64
	first         atomic.Pointer[string]
	all           sync.WaitGroup
}

func (a *agents) startClients() *clients {
	a.t.Helper()
	c := &clients{a: a, pod: a.createPod(newPod("asker", "ask"))}
	token := a.token(c.pod)
	ctx, stop := context.WithCancel(a.t.Context())
	c.stop = stop
	a.t.Cleanup(func() { stop(); c.all.Wait() })
	for range 2 {
		c.all.Go(func() {
			for ctx.Err() == nil {
				if err := ask(context.WithoutCancel(ctx), credentials, token); err != nil {
					text := err.Error()
					c.first.CompareAndSwap(nil, &text)
					c.failed.Add(1)
				}
				c.asked.Add(1)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	c.further(100)
	return c
}

// counts are how often the pod has asked, and what it was refused.
func (c *clients) counts() (asked int, failures []string) {
	for line := range strings.Lines(c.a.Log(c.pod, "main")) {
		var lost int
		if strings.HasPrefix(line, "failed: ") {
			failures = append(failures, line)
		} else if _, err := fmt.Sscanf(line, "asked %d failed %d\n", &asked, &lost); err != nil {
			c.a.t.Fatalf("the pod said %q", line)
		}
	}
	return asked, failures
}

// further waits until both have asked some times more.
func (c *clients) further(times int) {
	c.a.t.Helper()
	onNode := c.asked.Load() + int64(times)
	inPod := -1
	c.a.Until("the clients have asked", func(context.Context) error {
		asked, _ := c.counts()
		if inPod < 0 {
			inPod = asked + times
		}
		if asked < inPod || c.asked.Load() < onNode {
			return fmt.Errorf("%d of %d times in the pod, %d of %d on the node", asked, inPod, c.asked.Load(), onNode)
		}
		return nil
	})
}

// end says how often they asked; none may have failed.
func (c *clients) end() {
	c.a.t.Helper()
	const enough = 5000
	asked, _ := c.counts()
	c.further(max(1, enough-asked, enough-int(c.asked.Load())))
	c.stop()
	c.all.Wait()
	var failures []string
	asked, failures = c.counts()
	c.a.t.Logf("%d requests from the pod, %d on the node", asked, c.asked.Load())
	for _, line := range failures {
		c.a.t.Errorf("from the pod: %s", line)
	}
	if n := c.failed.Load(); n > 0 {
		c.a.t.Errorf("on the node: %d failed, the first with %s", n, *c.first.Load())
	}
}

// TestAgentSurge: a DaemonSet that replaces its agents by new ones that start beside them,
// as the guide has it, loses no request; kubelet believes only what an agent says of itself.
func TestAgentSurge(t *testing.T) {
	a := newAgents(t)
	current := a.untilOne("")
	clients := a.startClients()
	var good []string
	var env []corev1.EnvVar
	a.roll(func(agent *corev1.Container) { good, env = agent.Args, agent.Env })
	for generation := range 4 {
		a.roll(func(agent *corev1.Container) {
			agent.Env = append(slices.Clip(env), corev1.EnvVar{Name: "GENERATION", Value: strconv.Itoa(generation)})
		})
		current = a.untilOne(current.UID)
		clients.further(200)
	}
	for _, broken := range []struct {
		name   string
		change func(agent *corev1.Container)
	}{
		{"crashes", func(agent *corev1.Container) {
			agent.Args = append(agent.Args, "--probe-socket=/nowhere/x.sock")
		}},
		// It runs, and answers nobody.
		{"is another program", func(agent *corev1.Container) {
			agent.Command, agent.Args = []string{"/pod"}, []string{"wait"}
		}},
		// It listens, and has no token for the broker: what a pod asks would fail there.
		{"is not ready", func(agent *corev1.Container) {
			agent.Args = append(agent.Args, "--broker-token-file=/nowhere", "--ready-requires=upstream")
		}},
	} {
		t.Logf("a new agent that %s", broken.name)
		a.roll(broken.change)
		a.untilProbed(current.UID)
		clients.further(200)
		if broken.name == "is not ready" {
			a.hangAndKill(current.UID, clients)
		}
		a.roll(func(agent *corev1.Container) { agent.Command, agent.Args = []string{"/rolecall"}, good })
		a.Until("the broken agent is gone", func(context.Context) error {
			if pods := a.pods(); len(pods) != 1 || pods[0].UID != current.UID || !ready(&pods[0]) {
				return fmt.Errorf("%d pods", len(pods))
			}
			return nil
		})
	}
	clients.end()
}

// beside is the agent's pod that is not the old one, which goes on; nil while there is none.
func (a *agents) beside(old types.UID) *corev1.Pod {
	a.t.Helper()
	var found *corev1.Pod
	pods := a.pods()
	for i := range pods {
		pod := &pods[i]
		if pod.UID != old {
			found = pod
			if ready(pod) {
				a.t.Fatal("the new agent counts as ready")
			}
		} else if !ready(pod) || pod.DeletionTimestamp != nil {
			a.t.Fatal("the old agent is taken away")
		}
	}
	return found
}

// untilProbed waits until kubelet has probed a new agent some times, or has started it
// again, and does not believe in it.
func (a *agents) untilProbed(old types.UID) {
	a.t.Helper()
	const probes = 3 * 5 * time.Second // the guide's period
	a.Until("the new agent was probed", func(ctx context.Context) error {
		// At the node's port the old one would answer for it.
		if err := ask(ctx, "http://127.0.0.1:2703/readyz", ""); err != nil {
			a.t.Errorf("the port of the probes: %v", err)
		}
		pod := a.beside(old)
		if pod == nil || len(pod.Status.ContainerStatuses) != 1 {
			return errors.New("no new pod")
		}
		status := pod.Status.ContainerStatuses[0]
		if running := status.State.Running; status.RestartCount > 1 ||
			running != nil && time.Since(running.StartedAt.Time) > probes {
			return nil
		}
		return fmt.Errorf("started %d times, now %+v", status.RestartCount+1, status.State)
	})
}

// hangAndKill does both to the new agent's process: nobody notices.
func (a *agents) hangAndKill(old types.UID, clients *clients) {
	a.t.Helper()
	var id int
	for process, line := range a.Processes("/rolecall", "serve", "agent", "--") {
		if strings.Contains(line, "/nowhere") {
			id = process
		}
	}
	if id == 0 {
		a.t.Fatal("the new agent does not run")
	}
	must(a.t)(nil, syscall.Kill(id, syscall.SIGSTOP))
	clients.further(500)
	a.beside(old)
	must(a.t)(nil, syscall.Kill(id, syscall.SIGKILL))
	a.Until("kubelet has started it again", func(context.Context) error {
		if pod := a.beside(old); pod == nil || pod.Status.ContainerStatuses[0].RestartCount == 0 {
			return errors.New("it has not")
		}
		return nil
	})
	clients.further(500)
}
