package localaws_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

func (w *world) ssmClient(c credential.AWS) *ssm.Client {
	return ssm.New(ssm.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "us-east-1",
		Credentials:  w.provider(c),
		Retryer:      aws.NopRetryer{},
	})
}

func TestSSMParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, client := t.Context(), w.ssmClient(w.admin)
	put := func(name, value string, edits ...func(*ssm.PutParameterInput)) (*ssm.PutParameterOutput, error) {
		in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: types.ParameterTypeString}
		for _, edit := range edits {
			edit(in)
		}
		return client.PutParameter(ctx, in)
	}
	overwrite := func(in *ssm.PutParameterInput) { in.Overwrite = aws.Bool(true) }
	advanced := func(in *ssm.PutParameterInput) { in.Tier = types.ParameterTierAdvanced }
	for _, row := range []struct {
		name, parameter, value, code string
		edit                         func(*ssm.PutParameterInput)
	}{
		{"new", "/app/db/url", "one", "", nil},
		{"there", "/app/db/url", "two", "ParameterAlreadyExists", nil},
		{"overwritten", "/app/db/url", "two", "", overwrite},
		{
			name:      "secret",
			parameter: "/app/db/password",
			value:     "s3cret",
			edit:      func(in *ssm.PutParameterInput) { in.Type = types.ParameterTypeSecureString },
		},
		{"list", "/app/list", "a,b", "", func(in *ssm.PutParameterInput) { in.Type = types.ParameterTypeStringList }},
		{"flat", "flat", "x", "", nil},
		{"no type", "/app/x", "x", "ValidationException", func(in *ssm.PutParameterInput) { in.Type = "" }},
		{"another type", "/app/x", "x", "ValidationException", func(in *ssm.PutParameterInput) { in.Type = "Number" }},
		{"no value", "/app/x", "", "ValidationException", nil},
		{"reserved", "/aws/x", "x", "AccessDeniedException", nil},
		{"reserved too", "SSM-x", "x", "ValidationException", nil},
		{"no full path", "app/x", "x", "ValidationException", nil},
		{"a blank", "/app/a b", "x", "ValidationException", nil},
		{"deep", strings.Repeat("/a", 16), "x", "HierarchyLevelLimitExceededException", nil},
		{"deepest", strings.Repeat("/a", 15), "x", "", nil},
		{"large", "/app/x", strings.Repeat("x", 4097), "ValidationException", nil},
		{"large and advanced", "/big/x", strings.Repeat("x", 8192), "", advanced},
		{"too large", "/big/y", strings.Repeat("x", 8193), "ValidationException", advanced},
		{
			name:      "downgraded",
			parameter: "/big/x",
			value:     "x",
			code:      "ValidationException",
			edit:      func(in *ssm.PutParameterInput) { overwrite(in); in.Tier = types.ParameterTierStandard },
		},
		{
			name:      "intelligent",
			parameter: "/big/z",
			value:     strings.Repeat("x", 4097),
			edit:      func(in *ssm.PutParameterInput) { in.Tier = types.ParameterTierIntelligentTiering },
		},
		{
			name:      "a pattern",
			parameter: "/app/x",
			value:     "12a",
			code:      "ParameterPatternMismatchException",
			edit:      func(in *ssm.PutParameterInput) { in.AllowedPattern = aws.String(`\d+`) },
		},
		{
			name:      "tags and overwrite",
			parameter: "/app/db/url",
			value:     "x",
			code:      "ValidationException",
			edit: func(in *ssm.PutParameterInput) {
				overwrite(in)
				in.Tags = []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
			},
		},
	} {
		_, err := put(row.parameter, row.value, func(in *ssm.PutParameterInput) {
			if row.edit != nil {
				row.edit(in)
			}
		})
		wantCode(t, row.name, err, row.code)
	}
	get := func(name string, decrypt bool) (*types.Parameter, error) {
		out, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: &decrypt})
		if err != nil {
			return nil, err
		}
		return out.Parameter, nil
	}
	for _, row := range []struct{ name, value, code string }{
		{"/app/db/url", "two", ""},
		{"/app/db/url:1", "one", ""},
		{"arn:aws:ssm:us-east-1:" + accountID + ":parameter/app/db/url", "two", ""},
		{"/app/db/url:9", "", "ParameterVersionNotFound"},
		{"/app/none", "", "ParameterNotFound"},
		{"/app/db/password", "s3cret", ""},
	} {
		got, err := get(row.name, true)
		if wantCode(t, row.name, err, row.code); err == nil && *got.Value != row.value {
			t.Errorf("%s: %q", row.name, *got.Value)
		}
	}
	if got, err := get("/app/db/password", false); err != nil || strings.Contains(*got.Value, "s3cret") ||
		*got.ARN != "arn:aws:ssm:us-east-1:"+accountID+":parameter/app/db/password" {
		t.Errorf("a secret that is not decrypted: %+v %v", got, err)
	}
	many, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"flat", "none", "/app/list"}})
	if err != nil || len(many.Parameters) != 2 || len(many.InvalidParameters) != 1 {
		t.Errorf("many: %+v %v", many, err)
	}
	byPath := func(path string, recursive bool) (names []string) {
		pager := ssm.NewGetParametersByPathPaginator(client, &ssm.GetParametersByPathInput{
			Path:       &path,
			Recursive:  &recursive,
			MaxResults: aws.Int32(1),
		})
		for pager.HasMorePages() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range page.Parameters {
				names = append(names, *one.Name)
			}
		}
		return names
	}
	if got := fmt.Sprint(
		byPath("/app", false), byPath("/app", true), byPath("/app/db/", true), byPath("/ap", true),
	); got != "[/app/list] [/app/db/password /app/db/url /app/list] [/app/db/password /app/db/url] []" {
		t.Errorf("by path: %s", got)
	}
	history, err := client.GetParameterHistory(ctx, &ssm.GetParameterHistoryInput{Name: aws.String("/app/db/url")})
	if err != nil || len(history.Parameters) != 2 || *history.Parameters[0].Value != "one" ||
		history.Parameters[1].Version != 2 {
		t.Errorf("history: %+v %v", history, err)
	}
	for _, row := range []struct {
		key, option, value string
		want               int
		code               string
	}{
		{"Name", "Contains", "db", 2, ""},
		{"Name", "BeginsWith", "/app", 3, ""},
		{"Path", "OneLevel", "/app", 1, ""},
		{"Type", "Equals", "SecureString", 1, ""},
		{"Tier", "Equals", "Advanced", 2, ""},
		{"Colour", "Equals", "red", 0, "InvalidFilterKey"},
		{"Type", "Contains", "S", 0, "InvalidFilterOption"},
	} {
		out, err := client.DescribeParameters(ctx, &ssm.DescribeParametersInput{
			ParameterFilters: []types.ParameterStringFilter{
				{Key: &row.key, Option: &row.option, Values: []string{row.value}},
			},
		})
		if wantCode(t, row.key, err, row.code); err == nil && len(out.Parameters) != row.want {
			t.Errorf("%+v: %d", row, len(out.Parameters))
		}
	}
	_, err = client.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{
		Name:             aws.String("/app/db/url"),
		ParameterVersion: aws.Int64(1),
		Labels:           []string{"prod", "1bad"},
	})
	wantCode(t, "label", err, "")
	if got, err := get("/app/db/url:prod", false); err != nil || *got.Value != "one" {
		t.Errorf("by label: %+v %v", got, err)
	}
	_, err = client.GetParametersByPath(ctx, &ssm.GetParametersByPathInput{
		Path:      aws.String("/app"),
		NextToken: aws.String("x"),
	})
	wantCode(t, "a token of one's own", err, "InvalidNextToken")
	gone, err := client.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: []string{"flat", "none"}})
	if err != nil || len(gone.DeletedParameters) != 1 || len(gone.InvalidParameters) != 1 {
		t.Errorf("deleted: %+v %v", gone, err)
	}
	_, err = client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String("flat")})
	wantCode(t, "delete again", err, "ParameterNotFound")
}

