package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

const assumed = "arn:aws:sts::" + accountID + ":assumed-role/"

// TestPodIdentity is the whole of Pod Identity off EKS: a real API server, and
// webhook, broker, agent and AWS each in a process of its own, with the
// permissions of the guides.
func TestPodIdentity(t *testing.T) {
	t.Parallel()
	w := newPodWorld(t)
	t.Run("sessions", func(t *testing.T) {
		for mode, account := range map[string]string{
			"Federated":   "federated",
			"BrokerRole":  "brokerrole",
			"PassThrough": "passthrough",
		} {
			t.Run(mode, func(t *testing.T) { t.Parallel(); w.of(t).mode(mode, account) })
		}
		t.Run("by the EKS API", func(t *testing.T) { t.Parallel(); w.of(t).byCLI() })
		t.Run("target role", func(t *testing.T) { t.Parallel(); w.of(t).targetRole() })
		t.Run("wrong node", func(t *testing.T) { t.Parallel(); w.of(t).wrongNode() })
	})
	t.Run("ended pods", func(t *testing.T) { w.of(t).ended() })
	t.Run("grants", func(t *testing.T) { w.of(t).granted() })
	w.associate("fault", "")
	// Programs that are started from here on belong to the whole test.
	for _, fault := range []struct {
		name string
		test func(*podWorld)
	}{
		{"API server away", (*podWorld).apiServerAway},
		{"clock of the broker", (*podWorld).clockJumps},
		{"broker killed", (*podWorld).brokerKilled},
		{"agent killed", (*podWorld).agentKilled},
		{"STS slow", (*podWorld).stsSlow},
	} {
		fault.test(w)
		if t.Failed() {
			t.Fatal(fault.name)
		}
	}
	w.auditIsWhole()
	for _, one := range []*program{w.hook, w.node, w.brokers} {
		if code := one.stop(t); code != 0 {
			t.Errorf("exit code %d:\n%s", code, one.log)
		}
	}
	w.checkSecrets()
}

// mode is the whole way of one mode: from the association to what session tags
// decide, then what ends it.
func (w *podWorld) mode(mode, account string) {
	t, ctx := w.t, w.t.Context()
	w.associate(account, ", mode: "+mode)
	pod := w.start(account+"-pod-0", account, "n1")
	want := assumed + "cart/eks-prod-" + cutName(pod.pod.Name) + "-"
	if arn, there := pod.cli(); there && (!strings.HasPrefix(arn, want) || len(arn) != len(want)+36) {
		t.Errorf("aws says %q, want %s and a UUID", arn, want)
	}
	report := pod.program(mayRead, otherNamespace, otherCluster)
	allowed := ""
	if mode == "PassThrough" { // whose sessions have no tags
		allowed = "AccessDeniedException"
	}
	if !strings.HasPrefix(report.ARN, want) || report.Read[mayRead] != allowed ||
		report.Read[otherNamespace] != "AccessDeniedException" || report.Read[otherCluster] != "AccessDeniedException" {
		t.Errorf("the program found %+v", report)
	}
	if calls := w.sts.of(pod.pod.Name); len(calls) != 1 { // both programs have one session
		t.Errorf("%d calls of STS", len(calls))
	}
	got := pod.ask()
	pod.mine(got.AccessKeyID)
	if got.AccountID != accountID {
		t.Errorf("account %q", got.AccountID)
	}
	if records := w.records(`"decision":"issued"`, `"accessKeyID":"`+got.AccessKeyID+`"`); len(records) != 1 ||
		records[0]["mode"] != mode ||
		records[0]["node"] != "n1" ||
		records[0]["podUID"] != string(pod.pod.UID) {
		t.Errorf("audit of %s: %v", got.AccessKeyID, records)
	}

	// Another role (spec podidentity row D19): what the agent gives next is a session of it.
	another := []byte(`{"spec":{"roleARN":"arn:aws:iam::` + accountID + `:role/cart2"}}`)
	w.must(w.associations().Patch(ctx, account, types.MergePatchType, another, metav1.PatchOptions{}))
	began := time.Now()
	poll(
		t,
		func() bool { return pod.ask().AccessKeyID != got.AccessKeyID },
		func() { t.Fatal("the old role's session is still served") },
	)
	t.Logf("%s: another role after %s", mode, time.Since(began).Round(time.Millisecond))
	if report := pod.program(); !strings.HasPrefix(report.ARN, assumed+"cart2/eks-prod-") {
		t.Errorf("another role: %+v", report)
	}

	// No association (spec podidentity row D20): refused by the broker at once, forgotten by the agent.
	w.must(nil, w.associations().Delete(ctx, account, metav1.DeleteOptions{}))
	began = time.Now()
	w.eventually("association deleted", pod.raw, "ResourceNotFoundException")
	refused := pod.until("association deleted", http.StatusNotFound)
	t.Logf("%s: forgotten after %s", mode, time.Since(began).Round(time.Millisecond))
	if refused.Code != "ResourceNotFoundException" || refused.AccessKeyID != "" {
		t.Errorf("association deleted: %+v", refused)
	}
	w.associate(account, ", mode: "+mode)
	pod.until("association made again", http.StatusOK)

	// No pod: its token is good for nothing at the broker.
	now := int64(0)
	w.must(
		nil, w.c.Client.CoreV1().Pods("shop").Delete(ctx, pod.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}),
	)
	w.eventually("pod deleted", pod.raw, "InvalidTokenException")
	calls := len(w.sts.of(pod.pod.Name))
	w.eventually("pod deleted, again", pod.raw, "InvalidTokenException")
	if more := len(w.sts.of(pod.pod.Name)) - calls; more != 0 {
		t.Errorf("%d calls of STS for a pod that is gone", more)
	}
}

