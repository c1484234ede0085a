package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/smithy-go"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const cartARN = "arn:aws:iam::" + accountID + ":role/cart"

func (w *brokerWorld) eks(id, secret string) *eks.Client {
	return eks.New(eks.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "eu-west-1",
		HTTPClient:   w.client,
		Retryer:      aws.NopRetryer{},
		Credentials:  credentials.NewStaticCredentialsProvider(id, secret, ""),
	})
}

// refused checks the code, the status and the words of an error of the SDK.
func refused(t *testing.T, what string, err error, code string, status int, words string) {
	t.Helper()
	api, isAPI := errors.AsType[smithy.APIError](err)
	response, hasStatus := errors.AsType[*awshttp.ResponseError](err)
	if !isAPI || !hasStatus || api.ErrorCode() != code || response.HTTPStatusCode() != status ||
		!strings.Contains(api.ErrorMessage(), words) {
		t.Errorf("%s: %v, want %s %d %q", what, err, code, status, words)
	}
}

func create(
	namespace, account string, edits ...func(*eks.CreatePodIdentityAssociationInput),
) *eks.CreatePodIdentityAssociationInput {
	input := &eks.CreatePodIdentityAssociationInput{
		ClusterName:    aws.String("prod"),
		Namespace:      &namespace,
		ServiceAccount: &account,
		RoleArn:        aws.String(cartARN),
	}
	for _, edit := range edits {
		edit(input)
	}
	return input
}

// TestBrokerEKS is spec podidentity rows A1 to A19 with the real clients,
// on a real API server.
func TestBrokerEKS(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	stop := w.start("--association-limit", "251")
	client := w.eks(userKeyID, userSecret)
	t.Run("Go SDK", func(t *testing.T) { w.t = t; w.rows(client) })
	t.Run("authorisation", func(t *testing.T) { w.t = t; w.callers() })
	t.Run("grants", func(t *testing.T) { w.t = t; w.grants(client) })
	t.Run("pages", func(t *testing.T) { w.t = t; w.pages(client) })
	t.Run("AWS CLI", func(t *testing.T) { w.t = t; w.awsCLI() })
	t.Run("boto3", func(t *testing.T) { w.t = t; w.boto3() })
	t.Run("admission", func(t *testing.T) { w.t = t; w.admission(client) })
	w.t = t
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, record := range []string{
		`"event":"CreatePodIdentityAssociation"`, `"decision":"done"`, `"caller":"terraform"`,
		`"code":"ResourceInUseException"`,
	} {
		if !strings.Contains(w.audit.String(), record) {
			t.Errorf("the audit has no %s", record)
		}
	}
	if strings.Contains(w.audit.String()+w.log.String(), userSecret) {
		t.Error("a secret is shown")
	}
}

