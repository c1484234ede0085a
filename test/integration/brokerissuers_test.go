package integration_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
)

// TestBrokerIssuerChange: while the API server has two issuers, and two keys, pods
// and agents with tokens of either get sessions; a key is good for its own issuer.
// Each broker goes on in the chained audit of the one before.
func TestBrokerIssuerChange(t *testing.T) {
	w := newBrokerWorld(t)
	w.associate("cart-federated", "")
	pod := w.pod("shop", "cart-0", "cart-federated", "n1")
	former := w.token(pod, "pods.eks.amazonaws.com")
	formerAgent := w.agents["n1"]

	key, err := token.GenerateRSA(2048)
	w.must(nil, err)
	text, err := key.PEM()
	w.must(nil, err)
	dir := t.TempDir()
	keyFile, jwks, audit := filepath.Join(dir, "new.key"), filepath.Join(dir, "former.json"), filepath.Join(
		dir, "audit.json",
	)
	w.write(keyFile, string(text))
	document, err := token.MarshalJWKS([]crypto.PublicKey{w.c.Key.Public()})
	w.must(nil, err)
	w.write(jwks, string(document))
	server := w.c.APIServers[0]
	w.c.Stop(server)
	w.c.Restart(t, server, cluster.Tokens{
		Issuers:    []string{laterURL, issuerURL},
		SigningKey: keyFile,
		Keys:       []string{keyFile, w.c.KeyFile},
	})
	w.c.Config, w.c.Client = server.Config, server.Client
	w.limited = kubeconfigOf(w.t, w.c, "rolecall-broker")
	later := w.token(pod, "pods.eks.amazonaws.com")
	other := w.token(
		w.pod("shop", "cart-1", "cart-federated", "n1"), "pods.eks.amazonaws.com",
	) // each pod may ask five times
	decoded, err := token.Decode(later)
	w.must(nil, err)
	// The API server itself would take it: its keys are not of one issuer or the other.
	crossed, err := token.Sign(key, bytes.Replace(payload(t, decoded), []byte(laterURL), []byte(issuerURL), 1))
	w.must(nil, err)
	agentPod, err := w.c.Client.CoreV1().Pods("rolecall-system").Get(t.Context(), "agent-n1", metav1.GetOptions{})
	w.must(nil, err)
	laterAgent := w.token(agentPod, "rolecall-broker")

	const refused, stranger = "InvalidTokenException", "UnrecognizedClientException"
	brokers := []struct {
		flags                     []string
		former, byFormer, crossed string // codes
	}{
		{[]string{"--verify", "jwks", "--keys-also", issuerURL + "=" + jwks}, "", "", refused},
		{[]string{"--verify", "both", "--keys-also", issuerURL + "=apiserver"}, "", "", ""},
		{[]string{"--verify", "jwks"}, refused, stranger, refused},
		{[]string{"--verify", "auto"}, "", "", ""}, // the API server is asked
	}
	for _, row := range brokers {
		stop := w.start(append(row.flags, "--audit-chain", "--audit-log", audit)...)
		name := strings.Join(row.flags, " ")
		w.agents["n1"] = laterAgent
		w.eventually(name+": keys are read", later, "")
		w.expect(name+": a token of the new issuer", w.ask("n1", later), "", "")
		if row.former == "" {
			w.eventually(name+": keys of the former issuer are read", former, "")
		}
		w.expect(name+": a token of the former issuer", w.ask("n1", former), row.former, "")
		w.expect(name+": its name with the other's key", w.ask("n1", crossed.Reveal()), row.crossed, "")
		w.agents["n1"] = formerAgent
		w.expect(name+": an agent with a token of the former issuer", w.ask("n1", other), row.byFormer, "")
		if code := stop(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	w.verifyAudit(audit, len(brokers))
}

// verifyAudit runs `audit verify` over a file with so many chains, and once more
// when a refusal was made a session.
func (w *brokerWorld) verifyAudit(file string, chains int) {
	w.t.Helper()
	verify := func(file string) (code int, said string) {
		var stdout bytes.Buffer
		system := app.NewSystem()
		system.Stdout, system.Stderr = &stdout, &stdout
		code = app.Run(w.t.Context(), system, []string{"audit", "verify", file})
		return code, stdout.String()
	}
	if code, said := verify(file); code != 0 || strings.Count(said, "chain ") != chains {
		w.t.Errorf("audit verify: %d %s", code, said)
	}
	text, err := os.ReadFile(file)
	w.must(nil, err)
	changed := strings.Replace(string(text), `"decision":"refused"`, `"decision":"issued"`, 1)
	w.write(file+".changed", changed)
	if code, said := verify(file + ".changed"); code != 1 || !strings.Contains(said, "was changed") {
		w.t.Errorf("audit verify of a changed file: %d %s", code, said)
	}
}

// payload is what a token was signed over.
func payload(t *testing.T, decoded *token.JWT) []byte {
	t.Helper()
	text, err := json.Marshal(decoded.Claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
