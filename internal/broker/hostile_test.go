package broker_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/token"
)

type edits = map[string]any

// header is T with another header.
func withHeader(raw, header string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + raw[strings.Index(raw, "."):]
}

// TestHostileTokens are the rows of spec podidentity §21 and §19.4 about the
// pod's token, in each mode of assuming roles: whatever is refused, STS is not
// asked.
func TestHostileTokens(t *testing.T) {
	t.Parallel()
	const invalid, parameter = "InvalidTokenException", "InvalidParameterException"
	kid := must(clusterKey()).ID()
	stranger := must(strangeKey())
	for _, row := range []struct {
		name    string
		raw     func(w *world) string
		setUp   func(w *world)
		modes   []v1alpha1.AssociationMode // all if empty; STS itself refuses some in one
		code    string
		message string
	}{
		{name: "good", raw: func(w *world) string { return w.token(nil) }},
		{name: "no token", raw: func(*world) string { return "" }, code: parameter},
		{name: "no JWT", raw: func(*world) string { return "abc" }, code: parameter},
		{name: "three parts of nothing", raw: func(*world) string { return "a.b.c" }, code: invalid},
		{name: "too long", raw: func(*world) string { return strings.Repeat("a", 17<<10) + ".b.c" }, code: parameter},
		{
			name:    "expired by 1 s",
			raw:     func(w *world) string { return w.token(edits{"exp": w.clock().Unix() - 1}) },
			code:    "ExpiredTokenException",
			message: "must be before the expiration",
		},
		{
			name: "expires now",
			raw:  func(w *world) string { return w.token(edits{"exp": w.clock().Unix()}) },
			code: "ExpiredTokenException",
		},
		{
			name: "not valid for 59 s",
			raw:  func(w *world) string { return w.token(edits{"nbf": w.clock().Unix() + 59}) },
		},
		{
			name:    "not valid for 10 min",
			raw:     func(w *world) string { return w.token(edits{"nbf": w.clock().Unix() + 600}) },
			code:    invalid,
			message: "not valid yet",
		},
		{
			name:    "issued in 10 min",
			raw:     func(w *world) string { return w.token(edits{"iat": w.clock().Unix() + 600}) },
			code:    invalid,
			message: "not valid yet",
		},
		{name: "no exp", raw: func(w *world) string { return w.token(edits{"exp": nil}) }, code: invalid},
		{
			name:    "another audience",
			raw:     func(w *world) string { return w.token(edits{"aud": []string{"sts.amazonaws.com"}}) },
			code:    invalid,
			message: "another audience",
		},
		{
			name:    "the agents' audience",
			raw:     func(w *world) string { return w.token(edits{"aud": []string{"rolecall-broker"}}) },
			code:    invalid,
			message: "another audience",
		},
		{name: "no audience", raw: func(w *world) string { return w.token(edits{"aud": nil}) }, code: invalid},
		{
			name:  "one of several audiences",
			modes: modes[:2],
			raw:   func(w *world) string { return w.token(edits{"aud": []string{"x", broker.Audience}}) },
		},
		{
			name:    "another issuer",
			raw:     func(w *world) string { return w.token(edits{"iss": brokerURL}) },
			code:    invalid,
			message: "issuer",
		},
		{
			name:    "another key",
			raw:     func(w *world) string { return must(token.Sign(stranger, w.claims(nil))).Reveal() },
			code:    invalid,
			message: "no key",
		},
		{name: "another key with the cluster's kid", raw: func(w *world) string {
			return withHeader(must(token.Sign(stranger, w.claims(nil))).Reveal(), `{"alg":"RS256","kid":"`+kid+`"}`)
		}, code: invalid, message: "signature"},
		{name: "another payload", raw: func(w *world) string {
			parts, other := strings.Split(w.token(nil), "."), strings.Split(w.token(edits{"jti": "x"}), ".")
			return parts[0] + "." + other[1] + "." + parts[2]
		}, code: invalid, message: "signature"},
		{
			name:    "alg none",
			raw:     func(w *world) string { return withHeader(w.token(nil), `{"alg":"none","kid":"`+kid+`"}`) },
			code:    invalid,
			message: "alg",
		},
		{name: "alg none without signature", raw: func(w *world) string {
			raw := withHeader(w.token(nil), `{"alg":"none","kid":"`+kid+`"}`)
			return raw[:strings.LastIndex(raw, ".")+1]
		}, code: parameter},
		{
			name:    "HS256 with the public key",
			raw:     func(w *world) string { return hmacSigned(w.claims(nil)) },
			code:    invalid,
			message: "alg",
		},
		{
			name:    "its own jwk",
			raw:     func(w *world) string { return ownKey(w.claims(nil), "") },
			code:    invalid,
			message: "names no key",
		},
		{
			name:    "its own jwk under the cluster's kid",
			raw:     func(w *world) string { return ownKey(w.claims(nil), kid) },
			code:    invalid,
			message: "signature",
		},
		{name: "jku", raw: func(w *world) string {
			return withHeader(w.token(nil), `{"alg":"RS256","jku":"https://evil.example/keys","kid":"x"}`)
		}, code: invalid, message: "no key"},
		{name: "crit", raw: func(w *world) string {
			return withHeader(w.token(nil), `{"alg":"RS256","kid":"`+kid+`","crit":["exp"]}`)
		}, code: invalid, message: "crit"},
		{name: "no kid", raw: func(w *world) string {
			return must(token.SignWithoutKeyID(must(clusterKey()), w.claims(nil))).Reveal()
		}, code: invalid, message: "names no key"},
		{name: "legacy token of a Secret", raw: func(w *world) string {
			return w.token(edits{"iss": "kubernetes/serviceaccount", "exp": nil, "kubernetes.io": nil})
		}, code: invalid},
		{name: "bound to a Secret", raw: func(w *world) string {
			bound := workloadOf("shop", "cart", accountUID, "", "", "")
			bound["secret"] = edits{"name": "s", "uid": "x"}
			return w.token(edits{"kubernetes.io": bound})
		}, code: invalid, message: "Secret"},
		{name: "not bound", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "", "", "")})
		}, code: invalid, message: "not bound to a pod"},
		{
			name: "no claim of Kubernetes",
			raw:  func(w *world) string { return w.token(edits{"kubernetes.io": nil}) },
			code: invalid,
		},
		{
			name: "a user's token",
			raw:  func(w *world) string { return w.token(edits{"sub": "somebody"}) },
			code: invalid,
		},
		{
			name:    "another subject",
			raw:     func(w *world) string { return w.token(edits{"sub": "system:serviceaccount:shop:admin"}) },
			code:    invalid,
			message: "subject",
		},
		{name: "no UID of the account", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", "", "cart-0", podUID, "n1")})
		}, code: invalid},
		{name: "no UID of the pod", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", "", "n1")})
		}, code: invalid},
		{name: "account made again", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", "older-uid", "cart-0", podUID, "n1")})
		}, code: invalid, message: "service account no longer exists"},
		{name: "pod made again", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", "older-uid", "n1")})
		}, code: invalid, message: "another of the same name"},
		{name: "no such pod", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-9", podUID, "n1")})
		}, code: invalid, message: "pod no longer exists"},
		{
			name:    "the pod of another account",
			raw:     func(w *world) string { return w.token(nil) },
			setUp:   func(w *world) { w.update(newPod("shop", "cart-0", podUID, "other", "n1")) },
			code:    invalid,
			message: "another service account",
		},
		{
			name:    "succeeded",
			raw:     func(w *world) string { return w.token(nil) },
			setUp:   func(w *world) { w.update(phased(corev1.PodSucceeded)) },
			code:    invalid,
			message: "ended",
		},
		{
			name:    "failed",
			raw:     func(w *world) string { return w.token(nil) },
			setUp:   func(w *world) { w.update(phased(corev1.PodFailed)) },
			code:    invalid,
			message: "ended",
		},
		{
			name:  "deleted 59 s ago",
			raw:   func(w *world) string { return w.token(nil) },
			setUp: func(w *world) { w.update(deletedAt(w.clock().Add(-59 * time.Second))) },
		},
		{
			name:    "H17 deleted 61 s ago",
			raw:     func(w *world) string { return w.token(nil) },
			setUp:   func(w *world) { w.update(deletedAt(w.clock().Add(-61 * time.Second))) },
			code:    invalid,
			message: "deleted",
		},
		{
			name: "H16 pod of another node",
			raw: func(w *world) string {
				return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", podUID, "n2")})
			},
			setUp:   func(w *world) { w.update(newPod("shop", "cart-0", podUID, "cart", "n2")) },
			code:    "AccessDeniedException",
			message: `"n2"`,
		},
		{
			name: "pod of another node, no claim",
			raw: func(w *world) string {
				return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", podUID, "")})
			},
			setUp:   func(w *world) { w.update(newPod("shop", "cart-0", podUID, "cart", "n2")) },
			code:    "AccessDeniedException",
			message: `"n2"`,
		},
		{name: "no claim, but here", raw: func(w *world) string {
			return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", podUID, "")})
		}},
		{
			name:    "claim and pod disagree",
			raw:     func(w *world) string { return w.token(nil) },
			setUp:   func(w *world) { w.update(newPod("shop", "cart-0", podUID, "cart", "n2")) },
			code:    invalid,
			message: "another node",
		},
		{
			name: "not scheduled",
			raw: func(w *world) string {
				return w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", podUID, "")})
			},
			setUp: func(w *world) { w.update(newPod("shop", "cart-0", podUID, "cart", "")) },
			code:  "AccessDeniedException",
		},
	} {
		in := row.modes
		if in == nil {
			in = modes
		}
		for _, mode := range in {
			t.Run(row.name+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, settings{mode: mode})
				w.associate()
				if row.setUp != nil {
					row.setUp(w)
				}
				w.expect(w.ask(row.raw(w)), row.code, row.message)
			})
		}
	}
}

