package localaws_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/eksauth"

	"github.com/rolecall/rolecall/internal/credential"
	trustpolicy "github.com/rolecall/rolecall/internal/trust"
)

const clusterProd = "arn:aws:eks:eu-west-1:111122223333:cluster/prod"

// generated writes the policy that a request gives to a new role of that name.
func (w *world) generated(role string, request trustpolicy.Request, accounts ...string) *trustpolicy.Result {
	w.t.Helper()
	request.Account = accountID
	for _, text := range accounts {
		one, err := trustpolicy.ParseServiceAccount(text)
		if err != nil {
			w.t.Fatal(err)
		}
		request.ServiceAccounts = append(request.ServiceAccounts, one)
	}
	result, err := trustpolicy.Generate(request)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, document := range result.Documents {
		name := role
		if i > 0 {
			name = fmt.Sprintf("%s%d", role, i+1)
		}
		w.role(name, document.Text)
	}
	return result
}

// webRow is a token and whether it is to be let in.
type webRow struct {
	name   string
	claims edit
	in     bool
}

func (w *world) letsIn(role string, rows []webRow) {
	w.t.Helper()
	for _, row := range rows {
		got := w.assume(w.token(w.key, row.claims), more{"RoleArn": "arn:aws:iam::" + accountID + ":role/" + role})
		if (got.status == ok) != row.in {
			w.t.Errorf("%s, %s: %d %s %s", role, row.name, got.status, got.code, got.message)
		}
	}
}

func sub(namespace, name string) edit {
	return edit{"sub": "system:serviceaccount:" + namespace + ":" + name}
}

// TestGeneratedWeb: local IAM takes the documents, local STS lets in who was asked
// for and refuses their neighbours.
func TestGeneratedWeb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register("vault")
	w.generated("g", trustpolicy.Request{Issuers: []string{issuerURL}}, "app/api", "app/web", "jobs/*", "ci/run-*")
	tagged := sub("app", "api")
	tagged[tagsKey] = edit{"principal_tags": edit{"team": []string{"red"}}}
	audience := sub("app", "api")
	audience["aud"] = []string{"vault"}
	w.letsIn("g", []webRow{
		{"the first", sub("app", "api"), true},
		{"the second", sub("app", "web"), true},
		{"any of a namespace", sub("jobs", "batch"), true},
		{"one of a pattern", sub("ci", "run-7"), true},
		{"the default account", sub("default", "default"), false},
		{"another namespace", sub("web", "api"), false},
		{"a longer name", sub("app", "apix"), false},
		{"a longer namespace", sub("jobsx", "batch"), false},
		{"a namespace that ends so", sub("x-jobs", "batch"), false},
		{"outside of the pattern", sub("ci", "walk-7"), false},
		{"other letters", sub("app", "API"), false},
		{"no service account", edit{"sub": "app:api"}, false},
		{"a registered audience of others", audience, false},
		{"tags", tagged, false},
	})
	w.generated("t", trustpolicy.Request{Issuers: []string{issuerURL}, Tagged: true}, "app/api")
	w.letsIn("t", []webRow{
		{"tags", tagged, true},
		{"no tags", sub("app", "api"), true},
		{"others", sub("app", "web"), false},
	})
}

// TestGeneratedProvider is spec issuer-and-sts §16 row 1, and seed 004: the provider
// must be in the role's account, and the command that is printed makes it.
func TestGeneratedProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result := w.generated("g", trustpolicy.Request{Issuers: []string{issuerURL, "https://" + eksIssuer}}, "app/api")
	second := edit{"iss": "https://" + eksIssuer}
	inRole := more{"RoleArn": "arn:aws:iam::" + accountID + ":role/g"}
	w.expect("no provider", w.assume(w.token(w.key, second), inRole), http.StatusBadRequest, iit, generic)
	w.command(result.Needs[1].Create)
	w.expect("made", w.assume(w.token(w.key, second), inRole), ok, "", "")
	w.expect("the first cluster", w.assume(w.token(w.key, nil), inRole), ok, "", "")
	w.expect(
		"neither", w.assume(w.token(w.key, edit{"iss": "https://other.example/x"}), inRole), http.StatusBadRequest, iit,
		generic,
	)
}

