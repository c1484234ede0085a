package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/rotation"
)

// TestEmergency replaces keys that have leaked, on two API servers and a local
// AWS, with the commands that an operator types: in the middle of a rotation, and
// from rest. Nothing is waited for, the leaked key's tokens are refused at once,
// and the printed command ends the sessions that were taken with it.
func TestEmergency(t *testing.T) {
	t.Parallel()
	f := startGround(t)
	aws := f.environment(t)
	f.withRole(t)
	const brief = "--cache-for=1ns"

	f.race(t) // Stable: several at once make one key
	if code, said := f.run(t, "issuer", "rotate", brief); code != 0 && !strings.Contains(said, "wait until") {
		t.Fatal(said)
	}
	if f.state(t).Phase == rotation.Published { // it was read back for the first time
		f.rolecall(t, 0, "issuer", "rotate", brief)
	}
	f.rollQuietly(t)
	f.rolecall(t, 0, "issuer", "rotate") // Verifying
	k1 := f.token(t)
	f.rollQuietly(t)

	// The canary: STS must take a token of each API server, three times.
	f.trust(t, laterURL)
	f.refuseWithout(t, "STS refuses a token of the new key: that of API server https://")
	if said := f.rolecall(t, 0, "issuer", "rotate", "status"); !strings.Contains(said, "not yet: STS refuses") {
		t.Errorf("status: %s", said)
	}
	f.trust(t, rotatingURL)
	aws.exchanges.Store(0)
	f.rolecall(t, 0, "issuer", "rotate") // Signing
	if got := aws.exchanges.Load(); got != 6 {
		t.Errorf("%d tokens were exchanged, want three of each API server", got)
	}

	// The old key leaks while its tokens drain.
	f.refuseWithout(t, "wait until")
	if err := assume(t.Context(), aws.url, k1.raw); err != nil {
		t.Fatal(err)
	}
	said := f.rolecall(t, 0, "issuer", "rotate", "--emergency", "--cache-for=1h") // Draining
	for _, want := range []string{
		"aws iam put-role-policy --role-name rotated ", `"aws:TokenIssueTime"`, "run the commands again then",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("want %q: %s", want, said)
		}
	}
	f.refusedAtSTS(t, aws.url, k1)
	f.refuseWithout(t, "has dropped the old key")
	f.rollQuietly(t)
	f.rolecall(t, 0, "issuer", "rotate") // Retiring

	// The new one leaks as well, from rest.
	k2 := f.token(t)
	session := aws.session(t, k2.raw)
	if err := session.list(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.rolecall(t, 0, "issuer", "rotate", "--emergency") // Stable
	f.rolecall(t, 0, "issuer", "rotate")                // KeyCreated
	f.rolecall(t, 0, "issuer", "rotate")                // Published: no cache is waited for
	f.refuseWithout(t, "signs with the new key")
	f.rollQuietly(t) // one roll: accepted and signing
	if err := assume(t.Context(), aws.url, k2.raw); err != nil {
		t.Errorf("a token of the old key, before no API server signs with it: %v", err)
	}
	said = f.rolecall(t, 0, "issuer", "rotate", brief) // Signing
	f.refusedAtSTS(t, aws.url, k2)
	aws.deny(t, said)
	if err := session.list(t.Context()); err == nil || !strings.Contains(err.Error(), "explicit deny") {
		t.Errorf("a session taken with the leaked key: %v", err)
	}
	aws.untilAllowed(t, f.token(t).raw)
	f.rollQuietly(t)
	f.rolecall(t, 0, "issuer", "rotate") // Retiring
	if kids := f.published(t); len(kids) != 1 || kids[0] == k1.kid || kids[0] == k2.kid {
		t.Errorf("published %q after %s and %s leaked", kids, k1.kid, k2.kid)
	}
	if state := f.state(t); state.Phase != rotation.Stable || len(state.Leaked) != 2 {
		t.Errorf("state %+v", state)
	}
}