// expect holds an answer to a code, and to STS having been asked only if there
// is none.
func (w *world) expect(got answer, code, message string) {
	w.t.Helper()
	want := map[string]int{
		"":                                    200,
		"ResourceNotFoundException":           404,
		"ThrottlingException":                 429,
		"ServiceUnavailableException":         503,
		"InternalServerException":             500,
		"MissingAuthenticationTokenException": 403,
		"UnrecognizedClientException":         403,
		"InvalidSignatureException":           403,
	}[code]
	if _, found := map[string]int{"": 0, "ResourceNotFoundException": 0}[code]; !found && want == 0 {
		want = 400
	}
	if got.status != want || got.code != code || !strings.Contains(got.message, message) {
		w.t.Errorf("%d %s %q, want %d %s %q", got.status, got.code, got.message, want, code, message)
	}
	if calls := w.taken(); (len(calls) > 0) != (code == "") {
		w.t.Errorf("%d calls of STS", len(calls))
	}
}

func hmacSigned(claims []byte) string {
	// What the signature is does not matter: no symmetric algorithm is looked at.
	text := base64.RawURLEncoding.EncodeToString(
		[]byte(`{"alg":"HS256","kid":"`+must(clusterKey()).ID()+`"}`),
	) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
}

// ownKey is signed by a key that the header brings along.
func ownKey(claims []byte, kid string) string {
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	options := (&jose.SignerOptions{EmbedJWK: true})
	if kid != "" {
		options = (&jose.SignerOptions{}).WithHeader(
			"jwk", jose.JSONWebKey{Key: private.Public(), KeyID: kid},
		).WithHeader("kid", kid)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, options))
	return must(must(signer.Sign(claims)).CompactSerialize())
}

