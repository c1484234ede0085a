package localaws_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localeks "github.com/rolecall/rolecall/internal/localaws/eks"
)

const (
	podTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	clusterTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	roleCart = "arn:aws:iam::111122223333:role/team/cart"
)

func (w *world) eksClient(c credential.AWS) *eks.Client {
	return eks.New(eks.Options{
		BaseEndpoint: aws.String(w.url),
		Region:       "eu-west-1",
		Credentials:  w.provider(c),
		Retryer:      aws.NopRetryer{},
	})
}

// putRole makes a role without asking.
func (w *world) putRole(path, name, trust string, permissions ...string) {
	w.t.Helper()
	role := &account.Role{Name: name, Path: path, ID: account.NewRoleID(), MaxSession: 3600, Trust: trust}
	for i, text := range permissions {
		role.Policies = append(role.Policies, account.Document{Name: fmt.Sprint("p", i), Text: text})
	}
	if err := w.accounts.Default().Update(func(state account.State) error { return state.PutRole(role) }); err != nil {
		w.t.Fatal(err)
	}
}

// cluster makes a cluster whose tokens are the world's.
func (w *world) cluster(name string, mode types.AuthenticationMode) *types.Cluster {
	w.t.Helper()
	out, err := w.eksClient(w.admin).CreateCluster(w.t.Context(), &eks.CreateClusterInput{
		Name:               &name,
		RoleArn:            aws.String("arn:aws:iam::111122223333:role/eks"),
		ResourcesVpcConfig: &types.VpcConfigRequest{SubnetIds: []string{"subnet-1", "subnet-2"}},
		AccessConfig:       &types.CreateAccessConfigRequest{AuthenticationMode: mode},
		Tags: map[string]string{
			"rolecall.io/issuer": issuerURL,
			"team":               "red",
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Cluster
}

func newEKS(t testing.TB) (*world, *eks.Client) {
	w := newWorld(t)
	w.realTime()
	w.putRole("/", "eks", clusterTrust)
	w.putRole("/team/", "cart", podTrust)
	return w, w.eksClient(w.admin)
}

func TestEKSClusters(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	made := w.cluster("prod", types.AuthenticationModeApiAndConfigMap)
	if made.Status != types.ClusterStatusActive || *made.Identity.Oidc.Issuer != issuerURL ||
		*made.Arn != "arn:aws:eks:eu-west-1:111122223333:cluster/prod" ||
		made.AccessConfig.AuthenticationMode != types.AuthenticationModeApiAndConfigMap ||
		!slices.Equal(made.ResourcesVpcConfig.SubnetIds, []string{"subnet-1", "subnet-2"}) ||
		!made.ResourcesVpcConfig.EndpointPublicAccess || made.Tags["team"] != "red" ||
		time.Since(*made.CreatedAt).Abs() > time.Minute {
		t.Errorf("created %+v", made)
	}
	if err := eks.NewClusterActiveWaiter(client).Wait(
		ctx, &eks.DescribeClusterInput{Name: aws.String("prod")}, time.Second,
	); err != nil {
		t.Error(err)
	}
	plain, err := client.CreateCluster(ctx, &eks.CreateClusterInput{
		Name:               aws.String("plain"),
		RoleArn:            made.RoleArn,
		ResourcesVpcConfig: &types.VpcConfigRequest{},
		ClientRequestToken: aws.String("once"),
	})
	if err != nil {
		t.Fatal(err)
	}
	issuer := aws.ToString(plain.Cluster.Identity.Oidc.Issuer)
	ca := aws.ToString(plain.Cluster.CertificateAuthority.Data)
	pem, err := base64.StdEncoding.DecodeString(ca)
	if !regexp.MustCompile(`^https://oidc\.eks\.eu-west-1\.amazonaws\.com/id/[0-9A-F]{32}$`).MatchString(issuer) ||
		err != nil || !strings.HasPrefix(string(pem), "-----BEGIN CERTIFICATE") {
		t.Errorf("issuer %q, CA %q, %v", issuer, pem, err)
	}
	again, err := client.CreateCluster(ctx, &eks.CreateClusterInput{
		Name:               aws.String("plain"),
		RoleArn:            made.RoleArn,
		ResourcesVpcConfig: &types.VpcConfigRequest{},
		ClientRequestToken: aws.String("once"),
	})
	if err != nil || aws.ToString(again.Cluster.Identity.Oidc.Issuer) != issuer {
		t.Errorf("the same again: %v, %v", again, err)
	}
	create := func(edit func(*eks.CreateClusterInput)) error {
		input := &eks.CreateClusterInput{
			Name:               aws.String("new"),
			RoleArn:            made.RoleArn,
			ResourcesVpcConfig: &types.VpcConfigRequest{},
		}
		edit(input)
		_, err := client.CreateCluster(ctx, input)
		return err
	}
	update := func(name string, mode types.AuthenticationMode) error {
		out, err := client.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{
			Name:         &name,
			AccessConfig: &types.UpdateAccessConfigRequest{AuthenticationMode: mode},
		})
		if err != nil {
			return err
		}
		described, err := client.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: &name, UpdateId: out.Update.Id})
		if err == nil &&
			(described.Update.Status != types.UpdateStatusSuccessful ||
				out.Update.Type != types.UpdateTypeAccessConfigUpdate ||
				aws.ToString(out.Update.Params[0].Value) != string(mode)) {
			t.Errorf("update %+v, then %+v", out.Update, described.Update)
		}
		return err
	}
	const parameter = "InvalidParameterException"
	for _, row := range []struct {
		name          string
		err           error
		code, message string
	}{
		{
			name:    "taken",
			err:     create(func(i *eks.CreateClusterInput) { i.Name = aws.String("prod") }),
			code:    "ResourceInUseException",
			message: "Cluster already exists with name: prod",
		},
		{
			name:    "name",
			err:     create(func(i *eks.CreateClusterInput) { i.Name = aws.String("-x") }),
			code:    parameter,
			message: "1 validation error detected: Value '-x' at 'name' failed",
		},
		{
			name:    "role without trust",
			err:     create(func(i *eks.CreateClusterInput) { i.RoleArn = aws.String(roleCart) }),
			code:    parameter,
			message: "Role with arn: " + roleCart + ", could not be assumed because",
		},
		{
			name: "foreign role",
			err: create(func(i *eks.CreateClusterInput) {
				i.RoleArn = aws.String("arn:aws:iam::999900001111:role/x")
			}),
			code:    "AccessDeniedException",
			message: "Cross-account pass role is not allowed.",
		},
		{
			name: "no bootstrap",
			err: create(func(i *eks.CreateClusterInput) {
				i.AccessConfig = &types.CreateAccessConfigRequest{
					BootstrapClusterCreatorAdminPermissions: aws.Bool(false),
				}
			}),
			code: parameter,
			message: "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to " +
				"CONFIG_MAP",
		},
		{
			name:    "version",
			err:     create(func(i *eks.CreateClusterInput) { i.Version = aws.String("2") }),
			code:    parameter,
			message: "unsupported Kubernetes version",
		},
		{
			name: "issuer",
			err: create(func(i *eks.CreateClusterInput) {
				i.Tags = map[string]string{"rolecall.io/issuer": "http://x"}
			}),
			code:    parameter,
			message: `the issuer "http://x" is not an https URL`,
		},
		{
			name:    "two steps at once",
			err:     update("plain", types.AuthenticationModeApi),
			code:    parameter,
			message: "Unsupported authentication mode update from CONFIG_MAP to API",
		},
		{
			name:    "no step",
			err:     update("plain", types.AuthenticationModeConfigMap),
			code:    parameter,
			message: "Unsupported authentication mode update from CONFIG_MAP to CONFIG_MAP",
		},
		{"first step", update("plain", types.AuthenticationModeApiAndConfigMap), "", ""},
		{"second step", update("plain", types.AuthenticationModeApi), "", ""},
		{
			name:    "back",
			err:     update("plain", types.AuthenticationModeApiAndConfigMap),
			code:    parameter,
			message: "Unsupported authentication mode update from API to API_AND_CONFIG_MAP",
		},
		{
			name:    "unknown",
			err:     update("none", types.AuthenticationModeApi),
			code:    "ResourceNotFoundException",
			message: "No cluster found for name: none.",
		},
	} {
		if row.code == "" && row.err == nil {
			continue
		}
		refusedWith(t, row.name, row.err, row.code, row.message)
	}
	listed, err := client.ListClusters(ctx, &eks.ListClustersInput{})
	if err != nil || !slices.Equal(listed.Clusters, []string{"plain", "prod"}) {
		t.Errorf("clusters %v, %v", listed, err)
	}
	configs, err := client.ListIdentityProviderConfigs(
		ctx, &eks.ListIdentityProviderConfigsInput{ClusterName: aws.String("prod")},
	)
	if err != nil || len(configs.IdentityProviderConfigs) != 0 {
		t.Errorf("identity providers %v, %v", configs, err)
	}
	gone, err := client.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: aws.String("plain")})
	if err != nil || gone.Cluster.Status != types.ClusterStatusDeleting {
		t.Errorf("deleted %v, %v", gone, err)
	}
	_, err = client.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String("plain")})
	refusedWith(t, "deleted", err, "ResourceNotFoundException", "No cluster found for name: plain.")
	_, err = client.ListNodegroups(ctx, &eks.ListNodegroupsInput{ClusterName: aws.String("prod")})
	refusedWith(t, "not emulated", err, "NotImplementedException", "allowed, but not emulated: eks:ListNodegroups")
}

