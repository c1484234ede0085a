package association

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	accountID  = "111122223333"
	region     = "eu-west-1"
	writerRole = "arn:aws:iam::111122223333:role/writer"
	brokerUser = "arn:aws:iam::111122223333:user/broker"
	everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
)

// cloud is a local AWS with a broker before it, and the controller that judges for the
// same plane. Both reach it by the SDK's own clients.
type cloud struct {
	account *account.Account
	taker   *session.Taker
	judge   *Reconciler
	key     *token.Key
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// newCloud has the roles cart and writer, whose trust policies tests write; their own
// policies allow everything.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	now, key := time.Now(), must(token.GenerateRSA(2048))
	authority := must(pki.NewAuthority("test", now, time.Hour))
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/keys.json")
			return
		}
		_, _ = w.Write(must(token.MarshalJWKS([]crypto.PublicKey{key.Public()})))
	}))
	provider.TLS = must(authority.ServingConfig(now, time.Hour, "oidc.example.com"))
	provider.StartTLS()
	t.Cleanup(provider.Close)
	accounts := must(account.NewSet(account.NewMemory(), []string{accountID}, now))
	aws := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Region:   region,
		Log:      slog.New(slog.DiscardHandler),
		Issuers: sts.IssuerAccess{
			Endpoints: map[string]string{"oidc.example.com": provider.Listener.Addr().String()},
			RootCAs:   authority.Pool(),
		},
	}))
	t.Cleanup(aws.Close)
	own := credential.AWS{AccessKeyID: "AKIABROKERBROKER0001", SecretKey: credential.NewSecret("broker-secret")}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": own.AccessKeyID, "AWS_SECRET_ACCESS_KEY": own.SecretKey.Reveal(),
		"AWS_ENDPOINT_URL":          aws.URL,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	plane := sessionplan.Plane{
		Cluster:       association.Cluster{Name: "prod", Partition: "aws", Region: region, Account: accountID},
		Mode:          v1alpha1.Federated,
		Modes:         []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough},
		Choices:       association.Choices(),
		Issuer:        issuer,
		BrokerRoleARN: brokerUser,
		PodLabels:     []string{"tier"},
	}
	reads := must(awsapi.OpenAccount(t.Context(), region, ""))
	c := &cloud{key: key, account: must(find(accounts)), judge: &Reconciler{Plane: plane, Roles: iamRoles{reads.IAM()}}}
	c.judge.Plane.PodLabels = nil // the controller does not know them
	c.taker = &session.Taker{
		Roles:   awsapi.NewLocalRoles(aws.URL, region, own),
		Minter:  &session.Minter{Issuer: issuer, Key: follow.Hold(key), Now: time.Now},
		Plane:   plane,
		Pace:    session.NewPace(1e6, 1e6, time.Now),
		Metrics: session.NewMetrics(prometheus.NewRegistry()),
		Now:     time.Now,
		Total:   time.Minute,
	}
	c.write(t, func(state account.State) error {
		if err := state.PutProvider(
			&account.Provider{
				IssuerID:  arn.IssuerID(issuer),
				ClientIDs: []string{sessionplan.MintedAudience, sessionplan.PodAudience},
				Created:   now,
			},
		); err != nil {
			return err
		}
		user := &account.User{
			Name:        "broker",
			Path:        "/",
			ID:          account.NewUserID(),
			Created:     now,
			Permissions: account.Permissions{Policies: []account.Document{{Name: "all", Text: everything}}},
		}
		if err := state.PutUser(user); err != nil {
			return err
		}
		return state.PutKey(
			&account.AccessKey{
				ID:      own.AccessKeyID,
				Secret:  own.SecretKey,
				Account: accountID,
				User:    "broker",
				Created: now,
			},
		)
	})
	return c
}

func find(accounts *account.Set) (*account.Account, error) {
	found, ok := accounts.Find(accountID)
	if !ok {
		return nil, fault.New(fault.NotFound, "no account %s", accountID)
	}
	return found, nil
}

func (c *cloud) write(t *testing.T, f func(account.State) error) {
	t.Helper()
	if err := c.account.Update(f); err != nil {
		t.Fatal(err)
	}
}

