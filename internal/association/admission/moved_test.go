package admission_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/grant"
)

// TestInvalidUnderAnotherName: what is invalid is let in for what it already was
// only, not for another association with the same fault.
func TestInvalidUnderAnotherName(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*kind){
		"another name":      func(a *kind) { a.Name = "other" },
		"another namespace": func(a *kind) { a.Namespace = "other" },
	} {
		old, a := good(), good()
		policy("{")(old)
		policy("{")(a)
		edit(old)
		if warnings, err := admission.Decide(grant.NewSet(nil), old, a); err == nil {
			t.Errorf("%s: let in with %q", name, warnings)
		}
	}
}
