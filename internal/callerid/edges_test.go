package callerid_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
)

// TestEdgesOfURLs: where a rule ends, what is just inside is taken and what is
// just outside is not.
func TestEdgesOfURLs(t *testing.T) {
	t.Parallel()
	withKey := func(name string) string { return host + "/?" + query() + "&" + name + "=1" }
	for _, row := range []struct{ name, url, fragment string }{
		{"an empty parameter between two", host + "/?&" + query() + "&&Version=2011-06-15", accepted},
		{
			name:     "what follows an empty parameter counts",
			url:      host + "/?" + query() + "&&Version=1999-01-01",
			fragment: "unexpected version parameter",
		},
		{
			name:     "one upper case letter, the last of the alphabet",
			url:      host + "/?" + query("X-Amz-Expires", "") + "&x-amZ-expires=60",
			fragment: accepted,
		},
		{"upper case throughout", host + "/?" + query("X-Amz-Expires", "") + "&X-AMZ-EXPIRES=60", accepted},
		{"a letter for a number of seconds", host + "/?" + query("X-Amz-Expires", "a"), "invalid X-Amz-Expires"},
		{"a colon for a number of seconds", host + "/?" + query("X-Amz-Expires", ":"), "invalid X-Amz-Expires"},
		{"a slash for a number of seconds", host + "/?" + query("X-Amz-Expires", "/"), "invalid X-Amz-Expires"},
		{"a nine in the seconds", host + "/?" + query("X-Amz-Expires", "899"), accepted},
		{"a name that is repeated", withKey(strings.Repeat("k", 32)), `parameter "` + strings.Repeat("k", 32) + `"`},
		{"a name that may be a value", withKey(strings.Repeat("k", 33)), "parameter with a name of 33 bytes"},
		{"as many parameters as are told apart", host + "/?" + query() + strings.Repeat("&x=1", 60), `parameter "x"`},
		{"more parameters", host + "/?" + query() + strings.Repeat("&x=1", 61), "more than 64 parameters"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := callerid.Parse(callerid.Encode(row.url), policy("aws"), now)
			expect(t, err, row.fragment)
		})
	}
}

// TestEdgesOfHosts: letters, digits and hyphens make a label, at their edges too;
// a text that is not a name is quoted.
func TestEdgesOfHosts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 253-len(".com")) + ".com"
	for _, row := range []struct{ name, host, fragment string }{
		{
			name:     "all letters and digits",
			host:     "sts.az-AZ-09.amazonaws.com",
			fragment: "does not support hostname sts.az-AZ-09.amazonaws.com",
		},
		{
			name:     "an underscore in a label",
			host:     "sts.us_east.amazonaws.com",
			fragment: `URL "sts.us_east.amazonaws.com", invalid host format`,
		},
		{"a hyphen before a label", "sts.-us-east-1.amazonaws.com", "could not parse region"},
		{"no domain", "sts.us-east-1", "could not parse region"},
		{"as long as a name may be", long, "URL " + long + ", invalid"},
		{"longer than a name may be", "b" + long, `URL "b` + long[:252] + `", invalid`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := callerid.Parse(callerid.Encode("https://"+row.host+"/?"+query()), policy("aws"), now)
			expect(t, err, row.fragment)
		})
	}
}

// TestLineBreaksInEncoding are skipped by decoders, so that two texts would be one
// token.
func TestLineBreaksInEncoding(t *testing.T) {
	t.Parallel()
	encoded := strings.TrimPrefix(callerid.Encode(host+"/?"+query()).Reveal(), callerid.Prefix)
	for _, text := range []string{"\n" + encoded, "\r" + encoded, encoded + "\n", encoded + "\r"} {
		_, err := callerid.Parse(credential.NewSecret(callerid.Prefix+text), policy("aws"), now)
		expect(t, err, "a line break")
	}
}

// TestAdvertisedLifetime: clients are told to stop a minute before STS does.
func TestAdvertisedLifetime(t *testing.T) {
	t.Parallel()
	if got := callerid.Lifetime - callerid.Advertised; got != time.Minute {
		t.Errorf("tokens are advertised to end %s early, want a minute", got)
	}
}

// TestEdgesOfAnswers: as much as is read is taken, and of STS's words only what can
// be printed.
func TestEdgesOfAnswers(t *testing.T) {
	t.Parallel()
	p := presigned(t, "sts.us-east-1.amazonaws.com")
	ok := answerOf("arn:aws:iam::123456789012:root", "123456789012", "123456789012")
	full := ok + strings.Repeat(" ", callerid.MaxAnswer-len(ok))
	if _, err := callerid.ReadAnswer(p, http.StatusOK, []byte(full)); err != nil {
		t.Errorf("an answer of %d bytes: %v", len(full), err)
	}
	for name, row := range map[string]struct{ message, want string }{
		"a tab":                   {`a\tb`, "X: a?b (request"},
		"a delete":                {`a\u007fb`, "X: a?b (request"},
		"a byte that is no UTF-8": {"a\xffb", "X: a?b (request"},
		"a blank and a tilde":     {`a ~b`, "X: a ~b (request"},
		"a letter that is not ASCII": {
			`aéb`, "X: aéb (request",
		},
	} {
		_, err := callerid.ReadAnswer(p, http.StatusForbidden,
			[]byte(`{"Error":{"Code":"X","Message":"`+row.message+`"}}`))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