// TestGeneratedSplit: what does not fit is refused by IAM, the parts are not, and
// each account has its role.
func TestGeneratedSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var accounts []string
	for i := range 60 {
		accounts = append(accounts, fmt.Sprintf("namespace-%d/account-%d", i%3, i))
	}
	request := trustpolicy.Request{Issuers: []string{issuerURL}}
	result := w.generated("g", request, accounts...)
	if len(result.Documents) != 2 {
		t.Fatalf("%d documents", len(result.Documents))
	}
	first, last := sub("namespace-0", "account-0"), sub("namespace-2", "account-59")
	w.letsIn("g", []webRow{{"first", first, true}, {"last", last, false}})
	w.letsIn("g2", []webRow{{"first", first, false}, {"last", last, true}})
	one := request
	one.Account, one.Quota = accountID, trustpolicy.LargestQuota
	for _, text := range accounts {
		account, err := trustpolicy.ParseServiceAccount(text)
		if err != nil {
			t.Fatal(err)
		}
		one.ServiceAccounts = append(one.ServiceAccounts, account)
	}
	whole, err := trustpolicy.Generate(one)
	if err != nil || len(whole.Documents) != 1 {
		t.Fatalf("%+v, %v", whole, err)
	}
	w.expect(
		"whole", w.iam("CreateRole", "RoleName", "whole", "AssumeRolePolicyDocument", whole.Documents[0].Text),
		http.StatusConflict, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048",
	)
}

// TestGeneratedEKS: EKS assumes the role for pods of the cluster, and of
// no other; with IRSA beside it for a migration.
func TestGeneratedEKS(t *testing.T) {
	t.Parallel()
	w, _ := newEKS(t)
	w.cluster("prod", types.AuthenticationModeApi)
	w.generated("pods", trustpolicy.Request{
		Issuers:     []string{issuerURL},
		EKSClusters: []string{clusterProd},
	}, "shop/cart")
	w.generated("elsewhere", trustpolicy.Request{EKSClusters: []string{clusterProd + "-2"}})
	association := w.associate("arn:aws:iam::111122223333:role/pods", nil)
	raw, auth := w.token(w.key, w.podClaims(nil)), w.eksAuthClient(w.node())
	ask := func() error {
		_, err := auth.AssumeRoleForPodIdentity(t.Context(), &eksauth.AssumeRoleForPodIdentityInput{
			ClusterName: aws.String("prod"),
			Token:       &raw,
		})
		return err
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
	web := w.podClaims(edit{"aud": []string{"sts.amazonaws.com"}})
	hostile := w.podClaims(edit{"aud": []string{"sts.amazonaws.com"}, "sub": "system:serviceaccount:shop:other"})
	w.letsIn("pods", []webRow{{"IRSA", web, true}, {"IRSA of another", hostile, false}})
	w.letsIn("elsewhere", []webRow{{"IRSA", web, false}})
	if _, err := w.eksClient(w.admin).UpdatePodIdentityAssociation(t.Context(), &eks.UpdatePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: association.AssociationId,
		RoleArn:       aws.String("arn:aws:iam::111122223333:role/elsewhere"),
	}); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, "another cluster's role", ask(), "AccessDeniedException", "")
}

