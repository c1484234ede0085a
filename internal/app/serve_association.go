package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/awsapi"
	associationcontroller "github.com/rolecall/rolecall/internal/controller/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// planeFlags say how roles of associations are taken; without a cluster's name
// their status is left alone.
type planeFlags struct {
	cluster    association.Cluster
	mode       string
	issuer     string
	brokerRole string
	every      time.Duration
}

var planeModes = []string{string(v1alpha1.Federated), string(v1alpha1.BrokerRole), string(v1alpha1.PassThrough), string(associationcontroller.EKS)}

func (c *planeFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.cluster.Name, "cluster-name", "", "name of the cluster in ARNs and session tags; keeps the status of PodIdentityAssociations if set")
	f.StringVar(&c.cluster.Account, "cluster-account", "", "account in the cluster's ARN, 12 digits")
	f.StringVar(&c.cluster.Region, "cluster-region", "", "region in the cluster's ARN")
	f.StringVar(&c.cluster.Partition, "cluster-partition", "aws", "partition in the cluster's ARN")
	f.StringVar(&c.mode, "association-mode", string(v1alpha1.Federated), "how roles are taken where an association does not say: Federated, BrokerRole, PassThrough, or EKS where AWS takes them")
	f.StringVar(&c.issuer, "issuer", "", "URL of the issuer of the tokens, for Federated and PassThrough")
	f.StringVar(&c.brokerRole, "broker-role-arn", "", "the broker's own role or user, for BrokerRole")
	f.DurationVar(&c.every, "associations-every", 30*time.Minute, "how often the roles of associations are looked at in IAM")
	_ = cmd.RegisterFlagCompletionFunc("association-mode", cobra.FixedCompletions(planeModes, cobra.ShellCompDirectiveNoFileComp))
}

// plane is false if none is named.
func (c *planeFlags) plane() (plane associationcontroller.Plane, named bool, err error) {
	plane = associationcontroller.Plane{Cluster: c.cluster, Mode: v1alpha1.AssociationMode(c.mode), Issuer: c.issuer, BrokerRoleARN: c.brokerRole}
	switch {
	case c.cluster.Name == "":
		return plane, false, nil
	case !arn.IsClusterName(c.cluster.Name):
		return plane, false, fault.New(fault.Usage, "--cluster-name %q: want up to 100 letters, digits, - and _, beginning with a letter or digit", c.cluster.Name)
	case !arn.IsAccount(c.cluster.Account):
		return plane, false, fault.New(fault.Usage, "--cluster-account %q: want 12 digits", c.cluster.Account)
	case c.cluster.Region == "":
		return plane, false, fault.New(fault.Usage, "--cluster-name needs --cluster-region")
	case !arn.IsRegion(c.cluster.Region):
		return plane, false, fault.New(fault.Usage, "--cluster-region %q: want a region such as eu-west-1", c.cluster.Region)
	case !arn.IsPartition(c.cluster.Partition):
		return plane, false, fault.New(fault.Usage, "--cluster-partition %q: want %s", c.cluster.Partition, strings.Join(arn.Partitions(), ", "))
	case !slices.Contains(planeModes, c.mode):
		return plane, false, fault.New(fault.Usage, "--association-mode %q: want Federated, BrokerRole, PassThrough or EKS", c.mode)
	case c.every <= 0:
		return plane, false, fault.New(fault.Usage, "--associations-every %s: want more than nothing", c.every)
	}
	return plane, true, nil
}

// environmentRoles reads roles with the credentials that the environment has.
type environmentRoles struct {
	now func() time.Time

	mu      sync.Mutex
	account *awsapi.Account
	id      string // of the account
	failed  error
	until   time.Time // failed is not tried again before
}

const (
	// rolesTimeout bounds one look at IAM; rolesRetry is how long missing
	// credentials are taken for missing, so that not every association waits for
	// an instance's metadata that is not there.
	rolesTimeout = 10 * time.Second
	rolesRetry   = time.Minute
)

// Trust returns a role's trust policy.
func (r *environmentRoles) Trust(ctx context.Context, role arn.Role) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, rolesTimeout)
	defer cancel()
	account, id, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	if id != role.Account {
		return "", fault.New(fault.Denied, "the role is of account %s, and the credentials are of %s", role.Account, id)
	}
	found, trust, exists, err := account.IAM().RoleTrust(ctx, role.Name)
	switch {
	case err != nil:
		answer, isAWS := errors.AsType[*awsapi.Error](err)
		if isAWS {
			return "", fault.New(fault.Denied, "IAM does not show the role: %s: %s", answer.Code, answer.Message)
		}
		return "", fault.New(fault.Unavailable, "IAM does not answer")
	case !exists:
		return "", fault.New(fault.NotFound, "there is no role %s in account %s", role.Name, role.Account)
	case found != role.ARN().String():
		return "", fault.New(fault.NotFound, "there is no role %s, but there is %s", role.ARN(), found)
	}
	return trust, nil
}

// open finds out whose credentials there are, once.
func (r *environmentRoles) open(ctx context.Context) (*awsapi.Account, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.account != nil {
		return r.account, r.id, nil
	}
	if r.failed != nil && r.now().Before(r.until) {
		return nil, "", r.failed
	}
	account, err := awsapi.OpenAccount(ctx, "", "")
	if err == nil {
		var who awsapi.Identity
		if who, err = account.Identity(ctx); err == nil {
			r.account, r.id = account, who.Account
			return r.account, r.id, nil
		}
	}
	// The SDK's own words name times and addresses, and would change the status
	// at every look.
	r.failed = fault.New(fault.Unavailable, "there are no AWS credentials here that STS accepts, so IAM is not asked")
	r.until = r.now().Add(rolesRetry)
	return nil, "", r.failed
}
