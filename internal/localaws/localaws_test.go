package localaws_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// The set-up of spec issuer-and-sts §17.
const (
	accountID    = "111122223333"
	otherAccount = "999900001111"
	host         = "s3.eu-west-1.amazonaws.com"
	eksHost      = "oidc.eks.eu-west-1.amazonaws.com"
	issuerURL    = "https://" + host + "/b/c1"
	issuerID     = host + "/b/c1"
	provider     = "arn:aws:iam::111122223333:oidc-provider/" + issuerID
	roleR        = "arn:aws:iam::111122223333:role/R"
	subject      = "system:serviceaccount:app:api"
	generic      = "The web identity token provided could not be validated."
	noKey        = "Couldn't retrieve verification key from your identity provider,  please"
	notJWT       = "The ID Token provided is not a valid JWT."
	notAuthed    = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
)

var epoch = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// world is a local AWS and an issuer that it fetches keys from.
type world struct {
	t         testing.TB
	url       string
	admin     credential.AWS
	key       *token.Key // K1
	log       *lockedbuffer.Buffer
	mu        sync.Mutex
	now       time.Time
	jwks      string
	caching   string // of the issuer's answers
	jwksTyp   int    // status of the JWKS
	fetches   int
	accounts  *account.Set
	explained []localaws.Decision
	// private is that of key.
	private *rsa.PrivateKey
	// serveKeys answers for the JWKS instead of jwks.
	serveKeys http.HandlerFunc
}

// signingKey is K1, made once: finding primes takes longer than most tests.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// otherKey is nobody's.
var otherKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func (w *world) explain(d localaws.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.explained = append(w.explained, d)
}

func newWorld(t testing.TB, edits ...func(*localaws.Config)) *world {
	t.Helper()
	w := &world{t: t, now: epoch, caching: "no-cache", jwksTyp: http.StatusOK, log: &lockedbuffer.Buffer{}}
	var err error
	if w.private, err = signingKey(); err != nil {
		t.Fatal(err)
	}
	if w.key, err = token.NewKey(w.private); err != nil {
		t.Fatal(err)
	}
	w.publish(w.key)
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := authority.ServingConfig(time.Now(), time.Hour, host, eksHost, "other.example")
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(w.serveIssuer))
	issuer.TLS = tls
	issuer.StartTLS()
	t.Cleanup(issuer.Close)
	address := issuer.Listener.Addr().String()
	accounts, err := account.NewSet(account.NewMemory(), []string{accountID, otherAccount}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	config := localaws.Config{
		Accounts: accounts, Now: w.clock, Faults: true, Explain: w.explain,
		Issuers: sts.IssuerAccess{
			Endpoints: map[string]string{host: address, eksHost: address, "other.example": address},
			RootCAs:   authority.Pool(),
		},
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, edit := range edits {
		edit(&config)
	}
	server := localaws.New(config)
	aws := httptest.NewServer(server)
	t.Cleanup(aws.Close)
	w.url, w.accounts = aws.URL, accounts
	if w.admin, err = server.Admin(); err != nil {
		t.Fatal(err)
	}
	w.mustAdmin(url.Values{
		"Action":                {"CreateOpenIDConnectProvider"},
		"Url":                   {issuerURL},
		"ClientIDList.member.1": {"sts.amazonaws.com"},
	})
	w.role("R", trust(`"StringEquals":{"`+issuerID+`:aud":"sts.amazonaws.com","`+issuerID+`:sub":"`+subject+`"}`))
	return w
}

func trust(condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider +
		`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{` + condition + `}}]}`
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) publish(keys ...*token.Key) {
	var public []crypto.PublicKey
	for _, key := range keys {
		public = append(public, key.Public())
	}
	text, err := token.MarshalJWKS(public)
	if err != nil {
		w.t.Fatal(err)
	}
	w.setJWKS(string(text), http.StatusOK)
}

func (w *world) setJWKS(text string, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jwks, w.jwksTyp = text, status
}

func (w *world) serveIssuer(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rw.Header().Set("Cache-Control", w.caching)
	if before, ok := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration"); ok {
		base := "https://" + r.Host + before
		fmt.Fprintf(rw, `{"issuer":%q,"jwks_uri":%q}`, base, base+"/keys.json")
		return
	}
	w.fetches++
	if serve := w.serveKeys; serve != nil {
		w.mu.Unlock() // it may take its time
		defer w.mu.Lock()
		serve(rw, r)
		return
	}
	rw.WriteHeader(w.jwksTyp)
	_, _ = io.WriteString(rw, w.jwks)
}

