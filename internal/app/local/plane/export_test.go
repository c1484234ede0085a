package plane

import (
	"sync"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/follow"
)

// HasAssociation reports whether a service account has an association.
func (p *Plane) HasAssociation(namespace, account string) bool {
	return p.associations.Current().Of(namespace, account) != nil
}

// OnAssociation calls a function when an association is created from now on.
func (p *Plane) OnAssociation(call func()) {
	var present sync.Once
	known := p.associations.Current().Len()
	p.associations.Notify(func(follow.Change[*v1alpha1.PodIdentityAssociation]) {
		if known > 0 { // those that are there already are told first
			known--
			return
		}
		present.Do(call)
	})
}

// ChangeAssociation gives an association a tag, as a user would.
func (p *Plane) ChangeAssociation(t *testing.T, namespace, account string) {
	t.Helper()
	one, err := p.associations.Get(t.Context(), namespace, account)
	if err == nil {
		one.Spec.SessionTags = map[string]string{"by": "user"}
		_, err = p.associations.Update(t.Context(), one)
	}
	if err != nil {
		t.Fatal(err)
	}
}
