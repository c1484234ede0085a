package callerid_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

var now = time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)

const (
	host     = "https://sts.us-east-1.amazonaws.com"
	dateForm = "20060102T150405Z"
)

// query is B of spec authenticator §11, with parameters replaced; empty removes.
func query(edits ...string) string {
	text := ""
	for _, one := range [][2]string{
		{"Action", "GetCallerIdentity"},
		{"X-Amz-SignedHeaders", "host%3Bx-k8s-aws-id"},
		{"X-Amz-Expires", "60"},
		{"X-Amz-Date", now.Format(dateForm)},
	} {
		for i := 0; i < len(edits); i += 2 {
			if edits[i] == one[0] {
				one[1] = edits[i+1]
			}
		}
		if one[1] != "" {
			text += "&" + one[0] + "=" + one[1]
		}
	}
	return text[1:]
}

func at(d time.Duration) string {
	return host + "/?" + query("X-Amz-Date", now.Add(d).Format(dateForm))
}

func policy(partition string, regions ...string) callerid.Policy {
	return callerid.Policy{Partition: partition, Regions: regions}
}

// accepted as a fragment means that all checks pass.
const accepted = ""

var urlRows = []struct{ row, url, fragment string }{
	{"a text that is not a URL (spec authenticator row T12)", ":ab:cd.af:/asda", "missing protocol scheme"},
	{
		"another scheme (spec authenticator row T13)",
		"http://sts.us-east-1.amazonaws.com/?" + query(),
		`unexpected scheme "http"`,
	},
	{
		row:      "a host of somebody else (spec authenticator row T14)",
		url:      "https://google.com/?" + query(),
		fragment: "could not parse region for pre-signed URL google.com, invalid host format: google.com",
	},
	{
		row:      "a host that only begins like STS's (spec authenticator row T15)",
		url:      "https://sts.us-east-1.amazonaws.com.evil.example/?" + query(),
		fragment: `unexpected hostname "sts.us-east-1.amazonaws.com.evil.example" in pre-signed URL`,
	},
	{"a port (spec authenticator row T16)", host + ":443/?" + query(), "unexpected hostname"},
	{
		"a user and a password (spec authenticator row T17)",
		"https://a:b@sts.us-east-1.amazonaws.com/?" + query(),
		"unexpected user",
	},
	{
		row:      "STS's host as a user (spec authenticator row T18)",
		url:      "https://sts.us-east-1.amazonaws.com%2f@evil.example/?" + query(),
		fragment: "unexpected user",
	},
	{
		row:      "another host as a user (spec authenticator row T18)",
		url:      "https://evil.example%2f@sts.us-east-1.amazonaws.com/?" + query(),
		fragment: "unexpected user",
	},
	{"a path (spec authenticator row T19)", host + "/abc?" + query(), "unexpected path in pre-signed URL"},
	{"no path (spec authenticator row T20)", host + "?" + query(), "unexpected path in pre-signed URL"},
	{"two slashes", host + "//?" + query(), "unexpected path in pre-signed URL"},
	{"dot", host + "/./?" + query(), "unexpected path in pre-signed URL"},
	{"encoded slash", host + "/%2f?" + query(), "unexpected path in pre-signed URL"},
	{"a fragment (spec authenticator row T21)", host + "/?" + query() + "#x", "fragment"},
	{"an empty fragment (spec authenticator row T21)", host + "/?" + query() + "#", "fragment"},
	{
		row:      "a parameter that is not allowed (spec authenticator row T22)",
		url:      host + "/?" + query() + "&NoInWhiteList=abc",
		fragment: "non-whitelisted query parameter",
	},
	{
		row:      "a parameter twice (spec authenticator row T23)",
		url:      host + "/?action=get&action=post",
		fragment: "query parameter with multiple values not supported",
	},
	{
		row:      "a parameter in two spellings (spec authenticator row T24)",
		url:      host + "/?" + query() + "&X-Amz-Credential=a&x-amz-credential=eve",
		fragment: "duplicate query parameter found:",
	},
	{
		row:      "the action in two spellings (spec authenticator row T25)",
		url:      host + "/?" + query() + "&ACTION=AssumeRole",
		fragment: "duplicate query parameter found:",
	},
	{
		row:      "two spellings count before what is not allowed (spec authenticator rows T25, T22)",
		url:      host + "/?other=1&" + query() + "&ACTION=AssumeRole",
		fragment: "duplicate query parameter found:",
	},
	{
		row:      "another action (spec authenticator row T26)",
		url:      host + "/?" + query("Action", "NotGetCallerIdenity"),
		fragment: "unexpected action parameter in pre-signed URL",
	},
	{
		row:      "the action in lower case (spec authenticator row T27)",
		url:      host + "/?" + query("Action", "getcalleridentity"),
		fragment: "unexpected action parameter in pre-signed URL",
	},
	{"no action", host + "/?" + query("Action", ""), "unexpected action parameter in pre-signed URL"},
	{"no query", host + "/?", "unexpected action parameter in pre-signed URL"},
	{
		row:      "the cluster's header is not signed (spec authenticator row T28)",
		url:      host + "/?" + query("X-Amz-SignedHeaders", "host"),
		fragment: "client did not sign the x-k8s-aws-id header in the pre-signed URL",
	},
	{
		row:      "a header of a similar name is signed (spec authenticator row T29)",
		url:      host + "/?" + query("X-Amz-SignedHeaders", "abc%3Bx-k8s-aws-i%3Bdef"),
		fragment: "client did not sign the x-k8s-aws-id header",
	},
	{
		row:      "the cluster's header in capitals (spec authenticator row T30)",
		url:      host + "/?" + query("X-Amz-SignedHeaders", "host%3BX-K8S-AWS-ID"),
		fragment: accepted,
	},
	{
		row:      "the cluster's header with a Kelvin sign (spec authenticator row T31)",
		url:      host + "/?" + query("X-Amz-SignedHeaders", "host%3Bx-%E2%84%AA8s-aws-id"),
		fragment: "client did not sign the x-k8s-aws-id header",
	},
	{"Kelvin sign in a name", host + "/?" + query() + "&x-amz-%E2%84%AA=1", "non-whitelisted query parameter"},
	{
		row:      "far too many seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "9999999"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "a second too many (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "901"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "negative seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "-1"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "empty seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "") + "&X-Amz-Expires=",
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "no seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", ""),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "letters for seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "abc"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "a sign before the seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "%2B60"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "a sign before the seconds (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "-0"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{
		row:      "seconds in other digits (spec authenticator row T32)",
		url:      host + "/?" + query("X-Amz-Expires", "%D9%A6"),
		fragment: "invalid X-Amz-Expires parameter in pre-signed URL",
	},
	{"no time at all (spec authenticator row T33)", host + "/?" + query("X-Amz-Expires", "0"), accepted},
	{"a minute (spec authenticator row T33)", host + "/?" + query("X-Amz-Expires", "60"), accepted},
	{"fifteen minutes (spec authenticator row T33)", host + "/?" + query("X-Amz-Expires", "900"), accepted},
	{
		row:      "a date that is not one (spec authenticator row T34)",
		url:      host + "/?" + query("X-Amz-Date", "xxxxxxx"),
		fragment: "error parsing X-Amz-Date parameter",
	},
	{
		row:      "fraction",
		url:      host + "/?" + query("X-Amz-Date", now.Format("20060102T150405")+".5Z"),
		fragment: "error parsing X-Amz-Date parameter",
	},
	{
		row:      "a date long past (spec authenticator row T35)",
		url:      host + "/?" + query("X-Amz-Date", "19900422T010203Z"),
		fragment: "X-Amz-Date parameter is expired",
	},
	{"nearly fifteen minutes old (spec authenticator row T36)", at(-14*time.Minute - 59*time.Second), accepted},
	{"fifteen minutes old (spec authenticator row T36)", at(-15 * time.Minute), accepted},
	{
		"more than fifteen minutes old (spec authenticator row T36)",
		at(-15*time.Minute - time.Second),
		"X-Amz-Date parameter is expired",
	},
	{
		row:      "no date (spec authenticator row T37)",
		url:      host + "/?" + query("X-Amz-Date", ""),
		fragment: "X-Amz-Date parameter must be present in pre-signed URL",
	},
	{
		"sixteen minutes ahead (spec authenticator row T38)",
		at(16 * time.Minute),
		"X-Amz-Date parameter is in the future",
	},
	{"fifteen minutes ahead (spec authenticator row T38)", at(15 * time.Minute), accepted},
	{
		"an escape that is not one (spec authenticator row T39)",
		host + "/?" + query() + "&x=%gh",
		"malformed query parameter",
	},
	{
		"a semicolon between parameters (spec authenticator row T39)",
		host + "/?" + query() + ";x=1",
		"malformed query parameter",
	},
	{
		row:      "a blank, which would end the request line",
		url:      host + "/?" + query() + "&Version=2011-06-15 HTTP/1.1",
		fragment: "malformed query parameter",
	},
	{"not ASCII", host + "/?" + query() + "&X-Amz-Signature=\xc3\xa9", "malformed query parameter"},
	{"control character", host + "/?" + query() + "\r\nX-K8s-Aws-Id: other", "invalid control character"},
	{"too many", host + "/?" + query() + strings.Repeat("&x=1", 100), "non-whitelisted query parameter"},
	{"version", host + "/?" + query() + "&Version=1999-01-01", "unexpected version parameter"},
	{
		row:      "algorithm",
		url:      host + "/?" + query() + "&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256",
		fragment: "unexpected X-Amz-Algorithm parameter",
	},
	{"both as they are", host + "/?" + query() + "&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256", accepted},
	{
		row: "the upstream suite's scope and signature",
		url: host + "/?" + query() +
			"&X-Amz-Credential=ASIABCDEFGHIJKLMNOPQ%2F20191216%2Fus-west-2%2Fs3%2Faws4_request&" +
			"X-Amz-Security-Token=XXXXXXXXXXXXX&X-Amz-Signature=999999999999999999",
		fragment: accepted,
	},
	{"upper case scheme", "HTTPS" + strings.TrimPrefix(host, "https") + "/?" + query(), accepted},
	{"opaque", "https:sts.us-east-1.amazonaws.com/?" + query(), "opaque"},
	{"trailing dot", host + "./?" + query(), "unexpected hostname"},
	{"address", "https://[::1]/?" + query(), "unexpected hostname"},
	{"no host", "https:///?" + query(), "could not parse region"},
}