// ended: a minute after their end the agent has forgotten the pods of the modes,
// whose tokens are valid still.
func (w *podWorld) ended() {
	t := w.t
	tokens := map[string]*containedPod{}
	for _, account := range []string{"federated", "brokerrole", "passthrough"} {
		pod := w.start(account+"-end-0", account, "n1")
		key := pod.until("the last session", http.StatusOK).AccessKeyID
		now := int64(0)
		w.must(
			nil,
			w.c.Client.CoreV1().
				Pods("shop").
				Delete(t.Context(), pod.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}),
		)
		w.eventually("deleted", pod.raw, "InvalidTokenException")
		tokens[key] = pod
	}
	w.node.ahead(t, 70*time.Second)
	for key, pod := range tokens {
		if got := pod.until("ended", http.StatusBadRequest); got.Code != "InvalidTokenException" ||
			got.AccessKeyID == key {
			t.Errorf("%s, which is gone: %+v", pod.pod.Name, got)
		}
	}
	w.node.ahead(t, 0)
}

// byCLI makes the association with the AWS CLI, against the broker, and deletes
// it in the same way.
func (w *podWorld) byCLI() {
	t := w.t
	cli := func(words string) map[string]any {
		t.Helper()
		out, problems, failed := w.run(
			"aws",
			append(strings.Fields(words), "--output", "json", "--endpoint-url", w.url, "--cluster-name", "prod")...)
		var said map[string]any
		if failed || json.Unmarshal([]byte(out), &said) != nil {
			t.Fatalf("aws %s: %s%s", words, out, problems)
		}
		one, _ := said["association"].(map[string]any)
		return one
	}
	made := cli("eks create-pod-identity-association --namespace shop --service-account by-cli --role-arn " + cartARN)
	pod := w.start("by-cli-0", "by-cli", "n1")
	if report := pod.program(mayRead, otherNamespace); !strings.HasPrefix(
		report.ARN, assumed+"cart/eks-prod-by-cli-0-",
	) ||
		report.Read[mayRead] != "" ||
		report.Read[otherNamespace] == "" {
		t.Errorf("the program found %+v", report)
	}
	cli(fmt.Sprint("eks delete-pod-identity-association --association-id ", made["associationId"]))
	pod.until("deleted by the CLI", http.StatusNotFound)
}