func phased(phase corev1.PodPhase) *corev1.Pod {
	pod := newPod("shop", "cart-0", podUID, "cart", "n1")
	pod.Status.Phase = phase
	return pod
}

func deletedAt(at time.Time) *corev1.Pod {
	pod := newPod("shop", "cart-0", podUID, "cart", "n1")
	pod.DeletionTimestamp = &metav1.Time{Time: at}
	return pod
}

// update changes the pod and waits until the watch has brought it.
func (w *world) update(pod *corev1.Pod) {
	w.t.Helper()
	pod.Labels = map[string]string{"changed": "yes"}
	if _, err := w.client.CoreV1().Pods(pod.Namespace).Update(w.t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.follow()
}

// follow waits until what was written before is followed: a pod that is written
// last is seen last.
func (w *world) follow() {
	w.t.Helper()
	mark := newPod(
		"marks", "m"+time.Now().Format("150405.000000000"), "m", "m", "mark"+time.Now().Format("150405.000000000"),
	)
	mark.Name = strings.ReplaceAll(mark.Name, ".", "-")
	if _, err := w.client.CoreV1().Pods("marks").Create(w.t.Context(), mark, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	for {
		if uses, _ := w.objects.UsesOn(
			mark.Spec.NodeName, "marks", func(account string) bool { return account == "m" },
		); uses {
			return
		}
		if w.t.Context().Err() != nil {
			w.t.Fatal("the watch stands still")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDeletedPod is H17 and the threat of a kept token: as soon as the pod is
// gone, so is its identity; one of the same name is another.
func TestDeletedPod(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		w := newWorld(t, settings{mode: mode})
		w.associate()
		raw := w.token(nil)
		w.expect(w.ask(raw), "", "")
		if err := w.client.CoreV1().Pods("shop").Delete(t.Context(), "cart-0", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.follow()
		w.expect(w.ask(raw), "InvalidTokenException", "no longer exists")
		if _, err := w.client.CoreV1().Pods("shop").Create(
			t.Context(), newPod("shop", "cart-0", "new-uid", "cart", "n1"), metav1.CreateOptions{},
		); err != nil {
			t.Fatal(err)
		}
		w.follow()
		w.expect(w.ask(raw), "InvalidTokenException", "another of the same name")
		w.expect(
			w.ask(w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-0", "new-uid", "n1")})),
			"", "",
		)
	}
}

// TestNewPod: a pod that the watch has not brought is asked for.
func TestNewPod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate()
	w.client.PrependReactor("get", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.GetAction).GetName() == "cart-7" {
			return true, newPod("shop", "cart-7", "uid-7", "cart", "n1"), nil
		}
		return false, nil, nil
	})
	w.expect(
		w.ask(w.token(edits{"kubernetes.io": workloadOf("shop", "cart", accountUID, "cart-7", "uid-7", "n1")})), "", "",
	)
}

// TestAgents is spec podidentity §19.3, mode sa-token: who may ask, and for
// which node.
func TestAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate()
	agentClaims := func(more edits) edits {
		all := edits{
			"aud":           []string{"rolecall-broker"},
			"sub":           "system:serviceaccount:rolecall:agent",
			"kubernetes.io": workloadOf("rolecall", "agent", agentUID, "agent-1", agentPodUID, "n1"),
		}
		maps.Copy(all, more)
		return all
	}
	for _, row := range []struct{ name, authorization, code, message string }{
		{"good", "Bearer " + w.agent("n1"), "", ""},
		{"scheme in lower case", "bearer " + w.agent("n1"), "", ""},
		{"nobody", "", "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"AWS signature", "AWS4-HMAC-SHA256 Credential=x", "UnrecognizedClientException", ""},
		{"garbage", "Bearer abc", "UnrecognizedClientException", "agent's own token"},
		{
			"H16 the agent of another node", "Bearer " + w.agent("n2"), "AccessDeniedException",
			`runs on node "n1", the request comes from node "n2"`,
		},
		{"the pod's own token", "Bearer " + w.token(nil), "UnrecognizedClientException", "another audience"},
		{
			"the pod's account with the agents' audience",
			"Bearer " + w.token(edits{"aud": []string{"rolecall-broker"}}), "AccessDeniedException",
			"shop/cart may not ask",
		},
		{
			"expired", "Bearer " + w.token(agentClaims(edits{"exp": w.clock().Unix() - 1})),
			"UnrecognizedClientException", "expired",
		},
		{
			"not bound",
			"Bearer " + w.token(
				agentClaims(edits{"kubernetes.io": workloadOf("rolecall", "agent", agentUID, "", "", "n1")}),
			),
			"AccessDeniedException", "not bound to a pod",
		},
		{
			"of a pod that is gone",
			"Bearer " + w.token(
				agentClaims(edits{"kubernetes.io": workloadOf("rolecall", "agent", agentUID, "agent-9", "x", "n1")}),
			),
			"UnrecognizedClientException", "no longer exists",
		},
		{
			"claims another node than its pod's",
			"Bearer " + w.token(
				agentClaims(
					edits{"kubernetes.io": workloadOf("rolecall", "agent", agentUID, "agent-2", "agent-2-uid", "n1")},
				),
			),
			"UnrecognizedClientException", "another node",
		},
		{
			"signed by another", "Bearer " + must(token.Sign(must(strangeKey()), w.claims(agentClaims(nil)))).Reveal(),
			"UnrecognizedClientException", "no key",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := w.askAs(row.authorization, w.token(nil))
			w.expect(got, row.code, row.message)
		})
	}
}

// TestRequests are the rows about the request itself.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate()
	agent, raw := "Bearer "+w.agent("n1"), w.token(nil)
	for _, row := range []struct{ name, cluster, body, code, message string }{
		{
			"H20 cluster", "other", `{"token":"` + raw + `"}`, "ResourceNotFoundException",
			"No cluster found for name: other.",
		},
		{"a path that climbs (H22)", "..%2f", `{"token":"` + raw + `"}`, "InvalidParameterException", "clusterName"},
		{"no JSON", "prod", `token`, "InvalidParameterException", "not a JSON object"},
		{"null", "prod", `null`, "InvalidParameterException", "not a JSON object"},
		{"list", "prod", `[]`, "InvalidParameterException", "not a JSON object"},
		{"empty", "prod", ``, "InvalidParameterException", "not a JSON object"},
		{"number", "prod", `{"token":1}`, "InvalidParameterException", "must be a string"},
		{"other case", "prod", `{"Token":"` + raw + `"}`, "InvalidParameterException", "null at 'token'"},
		{
			"too large", "prod", `{"token":"` + raw + `","x":"` + strings.Repeat("x", 33<<10) + `"}`,
			"InvalidParameterException", "too large",
		},
		{"unknown member", "prod", `{"token":"` + raw + `","x":1}`, "", ""},
	} {
		t.Run(row.name, func(*testing.T) { w.expect(w.post(agent, row.cluster, row.body), row.code, row.message) })
	}
}

// TestDecisions are steps 9 and 10.
func TestDecisions(t *testing.T) {
	t.Parallel()
	type pia = v1alpha1.PodIdentityAssociation
	const target = "arn:aws:iam::444455556666:role/data"
	grants := func(roles ...string) *grant.Set {
		return grant.NewSet(
			[]grant.Grant{{
				Name: "g",
				Spec: v1alpha1.RoleGrantSpec{Subjects: []v1alpha1.GrantSubject{{Namespace: "shop"}}, Roles: roles},
			}},
		)
	}
	for _, row := range []struct {
		name    string
		edit    func(*pia)
		grants  *grant.Set
		code    string
		message string
	}{
		{
			name:    "no association",
			edit:    func(a *pia) { a.Spec.ServiceAccountName = "other" },
			code:    "ResourceNotFoundException",
			message: "No association found",
		},
		{name: "of another namespace", edit: func(a *pia) { a.Namespace = "other" }, code: "ResourceNotFoundException"},
		{name: "paused", edit: func(a *pia) { a.Spec.Paused = true }, code: "AccessDeniedException", message: "paused"},
		{name: "granted", grants: grants(roleCart)},
		{
			name:    "H21 not granted",
			grants:  grants("arn:aws:iam::111122223333:role/other"),
			code:    "AccessDeniedException",
			message: "no RoleGrant lets shop/cart",
		},
		{
			name:    "H21 target not granted",
			grants:  grants(roleCart),
			edit:    func(a *pia) { a.Spec.TargetRoleARN = target },
			code:    "AccessDeniedException",
			message: "role/data",
		},
		{
			name:    "H21 target granted only",
			grants:  grants(target),
			edit:    func(a *pia) { a.Spec.TargetRoleARN = target },
			code:    "AccessDeniedException",
			message: "role/cart",
		},
		{
			name:   "no role",
			edit:   func(a *pia) { a.Spec.RoleARN = "" },
			grants: grants("*"),
			code:   "AccessDeniedException",
		},
		{
			name: "a pattern without allowPatterns",
			edit: func(a *pia) { a.Spec.ServiceAccountName = "ca*" },
			code: "ResourceNotFoundException",
		},
		{name: "a pattern", edit: func(a *pia) { a.Spec.ServiceAccountName, a.Spec.AllowPatterns = "ca*", true }},
	} {
		for _, mode := range modes {
			t.Run(row.name+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, settings{mode: mode})
				w.associate(func(a *pia) {
					if row.edit != nil {
						row.edit(a)
					}
				})
				if row.grants != nil {
					w.grants.Set(row.grants)
				}
				w.expect(w.ask(w.token(nil)), row.code, row.message)
				record := w.records(1)[0]
				if record["code"] != nil && record["code"] != row.code || record["pod"] != "cart-0" {
					t.Errorf("record %v", record)
				}
				if refusals := len(w.refused); (refusals == 1) != (row.code != "") {
					t.Errorf("%d refusals told", refusals)
				}
			})
		}
	}
}

