package localaws_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
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
)

// The set-up of spec issuer-and-sts §17.
const (
	accountID    = "111122223333"
	otherAccount = "999900001111"
	host         = "s3.eu-west-1.amazonaws.com"
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
	log       *lockedBuffer
	mu        sync.Mutex
	now       time.Time
	jwks      string
	caching   string // of the issuer's answers
	jwksTyp   int    // status of the JWKS
	fetches   int
	accounts  *account.Set
	explained []localaws.Decision
}

func (w *world) explain(d localaws.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.explained = append(w.explained, d)
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: epoch, caching: "no-cache", jwksTyp: http.StatusOK, log: &lockedBuffer{}}
	var err error
	if w.key, err = token.GenerateRSA(2048); err != nil {
		t.Fatal(err)
	}
	w.publish(w.key)
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := authority.ServingConfig(time.Now(), time.Hour, host, "other.example")
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
	server := localaws.New(localaws.Config{
		Accounts: accounts, Now: w.clock, Faults: true, Explain: w.explain,
		Issuers: sts.IssuerAccess{Endpoints: map[string]string{host: address, "other.example": address}, RootCAs: authority.Pool()},
		Log:     slog.New(slog.NewTextHandler(w.log, nil)),
	})
	aws := httptest.NewServer(server)
	t.Cleanup(aws.Close)
	w.url, w.accounts = aws.URL, accounts
	if w.admin, err = server.Admin(); err != nil {
		t.Fatal(err)
	}
	w.mustAdmin(url.Values{"Action": {"CreateOpenIDConnectProvider"}, "Url": {issuerURL}, "ClientIDList.member.1": {"sts.amazonaws.com"}})
	w.role("R", trust(`"StringEquals":{"`+issuerID+`:aud":"sts.amazonaws.com","`+issuerID+`:sub":"`+subject+`"}`))
	return w
}

