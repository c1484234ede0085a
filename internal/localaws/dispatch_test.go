package localaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

func (w *world) provider(c credential.AWS) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretKey.Reveal(), c.SessionToken.Reveal())
}

// iamClient is an IAM client of the AWS SDK. The world's clock must be the
// machine's, since the SDK signs by that.
func (w *world) iamClient(c credential.AWS) *iam.Client {
	return iam.New(iam.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "us-east-1",
		Credentials:  w.provider(c),
		Retryer:      aws.NopRetryer{},
	})
}

func (w *world) stsClient(c credential.AWS, path string) *sts.Client {
	return sts.New(sts.Options{
		BaseEndpoint: aws.String(w.url + path),
		Region:       "us-east-1",
		Credentials:  w.provider(c),
		Retryer:      aws.NopRetryer{},
	})
}

// realTime sets the world's clock by the machine's.
func (w *world) realTime() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = time.Now()
}

// session assumes a new role that has the given permission policy.
func (w *world) session(name, permissions string) credential.AWS {
	w.t.Helper()
	err := w.accounts.Default().Update(func(state account.State) error {
		return state.PutRole(&account.Role{
			Name:        name,
			Path:        "/",
			ID:          account.NewRoleID(),
			MaxSession:  3600,
			Trust:       trust(""),
			Permissions: account.Permissions{Policies: []account.Document{{Name: "p", Text: permissions}}},
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	got := w.assume(w.token(w.key, map[string]any{
		"iat": w.clock().Unix(),
		"nbf": w.clock().Unix(),
		"exp": w.clock().Add(time.Hour).Unix(),
	}),
		map[string]string{"RoleArn": "arn:aws:iam::" + accountID + ":role/" + name})
	return credentialsIn(w.t, got)
}

func allow(actions, resources string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":` + resources +
		`}]}`
}

// TestOneShapePerProtocol: calls of services that are not emulated are decided by
// the policies, and answered in each protocol's own words.
func TestOneShapePerProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reader := w.session(
		"reader", allow(`["dynamodb:GetItem","ssm:Get*","sns:ListTopics","ec2:Describe*","lambda:*","s3:*"]`, `"*"`),
	)
	nobody := w.session("nobody", allow(`"iam:GetRole"`, `"*"`))
	narrow := w.session("narrow", allow(`"dynamodb:GetItem"`, `"arn:aws:dynamodb:us-east-1:111122223333:table/t"`))
	call := func(c credential.AWS, service, method, path, contentType, target, body string) (answer, http.Header) {
		r := w.request(method, strings.TrimPrefix(path, "/"), body)
		r.Header.Del("Content-Type")
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		if target != "" {
			r.Header.Set("X-Amz-Target", target)
		}
		if contentType == "application/cbor" {
			r.Header.Set("Smithy-Protocol", "rpc-v2-cbor")
		}
		if c.AccessKeyID != "" {
			w.sign(r, c, service, body, w.clock())
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return answer{
			status:    response.StatusCode,
			body:      readAll(t, response),
			requestID: response.Header.Get("X-Amzn-Requestid"),
		}, response.Header
	}
	unknownKey := credential.AWS{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretKey: w.admin.SecretKey}
	const denied = "User: arn:aws:sts::111122223333:assumed-role/nobody/s1 is not authorized to perform: "
	form, j10, j11 := "application/x-www-form-urlencoded", "application/x-amz-json-1.0", "application/x-amz-json-1.1"
	for _, row := range []struct {
		name                                             string
		creds                                            credential.AWS
		service, method, path, contentType, target, body string
		status                                           int
		header, has                                      string
	}{
		{
			name:        "json 1.0 denied",
			creds:       nobody,
			service:     "dynamodb",
			method:      "POST",
			path:        "/",
			contentType: j10,
			target:      "DynamoDB_20120810.GetItem",
			body:        `{}`,
			status:      400,
			has: `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"` + denied +
				`dynamodb:GetItem on resource: * because no identity-based policy allows the dynamodb:GetItem action"}`,
		},
		{
			name:        "json 1.0 allowed",
			creds:       reader,
			service:     "dynamodb",
			method:      "POST",
			path:        "/",
			contentType: j10,
			target:      "DynamoDB_20120810.GetItem",
			body:        `{}`,
			status:      501,
			has:         "allowed, but not emulated: dynamodb:GetItem",
		},
		{
			name:        "json 1.0 another action",
			creds:       reader,
			service:     "dynamodb",
			method:      "POST",
			path:        "/",
			contentType: j10,
			target:      "DynamoDB_20120810.PutItem",
			body:        `{}`,
			status:      400,
			has:         "AccessDeniedException",
		},
		{
			name:        "json 1.0 for one table only",
			creds:       narrow,
			service:     "dynamodb",
			method:      "POST",
			path:        "/",
			contentType: j10,
			target:      "DynamoDB_20120810.GetItem",
			body:        `{}`,
			status:      400,
			has:         "AccessDeniedException",
		},
		{
			name:        "json 1.0 unknown key",
			creds:       unknownKey,
			service:     "dynamodb",
			method:      "POST",
			path:        "/",
			contentType: j10,
			target:      "DynamoDB_20120810.GetItem",
			body:        `{}`,
			status:      400,
			has:         "UnrecognizedClientException",
		},
		{
			name:        "json 1.1 denied",
			creds:       nobody,
			service:     "ssm",
			method:      "POST",
			path:        "/",
			contentType: j11,
			target:      "AmazonSSM.GetParameter",
			body:        `{"Name":"x"}`,
			status:      400,
			has:         `{"__type":"AccessDeniedException","message":"`,
		},
		{
			name:        "json 1.1 allowed",
			creds:       reader,
			service:     "ssm",
			method:      "POST",
			path:        "/",
			contentType: j11,
			target:      "AmazonSSM.GetDocument",
			body:        `{"Name":"x"}`,
			status:      501,
			has:         `{"__type":"NotImplementedException","message":"allowed, but not emulated: ssm:GetDocument"}`,
		},
		{
			name:        "query denied",
			creds:       nobody,
			service:     "sns",
			method:      "POST",
			path:        "/",
			contentType: form,
			body:        "Action=ListTopics&Version=2010-03-31",
			status:      403,
			has:         "<Code>AccessDenied</Code><Message>" + denied + "sns:ListTopics",
		},
		{
			name:        "query allowed",
			creds:       reader,
			service:     "sns",
			method:      "POST",
			path:        "/",
			contentType: form,
			body:        "Action=ListTopics&Version=2010-03-31",
			status:      501,
			has:         "<Code>NotImplemented</Code><Message>allowed, but not emulated: sns:ListTopics</Message>",
		},
		{
			name:        "query, another name in policies",
			creds:       nobody,
			service:     "monitoring",
			method:      "POST",
			path:        "/",
			contentType: form,
			body:        "Action=ListMetrics&Version=2010-08-01",
			status:      403,
			has:         "cloudwatch:ListMetrics",
		},
		{
			name:        "ec2 denied",
			creds:       nobody,
			service:     "ec2",
			method:      "POST",
			path:        "/",
			contentType: form,
			body:        "Action=DescribeVpcs&Version=2016-11-15",
			status:      403,
			has: "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>" +
				denied + "ec2:DescribeVpcs",
		},
		{
			name:        "ec2 allowed",
			creds:       reader,
			service:     "ec2",
			method:      "POST",
			path:        "/",
			contentType: form,
			body:        "Action=DescribeVpcs&Version=2016-11-15",
			status:      501,
			has:         "allowed, but not emulated: ec2:DescribeVpcs",
		},
		{
			name:    "rest-json denied",
			creds:   nobody,
			service: "lambda",
			method:  "GET",
			path:    "/2015-03-31/functions",
			status:  403,
			header:  "AccessDeniedException",
			has:     `{"message":"` + denied + `lambda:*`,
		},
		{
			name:    "rest-json allowed",
			creds:   reader,
			service: "lambda",
			method:  "GET",
			path:    "/2015-03-31/functions",
			status:  501,
			header:  "NotImplementedException",
			has: `{"message":"allowed, but not emulated: lambda:*, by GET /2015-03-31/functions; which action ` +
				`that is, is not known here"}`,
		},
		{
			name:   "rest-json unsigned but named",
			creds:  credential.AWS{},
			method: "GET",
			path:   "/eks.us-east-1.amazonaws.com/clusters",
			status: 403,
			header: "MissingAuthenticationTokenException",
			has:    "Request is missing Authentication Token",
		},
		{
			name:    "S3 denied",
			creds:   nobody,
			service: "s3",
			method:  "PUT",
			path:    "/bucket?lifecycle",
			body:    "content",
			status:  403,
			has:     "<Error><Code>AccessDenied</Code><Message>" + denied + "s3:PutLifecycleConfiguration",
		},
		{
			name:    "S3 allowed",
			creds:   reader,
			service: "s3",
			method:  "GET",
			path:    "/bucket?lifecycle",
			status:  501,
			has: "<Error><Code>NotImplemented</Code>" +
				"<Message>allowed, but not emulated: s3:GetLifecycleConfiguration",
		},
		{
			name:    "S3 allowed, no such action",
			creds:   reader,
			service: "s3",
			method:  "POST",
			path:    "/bucket/k",
			status:  501,
			has:     "<Error><Code>NotImplemented</Code><Message>allowed, but not emulated: s3:*, by POST /bucket/k",
		},
		{
			name:    "S3 unknown key",
			creds:   unknownKey,
			service: "s3",
			method:  "GET",
			path:    "/b/k",
			status:  403,
			has:     "<Error><Code>InvalidAccessKeyId</Code>",
		},
		{
			name:        "CBOR denied",
			creds:       nobody,
			service:     "monitoring",
			method:      "POST",
			path:        "/service/GraniteServiceVersion20100801/operation/ListMetrics",
			contentType: "application/cbor",
			status:      400,
			has: "\xa2\x79\x00\x06__type\x79\x00\x2ecom.amazon.coral.service#AccessDeniedException" +
				"\x79\x00\x07message\x79\x00",
		},
		{
			name:    "rest-xml denied",
			creds:   nobody,
			service: "route53",
			method:  "GET",
			path:    "/2013-04-01/hostedzone",
			status:  403,
			has:     "<ErrorResponse xmlns=",
		},
		{
			name:    "a service with a strange name",
			creds:   nobody,
			service: "x:y",
			method:  "GET",
			path:    "/",
			status:  403,
			header:  "AccessDeniedException",
			has:     "unknown:*",
		},
	} {
		got, header := call(row.creds, row.service, row.method, row.path, row.contentType, row.target, row.body)
		if got.status != row.status || !strings.Contains(got.body, row.has) ||
			header.Get("X-Amzn-Errortype") != row.header {
			t.Errorf(
				"%s: %d %q %s\nwant %d %q %s", row.name, got.status, header.Get("X-Amzn-Errortype"), got.body,
				row.status, row.header, row.has,
			)
		}
	}
	got, _ := call(nobody, "s3", "HEAD", "/bucket?lifecycle", "", "", "")
	if got.status != http.StatusForbidden || got.body != "" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
	if reason := w.reason(got); !strings.Contains(reason, "which action HEAD /bucket is, is not known either") {
		t.Errorf("reason: %s", reason)
	}
}

// TestSDKReadsErrors: the SDK's own decoders understand the refusals of three
// services with three protocols' rules.
func TestSDKReadsErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	nobody := w.session("nobody", allow(`"sns:Publish"`, `"*"`))
	oidc := ssooidc.New(ssooidc.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "us-east-1",
		Credentials:  w.provider(nobody),
		Retryer:      aws.NopRetryer{},
	})
	for _, row := range []struct {
		name, code, message string
		status              int
		call                func(context.Context) error
	}{
		{
			name:   "rest-json",
			code:   "AccessDeniedException",
			status: 403,
			call: func(ctx context.Context) error {
				_, err := oidc.CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
					ClientId:  aws.String("c"),
					GrantType: aws.String("g"),
				})
				return err
			},
		},
		{
			name:    "query",
			code:    "AccessDenied",
			message: "is not authorized to perform: iam:ListUsers",
			status:  403,
			call: func(ctx context.Context) error {
				_, err := w.iamClient(nobody).ListUsers(ctx, &iam.ListUsersInput{})
				return err
			},
		},
		{
			name:    "query, allowed",
			code:    "NotImplemented",
			message: "allowed, but not emulated: iam:GetCredentialReport",
			status:  501,
			call: func(ctx context.Context) error {
				_, err := w.iamClient(w.admin).GetCredentialReport(ctx, &iam.GetCredentialReportInput{})
				return err
			},
		},
	} {
		err := row.call(t.Context())
		refused, isAPI := errors.AsType[smithy.APIError](err)
		response, isResponse := errors.AsType[*awshttp.ResponseError](err)
		if !isAPI || !isResponse || refused.ErrorCode() != row.code ||
			!strings.Contains(refused.ErrorMessage(), row.message) || response.HTTPStatusCode() != row.status ||
			response.ServiceRequestID() == "" {
			t.Errorf("%s: %v, want %d %s: %s", row.name, err, row.status, row.code, row.message)
		}
	}
}

