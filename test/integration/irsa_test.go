package integration_test

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localsts "github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/internal/webhook"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

const (
	issuerHost = "oidc.eks.us-east-1.amazonaws.com"
	issuerURL  = "https://" + issuerHost + "/id/D539D4633E53DE1B716D3041E0D4F2A7"
	issuerID   = issuerHost + "/id/D539D4633E53DE1B716D3041E0D4F2A7"
	accountID  = "111122223333"
	roleARN    = "arn:aws:iam::" + accountID + ":role/s3-reader"
)

var discard = slog.New(slog.DiscardHandler)

// TestPodGetsItsRole is the whole way on a real API server: registration,
// admission, the pod-bound token, the exchange at STS.
func TestPodGetsItsRole(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Issuer: issuerURL})
	ctx := t.Context()
	registerWebhook(t, c)
	for _, sa := range []*corev1.ServiceAccount{
		{ObjectMeta: metav1.ObjectMeta{Name: "s3-reader", Annotations: map[string]string{
			"eks.amazonaws.com/role-arn":         roleARN,
			"eks.amazonaws.com/audience":         "test",
			"eks.amazonaws.com/token-expiration": "43200",
		}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
	} {
		if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(ctx, sa, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	stored := createPod(t, c, "iam-test", "s3-reader")
	checkInjected(t, stored)
	plain := createPod(t, c, "plain-test", "plain")
	if len(plain.Spec.Containers[0].Env) != 0 || slices.ContainsFunc(plain.Spec.Volumes, isTokenVolume) {
		t.Errorf("the pod of an account without role was changed: %+v", plain.Spec)
	}
	raw := podToken(t, c, stored)
	aws := startAWS(t, c)
	who := exchange(t, aws, raw)
	if want := "arn:aws:sts::" + accountID + ":assumed-role/s3-reader/session"; who != want {
		t.Errorf("GetCallerIdentity says %q, want %q", who, want)
	}
}

// registerWebhook serves the webhook over HTTPS and registers it.
func registerWebhook(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	settings := inject.Defaults()
	settings.Region, settings.RegionalSTS = "us-east-1", true
	informer := webhook.NewAccounts(c.Client, settings, time.Second, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- informer.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	handler, err := webhook.New(webhook.Config{
		Settings:        settings,
		ServiceAccounts: informer,
		Metrics:         prometheus.NewRegistry(),
		Log:             discard,
		Now:             time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	authority, server := serveTLS(t, handler, "127.0.0.1")
	url := server.URL + "/mutate"
	registration := webhook.Registration(admissionregistrationv1.WebhookClientConfig{
		URL:      &url,
		CABundle: authority.PEM(),
	}, "")
	// A webhook that fails must fail the test, not be passed over.
	fail := admissionregistrationv1.Fail
	registration.Webhooks[0].FailurePolicy = &fail
	if _, err := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(
		ctx, registration, metav1.CreateOptions{},
	); err != nil {
		t.Fatal(err)
	}
	waitUntilCalled(t, c)
}

// waitUntilCalled makes dry-run pods of an annotated account until the API
// server has read the registration: before that the webhook is not asked, and
// the sign of being asked is the volume.
func waitUntilCalled(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := t.Context()
	probe := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "probe",
			Annotations: map[string]string{"eks.amazonaws.com/role-arn": roleARN},
		},
	}
	if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(ctx, probe, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pod, err := c.Client.CoreV1().
			Pods("default").
			Create(deadline, newPod("probe", "probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
			return
		}
	}
}

func newPod(name, serviceAccount string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{"eks.amazonaws.com/skip-containers": "sidecar-busybox-container"},
		},
		Spec: corev1.PodSpec{ServiceAccountName: serviceAccount, Containers: []corev1.Container{
			{Name: "iam-test", Image: "amazon/aws-cli", Args: []string{"sts", "get-caller-identity"}},
			{Name: "sidecar-busybox-container", Image: "radial/busyboxplus:curl"},
		}},
	}
}

func createPod(t *testing.T, c *cluster.Cluster, name, serviceAccount string) *corev1.Pod {
	t.Helper()
	pods := c.Client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), newPod(name, serviceAccount), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stored, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func isTokenVolume(v corev1.Volume) bool { return v.Name == "aws-iam-token" }

// checkInjected compares the stored pod with spec webhook §3, the API server's
// own additions left out.
func checkInjected(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	const mount = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
	wantEnv := []corev1.EnvVar{
		{Name: "AWS_STS_REGIONAL_ENDPOINTS", Value: "regional"},
		{Name: "AWS_DEFAULT_REGION", Value: "us-east-1"},
		{Name: "AWS_REGION", Value: "us-east-1"},
		{Name: "AWS_ROLE_ARN", Value: roleARN},
		{Name: "AWS_WEB_IDENTITY_TOKEN_FILE", Value: mount + "/token"},
	}
	if diff := cmp.Diff(wantEnv, pod.Spec.Containers[0].Env); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
	mounts := pod.Spec.Containers[0].VolumeMounts
	if diff := cmp.Diff(corev1.VolumeMount{
		Name:      "aws-iam-token",
		ReadOnly:  true,
		MountPath: mount,
	}, mounts[slices.IndexFunc(
		mounts, func(m corev1.VolumeMount) bool { return m.Name == "aws-iam-token" },
	)]); diff != "" {
		t.Errorf("mount (-want +got):\n%s", diff)
	}
	if sidecar := pod.Spec.Containers[1]; len(sidecar.Env) != 0 ||
		slices.ContainsFunc(
			sidecar.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "aws-iam-token" },
		) {
		t.Errorf("the skipped container was injected: %+v", sidecar)
	}
	mode, seconds := int32(420), int64(43200)
	want := corev1.Volume{
		Name: "aws-iam-token",
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: &mode,
			Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
					Audience:          "test",
					ExpirationSeconds: &seconds,
					Path:              "token",
				},
			}},
		}},
	}
	if diff := cmp.Diff(want, pod.Spec.Volumes[slices.IndexFunc(pod.Spec.Volumes, isTokenVolume)]); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
}

