package objects_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/objects"
)

const dev = "arn:aws:iam::111122223333:role/Dev"

var born = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// said is a result in a few words: mappings as principal=username[groups], with #ID and
// &policies, and what is wrong.
func said(mappings []access.Mapping, problems []access.Problem) string {
	var all []string
	for _, m := range mappings {
		text := strings.TrimPrefix(m.Match.String(), "arn:aws:iam::111122223333:") + "=" + m.Username + "[" +
			strings.Join(m.Groups, " ") + "]"
		if m.UserID != "" {
			text += "#" + m.UserID
		}
		if m.Policies != "" {
			text += "&" + m.Policies
		}
		all = append(all, text)
	}
	for _, p := range problems {
		mark := " ? "
		if p.Refused {
			mark = " ! "
		}
		all = append(all, p.Field+mark+p.Text)
	}
	return strings.Join(all, "; ")
}

func entry(spec v1alpha1.AccessEntrySpec, userID string) *v1alpha1.AccessEntry {
	return &v1alpha1.AccessEntry{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, Spec: spec, Status: v1alpha1.AccessStatus{UserID: userID},
	}
}

// TestAccessEntry: names of entries, what EKS refuses, and ids.
func TestAccessEntry(t *testing.T) {
	t.Parallel()
	arn := func(text string) v1alpha1.Principal { return v1alpha1.Principal{ARN: text} }
	view := []v1alpha1.AccessPolicy{{Policy: "AmazonEKSViewPolicy"}}
	for _, row := range []struct {
		name string
		spec v1alpha1.AccessEntrySpec
		id   string
		want string
	}{
		{
			"a role with a path",
			v1alpha1.AccessEntrySpec{Principal: arn("arn:aws:iam::111122223333:role/development/apps/my-role")},
			"AROAX",
			"role/my-role=arn:aws:sts::111122223333:assumed-role/my-role/{{SessionName}}[]#AROAX; " +
				"spec.principal.arn ? the role's path is left out: STS never tells it",
		},
		{
			"a user",
			v1alpha1.AccessEntrySpec{Principal: arn("arn:aws:iam::111122223333:user/ops/alice"), Type: "STANDARD"},
			"",
			"user/ops/alice=arn:aws:iam::111122223333:user/ops/alice[]",
		},
		{
			"names",
			v1alpha1.AccessEntrySpec{
				Principal: arn(dev), Username: "jo:hn{{SessionName}}", KubernetesGroups: []string{"a"},
			},
			"", "role/Dev=jo:hn{{SessionName}}[a]",
		},
		{
			"policies",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Username: "x", AccessPolicies: view},
			"",
			"role/Dev=x[]&access-entry:f98916774becaf5d",
		},
		{
			"policies of a set",
			v1alpha1.AccessEntrySpec{
				Principal: v1alpha1.Principal{PermissionSet: "View", Account: "111122223333"}, AccessPolicies: view,
			},
			"", "permission-set/111122223333/View=[]&access-entry:9390e8f427a29d9d",
		},
		{
			"a node",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Type: "EC2_LINUX"},
			"",
			"role/Dev=system:node:{{EC2PrivateDNSName}}[system:nodes]",
		},
		{
			"a node of Windows",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Type: "EC2_WINDOWS"},
			"",
			"role/Dev=system:node:{{EC2PrivateDNSName}}[system:nodes eks:kube-proxy-windows]",
		},
		{
			"a node with names",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Type: "EC2_LINUX", Username: "x"},
			"",
			"spec ! username and kubernetesGroups of node types are fixed",
		},
		{
			"a node with policies",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Type: "EC2_LINUX", AccessPolicies: view},
			"",
			"spec ! only entries of type STANDARD have access policies",
		},
		{
			"a node that is a user",
			v1alpha1.AccessEntrySpec{Principal: arn("arn:aws:iam::111122223333:user/x"), Type: "EC2_LINUX"},
			"",
			"spec ! the principal of a node type is a role",
		},
		{
			"a node that is a set",
			v1alpha1.AccessEntrySpec{
				Principal: v1alpha1.Principal{PermissionSet: "View", Account: "111122223333"}, Type: "HYBRID_LINUX",
			},
			"", "spec ! the principal of a node type is a role",
		},
		{"another type", v1alpha1.AccessEntrySpec{Principal: arn(dev), Type: "X"}, "", "spec ! type X is not known"},
		{
			"a username of Kubernetes",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Username: "system:x"},
			"",
			"spec ! username must not begin with system:, eks:, aws:, amazon: or iam:",
		},
		{
			"a username of EKS",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Username: "eks:x"},
			"",
			"spec ! username must not begin with system:, eks:, aws:, amazon: or iam:",
		},
		{
			"no colon before the session",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), Username: "john{{SessionNameRaw}}:x"},
			"",
			"spec ! a colon must be somewhere before {{SessionName}}, so that no session can take another user's name",
		},
		{
			"a group of Kubernetes",
			v1alpha1.AccessEntrySpec{Principal: arn(dev), KubernetesGroups: []string{"a", "system:masters"}},
			"",
			"spec ! the kubernetes group name system:masters is invalid, it cannot start with system:",
		},
		{
			"a session",
			v1alpha1.AccessEntrySpec{Principal: arn("arn:aws:sts::111122223333:assumed-role/Dev/x")},
			"",
			"spec ! an access entry is about a role or user, not a session, the root or a federated user",
		},
		{
			"the root",
			v1alpha1.AccessEntrySpec{Principal: arn("arn:aws:iam::111122223333:root")},
			"",
			"spec ! an access entry is about a role or user, not a session, the root or a federated user",
		},
		{
			"a service-linked role",
			v1alpha1.AccessEntrySpec{
				Principal: arn("arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/y"),
			},
			"", "spec ! a service-linked role cannot have an access entry",
		},
		{
			"a star",
			v1alpha1.AccessEntrySpec{Principal: arn(dev + "*")},
			"",
			`spec.principal.arn ! "` + dev + `*" is a pattern, and compared as it is: it matches nobody`,
		},
		{
			"an account",
			v1alpha1.AccessEntrySpec{Principal: v1alpha1.Principal{Account: "111122223333"}},
			"",
			"spec ! an access entry is about a role, a user or a permission set",
		},
		{
			"two principals",
			v1alpha1.AccessEntrySpec{
				Principal: v1alpha1.Principal{ARN: dev, PermissionSet: "x", Account: "111122223333"},
			},
			"", "spec.principal ! give one of arn, permissionSet (with its account), or account",
		},
	} {
		result := objects.AccessEntry(entry(row.spec, row.id))
		if got := said(result.Mappings, result.Problems); got != row.want {
			t.Errorf("%s: got\n%s, want\n%s", row.name, got, row.want)
		}
	}
}