// TestEndpoints: host and path say which service and region are meant, for
// calls that nobody signed; what is signed counts more.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setTrust(trust(`"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`))
	form := url.Values{
		"Action":           {"AssumeRoleWithWebIdentity"},
		"Version":          {"2011-06-15"},
		"RoleArn":          {roleR},
		"RoleSessionName":  {"s1"},
		"WebIdentityToken": {w.token(w.key, nil)},
	}
	ask := func(host, path string) answer {
		r := w.request(http.MethodPost, path, form.Encode())
		if host != "" {
			r.Host = host
		}
		return w.do(r)
	}
	for _, row := range []struct {
		host, path string
		status     int
	}{
		{"sts.eu-west-1.amazonaws.com", "", 200},
		{"sts-fips.eu-west-1.amazonaws.com", "", 200},
		{"sts.eu-west-1.localhost:4566", "", 200},
		{"STS.EU-WEST-1.AMAZONAWS.COM", "", 200},
		{"", "sts.eu-west-1.amazonaws.com", 200},
		{"", "sts.eu-west-1.amazonaws.com/", 200},
		{"sts.us-east-1.amazonaws.com", "", 403},
		{"sts.amazonaws.com", "", 403},
		{"", "sts.amazonaws.com/", 403},
		{"", "", 403},
		{"", "nothing/here", 404},
	} {
		if got := ask(row.host, row.path); got.status != row.status {
			t.Errorf("%s /%s: %d %s, want %d", row.host, row.path, got.status, got.body, row.status)
		}
	}
	w.realTime()
	for _, path := range []string{"", "/sts.amazonaws.com", "/sts.eu-west-1.amazonaws.com"} {
		who, err := w.stsClient(w.admin, path).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || aws.ToString(who.Account) != accountID {
			t.Errorf("%q: %v", path, err)
		}
	}
	// The global endpoint is in us-east-1, and wants that signed.
	for _, row := range []struct {
		host, path, region string
		status             int
	}{
		{"sts.amazonaws.com", "", "us-east-1", 200},
		{"sts.amazonaws.com", "", "eu-west-1", 403},
		{"", "sts.amazonaws.com", "eu-west-1", 403},
		{"sts.eu-west-1.amazonaws.com", "", "eu-west-1", 200},
		{"", "sts.eu-west-1.amazonaws.com", "eu-west-1", 200},
		{"sts.cn-north-1.amazonaws.com.cn", "", "cn-north-1", 200},
		{"sts-fips.us-west-2.amazonaws.com", "", "us-west-2", 200},
		{"sts.localhost", "", "eu-west-1", 200},
		{"", "", "eu-west-1", 200},
	} {
		body := "Action=GetCallerIdentity&Version=2011-06-15"
		r := w.request(http.MethodPost, row.path, body)
		if row.host != "" {
			r.Host = row.host
		}
		w.signIn(r, w.admin, "sts", row.region, body, w.clock())
		if got := w.do(r); got.status != row.status ||
			(got.status == 403 && got.message != "Credential should be scoped to a valid region.") {
			t.Errorf("%s /%s in %s: %d %s, want %d", row.host, row.path, row.region, got.status, got.body, row.status)
		}
	}
	r := w.request(http.MethodPost, "", "Action=ListRoles&Version=2010-05-08")
	r.Host = "iam.amazonaws.com"
	w.sign(r, w.admin, "sts", "Action=ListRoles&Version=2010-05-08", w.clock())
	w.expect(
		"signed for another service than the host", w.do(r), 403, "SignatureDoesNotMatch",
		"Credential should be scoped to correct service: 'iam'",
	)
}