// targetRole: two steps, the second into another account by the external id of
// the association; tags go along. Another account's id does not do.
func (w *podWorld) targetRole() {
	t := w.t
	const target = `, targetRoleARN: "arn:aws:iam::` + dataAccount + `:role/data"`
	w.associate("chain", target)
	pod := w.start("chain-0", "chain", "n1")
	report := pod.program(mayRead, otherNamespace, otherCluster)
	if want := "arn:aws:sts::" + dataAccount + ":assumed-role/data/eks-prod-chain-0-"; !strings.HasPrefix(
		report.ARN, want,
	) ||
		report.Read[mayRead] != "" ||
		report.Read[otherNamespace] != "AccessDeniedException" ||
		report.Read[otherCluster] != "AccessDeniedException" {
		t.Errorf("the program found %+v", report)
	}
	if calls := w.sts.of("chain-0"); len(calls) != 2 {
		t.Errorf("%d calls of STS, want two", len(calls))
	}
	if got := pod.ask(); got.AccountID != dataAccount {
		t.Errorf("account %q", got.AccountID)
	}
	w.associate("stray", target)
	stray := w.start("stray-0", "stray", "n1")
	if got := stray.ask(); got.status != http.StatusBadRequest || got.Code != "AccessDeniedException" ||
		!strings.Contains(got.Message, clusterTagID+"stray") {
		t.Errorf("another external id: %+v", got)
	}
}

// wrongNode: the token of a pod on n2, shown to the agent of n1, gives nothing,
// and STS is never asked (spec podidentity row H16).
func (w *podWorld) wrongNode() {
	t := w.t
	w.associate("elsewhere", "")
	pod := w.start("elsewhere-0", "elsewhere", "n2")
	if got := pod.ask(); got.status != http.StatusBadRequest || got.Code != "AccessDeniedException" ||
		!strings.Contains(got.Message, `"n2"`) {
		t.Errorf("%+v", got)
	}
	records := w.records(`"pod":"elsewhere-0"`)
	if len(records) == 0 || records[0]["decision"] != "refused" || records[0]["code"] != "AccessDeniedException" ||
		records[0]["node"] != "n1" {
		t.Errorf("audit: %v", records)
	}
	if calls := w.sts.of("elsewhere-0"); len(calls) != 0 {
		t.Errorf("%d calls of STS", len(calls))
	}
}

// granted: from the moment a RoleGrant is of others only, nothing new is given.
func (w *podWorld) granted() {
	t, ctx := w.t, w.t.Context()
	w.associate("granted", "")
	pod := w.start("granted-0", "granted", "n1")
	grants := w.objects.Resource(rolecallResource("rolegrants"))
	object := &unstructured.Unstructured{}
	w.must(nil, yaml.Unmarshal([]byte(`{apiVersion: rolecall.io/v1alpha1, kind: RoleGrant, metadata: {name: shop}, `+
		`spec: {subjects: [{namespace: shop, serviceAccount: granted}], roles: ["`+cartARN+`"]}}`), &object.Object))
	w.must(grants.Create(ctx, object, metav1.CreateOptions{}))
	w.eventually("granted", pod.raw, "")
	w.must(
		grants.Patch(
			ctx, "shop", types.MergePatchType, []byte(`{"spec":{"roles":["`+cartARN+`2"]}}`), metav1.PatchOptions{},
		),
	)
	w.eventually("granted another role", pod.raw, "AccessDeniedException")
	if got := pod.until("granted another role", http.StatusBadRequest); got.Code != "AccessDeniedException" ||
		!strings.Contains(got.Message, "RoleGrant") {
		t.Errorf("%+v", got)
	}
	w.must(nil, grants.Delete(ctx, "shop", metav1.DeleteOptions{}))
	pod.until("no grants again", http.StatusOK)
}

