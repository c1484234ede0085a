package access_test

import (
	"errors"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
)

var errNoInstance = errors.New("no such instance")

// TestReserved: names that nobody may give, or a placeholder not make.
func TestReserved(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		source access.Source
		m      access.Mapping
		who    string
		want   string
	}{
		{"the operator's", access.MountedFile, role("r", "sys-{{SessionName}}"), "role/r/admin", "! reserved_name"},
		{
			"letter case counts", access.MountedFile, role("r", "SYS-{{SessionName}}"), "role/r/admin",
			"SYS-admin [] MountedFile",
		},
		{
			"the operator's, of another source", access.CRD, role("r", "sys-{{SessionName}}"), "role/r/admin",
			"sys-admin [] CRD",
		},
		{
			"the operator's group", access.MountedFile, role("r", "x", "grp-{{SessionName}}"), "role/r/admin",
			"! reserved_name",
		},
		{"a username of policies", access.EKSConfigMap, role("r", "access-entry:x"), "role/r/s", "! not_mapped"},
		{
			"a group of policies", access.EKSConfigMap, role("r", "x", "access-entry:0123456789abcdef"), "role/r/s",
			"! not_mapped",
		},
		{
			"a group of policies, of an entry", access.AccessEntry, role("r", "x", "access-entry:0123456789abcdef"),
			"role/r/s", "! not_mapped",
		},
		{
			"made by a placeholder", access.EKSConfigMap, role("r", "x", "{{SessionName}}:0123456789abcdef"),
			"role/r/access-entry", "! reserved_name",
		},
		{
			"a username of Kubernetes by a placeholder", access.EKSConfigMap, role("r", "{{SessionName}}:admin"),
			"role/r/system", "! reserved_name",
		},
		{
			"a group of Kubernetes by a placeholder", access.EKSConfigMap, role("r", "x", "{{SessionName}}:masters"),
			"role/r/system", "! reserved_name",
		},
		{
			"by half of one", access.EKSConfigMap, role("r", "x", "sy{{SessionName}}:masters"), "role/r/stem",
			"! reserved_name",
		},
		{
			"a user of Kubernetes that a session chooses", access.EKSConfigMap, role("r", "system:{{SessionName}}"),
			"role/r/kube-scheduler", "! reserved_name",
		},
		{
			"the rest of one", access.EKSConfigMap, role("r", "system:kube-{{SessionName}}"), "role/r/scheduler",
			"! reserved_name",
		},
		{
			"a group of Kubernetes that a session chooses", access.EKSConfigMap,
			role("r", "x", "system:{{SessionName}}"), "role/r/masters", "! reserved_name",
		},
		{
			"a template as group of members", access.GroupMapping, member("AIDAUSER", "x", false, "g-{{SessionName}}"),
			"user/u", "! not_mapped",
		},
		{
			"written by the operator", access.EKSConfigMap, role("r", "system:admin", "system:masters"), "role/r/s",
			"system:admin [system:masters] EKSConfigMap",
		},
		{
			"a username of Kubernetes in an object", access.IdentityMapping, role("r", "system:admin"), "role/r/s",
			"! not_mapped",
		},
		{
			"of a member", access.GroupMapping, member("AIDAUSER", "system:{{UserName}}", false, "x"), "user/u",
			"! not_mapped",
		},
		{
			"a node in an object", access.IdentityMapping,
			role("r", "system:node:{{EC2PrivateDNSName}}", "system:nodes"), "role/r/i-0c6f21bf1f24f9708",
			"system:node:ip-172-31-27-14 [system:nodes] IdentityMapping",
		},
		{
			"a person as a node in an object", access.IdentityMapping,
			role("r", "system:node:{{SessionName}}", "system:nodes"), "role/r/master-1", "! not_mapped",
		},
		{
			"a person as a node", access.EKSConfigMap, role("r", "system:node:{{SessionName}}"), "role/r/me",
			"system:node:me [] EKSConfigMap",
		},
		{"no username", access.EKSConfigMap, role("r", ""), "role/r/me", "! not_mapped"},
		{"no username of an account in an object", access.IdentityMapping, everybody(""), "role/r/me", "! not_mapped"},
		{"an empty group", access.EKSConfigMap, role("r", "x", ""), "role/r/me", "! not_mapped"},
		{"nobody", access.EKSConfigMap, access.Mapping{Username: "x"}, "role/r/me", "! not_mapped"},
	} {
		config := access.Config{
			ReservedUsernames: map[access.Source][]string{access.MountedFile: {"", "sys-"}},
			ReservedGroups:    map[access.Source][]string{access.MountedFile: {"", "grp-"}},
		}
		chain := access.NewChain(config, access.NewTable(row.source, []access.Mapping{row.m}))
		if got := outcome(chain, caller(t, row.who), nodeNames); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