func (w *brokerWorld) rows(client *eks.Client) {
	t, ctx := w.t, w.t.Context()
	token := func(text string) func(*eks.CreatePodIdentityAssociationInput) {
		return func(i *eks.CreatePodIdentityAssociationInput) { i.ClientRequestToken = &text }
	}
	made, err := client.CreatePodIdentityAssociation(ctx, create("shop", "cart", token("one")))
	if err != nil {
		t.Fatal(err)
	}
	first := made.Association
	id := *first.AssociationId
	if !regexp.MustCompile(`^a-[a-z0-9]{17}$`).MatchString(id) ||
		*first.AssociationArn != "arn:aws:eks:eu-west-1:"+accountID+":podidentityassociation/prod/"+id ||
		!first.CreatedAt.Equal(*first.ModifiedAt) ||
		*first.ClusterName != "prod" || *first.Namespace != "shop" ||
		*first.ServiceAccount != "cart" || *first.RoleArn != cartARN ||
		first.TargetRoleArn != nil || first.ExternalId != nil ||
		first.OwnerArn != nil ||
		*first.DisableSessionTags ||
		len(first.Tags) != 0 {
		t.Errorf("created: %+v", first)
	}
	_, err = client.CreatePodIdentityAssociation(ctx, create("shop", "cart", token("two")))
	refused(t, "created twice", err, "ResourceInUseException", 409, "Association already exists: "+id)
	again, err := client.CreatePodIdentityAssociation(ctx, create("shop", "cart", token("one")))
	if err != nil || *again.Association.AssociationId != id {
		t.Errorf("same token again: %v", err)
	}
	_, err = client.CreatePodIdentityAssociation(ctx, create("shop", "other", token("one")))
	refused(t, "token reused for another", err, "InvalidParameterException", 400, "clientRequestToken")

	policy := func(length int) string {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Sid":""}]}`
		return strings.Replace(text, `"Sid":""`, `"Sid":"`+strings.Repeat("x", length-len(text))+`"`, 1)
	}
	with := func(length int, off bool) func(*eks.CreatePodIdentityAssociationInput) {
		return func(i *eks.CreatePodIdentityAssociationInput) {
			i.Policy, i.DisableSessionTags = aws.String(policy(length)), &off
		}
	}
	_, err = client.CreatePodIdentityAssociation(ctx, create("shop", "narrow", with(200, false)))
	refused(t, "session policy with session tags", err, "InvalidParameterException", 400, "")
	_, err = client.CreatePodIdentityAssociation(ctx, create("shop", "narrow", with(2049, true)))
	refused(t, "session policy of 2,049 characters", err, "InvalidParameterException", 400, "")
	if made, err := client.CreatePodIdentityAssociation(ctx, create("shop", "narrow", with(2048, true))); err != nil ||
		*made.Association.Policy != policy(2048) ||
		!*made.Association.DisableSessionTags {
		t.Errorf("session policy of 2,048 characters: %v", err)
	}
	const data = "arn:aws:iam::444455556666:role/data"
	updated, err := client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
		TargetRoleArn: aws.String(data),
	})
	if err != nil || *updated.Association.ExternalId != "eu-west-1/"+accountID+"/prod/shop/cart" ||
		*updated.Association.TargetRoleArn != data {
		t.Errorf("target role: %+v, %v", updated, err)
	}
	updated, err = client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
		TargetRoleArn: aws.String(""),
	})
	if err != nil || updated.Association.ExternalId != nil || updated.Association.TargetRoleArn != nil {
		t.Errorf("target role, cleared: %+v, %v", updated, err)
	}
	updated, err = client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
		RoleArn:       aws.String(cartARN + "2"),
	})
	if err != nil || *updated.Association.AssociationId != id || *updated.Association.RoleArn != cartARN+"2" ||
		!updated.Association.ModifiedAt.After(*first.ModifiedAt) ||
		!updated.Association.CreatedAt.Equal(*first.CreatedAt) {
		t.Errorf("update: %+v, %v", updated, err)
	}
	object, err := w.associations().Get(ctx, "cart", metav1.GetOptions{})
	if err != nil || object.GetGeneration() != 4 {
		t.Errorf("update: generation %d, %v", object.GetGeneration(), err)
	}
	_, err = client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
	})
	refused(t, "update that changes nothing", err, "InvalidParameterException", 400, "changes nothing")

	unknown := aws.String("a-00000000000000000")
	_, err = client.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: unknown,
		RoleArn:       aws.String(cartARN),
	})
	refused(t, "unknown association: update", err, "ResourceNotFoundException", 404, "")
	_, err = client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: unknown,
	})
	refused(t, "unknown association: describe", err, "ResourceNotFoundException", 404, "")
	missing, _ := errors.AsType[*types.ResourceNotFoundException](err)
	if missing == nil || aws.ToString(missing.ClusterName) != "prod" {
		t.Errorf("unknown association: %+v", missing)
	}
	_, err = client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: unknown,
	})
	refused(t, "unknown association: delete", err, "ResourceNotFoundException", 404, "")
	_, err = client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   aws.String("other"),
		AssociationId: &id,
	})
	refused(t, "unknown cluster", err, "ResourceNotFoundException", 404, "No cluster found for name: other.")

	w.tags(client, *first.AssociationArn)
	gone, err := client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
	})
	if err != nil || *gone.Association.AssociationId != id {
		t.Errorf("deleted: %v", err)
	}
	_, err = client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: &id,
	})
	refused(t, "deleted", err, "ResourceNotFoundException", 404, id)
	renewed, err := client.CreatePodIdentityAssociation(ctx, create("shop", "cart"))
	if err != nil || *renewed.Association.AssociationId == id {
		t.Errorf("created again: %+v, %v", renewed, err)
	}
	for _, most := range []int32{0, 101} {
		_, err = client.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
			ClusterName: aws.String("prod"),
			MaxResults:  &most,
		})
		refused(t, fmt.Sprint("page size: ", most), err, "InvalidParameterException", 400, "")
	}
	_, err = client.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
		ClusterName: aws.String("prod"),
		NextToken:   aws.String("x"),
	})
	refused(t, "a token of nobody", err, "InvalidParameterException", 400, "")
	_, err = client.CreatePodIdentityAssociation(ctx, create("shop", "ca*"))
	refused(t, "a pattern", err, "InvalidParameterException", 400, "")
	_, err = client.CreatePodIdentityAssociation(ctx, create("Shop", "cart"))
	refused(t, "namespace", err, "InvalidParameterException", 400, "")
	_, err = client.CreatePodIdentityAssociation(
		ctx,
		create("shop", "x", func(i *eks.CreatePodIdentityAssociationInput) {
			i.RoleArn = aws.String("arn:aws:iam::" + accountID + ":user/x")
		}),
	)
	refused(t, "role", err, "InvalidParameterException", 400, "")

	// A17: what kubectl makes is seen, by the same rules.
	w.associate("by-kubectl", ", tags: {a: b}")
	list, err := client.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
		ClusterName:    aws.String("prod"),
		Namespace:      aws.String("shop"),
		ServiceAccount: aws.String("by-kubectl"),
	})
	if err != nil || len(list.Associations) != 1 {
		t.Fatalf("list of an account, made by another way: %+v, %v", list, err)
	}
	seen, err := client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: list.Associations[0].AssociationId,
	})
	if err != nil || seen.Association.Tags["a"] != "b" ||
		!seen.Association.CreatedAt.Equal(*seen.Association.ModifiedAt) {
		t.Errorf("made by another way: %+v, %v", seen, err)
	}
	list, err = client.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
		ClusterName: aws.String("prod"),
		Namespace:   aws.String("elsewhere"),
	})
	if err != nil || len(list.Associations) != 0 {
		t.Errorf("list of an account: %+v, %v", list, err)
	}
	_, err = client.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{
		ClusterName:    aws.String("prod"),
		ServiceAccount: aws.String("cart"),
	})
	refused(t, "list of an account without a namespace", err, "InvalidParameterException", 400, "")
}