func TestParseURLs(t *testing.T) {
	t.Parallel()
	for _, row := range urlRows {
		t.Run(row.row, func(t *testing.T) {
			t.Parallel()
			p, err := callerid.Parse(callerid.Encode(row.url), policy("aws"), now)
			if expect(t, err, row.fragment); err == nil {
				if p.Host != "sts.us-east-1.amazonaws.com" || p.Region != "us-east-1" ||
					!strings.HasSuffix(row.url, "/?"+p.Query.Reveal()) {
					t.Errorf("%s %s %s", p.Host, p.Region, p.Query.Reveal())
				}
			}
		})
	}
}

func expect(t *testing.T, err error, fragment string) {
	t.Helper()
	switch {
	case fragment == accepted && err != nil:
		t.Errorf("refused: %v", err)
	case fragment == accepted:
	case err == nil:
		t.Errorf("accepted, want %s", fragment)
	case fault.KindOf(err) != fault.Invalid ||
		!strings.HasPrefix(err.Error(), "input token was not properly formatted: ") ||
		!strings.Contains(err.Error(), fragment):
		t.Errorf("%v (kind %d), want %s", err, fault.KindOf(err), fragment)
	}
}

func TestParseText(t *testing.T) {
	t.Parallel()
	valid := callerid.Encode(host + "/?" + query()).Reveal()
	long := callerid.Encode(host + "/?" + query() + "&X-Amz-Security-Token=" + strings.Repeat("A", 4200)).Reveal()
	missing := `token is missing expected "k8s-aws-v1." prefix`
	for _, row := range []struct{ row, token, fragment string }{
		{"a good one (spec authenticator row T1)", valid, accepted},
		{"nothing (spec authenticator row T2)", "", missing},
		{"too long without a prefix (spec authenticator row T3)", strings.Repeat("\x00", 4097), "token is too large"},
		{"as long as may be without a prefix", strings.Repeat("\x00", 4096), missing},
		{"long, with a prefix (spec authenticator row T4)", long, accepted},
		{
			row:      "too long with a prefix (spec authenticator row T5)",
			token:    callerid.Prefix + strings.Repeat("A", 16385-len(callerid.Prefix)),
			fragment: "token is too large",
		},
		{"another prefix (spec authenticator row T6)", "k8s-aws-v2.asdfasdfa", missing},
		{"the prefix in capitals (spec authenticator row T7)", "K8S-AWS-V1." + strings.TrimPrefix(valid, callerid.Prefix), missing},
		{"a JWT", "eyJhbGciOiJub25lIn0.e30.", missing},
		{"no base64 (spec authenticator row T8)", callerid.Prefix + "decodingerror", "illegal base64 data"},
		{"padding (spec authenticator row T9)", valid + "=", "illegal base64 data"},
		{"a line break inside (spec authenticator row T10)", valid[:40] + "\n" + valid[40:], "illegal base64 data"},
		{"a line break at the end (spec authenticator row T10)", valid + "\r\n", "illegal base64 data"},
		{
			row:      "the other alphabet (spec authenticator row T11)",
			token:    callerid.Prefix + base64.RawStdEncoding.EncodeToString([]byte(host+"/?>>>???"+query())),
			fragment: "illegal base64 data",
		},
		{
			row:      "bits left over",
			token:    strings.TrimSuffix(callerid.Prefix+base64.RawURLEncoding.EncodeToString([]byte("ab")), "I") + "J",
			fragment: "illegal base64 data",
		},
		{"nothing encoded", callerid.Prefix, "unexpected scheme"},
	} {
		_, err := callerid.Parse(credential.NewSecret(row.token), policy("aws"), now)
		t.Run(row.row, func(t *testing.T) { expect(t, err, row.fragment) })
	}
	if len(long) < 5500 {
		t.Errorf("T4 has %d bytes", len(long))
	}
	tight := callerid.Policy{Partition: "aws", MaxBytes: len(valid) - 1, Skew: time.Second}
	_, err := callerid.Parse(credential.NewSecret(valid), tight, now)
	expect(t, err, "token is too large")
	tight.MaxBytes++
	_, err = callerid.Parse(credential.NewSecret(valid), tight, now.Add(-2*time.Second))
	expect(t, err, "in the future")
}

