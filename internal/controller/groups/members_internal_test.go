package groups

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func member(name string) v1alpha1.GroupMember {
	return v1alpha1.GroupMember{
		UserID: "AIDA" + strings.ToUpper(strings.Repeat("X", 16-len(name))+name),
		ARN:    "arn:aws:iam::111122223333:user/" + name,
	}
}

// people are members a, b, c …
func people(names string) (all []v1alpha1.GroupMember) {
	for _, name := range names {
		all = append(all, member(string(name)))
	}
	return all
}

func names(members []v1alpha1.GroupMember) string {
	var out []string
	for i := range members {
		out = append(out, members[i].ARN[strings.LastIndexByte(members[i].ARN, '/')+1:])
	}
	return strings.Join(out, "")
}

// TestMerge tells what becomes of members as reads follow each other, with a period of a
// minute and a delay of fifteen seconds.
func TestMerge(t *testing.T) {
	t.Parallel()
	pace := pace{time.Minute, 15 * time.Second}
	type read struct {
		at    int // seconds
		named string
		gone  bool
		want  string // who counts after it
		why   string
	}
	for name, reads := range map[string][]read{
		"who comes is in at once":        {{0, "abc", false, "abc", ""}, {40, "abcd", false, "abcd", ""}},
		"who goes waits for a second":    {{0, "abc", false, "abc", ""}, {40, "ab", false, "abc", "Confirming"}, {55, "ab", false, "ab", ""}},
		"a read too soon does not count": {{0, "abc", false, "abc", ""}, {40, "ab", false, "abc", "Confirming"}, {50, "ab", false, "abc", "Confirming"}, {55, "ab", false, "ab", ""}},
		"a read that went backwards":     {{0, "abc", false, "abc", ""}, {40, "ab", false, "abc", "Confirming"}, {55, "abc", false, "abc", ""}},
		"answers that alternate": {
			{0, "abcd", false, "abcd", ""},
			{40, "ab", false, "abcd", "Confirming"},
			{55, "cd", false, "abcd", "AnswersDisagree"},
			{70, "ab", false, "abcd", "AnswersDisagree"},
			{85, "cd", false, "abcd", "AnswersDisagree"},
		},
		"one is back, and another stays away": {
			{0, "abcd", false, "abcd", ""},
			{40, "ab", false, "abcd", "Confirming"},
			{55, "abc", false, "abcd", "AnswersDisagree"},
			{70, "abc", false, "abc", ""},
		},
		"more of them go":      {{0, "abcd", false, "abcd", ""}, {40, "abc", false, "abcd", "Confirming"}, {55, "ab", false, "abc", "Confirming"}, {70, "ab", false, "ab", ""}},
		"the only member goes": {{0, "a", false, "a", ""}, {40, "", false, "a", "Confirming"}, {55, "", false, "", ""}},
		"all of several go": {
			{0, "abc", false, "abc", ""},
			{40, "", false, "abc", "LargeRemoval"},
			{55, "", false, "abc", "LargeRemoval"},
			{114, "", false, "abc", "LargeRemoval"},
			{115, "", false, "", ""},
		},
		"more than five that are more than a fifth": {
			{0, "abcdefghijklmnopqrst", false, "abcdefghijklmnopqrst", ""},
			{40, "abcdefghijklmn", false, "abcdefghijklmnopqrst", "LargeRemoval"},
			{60, "abcdefghijklmn", false, "abcdefghijklmnopqrst", "LargeRemoval"},
			{115, "abcdefghijklmn", false, "abcdefghijklmn", ""},
		},
		"five that are more than a fifth": {
			{0, "abcdefghij", false, "abcdefghij", ""},
			{40, "abcde", false, "abcdefghij", "Confirming"},
			{55, "abcde", false, "abcde", ""},
		},
		"the group is gone": {
			{0, "a", false, "a", ""}, {40, "", true, "a", "GroupGone"}, {100, "", true, "a", "GroupGone"}, {115, "", true, "", ""},
		},
		"the group is gone, and back": {
			{0, "ab", false, "ab", ""},
			{40, "", true, "ab", "GroupGone"},
			{100, "", true, "ab", "GroupGone"},
			{115, "ab", false, "ab", ""},
			{200, "", true, "ab", "GroupGone"},
			{300, "", true, "ab", "GroupGone"},
		},
	} {
		var members []v1alpha1.GroupMember
		gone := 0
		for _, read := range reads {
			if gone++; !read.gone {
				gone = 0
			}
			c := pace.merge(members, people(read.named), gone, noon.Add(time.Duration(read.at)*time.Second))
			if members = c.members; names(members) != read.want || c.why != read.why {
				t.Errorf("%s: at %d s %q count, %s; want %q, %s", name, read.at, names(members), c.why, read.want, read.why)
			}
		}
	}
}

