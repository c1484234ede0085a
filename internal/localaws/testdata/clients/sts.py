"""STS with boto3: identities, roles, web identities and a presigned call."""
import os
import urllib.request

import boto3

role = os.environ["ROLECALL_TEST_ROLE"]
for region in ("us-east-1", "eu-west-1", "aws-global"):
    who = boto3.client("sts", region_name=region).get_caller_identity()
    assert who["Arn"].endswith(":user/admin"), (region, who)

given = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="boto")["Credentials"]
session = boto3.session.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
assert session.client("sts").get_caller_identity()["Arn"].endswith(":assumed-role/Taken/boto")

url = boto3.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
with urllib.request.urlopen(url) as answer:
    text = answer.read().decode()
assert ":user/admin</Arn>" in text, text