var hostRows = []struct{ row, partition, host, configured, fragment string }{
	{
		row:       "a region of another partition (spec authenticator row T56)",
		partition: "aws-us-gov",
		host:      "sts.us-east-1.amazonaws.com",
		fragment:  "does not support hostname",
	},
	{
		row:       "a GovCloud region for the public partition (spec authenticator row T56)",
		partition: "aws",
		host:      "sts.us-gov-west-1.amazonaws.com",
		fragment:  "does not support hostname",
	},
	{
		"a region that is not one (spec authenticator row T57)",
		"aws",
		"sts.s3.amazonaws.com",
		"",
		"does not support hostname",
	},
	{
		"a region that is not one (spec authenticator row T57)",
		"aws",
		"sts-fips.s3.amazonaws.com",
		"",
		"does not support hostname",
	},
	{
		"a region that is not one (spec authenticator row T57)",
		"aws",
		"sts.s3-us-west-2.amazonaws.com",
		"",
		"does not support hostname",
	},
	{
		row:       "a region that is not one (spec authenticator row T57)",
		partition: "aws",
		host:      "sts.s3-website-us-east-1.amazonaws.com",
		fragment:  "does not support hostname",
	},
	{"a made up region", "aws", "sts.not-a-region.amazonaws.com", "us-west-2", "does not support hostname"},
	{"upper case region", "aws", "sts.US-EAST-1.amazonaws.com", "", "does not support hostname"},
	{"upper case service", "aws", "STS.us-east-1.amazonaws.com", "", "could not parse region"},
	{"upper case domain", "aws", "sts.us-east-1.AMAZONAWS.com", "", "unexpected hostname"},
	{"VPC endpoint", "aws", "vpce-0123.sts.us-east-1.vpce.amazonaws.com", "", "could not parse region"},
	{"VPC endpoint as a region", "aws", "sts.us-east-1.vpce.amazonaws.com", "", "unexpected hostname"},
	{"another service", "aws", "iam.us-east-1.amazonaws.com", "", "could not parse region"},
	{"an empty label", "aws", "sts..amazonaws.com", "", "could not parse region"},
	{"a hyphen at the end", "aws", "sts.us-east-1-.amazonaws.com", "us-east-1-", "could not parse region"},
	{"the global endpoint", "aws", "sts.amazonaws.com", "", accepted},
	{"dual stack (spec authenticator row T58)", "aws", "sts-fips.us-east-1.api.aws", "", accepted},
	{"dual stack (spec authenticator row T58)", "aws", "sts.us-east-1.api.aws", "", accepted},
	{"FIPS", "aws", "sts-fips.us-west-2.amazonaws.com", "", accepted},
	{"China (spec authenticator row T59)", "aws-cn", "sts.cn-north-1.amazonaws.com.cn", "", accepted},
	{"China (spec authenticator row T59)", "aws", "sts.cn-north-1.amazonaws.com.cn", "", "unexpected hostname"},
	{
		row:       "the global endpoint in GovCloud (spec authenticator row T60)",
		partition: "aws-us-gov",
		host:      "sts.amazonaws.com",
		fragment:  "global endpoint unsupported in partition aws-us-gov",
	},
	{
		row:       "the global endpoint of no partition",
		partition: "aws-other",
		host:      "sts.amazonaws.com",
		fragment:  "global endpoint unsupported in partition aws-other",
	},
	{"no such partition", "aws-other", "sts.us-east-1.amazonaws.com", "us-east-1", "is not known"},
	{"of upstream's tests", "aws", "sts.amazonaws.com.cn", "", "unexpected hostname"},
	{"of upstream's tests", "aws", "website.amazonaws.com", "", "could not parse region"},
	{"of upstream's tests", "aws", "sts.default-region.amazonaws.com", "default-region", accepted},
	{
		row:        "configured, but fips",
		partition:  "aws",
		host:       "sts-fips.default-region.amazonaws.com",
		configured: "default-region",
		fragment:   "does not support hostname",
	},
	{"of upstream's tests", "aws", "sts.us-west-2.amazonaws.com.cn", "us-west-2", "unexpected hostname"},
	{"of upstream's tests", "aws", "sts.cn-north-1.api.amazonwebservices.com.cn", "", "unexpected hostname"},
	{"of upstream's tests", "aws-cn", "sts.cn-northwest-1.amazonaws.com.cn", "", accepted},
	{"of upstream's tests", "aws-cn", "sts.cn-north-1.api.amazonwebservices.com.cn", "", accepted},
	{"of upstream's tests", "aws-cn", "sts.us-iso-east-1.c2s.ic.gov", "", "unexpected hostname"},
	{"of upstream's tests", "aws-cn", "sts-fips.us-east-1.amazonaws.com", "", "unexpected hostname"},
	{"of upstream's tests", "aws-cn", "sts.us-isob-east-1.amazonaws.com.cn", "", "does not support hostname"},
	{"of upstream's tests", "aws-cn", "sts.not-a-region1.amazonaws.com.cn", "", "does not support hostname"},
	{"of upstream's tests", "aws-cn", "sts.not-a-region2.amazonaws.com.cn", "not-a-region2", accepted},
	{"of upstream's tests", "aws-cn", "sts.not-a-region2.amazonaws.com.cn", "us-west-2", "does not support hostname"},
	{"of upstream's tests", "aws-cn", "sts.us-isob-east-1.amazonaws.com.cn", "us-isob-east-1", accepted},
	{"of upstream's tests", "aws-iso", "sts.us-iso-east-1.c2s.ic.gov", "", accepted},
	{"dual stack of the reference's gap", "aws-iso", "sts.us-iso-east-1.api.aws.ic.gov", "", accepted},
	{"of upstream's tests", "aws-us-gov", "sts.us-gov-east-1.amazonaws.com", "", accepted},
	{"there is no such host", "aws-us-gov", "sts-fips.us-gov-west-1.amazonaws.com", "", "does not support hostname"},
	{"dual stack", "aws-us-gov", "sts-fips.us-gov-west-1.api.aws", "", accepted},
	{"the European Sovereign Cloud", "aws-eusc", "sts.eusc-de-east-1.amazonaws.eu", "", accepted},
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, row := range hostRows {
		var configured []string
		if row.configured != "" {
			configured = []string{row.configured}
		}
		p, err := callerid.Parse(callerid.Encode("https://"+row.host+"/?"+query()),
			policy(row.partition, configured...), now)
		t.Run(row.row+" "+row.host, func(t *testing.T) {
			if expect(t, err, row.fragment); err == nil && p.Host != row.host {
				t.Errorf("host %s", p.Host)
			}
		})
	}
}