// TestNotSynced: a broker that does not know the grants yet must not take a
// cluster for one without.
func TestNotSynced(t *testing.T) {
	t.Parallel()
	for _, edit := range []func(*broker.Config){
		func(c *broker.Config) { c.Grants = follow.NewValue(&grant.Set{}) },
		func(c *broker.Config) { c.Associations = follow.NewValue(&association.Set{}) },
	} {
		w := newWorld(t, settings{edit: edit})
		w.associate()
		w.expect(w.ask(w.token(nil)), "ServiceUnavailableException", "yet")
	}
}

// TestUnbound is the extension of spec podidentity §19.4.
func TestUnbound(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		w := newWorld(t, settings{mode: mode})
		unbound := workloadOf("shop", "cart", accountUID, "", "", "")
		short := w.token(edits{"exp": w.clock().Unix() + 3600, "kubernetes.io": unbound})
		w.associate()
		w.expect(w.ask(short), "InvalidTokenException", "not bound to a pod")
		w.associate(func(a *v1alpha1.PodIdentityAssociation) {
			a.Spec.AllowUnboundTokens = true
			a.Spec.SessionTags = map[string]string{"pod": "${podName}", "team": "red"}
		})
		w.expect(
			w.ask(w.token(edits{"exp": w.clock().Unix() + 3601, "kubernetes.io": unbound})), "InvalidTokenException",
			"longer than an hour",
		)
		w.expect(
			w.ask(
				w.token(
					edits{
						"exp":           w.clock().Unix() + 3600,
						"kubernetes.io": workloadOf("shop", "cart", "other", "", "", ""),
					},
				),
			),
			"InvalidTokenException", "service account no longer exists",
		)
		got := w.ask(short)
		if got.status != http.StatusOK || !strings.Contains(got.body.User.Arn, "/eks-prod-cart-") {
			t.Fatalf("%+v", got)
		}
		tags, _ := sentTags(t, w.taken()[0])
		_, named := tags["kubernetes-pod-name"]
		complete := mode == v1alpha1.PassThrough || tags["team"] == "red" && len(tags) == 5
		if named || tags["pod"] != "" || !complete {
			t.Errorf("tags %v", tags)
		}
	}
}

