package localaws_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/credential"
)

const readData = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetUser","Resource":"*"}]}`

// refusedWith checks an error of the SDK.
func refusedWith(t *testing.T, name string, err error, code, message string) {
	t.Helper()
	refused, ok := errors.AsType[smithy.APIError](err)
	if !ok || refused.ErrorCode() != code || !strings.Contains(refused.ErrorMessage(), message) {
		t.Errorf("%s: %v, want %s: %s", name, err, code, message)
	}
}

// TestUsers walks a user's life with the SDK: made, given a key and policies of
// three kinds, limited by a boundary, and taken apart again in IAM's order.
func TestUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin := t.Context(), w.iamClient(w.admin)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bob := aws.String("bob")
	must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: bob, Path: aws.String("/team/")}))
	_, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("BOB")})
	refusedWith(t, "twice", err, "EntityAlreadyExists", "User with name BOB already exists.")
	made, err := admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: bob})
	must(made, err)
	key := credential.AWS{
		AccessKeyID: *made.AccessKey.AccessKeyId,
		SecretKey:   credential.NewSecret(*made.AccessKey.SecretAccessKey),
	}
	self := w.iamClient(key)
	who, err := w.stsClient(key, "").GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:iam::111122223333:user/team/bob" || !strings.HasPrefix(*who.UserId, "AIDA") {
		t.Errorf("whoami: %v %v", who, err)
	}
	may := func(name string, want bool) {
		t.Helper()
		_, err := self.GetUser(ctx, &iam.GetUserInput{})
		if want && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !want {
			refusedWith(
				t, name, err, "AccessDenied",
				"not authorized to perform: iam:GetUser on resource: arn:aws:iam::111122223333:user/team/bob",
			)
		}
	}
	may("no policies", false)

	must(admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName:       bob,
		PolicyName:     aws.String("own"),
		PolicyDocument: aws.String(readData),
	}))
	may("inline", true)
	got, err := admin.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: bob, PolicyName: aws.String("own")})
	must(got, err)
	if text, _ := url.PathUnescape(*got.PolicyDocument); text != readData || *got.UserName != "bob" {
		t.Errorf("policy %q of %q", text, *got.UserName)
	}
	must(admin.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: bob, PolicyName: aws.String("own")}))
	_, err = admin.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: bob, PolicyName: aws.String("own")})
	refusedWith(t, "no such policy", err, "NoSuchEntity", "The user policy with name own cannot be found.")
	may("inline is gone", false)

	policy, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName:     aws.String("read"),
		PolicyDocument: aws.String(readData),
	})
	must(policy, err)
	arn := policy.Policy.Arn
	must(admin.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: bob, PolicyArn: arn}))
	may("attached", true)
	boundary := aws.String("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	must(admin.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName:            bob,
		PermissionsBoundary: boundary,
	}))
	may("limited", false)
	shown, err := admin.GetUser(ctx, &iam.GetUserInput{UserName: bob})
	if err != nil || aws.ToString(shown.User.PermissionsBoundary.PermissionsBoundaryArn) != *boundary {
		t.Errorf("user: %+v %v", shown, err)
	}
	must(admin.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: bob}))
	_, err = admin.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	refusedWith(t, "attached", err, "DeleteConflict", "Cannot delete a policy attached to entities.")
	must(admin.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: bob, PolicyArn: arn}))

	must(admin.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("readers")}))
	must(admin.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: aws.String("readers"), PolicyArn: arn}))
	must(admin.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("readers"), UserName: bob}))
	may("by the group", true)
	must(admin.UpdateGroup(ctx, &iam.UpdateGroupInput{
		GroupName:    aws.String("readers"),
		NewGroupName: aws.String("lookers"),
	}))
	may("by the renamed group", true)
	members, err := admin.GetGroup(ctx, &iam.GetGroupInput{GroupName: aws.String("lookers")})
	if err != nil || len(members.Users) != 1 || *members.Users[0].UserName != "bob" {
		t.Errorf("members: %+v %v", members, err)
	}
	entities, err := admin.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: arn})
	if err != nil || len(entities.PolicyGroups) != 1 || len(entities.PolicyUsers) != 0 {
		t.Errorf("entities: %+v %v", entities, err)
	}

	must(admin.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{
		UserName:    bob,
		AccessKeyId: &key.AccessKeyID,
		Status:      "Inactive",
	}))
	_, err = self.GetUser(ctx, &iam.GetUserInput{})
	refusedWith(t, "inactive", err, "InvalidClientTokenId", "The security token included in the request is invalid.")
	must(admin.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{
		UserName:    bob,
		AccessKeyId: &key.AccessKeyID,
		Status:      "Active",
	}))
	must(admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: bob}))
	_, err = admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: bob})
	refusedWith(t, "third key", err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	must(admin.UpdateUser(ctx, &iam.UpdateUserInput{UserName: bob, NewUserName: aws.String("rob")}))
	who, err = w.stsClient(key, "").GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:iam::111122223333:user/team/rob" {
		t.Errorf("renamed: %v %v", who, err)
	}

	rob := aws.String("rob")
	remove := func() error {
		_, err := admin.DeleteUser(ctx, &iam.DeleteUserInput{UserName: rob})
		return err
	}
	refusedWith(t, "in a group", remove(), "DeleteConflict", "must remove users from group first")
	must(admin.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: aws.String("lookers"), UserName: rob}))
	refusedWith(t, "with keys", remove(), "DeleteConflict", "must delete access keys first")
	keys, err := admin.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: rob})
	must(keys, err)
	for _, one := range keys.AccessKeyMetadata {
		must(admin.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: rob, AccessKeyId: one.AccessKeyId}))
	}
	must(admin.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: rob, PolicyArn: arn}))
	refusedWith(t, "with a policy", remove(), "DeleteConflict", "must detach all policies first")
	must(admin.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: rob, PolicyArn: arn}))
	if err := remove(); err != nil {
		t.Error(err)
	}
	refusedWith(t, "gone", remove(), "NoSuchEntity", "The user with name rob cannot be found.")
	_, err = self.GetUser(ctx, &iam.GetUserInput{})
	refusedWith(t, "key of nobody", err, "InvalidClientTokenId", "")
	_, err = admin.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: aws.String("lookers")})
	refusedWith(t, "group with a policy", err, "DeleteConflict", "must detach all policies first")
}

func TestManagedPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin := t.Context(), w.iamClient(w.admin)
	name := aws.String("p")
	version := func(action string) *string {
		return aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`,
		)
	}
	made, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName:     name,
		Path:           aws.String("/x/"),
		PolicyDocument: version("s3:A"),
	})
	if err != nil || *made.Policy.Arn != "arn:aws:iam::111122223333:policy/x/p" ||
		*made.Policy.DefaultVersionId != "v1" {
		t.Fatalf("%+v %v", made, err)
	}
	arn := made.Policy.Arn
	_, err = admin.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: name, PolicyDocument: version("s3:A")})
	refusedWith(
		t, "twice", err, "EntityAlreadyExists", "A policy called p already exists. Duplicate names are not allowed.",
	)
	for _, bad := range []struct{ name, text, code, message string }{
		{
			name:    "old",
			text:    `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
			code:    "MalformedPolicyDocument",
			message: "Policy document must be version 2012-10-17 or greater.",
		},
		{"no JSON", `{`, "MalformedPolicyDocument", ""},
		{
			name:    "long",
			text:    *version("s3:" + strings.Repeat("x", 6144)),
			code:    "LimitExceeded",
			message: "Cannot exceed quota for PolicySize: 6144",
		},
	} {
		_, err := admin.CreatePolicy(ctx, &iam.CreatePolicyInput{
			PolicyName:     aws.String("bad"),
			PolicyDocument: &bad.text,
		})
		refusedWith(t, bad.name, err, bad.code, bad.message)
	}
	for range 4 {
		if _, err := admin.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{
			PolicyArn:      arn,
			PolicyDocument: version("s3:B"),
			SetAsDefault:   true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = admin.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{
		PolicyArn:      arn,
		PolicyDocument: version("s3:B"),
	})
	refusedWith(t, "sixth version", err, "LimitExceeded", "A managed policy can have up to 5 versions.")
	_, err = admin.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v5")})
	refusedWith(t, "default version", err, "DeleteConflict", "Cannot delete the default version of a policy.")
	if _, err := admin.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{
		PolicyArn: arn,
		VersionId: aws.String("v2"),
	}); err != nil {
		t.Error(err)
	}
	_, err = admin.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	refusedWith(t, "with versions", err, "DeleteConflict", "This policy has more than one version.")
	for _, id := range []string{"v1", "v3", "v4", "v5"} {
		if _, err := admin.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{
			PolicyArn: arn,
			VersionId: aws.String(id),
		}); err != nil {
			t.Error(err)
		}
	}
	_, err = admin.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")})
	refusedWith(t, "no version", err, "NoSuchEntity", "version v1 does not exist or is not attachable")
	if _, err := admin.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{
		PolicyArn:      arn,
		PolicyDocument: version("s3:C"),
	}); err != nil {
		t.Error(err)
	}
	versions, err := admin.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: arn})
	if err != nil || len(versions.Versions) != 2 || *versions.Versions[0].VersionId != "v6" ||
		!versions.Versions[1].IsDefaultVersion {
		t.Errorf("versions: %+v %v", versions, err)
	}

	own := aws.String("arn:aws:iam::aws:policy/AdministratorAccess")
	_, err = admin.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: own})
	refusedWith(t, "AWS's own", err, "AccessDenied", "Policy is outside your own account.")
	_, err = admin.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{
		RoleName:  aws.String("R"),
		PolicyArn: aws.String("arn:aws:iam::aws:policy/Nope"),
	})
	refusedWith(
		t, "attach nothing", err, "NoSuchEntity",
		"Policy arn:aws:iam::aws:policy/Nope does not exist or is not attachable.",
	)
	scope := func(scope string, attached bool) int {
		list, err := admin.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: "All", OnlyAttached: attached})
		if scope == "Local" {
			list, err = admin.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: "Local", OnlyAttached: attached})
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Policies)
	}
	if scope("Local", false) != 1 || scope("Local", true) != 0 || scope("All", true) != 1 || scope("All", false) < 5 {
		t.Error("ListPolicies counts wrongly")
	}
	if _, err := admin.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"a"}}); err != nil {
		t.Error(err)
	}
}