// TestMergeById: a user who was deleted and made again under the same name is somebody else.
func TestMergeById(t *testing.T) {
	t.Parallel()
	again := member("a")
	again.UserID = "AIDANOTTHEONEBEFORE1"
	c := pace{time.Minute, time.Second}.merge(people("ab"), []v1alpha1.GroupMember{again, member("b")}, 0, noon)
	if len(c.added) != 1 || c.added[0].UserID != again.UserID || len(missing(c.members)) != 1 {
		t.Errorf("%+v", c)
	}
	moved := member("b")
	moved.ARN = "arn:aws:iam::111122223333:user/ops/b"
	if c = (pace{}).merge(people("b"), []v1alpha1.GroupMember{moved}, 0, noon); len(c.added)+len(c.removed) != 0 ||
		c.members[0].ARN != moved.ARN {
		t.Errorf("a user who was moved: %+v", c)
	}
}

// TestMergeAnyway follows reads of chance: all who are named count, nobody counts who never
// was named, and nobody is removed whom not two reads in a row, a delay apart, left out.
func TestMergeAnyway(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		chance := rand.New(rand.NewPCG(seed, 7))
		pace := pace{time.Duration(1+chance.IntN(90)) * time.Second, time.Duration(chance.IntN(90)) * time.Second}
		now, everybody := noon, people("abcdefghijklmnop")
		var members []v1alpha1.GroupMember
		leftOut := map[string][]time.Time{} // since they were named
		for range 60 {
			now = now.Add(time.Duration(chance.IntN(40_000)) * time.Millisecond)
			odds := 1 + chance.IntN(12)
			named := slices.DeleteFunc(slices.Clone(everybody), func(v1alpha1.GroupMember) bool { return chance.IntN(odds) == 0 })
			for i := range everybody {
				id := everybody[i].UserID
				if slices.ContainsFunc(named, func(m v1alpha1.GroupMember) bool { return m.UserID == id }) {
					delete(leftOut, id)
				} else {
					leftOut[id] = append(leftOut[id], now)
				}
			}
			c := pace.merge(members, named, 0, now)
			for i := range named {
				if !slices.Contains(c.members, named[i]) {
					t.Fatalf("seed %d: %s was named and does not count", seed, named[i].ARN)
				}
			}
			for i := range c.removed {
				out := leftOut[c.removed[i].UserID]
				if len(out) < 2 || now.Sub(out[0]) < pace.delay {
					t.Fatalf("seed %d: %s removed after %d reads and %s", seed, c.removed[i].ARN, len(out), now.Sub(out[0]))
				}
			}
			if want := len(members) + len(c.added) - len(c.removed); len(c.members) != want {
				t.Fatalf("seed %d: %d members, want %d", seed, len(c.members), want)
			}
			members = c.members
		}
	}
}

// TestTooMany: members beyond what an object holds are an error.
func TestTooMany(t *testing.T) {
	t.Parallel()
	var many []v1alpha1.GroupMember
	for i := range maxMembers {
		many = append(many, member(fmt.Sprintf("u%d", i)))
	}
	if err := tooMany(many); err != nil {
		t.Error(err)
	}
	if err := tooMany(append(many, member("last"))); err == nil || !strings.Contains(err.Error(), "5001 members") {
		t.Errorf("%v", err)
	}
	for i := range many {
		many[i].ARN = "arn:aws:iam::111122223333:user/" + strings.Repeat("x", 400)
	}
	if err := tooMany(many); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("%v", err)
	}
}
