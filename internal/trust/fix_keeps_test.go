package trust_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/trust"
)

// TestFixKeepsIn: no edit keeps out the workload that a document was said to be for, and that
// it lets in.
func TestFixKeepsIn(t *testing.T) {
	t.Parallel()
	const (
		issuer = "oidc.eks.eu-central-1.amazonaws.com/id/D539D4633E53DE1B71EXAMPLEAAAAAA1"
		arn    = "arn:aws:iam::111122223333:oidc-provider/" + issuer
		allow  = `{"Effect":"Allow","Principal":{"Federated":"` + arn + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{` +
			`"StringEquals":{"` + issuer + `:sub":"system:serviceaccount:shop:cart","` + issuer + `:aud":"sts.amazonaws.com"}`
	)
	options := policy.LintOptions{Account: "111122223333", Role: &policy.RoleFacts{
		Partition: "aws", Issuers: []string{issuer}, Audience: "sts.amazonaws.com", Registered: []string{"sts.amazonaws.com"},
		Subjects: []string{"system:serviceaccount:shop:cart"},
	}}
	for name, statements := range map[string]string{
		"MFA if there is a word of it": allow + `,"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}}`,
		"a Deny without MFA": allow + `}},{"Effect":"Deny","Principal":"*","Action":"*",` +
			`"Condition":{"Bool":{"aws:MultiFactorAuthPresent":"false"}}}`,
		"all of no tags":            allow + `,"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}}`,
		"all of no transitive tags": allow + `,"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["a"]}}}`,
	} {
		fixed := trust.Fix("trust.json", []byte(`{"Version":"2012-10-17","Statement":[`+statements+`]}`), options)
		for _, f := range fixed.Left {
			if f.Rule == "subject-refused" {
				t.Errorf("%s: %s\n%s", name, f.Message, fixed.Text)
			}
		}
	}
}