func (w *brokerWorld) tags(client *eks.Client, arn string) {
	t, ctx := w.t, w.t.Context()
	if _, err := client.TagResource(ctx, &eks.TagResourceInput{
		ResourceArn: &arn,
		Tags:        map[string]string{"a": "1", "b c/d": "2"},
	}); err != nil {
		t.Errorf("tags: %v", err)
	}
	if _, err := client.UntagResource(ctx, &eks.UntagResourceInput{
		ResourceArn: &arn,
		TagKeys:     []string{"a", "x"},
	}); err != nil {
		t.Errorf("tags: %v", err)
	}
	if got, err := client.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: &arn}); err != nil ||
		len(got.Tags) != 1 ||
		got.Tags["b c/d"] != "2" {
		t.Errorf("tags: %+v, %v", got, err)
	}
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("k", i)] = ""
	}
	_, err := client.TagResource(ctx, &eks.TagResourceInput{ResourceArn: &arn, Tags: many})
	refused(t, "51 tags", err, "BadRequestException", 400, "")
	other := strings.Replace(arn, "prod/a-", "prod/b-", 1)
	_, err = client.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: &other})
	refused(t, "tags: unknown", err, "NotFoundException", 404, "")
}

// callers are those who may not, or not all.
func (w *brokerWorld) callers() {
	t, ctx := w.t, w.t.Context()
	_, err := w.eks("AKIANOBODYNOBODY0001", userSecret).
		ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("prod")})
	refused(t, "unknown key", err, "UnrecognizedClientException", 403, "")
	_, err = w.eks(userKeyID, brokerSecret).
		ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("prod")})
	refused(t, "wrong secret", err, "InvalidSignatureException", 403, "")
	if status, code := w.bearer("", "GET", ""); status != 403 || code != "MissingAuthenticationTokenException" {
		t.Errorf("nobody: %d %s", status, code)
	}
	if status, code := w.bearer("abc", "GET", ""); status != 403 || code != "UnrecognizedClientException" {
		t.Errorf("a token of nobody: %d %s", status, code)
	}
	if status, code := w.bearer(w.agents["n1"], "GET", ""); status != 403 || code != "UnrecognizedClientException" {
		t.Errorf("the agent's token, which is for another audience: %d %s", status, code)
	}
	stranger := boundTokenIn(t, w.c, "shop", "stranger", nil, "")
	if status, code := w.bearer(stranger, "GET", ""); status != 403 || code != "AccessDeniedException" {
		t.Errorf("without permission: %d %s", status, code)
	}
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "lists"},
		Rules: []rbacv1.PolicyRule{
			{
				APIGroups: []string{"rolecall.io"},
				Resources: []string{"podidentityassociations"},
				Verbs:     []string{"list"},
			},
		},
	}
	w.must(w.c.Client.RbacV1().Roles("shop").Create(ctx, role, metav1.CreateOptions{}))
	w.must(w.c.Client.RbacV1().RoleBindings("shop").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "lists"},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "lists"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "shop", Name: "stranger"}},
	}, metav1.CreateOptions{}))
	if status, code := w.bearer(stranger, "GET", "?namespace=shop"); status != 200 {
		t.Errorf("allowed in its namespace: %d %s", status, code)
	}
	if status, _ := w.bearer(stranger, "GET", ""); status != 403 {
		t.Errorf("not allowed in all: %d", status)
	}
	if status, _ := w.bearer(stranger, "POST", ""); status != 403 {
		t.Errorf("not allowed to create: %d", status)
	}
}