// apiServerAway: the broker goes on for pods that it knows, as long as it may;
// about a pod that it does not know it cannot say anything, which is not a
// verdict.
func (w *podWorld) apiServerAway() {
	t := w.t
	holds, known := w.start("api-holds", "fault", "n1"), w.start("api-known", "fault", "n1")
	key := holds.until("before", http.StatusOK).AccessKeyID
	w.eventually("before", known.raw, "")
	w.api.set(true)
	unknown := w.start("api-unknown", "fault", "n1")
	if got := w.ask("n1", known.raw); got.status != http.StatusOK {
		t.Errorf("a pod that is known: %d %s", got.status, got.message)
	}
	if got := w.ask("n1", unknown.raw); got.status != http.StatusServiceUnavailable ||
		got.code != "ServiceUnavailableException" {
		t.Errorf("a pod that is not known: %d %s %s", got.status, got.code, got.message)
	}
	w.brokers.ahead(t, 61*time.Second) // what it knows is too old now
	if got := w.ask("n1", known.raw); got.status != http.StatusServiceUnavailable {
		t.Errorf("a minute later: %d %s %s", got.status, got.code, got.message)
	}
	if got := holds.ask(); got.status != http.StatusOK || got.AccessKeyID != key {
		t.Errorf("a pod that has a session: %+v", got)
	}
	if got := unknown.ask(); got.status != http.StatusServiceUnavailable {
		t.Errorf("a pod that has none: %+v", got)
	}
	w.brokers.ahead(t, 0)
	w.api.set(false)
	unknown.until("the API server is back", http.StatusOK)
	unknown.mine(unknown.ask().AccessKeyID)
}

// clockJumps: minted tokens of a broker whose clock is wrong are not taken by
// STS. That is the broker's trouble, not the pod's: 503. Other modes do not
// depend on its clock, and what was given stays.
func (w *podWorld) clockJumps() {
	t := w.t
	pod := w.start("clock-0", "fault", "n1")
	pod.raw = w.old(pod.raw)
	key := pod.until("before", http.StatusOK).AccessKeyID
	w.must(nil, w.associations().Delete(t.Context(), "passthrough", metav1.DeleteOptions{}))
	w.associate("passthrough", ", mode: PassThrough")
	other := w.start("clock-1", "passthrough", "n1")
	other.raw = w.old(other.raw)
	w.eventually("before", other.raw, "")
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		w.brokers.ahead(t, by)
		if got := w.ask("n1", pod.raw); got.status != http.StatusServiceUnavailable ||
			got.code != "ServiceUnavailableException" {
			t.Errorf("%s: %d %s %s", by, got.status, got.code, got.message)
		}
		if got := w.ask("n1", other.raw); got.status != http.StatusOK {
			t.Errorf("%s, pass-through: %d %s %s", by, got.status, got.code, got.message)
		}
		if got := pod.ask(); got.AccessKeyID != key {
			t.Errorf("%s, at the agent: %+v", by, got)
		}
	}
	w.brokers.ahead(t, 0)
	w.eventually("the clock is right", pod.raw, "")
}

const loaded = 20

// brokerKilled: the broker dies while pods ask for their first sessions. Those
// that have one notice nothing; the others get theirs from the next broker, at
// the price of what was under way.
func (w *podWorld) brokerKilled() {
	t := w.t
	holds := w.start("holds-0", "fault", "n1")
	key := holds.until("before", http.StatusOK).AccessKeyID
	pods := make([]*containedPod, loaded)
	for i := range pods {
		pods[i] = w.start(fmt.Sprintf("load-%02d", i), "fault", "n1")
	}
	w.sts.hold()
	var asking sync.WaitGroup
	for _, pod := range pods {
		asking.Go(func() {
			if got := pod.until("broker killed", http.StatusOK); got.AccessKeyID != "" {
				pod.mine(got.AccessKeyID)
			}
		})
	}
	w.sts.untilHeld(t, 5)
	w.brokers.kill(t)
	w.sts.release()
	if got := holds.ask(); got.AccessKeyID != key {
		t.Errorf("without a broker: %+v", got)
	}
	w.startBroker()
	asking.Wait()
	calls := 0
	for _, pod := range pods {
		asked := len(w.sts.askedFor(pod.pod.Name))
		// One under way when the broker died, one of the next; on a machine that
		// stands still the first broker tries again meanwhile.
		if calls += asked; asked > 4 {
			t.Errorf("%d calls of STS for %s", asked, pod.pod.Name)
		}
	}
	t.Logf("%d calls of STS for %d pods", calls, loaded)
}