// TestSSMByTag is seed 002: a session may read the parameters of its own
// cluster, by the tag that both carry.
func TestSSMByTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin := t.Context(), w.ssmClient(w.admin)
	for _, cluster := range []string{"blue", "green"} {
		_, err := admin.PutParameter(ctx, &ssm.PutParameterInput{
			Name: aws.String("/" + cluster + "/config"), Value: aws.String(cluster), Type: types.ParameterTypeString,
			Tags: []types.Tag{{Key: aws.String("eks-cluster-name"), Value: &cluster}},
		})
		wantCode(t, "put", err, "")
	}
	const permissions = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:GetParameter",` +
		`"ssm:GetParameters"],"Resource":"*",` +
		`"Condition":{"StringEquals":{"ssm:ResourceTag/eks-cluster-name":"${aws:PrincipalTag/eks-cluster-name}"}}}]}`
	if err := w.accounts.Default().Update(func(state account.State) error {
		return state.PutRole(&account.Role{
			Name:       "app",
			Path:       "/",
			ID:         account.NewRoleID(),
			MaxSession: 3600,
			Permissions: account.Permissions{
				Policies: []account.Document{{Name: "p", Text: permissions}},
			},
			Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + accountID +
				`"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`,
		})
	}); err != nil {
		t.Fatal(err)
	}
	taken, err := w.stsClient(w.admin, "").AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/app"),
		RoleSessionName: aws.String("s1"),
		Tags:            []ststypes.Tag{{Key: aws.String("eks-cluster-name"), Value: aws.String("blue")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	app := w.ssmClient(credential.AWS{
		AccessKeyID:  *taken.Credentials.AccessKeyId,
		SecretKey:    credential.NewSecret(*taken.Credentials.SecretAccessKey),
		SessionToken: credential.NewSecret(*taken.Credentials.SessionToken),
	})
	get := func(name string) error {
		_, err := app.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		return err
	}
	wantCode(t, "its own cluster's", get("/blue/config"), "")
	refusedWith(
		t, "another's", get("/green/config"), "AccessDeniedException",
		"is not authorized to perform: ssm:GetParameter on resource: arn:aws:ssm:us-east-1:"+accountID+
			":parameter/green/config because no identity-based policy allows the ssm:GetParameter action",
	)
	wantCode(t, "what is not there", get("/none"), "AccessDeniedException")
	_, err = app.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"/blue/config", "/green/config"}})
	wantCode(t, "both", err, "AccessDeniedException")
	_, err = app.DescribeParameters(ctx, &ssm.DescribeParametersInput{})
	wantCode(t, "describe", err, "AccessDeniedException")

	_, err = admin.AddTagsToResource(ctx, &ssm.AddTagsToResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter,
		ResourceId:   aws.String("/green/config"),
		Tags:         []types.Tag{{Key: aws.String("eks-cluster-name"), Value: aws.String("blue")}},
	})
	wantCode(t, "tag", err, "")
	wantCode(t, "the cluster's now", get("/green/config"), "")
	_, err = admin.RemoveTagsFromResource(ctx, &ssm.RemoveTagsFromResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter,
		ResourceId:   aws.String("/blue/config"),
		TagKeys:      []string{"eks-cluster-name"},
	})
	wantCode(t, "untag", err, "")
	wantCode(t, "nobody's now", get("/blue/config"), "AccessDeniedException")
	tags, err := admin.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter,
		ResourceId:   aws.String("/green/config"),
	})
	if err != nil || len(tags.TagList) != 1 || *tags.TagList[0].Value != "blue" {
		t.Errorf("tags: %+v %v", tags, err)
	}
}

