package awsapi

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// urlOf is what a token holds.
func urlOf(t *testing.T, token credential.Secret) *url.URL {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), callerid.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := url.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestKnownTokens are the known answers of spec authenticator §2.3.
func TestKnownTokens(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, row := range []struct {
		host, signature string
		own             aws.Credentials
	}{
		{
			"sts.us-east-1.amazonaws.com",
			"ec9db808fef8ac165174b266fdc1cc3452a1facd537c394b16afb972f8426780",
			aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret},
		},
		{
			"sts.amazonaws.com",
			"b77932820381777307b077a8fff17d2a7a6e9b7b38feee9df892d786c9db588d",
			aws.Credentials{
				AccessKeyID:     "ASIAIOSFODNN7EXAMPLE",
				SecretAccessKey: secret,
				SessionToken:    "FQoGZXIvYXdzEXAMPLE/+=",
			},
		},
	} {
		made, err := presignCallerIdentity(
			t.Context(), row.own, row.host, "us-east-1", "demo", at.In(time.FixedZone("", 3600)),
		)
		if err != nil {
			t.Fatal(err)
		}
		signed := urlOf(t, made)
		query := signed.Query()
		for name, want := range map[string]string{
			"X-Amz-Signature":      row.signature,
			"X-Amz-Expires":        "60",
			"X-Amz-Date":           "20260101T000000Z",
			"X-Amz-SignedHeaders":  "host;x-k8s-aws-id",
			"Action":               "GetCallerIdentity",
			"Version":              "2011-06-15",
			"X-Amz-Security-Token": row.own.SessionToken,
		} {
			if got := query.Get(name); got != want {
				t.Errorf("%s: %s %q, want %q", row.host, name, got, want)
			}
		}
		p, err := callerid.Parse(made, callerid.Policy{Partition: "aws"}, at)
		if err != nil || p.AccessKeyID != row.own.AccessKeyID || p.Host != row.host || signed.Scheme != "https" ||
			signed.Path != "/" {
			t.Errorf("%v %v", p, err)
		}
	}
}

type provider struct {
	own   aws.Credentials
	err   error
	asked int
}

func (p *provider) Retrieve(context.Context) (aws.Credentials, error) { p.asked++; return p.own, p.err }

// TestClusterTokensAreKept until a minute before their advertised end, and as long
// as the credentials are the same.
func TestClusterTokensAreKept(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	own := &provider{own: aws.Credentials{AccessKeyID: "ASIA1", SecretAccessKey: "s", SessionToken: "t"}}
	tokens, err := newClusterTokens(
		t.Context(), "prod", aws.Config{Region: "eu-west-1"}, own, func() time.Time { return now },
	)
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		t.Helper()
		made, err := tokens.token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return made.Reveal()
	}
	first := get()
	now = now.Add(13*time.Minute - time.Second)
	if get() != first {
		t.Error("not used again")
	}
	own.err = errors.New("away")
	if get() != first {
		t.Error("not used while there are no credentials")
	}
	now = now.Add(time.Second)
	if _, err := tokens.token(t.Context()); err == nil {
		t.Error("used to its end without credentials")
	}
	own.err = nil
	second := get()
	if second == first {
		t.Error("used to its end")
	}
	own.own.AccessKeyID = "ASIA2"
	third := get()
	if third == second {
		t.Error("of credentials that are no more")
	}
	now = now.Add(-time.Hour)
	if get() == third {
		t.Error("of the future, after the clock was set")
	}
}

