package localaws_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func document(effect, action, resource, more string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` +
		resource + `"` + more + `}]}`
}

func entry(key string, kind types.ContextKeyTypeEnum, values ...string) types.ContextEntry {
	return types.ContextEntry{ContextKeyName: &key, ContextKeyType: kind, ContextKeyValues: values}
}

// TestSimulateCustomPolicy: one row for each thing a simulation can be told.
func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	admin := w.iamClient(w.admin)
	get, bucket := document("Allow", "s3:GetObject", "arn:aws:s3:::b/*", ""), []string{"arn:aws:s3:::b/x"}
	when := func(condition string) string {
		return document("Allow", "s3:*", "*", `,"Condition":{`+condition+`}`)
	}
	bob := "arn:aws:iam::111122223333:user/bob"
	ofBob := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + bob +
		`"},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}]}`
	for _, row := range []struct {
		name    string
		in      iam.SimulateCustomPolicyInput
		want    types.PolicyEvaluationDecisionType
		matched []string
		missing []string
	}{
		{
			name:    "allowed",
			in:      iam.SimulateCustomPolicyInput{PolicyInputList: []string{get}, ResourceArns: bucket},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{name: "no resource", in: iam.SimulateCustomPolicyInput{PolicyInputList: []string{get}}, want: "implicitDeny"},
		{
			name: "a Deny is the only one named",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get, document("Deny", "*", "*", "")},
				ResourceArns:    bucket,
			},
			want:    "explicitDeny",
			matched: []string{"PolicyInputList.2"},
		},
		{
			name: "the strictest of all resources",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get},
				ResourceArns:    []string{"arn:aws:s3:::b/x", "arn:aws:s3:::c/x"},
			},
			want: "implicitDeny",
		},
		{
			name: "boundary",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList:                    []string{get},
				ResourceArns:                       bucket,
				PermissionsBoundaryPolicyInputList: []string{document("Allow", "ec2:*", "*", "")},
			},
			want: "implicitDeny",
		},
		{
			name: "missing key",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{
					when(
						`"Bool":{"aws:SecureTransport":"true"},` +
							`"StringEquals":{"aws:PrincipalTag/Team":"${aws:username}"}`,
					),
				},
				ResourceArns: bucket,
			},
			want:    "implicitDeny",
			missing: []string{"aws:PrincipalTag/Team", "aws:SecureTransport", "aws:username"},
		},
		{
			name: "string",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"StringLike":{"s3:prefix":"a*"}`)},
				ContextEntries:  []types.ContextEntry{entry("s3:prefix", "string", "abc")},
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{
			name: "stringList",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}`)},
				ContextEntries:  []types.ContextEntry{entry("aws:TagKeys", "stringList", "a", "c")},
			},
			want: "implicitDeny",
		},
		{
			name: "numeric",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"NumericLessThan":{"s3:max-keys":"10"}`)},
				ContextEntries:  []types.ContextEntry{entry("s3:max-keys", "numeric", "9")},
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{
			name: "boolean",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"Bool":{"aws:SecureTransport":"true"}`)},
				ContextEntries:  []types.ContextEntry{entry("aws:SecureTransport", "boolean", "true")},
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{
			name: "ip",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`)},
				ContextEntries:  []types.ContextEntry{entry("aws:SourceIp", "ip", "11.0.0.1")},
			},
			want: "implicitDeny",
		},
		{
			name: "binary",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"BinaryEquals":{"x:key":"AQI="}`)},
				ContextEntries:  []types.ContextEntry{entry("x:key", "binary", "AQI=")},
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{
			name: "date",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{when(`"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}`)},
				ContextEntries:  []types.ContextEntry{entry("aws:CurrentTime", "date", "2019-04-25T11:00:00Z")},
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
		{
			name: "resource policy",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{document("Allow", "ec2:*", "*", "")},
				ResourceArns:    bucket,
				CallerArn:       &bob,
				ResourcePolicy:  &ofBob,
			},
			want:    "allowed",
			matched: []string{"ResourcePolicy"},
		},
		{
			name: "resource policy of another account",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{document("Allow", "ec2:*", "*", "")},
				ResourceArns:    bucket,
				CallerArn:       &bob,
				ResourcePolicy:  &ofBob,
				ResourceOwner:   new("arn:aws:iam::999900001111:root"),
			},
			want: "implicitDeny",
		},
		{
			name: "both sides",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get},
				ResourceArns:    bucket,
				CallerArn:       &bob,
				ResourcePolicy:  &ofBob,
				ResourceOwner:   new("999900001111"),
			},
			want:    "allowed",
			matched: []string{"ResourcePolicy", "PolicyInputList.1"},
		},
		{
			name: "user's name in a variable",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{document("Allow", "s3:GetObject", "arn:aws:s3:::b/${aws:username}", "")},
				ResourceArns:    []string{"arn:aws:s3:::b/bob"},
				CallerArn:       &bob,
			},
			want:    "allowed",
			matched: []string{"PolicyInputList.1"},
		},
	} {
		row.in.ActionNames = []string{"s3:GetObject"}
		out, err := admin.SimulateCustomPolicy(t.Context(), &row.in)
		if err != nil || len(out.EvaluationResults) != 1 {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		got := out.EvaluationResults[0]
		var matched []string
		for _, statement := range got.MatchedStatements {
			matched = append(matched, *statement.SourcePolicyId)
		}
		if got.EvalDecision != row.want || !slices.Equal(matched, row.matched) ||
			!slices.Equal(got.MissingContextValues, row.missing) {
			t.Errorf(
				"%s: %s by %v without %v, want %s by %v without %v", row.name, got.EvalDecision, matched,
				got.MissingContextValues, row.want, row.matched, row.missing,
			)
		}
		if len(got.ResourceSpecificResults) != len(row.in.ResourceArns) || got.OrganizationsDecisionDetail != nil {
			t.Errorf(
				"%s: %d results for %d resources", row.name, len(got.ResourceSpecificResults), len(row.in.ResourceArns),
			)
		}
		switch row.name {
		case "boundary":
			if got.PermissionsBoundaryDecisionDetail == nil ||
				got.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
				t.Error("the boundary's part is not told")
			}
		case "the strictest of all resources":
			if first := got.ResourceSpecificResults[0]; first.EvalResourceDecision != "allowed" ||
				*first.EvalResourceName != "arn:aws:s3:::b/x" || len(first.MatchedStatements) != 1 {
				t.Errorf("%+v", first)
			}
		case "resource policy of another account":
			if details := got.EvalDecisionDetails; details["IAM Policy"] != "implicitDeny" ||
				details["Resource Policy"] != "allowed" {
				t.Errorf("details %v", details)
			}
		case "date": // the positions of AWS's documentation
			if at := got.MatchedStatements[0]; at.SourcePolicyType != "IAM Policy" || at.StartPosition.Line != 1 ||
				at.StartPosition.Column != 38 {
				t.Errorf("%+v", at.StartPosition)
			}
		}
	}
	for _, row := range []struct {
		name, code, message string
		in                  iam.SimulateCustomPolicyInput
	}{
		{
			name:    "no policy",
			code:    "ValidationError",
			message: "policyInputList",
			in:      iam.SimulateCustomPolicyInput{PolicyInputList: []string{}, ActionNames: []string{"s3:A"}},
		},
		{
			name:    "malformed",
			code:    "InvalidInput",
			message: "Syntax errors in policy.",
			in:      iam.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}, ActionNames: []string{"s3:A"}},
		},
		{
			name:    "no action",
			code:    "InvalidInput",
			message: "Invalid Action Name s3",
			in:      iam.SimulateCustomPolicyInput{PolicyInputList: []string{get}, ActionNames: []string{"s3"}},
		},
		{
			name:    "no caller",
			code:    "InvalidInput",
			message: "CallerArn",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get},
				ActionNames:     []string{"s3:A"},
				ResourcePolicy:  &ofBob,
			},
		},
		{
			name:    "odd caller",
			code:    "InvalidInput",
			message: "CallerArn",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get},
				ActionNames:     []string{"s3:A"},
				CallerArn:       new("arn:aws:sts::111122223333:assumed-role/R/s"),
			},
		},
		{
			name:    "two boundaries",
			code:    "InvalidInput",
			message: "Only one",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList:                    []string{get},
				ActionNames:                        []string{"s3:A"},
				PermissionsBoundaryPolicyInputList: []string{get, get},
			},
		},
		{
			name:    "not a number",
			code:    "InvalidInput",
			message: "not of type numeric",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{get},
				ActionNames:     []string{"s3:A"},
				ContextEntries:  []types.ContextEntry{entry("s3:max-keys", "numeric", "x")},
			},
		},
		{
			name:    "scenario",
			code:    "InvalidInput",
			message: "needs a resource of type instance",
			in: iam.SimulateCustomPolicyInput{
				PolicyInputList:        []string{get},
				ActionNames:            []string{"ec2:RunInstances"},
				ResourceHandlingOption: new("EC2-VPC-EBS"),
			},
		},
	} {
		_, err := admin.SimulateCustomPolicy(t.Context(), &row.in)
		refusedWith(t, row.name, err, row.code, row.message)
	}
	keys, err := admin.GetContextKeysForCustomPolicy(t.Context(), &iam.GetContextKeysForCustomPolicyInput{
		PolicyInputList: []string{when(`"StringEquals":{"aws:PrincipalTag/Team":"${aws:username}"}`), get},
	})
	if err != nil || !slices.Equal(keys.ContextKeyNames, []string{"aws:PrincipalTag/Team", "aws:username"}) {
		t.Errorf("keys: %+v %v", keys, err)
	}
}

