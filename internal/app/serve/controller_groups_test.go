package serve

import (
	"testing"

	"github.com/rolecall/rolecall/internal/app/cli"
)

// TestGroupFlags: what would read other accounts than it says, too often or never, is
// refused.
func TestGroupFlags(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::444455556666:role/groups"
	for _, row := range []struct {
		words []string
		good  bool
	}{
		{nil, true},
		{[]string{"--group-mappings"}, true},
		{[]string{"--group-mappings", "--group-account-role", "444455556666=" + role}, true},
		{[]string{"--group-mappings", "--group-account-role", "444455556666=" + role, "--group-account-role", "444455556666=" + role}, true},
		{[]string{"--group-mappings", "--group-account-role", "444455556666=" + role, "--group-account-role", "444455556666=" + role + "2"}, false},
		{[]string{"--group-mappings", "--group-account-role", "777788889999=" + role}, false},
		{[]string{"--group-mappings", "--group-account-role", role}, false},
		{[]string{"--group-mappings", "--group-account-role", "444455556666="}, false},
		{[]string{"--group-mappings", "--group-account-role", "444455556666=arn:aws:iam::444455556666:user/groups"}, false},
		{[]string{"--group-mappings", "--group-sync-period", "0s"}, false},
		{[]string{"--group-mappings", "--group-sync-period", "10ms"}, false},
		{[]string{"--group-mappings", "--group-removal-delay", "-1s"}, false},
		{[]string{"--group-mappings", "--group-removal-delay", "10m"}, true},
		{[]string{"--group-mappings", "--group-calls-per-second", "0"}, false},
		{[]string{"--group-mappings", "--group-calls-per-second", "NaN"}, false},
		{[]string{"--group-sync-period", "1m"}, false},
		{[]string{"--group-account-role", "444455556666=" + role}, false},
	} {
		var c groupFlags
		cmd := newController(cli.System{})
		cmd.ResetFlags()
		c.add(cmd)
		if err := cmd.ParseFlags(row.words); err != nil {
			t.Fatal(err)
		}
		if err := c.check(cmd); (err == nil) != row.good {
			t.Errorf("%v: %v", row.words, err)
		}
	}
}
