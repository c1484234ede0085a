package accounts_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

const (
	issuerURL = "https://issuer.example/c1"
	owner     = "111122223333"
	provider  = "arn:aws:iam::" + owner + ":oidc-provider/issuer.example/c1"
)

// openAWS points the process to a local AWS, so these tests are not parallel.
func openAWS(t *testing.T) (*iam.Client, *s3.Client) {
	t.Helper()
	set, err := account.NewSet(account.NewMemory(), []string{owner}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := set.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: set,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	for name, text := range map[string]string{
		"AWS_ENDPOINT_URL":            server.URL,
		"AWS_REGION":                  "eu-west-1",
		"AWS_ACCESS_KEY_ID":           admin.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       admin.SecretKey.Reveal(),
		"AWS_SESSION_TOKEN":           "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, text)
	}
	static := credentials.NewStaticCredentialsProvider(admin.AccessKeyID, admin.SecretKey.Reveal(), "")
	endpoint := awssdk.String(server.URL)
	return iam.New(iam.Options{BaseEndpoint: endpoint, Region: "eu-west-1", Credentials: static}),
		s3.New(s3.Options{BaseEndpoint: endpoint, Region: "eu-west-1", Credentials: static, UsePathStyle: true})
}

// TestProviders: a provider is made, completed and found; one that is only near is named.
func TestProviders(t *testing.T) {
	_, _ = openAWS(t)
	spec := &v1alpha1.IssuerSpec{URL: issuerURL}
	near := v1alpha1.IAMProvider{ClientIDs: []string{"sts.amazonaws.com"}}
	if _, err := accounts.EnsureProvider(t.Context(), "https://issuer.example/C1", near); err != nil {
		t.Fatal(err)
	}
	want := []inspect.Provider{{Account: owner, ARN: provider, Near: []string{"issuer.example/C1"}}}
	if diff := cmp.Diff(want, accounts.Providers(t.Context(), spec)); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	for _, audiences := range [][]string{{"sts.amazonaws.com"}, {"sts.amazonaws.com", "test"}} {
		made, err := accounts.EnsureProvider(t.Context(), issuerURL, v1alpha1.IAMProvider{ClientIDs: audiences})
		if err != nil || made != provider {
			t.Fatalf("made %s, %v", made, err)
		}
		found := accounts.Providers(t.Context(), spec)
		slices.Sort(found[0].ClientIDs)
		if diff := cmp.Diff(audiences, found[0].ClientIDs); diff != "" || found[0].URL != "issuer.example/c1" {
			t.Errorf("audiences of %+v (-want +got):\n%s", found[0], diff)
		}
	}
	spec.Providers = []v1alpha1.IAMProvider{{RoleARN: "arn:aws:iam::444455556666:role/none"}}
	if found := accounts.Providers(t.Context(), spec); len(found) != 1 || found[0].Err == "" ||
		found[0].Account != "of these credentials" {
		t.Errorf("an account that cannot be asked: %+v", found)
	}
}

// TestTrusting: the roles of the account that trust the issuer, and no others.
func TestTrusting(t *testing.T) {
	roles, _ := openAWS(t)
	for name, trusted := range map[string]string{"reader": provider, "other": provider + "2"} {
		if _, err := roles.CreateRole(t.Context(), &iam.CreateRoleInput{
			RoleName: awssdk.String(name),
			AssumeRolePolicyDocument: awssdk.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",
				"Principal":{"Federated":"` + trusted + `"},"Action":"sts:AssumeRoleWithWebIdentity",
				"Condition":{"StringEquals":{"issuer.example/c1:aud":"sts.amazonaws.com"}}}}`),
		}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := accounts.Trusting(t.Context(), issuerURL, v1alpha1.IAMProvider{})
	if diff := cmp.Diff([]string{"reader"}, got); diff != "" || err != nil {
		t.Errorf("roles (-want +got):\n%s%v", diff, err)
	}
}

// TestExchangeRefused: what STS refuses is an error, and shows no token.
func TestExchangeRefused(t *testing.T) {
	_, _ = openAWS(t)
	const shown = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0"
	err := accounts.Exchange(t.Context(), "arn:aws:iam::"+owner+":role/reader", credential.NewSecret(shown))
	if err == nil || strings.Contains(err.Error(), shown) {
		t.Errorf("a token that is not one: %v", err)
	}
}
