package app_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha1" //nolint:gosec // IAM's thumbprints are SHA-1
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	shopHost    = "example-oidc.s3.eu-west-1.amazonaws.com"
	shopURL     = "https://" + shopHost + "/c1"
	shopAccount = "111122223333"
	discoverKey = "c1/.well-known/openid-configuration"
	keysKey     = "c1/openid/v1/jwks"
)

// shop is an issuer in a bucket of a local AWS that is reached, as AWS's is, by
// HTTPS under the bucket's own host name.
type shop struct {
	t    *testing.T
	dir  string
	ca   string
	s3   *s3.Client
	iam  *iam.Client
	web  *httptest.Server
	aws  http.Handler
	good map[string][]byte // what was published, by key
	said string            // by init
	// before stands in front of S3; nil passes.
	before http.HandlerFunc
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, dir: filepath.Join(t.TempDir(), "i"), good: map[string][]byte{}}
	accounts, err := account.NewSet(account.NewMemory(), []string{shopAccount}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := accounts.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	s.aws = localaws.New(localaws.Config{Accounts: accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	plain := httptest.NewServer(s.aws)
	t.Cleanup(plain.Close)
	s.useAWS(plain.URL, admin)
	s.serve(time.Now(), shopHost)
	s.said = s.rolecall("init", "--name", "c1", "--bucket", "example-oidc", "--region", "eu-west-1", "--prefix", "c1")
	for _, key := range []string{discoverKey, keysKey} {
		s.good[key] = []byte(public(t, plain.URL+"/example-oidc/"+key))
	}
	return s
}

// useAWS points the process's SDK, and the test's own clients, to an endpoint.
func (s *shop) useAWS(url string, key credential.AWS) {
	s.t.Helper()
	for name, text := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_REGION": "eu-west-1", "AWS_SESSION_TOKEN": "",
		"AWS_ACCESS_KEY_ID": key.AccessKeyID, "AWS_SECRET_ACCESS_KEY": key.SecretKey.Reveal(),
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		s.t.Setenv(name, text)
	}
	static := credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretKey.Reveal(), "")
	s.s3 = s3.New(s3.Options{
		BaseEndpoint: awssdk.String(url),
		Region:       "eu-west-1",
		UsePathStyle: true,
		Credentials:  static,
	})
	s.iam = iam.New(iam.Options{BaseEndpoint: awssdk.String(url), Region: "eu-west-1", Credentials: static})
}

// serve opens the HTTPS side with a certificate of its own.
func (s *shop) serve(from time.Time, names ...string) {
	s.t.Helper()
	const lifetime = time.Hour
	authority, err := pki.NewAuthority("test", from, lifetime)
	if err != nil {
		s.t.Fatal(err)
	}
	config, err := authority.ServingConfig(from, lifetime, names...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.web = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.before != nil {
			s.before(w, r)
			return
		}
		s.aws.ServeHTTP(w, r)
	}))
	s.web.TLS, s.web.Config.ErrorLog = config, slog.NewLogLogger(slog.DiscardHandler, 0)
	s.web.StartTLS()
	s.t.Cleanup(s.web.Close)
	s.ca = filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, authority.PEM(), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) rolecall(args ...string) string {
	s.t.Helper()
	var out, problems bytes.Buffer
	system := app.NewSystem()
	system.Stdout, system.Stderr = &out, &problems
	args = append([]string{"issuer"}, args...)
	args = append(args, "--dir", s.dir, "--issuer-endpoint", shopHost+"="+s.web.Listener.Addr().String(),
		"--issuer-ca", s.ca)
	if code := app.Run(s.t.Context(), system, args); code != 0 {
		s.t.Fatalf("%q: exit %d: %s%s", args, code, &out, &problems)
	}
	return out.String() + problems.String()
}

type verdict struct {
	Rule, Severity, Message, Fix string
}

// verify returns what is found but for notes.
func (s *shop) verify(args ...string) []verdict {
	s.t.Helper()
	var out, problems bytes.Buffer
	system := app.NewSystem()
	system.Stdout, system.Stderr = &out, &problems
	endpoint := shopHost + "=" + s.web.Listener.Addr().String()
	args = append([]string{"issuer", "verify", "-o", "json", "--dir", s.dir}, args...)
	args = append(args, "--issuer-ca", s.ca, "--issuer-endpoint", endpoint)
	code := app.Run(s.t.Context(), system, args)
	var report struct{ Findings []verdict }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		s.t.Fatalf("%v: %s%s", err, &out, &problems)
	}
	failed := slices.ContainsFunc(report.Findings, func(v verdict) bool { return v.Severity == "error" })
	if want := map[bool]int{true: 1, false: 0}[failed]; code != want {
		s.t.Errorf("exit %d, want %d: %s", code, want, &out)
	}
	return slices.DeleteFunc(report.Findings, func(v verdict) bool { return v.Severity == "info" })
}