func trust(condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{` + condition + `}}]}`
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
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretKey.Reveal(), SessionToken: c.SessionToken.Reveal()}
	if err := v4.NewSigner().SignHTTP(w.t.Context(), creds, r, hex.EncodeToString(sum[:]), service, "us-east-1", at); err != nil {
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
		"iss": issuerURL, "sub": subject, "aud": []string{"sts.amazonaws.com"}, "iat": epoch.Unix(), "nbf": epoch.Unix(), "exp": epoch.Add(time.Hour).Unix(),
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
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {roleR}, "RoleSessionName": {"s1"}, "WebIdentityToken": {raw},
	}
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
		w.t.Errorf("%s: %d %s %q, want %d %s %q\n%s", name, got.status, got.code, got.message, status, code, message, w.reason(got))
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
	return credential.AWS{AccessKeyID: found.ID, SecretKey: credential.NewSecret(found.Secret), SessionToken: credential.NewSecret(found.Token)}
}

// TestWebIdentity is the table of spec issuer-and-sts §17 where one token or
// one parameter differs from the good request.
func TestWebIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.token(w.key, nil)
	other, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	header := func(text string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + parts[1] + "." + parts[2]
	}
	type more = map[string]string
	type edit = map[string]any
	at := func(d time.Duration) int64 { return epoch.Add(d).Unix() }
	const iit, ok = "InvalidIdentityToken", http.StatusOK
	for _, row := range []struct {
		name    string
		raw     string
		more    more
		status  int
		code    string
		message string
	}{
		{"1 good", good, nil, ok, "", ""},
		{"4 no role", good, more{"RoleArn": ""}, 400, "ValidationError", "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null"},
		{"5 two missing", good, more{"RoleSessionName": "", "WebIdentityToken": ""}, 400, "ValidationError", "2 validation errors detected:"},
		{"6 session name", good, more{"RoleSessionName": "a b"}, 400, "ValidationError", `1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{"7 short name", good, more{"RoleSessionName": "a"}, 400, "ValidationError", "1 validation error detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		{"7 long name", good, more{"RoleSessionName": strings.Repeat("a", 65)}, 400, "ValidationError", "1 validation error detected: Value '" + strings.Repeat("a", 65) + "' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"8 short token", "abc", nil, 400, "ValidationError", "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"},
		{"9 long token", strings.Repeat("a", 20001), nil, 400, "ValidationError", "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000"},
		{"10 short duration", good, more{"DurationSeconds": "899"}, 400, "ValidationError", "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{"10 long duration", good, more{"DurationSeconds": "43201"}, 400, "ValidationError", "1 validation error detected: Value '43201'"},
		{"11 9e2", good, more{"DurationSeconds": "9e2"}, 400, "MalformedInput", ""},
		{"11 900.0", good, more{"DurationSeconds": "900.0"}, 400, "MalformedInput", ""},
		{"11 blanks", good, more{"DurationSeconds": " 900 "}, 400, "MalformedInput", ""},
		{"11 overflow", good, more{"DurationSeconds": "2147483648"}, 400, "MalformedInput", ""},
		{"11 0900", good, more{"DurationSeconds": "0900"}, ok, "", ""},
		{"11 +900", good, more{"DurationSeconds": "+900"}, ok, "", ""},
		{"12 above the role's", good, more{"DurationSeconds": "3601"}, 400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"13 a user", good, more{"RoleArn": "arn:aws:iam::111122223333:user/x"}, 400, "ValidationError", "arn:aws:iam::111122223333:user/x is invalid"},
		{"14 no token", "not.a.token", nil, 400, iit, notJWT},
		{"15 crit", header(`{"alg":"RS256","kid":"` + w.key.ID() + `","crit":["x"]}`), nil, 400, iit, notJWT},
		{"16 none", header(`{"alg":"none","kid":"` + w.key.ID() + `"}`), nil, 400, iit, notJWT},
		{"16 none without signature", strings.TrimSuffix(header(`{"alg":"none"}`), parts[2]), nil, 400, iit, notJWT},
		{"16 HS256", header(`{"alg":"HS256","kid":"` + w.key.ID() + `"}`), nil, 400, iit, notJWT},
		{"16 PS256", header(`{"alg":"PS256","kid":"` + w.key.ID() + `"}`), nil, 400, iit, notJWT},
		{"16 EdDSA", header(`{"alg":"EdDSA","kid":"` + w.key.ID() + `"}`), nil, 400, iit, notJWT},
		{"ES256 with an RSA key", header(`{"alg":"ES256","kid":"` + w.key.ID() + `"}`), nil, 400, iit, generic},
		{"newline at the end", good + "\n", nil, 400, iit, notJWT},
		{"17 no iss", w.token(w.key, edit{"iss": nil}), nil, 400, iit, "Missing a required claim: iss"},
		{"18 no sub", w.token(w.key, edit{"sub": nil}), nil, 400, iit, "Missing a required claim: sub"},
		{"19 no aud", w.token(w.key, edit{"aud": nil}), nil, 400, iit, "Missing a required claim: aud"},
		{"20 no iat", w.token(w.key, edit{"iat": nil}), nil, 400, iit, "Missing a required claim: iat"},
		{"21 no exp", w.token(w.key, edit{"exp": nil}), nil, 400, iit, "Missing a required claim: exp"},
		{"22 aud empty", w.token(w.key, edit{"aud": []string{}}), nil, 400, iit, "Claim is not allowed to be empty: aud"},
		{"23 two audiences", w.token(w.key, edit{"aud": []string{"a", "sts.amazonaws.com"}}), nil, 400, iit, "Token audience contains more than one audience"},
		{"24 aud a text", w.token(w.key, edit{"aud": "sts.amazonaws.com"}), nil, ok, "", ""},
		{"25 azp", w.token(w.key, edit{"aud": "other", "azp": "sts.amazonaws.com"}), nil, ok, "", ""},
		{"26 azp other", w.token(w.key, edit{"azp": "other"}), nil, 400, iit, generic},
		{"26 azp empty", w.token(w.key, edit{"azp": ""}), nil, 400, iit, generic},
		{"27 audience", w.token(w.key, edit{"aud": "other"}), nil, 400, iit, generic},
		{"28 issuer", w.token(w.key, edit{"iss": "https://other.example"}), nil, 400, iit, generic},
		{"28 issuer http", w.token(w.key, edit{"iss": "http://" + issuerID}), nil, 400, iit, generic},
		{"28 issuer without scheme", w.token(w.key, edit{"iss": issuerID}), nil, 400, iit, generic},
		{"29 other account", good, more{"RoleArn": "arn:aws:iam::444455556666:role/R"}, 400, iit, generic},
		{"29 other partition", good, more{"RoleArn": "arn:aws-cn:iam::111122223333:role/R"}, 400, iit, generic},
		{"30 slash", w.token(w.key, edit{"iss": issuerURL + "/"}), nil, 400, iit, generic},
		{"32 payload changed", parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims(edit{"sub": "system:serviceaccount:app:apj"})) + "." + parts[2], nil, 400, iit, generic},
		{"33 kid unknown", w.token(other, nil), nil, 400, iit, noKey},
		{"34 no kid, one key", signedWithoutKid(t, w), nil, ok, "", ""},
		{"45 exp 299 s ago", w.token(w.key, edit{"exp": at(-299 * time.Second), "iat": at(-time.Hour), "nbf": at(-time.Hour)}), nil, ok, "", ""},
		{"46 exp 301 s ago", w.token(w.key, edit{"exp": at(-301 * time.Second)}), nil, 400, "ExpiredTokenException", fmt.Sprintf("Token expired: current date/time %d must be before", at(-300*time.Second))},
		{"47 240 s ahead", w.token(w.key, edit{"iat": at(240 * time.Second), "nbf": at(240 * time.Second)}), nil, ok, "", ""},
		{"48 iat ahead", w.token(w.key, edit{"iat": at(time.Hour)}), nil, 400, iit, fmt.Sprintf("Token issued in the future: %d", at(time.Hour))},
		{"49 nbf ahead", w.token(w.key, edit{"nbf": at(time.Hour)}), nil, 400, iit, fmt.Sprintf("Token not yet valid: current date/time %d", at(300*time.Second))},
		{"50 exp as digits", w.token(w.key, edit{"exp": fmt.Sprint(at(time.Hour))}), nil, ok, "", ""},
		{"51 iat fraction", w.token(w.key, edit{"iat": 1.5}), nil, 400, iit, "Invalid timestamp in token claims."},
		{"51 exp null", w.token(w.key, edit{"exp": json.RawMessage("null")}), nil, 400, iit, "Invalid timestamp in token claims."},
		{"51 nbf text", w.token(w.key, edit{"nbf": "x"}), nil, 400, iit, "Invalid timestamp in token claims."},
		{"53 sub null", w.token(w.key, edit{"sub": json.RawMessage("null")}), nil, 500, "InternalFailure", "Unknown error validating third-party token"},
		{"54 another account", w.token(w.key, edit{"sub": "system:serviceaccount:app:other"}), nil, 403, "AccessDenied", notAuthed},
		{"55 no such role", good, more{"RoleArn": "arn:aws:iam::111122223333:role/none"}, 403, "AccessDenied", notAuthed},
		{"55 path omitted", good, more{"RoleArn": "arn:aws:iam::111122223333:role/x/R"}, 403, "AccessDenied", notAuthed},
		{"55 role in other case", good, more{"RoleArn": "arn:aws:iam::111122223333:role/r"}, 403, "AccessDenied", notAuthed},
		{"67 tags without TagSession", w.token(w.key, edit{"https://aws.amazon.com/tags": edit{"principal_tags": edit{"K": []string{"v"}}}}), nil, 403, "AccessDenied", "Not authorized to perform sts:TagSession"},
		{"69 tags as texts", w.token(w.key, edit{"https://aws.amazon.com/tags": edit{"principal_tags": edit{"K": "v"}}}), nil, 400, iit, "principal_tags passed in claim is not in correct format."},
		{"70 source identity not allowed", w.token(w.key, edit{"https://aws.amazon.com/source_identity": "me"}), nil, 403, "AccessDenied", "Not authorized to perform sts:SetSourceIdentity"},
		{"71 roles listed", w.token(w.key, edit{"https://aws.amazon.com/roles": []string{roleR}}), nil, ok, "", ""},
		{"71 roles as text", w.token(w.key, edit{"https://aws.amazon.com/roles": "arn:aws:iam::111122223333:role/X; " + roleR}), nil, ok, "", ""},
		{"71 roles null", w.token(w.key, edit{"https://aws.amazon.com/roles": json.RawMessage("null")}), nil, ok, "", ""},
		{"72 roles without", w.token(w.key, edit{"https://aws.amazon.com/roles": []string{"arn:aws:iam::111122223333:role/X"}}), nil, 400, iit, "The target role ARN is not present in the roles claim"},
		{"73 no roles", w.token(w.key, edit{"https://aws.amazon.com/roles": []string{}}), nil, 400, iit, "The roles claim contains no valid role ARNs"},
		{"73 wildcard", w.token(w.key, edit{"https://aws.amazon.com/roles": []string{"arn:aws:iam::111122223333:role/*"}}), nil, 400, iit, "The roles claim contains no valid role ARNs"},
		{"74 roles a number", w.token(w.key, edit{"https://aws.amazon.com/roles": 1}), nil, 400, iit, "The roles claim is not in a supported format"},
		{"75 amazon", good, more{"ProviderId": "www.amazon.com"}, 400, iit, "Provided Token is not a Login With Amazon token"},
		{"76 google", good, more{"ProviderId": "accounts.google.com"}, 403, "AccessDenied", "Unrecognized OAuth provider."},
		{"77 policy", good, more{"Policy": "{"}, 400, "MalformedPolicyDocument", ""},
		{"78 long policy", good, more{"Policy": strings.Repeat(" ", 2049)}, 400, "ValidationError", "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		{"80 expires soon", w.token(w.key, edit{"exp": at(60 * time.Second)}), nil, ok, "", ""},
		{"81 unknown action", good, more{"Action": "AssumeRoleWithWebIdentityX"}, 400, "InvalidAction", "Could not find operation AssumeRoleWithWebIdentityX for version 2011-06-15"},
		{"81 unknown version", good, more{"Version": "2000-01-01"}, 400, "InvalidAction", "Could not find operation AssumeRoleWithWebIdentity for version 2000-01-01"},
	} {
		w.expect(row.name, w.assume(row.raw, row.more), row.status, row.code, row.message)
	}
	if strings.Contains(w.log.text.String(), parts[2][:20]) || strings.Contains(w.log.text.String(), parts[1][:40]) {
		t.Error("the log shows a token")
	}
}

