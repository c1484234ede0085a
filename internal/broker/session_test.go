package broker_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

var modes = []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough}

// six are the tags of S1, as spec podidentity §22 has them.
var six = map[string]string{
	"eks-cluster-arn": "arn:aws:eks:eu-west-1:111122223333:cluster/prod", "eks-cluster-name": "prod",
	"kubernetes-namespace":       "shop",
	"kubernetes-service-account": "cart", "kubernetes-pod-name": "cart-0", "kubernetes-pod-uid": podUID,
}

// caller is who STS says the answer's credentials are.
func (w *world) caller(got answer) string {
	w.t.Helper()
	c := got.body.Credentials
	client := sts.New(
		sts.Options{
			BaseEndpoint: aws.String(w.aws),
			Region:       region,
			Credentials:  credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		},
	)
	who, err := client.GetCallerIdentity(w.t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	return *who.Arn
}

// sentTags are the tags that a call of STS carried: in the form, or in the token.
func sentTags(t *testing.T, call url.Values) (tags map[string]string, transitive []string) {
	t.Helper()
	tags = map[string]string{}
	if call.Get("WebIdentityToken") != "" {
		claims := tokenClaims(t, call.Get("WebIdentityToken"))
		sent, _ := claims["https://aws.amazon.com/tags"].(map[string]any)
		principal, _ := sent["principal_tags"].(map[string]any)
		for key, values := range principal {
			tags[key] = values.([]any)[0].(string)
		}
		keys, _ := sent["transitive_tag_keys"].([]any)
		for _, key := range keys {
			transitive = append(transitive, key.(string))
		}
		return tags, transitive
	}
	for name := range call {
		if index, ok := strings.CutSuffix(strings.TrimPrefix(name, "Tags.member."), ".Key"); ok {
			tags[call.Get(name)] = call.Get("Tags.member." + index + ".Value")
		}
		if strings.HasPrefix(name, "TransitiveTagKeys.member.") {
			transitive = append(transitive, call.Get(name))
		}
	}
	return tags, transitive
}

func tokenClaims(t *testing.T, raw string) map[string]any {
	t.Helper()
	var claims map[string]any
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		t.Fatalf("token %s: %v", raw, err)
	}
	return claims
}

// TestIssue is spec podidentity rows S1 and S14 in each mode: the answer, what STS saw, and the
// audit, joined by the access key.
func TestIssue(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{mode: mode})
			w.associate()
			got := w.ask(w.token(nil))
			if got.status != http.StatusOK {
				t.Fatalf("%d %s %s", got.status, got.code, got.message)
			}
			name := regexp.MustCompile(
				`^arn:aws:sts::111122223333:assumed-role/cart/(eks-prod-cart-0-[0-9a-f]{8}-[0-9a-f-]{27})$`,
			).FindStringSubmatch(got.body.User.Arn)
			id := got.body.Association.AssociationID
			if name == nil || !strings.HasPrefix(got.body.User.AssumeRoleID, "AROA") || !strings.HasSuffix(
				got.body.User.AssumeRoleID, ":"+name[1],
			) ||
				got.body.Subject.Namespace != "shop" || got.body.Subject.ServiceAccount != "cart" ||
				got.body.Audience != broker.Audience ||
				!regexp.MustCompile(`^a-[a-z0-9]{17}$`).MatchString(id) ||
				got.body.Association.AssociationArn !=
					"arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/"+id ||
				got.version != "1" || got.requestID == "" {
				t.Fatalf("answer %+v", got)
			}
			if seconds, _ := got.body.Credentials.Expiration.Int64(); seconds != w.clock().Unix()+6*3600 {
				t.Errorf("expires %d s from now", seconds-w.clock().Unix())
			}
			if who := w.caller(got); who != got.body.User.Arn {
				t.Errorf("caller %s", who)
			}
			calls := w.taken()
			if len(calls) != 1 {
				t.Fatalf("%d calls", len(calls))
			}
			tags, transitive := sentTags(t, calls[0])
			want := six
			if mode == v1alpha1.PassThrough {
				want = map[string]string{}
			}
			if diff := cmp.Diff(want, tags); diff != "" || len(transitive) != len(want) {
				t.Errorf("%d transitive tags of %d; tags (-want +got):\n%s", len(transitive), len(want), diff)
			}
			signed := strings.Contains(calls[0].Get("signed-by"), brokerKeyID)
			if signed != (mode == v1alpha1.BrokerRole) {
				t.Errorf("signed by %q", calls[0].Get("signed-by"))
			}
			record := w.records(1)[0]
			for member, want := range map[string]any{
				"decision": "issued", "cluster": "prod", "node": "n1", "caller": "rolecall/agent agent-1",
				"namespace": "shop", "serviceAccount": "cart", "serviceAccountUID": accountUID,
				"pod": "cart-0", "podUID": podUID, "tokenID": "0b6b7a52-8a39-4f57-8c64-3d1f0f6c9a11",
				"associationID": id, "associationVersion": 1.0, "mode": string(mode), "role": roleCart,
				"sessionName": name[1], "assumedRoleID": got.body.User.AssumeRoleID,
				"accessKeyID": got.body.Credentials.AccessKeyID, "requestID": got.requestID,
			} {
				if record[member] != want {
					t.Errorf("record: %s = %v, want %v", member, record[member], want)
				}
			}
		})
	}
}