// TestRolePermissions: sessions have what their role has now.
func TestRolePermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	get := url.Values{"Action": {"GetRole"}, "RoleName": {"R"}}
	w.expect("before", w.signed(session, "iam", get), 403, "AccessDenied", "")
	w.mustAdmin(url.Values{
		"Action":         {"PutRolePolicy"},
		"RoleName":       {"R"},
		"PolicyName":     {"p"},
		"PolicyDocument": {allow(`"iam:GetRole"`, `"`+roleR+`"`)},
	})
	if got := w.signed(session, "iam", get); got.status != http.StatusOK {
		t.Errorf("after: %s", got.body)
	}
	w.mustAdmin(url.Values{
		"Action":              {"PutRolePermissionsBoundary"},
		"RoleName":            {"R"},
		"PermissionsBoundary": {"arn:aws:iam::aws:policy/AmazonS3FullAccess"},
	})
	w.expect(
		"limited", w.signed(session, "iam", get), 403, "AccessDenied",
		"User: arn:aws:sts::111122223333:assumed-role/R/s1 is not authorized to perform: iam:GetRole on resource: "+
			roleR+" because no permissions boundary allows the iam:GetRole action",
	)
	w.expect("delete", w.signed(w.admin, "iam", url.Values{
		"Action":   {"DeleteRole"},
		"RoleName": {"R"},
	}), 409, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	long := allow(`"s3:`+strings.Repeat("x", 10240)+`"`, `"*"`)
	w.expect("quota", w.signed(w.admin, "iam", url.Values{
		"Action":         {"PutRolePolicy"},
		"RoleName":       {"R"},
		"PolicyName":     {"q"},
		"PolicyDocument": {long},
	}), 409, "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role R")
	w.mustAdmin(url.Values{"Action": {"DeleteRolePolicy"}, "RoleName": {"R"}, "PolicyName": {"p"}})
	for i := range 10 {
		w.mustAdmin(url.Values{
			"Action":         {"CreatePolicy"},
			"PolicyName":     {fmt.Sprint("p", i)},
			"PolicyDocument": {readData},
		})
		w.mustAdmin(url.Values{
			"Action":    {"AttachRolePolicy"},
			"RoleName":  {"R"},
			"PolicyArn": {fmt.Sprint("arn:aws:iam::111122223333:policy/p", i)},
		})
	}
	w.expect("eleventh", w.signed(w.admin, "iam", url.Values{
		"Action":    {"AttachRolePolicy"},
		"RoleName":  {"R"},
		"PolicyArn": {"arn:aws:iam::aws:policy/AdministratorAccess"},
	}), 409, "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10")
	first := w.signed(w.admin, "iam", url.Values{
		"Action":   {"ListAttachedRolePolicies"},
		"RoleName": {"R"},
		"MaxItems": {"4"},
	})
	if strings.Count(first.body, "<member>") != 4 ||
		!strings.Contains(
			first.body, "<IsTruncated>true</IsTruncated><Marker>arn:aws:iam::111122223333:policy/p3</Marker>",
		) {
		t.Errorf("page: %s", first.body)
	}
	if got := w.signed(w.admin, "iam", url.Values{
		"Action":   {"ListRolePolicies"},
		"RoleName": {"R"},
	}); !strings.Contains(got.body, "<PolicyNames></PolicyNames><IsTruncated>false</IsTruncated>") {
		t.Errorf("an empty list: %s", got.body)
	}
}