// TestAccounts: each account has its own state, and a role of another one is
// assumed only if both sides allow it.
func TestAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, _ := w.accounts.Find(otherAccount)
	theirs, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	create := func(trusted string) {
		t.Helper()
		form := url.Values{
			"Action":   {"CreateRole"},
			"RoleName": {"target"},
			"AssumeRolePolicyDocument": {
				`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + trusted + `"},"Action":"sts:AssumeRole"}]}`,
			},
		}
		w.signed(theirs, "iam", url.Values{"Action": {"DeleteRole"}, "RoleName": {"target"}})
		if got := w.signed(theirs, "iam", form); got.status != http.StatusOK ||
			!strings.Contains(got.body, "arn:aws:iam::"+otherAccount+":role/target") {
			t.Fatalf("create: %s", got.body)
		}
	}
	target := "arn:aws:iam::" + otherAccount + ":role/target"
	able := w.session("able", allow(`"sts:AssumeRole"`, `"`+target+`"`))
	unable := w.session("unable", allow(`"s3:*"`, `"*"`))
	take := func(c credential.AWS) answer {
		return w.signed(c, "sts", url.Values{"Action": {"AssumeRole"}, "RoleArn": {target}, "RoleSessionName": {"s2"}})
	}
	const denied = " is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::999900001111:role/target"
	create("arn:aws:iam::" + accountID + ":root")
	got := take(able)
	if got.status != http.StatusOK ||
		!strings.Contains(got.body, "arn:aws:sts::"+otherAccount+":assumed-role/target/s2") {
		t.Errorf("both say yes: %s", got.body)
	}
	chained := credentialsIn(t, got)
	if who := w.signed(
		chained, "sts", url.Values{"Action": {"GetCallerIdentity"}},
	); !strings.Contains(who.body, "<Account>"+otherAccount+"<") {
		t.Errorf("whoami: %s", who.body)
	}
	w.expect(
		"the caller's side says nothing", take(unable), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/unable/s1"+denied,
	)
	create("arn:aws:iam::" + accountID + ":role/able")
	if got := take(able); got.status != http.StatusOK {
		t.Errorf("the role by name: %s", got.body)
	}
	create("arn:aws:iam::" + accountID + ":role/unable")
	w.expect(
		"the trust policy names the caller, whose policies do not allow it", take(unable), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/unable/s1"+denied,
	)
	w.expect(
		"the trust policy names somebody else", take(able), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/able/s1"+denied,
	)
	missing := url.Values{
		"Action":   {"CreateRole"},
		"RoleName": {"x"},
		"AssumeRolePolicyDocument": {
			`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID +
				`:role/none"},"Action":"sts:AssumeRole"}]}`,
		},
	}
	w.expect(
		"a role that the other account lacks", w.signed(theirs, "iam", missing), 400, "MalformedPolicyDocument",
		"Invalid principal in policy",
	)
	missing.Set(
		"AssumeRolePolicyDocument",
		strings.ReplaceAll(missing.Get("AssumeRolePolicyDocument"), accountID, "222233334444"),
	)
	if got := w.signed(theirs, "iam", missing); got.status != http.StatusOK {
		t.Errorf("a role of an account that nobody knows: %s", got.body)
	}
	w.expect("its roles are its own", w.signed(w.admin, "iam", url.Values{
		"Action":   {"GetRole"},
		"RoleName": {"target"},
	}), 404, "NoSuchEntity", "")

	// A web identity needs the provider in the role's account (seed 004).
	foreign := `{"Statement":[{"Effect":"Allow","Principal":{"Federated":"` + strings.Replace(
		provider, accountID, otherAccount, 1,
	) + `"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`
	if got := w.signed(theirs, "iam", url.Values{
		"Action":                   {"CreateRole"},
		"RoleName":                 {"web"},
		"AssumeRolePolicyDocument": {foreign},
	}); got.status != http.StatusOK {
		t.Fatal(got.body)
	}
	web := map[string]string{"RoleArn": "arn:aws:iam::" + otherAccount + ":role/web"}
	w.expect("no provider there", w.assume(w.token(w.key, nil), web), 400, "InvalidIdentityToken", generic)
	if got := w.signed(theirs, "iam", url.Values{
		"Action":                {"CreateOpenIDConnectProvider"},
		"Url":                   {issuerURL},
		"ClientIDList.member.1": {"sts.amazonaws.com"},
	}); got.status != http.StatusOK {
		t.Fatal(got.body)
	}
	if got := w.assume(w.token(w.key, nil), web); got.status != http.StatusOK ||
		!strings.Contains(got.body, "arn:aws:sts::"+otherAccount+":assumed-role/web/s1") {
		t.Errorf("a second provider of the same URL: %s", got.body)
	}
}