// TestIdentityMapping: principals of all forms, and the older of two.
func TestIdentityMapping(t *testing.T) {
	t.Parallel()
	object := func(name string, age int, p v1alpha1.Principal, username, id string) *v1alpha1.IdentityMapping {
		return &v1alpha1.IdentityMapping{
			ObjectMeta: metav1.ObjectMeta{
				Name:              name,
				CreationTimestamp: metav1.NewTime(born.Add(-time.Duration(age) * time.Hour)),
			},
			Spec: v1alpha1.IdentityMappingSpec{
				Principal: p, Username: username, Groups: []string{"g"},
				UserID: id,
			},
		}
	}
	arn := v1alpha1.Principal{ARN: dev}
	going := object("going", 9, arn, "going", "")
	going.DeletionTimestamp = &born
	forged := object("forged", 5, v1alpha1.Principal{ARN: "arn:aws:iam::111122223333:role/Other"}, "forged", "")
	forged.Status.Principal, forged.Status.UserID = dev, "AROAX"
	mappings, problems := objects.IdentityMappings([]*v1alpha1.IdentityMapping{
		object("young", 1, arn, "young", ""), object("b", 2, arn, "b", ""), object("a", 2, arn, "a", "AROAX"),
		going, forged,
		object("set", 0, v1alpha1.Principal{PermissionSet: "View", Account: "111122223333"}, "view", ""),
		object("account", 0, v1alpha1.Principal{Account: "111122223333"}, "all", ""),
		object("digits", 0, v1alpha1.Principal{Account: "1111"}, "all", ""),
		object("pinned", 0, v1alpha1.Principal{Account: "111122223333"}, "all", "AROAX"),
		object("name", 0, v1alpha1.Principal{PermissionSet: "V*", Account: "111122223333"}, "view", ""),
	})
	const want = "role/Other=forged[g]; role/Dev=a[g]#AROAX; role/Dev=b[g]; role/Dev=young[g]; " +
		"account/111122223333=all[g]; permission-set/111122223333/View=view[g]; " +
		"spec.principal.account ! an account has 12 digits; " +
		"spec.principal.permissionSet ! the name of a permission set has 1 to 32 letters, digits and _+=,.@-; " +
		"spec.userID ! userID is the id of one principal, and there is no principal.arn"
	if got := said(mappings, problems); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// TestGroupMapping: a mapping for each member, in the order of names.
func TestGroupMapping(t *testing.T) {
	t.Parallel()
	object := func(name, account, username string, ids ...string) *v1alpha1.GroupMapping {
		o := &v1alpha1.GroupMapping{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.GroupMappingSpec{
				IAMGroup: name, Account: account, Groups: []string{"g-" + name},
				Username: username,
			},
		}
		for _, id := range ids {
			o.Status.Members = append(o.Status.Members,
				v1alpha1.GroupMember{UserID: id, ARN: "arn:aws:iam::111122223333:user/u/" + id})
		}
		return o
	}
	going := object("0", "", "", "AIDA9")
	going.DeletionTimestamp = &born
	mappings, problems := objects.GroupMappings([]*v1alpha1.GroupMapping{
		object("b", "", "", "AIDA1", "AIDA2"), object("a", "111122223333", "x-{{UserName}}", "AIDA1"),
		object("c", "444455556666", "", "AIDA1"), object("d", "", "", ""), going,
	})
	const want = "id/AIDA1=x-{{UserName}}[g-a]; id/AIDA1={{UserName}}[g-b]; id/AIDA2={{UserName}}[g-b]; " +
		"status.members[AIDA1] ! the member has no unique id, or is not of the account of the group; " +
		"status.members[] ! the member has no unique id, or is not of the account of the group"
	if got := said(mappings, problems); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// TestPeers: objects of aws-iam-authenticator count by their spec, the oldest first.
func TestPeers(t *testing.T) {
	t.Parallel()
	content := func(name, created string, spec map[string]any) map[string]any {
		meta := map[string]any{"name": name}
		if created != "" {
			meta["creationTimestamp"] = created
		}
		return map[string]any{
			"metadata": meta, "spec": spec,
			"status": map[string]any{"canonicalARN": "arn:aws:iam::111122223333:role/forged", "userID": "x"},
		}
	}
	var all []objects.PeerMapping
	for _, o := range []map[string]any{
		content("new", "2026-02-01T00:00:00Z", map[string]any{"arn": dev, "username": "new"}),
		content("timeless", "", map[string]any{"arn": dev, "username": "timeless"}),
		content("old", "2026-01-01T00:00:00Z", map[string]any{
			"arn":      "arn:aws:iam::111122223333:ROLE/dev",
			"username": "old", "groups": []any{"g"},
		}),
		content("bad", "2026-01-01T00:00:00Z", map[string]any{"arn": "nobody", "username": "x"}),
	} {
		peer, ok := objects.ReadPeer(o)
		if !ok {
			t.Fatalf("%v is not read", o)
		}
		all = append(all, peer)
	}
	const want = `role/dev=old[g]; role/Dev=new[]; role/Dev=timeless[]; spec.arn ! "nobody" is not an ARN: ` +
		"want arn:PARTITION:iam::ACCOUNT:role/NAME or user/NAME"
	mappings, problems := objects.Peers(all)
	if got := said(mappings, problems); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	table := access.NewTable(access.CRD, mappings)
	if lost := table.Duplicates(); len(lost) != 2 || lost[0].Counts.Username != "old" {
		t.Errorf("hidden: %+v", lost)
	}
	for _, o := range []map[string]any{
		nil,
		{"metadata": map[string]any{"name": "x"}},
		content("x", "", map[string]any{"arn": 1, "username": "x"}),
		content("x", "", map[string]any{"arn": dev}),
		content("x", "", map[string]any{"arn": dev, "username": "x", "groups": "g"}),
		content("x", "", map[string]any{"arn": dev, "username": "x", "groups": []any{1}}),
		content("", "", map[string]any{"arn": dev, "username": "x"}),
	} {
		if _, ok := objects.ReadPeer(o); ok {
			t.Errorf("%v is read", o)
		}
	}
	gone := slices.Clone(all)
	gone[2].Deleted = true
	if mappings, _ := objects.Peers(gone); mappings[0].Username != "new" {
		t.Errorf("of what is being deleted: %+v", mappings[0])
	}
}