// TestSessionPolicies: a session has what role and session policies both allow,
// managed ones in the version of the moment.
func TestSessionPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustAdmin(url.Values{
		"Action":         {"PutRolePolicy"},
		"RoleName":       {"R"},
		"PolicyName":     {"p"},
		"PolicyDocument": {allow(`"iam:*"`, `"*"`)},
	})
	w.mustAdmin(url.Values{
		"Action":         {"CreatePolicy"},
		"PolicyName":     {"look"},
		"PolicyDocument": {allow(`"iam:GetRole"`, `"*"`)},
	})
	const look = "arn:aws:iam::111122223333:policy/look"
	get, list := url.Values{"Action": {"GetRole"}, "RoleName": {"R"}}, url.Values{"Action": {"ListRoles"}}
	all := credentialsIn(t, w.assume(w.token(w.key, nil), nil))
	inline := credentialsIn(t, w.assume(w.token(w.key, nil), map[string]string{
		"Policy": allow(`"iam:ListRoles"`, `"*"`),
	}))
	managed := credentialsIn(t, w.assume(w.token(w.key, nil), map[string]string{"PolicyArns.member.1.arn": look}))
	both := credentialsIn(t, w.assume(w.token(w.key, nil), map[string]string{
		"Policy":                  allow(`"iam:ListRoles"`, `"*"`),
		"PolicyArns.member.1.arn": look,
	}))
	check := func(name string, c credential.AWS, getStatus, listStatus int) {
		t.Helper()
		if a, b := w.signed(c, "iam", get).status, w.signed(c, "iam", list).status; a != getStatus || b != listStatus {
			t.Errorf("%s: get %d, list %d, want %d, %d", name, a, b, getStatus, listStatus)
		}
	}
	check("none", all, 200, 200)
	check("inline", inline, 403, 200)
	check("managed", managed, 200, 403)
	check("both", both, 200, 200)
	w.mustAdmin(url.Values{
		"Action":         {"CreatePolicyVersion"},
		"PolicyArn":      {look},
		"PolicyDocument": {allow(`"iam:ListRoles"`, `"*"`)},
		"SetAsDefault":   {"true"},
	})
	check("managed, changed", managed, 403, 200)
	w.mustAdmin(url.Values{"Action": {"DeletePolicyVersion"}, "PolicyArn": {look}, "VersionId": {"v1"}})
	w.mustAdmin(url.Values{"Action": {"DeletePolicy"}, "PolicyArn": {look}})
	check("managed, gone", managed, 403, 403)
	w.expect(
		"none such", w.assume(w.token(w.key, nil), map[string]string{"PolicyArns.member.1.arn": look}), 400,
		"ValidationError", look+" is invalid",
	)
	eleven := map[string]string{}
	for i := range 11 {
		eleven[fmt.Sprintf("PolicyArns.member.%d.arn", i+1)] = look
	}
	w.expect(
		"79 eleven", w.assume(w.token(w.key, nil), eleven), 400, "ValidationError",
		"1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length "+
			"less than or equal to 10",
	)
	w.expect("too large", w.assume(w.token(w.key, nil), map[string]string{
		"Policy":                  allow(`"iam:`+strings.Repeat("x", 1930)+`"`, `"*"`),
		"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
	}), 400, "PackedPolicyTooLarge", "Packed policy consumes")
}

func TestInstanceProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	ctx, admin := t.Context(), w.iamClient(w.admin)
	box, role := aws.String("box"), aws.String("R")
	if _, err := admin.CreateInstanceProfile(
		ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: box},
	); err != nil {
		t.Fatal(err)
	}
	add := func() error {
		_, err := admin.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
			InstanceProfileName: box,
			RoleName:            role,
		})
		return err
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	refusedWith(
		t, "second role", add(), "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
	)
	found, err := admin.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: role})
	if err != nil || len(found.InstanceProfiles) != 1 || len(found.InstanceProfiles[0].Roles) != 1 {
		t.Errorf("%+v %v", found, err)
	}
	for name, call := range map[string]func(context.Context) error{
		"role": func(ctx context.Context) error {
			_, err := admin.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: role})
			return err
		},
		"profile": func(ctx context.Context) error {
			_, err := admin.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: box})
			return err
		},
	} {
		refusedWith(
			t, name, call(ctx), "DeleteConflict",
			"Cannot delete entity, must remove roles from instance profile first.",
		)
	}
	if _, err := admin.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: box,
		RoleName:            role,
	}); err != nil {
		t.Error(err)
	}
	waiter := iam.NewInstanceProfileExistsWaiter(admin)
	if err := waiter.Wait(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: box}, 1e9); err != nil {
		t.Error(err)
	}
}

// TestPaginators: the SDK's paginator sees every user once.
func TestPaginators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	for i := range 25 {
		w.mustAdmin(url.Values{
			"Action":   {"CreateUser"},
			"UserName": {fmt.Sprintf("u%02d", i)},
			"Path":     {fmt.Sprintf("/p%d/", i%2)},
		})
	}
	seen := map[string]int{}
	pages := iam.NewListUsersPaginator(w.iamClient(w.admin), &iam.ListUsersInput{
		MaxItems:   aws.Int32(4),
		PathPrefix: aws.String("/p1/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range page.Users {
			seen[*user.UserName]++
		}
	}
	if len(seen) != 12 {
		t.Errorf("seen %v", seen)
	}
	for name, count := range seen {
		if count != 1 {
			t.Errorf("%s: %d times", name, count)
		}
	}
}
