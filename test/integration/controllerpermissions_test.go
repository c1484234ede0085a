package integration_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// One Issuer is rotated and published in the cluster, one in S3. The cluster signs
// for the first.
const (
	controlledHost = "oidc.example.com"
	controlledURL  = "https://" + controlledHost + "/c1"
	exampleBucket  = "example-oidc" // of the guide
)

const controlledObjects = `
apiVersion: rolecall.io/v1alpha1
kind: Issuer
metadata: {name: c1}
spec:
  url: ` + controlledURL + `
  publish: {configMap: {namespace: rolecall-system, name: issuer-documents}}
  providers: [{clientIDs: [sts.amazonaws.com]}]
  rotation: {every: 1s, cacheFor: 1s, drainFor: 1s, secret: {namespace: rolecall-system, name: issuer-keys}}
---
apiVersion: rolecall.io/v1alpha1
kind: Issuer
metadata: {name: s3}
spec:
  url: https://` + controlledHost + `/` + exampleBucket + `/s3
  publish: {s3: {bucket: ` + exampleBucket + `, region: eu-west-1, prefix: s3}}
  providers: [{clientIDs: [sts.amazonaws.com]}]
---
apiVersion: rolecall.io/v1alpha1
kind: PodIdentityAssociation
metadata: {namespace: shop, name: cart}
spec: {serviceAccountName: cart, roleARN: "arn:aws:iam::111122223333:role/cart"}
`

// TestControllerPermissions runs the controller with the permissions of its guide
// and nothing else, in the cluster and in AWS.
func TestControllerPermissions(t *testing.T) {
	t.Parallel()
	w := newControlledWorld(t)
	for text := range strings.SplitSeq(controlledObjects, "---\n") {
		object := &unstructured.Unstructured{}
		w.must(nil, yaml.Unmarshal([]byte(text), &object.Object))
		kind := strings.ToLower(object.GetKind()) + "s"
		if object.GetNamespace() == "" {
			w.must(w.objects.Resource(rolecallResource(kind)).Create(t.Context(), object, metav1.CreateOptions{}))
		} else {
			w.must(w.objects.Resource(rolecallResource(kind)).Namespace(object.GetNamespace()).Create(
				t.Context(), object, metav1.CreateOptions{},
			))
		}
	}
	w.startPodsTooEarly()
	metrics := freeport.Address(t)
	controller := startProgram(
		t, w.env, "serve", "controller", "--kubeconfig", kubeconfigOf(t, w.c, "rolecall-controller"),
		"--metrics-listen", metrics, "--every", "200ms", "--issuer-endpoint",
		controlledHost+"="+w.web.Listener.Addr().String(), "--issuer-ca", w.ca, "--cluster-name", "prod",
		"--cluster-account", "111122223333", "--cluster-region", "eu-west-1", "--issuer", controlledURL,
		"--associations-every", "200ms", "--restart-missed",
	)

	// As far as a rotation goes while nobody rolls the API server.
	w.until("c1 waits for its API server", func() bool {
		c1 := w.issuer("c1")
		return c1.Status.Rotation != nil && c1.Status.Rotation.Phase == v1alpha1.Verifying &&
			is(c1.Status.Conditions, "Published") &&
			is(c1.Status.Conditions, "ProvidersInStep")
	})
	w.until("s3 is published", func() bool {
		return is(w.issuer("s3").Status.Conditions, "Published") &&
			is(w.issuer("s3").Status.Conditions, "ProvidersInStep")
	})
	w.until("the association is looked at", func() bool {
		found, err := w.objects.Resource(rolecallResource("podidentityassociations")).
			Namespace("shop").
			Get(t.Context(), "cart", metav1.GetOptions{})
		w.must(found, err)
		var cart v1alpha1.PodIdentityAssociation
		w.must(nil, runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &cart))
		return is(cart.Status.Conditions, "RoleExists") &&
			meta.FindStatusCondition(cart.Status.Conditions, "TrustAllows") != nil
	})
	w.until("Events say it", func() bool {
		events, err := w.c.Client.EventsV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		w.must(events, err)
		about := map[string]bool{}
		for i := range events.Items {
			about[events.Items[i].Regarding.Kind+" "+events.Items[i].Regarding.Name] = true
		}
		return about["Issuer c1"] && about["Issuer s3"] && about["PodIdentityAssociation cart"]
	})
	w.until("pods that were too early are found, and made again if they have an owner", func() bool {
		list, err := w.c.Client.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
		w.must(list, err)
		var left []string
		for i := range list.Items {
			if list.Items[i].DeletionTimestamp == nil {
				left = append(left, list.Items[i].Name)
			}
		}
		events, err := w.c.Client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		w.must(events, err)
		about := map[string]bool{}
		for i := range events.Items {
			if events.Items[i].Reason == "IdentityMissed" && events.Items[i].Regarding.Kind == "Pod" {
				about[events.Items[i].Regarding.Name] = true
			}
		}
		cart, err := w.objects.Resource(rolecallResource("podidentityassociations")).
			Namespace("shop").Get(t.Context(), "cart", metav1.GetOptions{})
		w.must(cart, err)
		var read v1alpha1.PodIdentityAssociation
		w.must(nil, runtime.DefaultUnstructuredConverter.FromUnstructured(cart.Object, &read))
		injected := meta.FindStatusCondition(read.Status.Conditions, "PodsInjected")
		return about["cart-bare"] && about["cart-owned"] && about["irsa-bare"] && !about["plain-bare"] &&
			slices.Equal(left, []string{"cart-bare", "irsa-bare", "plain-bare"}) &&
			injected != nil && injected.Status == metav1.ConditionFalse && strings.Contains(injected.Message, "cart-bare")
	})
	w.must(
		w.c.Client.CoordinationV1().
			Leases("rolecall-system").
			Get(t.Context(), "rolecall-controller", metav1.GetOptions{}),
	)
	if code := controller.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if log := controller.log.String(); strings.Contains(log, "forbidden") || strings.Contains(log, "AccessDenied") ||
		strings.Contains(log, "NotInStep") {
		t.Error(log)
	}
}

