package association_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
)

// associated is an object with a role of its own name, created so many seconds
// after the first.
func associated(name, account string, pattern bool, after int) *v1alpha1.PodIdentityAssociation {
	return &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         "n",
			Name:              name,
			UID:               types.UID(name),
			CreationTimestamp: metav1.Unix(1790000000+int64(after), 0),
		},
		Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: account, AllowPatterns: pattern},
	}
}

// TestSetPrefers is the precedence of spec podidentity §19.5, row A19.
func TestSetPrefers(t *testing.T) {
	t.Parallel()
	set := association.NewSet([]*v1alpha1.PodIdentityAssociation{
		associated("all", "*", true, 0),
		associated("foo", "foo-*", true, 3),
		associated("foo-older", "foo-*", true, 2),
		associated("foo-bob", "foo-bob", false, 9),
		associated("literal", "star*", false, 0), // no pattern without allowPatterns
	})
	for _, row := range []struct{ namespace, account, want string }{
		{"n", "foo-bob", "foo-bob"},
		{"n", "foo-evan", "foo-older"},
		{"n", "foo-", "foo-older"},
		{"n", "foo", "all"},
		{"n", "starry", "all"},
		{"n", "xfoo-a", "all"},
		{"m", "foo-bob", ""},
		{"", "foo-bob", ""},
	} {
		got := set.Of(row.namespace, row.account)
		if got == nil && row.want != "" || got != nil && got.Name != row.want {
			t.Errorf("%s/%s has %v, want %q", row.namespace, row.account, got, row.want)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^a-[a-z0-9]{17}$`) // spec podidentity row A1
	seen := map[string]bool{}
	for i := range 2000 {
		a := associated("x", "x", false, 0)
		a.UID = types.UID(time.Unix(int64(i), 0).String())
		id := association.ID(a)
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q of UID %q: wrong form, or there already", id, a.UID)
		}
		seen[id] = true
		if association.NewSet([]*v1alpha1.PodIdentityAssociation{a}).ByID(id) != a {
			t.Fatalf("%s is not found by its id", id)
		}
	}
}

// TestSetFollows: a set that was changed by each event answers as one that is made of
// what there is now; and those from before stay what they were.
func TestSetFollows(t *testing.T) {
	t.Parallel()
	accounts := []string{"a", "ab", "abc", "b", "*", "a*", "ab*", "b*"}
	for round := range uint64(200) {
		random := rand.New(rand.NewPCG(round, 7))
		here := map[string]*v1alpha1.PodIdentityAssociation{}
		set := &association.Set{}
		var before *association.Set
		var was []string
		for range 60 {
			// Names that are not the account's own, too: what cannot be read has them.
			name := fmt.Sprint("o", random.IntN(12))
			key := fmt.Sprint("n", random.IntN(2)) + "/" + name
			old := here[key]
			var next *v1alpha1.PodIdentityAssociation
			if old == nil || random.IntN(3) > 0 {
				account := accounts[random.IntN(len(accounts))]
				next = associated(name, account, random.IntN(4) > 0, random.IntN(3))
				next.Namespace, next.UID = key[:2], types.UID(fmt.Sprint(key, random.IntN(2)))
			}
			if random.IntN(10) == 0 {
				before, was = set, answers(set)
			}
			set = set.With(old.DeepCopy(), next)
			delete(here, key)
			if next != nil {
				here[key] = next
			}
			rebuilt := answers(association.NewSet(slices.Collect(maps.Values(here))))
			if got := answers(set); !slices.Equal(got, rebuilt) {
				t.Fatalf("round %d: followed %q, rebuilt %q", round, got, rebuilt)
			}
			if before != nil && !slices.Equal(answers(before), was) {
				t.Fatalf("round %d: a set from before has changed", round)
			}
		}
	}
}

// answers are what a set says to all who could ask.
func answers(s *association.Set) []string {
	said := []string{fmt.Sprint(s.Len())}
	for _, namespace := range []string{"n0", "n1"} {
		for _, account := range []string{"a", "ab", "abc", "abcd", "b", "ba", "c", "a*"} {
			if got := s.Of(namespace, account); got != nil {
				said = append(said, fmt.Sprint(namespace, account, got.Name, got.UID))
			}
		}
	}
	var all []string
	for _, a := range s.All() {
		if s.ByID(association.ID(a)) != a {
			all = append(all, "not found by its id")
		}
		all = append(all, a.Namespace+a.Name+string(a.UID))
	}
	slices.Sort(all)
	return append(said, all...)
}

// BenchmarkSetFollows is what an event costs among so many associations.
func BenchmarkSetFollows(b *testing.B) {
	for _, count := range []int{10, 1000, 5000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			all := make([]*v1alpha1.PodIdentityAssociation, count)
			for i := range all {
				all[i] = associated(fmt.Sprint("a", i), fmt.Sprint("a", i), false, 0)
			}
			set := association.NewSet(all)
			for i := 0; b.Loop(); i++ {
				one := all[i%count]
				next := one.DeepCopy()
				set = set.With(one, next)
				all[i%count] = next
			}
		})
	}
}
