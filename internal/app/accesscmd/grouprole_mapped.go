package accesscmd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grouprole"
)

// gatherFor reads all sources of the cluster, as a server with all of them asks them.
func gatherFor(ctx context.Context, config *rest.Config, partition string) (*gathered, error) {
	g := &gathered{
		sources: &sources{
			backends: []string{string(access.EKSConfigMap), string(access.CRD)}, partition: partition,
		},
		mappings: map[access.Source][]access.Mapping{}, problems: map[access.Source][]access.Problem{},
	}
	return g, g.readCluster(ctx, config)
}

// after makes the steps, in what was gathered.
func (is *world) after(g *gathered, steps []grouprole.Step) {
	data := map[string]string{}
	if is.auth != nil {
		maps.Copy(data, is.auth.Data)
	}
	mapping := is.mapping
	for i := range steps {
		switch s := &steps[i]; s.Kind {
		case grouprole.KindConfigMap:
			data[mapRoles] = s.After
		case grouprole.KindMapping:
			mapping = nil
			if s.Verb != grouprole.Delete {
				mapping = &v1alpha1.IdentityMapping{ObjectMeta: metav1.ObjectMeta{Name: s.Name}, Spec: is.mappingSpec()}
				mapping.Spec.UserID = is.idOrNew()
			}
		default:
		}
	}
	delete(g.mappings, access.EKSConfigMap)
	delete(g.problems, access.EKSConfigMap)
	g.configMap("ConfigMap "+authName.String(), data)
	g.ours = slices.DeleteFunc(g.ours, func(m *v1alpha1.IdentityMapping) bool { return m.Name == is.w.MappingName() })
	if mapping != nil {
		g.ours = append(g.ours, mapping)
	}
}

// idOrNew is the role's unique id, or one that no role has while there is none.
func (is *world) idOrNew() string {
	if is.roleID == "" {
		return "AROATHENEWROLE"
	}
	return is.roleID
}

// isAlone decides, by the code that decides about logins, whether the role will be mapped
// as it is wanted: by one mapping, and by no other that is about it. Another would count in
// its place, now or for a server that asks its sources in another order.
func (is *world) isAlone(g *gathered, steps []grouprole.Step) error {
	is.after(g, steps)
	found, err := g.done()
	if err != nil {
		return err
	}
	who := example(&access.Mapping{Match: access.Match{ARN: is.w.RoleARN()}, UserID: is.idOrNew()})
	var ours *access.Mapping
	var others []string
	for _, table := range found.chain.Tables() {
		for _, m := range table.Mappings() {
			switch {
			case !isAbout(m, who, is.w.Partition):
			case ours == nil && is.isWanted(m):
				ours = m
			default:
				others = append(others, told(m))
			}
		}
	}
	if len(others) > 0 {
		return fault.New(fault.Conflict, "role %s is mapped already, by what this command did not make: %s", is.w.RoleARN(),
			strings.Join(others, "; ")).
			Hint("members would have that mapping's rights, or it would lose its own: remove it, or name another role").
			Hint("rolecall access explain --arn %s shows what counts now", fault.Quote(is.w.RoleARN()))
	}
	user, refusal := found.chain.Resolve(who, anyNode)
	switch {
	case refusal != nil:
		return fault.New(fault.Conflict, "members would not be let in: %w", refusal).
			Hint("rolecall access explain --arn %s shows what counts now", fault.Quote(is.w.RoleARN()))
	case ours == nil || user.By != ours:
		return fault.New(fault.Conflict, "members would be let in by %s, and not by what this command makes", user.By).
			Hint("rolecall access list shows which mappings count")
	}
	return nil
}

// isAbout lets somebody log in where there is just one mapping. One of everybody of an
// account is about nobody who is named.
func isAbout(m *access.Mapping, who *callerid.Identity, partition string) bool {
	if m.Match.Account != "" && m.Match.PermissionSet == "" {
		return false
	}
	alone := access.NewChain(access.Config{Partition: partition}, access.NewTable(m.Source, []access.Mapping{*m}))
	user, refusal := alone.Resolve(who, anyNode)
	return user != nil || refusal != nil && refusal.By != nil
}

func anyNode(string) (string, error) { return "ip-10-0-0-1.ec2.internal", nil }

// isWanted reports whether a mapping is the one that this command makes, or is just like it.
func (is *world) isWanted(m *access.Mapping) bool {
	place := m.Source == access.EKSConfigMap && strings.HasPrefix(m.Field, mapRoles)
	if is.w.Source == grouprole.IdentityMapping {
		place = m.Source == access.IdentityMapping && m.Place == "IdentityMapping "+is.w.MappingName()
	}
	return place && strings.EqualFold(m.Match.ARN, is.w.RoleARN()) &&
		(m.Written == "" || strings.EqualFold(m.Written, is.w.RoleARN())) &&
		m.Username == is.w.Username && slices.Equal(m.Groups, is.w.Groups)
}

// told is what a mapping gives, and where it is.
func told(m *access.Mapping) string {
	what := m.Username
	if len(m.Groups) > 0 {
		what += " in " + strings.Join(m.Groups, ", ")
	}
	if m.Policies != "" {
		what += ", with access policies"
	}
	return fmt.Sprintf("%s (%s)", m, what)
}
