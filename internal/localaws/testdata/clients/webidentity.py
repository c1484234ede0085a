"""boto3's own provider of web-identity credentials, from the environment."""
import boto3

session = boto3.session.Session()
who = session.client("sts").get_caller_identity()
assert session.get_credentials().method == "assume-role-with-web-identity", session.get_credentials().method
assert ":assumed-role/R/" in who["Arn"], who