// TestSimulatePrincipalPolicy: a user has what its groups have, within its
// boundary; simulation and real calls agree.
func TestSimulatePrincipalPolicy(t *testing.T) {
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
	bob, team, own := new("bob"), new("team"), new("own")
	must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: bob, Path: new("/x/")}))
	must(admin.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: team}))
	must(admin.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: team, UserName: bob}))
	must(admin.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{
		GroupName: team,
		PolicyArn: new("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"),
	}))
	must(admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName:       bob,
		PolicyName:     own,
		PolicyDocument: new(document("Allow", "iam:GetUser", "arn:aws:iam::*:user/x/${aws:username}", "")),
	}))
	arn := new("arn:aws:iam::111122223333:user/x/bob")
	ask := func(action string, resources ...string) types.EvaluationResult {
		t.Helper()
		out, err := admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: arn,
			ActionNames:     []string{action},
			ResourceArns:    resources,
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.EvaluationResults[0]
	}
	if got := ask("s3:ListBucket"); got.EvalDecision != "allowed" ||
		*got.MatchedStatements[0].SourcePolicyId != "AmazonS3ReadOnlyAccess" || got.EvalDecisionDetails != nil {
		t.Errorf("by the group: %+v", got)
	}
	if got := ask("iam:GetUser", *arn); got.EvalDecision != "allowed" ||
		*got.MatchedStatements[0].SourcePolicyId != "own" || got.MatchedStatements[0].StartPosition.Line != 1 {
		t.Errorf("own: %+v", got)
	}
	must(admin.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName:            bob,
		PermissionsBoundary: new("arn:aws:iam::aws:policy/AmazonS3FullAccess"),
	}))
	if got := ask("iam:GetUser", *arn); got.EvalDecision != "implicitDeny" ||
		got.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Errorf("limited: %+v", got)
	}
	group := new("arn:aws:iam::111122223333:group/team")
	out, err := admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: group,
		ActionNames:     []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"},
		MaxItems:        new(int32(2)),
	})
	if err != nil || len(out.EvaluationResults) != 2 || !out.IsTruncated ||
		out.EvaluationResults[1].EvalDecision != "implicitDeny" {
		t.Fatalf("group: %+v %v", out, err)
	}
	out, err = admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: group,
		ActionNames:     []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"},
		Marker:          out.Marker,
	})
	if err != nil || len(out.EvaluationResults) != 1 || out.IsTruncated ||
		*out.EvaluationResults[0].EvalActionName != "s3:ListBucket" {
		t.Fatalf("second page: %+v %v", out, err)
	}
	role := new(roleR)
	out, err = admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: role,
		ActionNames:     []string{"s3:GetObject"},
		PolicyInputList: []string{
			document("Allow", "s3:*", "*", `,"Condition":{"ArnEquals":{"aws:PrincipalArn":"`+roleR+`"}}`),
		},
	})
	if err != nil || out.EvaluationResults[0].EvalDecision != "allowed" ||
		len(out.EvaluationResults[0].MissingContextValues) != 0 {
		t.Errorf("role: %+v %v", out, err)
	}
	_, err = admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: new("arn:aws:iam::111122223333:user/bob"),
		ActionNames:     []string{"s3:A"},
	})
	refusedWith(t, "another path", err, "NoSuchEntity", "The user with name bob cannot be found.")
	_, err = admin.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: new("arn:aws:iam::111122223333:policy/p"),
		ActionNames:     []string{"s3:A"},
	})
	refusedWith(
		t, "no entity", err, "InvalidInput",
		"Invalid Entity Arn: arn:aws:iam::111122223333:policy/p does not clearly define entity type and name.",
	)
	keys, err := admin.GetContextKeysForPrincipalPolicy(
		ctx, &iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: arn},
	)
	if err != nil || !slices.Equal(keys.ContextKeyNames, []string{"aws:username"}) {
		t.Errorf("keys: %+v %v", keys, err)
	}
}