const ssmScript = `
import boto3
ssm = boto3.client("ssm")
ssm.put_parameter(Name="/a/b", Value="1", Type="String", Tags=[{"Key": "k", "Value": "v"}])
assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == "1"
tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/a/b")["TagList"]
assert tags == [{"Key": "k", "Value": "v"}]
for i in range(25):
    ssm.put_parameter(Name="/many/%02d" % i, Value=str(i), Type="SecureString")
pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/many", WithDecryption=True))
assert len(pages) == 3, pages
assert [p["Value"] for page in pages for p in page["Parameters"]] == [str(i) for i in range(25)], pages
found = ssm.describe_parameters(ParameterFilters=[{"Key": "tag:k", "Values": ["v"]}])["Parameters"]
assert [p["Name"] for p in found] == ["/a/b"] and found[0]["LastModifiedUser"].startswith("arn:aws:iam::"), found
try:
    ssm.get_parameter(Name="/none")
except ssm.exceptions.ParameterNotFound:
    print("passed")
`

func TestSSMWithBoto3(t *testing.T) {
	t.Parallel()
	client(t, "python3", "-c", "import boto3")
	w := newWorld(t)
	w.realTime()
	if out := w.script(w.admin, "python3", "-c", ssmScript); !strings.HasSuffix(out, "passed\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}

func TestSSMWithCLI(t *testing.T) {
	t.Parallel()
	client(t, "bash", "-c", "true")
	client(t, "aws", "--version")
	w := newWorld(t)
	w.realTime()
	const script = `
set -euo pipefail
aws ssm put-parameter --name /x/y --value secret --type SecureString --tags Key=a,Value=b | grep -c '"Version": 1'
test "$(aws ssm get-parameter --name /x/y --with-decryption --query Parameter.Value --output text)" = secret
test "$(aws ssm get-parameter --name /x/y --query Parameter.Value --output text)" != secret
aws ssm get-parameters-by-path --path /x --query 'Parameters[].Name' --output text
aws ssm describe-parameters --query 'Parameters[].Tier' --output text
aws ssm delete-parameter --name /x/y
aws ssm get-parameter --name /x/y 2>&1 | grep -c ParameterNotFound
echo passed
`
	if out := w.script(
		w.admin, "bash", "-c",
		strings.Replace(
			script, "aws ssm get-parameter --name /x/y 2>&1 |", "{ aws ssm get-parameter --name /x/y 2>&1 || true; } |",
			1,
		),
	); !strings.HasSuffix(out, "passed\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}
