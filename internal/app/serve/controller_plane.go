package serve

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// planeFlags say how roles of associations are assumed; without a cluster's name
// their status is not touched.
type planeFlags struct {
	file       flags.Plane
	cluster    association.Cluster
	mode       string
	issuer     string
	brokerRole string
	bounds     flags.Bounds
	every      time.Duration
}

func (c *planeFlags) flags(cmd *cobra.Command) {
	c.file.Add(cmd)
	cli.Group(cmd, flags.PlaneHeading, func(f *pflag.FlagSet) {
		f.StringVar(&c.cluster.Name, "cluster-name", "",
			"name of the cluster in ARNs and session tags; keeps the status of PodIdentityAssociations if set")
		f.StringVar(&c.cluster.Account, "cluster-account", "", "account in the cluster's ARN, 12 digits")
		f.StringVar(&c.cluster.Region, "cluster-region", "", "region in the cluster's ARN")
		f.StringVar(&c.cluster.Partition, "cluster-partition", "",
			"partition in the cluster's ARN (default: that of the region)")
		f.StringVar(&c.mode, "association-mode", string(v1alpha1.Federated),
			"how roles are assumed where an association does not say: Federated, BrokerRole, PassThrough, or EKS "+
				"where AWS assumes them")
		f.StringVar(&c.issuer, "issuer", "", "URL of the issuer of the tokens, for Federated and PassThrough")
		f.StringVar(&c.brokerRole, "broker-role-arn", "", "the broker's own role or user, for BrokerRole")
		f.DurationVar(&c.every, "associations-every", 30*time.Minute,
			"how often the roles of associations are looked at in IAM")
	})
	c.file.Bind("cluster-name", planefile.ClusterName)
	c.file.Bind("cluster-account", planefile.Account)
	c.file.Bind("cluster-region", planefile.Region)
	c.file.Bind("association-mode", planefile.Mode)
	c.bounds.Add(cmd, &c.file, "association-mode")
	c.file.BindValue("issuer", planefile.SessionIssuer, (*planefile.Plane).ShownIssuer)
	c.file.Bind("broker-role-arn", planefile.BrokerRole)
	cli.CompleteFlag(cmd, "association-mode", planefile.Modes()...)
	cli.CompleteFlag(cmd, "cluster-partition", arn.Partitions()...)
}

// plane is false if none is named.
func (c *planeFlags) plane() (plane sessionplan.Plane, named bool, err error) {
	mode, known := planefile.ParseMode(c.mode)
	if c.cluster.Partition == "" {
		c.cluster.Partition = arn.PartitionOf(c.cluster.Region)
	}
	plane = sessionplan.Plane{Cluster: c.cluster, Mode: mode, Issuer: c.issuer, BrokerRoleARN: c.brokerRole}
	allowed, outOfBounds := c.bounds.Check(mode)
	plane.Modes, plane.Choices = allowed.Modes, allowed.Choices
	switch {
	case c.cluster.Name == "":
		return plane, false, nil
	case !arn.IsAccount(c.cluster.Account):
		return plane, false, fault.New(fault.Usage, "--cluster-account %w", arn.CheckAccount(c.cluster.Account))
	case !arn.IsClusterName(c.cluster.Name):
		return plane, false, fault.New(fault.Usage, "--cluster-name %w", arn.CheckClusterName(c.cluster.Name))
	case c.cluster.Region == "":
		return plane, false, fault.New(fault.Usage, "--cluster-name needs --cluster-region")
	case !arn.IsRegion(c.cluster.Region):
		return plane, false, fault.New(fault.Usage, "--cluster-region %w", arn.CheckRegion(c.cluster.Region))
	case !arn.IsPartition(c.cluster.Partition):
		return plane, false, fault.New(fault.Usage, "--cluster-partition %w", arn.CheckPartition(c.cluster.Partition))
	case c.cluster.Partition != arn.PartitionOf(c.cluster.Region):
		return plane, false, fault.New(fault.Usage, "--cluster-partition %s: region %s is in %s", c.cluster.Partition,
			c.cluster.Region, arn.PartitionOf(c.cluster.Region))
	case !known:
		return plane, false, fault.New(fault.Usage,
			"--association-mode %q: want Federated, BrokerRole, PassThrough or EKS", c.mode)
	case outOfBounds != nil:
		return plane, false, outOfBounds
	case c.every <= 0:
		return plane, false, fault.New(fault.Usage, "--associations-every %s: want more than nothing", c.every)
	}
	for flag, err := range map[string]error{
		"issuer":          checkGiven(planefile.SessionIssuer, c.issuer),
		"broker-role-arn": checkGiven(planefile.BrokerRole, c.brokerRole),
	} {
		if err != nil {
			return plane, false, fault.New(fault.Usage, "--%s: %w", flag, err)
		}
	}
	return plane, true, nil
}

// checkGiven checks a flag that may be left out as the plane's file is checked.
func checkGiven(field planefile.Field, value string) error {
	if value == "" {
		return nil
	}
	return planefile.Check(field, value)
}
