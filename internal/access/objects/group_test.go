package objects_test

import (
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/objects"
)

// TestMembersOfAnotherGroup: members are those of the group that the status names; of a
// spec that names another they get nothing, not even for a moment.
func TestMembersOfAnotherGroup(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		group, account, of string
		count              int
	}{
		"the same":           {"devs", "", "arn:aws:iam::111122223333:group/devs", 1},
		"with a path":        {"devs", "111122223333", "arn:aws:iam::111122223333:group/rnd/devs", 1},
		"in other letters":   {"Devs", "", "arn:aws:iam::111122223333:group/devs", 1},
		"of no group":        {"devs", "", "", 1},
		"another":            {"admins", "", "arn:aws:iam::111122223333:group/devs", 0},
		"another's path":     {"devs", "", "arn:aws:iam::111122223333:group/devs/admins", 0},
		"of another account": {"devs", "444455556666", "arn:aws:iam::111122223333:group/devs", 0},
		"a bare name":        {"devs", "", "devs", 0},
	} {
		o := &v1alpha1.GroupMapping{Spec: v1alpha1.GroupMappingSpec{IAMGroup: row.group, Account: row.account, Groups: []string{"x"}}}
		o.Status.GroupARN = row.of
		o.Status.Members = []v1alpha1.GroupMember{{UserID: "AIDAIOSFODNN7EXAMPLE", ARN: "arn:aws:iam::111122223333:user/alice"}}
		result := objects.GroupMapping(o)
		if len(result.Mappings) != row.count || row.count == 0 && len(result.Problems) != 1 {
			t.Errorf("%s: %d mappings, %v", name, len(result.Mappings), result.Problems)
		}
	}
}
