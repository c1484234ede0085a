package policy

import "sync"

// Everything is an identity-based policy that allows everything: what a caller's own
// policies are taken to allow where only another document is asked.
func Everything() *Policy { return everything() }

var everything = sync.OnceValue(func() *Policy {
	all, _ := Parse(Identity, "everything",
		[]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	return all
})
