package app_test

import (
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// TestIssuerSecondAudience: what guides do in the console when a service account
// has an audience of its own, `issuer init` does when it is called again.
func TestIssuerSecondAudience(t *testing.T) {
	s := openShop(t)
	s.want("before", s.verify("--audience", "test"), "audience-unregistered")
	s.rolecall("init", "--name", "c1", "--bucket", "example-oidc", "--region", "eu-west-1", "--prefix", "c1",
		"--audience", "sts.amazonaws.com", "--audience", "test")
	s.want("after", s.verify("--audience", "test"))
	got, err := s.iam.GetOpenIDConnectProvider(t.Context(),
		&iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: awssdk.String(shopProvider)})
	if err != nil || !slices.Equal(got.ClientIDList, []string{"sts.amazonaws.com", "test"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestIssuerOfAnotherAccount: an issuer by path in a bucket of the cluster's
// account, as Giant Swarm has it, and a provider for it in the account of the
// role too.
func TestIssuerOfAnotherAccount(t *testing.T) {
	const other, bucket = "444455556666", shopAccount + "-g8s-abcl0-oidc-pod-identity"
	s := openShop(t)
	accounts, err := account.NewSet(account.NewMemory(), []string{shopAccount, other}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := accounts.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	owner, found := accounts.Find(other)
	if !found {
		t.Fatal("no second account")
	}
	there, err := owner.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	s.aws = localaws.New(localaws.Config{Accounts: accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	plain := httptest.NewServer(s.aws)
	t.Cleanup(plain.Close)
	s.useAWS(plain.URL, admin)
	s.dir = filepath.Join(t.TempDir(), "i")
	theirs := iam.New(iam.Options{
		BaseEndpoint: s.iam.Options().BaseEndpoint,
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider(there.AccessKeyID, there.SecretKey.Reveal(), ""),
	})
	if _, err := theirs.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: awssdk.String("providers"),
		AssumeRolePolicyDocument: awssdk.String(`{"Version":"2012-10-17",
			"Statement":{"Effect":"Allow","Principal":{"AWS":"` + shopAccount + `"},"Action":"sts:AssumeRole"}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
		RoleName: awssdk.String("providers"), PolicyName: awssdk.String("providers"),
		PolicyDocument: awssdk.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":[
			"iam:CreateOpenIDConnectProvider","iam:GetOpenIDConnectProvider",
			"iam:AddClientIDToOpenIDConnectProvider","iam:ListOpenIDConnectProviders"],"Resource":"*"}}`),
	}); err != nil {
		t.Fatal(err)
	}
	said := s.rolecall("init", "--name", "abcl0", "--bucket", bucket, "--region", "eu-west-1", "--style", "path",
		"--provider-role", "arn:aws:iam::"+other+":role/providers", "--read-back", "0")
	for _, id := range []string{shopAccount, other} {
		if want := "provider: arn:aws:iam::" + id + ":oidc-provider/s3.eu-west-1.amazonaws.com/" + bucket +
			"\n"; !strings.Contains(said, want) {
			t.Errorf("want %q: %s", want, said)
		}
	}
	// Its host is S3's own for all buckets, which the certificate here does not name.
	s.serve(time.Now(), "s3.eu-west-1.amazonaws.com")
	endpoint := "s3.eu-west-1.amazonaws.com=" + s.web.Listener.Addr().String()
	s.want("both accounts", s.verify("--issuer-endpoint", endpoint, "--role", "arn:aws:iam::"+other+":role/api"))
	s.want("a third account", s.verify("--issuer-endpoint", endpoint, "--role", "arn:aws:iam::777788889999:role/api"),
		"role-account")
}
