package serve

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/controller/groups"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/permissions"
)

// groupFlags say how the members of IAM groups are read; off, GroupMappings are not touched.
type groupFlags struct {
	on             bool
	every, removal time.Duration
	rate           float64
	accounts       []string
}

// removalPart is the part of the period that a removal takes unless it is said.
const removalPart = 4

func (c *groupFlags) add(cmd *cobra.Command) {
	cli.Group(cmd, "IAM groups", func(f *pflag.FlagSet) {
		f.BoolVar(&c.on, "group-mappings", false, "keep the members of GroupMappings, read from IAM")
		f.DurationVar(&c.every, "group-sync-period", time.Minute, "in which time what changes in an IAM group counts")
		f.DurationVar(&c.removal, "group-removal-delay", 0,
			"how long IAM must have left out a member, in two reads at least, before it no longer counts; a quarter of "+
				"--group-sync-period if 0")
		f.Float64Var(&c.rate, "group-calls-per-second", 5, "calls to AWS for all GroupMappings together")
		f.StringArrayVar(&c.accounts, "group-account-role", nil,
			"ACCOUNT=ROLE_ARN, a role of that account to read its groups with; may be given again for other accounts")
	})
}

// roles are the roles to read groups with, by account.
func (c *groupFlags) roles() (map[string]string, error) {
	roles := map[string]string{}
	for _, text := range c.accounts {
		account, role, _ := strings.Cut(text, "=")
		parsed, err := arn.ParseRole(role)
		switch {
		case !arn.IsAccount(account):
			return nil, fault.New(fault.Usage, "--group-account-role %s: account %w", text, arn.CheckAccount(account)).
				Hint("write it as ACCOUNT=ROLE_ARN")
		case err != nil:
			return nil, fault.New(fault.Usage, "--group-account-role %s: %w", text, err)
		case parsed.Account != account:
			return nil, fault.New(fault.Usage, "--group-account-role %s: the role is of account %s", text, parsed.Account)
		case roles[account] != "" && roles[account] != role:
			return nil, fault.New(fault.Usage, "--group-account-role names two roles of account %s", account)
		}
		roles[account] = role
	}
	return roles, nil
}

func (c *groupFlags) check(cmd *cobra.Command) error {
	if !c.on {
		for _, flag := range []string{
			"group-sync-period", "group-removal-delay", "group-calls-per-second", "group-account-role",
		} {
			if cmd.Flags().Changed(flag) {
				return fault.New(fault.Usage, "--%s needs --group-mappings", flag)
			}
		}
		return nil
	}
	switch {
	case c.every < time.Second:
		return fault.New(fault.Usage, "--group-sync-period %s: want a second or more", c.every)
	case c.removal < 0:
		return fault.New(fault.Usage, "--group-removal-delay %s: want 0 or more", c.removal)
	case !(c.rate > 0): // NaN too
		return fault.New(fault.Usage, "--group-calls-per-second %v: want more than 0", c.rate)
	}
	_, err := c.roles()
	return err
}

// permissions are what IAM groups ask of the controller beside the rest.
func (c *groupFlags) permissions() []permissions.Permission {
	rolecall := v1alpha1.GroupVersion.Group
	return []permissions.Permission{
		{Group: rolecall, Resource: "groupmappings", Verbs: []string{"list", "watch"}, For: "--group-mappings"},
		{Group: rolecall, Resource: "groupmappings/status", Verbs: []string{"patch"}, For: "--group-mappings"},
	}
}

// reconcile adds the controller of IAM groups, if it is on.
func (c *groupFlags) reconcile(
	now func() time.Time, manager ctrl.Manager, sure client.Client, registry prometheus.Registerer, log *slog.Logger,
) error {
	if !c.on {
		return nil
	}
	roles, err := c.roles()
	if err != nil {
		return err
	}
	removal := c.removal
	if removal == 0 {
		removal = c.every / removalPart
	}
	log.Info("IAM groups are read", "period", c.every, "removalDelay", removal, "callsPerSecond", c.rate,
		"accountsWithRole", slices.Sorted(maps.Keys(roles)))
	metrics := groups.NewMetrics(registry)
	return (&groups.Reconciler{
		Client: sure,
		Reader: &groups.Reader{
			Roles: roles, Budget: rate.NewLimiter(rate.Limit(c.rate), max(1, int(2*c.rate))), Every: c.every,
			Metrics: metrics, Now: now,
		},
		Events: manager.GetEventRecorder("rolecall-groups"), Metrics: metrics, Log: log,
		Every: c.every, RemovalDelay: removal, Now: now,
	}).Setup(manager)
}