// answer is one answer of AWS, whatever the operation.
type answer struct {
	status    int
	code      string
	message   string
	requestID string
	body      string
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, body: string(body), requestID: response.Header.Get("x-amzn-RequestId")}
	var e struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
		ID      string `xml:"RequestId"`
	}
	if a.status >= 400 && xml.Unmarshal(body, &e) == nil {
		a.code, a.message = e.Code, e.Message
		if e.ID != a.requestID {
			w.t.Errorf("request id %q in the body, %q in the header", e.ID, a.requestID)
		}
	}
	return a
}

func (w *world) request(method, query, body string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/"+query, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	return r
}

// signed sends a request signed with credentials.
func (w *world) signed(c credential.AWS, service string, form url.Values) answer {
	w.t.Helper()
	form = clone(form)
	if form.Get("Version") == "" {
		form.Set("Version", map[string]string{"sts": "2011-06-15", "iam": "2010-05-08"}[service])
	}
	body := form.Encode()
	r := w.request(http.MethodPost, "", body)
	w.sign(r, c, service, body, w.clock())
	return w.do(r)
}

func (w *world) sign(r *http.Request, c credential.AWS, service, body string, at time.Time) {
	w.t.Helper()
	w.signIn(r, c, service, "us-east-1", body, at)
}

func (w *world) signFor(r *http.Request, c credential.AWS, service, region, body string) {
	w.t.Helper()
	w.signIn(r, c, service, region, body, w.clock())
}

func (w *world) signIn(r *http.Request, c credential.AWS, service, region, body string, at time.Time) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	w.signHash(r, c, service, region, hash, at)
}

