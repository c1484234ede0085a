package policy_test

import (
	"reflect"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

func TestOutline(t *testing.T) {
	t.Parallel()
	text := "{\"Version\":\"2012-10-17\",\"Statement\":[\n" +
		`  {"Sid":"A","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:username, 'x'}/${*}/${aws:userid}","*"],` +
		"\n" +
		`   "Condition":{"StringLike":{"aws:PrincipalTag/Team":"${aws:PrincipalTag/Owner}"},"Bool":{` +
		`"aws:SecureTransport":"true"}}},` + "\n" +
		`  {"Effect":"Deny","Action":"*","Resource":"*"}]}`
	parsed, err := policy.Parse(policy.Identity, "p", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Outline{
		{
			Sid:   "A",
			Start: policy.Position{1, 38},
			End:   policy.Position{3, 123},
			Keys: []string{
				"aws:PrincipalTag/Owner", "aws:PrincipalTag/Team", "aws:SecureTransport", "aws:userid",
				"aws:username",
			},
		},
		{"", policy.Position{3, 123}, policy.Position{4, 48}, nil},
	}
	if got := parsed.Outline(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	// The example of AWS's documentation.
	text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{` +
		`"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}`
	if parsed, err = policy.Parse(policy.Identity, "p", []byte(text)); err != nil {
		t.Fatal(err)
	}
	want = []policy.Outline{{"", policy.Position{1, 38}, policy.Position{1, 167}, []string{"aws:CurrentTime"}}}
	if got := parsed.Outline(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
