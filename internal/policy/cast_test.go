package policy_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// The cast of spec iam-policy §10.
const (
	provider = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1"
	keys     = "oidc.example/id/A1"
	reader   = "system:serviceaccount:default:s3-reader"
	roleR    = "arn:aws:iam::111122223333:role/app"
	roleT    = "arn:aws:iam::111122223333:role/target"
	roleTB   = "arn:aws:iam::444455556666:role/target"
)

var (
	alice = policy.Principal{
		Kind:     policy.User,
		ARN:      "arn:aws:iam::111122223333:user/alice",
		UserName: "alice",
		Account:  "111122223333",
		EntityID: "AIDAALICEALICEALICE1",
	}
	session = policy.Principal{
		Kind:     policy.RoleSession,
		ARN:      "arn:aws:sts::111122223333:assumed-role/app/sess",
		RoleARN:  roleR,
		EntityID: "AROAAPPAPPAPPAPPAPP12",
		Account:  "111122223333",
	}
	pods = policy.Principal{Kind: policy.Service, ARN: "pods.eks.amazonaws.com"}
	oidc = policy.Principal{Kind: policy.WebIdentity, ARN: provider, UserID: provider, Account: "111122223333"}
)

// token is what a token of the reader brings.
func token(audience string) *policy.Context {
	return policy.NewContext().Set(keys+":sub", reader).Set(keys+":aud", audience)
}

// doc builds a document from statements written with ' for ".
func doc(statements ...string) string {
	return strings.ReplaceAll(`{'Version':'2012-10-17','Statement':[`+strings.Join(statements, ",")+`]}`, "'", `"`)
}

func webTrust(condition string) string {
	return doc(`{'Effect':'Allow','Principal':{'Federated':'` + provider +
		`'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{` + condition + `}}`)
}

func roleTrust(principal string) string {
	return doc(`{'Effect':'Allow','Principal':` + principal + `,'Action':'sts:AssumeRole'}`)
}

func parse(t testing.TB, kind policy.Kind, text string) *policy.Policy {
	t.Helper()
	parsed, err := policy.Parse(kind, "p", []byte(text))
	if err != nil {
		t.Fatalf("%v\nin %s", err, text)
	}
	return parsed
}
