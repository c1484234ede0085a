package localaws_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	localiam "github.com/rolecall/rolecall/internal/localaws/iam"
)

const serviceTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
	`"Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// must returns a check of calls that only prepare.
func must(t *testing.T) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAccountDetails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin, must := t.Context(), w.iamClient(w.admin), must(t)
	readOnly := new("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	must(admin.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: new("team")}))
	must(admin.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: new("team"), PolicyArn: readOnly}))
	must(admin.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: new("team"), UserName: new("admin")}))
	must(admin.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: new("own"), PolicyDocument: new(readData)}))
	must(admin.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName:       new("R"),
		PolicyName:     new("p"),
		PolicyDocument: new(readData),
	}))
	must(admin.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new("node")}))
	must(admin.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: new("node"),
		RoleName:            new("R"),
	}))
	out, err := admin.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.UserDetailList) != 1 || len(out.GroupDetailList) != 1 || len(out.RoleDetailList) != 1 ||
		len(out.Policies) != 3 || out.IsTruncated {
		t.Fatalf(
			"%d users, %d groups, %d roles, %d policies", len(out.UserDetailList), len(out.GroupDetailList),
			len(out.RoleDetailList), len(out.Policies),
		)
	}
	user, group, role, own := out.UserDetailList[0], out.GroupDetailList[0], out.RoleDetailList[0], out.Policies[0]
	if *user.UserName != "admin" || !slices.Equal(user.GroupList, []string{"team"}) ||
		*user.AttachedManagedPolicies[0].PolicyName != "AdministratorAccess" {
		t.Errorf("user: %+v", user)
	}
	if *group.Arn != "arn:aws:iam::111122223333:group/team" ||
		*group.AttachedManagedPolicies[0].PolicyArn != *readOnly {
		t.Errorf("group: %+v", group)
	}
	if text, _ := url.PathUnescape(*role.RolePolicyList[0].PolicyDocument); text != readData ||
		*role.InstanceProfileList[0].InstanceProfileName != "node" ||
		*role.InstanceProfileList[0].Roles[0].RoleName != "R" {
		t.Errorf("role: %+v", role)
	}
	if text, _ := url.PathUnescape(*own.PolicyVersionList[0].Document); text != readData || *own.PolicyName != "own" ||
		!own.PolicyVersionList[0].IsDefaultVersion {
		t.Errorf("policy: %+v", own)
	}
	if *out.Policies[2].PolicyName != "AmazonS3ReadOnlyAccess" || *out.Policies[2].AttachmentCount != 1 {
		t.Errorf("AWS's own policy: %+v", out.Policies[2])
	}
	// Page by page, everything once.
	count, pages := 0, iam.NewGetAccountAuthorizationDetailsPaginator(
		admin, &iam.GetAccountAuthorizationDetailsInput{MaxItems: new(int32(1))},
	)
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil || n > 10 {
			t.Fatal(n, err)
		}
		count += len(page.UserDetailList) + len(page.GroupDetailList) + len(page.RoleDetailList) + len(page.Policies)
	}
	if count != 6 {
		t.Errorf("%d entities on all pages, want 6", count)
	}
	out, err = admin.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{
		Filter: []types.EntityType{"Role", "LocalManagedPolicy"},
	})
	if err != nil || len(out.UserDetailList)+len(out.GroupDetailList) != 0 || len(out.RoleDetailList) != 1 ||
		len(out.Policies) != 1 {
		t.Errorf("filtered: %+v %v", out, err)
	}
	_, err = admin.GetAccountAuthorizationDetails(
		ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{"Cat"}},
	)
	refusedWith(t, "filter", err, "ValidationError", "[User, Group, Role, LocalManagedPolicy, AWSManagedPolicy]")

	summary, err := admin.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil || summary.SummaryMap["Roles"] != 1 || summary.SummaryMap["RolesQuota"] != 1000 ||
		summary.SummaryMap["PolicyVersionsInUse"] != 1 || summary.SummaryMap["Providers"] != 1 {
		t.Errorf("summary: %+v %v", summary, err)
	}
	if known := types.SummaryKeyType("").Values(); len(summary.SummaryMap) < 30 {
		t.Errorf("%d of the %d keys", len(summary.SummaryMap), len(known))
	}
}

func TestAccountAlias(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin, must := t.Context(), w.iamClient(w.admin), must(t)
	other, _ := w.accounts.Find(otherAccount)
	key, err := other.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	list := func(want ...string) {
		t.Helper()
		out, err := admin.ListAccountAliases(ctx, &iam.ListAccountAliasesInput{})
		if err != nil || !slices.Equal(out.AccountAliases, want) {
			t.Errorf("aliases %v, want %v: %v", out, want, err)
		}
	}
	list([]string{}...)
	must(admin.CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: new("acme")}))
	must(admin.CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: new("acme-prod")}))
	list("acme-prod")
	_, err = w.iamClient(key).CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: new("acme-prod")})
	refusedWith(t, "taken", err, "EntityAlreadyExists", "The account alias acme-prod already exists.")
	for _, bad := range []string{"Acme", "-a-", "a--b", "ab"} {
		_, err := admin.CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: &bad})
		refusedWith(t, bad, err, "ValidationError", "accountAlias")
	}
	_, err = admin.DeleteAccountAlias(ctx, &iam.DeleteAccountAliasInput{AccountAlias: new("acme")})
	refusedWith(t, "another", err, "NoSuchEntity", "The account alias with name acme cannot be found.")
	must(admin.DeleteAccountAlias(ctx, &iam.DeleteAccountAliasInput{AccountAlias: new("acme-prod")}))
	list([]string{}...)
}

func TestServiceLinkedRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin := t.Context(), w.iamClient(w.admin)
	made, err := admin.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{
		AWSServiceName: new("eks-nodegroup.amazonaws.com"),
	})
	if err != nil ||
		*made.Role.Arn != "arn:aws:iam::111122223333:role/aws-service-role/eks-nodegroup.amazonaws.com/"+
			"AWSServiceRoleForAmazonEKSNodegroup" {
		t.Fatalf("%+v %v", made, err)
	}
	name := made.Role.RoleName
	_, err = admin.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{
		AWSServiceName: new("eks-nodegroup.amazonaws.com"),
	})
	refusedWith(
		t, "twice", err, "InvalidInput",
		"Service role name AWSServiceRoleForAmazonEKSNodegroup has been taken in this account, please try a "+
			"different suffix.",
	)
	_, err = admin.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{
		AWSServiceName: new("eks.amazonaws.com"),
		CustomSuffix:   new("x"),
	})
	refusedWith(t, "suffix", err, "InvalidInput", "Custom suffix is not allowed for eks.amazonaws.com")
	_, err = admin.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{
		AWSServiceName: new("cats.amazonaws.com"),
	})
	refusedWith(t, "unknown", err, "InvalidInput", "cats.amazonaws.com")
	_, err = admin.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName:                 new("x"),
		Path:                     new("/aws-service-role/x/"),
		AssumeRolePolicyDocument: new(serviceTrust),
	})
	refusedWith(t, "by hand", err, "InvalidInput", "reserved")
	for what, call := range map[string]func() error{
		"delete": func() error {
			_, err := admin.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
			return err
		},
		"trust": func() error {
			_, err := admin.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
				RoleName:       name,
				PolicyDocument: new(serviceTrust),
			})
			return err
		},
		"attach": func() error {
			_, err := admin.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{
				RoleName:  name,
				PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess"),
			})
			return err
		},
		"inline": func() error {
			_, err := admin.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
				RoleName:       name,
				PolicyName:     new("p"),
				PolicyDocument: new(readData),
			})
			return err
		},
		"boundary": func() error {
			_, err := admin.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{
				RoleName:            name,
				PermissionsBoundary: new("arn:aws:iam::aws:policy/AdministratorAccess"),
			})
			return err
		},
	} {
		refusedWith(
			t, what, call(), "UnmodifiableEntity",
			"Cannot perform the operation on the protected role 'AWSServiceRoleForAmazonEKSNodegroup' - this role "+
				"is only modifiable by AWS",
		)
	}
	described, err := admin.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{
		RoleName:    name,
		Description: new("nodes"),
	})
	if err != nil || *described.Role.Description != "nodes" {
		t.Errorf("description: %+v %v", described, err)
	}
	gone, err := admin.DeleteServiceLinkedRole(ctx, &iam.DeleteServiceLinkedRoleInput{RoleName: name})
	if err != nil {
		t.Fatal(err)
	}
	status, err := admin.GetServiceLinkedRoleDeletionStatus(ctx, &iam.GetServiceLinkedRoleDeletionStatusInput{
		DeletionTaskId: gone.DeletionTaskId,
	})
	if err != nil || status.Status != "SUCCEEDED" {
		t.Errorf("status: %+v %v", status, err)
	}
	_, err = admin.GetServiceLinkedRoleDeletionStatus(
		ctx, &iam.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: new("task/x")},
	)
	refusedWith(t, "no task", err, "NoSuchEntity", "task/x")
	_, err = admin.DeleteServiceLinkedRole(ctx, &iam.DeleteServiceLinkedRoleInput{RoleName: new("R")})
	refusedWith(t, "an ordinary role", err, "InvalidInput", "not a service-linked role")
}

// TestRenamedInTrust: a trust policy follows a user that is renamed, in what it
// shows and in what it allows, and shows the id of one that is gone.
func TestRenamedInTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin, must := t.Context(), w.iamClient(w.admin), must(t)
	user, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: new("bob")})
	must(user, err)
	key, err := admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: new("bob")})
	must(key, err)
	w.role(
		"B",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+
			`"Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"sts:AssumeRole"}]}`,
	)
	shows := func(want string) {
		t.Helper()
		got, err := admin.GetRole(ctx, &iam.GetRoleInput{RoleName: new("B")})
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := url.PathUnescape(
			*got.Role.AssumeRolePolicyDocument,
		); !strings.Contains(text, `{"AWS":"`+want+`"}`) {
			t.Errorf("trust %s, want %s", text, want)
		}
	}
	must(admin.UpdateUser(ctx, &iam.UpdateUserInput{
		UserName:    new("bob"),
		NewUserName: new("rob"),
		NewPath:     new("/x/"),
	}))
	shows("arn:aws:iam::111122223333:user/x/rob")
	must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: new("bob")})) // another one
	shows("arn:aws:iam::111122223333:user/x/rob")
	renamed := credential.AWS{
		AccessKeyID: *key.AccessKey.AccessKeyId,
		SecretKey:   credential.NewSecret(*key.AccessKey.SecretAccessKey),
	}
	if _, err := w.stsClient(renamed, "").AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         new("arn:aws:iam::111122223333:role/B"),
		RoleSessionName: new("s1"),
	}); err != nil {
		t.Error(err)
	}
	last, err := admin.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: key.AccessKey.AccessKeyId})
	if err != nil || *last.UserName != "rob" {
		t.Errorf("key: %+v %v", last, err)
	}
	must(admin.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{
		UserName:    new("rob"),
		AccessKeyId: key.AccessKey.AccessKeyId,
	}))
	must(admin.DeleteUser(ctx, &iam.DeleteUserInput{UserName: new("rob")}))
	shows(*user.User.UserId)
}

