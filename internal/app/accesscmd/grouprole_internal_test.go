package accesscmd

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/awsapi"
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

// TestSomebodyIsFaster: who changes aws-auth at the same time loses nothing by it, and the
// entry comes all the same; so it does where the ConfigMap was made or removed meanwhile.
func TestSomebodyIsFaster(t *testing.T) {
	t.Parallel()
	const first = "- rolearn: arn:aws:iam::111122223333:role/node\n  username: node\n"
	const later = "- rolearn: arn:aws:iam::111122223333:role/later\n  username: later\n"
	auth := func(roles string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: authPlace.Namespace, Name: authPlace.Name},
			Data:       map[string]string{mapRoles: roles},
		}
	}
	for name, row := range map[string]struct {
		before *corev1.ConfigMap
		// meanwhile is what somebody does between the first reading and each of so many writings.
		meanwhile func(client.Client) error
		times     int
		want      []string
		fails     bool
	}{
		"changed": {before: auth(first), times: 3, want: []string{"role/node", "role/later"}, meanwhile: func(c client.Client) error {
			var now corev1.ConfigMap
			if err := c.Get(t.Context(), authPlace, &now); err != nil {
				return err
			}
			now.Data[mapRoles] += later
			return c.Update(t.Context(), &now)
		}},
		"made": {times: 1, want: []string{"role/later"}, meanwhile: func(c client.Client) error {
			return c.Create(t.Context(), auth(later))
		}},
		"removed": {before: auth(first), times: 1, meanwhile: func(c client.Client) error {
			return c.Delete(t.Context(), auth(""))
		}},
		"mapped otherwise": {before: auth(first), times: 1, fails: true, meanwhile: func(c client.Client) error {
			var now corev1.ConfigMap
			if err := c.Get(t.Context(), authPlace, &now); err != nil {
				return err
			}
			now.Data[mapRoles] += "- rolearn: " + devRole + "\n  username: theirs\n"
			return c.Update(t.Context(), &now)
		}},
		"without end": {before: auth(first), times: 100, fails: true, meanwhile: func(c client.Client) error {
			var now corev1.ConfigMap
			if err := c.Get(t.Context(), authPlace, &now); err != nil {
				return err
			}
			now.Data["other"] += "x"
			return c.Update(t.Context(), &now)
		}},
	} {
		is := devWorld(grouprole.AWSAuth, "", "")
		scheme := runtime.NewScheme()
		if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
			t.Fatal(err)
		}
		made := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
			&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view"}},
		)
		if row.before != nil {
			made = made.WithObjects(row.before)
		}
		there := made.Build()
		disturb := func() {
			if row.times--; row.times >= 0 {
				if err := row.meanwhile(there); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		is.cluster = interceptor.NewClient(there, interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, more ...client.CreateOption) error {
				disturb()
				return c.Create(ctx, o, more...)
			},
			Update: func(ctx context.Context, c client.WithWatch, o client.Object, more ...client.UpdateOption) error {
				disturb()
				return c.Update(ctx, o, more...)
			},
		})
		state := is.state()
		state.ConfigMap = nil
		if err := is.readCluster(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		planned := func(_ context.Context, s *grouprole.State) ([]grouprole.Step, error) {
			steps, _, err := is.w.Plan(s)
			return steps, err
		}
		steps, err := planned(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(steps, func(s grouprole.Step) bool { return s.Kind == grouprole.KindConfigMap })
		if err := is.make(t.Context(), &steps[i], state, planned); (err != nil) != row.fails {
			t.Errorf("%s: %v", name, err)
		}
		if row.fails {
			continue
		}
		var now corev1.ConfigMap
		if err := there.Get(t.Context(), authPlace, &now); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(row.want, "role/dev.eks-access.role") {
			if !strings.Contains(now.Data[mapRoles], want) {
				t.Errorf("%s: want %s in\n%s", name, want, now.Data[mapRoles])
			}
		}
		if key, value := is.w.EntryAnnotation(); now.Annotations[key] != value {
			t.Errorf("%s: not marked: %v", name, now.Annotations)
		}
	}
}