// agentKilled: the agent dies in the middle of renewals. The next one starts with
// nothing, and gives each pod a session of its own.
func (w *podWorld) agentKilled() {
	t := w.t
	w.sts.hold()
	w.node.ahead(t, 3*time.Hour) // all are due
	w.sts.untilHeld(t, 1)
	w.node.kill(t)
	w.sts.release()
	w.startNode()
	var asking sync.WaitGroup
	for i := range loaded {
		name := fmt.Sprintf("load-%02d", i)
		pod, err := w.c.Client.CoreV1().Pods("shop").Get(t.Context(), name, metav1.GetOptions{})
		w.must(pod, err)
		again := &containedPod{w: w, pod: pod, raw: w.token(pod, podIdentity)}
		asking.Go(func() { again.mine(again.until("agent killed", http.StatusOK).AccessKeyID) })
	}
	asking.Wait()
}

// stsSlow: STS takes five seconds, then fourteen. A pod's program still gets its session,
// though it may have to start again, as the kubelet sees to; the agent has the waits
// that it has by default.
func (w *podWorld) stsSlow() {
	t := w.t
	at := slices.Index(w.agentFlags, "--foreground-deadline")
	w.agentFlags = slices.Delete(slices.Clone(w.agentFlags), at, at+2)
	if code := w.node.stop(t); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, w.node.log)
	}
	w.startNode()
	for i, delay := range []string{"5s", "14s"} {
		w.fault(http.MethodPost, `{"kind":"latency","service":"sts","action":"AssumeRole*","delay":"`+delay+`"}`)
		pod := w.start(fmt.Sprintf("slow-%d", i), "fault", "n1")
		began, starts := time.Now(), 0
		if path, err := exec.LookPath("aws"); err == nil {
			var said string
			poll(t, func() bool {
				starts++
				_, said, err = pod.run(path, nil, "sts", "get-caller-identity")
				return err == nil
			}, func() { t.Fatalf("%s: no session after %d starts: %s", delay, starts, said) })
		}
		pod.mine(pod.until("STS slow", http.StatusOK).AccessKeyID)
		t.Logf("%s: the AWS CLI after %s and %d starts; STS was asked %d times", delay,
			time.Since(began).Round(time.Millisecond), starts, len(w.sts.askedFor(pod.pod.Name)))
		if asked := len(w.sts.askedFor(pod.pod.Name)); asked > 3 {
			t.Errorf("%s: STS was asked %d times", delay, asked)
		}
		w.fault(http.MethodDelete, "")
	}
}

// fault asks local AWS to fail, or no longer to.
func (w *podWorld) fault(method, body string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(
		w.t.Context(), method, w.aws+"/_rolecall/faults", strings.NewReader(body),
	)
	w.must(nil, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode >= 300 {
		w.t.Fatal(err, response)
	}
	response.Body.Close()
}

// auditIsWhole is spec podidentity row S14: each session that a pod was given is in the audit
// once.
func (w *podWorld) auditIsWhole() {
	times := map[string]int{}
	for _, record := range w.records(`"decision":"issued"`) {
		key, _ := record["accessKeyID"].(string)
		times[key]++
	}
	for _, key := range w.all.given {
		if times[key] != 1 {
			w.t.Errorf("the key %s is in the audit %d times", key, times[key])
		}
	}
}
