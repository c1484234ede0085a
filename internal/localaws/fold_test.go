package localaws_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
)

// TestKeysOfChainedSessions: what is immutable in a session stays, under whatever letters
// the next session brings: a key is refused if it is the same to the policies, and where it
// is not, a Deny by the inherited tag still holds.
func TestKeysOfChainedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,` +
		`"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	w.role("first", fmt.Sprintf(allow, `{"AWS":"arn:aws:iam::111122223333:root"}`))
	w.role("second", fmt.Sprintf(allow, `{"AWS":"arn:aws:iam::111122223333:role/first"}`))
	take := func(c credential.AWS, role, key, value string, transitive bool) answer {
		form := url.Values{
			"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::111122223333:role/" + role}, "RoleSessionName": {"s2"},
			"Tags.member.1.Key": {key}, "Tags.member.1.Value": {value},
		}
		if transitive {
			form.Set("TransitiveTagKeys.member.1", key)
		}
		return w.signed(c, "sts", form)
	}
	keys := []string{
		"costs", "Costs", "COSTS", "co\u017fts", "co\u017fT\u017f", "\u212aosts", "kosts", "task", "ta\u017fk", "tas\u212a",
		"i", "\u0130", "\u0131", "Σ", "ς", "σ", "ß", "ẞ", "ss",
	}
	for _, inherited := range keys {
		w.mustAdmin(url.Values{
			"Action": {"PutRolePolicy"}, "RoleName": {"second"}, "PolicyName": {"p"}, "PolicyDocument": {
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},{"Effect":"Deny",` +
					`"Action":"iam:*","Resource":"*","Condition":{"StringEquals":{` +
					strconv.QuoteToASCII("aws:PrincipalTag/"+inherited) + `:"red"}}}]}`,
			},
		})
		first := credentialsIn(t, take(w.admin, "first", inherited, "red", true))
		for _, own := range keys {
			got := take(first, "second", own, "blue", false)
			if arn.SameKey(inherited, own) {
				w.expect(inherited+" set again as "+own, got, 400, "InvalidParameterValue",
					"One of the specified transitive tag keys can't be set")
				continue
			}
			if got.status != http.StatusOK {
				t.Errorf("%q beside %q: %s", own, inherited, got.body)
				continue
			}
			listed := w.signed(credentialsIn(t, got), "iam", url.Values{"Action": {"ListRoles"}, "Version": {"2010-05-08"}})
			if listed.status != http.StatusForbidden || !strings.Contains(listed.body, "explicit deny") {
				t.Errorf("%q takes %q away: %d %s", own, inherited, listed.status, listed.body)
			}
		}
	}
}