// TestKubeconfigsCluster: the cluster that is named is the kubeconfig's, by its endpoint, or
// by its authority behind a tunnel.
func TestKubeconfigsCluster(t *testing.T) {
	t.Parallel()
	authority := func(content string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(content)})
	}
	facts := awsapi.Cluster{
		Endpoint: "https://ABC.gr7.eu-west-1.eks.amazonaws.com", CA: base64.StdEncoding.EncodeToString(authority("prod")),
	}
	file := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(file, authority("prod"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		host, file string
		data       []byte
		facts      awsapi.Cluster
		want       bool
	}{
		{host: "https://ABC.gr7.eu-west-1.eks.amazonaws.com", facts: facts, want: true},
		{host: "https://abc.gr7.eu-west-1.eks.amazonaws.com:443/", facts: facts, want: true},
		{host: "https://abd.gr7.eu-west-1.eks.amazonaws.com", facts: facts},
		{host: "https://abc.gr7.eu-west-1.eks.amazonaws.com:6443", facts: facts},
		{host: "http://abc.gr7.eu-west-1.eks.amazonaws.com", facts: facts},
		{host: "https://abc.gr7.eu-west-1.eks.amazonaws.com/k8s/other", facts: facts},
		{host: "https://127.0.0.1:8443", facts: facts},
		{host: "https://127.0.0.1:8443", data: authority("dev"), facts: facts},
		{host: "https://127.0.0.1:8443", data: authority("prod"), facts: facts, want: true},
		{host: "https://127.0.0.1:8443", file: file, facts: facts, want: true},
		{host: "https://127.0.0.1:8443", file: file + ".no", facts: facts},
		{host: "https://127.0.0.1:8443", data: append(authority("prod"), authority("dev")...), facts: facts},
		{host: "https://127.0.0.1:8443", facts: awsapi.Cluster{}},
		{host: "", facts: awsapi.Cluster{}},
	} {
		c := groupRoleConfig{wanted: *devWorld(grouprole.AWSAuth, "", "").w}
		config := &rest.Config{Host: row.host, TLSClientConfig: rest.TLSClientConfig{CAFile: row.file, CAData: row.data}}
		err := c.isKubeconfigs(&row.facts, config)
		if (err == nil) != row.want || err != nil && fault.KindOf(err) != fault.Conflict {
			t.Errorf("%q with %q %q: %v", row.host, row.file, row.data, err)
		}
	}
}

// TestMembersCommand: members get a command that finds the cluster at EKS with the role, or
// one with its address and the file that is written for them.
func TestMembersCommand(t *testing.T) {
	t.Parallel()
	c := groupRoleConfig{wanted: *devWorld(grouprole.AWSAuth, "", "").w, context: "my prod"}
	with := &rest.Config{Host: "https://10.0.0.1:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("x")}}
	for _, row := range []struct {
		config      *rest.Config
		known       bool
		first, next string
	}{
		{with, true, "", "rolecall kubeconfig update --name prod --role-arn " + devRole + " --assume-role-arn " + devRole},
		{
			with, false, "kubectl config view --raw --minify --flatten --context 'my prod' " +
				"-o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d > ca.crt",
			"rolecall kubeconfig update --name prod --server https://10.0.0.1:6443 --certificate-authority ca.crt " +
				"--role-arn " + devRole,
		},
		{
			&rest.Config{Host: "https://k8s.example.com"}, false, "",
			"rolecall kubeconfig update --name prod --server https://k8s.example.com --role-arn " + devRole,
		},
	} {
		if first, next := c.next(row.config, row.known); first != row.first || next != row.next {
			t.Errorf("%q\n%q", first, next)
		}
	}
}