// trusts gives a role a trust policy.
func (c *cloud) trusts(t *testing.T, name, path, trust string) {
	t.Helper()
	c.write(t, func(state account.State) error {
		return state.PutRole(&account.Role{
			Name:        name,
			Path:        path,
			ID:          account.NewRoleID(),
			Trust:       trust,
			MaxSession:  43200,
			Created:     time.Now(),
			Permissions: account.Permissions{Policies: []account.Document{{Name: "all", Text: everything}}},
		})
	})
}

// iamRoles reads roles of one account.
type iamRoles struct{ iam *awsapi.IAM }

func (r iamRoles) Trust(ctx context.Context, role arn.Role) (string, error) {
	found, trust, exists, err := r.iam.RoleTrust(ctx, role.Name)
	switch {
	case err != nil:
		return "", fault.New(fault.Unavailable, "read the role: %w", err)
	case !exists || found != role.ARN().String():
		return "", fault.New(fault.NotFound, "there is no role %s", role.ARN())
	}
	return trust, nil
}

func (r iamRoles) Policies(ctx context.Context, role arn.Role) ([]string, error) {
	return r.iam.RolePolicies(ctx, role.Name)
}

var pod = sessionplan.Subject{
	Namespace:      "shop",
	ServiceAccount: "cart",
	Pod:            "cart-0",
	PodUID:         "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002",
	Node:           "n1",
	Labels:         map[string]string{"tier": "front"},
}

// take has the broker get a session for a pod.
func (c *cloud) take(t *testing.T, a *v1alpha1.PodIdentityAssociation, pod sessionplan.Subject) error {
	t.Helper()
	now := time.Now()
	own := must(token.Mint(c.key, &token.Claims{
		Issuer:    issuer,
		Subject:   token.ServiceAccountSubject("shop", "cart"),
		Audiences: []string{sessionplan.PodAudience},
		IssuedAt:  now,
		NotBefore: now,
		Expiry:    now.Add(time.Hour),
	}))
	_, err := c.taker.Take(t.Context(), &session.Request{Association: a, Subject: pod, Token: own})
	return err
}

// pick is one of several.
func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// often is true three times of four.
func often(random *rand.Rand) bool { return random.IntN(4) > 0 }

// someAssociation says what associations may, in all combinations.
func someAssociation(random *rand.Rand) *v1alpha1.PodIdentityAssociation {
	return &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec: v1alpha1.PodIdentityAssociationSpec{
			ServiceAccountName: "cart",
			RoleARN:            cartRole,
			Mode:               pick(random, v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough),
			TargetRoleARN:      pick(random, "", "", writerRole),
			DisableSessionTags: !often(random),
			SessionTagging:     pick(random, "", "", v1alpha1.TransitiveTags, v1alpha1.LocalTags, v1alpha1.NoTags),
			ExternalID: pick(
				random, "", "", "agreed", "eu-west-1/111122223333/prod/shop/cart",
				"eu-west-1/111122223333/prod/shop/admin",
			),
			SessionName: pick(random, "", "${namespace}-${serviceAccount}", "${podName}"),
			SourceIdentity: pick(
				random, "", "", "${serviceAccount}", "${namespace}/${serviceAccount}", "${podName}",
			),
			OmitTags: pick(
				random, nil, nil, []string{"kubernetes-namespace"}, []string{"eks-cluster-arn", "kubernetes-pod-uid"},
			),
			SessionTags: pick(random,
				nil,
				map[string]string{"who": "${namespace}.${serviceAccount}"},
				map[string]string{"tier": "${podLabel:tier}"},
				map[string]string{"where": "${node}", "Team": "red"},
				map[string]string{"who": "${nobody}"},
			),
		},
	}
}