// TestControllerEmergency: the spec names a key that has leaked, and the controller
// replaces it without waiting; then it walks a common rotation, in which STS must
// take a token of each API server before the old key may go.
func TestControllerEmergency(t *testing.T) {
	t.Parallel()
	f := newController(
		t,
		"  probe: {serviceAccount: {namespace: default, name: default}, "+
			"roleARN: 'arn:aws:iam::"+accountID+":role/rotated'}",
		"every: 999h, cacheFor: 1s, drainFor: 1s",
	)
	f.newAccounts(t)
	f.trust(t, rotatingURL)
	aws := f.environment(t)
	f.start(t)
	leaked := f.token(t)
	f.until(t, "the key is known", func(object *v1alpha1.Issuer) bool {
		return len(object.Status.Keys) == 1 && object.Status.Keys[0].Role == "signing"
	})
	if err := assume(t.Context(), aws.url, leaked.raw); err != nil {
		t.Fatal(err)
	}
	f.patch(t, `{"spec":{"rotation":{"leaked":["`+leaked.kid+`"]}}}`)
	untilPhase(t, f.issuers, v1alpha1.Signing)
	f.statusShows(t, "phase Signing", "emergency "+leaked.kid+" has leaked", "not yet: wait until API server")
	f.copySecret(t, true, 2)
	f.rollQuietly(t)
	retiring := untilPhase(t, f.issuers, v1alpha1.Retiring)
	untilOnly(t, f.fireground, retiring.Status.Rotation.NewKID)
	f.refusedAtSTS(t, aws.url, leaked)
	f.untilEvent(t, "DenyOlderSessions")
	f.copySecret(t, true, 1)
	f.rollQuietly(t)
	untilPhase(t, f.issuers, v1alpha1.Stable)

	f.patch(t, `{"spec":{"rotation":{"every":"1s"}}}`)
	untilPhase(t, f.issuers, v1alpha1.Verifying)
	f.patch(t, `{"spec":{"rotation":{"every":"999h"}}}`)
	f.copySecret(t, true, 2)
	f.rollQuietly(t)
	f.trust(t, laterURL) // STS will not take the new key's tokens
	untilPhase(t, f.issuers, v1alpha1.Signing)
	f.untilSecret(t, func(data map[string][]byte) bool { return bytes.Equal(data["sa.key"], data["next.key"]) })
	f.copySecret(t, true, 2)
	f.rollQuietly(t)
	f.until(t, "STS refuses", func(object *v1alpha1.Issuer) bool {
		r := object.Status.Rotation
		return r.Phase == v1alpha1.Signing && r.Exchanges == 0 &&
			strings.Contains(r.WaitingFor, "STS refuses a token of the new key: that of API server")
	})
	f.untilEvent(t, "CanaryRefused")
	aws.exchanges.Store(0)
	f.trust(t, rotatingURL)
	untilPhase(t, f.issuers, v1alpha1.Retiring)
	if got := aws.exchanges.Load(); got < 6 {
		t.Errorf("%d tokens were exchanged, want at least three of each API server", got)
	}
}

func (f *controlled) patch(t *testing.T, text string) {
	t.Helper()
	if _, err := f.issuers.Patch(
		t.Context(), "c1", "application/merge-patch+json", []byte(text), metav1.PatchOptions{},
	); err != nil {
		t.Fatal(err)
	}
}

// until asks for the Issuer again and again.
func (f *controlled) until(t *testing.T, what string, is func(*v1alpha1.Issuer) bool) {
	t.Helper()
	var object v1alpha1.Issuer
	poll(t, func() bool {
		got, err := f.issuers.Get(t.Context(), "c1", metav1.GetOptions{})
		return err == nil && runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, &object) == nil &&
			is(&object)
	}, func() { t.Fatalf("never: %s: %+v", what, object.Status.Rotation) })
}

func (f *controlled) untilSecret(t *testing.T, is func(map[string][]byte) bool) {
	t.Helper()
	poll(t, func() bool {
		secret, err := f.APIServers[0].Client.CoreV1().Secrets("default").Get(t.Context(), "keys", metav1.GetOptions{})
		return err == nil && is(secret.Data)
	}, func() { t.Fatal("the Secret does not become what it should") })
}

func (f *controlled) untilEvent(t *testing.T, reason string) {
	t.Helper()
	poll(t, func() bool {
		found, err := f.APIServers[0].Client.EventsV1().
			Events("default").
			List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + reason})
		return err == nil && len(found.Items) > 0
	}, func() { t.Fatalf("no Event %s", reason) })
}

// patience only ends a broken test: longer than a busy machine takes for anything.
const patience = 5 * time.Minute