// startPodsTooEarly creates pods where there is no webhook, and permits to evict.
func (w *controlledWorld) startPodsTooEarly() {
	w.t.Helper()
	applyGuide(w.t, w.c, "associations.md", "restart-missed")
	yes := true
	for _, row := range []struct {
		account, role, name string
		owners              []metav1.OwnerReference
	}{
		{account: "cart", name: "cart-bare"},
		{account: "cart", name: "cart-owned", owners: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart", UID: "1", Controller: &yes},
		}},
		{account: "irsa", name: "irsa-bare", role: "arn:aws:iam::111122223333:role/cart"},
		{account: "plain", name: "plain-bare"},
	} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: row.account}}
		if row.role != "" {
			account.Annotations = map[string]string{"eks.amazonaws.com/role-arn": row.role}
		}
		if _, err := w.c.Client.CoreV1().ServiceAccounts("shop").Create(
			w.t.Context(), account, metav1.CreateOptions{},
		); err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Fatal(err)
		}
		pod := newPod(row.name, row.account)
		pod.OwnerReferences = row.owners
		w.must(w.c.Client.CoreV1().Pods("shop").Create(w.t.Context(), pod, metav1.CreateOptions{}))
	}
}

// controlledWorld is a cluster, local AWS, and a server of what is published.
type controlledWorld struct {
	t       *testing.T
	c       *cluster.Cluster
	objects dynamic.Interface
	web     *httptest.Server
	ca      string   // file
	env     []string // of the controller
}