// someTrust is a trust policy that is right for the mode in most of its parts.
func someTrust(random *rand.Rand, principals []string, action string) string {
	actions := []string{action}
	if often(random) {
		actions = append(actions, "sts:TagSession")
	}
	if often(random) {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	values := map[string][]string{
		"sts:RoleSessionName":                 {"shop-cart", "cart-0", "other"},
		"sts:SourceIdentity":                  {"cart", "shop-cart", "cart-0", "other"},
		"aws:RequestTag/kubernetes-namespace": {"shop", "shop", "web"},
		"aws:RequestTag/eks-cluster-name":     {"prod", "prod", "test"},
		"aws:RequestTag/who":                  {"shop.cart", "other"},
		"aws:RequestTag/where":                {"n1", "n2"},
		"aws:RequestTag/team":                 {"red", "blue"},
		"aws:RequestTag/kubernetes-pod-uid":   {pod.PodUID, "other"},
	}
	if action == "sts:AssumeRole" {
		values["sts:ExternalId"] = []string{"eu-west-1/111122223333/prod/shop/cart", "agreed", "other"}
		values["aws:PrincipalArn"] = []string{brokerUser, cartRole}
	} else {
		values["oidc.example.com/c1:sub"] = []string{
			"system:serviceaccount:shop:cart", "system:serviceaccount:shop:card",
		}
		values["oidc.example.com/c1:aud"] = []string{"sts.amazonaws.com", "pods.eks.amazonaws.com"}
	}
	conditions := map[string]string{}
	for range random.IntN(3) {
		key := pick(random, slices.Sorted(maps.Keys(values))...)
		conditions[key] = pick(random, values[key]...)
	}
	equals := map[string]any{}
	if len(conditions) > 0 {
		equals["StringEquals"] = conditions
	}
	if random.IntN(6) == 0 {
		equals["ForAllValues:StringLike"] = map[string]any{"aws:TagKeys": pick(
			random, []string{"kubernetes-*", "eks-*"}, []string{"*"}, []string{"kubernetes-*", "eks-*", "who", "where"},
		)}
	}
	if random.IntN(6) == 0 {
		equals["Null"] = map[string]string{pick(
			random, "aws:RequestTag/tier", "aws:RequestTag/who", "sts:ExternalId", "sts:SourceIdentity",
		): pick(random, "true", "false")}
	}
	text, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": json.RawMessage(
			pick(random, principals...),
		), "Action": actions, "Condition": equals,
	}}})
	return string(text)
}

// TestBrokerAndControllerAgree: of associations and trust policies in all
// combinations, whose pods the controller says can get their role, the broker gets a
// session for; whose cannot, it gets none. What the controller leaves open may be
// either.
func TestBrokerAndControllerAgree(t *testing.T) {
	c := newCloud(t)
	const (
		web    = `{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.example.com/c1"}`
		broker = `{"AWS":"` + brokerUser + `"}`
		cart   = `{"AWS":"` + cartRole + `"}`
		other  = `{"AWS":"` + writerRole + `"}`
	)
	// there before it is named as a principal
	c.trusts(t, "cart", "/team/", statement(web, `"sts:AssumeRoleWithWebIdentity"`, ""))
	c.trusts(t, "writer", "/", statement(broker, `"sts:AssumeRole"`, ""))
	counted := map[metav1.ConditionStatus]int{}
	for seed := range uint64(900) {
		random := rand.New(rand.NewPCG(seed, 11)) //nolint:gosec // a test's choices
		a := someAssociation(random)
		principals, action := []string{web, web, web, web, broker}, "sts:AssumeRoleWithWebIdentity"
		if a.Spec.Mode == v1alpha1.BrokerRole {
			principals, action = []string{broker, broker, broker, broker, cart}, "sts:AssumeRole"
		}
		first, second := someTrust(random, principals, action), someTrust(
			random, []string{cart, cart, cart, other}, "sts:AssumeRole",
		)
		c.trusts(t, "cart", "/team/", first)
		c.trusts(t, "writer", "/", second)
		exists, trusts := c.judge.role(t.Context(), a, yes("Granted", ""))
		if exists.status != metav1.ConditionTrue {
			t.Fatalf("seed %d: %+v", seed, exists)
		}
		here := pod
		if random.IntN(2) == 0 {
			here.Labels = nil
		}
		err := c.take(t, a, here)
		counted[trusts.status]++
		story := fmt.Sprintf("seed %d: the controller says %s (%s: %s), the broker %v\n"+
			"association %+v\ntrust of cart %s\ntrust of writer %s",
			seed, trusts.status, trusts.reason, trusts.message, err, a.Spec, first, second)
		switch {
		case trusts.status == metav1.ConditionTrue && err != nil:
			t.Error(story)
		case trusts.status == metav1.ConditionFalse && err == nil:
			t.Error(story)
		case err != nil && refusal.Of(err).Code != refusal.AccessDenied &&
			refusal.Of(err).Code != refusal.InvalidRequest:
			t.Error(story)
		}
	}
	for _, status := range []metav1.ConditionStatus{
		metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown,
	} {
		if counted[status] < 30 {
			t.Errorf("only %d verdicts %s: %v", counted[status], status, counted)
		}
	}
}