// TestRecord: the audit has all that spec podidentity §19.9 lists, of a session
// that has all of it, and what is known of a refusal.
func TestRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.role("cart", trustAll, 43200, allow(`["sts:AssumeRole","sts:TagSession"]`, "arn:aws:iam::444455556666:role/data"))
	w.in(otherAccount, func(state account.State) error {
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
		return state.PutRole(
			&account.Role{Name: "data", Path: "/", ID: account.NewRoleID(), Trust: trust, MaxSession: 43200},
		)
	})
	policy := allow(`"s3:GetObject"`, "*")
	w.associate(func(a *v1alpha1.PodIdentityAssociation) {
		a.Spec.TargetRoleARN, a.Spec.SessionPolicy = "arn:aws:iam::444455556666:role/data", policy
	})
	if got := w.ask(w.token(nil)); got.status != http.StatusOK {
		t.Fatalf("%d %s %s", got.status, got.code, got.message)
	}
	record := w.records(1)[0]
	for _, member := range []string{
		"time", "event", "requestID", "awsRequestID", "decision", "cluster", "node", "caller", "source", "namespace",
		"serviceAccount", "serviceAccountUID", "pod", "podUID", "tokenID", "kid", "verifiedBy",
		"associationID", "associationVersion", "mode", "role", "targetRole", "policySHA256", "sessionName",
		"assumedRoleID", "accessKeyID", "issued", "expires", "tags", "packedPolicySize", "milliseconds",
	} {
		if record[member] == nil || record[member] == "" {
			t.Errorf("the record lacks %s: %v", member, record)
		}
	}
	sum := sha256.Sum256([]byte(policy))
	if record["targetRole"] != "arn:aws:iam::444455556666:role/data" ||
		record["policySHA256"] != hex.EncodeToString(sum[:]) || record["kid"] != must(clusterKey()).ID() ||
		record["verifiedBy"] != "jwks" {
		t.Errorf("record %v", record)
	}
	if tags, _ := record["tags"].([]any); len(tags) != len(six) {
		t.Errorf("tags %v", record["tags"])
	}
	w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.Spec.Paused = true })
	w.ask(w.token(nil))
	refused := w.records(2)[1]
	for _, member := range []string{"code", "reason", "node", "podUID", "tokenID", "associationID", "role"} {
		if refused[member] == nil {
			t.Errorf("the refusal lacks %s: %v", member, refused)
		}
	}
	if refused["decision"] != "refused" || refused["accessKeyID"] != nil || refused["sessionName"] != nil {
		t.Errorf("refusal %v", refused)
	}
}