// TestNothingShows: neither errors nor prints of a token hold what was signed.
func TestNothingShows(t *testing.T) {
	t.Parallel()
	const secret = "FQoGZXIvYXdzEXAMPLE"
	signed := query() + "&X-Amz-Security-Token=" + secret + "&X-Amz-Signature=" + strings.Repeat("ab", 32)
	p, err := callerid.Parse(callerid.Encode(host+"/?"+signed), policy("aws"), now)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+"\n", p, *p)
	}
	for _, value := range []any{p, *p} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", p, "value", *p)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", p, "value", *p)
	for _, bad := range []string{
		":" + host + "/?" + signed, "https://h:" + host + "/?" + signed,
		host + "/?" + strings.ReplaceAll(signed, "=", "%3D"), host + "/?" + signed + "&x=%zz",
		host + "?" + signed, host + "/?" + signed + "&other=1", host + "/?" + signed + "#",
		"https://" + secret + "@sts.us-east-1.amazonaws.com/?" + signed, host + ":" + secret + "/?" + signed,
		"https://[" + secret + "]/?" + signed,
	} {
		_, err := callerid.Parse(callerid.Encode(bad), policy("aws"), now)
		if err == nil {
			t.Errorf("%s is accepted", bad)
			continue
		}
		out.WriteString(err.Error() + "\n")
	}
	encoded := callerid.Encode(host + "/?" + signed).Reveal()
	for name, bad := range map[string]string{
		"without the prefix": strings.TrimPrefix(encoded, callerid.Prefix), "with what is no base64": encoded + "!",
		"with a line break": encoded + "\n", "too large": encoded + strings.Repeat("A", 20000),
	} {
		_, err := callerid.Parse(credential.NewSecret(bad), policy("aws"), now)
		if err == nil || strings.Contains(err.Error(), encoded[100:120]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if shown := out.String(); strings.Contains(shown, "FQoG") || strings.Contains(shown, "abab") ||
		strings.Contains(shown, fmt.Sprintf("%x", secret)) || !strings.Contains(shown, "sts.us-east-1") {
		t.Errorf("shown:\n%s", shown)
	}
}

func TestPresigned(t *testing.T) {
	t.Parallel()
	parse := func(text string) *callerid.Presigned {
		p, err := callerid.Parse(callerid.Encode(text), policy("aws"), now)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := parse(host + "/?" + query() + "&X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Fus-east-1%2Fsts%2Faws4_request")
	if p.AccessKeyID != "AKIAEXAMPLE" || !p.Date.Equal(now) || !p.Expires().Equal(now.Add(15*time.Minute)) {
		t.Errorf("%v", p)
	}
	if none := parse(host + "/?" + query()); none.AccessKeyID != "" || none.Key() == p.Key() ||
		none.Key() != parse("HTTPS"+host[5:]+"/?"+query()).Key() {
		t.Error("keys of tokens")
	}
	if long := parse(host + "/?" + query() + "&X-Amz-Credential=" + strings.Repeat("A",
		5000)); len(long.AccessKeyID) != 128 {
		t.Errorf("%d bytes of access key id", len(long.AccessKeyID))
	}
}

// FuzzParse: what is accepted is a question to STS that its query and nothing else
// decides, and encodes to a token that is accepted again.
func FuzzParse(f *testing.F) {
	for _, row := range urlRows {
		f.Add(row.url)
	}
	for _, row := range hostRows {
		f.Add("https://" + row.host + "/?" + query())
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = callerid.Parse(credential.NewSecret(text), policy("aws"), now)
		p, err := callerid.Parse(callerid.Encode(text), policy("aws", "us-east-1"), now)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || len(err.Error()) > 2000 {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again := "https://" + p.Host + "/?" + p.Query.Reveal()
		if _, err := callerid.Parse(callerid.Encode(again), policy("aws"), now); err != nil {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
		values, err := url.ParseQuery(p.Query.Reveal())
		if err != nil || !strings.HasSuffix(p.Host, ".amazonaws.com") && !strings.HasSuffix(p.Host, ".api.aws") ||
			!strings.HasPrefix(p.Host, "sts") {
			t.Errorf("%q: %s %v", text, p.Host, err)
		}
		actions := 0
		for name, all := range values {
			if len(all) != 1 {
				t.Errorf("%q: %s has %d values", text, name, len(all))
			}
			if strings.EqualFold(name, "action") {
				actions++
				if all[0] != "GetCallerIdentity" {
					t.Errorf("%q: action %s", text, all[0])
				}
			}
		}
		if actions != 1 {
			t.Errorf("%q: %d actions", text, actions)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	signed := "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&" +
		"X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=" +
		now.Format(dateForm) +
		"&X-Amz-Expires=60&X-Amz-Security-Token=" + strings.Repeat("FQoGZXIvYXdzEXAMPLE%2F",
		40) + "&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=" + strings.Repeat("ab", 32)
	for name, row := range map[string]struct {
		token    credential.Secret
		accepted bool
	}{
		"accepted":   {callerid.Encode(host + "/?" + signed), true},
		"other host": {callerid.Encode("https://sts.evil.example/?" + signed), false},
		"expired": {
			callerid.Encode(host + "/?" + strings.Replace(signed, "X-Amz-Date=2026", "X-Amz-Date=2025", 1)),
			false,
		},
		"no token":     {credential.NewSecret("eyJhbGciOiJub25lIn0.e30."), false},
		"worst 16 KiB": {callerid.Encode(host + "/?" + strings.Repeat("a&", 6000)), false},
		"long and good": {
			callerid.Encode(host + "/?" + query() + "&X-Amz-Security-Token=" + strings.Repeat("A", 11000)),
			true,
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := callerid.Parse(row.token, policy("aws"), now); (err == nil) != row.accepted {
					b.Fatal(err)
				}
			}
		})
	}
}
