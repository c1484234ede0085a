package serve

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	accesscontroller "github.com/rolecall/rolecall/internal/controller/access"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/permissions"
)

// accessFlags say whether access entries are made RBAC, and which.
type accessFlags struct {
	on       bool
	policies []string
	flavor   string
	every    time.Duration
}

func (c *accessFlags) add(cmd *cobra.Command) {
	cli.Group(cmd, "Access entries", func(f *pflag.FlagSet) {
		f.BoolVar(&c.on, "access-entries", false,
			"make the access policies of AccessEntries RBAC, and keep the status of AccessEntries and IdentityMappings")
		f.StringSliceVar(&c.policies, "access-policies", accesspolicy.Names(),
			"access policies that may be given, of those that AccessEntries name")
		f.StringVar(&c.flavor, "access-policy-flavor", string(accesspolicy.EKS),
			"whose rules they have: eks, or builtin for Kubernetes' view, edit, admin and cluster-admin")
		f.DurationVar(&c.every, "access-principals-every", 30*time.Minute,
			"how often IAM is asked whether a principal was deleted and made again")
	})
	cli.CompleteFlag(cmd, "access-policies", accesspolicy.Names()...)
	cli.CompleteFlag(cmd, "access-policy-flavor", accesspolicy.Flavors()...)
}

func (c *accessFlags) check() error {
	for _, name := range c.policies {
		if _, known := accesspolicy.Lookup(v1alpha1.AccessPolicyName(name)); !known {
			return fault.New(fault.Usage, "--access-policies: %q is none that people can have; want some of %s", name,
				strings.Join(accesspolicy.Names(), ", "))
		}
	}
	switch {
	case !slices.Contains(accesspolicy.Flavors(), c.flavor):
		return fault.New(fault.Usage, "--access-policy-flavor %q: want eks or builtin", c.flavor)
	case c.every <= 0:
		return fault.New(fault.Usage, "--access-principals-every %s: want more than nothing", c.every)
	}
	return nil
}

// cached are the objects of RBAC that the controller keeps in memory: its own.
func (c *accessFlags) cached() map[client.Object]cache.ByObject {
	if !c.on {
		return nil
	}
	own := cache.ByObject{Label: labels.SelectorFromSet(accesscontroller.Labels())}
	return map[client.Object]cache.ByObject{
		&rbacv1.ClusterRole{}: own, &rbacv1.ClusterRoleBinding{}: own, &rbacv1.RoleBinding{}: own,
	}
}

func (c *accessFlags) reconcile(
	sys cli.System, manager ctrl.Manager, sure client.Client, registry *prometheus.Registry, log *slog.Logger,
) error {
	if !c.on {
		return nil
	}
	reconciler := &accesscontroller.Reconciler{
		Client: sure, Live: manager.GetAPIReader(), Flavor: accesspolicy.Flavor(c.flavor),
		Principals: &accesscontroller.EnvironmentPrincipals{Own: &awsapi.Own{Now: sys.Now}},
		Events:     manager.GetEventRecorder("rolecall-access"), Metrics: accesscontroller.NewMetrics(registry),
		Log: log, Every: c.every,
	}
	for _, name := range c.policies {
		reconciler.Allowed = append(reconciler.Allowed, v1alpha1.AccessPolicyName(name))
	}
	return reconciler.Setup(manager)
}

// permissions are what making RBAC takes: objects of just the names that are made, and to
// bind and write just the roles of the policies that may be given.
func (c *accessFlags) permissions() []permissions.Permission {
	const group, with = "rbac.authorization.k8s.io", "--access-entries"
	rolecall, watched := v1alpha1.GroupVersion.Group, []string{"list", "watch"}
	all := []permissions.Permission{
		{Group: rolecall, Resource: "accessentries", Verbs: watched, For: with},
		{Group: rolecall, Resource: "accessentries/status", Verbs: []string{"patch"}, For: with},
		{Group: rolecall, Resource: "identitymappings", Verbs: watched, For: with},
		{Group: rolecall, Resource: "identitymappings/status", Verbs: []string{"patch"}, For: with},
		{Resource: "namespaces", Verbs: watched, For: with},
		{Group: group, Resource: "clusterroles", Verbs: watched, For: with},
		{Group: group, Resource: "clusterrolebindings", Verbs: watched, For: with},
		{Group: group, Resource: "rolebindings", Verbs: watched, For: with},
	}
	written := []string{"get", "create", "patch", "update", "delete"}
	for _, name := range c.policies {
		policy := v1alpha1.AccessPolicyName(name)
		role, own := accesspolicy.RoleOf(policy, accesspolicy.Flavor(c.flavor))
		verbs := []string{"bind"}
		if own {
			verbs = slices.Concat(written, []string{"escalate", "bind"})
		} else { // what another flavor has left
			all = append(all, permissions.Permission{
				Group: group, Resource: "clusterroles", Name: accesspolicy.ObjectName(policy), Verbs: []string{"delete"},
				For: with,
			})
		}
		all = append(all,
			permissions.Permission{Group: group, Resource: "clusterroles", Name: role, Verbs: verbs, For: with},
			permissions.Permission{
				Group: group, Resource: "clusterrolebindings", Name: accesspolicy.ObjectName(policy), Verbs: written, For: with,
			},
			permissions.Permission{
				Group: group, Resource: "rolebindings", Name: accesspolicy.ObjectName(policy), Verbs: written, For: with,
			})
	}
	return all
}
