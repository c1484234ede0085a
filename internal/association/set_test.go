package association_test

import (
	"regexp"
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