// TestMintedToken is spec podidentity row S10.
func TestMintedToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.associate(func(a *v1alpha1.PodIdentityAssociation) { a.Spec.SourceIdentity = "${namespace}.${serviceAccount}" })
	if got := w.ask(w.token(nil)); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	raw := w.taken()[0].Get("WebIdentityToken")
	claims := tokenClaims(t, raw)
	now := float64(w.clock().Unix())
	if jti, _ := claims["jti"].(string); !regexp.MustCompile("^[0-9a-f-]{36}$").MatchString(jti) {
		t.Errorf("jti %q", jti)
	}
	delete(claims, "jti")
	delete(claims, "https://aws.amazon.com/tags")
	want := map[string]any{
		"aud": "sts.amazonaws.com", "iss": brokerURL, "sub": "system:serviceaccount:shop:cart", "iat": now, "nbf": now,
		"exp":                          now + 300,
		"https://aws.amazon.com/roles": []any{roleCart}, "https://aws.amazon.com/source_identity": "shop.cart",
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims of the minted token (-want +got):\n%s", diff)
	}
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	if key, _ := strangeKey(); string(header) != `{"alg":"RS256","kid":"`+key.ID()+`"}` {
		t.Errorf("header %s", header)
	}
	if strings.Contains(w.log.String()+w.audit.String(), strings.Split(raw, ".")[2]) {
		t.Error("the minted token is logged")
	}
}

