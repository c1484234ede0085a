package localaws_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/credential"
)

// TestSDKCallsSTS: the SDK's own encoders and decoders, for each operation.
func TestSDKCallsSTS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realTime()
	w.role("open", trustingAWS("arn:aws:iam::"+accountID+":root", `"sts:*"`))
	client, ctx := w.stsClient(w.admin, ""), t.Context()
	taken, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/open"),
		RoleSessionName: aws.String("s2"),
		DurationSeconds: aws.Int32(900),
		Policy:          aws.String(allow(`"sns:*"`, `"*"`)),
		PolicyArns: []types.PolicyDescriptorType{
			{Arn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")},
		},
		Tags: []types.Tag{
			{Key: aws.String("team"), Value: aws.String("red")},
			{Key: aws.String("empty"), Value: aws.String("")},
		},
		TransitiveTagKeys: []string{"team"},
		SourceIdentity:    aws.String("me"),
		ExternalId:        aws.String("x:1/2"),
	})
	if err != nil || aws.ToString(taken.SourceIdentity) != "me" ||
		!strings.HasSuffix(aws.ToString(taken.AssumedRoleUser.Arn), ":assumed-role/open/s2") {
		t.Fatalf("AssumeRole: %+v, %v", taken, err)
	}
	session := w.stsClient(credential.AWS{
		AccessKeyID:  *taken.Credentials.AccessKeyId,
		SecretKey:    credential.NewSecret(*taken.Credentials.SecretAccessKey),
		SessionToken: credential.NewSecret(*taken.Credentials.SessionToken),
	}, "")
	if who, err := session.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil ||
		aws.ToString(who.Arn) != aws.ToString(taken.AssumedRoleUser.Arn) {
		t.Errorf("GetCallerIdentity: %+v, %v", who, err)
	}
	if got, err := client.GetSessionToken(ctx, &sts.GetSessionTokenInput{}); err != nil ||
		got.Credentials.Expiration == nil {
		t.Errorf("GetSessionToken: %+v, %v", got, err)
	}
	if got, err := client.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("fred")}); err != nil ||
		aws.ToString(got.FederatedUser.FederatedUserId) != accountID+":fred" {
		t.Errorf("GetFederationToken: %+v, %v", got, err)
	}
	if got, err := client.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{
		AccessKeyId: taken.Credentials.AccessKeyId,
	}); err != nil || aws.ToString(got.Account) != accountID {
		t.Errorf("GetAccessKeyInfo: %+v, %v", got, err)
	}
	web := func(raw string, more ...func(*sts.AssumeRoleWithWebIdentityInput)) error {
		input := &sts.AssumeRoleWithWebIdentityInput{
			RoleArn:          aws.String(roleR),
			RoleSessionName:  aws.String("s1"),
			WebIdentityToken: aws.String(raw),
		}
		for _, edit := range more {
			edit(input)
		}
		_, err := client.AssumeRoleWithWebIdentity(ctx, input)
		return err
	}
	now := edit{"iat": w.clock().Unix(), "nbf": w.clock().Unix(), "exp": w.clock().Unix() + 600}
	if err := web(w.token(w.key, now)); err != nil {
		t.Errorf("AssumeRoleWithWebIdentity: %v", err)
	}
	for name, row := range map[string]struct {
		err  error
		want func(error) bool
	}{
		"no token": {web("not.a.token"), is[*types.InvalidIdentityTokenException]},
		"expired":  {web(w.token(w.key, edit{"exp": epoch.Unix() - 86400})), is[*types.ExpiredTokenException]},
		"no policy": {
			web(w.token(w.key, now), func(in *sts.AssumeRoleWithWebIdentityInput) { in.Policy = aws.String("{") }),
			is[*types.MalformedPolicyDocumentException],
		},
		"facebook": {
			web(w.token(w.key, now), func(in *sts.AssumeRoleWithWebIdentityInput) {
				in.ProviderId = aws.String("graph.facebook.com")
			}),
			is[*types.IDPRejectedClaimException],
		},
		"too large": {tooLarge(ctx, client), is[*types.PackedPolicyTooLargeException]},
		"message":   {decode(ctx, client), is[*types.InvalidAuthorizationMessageException]},
	} {
		if !row.want(row.err) {
			t.Errorf("%s: %v", name, row.err)
		}
	}
}

// is reports whether the SDK made an error of the modelled kind.
func is[E smithy.APIError](err error) bool {
	_, found := errors.AsType[E](err)
	return found
}

func tooLarge(ctx context.Context, client *sts.Client) error {
	var tags []types.Tag
	for name := range manyTags(50) {
		tags = append(tags, types.Tag{Key: aws.String(name), Value: aws.String(strings.Repeat("v", 200))})
	}
	_, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::" + accountID + ":role/open"),
		RoleSessionName: aws.String("s2"),
		Tags:            tags,
	})
	return err
}

func decode(ctx context.Context, client *sts.Client) error {
	_, err := client.DecodeAuthorizationMessage(
		ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("x")},
	)
	return err
}
