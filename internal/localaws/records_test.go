package localaws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// oldRecords is a store with what an earlier version wrote, when the records of
// all services stood in package account. In the file, what is not a JSON
// object in the store is a string.
func oldRecords(t *testing.T) account.Store {
	t.Helper()
	text, err := os.ReadFile("testdata/records.json")
	if err != nil {
		t.Fatal(err)
	}
	var records map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &records); err != nil {
		t.Fatal(err)
	}
	store, err := account.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Update(func(tx account.Writer) error {
		for kind, values := range records {
			for key, value := range values {
				var stored bytes.Buffer
				plain := ""
				if json.Unmarshal(value, &plain) == nil {
					stored.WriteString(plain)
				} else if err := json.Compact(&stored, value); err != nil {
					return err
				}
				if err := tx.Put(kind, key, stored.Bytes()); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return store
}

// TestRecordsOfEarlierVersions: what an earlier version wrote to its data folder
// is still there, each kind of record of each service.
func TestRecordsOfEarlierVersions(t *testing.T) {
	t.Parallel()
	accounts, err := account.NewSet(oldRecords(t), nil, epoch)
	if err != nil {
		t.Fatal(err)
	}
	w := playing(t, accounts, time.Now)
	if w.admin.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
		t.Fatalf("the administrator's key is %s", w.admin.AccessKeyID)
	}
	t.Run("IAM", w.oldIAM)
	t.Run("EKS by token", playing(t, accounts, func() time.Time { return written }).oldToken)
	t.Run("EKS", w.oldEKS)
	t.Run("S3", w.oldS3)
	t.Run("SSM", w.oldSSM)
}

// playing is a local AWS of the accounts that are there.
func playing(t *testing.T, accounts *account.Set, now func() time.Time) *world {
	t.Helper()
	server := localaws.New(localaws.Config{Accounts: accounts, Now: now, Log: slog.New(slog.DiscardHandler)})
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	admin, err := server.Admin()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, url: listening.URL, admin: admin}
}

// written is when the records were: a client's token counts for a day only.
var written = time.Date(2026, 11, 30, 20, 3, 0, 0, time.UTC)

// signedThen signs as if it were then.
type signedThen struct{ *v4.Signer }

// SignHTTP signs for the time when the records were written.
func (s signedThen) SignHTTP(
	ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time,
	options ...func(*v4.SignerOptions),
) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, written, options...)
}

const oldAssociation = "a-yklfxgm4dfvf5b4ib"

// oldToken: the same token again finds the association that it made.
func (w *world) oldToken(t *testing.T) {
	client := eks.New(eks.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "eu-west-1",
		Credentials:  w.provider(w.admin),
		HTTPSignerV4: signedThen{v4.NewSigner()},
		Retryer:      aws.NopRetryer{},
	})
	again, err := client.CreatePodIdentityAssociation(t.Context(), &eks.CreatePodIdentityAssociationInput{
		ClusterName:        aws.String("prod"),
		Namespace:          aws.String("shop"),
		ServiceAccount:     aws.String("cart"),
		RoleArn:            aws.String(roleCart),
		ClientRequestToken: aws.String("once"),
	})
	if err != nil || *again.Association.AssociationId != oldAssociation {
		t.Errorf("association %+v, %v", again, err)
	}
}

func (w *world) oldIAM(t *testing.T) {
	ctx, client := t.Context(), w.iamClient(w.admin)
	details, err := client.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{})
	if err != nil {
		t.Fatal(err)
	}
	alice := details.UserDetailList[len(details.UserDetailList)-1]
	if *alice.Arn != "arn:aws:iam::111122223333:user/people/Alice" || alice.GroupList[0] != "Readers" ||
		*alice.UserPolicyList[0].PolicyName != "own" || *alice.Tags[0].Value != "red" {
		t.Errorf("user %+v", alice)
	}
	group := details.GroupDetailList[0]
	if *group.GroupName != "Readers" || *group.AttachedManagedPolicies[0].PolicyName != "Read" {
		t.Errorf("group %+v", group)
	}
	policy, err := client.GetPolicy(ctx, &iam.GetPolicyInput{
		PolicyArn: aws.String("arn:aws:iam::111122223333:policy/shop/Read"),
	})
	if err != nil || *policy.Policy.DefaultVersionId != "v2" {
		t.Errorf("policy %+v, %v", policy, err)
	}
	profile, err := client.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{
		InstanceProfileName: aws.String("nodes"),
	})
	if err != nil || *profile.InstanceProfile.InstanceProfileId != "AIPA7AMTWIGWWEOYL4GLD" ||
		*profile.InstanceProfile.Roles[0].RoleName != "R" || *profile.InstanceProfile.Tags[0].Value != "red" {
		t.Errorf("instance profile %+v, %v", profile, err)
	}
	found, err := client.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: aws.String(provider),
	})
	if err != nil || found.ClientIDList[0] != "sts.amazonaws.com" {
		t.Errorf("provider %+v, %v", found, err)
	}
	aliases, err := client.ListAccountAliases(ctx, &iam.ListAccountAliasesInput{})
	if err != nil || len(aliases.AccountAliases) != 1 || aliases.AccountAliases[0] != "shop-prod" {
		t.Errorf("aliases %+v, %v", aliases, err)
	}
	const role = "aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"
	deletion, err := client.GetServiceLinkedRoleDeletionStatus(ctx, &iam.GetServiceLinkedRoleDeletionStatusInput{
		DeletionTaskId: aws.String("task/" + role + "/ad523782-c5a5-4cde-974e-fa05ae5606e6"),
	})
	if err != nil || deletion.Status != "SUCCEEDED" {
		t.Errorf("deletion %+v, %v", deletion, err)
	}
	summary, err := client.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int32{
		"Users":               2,
		"Groups":              1,
		"Roles":               3,
		"Policies":            1,
		"InstanceProfiles":    1,
		"Providers":           1,
		"PolicyVersionsInUse": 2,
	} {
		if got := summary.SummaryMap[name]; got != want {
			t.Errorf("%d %s, want %d", got, name, want)
		}
	}
}

