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
		{"en dash in the version", "{'Version':'2012\u201310\u201317','Statement':[" + good + "]}", "The specified value for assumeRolePolicyDocument is invalid.", "U+2013 (EN DASH) at 1:17: write \"2012-10-17\"", 1, 17},
		{"unknown version", `{'Version':'2013','Statement':[` + good + `]}`, "The policy must contain a valid version string", "", 1, 12},
		{"no statement", `{'Version':'2012-10-17'}`, "Could not parse the policy: Statement is empty!", "", 0, 0},
		{"lower-case element", `{'Statement':[{'effect':'Allow'}]}`, "Missing required field Effect", `must be written "Effect"`, 1, 16},
		{"lower-case Sid", strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'sid':'a','Effect'", 1), "Syntax error in policy.", `must be written "Sid"`, 1, 16},
		{"repeated element", strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'Effect':'Deny','Effect'", 1), "Syntax error in policy.", "stands twice", 0, 0},
		{"unknown element", strings.Replace(`{'Statement':[`+good+`]}`, "{'Effect'", "{'Foo':1,'Effect'", 1), "Syntax error in policy.", "no element", 0, 0},
		{"no effect", `{'Statement':[{'Action':'sts:AssumeRole'}]}`, "Missing required field Effect", "", 0, 0},
		{"no principal", `{'Statement':[{'Effect':'Allow','Action':'sts:AssumeRole'}]}`, "Missing required field Principal", "", 0, 0},
		{"empty principal", `{'Statement':[{'Effect':'Allow','Principal':{},'Action':'sts:AssumeRole'}]}`, "Missing required field Principal cannot be empty!", "", 0, 0},
		{"star principal", `{'Statement':[{'Effect':'Allow','Principal':'*','Action':'sts:AssumeRole'}]}`, `AssumeRolepolicy contained an invalid principal: "STAR":"*".`, "", 0, 0},
		{"partial wildcard", `{'Statement':[{'Effect':'Allow','Principal':{'AWS':'arn:aws:iam::111122223333:role/*'},'Action':'sts:AssumeRole'}]}`, `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/*"`, "", 0, 0},
		{"unknown kind of principal", `{'Statement':[{'Effect':'Allow','Principal':{'Aws':'*'},'Action':'sts:AssumeRole'}]}`, `Invalid principal in policy: "Aws":"*"`, "", 0, 0},
		{"placeholder account", strings.Replace(`{'Statement':[`+good+`]}`, "111122223333", "<AWS_ACCOUNT_ID>", 1), "Federated principals must be valid domain names or SAML metadata ARNs", "12 digits", 0, 0},
		{"allow with NotPrincipal", `{'Statement':[{'Effect':'Allow','NotPrincipal':{'AWS':'*'},'Action':'sts:AssumeRole'}]}`, "Allow with NotPrincipal is not allowed.", "", 0, 0},
		{"no action", strings.Replace(`{'Statement':[`+good+`]}`, `,'Action':'sts:AssumeRoleWithWebIdentity'`, "", 1), "Missing required field Action", "", 0, 0},
		{"another service's action", strings.Replace(`{'Statement':[`+good+`]}`, "sts:AssumeRoleWithWebIdentity", "s3:GetObject", 1), "AssumeRole policy may only specify STS AssumeRole actions.", "", 0, 0},
		{"every action", strings.Replace(`{'Statement':[`+good+`]}`, "sts:AssumeRoleWithWebIdentity", "*", 1), "AssumeRole policy may only specify STS AssumeRole actions.", "", 0, 0},
		{"resource", `{'Statement':[{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:AssumeRole','Resource':'*'}]}`, "Has prohibited field Resource", "", 0, 0},
		{"seed 000: a key where an operator stands", `{'Statement':[{'Effect':'Allow','Principal':{'Federated':'` + provider + `'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{
  'StringEquals':{'a:sub':'x'},
  'oidc.eks.us-east-1.amazonaws.com/id/A:aud':'test'}}]}`, "Syntax error in policy.", "is a condition key where an operator is expected", 3, 3},
		{"an operator with a text", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'ForAnyValue:StringEquals':'b'}}]}`, 1), "Syntax error in policy.", "must hold an object of condition keys, not a text", 0, 0},
		{"a word with a text", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'sub':'b'}}]}`, 1), "Syntax error in policy.", "must hold an object of condition keys, not a text", 0, 0},
		{"unknown operator", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'StringEqual':{'a':'b'}}}]}`, 1), "Syntax error in policy.", "is no condition operator", 0, 0},
		{"IPv6 range with host bits", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'IpAddress':{'aws:SourceIp':'2001:db8::5/64'}}}]}`, 1), "Syntax error in policy.", "IPv6 without host bits", 0, 0},
		{"keys that differ in case", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'StringEquals':{'a:Sub':'b','A:sub':'c'}}}]}`, 1), "Syntax error in policy.", "stands twice", 0, 0},
		{"null value", strings.Replace(`{'Statement':[`+good+`]}`, `}]}`, `,'Condition':{'StringEquals':{'a:sub':null}}}]}`, 1), "Syntax error in policy.", "not null", 0, 0},
		{"repeated Sid", `{'Statement':[` + strings.Replace(good, "{", "{'Sid':'a',", 1) + "," + strings.Replace(good, "{", "{'Sid':'a',", 1) + `]}`, "The Statement Ids in the policy are not unique", "", 0, 0},
		{"a list", `[]`, "Syntax error in policy.", "", 0, 0},
		{"deep nesting", `{'Statement':` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`, "This policy contains invalid Json", "nested deeper", 0, 0},
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
		"000 first": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.us-east-1.eks.amazonaws.com/A1"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.us-east-1.eks.amazonaws.com/A1:sub":"system:serviceaccount:default:my-serviceaccount"},"StringLike":{"oidc.us-east-1.eks.amazonaws.com/CLUSTER_ID:sub":"system:serviceaccount:default:*"}}}]}`,
		"003":       `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789123:root"},"Action":"sts:AssumeRole","Condition":{}}]}`,
		"no list":   `{"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com"]},"Action":["sts:AssumeRole"]}}`,
	} {
		if _, err := policy.Parse(policy.Trust, name, []byte(text)); err != nil {
			t.Error(err)
		}
	}
}