func (w *world) signHash(r *http.Request, c credential.AWS, service, region, hash string, at time.Time) {
	w.t.Helper()
	creds := aws.Credentials{
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: c.SecretKey.Reveal(),
		SessionToken:    c.SessionToken.Reveal(),
	}
	if err := v4.NewSigner().SignHTTP(w.t.Context(), creds, r, hash, service, region, at); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mustAdmin(form url.Values) {
	w.t.Helper()
	a := w.signed(w.admin, "iam", form)
	if a.status != http.StatusOK {
		w.t.Fatalf("%s: %d %s", form.Get("Action"), a.status, a.body)
	}
}

func (w *world) role(name, trust string) {
	w.t.Helper()
	w.mustAdmin(url.Values{"Action": {"CreateRole"}, "RoleName": {name}, "AssumeRolePolicyDocument": {trust}})
}

func (w *world) setTrust(trust string) {
	w.t.Helper()
	w.mustAdmin(url.Values{"Action": {"UpdateAssumeRolePolicy"}, "RoleName": {"R"}, "PolicyDocument": {trust}})
}

func clone(form url.Values) url.Values {
	c := url.Values{}
	maps.Copy(c, form)
	return c
}

// claims are those of a good token, changed by edits: a nil value removes one.
func claims(edits map[string]any) []byte {
	c := map[string]any{
		"iss": issuerURL,
		"sub": subject,
		"aud": []string{"sts.amazonaws.com"},
		"iat": epoch.Unix(),
		"nbf": epoch.Unix(),
		"exp": epoch.Add(time.Hour).Unix(),
	}
	for name, value := range edits {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
	text, _ := json.Marshal(c)
	return text
}

func (w *world) token(key *token.Key, edits map[string]any) string {
	w.t.Helper()
	raw, err := token.Sign(key, claims(edits))
	if err != nil {
		w.t.Fatal(err)
	}
	return raw.Reveal()
}

// assume asks for R with a token; more overrides parameters, an empty value
// removes one.
func (w *world) assume(raw string, more map[string]string) answer {
	w.t.Helper()
	form := w.form()
	form.Set("WebIdentityToken", raw)
	for name, text := range more {
		if text == "" {
			form.Del(name)
		} else {
			form.Set(name, text)
		}
	}
	return w.do(w.request(http.MethodPost, "", form.Encode()))
}

func (w *world) expect(name string, got answer, status int, code, message string) {
	w.t.Helper()
	if got.status != status || got.code != code || !strings.HasPrefix(got.message, message) {
		w.t.Errorf(
			"%s: %d %s %q, want %d %s %q\n%s", name, got.status, got.code, got.message, status, code, message,
			w.reason(got),
		)
	}
}

func (w *world) reason(a answer) string {
	w.t.Helper()
	return w.do(w.request(http.MethodGet, "_rolecall/decisions/"+a.requestID, "")).body
}

func credentialsIn(t testing.TB, a answer) credential.AWS {
	t.Helper()
	var found struct {
		ID     string `xml:"Credentials>AccessKeyId"`
		Secret string `xml:"Credentials>SecretAccessKey"`
		Token  string `xml:"Credentials>SessionToken"`
	}
	var envelope struct {
		Inner []byte `xml:",innerxml"`
	}
	if err := xml.Unmarshal([]byte(a.body), &envelope); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(envelope.Inner, &found); err != nil || found.ID == "" {
		t.Fatalf("no credentials in %s", a.body)
	}
	return credential.AWS{
		AccessKeyID:  found.ID,
		SecretKey:    credential.NewSecret(found.Secret),
		SessionToken: credential.NewSecret(found.Token),
	}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	chain := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + roleR +
		`"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	w.role("chained", chain)
	w.role("nobody", trust(""))
	w.role(
		"account",
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},`+
			`"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}]}`,
	)
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	ask := func(c credential.AWS, role string, more url.Values) answer {
		form := url.Values{
			"Action":          {"AssumeRole"},
			"RoleArn":         {"arn:aws:iam::111122223333:role/" + role},
			"RoleSessionName": {"s2"},
		}
		maps.Copy(form, more)
		return w.signed(c, "sts", form)
	}
	if got := ask(session, "chained", nil); got.status != http.StatusOK ||
		!strings.Contains(got.body, ":assumed-role/chained/s2<") {
		t.Errorf("chained: %s", got.body)
	}
	w.expect(
		"missing role", ask(session, "none", nil), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole on resource:",
	)
	w.expect(
		"account trust without identity policy", ask(session, "account", url.Values{"ExternalId": {"x1"}}), 403,
		"AccessDenied", "",
	)
	w.expect("no external id", ask(w.admin, "account", nil), 403, "AccessDenied", "")
	if got := ask(w.admin, "account", url.Values{"ExternalId": {"x1"}}); got.status != http.StatusOK {
		t.Errorf("administrator with external id: %s", got.body)
	}
	tagged := credentialsIn(t, ask(session, "chained", url.Values{
		"Tags.member.1.Key":          {"team"},
		"Tags.member.1.Value":        {"red"},
		"TransitiveTagKeys.member.1": {"team"},
	}))
	w.setTrust(chain)
	w.mustAdmin(url.Values{
		"Action":         {"UpdateAssumeRolePolicy"},
		"RoleName":       {"nobody"},
		"PolicyDocument": {strings.ReplaceAll(chain, "role/R", "role/chained")},
	})
	w.expect("transitive tag again", ask(tagged, "nobody", url.Values{
		"Tags.member.1.Key":   {"TEAM"},
		"Tags.member.1.Value": {"blue"},
	}), 400, "InvalidParameterValue", "One of the specified transitive tag keys can't be set")
	if got := ask(tagged, "nobody", nil); got.status != http.StatusOK {
		t.Errorf("transitive tags go on: %s", got.body)
	}
}

func TestIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	call := func(action string, pairs ...string) answer {
		form := url.Values{"Action": {action}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return w.signed(w.admin, "iam", form)
	}
	w.expect(
		"http", call("CreateOpenIDConnectProvider", "Url", "http://h"), 400, "InvalidInput",
		"Invalid Open ID Connect Provider URL. The URL must begin with https://.",
	)
	w.expect(
		"no scheme", call("CreateOpenIDConnectProvider", "Url", "h"), 400, "ValidationError",
		"Invalid Open ID Connect Provider URL",
	)
	if got := call(
		"GetOpenIDConnectProvider", "OpenIDConnectProviderArn", provider,
	); !strings.Contains(got.body, "<Url>"+issuerID+"</Url>") ||
		!strings.Contains(got.body, "<CreateDate>2026-09-01T12:00:00.000Z<") ||
		strings.Count(got.body, "sts.amazonaws.com") != 1 {
		t.Errorf("get provider: %s", got.body)
	}
	call("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider)
	w.expect(
		"get deleted", call("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", provider), 404, "NoSuchEntity",
		"OpenIDConnect Provider not found for arn "+provider,
	)

	w.expect(
		"no JSON", call("CreateRole", "RoleName", "bad", "AssumeRolePolicyDocument", "{"), 400,
		"MalformedPolicyDocument", "This policy contains invalid Json",
	)
	w.expect(
		"twice", call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust("")), 409, "EntityAlreadyExists",
		"Role with name r already exists.",
	)
	w.expect(
		"bad name", call("CreateRole", "RoleName", "a b", "AssumeRolePolicyDocument", trust("")), 400,
		"ValidationError", "1 validation error detected: Value 'a b' at 'roleName'",
	)
	w.expect(
		"get none", call("GetRole", "RoleName", "none"), 404, "NoSuchEntity",
		"The role with name none cannot be found.",
	)
	if got := call(
		"TagRole", "RoleName", "R", "Tags.member.1.Key", "b", "Tags.member.1.Value", "2", "Tags.member.2.Key", "a",
		"Tags.member.2.Value", "1",
	); got.status != 200 {
		t.Errorf("tag: %s", got.body)
	}
	if got := call("ListRoleTags", "RoleName", "R", "MaxItems", "1"); !strings.Contains(got.body, "<Key>a</Key>") ||
		!strings.Contains(got.body, "<IsTruncated>true</IsTruncated><Marker>a</Marker>") {
		t.Errorf("list tags: %s", got.body)
	}
	if got := call("UntagRole", "RoleName", "R", "TagKeys.member.1", "a"); got.status != 200 {
		t.Errorf("untag: %s", got.body)
	}
	if got := call("UpdateRole", "RoleName", "R", "MaxSessionDuration", "7200", "Description", "d"); got.status != 200 {
		t.Errorf("update: %s", got.body)
	}
	if got := call("GetRole", "RoleName", "R"); !strings.Contains(
		got.body, "<MaxSessionDuration>7200</MaxSessionDuration>",
	) || !strings.Contains(got.body, "%22Version%22%3A%222012-10-17%22") || strings.Contains(got.body, "<Key>a</Key>") {
		t.Errorf("get: %s", got.body)
	}
	if got := call("ListRoles", "PathPrefix", "/x/"); strings.Contains(got.body, "<RoleName>") {
		t.Errorf("list by path: %s", got.body)
	}
	if got := call("DeleteRole", "RoleName", "R"); got.status != 200 {
		t.Errorf("delete: %s", got.body)
	}
	w.expect("delete again", call("DeleteRole", "RoleName", "R"), 404, "NoSuchEntity", "")
	w.expect(
		"not emulated", call("GenerateCredentialReport"), 501, "NotImplemented",
		"allowed, but not emulated: iam:GenerateCredentialReport",
	)
}

// TestReCreatedRole: sessions and trust of a deleted role do not pass on to a
// new one of the same name.
func TestReCreatedRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	before := w.signed(session, "sts", url.Values{"Action": {"GetCallerIdentity"}}).body
	w.mustAdmin(url.Values{"Action": {"DeleteRole"}, "RoleName": {"R"}})
	w.expect("deleted", w.assume(w.token(w.key, nil), nil), 403, "AccessDenied", notAuthed)
	w.role("R", trust(""))
	again := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	if after := w.signed(
		again, "sts", url.Values{"Action": {"GetCallerIdentity"}},
	).body; userID(after) == userID(before) {
		t.Errorf("the new role has the old id %s", userID(after))
	}
}