// TestGeneratedBroker: a broker's role is let in for the pods that were named, with
// all that it must say; a target role for the sessions of the association's role.
func TestGeneratedBroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	take := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],` +
		`"Resource":"*"}]}`
	broker, other := w.session("broker", take), w.session("other", take)
	w.generated("g", trustpolicy.Request{
		Broker: &trustpolicy.Broker{RoleARN: "arn:aws:iam::111122223333:role/broker", ClusterARN: clusterProd},
	}, "app/api", "jobs/batch")
	w.generated("target", trustpolicy.Request{
		Target: &trustpolicy.Target{SourceRoleARN: "arn:aws:iam::111122223333:role/broker", ClusterARN: clusterProd},
	}, "app/api")
	id := func(account string) []string {
		return []string{"ExternalId", "eu-west-1/111122223333/prod/" + account}
	}
	tags := func(cluster, namespace, name string) []string {
		var pairs []string
		for i, tag := range [][2]string{
			{"eks-cluster-arn", cluster},
			{"kubernetes-namespace", namespace},
			{"kubernetes-service-account", name},
		} {
			pairs = append(
				pairs, fmt.Sprintf("Tags.member.%d.Key", i+1), tag[0], fmt.Sprintf("Tags.member.%d.Value", i+1), tag[1],
			)
		}
		return pairs
	}
	for _, row := range []struct {
		name, role string
		caller     credential.AWS
		pairs      []string
		in         bool
	}{
		{"one", "g", broker, append(tags(clusterProd, "app", "api"), id("app/api")...), true},
		{"the other", "g", broker, append(tags(clusterProd, "jobs", "batch"), id("jobs/batch")...), true},
		{
			name:   "a namespace and a name that do not belong together",
			role:   "g",
			caller: broker,
			pairs:  append(tags(clusterProd, "jobs", "api"), id("jobs/api")...),
		},
		{
			name:   "the tags of one, the id of the other",
			role:   "g",
			caller: broker,
			pairs:  append(tags(clusterProd, "app", "api"), id("jobs/batch")...),
		},
		{"another pod", "g", broker, append(tags(clusterProd, "default", "default"), id("default/default")...), false},
		{"another cluster", "g", broker, append(tags(clusterProd+"2", "app", "api"), id("app/api")...), false},
		{"no id", "g", broker, tags(clusterProd, "app", "api"), false},
		{"no tags", "g", broker, id("app/api"), false},
		{"another role", "g", other, append(tags(clusterProd, "app", "api"), id("app/api")...), false},
		{"target", "target", broker, id("app/api"), true},
		{"target, tagged", "target", broker, append(tags(clusterProd, "app", "api"), id("app/api")...), true},
		{"target, no id", "target", broker, nil, false},
		{"target, another id", "target", broker, id("app/apix"), false},
		{"target, another role", "target", other, id("app/api"), false},
	} {
		got := w.take(row.caller, row.role, row.pairs...)
		if (got.status == ok) != row.in || (!row.in && !strings.HasPrefix(got.code, "AccessDenied")) {
			t.Errorf("%s: %d %s %s\n%s", row.name, got.status, got.code, got.message, w.reason(got))
		}
	}
}

// TestMergedIsTaken: a policy that was merged into a role's present one is stored
// by IAM, and what others had stays as it was.
func TestMergedIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	present := `{ "Version": "2012-10-17",
  "Statement": [ {"Sid":"Ec2","Effect":"Allow", "Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},
    {"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity"} ] }`
	w.role("m", present)
	w.letsIn("m", []webRow{{"anybody before", sub("default", "default"), true}})
	result, err := trustpolicy.Generate(trustpolicy.Request{
		Account:         accountID,
		Issuers:         []string{issuerURL},
		ServiceAccounts: []trustpolicy.ServiceAccount{{Namespace: "app", Name: "api"}},
		Present:         []byte(present),
	})
	if err != nil {
		t.Fatal(err)
	}
	text := result.Documents[0].Text
	if head, _, _ := strings.Cut(
		present, `{"Effect":"Allow","Principal":{"Federated"`,
	); !strings.HasPrefix(text, head) {
		t.Errorf("others' bytes changed: %s", text)
	}
	w.mustIAM("UpdateAssumeRolePolicy", "RoleName", "m", "PolicyDocument", text)
	w.letsIn("m", []webRow{{"the one", sub("app", "api"), true}, {"anybody", sub("default", "default"), false}})
}