// want compares the rules, in order, and wants a command for each error.
func (s *shop) want(name string, found []verdict, rules ...string) {
	s.t.Helper()
	var got []string
	for _, one := range found {
		got = append(got, one.Rule)
		if one.Severity == "error" &&
			!slices.ContainsFunc([]string{"rolecall ", "aws ", "curl ", "openssl ", "kubectl ", "write it as arn:"},
				func(program string) bool { return strings.Contains(one.Fix, program) }) {
			s.t.Errorf("%s: no command fixes %+v", name, one)
		}
	}
	if !slices.Equal(got, rules) {
		s.t.Errorf("%s: found %+v, want %q", name, found, rules)
	}
}

// put replaces an object, as somebody without rolecall would.
func (s *shop) put(key string, text []byte, change ...func(*s3.PutObjectInput)) {
	s.t.Helper()
	input := &s3.PutObjectInput{
		Bucket: awssdk.String("example-oidc"), Key: awssdk.String(key), Body: bytes.NewReader(text),
		ContentType: awssdk.String("application/json"), CacheControl: awssdk.String("public, max-age=300"),
	}
	for _, one := range change {
		one(input)
	}
	if _, err := s.s3.PutObject(s.t.Context(), input); err != nil {
		s.t.Fatal(err)
	}
}

// restore puts back what was published.
func (s *shop) restore() {
	s.t.Helper()
	s.before = nil
	for key, text := range s.good {
		s.put(key, text)
	}
}

// entries replaces the key set's entries by what change makes of the one there.
func (s *shop) entries(change func(map[string]any) []map[string]any) {
	s.t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(s.good[keysKey], &set); err != nil {
		s.t.Fatal(err)
	}
	set.Keys = change(set.Keys[0])
	text, err := json.Marshal(set)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(keysKey, text)
}

