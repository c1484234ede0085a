package accesscmd

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grouprole"
)

const devRole = "arn:aws:iam::111122223333:role/dev.eks-access.role"

// devWorld is the world of a role that there is, with an aws-auth.
func devWorld(source grouprole.Source, roles, users string) *world {
	w := &grouprole.Wanted{
		Partition: "aws", Account: "111122223333", Group: "dev.rnd.group", Role: "dev.eks-access.role", Cluster: "prod",
		ClusterRole: "view", Source: source,
	}
	w.Complete()
	return &world{w: w, roleID: "AROADEVDEVDEVDEVDEV1", auth: &corev1.ConfigMap{
		Data: map[string]string{mapRoles: roles, "mapUsers": users},
	}}
}

func (is *world) state() *grouprole.State {
	s := &grouprole.State{GroupExists: true, Role: &grouprole.Role{
		ID: is.roleID, Trust: is.w.Trust(), Tags: is.w.RoleTags(),
	}, ConfigMap: &grouprole.ConfigMap{MapRoles: is.auth.Data[mapRoles], Annotations: is.auth.Annotations}}
	if m := is.mapping; m != nil {
		s.Mapping = &grouprole.Mapping{
			Ours: ours(m), ARN: m.Spec.Principal.ARN, UserID: m.Spec.UserID, Username: m.Spec.Username, Groups: m.Spec.Groups,
		}
	}
	return s
}

func nobody() *gathered {
	return &gathered{
		sources:  &sources{backends: []string{string(access.EKSConfigMap), string(access.CRD)}, partition: "aws"},
		mappings: map[access.Source][]access.Mapping{}, problems: map[access.Source][]access.Problem{},
	}
}

// TestMappedAlready: what is mapped already, by whatever source and in whatever spelling, is
// not mapped a second time.
func TestMappedAlready(t *testing.T) {
	t.Parallel()
	entry := func(arn string) string {
		return "- rolearn: " + arn + "\n  username: theirs\n  groups: [system:masters]\n"
	}
	const same = "- rolearn: " + devRole + "\n  username: dev.eks-access.role:{{SessionName}}\n  groups: [dev.rnd.group]\n"
	withPath := strings.Replace(devRole, "role/", "role/team/", 1)
	theirs := func(id string) func(*world, *gathered) {
		return func(_ *world, g *gathered) {
			g.ours = append(g.ours, &v1alpha1.IdentityMapping{
				ObjectMeta: metav1.ObjectMeta{Name: "theirs"},
				Spec:       v1alpha1.IdentityMappingSpec{Principal: v1alpha1.Principal{ARN: devRole}, UserID: id, Username: "theirs"},
			})
		}
	}
	made := func(labels map[string]string) func(*world, *gathered) {
		return func(is *world, g *gathered) {
			is.mapping = &v1alpha1.IdentityMapping{
				ObjectMeta: metav1.ObjectMeta{Name: is.w.MappingName(), Labels: labels}, Spec: is.mappingSpec(),
			}
			g.ours = append(g.ours, is.mapping)
		}
	}
	for name, row := range map[string]struct {
		roles, users string
		source       grouprole.Source
		there        func(*world, *gathered)
		// want is in the error; there is none if it is empty.
		want string
	}{
		"nothing":         {},
		"somebody else":   {roles: entry("arn:aws:iam::111122223333:role/node")},
		"just like it":    {roles: same},
		"another account": {roles: entry("arn:aws:iam::444455556666:role/dev.eks-access.role")},
		"a path":          {roles: entry(withPath), want: "mapRoles[0]"},
		"a path, and it":  {roles: entry(withPath) + same, want: "mapRoles[0]"},
		"a session":       {roles: entry("arn:aws:sts::111122223333:assumed-role/dev.eks-access.role/x"), want: "mapRoles[0]"},
		"its path, upper": {roles: entry(strings.Replace(withPath, "dev.", "DEV.", 1)), want: "mapRoles[0]"},
		"among users":     {users: "- userarn: " + devRole + "\n  username: theirs\n", want: "mapUsers[0]"},
		"twice": {
			roles: same + entry(devRole), want: "other than is wanted",
		},
		"an access entry": {
			there: func(_ *world, g *gathered) {
				g.entries = append(g.entries, &v1alpha1.AccessEntry{
					ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: v1alpha1.AccessEntrySpec{
						Principal:      v1alpha1.Principal{ARN: devRole},
						AccessPolicies: []v1alpha1.AccessPolicy{{Policy: "AmazonEKSClusterAdminPolicy"}},
					},
				})
			}, want: "AccessEntry theirs",
		},
		"an IdentityMapping":                 {there: theirs(""), want: "IdentityMapping theirs"},
		"one of the role that was":           {there: theirs("AROAOLDOLDOLDOLDOLD1"), want: "IdentityMapping theirs"},
		"another, for an IdentityMapping":    {source: grouprole.IdentityMapping, there: theirs(""), want: "IdentityMapping theirs"},
		"an entry, for an IdentityMapping":   {source: grouprole.IdentityMapping, roles: same, want: "mapRoles[0]"},
		"its IdentityMapping, which goes":    {there: made(labels())},
		"one of its name, which does not go": {there: made(nil), want: "IdentityMapping group-role-dev.eks-access.role"},
		"the peer's object": {
			there: func(_ *world, g *gathered) {
				read, ok := objects.ReadPeer(map[string]any{
					"metadata": map[string]any{"name": "theirs"},
					"spec":     map[string]any{"arn": strings.ToLower(devRole), "username": "theirs"},
				})
				if !ok {
					t.Error("not read")
				}
				g.theirs = append(g.theirs, read)
			}, want: "IAMIdentityMapping theirs",
		},
		"everybody of the account": {
			there: func(is *world, _ *gathered) { is.auth.Data["mapAccounts"] = "- \"111122223333\"\n" },
		},
	} {
		if row.source == "" {
			row.source = grouprole.AWSAuth
		}
		is, g := devWorld(row.source, row.roles, row.users), nobody()
		if row.there != nil {
			row.there(is, g)
		}
		steps, _, err := is.w.Plan(is.state())
		if err == nil {
			err = is.isAlone(g, steps)
		}
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case row.want != "" && (fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