// TestQuotas: one more is refused, with the quota's name and number.
func TestQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	admin := w.iamClient(w.admin)
	owner, _ := w.accounts.Find(accountID)
	for _, row := range []struct {
		quota string
		most  int
		count func(account.State) int
		put   func(state account.State, name string) error
		make  func(ctx context.Context, name string) error
	}{
		{
			quota: "UsersPerAccount",
			most:  5000,
			count: account.State.CountUsers,
			put:   func(s account.State, name string) error { return s.PutUser(&account.User{Name: name, Path: "/"}) },
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
				return err
			},
		},
		{
			quota: "GroupsPerAccount",
			most:  300,
			count: account.State.CountGroups,
			put: func(s account.State, name string) error {
				return s.PutGroup(&account.Group{
					Name: name,
					Path: "/",
				})
			},
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &name})
				return err
			},
		},
		{
			quota: "RolesPerAccount",
			most:  1000,
			count: account.State.CountRoles,
			put:   func(s account.State, name string) error { return s.PutRole(&account.Role{Name: name, Path: "/"}) },
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreateRole(ctx, &iam.CreateRoleInput{
					RoleName:                 &name,
					AssumeRolePolicyDocument: new(serviceTrust),
				})
				return err
			},
		},
		{
			quota: "InstanceProfilesPerAccount",
			most:  1000,
			count: localiam.CountProfiles,
			put: func(s account.State, name string) error {
				return localiam.PutProfile(s, &localiam.InstanceProfile{Name: name, Path: "/"})
			},
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
				return err
			},
		},
		{
			quota: "PoliciesPerAccount",
			most:  1500,
			count: account.State.CountPolicies,
			put: func(s account.State, name string) error {
				return s.PutPolicy(&account.ManagedPolicy{Name: name, Path: "/"})
			},
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
					PolicyName:     &name,
					PolicyDocument: new(readData),
				})
				return err
			},
		},
		{
			quota: "OpenIdConnectProvidersPerAccount",
			most:  100,
			count: account.State.CountProviders,
			put: func(s account.State, name string) error {
				return s.PutProvider(&account.Provider{IssuerID: name + ".example"})
			},
			make: func(ctx context.Context, name string) error {
				_, err := admin.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
					Url: new("https://" + name + ".example"),
				})
				return err
			},
		},
	} {
		if err := owner.Update(func(state account.State) error {
			for i := row.count(state); i < row.most-1; i++ {
				if err := row.put(state, fmt.Sprint("n", i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := row.make(t.Context(), "last"); err != nil {
			t.Errorf("%s: the last one: %v", row.quota, err)
		}
		refusedWith(
			t, row.quota, row.make(t.Context(), "more"), "LimitExceeded",
			fmt.Sprintf("Cannot exceed quota for %s: %d", row.quota, row.most),
		)
	}
}

// TestEntityQuotas: those of one entity that no other test comes to.
func TestEntityQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin, must := t.Context(), w.iamClient(w.admin), must(t)
	must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: new("u")}))
	for i := range 11 {
		name := fmt.Sprint("g", i)
		must(admin.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &name}))
		_, err := admin.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: &name, UserName: new("u")})
		if i < 10 {
			must(nil, err)
		} else {
			refusedWith(t, "groups", err, "LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10")
		}
	}
	tags := func(from, to int) (tags []types.Tag) {
		for i := from; i < to; i++ {
			tags = append(tags, types.Tag{Key: new(fmt.Sprint("k", i)), Value: new("v")})
		}
		return tags
	}
	must(admin.TagUser(ctx, &iam.TagUserInput{UserName: new("u"), Tags: tags(0, 50)}))
	_, err := admin.TagUser(ctx, &iam.TagUserInput{UserName: new("u"), Tags: tags(50, 51)})
	refusedWith(t, "tags", err, "LimitExceeded", "tags")
	long := func(n int) *string { return new(document("Allow", "s3:"+strings.Repeat("x", n), "*", "")) }
	_, err = admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName:       new("u"),
		PolicyName:     new("p"),
		PolicyDocument: long(2048),
	})
	refusedWith(t, "user's policies", err, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user u")
	_, err = admin.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{
		GroupName:      new("g0"),
		PolicyName:     new("p"),
		PolicyDocument: long(5120),
	})
	refusedWith(t, "group's policies", err, "LimitExceeded", "Maximum policy size of 5120 bytes exceeded for group g0")
	trust := strings.Replace(
		serviceTrust, `"ec2.amazonaws.com"`, `["ec2.amazonaws.com"`+strings.Repeat(`,"ec2.amazonaws.com"`, 100)+`]`, 1,
	)
	_, err = admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new("long"), AssumeRolePolicyDocument: &trust})
	refusedWith(t, "trust", err, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")
	must(admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new("A"), AssumeRolePolicyDocument: new(serviceTrust)}))
	must(admin.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new("p")}))
	must(admin.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: new("p"),
		RoleName:            new("A"),
	}))
	_, err = admin.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: new("p"),
		RoleName:            new("R"),
	})
	refusedWith(t, "second role", err, "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	// What is used cannot be deleted.
	_, err = admin.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: new("A")})
	refusedWith(
		t, "role in a profile", err, "DeleteConflict",
		"Cannot delete entity, must remove roles from instance profile first.",
	)
	_, err = admin.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: new("p")})
	refusedWith(
		t, "profile with a role", err, "DeleteConflict",
		"Cannot delete entity, must remove roles from instance profile first.",
	)
	_, err = admin.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: new("g0")})
	refusedWith(
		t, "group with a user", err, "DeleteConflict", "Cannot delete entity, must remove users from group first.",
	)
	boundary, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName:     new("b"),
		PolicyDocument: new(readData),
	})
	must(boundary, err)
	must(admin.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName:            new("u"),
		PermissionsBoundary: boundary.Policy.Arn,
	}))
	_, err = admin.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: boundary.Policy.Arn})
	refusedWith(t, "policy that is a boundary", err, "DeleteConflict", "Cannot delete a policy attached to entities.")
	for _, bad := range []string{"", "a b", "a/b", "ü", strings.Repeat("x", 65)} {
		_, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: &bad})
		refusedWith(t, "name "+bad, err, "ValidationError", "userName")
	}
	for _, bad := range []string{"x", "/x", "//", "/a b/"} {
		if _, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: new("x"), Path: &bad}); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}
