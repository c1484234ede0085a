package policy_test

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

func TestIsAction(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"s3:GetObject":   true,
		"sts:AssumeRole": true,
		"s3":             false,
		"s3:":            false,
		":GetObject":     false,
		"s3:Get*":        false,
		"s3:GetObjec?":   false,
		"s3:Get Object":  false,
		"":               false,
	} {
		if got := policy.IsAction(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}

func TestAssumesRole(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]bool{
		"sts:AssumeRole":                true,
		"STS:assumerole":                true,
		"sts:AssumeRoleWithWebIdentity": true,
		"sts:AssumeRoleWithSAML":        true,
		"sts:AssumeRoot":                false,
		"sts:TagSession":                false,
		"sts:AssumeRol":                 false,
		"":                              false,
	} {
		if got := policy.AssumesRole(action); got != want {
			t.Errorf("%q: got %t, want %t", action, got, want)
		}
	}
}

// TestConcerned: which policies limit whom (spec iam-policy §4).
func TestConcerned(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		principal   policy.PrincipalKind
		assumesRole bool
		want        []policy.Kind
	}{
		{
			"user", policy.User, false,
			[]policy.Kind{policy.Identity, policy.Boundary, policy.SCP, policy.Resource, policy.RCP},
		},
		{
			"federated user", policy.FederatedUser, false,
			[]policy.Kind{policy.Identity, policy.Boundary, policy.SCP, policy.Resource, policy.RCP},
		},
		{
			"session of a role", policy.RoleSession, false,
			[]policy.Kind{
				policy.Identity, policy.Boundary, policy.Session, policy.SCP, policy.Resource, policy.RCP,
			},
		},
		{"root user", policy.Root, false, []policy.Kind{policy.SCP, policy.Resource, policy.RCP}},
		{"nobody", policy.Anonymous, false, []policy.Kind{policy.Resource, policy.RCP}},
		{"service that assumes a role", policy.Service, true, []policy.Kind{policy.Trust, policy.RCP}},
		{"pod that assumes a role", policy.WebIdentity, true, []policy.Kind{policy.Trust, policy.RCP}},
	} {
		if got := policy.Concerned(row.principal, row.assumesRole); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}
