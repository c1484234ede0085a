package localaws_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/eksauth"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/token"
)

func (w *world) eksAuthClient(c credential.AWS) *eksauth.Client {
	return eksauth.New(eksauth.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "eu-west-1",
		Credentials:  w.provider(c),
		Retryer:      aws.NopRetryer{},
	})
}

// podClaims are those of a good token of pod shop/cart-0, changed by edits.
func (w *world) podClaims(edits map[string]any) map[string]any {
	now := w.clock()
	all := map[string]any{
		"sub":           "system:serviceaccount:shop:cart",
		"aud":           []string{"pods.eks.amazonaws.com"},
		"iat":           now.Unix(),
		"nbf":           now.Unix(),
		"exp":           now.Add(time.Hour).Unix(),
		"kubernetes.io": workload(map[string]any{"pod": map[string]any{"name": "cart-0", "uid": "u1"}}),
	}
	maps.Copy(all, edits)
	return all
}

func workload(bound map[string]any) map[string]any {
	all := map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": "cart", "uid": "s1"}}
	maps.Copy(all, bound)
	return all
}

// associate binds shop/cart to a role.
func (w *world) associate(
	role string, edit func(*eks.CreatePodIdentityAssociationInput),
) *types.PodIdentityAssociation {
	w.t.Helper()
	input := &eks.CreatePodIdentityAssociationInput{
		ClusterName:    aws.String("prod"),
		Namespace:      aws.String("shop"),
		ServiceAccount: aws.String("cart"),
		RoleArn:        &role,
	}
	if edit != nil {
		edit(input)
	}
	out, err := w.eksClient(w.admin).CreatePodIdentityAssociation(w.t.Context(), input)
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Association
}

// node is the session of a node, which may ask for pods.
func (w *world) node() credential.AWS {
	return w.session(
		"node", allow(`"eks-auth:AssumeRoleForPodIdentity"`, `"arn:aws:eks:eu-west-1:111122223333:cluster/*"`),
	)
}

