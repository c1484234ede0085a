package broker_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// TestTagsGoAsFarAsTheySay: a further role that does not allow sts:TagSession can be assumed
// with the session of a pod unless its tags are transitive, with a target role too; and the
// pod's own session has its tags unless there are none.
func TestTagsGoAsFarAsTheySay(t *testing.T) {
	t.Parallel()
	for _, mode := range []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole} {
		for tagging, want := range map[v1alpha1.SessionTagging]struct{ further, tagged bool }{
			"":                      {further: false, tagged: true},
			v1alpha1.TransitiveTags: {further: false, tagged: true},
			v1alpha1.LocalTags:      {further: true, tagged: true},
			v1alpha1.NoTags:         {further: true, tagged: false},
		} {
			for _, target := range []bool{false, true} {
				w := newWorld(t, settings{mode: mode})
				tagsAllowed := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},` +
					`"Action":["sts:AssumeRole","sts:TagSession"]}]}`
				w.role("further", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},`+
					`"Action":"sts:AssumeRole"}]}`, 3600)
				w.role("tagged", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},`+
					`"Action":["sts:AssumeRole","sts:TagSession"],`+
					`"Condition":{"StringEquals":{"aws:PrincipalTag/kubernetes-namespace":"shop"}}}]}`, 3600)
				everything := allow(`["sts:AssumeRole","sts:TagSession"]`, "*")
				first := trustAll
				if mode == v1alpha1.BrokerRole {
					first = tagsAllowed
				}
				w.role("cart", first, 43200, everything)
				w.role("target", tagsAllowed, 43200, everything)
				w.associate(func(a *v1alpha1.PodIdentityAssociation) {
					a.Spec.SessionTagging = tagging
					if target {
						a.Spec.TargetRoleARN = "arn:aws:iam::" + accountID + ":role/target"
					}
				})
				got := w.ask(w.token(nil))
				if got.status != http.StatusOK {
					t.Errorf("mode %s, tags %q, target %t: %+v", mode, tagging, target, got)
					continue
				}
				own := got.body.Credentials
				client := sts.New(sts.Options{
					BaseEndpoint: aws.String(w.aws), Region: region,
					Credentials: credentials.NewStaticCredentialsProvider(
						own.AccessKeyID, own.SecretAccessKey, own.SessionToken),
				})
				for role, allowed := range map[string]bool{"further": want.further, "tagged": want.tagged} {
					_, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
						RoleArn: aws.String("arn:aws:iam::" + accountID + ":role/" + role), RoleSessionName: aws.String("further"),
					})
					if (err == nil) != allowed {
						t.Errorf("mode %s, tags %q, target %t: role %s: %v", mode, tagging, target, role, err)
					}
				}
			}
		}
	}
}
