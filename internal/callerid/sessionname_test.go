package callerid_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
)

func TestSessionNameOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"arn:aws:iam::111122223333:user/alice":                                        "alice",
		"arn:aws:iam::111122223333:user/teams/web/alice":                              "alice",
		"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Dev_0a/al@example.com": "al@example.com",
		"arn:aws:sts::111122223333:assumed-role/Org/Team/Admin/i-0abc":                "i-0abc",
		"arn:aws:sts::111122223333:federated-user/Bob":                                "Bob",
		"arn:aws:iam::111122223333:root":                                              "root",
		"arn:aws:iam::111122223333:user/a":                                            "a-",
		"arn:aws:iam::111122223333:user/" + strings.Repeat("x", 64):                   strings.Repeat("x", 64),
		"arn:aws:sts::111122223333:assumed-role/R/" + strings.Repeat("y", 70):         strings.Repeat("y", 64),
		"arn:aws:sts::111122223333:assumed-role/R/al ice:é":                           "al-ice--",
		"arn:aws:s3:::bucket":                                                         "",
		"":                                                                            "",
	} {
		got := callerid.SessionNameOf(text)
		if got != want || got != "" && !arn.IsSessionName(got) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
