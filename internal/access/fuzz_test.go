package access_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
)

// FuzzReadPrincipal: what is read is what STS would tell, is read again as itself, and is
// matched by just that.
func FuzzReadPrincipal(f *testing.F) {
	for _, seed := range []string{
		roleARN("Dev"), roleARN("team/Dev"), "arn:aws:sts::111122223333:assumed-role/Dev/s", "ARN:AWS:IAM::1:ROLE/x",
		"arn:aws:iam::111122223333:user/a/*/b", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:role/a*",
		"arn:aws:sts::111122223333:federated-user/Bob", "arn:aws:iam::111122223333:role//", "arn:aws:iam::1:user/a:b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := access.ReadPrincipal(text)
		if err != nil {
			if read.ARN != "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: %q, %v", text, read.ARN, err)
			}
			return
		}
		canonical, kind, err := callerid.Canonical(read.ARN)
		if err != nil || canonical.String() != read.ARN {
			t.Fatalf("%q is read as %q, which is %q, %v", text, read.ARN, canonical, err)
		}
		again, err := access.ReadPrincipal(read.ARN)
		if err != nil || again.ARN != read.ARN || again.Written != "" {
			t.Fatalf("%q is read as %q, and that as %+v, %v", text, read.ARN, again, err)
		}
		if read.Written != "" && read.Written != text || read.Written == "" && read.ARN != text {
			t.Fatalf("%q: %+v", text, read)
		}
		table := access.NewTable(access.EKSConfigMap, []access.Mapping{
			{Match: access.Match{ARN: read.ARN}, Username: "u"},
		})
		chain := access.NewChain(access.Config{Partition: canonical.Partition}, table)
		who := &callerid.Identity{Kind: kind, CanonicalARN: read.ARN, AccountID: canonical.Account, UserID: "X"}
		if user, refusal := chain.Resolve(who, nil); refusal != nil {
			t.Fatalf("%q does not match itself: %v", read.ARN, refusal)
		} else if user.Username != "u" {
			t.Fatal(user.Username)
		}
		other := *who
		other.CanonicalARN += "x"
		if user, _ := chain.Resolve(&other, nil); user != nil {
			t.Fatalf("%q matches %q", read.ARN, other.CanonicalARN)
		}
	})
}

// FuzzTemplate: templates are filled as the peer fills them, and nothing that comes of one
// is a name that is not to be had.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"{{SessionName}}", "{{SessionNameRaw}}:{{AccountID}}", "{{{{AccountID}}}}", "{{EC2PrivateDNSName}}", "{{",
		"}}{{",
		"{{Session{{AccountID}}Name}}", "system:{{SessionName}}", "{{SessionName}}:masters", "access-{{SessionName}}:x",
	} {
		f.Add(seed, "jdoe@example.com")
		f.Add(seed, "system")
		f.Add(seed, "entry")
	}
	f.Fuzz(func(t *testing.T, template, session string) {
		who := &callerid.Identity{
			Kind: callerid.AssumedRole, CanonicalARN: roleARN("r"), AccountID: account, UserID: "AROAROLE",
			SessionName: session, AccessKeyID: "ASIAEXAMPLE",
		}
		m := role("r", template, "x"+template, template)
		table := access.NewTable(access.EKSConfigMap, []access.Mapping{m})
		user, _ := access.NewChain(access.Config{}, table).Resolve(who, func(string) (string,
			error,
		) {
			return "ip-1", nil
		})
		if user == nil {
			return
		}
		fill := func(text string) string {
			return strings.NewReplacer(
				"{{EC2PrivateDNSName}}", "ip-1", "{{AccountID}}", account,
				"{{SessionName}}", strings.ReplaceAll(session, "@", "-"), "{{SessionNameRaw}}", session,
				"{{AccessKeyID}}", "ASIAEXAMPLE",
			).Replace(text)
		}
		if user.Username != fill(template) || len(user.Groups) != 2 || user.Groups[0] != fill("x"+template) ||
			user.Groups[1] != fill(template) {
			t.Fatalf("%q with %q: %q %q", template, session, user.Username, user.Groups)
		}
		for _, name := range append(user.Groups, user.Username) {
			if name == "" || strings.HasPrefix(name, access.PolicyPrefix) ||
				strings.HasPrefix(name, "system:") && !strings.HasPrefix(template, "system:") {
				t.Fatalf("%q of %q with %q", name, template, session)
			}
		}
	})
}