func (w *brokerWorld) bearer(token, method, query string) (status int, code string) {
	w.t.Helper()
	body := `{"namespace":"shop","serviceAccount":"mine","roleArn":"` + cartARN + `"}`
	request, err := http.NewRequestWithContext(
		w.t.Context(), method, w.url+"/clusters/prod/pod-identity-associations"+query, strings.NewReader(body),
	)
	w.must(nil, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := w.client.Do(request)
	w.must(nil, err)
	defer response.Body.Close()
	return response.StatusCode, response.Header.Get("X-Amzn-Errortype")
}

// grants is spec podidentity row H21, on write and at use.
func (w *brokerWorld) grants(client *eks.Client) {
	t, ctx := w.t, w.t.Context()
	w.must(client.CreatePodIdentityAssociation(ctx, create("shop", "cart-federated")))
	raw := w.token(w.pod("shop", "granted", "cart-federated", "n1"), podIdentity)
	w.eventually("no grant", raw, "")
	object := &unstructured.Unstructured{}
	w.must(nil, yaml.Unmarshal([]byte(`{apiVersion: rolecall.io/v1alpha1, kind: RoleGrant, metadata: {name: `+
		`others}, spec: {subjects: [{namespace: other}], roles: ["*"]}}`), &object.Object))
	grants := w.objects.Resource(rolecallResource("rolegrants"))
	w.must(grants.Create(ctx, object, metav1.CreateOptions{}))
	w.eventually("a grant of others", raw, "AccessDeniedException")
	_, err := client.CreatePodIdentityAssociation(ctx, create("shop", "refused"))
	refused(t, "without a grant: write", err, "AccessDeniedException", 403, "no RoleGrant lets shop/refused")
	w.must(nil, grants.Delete(ctx, "others", metav1.DeleteOptions{}))
	w.eventually("no grant again", raw, "")
}

// pages are spec podidentity rows A12, A16 and A18: none of the accounts exists.
func (w *brokerWorld) pages(client *eks.Client) {
	t, ctx := w.t, w.t.Context()
	count := 0
	for pages := eks.NewListPodIdentityAssociationsPaginator(
		client, &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("prod")},
	); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		w.must(nil, err)
		count += len(page.Associations)
	}
	for i := count; i < 250; i++ {
		w.must(client.CreatePodIdentityAssociation(ctx, create("shop", fmt.Sprintf("many-%03d", i))))
	}
	var sizes []int
	seen := map[string]bool{}
	for pages := eks.NewListPodIdentityAssociationsPaginator(client, &eks.ListPodIdentityAssociationsInput{
		ClusterName: aws.String("prod"),
		MaxResults:  aws.Int32(100),
	}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		w.must(nil, err)
		sizes = append(sizes, len(page.Associations))
		for _, one := range page.Associations {
			seen[*one.AssociationId] = true
		}
	}
	if fmt.Sprint(sizes) != "[100 100 50]" || len(seen) != 250 {
		t.Errorf("list in pages: pages of %v, %d in all", sizes, len(seen))
	}
	w.must(client.CreatePodIdentityAssociation(ctx, create("shop", "last")))
	_, err := client.CreatePodIdentityAssociation(ctx, create("shop", "too-many"))
	refused(t, "limit of associations", err, "ResourceLimitExceededException", 400, "")
	for id := range seen {
		w.must(client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
			ClusterName:   aws.String("prod"),
			AssociationId: &id,
		}))
	}
}

// run starts a real client with nothing but the broker's address and a key.
func (w *brokerWorld) run(program string, arguments ...string) (out, problems string, failed bool) {
	t := w.t
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("%s is needed and not there: %v", program, err)
		}
		t.Skipf("NOT TESTED: %s is not on this machine (%v)", program, err)
	}
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	w.write(bundle, string(w.ca.PEM()))
	command := exec.CommandContext(t.Context(), path, arguments...)
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ENDPOINT_URL_EKS=" + w.url, "AWS_CA_BUNDLE=" + bundle,
		"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
		"AWS_ACCESS_KEY_ID=" + userKeyID, "AWS_SECRET_ACCESS_KEY=" + userSecret, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
	}
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"} {
		if text, found := os.LookupEnv(name); found {
			command.Env = append(command.Env, name+"="+text)
		}
	}
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err != nil
}