// TestVerifyBucket breaks a real bucket one way at a time (spec issuer-and-sts
// §16, as far as it shows from outside), and wants that found and nothing else.
func TestVerifyBucket(t *testing.T) {
	s := openShop(t)
	discovery := func(change func(map[string]any)) func() {
		return func() {
			var document map[string]any
			if err := json.Unmarshal(s.good[discoverKey], &document); err != nil {
				t.Fatal(err)
			}
			change(document)
			text, _ := json.Marshal(document)
			s.put(discoverKey, text)
		}
	}
	one := func(change func(map[string]any)) func() {
		return func() {
			s.entries(func(e map[string]any) []map[string]any { change(e); return []map[string]any{e} })
		}
	}
	// beside puts a broken entry beside the sound one.
	beside := func(broken map[string]any) func() {
		return func() {
			s.entries(func(e map[string]any) []map[string]any { return []map[string]any{e, broken} })
		}
	}
	set := func(name string, value any) func(map[string]any) {
		return func(document map[string]any) { document[name] = value }
	}
	for _, row := range []struct {
		name  string
		spoil func()
		rules []string
	}{
		{"nothing", func() {}, nil},
		{"wrong issuer", discovery(set("issuer", "https://else.example")), []string{"issuer-differs"}},
		{"slash at the end of the issuer", discovery(set("issuer", shopURL+"/")), []string{"issuer-differs"}},
		{"other case", discovery(set("issuer", strings.ToUpper(shopURL))), []string{"issuer-differs"}},
		{"keys by http", discovery(set("jwks_uri", "http://"+shopHost+"/c1/openid/v1/jwks")), []string{"jwks-uri"}},
		{
			"keys in the cluster", discovery(set("jwks_uri", "https://127.0.0.1:1/openid/v1/jwks")),
			[]string{"jwks-unreachable"},
		},
		{"keys elsewhere in the bucket", discovery(set("jwks_uri", shopURL+"/keys.json")), []string{"jwks-not-public"}},
		{
			"algorithms not named",
			discovery(func(d map[string]any) { delete(d, "id_token_signing_alg_values_supported") }),
			[]string{"discovery-member"},
		},
		{"discovery is not JSON", func() { s.put(discoverKey, []byte("<html>")) }, []string{"discovery-json"}},
		{"keys are not JSON", func() { s.put(keysKey, []byte("-----BEGIN PUBLIC KEY-----")) }, []string{"jwks-json"}},
		{"content type", func() {
			s.put(keysKey, s.good[keysKey],
				func(i *s3.PutObjectInput) { i.ContentType = awssdk.String("binary/octet-stream") })
		}, []string{"jwks-content-type"}},
		{"kept for a day", func() {
			s.put(keysKey, s.good[keysKey],
				func(i *s3.PutObjectInput) { i.CacheControl = awssdk.String("max-age=86400") })
		}, []string{"jwks-cache"}},
		{"kept forever", func() {
			s.put(keysKey, s.good[keysKey], func(i *s3.PutObjectInput) { i.CacheControl = nil })
		}, []string{"jwks-cache"}},
		{"empty set", func() { s.put(keysKey, []byte(`{"keys":[]}`)) }, []string{"no-keys"}},
		{
			"kid of another form", one(set("kid", "JHJehTTTZlsspKHT-GaJxK7Kd1NQgZJu3fyK6K_QDYU")),
			[]string{"kid-differs", "no-keys"},
		},
		{"no kid", one(func(e map[string]any) { delete(e, "kid") }), []string{"kid-missing", "no-keys"}},
		{"private members", one(set("d", "AQAB")), []string{"private-key", "no-keys"}},
		{"use enc", one(set("use", "enc")), []string{"key-use", "no-keys"}},
		{"key_ops", one(set("key_ops", []string{"verify"})), []string{"key-ops", "no-keys"}},
		{"x5c only", one(func(e map[string]any) {
			delete(e, "n")
			delete(e, "e")
			e["x5c"] = []string{"MIIB"}
		}), []string{"key-x5c", "no-keys"}},
		{"padded", one(func(e map[string]any) { e["n"] = e["n"].(string) + "==" }), []string{"key-members", "no-keys"}},
		{"Ed25519 beside", beside(map[string]any{
			"kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "sig",
			"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		}), []string{"key-kind"}},
		{"more than a hundred", func() {
			var keys []token.PublicKey
			for range 101 {
				key, err := token.GenerateEC(elliptic.P256())
				if err != nil {
					t.Fatal(err)
				}
				one, err := token.NewPublicKey(key.Public())
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, one)
			}
			text, err := token.MarshalKeys(keys, false)
			if err != nil {
				t.Fatal(err)
			}
			s.put(keysKey, text)
		}, []string{"too-many-keys", "algorithm-undeclared", "keys-not-judged"}},
		{
			"too large", func() { s.put(keysKey, append(bytes.Repeat([]byte(" "), 1<<20), s.good[keysKey]...)) },
			[]string{"jwks-unreachable"},
		},
		{"redirect", func() {
			s.before = func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "openid-configuration") && r.URL.RawQuery == "" {
					http.Redirect(w, r, r.URL.Path+"?moved", http.StatusTemporaryRedirect)
					return
				}
				r.URL.RawQuery = ""
				s.aws.ServeHTTP(w, r)
			}
		}, []string{"discovery-redirect"}},
		{"redirect to http", func() {
			s.before = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
			}
		}, []string{"discovery-unreachable"}},
		{"slow", func() {
			// for longer than anybody waits
			s.before = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, []string{"discovery-unreachable"}},
		{"closed", func() {
			if _, err := s.s3.DeleteBucketPolicy(t.Context(),
				&s3.DeleteBucketPolicyInput{Bucket: awssdk.String("example-oidc")}); err != nil {
				t.Fatal(err)
			}
		}, []string{"discovery-not-public"}},
	} {
		row.spoil()
		found := s.verify()
		s.want(row.name, found, row.rules...)
		s.restore()
	}
}