// poll tries until it is so, as long as patience lasts.
func poll(t *testing.T, is func() bool, never func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			never()
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *fireground) newAccounts(t *testing.T) {
	t.Helper()
	var err error
	if f.accounts, err = account.NewSet(account.NewMemory(), []string{accountID}, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// race takes the first step several times at once: those who are let in take
// one step each, the others are told that somebody is there.
func (f *fireground) race(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	var stepped atomic.Int64
	for range 4 {
		all.Go(func() {
			code, said := f.run(t, "issuer", "rotate")
			switch {
			case code == 0:
				stepped.Add(1)
			case !strings.Contains(said, "another command works in") && !strings.Contains(said, "wait until"):
				t.Errorf("exit %d: %s", code, said)
			}
		})
	}
	all.Wait()
	state := f.state(t)
	if got := int64(len(state.History)); got == 0 || got != stepped.Load() {
		t.Fatalf("%d steps were taken, %d are remembered: %+v", stepped.Load(), got, state.History)
	}
	if state.Phase == rotation.Published { // two were let in, one after the other
		return
	}
	f.rolecall(t, 0, "issuer", "rotate") // KeyCreated
}

func (f *fireground) state(t *testing.T) rotation.State {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "rotation.json"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := rotation.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// token is a fresh one of the first API server.
func (f *fireground) token(t *testing.T) heldToken {
	t.Helper()
	clients := &fire{ground: f, audience: "sts.amazonaws.com", gates: []*sync.RWMutex{{}, {}}}
	return clients.one(t)
}

func (f *fireground) refusedAtSTS(t *testing.T, url string, held heldToken) {
	t.Helper()
	if err := assume(t.Context(), url, held.raw); err == nil || !strings.Contains(err.Error(), "InvalidIdentityToken") {
		t.Errorf("a token of the leaked key %s at STS: %v", held.kid, err)
	}
}

// withRole has the folder's issuer try its tokens with the role, and name the
// account of its provider.
func (f *fireground) withRole(t *testing.T) {
	t.Helper()
	file := filepath.Join(f.dir, "issuer.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var object v1alpha1.Issuer
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Fatal(err)
	}
	object.Spec.Probe.RoleARN = "arn:aws:iam::" + accountID + ":role/rotated"
	object.Spec.Providers = []v1alpha1.IAMProvider{{ClientIDs: []string{"sts.amazonaws.com"}}}
	if text, err = yaml.Marshal(object); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// commandsAWS is what the SDK finds in the environment of the commands.
type commandsAWS struct {
	url       string
	exchanges atomic.Int64 // calls of AssumeRoleWithWebIdentity
	iam       *iam.Client
}

// environment is that of the commands from here on.
func (f *fireground) environment(t *testing.T) *commandsAWS {
	t.Helper()
	local := &commandsAWS{}
	server := localaws.New(localaws.Config{Accounts: f.accounts, Now: time.Now, Log: discard, Issuers: f.access})
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("Action=AssumeRoleWithWebIdentity")) {
			local.exchanges.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	local.url = listening.URL
	key, err := f.accounts.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL":            local.url,
		"AWS_REGION":                  "us-east-1",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_ACCESS_KEY_ID":           key.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       key.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN":           "",
	} {
		f.env = append(f.env, name+"="+value)
	}
	local.iam = iam.New(iam.Options{
		BaseEndpoint: awssdk.String(local.url), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretKey.Reveal(), ""),
	})
	local.allow(t, "list", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets",`+
		`"Resource":"*"}}`)
	return local
}

func (a *commandsAWS) allow(t *testing.T, name, policy string) {
	t.Helper()
	if _, err := a.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName:       awssdk.String("rotated"),
		PolicyName:     awssdk.String(name),
		PolicyDocument: awssdk.String(policy),
	}); err != nil {
		t.Fatal(err)
	}
}

var printedPolicy = regexp.MustCompile(`--role-name rotated --policy-name (\w+) --policy-document '([^']+)'`)

// deny does what the printed command says.
func (a *commandsAWS) deny(t *testing.T, printed string) {
	t.Helper()
	found := printedPolicy.FindStringSubmatch(printed)
	if found == nil || !json.Valid([]byte(found[2])) {
		t.Fatalf("no command: %s", printed)
	}
	a.allow(t, found[1], found[2])
}

// stsSession are credentials that a token was exchanged for.
type stsSession struct{ client *s3.Client }

func (a *commandsAWS) session(t *testing.T, raw string) stsSession {
	t.Helper()
	answer, err := sts.New(sts.Options{
		BaseEndpoint: awssdk.String(a.url),
		Region:       "us-east-1",
	}).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          awssdk.String("arn:aws:iam::" + accountID + ":role/rotated"),
		RoleSessionName:  awssdk.String("session"),
		WebIdentityToken: awssdk.String(raw),
	})
	if err != nil {
		t.Fatal(err)
	}
	return stsSession{s3.New(s3.Options{
		BaseEndpoint: awssdk.String(a.url),
		Region:       "us-east-1",
		UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(
			*answer.Credentials.AccessKeyId, *answer.Credentials.SecretAccessKey, *answer.Credentials.SessionToken,
		),
	})}
}

func (s stsSession) list(ctx context.Context) error {
	_, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}

// untilAllowed wants sessions that are younger than the moment of the policy to
// work; it names a second that is not over yet.
func (a *commandsAWS) untilAllowed(t *testing.T, raw string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := a.session(t, raw).list(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("a session of the new key: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