// TestPodIdentity walks the whole way of seed 002: association, token, session,
// and a policy that uses the session's tags.
func TestPodIdentity(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	w.cluster("prod", types.AuthenticationModeApi)
	w.putRole("/", "pods", strings.Replace(
		podTrust, `]}]}`,
		`],"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333",`+
			`"aws:RequestTag/kubernetes-namespace":"shop","aws:PrincipalServiceName":"pods.eks.amazonaws.com"},`+
			`"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:111122223333:cluster/prod"},`+
			`"ForAllValues:StringLike":{"sts:TransitiveTagKeys":["eks-*","kubernetes-*"]},`+
			`"StringLike":{"sts:RoleSessionName":"eks-prod-cart-0-*"}}}]}`,
		1,
	),
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"eks:DescribeCluster","Resource":"*",`+
			`"Condition":{"StringEquals":{"aws:ResourceTag/team":"red",`+
			`"aws:PrincipalTag/kubernetes-service-account":"cart"},`+
			`"StringLike":{"aws:PrincipalTag/eks-cluster-name":"pro?"}}}]}`)
	made := w.associate("arn:aws:iam::111122223333:role/pods", nil)
	raw := w.token(w.key, w.podClaims(nil))
	auth := w.eksAuthClient(w.node())
	got, err := auth.AssumeRoleForPodIdentity(ctx, &eksauth.AssumeRoleForPodIdentityInput{
		ClusterName: aws.String("prod"),
		Token:       &raw,
	})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(
		`^arn:aws:sts::111122223333:assumed-role/pods/(eks-prod-cart-0-[0-9a-f-]{36})$`,
	).FindStringSubmatch(*got.AssumedRoleUser.Arn)
	if name == nil || !strings.HasPrefix(*got.AssumedRoleUser.AssumeRoleId, "AROA") ||
		!strings.HasSuffix(*got.AssumedRoleUser.AssumeRoleId, ":"+name[1]) ||
		*got.Audience != "pods.eks.amazonaws.com" ||
		*got.Subject.Namespace != "shop" || *got.Subject.ServiceAccount != "cart" ||
		*got.PodIdentityAssociation.AssociationArn != *made.AssociationArn ||
		*got.PodIdentityAssociation.AssociationId != *made.AssociationId {
		t.Errorf("answer %+v %+v", got, got.AssumedRoleUser)
	}
	if left := time.Until(*got.Credentials.Expiration); left < 6*time.Hour-time.Minute || left > 6*time.Hour {
		t.Errorf("expires in %s", left)
	}
	pod := credential.AWS{
		AccessKeyID:  *got.Credentials.AccessKeyId,
		SecretKey:    credential.NewSecret(*got.Credentials.SecretAccessKey),
		SessionToken: credential.NewSecret(*got.Credentials.SessionToken),
	}
	who, err := w.stsClient(pod, "").GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != *got.AssumedRoleUser.Arn {
		t.Errorf("caller %v, %v", who, err)
	}
	if _, err := w.eksClient(pod).DescribeCluster(
		ctx, &eks.DescribeClusterInput{Name: aws.String("prod")},
	); err != nil {
		t.Error(err)
	}
	if _, err := client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: made.AssociationId,
	}); err != nil {
		t.Fatal(err)
	}
	_, err = auth.AssumeRoleForPodIdentity(ctx, &eksauth.AssumeRoleForPodIdentityInput{
		ClusterName: aws.String("prod"),
		Token:       &raw,
	})
	refusedWith(t, "deleted association", err, "ResourceNotFoundException", "No association found")
	if strings.Contains(w.log.String(), raw[:40]) {
		t.Error("the log shows a token")
	}
}

// TestPodIdentityRefusals are the hostile rows of spec podidentity §21 that are
// about the token, the cluster and the caller.
func TestPodIdentityRefusals(t *testing.T) {
	t.Parallel()
	w, _ := newEKS(t)
	w.cluster("prod", types.AuthenticationModeApi)
	w.cluster("empty", types.AuthenticationModeApi)
	w.associate(roleCart, nil)
	node := w.node()
	other, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	type edit = map[string]any
	good := w.token(w.key, w.podClaims(nil))
	now := w.clock()
	parts := strings.Split(good, ".")
	forged := w.token(other, w.podClaims(nil))
	header := func(text string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + parts[1] + "." + parts[2]
	}
	withoutKid, err := token.SignWithoutKeyID(w.key, claims(w.podClaims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	otherParts := strings.Split(w.token(w.key, w.podClaims(edit{"jti": "x"})), ".")
	const invalid, parameter = "InvalidTokenException", "InvalidParameterException"
	for _, row := range []struct {
		name, cluster, raw string
		code, message      string
		reason             string
	}{
		{"good", "prod", good, "", "", ""},
		{"no token", "prod", "", parameter, "1 validation error detected: Value null at 'token' failed", ""},
		{
			name:    "no JWT",
			cluster: "prod",
			raw:     "abc",
			code:    parameter,
			message: "1 validation error detected: Value at 'token' failed",
			reason:  "the token has 3 bytes",
		},
		{
			name:    "three parts that are not a JWT",
			cluster: "prod",
			raw:     "a.b.c",
			code:    invalid,
			message: "The token included in the request is invalid.",
			reason:  "not a valid JWT",
		},
		{
			name:    "too long",
			cluster: "prod",
			raw:     strings.Repeat("a", 17<<10) + ".b.c",
			code:    parameter,
			message: "1 validation error detected: Value at 'token' failed",
		},
		{
			name:    "expired by 1 s",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"exp": now.Add(-time.Second).Unix()})),
			code:    "ExpiredTokenException",
			message: "The token included in the request is expired: current date/time ",
		},
		{
			name:    "signed by another key",
			cluster: "prod",
			raw:     w.token(other, w.podClaims(nil)),
			code:    invalid,
			reason:  "no usable key with the token's kid",
		},
		{
			name:    "signed by another key under the cluster's kid",
			cluster: "prod",
			raw:     parts[0] + strings.TrimPrefix(forged, strings.Split(forged, ".")[0]),
			code:    invalid,
			reason:  "signature does not verify",
		},
		{
			name:    "another payload",
			cluster: "prod",
			raw:     parts[0] + "." + otherParts[1] + "." + parts[2],
			code:    invalid,
			reason:  "signature does not verify",
		},
		{"alg none", "prod", header(`{"alg":"none","kid":"` + keyID(t, w.key) + `"}`), invalid, "", `alg "none"`},
		{"HS256", "prod", header(`{"alg":"HS256","kid":"` + keyID(t, w.key) + `"}`), invalid, "", `alg "HS256"`},
		{
			name:    "another header",
			cluster: "prod",
			raw:     header(`{"alg":"RS256","kid":"` + keyID(t, w.key) + `","jwk":{}}`),
			code:    invalid,
			reason:  "signature does not verify",
		},
		{"crit", "prod", header(`{"alg":"RS256","kid":"x","crit":["a"]}`), invalid, "", "crit member"},
		{"no kid", "prod", withoutKid.Reveal(), invalid, "", "the header has no kid"},
		{
			name:    "valid from in 30 s",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"nbf": now.Add(30 * time.Second).Unix()})),
		},
		{
			name:    "valid from in 10 min",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"nbf": now.Add(10 * time.Minute).Unix()})),
			code:    invalid,
			reason:  "the token is valid from",
		},
		{"no exp", "prod", w.token(w.key, w.podClaims(edit{"exp": nil})), invalid, "", "exp"},
		{
			name:    "another audience",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"aud": []string{"sts.amazonaws.com"}})),
			code:    invalid,
			reason:  `the token's audience is ["sts.amazonaws.com"]`,
		},
		{
			name:    "one of several audiences",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"aud": []string{"x", "pods.eks.amazonaws.com"}})),
		},
		{
			name:    "another issuer",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"iss": "https://other.example/x"})),
			code:    invalid,
			reason:  `the token's issuer is "https://other.example/x", that of cluster prod is`,
		},
		{
			name:    "bound to a Secret",
			cluster: "prod",
			raw: w.token(w.key, w.podClaims(edit{
				"kubernetes.io": workload(edit{"secret": edit{"name": "s", "uid": "x"}}),
			})),
			code:   invalid,
			reason: "the token is bound to the Secret s",
		},
		{
			name:    "not bound",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"kubernetes.io": workload(nil)})),
			code:    invalid,
			reason:  "the token is not bound to a pod",
		},
		{
			name:    "a legacy token of a Secret",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"kubernetes.io": nil})),
			code:    invalid,
			reason:  "the token is not bound to a pod",
		},
		{
			name:    "a user's token",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"sub": "somebody"})),
			code:    invalid,
			reason:  `the token's subject "somebody" is not service account "cart"`,
		},
		{
			name:    "another's subject",
			cluster: "prod",
			raw:     w.token(w.key, w.podClaims(edit{"sub": "system:serviceaccount:shop:admin"})),
			code:    invalid,
			reason:  "which it names elsewhere",
		},
		{
			name:    "no such cluster",
			cluster: "other",
			raw:     good,
			code:    "ResourceNotFoundException",
			message: "No cluster found for name: other.",
			reason:  "account 111122223333 has no cluster",
		},
		{
			name:    "a path as the cluster",
			cluster: "..%2f",
			raw:     good,
			code:    parameter,
			message: "1 validation error detected: Value '../' at 'clusterName'",
		},
		{
			name:    "cluster without associations",
			cluster: "empty",
			raw:     good,
			code:    "ResourceNotFoundException",
			message: "No association found",
			reason:  "no association of cluster empty is for service account cart of namespace shop; associations in all: 0",
		},
		{
			name:    "another service account",
			cluster: "prod",
			raw: w.token(w.key, w.podClaims(edit{
				"sub": "system:serviceaccount:shop:x",
				"kubernetes.io": edit{
					"namespace":      "shop",
					"serviceaccount": edit{"name": "x"},
					"pod":            edit{"name": "p", "uid": "u"},
				},
			})),
			code:    "ResourceNotFoundException",
			message: "No association found",
			reason:  "associations in all: 1",
		},
	} {
		status, code, message, reason := w.askForPod(node, row.cluster, row.raw)
		want := http.StatusBadRequest
		switch row.code {
		case "":
			want = http.StatusOK
		case "ResourceNotFoundException":
			want = http.StatusNotFound
		}
		if status != want || code != row.code || !strings.HasPrefix(message, row.message) ||
			!strings.Contains(reason, row.reason) {
			t.Errorf(
				"%s: %d %s %q because %q\nwant %d %s %q because %q", row.name, status, code, message, reason, want,
				row.code, row.message, row.reason,
			)
		}
	}
	limited := w.session(
		"limited", allow(`"eks-auth:AssumeRoleForPodIdentity"`, `"arn:aws:eks:eu-west-1:111122223333:cluster/other"`),
	)
	status, code, message, reason := w.askForPod(limited, "prod", good)
	if status != http.StatusBadRequest || code != "AccessDeniedException" ||
		!strings.Contains(
			message,
			"is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: "+
				"arn:aws:eks:eu-west-1:111122223333:cluster/prod",
		) || reason == "" {
		t.Errorf("a node of another cluster: %d %s %s because %s", status, code, message, reason)
	}
	status, code, _, _ = w.askForPod(credential.AWS{
		AccessKeyID: "AKIAAAAAAAAAAAAAAAAA",
		SecretKey:   w.admin.SecretKey,
	}, "prod", good)
	if status != http.StatusForbidden || code != "UnrecognizedClientException" {
		t.Errorf("unknown key: %d %s", status, code)
	}
	w.setJWKS("", http.StatusInternalServerError)
	status, code, _, reason = w.askForPod(node, "prod", good)
	if status != http.StatusServiceUnavailable || code != "ServiceUnavailableException" ||
		!strings.Contains(reason, "status 500") {
		t.Errorf("issuer down: %d %s because %s", status, code, reason)
	}
}

