// Package trust writes trust policies of IAM roles for workloads of Kubernetes
// clusters, and fixes those that others wrote.
//
//   - trust.go says what can be asked for, serviceaccount.go what is dangerous about it
//   - forms.go writes statements: web identity, EKS Pod Identity, a broker's
//     role, a target role (spec issuer-and-sts §15.2, spec podidentity §15)
//   - generate.go fits them into the quota, merge.go into an existing document
//   - check.go asks the policy engine whether the result lets in who was asked
//     for, and nobody else
//   - fix.go applies what lint suggests
//
// It does no I/O: the caller reads issuers and writes roles.
package trust

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// Quotas of a trust policy in characters without white space: the default, the
// former maximum, and the most that can be requested (spec iam-policy §1.4,
// quota ACLSizePerRole, L-C07B4B0D).
const (
	DefaultQuota = 2048
	MiddleQuota  = 4096
	LargestQuota = 8192
)

// DefaultAudience is what AWS's own webhook mounts and EKS registers.
const DefaultAudience = "sts.amazonaws.com"

// Request says who may assume the role. Of the forms at least one must be given;
// several in one document are a migration.
type Request struct {
	// Account owns the role, 12 digits; Partition is the role's. If it is empty,
	// the issuers' hosts and the ARNs decide, "aws" if they say nothing.
	Account, Partition string
	// ServiceAccounts are admitted by all forms but EKS, whose associations
	// name them.
	ServiceAccounts []ServiceAccount
	// Issuers are clusters' issuers, with or without https://.
	Issuers []string
	// Audience is the one that the providers register and pods mount;
	// DefaultAudience if empty.
	Audience string
	// Tagged says that the tokens carry session tags, so that sts:TagSession is
	// allowed too.
	Tagged bool
	// EKSClusters are ARNs of EKS clusters whose Pod Identity may assume the role.
	EKSClusters []string
	Broker      *Broker
	Target      *Target
	// AllowWildcard allows patterns that cover more than one namespace.
	AllowWildcard bool
	// Quota in characters, DefaultQuota if 0.
	Quota int
	// Present is a document to change instead of a new one; nil for none.
	Present []byte
}

// Broker is a role that assumes other roles for pods outside EKS (spec
// podidentity §19.7, brokerRole).
type Broker struct {
	RoleARN string
	// ClusterARN is what the broker calls the cluster.
	ClusterARN string
}

// Target makes the role one that sessions of another role assume in turn (spec
// podidentity §14.4).
type Target struct {
	// SourceRoleARN is the association's own role.
	SourceRoleARN string
	// ClusterARN is that of the association; it becomes part of the external
	// id.
	ClusterARN string
}

// Result is what was generated.
type Result struct {
	// Documents are one trust policy, or one for each of several roles if one
	// cannot hold everything.
	Documents []Document `json:"documents"`
	Quota     int        `json:"quota"`
	// Needs are providers that must exist in the role's account.
	Needs []Need `json:"needs"`
	// Notes are what a person should know, one sentence each.
	Notes []string `json:"notes"`
}

// Document is one trust policy.
type Document struct {
	Text string `json:"document"`
	// Size is in characters as IAM counts them: without white space.
	Size int `json:"size"`
	// Admits lists who is admitted, one line for each service account or
	// cluster.
	Admits []string `json:"admits"`
}

// Need is an OIDC provider that IAM must have, and how to make it.
type Need struct {
	ProviderARN string `json:"providerArn"`
	URL         string `json:"url"`
	Audience    string `json:"audience"`
	// Create makes it; Register adds the audience to an existing one.
	Create   string `json:"create"`
	Register string `json:"register"`
}

// check returns the request with its defaults filled in, or what is wrong with
// it.
func (r *Request) check() (*Request, error) {
	c := *r
	if c.Partition == "" {
		var err error
		arns := append(
			slices.Clone(c.EKSClusters),
			c.Broker.role(), c.Broker.cluster(), c.Target.role(), c.Target.cluster(),
		)
		if c.Partition, err = PartitionOf(c.Issuers, arns); err != nil {
			return nil, err
		}
	}
	c.Partition = cmp.Or(c.Partition, "aws")
	c.Audience = cmp.Or(c.Audience, DefaultAudience)
	c.Quota = cmp.Or(c.Quota, DefaultQuota)
	switch {
	case len(c.Issuers)+len(c.EKSClusters) == 0 && c.Broker == nil && c.Target == nil:
		return nil, fault.New(fault.Usage, "nobody to trust: no issuer, EKS cluster, broker or source role").
			Hint("add --oidc-provider-arn ARN, --discovery URL or --issuer URL, or --pod-identity")
	case len(c.ServiceAccounts) > 0 && len(c.Issuers) == 0 && c.Broker == nil && c.Target == nil:
		return nil, fault.New(fault.Usage, "EKS assumes a role for the pods of its associations, so the policy "+
			"cannot name service accounts").
			Hint("leave them out: aws eks create-pod-identity-association names who gets the role")
	case c.Broker != nil && c.Target != nil:
		return nil, fault.New(
			fault.Usage,
			"a role is assumed either by a broker or by an association's own role, not by both: the conditions for "+
				"one would not bind the other",
		)
	case c.Account == "" && len(c.Issuers) > 0:
		return nil, fault.New(fault.Usage, "the role's account is not known").
			Hint("a provider and the role that trusts it are in the same account: give its 12 digits")
	case c.Account != "" && !arn.IsAccount(c.Account):
		return nil, fault.New(fault.Usage, "account %w", arn.CheckAccount(c.Account))
	case !arn.IsPartition(c.Partition):
		return nil, fault.New(fault.Usage, "partition %w", arn.CheckPartition(c.Partition))
	case c.Quota < DefaultQuota || c.Quota > LargestQuota:
		return nil, fault.New(fault.Usage, "quota %d: want %d to %d characters", c.Quota, DefaultQuota, LargestQuota)
	case !plainValue(c.Audience):
		return nil, fault.New(
			fault.Usage,
			"audience %q: want the one that the provider registers, without wildcards, quotes and blanks",
			c.Audience,
		)
	}
	if err := c.checkServiceAccounts(); err != nil {
		return nil, err
	}
	if err := c.checkIssuers(); err != nil {
		return nil, err
	}
	return &c, c.checkForms()
}

