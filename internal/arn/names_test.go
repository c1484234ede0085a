package arn_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/arn"
)

func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat
	for _, row := range []struct {
		name    string
		is      func(string) bool
		yes, no []string
	}{
		{
			name: "account",
			is:   arn.IsAccount,
			yes:  []string{"111122223333", "000000000000"},
			no: []string{
				"", "11112222333", "1111222233334", "11112222333x", "111122223333\n", "１11122223333",
				"-11122223333",
			},
		},
		{
			name: "cluster name",
			is:   arn.IsClusterName,
			yes:  []string{"a", "0", "prod", "Prod_1-b", long("c", 100)},
			no:   []string{"", "-a", "_a", "a.b", "a/b", "a b", "a\n", "é", long("c", 101)},
		},
		{
			name: "session name",
			is:   arn.IsSessionName,
			yes:  []string{"ab", "a_b+c=d,e.f@g-h", long("s", 64)},
			no:   []string{"", "a", "a b", "a/b", "a:b", "ab\n", "aé", long("s", 65)},
		},
		{
			name: "external id",
			is:   arn.IsExternalID,
			yes:  []string{"ab", "eu-west-1/111122223333/prod/shop/cart", "a:b", long("x", 1224)},
			no:   []string{"", "a", "a b", "ab\n", "é1", long("x", 1225)},
		},
		{
			name: "bucket",
			is:   arn.IsBucket,
			yes:  []string{"abc", "a.b-c", "0b0", long("b", 63)},
			no:   []string{"", "ab", "Abc", "-bc", "ab.", "a_c", "abc\n", long("b", 64)},
		},
		{
			name: "tag key",
			is:   arn.IsTagKey,
			yes:  []string{"k", "team name", "_.:/=+-@", "ключ", "键", "٣", long("ä", 128)},
			no:   []string{"", "a!b", "a\tb", "a\n", "a*", "a\xff", "a\u200db", long("ä", 129)},
		},
		{
			name: "tag value",
			is:   arn.IsTagValue,
			yes:  []string{"", "v", "a b", long("ä", 256)},
			no:   []string{"a!", "a\x00", "a\xff", long("v", 257)},
		},
		{
			name: "region label",
			is:   arn.IsRegionLabel,
			yes:  []string{"eu-west-1", "local", "fr-par", "auto", "x", long("r", 40)},
			no:   []string{"", "-", "a-", "-a", "EU-west-1", "eu west", "eu_west_1", "a.b", "a\n", "é", long("r", 41)},
		},
	} {
		for _, text := range row.yes {
			if !row.is(text) {
				t.Errorf("%s %q is refused", row.name, text)
			}
		}
		for _, text := range row.no {
			if row.is(text) {
				t.Errorf("%s %q is accepted", row.name, text)
			}
		}
	}
}

func TestParseCluster(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		want arn.Cluster // zero: an error is wanted
	}{
		{
			text: "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
			want: arn.Cluster{Partition: "aws", Region: "eu-west-1", Account: "111122223333", Name: "prod"},
		},
		{
			text: "arn:aws-cn:eks:cn-north-1:111122223333:cluster/a_b-1",
			want: arn.Cluster{Partition: "aws-cn", Region: "cn-north-1", Account: "111122223333", Name: "a_b-1"},
		},
		{text: "arn:aws:eks:eu-west-1:111122223333:cluster/"},
		{text: "arn:aws:eks:eu-west-1:111122223333:cluster/a/b"},
		{text: "arn:aws:eks:eu-west-1:111122223333:cluster/a*"},
		{text: "arn:aws:eks:eu-west-1:111122223333:cluster/a:b"},
		{text: "arn:aws:eks:eu-west-1:111122223333:nodegroup/prod/a/b"},
		{text: "arn:aws:eks:-:111122223333:cluster/prod"},
		{text: "arn:aws:eks::111122223333:cluster/prod"},
		{text: "arn:aws:eks:eu-west-1:1111:cluster/prod"},
		{text: "arn:aws-other:eks:eu-west-1:111122223333:cluster/prod"},
		{text: "arn:aws:ecs:eu-west-1:111122223333:cluster/prod"},
		{text: "prod"},
	} {
		got, err := arn.ParseCluster(row.text)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("ParseCluster(%q) (-want +got):\n%s", row.text, diff)
		}
		if (err != nil) != (row.want == arn.Cluster{}) {
			t.Errorf("ParseCluster(%q) error = %v", row.text, err)
		}
		if err == nil && got.ARN().String() != row.text {
			t.Errorf("ParseCluster(%q).ARN() = %q", row.text, got.ARN())
		}
	}
}

// FuzzSessionName: whatever comes in, what comes out is a session name, or too
// short for one, and a session name comes out as it is.
func FuzzSessionName(f *testing.F) {
	valid := regexp.MustCompile(`^[\w+=,.@-]*$`)
	f.Add("web-5d8f7b9c4-x2x7k")
	f.Add("a b/é\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := arn.SessionName(text)
		switch {
		case arn.IsSessionName(text) && got != text:
			t.Errorf("%q becomes %q", text, got)
		case len(got) >= arn.MinSessionName && !arn.IsSessionName(got),
			!valid.MatchString(got),
			len(got) > arn.MaxSessionName:
			t.Errorf("%q becomes %q, which is not a session name", text, got)
		}
	})
}

// FuzzTags holds the functions to the expression of the STS API Reference.
func FuzzTags(f *testing.F) {
	text := regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	f.Add("team")
	f.Add("a\u2028b")
	f.Add("a\xff")
	f.Fuzz(func(t *testing.T, tag string) {
		length := len([]rune(tag))
		if got, want := arn.IsTagKey(tag), text.MatchString(tag) && length >= 1 && length <= 128; got != want {
			t.Errorf("key %q: %t, want %t", tag, got, want)
		}
		if got, want := arn.IsTagValue(tag), text.MatchString(tag) && length <= 256; got != want {
			t.Errorf("value %q: %t, want %t", tag, got, want)
		}
	})
}
