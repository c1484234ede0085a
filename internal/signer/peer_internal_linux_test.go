package signer

import "testing"

func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		peer uint32
		own  int
		want bool
	}{
		{0, 0, true},
		{0, 1000, true},
		{1000, 1000, true},
		{1000, 0, false},
		{1001, 1000, false},
		{1<<32 - 1, -1, false},
	} {
		if got := allowed(row.peer, row.own) == nil; got != row.want {
			t.Errorf("user %d at a signer of user %d: %v, want %v", row.peer, row.own, got, row.want)
		}
	}
}
