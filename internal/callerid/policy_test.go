package callerid_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestAnyRegion is the peer's table of hosts (spec authenticator §3.1), and what it lets
// through that nobody may.
func TestAnyRegion(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		partition, host, region string
		accepted                bool
	}{
		{"aws", "sts.amazonaws.com", "", true},
		{"aws", "sts-fips.us-west-2.amazonaws.com", "", true},
		{"aws", "sts.us-east-1.amazonaws.com", "", true},
		{"aws", "sts.amazonaws.com.cn", "", false},
		{"aws", "website.amazonaws.com", "", false},
		{"aws", "sts.default-region.amazonaws.com", "default-region", true},
		{"aws", "sts.not-a-region.amazonaws.com", "us-west-2", true},
		{"aws", "sts.us-west-2.api.aws", "", true},
		{"aws", "sts.cn-north-1.api.amazonwebservices.com.cn", "", false},
		{"aws", "sts.us-west-2.amazonaws.com.cn", "", false},
		{"aws-cn", "sts.cn-northwest-1.amazonaws.com.cn", "", true},
		{"aws-cn", "sts.cn-north-1.amazonaws.com.cn", "", true},
		{"aws-cn", "sts.cn-north-1.api.amazonwebservices.com.cn", "", true},
		{"aws-cn", "sts.us-iso-east-1.c2s.ic.gov", "", false},
		{"aws-cn", "sts-fips.us-east-1.amazonaws.com", "", false},
		{"aws-cn", "sts.us-isob-east-1.amazonaws.com.cn", "", false},
		{"aws-cn", "sts.not-a-region1.amazonaws.com.cn", "", false},
		{"aws-cn", "sts.not-a-region2.amazonaws.com.cn", "not-a-region2", true},
		{"aws-cn", "sts.not-a-region2.amazonaws.com.cn", "us-west-2", false},
		{"aws-cn", "sts.us-isob-east-1.amazonaws.com.cn", "us-isob-east-1", true},
		{"aws-iso", "sts.us-iso-east-1.c2s.ic.gov", "", true},
		{"aws-us-gov", "sts.us-gov-east-1.amazonaws.com", "", true},
		{"aws-us-gov", "sts.amazonaws.com", "", false},
		{"aws-nowhere", "sts.amazonaws.com", "", false},
		{"aws", "google.com", "", false},
		// Not of the table: what the peer lets through, too.
		{"aws", "sts.us-gov-west-1.amazonaws.com", "", false},
		{"aws-us-gov", "sts.us-east-1.amazonaws.com", "", false},
		{"aws", "sts.s3.amazonaws.com", "", false},
		{"aws", "sts.s3-us-west-2.amazonaws.com", "", false},
		{"aws", "sts.s3-website-us-east-1.amazonaws.com", "", false},
		{"aws", "sts.S3.amazonaws.com", "", false},
		{"aws", "sts.US-EAST-1.amazonaws.com", "", false},
		{"aws", "vpce-0a.sts.us-east-1.vpce.amazonaws.com", "", false},
		{"aws", "iam.not-a-region.amazonaws.com", "", false},
	} {
		p := callerid.Policy{Partition: row.partition, Regions: []string{row.region}, AnyRegion: true}
		_, err := callerid.Parse(callerid.Encode("https://"+row.host+"/?"+query()), p, now)
		if (err == nil) != row.accepted {
			t.Errorf("%s on %s, configured %q: %v", row.host, row.partition, row.region, err)
		}
	}
}

// TestStrictScope: the scope must be what STS takes, if it is to be looked at at all.
func TestStrictScope(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		host, scope string
		accepted    bool
	}{
		{"sts.us-east-1.amazonaws.com", "AKIA/20260102/us-east-1/sts/aws4_request", true},
		{"sts.amazonaws.com", "AKIA/20260102/us-east-1/sts/aws4_request", true},
		{"sts.us-east-1.amazonaws.com", "AKIA/20191216/us-west-2/s3/aws4_request", false},
		{"sts.us-east-1.amazonaws.com", "AKIA/20260102/us-west-2/sts/aws4_request", false},
		{"sts.us-east-1.amazonaws.com", "AKIA/20260103/us-east-1/sts/aws4_request", false},
		{"sts.us-east-1.amazonaws.com", "AKIA/20260102/us-east-1/sts/aws4_request/", false},
		{"sts.us-east-1.amazonaws.com", "AKIA", false},
		{"sts.us-east-1.amazonaws.com", "", false},
	} {
		token := callerid.Encode("https://" + row.host + "/?" + query() + "&X-Amz-Credential=" + row.scope)
		p := policy("aws")
		if _, err := callerid.Parse(token, p, now); err != nil {
			t.Errorf("%q is looked at although it is not to be: %v", row.scope, err)
		}
		p.StrictScope = true
		if _, err := callerid.Parse(token, p, now); (err == nil) != row.accepted {
			t.Errorf("%q on %s: %v", row.scope, row.host, err)
		}
	}
}

// TestTimeErrors say how far off a token is, for programs and for people.
func TestTimeErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		off  time.Duration
		want string
	}{
		{-4*time.Hour - 9*time.Minute, "expired: signed 4 h 9 min ago, which may be 15 min"},
		{-15*time.Minute - time.Second, "signed 15 min ago"},
		{-72 * time.Hour, "signed 3 days ago"},
		{6 * time.Hour, "in the future: signed 6 h 0 min ahead of the server's clock"},
		{16 * time.Minute, "signed 16 min ahead"},
	} {
		_, err := callerid.Parse(callerid.Encode(at(row.off)), policy("aws"), now)
		found, ok := errors.AsType[*callerid.TimeError](err)
		if !ok || found.Age != -row.off || !strings.Contains(err.Error(), row.want) || len(fault.HintsOf(err)) != 1 {
			t.Errorf("%s: %v, %v; want %s", row.off, found, err, row.want)
		}
	}
}

// TestMistakesOfTokenMakers are named: padding that was kept, a URL that was encoded
// twice, a token of another length than is taken.
func TestMistakesOfTokenMakers(t *testing.T) {
	t.Parallel()
	good := callerid.Encode(host + "/?" + query()).Reveal()
	for _, row := range []struct{ name, token, want, hint string }{
		{"padding", good + "=", "illegal base64 data", "padding"},
		{
			"encoded twice", callerid.Encode("https%3A%2F%2Fsts.amazonaws.com%2F%3FAction%3D").Reveal(), "unexpected scheme",
			"percent-encoded once more",
		},
		{"too long", callerid.Prefix + strings.Repeat("A", 20000), "token is too large: 20011 bytes, of at most 16384", ""},
		{"too long without prefix", strings.Repeat("A", 5000), "token is too large: 5000 bytes, of at most 4096", ""},
	} {
		_, err := callerid.Parse(credential.NewSecret(row.token), policy("aws"), now)
		if err == nil || !strings.Contains(err.Error(), row.want) ||
			!strings.Contains(strings.Join(fault.HintsOf(err), " "), row.hint) {
			t.Errorf("%s: %v, hints %q", row.name, err, fault.HintsOf(err))
		}
	}
	if !policy("aws").TooLong(credential.NewSecret(strings.Repeat("A", 16385))) ||
		policy("aws").TooLong(credential.NewSecret(strings.Repeat("A", 16384))) {
		t.Error("a token of 16,384 bytes is not the longest")
	}
}