// podToken asks the API server as a kubelet would: what the volume says, bound
// to the pod.
func podToken(t *testing.T, c *cluster.Cluster, pod *corev1.Pod) credential.Secret {
	t.Helper()
	source := pod.Spec.Volumes[slices.IndexFunc(
		pod.Spec.Volumes, isTokenVolume,
	)].Projected.Sources[0].ServiceAccountToken
	answer, err := c.Client.CoreV1().
		ServiceAccounts("default").
		CreateToken(t.Context(), pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{
				Audiences:         []string{source.Audience},
				ExpirationSeconds: source.ExpirationSeconds,
				BoundObjectRef: &authenticationv1.BoundObjectReference{
					Kind:       "Pod",
					APIVersion: "v1",
					Name:       pod.Name,
					UID:        pod.UID,
				},
			},
		}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return credential.NewSecret(answer.Status.Token)
}

// localAWS is one with the quickstart's provider and role.
type localAWS struct {
	url string
}

// startAWS publishes the API server's own keys, as the issuer does, and starts
// a local AWS whose provider is for that issuer.
func startAWS(t *testing.T, c *cluster.Cluster) localAWS {
	t.Helper()
	documents, err := server.NewDocuments(c.Issuer, []crypto.PublicKey{c.Key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	authority, published := serveTLS(t, documents, issuerHost)
	accounts, err := account.NewSet(account.NewMemory(), []string{accountID}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      discard,
		Issuers: localsts.IssuerAccess{
			Endpoints: map[string]string{issuerHost: published.Listener.Addr().String()},
			RootCAs:   authority.Pool(),
		},
	})
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	key, err := server.Admin()
	if err != nil {
		t.Fatal(err)
	}
	admin := awsapi.NewIAM(listening.URL, "us-east-1", key)
	provider := "arn:aws:iam::" + accountID + ":oidc-provider/" + issuerID
	if err := admin.EnsureProvider(t.Context(), c.Issuer, provider, []string{"test"}); err != nil {
		t.Fatal(err)
	}
	trust, err := os.ReadFile(filepath.Join("..", "..", "examples", "quickstart", "trust-policy.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.EnsureRole(t.Context(), "s3-reader", string(trust), ""); err != nil {
		t.Fatal(err)
	}
	return localAWS{listening.URL}
}

func exchange(t *testing.T, at localAWS, raw credential.Secret) string {
	t.Helper()
	options := sts.Options{BaseEndpoint: aws.String(at.url), Region: "us-east-1"}
	taken, err := sts.New(options).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(roleARN),
		RoleSessionName:  aws.String("session"),
		WebIdentityToken: aws.String(raw.Reveal()),
	})
	if err != nil {
		t.Fatal(err)
	}
	options.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{
			AccessKeyID:     *taken.Credentials.AccessKeyId,
			SecretAccessKey: *taken.Credentials.SecretAccessKey,
			SessionToken:    *taken.Credentials.SessionToken,
		}, nil
	})
	who, err := sts.New(options).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	// The pod's role has no permissions: it must not be able to administer.
	_, err = iam.New(iam.Options{
		BaseEndpoint: options.BaseEndpoint,
		Region:       "us-east-1",
		Credentials:  options.Credentials,
	}).ListRoles(t.Context(), &iam.ListRolesInput{})
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("ListRoles as the pod: %v, want AccessDenied", err)
	}
	return *who.Arn
}

func serveTLS(t testing.TB, handler http.Handler, names ...string) (*pki.Authority, *httptest.Server) {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.ServingConfig(time.Now(), time.Hour, names...)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return authority, server
}

