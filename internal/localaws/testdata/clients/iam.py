"""IAM with boto3: everything made, paged through, waited for and removed."""
import json

import boto3

iam = boto3.client("iam")
trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}]})
fast = {"Delay": 1, "MaxAttempts": 5}

users = [f"user-{i}" for i in range(5)]
for name in users:
    iam.create_user(UserName=name, Path="/boto/", Tags=[{"Key": "team", "Value": "a"}])
iam.get_waiter("user_exists").wait(UserName=users[0], WaiterConfig=fast)
key = iam.create_access_key(UserName=users[0])["AccessKey"]
assert len(key["SecretAccessKey"]) == 40, key
who = boto3.client("sts", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]).get_caller_identity()
assert who["Arn"].endswith(":user/boto/user-0"), who

iam.create_group(GroupName="readers", Path="/boto/")
iam.add_user_to_group(GroupName="readers", UserName=users[0])
assert [u["UserName"] for u in iam.get_group(GroupName="readers")["Users"]] == [users[0]]

roles = [f"role-{i}" for i in range(5)]
for name in roles:
    iam.create_role(RoleName=name, Path="/boto/", AssumeRolePolicyDocument=trust)
iam.get_waiter("role_exists").wait(RoleName=roles[0], WaiterConfig=fast)
assert iam.get_role(RoleName=roles[0])["Role"]["AssumeRolePolicyDocument"] == json.loads(trust)

policies = [iam.create_policy(PolicyName=f"policy-{i}", Path="/boto/", PolicyDocument=document)["Policy"]["Arn"] for i in range(5)]
iam.get_waiter("policy_exists").wait(PolicyArn=policies[0], WaiterConfig=fast)
iam.attach_role_policy(RoleName=roles[0], PolicyArn=policies[0])
iam.put_role_policy(RoleName=roles[0], PolicyName="inline", PolicyDocument=document)
assert iam.get_role_policy(RoleName=roles[0], PolicyName="inline")["PolicyDocument"] == json.loads(document)
assert iam.list_attached_role_policies(RoleName=roles[0])["AttachedPolicies"][0]["PolicyArn"] == policies[0]

iam.create_instance_profile(InstanceProfileName="node")
iam.get_waiter("instance_profile_exists").wait(InstanceProfileName="node", WaiterConfig=fast)
iam.add_role_to_instance_profile(InstanceProfileName="node", RoleName=roles[0])
assert iam.get_instance_profile(InstanceProfileName="node")["InstanceProfile"]["Roles"][0]["RoleName"] == roles[0]

for operation, member, field, want, more in (
    ("list_users", "Users", "UserName", users, {"PathPrefix": "/boto/"}),
    ("list_roles", "Roles", "RoleName", roles, {"PathPrefix": "/boto/"}),
    ("list_policies", "Policies", "Arn", policies, {"PathPrefix": "/boto/", "Scope": "Local"}),
):
    pages = list(iam.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2}, **more))
    got = [one[field] for page in pages for one in page[member]]
    assert len(pages) == 3 and got == want, (operation, pages)
pages = iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 3})
assert pages.build_full_result()["UserDetailList"][0]["UserName"]

answer = iam.simulate_principal_policy(PolicySourceArn=iam.get_role(RoleName=roles[0])["Role"]["Arn"], ActionNames=["s3:GetObject"], ResourceArns=["arn:aws:s3:::b/x"])
assert answer["EvaluationResults"][0]["EvalDecision"] == "allowed", answer
assert iam.get_account_summary()["SummaryMap"]["RolesQuota"] == 1000

try:
    iam.delete_role(RoleName=roles[0])
    raise SystemExit("a role with policies was deleted")
except iam.exceptions.DeleteConflictException:
    pass
iam.remove_role_from_instance_profile(InstanceProfileName="node", RoleName=roles[0])
iam.delete_instance_profile(InstanceProfileName="node")
iam.detach_role_policy(RoleName=roles[0], PolicyArn=policies[0])
iam.delete_role_policy(RoleName=roles[0], PolicyName="inline")
for name in roles:
    iam.delete_role(RoleName=name)
for arn in policies:
    iam.delete_policy(PolicyArn=arn)
iam.remove_user_from_group(GroupName="readers", UserName=users[0])
iam.delete_group(GroupName="readers")
iam.delete_access_key(UserName=users[0], AccessKeyId=key["AccessKeyId"])
for name in users:
    iam.delete_user(UserName=name)
try:
    iam.get_user(UserName=users[0])
    raise SystemExit("a user that was deleted is there")
except iam.exceptions.NoSuchEntityException:
    pass
