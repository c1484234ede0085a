package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

func TestTrustRefusals(t *testing.T) {
	t.Parallel()
	good := `{'Effect':'Allow','Principal':{'Federated':'` + provider + `'},'Action':'sts:AssumeRoleWithWebIdentity'}`
	for _, row := range []struct {
		name, text   string // ' for "
		message      string // AWS's, its beginning
		detail       string // contained
		line, column int    // 0: not looked at
	}{
		{"no JSON", `{`, "This policy contains invalid Json", "not valid JSON", 1, 1},
		{"trailing bytes", `{'Statement':[` + good + `]} x`, "This policy contains invalid Json", "", 0, 0},
		{
			name:    "en dash in the version",
			text:    "{'Version':'2012\u201310\u201317','Statement':[" + good + "]}",
			message: "The specified value for assumeRolePolicyDocument is invalid.",
			detail:  "U+2013 (EN DASH) at 1:17: write \"2012-10-17\"",
			line:    1,
			column:  17,
		},
		{
			name:    "unknown version",
			text:    `{'Version':'2013','Statement':[` + good + `]}`,
			message: "The policy must contain a valid version string",
			line:    1,
			column:  12,
		},
		{"no statement", `{'Version':'2012-10-17'}`, "Could not parse the policy: Statement is empty!", "", 0, 0},
		{
			name:    "lower-case element",
			text:    `{'Statement':[{'effect':'Allow'}]}`,
			message: "Missing required field Effect",
			detail:  `must be written "Effect"`,
			line:    1,
			column:  16,
		},
		{
			name:    "lower-case Sid",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'sid':'a','Effect'", 1),
			message: "Syntax error in policy.",
			detail:  `must be written "Sid"`,
			line:    1,
			column:  16,
		},
		{
			name:    "repeated element",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'Effect':'Deny','Effect'", 1),
			message: "Syntax error in policy.",
			detail:  "is repeated",
		},
		{
			name:    "unknown element",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'Foo':1,'Effect'", 1),
			message: "Syntax error in policy.",
			detail:  "no element",
		},
		{"no effect", `{'Statement':[{'Action':'sts:AssumeRole'}]}`, "Missing required field Effect", "", 0, 0},
		{
			name:    "no principal",
			text:    `{'Statement':[{'Effect':'Allow','Action':'sts:AssumeRole'}]}`,
			message: "Missing required field Principal",
		},
		{
			name:    "empty principal",
			text:    `{'Statement':[{'Effect':'Allow','Principal':{},'Action':'sts:AssumeRole'}]}`,
			message: "Missing required field Principal cannot be empty!",
		},
		{
			name:    "star principal",
			text:    `{'Statement':[{'Effect':'Allow','Principal':'*','Action':'sts:AssumeRole'}]}`,
			message: `AssumeRolepolicy contained an invalid principal: "STAR":"*".`,
		},
		{
			name: "partial wildcard",
			text: `{'Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111122223333:role/*'},` +
				`'Action':'sts:AssumeRole'}]}`,
			message: `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/*"`,
		},
		{
			name:    "unknown kind of principal",
			text:    `{'Statement':[{'Effect':'Allow','Principal':{'Aws':'*'},'Action':'sts:AssumeRole'}]}`,
			message: `Invalid principal in policy: "Aws":"*"`,
		},
		{
			name:    "placeholder account",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "111122223333", "<AWS_ACCOUNT_ID>", 1),
			message: "Federated principals must be valid domain names or SAML metadata ARNs",
			detail:  "12 digits",
		},
		{
			name:    "allow with NotPrincipal",
			text:    `{'Statement':[{'Effect':'Allow','NotPrincipal':{'AWS':'*'},'Action':'sts:AssumeRole'}]}`,
			message: "Allow with NotPrincipal is not allowed.",
		},
		{
			name:    "no action",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, `,'Action':'sts:AssumeRoleWithWebIdentity'`, "", 1),
			message: "Missing required field Action",
		},
		{
			name:    "another service's action",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "sts:AssumeRoleWithWebIdentity", "s3:GetObject", 1),
			message: "AssumeRole policy may only specify STS AssumeRole actions.",
		},
		{
			name:    "every action",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, "sts:AssumeRoleWithWebIdentity", "*", 1),
			message: "AssumeRole policy may only specify STS AssumeRole actions.",
		},
		{
			name: "resource",
			text: `{'Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:AssumeRole',` +
				`'Resource':'*'}]}`,
			message: "Has prohibited field Resource",
		},
		{
			name: "seed 000: a key where an operator stands",
			text: `{'Statement':[{'Effect':'Allow','Principal':{'Federated':'` + provider +
				`'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{
  'StringEquals':{'a:sub':'x'},
  'oidc.eks.us-east-1.amazonaws.com/id/A:aud':'test'}}]}`,
			message: "Syntax error in policy.",
			detail:  "is a condition key where an operator is expected",
			line:    3,
			column:  3,
		},
		{
			name: "an operator with a text",
			text: strings.Replace(`{'Statement':[`+good+`]}`, `}]}`,
				`,'Condition':{'ForAnyValue:StringEquals':'b'}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "must be an object of condition keys, not a string",
		},
		{
			name:    "a word with a text",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'sub':'b'}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "must be an object of condition keys, not a string",
		},
		{
			name:    "unknown operator",
			text:    strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'StringEqual':{'a':'b'}}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "is not a condition operator",
		},
		{
			name: "IPv6 range with host bits",
			text: strings.Replace(`{'Statement':[`+good+`]}`, `}]}`,
				`,'Condition':{'IpAddress':{'aws:SourceIp':'2001:db8::5/64'}}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "IPv6 without host bits",
		},
		{
			name: "keys that differ in case",
			text: strings.Replace(`{'Statement':[`+good+`]}`, `}]}`,
				`,'Condition':{'StringEquals':{'a:Sub':'b','A:sub':'c'}}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "is repeated",
		},
		{
			name: "null value",
			text: strings.Replace(`{'Statement':[`+good+`]}`, `}]}`,
				`,'Condition':{'StringEquals':{'a:sub':null}}}]}`, 1),
			message: "Syntax error in policy.",
			detail:  "not null",
		},
		{
			name: "repeated Sid",
			text: `{'Statement':[` + strings.Replace(good, "{", "{'Sid':'a',",
				1) + "," + strings.Replace(good, "{", "{'Sid':'a',", 1) + `]}`,
			message: "The Statement Ids in the policy are not unique",
		},
		{"a list", `[]`, "Syntax error in policy.", "", 0, 0},
		{
			name:    "deep nesting",
			text:    `{'Statement':` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`,
			message: "This policy contains invalid Json",
			detail:  "nested deeper",
		},
	} {
		_, err := policy.Parse(policy.Trust, "doc.json", []byte(strings.ReplaceAll(row.text, "'", `"`)))
		refused, ok := errors.AsType[*policy.SyntaxError](err)
		if !ok {
			t.Errorf("%s: error = %v", row.name, err)
			continue
		}
		if !strings.HasPrefix(refused.Message, row.message) || !strings.Contains(refused.Detail, row.detail) {
			t.Errorf("%s: message %q, detail %q", row.name, refused.Message, refused.Detail)
		}
		if row.line != 0 && (refused.Line != row.line || refused.Column != row.column) {
			t.Errorf("%s: at %d:%d, want %d:%d", row.name, refused.Line, refused.Column, row.line, row.column)
		}
	}
}

func TestSeedTrustPoliciesAreRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"000 first": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{` +
			`"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.us-east-1.eks.amazonaws.com/A1"},` +
			`"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{` +
			`"oidc.us-east-1.eks.amazonaws.com/A1:sub":"system:serviceaccount:default:my-serviceaccount"},` +
			`"StringLike":{"oidc.us-east-1.eks.amazonaws.com/CLUSTER_ID:sub":"system:serviceaccount:default:*"}}}]}`,
		"003": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{` +
			`"AWS":"arn:aws:iam::123456789123:root"},"Action":"sts:AssumeRole","Condition":{}}]}`,
		"no list": `{"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com"]},` +
			`"Action":["sts:AssumeRole"]}}`,
	} {
		if _, err := policy.Parse(policy.Trust, name, []byte(text)); err != nil {
			t.Error(err)
		}
	}
}