func (w *world) oldEKS(t *testing.T) {
	ctx, client, name := t.Context(), w.eksClient(w.admin), aws.String("prod")
	cluster, err := client.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: name})
	if err != nil || *cluster.Cluster.Identity.Oidc.Issuer != issuerURL || cluster.Cluster.Tags["team"] != "red" ||
		cluster.Cluster.AccessConfig.AuthenticationMode != "API" ||
		len(cluster.Cluster.ResourcesVpcConfig.SubnetIds) != 2 {
		t.Errorf("cluster %+v, %v", cluster, err)
	}
	updates, err := client.ListUpdates(ctx, &eks.ListUpdatesInput{Name: name})
	if err != nil || len(updates.UpdateIds) != 1 {
		t.Errorf("updates %+v, %v", updates, err)
	}
	entries, err := client.ListAccessEntries(ctx, &eks.ListAccessEntriesInput{ClusterName: name})
	if err != nil || len(entries.AccessEntries) != 2 {
		t.Errorf("access entries %+v, %v", entries, err)
	}
	policies, err := client.ListAssociatedAccessPolicies(ctx, &eks.ListAssociatedAccessPoliciesInput{
		ClusterName: name, PrincipalArn: aws.String(roleR),
	})
	if err != nil || policies.AssociatedAccessPolicies[0].AccessScope.Namespaces[0] != "shop" {
		t.Errorf("access policies %+v, %v", policies, err)
	}
	_, err = client.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
		ClusterName:    name,
		Namespace:      aws.String("shop"),
		ServiceAccount: aws.String("cart"),
		RoleArn:        aws.String(roleCart),
	})
	wantCode(t, "another association of the service account", err, "ResourceInUseException")
	if _, err = client.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: name}); err != nil {
		t.Error(err)
	}
	_, err = client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName: name, AssociationId: aws.String(oldAssociation),
	})
	wantCode(t, "an association of a cluster that is gone", err, "ResourceNotFoundException")
}

func (w *world) oldS3(t *testing.T) {
	ctx, client, name := t.Context(), w.s3Client(w.admin), aws.String("data")
	buckets, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 1 || *buckets.Buckets[0].Name != "data" {
		t.Errorf("buckets %+v, %v", buckets, err)
	}
	acl, err := client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: name})
	if err != nil || len(acl.Grants) != 2 {
		t.Errorf("access control list %+v, %v", acl, err)
	}
	tags, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name})
	if err != nil || *tags.TagSet[0].Value != "red" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	public, err := client.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: name})
	if err != nil || !*public.PolicyStatus.IsPublic {
		t.Errorf("policy %+v, %v", public, err)
	}
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: name, Key: aws.String("a/b")})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(object.Body)
	if err != nil || string(body) != "hello world" || *object.ContentType != "text/plain" ||
		object.Metadata["name"] != "value" || *object.TagCount != 1 {
		t.Errorf("object %+v %q, %v", object, body, err)
	}
	uploads, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: name})
	if err != nil || len(uploads.Uploads) != 1 {
		t.Fatalf("uploads %+v, %v", uploads, err)
	}
	parts, err := client.ListParts(ctx, &s3.ListPartsInput{
		Bucket: name, Key: aws.String("parts"), UploadId: uploads.Uploads[0].UploadId,
	})
	if err != nil || len(parts.Parts) != 1 || *parts.Parts[0].Size != int64(len("part one")) {
		t.Errorf("parts %+v, %v", parts, err)
	}
}

func (w *world) oldSSM(t *testing.T) {
	ctx, client, name := t.Context(), w.ssmClient(w.admin), aws.String("/app/url")
	for selector, want := range map[string]string{"": "two", ":1": "one", ":first": "one"} {
		got, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(*name + selector)})
		if err != nil || *got.Parameter.Value != want {
			t.Errorf("parameter %s: %+v, %v, want %q", *name+selector, got, err, want)
		}
	}
	below, err := client.GetParametersByPath(ctx, &ssm.GetParametersByPathInput{Path: aws.String("/app")})
	if err != nil || len(below.Parameters) != 1 {
		t.Errorf("parameters %+v, %v", below, err)
	}
}