func TestClusterTokenHosts(t *testing.T) {
	for _, row := range []struct{ region, fips, dual, want string }{
		{"eu-west-1", "", "", "sts.eu-west-1.amazonaws.com"},
		{"us-east-1", "", "", "sts.us-east-1.amazonaws.com"},
		{"cn-north-1", "", "", "sts.cn-north-1.amazonaws.com.cn"},
		{"us-gov-west-1", "true", "", "sts.us-gov-west-1.amazonaws.com"},
		{"us-iso-east-1", "", "", "sts.us-iso-east-1.c2s.ic.gov"},
		{"us-west-2", "true", "", "sts-fips.us-west-2.amazonaws.com"},
		{"us-west-2", "true", "true", "sts-fips.us-west-2.api.aws"},
	} {
		t.Run(row.want, func(t *testing.T) {
			// As the SDK reads them; an endpoint does not count.
			for name, value := range map[string]string{
				"AWS_USE_FIPS_ENDPOINT":      row.fips,
				"AWS_USE_DUALSTACK_ENDPOINT": row.dual,
				"AWS_ENDPOINT_URL":           "http://127.0.0.1:4566",
				"AWS_ENDPOINT_URL_EKS_AUTH":  "https://broker.example.com",
				"AWS_EC2_METADATA_DISABLED":  "true",
			} {
				t.Setenv(name, value)
			}
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIAX")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			c, err := NewEKSAuth(t.Context(), EKSAuthConfig{Region: row.region, TokenForCluster: "prod", Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			made, err := c.bearer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := urlOf(t, made); got.Host != row.want ||
				!strings.Contains(got.Query().Get("X-Amz-Credential"), "/"+row.region+"/sts/") ||
				c.Region() != "" {
				t.Errorf("%s %s", got.Host, got.Query().Get("X-Amz-Credential"))
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answered(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}
}

const aliceAnswer = `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"111122223333",` +
	`"Arn":"arn:aws:iam::111122223333:user/alice","UserId":"AIDAX"}}}`

func presigned(t *testing.T, now time.Time, key string) *callerid.Presigned {
	t.Helper()
	made, err := presignCallerIdentity(t.Context(), aws.Credentials{
		AccessKeyID:     key,
		SecretAccessKey: "s",
	}, "sts.eu-west-1.amazonaws.com", "eu-west-1", "prod", now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := callerid.Parse(made, callerid.Policy{Partition: "aws"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAskedAgain once, when STS could not say and there is time.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	reset := errors.New("connection reset by peer")
	for _, row := range []struct {
		name   string
		budget time.Duration
		first  int // status
		body   string
		err    error
		asked  int
		kind   fault.Kind
	}{
		{"reset", 5 * time.Second, 0, "", reset, 2, fault.Internal},
		{"500", 5 * time.Second, 500, "", nil, 2, fault.Internal},
		{"throttled", 3 * time.Second, 400, `{"Error":{"Code":"Throttling"}}`, nil, 2, fault.Internal},
		{"no deadline", 0, 503, "", nil, 2, fault.Internal},
		{"no time", 3*time.Second - time.Millisecond, 500, "", nil, 1, fault.Unavailable},
		{"no time, throttled", time.Second, 429, "", nil, 1, fault.Throttled},
		{"refused", 5 * time.Second, 403, "", nil, 1, fault.Denied},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				c := &Callers{
					cluster: "prod",
					scheme:  "https",
					client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
						asked++
						switch {
						case asked == 1 && row.err != nil:
							return nil, row.err
						case asked == 1:
							return answered(row.first, row.body), nil
						}
						return answered(http.StatusOK, aliceAnswer), nil
					})},
				}
				ctx := t.Context()
				if row.budget > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.budget)
					defer cancel()
				}
				_, err := c.Identify(ctx, presigned(t, time.Now(), "AKIA1"))
				if asked != row.asked || (err == nil) != (row.kind == fault.Internal) || fault.KindOf(err) != row.kind {
					t.Errorf("asked %d times: %v", asked, err)
				}
			})
		})
	}
}

// TestNoAnswer: a question ends with the time of who asked, or after ten seconds.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for _, budget := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := &Callers{
				cluster: "prod",
				scheme:  "https",
				client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})},
			}
			ctx, cancel := context.WithTimeout(t.Context(), budget)
			defer cancel()
			began := time.Now()
			_, err := c.Identify(ctx, presigned(t, began, "AKIA1"))
			if took := time.Since(began); fault.KindOf(err) != fault.Unavailable || took != min(budget, callersTotal) {
				t.Errorf("after %s: %v", took, err)
			}
			synctest.Wait()
		})
	}
}