// plainValue reports whether a string stands for itself in a policy.
func plainValue(text string) bool {
	return text != "" && len(text) <= 255 && !strings.ContainsAny(text, `*?"\<>`) && !strings.Contains(text, "${") &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func (r *Request) checkServiceAccounts() error {
	if len(r.ServiceAccounts) == 0 && (len(r.Issuers) > 0 || r.Broker != nil || r.Target != nil) {
		return fault.New(fault.Usage, "no service account is named: every workload of the issuer could assume the "+
			"role").
			Hint("--service-account NAMESPACE/NAME, which may be repeated")
	}
	var unique []ServiceAccount
	for _, one := range r.ServiceAccounts {
		if err := one.check(); err != nil {
			return err
		}
		if why := one.Hazard(); why != "" && !r.AllowWildcard {
			return fault.New(fault.Denied, "%s: %s", one, why).
				Hint("name the service accounts, or add --allow-wildcard if this is meant")
		}
		if one.IsPattern() && (r.Broker != nil || r.Target != nil) {
			return fault.New(
				fault.Usage,
				"%s: a broker's role and a target role compare tags and external ids exactly, without wildcards",
				one,
			)
		}
		if !slices.Contains(unique, one) {
			unique = append(unique, one)
		}
	}
	r.ServiceAccounts = unique
	return nil
}

func (r *Request) checkIssuers() error {
	var ids []string
	for _, issuer := range r.Issuers {
		if !strings.Contains(issuer, "://") {
			issuer = "https://" + issuer
		}
		if err := token.CheckTokenIssuer(issuer); err != nil {
			return fault.New(fault.Usage, "%w", err).
				Hint("want the tokens' issuer, byte for byte, such as https://oidc.example.com/cluster")
		}
		id := arn.IssuerID(issuer)
		switch {
		case !plainValue(id) || strings.Contains(id, ":"):
			return fault.New(
				fault.Usage,
				"issuer %q: wildcards, quotes, colons and placeholders cannot be part of it",
				issuer,
			)
		case isClusterInternal(id):
			return fault.New(fault.Usage, "issuer %q is Kubernetes' default, which AWS cannot reach", issuer).
				Hint("give the cluster a public issuer first: rolecall issuer init")
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	r.Issuers = ids
	return nil
}

// isClusterInternal reports an issuer that nobody outside the cluster can read
// (spec issuer-and-sts §16 row 37).
func isClusterInternal(id string) bool {
	host, _, _ := strings.Cut(id, "/")
	host = strings.ToLower(host)
	return !strings.Contains(host, ".") || strings.HasPrefix(host, "kubernetes.default.") ||
		strings.HasSuffix(host, ".svc") ||
		strings.HasSuffix(host, ".cluster.local")
}

func (r *Request) checkForms() error {
	var clusters []string
	for _, text := range r.EKSClusters {
		cluster, err := parseCluster(text)
		if err != nil {
			return err
		}
		if r.Account != "" && cluster.Account != r.Account {
			return fault.New(fault.Usage, "%s is not in the role's account %s: EKS assumes only roles of the "+
				"cluster's own account", text, r.Account).
				Hint("create a role there, and a target role here: --pod-identity target --source-role-arn ARN")
		}
		if !slices.Contains(clusters, text) {
			clusters = append(clusters, text)
		}
	}
	r.EKSClusters = clusters
	for _, one := range []struct {
		role, cluster string
		given         bool
	}{
		{r.Broker.role(), r.Broker.cluster(), r.Broker != nil},
		{r.Target.role(), r.Target.cluster(), r.Target != nil},
	} {
		if !one.given {
			continue
		}
		role, err := arn.ParseRole(one.role)
		if err == nil && !plainValue(one.role) {
			err = fmt.Errorf("%.120q is not plain text of at most 255 characters", one.role)
		}
		if err != nil {
			return fault.New(fault.Usage, "%w", err)
		}
		if role.Partition != r.Partition {
			return fault.New(
				fault.Usage,
				"%s is not in the role's partition %s: a role cannot be assumed across partitions",
				one.role,
				r.Partition,
			)
		}
		if _, err := parseCluster(one.cluster); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) role() string {
	if b == nil {
		return ""
	}
	return b.RoleARN
}

func (b *Broker) cluster() string {
	if b == nil {
		return ""
	}
	return b.ClusterARN
}

func (t *Target) role() string {
	if t == nil {
		return ""
	}
	return t.SourceRoleARN
}

func (t *Target) cluster() string {
	if t == nil {
		return ""
	}
	return t.ClusterARN
}

// parseCluster reads an EKS cluster's ARN, which is written into policies
// unchanged.
func parseCluster(text string) (arn.Cluster, error) {
	cluster, err := arn.ParseCluster(text)
	if err == nil && !plainValue(text) {
		err = fmt.Errorf("%.120q is not plain text of at most 255 characters", text)
	}
	if err != nil {
		return arn.Cluster{}, fault.New(fault.Usage, "%w", err)
	}
	return cluster, nil
}