// askForPod calls without the SDK, which would not send everything, and returns
// what was recorded.
func (w *world) askForPod(c credential.AWS, cluster, raw string) (status int, code, message, reason string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]string{"token": raw})
	if raw == "" {
		body = nil
	}
	r := w.request(http.MethodPost, "clusters/"+cluster+"/assume-role-for-pod-identity", string(body))
	r.Header.Set("Content-Type", "application/json")
	w.signFor(r, c, "eks-auth", "eu-west-1", string(body))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var said struct{ Message string }
	_ = json.Unmarshal([]byte(readAll(w.t, response)), &said)
	var recorded struct{ Reason string }
	_ = json.Unmarshal([]byte(w.reason(answer{requestID: response.Header.Get("X-Amzn-Requestid")})), &recorded)
	return response.StatusCode, response.Header.Get("X-Amzn-Errortype"), said.Message, recorded.Reason
}

// TestPodRoles are the rows of spec podidentity §21 about the roles: tags, trust
// and target roles.
func TestPodRoles(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	w.cluster("prod", types.AuthenticationModeApi)
	w.putRole("/", "untagged", strings.Replace(podTrust, `,"sts:TagSession"`, "", 1))
	w.putRole(
		"/", "elsewhere",
		strings.Replace(
			podTrust, `]}]}`,
			`],"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:111122223333:cluster/dev"}}}]}`, 1,
		),
	)
	chain := allow(`["sts:AssumeRole","sts:TagSession"]`, `"arn:aws:iam::999900001111:role/*"`)
	w.putRole("/", "chaining", podTrust, chain)
	w.putRole("/", "unchained", podTrust)
	foreign, _ := w.accounts.Find(otherAccount)
	if err := foreign.Update(func(state account.State) error {
		byID := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole",` +
			`"Condition":{"StringEquals":{"sts:ExternalId":"eu-west-1/111122223333/prod/shop/cart"},` +
			`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/chaining"}}}]}`
		byTags := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole","sts:TagSession"],` +
			`"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"shop",` +
			`"aws:RequestTag/eks-cluster-arn":"arn:aws:eks:eu-west-1:111122223333:cluster/prod"}}}]}`
		return errors.Join(
			state.PutRole(&account.Role{
				Name:       "by-id",
				Path:       "/",
				ID:         account.NewRoleID(),
				Trust:      byID,
				MaxSession: 3600,
			}),
			state.PutRole(&account.Role{
				Name:       "by-tags",
				Path:       "/",
				ID:         account.NewRoleID(),
				Trust:      byTags,
				MaxSession: 3600,
				Permissions: account.Permissions{
					Policies: []account.Document{{Name: "p", Text: allow(`"iam:*"`, `"*"`)}},
				},
			}),
		)
	}); err != nil {
		t.Fatal(err)
	}
	auth, raw := w.eksAuthClient(w.node()), w.token(w.key, w.podClaims(nil))
	const denied = "Unauthorized Exception! EKS does not have permissions to assume the associated role."
	role := func(name string) string { return "arn:aws:iam::111122223333:role/" + name }
	target := func(name string, off bool, policy string) func(*eks.CreatePodIdentityAssociationInput) {
		return func(i *eks.CreatePodIdentityAssociationInput) {
			i.TargetRoleArn, i.DisableSessionTags = aws.String("arn:aws:iam::999900001111:role/"+name), &off
			if policy != "" {
				i.Policy = &policy
			}
		}
	}
	for _, row := range []struct {
		name, role string
		edit       func(*eks.CreatePodIdentityAssociationInput)
		message    string
		reason     string
		arn        string
		lives      time.Duration
	}{
		{
			name:  "a role",
			role:  roleCart,
			arn:   "arn:aws:sts::111122223333:assumed-role/cart/eks-prod-cart-0-",
			lives: 6 * time.Hour,
		},
		{
			name:  "without session tags",
			role:  role("untagged"),
			edit:  func(i *eks.CreatePodIdentityAssociationInput) { i.DisableSessionTags = aws.Bool(true) },
			arn:   "arn:aws:sts::111122223333:assumed-role/untagged/",
			lives: 6 * time.Hour,
		},
		{"tags to a role that lets none be set", role("untagged"), nil, denied, "sts:TagSession", "", 0},
		{"another cluster's", role("elsewhere"), nil, denied, "aws:SourceArn", "", 0},
		{
			name:  "target role by external id",
			role:  role("chaining"),
			edit:  target("by-id", true, ""),
			arn:   "arn:aws:sts::999900001111:assumed-role/by-id/eks-prod-cart-0-",
			lives: 59 * time.Minute,
		},
		{
			name:  "target role by tags",
			role:  role("chaining"),
			edit:  target("by-tags", false, ""),
			arn:   "arn:aws:sts::999900001111:assumed-role/by-tags/",
			lives: 59 * time.Minute,
		},
		{
			name:    "tags to a target role that lets none be set",
			role:    role("chaining"),
			edit:    target("by-id", false, ""),
			message: denied,
			reason:  "sts:TagSession",
		},
		{
			name:    "target role that needs tags, without them",
			role:    role("chaining"),
			edit:    target("by-tags", true, ""),
			message: denied,
			reason:  "aws:RequestTag/",
		},
		{"role that may not chain", role("unchained"), target("by-tags", false, ""), denied, "sts:AssumeRole", "", 0},
		{
			name:    "no target",
			role:    role("chaining"),
			edit:    target("gone", false, ""),
			message: denied,
			reason:  "role arn:aws:iam::999900001111:role/gone does not exist",
		},
		{
			name: "unknown account",
			role: role("chaining"),
			edit: func(i *eks.CreatePodIdentityAssociationInput) {
				i.TargetRoleArn = aws.String("arn:aws:iam::123412341234:role/x")
			},
			message: denied,
			reason:  "in an account that does not exist here",
		},
	} {
		made := w.associate(row.role, row.edit)
		got, err := auth.AssumeRoleForPodIdentity(ctx, &eksauth.AssumeRoleForPodIdentityInput{
			ClusterName: aws.String("prod"),
			Token:       &raw,
		})
		switch response, failed := errors.AsType[*awshttp.ResponseError](err); {
		case row.message != "":
			refusedWith(t, row.name, err, "AccessDeniedException", row.message)
			if !failed || response.HTTPStatusCode() != http.StatusBadRequest {
				t.Errorf("%s: %v", row.name, err)
			} else if reason := w.reason(answer{
				requestID: response.ServiceRequestID(),
			}); !strings.Contains(reason, row.reason) {
				t.Errorf("%s: because %s\nwant %s", row.name, reason, row.reason)
			}
		case err != nil:
			t.Errorf("%s: %v", row.name, err)
		default:
			left := time.Until(*got.Credentials.Expiration)
			if !strings.HasPrefix(*got.AssumedRoleUser.Arn, row.arn) || left > row.lives ||
				left < row.lives-time.Minute {
				t.Errorf("%s: %s for %s", row.name, *got.AssumedRoleUser.Arn, left)
			}
		}
		if _, err := client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
			ClusterName:   aws.String("prod"),
			AssociationId: made.AssociationId,
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.podPolicy(t, role("chaining"), target("by-id", true, allow(`"iam:ListRoles"`, `"*"`)))
	long := strings.Repeat("p", 100)
	w.associate(roleCart, nil)
	raw = w.token(w.key, w.podClaims(map[string]any{
		"kubernetes.io": workload(map[string]any{"pod": map[string]any{"name": long + ".x", "uid": "u"}}),
	}))
	got, err := auth.AssumeRoleForPodIdentity(ctx, &eksauth.AssumeRoleForPodIdentityInput{
		ClusterName: aws.String("prod"),
		Token:       &raw,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, name, _ := strings.Cut(*got.AssumedRoleUser.AssumeRoleId, ":"); len(name) > 64 ||
		!strings.HasPrefix(name, "eks-prod-pppppppppppp-") {
		t.Errorf("session name %s", name)
	}
}

// podPolicy: an association's policy limits the session of its last role.
func (w *world) podPolicy(t *testing.T, role string, edit func(*eks.CreatePodIdentityAssociationInput)) {
	t.Helper()
	made := w.associate(role, edit)
	raw := w.token(w.key, w.podClaims(nil))
	got, err := w.eksAuthClient(w.admin).AssumeRoleForPodIdentity(t.Context(), &eksauth.AssumeRoleForPodIdentityInput{
		ClusterName: aws.String("prod"),
		Token:       &raw,
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := w.accounts.OpenSession(
		*got.Credentials.AccessKeyId, credential.NewSecret(*got.Credentials.SessionToken), time.Now(),
	)
	if err != nil || len(session.Policies) != 1 || session.Account != otherAccount || len(session.Tags) != 0 {
		t.Errorf("a session of the target role: %+v, %v", session, err)
	}
	if _, err := w.eksClient(w.admin).DeletePodIdentityAssociation(t.Context(), &eks.DeletePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: made.AssociationId,
	}); err != nil {
		t.Fatal(err)
	}
}

func keyID(t *testing.T, key *token.Key) string {
	t.Helper()
	id, err := token.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(id)
}

// TestPodTagsTakeRoom: the six tags of a pod's session go with it into the next
// role, and count there: tags that fit when the session has none are too much
// (spec podidentity §14.2, S8). EKS Auth itself comes that far only with names
// that Kubernetes would not allow.
func TestPodTagsTakeRoom(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	w.cluster("prod", types.AuthenticationModeApi)
	w.putRole("/", "first", podTrust, allow(`["sts:AssumeRole","sts:TagSession"]`, `"*"`))
	w.putRole(
		"/", "next",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
			`"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`,
	)
	raw := w.token(w.key, w.podClaims(nil))
	var own []string
	for i := range 15 {
		own = append(
			own, fmt.Sprintf("Tags.member.%d.Key", i+1), fmt.Sprintf("key-%04d", i),
			fmt.Sprintf("Tags.member.%d.Value", i+1), strings.Repeat("v", 256),
		)
	}
	for _, row := range []struct {
		untagged bool
		status   int
		code     string
		message  string
	}{
		{true, http.StatusOK, "", ""},
		{
			status:  http.StatusBadRequest,
			code:    "PackedPolicyTooLarge",
			message: "Packed size of session tags consumes 102% of allotted space.",
		},
	} {
		made := w.associate("arn:aws:iam::111122223333:role/first", func(i *eks.CreatePodIdentityAssociationInput) {
			i.DisableSessionTags = &row.untagged
		})
		auth := w.eksAuthClient(w.node())
		got, err := auth.AssumeRoleForPodIdentity(t.Context(), &eksauth.AssumeRoleForPodIdentityInput{
			ClusterName: aws.String("prod"),
			Token:       &raw,
		})
		if err != nil {
			t.Fatal(err)
		}
		pod := credential.AWS{
			AccessKeyID:  *got.Credentials.AccessKeyId,
			SecretKey:    credential.NewSecret(*got.Credentials.SecretAccessKey),
			SessionToken: credential.NewSecret(*got.Credentials.SessionToken),
		}
		w.expect(
			fmt.Sprintf("untagged %v", row.untagged), w.take(pod, "next", own...), row.status, row.code, row.message,
		)
		if _, err := client.DeletePodIdentityAssociation(t.Context(), &eks.DeletePodIdentityAssociationInput{
			ClusterName:   aws.String("prod"),
			AssociationId: made.AssociationId,
		}); err != nil {
			t.Fatal(err)
		}
	}
	long := w.token(w.key, w.podClaims(map[string]any{
		"kubernetes.io": workload(map[string]any{
			"pod": map[string]any{"name": strings.Repeat("p", 4100), "uid": "u1"},
		}),
	}))
	for _, untagged := range []bool{false, true} {
		w.associate("arn:aws:iam::111122223333:role/first", func(i *eks.CreatePodIdentityAssociationInput) {
			i.Namespace, i.DisableSessionTags = aws.String("shop"), &untagged
		})
		auth := w.eksAuthClient(w.node())
		_, err := auth.AssumeRoleForPodIdentity(t.Context(), &eksauth.AssumeRoleForPodIdentityInput{
			ClusterName: aws.String("prod"),
			Token:       &long,
		})
		if untagged {
			if err != nil {
				t.Errorf("without tags: %v", err)
			}
			break
		}
		refusedWith(t, "long name", err, "InvalidRequestException", "Packed size of session tags consumes 10")
		listed, err := client.ListPodIdentityAssociations(
			t.Context(), &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("prod")},
		)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.DeletePodIdentityAssociation(t.Context(), &eks.DeletePodIdentityAssociationInput{
			ClusterName:   aws.String("prod"),
			AssociationId: listed.Associations[0].AssociationId,
		}); err != nil {
			t.Fatal(err)
		}
	}
}