func TestAccessEntries(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	w.cluster("old", types.AuthenticationModeConfigMap)
	w.cluster("prod", types.AuthenticationModeApi)
	prod := aws.String("prod")
	create := func(principal string, edit func(*eks.CreateAccessEntryInput)) (*types.AccessEntry, error) {
		input := &eks.CreateAccessEntryInput{ClusterName: prod, PrincipalArn: &principal}
		if edit != nil {
			edit(input)
		}
		out, err := client.CreateAccessEntry(ctx, input)
		if err != nil {
			return nil, err
		}
		return out.AccessEntry, nil
	}
	cart, err := create(roleCart, func(i *eks.CreateAccessEntryInput) {
		i.KubernetesGroups, i.Tags = []string{"viewers"}, map[string]string{"a": "b"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(
		`^arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/cart/[0-9a-f-]{36}$`,
	).MatchString(*cart.AccessEntryArn) ||
		*cart.Username != "arn:aws:sts::111122223333:assumed-role/cart/{{SessionName}}" || *cart.Type != "STANDARD" ||
		!cart.CreatedAt.Equal(*cart.ModifiedAt) {
		t.Errorf("entry %+v", cart)
	}
	node, err := create("arn:aws:iam::111122223333:role/eks", func(i *eks.CreateAccessEntryInput) {
		i.Type = aws.String("EC2_LINUX")
	})
	if err != nil || *node.Username != "system:node:{{EC2PrivateDNSName}}" ||
		!slices.Equal(node.KubernetesGroups, []string{"system:nodes"}) {
		t.Errorf("node %+v, %v", node, err)
	}
	const parameter, format = "InvalidParameterException", "The principalArn parameter format is not valid"
	for _, row := range []struct {
		name, principal string
		edit            func(*eks.CreateAccessEntryInput)
		code, message   string
	}{
		{
			name:      "twice",
			principal: roleCart,
			code:      "ResourceInUseException",
			message:   "The specified access entry resource is already in use on this cluster.",
		},
		{"session", "arn:aws:sts::111122223333:assumed-role/cart/s", nil, parameter, format},
		{"group", "arn:aws:iam::111122223333:group/g", nil, parameter, format},
		{"wildcard", "arn:aws:iam::111122223333:role/*", nil, parameter, format},
		{"root", "arn:aws:iam::111122223333:root", nil, parameter, format},
		{
			name:      "nobody",
			principal: "arn:aws:iam::111122223333:role/nobody",
			code:      parameter,
			message:   "The specified principalArn is invalid: invalid principal.",
		},
		{
			name:      "another path",
			principal: "arn:aws:iam::111122223333:role/eks/x/cart",
			code:      parameter,
			message:   "The specified principalArn is invalid: invalid principal.",
		},
		{
			name:      "service-linked",
			principal: "arn:aws:iam::111122223333:role/aws-service-role/eks.amazonaws.com/X",
			code:      parameter,
			message: "The caller is not allowed to modify access entries with a principalArn value of a Service " +
				"Linked Role",
		},
		{
			name:      "system group",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.KubernetesGroups = []string{"system:masters"} },
			code:      parameter,
			message:   "The kubernetes group name system:masters is invalid, it cannot start with system:",
		},
		{
			name:      "reserved name",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.Username = aws.String("eks:x") },
			code:      parameter,
			message:   "The username eks:x is invalid",
		},
		{
			name:      "no colon",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.Username = aws.String("john{{SessionName}}") },
			code:      parameter,
			message:   "The username john{{SessionName}} is invalid",
		},
		{
			name:      "type",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.Type = aws.String("standard") },
			code:      parameter,
			message:   "The type standard is invalid",
		},
		{
			name:      "node with groups",
			principal: roleR,
			edit: func(i *eks.CreateAccessEntryInput) {
				i.Type, i.KubernetesGroups = aws.String("EC2_LINUX"), []string{"g"}
			},
			code:    parameter,
			message: "The username and the kubernetesGroups",
		},
		{
			name:      "node user",
			principal: "arn:aws:iam::111122223333:user/admin",
			edit:      func(i *eks.CreateAccessEntryInput) { i.Type = aws.String("EC2_LINUX") },
			code:      parameter,
			message:   "The specified principalArn is invalid",
		},
		{
			name:      "config map",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.ClusterName = aws.String("old") },
			code:      "InvalidRequestException",
			message:   "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP]",
		},
		{
			name:      "no cluster",
			principal: roleR,
			edit:      func(i *eks.CreateAccessEntryInput) { i.ClusterName = aws.String("none") },
			code:      "ResourceNotFoundException",
			message:   "No cluster found for name: none.",
		},
		{
			name:      "foreign, unknown account",
			principal: "arn:aws:iam::123412341234:role/x",
			edit:      func(i *eks.CreateAccessEntryInput) { i.Username = aws.String("jo:hn{{SessionName}}") },
		},
	} {
		_, err := create(row.principal, row.edit)
		if row.code == "" && err == nil {
			continue
		}
		refusedWith(t, row.name, err, row.code, row.message)
	}
	viewer := "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	give := func(principal, policy string, scope types.AccessScopeType, namespaces ...string) error {
		_, err := client.AssociateAccessPolicy(ctx, &eks.AssociateAccessPolicyInput{
			ClusterName:  prod,
			PrincipalArn: &principal,
			PolicyArn:    &policy,
			AccessScope: &types.AccessScope{
				Type:       scope,
				Namespaces: namespaces,
			},
		})
		return err
	}
	for _, row := range []struct {
		name          string
		err           error
		code, message string
	}{
		{
			name:    "node",
			err:     give("arn:aws:iam::111122223333:role/eks", viewer, "cluster"),
			code:    parameter,
			message: `This operation can only be performed on Access Entries with a type of "STANDARD".`,
		},
		{
			name:    "no entry",
			err:     give(roleR, viewer, "cluster"),
			code:    "ResourceNotFoundException",
			message: "The specified principalArn could not be found.",
		},
		{
			name:    "IAM policy",
			err:     give(roleCart, "arn:aws:iam::aws:policy/AdministratorAccess", "cluster"),
			code:    parameter,
			message: "The policyArn parameter format is not valid",
		},
		{
			name:    "internal policy",
			err:     give(roleCart, "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEventPolicy", "cluster"),
			code:    parameter,
			message: "The specified policyArn is invalid",
		},
		{
			name:    "cluster with namespaces",
			err:     give(roleCart, viewer, "cluster", "a"),
			code:    parameter,
			message: "The access scope type cluster cannot have namespaces",
		},
		{"no namespaces", give(roleCart, viewer, "namespace"), parameter, "The access scope type namespace must have"},
		{"bad namespace", give(roleCart, viewer, "namespace", "A"), parameter, "The namespace A is invalid"},
		{"good", give(roleCart, viewer, "cluster"), "", ""},
		{"changed", give(roleCart, viewer, "namespace", "dev-*", "prod"), "", ""},
	} {
		if row.code == "" && row.err == nil {
			continue
		}
		refusedWith(t, row.name, row.err, row.code, row.message)
	}
	associated, err := client.ListAssociatedAccessPolicies(ctx, &eks.ListAssociatedAccessPoliciesInput{
		ClusterName:  prod,
		PrincipalArn: aws.String(roleCart),
	})
	if err != nil || len(associated.AssociatedAccessPolicies) != 1 ||
		!slices.Equal(associated.AssociatedAccessPolicies[0].AccessScope.Namespaces, []string{"dev-*", "prod"}) {
		t.Errorf("policies %+v, %v", associated, err)
	}
	with, err := client.ListAccessEntries(ctx, &eks.ListAccessEntriesInput{
		ClusterName:         prod,
		AssociatedPolicyArn: &viewer,
	})
	if err != nil || !slices.Equal(with.AccessEntries, []string{roleCart}) {
		t.Errorf("entries with the policy %v, %v", with, err)
	}
	all, err := client.ListAccessEntries(ctx, &eks.ListAccessEntriesInput{ClusterName: prod})
	if err != nil || len(all.AccessEntries) != 4 ||
		!slices.Contains(all.AccessEntries, "arn:aws:iam::111122223333:user/admin") {
		t.Errorf("entries %v, %v", all, err)
	}
	changed, err := client.UpdateAccessEntry(ctx, &eks.UpdateAccessEntryInput{
		ClusterName:      prod,
		PrincipalArn:     aws.String(roleCart),
		KubernetesGroups: []string{},
		Username:         aws.String("cart"),
	})
	if err != nil || len(changed.AccessEntry.KubernetesGroups) != 0 || *changed.AccessEntry.Username != "cart" ||
		changed.AccessEntry.Tags["a"] != "b" {
		t.Errorf("updated %+v, %v", changed, err)
	}
	if _, err := client.DisassociateAccessPolicy(ctx, &eks.DisassociateAccessPolicyInput{
		ClusterName:  prod,
		PrincipalArn: aws.String(roleCart),
		PolicyArn:    &viewer,
	}); err != nil {
		t.Error(err)
	}
	if _, err := client.DeleteAccessEntry(ctx, &eks.DeleteAccessEntryInput{
		ClusterName:  prod,
		PrincipalArn: aws.String(roleCart),
	}); err != nil {
		t.Error(err)
	}
	_, err = client.DescribeAccessEntry(ctx, &eks.DescribeAccessEntryInput{
		ClusterName:  prod,
		PrincipalArn: aws.String(roleCart),
	})
	refusedWith(t, "deleted", err, "ResourceNotFoundException", "The specified principalArn could not be found.")
	known, err := client.ListAccessPolicies(ctx, &eks.ListAccessPoliciesInput{})
	if err != nil ||
		!slices.ContainsFunc(known.AccessPolicies, func(p types.AccessPolicy) bool { return *p.Arn == viewer }) {
		t.Errorf("access policies %v, %v", known, err)
	}
}