// TestVerifyCertificate: a thumbprint helps where only the authority is unknown.
func TestVerifyCertificate(t *testing.T) {
	s := openShop(t)
	now := time.Now()
	const sound = shopHost
	for _, row := range []struct {
		name     string
		from     time.Time
		host     string
		stranger bool // the reader trusts another authority
		thumb    bool // the provider has the thumbprint
		rules    []string
	}{
		{
			"expired", now.Add(-3 * time.Hour), sound, false, false,
			[]string{"discovery-certificate", "jwks-certificate"},
		},
		{
			"expired, with thumbprint", now.Add(-3 * time.Hour), sound, false, true,
			[]string{"discovery-certificate", "jwks-certificate"},
		},
		{"of another host", now, "else.example", false, false, []string{"discovery-certificate", "jwks-certificate"}},
		{
			"of another host, with thumbprint", now, "else.example", false, true,
			[]string{"discovery-certificate", "jwks-certificate"},
		},
		{"not trusted", now, sound, true, false, []string{"discovery-certificate", "jwks-certificate", "thumbprint"}},
		{"not trusted, with thumbprint", now, sound, true, true, []string{"discovery-certificate", "jwks-certificate"}},
	} {
		s.serve(row.from, row.host)
		thumbprint := strings.Repeat("ab", 20)
		if row.thumb {
			chain := s.web.TLS.Certificates[0].Certificate
			sum := sha1.Sum(chain[len(chain)-1]) //nolint:gosec // IAM's thumbprints are SHA-1
			thumbprint = hex.EncodeToString(sum[:])
		}
		change := &iam.UpdateOpenIDConnectProviderThumbprintInput{
			OpenIDConnectProviderArn: awssdk.String(shopProvider),
			ThumbprintList:           []string{thumbprint},
		}
		if _, err := s.iam.UpdateOpenIDConnectProviderThumbprint(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if row.stranger {
			other, err := pki.NewAuthority("other", now, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.ca, other.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found := s.verify()
		s.want(row.name, found, row.rules...)
		failed := slices.ContainsFunc(found, func(v verdict) bool { return v.Severity == "error" })
		if failed == (row.stranger && row.thumb) {
			t.Errorf("%s: tokens are refused: %t", row.name, failed)
		}
	}
}

const shopProvider = "arn:aws:iam::" + shopAccount + ":oidc-provider/" + shopHost + "/c1"

// TestVerifyProvider breaks what IAM knows of the issuer.
func TestVerifyProvider(t *testing.T) {
	s := openShop(t)
	ctx := t.Context()
	arn := awssdk.String(shopProvider)
	remove := func(audience string) {
		gone := &iam.RemoveClientIDFromOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: arn,
			ClientID:                 awssdk.String(audience),
		}
		if _, err := s.iam.RemoveClientIDFromOpenIDConnectProvider(ctx, gone); err != nil {
			t.Fatal(err)
		}
	}
	create := func(url string, audiences ...string) {
		if _, err := s.iam.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
			Url:            awssdk.String(url),
			ClientIDList:   audiences,
			ThumbprintList: []string{strings.Repeat("ab", 20)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		spoil func()
		args  []string
		says  string
		rules []string
	}{
		{"nothing", func() {}, nil, "", nil},
		{"role of this account", func() {}, []string{"--role", "arn:aws:iam::" + shopAccount + ":role/a"}, "", nil},
		{
			"role of another account", func() {},
			[]string{"--role", "arn:aws:iam::444455556666:role/a"},
			"in account 444455556666",
			[]string{"role-account"},
		},
		{
			"role of another partition", func() {},
			[]string{"--role", "arn:aws-cn:iam::" + shopAccount + ":role/a"},
			"arn:aws:iam::" + shopAccount + ":role/a",
			[]string{"role-partition"},
		},
		{
			"kOps' audience", func() {},
			[]string{"--audience", "amazonaws.com"},
			"--client-id amazonaws.com",
			[]string{"audience-unregistered"},
		},
		{"thumbprints that nobody needs", func() {
			change := &iam.UpdateOpenIDConnectProviderThumbprintInput{
				OpenIDConnectProviderArn: arn,
				ThumbprintList:           []string{strings.Repeat("cd", 20)},
			}
			if _, err := s.iam.UpdateOpenIDConnectProviderThumbprint(ctx, change); err != nil {
				t.Fatal(err)
			}
		}, nil, "", nil},
		{"another audience", func() {
			remove("sts.amazonaws.com")
			if _, err := s.iam.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{
				OpenIDConnectProviderArn: arn,
				ClientID:                 awssdk.String("sts.amazon.com"),
			}); err != nil {
				t.Fatal(err)
			}
		}, nil, "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn " + shopProvider +
			" --client-id sts.amazonaws.com", []string{"audience-unregistered"}},
		{
			"no audience", func() { remove("sts.amazon.com") }, nil, "--open-id-connect-provider-arn " + shopProvider,
			[]string{"provider-without-audience"},
		},
		{
			"none", func() {
				if _, err := s.iam.DeleteOpenIDConnectProvider(ctx,
					&iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}); err != nil {
					t.Fatal(err)
				}
			}, nil, "aws iam create-open-id-connect-provider --url " + shopURL + " --client-id-list sts.amazonaws.com",
			[]string{"provider-missing"},
		},
		{
			"slash at the end", func() { create(shopURL+"/", "sts.amazonaws.com") }, nil,
			"it has one for " + shopURL + "/",
			[]string{"provider-missing"},
		},
		{
			"other case of the path", func() { create(strings.Replace(shopURL, "/c1", "/C1", 1), "sts.amazonaws.com") },
			nil, "it has one for https://" + shopHost + "/",
			[]string{"provider-missing"},
		},
		{
			"credentials of nobody", func() { t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong") }, nil, "IAM cannot be asked",
			[]string{"provider-unreadable"},
		},
	} {
		row.spoil()
		found := s.verify(row.args...)
		s.want(row.name, found, row.rules...)
		if text, _ := json.Marshal(found); !strings.Contains(string(text), row.says) {
			t.Errorf("%s: %s does not say %q", row.name, text, row.says)
		}
	}
}