// TestSessionShapes are spec podidentity rows S2 to S8: what is sent, for which association.
func TestSessionShapes(t *testing.T) {
	t.Parallel()
	type pia = v1alpha1.PodIdentityAssociation
	narrow := allow(`"s3:GetObject"`, "*")
	untagged := `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(
		trustMinted, `,"sts:TagSession"`, "",
	) + `,` + strings.ReplaceAll(trustBroker, `,"sts:TagSession"`, "") + `]}`
	for _, row := range []struct {
		name    string
		modes   []v1alpha1.AssociationMode
		edit    func(*pia)
		role    func(*world)
		code    string
		message string
		check   func(t *testing.T, w *world, calls []url.Values)
	}{
		{
			name: "S3 tags disabled", modes: []v1alpha1.AssociationMode{v1alpha1.Federated},
			role:  func(w *world) { w.role("cart", untagged, 3600*6) },
			edit:  func(a *pia) { a.Spec.DisableSessionTags = true },
			check: wantTags(map[string]string{}),
		},
		{
			name: "S4 the trust lacks sts:TagSession", modes: []v1alpha1.AssociationMode{
				v1alpha1.Federated, v1alpha1.BrokerRole,
			},
			role: func(w *world) {
				w.role(
					"cart", untagged, 3600*6,
				)
			}, code: "AccessDeniedException", message: "sts:TagSession",
		},
		{
			name: "S5 the role's maximum", modes: modes, role: func(w *world) { w.role("cart", trustAll, 3600) },
			check: func(t *testing.T, w *world, calls []url.Values) {
				if got := durations(calls); !slices.Equal(got, []string{"21600", "3600"}) {
					t.Errorf("durations %v", got)
				}
				if got := w.ask(w.token(map[string]any{"jti": "second"})); got.status != http.StatusOK {
					t.Errorf("second: %+v", got)
				}
				if got := durations(w.taken()); !slices.Equal(got, []string{"3600"}) {
					t.Errorf("learnt: %v", got)
				}
			},
		},
		{
			name: "S6 S7 target role and policy", modes: modes,
			edit: func(a *pia) {
				a.Spec.TargetRoleARN, a.Spec.SessionPolicy = "arn:aws:iam::444455556666:role/data", narrow
			},
			role: func(w *world) {
				w.role(
					"cart", trustAll, 43200,
					allow(`["sts:AssumeRole","sts:TagSession"]`, "arn:aws:iam::444455556666:role/data"),
				)
				w.in(otherAccount, func(state account.State) error {
					trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
						`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole",` +
						`"sts:TagSession"],` +
						`"Condition":{"StringEquals":{"sts:ExternalId":"eu-west-1/111122223333/prod/shop/cart"},` +
						`"ArnEquals":{"aws:PrincipalArn":"` + roleCart + `"}}}]}`
					return state.PutRole(
						&account.Role{
							Name:       "data",
							Path:       "/",
							ID:         account.NewRoleID(),
							Trust:      trust,
							MaxSession: 43200,
						},
					)
				})
			},
			check: func(t *testing.T, _ *world, calls []url.Values) {
				if got := durations(calls); !slices.Equal(got, []string{"900", "3540"}) {
					t.Fatalf("durations %v", got)
				}
				second := calls[1]
				if calls[0].Has("Policy") || second.Get("Policy") != narrow ||
					second.Get("ExternalId") != "eu-west-1/111122223333/prod/shop/cart" || strings.Contains(
					second.Get("signed-by"), brokerKeyID,
				) || second.Has("Tags.member.1.Key") {
					t.Errorf("calls %v", calls)
				}
			},
		},
		{
			name: "policy without target", modes: modes, edit: func(a *pia) { a.Spec.SessionPolicy = narrow },
			check: func(t *testing.T, _ *world, calls []url.Values) {
				if calls[0].Get("Policy") != narrow {
					t.Errorf("policy %q", calls[0].Get("Policy"))
				}
			},
		},
		{
			name: "duration asked for", modes: modes, edit: func(a *pia) { a.Spec.DurationSeconds = 900 },
			check: func(t *testing.T, _ *world, calls []url.Values) {
				if got := durations(calls); !slices.Equal(got, []string{"900"}) {
					t.Errorf("durations %v", got)
				}
			},
		},
		{
			name: "own tags", modes: []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole},
			edit: func(a *pia) {
				a.Spec.SessionTags = map[string]string{
					"team": "red ${namespace}/${serviceAccount}@${node}",
					"Pod":  "${podName}=${podUid}",
				}
				a.Spec.OmitTags = []string{"kubernetes-pod-uid", "kubernetes-pod-name", "eks-cluster-name"}
			},
			check: wantTags(map[string]string{
				"eks-cluster-arn": six["eks-cluster-arn"], "kubernetes-namespace": "shop",
				"kubernetes-service-account": "cart", "team": "red shop/cart@n1", "Pod": "cart-0=" + podUID,
			}),
		},
		{
			name: "labels of the pod", modes: []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole},
			edit: func(a *pia) {
				a.Spec.SessionTags = map[string]string{
					"team": "of ${podLabel:example.com/team}",
					"tier": "${podLabel:tier}",
					"both": "${podLabel:example.com/team}${podLabel:tier}",
				}
				a.Spec.SessionName = "${podLabel:example.com/team}${podLabel:tier}-x"
			},
			check: func(t *testing.T, w *world, calls []url.Values) {
				// cart-0 has no label tier: what it would be in is left out.
				wantTags(with(six, "team", "of red"))(t, w, calls)
				if got := calls[0].Get("RoleSessionName"); got != "red-x" {
					t.Errorf("name %q", got)
				}
			},
		},
		{
			name:    "a label that is not listed",
			modes:   modes[:2],
			code:    "InvalidRequestException",
			message: "--pod-labels",
			edit:    func(a *pia) { a.Spec.SessionTags = map[string]string{"team": "${podLabel:owner}"} },
		},
		{
			name:    "a label that is not listed, in the name",
			modes:   modes,
			code:    "InvalidRequestException",
			message: "--pod-labels",
			edit:    func(a *pia) { a.Spec.SessionName = "x-${podLabel:owner}" },
		},
		{
			name: "a reserved tag", modes: modes[:2], code: "InvalidRequestException", message: "reserved",
			edit: func(a *pia) { a.Spec.SessionTags = map[string]string{"Kubernetes-Namespace": "kube-system"} },
		},
		{
			name:    "a reserved tag that is left out",
			modes:   modes[:2],
			code:    "InvalidRequestException",
			message: "reserved",
			edit: func(a *pia) {
				a.Spec.OmitTags = []string{"kubernetes-namespace"}
				a.Spec.SessionTags = map[string]string{"kubernetes-namespace": "kube-system"}
			},
		},
		{
			name: "an unknown variable", modes: modes, code: "InvalidRequestException", message: "${secret}",
			edit: func(a *pia) { a.Spec.SessionName = "x-${secret}" },
		},
		{
			name: "session name", modes: modes, edit: func(a *pia) {
				a.Spec.SessionName = "${namespace}/${serviceAccount}:${podName} é ${node} " + strings.Repeat("x", 90)
			},
			check: func(t *testing.T, _ *world, calls []url.Values) {
				if got := calls[0].Get("RoleSessionName"); !strings.HasPrefix(
					got, "shop-cart-cart-0-",
				) || len(got) != 64 || !regexp.MustCompile(`^[\w+=,.@-]+$`).MatchString(got) {
					t.Errorf("name %q", got)
				}
			},
		},
		{
			name:    "another's external id",
			modes:   modes,
			code:    "AccessDeniedException",
			message: "another service account",
			edit: func(a *pia) {
				a.Spec.ExternalID, a.Spec.TargetRoleARN = "eu-west-1/111122223333/prod/shop/admin", roleCart
			},
		},
		{
			name: "too large", modes: modes[:2], edit: large, code: "InvalidRequestException", message: "omitTags",
		},
		{
			name: "too large, may be dropped", modes: modes[:2],
			edit: func(a *pia) { large(a); a.Spec.OnOversize = v1alpha1.DropPodTags },
			check: func(t *testing.T, w *world, calls []url.Values) {
				wantTags(map[string]string{
					"eks-cluster-arn": six["eks-cluster-arn"], "eks-cluster-name": "prod",
					"kubernetes-namespace": "shop", "kubernetes-service-account": "cart",
				})(t, w, calls[len(calls)-1:])
			},
		},
		{
			name: "trusts others", modes: modes, role: func(w *world) {
				w.role(
					"cart", strings.ReplaceAll(trustAll, "shop", "other"), 43200,
				)
			},
			code: "AccessDeniedException", message: "Its trust policy must allow",
		},
	} {
		for _, mode := range row.modes {
			t.Run(row.name+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, settings{mode: mode})
				if row.role != nil {
					row.role(w)
				}
				w.associate(func(a *pia) {
					if row.edit != nil {
						row.edit(a)
					}
				})
				got := w.ask(w.token(nil))
				calls := w.taken()
				want := http.StatusOK
				if row.code != "" {
					want = http.StatusBadRequest
				}
				if got.status != want || got.code != row.code || !strings.Contains(got.message, row.message) {
					t.Fatalf("%d %s %s", got.status, got.code, got.message)
				}
				if row.check != nil {
					row.check(t, w, calls)
				}
			})
		}
	}
}

func with(tags map[string]string, key, value string) map[string]string {
	tags = maps.Clone(tags)
	tags[key] = value
	return tags
}

func large(a *v1alpha1.PodIdentityAssociation) {
	a.Spec.SessionTags = map[string]string{}
	for key := range strings.FieldsSeq("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		a.Spec.SessionTags[key] = strings.Repeat(key, 256)
	}
}

func durations(calls []url.Values) []string {
	var all []string
	for _, call := range calls {
		all = append(all, call.Get("DurationSeconds"))
	}
	return all
}

func wantTags(want map[string]string) func(*testing.T, *world, []url.Values) {
	return func(t *testing.T, _ *world, calls []url.Values) {
		t.Helper()
		if len(calls) != 1 {
			t.Fatalf("%d calls", len(calls))
		}
		got, transitive := sentTags(t, calls[0])
		if diff := cmp.Diff(want, got); diff != "" || len(transitive) != len(want) {
			t.Errorf("%d transitive tags of %d; tags (-want +got):\n%s", len(transitive), len(want), diff)
		}
	}
}