// TestDecisions: why a call was refused is for programs of this machine.
func TestDecisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := w.assume(w.token(w.key, map[string]any{"sub": "system:serviceaccount:app:other"}), nil)
	w.expect("refused", refused, 403, "AccessDenied", notAuthed)
	var one struct {
		Action, Code, Reason string
		Explanation          struct {
			Decision  string
			Documents []struct {
				Statements []struct{ Applies bool }
			}
		}
	}
	if err := json.Unmarshal([]byte(w.reason(refused)), &one); err != nil ||
		one.Action != "sts:AssumeRoleWithWebIdentity" || one.Code != "AccessDenied" ||
		!strings.Contains(one.Reason, "system:serviceaccount:app:other") ||
		one.Explanation.Decision != "ImplicitDeny" || len(one.Explanation.Documents) != 1 ||
		len(one.Explanation.Documents[0].Statements) != 1 {
		t.Errorf("by request id: %+v %v\n%s", one, err, w.reason(refused))
	}
	w.mu.Lock()
	told := w.explained
	w.mu.Unlock()
	if len(told) != 1 || told[0].RequestID != refused.requestID || !strings.Contains(told[0].Text(), "because  ") ||
		!strings.Contains(told[0].Text(), "system:serviceaccount:app:other") {
		t.Errorf("told %+v", told)
	}
	w.expect("another", w.assume("abc", nil), 400, "ValidationError", "")
	var list struct{ Decisions []struct{ Code string } }
	get := func(edit func(*http.Request)) answer {
		r := w.request(http.MethodGet, "_rolecall/decisions", "")
		edit(r)
		return w.do(r)
	}
	if got := get(func(*http.Request) {}); json.Unmarshal([]byte(got.body), &list) != nil || len(list.Decisions) != 2 ||
		list.Decisions[0].Code != "ValidationError" {
		t.Errorf("list: %s", got.body)
	}
	for name, edit := range map[string]func(*http.Request){
		"a name that leads here": func(r *http.Request) { r.Host = "evil.example:4566" },
		"a name like localhost":  func(r *http.Request) { r.Host = "localhost.evil.example" },
		"a web page":             func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8000") },
	} {
		if got := get(edit); got.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	for _, host := range []string{"localhost", "127.0.0.1:1", "[::1]:4566", "LocalHost:4566"} {
		if got := get(func(r *http.Request) { r.Host = host }); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", host, got.status, got.body)
		}
	}
	w.do(w.request(http.MethodPost, "", "Action="+strings.Repeat("%1b[2J", 10000)+"&Version=2011-06-15"))
	w.mu.Lock()
	hostile := w.explained[len(w.explained)-1]
	w.mu.Unlock()
	if len(hostile.Message) > 5000 || strings.ContainsAny(hostile.Text(), "\x1b\r") {
		t.Errorf("a hostile action is kept as %q", hostile.Text())
	}
	for range 1100 {
		w.assume("abc", nil)
	}
	if got := get(func(*http.Request) {}); json.Unmarshal([]byte(got.body), &list) != nil ||
		len(list.Decisions) != 1000 {
		t.Errorf("%d are kept", len(list.Decisions))
	}
	if got := w.do(w.request(http.MethodGet, "_rolecall/health", "")); got.status != http.StatusOK {
		t.Errorf("health: %s", got.body)
	}
}