func (w *brokerWorld) awsCLI() {
	t := w.t
	cli := func(words string) map[string]any {
		t.Helper()
		out, problems, failed := w.run(
			"aws",
			append(strings.Fields(words), "--output", "json", "--endpoint-url", w.url)...)
		var said map[string]any
		if failed || strings.TrimSpace(out) != "" && json.Unmarshal([]byte(out), &said) != nil {
			t.Fatalf("aws %s: %s%s", words, out, problems)
		}
		return said
	}
	const on = " --cluster-name prod"
	made := cli("eks create-pod-identity-association --namespace shop --service-account cli --role-arn " + cartARN +
		" --tags team=red" + on)
	one, _ := made["association"].(map[string]any)
	id, _ := one["associationId"].(string)
	arn, _ := one["associationArn"].(string)
	if tags, _ := one["tags"].(map[string]any); id == "" || tags["team"] != "red" {
		t.Fatalf("created %v", made)
	}
	_, problems, failed := w.run("aws", strings.Fields("eks create-pod-identity-association --namespace shop "+
		"--service-account cli --role-arn "+cartARN+on)...)
	if want := "An error occurred (ResourceInUseException) when calling the CreatePodIdentityAssociation " +
		"operation: Association already exists: " + id; !failed || !strings.Contains(problems, want) {
		t.Errorf("twice: %s", problems)
	}
	listed := cli("eks list-pod-identity-associations --namespace shop --service-account cli" + on)
	if list, _ := listed["associations"].([]any); len(list) != 1 {
		t.Errorf("list %v", list)
	}
	cli("eks update-pod-identity-association --target-role-arn arn:aws:iam::444455556666:role/data " +
		"--association-id " + id + on)
	cli("eks tag-resource --tags a=b --resource-arn " + arn)
	cli("eks untag-resource --tag-keys team --resource-arn " + arn)
	described, _ := cli(
		"eks describe-pod-identity-association --association-id " + id + on,
	)["association"].(map[string]any)
	external := "eu-west-1/" + accountID + "/prod/shop/cli"
	if tags, _ := described["tags"].(map[string]any); described["externalId"] != external ||
		tags["a"] != "b" || tags["team"] != nil {
		t.Errorf("described %v", described)
	}
	cli("eks delete-pod-identity-association --association-id " + id + on)
	_, problems, failed = w.run(
		"aws",
		strings.Fields("eks describe-pod-identity-association --association-id "+id+on)...)
	if !failed || !strings.Contains(problems, "(ResourceNotFoundException)") {
		t.Errorf("deleted: %s", problems)
	}
}

const botoAssociations = `
import boto3
eks = boto3.client('eks')
arn = 'arn:aws:iam::111122223333:role/cart'
for i in range(7):
    eks.create_pod_identity_association(clusterName='prod', namespace='shop', serviceAccount='boto%d' % i, roleArn=arn)
paginator = eks.get_paginator('list_pod_identity_associations')
pages = list(paginator.paginate(clusterName='prod', namespace='shop', PaginationConfig={'PageSize': 3}))
assert sum(len(p['associations']) for p in pages) >= 7 and all(len(p['associations']) == 3 for p in pages[:-1]), pages
try:
    eks.create_pod_identity_association(clusterName='prod', namespace='shop', serviceAccount='boto0', roleArn=arn)
    assert False
except eks.exceptions.ResourceInUseException as e:
    assert e.response['clusterName'] == 'prod' and e.response['ResponseMetadata']['HTTPStatusCode'] == 409, e.response
one = [a for p in pages for a in p['associations'] if a['serviceAccount'] == 'boto3'][0]
full = eks.describe_pod_identity_association(clusterName='prod', associationId=one['associationId'])['association']
assert full['createdAt'].year > 2000 and full['roleArn'] == arn and full['tags'] == {}, full
for p in pages:
    for a in p['associations']:
        eks.delete_pod_identity_association(clusterName='prod', associationId=a['associationId'])
print('good')
`

func (w *brokerWorld) boto3() {
	out, problems, failed := w.run("python3", "-c", botoAssociations)
	if failed && strings.Contains(problems, "No module named 'boto3'") && os.Getenv("ROLECALL_REQUIRE_CLIENTS") != "1" {
		w.t.Skip("NOT TESTED: boto3 is not on this machine")
	}
	if failed || strings.TrimSpace(out) != "good" {
		w.t.Errorf("%s\n%s", out, problems)
	}
}