// signedWithoutKid signs a good token whose header names no key.
func signedWithoutKid(t *testing.T, w *world) string {
	t.Helper()
	raw, err := token.SignWithoutKeyID(w.key, claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return raw.Reveal()
}

func TestTrustPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := `"` + issuerID + `:sub":`
	for _, row := range []struct {
		name, trust string
		status      int
	}{
		{"56 wildcard in StringEquals", trust(`"StringEquals":{` + sub + `"system:serviceaccount:app:*"}`), 403},
		{"57 StringLike", trust(`"StringLike":{` + sub + `"system:serviceaccount:app:*"}`), 200},
		{"58 allow and deny", `{"Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:*"},{"Effect":"Deny","Principal":{"Federated":"` + provider + `"},"Action":"sts:*","Condition":{"StringEquals":{` + sub + `"` + subject + `"}}}]}`, 403},
		{"59 AssumeRole only", strings.Replace(trust(""), "WithWebIdentity", "", 1), 403},
		{"60 sts:*", strings.Replace(trust(""), "sts:AssumeRoleWithWebIdentity", "sts:*", 1), 200},
		{"61 AWS *", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`, 403},
		{"64 key in capitals", trust(`"StringEquals":{"` + strings.ToUpper(issuerID) + `:SUB":"` + subject + `"}`), 200},
		{"65 value in other case", trust(`"StringEquals":{` + sub + `"System:serviceaccount:app:api"}`), 403},
		{"66 session name", trust(`"StringEquals":{"sts:RoleSessionName":"other"}`), 403},
		{"requested region", trust(`"StringEquals":{"aws:RequestedRegion":"us-east-1"}`), 200},
		{"another region", trust(`"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`), 403},
		{"another provider", strings.ReplaceAll(trust(""), "/b/c1", "/b/c2"), 403},
	} {
		w.setTrust(row.trust)
		if got := w.assume(w.token(w.key, nil), nil); got.status != row.status {
			t.Errorf("%s: %d %s, want %d", row.name, got.status, got.body, row.status)
		}
	}
	w.setTrust(strings.Replace(trust(""), `"sts:AssumeRoleWithWebIdentity"`, `["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]`, 1))
	tagged := w.assume(w.token(w.key, map[string]any{
		"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string]any{"K": []string{"v"}}, "transitive_tag_keys": []string{"K"}},
		"https://aws.amazon.com/source_identity": "me",
	}), nil)
	if tagged.status != http.StatusOK || !strings.Contains(tagged.body, "<SourceIdentity>me</SourceIdentity>") {
		t.Errorf("68, 70: %s", tagged.body)
	}
}

func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.token(w.key, nil)
	k2, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	one := func(key *token.Key) string {
		text, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(strings.TrimPrefix(string(text), `{"keys":[`), "]}")
	}
	k1 := one(w.key)
	asK1 := strings.Replace(one(k2), k2.ID(), w.key.ID(), 1)
	set := func(entries ...string) string { return `{"keys":[` + strings.Join(entries, ",") + `]}` }
	many := make([]string, 101)
	for i := range many {
		many[i] = strings.Replace(k1, w.key.ID(), fmt.Sprintf("k%d", i), 1)
	}
	for _, row := range []struct {
		name, jwks string
		status     int
		want       int
		message    string
	}{
		{"36 JWK without kid", set(strings.Replace(k1, `"kid":"`+w.key.ID()+`",`, "", 1)), 200, 400, noKey},
		{"37 use enc", set(strings.Replace(k1, `"sig"`, `"enc"`, 1)), 200, 400, noKey},
		{"38 key_ops", set(strings.Replace(k1, `{`, `{"key_ops":["verify"],`, 1)), 200, 400, generic},
		{"39 alg RS512", set(strings.Replace(k1, "RS256", "RS512", 1)), 200, 200, ""},
		{"40 wrong key first", set(asK1, k1), 200, 200, ""},
		{"40 wrong key last, 31 another key under the kid", set(k1, asK1), 200, 400, generic},
		{"41 101 RSA keys", set(append(many, k1)...), 200, 400, noKey},
		{"43 404", set(k1), 404, 400, noKey},
		{"43 HTML", "<html>", 200, 400, noKey},
		{"empty", set(), 200, 400, noKey},
		{"104 both", set(one(k2), k1), 200, 200, ""},
		{"104 dropped", set(one(k2)), 200, 400, noKey},
	} {
		w.setJWKS(row.jwks, row.status)
		w.advance(11 * time.Second) // past the pause between fetches
		code := "InvalidIdentityToken"
		if row.want == http.StatusOK {
			code = ""
		}
		w.expect(row.name, w.assume(good, nil), row.want, code, row.message)
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := token.GenerateEC(curve)
		if err != nil {
			t.Fatal(err)
		}
		w.setJWKS(set(append(many, one(key))...), 200)
		w.advance(11 * time.Second)
		w.expect("42, 44 "+key.Algorithm(), w.assume(w.token(key, nil), nil), 200, "", "")
	}
	w.setJWKS(set(one(k2), k1), 200)
	w.advance(11 * time.Second)
	w.expect("35 no kid, two keys", w.assume(signedWithoutKid(t, w), nil), 400, "InvalidIdentityToken", noKey)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answered := w.assume(w.token(w.key, nil), nil)
	session := credentialsIn(t, answered)
	for _, want := range []string{"<Provider>" + provider + "</Provider>", "<Audience>sts.amazonaws.com</Audience>", "<SubjectFromWebIdentityToken>" + subject + "<", ":assumed-role/R/s1</Arn>", "<Expiration>2026-09-01T13:00:00Z</Expiration>"} {
		if !strings.Contains(answered.body, want) {
			t.Errorf("answer lacks %s:\n%s", want, answered.body)
		}
	}
	whoami := url.Values{"Action": {"GetCallerIdentity"}}
	got := w.signed(session, "sts", whoami)
	if got.status != http.StatusOK || !strings.Contains(got.body, "<Arn>arn:aws:sts::111122223333:assumed-role/R/s1</Arn>") || !strings.Contains(got.body, ":s1</UserId>") {
		t.Errorf("82: %s", got.body)
	}
	another := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	swap := func(edit func(*credential.AWS)) credential.AWS {
		c := session
		edit(&c)
		return c
	}
	for _, row := range []struct {
		name  string
		creds credential.AWS
		code  string
	}{
		{"83 wrong secret", swap(func(c *credential.AWS) { c.SecretKey = another.SecretKey }), "SignatureDoesNotMatch"},
		{"84 no session token", swap(func(c *credential.AWS) { c.SessionToken = credential.Secret{} }), "InvalidClientTokenId"},
		{"84 altered token", swap(func(c *credential.AWS) {
			c.SessionToken = credential.NewSecret(c.SessionToken.Reveal()[:40] + "A" + c.SessionToken.Reveal()[41:])
		}), "InvalidClientTokenId"},
		{"token of another session", swap(func(c *credential.AWS) { c.SessionToken = another.SessionToken }), "InvalidClientTokenId"},
		{"token with the administrator's key", credential.AWS{AccessKeyID: w.admin.AccessKeyID, SecretKey: w.admin.SecretKey, SessionToken: session.SessionToken}, "InvalidClientTokenId"},
		{"unknown key", credential.AWS{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretKey: w.admin.SecretKey}, "InvalidClientTokenId"},
	} {
		w.expect(row.name, w.signed(row.creds, "sts", whoami), 403, row.code, "")
	}
	w.expect("86 unsigned", w.do(w.request("POST", "", "Action=GetCallerIdentity&Version=2011-06-15")), 403, "MissingAuthenticationToken", "")
	w.expect("90 scope", w.signed(session, "s3", url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}), 403, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'")
	w.expect("a session may not administer", w.signed(session, "iam", url.Values{"Action": {"CreateRole"}, "RoleName": {"evil"}, "AssumeRolePolicyDocument": {trust("")}}), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: iam:CreateRole on resource: arn:aws:iam::111122223333:role/evil because no identity-based policy allows the iam:CreateRole action")
	w.expect("nor list", w.signed(session, "iam", url.Values{"Action": {"ListRoles"}}), 403, "AccessDenied", "")
	w.expect("unsigned IAM", w.do(w.request("POST", "", "Action=ListRoles&Version=2010-05-08")), 403, "MissingAuthenticationToken", "")

	w.advance(time.Hour - time.Second)
	if got := w.signed(session, "sts", whoami); got.status != http.StatusOK {
		t.Errorf("a second before its end: %s", got.body)
	}
	w.advance(time.Second)
	w.expect("85 expired", w.signed(session, "sts", whoami), 403, "ExpiredToken", "The security token included in the request is expired")
}

func TestJSONAndGET(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {roleR}, "RoleSessionName": {"s1"}, "WebIdentityToken": {w.token(w.key, nil)}}
	if got := w.do(w.request(http.MethodGet, "?"+form.Encode(), "")); got.status != http.StatusOK {
		t.Errorf("3 GET: %s", got.body)
	}
	r := w.request(http.MethodPost, "", form.Encode())
	r.Header.Set("Accept", "application/json")
	var parsed struct {
		Response struct {
			Result struct {
				Credentials struct {
					Expiration  float64
					AccessKeyId string
				}
			} `json:"AssumeRoleWithWebIdentityResult"`
		} `json:"AssumeRoleWithWebIdentityResponse"`
	}
	if got := w.do(r); json.Unmarshal([]byte(got.body), &parsed) != nil || parsed.Response.Result.Credentials.Expiration != float64(epoch.Add(time.Hour).Unix()) {
		t.Errorf("2 JSON: %s", got.body)
	}
	// A parameter in the URL and in the body could mean two things.
	w.expect("twice", w.do(w.request(http.MethodPost, "?RoleArn="+url.QueryEscape(roleR), form.Encode())), 400, "MalformedQueryString", "")
	w.expect("huge", w.do(w.request(http.MethodPost, "", strings.Repeat("a", 300<<10))), 413, "RequestEntityTooLarge", "")
	w.expect("no action", w.do(w.request(http.MethodPost, "", "")), 400, "MissingAction", "")
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	chain := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + roleR + `"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	w.role("chained", chain)
	w.role("nobody", trust(""))
	w.role("account", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}]}`)
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	ask := func(c credential.AWS, role string, more url.Values) answer {
		form := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::111122223333:role/" + role}, "RoleSessionName": {"s2"}}
		maps.Copy(form, more)
		return w.signed(c, "sts", form)
	}
	if got := ask(session, "chained", nil); got.status != http.StatusOK || !strings.Contains(got.body, ":assumed-role/chained/s2<") {
		t.Errorf("chained: %s", got.body)
	}
	w.expect("93 chained for long", ask(session, "chained", url.Values{"DurationSeconds": {"3601"}}), 400, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit")
	w.expect("94 trusts nobody", ask(session, "nobody", nil), 403, "AccessDenied", "User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/nobody")
	w.expect("missing role", ask(session, "none", nil), 403, "AccessDenied", "User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole on resource:")
	w.expect("95 duplicate tags", ask(session, "chained", url.Values{"Tags.member.1.Key": {"a"}, "Tags.member.1.Value": {"1"}, "Tags.member.2.Key": {"A"}, "Tags.member.2.Value": {"2"}}), 400, "InvalidParameterValue", "Duplicate tag keys found.")
	w.expect("account trust without identity policy", ask(session, "account", url.Values{"ExternalId": {"x1"}}), 403, "AccessDenied", "")
	w.expect("no external id", ask(w.admin, "account", nil), 403, "AccessDenied", "")
	if got := ask(w.admin, "account", url.Values{"ExternalId": {"x1"}}); got.status != http.StatusOK {
		t.Errorf("administrator with external id: %s", got.body)
	}
	tagged := credentialsIn(t, ask(session, "chained", url.Values{"Tags.member.1.Key": {"team"}, "Tags.member.1.Value": {"red"}, "TransitiveTagKeys.member.1": {"team"}}))
	w.setTrust(chain)
	w.mustAdmin(url.Values{"Action": {"UpdateAssumeRolePolicy"}, "RoleName": {"nobody"}, "PolicyDocument": {strings.ReplaceAll(chain, "role/R", "role/chained")}})
	w.expect("transitive tag again", ask(tagged, "nobody", url.Values{"Tags.member.1.Key": {"TEAM"}, "Tags.member.1.Value": {"blue"}}), 400, "InvalidParameterValue", "One of the specified transitive tag keys can't be set")
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
	w.expect("96", call("CreateOpenIDConnectProvider", "Url", issuerURL), 409, "EntityAlreadyExists", "Provider with url "+issuerURL+" already exists.")
	w.expect("97", call("CreateOpenIDConnectProvider", "Url", "https://h/p?q"), 400, "InvalidInput", "Unknown")
	if got := call("CreateOpenIDConnectProvider", "Url", "https://h.example:443/p"); !strings.Contains(got.body, "oidc-provider/h.example/p<") {
		t.Errorf("98: %s", got.body)
	}
	w.expect("http", call("CreateOpenIDConnectProvider", "Url", "http://h"), 400, "InvalidInput", "Invalid Open ID Connect Provider URL. The URL must begin with https://.")
	w.expect("no scheme", call("CreateOpenIDConnectProvider", "Url", "h"), 400, "ValidationError", "Invalid Open ID Connect Provider URL")
	six := []string{"Url", "https://six.example"}
	for i := range 6 {
		six = append(six, fmt.Sprintf("ThumbprintList.member.%d", i+1), strings.Repeat("a", 40))
	}
	w.expect("99 six", call("CreateOpenIDConnectProvider", six...), 400, "InvalidInput", "Thumbprint list must contain fewer than 5 entries.")
	w.expect("99 short", call("CreateOpenIDConnectProvider", "Url", "https://x.example", "ThumbprintList.member.1", strings.Repeat("a", 39)), 400, "ValidationError", "")
	if got := call("AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", provider, "ClientID", "sts.amazonaws.com"); got.status != 200 {
		t.Errorf("101 add: %s", got.body)
	}
	if got := call("RemoveClientIDFromOpenIDConnectProvider", "OpenIDConnectProviderArn", provider, "ClientID", "nope"); got.status != 200 {
		t.Errorf("101 remove: %s", got.body)
	}
	if got := call("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", provider); !strings.Contains(got.body, "<Url>"+issuerID+"</Url>") || !strings.Contains(got.body, "<CreateDate>2026-09-01T12:00:00.000Z<") || strings.Count(got.body, "sts.amazonaws.com") != 1 {
		t.Errorf("get provider: %s", got.body)
	}
	if got := call("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider); got.status != 200 {
		t.Errorf("100: %s", got.body)
	}
	w.expect("100 twice", call("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", provider), 404, "NoSuchEntity", "OpenId connect Provider "+provider+" cannot be found.")
	w.expect("get deleted", call("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", provider), 404, "NoSuchEntity", "OpenIDConnect Provider not found for arn "+provider)

	w.expect("102", call("CreateRole", "RoleName", "big", "AssumeRolePolicyDocument", trust(`"StringEquals":{"a:sub":"`+strings.Repeat("x", 2048)+`"}`)), 409, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")
	w.expect("103", call("CreateRole", "RoleName", "bad", "AssumeRolePolicyDocument", trust(`"a:sub":"x"`)), 400, "MalformedPolicyDocument", "Syntax error in policy.")
	w.expect("no JSON", call("CreateRole", "RoleName", "bad", "AssumeRolePolicyDocument", "{"), 400, "MalformedPolicyDocument", "This policy contains invalid Json")
	w.expect("twice", call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust("")), 409, "EntityAlreadyExists", "Role with name r already exists.")
	w.expect("bad name", call("CreateRole", "RoleName", "a b", "AssumeRolePolicyDocument", trust("")), 400, "ValidationError", "1 validation error detected: Value 'a b' at 'roleName'")
	w.expect("get none", call("GetRole", "RoleName", "none"), 404, "NoSuchEntity", "The role with name none cannot be found.")
	if got := call("TagRole", "RoleName", "R", "Tags.member.1.Key", "b", "Tags.member.1.Value", "2", "Tags.member.2.Key", "a", "Tags.member.2.Value", "1"); got.status != 200 {
		t.Errorf("tag: %s", got.body)
	}
	if got := call("ListRoleTags", "RoleName", "R", "MaxItems", "1"); !strings.Contains(got.body, "<Key>a</Key>") || !strings.Contains(got.body, "<IsTruncated>true</IsTruncated><Marker>a</Marker>") {
		t.Errorf("list tags: %s", got.body)
	}
	if got := call("UntagRole", "RoleName", "R", "TagKeys.member.1", "a"); got.status != 200 {
		t.Errorf("untag: %s", got.body)
	}
	if got := call("UpdateRole", "RoleName", "R", "MaxSessionDuration", "7200", "Description", "d"); got.status != 200 {
		t.Errorf("update: %s", got.body)
	}
	if got := call("GetRole", "RoleName", "R"); !strings.Contains(got.body, "<MaxSessionDuration>7200</MaxSessionDuration>") || !strings.Contains(got.body, "%22Version%22%3A%222012-10-17%22") || strings.Contains(got.body, "<Key>a</Key>") {
		t.Errorf("get: %s", got.body)
	}
	if got := call("ListRoles", "PathPrefix", "/x/"); strings.Contains(got.body, "<RoleName>") {
		t.Errorf("list by path: %s", got.body)
	}
	if got := call("DeleteRole", "RoleName", "R"); got.status != 200 {
		t.Errorf("delete: %s", got.body)
	}
	w.expect("delete again", call("DeleteRole", "RoleName", "R"), 404, "NoSuchEntity", "")
	w.expect("not emulated", call("GenerateCredentialReport"), 501, "NotImplemented", "allowed, but not emulated: iam:GenerateCredentialReport")
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
	if after := w.signed(again, "sts", url.Values{"Action": {"GetCallerIdentity"}}).body; userID(after) == userID(before) {
		t.Errorf("the new role has the old id %s", userID(after))
	}
}

