package account

import "time"

// awsPolicies is what stands between partition and path in the ARNs of AWS's own
// managed policies.
const awsPolicies = ":iam::aws:policy"

// AdministratorAccess is the ARN of the managed policy that allows everything.
const AdministratorAccess = "arn:aws" + awsPolicies + "/AdministratorAccess"

// AWSPolicies returns the managed policies of AWS's own that are known here, by
// name. They are a few of the many, in the version of the day they were copied.
func AWSPolicies() []*ManagedPolicy {
	created := time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC)
	var policies []*ManagedPolicy
	for _, row := range []struct{ id, name, description, text string }{
		{"ANPAIWMBCKSKIEE64ZLYK", "AdministratorAccess", "Provides full access to AWS services and resources.", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
}`},
		{"ANPAIFIR6V6BVTRAHWINE", "AmazonS3FullAccess", "Provides full access to all buckets via the AWS Management Console.", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": ["s3:*", "s3-object-lambda:*"], "Resource": "*"}]
}`},
		{"ANPAIZTJ4DXE7G6AGAE6M", "AmazonS3ReadOnlyAccess", "Provides read only access to all buckets via the AWS Management Console.", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"], "Resource": "*"}]
}`},
		{"ANPAJODSKQGGJTHRYZ5FC", "AmazonSSMReadOnlyAccess", "Provides read only access to Amazon SSM.", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": ["ssm:Describe*", "ssm:Get*", "ssm:List*"], "Resource": "*"}]
}`},
		{"ANPAJKSO7NDY4T57MWDSQ", "IAMReadOnlyAccess", "Provides read only access to IAM via the AWS Management Console.", `{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": ["iam:GenerateCredentialReport", "iam:GenerateServiceLastAccessedDetails", "iam:Get*", "iam:List*", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy"], "Resource": "*"}]
}`},
	} {
		policies = append(policies, &ManagedPolicy{
			Name: row.name, Path: "/", ID: row.id, Description: row.description, Last: 1, Created: created, Updated: created, AWS: true,
			Versions: []PolicyVersion{{ID: "v1", Text: row.text, Default: true, Created: created}},
		})
	}
	return policies
}
