package issuer_test

import (
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/controller/issuer"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/desk"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/apiservers"
)

const (
	host      = "issuer.example"
	issuerURL = "https://" + host + "/c1"
	region    = "eu-west-1"
	owner     = "111122223333"
	role      = "arn:aws:iam::" + owner + ":role/canary"
)

// cluster is one of two clusters that are alike: the same keys, API servers and spec, and a
// bucket each.
type cluster struct {
	spec    v1alpha1.IssuerSpec
	servers []*apiservers.Server
	reader  *observe.Reader
}

// world has a cluster whose issuer is kept by hand, and one of the controller's.
type world struct {
	t          *testing.T
	aws        http.Handler
	now        time.Time
	key        *token.Key // that signs when the world begins
	hand, auto cluster

	desk       *desk.Desk
	emergency  bool
	client     client.Client
	objects    kubernetes.Interface
	reconciler *issuer.Reconciler
}

func (w *world) clock() time.Time { return w.now }

// openWorld needs the environment for the SDK's configuration, so its tests are not
// parallel.
func openWorld(t *testing.T, servers int, canary bool) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().Truncate(time.Second), key: newKey(t)}
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := authority.ServingConfig(time.Now(), time.Hour, host)
	if err != nil {
		t.Fatal(err)
	}
	endpoints := map[string]string{} // STS reads what the controller publishes
	for _, side := range []struct {
		into   *cluster
		bucket string
	}{{&w.hand, "by-hand"}, {&w.auto, "by-controller"}} {
		web := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			r.URL.Path, r.Host = "/"+side.bucket+r.URL.Path, "" // as S3 has it, by path
			w.aws.ServeHTTP(out, r)
		}))
		web.TLS, web.Config.ErrorLog = serving, slog.NewLogLogger(slog.DiscardHandler, 0)
		web.StartTLS()
		t.Cleanup(web.Close)
		endpoints[host] = web.Listener.Addr().String()
		access := observe.Access{Endpoints: maps.Clone(endpoints), RootCAs: authority.Pool()}
		side.into.reader = observe.NewReader(access)
		side.into.spec = w.spec(side.bucket, canary)
		for range servers {
			one := apiservers.Start(t, issuerURL, w.key, w.clock)
			side.into.servers = append(side.into.servers, one)
			side.into.spec.APIServers = append(side.into.spec.APIServers, one.URL)
		}
	}
	w.openAWS(sts.IssuerAccess{Endpoints: endpoints, RootCAs: authority.Pool()})
	for _, side := range []*cluster{&w.hand, &w.auto} {
		if err := accounts.EnsureBucket(t.Context(), side.spec.Publish.S3, accounts.BucketOptions{
			JWKSPath: document.JWKSPath, Now: w.now, Tell: func(string) {},
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.openDesk()
	w.openController()
	return w
}

func (w *world) spec(bucket string, canary bool) v1alpha1.IssuerSpec {
	spec := v1alpha1.IssuerSpec{
		URL: issuerURL,
		Publish: v1alpha1.PublishTarget{
			S3:            &v1alpha1.S3Target{Bucket: bucket, Region: region, Prefix: "c1"},
			MaxAgeSeconds: 300,
			EmptyKIDs:     canary, // either way
		},
		Providers: []v1alpha1.IAMProvider{{ClientIDs: []string{"sts.amazonaws.com"}}},
		Rotation: &v1alpha1.Rotation{
			Every:   metav1.Duration{Duration: 1000 * time.Hour},
			KeyKind: v1alpha1.P256,
			Secret:  v1alpha1.ObjectName{Namespace: "kube-system", Name: "keys"},
		},
	}
	if canary {
		spec.Probe.RoleARN = role
		spec.Rotation.CacheFor.Duration = time.Hour
		spec.Rotation.DrainFor.Duration = 2 * time.Hour
	}
	return spec
}

// openAWS starts a local AWS with a role for the canary, and points the process to it.
func (w *world) openAWS(issuers sts.IssuerAccess) {
	w.t.Helper()
	set, err := account.NewSet(account.NewMemory(), []string{owner}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := set.Default().AdminKey()
	if err != nil {
		w.t.Fatal(err)
	}
	w.aws = localaws.New(localaws.Config{
		Accounts: set,
		Issuers:  issuers,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	})
	server := httptest.NewServer(w.aws)
	w.t.Cleanup(server.Close)
	for name, text := range map[string]string{
		"AWS_ENDPOINT_URL":            server.URL,
		"AWS_REGION":                  region,
		"AWS_ACCESS_KEY_ID":           admin.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       admin.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN":           "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		w.t.Setenv(name, text)
	}
	roles := iam.New(iam.Options{
		BaseEndpoint: awssdk.String(server.URL),
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(admin.AccessKeyID, admin.SecretKey.Reveal(), ""),
	})
	_, err = roles.CreateRole(w.t.Context(), &iam.CreateRoleInput{
		RoleName: awssdk.String("canary"),
		AssumeRolePolicyDocument: awssdk.String(`{"Version":"2012-10-17","Statement":{
			"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity",
			"Principal":{"Federated":"arn:aws:iam::` + owner + `:oidc-provider/` + host + `/c1"},
			"Condition":{"StringEquals":{"` + host + `/c1:sub":"system:serviceaccount:default:default"}}}}`),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// openDesk opens the cluster that is kept by hand, in a folder with the cluster's keys.
func (w *world) openDesk() {
	w.t.Helper()
	folder := desk.Folder(w.t.TempDir())
	w.desk = &desk.Desk{
		Folder: folder,
		Issuer: &v1alpha1.Issuer{Spec: w.hand.spec},
		Reader: w.hand.reader,
		Now:    w.clock,
		Tell:   func(desk.Published) {},
	}
	var err error
	w.desk.Store, err = store.Open(w.t.Context(), &w.hand.spec.Publish, accounts.Bucket, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.desk.Servers, err = observe.FindAPIServers(w.t.Context(), w.hand.servers[0].Config(), w.hand.spec.APIServers)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(plan.Signing, pem(w.t, w.key))
	if err := folder.Accept([]token.PublicKey{public(w.t, w.key)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name string, text []byte) {
	w.t.Helper()
	if err := w.desk.Folder.Write(name, text); err != nil {
		w.t.Fatal(err)
	}
}

// openController makes the other cluster's Issuer, and the Secret as its operator has it.
func (w *world) openController() {
	w.t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		w.t.Fatal(err)
	}
	object := &v1alpha1.Issuer{ObjectMeta: metav1.ObjectMeta{Name: "c1"}, Spec: w.auto.spec}
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(object).WithObjects(object).Build()
	w.objects = kubefake.NewClientset()
	w.saveSecret(plan.Files{plan.Signing: pem(w.t, w.key)})
	w.reconciler = &issuer.Reconciler{
		Client:  w.client,
		Objects: w.objects,
		Config:  w.auto.servers[0].Config(),
		Reader:  w.auto.reader,
		Events:  silent{},
		Metrics: issuer.NewMetrics(prometheus.NewRegistry()),
		Log:     slog.New(slog.DiscardHandler),
		Now:     w.clock,
		Every:   time.Minute,
	}
}

// silent drops Events.
type silent struct{}

func (silent) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

var _ events.EventRecorder = silent{}

func (w *world) issuer() *v1alpha1.Issuer {
	w.t.Helper()
	object := &v1alpha1.Issuer{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: "c1"}, object); err != nil {
		w.t.Fatal(err)
	}
	return object
}

func (w *world) secret() plan.Files {
	w.t.Helper()
	found, err := w.objects.CoreV1().Secrets("kube-system").Get(w.t.Context(), "keys", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return found.Data
}

func (w *world) saveSecret(files plan.Files) {
	w.t.Helper()
	secrets := w.objects.CoreV1().Secrets("kube-system")
	_ = secrets.Delete(w.t.Context(), "keys", metav1.DeleteOptions{})
	made := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: files}
	if _, err := secrets.Create(w.t.Context(), made, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// folder are the files of the cluster that is kept by hand.
func (w *world) folder() plan.Files {
	w.t.Helper()
	files := plan.Files{}
	for _, name := range plan.KeyFiles() {
		text, err := os.ReadFile(w.desk.Folder.Path(name))
		if err == nil {
			files[name] = text
		} else if !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
	return files
}

// offer lays the key of the next rotation where both find it, so that both rotate to the
// same.
func (w *world) offer(key *token.Key) {
	w.t.Helper()
	w.write(plan.Next, pem(w.t, key))
	secret := maps.Clone(w.secret())
	secret[plan.Next] = pem(w.t, key)
	w.saveSecret(secret)
}

// due makes the key that signs so old that the controller begins.
func (w *world) due() {
	w.t.Helper()
	w.settle()
	object := w.issuer()
	object.Spec.Rotation.Every.Duration = time.Second
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	w.settle()
	object = w.issuer()
	object.Spec.Rotation.Every.Duration = 10000 * time.Hour
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// leak declares that the old key is known to others.
func (w *world) leak(kid string) {
	w.t.Helper()
	w.emergency = true
	object := w.issuer()
	object.Spec.Rotation.Leaked = append(object.Spec.Rotation.Leaked, kid)
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// settle lets both go as far as is safe now.
func (w *world) settle() {
	w.t.Helper()
	request := ctrl.Request{NamespacedName: client.ObjectKey{Name: "c1"}}
	rounds := 1
	if w.auto.spec.Probe.RoleARN != "" {
		rounds += rotation.Canaries // one in each look
	}
	for quiet := 0; quiet < rounds; {
		result, err := w.reconciler.Reconcile(w.t.Context(), request)
		if err != nil {
			w.t.Fatal(err)
		}
		if quiet++; result.RequeueAfter < time.Second {
			quiet = 0
		}
	}
	object := w.issuer()
	if object.Status.Rotation == nil {
		w.t.Fatalf("the controller has not looked at the rotation: %+v", object.Status.Conditions)
	}
	wanted := rotation.Phase(object.Status.Rotation.Phase)
	for range 2 * len(rotation.Phases()) {
		state, err := w.desk.State()
		if err != nil {
			w.t.Fatal(err)
		}
		if state.Phase == rotation.Stable && wanted == rotation.Stable { // it would begin the next
			if _, err := w.desk.Publish(w.t.Context(), false); err != nil {
				w.t.Fatal(err)
			}
			return
		}
		_, err = w.desk.Advance(w.t.Context(), desk.Start{
			Emergency: w.emergency,
			NewKey:    func() (*token.Key, error) { return nil, errors.New("no key is to be made") },
		})
		if errors.Is(err, rotation.ErrUnsafe) {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("by hand the rotation does not come to rest")
}

// roll restarts an API server of both clusters with what is handed to it.
func (w *world) roll(i int) {
	w.t.Helper()
	for _, side := range []struct {
		server *apiservers.Server
		files  plan.Files
	}{{w.hand.servers[i], w.folder()}, {w.auto.servers[i], w.secret()}} {
		accepted, err := side.files.Accepts()
		if errors.Is(err, plan.ErrMissing) {
			continue // a Secret before the first rotation
		}
		if err != nil {
			w.t.Fatal(err)
		}
		key, err := token.ParsePrivateKey(side.files[plan.Signing])
		if err != nil {
			w.t.Fatal(err)
		}
		side.server.Roll(w.t, accepted, key)
	}
}

// check compares all that anybody sees of the two.
func (w *world) check(when string) {
	w.t.Helper()
	object := w.issuer()
	state, err := w.desk.State()
	if err != nil {
		w.t.Fatal(err)
	}
	kept := plan.StateOf(object, w.now)
	type view struct {
		Phase          rotation.Phase
		OldKID, NewKID string
		Emergency      bool
		// SeenAt and SwitchedAt decide when a gate opens.
		SeenAt, SwitchedAt string
		Published          string
		Accepted           []string
		Signs              string
	}
	see := func(side *cluster, state rotation.State, files plan.Files) view {
		seen := view{
			Phase:      state.Phase,
			OldKID:     state.OldKID,
			NewKID:     state.NewKID,
			Emergency:  state.Emergency,
			SeenAt:     state.SeenAt.UTC().Format(time.RFC3339),
			SwitchedAt: state.SwitchedAt.UTC().Format(time.RFC3339),
		}
		discovery, jwks := side.reader.Read(w.t.Context(), issuerURL)
		seen.Published = fmt.Sprintf("%s %q\n%s %q", discovery.Text, discovery.CacheControl, jwks.Text,
			jwks.CacheControl)
		if accepted, err := files.Accepts(); err == nil {
			seen.Accepted = document.IDs(accepted)
			slices.Sort(seen.Accepted)
		}
		if key, err := token.ParsePrivateKey(files[plan.Signing]); err == nil {
			seen.Signs = key.ID()
		}
		return seen
	}
	byHand, byController := see(&w.hand, state, w.folder()), see(&w.auto, kept, w.secret())
	if kept.Phase == rotation.Stable || byController.Accepted == nil {
		// Without a rotation the controller leaves the Secret as it is, and its operator
		// what API servers have.
		byHand.Accepted, byController.Accepted = nil, nil
	}
	if diff := cmp.Diff(byHand, byController); diff != "" {
		w.t.Fatalf("%s: the commands and the controller do not agree (-by hand +controller):\n%s", when, diff)
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == "ProvidersInStep" && condition.Status != metav1.ConditionTrue {
			w.t.Fatalf("%s: %s", when, condition.Message)
		}
	}
}

// TestCommandsAndControllerAgree: kept by hand or by the controller, an issuer with the
// same spec, keys and API servers is at every moment in the same phase, publishes the same
// documents byte for byte, and hands the same keys to API servers, in whatever order and
// at whatever pace those are rolled.
func TestCommandsAndControllerAgree(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("walk %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 11)) //nolint:gosec // the same choices every time
			w := openWorld(t, 1+random.IntN(3), false)
			var phases []rotation.Phase
			w.settle()
			w.check("at first")
			leaks := random.IntN(2) == 0
			for act := range 40 {
				state, err := w.desk.State()
				if err != nil {
					t.Fatal(err)
				}
				if phases = append(phases, state.Phase); state.Phase == rotation.Stable {
					if act > 30 {
						break
					}
					w.emergency = false
					w.offer(newKey(t))
					w.due()
				}
				switch choice := random.IntN(4); {
				case choice == 0:
					w.now = w.now.Add(time.Duration(random.IntN(30)) * time.Hour)
				case choice == 1 && leaks && !w.emergency && state.OldKID != "":
					w.leak(state.OldKID)
				default:
					w.roll(random.IntN(len(w.hand.servers)))
				}
				w.settle()
				w.check(fmt.Sprintf("act %d", act))
			}
			slices.Sort(phases)
			t.Logf("phases %q", slices.Compact(phases))
		})
	}
}

// TestCanaryOfBoth: with a role to try, both let STS accept a token of each API
// server before they go on, and both are held up by an STS that refuses.
func TestCanaryOfBoth(t *testing.T) {
	w := openWorld(t, 2, true)
	w.settle()
	w.offer(newKey(t))
	w.due()
	for _, step := range []struct {
		name string
		do   func()
		want rotation.Phase
	}{
		{"the new key is published", func() {}, rotation.Published},
		{"caches have run out", func() { w.now = w.now.Add(time.Hour) }, rotation.Verifying},
		{"one API server accepts it", func() { w.roll(0) }, rotation.Verifying},
		{"both accept it", func() { w.roll(1) }, rotation.Signing},
		{"one signs with it", func() { w.roll(0) }, rotation.Signing},
		{"both sign with it, and STS accepts their tokens", func() { w.roll(1) }, rotation.Draining},
		{"old tokens have run out", func() { w.now = w.now.Add(2 * time.Hour) }, rotation.Retiring},
		{"both have dropped the old key", func() { w.roll(0); w.roll(1) }, rotation.Stable},
	} {
		step.do()
		w.settle()
		w.check(step.name)
		state, err := w.desk.State()
		if err != nil || state.Phase != step.want {
			t.Fatalf("%s: phase %s, %v, want %s", step.name, state.Phase, err, step.want)
		}
	}
}

func newKey(t *testing.T) *token.Key {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pem(t *testing.T, key *token.Key) []byte {
	t.Helper()
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func public(t *testing.T, key *token.Key) token.PublicKey {
	t.Helper()
	one, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return one
}