// TestAssociations is the association table of spec podidentity §21, as far as
// it is about AWS.
func TestAssociations(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	w.cluster("prod", types.AuthenticationModeApi)
	w.putRole("/", "other", podTrust)
	w.putRole("/", "untrusting", clusterTrust)
	prod := aws.String("prod")
	create := func(edit func(*eks.CreatePodIdentityAssociationInput)) (*types.PodIdentityAssociation, error) {
		input := &eks.CreatePodIdentityAssociationInput{
			ClusterName:    prod,
			Namespace:      aws.String("shop"),
			ServiceAccount: aws.String("cart"),
			RoleArn:        aws.String(roleCart),
		}
		if edit != nil {
			edit(input)
		}
		out, err := client.CreatePodIdentityAssociation(ctx, input)
		if err != nil {
			return nil, err
		}
		return out.Association, nil
	}
	type edit = func(*eks.CreatePodIdentityAssociationInput)
	account := func(name string, more edit) edit {
		return func(i *eks.CreatePodIdentityAssociationInput) {
			i.ServiceAccount = &name
			if more != nil {
				more(i)
			}
		}
	}
	target := aws.String("arn:aws:iam::444455556666:role/data")
	once := func(i *eks.CreatePodIdentityAssociationInput) {
		i.ClientRequestToken, i.TargetRoleArn = aws.String("t1"), target
	}
	first, err := create(once)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^a-[a-z0-9]{17}$`).MatchString(*first.AssociationId) ||
		*first.AssociationArn != "arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/"+
			*first.AssociationId ||
		!first.CreatedAt.Equal(*first.ModifiedAt) || *first.ExternalId != "eu-west-1/111122223333/prod/shop/cart" ||
		first.Policy != nil || *first.DisableSessionTags {
		t.Errorf("association %+v", first)
	}
	same, err := create(once)
	if err != nil || *same.AssociationId != *first.AssociationId {
		t.Errorf("the same token again: %+v, %v", same, err)
	}
	long := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	exactly := func(n int) *string { return aws.String(long + strings.Repeat(" ", n-len(long))) }
	const parameter = "InvalidParameterException"
	tooMany := map[string]string{}
	for i := range 51 {
		tooMany[fmt.Sprint("k", i)] = ""
	}
	for _, row := range []struct {
		name          string
		edit          func(*eks.CreatePodIdentityAssociationInput)
		code, message string
	}{
		{"A2", nil, "ResourceInUseException", "Association already exists: " + *first.AssociationId},
		{
			name:    "the same token with other parameters",
			edit:    account("x", once),
			code:    parameter,
			message: "The clientRequestToken was used before with other parameters.",
		},
		{
			name:    "policy with session tags",
			edit:    account("x", func(i *eks.CreatePodIdentityAssociationInput) { i.Policy = &long }),
			code:    parameter,
			message: "A policy can be set only if session tags are disabled.",
		},
		{
			name: "policy of 2049 characters",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.Policy, i.DisableSessionTags = exactly(2049), aws.Bool(true)
			}),
			code:    parameter,
			message: "The policy is longer",
		},
		{
			name: "policy of 2048 characters",
			edit: account("policy", func(i *eks.CreatePodIdentityAssociationInput) {
				i.Policy, i.DisableSessionTags = exactly(2048), aws.Bool(true)
			}),
		},
		{
			name: "no policy",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.Policy, i.DisableSessionTags = aws.String("{"), aws.Bool(true)
			}),
			code:    parameter,
			message: "The policy is not valid.",
		},
		{
			name:    "no such cluster",
			edit:    func(i *eks.CreatePodIdentityAssociationInput) { i.ClusterName = aws.String("none") },
			code:    "ResourceNotFoundException",
			message: "No cluster found for name: none.",
		},
		{
			name:    "51 tags",
			edit:    account("x", func(i *eks.CreatePodIdentityAssociationInput) { i.Tags = tooMany }),
			code:    parameter,
			message: "A resource has at most 50 tags.",
		},
		{
			name: "aws tag",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.Tags = map[string]string{"AWS:x": ""}
			}),
			code:    parameter,
			message: "Tag keys beginning with aws: are reserved.",
		},
		{"wildcard in the service account", account("foo-*", nil), parameter, "The service account foo-* is invalid"},
		{
			name:    "namespace",
			edit:    func(i *eks.CreatePodIdentityAssociationInput) { i.Namespace = aws.String("*") },
			code:    parameter,
			message: "The namespace * is invalid",
		},
		{
			name: "no role",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.RoleArn = aws.String(roleR + "x")
			}),
			code:    parameter,
			message: "Role provided in the request does not exist",
		},
		{
			name: "no path",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.RoleArn = aws.String("arn:aws:iam::111122223333:role/cart")
			}),
			code:    parameter,
			message: "Role provided in the request does not exist",
		},
		{
			name: "no trust",
			edit: account("x", func(i *eks.CreatePodIdentityAssociationInput) {
				i.RoleArn = aws.String("arn:aws:iam::111122223333:role/untrusting")
			}),
			code:    parameter,
			message: "Trust policy of the role provided is invalid",
		},
		{
			name:    "no role ARN",
			edit:    account("x", func(i *eks.CreatePodIdentityAssociationInput) { i.RoleArn = aws.String("cart") }),
			code:    parameter,
			message: "Invalid role ARN: cart",
		},
		{
			name:    "foreign role",
			edit:    account("x", func(i *eks.CreatePodIdentityAssociationInput) { i.RoleArn = target }),
			code:    "AccessDeniedException",
			message: "Cross-account pass role is not allowed.",
		},
		{
			name:    "target",
			edit:    account("x", func(i *eks.CreatePodIdentityAssociationInput) { i.TargetRoleArn = aws.String("*") }),
			code:    parameter,
			message: "Invalid target role ARN: *",
		},
	} {
		_, err := create(row.edit)
		if row.code == "" && err == nil {
			continue
		}
		refusedWith(t, row.name, err, row.code, row.message)
	}
	update := func(
		id string, edit func(*eks.UpdatePodIdentityAssociationInput),
	) (*types.PodIdentityAssociation, error) {
		input := &eks.UpdatePodIdentityAssociationInput{ClusterName: prod, AssociationId: &id}
		edit(input)
		out, err := client.UpdatePodIdentityAssociation(ctx, input)
		if err != nil {
			return nil, err
		}
		return out.Association, nil
	}
	w.advance(time.Second)
	other := "arn:aws:iam::111122223333:role/other"
	change := func(i *eks.UpdatePodIdentityAssociationInput) {
		i.RoleArn, i.ClientRequestToken = &other, aws.String("u1")
	}
	for range 2 { // the second is the same call again
		changed, err := update(*first.AssociationId, change)
		if err != nil || *changed.RoleArn != other || !changed.ModifiedAt.After(*changed.CreatedAt) ||
			*changed.AssociationId != *first.AssociationId {
			t.Errorf("an update: %+v, %v", changed, err)
		}
	}
	_, err = update(*first.AssociationId, func(*eks.UpdatePodIdentityAssociationInput) {})
	refusedWith(t, "an update that changes nothing", err, parameter, "The update changes nothing.")
	_, err = update("a-00000000000000000", change)
	refusedWith(
		t, "an update of no association", err, "ResourceNotFoundException",
		"No association found for ID: a-00000000000000000",
	)
	cleared, err := update(*first.AssociationId, func(i *eks.UpdatePodIdentityAssociationInput) {
		i.TargetRoleArn = aws.String("")
	})
	if err != nil || cleared.TargetRoleArn != nil || cleared.ExternalId != nil {
		t.Errorf("cleared: %+v, %v", cleared, err)
	}
	if _, err := client.TagResource(ctx, &eks.TagResourceInput{
		ResourceArn: first.AssociationArn,
		Tags:        map[string]string{"a": "1", "b": "2"},
	}); err != nil {
		t.Error(err)
	}
	if _, err := client.UntagResource(ctx, &eks.UntagResourceInput{
		ResourceArn: first.AssociationArn,
		TagKeys:     []string{"a"},
	}); err != nil {
		t.Error(err)
	}
	tags, err := client.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: first.AssociationArn})
	if err != nil || len(tags.Tags) != 1 || tags.Tags["b"] != "2" {
		t.Errorf("tags %v, %v", tags, err)
	}
	_, err = client.TagResource(ctx, &eks.TagResourceInput{ResourceArn: first.AssociationArn, Tags: tooMany})
	refusedWith(t, "tags added beyond 50", err, "BadRequestException", "A resource has at most 50 tags.")
	_, err = client.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{
		ResourceArn: aws.String(*first.AssociationArn + "x"),
	})
	refusedWith(t, "no such ARN", err, "NotFoundException", "No resource found for ARN")
	deleted, err := client.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{
		ClusterName:   prod,
		AssociationId: first.AssociationId,
	})
	if err != nil || *deleted.Association.RoleArn != other {
		t.Errorf("deletion: %+v, %v", deleted, err)
	}
	_, err = client.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{
		ClusterName:   prod,
		AssociationId: first.AssociationId,
	})
	refusedWith(t, "second deletion", err, "ResourceNotFoundException", "No association found for ID: ")
	if again, err := create(once); err != nil || *again.AssociationId == *first.AssociationId {
		t.Errorf("the same association made again: %+v, %v", again, err)
	}
}

// TestManyAssociations: pages, filters and the quota.
func TestManyAssociations(t *testing.T) {
	t.Parallel()
	w, client := newEKS(t)
	ctx := t.Context()
	w.cluster("prod", types.AuthenticationModeApi)
	prod := aws.String("prod")
	fill := func(from, to int) {
		err := w.accounts.Default().Update(func(state account.State) error {
			for i := from; i < to; i++ {
				one := &localeks.Association{
					ID:             localeks.NewAssociationID(),
					Namespace:      fmt.Sprint("n", i%2),
					ServiceAccount: fmt.Sprint("s", i),
					RoleARN:        roleCart,
				}
				if err := localeks.In(state, "eu-west-1", "prod").PutAssociation(one); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(0, 250)
	pages := eks.NewListPodIdentityAssociationsPaginator(client, &eks.ListPodIdentityAssociationsInput{
		ClusterName: prod,
		MaxResults:  aws.Int32(100),
	})
	var sizes []int
	seen := map[string]bool{}
	for pages.HasMorePages() {
		onPage, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(onPage.Associations))
		for _, one := range onPage.Associations {
			seen[*one.ServiceAccount] = true
		}
	}
	if !slices.Equal(sizes, []int{100, 100, 50}) || len(seen) != 250 {
		t.Errorf("pages of %v, %d associations", sizes, len(seen))
	}
	list := func(edit func(*eks.ListPodIdentityAssociationsInput)) (int, error) {
		input := &eks.ListPodIdentityAssociationsInput{ClusterName: prod}
		edit(input)
		out, err := client.ListPodIdentityAssociations(ctx, input)
		if err != nil {
			return 0, err
		}
		return len(out.Associations), nil
	}
	for _, row := range []struct {
		name          string
		edit          func(*eks.ListPodIdentityAssociationsInput)
		want          int
		code, message string
	}{
		{
			name: "pages of none",
			edit: func(i *eks.ListPodIdentityAssociationsInput) { i.MaxResults = aws.Int32(0) },
			code: "InvalidParameterException",
			message: "1 validation error detected: Value '0' at 'maxResults' failed to satisfy constraint: Member " +
				"must have value greater than or equal to 1",
		},
		{
			name:    "pages of 101",
			edit:    func(i *eks.ListPodIdentityAssociationsInput) { i.MaxResults = aws.Int32(101) },
			code:    "InvalidParameterException",
			message: "1 validation error detected: Value '101' at 'maxResults'",
		},
		{
			name: "filter that matches",
			edit: func(i *eks.ListPodIdentityAssociationsInput) {
				i.Namespace, i.ServiceAccount = aws.String("n1"), aws.String("s7")
			},
			want: 1,
		},
		{
			name: "filter that matches nothing",
			edit: func(i *eks.ListPodIdentityAssociationsInput) {
				i.Namespace, i.ServiceAccount = aws.String("n0"), aws.String("s7")
			},
		},
		{
			name:    "filter without namespace",
			edit:    func(i *eks.ListPodIdentityAssociationsInput) { i.ServiceAccount = aws.String("s7") },
			code:    "InvalidParameterException",
			message: "A serviceAccount filter needs a namespace.",
		},
		{
			name:    "token",
			edit:    func(i *eks.ListPodIdentityAssociationsInput) { i.NextToken = aws.String("bm90IG91cnM") },
			code:    "InvalidParameterException",
			message: "The nextToken is not valid.",
		},
	} {
		got, err := list(row.edit)
		if row.code != "" {
			refusedWith(t, row.name, err, row.code, row.message)
		} else if err != nil || got != row.want {
			t.Errorf("%s: %d, %v, want %d", row.name, got, err, row.want)
		}
	}
	fill(250, 5000)
	_, err := client.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
		ClusterName:    prod,
		Namespace:      aws.String("x"),
		ServiceAccount: aws.String("x"),
		RoleArn:        aws.String(roleCart),
	})
	refusedWith(
		t, "one association too many", err, "ResourceLimitExceededException",
		"The cluster has reached the limit of 5000 associations.",
	)
}

// TestEKSAuthorisation: what callers may do is decided by their policies, with
// EKS's condition keys.
func TestEKSAuthorisation(t *testing.T) {
	t.Parallel()
	w, admin := newEKS(t)
	w.cluster("prod", types.AuthenticationModeApi)
	w.cluster("dev", types.AuthenticationModeApi)
	statement := func(action, resource, condition string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `","Condition":{` + condition +
			`}}`
	}
	c := w.session("limited", `{"Version":"2012-10-17","Statement":[`+strings.Join([]string{
		statement(
			"eks:DescribeCluster", "arn:aws:eks:eu-west-1:*:cluster/prod",
			`"StringEquals":{"aws:ResourceTag/team":"red"}`,
		),
		statement(
			"eks:CreateAccessEntry", "*",
			`"StringEquals":{"eks:accessEntryType":"STANDARD"},`+
				`"ArnLike":{"eks:principalArn":"arn:aws:iam::111122223333:role/team/*"},`+
				`"ForAllValues:StringEquals":{"eks:kubernetesGroups":["viewers"]}`,
		),
		statement(
			"eks:AssociateAccessPolicy", "arn:aws:eks:*:*:access-entry/prod/role/111122223333/cart/*",
			`"ArnEquals":{"eks:policyArn":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"},`+
				`"StringEquals":{"eks:clusterName":"prod","eks:accessScope":"namespace"},`+
				`"ForAllValues:StringLike":{"eks:namespaces":["dev-*"]}`,
		),
		statement(
			"eks:CreatePodIdentityAssociation", "*",
			`"StringEquals":{"aws:RequestTag/owner":"me"},"ForAllValues:StringEquals":{"aws:TagKeys":["owner"]}`,
		),
		statement("iam:PassRole", roleCart, `"StringEquals":{"iam:PassedToService":"pods.eks.amazonaws.com"}`),
		statement("eks:TagResource", "*", `"StringEquals":{"aws:ResourceTag/owner":"me"}`),
	}, ",")+`]}`)
	client := w.eksClient(c)
	who := "User: arn:aws:sts::111122223333:assumed-role/limited/s1 is not authorized to perform: "
	ctx := t.Context()
	describe := func(name string) error {
		_, err := client.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
		return err
	}
	entry := func(principal string, groups ...string) error {
		_, err := client.CreateAccessEntry(ctx, &eks.CreateAccessEntryInput{
			ClusterName:      aws.String("prod"),
			PrincipalArn:     &principal,
			KubernetesGroups: groups,
		})
		return err
	}
	policy := func(name string, scope types.AccessScopeType, namespaces ...string) error {
		_, err := client.AssociateAccessPolicy(ctx, &eks.AssociateAccessPolicyInput{
			ClusterName:  aws.String("prod"),
			PrincipalArn: aws.String(roleCart),
			PolicyArn:    aws.String("arn:aws:eks::aws:cluster-access-policy/" + name),
			AccessScope:  &types.AccessScope{Type: scope, Namespaces: namespaces},
		})
		return err
	}
	var made *types.PodIdentityAssociation
	associate := func(role string, tags map[string]string) error {
		out, err := client.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
			ClusterName:    aws.String("prod"),
			Namespace:      aws.String("shop"),
			ServiceAccount: aws.String("cart"),
			RoleArn:        &role,
			Tags:           tags,
		})
		if err == nil {
			made = out.Association
		}
		return err
	}
	w.putRole("/team/", "admin", podTrust)
	mine := map[string]string{"owner": "me"}
	for _, row := range []struct {
		name    string
		call    func() error
		message string
	}{
		{"cluster", func() error { return describe("prod") }, ""},
		{
			name: "another cluster",
			call: func() error { return describe("dev") },
			message: who + "eks:DescribeCluster on resource: arn:aws:eks:eu-west-1:111122223333:cluster/dev because " +
				"no identity-based policy allows",
		},
		{
			name:    "all clusters",
			call:    func() error { _, err := client.ListClusters(ctx, &eks.ListClustersInput{}); return err },
			message: who + "eks:ListClusters on resource: arn:aws:eks:eu-west-1:111122223333:cluster/*",
		},
		{
			name:    "entry for others",
			call:    func() error { return entry(roleR, "viewers") },
			message: who + "eks:CreateAccessEntry on resource: arn:aws:eks:eu-west-1:111122223333:cluster/prod",
		},
		{
			name:    "entry with more groups",
			call:    func() error { return entry(roleCart, "viewers", "admins") },
			message: who + "eks:CreateAccessEntry",
		},
		{"entry", func() error { return entry(roleCart, "viewers") }, ""},
		{
			name: "another policy",
			call: func() error { return policy("AmazonEKSEditPolicy", "namespace", "dev-1") },
			message: who + "eks:AssociateAccessPolicy on resource: " +
				"arn:aws:eks:eu-west-1:111122223333:access-entry/prod/role/111122223333/cart/",
		},
		{
			name:    "cluster scope",
			call:    func() error { return policy("AmazonEKSViewPolicy", "cluster") },
			message: who + "eks:AssociateAccessPolicy",
		},
		{
			name:    "another namespace",
			call:    func() error { return policy("AmazonEKSViewPolicy", "namespace", "dev-1", "prod") },
			message: who + "eks:AssociateAccessPolicy",
		},
		{"policy", func() error { return policy("AmazonEKSViewPolicy", "namespace", "dev-1") }, ""},
		{
			name:    "association without tag",
			call:    func() error { return associate(roleCart, nil) },
			message: who + "eks:CreatePodIdentityAssociation",
		},
		{
			name:    "association with more tags",
			call:    func() error { return associate(roleCart, map[string]string{"owner": "me", "x": "y"}) },
			message: who + "eks:CreatePodIdentityAssociation",
		},
		{
			name: "a role that is not theirs",
			call: func() error { return associate("arn:aws:iam::111122223333:role/team/admin", mine) },
			message: who + "iam:PassRole on resource: arn:aws:iam::111122223333:role/team/admin because no " +
				"identity-based policy allows the iam:PassRole action",
		},
		{"association", func() error { return associate(roleCart, mine) }, ""},
		{
			name: "tag",
			call: func() error {
				_, err := client.TagResource(ctx, &eks.TagResourceInput{ResourceArn: made.AssociationArn, Tags: mine})
				return err
			},
		},
		{
			name: "tag another's",
			call: func() error {
				_, err := client.TagResource(ctx, &eks.TagResourceInput{
					ResourceArn: aws.String("arn:aws:eks:eu-west-1:111122223333:cluster/prod"),
					Tags:        mine,
				})
				return err
			},
			message: who + "eks:TagResource on resource: arn:aws:eks:eu-west-1:111122223333:cluster/prod",
		},
		{
			name: "what is not emulated",
			call: func() error {
				_, err := client.ListNodegroups(ctx, &eks.ListNodegroupsInput{ClusterName: aws.String("prod")})
				return err
			},
			message: who + "eks:ListNodegroups on resource: *",
		},
	} {
		err := row.call()
		if row.message == "" {
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		refusedWith(t, row.name, err, "AccessDeniedException", row.message)
	}
	_, err := admin.DescribePodIdentityAssociation(context.WithoutCancel(ctx), &eks.DescribePodIdentityAssociationInput{
		ClusterName:   aws.String("prod"),
		AssociationId: made.AssociationId,
	})
	if err != nil {
		t.Error(err)
	}
}