func newControlledWorld(t *testing.T) *controlledWorld {
	t.Helper()
	w := &controlledWorld{
		t:  t,
		c:  cluster.Start(t, cluster.Options{Issuer: controlledURL}),
		ca: filepath.Join(t.TempDir(), "ca.pem"),
	}
	var err error
	w.objects, err = dynamic.NewForConfig(w.c.Config)
	w.must(nil, err)
	installCRDs(t, w.objects)
	for _, name := range []string{"shop", "rolecall-system"} {
		w.must(w.c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	for namespace, name := range map[string]string{"default": "default", "rolecall-system": "rolecall-controller"} {
		w.must(w.c.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	applyGuide(t, w.c, "issuer.md", "rbac")
	aws := w.startAWS()

	published := &swapped{}
	published.handle("/"+exampleBucket+"/", httputil.NewSingleHostReverseProxy(aws))
	published.handle("/c1/", http.HandlerFunc(w.serveConfigMap))
	authority, web := serveTLS(t, published, controlledHost)
	w.web = web
	w.must(nil, os.WriteFile(w.ca, authority.PEM(), 0o600))
	return w
}

// serveConfigMap is what an ingress, or serve issuer with the volume, would do.
func (w *controlledWorld) serveConfigMap(rw http.ResponseWriter, r *http.Request) {
	found, err := w.c.Client.CoreV1().
		ConfigMaps("rolecall-system").
		Get(r.Context(), "issuer-documents", metav1.GetOptions{})
	text, there := "", false
	if err == nil {
		text, there = found.Data[strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/c1/"), "/", "_")]
	}
	if !there {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write([]byte(text))
}

// startAWS makes a user with the guide's permissions, and a bucket that is open.
func (w *controlledWorld) startAWS() *url.URL {
	t := w.t
	accounts, err := account.NewSet(account.NewMemory(), []string{"111122223333"}, time.Now())
	w.must(nil, err)
	const id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	w.must(nil, accounts.Default().Update(func(state account.State) error {
		return errors.Join(
			state.PutUser(&account.User{
				Name: "controller",
				Path: "/",
				ID:   account.NewUserID(),
				Permissions: account.Permissions{
					Policies: []account.Document{{Name: "guide", Text: guideBlock(t, "issuer.md", "iam")}},
				},
			}),
			state.PutKey(&account.AccessKey{
				ID:      id,
				Secret:  credential.NewSecret(secret),
				Account: "111122223333",
				User:    "controller",
			}),
			state.PutRole(&account.Role{
				Name: "cart",
				Path: "/",
				ID:   account.NewRoleID(),
				Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
					`"Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
				MaxSession: 3600,
			}),
		)
	}))
	server := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	w.env = []string{
		"AWS_ENDPOINT_URL=" + server.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + id,
		"AWS_SECRET_ACCESS_KEY=" + secret, "AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	admin, err := accounts.Default().AdminKey()
	w.must(nil, err)
	bucket := s3.New(s3.Options{
		BaseEndpoint: awssdk.String(server.URL),
		Region:       "eu-west-1",
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(admin.AccessKeyID, admin.SecretKey.Reveal(), ""),
	})
	w.must(bucket.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket:                    awssdk.String(exampleBucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
	}))
	w.must(
		bucket.DeletePublicAccessBlock(
			t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: awssdk.String(exampleBucket)},
		),
	)
	w.must(bucket.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{
		Bucket: awssdk.String(exampleBucket),
		Policy: awssdk.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",` +
			`"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + exampleBucket + `/*"}]}`),
	}))
	address, err := url.Parse(server.URL)
	w.must(nil, err)
	return address
}

func (w *controlledWorld) issuer(name string) *v1alpha1.Issuer {
	w.t.Helper()
	found, err := w.objects.Resource(rolecallResource("issuers")).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(found, err)
	object := &v1alpha1.Issuer{}
	w.must(nil, runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, object))
	return object
}

func (w *controlledWorld) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *controlledWorld) until(what string, done func() bool) {
	w.t.Helper()
	poll(w.t, done, func() {
		for _, name := range []string{"c1", "s3"} {
			text, _ := yaml.Marshal(w.issuer(name).Status)
			w.t.Logf("%s:\n%s", name, text)
		}
		w.t.Fatal(what)
	})
}

func is(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}