// TestTrustFollowsTheEntity: a role that was deleted and made again is not the
// one that a trust policy named.
func TestTrustFollowsTheEntity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.role("target", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+roleR+`"},"Action":"sts:AssumeRole"}]}`)
	take := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::111122223333:role/target"}, "RoleSessionName": {"s2"}}
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	if got := w.signed(session, "sts", take); got.status != http.StatusOK {
		t.Errorf("the role itself: %s", got.body)
	}
	w.mustAdmin(url.Values{"Action": {"DeleteRole"}, "RoleName": {"R"}})
	w.role("R", trust(""))
	again := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	w.expect("made again", w.signed(again, "sts", take), 403, "AccessDenied", "User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: sts:AssumeRole")
	shown := w.signed(w.admin, "iam", url.Values{"Action": {"GetRole"}, "RoleName": {"target"}})
	if !strings.Contains(shown.body, "%22AWS%22%3A%22AROA") {
		t.Errorf("the trust policy does not show the id: %s", shown.body)
	}
	for _, nobody := range []string{"arn:aws:iam::111122223333:role/none", "arn:aws:iam::111122223333:user/none", "arn:aws:iam::111122223333:role/x/R"} {
		w.expect(nobody, w.signed(w.admin, "iam", url.Values{"Action": {"CreateRole"}, "RoleName": {"x"}, "AssumeRolePolicyDocument": {`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + nobody + `"},"Action":"sts:AssumeRole"}]}`}}),
			400, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"`+nobody+`"`)
	}
}

// TestPresigned is rows 88 and 89: what an EKS token is made of.
func TestPresigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	presign := func(at time.Time) *http.Request {
		r := w.request(http.MethodGet, "?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", "")
		r.Header.Set("X-K8s-Aws-Id", "cluster")
		empty := sha256.Sum256(nil)
		creds := aws.Credentials{AccessKeyID: w.admin.AccessKeyID, SecretAccessKey: w.admin.SecretKey.Reveal()}
		signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, r, hex.EncodeToString(empty[:]), "sts", "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		again := w.request(http.MethodGet, strings.TrimPrefix(signed, w.url+"/"), "")
		again.Header.Set("X-K8s-Aws-Id", "cluster")
		return again
	}
	if got := w.do(presign(epoch.Add(-14 * time.Minute))); got.status != http.StatusOK || !strings.Contains(got.body, "user/admin") {
		t.Errorf("88: %s", got.body)
	}
	w.expect("87 presigned 16 min ago", w.do(presign(epoch.Add(-16*time.Minute))), 403, "SignatureDoesNotMatch", "Signature expired: ")
	changed := presign(epoch)
	changed.Header.Set("X-K8s-Aws-Id", "other")
	w.expect("89 header changed", w.do(changed), 403, "SignatureDoesNotMatch", "The request signature we calculated")
	gone := presign(epoch)
	gone.Header.Del("X-K8s-Aws-Id")
	w.expect("89 header gone", w.do(gone), 403, "SignatureDoesNotMatch", "")
}

func userID(body string) string {
	_, rest, _ := strings.Cut(body, "<UserId>")
	id, _, _ := strings.Cut(rest, "</UserId>")
	return id
}
