package localaws_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/credential"
)

// environment is what a client needs: an endpoint and credentials, and nothing of
// the machine's own configuration.
func (w *world) environment(c credential.AWS) []string {
	env := []string{
		"AWS_ENDPOINT_URL=" + w.url, "AWS_ACCESS_KEY_ID=" + c.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.SecretKey.Reveal(), "AWS_DEFAULT_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
	}
	if !c.SessionToken.IsZero() {
		env = append(env, "AWS_SESSION_TOKEN="+c.SessionToken.Reveal())
	}
	for _, name := range []string{"PATH", "HOME", "PYENV_ROOT", "LANG"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

// script runs a shell script in an empty folder and returns what it printed.
func (w *world) script(c credential.AWS, shell string, arguments ...string) string {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), shell, arguments...)
	command.Env, command.Dir = w.environment(c), w.t.TempDir()
	out, err := command.CombinedOutput()
	if err != nil {
		w.t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}

const cliScript = `
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND"' ERR
fails() {
	local want=$1; shift
	if out=$("$@" 2>&1); then echo "NOT REFUSED: $*"; exit 1; fi
	case $out in *"$want"*) ;; *) echo "want $want: $out"; exit 1;; esac
}
aws s3 mb s3://cli-bucket
printf '{"issuer":"x"}' > discovery.json
aws s3 cp discovery.json s3://cli-bucket/.well-known/openid-configuration \
	--content-type application/json --cache-control no-cache
fails AccessControlListNotSupported \
	aws s3 cp --acl public-read discovery.json s3://cli-bucket/.well-known/openid-configuration
aws s3 ls s3://cli-bucket/ | grep -c 'PRE .well-known/'
aws s3 ls s3://cli-bucket/.well-known/ | grep -c openid-configuration
test "$(aws s3 cp s3://cli-bucket/.well-known/openid-configuration -)" = '{"issuer":"x"}'
head -c 9000000 /dev/zero > big
aws s3 cp big s3://cli-bucket/big >/dev/null
aws s3 cp s3://cli-bucket/big big2 >/dev/null
cmp big big2
aws s3 cp s3://cli-bucket/big s3://cli-bucket/copy >/dev/null
mkdir -p tree/a; echo 1 > "tree/a/one & two"; echo 2 > tree/b
touch -t 202001010000 "tree/a/one & two" tree/b # what is uploaded is newer: sync goes by that
aws s3 sync tree s3://cli-bucket/tree | wc -l | grep -c 2
test -z "$(aws s3 sync tree s3://cli-bucket/tree)"
aws s3 sync s3://cli-bucket/tree back >/dev/null
diff -r tree back
aws s3 mv s3://cli-bucket/tree/b s3://cli-bucket/tree/c >/dev/null
curl -fsS "$(aws s3 presign s3://cli-bucket/tree/c)" | grep -cx 2
curl -fsS "$(aws s3 presign s3://cli-bucket/tree/c --region eu-south-1)" | grep -cx 2
fails "(403)" aws --no-sign-request s3 cp s3://cli-bucket/tree/c -
fails BucketNotEmpty aws s3 rb s3://cli-bucket
fails 404 aws s3api head-object --bucket cli-bucket --key none
fails NoSuchBucketPolicy aws s3api get-bucket-policy --bucket cli-bucket
aws s3api wait bucket-exists --bucket cli-bucket
aws s3api wait object-exists --bucket cli-bucket --key tree/c
aws s3api delete-public-access-block --bucket cli-bucket
aws s3api put-bucket-ownership-controls --bucket cli-bucket \
	--ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerPreferred}]'
aws s3 cp --acl public-read discovery.json s3://cli-bucket/keys.json >/dev/null
curl -fsS $AWS_ENDPOINT_URL/cli-bucket/keys.json | grep -c issuer
aws --no-sign-request s3 cp s3://cli-bucket/keys.json - | grep -c issuer
aws s3api get-object-acl --bucket cli-bucket --key keys.json | grep -c AllUsers
aws s3api put-bucket-policy --bucket cli-bucket \
	--policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
		"Action":"s3:GetObject","Resource":"arn:aws:s3:::cli-bucket/tree/*"}]}'
aws s3api get-bucket-policy-status --bucket cli-bucket | grep -c true
curl -fsS $AWS_ENDPOINT_URL/cli-bucket/tree/c | grep -cx 2
aws s3api create-bucket --bucket cli-other --region eu-west-1 \
	--create-bucket-configuration LocationConstraint=eu-west-1 >/dev/null
aws s3api get-bucket-location --bucket cli-other | grep -c eu-west-1
aws s3api put-object-tagging --bucket cli-bucket --key tree/c --tagging 'TagSet=[{Key=a,Value=b}]'
aws s3api get-object-tagging --bucket cli-bucket --key tree/c | grep -c '"b"'
aws s3api list-objects-v2 --bucket cli-bucket --page-size 1 --query 'length(Contents)' | grep -cx 6
aws s3api list-objects --bucket cli-bucket --page-size 2 --query 'length(Contents)' | grep -cx 6
aws s3 rm s3://cli-bucket --recursive >/dev/null
aws s3 rb s3://cli-bucket
aws s3 rb s3://cli-other
aws s3api wait bucket-not-exists --bucket cli-other
echo passed
`

func TestS3WithCLI(t *testing.T) {
	t.Parallel()
	client(t, "bash", "-c", "command -v curl")
	client(t, "aws", "--version")
	w := newS3World(t)
	if out := w.script(w.admin, "bash", "-c", cliScript); !strings.HasSuffix(out, "passed\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}

const botoScript = `
import boto3, botocore, os, urllib.request, io
s3 = boto3.client("s3")
def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == code, e
    else:
        raise AssertionError("not refused: " + code)
s3.create_bucket(Bucket="boto-bucket")
s3.put_object(Bucket="boto-bucket", Key="a/b", Body=b"content", Metadata={"k": "v"}, ChecksumAlgorithm="SHA256")
got = s3.get_object(Bucket="boto-bucket", Key="a/b", ChecksumMode="ENABLED")
assert got["Body"].read() == b"content" and got["Metadata"] == {"k": "v"} and got["ChecksumSHA256"], got
s3.put_object(Bucket="boto-bucket", Key="stream", Body=io.BytesIO(b"x" * 100000))
s3.upload_fileobj(io.BytesIO(b"y" * (9 << 20)), "boto-bucket", "big")
out = io.BytesIO(); s3.download_fileobj("boto-bucket", "big", out)
assert out.getvalue() == b"y" * (9 << 20)
s3.copy({"Bucket": "boto-bucket", "Key": "big"}, "boto-bucket", "big2")
assert s3.head_object(Bucket="boto-bucket", Key="big2")["ContentLength"] == 9 << 20
for region in ("us-east-1", "eu-south-1"):
    client = boto3.client("s3", region_name=region)
    url = client.generate_presigned_url("get_object",
    Params={"Bucket": "boto-bucket", "Key": "a/b", "ResponseContentType": "text/x"})
    answer = urllib.request.urlopen(url)
    assert answer.read() == b"content" and answer.headers["Content-Type"] == "text/x"
    url = client.generate_presigned_url("put_object", Params={"Bucket": "boto-bucket", "Key": "put"})
    urllib.request.urlopen(urllib.request.Request(url, data=b"z", method="PUT", headers={"Content-Type": ""}))
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="boto-bucket", PaginationConfig={"PageSize": 2})
keys = [o["Key"] for page in pages for o in page["Contents"]]
assert keys == ["a/b", "big", "big2", "put", "stream"], keys
refused("NoSuchKey", s3.get_object, Bucket="boto-bucket", Key="none")
refused("NoSuchBucket", s3.get_object, Bucket="no-such-bucket", Key="none")
refused("404", s3.head_object, Bucket="boto-bucket", Key="none")
refused("SignatureDoesNotMatch", boto3.client("s3",
    aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x",
    aws_session_token=os.environ["AWS_SESSION_TOKEN"]).list_buckets)
refused("InvalidAccessKeyId",
    boto3.client("s3", aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x").list_buckets)
resource = boto3.resource("s3").Bucket("boto-bucket")
resource.objects.all().delete()
resource.delete()
s3.get_waiter("bucket_not_exists").wait(Bucket="boto-bucket")
print("passed")
`

func TestS3WithBoto3(t *testing.T) {
	t.Parallel()
	client(t, "python3", "-c", "import boto3")
	w := newS3World(t)
	file := filepath.Join(t.TempDir(), "script.py")
	if err := os.WriteFile(file, []byte(botoScript), 0o600); err != nil {
		t.Fatal(err)
	}
	// A session's presigned URLs carry its token, in both signature versions.
	creds := w.session("reader", allow(`"s3:*"`, `"*"`))
	if out := w.script(creds, "python3", file); !strings.HasSuffix(out, "passed\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}