// TestReview is verification by the API server, which is played here to say what
// a real one does not: spec podidentity row H19, other users, failures.
func TestReview(t *testing.T) {
	t.Parallel()
	good := authenticationv1.TokenReviewStatus{
		Authenticated: true,
		Audiences:     []string{broker.Audience},
		User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:shop:cart",
			UID:      accountUID,
			Extra: map[string]authenticationv1.ExtraValue{
				"authentication.kubernetes.io/pod-name": {"cart-0"}, "authentication.kubernetes.io/pod-uid": {podUID},
				"authentication.kubernetes.io/node-name": {"n1"},
			},
		},
	}
	for _, row := range []struct {
		name    string
		edit    func(*authenticationv1.TokenReviewStatus)
		code    string
		message string
	}{
		{name: "good"},
		{
			name:    "H19 no audiences",
			edit:    func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil },
			code:    "InvalidTokenException",
			message: "audience",
		},
		{
			name: "another audience",
			edit: func(
				s *authenticationv1.TokenReviewStatus,
			) {
				s.Audiences = []string{"https://kubernetes.default.svc"}
			},
			code: "InvalidTokenException",
		},
		{
			name: "refused",
			edit: func(s *authenticationv1.TokenReviewStatus) { *s = authenticationv1.TokenReviewStatus{Error: "no"} },
			code: "InvalidTokenException",
		},
		{
			name: "refused with audiences",
			edit: func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false },
			code: "InvalidTokenException",
		},
		{
			name: "another user",
			edit: func(s *authenticationv1.TokenReviewStatus) {
				s.User.Username = "system:serviceaccount:shop:admin"
			},
			code:    "InvalidTokenException",
			message: "another identity",
		},
		{
			name:    "another account of the name",
			edit:    func(s *authenticationv1.TokenReviewStatus) { s.User.UID = "x" },
			code:    "InvalidTokenException",
			message: "another identity",
		},
		{name: "another pod", edit: func(s *authenticationv1.TokenReviewStatus) {
			s.User.Extra = map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/pod-name": {"x"}}
		}, code: "InvalidTokenException", message: "another identity"},
		{name: "another node", edit: func(s *authenticationv1.TokenReviewStatus) {
			s.User.Extra = maps.Clone(s.User.Extra)
			s.User.Extra["authentication.kubernetes.io/node-name"] = authenticationv1.ExtraValue{"n2"}
		}, code: "InvalidTokenException", message: "another identity"},
		{name: "unreachable", code: "ServiceUnavailableException", message: "cannot be asked"},
	} {
		for _, verify := range []workload.Mode{workload.TokenReview, workload.Auto, workload.Both} {
			t.Run(row.name+"/"+string(verify), func(t *testing.T) {
				t.Parallel()
				// The agent's certificate is somebody else's matter here.
				w := newWorld(t, settings{verify: verify, agents: broker.NoAuthentication})
				w.associate()
				w.client.PrependReactor("create", "tokenreviews", func(
					action clienttesting.Action,
				) (bool, runtime.Object, error) {
					review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
					if len(review.Spec.Audiences) != 1 || review.Spec.Audiences[0] != broker.Audience {
						t.Errorf("audiences %v", review.Spec.Audiences)
					}
					if row.name == "unreachable" {
						return true, nil, http.ErrServerClosed
					}
					good.DeepCopyInto(&review.Status)
					if row.edit != nil {
						row.edit(&review.Status)
					}
					return true, review, nil
				})
				if verify == workload.Auto {
					w.advance(61 * time.Second) // the watch stands still, so the API server is asked
				}
				message := row.message
				if verify == workload.Both && row.code == "InvalidTokenException" {
					message = "the API server disagree"
				}
				w.expect(w.ask(w.token(nil)), row.code, message)
			})
		}
	}
}

// TestFresh: auto relies on the watch while it moves, jwks somewhat longer, and
// neither forever.
func TestFresh(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		verify workload.Mode
		after  time.Duration
		code   string
	}{
		{workload.Auto, 59 * time.Second, ""},
		{workload.Auto, 61 * time.Second, "ServiceUnavailableException"}, // the API server is asked, and there is none
		{workload.JWKS, 9 * time.Minute, ""},
		{workload.JWKS, 11 * time.Minute, "ServiceUnavailableException"},
	} {
		w := newWorld(t, settings{verify: row.verify, agents: broker.NoAuthentication})
		w.associate()
		w.advance(row.after)
		w.expect(w.ask(w.token(nil)), row.code, "")
	}
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+$`)

// FuzzBody: what the body reader takes, it takes whole.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"token":"a.b.c"}`, `{"token":null}`, `{`, `{"token":"a.b.c","token":"d.e.f"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		raw, err := broker.ReadToken(body)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		var text string
		if json.Unmarshal(body, &members) != nil || json.Unmarshal(
			members["token"], &text,
		) != nil || text != raw.Reveal() || len(text) > 16<<10 || !tokenForm.MatchString(text) {
			t.Errorf("%q gives %q", body, raw.Reveal())
		}
	})
}