// TestTokensAgreeWithTheAPIServer: same kid, our verifier accepts theirs with
// their JWKS, theirs accepts ours.
func TestTokensAgreeWithTheAPIServer(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	ctx := t.Context()
	account, err := c.Client.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "api"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := c.Client.CoreV1().Pods("default").Create(ctx, newPod("p", "api"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseJWKS(jwks)
	if err != nil || keys.Len() != 1 || !strings.Contains(string(jwks), c.Key.ID()) {
		t.Fatalf("JWKS %s: %v, want the kid %s", jwks, err, c.Key.ID())
	}
	ours, err := token.MarshalJWKS([]crypto.PublicKey{c.Key.Public()})
	if err != nil || string(ours) != strings.TrimSpace(string(jwks)) {
		t.Errorf("our JWKS\n%s\ntheirs\n%s", ours, jwks)
	}

	seconds := int64(3600)
	answer, err := c.Client.CoreV1().ServiceAccounts("default").CreateToken(ctx, "api", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:         []string{"sts.amazonaws.com"},
			ExpirationSeconds: &seconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{
				Kind:       "Pod",
				APIVersion: "v1",
				Name:       "p",
				UID:        pod.UID,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	theirs := credential.NewSecret(answer.Status.Token)
	verifier := token.Verifier{
		Issuer:    c.Issuer,
		Audiences: []string{"sts.amazonaws.com"},
		Keys:      keys,
		Leeway:    token.DefaultLeeway,
	}
	claims, err := verifier.Verify(theirs, time.Now())
	if err != nil {
		t.Fatalf("our verifier refuses the API server's token: %v", err)
	}
	want := token.Workload{
		Namespace:      "default",
		Pod:            &token.Reference{Name: "p", UID: string(pod.UID)},
		ServiceAccount: token.Reference{Name: "api", UID: string(account.UID)},
	}
	if diff := cmp.Diff(want, claims.Workload); diff != "" || claims.Subject != "system:serviceaccount:default:api" ||
		claims.Expiry.Sub(claims.IssuedAt) != time.Hour {
		t.Errorf("claims %+v (-want +got):\n%s", claims, diff)
	}

	// The same claims, signed by us; and the same for a pod that never was.
	mine, err := token.Mint(c.Key, claims)
	if err != nil {
		t.Fatal(err)
	}
	if status := review(t, c, mine); !status.Authenticated ||
		status.User.Username != "system:serviceaccount:default:api" {
		t.Errorf("the API server refuses our token: %+v", status)
	}
	claims.Workload.Pod = &token.Reference{Name: "p", UID: "another"}
	if mine, err = token.Mint(c.Key, claims); err != nil {
		t.Fatal(err)
	}
	if status := review(t, c, mine); status.Authenticated {
		t.Error("the API server accepts a token bound to another pod")
	}
}

func review(t *testing.T, c *cluster.Cluster, raw credential.Secret) authenticationv1.TokenReviewStatus {
	t.Helper()
	answer, err := c.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: raw.Reveal(), Audiences: []string{"sts.amazonaws.com"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// TestJWKSOfSecret: the key pair's Secret of EKS Anywhere and Cluster API, whose
// tls.crt is a public key in spite of its name, gives the key set that the guide
// makes by kubectl, a generator and jq.
func TestJWKSOfSecret(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	key, err := token.GenerateRSA(token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	one, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.PublicPEM([]token.PublicKey{one})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "eksa-system"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]map[string][]byte{
		"prod-sa":  {"tls.key": private, "tls.crt": public},
		"empty-sa": {"tls.key": private},
	} {
		if _, err := c.Client.CoreV1().Secrets("eksa-system").Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Data:       data,
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	jwks := func(secret string) (int, string, string) {
		var out, problems lockedbuffer.Buffer
		system := app.NewSystem()
		system.Stdout, system.Stderr = &out, &problems
		code := app.Run(
			ctx, system, []string{"issuer", "jwks", "--kubeconfig", c.Kubeconfig, "--secret", secret, "--empty-kid"},
		)
		return code, out.String(), problems.String()
	}
	code, out, problems := jwks("eksa-system/prod-sa")
	want, err := token.MarshalKeys([]token.PublicKey{one}, true)
	if err != nil || code != 0 || strings.TrimSpace(out) != string(want) || strings.Count(out, `"kid":""`) != 1 {
		t.Errorf("%d, %v: %s%s, want %s", code, err, out, problems, want)
	}
	for secret, says := range map[string]string{
		"eksa-system/empty-sa": "has no tls.crt",
		"eksa-system/other-sa": "read the key pair",
	} {
		if code, out, problems := jwks(secret); code != 1 || out != "" || !strings.Contains(problems, says) {
			t.Errorf("%s: %d %s%s", secret, code, out, problems)
		}
	}
}