// TestTrustFollowsTheEntity: a role that was deleted and made again is not the
// one that a trust policy named.
func TestTrustFollowsTheEntity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.role("target", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+roleR+`"},"Action":"sts:AssumeRole"}]}`)
	take := url.Values{
		"Action":          {"AssumeRole"},
		"RoleArn":         {"arn:aws:iam::111122223333:role/target"},
		"RoleSessionName": {"s2"},
	}
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	if got := w.signed(session, "sts", take); got.status != http.StatusOK {
		t.Errorf("the role itself: %s", got.body)
	}
	w.mustAdmin(url.Values{"Action": {"DeleteRole"}, "RoleName": {"R"}})
	w.role("R", trust(""))
	again := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	w.expect(
		"made again", w.signed(again, "sts", take), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole",
	)
	shown := w.signed(w.admin, "iam", url.Values{"Action": {"GetRole"}, "RoleName": {"target"}})
	if !strings.Contains(shown.body, "%22AWS%22%3A%22AROA") {
		t.Errorf("the trust policy does not show the id: %s", shown.body)
	}
	for _, nobody := range []string{
		"arn:aws:iam::111122223333:role/none",
		"arn:aws:iam::111122223333:user/none",
		"arn:aws:iam::111122223333:role/x/R",
	} {
		w.expect(nobody, w.signed(w.admin, "iam", url.Values{
			"Action":   {"CreateRole"},
			"RoleName": {"x"},
			"AssumeRolePolicyDocument": {
				`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + nobody + `"},"Action":"sts:AssumeRole"}]}`,
			},
		}),
			400, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"`+nobody+`"`)
	}
}

func userID(body string) string {
	_, rest, _ := strings.Cut(body, "<UserId>")
	id, _, _ := strings.Cut(rest, "</UserId>")
	return id
}
