package integration_test

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// TestPeersCommandLines starts the webhook as the published charts and manifests start
// theirs (spec charts §2), with the permissions of the reference's manifest and no others
// (spec charts §4): it is ready, and a pod gets what the flags say. Only ports and places differ.
func TestPeersCommandLines(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	prepareModes(t, c)
	dir := t.TempDir()
	authority := writeServingPair(t, dir)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
	}}
	kubeconfig := limited(t, c, "peers", []documented{{rule: rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get", "list", "watch"},
	}}})
	review := `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u",` +
		`"namespace":"default","operation":"CREATE","resource":{"version":"v1","resource":"pods"},` +
		`"object":{"spec":{"serviceAccountName":"by-annotation","containers":[{"name":"a","image":"i"}]}}}}`
	patch := regexp.MustCompile(`"patch":"([^"]*)"`)
	for name, row := range map[string]struct {
		line string
		want []string // in the patch
	}{
		"the reference": {
			"--in-cluster=false --namespace=eks --service-name=pod-identity-webhook " +
				"--annotation-prefix=eks.amazonaws.com --token-audience=sts.amazonaws.com --logtostderr --v=5",
			[]string{`"audience":"sts.amazonaws.com"`, `"expirationSeconds":86400`},
		},
		"jkroepke": {
			"--logtostderr --v=5 --in-cluster=false --namespace=eks --service-name=release " +
				"--annotation-prefix=eks.amazonaws.com --token-audience=sts.amazonaws.com --token-expiration=86400 " +
				"--token-mount-path=/var/run/secrets/eks.amazonaws.com/serviceaccount --aws-default-region=us-east-1 " +
				"--sts-regional-endpoint=true --watch-config-map",
			[]string{`"name":"AWS_STS_REGIONAL_ENDPOINTS"`, `"value":"us-east-1"`},
		},
		"kOps": {
			"--in-cluster=false --namespace=kube-system --service-name=pod-identity-webhook " +
				"--annotation-prefix=eks.amazonaws.com --token-audience=amazonaws.com --aws-default-region=eu-west-1 " +
				"--sts-regional-endpoint --watch-config-map --logtostderr --v=5",
			[]string{`"audience":"amazonaws.com"`, `"value":"eu-west-1"`, `"value":"regional"`},
		},
		"Giant Swarm": {
			"--logtostderr --v=5 --in-cluster=false --namespace=eks --service-name=hook --tls-secret=hook " +
				"--annotation-prefix=eks.amazonaws.com --token-audience=sts.amazonaws.com --sts-regional-endpoint",
			[]string{`"value":"regional"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hookAt, metricsAt := freeport.Address(t), freeport.Address(t)
			port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
			arguments := append([]string{"serve", "webhook"}, strings.Fields(row.line)...)
			hook := startProgram(t, nil, append(arguments,
				"--port="+port(hookAt), "--metrics-port="+port(metricsAt), "--kubeconfig", kubeconfig,
				"--tls-cert="+filepath.Join(dir, "tls.crt"), "--tls-key="+filepath.Join(dir, "tls.key"),
				"--shutdown-delay", "0s")...)
			untilReady(t, client, "https://127.0.0.1:"+port(hookAt)+"/readyz", hook.ended, hook.log)
			if text := body(t, client, "https://127.0.0.1:"+port(hookAt)+"/healthz"); text != "ok" {
				t.Errorf("/healthz: %q", text)
			}
			answer := call(t, client, http.MethodPost, "https://127.0.0.1:"+port(hookAt)+"/mutate", review)
			found := patch.FindStringSubmatch(answer)
			if found == nil {
				t.Fatalf("no patch: %s", answer)
			}
			text, err := base64.StdEncoding.DecodeString(found[1])
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range append(row.want, roleARN) {
				if !strings.Contains(string(text), want) {
					t.Errorf("want %s in %s", want, text)
				}
			}
			if text := body(t, http.DefaultClient, "http://127.0.0.1:"+port(metricsAt)+"/metrics"); !strings.Contains(
				text, `pod_identity_webhook_pod_count{method="sts_web_identity"} 1`,
			) {
				t.Error("the reference's metric does not count")
			}
			if code := hook.stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
